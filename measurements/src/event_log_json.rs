//! Event logs as JSON, in dstack's form: run-time events whose digest is left out are recomputed
//! from their name and payload. Replay itself is `protocol::event_log`.

use std::fmt;

use protocol::digest::{Rtmr, write_hex};
use protocol::event_log::{self, Algorithm, Replayed};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use sha2::{Digest as _, Sha384};

/// Logs are at most this long.
pub const MAX_BYTES: usize = event_log::MAX_BYTES;
const MAX_EVENTS: usize = 65_536;
const RTMRS: u32 = 4;
/// Type of an event that software extends into RTMR3.
const RUN_TIME: u32 = 0x0800_0001;

/// Why a log is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonLogError {
    /// Longer than [`MAX_BYTES`].
    #[error("event log longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not a list of events, nor an object with one.
    #[error("event log is malformed at line {line}, column {column}")]
    Malformed {
        /// Line of the first offence.
        line: usize,
        /// Column of the first offence.
        column: usize,
    },
    /// More events than any machine logs.
    #[error("more than {MAX_EVENTS} events")]
    TooManyEvents,
    /// A register that does not exist.
    #[error("event {event} names register {found}")]
    Register {
        /// Number of the event, from 0.
        event: usize,
        /// The register.
        found: u32,
    },
    /// Not hexadecimal, or of another length.
    #[error("event {event} has a malformed `{member}`")]
    Hex {
        /// Number of the event, from 0.
        event: usize,
        /// The member.
        member: &'static str,
    },
    /// No digest, and none that could be computed.
    #[error("event {event} has no digest and is no run-time event")]
    NoDigest {
        /// Number of the event, from 0.
        event: usize,
    },
}

#[derive(Deserialize)]
struct Written {
    imr: u32,
    event_type: u32,
    digest: String,
    event: String,
    event_payload: String,
}

/// Log of a quote, unless the document is the list: an object that holds it.
#[derive(Deserialize)]
struct Document {
    event_log: Held,
}

/// A list of events, itself or as text. Read as it comes: a tree of a hostile log would take many
/// times its length.
enum Held {
    List(Vec<Written>),
    Text(String),
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(HeldVisitor)
    }
}

struct HeldVisitor;

impl<'de> Visitor<'de> for HeldVisitor {
    type Value = Held;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Held, A::Error> {
        let mut events = Vec::new();
        // One more than is taken shows that there are too many.
        while events.len() <= MAX_EVENTS {
            match list.next_element()? {
                Some(event) => events.push(event),
                None => return Ok(Held::List(events)),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Held::List(events))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Held, E> {
        Ok(Held::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Held, E> {
        Ok(Held::Text(text))
    }
}

/// An event with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonEvent {
    /// RTMR 0 to 3.
    pub rtmr: u32,
    /// Type of the event.
    pub kind: u32,
    /// Its digest, as written, or recomputed where none was written.
    pub digest: [u8; 48],
    /// Its name, as the log says.
    pub name: String,
    /// Its payload, as the log says.
    pub payload: Vec<u8>,
    /// Whether the digest is that of the name and the payload, or of the payload.
    pub is_covered: bool,
    /// Whether the log left the digest out.
    pub was_recomputed: bool,
}

/// Reads a log.
///
/// # Errors
/// See [`JsonLogError`].
pub fn parse(bytes: &[u8]) -> Result<Vec<JsonEvent>, JsonLogError> {
    if bytes.len() > MAX_BYTES {
        return Err(JsonLogError::TooLong);
    }
    let malformed = |error: serde_json::Error| JsonLogError::Malformed {
        line: error.line(),
        column: error.column(),
    };
    let held = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => serde_json::from_slice::<Document>(bytes).map(|object| object.event_log),
        Some(b'"') => Err(Error::custom("a text in the place of a log")),
        Some(_) | None => serde_json::from_slice(bytes),
    };
    let written = match held.map_err(malformed)? {
        Held::List(list) => list,
        Held::Text(text) => match serde_json::from_str(&text).map_err(malformed)? {
            Held::List(list) => list,
            Held::Text(_) => return Err(JsonLogError::Malformed { line: 1, column: 1 }),
        },
    };
    if written.len() > MAX_EVENTS {
        return Err(JsonLogError::TooManyEvents);
    }
    let events = written.into_iter().enumerate();
    events.map(|(number, event)| read(number, event)).collect()
}

fn read(number: usize, written: Written) -> Result<JsonEvent, JsonLogError> {
    let refused = |member| JsonLogError::Hex {
        event: number,
        member,
    };
    if written.imr >= RTMRS {
        return Err(JsonLogError::Register {
            event: number,
            found: written.imr,
        });
    }
    let payload = hex(&written.event_payload).ok_or(refused("event_payload"))?;
    let is_run_time = written.event_type == RUN_TIME;
    let computed = if is_run_time {
        run_time_digest(written.event_type, &written.event, &payload)
    } else {
        Sha384::digest(&payload).into()
    };
    let was_recomputed = written.digest.is_empty();
    let digest = match (was_recomputed, is_run_time) {
        (true, true) => computed,
        (true, false) => return Err(JsonLogError::NoDigest { event: number }),
        (false, _) => {
            written
                .digest
                .parse::<Rtmr>()
                .map_err(|_| refused("digest"))?
                .0
        }
    };
    Ok(JsonEvent {
        rtmr: written.imr,
        kind: written.event_type,
        // An empty payload says nothing that a digest could cover.
        is_covered: digest == computed && (is_run_time || !payload.is_empty()),
        digest,
        name: written.event,
        payload,
        was_recomputed,
    })
}

/// RTMR0 to RTMR3 after the events; one that no event extends is not listed.
#[must_use]
pub fn replay(events: &[JsonEvent]) -> Vec<Replayed> {
    let digests = events
        .iter()
        .map(|event| (event.rtmr, event.digest.as_slice()));
    // A locality exists for a TPM's PCR 0 only.
    event_log::replay(Algorithm::Sha384, digests, 0)
}

/// Bytes from lower-case hexadecimal digits.
fn hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            let [byte] = protocol::digest::parse_hex::<1>(pair).ok()?;
            Some(byte)
        })
        .collect()
}

/// Bytes as lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy)]
pub struct Hex<'a>(pub &'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_hex(self.0, f)
    }
}
/// The digest of a run-time event of dstack's form, whose log may leave it out:
/// SHA-384(type, little-endian || ":" || name || ":" || payload).
fn run_time_digest(kind: u32, name: &str, payload: &[u8]) -> [u8; 48] {
    Sha384::new()
        .chain_update(kind.to_le_bytes())
        .chain_update(b":")
        .chain_update(name)
        .chain_update(b":")
        .chain_update(payload)
        .finalize()
        .into()
}
