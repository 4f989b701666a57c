//! The attested channel: nothing but a challenge can be sent before the evidence of this very
//! connection was appraised, and nothing at all after its deadline. The types hold that.
//!
//! ```text
//! UnverifiedChannel --challenge()--> Answer --verifier::appraise--> AttestationResult
//!        |                                                                 |
//!        +------------------- AttestedChannel::open -----------------------+
//! ```
//! Appraisal is the verifier's. Prompts, money and files are not here. `docs/spec/evidence.md` §2.

mod tls;
mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use protocol::codec::DecodeError;
use protocol::digest::Nonce;
use protocol::evidence::{self, ATTEST_PATH, Challenge, Evidence, FreshnessProof};
use protocol::statement::Statement;
use protocol::tee::EvidenceClass;
use tokio::net::ToSocketAddrs;
use tokio::time::timeout;
use verifier::{AttestationResult, ChannelBinding, UnixTime};

use self::wire::{Kind, Wire};

pub use self::tls::TlsError;
pub use self::wire::ConnectError;

/// A report can take seconds, and an emulated machine is slow.
const CHALLENGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a challenge has no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ChallengeError {
    /// The exporter cannot be computed.
    #[error("cannot export keying material")]
    Exporter(#[source] rustls::Error),
    /// The request cannot be made.
    #[error("cannot make the challenge's request")]
    Request(#[from] http::Error),
    /// The connection broke.
    #[error("the connection ended during the challenge")]
    Connection(#[source] hyper::Error),
    /// No answer in time.
    #[error("no evidence within {} s", CHALLENGE_TIMEOUT.as_secs())]
    Timeout,
    /// Another status than 200.
    #[error("the machine answered the challenge with status {status}")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// The answer is longer than any evidence, or broke off.
    #[error("evidence longer than {} bytes, or broken off", evidence::MAX_BYTES)]
    Body,
    /// The answer is not evidence.
    #[error("the answer is not evidence")]
    Malformed(#[from] DecodeError),
}

impl ChallengeError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Exporter(_) | Self::Request(_) => "challenge-impossible",
            Self::Connection(_) | Self::Timeout => "challenge-unanswered",
            Self::Status { .. } => "challenge-status",
            Self::Body => "evidence-too-long",
            Self::Malformed(_) => "evidence-malformed",
        }
    }
}

/// Evidence, and the connection that it must be about.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What the machine sent, decoded.
    pub evidence: Evidence,
    /// What the machine sent, for keeping.
    pub encoded: Bytes,
    /// Nonce, exporter and key of this connection.
    pub binding: ChannelBinding,
}

/// The challenge that a connection asked last.
#[derive(Debug, Clone)]
struct Asked {
    binding: ChannelBinding,
    proof: FreshnessProof,
}

/// A connection to somebody: good for a challenge and nothing else.
#[derive(Debug)]
pub struct UnverifiedChannel {
    wire: Wire,
    asked: Option<Asked>,
}

impl UnverifiedChannel {
    /// Connects through a relay.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(relay: impl ToSocketAddrs, alpn: &[u8]) -> Result<Self, ConnectError> {
        Ok(Self {
            wire: Wire::connect(relay, alpn).await?,
            asked: None,
        })
    }

    /// Asks for evidence in class `fresh` about this connection. The nonce must be random and
    /// never used before.
    ///
    /// # Errors
    /// See [`ChallengeError`].
    pub async fn challenge(&mut self, nonce: Nonce) -> Result<Answer, ChallengeError> {
        let answer = ask(&self.wire, nonce).await?;
        self.asked = Some(Asked::of(&answer));
        Ok(answer)
    }

    /// Bytes of requests other than challenges that were sent: zero, as there is no way to.
    #[must_use]
    pub fn application_bytes_sent(&self) -> u64 {
        self.wire.application_bytes()
    }
}

/// Why a result opens no channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// This connection was not challenged.
    #[error("this connection was not challenged")]
    NotChallenged,
    /// The result is about another connection, or another challenge.
    #[error("the attestation result is about another connection")]
    OtherConnection,
    /// The machine behind the connection is not the one that was attested before.
    #[error("the machine changed between two attestations of one connection")]
    OtherMachine,
}

impl OpenError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotChallenged => "channel-not-challenged",
            Self::OtherConnection => "channel-other-connection",
            Self::OtherMachine => "channel-other-machine",
        }
    }
}

/// Why a request was not sent.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The attestation is too old; attest anew.
    #[error("the attestation expired")]
    Expired,
    /// The request cannot be made.
    #[error("cannot make the request")]
    Request(#[from] http::Error),
    /// The connection broke.
    #[error("the connection ended")]
    Connection(#[source] hyper::Error),
}

impl RequestError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Expired => "channel-expired",
            Self::Request(_) => "channel-request",
            Self::Connection(_) => "channel-ended",
        }
    }
}

/// What comes of a request that was sent.
pub type Answered = Result<Response<Incoming>, RequestError>;

/// A connection whose other end was appraised, until a deadline.
#[derive(Debug)]
pub struct AttestedChannel {
    wire: Wire,
    attested: Mutex<Attested>,
}

#[derive(Debug)]
struct Attested {
    deadline: UnixTime,
    /// The last appraised Statement.
    last: Statement,
    /// Those before it.
    earlier: Vec<Statement>,
}

