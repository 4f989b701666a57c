//! A gpu-evidence that does what it must not: whatever it does, init has an error, in time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use init::gpu::client::{GpuClient, GpuSocketError};
use init::gpu::{Devices, DevicesError, Question};
use messages::framing;
use messages::gpu_socket::{DeviceCount, GpuAnswer, GpuUuid, MAX_FRAME};
use mock_tee::nvidia::Board;
use protocol::digest::BootId;
use protocol::gpu_evidence::{DeviceKind, GpuEvidence, GpuMode, MAX_REPORT_BYTES};

const PATIENCE: Duration = Duration::from_millis(300);
const BOOT: BootId = BootId([7; 32]);
const QUESTION: Question = Question {
    boot_id: BOOT,
    count: DeviceCount {
        gpus: 2,
        switches: 0,
    },
    host_time: 1_795_305_600,
};

/// What init makes of a program that does this with its end, once it was asked.
fn outcome(program: impl FnOnce(UnixStream) + Send + 'static) -> DevicesError {
    let (near, mut far) = UnixStream::pair().unwrap();
    let running = std::thread::spawn(move || {
        let mut header = [0; framing::HEADER_BYTES];
        far.read_exact(&mut header).unwrap();
        let mut request = vec![0; framing::payload_length(header, 4096).unwrap()];
        far.read_exact(&mut request).unwrap();
        program(far);
    });
    let started = Instant::now();
    let client = GpuClient::new(near.into(), PATIENCE);
    let error = Devices::bring_up(client, |_, _| Ok(()), &QUESTION).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(8), "{error}");
    running.join().unwrap();
    error
}

fn says(bytes: Vec<u8>) -> DevicesError {
    outcome(move |mut far| {
        // init may have gone away before all of it was taken.
        let _taken = far.write_all(&bytes);
        std::thread::sleep(PATIENCE * 2);
    })
}

fn evidence() -> GpuEvidence {
    let board = Board::new(DeviceKind::Hopper, 2, 0, GpuMode::MultiPass);
    board.evidence(&BOOT, 0).unwrap()
}

fn collected(evidence: GpuEvidence) -> Vec<u8> {
    let uuid = |name: &[u8]| GpuUuid::new(name).unwrap();
    let answer = GpuAnswer::Collected {
        uuids: vec![uuid(b"GPU-0"), uuid(b"GPU-1")],
        evidence: Box::new(evidence),
    };
    framing::frame(&answer.encode())
}

const fn socket(error: GpuSocketError) -> DevicesError {
    DevicesError::Socket(error)
}

#[test]
fn a_program_that_never_answers_is_given_up_in_time() {
    assert_eq!(says(Vec::new()), socket(GpuSocketError::Silent));
}

#[test]
fn a_program_that_answers_a_byte_at_a_time_is_given_up_in_the_same_time() {
    let error = outcome(|mut far| {
        let frame = collected(evidence());
        for byte in frame {
            if far.write_all(&[byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(error, socket(GpuSocketError::Silent));
}

#[test]
fn a_program_that_ends_midway_is_told_as_gone() {
    let whole = collected(evidence());
    for cut in [0, 1, 3, 4, 5, 100, whole.len() - 1] {
        let part = whole[..cut].to_vec();
        let error = outcome(move |mut far| far.write_all(&part).unwrap());
        assert_eq!(error, socket(GpuSocketError::Ended), "{cut}");
    }
}

#[test]
fn a_program_that_speaks_before_it_is_asked_is_refused() {
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(&collected(evidence())).unwrap();
    let client = GpuClient::new(near.into(), PATIENCE);
    let error = Devices::bring_up(client, |_, _| Ok(()), &QUESTION).unwrap_err();
    assert_eq!(error, socket(GpuSocketError::OutOfTurn));
}

#[test]
fn a_program_that_answers_twice_is_refused() {
    let twice = [collected(evidence()), collected(evidence())].concat();
    assert_eq!(says(twice), socket(GpuSocketError::OutOfTurn));
}

#[test]
fn an_answer_to_another_question_is_refused() {
    for other in [
        GpuAnswer::Accepted,
        GpuAnswer::Watched {
            ready: true,
            faults: 0,
        },
    ] {
        let error = says(framing::frame(&other.encode()));
        assert_eq!(error, socket(GpuSocketError::OutOfStep));
    }
}

#[test]
fn an_announced_length_above_the_limit_is_refused_before_it_is_read() {
    let above = u32::try_from(MAX_FRAME + 1).unwrap();
    for length in [above, u32::MAX] {
        let error = says(length.to_le_bytes().to_vec());
        assert_eq!(error, socket(GpuSocketError::TooLong));
    }
}

#[test]
fn an_oversized_report_and_other_malformed_answers_are_refused() {
    let mut long = evidence();
    long.devices[0].report = vec![0; MAX_REPORT_BYTES + 1];
    for frame in [
        collected(long),
        framing::frame(&[]),
        framing::frame(&[9]),
        framing::frame(&[2, 0]),
    ] {
        assert_eq!(says(frame), socket(GpuSocketError::Malformed));
    }
}

#[test]
fn evidence_of_another_round_number_or_kind_of_devices_is_refused() {
    let mut other_round = evidence();
    other_round.round = 1;
    let mut fewer = evidence();
    fewer.devices.pop();
    let mut more = evidence();
    more.devices.push(more.devices[0].clone());
    let mut switch = evidence();
    switch.devices[1].kind = DeviceKind::Ls10;
    for wrong in [other_round, fewer, more, switch] {
        assert_eq!(says(collected(wrong)), DevicesError::Foreign);
    }
}
