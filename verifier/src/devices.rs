//! The GPUs and switches of a shape: that there is evidence of them exactly where there should be,
//! that it is the Statement's, and then `nvidia`'s appraisal of it.
//!
//! Each device's checks are made whatever another's end in.

use protocol::digest::GpuEvidenceDigest;
use protocol::endorsements::EndorsementKind;
use protocol::evidence::Evidence;
use protocol::gpu_evidence::{GpuEndorsements, GpuEvidence, ocsp_nonce};
use protocol::reference_values::ShapeReference;
use sha2::{Digest as _, Sha256};

use crate::appraise::ChannelBinding;
use crate::checks::{Checks, Subject};
use crate::nvidia::{self, DeviceExpectations, DeviceFacts, DeviceNonces};
use crate::rejection::Rejection;

pub(crate) const EVIDENCE: Subject = Subject::of("gpu-evidence");
const STAPLED: Subject = Subject::of("gpu-endorsements");

const STATED: &[Rejection] = Rejection::GpuEvidenceMissing.through(Rejection::GpuEvidenceMalformed);
const STAPLES: &[Rejection] =
    Rejection::GpuEndorsementsMissing.through(Rejection::GpuEndorsementsMalformed);

/// `None` unless the devices are those of the shape, genuine, fresh, and run what they may.
pub(crate) fn check(
    evidence: &Evidence,
    channel: &ChannelBinding,
    shape: &ShapeReference,
    checks: &mut Checks<'_>,
) -> Option<Vec<DeviceFacts>> {
    let stated = evidence.statement.gpu_evidence;
    let none = evidence.gpu_evidence.is_empty() && stated.is_zero();
    let wanted = !shape.devices.is_empty();
    let unexpected = Rejection::GpuEvidenceUnexpected;
    checks.expect(EVIDENCE, unexpected, stated, wanted || none);
    if !wanted {
        return Some(Vec::new());
    }
    checks.plan(EVIDENCE, STATED);
    checks.plan(STAPLED, STAPLES);
    let read = checks.steps(EVIDENCE, STATED, stated, read(evidence));
    let stapled = stapled(evidence.endorsements.get(EndorsementKind::Nvidia), checks);
    let expected = DeviceExpectations {
        nonces: DeviceNonces::OfBoot(&evidence.statement.boot_id),
        sets: &shape.devices,
        ocsp_nonce: Some(ocsp_nonce(&channel.nonce)),
    };
    nvidia::appraise(&read?, &stapled, &expected, checks)
}

/// Devices without a machine around them: `docs/spec/gpu-evidence.md`, whatever a Statement says.
pub(crate) fn check_alone(
    evidence: &[u8],
    endorsements: Option<&[u8]>,
    expected: &DeviceExpectations<'_>,
    checks: &mut Checks<'_>,
) {
    let malformed = Rejection::GpuEvidenceMalformed;
    checks.plan(EVIDENCE, &[malformed]);
    checks.plan(STAPLED, STAPLES);
    let found = format_args!("{} bytes", evidence.len());
    let read = GpuEvidence::decode(evidence).ok();
    let read = checks.read(EVIDENCE, malformed, found, read);
    let stapled = stapled(endorsements, checks);
    if let Some(read) = read {
        nvidia::appraise(&read, &stapled, expected, checks);
    }
}

/// What is stapled; nothing, where that cannot be read, so that the devices are looked at still.
fn stapled(bytes: Option<&[u8]>, checks: &mut Checks<'_>) -> GpuEndorsements {
    let found = format_args!("{} bytes", bytes.map_or(0, <[u8]>::len));
    let stapled = bytes.ok_or(Rejection::GpuEndorsementsMissing);
    let stapled = stapled.and_then(|bytes| {
        GpuEndorsements::decode(bytes).map_err(|_| Rejection::GpuEndorsementsMalformed)
    });
    let stapled = checks.steps(STAPLED, STAPLES, found, stapled);
    stapled.unwrap_or_default()
}

fn read(evidence: &Evidence) -> Result<GpuEvidence, Rejection> {
    let stated = evidence.statement.gpu_evidence;
    match evidence.gpu_evidence.as_slice() {
        [] => Err(Rejection::GpuEvidenceMissing),
        bytes if GpuEvidenceDigest(Sha256::digest(bytes).into()) != stated => {
            Err(Rejection::GpuEvidenceMismatch)
        }
        bytes => GpuEvidence::decode(bytes).map_err(|_| Rejection::GpuEvidenceMalformed),
    }
}
