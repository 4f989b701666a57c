//! The client's wallet: one TON wallet that holds coins, and payment channels that it opened.
//!
//! Each payment channel has a key of its own, made when it is opened, so that the key which signs
//! vouchers all day never holds the coins. Whether what the chain shows is proven or believed is
//! `contracts::chain`'s. What to promise is `payment`'s. Randomness and time are arguments.

mod anchor;
pub mod connect;
mod error;
mod jetton;
mod ledger;
mod opening;
mod receipts;
mod state;

use core::time::Duration;
use std::sync::Arc;

use contracts::chain::Chain;
use contracts::channel::{self, ChannelState, ChannelTerms, LONGEST_WINDOW, Standing};
use contracts::close::SignedClose;
use contracts::message::Transfer;
use contracts::wallet::{Wallet, WalletKind};
use ed25519_dalek::SigningKey;
use protocol::digest::PayerKey;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::connect::{Connected, Reply};
use crate::deployment::Surroundings;

pub use anchor::{AnchorError, AnchorProof, MAX_PROOF_BYTES};
pub use error::WalletError;
pub use ledger::{ChannelFile, Jetton, Ledger, LedgerError, NO_RECEIPTS};
pub use opening::{ChannelTo, Opening};
pub use receipts::{KeptReceipt, KeptReceiptError, MAX_KEPT_BYTES};
pub use state::{StateDirectory, StateError, StateLock, read_bounded};

const SEED: &str = "wallet.seed";
/// A seed, and the kind of its wallet unless that is v4r2.
const MAX_SEED_BYTES: usize = 32 + 4;
const CHANNELS: &str = "channels";
/// A wallet's message must be taken within this many seconds of the chain's time.
const MESSAGE_SECONDS: u32 = 120;
/// How long the chain may take, where nothing else is said.
const CHAIN_PATIENCE: Duration = Duration::from_secs(90);
/// The owner of a connected wallet has this many seconds of the chain's time to sign.
const ASK_SECONDS: u32 = 300;
/// Its answer is waited for longer than what it would sign is valid.
const ASK_PATIENCE: Duration = Duration::from_secs(310);
/// Kept in the wallet for the fees of its own messages.
const FEE_RESERVE: Nano = Nano::from_u64(20_000_000);

/// The wallet of one state directory on one network.
#[derive(Debug)]
pub struct Purse {
    state: StateDirectory,
    signer: Signer,
    network: NetworkId,
    /// How long to wait for the chain to act on a message.
    patience: Duration,
}

