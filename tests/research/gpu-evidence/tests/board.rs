//! Simulated boards through the whole way: driver, program, socket, init's rounds, the appraisal
//! from within, and the client's of the same bytes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use gpu_evidence_research::SimulatedGpus;
use init::gpu::client::{GpuClient, GpuSocketError};
use init::gpu::{Devices, DevicesError, Question, Rejected, evidence_digest};
use messages::gpu_socket::{DeviceCount, GpuRefusal};
use mock_tee::nvidia::{Board, DeviceLie};
use protocol::digest::BootId;
use protocol::gpu_evidence::{DeviceKind, GpuEvidence, GpuMode};
use protocol::reference_values::DeviceSet;
use research_anchors::research_anchors;
use verifier::{
    AppraisalPolicy, DeviceExpectations, DeviceNonces, Rejection, UnixTime, appraise_devices,
};

/// 2026-11-22.
const NOW: u64 = 1_795_305_600;
const BOOT: BootId = BootId([7; 32]);
const LATER: Duration = Duration::from_secs(6);
const MUCH_LATER: Duration = Duration::from_secs(601);

const fn question(gpus: u8, switches: u8) -> Question {
    Question {
        boot_id: BOOT,
        count: DeviceCount { gpus, switches },
        host_time: NOW,
    }
}

const fn two() -> Board {
    Board::new(DeviceKind::Hopper, 2, 0, GpuMode::MultiPass)
}

fn appraise(evidence: &GpuEvidence, question: &Question) -> Result<(), Rejected> {
    init_gpu::appraise(&research_anchors(), evidence, question)
}

/// init's end of a socket at whose other end the program runs.
fn client(source: &SimulatedGpus) -> GpuClient {
    let (near, far) = UnixStream::pair().unwrap();
    let source = source.clone();
    std::thread::spawn(move || gpu_evidence::run(far, || Ok(source.clone())));
    GpuClient::new(near.into(), Duration::from_secs(20))
}

fn bring_up(source: &SimulatedGpus, question: &Question) -> Result<Devices, DevicesError> {
    Devices::bring_up(client(source), appraise, question)
}

fn refused(board: Board, question: &Question) -> DevicesError {
    let source = SimulatedGpus::new(board);
    let error = bring_up(&source, question).unwrap_err();
    assert!(!source.state().ready, "the GPUs were set ready: {error}");
    error
}

fn rejected(rejection: Rejection) -> DevicesError {
    DevicesError::Rejected(Rejected {
        code: rejection.code(),
    })
}

#[test]
fn a_genuine_board_is_set_ready_once_its_evidence_was_appraised() {
    let source = SimulatedGpus::new(two());
    let devices = bring_up(&source, &question(2, 0)).unwrap();
    assert!(source.state().ready);
    let evidence = GpuEvidence::decode(devices.evidence()).unwrap();
    assert_eq!(evidence, two().evidence(&BOOT, 0).unwrap());
}

#[test]
fn a_client_accepts_the_very_bytes_that_init_keeps() {
    let devices = bring_up(&SimulatedGpus::new(two()), &question(2, 0)).unwrap();
    let set = DeviceSet {
        architecture: DeviceKind::Hopper,
        gpus: 2,
        switches: 0,
        mode: GpuMode::MultiPass,
    };
    let expected = DeviceExpectations {
        nonces: DeviceNonces::OfBoot(&BOOT),
        sets: &[set],
        ocsp_nonce: None,
    };
    let facts = appraise_devices(
        &GpuEvidence::decode(devices.evidence()).unwrap(),
        &two().endorsements(NOW, None).unwrap(),
        &expected,
        &AppraisalPolicy::strict(),
        &research_anchors(),
        UnixTime(NOW),
    );
    assert_eq!(facts.map(|facts| facts.len()), Ok(2));
    assert_ne!(evidence_digest(devices.evidence()).0, [0; 32]);
}

