//! The client's wallet: one TON wallet that holds coins, and payment channels that it opened.
//!
//! Each payment channel has a key of its own, made when it is opened, so that the key which signs
//! vouchers all day never holds the coins. Whether what the chain shows is proven or believed is
//! `contracts::chain`'s. What to promise is `payment`'s. Randomness and time are arguments.

mod anchor;
mod ledger;
mod receipts;
mod state;

use core::time::Duration;

use contracts::CellError;
use contracts::chain::Chain;
use contracts::channel::{
    self, ChannelState, ChannelTerms, LONGEST_WINDOW, MESSAGE_VALUE, Standing, TOP_UP_MARGIN,
};
use contracts::close::SignedClose;
use contracts::message::Transfer;
use contracts::toncenter::ChainError;
use contracts::wallet::{TransferError, Wallet, WalletKind};
use ed25519_dalek::SigningKey;
use protocol::digest::PayerKey;
use protocol::nano::{AmountOverflow, Nano};
use protocol::ton::{NetworkId, TonAddress};
use zeroize::Zeroizing;

pub use anchor::{AnchorError, AnchorProof, MAX_PROOF_BYTES};
pub use ledger::{ChannelFile, Ledger, LedgerError, NO_RECEIPTS};
pub use receipts::{KeptReceipt, KeptReceiptError, MAX_KEPT_BYTES};
pub use state::{StateDirectory, StateError, StateLock, read_bounded};

const SEED: &str = "wallet.seed";
/// A seed, and the kind of its wallet unless that is v4r2.
const MAX_SEED_BYTES: usize = 32 + 4;
const CHANNELS: &str = "channels";
/// A wallet's message must be taken within this many seconds of the chain's time.
const MESSAGE_SECONDS: u32 = 120;
/// How long to wait for the chain to act on a message.
const CHAIN_PATIENCE: Duration = Duration::from_secs(90);
/// Kept in the wallet for the fees of its own messages.
const FEE_RESERVE: Nano = Nano::from_u64(20_000_000);

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
    #[error("there is an open channel to this payee already: top it up")]
    ChannelExists,
    /// There is no channel to this payee.
    #[error("there is no channel to this payee: open one with `wallet open`")]
    NoChannel,
    /// The channel's contract is not in the state that the request needs.
    #[error("the channel is {standing}")]
    Standing {
        /// Where it stands.
        standing: &'static str,
    },
    /// An amount left the range of coins.
    #[error(transparent)]
    Overflow(#[from] AmountOverflow),
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
            Self::Standing { .. } => "channel-standing",
            Self::Overflow(_) => "wallet-overflow",
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

/// What is asked of a new channel.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// Who is to be paid.
    pub payee: TonAddress,
    /// What to deposit.
    pub deposit: Nano,
    /// Seconds in which the payee can still claim after a close was asked for.
    pub window: u32,
}

/// The wallet of one state directory on one network.
#[derive(Debug)]
pub struct Purse {
    state: StateDirectory,
    wallet: Wallet,
    network: NetworkId,
}

impl Purse {
    /// Makes a wallet of a seed: of the kernel's randomness, or of another program's words.
    ///
    /// # Errors
    /// `Exists` when there is one.
    pub fn create(
        state: StateDirectory,
        seed: &Zeroizing<[u8; 32]>,
        kind: WalletKind,
        network: NetworkId,
    ) -> Result<Self, WalletError> {
        let mut file = Zeroizing::new(seed.to_vec());
        match kind {
            WalletKind::V4R2 => {}
            other @ WalletKind::V5R1 => file.extend_from_slice(other.name().as_bytes()),
        }
        state.create(SEED, &file)?;
        let wallet = Wallet::of_kind(kind, seed, network);
        Ok(Self {
            state,
            wallet,
            network,
        })
    }

    /// Opens the wallet that is there.
    ///
    /// # Errors
    /// `NoWallet`, `Malformed`, `Io`.
    pub fn open(state: StateDirectory, network: NetworkId) -> Result<Self, WalletError> {
        let bytes = state.read(SEED, MAX_SEED_BYTES)?;
        let bytes = Zeroizing::new(bytes.ok_or(WalletError::NoWallet)?);
        let malformed = || StateError::Malformed {
            path: state.path(SEED),
        };
        let (seed, kind) = bytes.split_first_chunk().ok_or_else(malformed)?;
        let kind = match kind {
            [] => WalletKind::V4R2,
            name => str::from_utf8(name)
                .ok()
                .and_then(|name| name.parse().ok())
                .ok_or_else(malformed)?,
        };
        Ok(Self {
            wallet: Wallet::of_kind(kind, seed, network),
            state,
            network,
        })
    }