/// Who signs for the wallet.
#[derive(Debug)]
enum Signer {
    /// This program.
    Key(Wallet),
    /// Its owner, in a wallet program that is connected.
    Connected(Connected),
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
        connect::refuse_beside_a_session(&state)?;
        state.create(SEED, &file)?;
        let signer = Signer::Key(Wallet::of_kind(kind, seed, network));
        Ok(Self {
            state,
            signer,
            network,
            patience: CHAIN_PATIENCE,
        })
    }

    /// Opens the wallet that is there: of a seed, or one that is connected, which is asked with
    /// time and randomness of `surroundings`.
    ///
    /// # Errors
    /// `NoWallet`, `OtherNetwork`, `Malformed`, `Io`.
    pub fn open(
        state: StateDirectory,
        network: NetworkId,
        surroundings: &Arc<dyn Surroundings>,
    ) -> Result<Self, WalletError> {
        let signer = match Self::of_seed(&state, network)? {
            Some(wallet) => Signer::Key(wallet),
            None => Self::of_session(&state, network, surroundings)?,
        };
        Ok(Self {
            state,
            signer,
            network,
            patience: CHAIN_PATIENCE,
        })
    }

    /// Refuses where there is a wallet: one state directory has one.
    ///
    /// # Errors
    /// `Exists`, `Malformed`, `Io`.
    pub fn refuse_beside_one(state: &StateDirectory) -> Result<(), WalletError> {
        if state
            .read(SEED, MAX_SEED_BYTES)?
            .map(Zeroizing::new)
            .is_some()
        {
            let path = state.path(SEED);
            return Err(StateError::Exists { path }.into());
        }
        Ok(connect::refuse_beside_a_session(state)?)
    }

    fn of_session(
        state: &StateDirectory,
        network: NetworkId,
        surroundings: &Arc<dyn Surroundings>,
    ) -> Result<Signer, WalletError> {
        let connected = Connected::open(state, surroundings, ASK_PATIENCE)?;
        let connected = connected.ok_or(WalletError::NoWallet)?;
        let found = connected.session().network;
        if found != network {
            return Err(WalletError::OtherNetwork {
                found,
                expected: network,
            });
        }
        Ok(Signer::Connected(connected))
    }

    fn of_seed(state: &StateDirectory, network: NetworkId) -> Result<Option<Wallet>, WalletError> {
        let Some(bytes) = state.read(SEED, MAX_SEED_BYTES)?.map(Zeroizing::new) else {
            return Ok(None);
        };
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
        Ok(Some(Wallet::of_kind(kind, seed, network)))
    }

    /// Waits so long for the answer of a wallet that is connected, and then for the chain.
    #[must_use]
    pub fn with_patience(mut self, answer: Duration, chain: Duration) -> Self {
        if let Signer::Connected(connected) = &mut self.signer {
            connected.set_patience(answer);
        }
        self.patience = chain;
        self
    }

    /// The wallet that is connected, where none of a seed is there.
    #[must_use]
    pub const fn connected(&self) -> Option<&Connected> {
        match &self.signer {
            Signer::Key(_) => None,
            Signer::Connected(connected) => Some(connected),
        }
    }

    /// Ends the session with the wallet that is connected. Gives whether it was told, or none when
    /// no wallet is connected. Channels and their keys stay.
    ///
    /// # Errors
    /// See [`Connected::disconnect`].
    pub async fn disconnect(self) -> Result<Option<bool>, WalletError> {
        match self.signer {
            Signer::Key(_) => Ok(None),
            Signer::Connected(connected) => Ok(Some(connected.disconnect().await?)),
        }
    }

    /// The wallet's address.
    ///
    /// # Errors
    /// Those of the contract's cells.
    pub fn address(&self) -> Result<TonAddress, WalletError> {
        match &self.signer {
            Signer::Key(wallet) => Ok(wallet.address()?),
            Signer::Connected(connected) => Ok(connected.session().address),
        }
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

    /// The directory of a channel.
    ///
    /// # Errors
    /// `NoChannel`, `Malformed`, `Io`.
    pub fn channel_to(&self, to: &ChannelTo) -> Result<StateDirectory, WalletError> {
        let mut channels = self.channels()?.into_iter();
        channels
            .find(|(_, file)| file.payee == to.payee && file.asset() == to.asset)
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
        let state = match self.channel_to(&opening.to()) {
            Ok(state) => state,
            Err(WalletError::NoChannel) => self.prepare(opening, key_seed)?,
            Err(other) => return Err(other),
        };
        let mut ledger = self.own(Ledger::open(state)?)?;
        let shown = chain.payment_channel(&ledger.file().channel).await?;
        match shown.map(|shown| shown.state().standing) {
            None | Some(Standing::Closed) => {}
            Some(Standing::Open | Standing::Closing { .. }) => {
                return Err(WalletError::ChannelExists);
            }
        }
        if let Some(terms) = ledger.file().jetton_terms() {
            let of = (ledger.file(), &terms);
            self.introduce(chain, of, opening.deposit).await?;
        }
        self.deposit(chain, &mut ledger, opening.deposit, Nano::ZERO)
            .await?;
        Ok(ledger.file().clone())
    }

    /// Adds to the deposit of a channel, in smallest units.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub async fn top_up(
        &self,
        chain: &Chain,
        to: &ChannelTo,
        amount: Nano,
    ) -> Result<ChannelFile, WalletError> {
        self.check_network(chain).await?;
        let mut ledger = self.own(Ledger::open(self.channel_to(to)?)?)?;
        let shown = open_state(chain, &ledger.file().channel).await?;
        self.deposit(chain, &mut ledger, amount, shown.deposited)
            .await?;
        Ok(ledger.file().clone())
    }

    /// Asks to close a channel, or finishes the close once its window is over.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub async fn close(&self, chain: &Chain, to: &ChannelTo) -> Result<Standing, WalletError> {
        self.check_network(chain).await?;
        let ledger = self.own(Ledger::open(self.channel_to(to)?)?)?;
        let at = ledger.file().channel;
        let account = chain.account(&at).await?;
        let shown = account.payment_channel()?.ok_or(WalletError::NoChannel)?;
        let shown = *shown.state();
        let message = match shown.standing {
            Standing::Open => channel::start_close(&at)?,
            Standing::Closing { until } if account.chain_time >= until => {
                channel::finish_close(&at)?
            }
            Standing::Closing { .. } | Standing::Closed => return Ok(shown.standing),
        };
        self.send(chain, to.asset.fitted(message)).await?;
        let later = chain.wait_until(self.patience, async || {
            let now = chain.payment_channel(&at).await?;
            let now = now.map(|now| now.state().standing);
            Ok(now.filter(|now| *now != shown.standing))
        });
        Ok(later.await?)
    }

    /// Agrees to close a channel at once, at the highest total that was promised: what the payee
    /// sends. Nothing more can be promised on the channel afterwards; if the payee does
    /// not send it, [`Purse::close`] still can.
    ///
    /// # Errors
    /// See [`WalletError`].
    pub async fn agree_to_close(
        &self,
        chain: &Chain,
        to: &ChannelTo,
        seconds: u32,
    ) -> Result<SignedClose, WalletError> {
        self.check_network(chain).await?;
        let mut ledger = Ledger::open(self.channel_to(to)?)?;
        refresh(chain, &mut ledger).await?;
        let until = chain.chain_time().await?.saturating_add(seconds);
        Ok(ledger.agree_to_close(until)?)
    }

    /// A channel of this very wallet: what it sends elsewhere would come back to another.
    fn own(&self, ledger: Ledger) -> Result<Ledger, WalletError> {
        let payer = ledger.file().payer;
        if payer == self.address()? {
            return Ok(ledger);
        }
        Err(WalletError::OtherPayer { payer })
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
        let channel = opening.to().asset.address(&terms)?;
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
            jetton: opening.jetton,
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
        let message = match ledger.file().jetton_terms() {
            None => ledger.file().terms().top_up(amount)?,
            Some(terms) => self.jetton_deposit(chain, &terms, amount).await?,
        };
        self.send(chain, message).await?;
        let expected = before.plus(amount)?;
        let at = ledger.file().channel;
        let shown = chain.wait_until(self.patience, async || {
            let shown = chain.payment_channel(&at).await?;
            let shown = shown.map(|shown| *shown.state());
            Ok(shown
                .filter(|shown| shown.standing == Standing::Open && shown.deposited >= expected))
        });
        let shown = shown.await?;
        Ok(ledger.note_chain(shown.epoch, shown.deposited)?)
    }

    async fn send(&self, chain: &Chain, message: Transfer) -> Result<(), WalletError> {
        let wallet = self.address()?;
        let account = chain.account(&wallet).await?;
        let needed = message.value.plus(FEE_RESERVE)?;
        if account.balance < needed {
            return Err(WalletError::TooLittle {
                needed,
                held: account.balance,
            });
        }
        let seqno = account.wallet_seqno()?;
        let until = |seconds| account.chain_time.saturating_add(seconds);
        match &self.signer {
            Signer::Key(wallet) => {
                let signed = wallet.sign(seqno, until(MESSAGE_SECONDS), &[message])?;
                chain.send(&signed).await?;
            }
            Signer::Connected(connected) => {
                let began = Instant::now();
                if let Reply::Unclear(error) = connected.ask(&message, until(ASK_SECONDS)).await? {
                    // The request is on the phone: whoever asked must not ask again while the owner
                    // can still sign it. The chain knows better than a bridge that failed.
                    let left = connected.patience().saturating_sub(began.elapsed());
                    let waited = chain.wait_for_seqno_after(&wallet, seqno, left).await;
                    // One look more, however long it takes: the time may have been over before.
                    if waited.is_ok() || chain.account(&wallet).await?.wallet_seqno()? > seqno {
                        return Ok(());
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(chain
            .wait_for_seqno_after(&wallet, seqno, self.patience)
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
    /// The contract's terms, less the jetton.
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
    let shown = chain.payment_channel(at).await?;
    let shown = *shown.ok_or(WalletError::NoChannel)?.state();
    let standing = match shown.standing {
        Standing::Open => return Ok(shown),
        Standing::Closing { .. } => "closing",
        Standing::Closed => "closed",
    };
    Err(WalletError::Standing { standing })
}