#[test]
fn one_gpu_of_either_architecture_and_mode_is_taken() {
    for architecture in [DeviceKind::Hopper, DeviceKind::Blackwell] {
        for mode in [GpuMode::SinglePass, GpuMode::MultiPass] {
            let source = SimulatedGpus::new(Board::new(architecture, 1, 0, mode));
            bring_up(&source, &question(1, 0)).unwrap();
        }
    }
}

#[test]
fn a_stale_nonce_is_refused_before_the_gpus_are_ready() {
    let error = refused(two().with(DeviceLie::StaleNonce), &question(2, 0));
    assert_eq!(error, rejected(Rejection::GpuNonce));
}

#[test]
fn one_device_fewer_or_more_than_init_counted_is_refused() {
    let count = DevicesError::Socket(GpuSocketError::Refused(GpuRefusal::Count));
    assert_eq!(refused(two(), &question(3, 0)), count);
    assert_eq!(refused(two(), &question(1, 0)), count);
}

#[test]
fn the_same_device_twice_is_refused_by_its_key_and_by_its_name() {
    let error = refused(two().with(DeviceLie::Duplicate), &question(2, 0));
    assert_eq!(error, rejected(Rejection::GpuDuplicate));
    let source = SimulatedGpus::new(two());
    source.state().one_name = true;
    let error = bring_up(&source, &question(2, 0)).unwrap_err();
    assert_eq!(error, DevicesError::Changed);
}

#[test]
fn an_oversized_report_does_not_leave_the_program() {
    let source = SimulatedGpus::new(two());
    source.state().oversized = true;
    let error = bring_up(&source, &question(2, 0)).unwrap_err();
    let expected = DevicesError::Socket(GpuSocketError::Refused(GpuRefusal::Report));
    assert_eq!(error, expected);
}

#[test]
fn a_board_with_switches_is_refused_by_name() {
    let board = Board::new(DeviceKind::Hopper, 2, 2, GpuMode::ProtectedPcie);
    let refusal = GpuRefusal::SwitchesUnsupported;
    let expected = DevicesError::Socket(GpuSocketError::Refused(refusal));
    assert_eq!(refused(board, &question(2, 2)), expected);
}

#[test]
fn evidence_under_other_roots_than_the_programs_is_refused() {
    let production = |evidence: &GpuEvidence, question: &Question| {
        init_gpu::appraise(&verifier::TrustAnchors::PRODUCTION, evidence, question)
    };
    let source = SimulatedGpus::new(two());
    let error = Devices::bring_up(client(&source), production, &question(2, 0)).unwrap_err();
    assert!(matches!(error, DevicesError::Rejected(_)), "{error}");
    assert!(!source.state().ready);
}

/// What only documents from outside show, and so clients alone: measurements, versions, answers
/// about revocation, manifests.
const LEFT_TO_CLIENTS: &[DeviceLie] = &[
    DeviceLie::Measurement,
    DeviceLie::Decoder,
    DeviceLie::MissingMeasurement,
    DeviceLie::OldDriver,
    DeviceLie::OldFirmware,
    DeviceLie::NoAnswer,
    DeviceLie::AnswerAboutAnother,
    DeviceLie::MalformedAnswer,
    DeviceLie::TryLater,
    DeviceLie::ResponderUsage,
    DeviceLie::ResponderExtension,
    DeviceLie::ResponderExpired,
    DeviceLie::ResponderUnmarked,
    DeviceLie::OtherResponder,
    DeviceLie::AnswerExtension,
    DeviceLie::AnswerVersion,
    DeviceLie::AnswerKind,
    DeviceLie::AnswerSignature,
    DeviceLie::AnswerNotYetValid,
    DeviceLie::AnswerExpired,
    DeviceLie::AnswerTooOld,
    DeviceLie::Unknown,
    DeviceLie::Revoked,
    DeviceLie::OnHold,
    DeviceLie::SignerRevoked,
    DeviceLie::NoManifest,
    DeviceLie::DocumentType,
    DeviceLie::Comment,
    DeviceLie::Deep,
    DeviceLie::TwoSignatures,
    DeviceLie::Wrapped,
    DeviceLie::TwoReferences,
    DeviceLie::SignatureAlgorithm,
    DeviceLie::ManifestSignature,
    DeviceLie::ChangedValue,
    DeviceLie::ManifestChain,
    DeviceLie::ManifestRoot,
    DeviceLie::SignerExpired,
    DeviceLie::Alternatives,
    DeviceLie::IndexTwice,
    DeviceLie::NothingActive,
    DeviceLie::Product,
    DeviceLie::Version,
    DeviceLie::Overlap,
];

