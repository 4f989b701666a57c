//! The quote socket between serve and init (`docs/spec/quote-socket.md`): serve registers its keys
//! once, then can only ask for Statements over fixed-size nonces and exporters. So a compromised
//! serve cannot have foreign keys attested.
//!
//! Frames as in [`crate::framing`], at most [`MAX_FRAME`] bytes; serve asks, init answers each
//! request in order.

use alloc::boxed::Box;
use alloc::vec::Vec;

use protocol::codec::{DecodeError, Reader, Writer};
use protocol::digest::{BootId, Exporter, Nonce, ReceiptKey, SpkiDigest};
use protocol::evidence::{MAX_EVENT_LOG_BYTES, MAX_GPU_EVIDENCE_BYTES, MAX_REPORT_BYTES};
use protocol::launch_configuration;
use protocol::statement::{STATEMENT_BYTES, Statement};

/// Largest frame on this socket.
pub const MAX_FRAME: usize = 2 * 1024 * 1024;
/// At most this many challenges share a report.
pub const MAX_CHALLENGES: usize = 64;
/// Descriptor under which serve inherits this socket.
pub const SERVE_FD: i32 = 4;

/// What serve asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuoteRequest {
    /// The keys of this boot; a second registration is refused.
    Register {
        /// Digest of the TLS key's SubjectPublicKeyInfo.
        tls_key: SpkiDigest,
        /// The key that signs receipts.
        receipt_key: ReceiptKey,
    },
    /// A report over the waiting challenges, 1 to [`MAX_CHALLENGES`].
    Quote {
        /// Nonce and exporter of each challenge.
        challenges: Vec<(Nonce, Exporter)>,
    },
    /// Models are loaded and the listener is open; init may detach the model disks.
    Ready,
}

impl QuoteRequest {
    /// The encoded request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Register {
                tls_key,
                receipt_key,
            } => {
                out.u8(1).raw(&tls_key.0).raw(&receipt_key.0);
            }
            Self::Quote { challenges } => {
                out.u8(2).count(challenges.len());
                for (nonce, exporter) in challenges {
                    out.raw(&nonce.0).raw(&exporter.0);
                }
            }
            Self::Ready => {
                out.u8(3);
            }
        }
        out.finish()
    }

    /// Decodes exactly one request.
    ///
    /// # Errors
    /// A [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let request = match from.u8()? {
            1 => Self::Register {
                tls_key: SpkiDigest(from.array()?),
                receipt_key: ReceiptKey(from.array()?),
            },
            2 => {
                let count = from.count("challenges", MAX_CHALLENGES)?;
                if count == 0 {
                    return Err(DecodeError::OutOfRange {
                        field: "challenges",
                    });
                }
                let mut pair =
                    |_| Ok::<_, DecodeError>((Nonce(from.array()?), Exporter(from.array()?)));
                Self::Quote {
                    challenges: (0..count).map(&mut pair).collect::<Result<_, _>>()?,
                }
            }
            3 => Self::Ready,
            _ => {
                return Err(DecodeError::OutOfRange {
                    field: "quote request",
                });
            }
        };
        from.finish()?;
        Ok(request)
    }
}

/// Why init refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuoteRefusal {
    /// Keys were registered already.
    AlreadyRegistered,
    /// A quote was asked for before keys were registered.
    NotRegistered,
    /// The request could not be decoded.
    Malformed,
    /// The platform gave no report.
    NoReport,
}

impl QuoteRefusal {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::AlreadyRegistered => "quote-already-registered",
            Self::NotRegistered => "quote-not-registered",
            Self::Malformed => "quote-malformed",
            Self::NoReport => "quote-no-report",
        }
    }

    const fn wire(self) -> u8 {
        match self {
            Self::AlreadyRegistered => 1,
            Self::NotRegistered => 2,
            Self::Malformed => 3,
            Self::NoReport => 4,
        }
    }

    const fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::AlreadyRegistered),
            2 => Ok(Self::NotRegistered),
            3 => Ok(Self::Malformed),
            4 => Ok(Self::NoReport),
            _ => Err(DecodeError::OutOfRange {
                field: "quote refusal",
            }),
        }
    }
}

