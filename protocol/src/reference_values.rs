//! Reference values: what a release is expected to measure as, per machine shape. Made by
//! `measurements`, pinned by clients, compared by the verifier. `docs/spec/evidence.md` §6.
//!
//! JSON, strict: unknown members are refused.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::codec::{DecodeError, Reader, Writer};
use crate::digest::{LaunchDigest, MeasurementKey, ModelDigest, Mrtd, Rtmr};
use crate::gpu_evidence::{DeviceKind, GpuMode};

/// The document is at most this long.
pub const MAX_BYTES: usize = 1024 * 1024;
const KEY_DOMAIN: &[u8] = b"cocoon/measurement/v1\0";

/// Version of an image, `major.minor.patch`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageVersion {
    /// Changes with incompatible protocols.
    pub major: u16,
    /// Changes with features.
    pub minor: u16,
    /// Changes with repairs.
    pub patch: u16,
}

/// Text that is not a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a version of the form `major.minor.patch`")]
pub struct VersionError;

impl ImageVersion {
    /// Writes 6 bytes.
    pub fn write(&self, out: &mut Writer) {
        out.u16(self.major).u16(self.minor).u16(self.patch);
    }

    /// Reads 6 bytes.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            major: from.u16()?,
            minor: from.u16()?,
            patch: from.u16()?,
        })
    }
}

impl core::str::FromStr for ImageVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let mut parts = text
            .split('.')
            .map(|part| part.parse::<u16>().map_err(|_| VersionError));
        let mut next = || parts.next().ok_or(VersionError)?;
        let version = Self {
            major: next()?,
            minor: next()?,
            patch: next()?,
        };
        if parts.next().is_some() {
            Err(VersionError)
        } else {
            Ok(version)
        }
    }
}

impl fmt::Display for ImageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Debug for ImageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

crate::digest::written_as_text!(ImageVersion);

/// Whether an image is meant for clients or for research.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// For clients.
    Release,
    /// Reports come from a simulated TEE; only research programs take it.
    Research,
}

/// How a value came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Computed from the artifacts alone.
    Computed,
    /// Computed, and some of the events behind it are only there on real hardware, where nobody has
    /// compared them yet: `docs/spec/measurements.md`, section RTMR0.
    ComputedUnconfirmed,
    /// Read from a running machine of that shape.
    Captured,
}

/// A register's expected value and how it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedRtmr {
    /// The value.
    pub value: Rtmr,
    /// How it is known.
    pub origin: Origin,
}

/// Expected registers of one machine shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "tee", rename_all = "kebab-case", try_from = "WrittenRegisters")]
pub enum ExpectedRegisters {
    /// AMD SEV-SNP.
    SevSnp {
        /// QEMU's name of the vCPU model.
        vcpu_type: String,
        /// SEV_FEATURES of the guest.
        guest_features: u64,
        /// The launch measurement.
        launch_digest: LaunchDigest,
    },
    /// Intel TDX; RTMR3 must be zero.
    Tdx {
        /// Build-time measurement.
        mrtd: Mrtd,
        /// Firmware configuration: the machine's shape.
        rtmr0: ExpectedRtmr,
        /// Kernel.
        rtmr1: ExpectedRtmr,
        /// Command line and initrd.
        rtmr2: ExpectedRtmr,
    },
}

/// Registers as they are read: the members of either kind, whose types and names are known before
/// the kind is. Kept as a tree until then, hostile members would take sixty times their length.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRegisters {
    tee: WrittenTee,
    #[serde(default, deserialize_with = "present")]
    vcpu_type: Option<String>,
    #[serde(default, deserialize_with = "present")]
    guest_features: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    launch_digest: Option<LaunchDigest>,
    #[serde(default, deserialize_with = "present")]
    mrtd: Option<Mrtd>,
    #[serde(default, deserialize_with = "present")]
    rtmr0: Option<ExpectedRtmr>,
    #[serde(default, deserialize_with = "present")]
    rtmr1: Option<ExpectedRtmr>,
    #[serde(default, deserialize_with = "present")]
    rtmr2: Option<ExpectedRtmr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenTee {
    SevSnp,
    Tdx,
}

/// A member that is there has a value: null is none.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Registers that are not exactly those of their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("registers have a member too few, or one of another kind")]
struct OtherRegisters;

impl TryFrom<WrittenRegisters> for ExpectedRegisters {
    type Error = OtherRegisters;

