//! NVIDIA's devices: honest boards are accepted, and every lie is refused for its own reason.

use std::collections::HashSet;

use mock_tee::nvidia::{Board, DeviceLie};
use protocol::digest::OcspNonce;
use protocol::gpu_evidence::{DeviceKind, GpuEndorsements, GpuEvidence, GpuMode};
use protocol::reference_values::{DeviceSet, Profile};
use verifier::{
    Check, DeviceMinimum, OcspRule, Outcome, Rejection, TrustAnchors, UnixTime, Weakness,
};

use crate::binding::Change;
use crate::world::{NOW, World};

/// One lie, one reason.
pub(crate) const LIES: &[(DeviceLie, Rejection)] = &[
    (DeviceLie::Truncated, Rejection::GpuReportMalformed),
    (DeviceLie::BlockTwice, Rejection::GpuReportMalformed),
    (DeviceLie::UnknownField, Rejection::GpuOpaqueMalformed),
    (DeviceLie::DriverText, Rejection::GpuOpaqueMalformed),
    (DeviceLie::ModeContradiction, Rejection::GpuOpaqueMalformed),
    (DeviceLie::StaleNonce, Rejection::GpuNonce),
    (DeviceLie::BadSignature, Rejection::GpuSignatureInvalid),
    (DeviceLie::OtherFirmware, Rejection::GpuFwid),
    (DeviceLie::Measurement, Rejection::GpuMeasurementMismatch),
    (DeviceLie::Decoder, Rejection::GpuMeasurementMismatch),
    (
        DeviceLie::MissingMeasurement,
        Rejection::GpuMeasurementMissing,
    ),
    (DeviceLie::Mode, Rejection::GpuMode),
    (DeviceLie::OldDriver, Rejection::GpuDriverBelowMinimum),
    (DeviceLie::OldFirmware, Rejection::GpuFirmwareBelowMinimum),
    (DeviceLie::Duplicate, Rejection::GpuDuplicate),
    (DeviceLie::SerialTwice, Rejection::GpuDuplicate),
    (DeviceLie::IdentityTwice, Rejection::GpuDuplicate),
    (DeviceLie::OtherSwitch, Rejection::GpuLinks),
    (DeviceLie::OtherGpu, Rejection::GpuLinks),
    (DeviceLie::ShortChain, Rejection::NvidiaChainLength),
    (
        DeviceLie::MalformedCertificate,
        Rejection::CertificateMalformed,
    ),
    (DeviceLie::SelfSignedRoot, Rejection::CertificateRoot),
    (DeviceLie::Unmarked, Rejection::ResearchMarkerMissing),
    (DeviceLie::UnmarkedLeaf, Rejection::ResearchMarkerMissing),
    (DeviceLie::CriticalExtension, Rejection::CertificateCritical),
    (DeviceLie::NotYetValid, Rejection::CertificateNotYetValid),
    (DeviceLie::Expired, Rejection::CertificateExpired),
    (DeviceLie::LeafUsage, Rejection::CertificateUsage),
    (DeviceLie::NotAuthority, Rejection::CertificateNotAuthority),
    (DeviceLie::PathLength, Rejection::CertificateNotAuthority),
    (DeviceLie::OtherIssuer, Rejection::CertificateIssuer),
    (
        DeviceLie::CertificateAlgorithm,
        Rejection::CertificateAlgorithm,
    ),
    (
        DeviceLie::CertificateSignature,
        Rejection::CertificateSignature,
    ),
    (DeviceLie::OtherKind, Rejection::GpuKind),
    (DeviceLie::NoFwid, Rejection::GpuFwidExtension),
    (DeviceLie::FwidOfAnother, Rejection::GpuFwidExtension),
    (DeviceLie::NoAnswer, Rejection::OcspMissing),
    (DeviceLie::AnswerAboutAnother, Rejection::OcspMissing),
    (DeviceLie::MalformedAnswer, Rejection::OcspMalformed),
    (DeviceLie::TryLater, Rejection::OcspUnsuccessful),
    (DeviceLie::ResponderUsage, Rejection::OcspResponder),
    (DeviceLie::ResponderExtension, Rejection::OcspResponder),
    (DeviceLie::ResponderExpired, Rejection::OcspResponder),
    (DeviceLie::ResponderUnmarked, Rejection::OcspResponder),
    (DeviceLie::OtherResponder, Rejection::OcspResponder),
    (DeviceLie::AnswerExtension, Rejection::OcspMalformed),
    (DeviceLie::AnswerVersion, Rejection::OcspMalformed),
    (DeviceLie::AnswerKind, Rejection::OcspMalformed),
    (DeviceLie::AnswerSignature, Rejection::OcspSignature),
    (DeviceLie::AnswerNotYetValid, Rejection::OcspNotYetValid),
    (DeviceLie::AnswerExpired, Rejection::OcspExpired),
    (DeviceLie::AnswerTooOld, Rejection::OcspTooOld),
    (DeviceLie::Unknown, Rejection::OcspUnknown),
    (DeviceLie::Revoked, Rejection::CertificateRevoked),
    (DeviceLie::OnHold, Rejection::CertificateOnHold),
    (DeviceLie::SignerRevoked, Rejection::CertificateRevoked),
    (DeviceLie::NoManifest, Rejection::RimMissing),
    (DeviceLie::DocumentType, Rejection::RimXml),
    (DeviceLie::Comment, Rejection::RimXml),
    (DeviceLie::Deep, Rejection::RimXml),
    (DeviceLie::TwoSignatures, Rejection::RimSignatureProfile),
    (DeviceLie::Wrapped, Rejection::RimSignatureProfile),
    (DeviceLie::TwoReferences, Rejection::RimSignatureProfile),
    (
        DeviceLie::SignatureAlgorithm,
        Rejection::RimSignatureProfile,
    ),
    (DeviceLie::ManifestSignature, Rejection::RimSignature),
    (DeviceLie::ChangedValue, Rejection::RimDigest),
    (DeviceLie::ManifestChain, Rejection::NvidiaChainLength),
    (DeviceLie::ManifestRoot, Rejection::CertificateRoot),
    (DeviceLie::SignerExpired, Rejection::CertificateExpired),
    (DeviceLie::Alternatives, Rejection::RimContent),
    (DeviceLie::IndexTwice, Rejection::RimContent),
    (DeviceLie::NothingActive, Rejection::RimContent),
    (DeviceLie::Product, Rejection::RimProduct),
    (DeviceLie::Version, Rejection::RimVersion),
    (DeviceLie::Overlap, Rejection::RimOverlap),
];

