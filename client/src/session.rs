//! One attested connection: connect, challenge, appraise, open; and the same again before the
//! deadline passes.
//!
//! Who may be asked is decided here, with the verifier's rules; what is asked and paid is `chat`'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::digest::Nonce;
use protocol::launch_configuration::LaunchConfiguration;
use protocol::reference_values::ImageVersion;
use verifier::{AppraisalPolicy, AttestationResult, Rejection, UnixTime, appraise};

use crate::channel::{
    Answer, AttestedChannel, ChallengeError, ConnectError, OpenError, UnverifiedChannel,
};
use crate::deployment::{Deployment, NoRandomness, Surroundings};
use crate::pins::Pins;

/// New evidence is asked for when less than this many seconds of the old are left.
const RENEW_SECONDS: u64 = 120;

/// Why there is no attested connection.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// No connection.
    #[error("no connection")]
    Connect(#[from] ConnectError),
    /// No nonce.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// No usable evidence.
    #[error("no usable evidence")]
    Challenge {
        /// Why.
        #[source]
        reason: ChallengeError,
        /// Bytes sent on the connection other than the challenge.
        application_bytes: u64,
    },
    /// The evidence is refused.
    #[error("evidence refused")]
    Refused {
        /// Why.
        #[source]
        rejection: Rejection,
        /// Bytes sent on the connection other than the challenge.
        application_bytes: u64,
        /// The evidence, for keeping.
        evidence: Box<Answer>,
    },
    /// The result opens no channel.
    #[error("the attested channel does not open")]
    Open {
        /// Why.
        #[source]
        reason: OpenError,
        /// Bytes sent on the connection other than the challenge.
        application_bytes: u64,
    },
}

impl AttestError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Randomness(_) => "no-randomness",
            Self::Challenge { reason, .. } => reason.code(),
            Self::Refused { rejection, .. } => rejection.code(),
            Self::Open { reason, .. } => reason.code(),
        }
    }

    /// Bytes sent on the refused connection other than the challenge; `None` without a connection.
    #[must_use]
    pub const fn application_bytes(&self) -> Option<u64> {
        match self {
            Self::Connect(_) | Self::Randomness(_) => None,
            Self::Challenge {
                application_bytes, ..
            }
            | Self::Refused {
                application_bytes, ..
            }
            | Self::Open {
                application_bytes, ..
            } => Some(*application_bytes),
        }
    }
}

/// Where to connect and what to demand.
#[derive(Debug, Clone)]
pub struct Attester {
    /// `host:port` of the relay.
    pub relay: String,
    /// Constants of the program.
    pub deployment: Deployment,
    /// What the machine must run.
    pub pins: Pins,
    /// What the client takes.
    pub policy: AppraisalPolicy,
    /// Clock and randomness.
    pub surroundings: Arc<dyn Surroundings>,
}

impl Attester {
    /// Connects and attests.
    ///
    /// # Errors
    /// See [`AttestError`].
    pub async fn connect(&self) -> Result<Session, AttestError> {
        let mut channel =
            UnverifiedChannel::connect(self.relay.as_str(), self.deployment.alpn).await?;
        let nonce = self.nonce()?;
        let challenged = channel.challenge(nonce).await;
        let application_bytes = channel.application_bytes_sent();
        let answer = challenged.map_err(|reason| AttestError::Challenge {
            reason,
            application_bytes,
        })?;
        let result = self.appraise(&answer, application_bytes)?;
        let channel =
            AttestedChannel::open(channel, &result).map_err(|reason| AttestError::Open {
                reason,
                application_bytes,
            })?;
        Ok(Session {
            channel,
            result,
            evidence: answer,
            image: self.pins.references().image,
            appraised: AtomicU64::new(self.surroundings.now().0),
        })
    }

    fn appraise(
        &self,
        answer: &Answer,
        application_bytes: u64,
    ) -> Result<AttestationResult, AttestError> {
        appraise(
            &answer.evidence,
            &answer.binding,
            self.pins.references(),
            &self.policy,
            &self.deployment.anchors,
            self.surroundings.now(),
        )
        .map_err(|rejection| AttestError::Refused {
            rejection,
            application_bytes,
            evidence: Box::new(answer.clone()),
        })
    }

    fn nonce(&self) -> Result<Nonce, NoRandomness> {
        self.surroundings.random().map(|bytes| Nonce(*bytes))
    }
}

/// An attested connection and what its evidence said.
#[derive(Debug)]
pub struct Session {
    channel: AttestedChannel,
    result: AttestationResult,
    evidence: Answer,
    image: ImageVersion,
    /// When the last evidence was appraised, seconds since 1970.
    appraised: AtomicU64,
}

impl Session {
    /// The channel.
    #[must_use]
    pub const fn channel(&self) -> &AttestedChannel {
        &self.channel
    }

    /// The result of the connection's first appraisal.
    #[must_use]
    pub const fn result(&self) -> &AttestationResult {
        &self.result
    }

    /// Models, prices and limits, as attested.
    #[must_use]
    pub const fn configuration(&self) -> &LaunchConfiguration {
        self.result.launch_configuration()
    }

    /// Version of the pinned image.
    #[must_use]
    pub const fn image(&self) -> ImageVersion {
        self.image
    }

    /// The first evidence of the connection, for keeping.
    #[must_use]
    pub const fn evidence(&self) -> &Answer {
        &self.evidence
    }

    /// Seconds since the connection's last evidence was appraised.
    #[must_use]
    pub fn evidence_age(&self, now: UnixTime) -> u64 {
        now.0.saturating_sub(self.appraised.load(Ordering::Relaxed))
    }

    /// Asks for new evidence on the same connection when the old is about to expire.
    ///
    /// # Errors
    /// See [`AttestError`]; the channel then closes itself at its old deadline.
    pub async fn renew_if_due(&self, attester: &Attester) -> Result<(), AttestError> {
        let left = self
            .channel
            .deadline()
            .0
            .saturating_sub(attester.surroundings.now().0);
        if left > RENEW_SECONDS {
            return Ok(());
        }
        let application_bytes = self.channel.application_bytes_sent();
        let challenged = self.channel.challenge(attester.nonce()?).await;
        let answer = challenged.map_err(|reason| AttestError::Challenge {
            reason,
            application_bytes,
        })?;
        let result = attester.appraise(&answer, application_bytes)?;
        self.channel
            .renew(&answer, &result)
            .map_err(|reason| AttestError::Open {
                reason,
                application_bytes,
            })?;
        let now = attester.surroundings.now();
        self.appraised.store(now.0, Ordering::Relaxed);
        Ok(())
    }
}
