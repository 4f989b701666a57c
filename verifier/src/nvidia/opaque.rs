//! NVIDIA's part of a report: fields of a type, a length and a value. Parsed once, into a type.
//!
//! A type that is not known refuses, and so does one that is there twice: nobody here may overlook
//! what a newer device says of itself.

use std::collections::{BTreeMap, BTreeSet};

use protocol::codec::{DecodeError, Reader};
use protocol::gpu_evidence::{DeviceKind, GpuMode};

use super::version::{DriverVersion, FirmwareVersion};

const DRIVER_VERSION: u16 = 3;
const FIRMWARE_VERSION: u16 = 6;
const NVDEC0_STATUS: u16 = 11;
const CHIP_SKU: u16 = 15;
const PROJECT: u16 = 17;
const PROJECT_SKU: u16 = 18;
const FWID: u16 = 20;
const PROTECTED_PCIE: u16 = 21;
/// Of a GPU: the switches at its links. Of a switch: itself.
const PDI: u16 = 22;
/// Of a switch: the GPUs at its ports, then which port leads to which.
const CONNECTED_GPUS: u16 = 26;
const DATA_VERSION: u16 = 34;
const CHIP_INFO: u16 = 35;
const FEATURE: u16 = 36;

/// Newest version of these fields that is known.
const NEWEST_VERSION: u16 = 1;
/// A switch names this many GPUs.
const CONNECTED_GPU_SLOTS: usize = 8;
/// Texts are at most this long.
const MAX_TEXT: usize = 64;
const ENABLED: u8 = 0xaa;
const DISABLED: u8 = 0x55;

/// Identity of a device on its board's links, as certificates write it: big-endian.
pub(super) type Pdi = [u8; 8];

/// What a device says beside its measurements.
#[derive(Debug)]
pub(super) struct OpaqueData {
    pub(super) firmware: FirmwareVersion,
    pub(super) fwid: Option<[u8; 48]>,
    pub(super) device: DeviceFields,
}

/// What only GPUs, or only switches, say.
#[derive(Debug)]
pub(super) enum DeviceFields {
    Gpu(GpuFields),
    Switch { pdi: Pdi, gpus: BTreeSet<Pdi> },
}

/// What a GPU says.
#[derive(Debug)]
pub(super) struct GpuFields {
    pub(super) driver: DriverVersion,
    pub(super) project: String,
    pub(super) project_sku: String,
    pub(super) chip_sku: String,
    pub(super) chip_info: Option<String>,
    /// The first video decoder works, so its firmware is measured.
    pub(super) nvdec0_enabled: bool,
    pub(super) mode: GpuMode,
    pub(super) switches: BTreeSet<Pdi>,
}

impl OpaqueData {
    pub(super) fn parse(bytes: &[u8], kind: DeviceKind) -> Option<Self> {
        let fields = Fields::split(bytes).ok()?;
        match kind {
            DeviceKind::Hopper | DeviceKind::Blackwell => fields.gpu(),
            DeviceKind::Ls10 => fields.switch(),
        }
    }
}

/// The fields by their type.
struct Fields<'a>(BTreeMap<u16, &'a [u8]>);

impl<'a> Fields<'a> {
    fn split(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let refused = DecodeError::OutOfRange { field: "opaque" };
        let mut from = Reader::new(bytes);
        let mut fields = BTreeMap::new();
        while from.finish().is_err() {
            let kind = from.u16()?;
            let length = from.u16()?;
            let value = from.slice(usize::from(length))?;
            let known = matches!(kind, 1..=27 | 32..=36);
            if !known || fields.insert(kind, value).is_some() {
                return Err(refused);
            }
        }
        Ok(Self(fields))
    }

    fn gpu(&self) -> Option<OpaqueData> {
        let firmware: [u8; 8] = self.exact(FIRMWARE_VERSION)?;
        // Written from the fourth byte downwards, then the fifth.
        let [b0, b1, b2, b3, b4, ..] = firmware;
        let gpu = GpuFields {
            driver: self.text(DRIVER_VERSION)?.parse().ok()?,
            project: self.text(PROJECT)?,
            project_sku: self.text(PROJECT_SKU)?,
            chip_sku: self.text(CHIP_SKU)?,
            chip_info: self.optional(CHIP_INFO, Self::text)?,
            nvdec0_enabled: self.switch_state(NVDEC0_STATUS)?,
            mode: self.mode()?,
            switches: match self.0.get(&PDI) {
                Some(pdis) => pdis_from_right_to_left(pdis)?,
                None => BTreeSet::new(),
            },
        };
        Some(OpaqueData {
            firmware: FirmwareVersion([b3, b2, b1, b0, b4]),
            fwid: self.optional(FWID, Self::exact)?,
            device: DeviceFields::Gpu(gpu),
        })
    }

