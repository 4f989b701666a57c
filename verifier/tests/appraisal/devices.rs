//! The verdict on GPUs and switches: each check of each device, whatever becomes of another.

use std::collections::BTreeSet;

use mock_tee::nvidia::{Board, DeviceLie};
use protocol::digest::{BootId, Nonce};
use protocol::gpu_evidence::{DeviceKind, GpuEndorsements, GpuMode, ocsp_nonce};
use protocol::reference_values::DeviceSet;
use verifier::{
    AppraisalPolicy, Decision, DeviceExpectations, DeviceNonces, Outcome, Rejection, UnixTime,
    Verdict, Weakness, appraise_gpus,
};

use crate::order::{order, without_manifests};
use crate::world::{NOW, World};

const BOOT: BootId = BootId([7; 32]);
const NONCE: Nonce = Nonce([8; 32]);
const PAIR: DeviceSet = DeviceSet {
    architecture: DeviceKind::Hopper,
    gpus: 2,
    switches: 1,
    mode: GpuMode::ProtectedPcie,
};
const ALONE: DeviceSet = DeviceSet {
    gpus: 1,
    switches: 0,
    mode: GpuMode::SinglePass,
    ..PAIR
};

fn board(set: DeviceSet) -> Board {
    Board::new(set.architecture, set.gpus, set.switches, set.mode)
}

fn judge(board: &Board, set: DeviceSet, policy: &AppraisalPolicy) -> Verdict {
    let evidence = board.evidence(&BOOT, 0).unwrap().encode();
    let stapled = board.endorsements(NOW, Some(ocsp_nonce(&NONCE))).unwrap();
    let expected = DeviceExpectations {
        nonces: DeviceNonces::OfBoot(&BOOT),
        sets: &[set],
        ocsp_nonce: Some(ocsp_nonce(&NONCE)),
    };
    let anchors = research_anchors::research_anchors();
    let stapled = stapled.encode();
    let at = UnixTime(NOW);
    appraise_gpus(&evidence, Some(&stapled), &expected, policy, &anchors, at)
}

fn strict(board: &Board, set: DeviceSet) -> Verdict {
    judge(board, set, &AppraisalPolicy::strict())
}

fn with(verdict: &Verdict, outcome: Outcome) -> Vec<(String, Rejection)> {
    let checks = verdict.checks().iter();
    let of = checks.filter(|check| check.outcome == outcome);
    of.map(|check| (check.of.to_string(), check.check))
        .collect()
}

fn named(of: &str, check: Rejection) -> (String, Rejection) {
    (of.to_owned(), check)
}

#[test]
fn an_honest_board_passes_every_check_of_every_device() {
    let verdict = strict(&board(PAIR), PAIR);
    assert_eq!(verdict.decision(), Decision::Accepted);
    for outcome in [Outcome::Failed, Outcome::NotReached] {
        assert_eq!(with(&verdict, outcome), []);
    }
    let expected = [
        named("switch-2", Rejection::GpuFwid),
        named("switch-2", Rejection::GpuMode),
        named("switch-2", Rejection::GpuDriverBelowMinimum),
    ];
    assert_eq!(with(&verdict, Outcome::NotNeeded), expected);
    let passed = with(&verdict, Outcome::Passed);
    for of in ["gpu-0", "gpu-1", "switch-2"] {
        for check in [
            Rejection::GpuNonce,
            Rejection::GpuSignatureInvalid,
            Rejection::GpuLinks,
            Rejection::GpuFirmwareBelowMinimum,
        ] {
            assert!(passed.contains(&named(of, check)), "{of} {check:?}");
        }
    }
    for of in ["gpu-driver-1", "gpu-firmware-1", "switch-firmware-2"] {
        let check = Rejection::GpuMeasurementMismatch;
        assert!(passed.contains(&named(of, check)), "{of}");
    }
    for of in ["gpu-chain-1", "switch-chain-2", "manifest-chain-0"] {
        let check = Rejection::CertificateRevoked;
        assert!(passed.contains(&named(of, check)), "{of}");
    }
}

#[test]
fn links_are_not_needed_where_there_is_no_switch() {
    let verdict = strict(&board(ALONE), ALONE);
    assert_eq!(verdict.decision(), Decision::Accepted);
    let expected = [named("gpu-0", Rejection::GpuLinks)];
    assert_eq!(with(&verdict, Outcome::NotNeeded), expected);
}

