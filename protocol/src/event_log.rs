//! Event logs and their replay: what a firmware says that it measured, held against registers.
//!
//! Layout: TCG PC Client Platform Firmware Profile, "crypto agile log": a first event in the old
//! format that lists the algorithms, then events of a register, a type, one digest for each
//! algorithm and data. A TPM's log counts PCRs; the log of a TD (ACPI table CCEL) counts
//! measurement registers, of which 1 to 4 are RTMR0 to RTMR3. Replay proves only that a log and
//! its registers agree: a digest says what was measured only where its preimage is known, so each
//! event says whether its digest covers its data. What is deliberately not here: which values are
//! expected (`measurements`, `verifier`), and reading a log from a machine.

use alloc::vec::Vec;

use sha2::{Sha256, Sha384, Sha512};

use crate::codec::{DecodeError, Reader};

/// Logs are at most this long.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Registers are numbered below this.
pub const MAX_REGISTERS: u32 = 32;

const MAX_EVENTS: usize = 65_536;
const MAX_ALGORITHMS: u32 = 8;
const SIGNATURE: &[u8; 16] = b"Spec ID Event03\0";
const LOCALITY_SIGNATURE: &[u8; 16] = b"StartupLocality\0";
const EV_NO_ACTION: u32 = 3;
/// What fills the rest of a log area that the firmware allocated.
const PADDING: [u8; 2] = [0xff, 0x00];

/// Why a log is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventLogError {
    /// Longer than [`MAX_BYTES`].
    #[error("event log longer than {MAX_BYTES} bytes")]
    TooLong,
    /// An event ends outside the log, or a count exceeds its limit.
    #[error("event {event}: {source}")]
    Malformed {
        /// Number of the event, from 0.
        event: usize,
        /// The cause.
        source: DecodeError,
    },
    /// The first event does not say which algorithms follow.
    #[error("event log does not begin with a list of algorithms")]
    NoAlgorithms,
    /// An event's digests are not those of the list.
    #[error("event {event} has other digests than the list of algorithms says")]
    Digests {
        /// Number of the event, from 0.
        event: usize,
    },
    /// A register that does not exist.
    #[error("event {event} names register {found}")]
    Register {
        /// Number of the event, from 0.
        event: usize,
        /// The register.
        found: u32,
    },
    /// More events than any machine logs.
    #[error("more than {MAX_EVENTS} events")]
    TooManyEvents,
}

/// Hash algorithms by their TCG numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-1: read, never replayed.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    const fn numbered(number: u16) -> Option<Self> {
        Some(match number {
            0x4 => Self::Sha1,
            0xb => Self::Sha256,
            0xc => Self::Sha384,
            0xd => Self::Sha512,
            _ => return None,
        })
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes of a digest.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of parts; none for SHA-1, in which nothing can be proven.
    fn digest(self, parts: &[&[u8]]) -> Option<Vec<u8>> {
        fn of<D: sha2::Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let hash = parts
                .iter()
                .fold(D::new(), |hash, part| hash.chain_update(part));
            hash.finalize().to_vec()
        }
        match self {
            Self::Sha1 => None,
            Self::Sha256 => Some(of::<Sha256>(parts)),
            Self::Sha384 => Some(of::<Sha384>(parts)),
            Self::Sha512 => Some(of::<Sha512>(parts)),
        }
    }
}

/// What an event's digest says of its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// The digest is that of the whole data: what the data says was measured.
    Whole,
    /// The digest is that of something else; the data is a host's word.
    Nothing,
}

/// A measured event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// The register, as the log counts them.
    pub register: u32,
    /// Type of the event (TCG).
    pub kind: u32,
    /// A digest for each algorithm of the log.
    pub digests: Vec<&'a [u8]>,
    /// What the log says was measured.
    pub data: &'a [u8],
}

/// A log whose structure was found sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog<'a> {
    /// The algorithms of every event's digests, in their order.
    pub algorithms: Vec<Algorithm>,
    /// Events that extended a register, in the log's order.
    pub events: Vec<Event<'a>>,
    /// The locality at which the TPM was started; 0 unless the log says otherwise.
    startup_locality: u8,
}

/// A register after replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The register, as the log counts them.
    pub register: u32,
    /// Its value.
    pub value: Vec<u8>,
}

impl<'a> EventLog<'a> {
    /// Reads a log: a TPM's, or a TD's out of its ACPI table's area.
    ///
    /// # Errors
    /// See [`EventLogError`].
    pub fn parse(log: &'a [u8]) -> Result<Self, EventLogError> {
        if log.len() > MAX_BYTES {
            return Err(EventLogError::TooLong);
        }
        let mut from = Reader::new(log);
        let mut parsed = Self {
            algorithms: algorithms(&mut from)?,
            events: Vec::new(),
            startup_locality: 0,
        };
        let mut rest = from;
        for event in 1_usize.. {
            if is_padding(&rest) {
                break;
            }
            if event > MAX_EVENTS {
                return Err(EventLogError::TooManyEvents);
            }
            let next = parsed.event(&mut rest, event)?;
            if next.kind != EV_NO_ACTION {
                parsed.events.push(next);
            } else if let Some(locality) = next.data.strip_prefix(LOCALITY_SIGNATURE) {
                parsed.startup_locality = locality.first().copied().unwrap_or_default();
            }
        }
        Ok(parsed)
    }

