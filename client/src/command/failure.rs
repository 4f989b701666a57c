//! How a command ends when it does not succeed: one stable code, one exit code, one chain of
//! reasons, printed once.

use core::fmt::Write as _;
use std::path::PathBuf;

use super::amount::AmountError;
use crate::chat::{AskError, ChatRequestError};
use crate::pins::{Dropped, PinsError};
use crate::session::AttestError;
use crate::wallet::connect::{BridgeError, ConnectError};
use crate::wallet::{AnchorError, KeptReceiptError, LedgerError, StateError, WalletError};
use contracts::cocoon_root::RootError;
use contracts::lite::LiteServerError;
use contracts::proof::BlockIdError;
use contracts::toncenter::UrlError;
use contracts::wallet::mnemonic::MnemonicError;
use verifier::{BundleError, PolicyError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("`{option}` is needed, as an option or in the settings file")]
    Missing { option: &'static str },
    #[error("the settings file is not of its form")]
    Settings,
    #[error(transparent)]
    Amount(#[from] AmountError),
    #[error("cannot read the policy")]
    Policy(#[from] PolicyError),
    #[error("`--chain` is not an endpoint")]
    Chain(#[from] UrlError),
    #[error("`--lite-server` is not one")]
    LiteServer(#[from] LiteServerError),
    #[error("`--trusted-block` is not one")]
    TrustedBlock(#[from] BlockIdError),
    #[error("no usable pins")]
    Pins(#[from] PinsError),
    #[error(transparent)]
    Wallet(#[from] WalletError),
    #[error(transparent)]
    Request(#[from] ChatRequestError),
    #[error("the machine serves several models: name one of {names}")]
    SeveralModels { names: String },
    #[error("cannot attest the machine")]
    Attest {
        #[source]
        error: AttestError,
        dropped: Vec<Dropped>,
    },
    #[error(transparent)]
    Ask(AskError),
    #[error("cannot open the local port")]
    Port(#[source] std::io::Error),
    #[error("cannot write the output")]
    Output(#[source] std::io::Error),
    #[error("`{}` is there already; nothing is overwritten", .0.display())]
    Exists(PathBuf),
    #[error("the program cannot start its runtime")]
    Runtime(#[source] std::io::Error),
    #[error("the receipt proves nothing")]
    Receipt(#[from] KeptReceiptError),
    #[error("cannot use the mnemonic")]
    Mnemonic(#[from] MnemonicError),
    #[error("no proof")]
    Anchor(#[from] AnchorError),
    #[error("cannot read a file")]
    Input(#[source] StateError),
    #[error("cannot read the root contract's data")]
    CocoonRoot(#[from] RootError),
    #[error("there is no contract at that address")]
    NoContract,
    #[error("cannot read the bundle")]
    Bundle(#[from] BundleError),
    #[error("certificates are not of the expected form")]
    Certificates,
    #[error("cannot write the verdict")]
    Verdict,
    #[error("rejected")]
    Rejected(&'static str),
    #[error("no wallet of that name is known: name its bridge with `--bridge`")]
    UnknownWallet,
    #[error("no wallet is connected")]
    NotConnected,
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::Wallet(error.into())
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Wallet(error.into())
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::Wallet(error.into())
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Attest(error) => Self::Attest {
                error,
                dropped: Vec::new(),
            },
            other @ (AskError::UnknownModel
            | AskError::PriceAboveLimit { .. }
            | AskError::TooManyChoices { .. }
            | AskError::OtherPayee { .. }
            | AskError::OtherAsset { .. }
            | AskError::Overflow(_)
            | AskError::Payment(_)
            | AskError::Ledger(_)
            | AskError::Randomness(_)
            | AskError::Request(_)
            | AskError::Refused { .. }
            | AskError::VoucherRefused { .. }
            | AskError::Failed { .. }
            | AskError::Stream(_)
            | AskError::Silent { .. }
            | AskError::Receipt(_)
            | AskError::NoReceipt) => Self::Ask(other),
        }
    }
}

const SURROUNDINGS: u8 = 1;
const BAD_INPUT: u8 = 2;
const EVIDENCE: u8 = 20;
const PAYMENT: u8 = 21;
const RECEIPT: u8 = 22;

impl Failure {
    /// The stable code.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Missing { .. } => "option-missing",
            Self::Settings => "settings-malformed",
            Self::Amount(_) => "amount",
            Self::Policy(_) => "policy-malformed",
            Self::Chain(_) => "chain-url",
            Self::LiteServer(_) => "lite-server",
            Self::TrustedBlock(_) => "trusted-block",
            Self::Pins(error) => error.code(),
            Self::Wallet(error) => error.code(),
            Self::Request(error) => error.code(),
            Self::SeveralModels { .. } => "model-ambiguous",
            Self::Attest { error, .. } => error.code(),
            Self::Ask(error) => error.code(),
            Self::Port(_) => "port",
            Self::Output(_) => "output",
            Self::Exists(_) => "output-exists",
            Self::Runtime(_) => "runtime",
            Self::Receipt(error) => error.code(),
            Self::Anchor(error) => error.code(),
            Self::Mnemonic(_) => "mnemonic",
            Self::Input(_) => "input",
            Self::CocoonRoot(error) => error.code(),
            Self::NoContract => "cocoon-root-none",
            Self::Bundle(error) => error.code(),
            Self::Certificates => "certificates-malformed",
            Self::Verdict => "verdict",
            Self::Rejected(code) => code,
            Self::UnknownWallet => "connect-unknown-wallet",
            Self::NotConnected => "connect-none",
        }
    }

    /// The exit code.
    pub(super) fn exit(&self) -> u8 {
        match self {
            Self::Missing { .. }
            | Self::Settings
            | Self::Amount(_)
            | Self::Policy(_)
            | Self::Chain(_)
            | Self::LiteServer(_)
            | Self::TrustedBlock(_)
            | Self::Request(_)
            | Self::SeveralModels { .. }
            | Self::Receipt(_)
            | Self::Anchor(_)
            | Self::Mnemonic(_)
            | Self::Input(_)
            | Self::Bundle(_)
            | Self::CocoonRoot(_)
            | Self::NoContract
            | Self::Exists(_)
            | Self::UnknownWallet
            | Self::NotConnected
            | Self::Certificates => BAD_INPUT,
            Self::Pins(PinsError::Registry(_))
            | Self::Port(_)
            | Self::Output(_)
            | Self::Verdict
            | Self::Runtime(_) => SURROUNDINGS,
            Self::Pins(PinsError::File(_) | PinsError::Release(_) | PinsError::Profile { .. }) => {
                BAD_INPUT
            }
            Self::Wallet(error) => wallet_exit(error),
            Self::Attest { error, .. } => match error {
                AttestError::Connect(_) | AttestError::Randomness(_) => SURROUNDINGS,
                AttestError::Challenge { .. }
                | AttestError::Refused { .. }
                | AttestError::Open { .. } => EVIDENCE,
            },
            Self::Ask(error) => ask_exit(error),
            Self::Rejected(_) => EVIDENCE,
        }
    }

    /// The reasons, outermost first.
    pub(super) fn reasons(&self) -> String {
        let mut text = self.to_string();
        let mut error: &dyn std::error::Error = self;
        while let Some(source) = error.source() {
            // Writing to a string does not fail.
            let _written = write!(text, ": {source}");
            error = source;
        }
        text
    }
}

fn wallet_exit(error: &WalletError) -> u8 {
    match error {
        WalletError::Ledger(_)
        | WalletError::Chain(_)
        | WalletError::Transfer(_)
        | WalletError::Overflow(_) => SURROUNDINGS,
        WalletError::NoWallet
        | WalletError::OtherNetwork { .. }
        | WalletError::Window { .. }
        | WalletError::ChannelExists
        | WalletError::NoChannel => BAD_INPUT,
        WalletError::TooLittle { .. }
        | WalletError::TooFewJettons { .. }
        | WalletError::NoJettonWallet
        | WalletError::NothingDue
        | WalletError::Standing { .. }
        | WalletError::OtherPayer { .. } => PAYMENT,
        WalletError::Connect(error) => connect_exit(error),
    }
}

fn connect_exit(error: &ConnectError) -> u8 {
    match error {
        ConnectError::Bridge(BridgeError::Url | BridgeError::Roots) | ConnectError::Manifest => {
            BAD_INPUT
        }
        ConnectError::State(StateError::Exists { .. }) => BAD_INPUT,
        ConnectError::Declined
        | ConnectError::Refused { .. }
        | ConnectError::OtherSender { .. }
        | ConnectError::Account(_) => PAYMENT,
        ConnectError::Bridge(_)
        | ConnectError::TooManyEvents
        | ConnectError::Silent(_)
        | ConnectError::Message(_)
        | ConnectError::Disconnected
        | ConnectError::Seal(_)
        | ConnectError::State(_)
        | ConnectError::Randomness(_) => SURROUNDINGS,
    }
}

fn ask_exit(error: &AskError) -> u8 {
    match error {
        AskError::Attest(_) => EVIDENCE,
        AskError::UnknownModel | AskError::TooManyChoices { .. } => BAD_INPUT,
        AskError::PriceAboveLimit { .. }
        | AskError::OtherPayee { .. }
        | AskError::OtherAsset { .. }
        | AskError::Overflow(_)
        | AskError::Payment(_)
        | AskError::VoucherRefused { .. } => PAYMENT,
        AskError::Refused { status, .. } if status.as_u16() == 402 => PAYMENT,
        AskError::Receipt(_) | AskError::NoReceipt => RECEIPT,
        AskError::Ledger(_)
        | AskError::Randomness(_)
        | AskError::Request(_)
        | AskError::Refused { .. }
        | AskError::Failed { .. }
        | AskError::Stream(_)
        | AskError::Silent { .. } => SURROUNDINGS,
    }
}
