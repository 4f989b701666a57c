//! Why a wallet did not do what it was asked, each with its stable code.

use contracts::CellError;
use contracts::channel::LONGEST_WINDOW;
use contracts::toncenter::ChainError;
use contracts::wallet::TransferError;
use protocol::nano::{AmountOverflow, Nano};
use protocol::ton::{NetworkId, TonAddress};

use super::connect::ConnectError;
use super::ledger::LedgerError;
use super::state::StateError;

/// Why the wallet did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The files.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is no wallet in the state directory.
    #[error("there is no wallet yet: make one with `wallet new`")]
    NoWallet,
    /// The chain.
    #[error("cannot use the chain")]
    Chain(#[from] ChainError),
    /// The chain is another network's.
    #[error("the chain is network {found}; this program uses {expected}", found = found.0,
        expected = expected.0)]
    OtherNetwork {
        /// The chain's network.
        found: NetworkId,
        /// The program's.
        expected: NetworkId,
    },
    /// A message could not be made.
    #[error("cannot make the message")]
    Transfer(#[from] TransferError),
    /// The wallet holds too little.
    #[error("{needed} nano are needed and the wallet holds {held}")]
    TooLittle {
        /// With fees.
        needed: Nano,
        /// What it holds.
        held: Nano,
    },
    /// The window is longer than the contract allows.
    #[error("a window of {asked} s; the contract allows {LONGEST_WINDOW}")]
    Window {
        /// What was asked.
        asked: u32,
    },
    /// There is an open channel to this payee.
    #[error("there is an open channel to this payee in this asset already: top it up")]
    ChannelExists,
    /// There is no channel to this payee.
    #[error("there is no channel to this payee in this asset: open one with `wallet open`")]
    NoChannel,
    /// The wallet's jetton wallet holds too little.
    #[error("{needed} units of the jetton are needed and the wallet holds {held}")]
    TooFewJettons {
        /// Smallest units.
        needed: Nano,
        /// As the jetton wallet says.
        held: Nano,
    },
    /// The minter does not tell the channel's jetton wallet.
    #[error("the minter did not tell the channel which jetton wallet is its own")]
    NoJettonWallet,
    /// Nothing bounced that could be sent again.
    #[error("nothing is due to that side")]
    NothingDue,
    /// The channel's contract is not in the state that the request needs.
    #[error("the channel is {standing}")]
    Standing {
        /// Where it stands.
        standing: &'static str,
    },
    /// An amount left the range of coins.
    #[error(transparent)]
    Overflow(#[from] AmountOverflow),
    /// The connected wallet.
    #[error("the connected wallet did not do it")]
    Connect(#[from] ConnectError),
    /// Another wallet opened the channel, and gets back what is left of it.
    #[error("the channel is another wallet's: {payer}")]
    OtherPayer {
        /// Which.
        payer: TonAddress,
    },
}

impl WalletError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.code(),
            Self::NoWallet => "wallet-none",
            Self::Chain(error) => error.code(),
            Self::OtherNetwork { .. } => "chain-other-network",
            Self::Transfer(_) => "wallet-message",
            Self::TooLittle { .. } => "wallet-too-little",
            Self::Window { .. } => "channel-window",
            Self::ChannelExists => "channel-exists",
            Self::NoChannel => "channel-none",
            Self::TooFewJettons { .. } => "wallet-too-few-jettons",
            Self::NoJettonWallet => "channel-jetton-wallet",
            Self::NothingDue => "channel-nothing-due",
            Self::Standing { .. } => "channel-standing",
            Self::Overflow(_) => "wallet-overflow",
            Self::Connect(error) => error.code(),
            Self::OtherPayer { .. } => "channel-other-payer",
        }
    }
}

impl From<StateError> for WalletError {
    fn from(error: StateError) -> Self {
        Self::Ledger(error.into())
    }
}

impl From<CellError> for WalletError {
    fn from(error: CellError) -> Self {
        Self::Transfer(error.into())
    }
}