/// What init answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuoteAnswer {
    /// Keys are registered; here is what serve must know of this boot.
    Registered {
        /// Drawn once per boot.
        boot_id: BootId,
        /// The launch configuration's bytes, compared with the machine's own registers by init.
        launch_configuration: Vec<u8>,
    },
    /// A report.
    Quoted {
        /// The Statement, whose freshness is the Merkle root over the request's challenges.
        statement: Box<Statement>,
        /// The hardware report over it.
        report: Vec<u8>,
        /// The event log; empty on SEV-SNP.
        event_log: Vec<u8>,
        /// GPU evidence; empty without GPUs.
        gpu_evidence: Vec<u8>,
    },
    /// The machine is marked ready.
    Noted,
    /// The request was refused.
    Refused(QuoteRefusal),
}

impl QuoteAnswer {
    /// The encoded answer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Registered {
                boot_id,
                launch_configuration,
            } => {
                out.u8(1).raw(&boot_id.0).blob(launch_configuration);
            }
            Self::Quoted {
                statement,
                report,
                event_log,
                gpu_evidence,
            } => {
                out.u8(2)
                    .raw(&statement.encode())
                    .blob(report)
                    .blob(event_log)
                    .blob(gpu_evidence);
            }
            Self::Noted => {
                out.u8(3);
            }
            Self::Refused(refusal) => {
                out.u8(255).u8(refusal.wire());
            }
        }
        out.finish()
    }

    /// Decodes exactly one answer.
    ///
    /// # Errors
    /// A [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let answer = match from.u8()? {
            1 => Self::Registered {
                boot_id: BootId(from.array()?),
                launch_configuration: from
                    .blob("launch configuration", launch_configuration::MAX_BYTES)?
                    .to_vec(),
            },
            2 => Self::Quoted {
                statement: Box::new(Statement::decode(from.slice(STATEMENT_BYTES)?)?),
                report: from.blob("report", MAX_REPORT_BYTES)?.to_vec(),
                event_log: from.blob("event log", MAX_EVENT_LOG_BYTES)?.to_vec(),
                gpu_evidence: from.blob("gpu evidence", MAX_GPU_EVIDENCE_BYTES)?.to_vec(),
            },
            3 => Self::Noted,
            255 => Self::Refused(QuoteRefusal::from_wire(from.u8()?)?),
            _ => {
                return Err(DecodeError::OutOfRange {
                    field: "quote answer",
                });
            }
        };
        from.finish()?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_trip_and_no_prefix_is_taken() {
        let requests = [
            QuoteRequest::Register {
                tls_key: SpkiDigest([1; 32]),
                receipt_key: ReceiptKey([2; 32]),
            },
            QuoteRequest::Quote {
                challenges: std::vec![(Nonce([3; 32]), Exporter([4; 32])); 3],
            },
            QuoteRequest::Ready,
        ];
        for request in requests {
            let bytes = request.encode();
            assert_eq!(QuoteRequest::decode(&bytes), Ok(request));
            for end in 0..bytes.len() {
                assert!(QuoteRequest::decode(&bytes[..end]).is_err());
            }
        }
    }

    #[test]
    fn refuses_a_quote_over_nothing_or_over_too_many() {
        for count in [0, 65] {
            let challenges = std::vec![(Nonce::ZERO, Exporter::ZERO); count];
            assert!(QuoteRequest::decode(&QuoteRequest::Quote { challenges }.encode()).is_err());
        }
    }

    #[test]
    fn refusals_round_trip() {
        for refusal in [
            QuoteRefusal::AlreadyRegistered,
            QuoteRefusal::NotRegistered,
            QuoteRefusal::Malformed,
            QuoteRefusal::NoReport,
        ] {
            let answer = QuoteAnswer::Refused(refusal);
            assert_eq!(QuoteAnswer::decode(&answer.encode()), Ok(answer));
        }
    }
}
