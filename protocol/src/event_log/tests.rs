//! A captured log, a made-up log of a TPM, and what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use sha2::Digest as _;

const CCEL: &[u8] = include_bytes!("../../../tests/fixtures/tdx/eventlog/ccel.bin");

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| std::format!("{byte:02x}"))
        .collect()
}

/// A log of a TPM with two banks; events with digests of their data.
fn tpm(locality: Option<u8>, events: &[(u32, u32, &[u8])]) -> Vec<u8> {
    let mut log = Vec::new();
    log.extend([0, 0, 0, 0, 3, 0, 0, 0]);
    log.extend([0; 20]);
    let mut list = SIGNATURE.to_vec();
    list.extend([
        0, 0, 0, 0, 0, 2, 0, 2, 2, 0, 0, 0, 0x0b, 0, 32, 0, 0x0c, 0, 48, 0, 0,
    ]);
    log.extend(u32::try_from(list.len()).unwrap().to_le_bytes());
    log.extend(list);
    let locality = locality.map(|locality| [LOCALITY_SIGNATURE.as_slice(), &[locality]].concat());
    let started = locality
        .iter()
        .map(|data| (0, EV_NO_ACTION, data.as_slice()));
    for (register, kind, data) in started.chain(events.iter().copied()) {
        log.extend(register.to_le_bytes());
        log.extend(kind.to_le_bytes());
        log.extend([2, 0, 0, 0, 0x0b, 0]);
        log.extend(Sha256::digest(data));
        log.extend([0x0c, 0]);
        log.extend(Sha384::digest(data));
        log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        log.extend(data);
    }
    log
}

#[test]
fn a_captured_log_of_a_td_replays_to_the_values_that_another_program_computes() {
    let log = EventLog::parse(CCEL).unwrap();
    assert_eq!(log.algorithms, [Algorithm::Sha384]);
    let registers = log.replay(Algorithm::Sha384);
    let found: Vec<_> = registers
        .iter()
        .map(|r| (r.register, hex(&r.value)))
        .collect();
    // Computed with Python's hashlib from the same bytes.
    let expected = [
        (
            1,
            "274c2344116db7c663470693b5ba62b8621eac28cb41d2f8\
             16ddf188f9f423f900a1c44d32386fd3c993dc814e62af9d",
        ),
        (
            2,
            "bdcf4ee0f7fdfe7c73fbb19ded73193aee23a6726b86d3b2\
             82ea097cf4c9ed7a0db21b5c1ccd513e410d90e310836b26",
        ),
    ];
    assert_eq!(found, expected.map(|(n, value)| (n, String::from(value))));
    assert!(log.replay(Algorithm::Sha256).is_empty());
}

#[test]
fn an_event_is_covered_only_when_its_digest_is_that_of_its_data() {
    let log = EventLog::parse(CCEL).unwrap();
    let coverage = |needle: &[u8]| {
        let event = log
            .events
            .iter()
            .find(|event| event.data.starts_with(needle));
        log.coverage(event.unwrap())
    };
    assert_eq!(coverage(b"Calling EFI Application"), Coverage::Whole);
    // The digest is that of a table that the log does not hold.
    assert_eq!(coverage(b"ACPI DATA"), Coverage::Nothing);

    let good = tpm(None, &[(4, 0xd, b"some words")]);
    let at = good.len() - 1;
    let mut other = good.clone();
    other[at] ^= 1;
    let coverage_of = |bytes: &[u8]| {
        let log = EventLog::parse(bytes).unwrap();
        log.coverage(&log.events[0])
    };
    assert_eq!(coverage_of(&good), Coverage::Whole);
    assert_eq!(coverage_of(&other), Coverage::Nothing);
    // One bank of two that disagrees is enough.
    let mut one_bank = good;
    let first_digest = one_bank.len() - 10 - 4 - 48 - 2 - 32;
    one_bank[first_digest] ^= 1;
    assert_eq!(coverage_of(&one_bank), Coverage::Nothing);
}

