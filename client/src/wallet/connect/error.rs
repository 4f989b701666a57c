//! Why a connected wallet did not do what it was asked, each with its stable code.

use core::time::Duration;

use protocol::ton::TonAddress;

use super::account::AccountError;
use super::bridge::BridgeError;
use super::inbox::MAX_EVENTS;
use super::message::{MessageError, USER_DECLINED};
use super::proof::ProofError;
use super::sealed::SealError;
use crate::deployment::NoRandomness;
use crate::wallet::state::StateError;

/// Why a connected wallet did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The bridge.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// More was sent to us than a session has.
    #[error("more than {MAX_EVENTS} messages, and none that was waited for")]
    TooManyEvents,
    /// Nobody answered.
    #[error("no answer of the wallet within {0:?}")]
    Silent(Duration),
    /// What the wallet shows of itself does not hold.
    #[error("the wallet is refused")]
    Account(#[from] AccountError),
    /// The wallet's message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The user said no.
    #[error("the wallet's owner declined")]
    Declined,
    /// The wallet said no, with one of the protocol's codes.
    #[error("the wallet refused with code {code}")]
    Refused {
        /// The code.
        code: i64,
    },
    /// The user ended the session in the wallet.
    #[error("the session was ended in the wallet: connect again")]
    Disconnected,
    /// Another account of the wallet program signed.
    #[error("the wallet signed from {found}, not from the connected account")]
    OtherSender {
        /// Which account.
        found: TonAddress,
    },
    /// A message could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The files.
    #[error(transparent)]
    State(#[from] StateError),
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The program's manifest has no name that a proof could be bound to.
    #[error("the manifest is https://host/…, on a host with a dot in its name")]
    Manifest,
}

impl ConnectError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Bridge(error) => error.code(),
            Self::TooManyEvents => "bridge-too-many-events",
            Self::Silent(_) => "connect-silent",
            Self::Account(error) => match error {
                AccountError::NoAddress => "connect-no-address",
                AccountError::NoProof => "connect-no-proof",
                AccountError::OtherNetwork => "connect-other-network",
                AccountError::Wallet(_) => "connect-other-wallet",
                AccountError::OtherAddress => "connect-other-address",
                AccountError::OtherKey => "connect-other-key",
                AccountError::Proof(ProofError::Malformed) => "connect-proof-malformed",
                AccountError::Proof(ProofError::Domain) => "connect-proof-domain",
                AccountError::Proof(ProofError::Payload) => "connect-proof-payload",
                AccountError::Proof(ProofError::Time) => "connect-proof-time",
                AccountError::Proof(ProofError::Signature) => "connect-proof-signature",
                AccountError::CannotSend => "connect-cannot-send",
            },
            Self::Message(MessageError::Malformed) => "connect-malformed",
            Self::Message(MessageError::UnknownEvent) => "connect-unknown-event",
            Self::Declined => "connect-declined",
            Self::Refused { .. } => "connect-refused",
            Self::Disconnected => "connect-ended",
            Self::OtherSender { .. } => "connect-other-sender",
            Self::Seal(_) => "connect-seal",
            Self::State(error) => error.code(),
            Self::Randomness(_) => "no-randomness",
            Self::Manifest => "connect-manifest",
        }
    }

    /// Whether a request that was posted may be signed all the same: nobody said no to it.
    pub(super) const fn leaves_open(&self) -> bool {
        match self {
            Self::Bridge(_) | Self::TooManyEvents | Self::Silent(_) | Self::Message(_) => true,
            Self::Account(_)
            | Self::Declined
            | Self::Refused { .. }
            | Self::Disconnected
            | Self::OtherSender { .. }
            | Self::Seal(_)
            | Self::State(_)
            | Self::Randomness(_)
            | Self::Manifest => false,
        }
    }

    pub(super) const fn of_code(code: i64) -> Self {
        match code {
            USER_DECLINED => Self::Declined,
            code => Self::Refused { code },
        }
    }
}
