//! The SEV-SNP launch digest of a directly booted guest (AMD SEV-SNP Firmware ABI §8.17.2).
//!
//! Pages are added in the order in which QEMU launches: firmware, metadata sections, one save area
//! per vCPU. Firmware without a kernel-hash table cannot be measured with a kernel, and is refused.

use protocol::digest::LaunchDigest;
use sha2::{Digest as _, Sha256, Sha384};

use crate::firmware::{Firmware, FirmwareError, PAGE, SevSectionKind};
use crate::snp_vmsa::{VcpuType, vmsa};

const VMSA_GPA: u64 = 0xffff_ffff_f000;
const BSP_EIP: u32 = 0xffff_fff0;
const FOUR_GIB: u64 = 1 << 32;
/// vCPUs of one guest, at most.
pub const MAX_VCPUS: u16 = 512;

/// What boots inside the firmware.
#[derive(Debug, Clone, Copy)]
pub struct DirectBoot<'a> {
    /// The kernel file as QEMU loads it.
    pub kernel: &'a [u8],
    /// The initrd file.
    pub initrd: &'a [u8],
    /// The command line, without a terminating zero.
    pub command_line: &'a str,
}

/// The machine's shape.
#[derive(Debug, Clone, Copy)]
pub struct SnpShape {
    /// Number of vCPUs, 1 to 512.
    pub vcpus: u16,
    /// vCPU model.
    pub vcpu_type: VcpuType,
    /// SEV_FEATURES of the guest.
    pub guest_features: u64,
}

/// Why no launch digest can be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnpError {
    /// The firmware's tables do not serve.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// No vCPU, or more than 512.
    #[error("number of vCPUs outside 1 to 512")]
    Vcpus,
    /// The command line holds a zero byte.
    #[error("command line holds a zero byte")]
    CommandLine,
}

/// Page types of the launch digest (SNP_LAUNCH_UPDATE).
#[derive(Debug, Clone, Copy)]
enum PageType {
    Normal,
    Vmsa,
    Zero,
    Secrets,
    Cpuid,
}

impl PageType {
    const fn wire(self) -> u8 {
        match self {
            Self::Normal => 1,
            Self::Vmsa => 2,
            Self::Zero => 3,
            Self::Secrets => 5,
            Self::Cpuid => 6,
        }
    }
}

/// The launch digest.
///
/// # Errors
/// See [`SnpError`].
pub fn launch_digest(
    firmware: &Firmware<'_>,
    boot: Option<&DirectBoot<'_>>,
    shape: &SnpShape,
) -> Result<LaunchDigest, SnpError> {
    if !matches!(shape.vcpus, 1..=MAX_VCPUS) {
        return Err(SnpError::Vcpus);
    }
    MeasuredFirmware::new(firmware)?
        .with(boot)?
        .launch_digest(shape)
}

/// The digest after the firmware's own pages: the same whatever boots, on any shape.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredFirmware<'f> {
    firmware: &'f Firmware<'f>,
    digest: [u8; 48],
}

impl<'f> MeasuredFirmware<'f> {
    /// Measures the firmware's pages.
    ///
    /// # Errors
    /// See [`SnpError`].
    pub fn new(firmware: &'f Firmware<'f>) -> Result<Self, SnpError> {
        let mut launch = Launch::new();
        launch.firmware(firmware.bytes)?;
        let digest = launch.0;
        Ok(Self { firmware, digest })
    }

    /// Goes on with what boots inside it.
    ///
    /// # Errors
    /// See [`SnpError`].
    pub fn with(&self, boot: Option<&DirectBoot<'_>>) -> Result<MeasuredLaunch, SnpError> {
        let mut launch = Launch(self.digest);
        launch.sections(self.firmware, boot)?;
        Ok(MeasuredLaunch {
            digest: launch.0,
            reset_eip: self.firmware.reset_eip()?,
        })
    }
}

/// The digest in front of the vCPUs: the same on any shape.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredLaunch {
    digest: [u8; 48],
    reset_eip: u32,
}

impl MeasuredLaunch {
    /// The launch digest on a shape.
    ///
    /// # Errors
    /// `Vcpus`.
    pub fn launch_digest(&self, shape: &SnpShape) -> Result<LaunchDigest, SnpError> {
        let by_count = self.by_vcpus(shape.vcpu_type, shape.guest_features);
        let wanted = by_count.take(shape.vcpus.into()).last();
        wanted
            .map(|(_, digest)| digest)
            .filter(|_| shape.vcpus <= MAX_VCPUS)
            .ok_or(SnpError::Vcpus)
    }

