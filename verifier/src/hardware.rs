//! One report, or those of a machine's devices, with endorsements and no Statement: is it genuine,
//! and what does it say?
//!
//! For people who look at a machine. There is a verdict and no result: nothing was said of a
//! connection, a configuration or an image, so nothing can be opened with it.

use protocol::endorsements::Endorsements;
use protocol::tee::TeeKind;

use crate::anchors::TrustAnchors;
use crate::appraise;
use crate::checks::Checks;
use crate::devices;
use crate::nvidia::DeviceExpectations;
use crate::policy::AppraisalPolicy;
use crate::time::UnixTime;
use crate::verdict::{Kind, Verdict};

/// Appraises a SEV-SNP report or a TDX quote: `docs/spec/evidence.md` §6.2 and §6.3.
#[must_use]
pub fn appraise_hardware(
    tee: TeeKind,
    report: &[u8],
    endorsements: &Endorsements,
    policy: &AppraisalPolicy,
    anchors: &TrustAnchors,
    at: UnixTime,
) -> Verdict {
    let mut checks = Checks::by(policy, anchors, at);
    appraise::appraise_hardware(tee, report, endorsements, &mut checks);
    let kind = match tee {
        TeeKind::SevSnp => Kind::SnpReport,
        TeeKind::Tdx => Kind::TdxQuote,
    };
    verdict(kind, Some(tee), checks)
}

/// Appraises evidence of GPUs and switches, and what is stapled for them, both as they are encoded:
/// `docs/spec/gpu-evidence.md` §7.
#[must_use]
pub fn appraise_gpus(
    evidence: &[u8],
    endorsements: Option<&[u8]>,
    expected: &DeviceExpectations<'_>,
    policy: &AppraisalPolicy,
    anchors: &TrustAnchors,
    at: UnixTime,
) -> Verdict {
    let mut checks = Checks::by(policy, anchors, at);
    devices::check_alone(evidence, endorsements, expected, &mut checks);
    verdict(Kind::GpuEvidence, None, checks)
}

fn verdict(kind: Kind, tee: Option<TeeKind>, checks: Checks<'_>) -> Verdict {
    let decided = checks.outcome().map(|()| None);
    Verdict::of((kind, tee, None), checks, decided)
}
