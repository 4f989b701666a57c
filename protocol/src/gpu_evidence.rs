//! Evidence of GPUs and NVSwitches, and what the host staples to it. `docs/spec/gpu-evidence.md`.
//!
//! Here are the bytes, their limits and the nonces. What NVIDIA's reports, certificates, manifests
//! and revocation answers say is the verifier's part.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::codec::{DecodeError, Reader, Writer};
use crate::digest::{BootId, GpuNonce, Nonce, OcspNonce};

/// At most this many devices.
pub const MAX_DEVICES: usize = 32;
/// A device's request and response together are at most this long.
pub const MAX_REPORT_BYTES: usize = 16 * 1024;
/// A device's chain has at most this many certificates.
pub const MAX_CHAIN: usize = 8;
/// A certificate is at most this long.
pub const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;
/// At most this many reference manifests.
pub const MAX_RIMS: usize = 8;
/// A reference manifest's name is at most this long.
pub const MAX_RIM_ID_BYTES: usize = 96;
/// A reference manifest is at most this long; NVIDIA's are below 24 KiB.
pub const MAX_RIM_BYTES: usize = 128 * 1024;
/// At most this many revocation answers.
pub const MAX_OCSP: usize = 128;
/// A revocation answer is at most this long.
pub const MAX_OCSP_BYTES: usize = 8 * 1024;

const EVIDENCE_MAGIC: &[u8; 8] = b"COCOGPUS";
const ENDORSEMENTS_MAGIC: &[u8; 8] = b"COCOGEND";
const VERSION: u16 = 1;
const NONCE_DOMAIN: &[u8] = b"cocoon/gpu-nonce/v1\0";
const OCSP_DOMAIN: &[u8] = b"cocoon/ocsp-nonce/v1\0";

/// Which device reports, and so how its bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// A GPU of the Hopper architecture (H100, H200, GH200).
    Hopper,
    /// A GPU of the Blackwell architecture.
    Blackwell,
    /// An NVSwitch of the third generation (LS10).
    Ls10,
}

impl DeviceKind {
    const fn wire(self) -> u8 {
        match self {
            Self::Hopper => 1,
            Self::Blackwell => 2,
            Self::Ls10 => 3,
        }
    }

    const fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::Hopper),
            2 => Ok(Self::Blackwell),
            3 => Ok(Self::Ls10),
            _ => Err(DecodeError::OutOfRange {
                field: "device kind",
            }),
        }
    }

    /// The name in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hopper => "hopper",
            Self::Blackwell => "blackwell",
            Self::Ls10 => "ls10",
        }
    }

    /// Whether it computes; a switch only connects.
    #[must_use]
    pub const fn is_gpu(self) -> bool {
        match self {
            Self::Hopper | Self::Blackwell => true,
            Self::Ls10 => false,
        }
    }
}

/// How GPUs are handed to one guest, as their reports say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GpuMode {
    /// Several GPUs, each encrypting its own links.
    MultiPass,
    /// One GPU.
    SinglePass,
    /// All GPUs of a board together with its switches (protected PCIe).
    ProtectedPcie,
}

impl GpuMode {
    /// The name in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MultiPass => "multi-pass",
            Self::SinglePass => "single-pass",
            Self::ProtectedPcie => "protected-pcie",
        }
    }
}

/// What one device says, and the chain of the key that signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceEvidence {
    /// Which device reports.
    pub kind: DeviceKind,
    /// SPDM request and response, one behind the other.
    pub report: Vec<u8>,
    /// Certificates in DER, from the leaf to the root.
    pub chain: Vec<Vec<u8>>,
}

/// What all devices of a machine say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuEvidence {
    /// How often this boot has asked its devices before.
    pub round: u32,
    /// One entry for each device, in the order of their nonces.
    pub devices: Vec<DeviceEvidence>,
}