    /// The launch digests with 1, 2, … up to 512 vCPUs.
    pub fn by_vcpus(
        &self,
        vcpu_type: VcpuType,
        guest_features: u64,
    ) -> impl Iterator<Item = (u16, LaunchDigest)> + use<> {
        let area = |eip| Sha384::digest(vmsa(eip, vcpu_type, guest_features)).into();
        let (first, other): ([u8; 48], [u8; 48]) = (area(BSP_EIP), area(self.reset_eip));
        let mut launch = Launch(self.digest);
        (1..=MAX_VCPUS).map(move |count| {
            let contents = if count == 1 { first } else { other };
            launch.page(PageType::Vmsa, contents, VMSA_GPA);
            (count, LaunchDigest(launch.0))
        })
    }
}

#[derive(Debug)]
struct Launch([u8; 48]);

impl Launch {
    const fn new() -> Self {
        Self([0; 48])
    }

    /// Extends the digest by one page: PAGE_INFO of the firmware ABI, 112 bytes.
    fn page(&mut self, kind: PageType, contents: [u8; 48], gpa: u64) {
        let hash = Sha384::new()
            .chain_update(self.0)
            .chain_update(contents)
            .chain_update(0x70u16.to_le_bytes())
            .chain_update([kind.wire(), 0, 0, 0, 0, 0])
            .chain_update(gpa.to_le_bytes());
        self.0 = hash.finalize().into();
    }

    fn measured(&mut self, kind: PageType, page: &[u8], gpa: u64) {
        self.page(kind, Sha384::digest(page).into(), gpa);
    }

    fn firmware(&mut self, bytes: &[u8]) -> Result<(), SnpError> {
        let size = u64::try_from(bytes.len()).map_err(|_| FirmwareError::Size)?;
        let mut gpa = FOUR_GIB.checked_sub(size).ok_or(FirmwareError::Size)?;
        for page in bytes.chunks(4096) {
            self.measured(PageType::Normal, page, gpa);
            gpa = gpa.saturating_add(PAGE);
        }
        Ok(())
    }

    /// The sections of the firmware's metadata.
    fn sections(
        &mut self,
        firmware: &Firmware<'_>,
        boot: Option<&DirectBoot<'_>>,
    ) -> Result<(), SnpError> {
        let hashes = boot.map(|boot| hash_page(firmware, boot)).transpose()?;
        for section in firmware.sev_sections()? {
            let (base, size) = (u64::from(section.base), u64::from(section.size));
            match section.kind {
                SevSectionKind::PreValidated | SevSectionKind::SvsmCallingArea => {
                    self.zeros(base, size);
                }
                SevSectionKind::Secrets => self.page(PageType::Secrets, [0; 48], base),
                SevSectionKind::Cpuid => self.page(PageType::Cpuid, [0; 48], base),
                SevSectionKind::KernelHashes => match &hashes {
                    Some(page) => self.measured(PageType::Normal, page, base & !0xfff),
                    None => self.zeros(base & !0xfff, PAGE),
                },
            }
        }
        Ok(())
    }

    fn zeros(&mut self, base: u64, size: u64) {
        for page in 0..size.div_ceil(PAGE) {
            let gpa = base.saturating_add(page.saturating_mul(PAGE));
            self.page(PageType::Zero, [0; 48], gpa);
        }
    }
}

