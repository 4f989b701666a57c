//! Real reports of real GPUs and switches, with NVIDIA's own certificates and production anchors.
//!
//! No public report fits a public manifest in every measurement, and no answer about revocation
//! is public: with that absence tolerated by name, everything before the manifests passes.

use protocol::digest::GpuNonce;
use protocol::gpu_evidence::{DeviceKind, GpuEndorsements, GpuEvidence, GpuMode, NamedRim};
use protocol::reference_values::DeviceSet;
use verifier::{
    AppraisalPolicy, DeviceExpectations, DeviceFacts, DeviceNonces, Rejection, TrustAnchors,
    UnixTime, Weakness, appraise_device_identities, appraise_devices,
};

use crate::world::NOW;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/nvidia/", $name))
    };
}

const BOARD: &[u8] = fixture!("evidence/board.bin");
const SINGLE: &[u8] = fixture!("evidence/h100-550.90.07.bin");
const SINGLE_NEWER: &[u8] = fixture!("evidence/h100-580.159.03.bin");
const BAD_SIGNATURE: &[u8] = fixture!("evidence/h100-bad-signature.bin");

const BOARD_NONCE: &str = "4760e30534a0621357d458b1a7936551b5dc4cd1e69718adf7ed9fb0252a537e";
const SINGLE_NONCE: &str = "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb";
const NEWER_NONCE: &str = "5bb22e377702d4e1e8215a903ba094826b9ac7f731dee1fe8102958bf2840aca";

const WHOLE_BOARD: DeviceSet = DeviceSet {
    architecture: DeviceKind::Hopper,
    gpus: 8,
    switches: 4,
    mode: GpuMode::ProtectedPcie,
};

const fn one(mode: GpuMode) -> DeviceSet {
    DeviceSet {
        gpus: 1,
        switches: 0,
        mode,
        ..WHOLE_BOARD
    }
}

fn tolerant() -> AppraisalPolicy {
    let mut policy = AppraisalPolicy::strict();
    let weakness = Weakness::NvidiaNoRevocationAnswers;
    policy.tolerated.push(weakness);
    policy
}

fn appraise(
    evidence: &GpuEvidence,
    stapled: &GpuEndorsements,
    nonce: &str,
    set: DeviceSet,
    policy: &AppraisalPolicy,
) -> Result<Vec<DeviceFacts>, Rejection> {
    let nonce: GpuNonce = nonce.parse().unwrap();
    let nonces = vec![nonce; evidence.devices.len()];
    let expected = DeviceExpectations {
        nonces: DeviceNonces::Given(&nonces),
        sets: &[set],
        ocsp_nonce: None,
    };
    let anchors = TrustAnchors::PRODUCTION;
    appraise_devices(
        evidence,
        stapled,
        &expected,
        policy,
        &anchors,
        UnixTime(NOW),
    )
}

fn without_manifests(
    bytes: &[u8],
    nonce: &str,
    set: DeviceSet,
    policy: &AppraisalPolicy,
) -> Result<Vec<DeviceFacts>, Rejection> {
    let evidence = GpuEvidence::decode(bytes).unwrap();
    appraise(&evidence, &GpuEndorsements::default(), nonce, set, policy)
}

#[test]
fn eight_gpus_and_four_switches_pass_up_to_their_manifests() {
    // Reports, chains, firmware identities, nonces, mode, links and minima of all twelve.
    let reached = without_manifests(BOARD, BOARD_NONCE, WHOLE_BOARD, &tolerant());
    assert_eq!(reached, Err(Rejection::RimMissing));
}

#[test]
fn single_gpus_pass_up_to_their_manifests() {
    let reached = without_manifests(SINGLE, SINGLE_NONCE, one(GpuMode::SinglePass), &tolerant());
    assert_eq!(reached, Err(Rejection::RimMissing));
    let set = one(GpuMode::MultiPass);
    let reached = without_manifests(SINGLE_NEWER, NEWER_NONCE, set, &tolerant());
    assert_eq!(reached, Err(Rejection::RimMissing));
}

/// As a machine appraises its own devices, before it uses them.
fn from_within(bytes: &[u8], nonce: &str, set: DeviceSet) -> Result<(), Rejection> {
    let evidence = GpuEvidence::decode(bytes).unwrap();
    let nonce: GpuNonce = nonce.parse().unwrap();
    let expected = DeviceExpectations {
        nonces: DeviceNonces::Given(&vec![nonce; evidence.devices.len()]),
        sets: &[set],
        ocsp_nonce: None,
    };
    let (policy, anchors) = (tolerant(), TrustAnchors::PRODUCTION);
    appraise_device_identities(&evidence, &expected, &policy, &anchors, UnixTime(NOW))
}