    fn event(&self, from: &mut Reader<'a>, event: usize) -> Result<Event<'a>, EventLogError> {
        let malformed = |source| EventLogError::Malformed { event, source };
        let register = from.u32().map_err(malformed)?;
        if register >= MAX_REGISTERS {
            let found = register;
            return Err(EventLogError::Register { event, found });
        }
        let kind = from.u32().map_err(malformed)?;
        let count = from.u32().map_err(malformed)?;
        if usize::try_from(count).ok() != Some(self.algorithms.len()) {
            return Err(EventLogError::Digests { event });
        }
        let mut digests = Vec::with_capacity(self.algorithms.len());
        for algorithm in &self.algorithms {
            let number = from.u16().map_err(malformed)?;
            if Algorithm::numbered(number) != Some(*algorithm) {
                return Err(EventLogError::Digests { event });
            }
            digests.push(from.slice(algorithm.bytes()).map_err(malformed)?);
        }
        let data = from.blob("event data", MAX_BYTES).map_err(malformed)?;
        Ok(Event {
            register,
            kind,
            digests,
            data,
        })
    }

    /// The registers of one bank, in their order; empty when the log has no such digests, or when
    /// nothing can be proven in that algorithm.
    #[must_use]
    pub fn replay(&self, algorithm: Algorithm) -> Vec<Replayed> {
        let Some(bank) = self.algorithms.iter().position(|known| *known == algorithm) else {
            return Vec::new();
        };
        let digests = self.events.iter().filter_map(|event| {
            let digest = event.digests.get(bank)?;
            Some((event.register, *digest))
        });
        replay(algorithm, digests, self.startup_locality)
    }

    /// Whether the event's digests, all that this crate can compute, are those of its data.
    #[must_use]
    pub fn coverage(&self, event: &Event<'_>) -> Coverage {
        let mut covered = false;
        for (algorithm, digest) in self.algorithms.iter().zip(&event.digests) {
            match algorithm.digest(&[event.data]) {
                None => {}
                Some(computed) if computed == *digest => covered = true,
                Some(_) => return Coverage::Nothing,
            }
        }
        if covered {
            Coverage::Whole
        } else {
            Coverage::Nothing
        }
    }
}

/// Replays digests into registers that start at zero; PCR 0 starts at the locality of the start.
pub fn replay<'d>(
    algorithm: Algorithm,
    digests: impl Iterator<Item = (u32, &'d [u8])>,
    startup_locality: u8,
) -> Vec<Replayed> {
    let mut registers: Vec<Replayed> = Vec::new();
    for (register, digest) in digests {
        let at = match registers.binary_search_by_key(&register, |known| known.register) {
            Ok(at) => at,
            Err(at) => {
                let mut value = alloc::vec![0; algorithm.bytes()];
                if let (0, Some(last)) = (register, value.last_mut()) {
                    *last = startup_locality;
                }
                registers.insert(at, Replayed { register, value });
                at
            }
        };
        let Some(held) = registers.get_mut(at) else {
            continue;
        };
        match algorithm.digest(&[&held.value, digest]) {
            Some(value) => held.value = value,
            None => return Vec::new(),
        }
    }
    registers
}

/// The first event: old format, with the list of algorithms as its data.
fn algorithms(from: &mut Reader<'_>) -> Result<Vec<Algorithm>, EventLogError> {
    let malformed = |source| EventLogError::Malformed { event: 0, source };
    let _register = from.u32().map_err(malformed)?;
    let kind = from.u32().map_err(malformed)?;
    let _sha1 = from.array::<20>().map_err(malformed)?;
    let data = from.blob("event data", 4096).map_err(malformed)?;
    if kind != EV_NO_ACTION {
        return Err(EventLogError::NoAlgorithms);
    }
    let mut data = Reader::new(data);
    data.magic(SIGNATURE)
        .map_err(|_| EventLogError::NoAlgorithms)?;
    let _class_and_version = data.array::<8>().map_err(malformed)?;
    let count = data.u32().map_err(malformed)?;
    if !(1..=MAX_ALGORITHMS).contains(&count) {
        return Err(EventLogError::NoAlgorithms);
    }
    let mut algorithms = Vec::new();
    for _ in 0..count {
        let algorithm = Algorithm::numbered(data.u16().map_err(malformed)?);
        let algorithm = algorithm.ok_or(EventLogError::NoAlgorithms)?;
        let bytes = usize::from(data.u16().map_err(malformed)?);
        if bytes != algorithm.bytes() || algorithms.contains(&algorithm) {
            return Err(EventLogError::NoAlgorithms);
        }
        algorithms.push(algorithm);
    }
    let vendor = data.u8().map_err(malformed)?;
    data.slice(vendor.into()).map_err(malformed)?;
    data.finish().map_err(malformed)?;
    Ok(algorithms)
}

/// Whether nothing but filling is left.
fn is_padding(rest: &Reader<'_>) -> bool {
    PADDING.iter().any(|filling| rest.is_filled_with(*filling))
}

#[cfg(test)]
mod tests;