    fn try_from(written: WrittenRegisters) -> Result<Self, OtherRegisters> {
        let snp = (
            written.vcpu_type,
            written.guest_features,
            written.launch_digest,
        );
        let tdx = (written.mrtd, written.rtmr0, written.rtmr1, written.rtmr2);
        match (written.tee, snp, tdx) {
            (
                WrittenTee::SevSnp,
                (Some(vcpu_type), Some(guest_features), Some(launch_digest)),
                (None, None, None, None),
            ) => Ok(Self::SevSnp {
                vcpu_type,
                guest_features,
                launch_digest,
            }),
            (
                WrittenTee::Tdx,
                (None, None, None),
                (Some(mrtd), Some(rtmr0), Some(rtmr1), Some(rtmr2)),
            ) => Ok(Self::Tdx {
                mrtd,
                rtmr0,
                rtmr1,
                rtmr2,
            }),
            _ => Err(OtherRegisters),
        }
    }
}

impl ExpectedRegisters {
    /// The 256-bit key by which the registry contract names these registers.
    #[must_use]
    pub fn key(&self) -> MeasurementKey {
        match self {
            Self::SevSnp { launch_digest, .. } => snp_measurement_key(launch_digest),
            Self::Tdx {
                mrtd,
                rtmr0,
                rtmr1,
                rtmr2,
            } => tdx_measurement_key(mrtd, &rtmr0.value, &rtmr1.value, &rtmr2.value),
        }
    }
}

/// Registry key of a SEV-SNP machine.
#[must_use]
pub fn snp_measurement_key(digest: &LaunchDigest) -> MeasurementKey {
    let hash = Sha256::new().chain_update(KEY_DOMAIN).chain_update([1]);
    MeasurementKey(hash.chain_update(digest.0).finalize().into())
}

/// Registry key of a TDX machine.
#[must_use]
pub fn tdx_measurement_key(
    mrtd: &Mrtd,
    rtmr0: &Rtmr,
    rtmr1: &Rtmr,
    rtmr2: &Rtmr,
) -> MeasurementKey {
    let hash = Sha256::new()
        .chain_update(KEY_DOMAIN)
        .chain_update([2])
        .chain_update(mrtd.0);
    let hash = hash
        .chain_update(rtmr0.0)
        .chain_update(rtmr1.0)
        .chain_update(rtmr2.0);
    MeasurementKey(hash.finalize().into())
}

/// GPUs and switches that a machine of a shape may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSet {
    /// Architecture of the GPUs.
    pub architecture: DeviceKind,
    /// Number of GPUs, all of them.
    pub gpus: u8,
    /// Number of NVSwitches handed to the guest.
    pub switches: u8,
    /// How the GPUs are handed to the guest.
    pub mode: GpuMode,
}

impl DeviceSet {
    /// Whether a machine can have it: at least one GPU, and switches where the mode protects the
    /// links to them. Without, nothing would say what stands on those links.
    #[must_use]
    pub const fn is_possible(&self) -> bool {
        let linked = match self.mode {
            GpuMode::ProtectedPcie => self.switches > 0,
            GpuMode::MultiPass | GpuMode::SinglePass => true,
        };
        self.architecture.is_gpu() && self.gpus > 0 && linked
    }
}

/// One machine shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeReference {
    /// Name of the shape, as the host agent launches it.
    pub shape: String,
    /// Number of vCPUs.
    pub vcpus: u16,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What its registers must hold.
    pub registers: ExpectedRegisters,
    /// The sets of GPUs of which it must have one; without any, it has no GPU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceSet>,
}

/// A model that clients accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelReference {
    /// Its usual name.
    pub name: String,
    /// Its digest.
    pub digest: ModelDigest,
}

/// The reference values of one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceValues {
    /// Version of the document, 1.
    pub version: u16,
    /// Version of the image.
    pub image: ImageVersion,
    /// What the image is meant for.
    pub profile: Profile,
    /// Accepted shapes; an empty list accepts nothing.
    pub shapes: Vec<ShapeReference>,
    /// Accepted models; an empty list accepts nothing.
    pub models: Vec<ModelReference>,
}

/// Reference values that are not of the specified form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceValuesError {
    /// Longer than [`MAX_BYTES`].
    #[error("reference values longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not JSON of the specified members.
    #[error("reference values are not of the specified form (line {line}, column {column})")]
    Malformed {
        /// Line of the first offence.
        line: usize,
        /// Column of the first offence.
        column: usize,
    },
    /// A set of devices that no machine can have.
    #[error("a set of devices has no GPU, or protects links to switches and has none")]
    DeviceSet,
    /// Another version of the document.
    #[error("reference values of version {found}; this program reads version 1")]
    Version {
        /// The version found.
        found: u16,
    },
}

