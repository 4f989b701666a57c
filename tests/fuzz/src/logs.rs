//! Event logs, in both of their forms, told apart as `measure replay` does it.

use measurements::event_log_json;
use protocol::event_log::{Algorithm, EventLog};

use crate::Outcome;

/// A TPM's or a TD's log; or dstack's JSON.
pub fn event_log(input: &[u8]) -> Outcome {
    if matches!(input.first(), Some(b'[' | b'{')) {
        let parsed = event_log_json::parse(input);
        if let Ok(events) = &parsed {
            let registers = event_log_json::replay(events);
            assert!(registers.len() <= 4, "a register that does not exist");
        }
        return Outcome::of(&parsed);
    }
    let parsed = EventLog::parse(input);
    if let Ok(log) = &parsed {
        for algorithm in &log.algorithms {
            let registers = log.replay(*algorithm);
            assert!(*algorithm != Algorithm::Sha1 || log.events.is_empty() || registers.is_empty());
        }
        for event in &log.events {
            assert_eq!(event.digests.len(), log.algorithms.len());
            let _coverage = log.coverage(event);
        }
    }
    Outcome::of(&parsed)
}