/// Changes to the good board.
pub(crate) const CHANGES: &[Change] = &[
    ("no GPU evidence", Rejection::GpuEvidenceMissing, |w| {
        w.gpu_evidence.clear();
    }),
    (
        "GPU evidence that the Statement does not name",
        Rejection::GpuEvidenceMismatch,
        |w| w.gpu_evidence.push(0),
    ),
    (
        "GPU evidence with a byte too many",
        Rejection::GpuEvidenceMalformed,
        |w| {
            let longer = [w.gpu_evidence.as_slice(), &[0]].concat();
            w.set_gpu_evidence(longer);
        },
    ),
    (
        "nothing stapled for GPUs",
        Rejection::GpuEndorsementsMissing,
        |w| w.gpu_endorsements = None,
    ),
    (
        "staples with a byte too many",
        Rejection::GpuEndorsementsMalformed,
        |w| w.gpu_endorsements.as_mut().unwrap().push(0),
    ),
    (
        "a shape of another architecture",
        Rejection::GpuArchitecture,
        |w| change_set(w, |set| set.architecture = DeviceKind::Blackwell),
    ),
    (
        "a shape whose GPUs protect links to no switch",
        Rejection::GpuArchitecture,
        |w| {
            let mut evidence = GpuEvidence::decode(&w.gpu_evidence).unwrap();
            evidence.devices.pop();
            w.set_gpu_evidence(evidence.encode());
            change_set(w, |set| set.switches = 0);
        },
    ),
    (
        "GPUs that are said to be of two architectures",
        Rejection::GpuArchitecture,
        |w| {
            let mut evidence = GpuEvidence::decode(&w.gpu_evidence).unwrap();
            evidence.devices[1].kind = DeviceKind::Blackwell;
            w.set_gpu_evidence(evidence.encode());
        },
    ),
    ("a shape with a GPU more", Rejection::GpuCount, |w| {
        change_set(w, |set| set.gpus += 1);
    }),
    ("a shape with a switch more", Rejection::SwitchCount, |w| {
        change_set(w, |set| set.switches += 1);
    }),
    ("an empty list of minima", Rejection::GpuUnlisted, |w| {
        w.policy.nvidia.minima.clear();
    }),
    (
        "answers that were not asked for by this client",
        Rejection::OcspNonce,
        |w| {
            w.policy.nvidia.ocsp = OcspRule::Nonce;
            let stapled = board().endorsements(NOW, None).unwrap();
            w.gpu_endorsements = Some(stapled.encode());
        },
    ),
    ("answers to another challenge", Rejection::OcspNonce, |w| {
        w.policy.nvidia.ocsp = OcspRule::Nonce;
        let other = Some(OcspNonce([1; 32]));
        let stapled = board().endorsements(NOW, other).unwrap();
        w.gpu_endorsements = Some(stapled.encode());
    }),
    ("evidence of another boot", Rejection::GpuNonce, |w| {
        w.statement.boot_id.0[0] ^= 1;
    }),
];

