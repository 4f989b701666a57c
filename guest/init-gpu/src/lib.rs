//! The appraisal of GPUs before they are used, from within the machine that holds them.
//!
//! Apart from `init`, so that the program of images without GPUs holds no verifier. What is
//! deliberately not here: manifests of NVIDIA's and answers about revocation, which need documents
//! from outside and a clock; clients demand both of the same bytes
//! (`docs/decisions/2026-11-28-gpus-from-within.md`).
#![forbid(unsafe_code)]

use init::gpu::{Question, Rejected};
use protocol::gpu_evidence::{DeviceKind, GpuEvidence, GpuMode};
use protocol::reference_values::DeviceSet;
use verifier::{
    AppraisalPolicy, DeviceExpectations, DeviceNonces, TrustAnchors, UnixTime, Weakness,
    appraise_device_identities,
};

/// Judges evidence against the devices that init counted: reports for this boot and round, signed
/// by keys that lead to the anchors' root, of firmware that the keys certify, no device twice, all
/// GPUs of one architecture and mode, and no switch on a link that did not report.
///
/// # Errors
/// `Rejected` with the code of the first check that fails.
pub fn appraise(
    anchors: &TrustAnchors,
    evidence: &GpuEvidence,
    question: &Question,
) -> Result<(), Rejected> {
    let mut policy = AppraisalPolicy::strict();
    policy.tolerated.push(Weakness::NvidiaNoRevocationAnswers);
    let expected = DeviceExpectations {
        nonces: DeviceNonces::OfBoot(&question.boot_id),
        sets: &sets(question),
        ocsp_nonce: None,
    };
    let at = UnixTime(question.host_time);
    appraise_device_identities(evidence, &expected, &policy, anchors, at).map_err(|rejection| {
        Rejected {
            code: rejection.code(),
        }
    })
}

/// Every set of as many devices. Which of them clients take, their reference values say.
fn sets(question: &Question) -> Vec<DeviceSet> {
    let count = question.count;
    let modes: &[GpuMode] = match (count.gpus, count.switches) {
        (1, 0) => &[GpuMode::SinglePass, GpuMode::MultiPass],
        (_, 0) => &[GpuMode::MultiPass],
        (_, _) => &[GpuMode::ProtectedPcie],
    };
    let of_modes = |architecture| {
        modes.iter().map(move |mode| DeviceSet {
            architecture,
            gpus: count.gpus,
            switches: count.switches,
            mode: *mode,
        })
    };
    let architectures = [DeviceKind::Hopper, DeviceKind::Blackwell];
    architectures.into_iter().flat_map(of_modes).collect()
}
