//! RTMR0 of a TD: what the firmware measures of the machine around it, event by event, in order.
//! `docs/spec/measurements.md`, section RTMR0, is this table in words, with its sources.
//!
//! Deliberately not here: reading an event log. What only a real TD can show is marked, never
//! assumed silently.

use protocol::digest::Rtmr;
use sha2::{Digest as _, Sha256, Sha384};

use crate::acpi::{AcpiError, AcpiFiles, QemuProfile};
use crate::bytes;
use crate::firmware::{Firmware, FirmwareError, TdxSection};
use crate::machine::Machine;
use crate::tdx::{self, Event};
use crate::{smbios, td_hob};

/// Section type of the firmware's variables.
const CONFIGURATION_VOLUME: u32 = 1;

/// What QEMU's `bootorder` holds when the kernel is given by `-kernel` and nothing has a bootindex.
const BOOT_ORDER_FILE: &[u8] = b"/rom@genroms/linuxboot_dma.bin\0";
/// `-boot menu=off`.
const BOOT_MENU: [u8; 2] = [0; 2];

/// GUIDs as they lie in memory.
mod guid {
    pub(super) const GLOBAL_VARIABLE: [u8; 16] = [
        0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b,
        0x8c,
    ];
    pub(super) const IMAGE_SECURITY: [u8; 16] = [
        0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65,
        0x6f,
    ];
    /// OVMF's volume of drivers and applications.
    pub(super) const DRIVER_VOLUME: [u8; 16] = [
        0xc9, 0xbd, 0xb8, 0x7c, 0xeb, 0xf8, 0x34, 0x4f, 0xaa, 0xea, 0x3e, 0xe4, 0xaf, 0x65, 0x16,
        0xa1,
    ];
    pub(super) const BOOT_MENU_APPLICATION: [u8; 16] = [
        0xdc, 0x5b, 0xc2, 0xee, 0xf2, 0x67, 0x95, 0x4d, 0xb1, 0xd5, 0xf8, 0x1b, 0x20, 0x39, 0xd1,
        0x1d,
    ];
    pub(super) const SETUP_APPLICATION: [u8; 16] = [
        0x21, 0xaa, 0x2c, 0x46, 0x14, 0x76, 0x03, 0x45, 0x83, 0x6e, 0x8a, 0xb6, 0xf4, 0x66, 0x23,
        0x31,
    ];
}

/// Why RTMR0 cannot be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rtmr0Error {
    /// What this firmware measures was never looked at.
    #[error("no profile of the firmware with SHA-256 {sha256}: its RTMR0 cannot be computed")]
    UnknownFirmware {
        /// Digest of the file.
        sha256: String,
    },
    /// The firmware's tables do not serve.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// The tables that QEMU makes.
    #[error(transparent)]
    Acpi(#[from] AcpiError),
}

impl From<bytes::OutOfFile> for Rtmr0Error {
    fn from(error: bytes::OutOfFile) -> Self {
        Self::Firmware(error.into())
    }
}

/// What is known of a firmware build, beyond its file's own tables: strings and boot options that
/// lie compressed in it, read from a boot under emulation.
#[derive(Debug, Clone, Copy)]
pub struct FirmwareProfile {
    sha256: [u8; 32],
    /// Its vendor, in SMBIOS.
    pub vendor: &'static str,
    /// Its version, in SMBIOS.
    pub version: &'static str,
    /// Its date, in SMBIOS.
    pub date: &'static str,
    boot_options: [BootOption; 2],
}

/// A boot option that the firmware makes at its first start.
#[derive(Debug, Clone, Copy)]
struct BootOption {
    variable: &'static str,
    attributes: u32,
    title: &'static str,
    application: [u8; 16],
}

/// `image/firmware/OVMF.fd`.
const OVMF_2026_08: FirmwareProfile = FirmwareProfile {
    sha256: [
        0x6a, 0x3e, 0x8f, 0x43, 0x8a, 0xd7, 0x26, 0x9f, 0x5d, 0xfd, 0x88, 0x46, 0x47, 0x58, 0x7b,
        0x88, 0x39, 0x1f, 0xb2, 0x39, 0x65, 0xbb, 0x3a, 0xa7, 0x90, 0x2b, 0x51, 0x94, 0x38, 0xdb,
        0xa1, 0x29,
    ],
    vendor: "Debian distribution of EDK II",
    version: "2026.08+ds-2",
    date: "09/26/2026",
    boot_options: [
        BootOption {
            variable: "Boot0000",
            attributes: 0x109,
            title: "BootManagerMenuApp",
            application: guid::BOOT_MENU_APPLICATION,
        },
        BootOption {
            variable: "Boot0001",
            attributes: 0x101,
            title: "EFI Firmware Setup",
            application: guid::SETUP_APPLICATION,
        },
    ],
};

const PROFILES: [FirmwareProfile; 1] = [OVMF_2026_08];

impl FirmwareProfile {
    /// The profile of a firmware file.
    ///
    /// # Errors
    /// `UnknownFirmware`.
    pub fn of(file: &[u8]) -> Result<&'static Self, Rtmr0Error> {
        let sha256 = <[u8; 32]>::from(Sha256::digest(file));
        let found = PROFILES.iter().find(|known| known.sha256 == sha256);
        found.ok_or_else(|| Rtmr0Error::UnknownFirmware {
            sha256: sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

/// What shows that an event is as computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Equal to what the pinned QEMU and this firmware gave and measured under emulation.
    SeenUnderEmulation,
    /// Only a real TD has it; from source, and from logs of other firmware on real hardware.
    HardwareOnly,
}

impl Basis {
    /// Its name in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SeenUnderEmulation => "seen-under-emulation",
            Self::HardwareOnly => "hardware-only",
        }
    }
}

