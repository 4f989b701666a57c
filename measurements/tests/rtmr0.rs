//! RTMR0 and the ACPI files against what the pinned QEMU and the guest's firmware really gave:
//! `measurements/capture` made the committed captures, and knows nothing of this crate.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::io::Read as _;

use measurements::acpi::{AcpiFiles, QemuProfile};
use measurements::firmware::Firmware;
use measurements::machine::{Machine, MachineParts, SerialPort};
use measurements::rtmr0::{self, Basis, Platform, Rtmr0Error};
use protocol::digest::Rtmr;

const QEMU: QemuProfile = QemuProfile::Qemu11_1_3;
const GOLDEN: &str = include_str!("acpi-golden.txt");
/// Shapes whose whole RTMR0 was captured.
const CAPTURED: [&str; 3] = [
    include_str!("../../tests/fixtures/tdx/rtmr0/2x2048.txt"),
    include_str!("../../tests/fixtures/tdx/rtmr0/2x2048-serial.txt"),
    include_str!("../../tests/fixtures/tdx/rtmr0/4x4096-gpu.txt"),
];

/// vCPUs, MiB, GPUs, model disks, serial port: the first five numbers of a line.
fn machine(numbers: &[&str]) -> Machine {
    let number = |at: usize| numbers[at].parse::<u64>().unwrap();
    let serial = match number(4) {
        0 => SerialPort::Absent,
        1 => SerialPort::Present,
        other => panic!("{other}"),
    };
    let parts = MachineParts {
        vcpus: u16::try_from(number(0)).unwrap(),
        memory: number(1) << 20,
        gpus: u8::try_from(number(2)).unwrap(),
        model_disks: u8::try_from(number(3)).unwrap(),
        serial,
    };
    Machine::try_from(parts).unwrap()
}

fn golden() -> Vec<(Machine, Vec<String>)> {
    let lines = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let digests = words[5..].iter().map(|digest| (*digest).to_owned());
        (machine(&words), digests.collect())
    });
    parsed.collect()
}

fn firmware() -> Vec<u8> {
    let packed = include_bytes!("../../image/firmware/OVMF.fd.gz").as_slice();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn the_acpi_files_are_those_of_the_pinned_qemu_for_every_captured_shape() {
    let golden = golden();
    assert!(golden.len() >= 12);
    for (machine, expected) in golden {
        let files = AcpiFiles::of(QEMU, &machine).unwrap();
        let digests = files.digests().map(|(_, digest)| Rtmr(digest).to_string());
        assert_eq!(digests.as_slice(), expected, "{machine:?}");
    }
}

#[test]
fn every_event_and_the_register_are_as_captured() {
    let bytes = firmware();
    let firmware = Firmware::parse(&bytes).unwrap();
    let platform = Platform::of(&firmware, QEMU).unwrap();
    for capture in CAPTURED {
        let mut lines = capture.lines();
        let head = lines.next().unwrap();
        let words: Vec<&str> = head.trim_start_matches("# ").split([' ', ':']).collect();
        let machine = machine(&words);
        let events = platform.events(&machine).unwrap();
        for known in &events {
            let line = lines.next().unwrap();
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            let digest = Rtmr(known.event.digest).to_string();
            assert_eq!(digest, words[1], "{head}: {} is {line}", known.event.what);
        }
        let value = format!("rtmr0 {}", rtmr0::replay(&events));
        assert_eq!(lines.next(), Some(value.as_str()), "{head}");
    }
}

#[test]
fn what_no_emulation_shows_is_marked() {
    let bytes = firmware();
    let firmware = Firmware::parse(&bytes).unwrap();
    let platform = Platform::of(&firmware, QEMU).unwrap();
    let machine = machine(&["2", "2048", "0", "1", "0"]);
    let events = platform.events(&machine).unwrap();
    let only = events.iter().filter(|one| one.basis == Basis::HardwareOnly);
    let names: Vec<&str> = only.map(|one| one.event.what).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert_eq!(names[0], "TD HOB: memory map");
}

#[test]
fn a_firmware_that_nobody_looked_at_is_refused_by_its_digest() {
    let mut bytes = firmware();
    bytes[0] ^= 1;
    let firmware = Firmware::parse(&bytes).unwrap();
    let refused = Platform::of(&firmware, QEMU);
    assert!(matches!(refused, Err(Rtmr0Error::UnknownFirmware { .. })));
}

#[test]
fn shapes_that_differ_in_one_thing_differ_in_rtmr0() {
    let bytes = firmware();
    let firmware = Firmware::parse(&bytes).unwrap();
    let platform = Platform::of(&firmware, QEMU).unwrap();
    let shapes = [
        "2 2048 0 1 0",
        "3 2048 0 1 0",
        "2 2049 0 1 0",
        "2 2048 1 1 0",
        "2 2048 0 2 0",
        "2 2048 0 1 1",
    ];
    let mut values: Vec<String> = shapes
        .iter()
        .map(|shape| {
            let machine = machine(&shape.split(' ').collect::<Vec<_>>());
            let events = platform.events(&machine).unwrap();
            rtmr0::replay(&events).to_string()
        })
        .collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), shapes.len());
}