/// The page with the hashes of command line, initrd and kernel (QEMU `sev.c`, edk2
/// `BlobVerifierSevHashes`): a table of three 50-byte entries, padded to 16 bytes.
fn hash_page(firmware: &Firmware<'_>, boot: &DirectBoot<'_>) -> Result<[u8; 4096], SnpError> {
    const TABLE: [u8; 16] = guid(
        0x9438_d606,
        0x4f22,
        0x4cc9,
        [0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd, 0x21],
    );
    const COMMAND_LINE: [u8; 16] = guid(
        0x97d0_2dd8,
        0xbd20,
        0x4c94,
        [0xaa, 0x78, 0xe7, 0x71, 0x4d, 0x36, 0xab, 0x2a],
    );
    const INITRD: [u8; 16] = guid(
        0x44ba_f731,
        0x3a2f,
        0x4bd7,
        [0x9a, 0xf1, 0x41, 0xe2, 0x91, 0x69, 0x78, 0x1d],
    );
    const KERNEL: [u8; 16] = guid(
        0x4de7_9437,
        0xabd2,
        0x427f,
        [0xb8, 0x35, 0xd5, 0xb1, 0x72, 0xd2, 0x04, 0x5b],
    );
    if boot.command_line.contains('\0') {
        return Err(SnpError::CommandLine);
    }
    let command_line: [u8; 32] = Sha256::new()
        .chain_update(boot.command_line)
        .chain_update([0])
        .finalize()
        .into();
    let mut table = Vec::with_capacity(168);
    table.extend_from_slice(&TABLE);
    table.extend_from_slice(&168u16.to_le_bytes());
    for (name, hash) in [
        (COMMAND_LINE, command_line),
        (INITRD, Sha256::digest(boot.initrd).into()),
        (KERNEL, Sha256::digest(boot.kernel).into()),
    ] {
        table.extend_from_slice(&name);
        table.extend_from_slice(&50u16.to_le_bytes());
        table.extend_from_slice(&hash);
    }
    let mut page = [0; 4096];
    let room = page.iter_mut().skip(firmware.hash_table_offset()?);
    if room.len() < 176 {
        return Err(FirmwareError::Malformed {
            table: "SNP kernel hashes",
        }
        .into());
    }
    for (to, from) in room.zip(table) {
        *to = from;
    }
    Ok(page)
}

/// A GUID as it lies in memory.
const fn guid(a: u32, b: u16, c: u16, rest: [u8; 8]) -> [u8; 16] {
    let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let [d0, d1, d2, d3, d4, d5, d6, d7] = rest;
    [
        a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d0, d1, d2, d3, d4, d5, d6, d7,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last 4 KiB of an OVMF build and the digest that its whole pages lead to, published by
    /// the `sev` crate's tests: `tests/fixtures/snp/measurement`.
    const SUFFIX: &[u8] =
        include_bytes!("../../tests/fixtures/snp/measurement/ovmf_AmdSev_suffix.bin");
    const AFTER_FIRMWARE: &str = "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa\
                                  16aff8c374c2a55c467a50da6d466b74";

    #[test]
    fn equals_the_published_digests_for_both_feature_sets() {
        let firmware = Firmware::parse(SUFFIX).unwrap();
        for (guest_features, expected) in [
            (
                0x1,
                "ddc5224521617a536ee7ce9dd6224d1b58a8d4fda1c741f3ac99fc4bfa04ba6e\
                 9fc98646d4a07a9079397fa3852819b5",
            ),
            (
                0x21,
                "329c8ce0972ae52343b64d34a434a86f245dfd74f5ed7aae15d22efc78fb9683\
                 632b9b50e4e1d7fa41179ef98a7ef198",
            ),
        ] {
            let shape = SnpShape {
                vcpus: 1,
                vcpu_type: VcpuType::Epyc,
                guest_features,
            };
            let boot = DirectBoot {
                kernel: b"",
                initrd: b"",
                command_line: "",
            };
            let start: LaunchDigest = AFTER_FIRMWARE.parse().unwrap();
            let measured = MeasuredFirmware {
                firmware: &firmware,
                digest: start.0,
            };
            let launch = measured.with(Some(&boot)).unwrap();
            let digest = launch.launch_digest(&shape).unwrap();
            assert_eq!(digest.to_string(), expected);
        }
    }

    #[test]
    fn refuses_a_kernel_when_the_firmware_has_no_hash_table() {
        let suffix = include_bytes!("../../tests/fixtures/snp/measurement/ovmf_OvmfX64_suffix.bin");
        let firmware = Firmware::parse(suffix).unwrap();
        let shape = SnpShape {
            vcpus: 1,
            vcpu_type: VcpuType::Epyc,
            guest_features: 1,
        };
        let boot = DirectBoot {
            kernel: b"k",
            initrd: b"i",
            command_line: "c",
        };
        assert_eq!(
            launch_digest(&firmware, Some(&boot), &shape),
            Err(SnpError::Firmware(FirmwareError::Missing {
                table: "SNP kernel hashes"
            }))
        );
    }
}