impl GpuEvidence {
    /// The encoded evidence.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.raw(EVIDENCE_MAGIC).u16(VERSION).u32(self.round);
        out.count(self.devices.len());
        for device in &self.devices {
            out.u8(device.kind.wire()).blob(&device.report);
            out.count(device.chain.len());
            for certificate in &device.chain {
                out.blob(certificate);
            }
        }
        out.finish()
    }

    /// Decodes exactly one evidence.
    ///
    /// # Errors
    /// A [`DecodeError`]; every length is compared with its limit before it is used.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        from.magic(EVIDENCE_MAGIC)?;
        check_version(&mut from)?;
        let round = from.u32()?;
        let count = from.count("devices", MAX_DEVICES)?;
        let devices = (0..count)
            .map(|_| read_device(&mut from))
            .collect::<Result<_, _>>()?;
        from.finish()?;
        Ok(Self { round, devices })
    }
}

/// A reference manifest (RIM) under the name by which NVIDIA's service hands it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRim {
    /// The name: it finds the manifest and proves nothing.
    pub id: String,
    /// The signed XML document.
    pub document: Vec<u8>,
}

/// What the host staples for its devices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GpuEndorsements {
    /// Reference manifests, each name at most once.
    pub rims: Vec<NamedRim>,
    /// Revocation answers (OCSP), DER.
    pub ocsp: Vec<Vec<u8>>,
}

impl GpuEndorsements {
    /// The encoded endorsements.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.raw(ENDORSEMENTS_MAGIC).u16(VERSION);
        out.count(self.rims.len());
        for rim in &self.rims {
            out.blob(rim.id.as_bytes()).blob(&rim.document);
        }
        out.count(self.ocsp.len());
        for answer in &self.ocsp {
            out.blob(answer);
        }
        out.finish()
    }

    /// Decodes exactly one item.
    ///
    /// # Errors
    /// A [`DecodeError`], also for a name that is there twice.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        from.magic(ENDORSEMENTS_MAGIC)?;
        check_version(&mut from)?;
        let mut items = Self::default();
        for _ in 0..from.count("reference manifests", MAX_RIMS)? {
            let id = read_rim_id(&mut from)?;
            if items.rim(&id).is_some() {
                return Err(DecodeError::OutOfRange { field: "rim id" });
            }
            let document = from.blob("reference manifest", MAX_RIM_BYTES)?.to_vec();
            items.rims.push(NamedRim { id, document });
        }
        for _ in 0..from.count("revocation answers", MAX_OCSP)? {
            let answer = from.blob("revocation answer", MAX_OCSP_BYTES)?;
            items.ocsp.push(answer.to_vec());
        }
        from.finish()?;
        Ok(items)
    }

    /// The manifest of a name.
    #[must_use]
    pub fn rim(&self, id: &str) -> Option<&[u8]> {
        let mut rims = self.rims.iter();
        rims.find(|rim| rim.id == id)
            .map(|rim| rim.document.as_slice())
    }
}

/// The nonce that a device's report must carry: `docs/spec/gpu-evidence.md` §2.
#[must_use]
pub fn device_nonce(boot_id: &BootId, round: u32, index: u32) -> GpuNonce {
    let hash = Sha256::new()
        .chain_update(NONCE_DOMAIN)
        .chain_update(boot_id.0)
        .chain_update(round.to_le_bytes())
        .chain_update(index.to_le_bytes());
    GpuNonce(hash.finalize().into())
}

/// The nonce that revocation answers must carry where a policy asks for one.
#[must_use]
pub fn ocsp_nonce(challenge: &Nonce) -> OcspNonce {
    let hash = Sha256::new().chain_update(OCSP_DOMAIN);
    OcspNonce(hash.chain_update(challenge.0).finalize().into())
}

fn check_version(from: &mut Reader<'_>) -> Result<(), DecodeError> {
    match from.u16()? {
        VERSION => Ok(()),
        _ => Err(DecodeError::OutOfRange {
            field: "gpu evidence version",
        }),
    }
}