#[test]
fn what_nobody_answered_is_tolerated_by_name_and_its_checks_are_not_needed() {
    let silent = {
        let stapled = board(ALONE).endorsements(NOW, None).unwrap();
        protocol::gpu_evidence::GpuEndorsements {
            ocsp: Vec::new(),
            ..stapled
        }
    };
    let evidence = board(ALONE).evidence(&BOOT, 0).unwrap().encode();
    let expected = DeviceExpectations {
        nonces: DeviceNonces::OfBoot(&BOOT),
        sets: &[ALONE],
        ocsp_nonce: None,
    };
    let mut policy = AppraisalPolicy::strict();
    let weakness = Weakness::NvidiaNoRevocationAnswers;
    policy.tolerated.push(weakness);
    let (anchors, at) = (research_anchors::research_anchors(), UnixTime(NOW));
    let stapled = silent.encode();
    let verdict = appraise_gpus(&evidence, Some(&stapled), &expected, &policy, &anchors, at);
    assert_eq!(verdict.decision(), Decision::Accepted);
    let tolerated = with(&verdict, Outcome::Tolerated(weakness));
    let chains = ["gpu-chain-0", "manifest-chain-0", "manifest-chain-1"];
    let expected = chains.map(|of| named(of, Rejection::OcspMissing));
    assert_eq!(tolerated, expected);
    let not_needed = with(&verdict, Outcome::NotNeeded);
    assert!(not_needed.contains(&named("gpu-chain-0", Rejection::CertificateRevoked)));
}

#[test]
fn a_refusal_of_one_device_still_lists_the_checks_of_the_others() {
    let honest = strict(&board(PAIR), PAIR);
    let passed: BTreeSet<_> = with(&honest, Outcome::Passed).into_iter().collect();
    for (lie, fails) in [
        (DeviceLie::BadSignature, Rejection::GpuSignatureInvalid),
        (DeviceLie::StaleNonce, Rejection::GpuNonce),
        (DeviceLie::OtherFirmware, Rejection::GpuFwid),
        (DeviceLie::LeafUsage, Rejection::CertificateUsage),
    ] {
        let verdict = strict(&board(PAIR).with(lie), PAIR);
        assert_eq!(verdict.rejection(), Some(fails), "{lie:?}");
        let failed = with(&verdict, Outcome::Failed);
        assert!(
            failed.iter().all(|(of, _)| of.ends_with("-0")),
            "{failed:?}"
        );
        let others = passed.iter().filter(|(of, _)| {
            ["-1", "-2"].iter().any(|end| of.ends_with(end)) && !of.starts_with("manifest")
        });
        let now: BTreeSet<_> = with(&verdict, Outcome::Passed).into_iter().collect();
        for other in others {
            assert!(now.contains(other), "{lie:?} {other:?}");
        }
    }
}

#[test]
fn two_devices_that_fail_are_both_listed() {
    let mut evidence = board(PAIR).evidence(&BOOT, 0).unwrap();
    for device in &mut evidence.devices {
        let last = device.report.len() - 1;
        device.report[last] ^= 1;
    }
    let stapled = board(PAIR).endorsements(NOW, None).unwrap().encode();
    let expected = DeviceExpectations {
        nonces: DeviceNonces::OfBoot(&BOOT),
        sets: &[PAIR],
        ocsp_nonce: None,
    };
    let (policy, anchors) = (
        AppraisalPolicy::strict(),
        research_anchors::research_anchors(),
    );
    let (bytes, at) = (evidence.encode(), UnixTime(NOW));
    let verdict = appraise_gpus(&bytes, Some(&stapled), &expected, &policy, &anchors, at);
    let expected = ["gpu-0", "gpu-1", "switch-2"];
    let expected = expected.map(|of| named(of, Rejection::GpuSignatureInvalid));
    assert_eq!(with(&verdict, Outcome::Failed), expected);
}

#[test]
fn devices_of_another_number_than_the_sets_are_not_looked_at() {
    let verdict = strict(&board(PAIR), ALONE);
    assert_eq!(verdict.rejection(), Some(Rejection::GpuCount));
    let expected = [named("devices", Rejection::GpuCount)];
    assert_eq!(with(&verdict, Outcome::Failed), expected);
    let not_reached = with(&verdict, Outcome::NotReached);
    for check in [
        Rejection::GpuReportMalformed,
        Rejection::GpuDriverBelowMinimum,
        Rejection::GpuFirmwareBelowMinimum,
    ] {
        assert!(not_reached.contains(&named("gpu-0", check)), "{check:?}");
    }
}