const SET: DeviceSet = DeviceSet {
    architecture: DeviceKind::Hopper,
    gpus: 2,
    switches: 1,
    mode: GpuMode::ProtectedPcie,
};

fn board() -> Board {
    Board::new(SET.architecture, SET.gpus, SET.switches, SET.mode)
}

fn world(board: &Board) -> World {
    World::genoa().with_board(board, SET)
}

fn change_set(world: &mut World, change: impl Fn(&mut DeviceSet)) {
    for shape in &mut world.references.shapes {
        shape.devices.iter_mut().for_each(&change);
    }
}

#[test]
fn accepts_an_honest_board_with_its_switches() {
    let set = DeviceSet {
        gpus: 8,
        switches: 4,
        ..SET
    };
    let board = Board::new(set.architecture, 8, 4, set.mode);
    let result = World::genoa().with_board(&board, set).appraise().unwrap();
    let (gpus, switches) = result.devices().split_at(8);
    assert_eq!(switches.len(), 4);
    for gpu in gpus {
        assert_eq!(gpu.kind, DeviceKind::Hopper);
        assert_eq!(gpu.driver.as_ref().unwrap().to_string(), "590.12");
        assert_eq!(gpu.firmware.to_string(), "96.00.A5.00.01");
        assert_eq!(gpu.mode, Some(GpuMode::ProtectedPcie));
    }
    for switch in switches {
        assert_eq!(switch.kind, DeviceKind::Ls10);
        assert_eq!((&switch.driver, switch.mode), (&None, None));
    }
}

#[test]
fn accepts_one_blackwell_where_the_policy_lists_it() {
    let set = DeviceSet {
        architecture: DeviceKind::Blackwell,
        gpus: 1,
        switches: 0,
        mode: GpuMode::SinglePass,
    };
    let board = Board::new(set.architecture, 1, 0, set.mode);
    let mut world = World::genoa().with_board(&board, set);
    assert_eq!(world.appraise(), Err(Rejection::GpuUnlisted));
    world.policy.nvidia.minima.push(DeviceMinimum {
        architecture: DeviceKind::Blackwell,
        driver: None,
        firmware: "97.00.83.00.09".parse().unwrap(),
    });
    let result = world.appraise().unwrap();
    assert_eq!(result.devices().len(), 1);
}

