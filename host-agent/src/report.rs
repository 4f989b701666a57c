//! What the operator sees: typed events, as lines of text or of JSON.
//!
//! Only numbers, addresses and words of this program are printed; no byte of a guest or a client
//! gets here. Deliberately not here: which events there are to report (the services decide).

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use messages::boot::{BootFailure, BootPhase};
use messages::host_control::{ServeEvent, StopReason};
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use serde_json::{Map, Value, json};

use crate::metrics::Totals;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A step of the agent itself is done.
    Step(&'static str),
    /// A process was started.
    Started {
        /// Which.
        name: &'static str,
        /// Its process id.
        pid: u32,
    },
    /// The guest passed a boot phase.
    PhasePassed {
        /// Which.
        phase: BootPhase,
        /// Milliseconds since its init started, by its own clock.
        guest_ms: u32,
    },
    /// A boot phase failed; the guest powers off.
    PhaseFailed {
        /// Which.
        phase: BootPhase,
        /// Why.
        failure: BootFailure,
    },
    /// Clients may connect.
    Ready {
        /// Where.
        listen: String,
    },
    /// Totals can be read.
    MetricsTold {
        /// Where.
        listen: String,
    },
    /// Endorsements were handed to the guest.
    EndorsementsStapled {
        /// Bytes.
        bytes: usize,
    },
    /// A voucher is durable.
    VoucherStored {
        /// Its payment channel.
        channel: TonAddress,
        /// Its epoch.
        epoch: u32,
        /// Its total.
        cumulative: Nano,
    },
    /// A payment channel is not served.
    ChannelStopped {
        /// Which.
        channel: TonAddress,
        /// Why.
        reason: StopReason,
    },
    /// A counter of the guest.
    Counter(ServeEvent, u32),
    /// A control connection was closed because of what it sent.
    ControlRefused {
        /// The stable code.
        code: &'static str,
    },
    /// A relayed connection ended.
    RelayClosed {
        /// Bytes from the client to the guest.
        up: u64,
        /// Bytes from the guest to the client.
        down: u64,
        /// Why.
        end: &'static str,
    },
    /// The guest is gone.
    GuestEnded {
        /// The code of a failed phase, if it told one.
        failure: Option<BootFailure>,
    },
    /// Everything was stopped.
    Stopped,
}

