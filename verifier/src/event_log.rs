//! A TD's event log, held against the registers of its quote. Replay itself is `protocol`'s.
//!
//! The log adds nothing to what the registers prove; it tells a reader what was measured. So a log
//! that does not lead to the registers is a host's story, and refused.

use protocol::digest::Rtmr;
use protocol::event_log::{Algorithm, EventLog};

use crate::checks::{Checks, Subject};
use crate::rejection::Rejection;

/// A TD's log counts measurement registers: 1 is RTMR0, 4 is RTMR3, which nothing may extend.
const RTMR3: u32 = 4;

/// The log is well formed and replays to RTMR0, RTMR1 and RTMR2.
pub(crate) fn check(of: Subject, log: &[u8], rtmrs: &[Rtmr; 3], checks: &mut Checks<'_>) {
    let parsed = EventLog::parse(log).ok();
    let found = format_args!("{} bytes", log.len());
    let Some(log) = checks.read(of, Rejection::EventLogMalformed, found, parsed) else {
        return;
    };
    let replayed = log.replay(Algorithm::Sha384);
    let value = |register: u32| {
        let mut known = replayed.iter();
        let known = known.find(|known| known.register == register);
        known.map_or([0; 48].as_slice(), |known| known.value.as_slice())
    };
    let agree = (1..RTMR3)
        .zip(rtmrs)
        .all(|(register, rtmr)| value(register) == rtmr.as_bytes());
    let only_these = replayed
        .iter()
        .all(|known| (1..RTMR3).contains(&known.register));
    let found = format_args!("{} events", log.events.len());
    checks.expect(of, Rejection::EventLogReplay, found, agree && only_these);
}