    fn switch(&self) -> Option<OpaqueData> {
        let connected = self.0.get(&CONNECTED_GPUS)?;
        let (gpus, _ports) = connected.split_at_checked(CONNECTED_GPU_SLOTS.checked_mul(8)?)?;
        Some(OpaqueData {
            firmware: self.text(FIRMWARE_VERSION)?.parse().ok()?,
            fwid: self.optional(FWID, Self::exact)?,
            device: DeviceFields::Switch {
                pdi: self.exact(PDI)?,
                gpus: pdis(gpus)?,
            },
        })
    }

    /// From version 1 on a GPU names its mode. Before, it says whether the links to its switches
    /// are protected; without them it is handed over alone. Where both are there, they agree.
    fn mode(&self) -> Option<GpuMode> {
        let protected = self.switch_state(PROTECTED_PCIE)?;
        let version = self.optional(DATA_VERSION, Self::number)?;
        let feature = self.optional(FEATURE, Self::number)?;
        let mode = match (version.unwrap_or(0), feature) {
            (0, None) if protected => GpuMode::ProtectedPcie,
            (0, None) => GpuMode::SinglePass,
            (NEWEST_VERSION, Some(0)) => GpuMode::MultiPass,
            (NEWEST_VERSION, Some(1)) => GpuMode::SinglePass,
            (NEWEST_VERSION, Some(2)) => GpuMode::ProtectedPcie,
            _ => return None,
        };
        (protected == (mode == GpuMode::ProtectedPcie)).then_some(mode)
    }

    /// What is read of a field, where there is one; `None` when it cannot be read.
    fn optional<T>(&self, kind: u16, read: fn(&Self, u16) -> Option<T>) -> Option<Option<T>> {
        match self.0.contains_key(&kind) {
            true => read(self, kind).map(Some),
            false => Some(None),
        }
    }

    fn number(&self, kind: u16) -> Option<u16> {
        self.exact(kind).map(u16::from_le_bytes)
    }

    fn exact<const N: usize>(&self, kind: u16) -> Option<[u8; N]> {
        self.0.get(&kind).copied()?.try_into().ok()
    }

    fn switch_state(&self, kind: u16) -> Option<bool> {
        match self.exact(kind)? {
            [ENABLED] => Some(true),
            [DISABLED] => Some(false),
            [_] => None,
        }
    }

    /// Letters, digits, `.`, `_` and `-`, then nothing but zeros.
    fn text(&self, kind: u16) -> Option<String> {
        let bytes = self.0.get(&kind).copied()?;
        let end = bytes.iter().position(|byte| *byte == 0);
        let (text, filling) = bytes.split_at_checked(end.unwrap_or(bytes.len()))?;
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let well_formed = !text.is_empty()
            && text.len() <= MAX_TEXT
            && text.iter().all(allowed)
            && filling.iter().all(|byte| *byte == 0);
        well_formed.then(|| String::from_utf8_lossy(text).into_owned())
    }
}

/// Identities of 8 bytes; zero stands for "none".
fn pdis(bytes: &[u8]) -> Option<BTreeSet<Pdi>> {
    let whole = bytes.chunks_exact(8);
    if !whole.remainder().is_empty() {
        return None;
    }
    let all = whole.filter_map(|pdi| Pdi::try_from(pdi).ok());
    Some(all.filter(|pdi| *pdi != Pdi::default()).collect())
}

/// GPUs write the switches' identities little-endian, switches and certificates big-endian.
fn pdis_from_right_to_left(bytes: &[u8]) -> Option<BTreeSet<Pdi>> {
    let turned = pdis(bytes)?.into_iter().map(|mut pdi| {
        pdi.reverse();
        pdi
    });
    Some(turned.collect())
}
