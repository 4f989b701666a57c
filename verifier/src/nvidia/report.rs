//! One device's word: its report, the chain of the key that signed it, and how the two fit.

use protocol::digest::GpuNonce;
use protocol::gpu_evidence::{DeviceEvidence, DeviceKind, GpuMode};

use super::chain::{self, Chain, ChainForm, ChainVerifier, common_name};
use super::opaque::{DeviceFields, GpuFields, OpaqueData, Pdi};
use super::spdm::SpdmReport;
use super::{Place, fwid};
use crate::checks::{Checks, Hex};
use crate::rejection::Rejection;
use crate::time::UnixTime;

/// Firmware's key, read-only firmware's key, provisioner, product line, root.
const CHAIN_LENGTH: usize = 5;
/// The leaf is certified by the device itself, so nobody answers for it.
const ANSWERED_FROM: usize = 1;

const REPORT: &[Rejection] = Rejection::GpuReportMalformed.through(Rejection::GpuNonce);
const IDENTITY: &[Rejection] = Rejection::GpuSignatureInvalid.through(Rejection::GpuFwid);

/// What could be read of a device. Whether it holds, the list of checks says.
#[derive(Debug)]
pub(super) struct ReadDevice<'a> {
    pub(super) place: Place,
    pub(super) report: SpdmReport<'a>,
    pub(super) data: OpaqueData,
    /// Serial number of the leaf: NVIDIA's name for the device.
    pub(super) serial: Vec<u8>,
    /// Its identity on the links of its board.
    pub(super) pdi: Pdi,
    /// Earliest end of validity of its chain.
    pub(super) not_after: UnixTime,
}

/// `docs/spec/gpu-evidence.md` §7.3, in its order.
pub(super) fn plan(place: Place, checks: &mut Checks<'_>) {
    checks.plan(place.device(), REPORT);
    chain::plan(place.chain(), checks);
    checks.plan(place.device(), IDENTITY);
}

impl<'a> ReadDevice<'a> {
    /// `docs/spec/gpu-evidence.md` §3 to §5. `None` when report or chain cannot be read.
    pub(super) fn read(
        place: Place,
        evidence: &'a DeviceEvidence,
        nonce: Option<GpuNonce>,
        chains: &mut ChainVerifier<'_>,
        checks: &mut Checks<'_>,
    ) -> Option<Self> {
        let of = place.device();
        let bytes = format_args!("{} bytes", evidence.report.len());
        let report = SpdmReport::parse(&evidence.report);
        let report = checks.read(of, Rejection::GpuReportMalformed, bytes, report);
        let data = report.as_ref().and_then(|report| {
            let bytes = format_args!("{} bytes", report.opaque.len());
            let data = OpaqueData::parse(report.opaque, place.kind);
            checks.read(of, Rejection::GpuOpaqueMalformed, bytes, data)
        });
        if let Some(report) = &report {
            let holds = Some(report.nonce) == nonce;
            checks.expect(of, Rejection::GpuNonce, report.nonce, holds);
        }
        let form = ChainForm {
            length: CHAIN_LENGTH,
            root: checks.terms.anchors.nvidia.device,
            answered_from: ANSWERED_FROM,
        };
        let chain = chains.read(place.chain(), &evidence.chain, form, checks)?;
        if let (Some(report), Some(key)) = (&report, &chain.key) {
            let (found, holds) = ("ECDSA P-384, SHA-384", report.is_signed(key));
            checks.expect(of, Rejection::GpuSignatureInvalid, found, holds);
        }
        let holds = is_of_kind(place.kind, &chain);
        checks.expect(of, Rejection::GpuKind, place.kind.name(), holds);
        check_fwid(place, data.as_ref(), &chain, checks);
        Some(Self {
            place,
            report: report?,
            data: data?,
            serial: chain.leaf.serial().to_vec(),
            pdi: pdi(chain.issuer.serial()),
            not_after: chain.not_after,
        })
    }

    /// `None` for a switch.
    pub(super) const fn gpu(&self) -> Option<&GpuFields> {
        match &self.data.device {
            DeviceFields::Gpu(gpu) => Some(gpu),
            DeviceFields::Switch { .. } => None,
        }
    }

    /// `None` for a switch.
    pub(super) fn mode(&self) -> Option<GpuMode> {
        self.gpu().map(|gpu| gpu.mode)
    }
}

/// The evidence says what kind of device it is of; the chain decides.
fn is_of_kind(kind: DeviceKind, chain: &Chain<'_>) -> bool {
    let known: &[&str] = match kind {
        DeviceKind::Hopper => &["GH100 "],
        DeviceKind::Blackwell => &["GB1", "GB2"],
        DeviceKind::Ls10 => &["LS_10 "],
    };
    let names = [&chain.leaf, &chain.issuer].map(common_name);
    names.iter().all(|name| {
        let mut known = known.iter();
        known.any(|prefix| name.starts_with(prefix))
    })
}

/// The firmware that measures is the one whose key signs. Switches do not repeat their identity.
fn check_fwid(place: Place, data: Option<&OpaqueData>, chain: &Chain<'_>, checks: &mut Checks<'_>) {
    let of = place.device();
    let certified = fwid::of_leaf(place.kind, &chain.leaf, &chain.issuer);
    let certified = checks.read(of, Rejection::GpuFwidExtension, "", certified);
    let (Some(data), Some(certified)) = (data, certified) else {
        return;
    };
    let step = Rejection::GpuFwid;
    match data.fwid {
        Some(reported) => {
            checks.expect(of, step, Hex(&reported), reported == certified);
        }
        None if place.kind.is_gpu() => {
            checks.expect(of, step, "none", false);
        }
        None => checks.not_needed(of, &[step], "not reported"),
    }
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