#[test]
fn both_banks_of_a_tpm_replay_and_pcr_0_starts_at_the_locality() {
    let bytes = tpm(Some(3), &[(0, 8, b"v"), (7, 4, &[0; 4]), (0, 4, &[0; 4])]);
    let log = EventLog::parse(&bytes).unwrap();
    assert_eq!(log.events.len(), 3);
    for (algorithm, length) in [(Algorithm::Sha256, 32), (Algorithm::Sha384, 48)] {
        let mut start = vec![0; length];
        start[length - 1] = 3;
        let digest = |parts: &[&[u8]]| algorithm.digest(parts).unwrap();
        let first = digest(&[&start, &digest(&[b"v"])]);
        let separator = digest(&[&[0; 4]]);
        let expected = [
            Replayed {
                register: 0,
                value: digest(&[&first, &separator]),
            },
            Replayed {
                register: 7,
                value: digest(&[&vec![0; length], &separator]),
            },
        ];
        assert_eq!(log.replay(algorithm), expected);
    }
}

#[test]
fn filling_ends_a_log_and_nothing_else_does() {
    let good = tpm(None, &[(4, 4, &[0; 4])]);
    for filling in [0xff, 0x00] {
        let mut filled = good.clone();
        filled.resize(good.len() + 100, filling);
        assert_eq!(EventLog::parse(&filled), EventLog::parse(&good));
        filled.push(1);
        assert!(EventLog::parse(&filled).is_err());
    }
    // A prefix that ends between two events is a log; every other one is refused.
    let list = tpm(None, &[]).len();
    for end in 0..good.len() {
        let parsed = EventLog::parse(&good[..end]);
        assert_eq!(parsed.is_ok(), end == list, "{end}");
    }
}

#[test]
fn refuses_counts_registers_and_digests_that_no_log_has() {
    let good = tpm(None, &[(4, 4, &[0; 4])]);
    let event = tpm(None, &[]).len();
    let changed = |at: usize, value: u8| {
        let mut log = good.clone();
        log[at] = value;
        EventLog::parse(&log).map(drop)
    };
    assert_eq!(
        changed(event, 32),
        Err(EventLogError::Register {
            event: 1,
            found: 32
        })
    );
    assert_eq!(
        changed(event + 8, 1),
        Err(EventLogError::Digests { event: 1 })
    );
    assert_eq!(
        changed(event + 12, 0x0c),
        Err(EventLogError::Digests { event: 1 })
    );
    let size = good.len() - 8;
    assert!(matches!(
        changed(size, 5),
        Err(EventLogError::Malformed { event: 1, .. })
    ));
    assert!(matches!(
        changed(size + 3, 255),
        Err(EventLogError::Malformed { .. })
    ));
    assert_eq!(changed(4, 4), Err(EventLogError::NoAlgorithms));
    assert_eq!(changed(32, b'X'), Err(EventLogError::NoAlgorithms));
    assert_eq!(changed(32 + 24, 9), Err(EventLogError::NoAlgorithms));
    assert_eq!(changed(32 + 28, 0x0c), Err(EventLogError::NoAlgorithms));
    let long = vec![0; MAX_BYTES + 1];
    assert_eq!(EventLog::parse(&long), Err(EventLogError::TooLong));
}

proptest! {
    #[test]
    fn a_changed_byte_gives_a_log_or_a_typed_error(at in 0..CCEL.len(), byte: u8) {
        let mut log = CCEL.to_vec();
        log[at] = byte;
        if let Ok(log) = EventLog::parse(&log) {
            let _ = log.replay(Algorithm::Sha384);
        }
    }

    #[test]
    fn any_bytes_give_a_typed_error_or_a_log(bytes: Vec<u8>) {
        let _ = EventLog::parse(&bytes);
    }
}