#[test]
fn without_staples_the_devices_are_judged_still() {
    let evidence = board(ALONE).evidence(&BOOT, 0).unwrap().encode();
    let expected = DeviceExpectations {
        nonces: DeviceNonces::OfBoot(&BOOT),
        sets: &[ALONE],
        ocsp_nonce: None,
    };
    let (policy, anchors) = (
        AppraisalPolicy::strict(),
        research_anchors::research_anchors(),
    );
    let verdict = appraise_gpus(&evidence, None, &expected, &policy, &anchors, UnixTime(NOW));
    let expected = [
        named("gpu-endorsements", Rejection::GpuEndorsementsMissing),
        named("gpu-chain-0", Rejection::OcspMissing),
        named("gpu-driver-0", Rejection::RimMissing),
        named("gpu-firmware-0", Rejection::RimMissing),
    ];
    assert_eq!(with(&verdict, Outcome::Failed), expected);
    let passed = with(&verdict, Outcome::Passed);
    assert!(passed.contains(&named("gpu-0", Rejection::GpuSignatureInvalid)));
}

#[test]
fn twins_are_seen_where_another_device_cannot_be_read_and_that_there_are_none_is_not() {
    let outcomes = |board: &Board| {
        let mut evidence = board.evidence(&BOOT, 0).unwrap();
        evidence.devices[2].report.pop();
        let expected = DeviceExpectations {
            nonces: DeviceNonces::OfBoot(&BOOT),
            sets: &[PAIR],
            ocsp_nonce: None,
        };
        let (policy, anchors) = (
            AppraisalPolicy::strict(),
            research_anchors::research_anchors(),
        );
        let (bytes, at) = (evidence.encode(), UnixTime(NOW));
        let verdict = appraise_gpus(&bytes, None, &expected, &policy, &anchors, at);
        let checks = verdict.checks().iter();
        let of = checks.filter(|check| check.check == Rejection::GpuDuplicate);
        of.map(|check| check.outcome).collect::<Vec<_>>()
    };
    let (failed, open) = (Outcome::Failed, Outcome::NotReached);
    assert_eq!(outcomes(&board(PAIR)), [open; 3]);
    let twins = board(PAIR).with(DeviceLie::Duplicate);
    assert_eq!(outcomes(&twins), [failed, failed, open]);
}

/// What is listed of devices and their staples, without the manifests that were found.
fn own(verdict: &Verdict) -> String {
    without_manifests(&order(verdict))
}

#[test]
fn devices_of_which_nothing_can_be_read_are_listed_as_honest_ones_are() {
    let honest = own(&strict(&board(PAIR), PAIR));
    let first = "gpu-evidence gpu-evidence-malformed\ngpu-endorsements ";
    assert!(honest.starts_with(first), "{honest}");
    let mut unread = board(PAIR).evidence(&BOOT, 0).unwrap();
    for device in &mut unread.devices {
        device.report = vec![0];
        device.chain = vec![vec![0]; 5];
    }
    let expected = DeviceExpectations {
        nonces: DeviceNonces::OfBoot(&BOOT),
        sets: &[PAIR],
        ocsp_nonce: None,
    };
    let (policy, anchors) = (
        AppraisalPolicy::strict(),
        research_anchors::research_anchors(),
    );
    let answers = GpuEndorsements {
        ocsp: vec![vec![0]],
        ..GpuEndorsements::default()
    };
    for stapled in [None, Some(vec![0]), Some(answers.encode())] {
        let (evidence, stapled) = (unread.encode(), stapled.as_deref());
        let at = UnixTime(NOW);
        let verdict = appraise_gpus(&evidence, stapled, &expected, &policy, &anchors, at);
        assert_eq!(own(&verdict), honest, "{stapled:?}");
    }
    // Devices of another number are not looked at, and listed still.
    assert_eq!(own(&strict(&board(PAIR), ALONE)), honest);
}

#[test]
fn the_verdict_on_devices_is_the_same_bytes_and_speaks_of_no_machine() {
    let first = strict(&board(PAIR), PAIR).to_json().unwrap();
    assert_eq!(strict(&board(PAIR), PAIR).to_json().unwrap(), first);
    let parsed: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(parsed["kind"], "gpu-evidence");
    assert_eq!(parsed["tee"], serde_json::Value::Null);
    assert_eq!(parsed["machine"], serde_json::Value::Null);
    assert_eq!(parsed["channel_binding"], "not checked");
    assert!(first.contains(r#""outcome":"not-needed""#));
}

#[test]
fn a_machines_verdict_lists_its_devices_too() {
    let world = World::genoa().with_board(&board(PAIR).with(DeviceLie::BadSignature), PAIR);
    let verdict = world.appraise_in_full(&world.evidence()).verdict;
    let expected = [named("gpu-0", Rejection::GpuSignatureInvalid)];
    assert_eq!(with(&verdict, Outcome::Failed), expected);
    let passed = with(&verdict, Outcome::Passed);
    assert!(passed.contains(&named("gpu-1", Rejection::GpuSignatureInvalid)));
}