impl AttestedChannel {
    /// Opens the channel with the result of appraising this connection's own evidence. What a
    /// bundle's appraisal ends in is of another type, which opens nothing:
    ///
    /// ```compile_fail,E0308
    /// use client::channel::{AttestedChannel, UnverifiedChannel};
    ///
    /// fn open(channel: UnverifiedChannel, result: &verifier::BundleResult) {
    ///     let _ = AttestedChannel::open(channel, result);
    /// }
    /// ```
    ///
    /// # Errors
    /// See [`OpenError`]; the connection is closed.
    pub fn open(channel: UnverifiedChannel, result: &AttestationResult) -> Result<Self, OpenError> {
        let asked = channel.asked.ok_or(OpenError::NotChallenged)?;
        asked.is_answered_by(result)?;
        Ok(Self {
            wire: channel.wire,
            attested: Mutex::new(Attested {
                deadline: result.not_after(),
                last: result.statement().clone(),
                earlier: Vec::new(),
            }),
        })
    }

    /// Asks for new evidence about the same connection.
    ///
    /// # Errors
    /// See [`ChallengeError`].
    pub async fn challenge(&self, nonce: Nonce) -> Result<Answer, ChallengeError> {
        ask(&self.wire, nonce).await
    }

    /// Moves the deadline with the result of appraising an answer of [`Self::challenge`].
    ///
    /// # Errors
    /// See [`OpenError`]; the old deadline stays.
    pub fn renew(&self, answer: &Answer, result: &AttestationResult) -> Result<(), OpenError> {
        let asked = Asked::of(answer);
        let own_key = self.wire.tls.spki_digest().ok();
        let own_exporter = self.wire.tls.exporter(&asked.binding.nonce).ok();
        if own_key != Some(asked.binding.tls_key) || own_exporter != Some(asked.binding.exporter) {
            return Err(OpenError::OtherConnection);
        }
        asked.is_answered_by(result)?;
        let mut attested = self.attested();
        let (old, new) = (&attested.last, result.statement());
        let same_machine = old.boot_id == new.boot_id
            && old.receipt_key == new.receipt_key
            && old.configuration == new.configuration
            && old.models == new.models
            && old.tls_key == new.tls_key;
        if !same_machine {
            return Err(OpenError::OtherMachine);
        }
        let before = core::mem::replace(&mut attested.last, new.clone());
        attested.earlier.push(before);
        attested.deadline = result.not_after();
        Ok(())
    }

    /// Sends a request. It is queued in the order of these calls, before the answer is awaited.
    ///
    /// # Errors
    /// `Expired` after the deadline: then nothing was sent. See [`RequestError`].
    pub fn request(
        &self,
        now: UnixTime,
        method: Method,
        path: &'static str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<impl Future<Output = Answered> + use<>, RequestError> {
        if now >= self.deadline() {
            return Err(RequestError::Expired);
        }
        let answer = self
            .wire
            .send(Kind::Application, method, path, headers, body)?;
        Ok(async move { answer.await.map_err(RequestError::Connection) })
    }

    /// Every Statement that was appraised on this connection: a receipt names one of them.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement> {
        let attested = self.attested();
        let mut all = attested.earlier.clone();
        all.push(attested.last.clone());
        all
    }

    /// From this second on nothing is sent.
    #[must_use]
    pub fn deadline(&self) -> UnixTime {
        self.attested().deadline
    }

    /// Whether the connection ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.wire.is_closed()
    }

    /// Bytes of requests other than challenges that were sent.
    #[must_use]
    pub fn application_bytes_sent(&self) -> u64 {
        self.wire.application_bytes()
    }

    fn attested(&self) -> MutexGuard<'_, Attested> {
        // The guarded value is replaced whole; a panic elsewhere leaves it valid.
        self.attested.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn of(answer: &Answer) -> Self {
        Self {
            binding: answer.binding,
            proof: answer.evidence.proof.clone(),
        }
    }

    /// Whether a result is about this challenge on this connection. The verifier checked the same
    /// for the connection that it was given; this refuses the result of another one.
    fn is_answered_by(&self, result: &AttestationResult) -> Result<(), OpenError> {
        let statement = result.statement();
        let freshness = self
            .proof
            .freshness(&self.binding.nonce, &self.binding.exporter);
        if freshness != Some(statement.freshness) || statement.tls_key != self.binding.tls_key {
            return Err(OpenError::OtherConnection);
        }
        Ok(())
    }
}

async fn ask(wire: &Wire, nonce: Nonce) -> Result<Answer, ChallengeError> {
    let exporter = wire
        .tls
        .exporter(&nonce)
        .map_err(ChallengeError::Exporter)?;
    let tls_key = wire.tls.spki_digest().map_err(|_| ChallengeError::Body)?;
    let challenge = Challenge {
        class: EvidenceClass::Fresh,
        nonce,
    };
    let body = Bytes::from(challenge.encode());
    let answer = wire.send(
        Kind::Challenge,
        Method::POST,
        ATTEST_PATH,
        HeaderMap::new(),
        body,
    )?;
    let encoded = timeout(CHALLENGE_TIMEOUT, read_evidence(answer))
        .await
        .map_err(|_| ChallengeError::Timeout)??;
    Ok(Answer {
        evidence: Evidence::decode(&encoded)?,
        encoded,
        binding: ChannelBinding {
            nonce,
            exporter,
            tls_key,
        },
    })
}

async fn read_evidence(
    answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
) -> Result<Bytes, ChallengeError> {
    let response = answer.await.map_err(ChallengeError::Connection)?;
    if response.status() != StatusCode::OK {
        return Err(ChallengeError::Status {
            status: response.status(),
        });
    }
    let body = Limited::new(response.into_body(), evidence::MAX_BYTES);
    let whole = body.collect().await.map_err(|_| ChallengeError::Body)?;
    Ok(whole.to_bytes())
}
