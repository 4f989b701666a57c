//! Counts of what happened since the program began: each event that is reported, or would be but
//! for the rate at which a guest may fill the operator's screen.
//!
//! A guest's own counters are its word. Their values are integers that it chooses: they are summed,
//! or sorted into kinds that are known here, so that no guest makes a label. Deliberately not here:
//! what of it is durable (`books`).

use std::sync::{Mutex, MutexGuard, PoisonError};

use messages::boot::BootPhase;
use messages::host_control::{ServeEvent, StopReason};

use super::page::Page;
use crate::relay::End;
use crate::report::Event;

/// Statuses with which serve refuses, by docs/spec/serving.md §7; anything else is `other`.
const STATUSES: [(u32, &str); 13] = [
    (400, "400"),
    (402, "402"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (413, "413"),
    (415, "415"),
    (429, "429"),
    (431, "431"),
    (500, "500"),
    (503, "503"),
    (0, "other"),
];

/// What happened, and how often.
#[derive(Debug, Default)]
pub struct Totals {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Whether the guest takes requests, by its own word.
    up: bool,
    launches: u64,
    failed_boots: u64,
    ended: u64,
    stapled: u64,
    control_refused: u64,
    vouchers: u64,
    stops: [u64; StopReason::ALL.len()],
    relayed: [u64; End::ALL.len()],
    bytes_up: u64,
    bytes_down: u64,
    guest: Guest,
}

/// What the guest says.
#[derive(Debug, Default)]
struct Guest {
    connections: u64,
    open: u32,
    challenges: u64,
    refusals: [u64; STATUSES.len()],
    finished: u64,
    engines_lost: u64,
}

impl Totals {
    /// Counts one event.
    pub fn count(&self, event: &Event) {
        let mut counts = self.counts();
        match event {
            Event::Started { name: "qemu", .. } => raise(&mut counts.launches),
            Event::PhasePassed {
                phase: BootPhase::Ready,
                ..
            } => counts.up = true,
            Event::PhaseFailed { .. } => {
                raise(&mut counts.failed_boots);
                counts.up = false;
            }
            Event::EndorsementsStapled { .. } => raise(&mut counts.stapled),
            Event::VoucherStored { .. } => raise(&mut counts.vouchers),
            Event::ChannelStopped { reason, .. } => {
                let stops = StopReason::ALL.iter().zip(&mut counts.stops);
                let this = stops.filter(|(kind, _)| *kind == reason);
                this.for_each(|(_, count)| raise(count));
            }
            Event::Counter(event, value) => counts.guest.count(*event, *value),
            Event::ControlRefused { .. } => raise(&mut counts.control_refused),
            Event::RelayClosed { up, down, end } => {
                let ends = End::ALL.iter().zip(&mut counts.relayed);
                let this = ends.filter(|(kind, _)| kind.name() == *end);
                this.for_each(|(_, count)| raise(count));
                counts.bytes_up = counts.bytes_up.saturating_add(*up);
                counts.bytes_down = counts.bytes_down.saturating_add(*down);
            }
            Event::GuestEnded { .. } => {
                raise(&mut counts.ended);
                counts.up = false;
            }
            Event::Stopped => counts.up = false,
            Event::Step(_)
            | Event::Started { .. }
            | Event::PhasePassed { .. }
            | Event::MetricsTold { .. }
            | Event::Ready { .. } => {}
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let counts = self.counts();
        page.gauge("machine_up", u8::from(counts.up));
        page.counter("machine_launches_total", counts.launches);
        page.counter("machine_failed_boots_total", counts.failed_boots);
        page.counter("machine_ended_total", counts.ended);
        page.counter("endorsements_stapled_total", counts.stapled);
        page.counter("control_refused_total", counts.control_refused);
        page.counter("vouchers_stored_total", counts.vouchers);
        let codes = StopReason::ALL.map(StopReason::code).into_iter();
        page.counters("vouchers_stopped_total", "code", codes.zip(counts.stops));
        let ends = End::ALL.map(End::name).into_iter();
        page.counters("relayed_connections_total", "end", ends.zip(counts.relayed));
        let bytes = [("up", counts.bytes_up), ("down", counts.bytes_down)];
        page.counters("relayed_bytes_total", "direction", bytes);
        counts.guest.write(page);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // No code panics while it holds the lock.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    fn count(&mut self, event: ServeEvent, value: u32) {
        match event {
            ServeEvent::ConnectionOpened => {
                raise(&mut self.connections);
                self.open = value;
            }
            ServeEvent::ConnectionClosed => self.open = value,
            ServeEvent::ChallengeAnswered => raise(&mut self.challenges),
            ServeEvent::RequestRefused => {
                let known = STATUSES.iter().position(|(status, _)| *status == value);
                let at = known.unwrap_or(STATUSES.len().saturating_sub(1));
                if let Some(count) = self.refusals.get_mut(at) {
                    raise(count);
                }
            }
            ServeEvent::RequestFinished => raise(&mut self.finished),
            ServeEvent::EngineLost => raise(&mut self.engines_lost),
        }
    }

    fn write(&self, page: &mut Page) {
        page.counter("guest_connections_total", self.connections);
        page.gauge("guest_connections_open", self.open);
        page.counter("guest_challenges_total", self.challenges);
        let statuses = STATUSES.map(|(_, word)| word).into_iter();
        let refusals = statuses.zip(self.refusals);
        page.counters("guest_refusals_total", "status", refusals);
        page.counter("guest_requests_finished_total", self.finished);
        page.counter("guest_engines_lost_total", self.engines_lost);
    }
}

const fn raise(count: &mut u64) {
    *count = count.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::CHANNEL;
    use protocol::nano::Nano;

    fn told(events: &[Event]) -> String {
        let totals = Totals::default();
        events.iter().for_each(|event| totals.count(event));
        let mut page = Page::default();
        totals.write(&mut page);
        page.into_text()
    }

    #[test]
    fn each_event_is_counted_under_its_own_name() {
        let stored = Event::VoucherStored {
            channel: CHANNEL,
            epoch: 1,
            cumulative: Nano::from_u64(77_777),
        };
        let text = told(&[
            Event::Started {
                name: "qemu",
                pid: 4242,
            },
            stored.clone(),
            stored,
            Event::ChannelStopped {
                channel: CHANNEL,
                reason: StopReason::Closing,
            },
            Event::RelayClosed {
                up: 10,
                down: 20,
                end: "idle",
            },
            Event::RelayClosed {
                up: u64::MAX,
                down: 1,
                end: "done",
            },
            Event::Counter(ServeEvent::ConnectionOpened, 3),
            Event::Counter(ServeEvent::RequestRefused, 429),
            Event::Counter(ServeEvent::RequestRefused, 4_000_000_000),
        ]);
        for line in [
            "cocoon_machine_launches_total 1",
            "cocoon_vouchers_stored_total 2",
            "cocoon_vouchers_stopped_total{code=\"payment-channel-closing\"} 1",
            "cocoon_vouchers_stopped_total{code=\"payment-outdated\"} 0",
            "cocoon_relayed_connections_total{end=\"idle\"} 1",
            "cocoon_relayed_connections_total{end=\"full\"} 0",
            "cocoon_relayed_bytes_total{direction=\"up\"} 18446744073709551615",
            "cocoon_relayed_bytes_total{direction=\"down\"} 21",
            "cocoon_guest_connections_open 3",
            "cocoon_guest_refusals_total{status=\"429\"} 1",
            "cocoon_guest_refusals_total{status=\"other\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        // Of one client, or of one launch, nothing is told.
        assert!(!text.contains(&CHANNEL.to_string()), "{text}");
        assert!(!text.contains("77777") && !text.contains("4242"), "{text}");
    }

    #[test]
    fn a_machine_is_up_from_ready_until_it_fails_or_ends() {
        let ready = Event::PhasePassed {
            phase: BootPhase::Ready,
            guest_ms: 5,
        };
        let up = |events: &[Event]| told(events).contains("cocoon_machine_up 1");
        assert!(!up(&[]));
        assert!(up(std::slice::from_ref(&ready)));
        assert!(!up(&[ready.clone(), Event::GuestEnded { failure: None }]));
        assert!(!up(&[ready, Event::Stopped]));
    }
}