impl ReferenceValues {
    /// Parses the document.
    ///
    /// # Errors
    /// See [`ReferenceValuesError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReferenceValuesError> {
        if bytes.len() > MAX_BYTES {
            return Err(ReferenceValuesError::TooLong);
        }
        let values: Self =
            serde_json::from_slice(bytes).map_err(|error| ReferenceValuesError::Malformed {
                line: error.line(),
                column: error.column(),
            })?;
        if values.version != 1 {
            return Err(ReferenceValuesError::Version {
                found: values.version,
            });
        }
        let mut sets = values.shapes.iter().flat_map(|shape| &shape.devices);
        if !sets.all(DeviceSet::is_possible) {
            return Err(ReferenceValuesError::DeviceSet);
        }
        Ok(values)
    }

    /// The document, indented, with a final newline.
    ///
    /// # Errors
    /// Those of the serialiser, which these types do not raise.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn values() -> ReferenceValues {
        let captured = |byte| ExpectedRtmr {
            value: Rtmr([byte; 48]),
            origin: Origin::Captured,
        };
        ReferenceValues {
            version: 1,
            image: ImageVersion {
                major: 0,
                minor: 1,
                patch: 0,
            },
            profile: Profile::Research,
            shapes: std::vec![
                ShapeReference {
                    shape: "cpu-2".to_string(),
                    vcpus: 2,
                    memory_mib: 2048,
                    registers: ExpectedRegisters::SevSnp {
                        vcpu_type: "EPYC-Genoa".to_string(),
                        guest_features: 1,
                        launch_digest: LaunchDigest([1; 48]),
                    },
                    devices: Vec::new(),
                },
                ShapeReference {
                    shape: "cpu-2".to_string(),
                    vcpus: 2,
                    memory_mib: 2048,
                    registers: ExpectedRegisters::Tdx {
                        mrtd: Mrtd([2; 48]),
                        rtmr0: captured(3),
                        rtmr1: captured(4),
                        rtmr2: captured(5),
                    },
                    devices: std::vec![DeviceSet {
                        architecture: DeviceKind::Hopper,
                        gpus: 8,
                        switches: 4,
                        mode: GpuMode::ProtectedPcie,
                    }],
                },
            ],
            models: std::vec![ModelReference {
                name: "m".to_string(),
                digest: ModelDigest([6; 32]),
            }],
        }
    }

    #[test]
    fn the_document_round_trips() {
        let text = values().to_json().unwrap();
        assert_eq!(ReferenceValues::parse(text.as_bytes()), Ok(values()));
    }

    #[test]
    fn refuses_unknown_members_at_every_level() {
        let text = values().to_json().unwrap();
        for member in [
            "\"version\"",
            "\"shape\"",
            "\"vcpu_type\"",
            "\"value\"",
            "\"gpus\"",
            "\"digest\"",
        ] {
            let with = text.replacen(member, &("\"extra\": 1, ".to_string() + member), 1);
            assert_ne!(with, text);
            assert!(ReferenceValues::parse(with.as_bytes()).is_err(), "{member}");
        }
    }

    #[test]
    fn refuses_a_set_of_devices_that_no_machine_can_have() {
        let set = values().shapes[1].devices[0];
        let ls10 = DeviceKind::Ls10;
        for (what, set) in [
            ("links to no switch", DeviceSet { switches: 0, ..set }),
            ("no GPU", DeviceSet { gpus: 0, ..set }),
            (
                "switches for GPUs",
                DeviceSet {
                    architecture: ls10,
                    ..set
                },
            ),
        ] {
            let mut changed = values();
            changed.shapes[1].devices.push(set);
            let text = changed.to_json().unwrap();
            let refused = ReferenceValues::parse(text.as_bytes());
            assert_eq!(refused, Err(ReferenceValuesError::DeviceSet), "{what}");
        }
        let mode = GpuMode::MultiPass;
        let mut changed = values();
        changed.shapes[1].devices.push(DeviceSet {
            switches: 0,
            mode,
            ..set
        });
        let text = changed.to_json().unwrap();
        assert_eq!(ReferenceValues::parse(text.as_bytes()), Ok(changed));
    }

    #[test]
    fn registers_have_exactly_the_members_of_their_kind() {
        let text = values().to_json().unwrap();
        for (from, to) in [
            ("\"tee\": \"sev-snp\"", "\"tee\": \"tdx\""),
            ("\"tee\": \"sev-snp\"", "\"tee\": \"sgx\""),
            ("\"tee\": \"sev-snp\",", ""),
            ("\"vcpu_type\"", "\"mrtd\": null, \"vcpu_type\""),
            ("\"guest_features\": 1", "\"guest_features\": null"),
            ("\"guest_features\": 1,", ""),
            ("\"mrtd\"", "\"vcpu_type\": \"x\", \"mrtd\""),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let refused = ReferenceValues::parse(changed.as_bytes());
            let malformed = matches!(refused, Err(ReferenceValuesError::Malformed { .. }));
            assert!(malformed, "{to}");
        }
    }

    #[test]
    fn keys_differ_between_register_sets() {
        let values = values();
        assert_ne!(
            values.shapes[0].registers.key(),
            values.shapes[1].registers.key()
        );
    }
}
