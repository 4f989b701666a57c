//! Logs with the registers that a quote signed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use measurements::event_log_json::{Hex, JsonLogError, parse, replay};
use serde_json::{Value, json};

const QUOTED: &str = include_str!("../../tests/fixtures/tdx/eventlog/tdx-lite-getquote.json");

/// Offset of RTMR0 in a quote of version 4: header, then the TD report's body.
const RTMR0: usize = 48 + 328;

fn event(kind: u32, digest: &str, payload: &str) -> Value {
    json!([{ "imr": 3, "event_type": kind, "digest": digest, "event": "name",
             "event_payload": payload }])
}

fn refusal(log: &Value) -> JsonLogError {
    parse(log.to_string().as_bytes()).unwrap_err()
}

#[test]
fn all_four_registers_of_a_quote_follow_from_its_log() {
    let document: Value = serde_json::from_str(QUOTED).unwrap();
    let quote = document["quote"].as_str().unwrap();
    let events = parse(QUOTED.as_bytes()).unwrap();
    let registers = replay(&events);
    assert_eq!(registers.len(), 4);
    for (number, register) in registers.iter().enumerate() {
        let at = 2 * (RTMR0 + 48 * number);
        assert_eq!(
            Hex(&register.value).to_string(),
            quote[at..at + 96],
            "RTMR{number}"
        );
    }
}

#[test]
fn run_time_events_are_recomputed_and_only_they_and_known_preimages_are_covered() {
    let events = parse(QUOTED.as_bytes()).unwrap();
    let recomputed = events.iter().filter(|event| event.was_recomputed);
    assert!(
        recomputed
            .clone()
            .all(|event| event.rtmr == 3 && event.is_covered)
    );
    assert_eq!(recomputed.count(), 9);
    // "ACPI DATA" names tables that the log does not hold.
    let acpi: Vec<_> = events
        .iter()
        .filter(|e| e.name.starts_with("acpi-"))
        .collect();
    assert_eq!(acpi.len(), 3);
    assert!(acpi.iter().all(|event| !event.is_covered));
}

#[test]
fn a_payload_that_the_digest_does_not_cover_is_not_verified() {
    let log = event(0x0800_0001, "", "6162").to_string();
    let honest = parse(log.as_bytes()).unwrap();
    let digest = Hex(&honest[0].digest).to_string();
    let other = event(0x0800_0001, &digest, "6163").to_string();
    let told = parse(other.as_bytes()).unwrap();
    assert!(honest[0].is_covered && !told[0].is_covered);
    assert_eq!(replay(&honest), replay(&told));
    let empty = event(0xa, &digest, "").to_string();
    assert!(!parse(empty.as_bytes()).unwrap()[0].is_covered);
}

#[test]
fn refuses_what_is_no_log() {
    assert_eq!(
        refusal(&event(0xa, "", "61")),
        JsonLogError::NoDigest { event: 0 }
    );
    let hex = |member| JsonLogError::Hex { event: 0, member };
    assert_eq!(refusal(&event(0xa, "00", "")), hex("digest"));
    assert_eq!(refusal(&event(0x0800_0001, "", "6")), hex("event_payload"));
    assert_eq!(refusal(&event(0x0800_0001, "", "é")), hex("event_payload"));
    let mut register = event(0x0800_0001, "", "");
    register[0]["imr"] = json!(4);
    assert_eq!(
        refusal(&register),
        JsonLogError::Register { event: 0, found: 4 }
    );
    for text in [
        "",
        "{}",
        "[{}]",
        "[1]",
        r#"{"event_log":"["}"#,
        r#"{"event_log":1}"#,
    ] {
        let refused = parse(text.as_bytes()).unwrap_err();
        assert!(matches!(refused, JsonLogError::Malformed { .. }), "{text}");
    }
    let deep = "[".repeat(1 << 20);
    assert!(matches!(
        parse(deep.as_bytes()),
        Err(JsonLogError::Malformed { .. })
    ));
    let end = QUOTED.trim_end().len();
    for end in (0..end).step_by(101) {
        assert!(parse(&QUOTED.as_bytes()[..end]).is_err(), "{end}");
    }
}