/// What only a real TD can show of the register as a whole.
pub const UNCONFIRMED: [&str; 3] = [
    "order of the events of SEC, PEI and DXE under the TDX measurement drivers",
    "that QEMU with KVM and a split interrupt controller makes the same ACPI and SMBIOS files",
    "that the firmware in a TD makes the same boot options and places BARs the same",
];

/// An event of RTMR0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformEvent {
    /// What was measured, and its digest.
    pub event: Event,
    /// How it is known.
    pub basis: Basis,
}

/// The value of RTMR0.
#[must_use]
pub fn replay(events: &[PlatformEvent]) -> Rtmr {
    let events: Vec<Event> = events.iter().map(|known| known.event.clone()).collect();
    tdx::replay(&events)
}

/// A firmware in a QEMU: what is the same for all machines.
#[derive(Debug)]
pub struct Platform<'a> {
    qemu: QemuProfile,
    profile: &'static FirmwareProfile,
    sections: &'a [TdxSection],
    volume: [u8; 48],
}

impl<'a> Platform<'a> {
    /// Looks at the firmware.
    ///
    /// # Errors
    /// `UnknownFirmware` or `Firmware`.
    pub fn of(firmware: &'a Firmware<'_>, qemu: QemuProfile) -> Result<Self, Rtmr0Error> {
        let profile = FirmwareProfile::of(firmware.bytes)?;
        let sections = firmware.tdx_sections()?;
        let volume = sections.iter().find(|one| one.kind == CONFIGURATION_VOLUME);
        let volume = volume.ok_or(FirmwareError::Missing {
            table: "TDX configuration volume",
        })?;
        let position = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        let (at, length) = (position(volume.data_offset), position(volume.raw_size));
        let volume = Sha384::digest(bytes::slice(firmware.bytes, at, length)?);
        Ok(Self {
            qemu,
            profile,
            sections,
            volume: volume.into(),
        })
    }

    /// Events of RTMR0 of a machine, in order.
    ///
    /// # Errors
    /// `Firmware` or `Acpi`.
    pub fn events(&self, machine: &Machine) -> Result<Vec<PlatformEvent>, Rtmr0Error> {
        let list = td_hob::measured(self.sections, &machine.memory_ranges())?;
        let mut log = Log::default();
        log.hardware("TD HOB: memory map", &list);
        let what = "firmware volume with variables";
        log.push(what, self.volume, Basis::HardwareOnly);
        log.hardware("fw_cfg BootMenu", &BOOT_MENU);
        let window = machine.window_mib().to_string();
        log.hardware("fw_cfg opt/ovmf/X-PciMmio64Mb", window.as_bytes());
        log.hardware("fw_cfg bootorder", BOOT_ORDER_FILE);
        secure_boot(&mut log);
        log.seen("separator", &[0; 4]);
        for (name, digest) in AcpiFiles::of(self.qemu, machine)?.digests() {
            log.push(name, digest, Basis::SeenUnderEmulation);
        }
        let smbios = smbios::measured(self.qemu, self.profile, machine);
        log.seen("SMBIOS tables", &smbios);
        boot_variables(&mut log, self.profile);
        Ok(log.0)
    }
}

/// Variables of a firmware without enrolled keys: all empty.
fn secure_boot(log: &mut Log) {
    for (name, vendor) in [
        ("SecureBoot", guid::GLOBAL_VARIABLE),
        ("PK", guid::GLOBAL_VARIABLE),
        ("KEK", guid::GLOBAL_VARIABLE),
        ("db", guid::IMAGE_SECURITY),
        ("dbx", guid::IMAGE_SECURITY),
    ] {
        let units = u64::try_from(name.len()).unwrap_or(u64::MAX);
        let mut data = vendor.to_vec();
        data.extend(units.to_le_bytes());
        data.extend(0_u64.to_le_bytes());
        data.extend(utf16(name));
        log.seen(name, &data);
    }
}

/// The boot options in their order; the digest covers a variable's value only.
fn boot_variables(log: &mut Log, profile: &FirmwareProfile) {
    let count = u16::try_from(profile.boot_options.len()).unwrap_or(u16::MAX);
    let order: Vec<u8> = (0..count).flat_map(u16::to_le_bytes).collect();
    log.seen("BootOrder", &order);
    for option in profile.boot_options {
        log.seen(option.variable, &option.value());
    }
}

impl BootOption {
    /// EFI_LOAD_OPTION: attributes, length of the path, title, path to a file in a volume.
    fn value(&self) -> Vec<u8> {
        let mut path = vec![4, 7, 20, 0];
        path.extend(guid::DRIVER_VOLUME);
        path.extend([4, 6, 20, 0]);
        path.extend(self.application);
        path.extend([0x7f, 0xff, 4, 0]);
        let length = u16::try_from(path.len()).unwrap_or(u16::MAX);
        let mut out = self.attributes.to_le_bytes().to_vec();
        out.extend(length.to_le_bytes());
        out.extend(utf16(self.title));
        out.extend([0, 0]);
        out.extend(path);
        out
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[derive(Debug, Default)]
struct Log(Vec<PlatformEvent>);

impl Log {
    fn seen(&mut self, what: &'static str, data: &[u8]) {
        self.push(what, Sha384::digest(data).into(), Basis::SeenUnderEmulation);
    }

    fn hardware(&mut self, what: &'static str, data: &[u8]) {
        self.push(what, Sha384::digest(data).into(), Basis::HardwareOnly);
    }

    fn push(&mut self, what: &'static str, digest: [u8; 48], basis: Basis) {
        let event = Event { what, digest };
        self.0.push(PlatformEvent { event, basis });
    }
}