#[test]
fn a_gpu_is_in_one_of_the_modes_that_its_shape_allows() {
    let alone = |mode| DeviceSet {
        architecture: DeviceKind::Hopper,
        gpus: 1,
        switches: 0,
        mode,
    };
    let (single, multi) = (alone(GpuMode::SinglePass), alone(GpuMode::MultiPass));
    let board = Board::new(DeviceKind::Hopper, 1, 0, GpuMode::SinglePass);
    let mut world = World::genoa().with_board(&board, single);
    for (sets, expected) in [
        (vec![single, multi], None),
        (vec![multi, single], None),
        (vec![multi], Some(Rejection::GpuMode)),
    ] {
        for shape in &mut world.references.shapes {
            shape.devices.clone_from(&sets);
        }
        assert_eq!(world.appraise().err(), expected, "{sets:?}");
    }
}

#[test]
fn a_result_ends_with_the_answers_about_revocation() {
    let mut world = world(&board());
    world.policy.result_lifetime_seconds = 400_000;
    // Made an hour ago, and the policy takes a day.
    let end = UnixTime(NOW - 3_600 + 86_400);
    assert_eq!(world.appraise().unwrap().not_after(), end);
}

/// When a result ends that only its endorsements bound.
fn end(world: &mut World) -> UnixTime {
    world.policy.result_lifetime_seconds = 400_000;
    world.appraise().unwrap().not_after()
}

#[test]
fn of_a_chains_answers_the_one_that_ends_first_counts() {
    let mut world = world(&board().with_first_answer_for(600));
    assert_eq!(end(&mut world), UnixTime(NOW + 600));
}

#[test]
fn of_two_answers_about_one_certificate_the_one_that_ends_first_counts() {
    let stapled = |board: Board| board.endorsements(NOW, None).unwrap();
    let (long, short) = (
        stapled(board()),
        stapled(board().with_first_answer_for(600)),
    );
    for [first, then] in [[&short, &long], [&long, &short]] {
        let mut world = world(&board());
        let both = GpuEndorsements {
            rims: long.rims.clone(),
            ocsp: [first.ocsp.as_slice(), &then.ocsp].concat(),
        };
        world.gpu_endorsements = Some(both.encode());
        assert_eq!(end(&mut world), UnixTime(NOW + 600));
    }
}

#[test]
fn a_drivers_minimum_is_reached_by_number_and_not_by_text() {
    // The board's driver is 590.12.
    for (minimum, expected) in [
        ("590.9", None),
        ("590.12", None),
        ("590.12.0", Some(Rejection::GpuDriverBelowMinimum)),
        ("590.13", Some(Rejection::GpuDriverBelowMinimum)),
        ("600.1", Some(Rejection::GpuDriverBelowMinimum)),
    ] {
        let mut world = world(&board());
        world.policy.nvidia.minima[0].driver = minimum.parse().ok();
        assert_eq!(world.appraise().err(), expected, "{minimum}");
    }
}

#[test]
fn refuses_every_lie_for_its_own_reason() {
    for (lie, reason) in LIES {
        let world = world(&board().with(*lie));
        let verdict = world.appraise_in_full(&world.evidence()).verdict;
        assert_eq!(verdict.rejection(), Some(*reason), "{lie:?}");
        let mut checks = verdict.checks().iter();
        let first = checks.find(|check| check.outcome == Outcome::Failed);
        assert_eq!(first.map(|check| check.check), Some(*reason), "{lie:?}");
        let name = |check: &Check| (check.of, check.check);
        let names: HashSet<_> = verdict.checks().iter().map(name).collect();
        assert_eq!(names.len(), verdict.checks().len(), "{lie:?}: twice");
    }
}

#[test]
fn refuses_every_change_for_its_own_reason() {
    for (name, reason, change) in CHANGES {
        let mut world = world(&board());
        change(&mut world);
        assert_eq!(world.appraise(), Err(*reason), "{name}");
    }
}