impl Event {
    /// The stable name in JSON lines.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Step(_) => "step",
            Self::Started { .. } => "started",
            Self::PhasePassed { .. } => "phase-passed",
            Self::PhaseFailed { .. } => "phase-failed",
            Self::Ready { .. } => "ready",
            Self::MetricsTold { .. } => "metrics",
            Self::EndorsementsStapled { .. } => "endorsements-stapled",
            Self::VoucherStored { .. } => "voucher-stored",
            Self::ChannelStopped { .. } => "channel-stopped",
            Self::Counter(..) => "counter",
            Self::ControlRefused { .. } => "control-refused",
            Self::RelayClosed { .. } => "relay-closed",
            Self::GuestEnded { .. } => "guest-ended",
            Self::Stopped => "stopped",
        }
    }

    fn members(&self) -> Value {
        match self {
            Self::Step(step) => json!({ "step": step }),
            Self::Started { name, pid } => json!({ "process": name, "pid": pid }),
            Self::PhasePassed { phase, guest_ms } => {
                json!({ "phase": phase.name(), "guest_ms": guest_ms })
            }
            Self::PhaseFailed { phase, failure } => {
                json!({ "phase": phase.name(), "code": failure.code() })
            }
            Self::Ready { listen } | Self::MetricsTold { listen } => json!({ "listen": listen }),
            Self::EndorsementsStapled { bytes } => json!({ "bytes": bytes }),
            Self::VoucherStored {
                channel,
                epoch,
                cumulative,
            } => json!({
                "channel": channel.to_string(),
                "epoch": epoch,
                "cumulative": cumulative.to_string(),
            }),
            Self::ChannelStopped { channel, reason } => {
                json!({ "channel": channel.to_string(), "code": reason.code() })
            }
            Self::Counter(event, value) => json!({ "counter": event.name(), "value": value }),
            Self::ControlRefused { code } => json!({ "code": code }),
            Self::RelayClosed { up, down, end } => json!({ "up": up, "down": down, "end": end }),
            Self::GuestEnded { failure } => {
                json!({ "code": failure.map(BootFailure::code) })
            }
            Self::Stopped => json!({}),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(step) => f.write_str(step),
            Self::Started { name, pid } => write!(f, "started {name} (process {pid})"),
            Self::PhasePassed { phase, guest_ms } => {
                write!(
                    f,
                    "guest: {} passed ({guest_ms} ms since init)",
                    phase.name()
                )
            }
            Self::PhaseFailed { phase, failure } => {
                write!(f, "guest: {} failed: {}", phase.name(), failure.code())
            }
            Self::Ready { listen } => write!(f, "ready: clients connect to {listen}"),
            Self::MetricsTold { listen } => write!(f, "metrics: http://{listen}/metrics"),
            Self::EndorsementsStapled { bytes } => {
                write!(f, "guest: took {bytes} bytes of endorsements")
            }
            Self::VoucherStored {
                channel,
                epoch,
                cumulative,
            } => write!(
                f,
                "voucher stored: {} of {channel} (epoch {epoch})",
                Coins(*cumulative)
            ),
            Self::ChannelStopped { channel, reason } => {
                write!(f, "not served: {channel}: {}", reason.code())
            }
            Self::Counter(event, value) => write!(f, "guest: {} {value}", event.name()),
            Self::ControlRefused { code } => write!(f, "control connection closed: {code}"),
            Self::RelayClosed { up, down, end } => {
                write!(f, "relay: closed ({end}); {up} bytes up, {down} bytes down")
            }
            Self::GuestEnded {
                failure: Some(code),
            } => {
                write!(f, "the guest powered off: {}", code.code())
            }
            Self::GuestEnded { failure: None } => f.write_str("the guest ended"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// An amount in coins, all nine digits.
#[derive(Debug, Clone, Copy)]
pub struct Coins(pub Nano);

impl fmt::Display for Coins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PER_COIN: u128 = 1_000_000_000;
        let whole = self.0.units().checked_div(PER_COIN).unwrap_or_default();
        let rest = self.0.units().checked_rem(PER_COIN).unwrap_or_default();
        write!(f, "{whole}.{rest:09}")
    }
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Writes events, with the milliseconds since the program began.
#[derive(Clone)]
pub struct Reporter {
    began: Instant,
    format: Format,
    to: Arc<Mutex<dyn Write + Send>>,
    totals: Arc<Totals>,
}

impl Reporter {
    /// Writes to `to`, counting time from `began`.
    pub fn new(began: Instant, format: Format, to: impl Write + Send + 'static) -> Self {
        Self {
            began,
            format,
            to: Arc::new(Mutex::new(to)),
            totals: Arc::default(),
        }
    }

    /// What was reported so far, or counted only.
    #[must_use]
    pub fn totals(&self) -> Arc<Totals> {
        Arc::clone(&self.totals)
    }

    /// Counts an event that is not to be written.
    pub fn count(&self, event: &Event) {
        self.totals.count(event);
    }

    /// How events are written.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Writes one event. A reader that went away stops nothing.
    pub fn report(&self, event: &Event) {
        self.count(event);
        let at = self.began.elapsed().as_millis();
        match self.format {
            Format::Text => self.line(&format!("{at:>8} ms  {event}")),
            Format::Json => {
                let mut line = Map::new();
                line.insert(
                    "at_ms".to_owned(),
                    json!(u64::try_from(at).unwrap_or(u64::MAX)),
                );
                line.insert("event".to_owned(), json!(event.name()));
                if let Value::Object(members) = event.members() {
                    line.extend(members);
                }
                self.line(&Value::Object(line).to_string());
            }
        }
    }

    /// Whether results are JSON objects.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        matches!(self.format, Format::Json)
    }

    /// Writes the result of a command: text for people, or one JSON object.
    pub fn result(&self, text: &impl fmt::Display, json: &Value) {
        match self.format {
            Format::Text => self.line(&text.to_string()),
            Format::Json => self.line(&json.to_string()),
        }
    }

    fn line(&self, line: &str) {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody is left to tell when the terminal or pipe is gone.
        drop(writeln!(to, "{line}").and_then(|()| to.flush()));
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_show_every_nano_unit() {
        for (units, expected) in [
            (0, "0.000000000"),
            (1, "0.000000001"),
            (1_500_000_000, "1.500000000"),
            (Nano::MAX.units(), "1329227995784915872903807060.280344575"),
        ] {
            assert_eq!(Coins(Nano::new(units).unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn json_lines_name_the_event_and_its_members() {
        let event = Event::PhaseFailed {
            phase: BootPhase::Root,
            failure: BootFailure::VerityCorrupt,
        };
        assert_eq!(event.name(), "phase-failed");
        let expected = json!({ "phase": "root", "code": "boot-verity-corrupt" });
        assert_eq!(event.members(), expected);
    }
}
