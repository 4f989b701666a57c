//! The GPUs and switches of a shape: that there is evidence of them exactly where there should be,
//! that it is the Statement's, and then `nvidia`'s appraisal of it.
//!
//! That appraisal ends at its first failure: behind it, checks of devices are not reached.

use protocol::digest::GpuEvidenceDigest;
use protocol::endorsements::EndorsementKind;
use protocol::evidence::Evidence;
use protocol::gpu_evidence::{GpuEndorsements, GpuEvidence, ocsp_nonce};
use protocol::reference_values::ShapeReference;
use sha2::{Digest as _, Sha256};

use crate::appraise::{ChannelBinding, Terms};
use crate::checks::{Checks, Subject};
use crate::nvidia::{self, DeviceExpectations, DeviceFacts, DeviceNonces};
use crate::policy::Weakness;
use crate::rejection::Rejection;

const EVIDENCE: Subject = Subject::of("gpu-evidence");
const STAPLED: Subject = Subject::of("gpu-endorsements");
const DEVICES: Subject = Subject::of("gpus");

const STATED: &[Rejection] = &[
    Rejection::GpuEvidenceMissing,
    Rejection::GpuEvidenceMismatch,
    Rejection::GpuEvidenceMalformed,
];
const READ: &[Rejection] = &[
    Rejection::GpuEndorsementsMissing,
    Rejection::GpuEndorsementsMalformed,
];
/// `docs/spec/gpu-evidence.md` §7; those of certificates are listed where they fail.
const APPRAISED: &[Rejection] = &[
    Rejection::GpuArchitecture,
    Rejection::GpuCount,
    Rejection::SwitchCount,
    Rejection::OcspMissing,
    Rejection::GpuReportMalformed,
    Rejection::GpuOpaqueMalformed,
    Rejection::GpuNonce,
    Rejection::CertificateRoot,
    Rejection::CertificateSignature,
    Rejection::CertificateRevoked,
    Rejection::GpuKind,
    Rejection::GpuFwid,
    Rejection::GpuSignatureInvalid,
    Rejection::GpuDuplicate,
    Rejection::GpuMode,
    Rejection::GpuLinks,
    Rejection::GpuUnlisted,
    Rejection::GpuDriverBelowMinimum,
    Rejection::GpuFirmwareBelowMinimum,
    Rejection::RimSignature,
    Rejection::RimDigest,
    Rejection::RimVersion,
    Rejection::GpuMeasurementMissing,
    Rejection::GpuMeasurementMismatch,
];

/// `docs/spec/evidence.md` §6.9, whatever the shape turns out to be.
pub(crate) fn plan(checks: &mut Checks) {
    checks.plan(EVIDENCE, &[Rejection::GpuEvidenceUnexpected]);
}

/// `None` unless the devices are those of the shape, genuine, fresh, and run what they may.
pub(crate) fn check(
    evidence: &Evidence,
    channel: &ChannelBinding,
    shape: &ShapeReference,
    terms: Terms<'_>,
    checks: &mut Checks,
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
    checks.plan(STAPLED, READ);
    checks.plan(DEVICES, APPRAISED);
    let read = checks.steps(EVIDENCE, STATED, stated, read(evidence));
    let stapled = evidence.endorsements.get(EndorsementKind::Nvidia);
    let bytes = stapled.map_or(0, <[u8]>::len);
    let stapled = stapled.ok_or(Rejection::GpuEndorsementsMissing);
    let stapled = stapled.and_then(|bytes| {
        GpuEndorsements::decode(bytes).map_err(|_| Rejection::GpuEndorsementsMalformed)
    });
    let stapled = checks.steps(STAPLED, READ, format_args!("{bytes} bytes"), stapled);
    appraise(evidence, channel, shape, (read?, stapled?), terms, checks)
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

fn appraise(
    evidence: &Evidence,
    channel: &ChannelBinding,
    shape: &ShapeReference,
    (devices, stapled): (GpuEvidence, GpuEndorsements),
    terms: Terms<'_>,
    checks: &mut Checks,
) -> Option<Vec<DeviceFacts>> {
    let expected = DeviceExpectations {
        nonces: DeviceNonces::OfBoot(&evidence.statement.boot_id),
        sets: &shape.devices,
        ocsp_nonce: Some(ocsp_nonce(&channel.nonce)),
    };
    let (policy, anchors, at) = (terms.policy, terms.anchors, terms.at);
    let found = format_args!("{} devices", devices.devices.len());
    match nvidia::appraise_devices(&devices, &stapled, &expected, policy, anchors, at) {
        Ok(facts) => {
            let weakness = Weakness::NvidiaNoRevocationAnswers;
            let answered = !(stapled.ocsp.is_empty() && policy.tolerates(weakness));
            let missing = (DEVICES, Rejection::OcspMissing);
            checks.expect_or(weakness, policy, missing, found, answered);
            let others = APPRAISED.iter().filter(|check| **check != missing.1);
            for check in others {
                checks.expect(DEVICES, *check, found, true);
            }
            Some(facts)
        }
        Err(failed) => {
            checks.expect(DEVICES, failed, found, false);
            None
        }
    }
}