#[test]
fn answers_with_this_challenges_nonce_satisfy_a_policy_that_asks_for_it() {
    let mut world = world(&board());
    world.policy.nvidia.ocsp = OcspRule::Nonce;
    assert!(world.appraise().is_ok());
}

#[test]
fn missing_answers_are_tolerated_only_by_name_and_never_revoked_ones() {
    let mut silent = world(&board().with(DeviceLie::NoAnswer));
    assert_eq!(silent.appraise(), Err(Rejection::OcspMissing));
    let weakness = Weakness::NvidiaNoRevocationAnswers;
    silent.policy.tolerated.push(weakness);
    assert!(silent.appraise().is_ok());
    let mut revoked = world(&board().with(DeviceLie::Revoked));
    revoked.policy.tolerated.push(weakness);
    assert_eq!(revoked.appraise(), Err(Rejection::CertificateRevoked));
}

#[test]
fn the_decoders_measurement_counts_only_where_the_decoder_works() {
    // Hopper's decoder is off and its measurement is not the manifest's: accepted.
    assert!(world(&board()).appraise().is_ok());
    let working = world(&board().with(DeviceLie::Decoder));
    assert_eq!(working.appraise(), Err(Rejection::GpuMeasurementMismatch));
}

#[test]
fn a_report_of_one_place_does_not_pass_in_another() {
    let mut world = world(&board());
    let mut evidence = GpuEvidence::decode(&world.gpu_evidence).unwrap();
    evidence.devices.swap(0, 1);
    world.set_gpu_evidence(evidence.encode());
    assert_eq!(world.appraise(), Err(Rejection::GpuNonce));
}

#[test]
fn a_chain_in_another_order_or_with_a_certificate_twice_is_refused() {
    let good = world(&board());
    let evidence = GpuEvidence::decode(&good.gpu_evidence).unwrap();
    for (one, other) in [(0, 1), (1, 2), (2, 3)] {
        let mut swapped = evidence.clone();
        swapped.devices[0].chain.swap(one, other);
        let mut world = good.clone();
        world.set_gpu_evidence(swapped.encode());
        assert!(world.appraise().is_err(), "{one} {other}");
        let mut twice = evidence.clone();
        twice.devices[0].chain[other] = twice.devices[0].chain[one].clone();
        world.set_gpu_evidence(twice.encode());
        assert!(world.appraise().is_err(), "{one} twice");
    }
}

#[test]
fn the_firmwares_manifest_does_not_pass_for_the_drivers() {
    let mut world = world(&board());
    let bytes = world.gpu_endorsements.clone().unwrap();
    let mut stapled = GpuEndorsements::decode(&bytes).unwrap();
    stapled.rims[0].document = stapled.rims[1].document.clone();
    world.gpu_endorsements = Some(stapled.encode());
    assert_eq!(world.appraise(), Err(Rejection::RimVersion));
}

#[test]
fn production_anchors_refuse_the_simulated_devices_by_their_marker() {
    let anchors = TrustAnchors::PRODUCTION;
    assert_eq!(anchors.profile(), Profile::Release);
    // One certificate with the marker is enough, and one without it does not help.
    for board in [board(), board().with(DeviceLie::UnmarkedLeaf)] {
        let world = world(&board);
        let evidence = GpuEvidence::decode(&world.gpu_evidence).unwrap();
        let stapled = GpuEndorsements::decode(world.gpu_endorsements.as_ref().unwrap()).unwrap();
        let expected = verifier::DeviceExpectations {
            nonces: verifier::DeviceNonces::OfBoot(&world.statement.boot_id),
            sets: &[SET],
            ocsp_nonce: None,
        };
        let (policy, at) = (&world.policy, world.at);
        let refused =
            verifier::appraise_devices(&evidence, &stapled, &expected, policy, &anchors, at);
        assert_eq!(refused, Err(Rejection::ResearchCertificate));
    }
}