#[test]
fn from_within_their_machine_genuine_devices_pass_without_manifests() {
    let single = one(GpuMode::SinglePass);
    assert_eq!(from_within(BOARD, BOARD_NONCE, WHOLE_BOARD), Ok(()));
    assert_eq!(from_within(SINGLE, SINGLE_NONCE, single), Ok(()));
    let several = one(GpuMode::MultiPass);
    assert_eq!(from_within(SINGLE_NEWER, NEWER_NONCE, several), Ok(()));
}

#[test]
fn from_within_their_machine_every_step_before_the_manifests_still_refuses() {
    let single = one(GpuMode::SinglePass);
    for (bytes, nonce, set, refusal) in [
        (SINGLE, BOARD_NONCE, single, Rejection::GpuNonce),
        (
            BAD_SIGNATURE,
            SINGLE_NONCE,
            single,
            Rejection::GpuSignatureInvalid,
        ),
        (
            SINGLE,
            SINGLE_NONCE,
            one(GpuMode::MultiPass),
            Rejection::GpuMode,
        ),
        (SINGLE, SINGLE_NONCE, WHOLE_BOARD, Rejection::GpuCount),
    ] {
        assert_eq!(from_within(bytes, nonce, set), Err(refusal));
    }
}

#[test]
fn without_answers_about_revocation_they_are_refused_unless_that_is_tolerated_by_name() {
    let strict = AppraisalPolicy::strict();
    let refused = without_manifests(BOARD, BOARD_NONCE, WHOLE_BOARD, &strict);
    assert_eq!(refused, Err(Rejection::OcspMissing));
}

#[test]
fn a_broken_signature_is_refused() {
    let set = one(GpuMode::SinglePass);
    let refused = without_manifests(BAD_SIGNATURE, SINGLE_NONCE, set, &tolerant());
    assert_eq!(refused, Err(Rejection::GpuSignatureInvalid));
    // One bit of a good one.
    let mut evidence = GpuEvidence::decode(SINGLE).unwrap();
    let report = &mut evidence.devices[0].report;
    let last = report.len() - 1;
    report[last] ^= 1;
    let stapled = GpuEndorsements::default();
    let set = one(GpuMode::SinglePass);
    let refused = appraise(&evidence, &stapled, SINGLE_NONCE, set, &tolerant());
    assert_eq!(refused, Err(Rejection::GpuSignatureInvalid));
}

#[test]
fn another_nonce_mode_or_a_missing_switch_is_refused() {
    let refused = without_manifests(BOARD, SINGLE_NONCE, WHOLE_BOARD, &tolerant());
    assert_eq!(refused, Err(Rejection::GpuNonce));
    let set = DeviceSet {
        mode: GpuMode::MultiPass,
        ..WHOLE_BOARD
    };
    let refused = without_manifests(BOARD, BOARD_NONCE, set, &tolerant());
    assert_eq!(refused, Err(Rejection::GpuMode));
    let mut three = GpuEvidence::decode(BOARD).unwrap();
    three.devices.pop();
    let set = DeviceSet {
        switches: 3,
        ..WHOLE_BOARD
    };
    let stapled = GpuEndorsements::default();
    let refused = appraise(&three, &stapled, BOARD_NONCE, set, &tolerant());
    assert_eq!(refused, Err(Rejection::GpuLinks));
}

#[test]
fn the_same_gpu_twice_is_refused() {
    let mut evidence = GpuEvidence::decode(BOARD).unwrap();
    evidence.devices[1] = evidence.devices[0].clone();
    let stapled = GpuEndorsements::default();
    let refused = appraise(&evidence, &stapled, BOARD_NONCE, WHOLE_BOARD, &tolerant());
    assert_eq!(refused, Err(Rejection::GpuDuplicate));
}

#[test]
fn a_genuine_report_does_not_fit_a_genuine_manifest_of_another_driver() {
    // The manifest of 550.144.03 under the name of 550.90.07's.
    let named = |id: &str, document: &[u8]| NamedRim {
        id: id.to_owned(),
        document: document.to_vec(),
    };
    let driver = fixture!("manifests/NV_GPU_DRIVER_GH100_550.144.03.xml");
    let firmware = fixture!("manifests/NV_GPU_DRIVER_GH100_550.144.03.xml");
    let stapled = GpuEndorsements {
        rims: vec![
            named("NV_GPU_DRIVER_GH100_550.90.07", driver),
            named("NV_GPU_VBIOS_1010_0200_882_96009F0001", firmware),
        ],
        ocsp: Vec::new(),
    };
    let evidence = GpuEvidence::decode(SINGLE).unwrap();
    let set = one(GpuMode::SinglePass);
    let refused = appraise(&evidence, &stapled, SINGLE_NONCE, set, &tolerant());
    assert_eq!(refused, Err(Rejection::RimVersion));
}