#[test]
fn every_lie_that_needs_no_document_from_outside_is_refused_from_within() {
    for lie in DeviceLie::ALL {
        let mode = GpuMode::ProtectedPcie;
        let board = Board::new(DeviceKind::Hopper, 2, 2, mode).with(*lie);
        let evidence = board.evidence(&BOOT, 0).unwrap();
        let outcome = appraise(&evidence, &question(2, 2));
        let expected = LEFT_TO_CLIENTS.contains(lie);
        assert_eq!(outcome.is_ok(), expected, "{lie:?}: {outcome:?}");
    }
}

#[test]
fn evidence_of_another_boot_or_round_is_refused() {
    let others = [
        two().evidence(&BootId([8; 32]), 0),
        two().evidence(&BOOT, 1).map(|evidence| GpuEvidence {
            round: 0,
            ..evidence
        }),
    ];
    for evidence in others {
        let refused = appraise(&evidence.unwrap(), &question(2, 0)).unwrap_err();
        assert_eq!(refused.code, Rejection::GpuNonce.code());
    }
}

#[test]
fn quiet_gpus_are_asked_again_after_a_period_and_not_before() {
    let source = SimulatedGpus::new(two());
    let mut devices = bring_up(&source, &question(2, 0)).unwrap();
    let start = Instant::now();
    assert_eq!(devices.look(start, NOW), Ok(false));
    assert_eq!(devices.look(start + LATER, NOW), Ok(false));
    assert_eq!(source.state().reports, 2);
    assert_eq!(devices.look(start + MUCH_LATER, NOW), Ok(true));
    assert_eq!(source.state().reports, 4);
    let evidence = GpuEvidence::decode(devices.evidence()).unwrap();
    assert_eq!(evidence, two().evidence(&BOOT, 1).unwrap());
}

#[test]
fn after_a_critical_error_or_a_reset_new_evidence_is_appraised() {
    let source = SimulatedGpus::new(two());
    let mut devices = bring_up(&source, &question(2, 0)).unwrap();
    let start = Instant::now();
    source.state().faults = 1;
    assert_eq!(devices.look(start + LATER, NOW), Ok(true));
    source.state().ready = false;
    assert_eq!(devices.look(start + LATER * 2, NOW), Ok(true));
    assert!(source.state().ready, "ready again, once appraised");
    source.state().lost = true;
    let gone = devices.look(start + LATER * 3, NOW).unwrap_err();
    let lost = DevicesError::Socket(GpuSocketError::Refused(GpuRefusal::Lost));
    assert_eq!(gone, lost);
}

#[test]
fn what_comes_back_from_a_reset_as_something_else_is_refused_and_not_set_ready() {
    let source = SimulatedGpus::new(two());
    let mut devices = bring_up(&source, &question(2, 0)).unwrap();
    let before = devices.evidence().to_vec();
    let start = Instant::now();
    source.state().ready = false;
    source.state().board = two().with(DeviceLie::OtherFirmware);
    let refused = devices.look(start + LATER, NOW).unwrap_err();
    assert_eq!(refused, rejected(Rejection::GpuFwid));
    assert!(!source.state().ready);
    assert_eq!(devices.evidence(), before);
}

#[test]
fn other_gpus_than_those_of_the_boot_are_refused_however_genuine() {
    let source = SimulatedGpus::new(two());
    let mut devices = bring_up(&source, &question(2, 0)).unwrap();
    source.state().ready = false;
    source.state().series = "b";
    let refused = devices.look(Instant::now() + LATER, NOW).unwrap_err();
    assert_eq!(refused, DevicesError::Changed);
    assert!(!source.state().ready);
}