fn read_device(from: &mut Reader<'_>) -> Result<DeviceEvidence, DecodeError> {
    let kind = DeviceKind::from_wire(from.u8()?)?;
    let report = from.blob("device report", MAX_REPORT_BYTES)?.to_vec();
    let chain = (0..from.count("device chain", MAX_CHAIN)?)
        .map(|_| Ok(from.blob("certificate", MAX_CERTIFICATE_BYTES)?.to_vec()))
        .collect::<Result<_, DecodeError>>()?;
    Ok(DeviceEvidence {
        kind,
        report,
        chain,
    })
}

/// Letters, digits, `.`, `_` and `-`.
fn read_rim_id(from: &mut Reader<'_>) -> Result<String, DecodeError> {
    let refused = DecodeError::OutOfRange { field: "rim id" };
    let bytes = from.blob("rim id", MAX_RIM_ID_BYTES)?;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    if bytes.is_empty() || !bytes.iter().all(allowed) {
        return Err(refused);
    }
    let text = core::str::from_utf8(bytes).map_err(|_| refused)?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec;

    fn evidence() -> GpuEvidence {
        let device = |kind| DeviceEvidence {
            kind,
            report: vec![1, 2, 3],
            chain: vec![vec![4], vec![5, 6]],
        };
        GpuEvidence {
            round: 7,
            devices: vec![
                device(DeviceKind::Hopper),
                device(DeviceKind::Blackwell),
                device(DeviceKind::Ls10),
            ],
        }
    }

    fn endorsements() -> GpuEndorsements {
        GpuEndorsements {
            rims: vec![NamedRim {
                id: "NV_GPU_DRIVER_GH100_550.144.03".to_string(),
                document: vec![b'<'],
            }],
            ocsp: vec![vec![0x30, 0]],
        }
    }

    #[test]
    fn both_round_trip_and_every_prefix_is_refused() {
        let bytes = evidence().encode();
        assert_eq!(GpuEvidence::decode(&bytes), Ok(evidence()));
        for end in 0..bytes.len() {
            assert!(GpuEvidence::decode(&bytes[..end]).is_err(), "{end}");
        }
        let bytes = endorsements().encode();
        assert_eq!(GpuEndorsements::decode(&bytes), Ok(endorsements()));
        for end in 0..bytes.len() {
            assert!(GpuEndorsements::decode(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn refuses_what_is_over_a_limit_unknown_or_there_twice() {
        let mut many = evidence();
        many.devices = vec![many.devices[0].clone(); MAX_DEVICES + 1];
        assert!(GpuEvidence::decode(&many.encode()).is_err());
        let mut long = evidence();
        long.devices[0].report = vec![0; MAX_REPORT_BYTES + 1];
        assert!(GpuEvidence::decode(&long.encode()).is_err());
        let mut kind = evidence().encode();
        kind[15] = 9;
        let refused = GpuEvidence::decode(&kind);
        let field = "device kind";
        assert_eq!(refused, Err(DecodeError::OutOfRange { field }));
        let mut twice = endorsements();
        twice.rims.push(twice.rims[0].clone());
        let refused = GpuEndorsements::decode(&twice.encode());
        let field = "rim id";
        assert_eq!(refused, Err(DecodeError::OutOfRange { field }));
        let mut name = endorsements();
        name.rims[0].id = "../etc".to_string();
        assert!(GpuEndorsements::decode(&name.encode()).is_err());
    }

    #[test]
    fn nonces_differ_by_boot_round_and_device_and_are_the_specified_ones() {
        let boot = BootId([1; 32]);
        let base = device_nonce(&boot, 0, 0);
        assert_ne!(base, device_nonce(&BootId([2; 32]), 0, 0));
        assert_ne!(base, device_nonce(&boot, 1, 0));
        assert_ne!(base, device_nonce(&boot, 0, 1));
        // python3: sha256(b"cocoon/gpu-nonce/v1\0" + b"\1"*32 + pack("<II", 3, 5))
        let vector = "c2aaff217b9a19bb2a568e10d41d49f851db85e85b2ae5ac73338b3859b5ef93";
        assert_eq!(device_nonce(&boot, 3, 5).to_string(), vector);
    }
}