    /// The wallet's address.
    ///
    /// # Errors
    /// Those of the contract's cells.
    pub fn address(&self) -> Result<TonAddress, WalletError> {
        Ok(self.wallet.address()?)
    }

    /// Every channel of this wallet's network, with its directory.
    ///
    /// # Errors
    /// `Malformed`, `Io`.
    pub fn channels(&self) -> Result<Vec<(StateDirectory, ChannelFile)>, WalletError> {
        let all = self.state.within(CHANNELS)?;
        let mut channels = Vec::new();
        for name in all.names()? {
            let state = all.within(&name)?;
            let file = Ledger::read_file(&state)?;
            if file.network == self.network {
                channels.push((state, file));
            }
        }
        Ok(channels)
    }

    /// The directory of the channel to a payee.
    ///
    /// # Errors
    /// `NoChannel`, `Malformed`, `Io`.
    pub fn channel_to(&self, payee: &TonAddress) -> Result<StateDirectory, WalletError> {
        let mut channels = self.channels()?.into_iter();
        channels
            .find(|(_, file)| file.payee == *payee)
            .map(|(state, _)| state)
            .ok_or(WalletError::NoChannel)
    }

    /// Opens a channel and deposits. An opening that was cut short is taken up again: its key and
    /// address stay. A channel that was closed is opened anew, in a later epoch.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub async fn open_channel(
        &self,
        chain: &Chain,
        opening: &Opening,
        key_seed: &Zeroizing<[u8; 32]>,
    ) -> Result<ChannelFile, WalletError> {
        if opening.window > LONGEST_WINDOW {
            return Err(WalletError::Window {
                asked: opening.window,
            });
        }
        self.check_network(chain).await?;
        let state = match self.channel_to(&opening.payee) {
            Ok(state) => state,
            Err(WalletError::NoChannel) => self.prepare(opening, key_seed)?,
            Err(other) => return Err(other),
        };
        let mut ledger = Ledger::open(state)?;
        let shown = chain.channel(&ledger.file().channel).await?;
        match shown.map(|shown| shown.standing) {
            None | Some(Standing::Closed) => {}
            Some(Standing::Open | Standing::Closing { .. }) => {
                return Err(WalletError::ChannelExists);
            }
        }
        self.deposit(chain, &mut ledger, opening.deposit, Nano::ZERO)
            .await?;
        Ok(ledger.file().clone())
    }

    /// Adds to the deposit of the channel to a payee.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub async fn top_up(
        &self,
        chain: &Chain,
        payee: &TonAddress,
        amount: Nano,
    ) -> Result<ChannelFile, WalletError> {
        self.check_network(chain).await?;
        let mut ledger = Ledger::open(self.channel_to(payee)?)?;
        let shown = open_state(chain, &ledger.file().channel).await?;
        self.deposit(chain, &mut ledger, amount, shown.deposited)
            .await?;
        Ok(ledger.file().clone())
    }

    /// Asks to close the channel to a payee, or finishes the close once its window is over.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub async fn close(&self, chain: &Chain, payee: &TonAddress) -> Result<Standing, WalletError> {
        self.check_network(chain).await?;
        let ledger = Ledger::open(self.channel_to(payee)?)?;
        let at = ledger.file().channel;
        let account = chain.account(&at).await?;
        let shown = account.channel()?.ok_or(WalletError::NoChannel)?;
        let message = match shown.standing {
            Standing::Open => channel::start_close(&at)?,
            Standing::Closing { until } if account.chain_time >= until => {
                channel::finish_close(&at)?
            }
            Standing::Closing { .. } | Standing::Closed => return Ok(shown.standing),
        };
        self.send(chain, message, MESSAGE_VALUE).await?;
        let later = chain.wait_until(CHAIN_PATIENCE, async || {
            let now = chain.channel(&at).await?.map(|now| now.standing);
            Ok(now.filter(|now| *now != shown.standing))
        });
        Ok(later.await?)
    }

    /// Agrees to close the channel to a payee at once, at the highest total that was promised: what
    /// the payee sends. Nothing more can be promised on the channel afterwards; if the payee does
    /// not send it, [`Purse::close`] still can.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub async fn agree_to_close(
        &self,
        chain: &Chain,
        payee: &TonAddress,
        seconds: u32,
    ) -> Result<SignedClose, WalletError> {
        self.check_network(chain).await?;
        let mut ledger = Ledger::open(self.channel_to(payee)?)?;
        refresh(chain, &mut ledger).await?;
        let until = chain.chain_time().await?.saturating_add(seconds);
        Ok(ledger.agree_to_close(until)?)
    }

    /// Writes a new channel's key and terms.
    fn prepare(
        &self,
        opening: &Opening,
        key_seed: &Zeroizing<[u8; 32]>,
    ) -> Result<StateDirectory, WalletError> {
        let terms = ChannelTerms {
            payer: self.address()?,
            payee: opening.payee,
            payer_key: PayerKey(SigningKey::from_bytes(key_seed).verifying_key().to_bytes()),
            window: opening.window,
        };
        let channel = terms.address()?;
        let file = ChannelFile {
            version: 1,
            network: self.network,
            channel,
            payer: terms.payer,
            payee: terms.payee,
            payer_key: terms.payer_key,
            window: terms.window,
            epoch: 0,
            deposited: Nano::ZERO.to_string(),
        };
        let directory = self
            .state
            .within(CHANNELS)?
            .within(&channel.account.to_string())?;
        Ledger::create(&directory, key_seed, &file)?;
        Ok(directory)
    }

    async fn deposit(
        &self,
        chain: &Chain,
        ledger: &mut Ledger,
        amount: Nano,
        before: Nano,
    ) -> Result<(), WalletError> {
        let message = ledger.file().terms().top_up(amount)?;
        let value = amount.plus(TOP_UP_MARGIN)?;
        self.send(chain, message, value).await?;
        let expected = before.plus(amount)?;
        let at = ledger.file().channel;
        let shown = chain.wait_until(CHAIN_PATIENCE, async || {
            let shown = chain.channel(&at).await?;
            Ok(shown
                .filter(|shown| shown.standing == Standing::Open && shown.deposited >= expected))
        });
        let shown = shown.await?;
        Ok(ledger.note_chain(shown.epoch, shown.deposited)?)
    }

    async fn send(&self, chain: &Chain, message: Transfer, value: Nano) -> Result<(), WalletError> {
        let wallet = self.address()?;
        let account = chain.account(&wallet).await?;
        let needed = value.plus(FEE_RESERVE)?;
        if account.balance < needed {
            return Err(WalletError::TooLittle {
                needed,
                held: account.balance,
            });
        }
        let seqno = account.wallet_seqno()?;
        let valid_until = account.chain_time.saturating_add(MESSAGE_SECONDS);
        let signed = self.wallet.sign(seqno, valid_until, &[message])?;
        chain.send(&signed).await?;
        Ok(chain
            .wait_for_seqno_after(&wallet, seqno, CHAIN_PATIENCE)
            .await?)
    }

    async fn check_network(&self, chain: &Chain) -> Result<(), WalletError> {
        let found = chain.network().await?;
        if found == self.network {
            return Ok(());
        }
        Err(WalletError::OtherNetwork {
            found,
            expected: self.network,
        })
    }
}

impl ChannelFile {
    /// The contract's terms.
    #[must_use]
    pub const fn terms(&self) -> ChannelTerms {
        ChannelTerms {
            payer: self.payer,
            payee: self.payee,
            payer_key: self.payer_key,
            window: self.window,
        }
    }
}

/// Brings a ledger's epoch and deposit up to what the chain shows.
///
/// # Errors
/// `Standing` when the channel takes no vouchers; see [`WalletError`].
pub async fn refresh(chain: &Chain, ledger: &mut Ledger) -> Result<(), WalletError> {
    let shown = open_state(chain, &ledger.file().channel).await?;
    Ok(ledger.note_chain(shown.epoch, shown.deposited)?)
}

async fn open_state(chain: &Chain, at: &TonAddress) -> Result<ChannelState, WalletError> {
    let shown = chain.channel(at).await?.ok_or(WalletError::NoChannel)?;
    let standing = match shown.standing {
        Standing::Open => return Ok(shown),
        Standing::Closing { .. } => "closing",
        Standing::Closed => "closed",
    };
    Err(WalletError::Standing { standing })
}
