//! One device's word: its report, the chain of the key that signed it, and how the two fit.

use protocol::digest::GpuNonce;
use protocol::gpu_evidence::{DeviceEvidence, DeviceKind, GpuMode};

use super::chain::{Chain, ChainForm, ChainVerifier, common_name};
use super::opaque::{DeviceFields, OpaqueData, Pdi};
use super::spdm::SpdmReport;
use super::{ecdsa, fwid};
use crate::rejection::Rejection;
use crate::time::UnixTime;

/// Firmware's key, read-only firmware's key, provisioner, product line, root.
const CHAIN_LENGTH: usize = 5;
/// The leaf is certified by the device itself, so nobody answers for it.
const ANSWERED_FROM: usize = 1;

/// A device whose report is genuine, fresh and its own.
#[derive(Debug)]
pub(super) struct VerifiedDevice<'a> {
    pub(super) kind: DeviceKind,
    pub(super) report: SpdmReport<'a>,
    pub(super) data: OpaqueData,
    /// Serial number of the leaf: NVIDIA's name for the device.
    pub(super) serial: Vec<u8>,
    /// Its identity on the links of its board.
    pub(super) pdi: Pdi,
    /// Earliest end of validity of its chain.
    pub(super) not_after: UnixTime,
}

impl<'a> VerifiedDevice<'a> {
    /// `docs/spec/gpu-evidence.md` §3 to §5.
    pub(super) fn verify(
        evidence: &'a DeviceEvidence,
        nonce: &GpuNonce,
        chains: &mut ChainVerifier<'_>,
    ) -> Result<Self, Rejection> {
        let kind = evidence.kind;
        let report = SpdmReport::parse(&evidence.report)?;
        let data = OpaqueData::parse(report.opaque, kind)?;
        check_nonce(&report, nonce)?;
        let form = ChainForm {
            length: CHAIN_LENGTH,
            root: chains.anchors.nvidia_device_root(),
            answered_from: ANSWERED_FROM,
        };
        let chain = chains.verify(&evidence.chain, form)?;
        report.check_signature(&ecdsa::key_of(chain.leaf()?)?)?;
        check_architecture(kind, &chain)?;
        check_fwid(kind, &data, &chain)?;
        Ok(Self {
            kind,
            serial: serial(chain.leaf()?).to_vec(),
            pdi: pdi(serial(chain.leaf_issuer()?)),
            not_after: chain.not_after,
            report,
            data,
        })
    }

    /// `None` for a switch.
    pub(super) const fn mode(&self) -> Option<GpuMode> {
        match &self.data.device {
            DeviceFields::Gpu(gpu) => Some(gpu.mode),
            DeviceFields::Switch { .. } => None,
        }
    }
}

fn check_nonce(report: &SpdmReport<'_>, nonce: &GpuNonce) -> Result<(), Rejection> {
    if report.nonce == *nonce {
        Ok(())
    } else {
        Err(Rejection::GpuNonce)
    }
}

/// The evidence says what kind of device it is of; the chain decides.
fn check_architecture(kind: DeviceKind, chain: &Chain<'_>) -> Result<(), Rejection> {
    let known: &[&str] = match kind {
        DeviceKind::Hopper => &["GH100 "],
        DeviceKind::Blackwell => &["GB1", "GB2"],
        DeviceKind::Ls10 => &["LS_10 "],
    };
    let (leaf, issuer) = (chain.leaf()?, chain.leaf_issuer()?);
    let named = [leaf, issuer].map(common_name).into_iter().all(|name| {
        let mut known = known.iter();
        known.any(|prefix| name.starts_with(prefix))
    });
    named.then_some(()).ok_or(Rejection::GpuKind)
}

/// The firmware that measures is the one whose key signs. Switches do not repeat their identity.
fn check_fwid(kind: DeviceKind, data: &OpaqueData, chain: &Chain<'_>) -> Result<(), Rejection> {
    let certified = fwid::of_leaf(kind, chain.leaf()?, chain.leaf_issuer()?)?;
    match data.fwid {
        Some(reported) if reported == certified => Ok(()),
        None if !kind.is_gpu() => Ok(()),
        Some(_) | None => Err(Rejection::GpuFwid),
    }
}

fn serial<'c>(certificate: &'c crate::certificate::ParsedCertificate<'_>) -> &'c [u8] {
    certificate.parsed.tbs_certificate.serial_number.as_bytes()
}

/// The last eight bytes of the serial number of the certificate above the leaf. Seen so in all
/// reports of whole boards that are public: what switches call their GPUs is this number.
fn pdi(serial: &[u8]) -> Pdi {
    let mut pdi = Pdi::default();
    for (to, from) in pdi.iter_mut().rev().zip(serial.iter().rev()) {
        *to = *from;
    }
    pdi
}
