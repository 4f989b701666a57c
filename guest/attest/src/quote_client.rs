//! serve's end of the quote socket: blocking calls over any stream, or the same answers taken
//! from bytes by a program that does its own reading and writing.
//!
//! init's end is `init::quote`; the layout is `messages::quote_socket`.

use std::io::{Read, Write};

use messages::framing::{self, FrameTooLong, HEADER_BYTES};
use messages::quote_socket::{MAX_FRAME, QuoteAnswer, QuoteRefusal, QuoteRequest};
use protocol::codec::DecodeError;
use protocol::digest::{BootId, Exporter, Nonce, ReceiptKey, SpkiDigest};
use protocol::statement::Statement;

/// What serve learns by registering its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Drawn once per boot.
    pub boot_id: BootId,
    /// The launch configuration's bytes, compared with the machine's register by init.
    pub launch_configuration: Vec<u8>,
}

/// A report over a batch of challenges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    /// The Statement, whose freshness is the Merkle root over the batch.
    pub statement: Statement,
    /// The hardware report over it.
    pub report: Vec<u8>,
    /// The event log; empty on SEV-SNP.
    pub event_log: Vec<u8>,
    /// GPU evidence; empty without GPUs.
    pub gpu_evidence: Vec<u8>,
}

/// Why a request on the quote socket failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// init refused it.
    #[error("init refused the request: {}", .0.code())]
    Refused(QuoteRefusal),
    /// init answered another request than this one.
    #[error("init answered another request")]
    OutOfStep,
    /// The answer could not be decoded.
    #[error("answer of init is malformed")]
    Malformed(#[from] DecodeError),
    /// The answer is longer than the socket's frames are.
    #[error("answer of init is too long")]
    TooLong(#[from] FrameTooLong),
    /// The socket failed or ended.
    #[error("quote socket failed: {0}")]
    Socket(std::io::ErrorKind),
}

impl Registered {
    /// Takes the answer to a registration.
    ///
    /// # Errors
    /// `Refused` or `OutOfStep`.
    pub fn from_answer(answer: QuoteAnswer) -> Result<Self, QuoteError> {
        match answer {
            QuoteAnswer::Registered {
                boot_id,
                launch_configuration,
            } => Ok(Self {
                boot_id,
                launch_configuration,
            }),
            QuoteAnswer::Refused(refusal) => Err(QuoteError::Refused(refusal)),
            QuoteAnswer::Quoted { .. } | QuoteAnswer::Noted => Err(QuoteError::OutOfStep),
        }
    }
}

impl Quoted {
    /// Takes the answer to a quote.
    ///
    /// # Errors
    /// `Refused` or `OutOfStep`.
    pub fn from_answer(answer: QuoteAnswer) -> Result<Self, QuoteError> {
        match answer {
            QuoteAnswer::Quoted {
                statement,
                report,
                event_log,
                gpu_evidence,
            } => Ok(Self {
                statement: *statement,
                report,
                event_log,
                gpu_evidence,
            }),
            QuoteAnswer::Refused(refusal) => Err(QuoteError::Refused(refusal)),
            QuoteAnswer::Registered { .. } | QuoteAnswer::Noted => Err(QuoteError::OutOfStep),
        }
    }
}

/// Blocking calls on the quote socket.
#[derive(Debug)]
pub struct QuoteClient<S> {
    stream: S,
}

impl<S: Read + Write> QuoteClient<S> {
    /// Speaks on a connected stream.
    #[must_use]
    pub const fn new(stream: S) -> Self {
        Self { stream }
    }

    /// Registers the keys of this boot.
    ///
    /// # Errors
    /// A [`QuoteError`]; a second registration is refused.
    pub fn register(
        &mut self,
        tls_key: SpkiDigest,
        receipt_key: ReceiptKey,
    ) -> Result<Registered, QuoteError> {
        let request = QuoteRequest::Register {
            tls_key,
            receipt_key,
        };
        Registered::from_answer(self.ask(&request)?)
    }

    /// A report over 1 to `MAX_CHALLENGES` challenges.
    ///
    /// # Errors
    /// A [`QuoteError`].
    pub fn quote(&mut self, challenges: Vec<(Nonce, Exporter)>) -> Result<Quoted, QuoteError> {
        Quoted::from_answer(self.ask(&QuoteRequest::Quote { challenges })?)
    }

    /// Says that models are loaded; returns when their disks are detached.
    ///
    /// # Errors
    /// A [`QuoteError`].
    pub fn ready(&mut self) -> Result<(), QuoteError> {
        match self.ask(&QuoteRequest::Ready)? {
            QuoteAnswer::Noted => Ok(()),
            QuoteAnswer::Refused(refusal) => Err(QuoteError::Refused(refusal)),
            QuoteAnswer::Registered { .. } | QuoteAnswer::Quoted { .. } => {
                Err(QuoteError::OutOfStep)
            }
        }
    }

    fn ask(&mut self, request: &QuoteRequest) -> Result<QuoteAnswer, QuoteError> {
        let socket = |error: std::io::Error| QuoteError::Socket(error.kind());
        let frame = framing::frame(&request.encode());
        self.stream.write_all(&frame).map_err(socket)?;
        let mut header = [0; HEADER_BYTES];
        self.stream.read_exact(&mut header).map_err(socket)?;
        let mut payload = vec![0; framing::payload_length(header, MAX_FRAME)?];
        self.stream.read_exact(&mut payload).map_err(socket)?;
        Ok(QuoteAnswer::decode(&payload)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    /// A client whose peer has already sent `answer`.
    fn answered(answer: &[u8]) -> (QuoteClient<UnixStream>, UnixStream) {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(answer).unwrap();
        (QuoteClient::new(near), far)
    }

    #[test]
    fn a_refusal_is_told_as_such() {
        let refusal = QuoteRefusal::AlreadyRegistered;
        let frame = framing::frame(&QuoteAnswer::Refused(refusal).encode());
        let (mut client, _far) = answered(&frame);
        let refused = client.register(SpkiDigest::ZERO, ReceiptKey::ZERO);
        assert_eq!(refused, Err(QuoteError::Refused(refusal)));
    }

    #[test]
    fn an_answer_to_another_request_is_refused() {
        let (mut client, _far) = answered(&framing::frame(&QuoteAnswer::Noted.encode()));
        let quoted = client.quote(vec![(Nonce::ZERO, Exporter::ZERO)]);
        assert_eq!(quoted, Err(QuoteError::OutOfStep));
    }

    #[test]
    fn an_announced_length_above_the_limit_is_refused_before_it_is_read() {
        let (mut client, _far) = answered(&u32::MAX.to_le_bytes());
        assert!(matches!(client.ready(), Err(QuoteError::TooLong(_))));
    }

    #[test]
    fn an_end_in_the_middle_is_an_error() {
        let (mut client, far) = answered(&[9, 0, 0, 0, 1]);
        drop(far);
        assert!(matches!(client.ready(), Err(QuoteError::Socket(_))));
    }
}
