//! The chain as a program reads and reaches it: accounts by proof through lite-servers, or through
//! an endpoint that is believed. What an account means is decided from its code and data alone, so
//! that both ways read alike.
//!
//! Not here: how an account is proven (`lite`, `proof`), an endpoint's words (`toncenter`).

use core::time::Duration;

use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};

use crate::account::Account;
use crate::asset::PaymentChannel;
use crate::channel::ChannelState;
use crate::lite::ProvenAccounts;
use crate::registry::{Listed, RegistryEntry, RegistryState};
use crate::toncenter::{self, ChainError, JettonWallet, Toncenter};
use crate::transaction::Transaction;

/// Pause between two looks by proof: each one is some ten questions to servers of others.
const PAUSE: Duration = Duration::from_secs(1);

/// Who shows accounts and takes messages.
#[derive(Debug, Clone)]
pub enum Chain {
    /// Whatever this endpoint shows.
    Believed(Toncenter),
    /// What lite-servers prove.
    Proven {
        /// Every account.
        accounts: ProvenAccounts,
        /// Takes messages and shows transactions, which no proof covers. Without one, lite-servers
        /// take messages, and transactions are not read.
        endpoint: Option<Toncenter>,
    },
}

impl Chain {
    /// The account at an address; one that nobody ever paid is uninitialized and empty.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn account(&self, address: &TonAddress) -> Result<Account, ChainError> {
        match self {
            Self::Believed(endpoint) => endpoint.account(address).await,
            Self::Proven { accounts, .. } => accounts.account(address).await,
        }
    }

    /// The payment channel in the network's coin at an address, or none when nothing is deployed
    /// there.
    ///
    /// # Errors
    /// See [`ChainError`]; `OtherCode` when something else lives at the address.
    pub async fn channel(&self, at: &TonAddress) -> Result<Option<ChannelState>, ChainError> {
        self.account(at).await?.channel()
    }

    /// The payment channel at an address, whatever it pays in.
    ///
    /// # Errors
    /// As of [`Chain::channel`].
    pub async fn payment_channel(
        &self,
        at: &TonAddress,
    ) -> Result<Option<PaymentChannel>, ChainError> {
        self.account(at).await?.payment_channel()
    }

    /// Somebody's wallet of a jetton: the minter's word, and the endpoint's.
    ///
    /// # Errors
    /// See [`ChainError`]; `NoEndpoint`, since no proof says what a getter answers.
    pub async fn jetton_wallet(
        &self,
        minter: &TonAddress,
        owner: &TonAddress,
    ) -> Result<JettonWallet, ChainError> {
        self.endpoint()?.jetton_wallet(minter, owner).await
    }

    /// [`Toncenter::jetton_decimals`]: the minter's word, and the endpoint's.
    ///
    /// # Errors
    /// See [`ChainError`]; `NoEndpoint`.
    pub async fn jetton_decimals(&self, minter: &TonAddress) -> Result<Option<u8>, ChainError> {
        self.endpoint()?.jetton_decimals(minter).await
    }

    /// The balance of an address.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn balance(&self, address: &TonAddress) -> Result<Nano, ChainError> {
        Ok(self.account(address).await?.balance)
    }

    /// The chain's time, unix seconds.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn chain_time(&self) -> Result<u32, ChainError> {
        let nobody = TonAddress {
            workchain: 0,
            account: protocol::digest::AccountId::ZERO,
        };
        Ok(self.account(&nobody).await?.chain_time)
    }

    /// The network: by the endpoint's word, or the one whose blocks are proven.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn network(&self) -> Result<NetworkId, ChainError> {
        match self {
            Self::Believed(endpoint) => endpoint.network().await,
            Self::Proven { accounts, .. } => Ok(accounts.network()),
        }
    }

    /// What the registry says of these things, in their order: by proof, all of them at one block.
    ///
    /// # Errors
    /// See [`ChainError`]; `OtherCode` when there is no registry at the address.
    pub async fn registry_entries(
        &self,
        registry: &TonAddress,
        listed: &[Listed],
    ) -> Result<Vec<RegistryEntry>, ChainError> {
        match self {
            Self::Believed(endpoint) => {
                let mut entries = Vec::new();
                for one in listed {
                    entries.push(endpoint.registry_entry(registry, one).await?);
                }
                Ok(entries)
            }
            Self::Proven { accounts, .. } => {
                let state = RegistryState::of_account(&accounts.account(registry).await?)?;
                let entries: Result<_, _> = listed.iter().map(|one| state.entry(one)).collect();
                entries.map_err(|_| ChainError::Malformed { what: "registry" })
            }
        }
    }

    /// Hands an external message to the chain. Success says nothing of what came of it.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn send(&self, message: &[u8]) -> Result<(), ChainError> {
        match self {
            Self::Believed(endpoint)
            | Self::Proven {
                endpoint: Some(endpoint),
                ..
            } => endpoint.send_boc(message).await,
            Self::Proven {
                accounts,
                endpoint: None,
            } => accounts.send(message).await,
        }
    }

    /// Whether transactions can be read at all: to be asked before what could not be followed.
    ///
    /// # Errors
    /// `NoEndpoint`.
    pub fn check_transactions(&self) -> Result<(), ChainError> {
        self.endpoint().map(drop)
    }

    /// The latest transactions of an account, newest first: the endpoint's word.
    ///
    /// # Errors
    /// See [`ChainError`]; `NoEndpoint`.
    pub async fn transactions(
        &self,
        address: &TonAddress,
        limit: u8,
    ) -> Result<Vec<Transaction>, ChainError> {
        self.endpoint()?.transactions(address, limit).await
    }

    /// Waits for the endpoint to show a transaction: [`Toncenter::wait_for_transaction`].
    ///
    /// # Errors
    /// See [`ChainError`]; `NoEndpoint`.
    pub async fn wait_for_transaction<T>(
        &self,
        account: &TonAddress,
        after: u64,
        within: Duration,
        choose: impl Fn(&Transaction) -> Option<T>,
    ) -> Result<T, ChainError> {
        let endpoint = self.endpoint()?;
        let shown = endpoint.wait_for_transaction(account, after, within, choose);
        shown.await
    }

    /// Waits until a wallet has taken the message with sequence number `sent`.
    ///
    /// # Errors
    /// `TimedOut` after `within`, and those of [`Chain::account`].
    pub async fn wait_for_seqno_after(
        &self,
        wallet: &TonAddress,
        sent: u32,
        within: Duration,
    ) -> Result<(), ChainError> {
        let taken = self.wait_until(within, async || {
            let seqno = self.account(wallet).await?.wallet_seqno()?;
            Ok((seqno > sent).then_some(()))
        });
        taken.await
    }

    /// Looks again and again until there is something. A look by proof that fails is done again as
    /// well: of several servers each may lag for a moment.
    ///
    /// # Errors
    /// `TimedOut` after `within`, and those of `look`.
    pub async fn wait_until<T>(
        &self,
        within: Duration,
        look: impl AsyncFn() -> Result<Option<T>, ChainError>,
    ) -> Result<T, ChainError> {
        match self {
            Self::Believed(_) => toncenter::wait_until(within, toncenter::POLL, look).await,
            Self::Proven { .. } => {
                let patient = async || match look().await {
                    Err(ChainError::Proven(_)) => Ok(None),
                    looked => looked,
                };
                toncenter::wait_until(within, PAUSE, patient).await
            }
        }
    }

    fn endpoint(&self) -> Result<&Toncenter, ChainError> {
        match self {
            Self::Believed(endpoint)
            | Self::Proven {
                endpoint: Some(endpoint),
                ..
            } => Ok(endpoint),
            Self::Proven { endpoint: None, .. } => Err(ChainError::NoEndpoint),
        }
    }
}
