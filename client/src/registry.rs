//! Where the client reads the registry: an endpoint that it believes, or lite-servers whose answers
//! it checks by proof (`docs/spec/chain-proofs.md` §7).
//!
//! What the registry takes away is `pins`'; who reads the proofs is `chain`'s.

use contracts::lite::ProvenAccounts;
use contracts::registry::{Listed, RegistryEntry, RegistryState};
use contracts::toncenter::{ChainError, Toncenter};
use protocol::ton::TonAddress;

/// A proof of the registry that is older refuses: one day.
pub const FRESH_SECONDS: u64 = 86_400;

/// A registry, as it can be asked.
#[derive(Debug, Clone)]
pub enum Registry {
    /// Believed.
    Believed {
        /// The endpoint.
        chain: Toncenter,
        /// The registry's address.
        address: TonAddress,
    },
    /// Proven at some time.
    Proven {
        /// The contract's data.
        state: RegistryState,
        /// Time of the block, unix seconds.
        time: u32,
    },
}

impl Registry {
    /// Reads the registry's account by proof.
    ///
    /// # Errors
    /// See [`ChainError`]; `OtherCode` when there is no registry at the address.
    pub async fn prove(
        accounts: &ProvenAccounts,
        address: &TonAddress,
    ) -> Result<Self, ChainError> {
        let account = accounts.account_within(address, FRESH_SECONDS).await?;
        Ok(Self::Proven {
            state: RegistryState::of_account(&account)?,
            time: account.chain_time,
        })
    }

    /// The chain's time, unix seconds.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn time(&self) -> Result<u64, ChainError> {
        match self {
            Self::Believed { chain, .. } => Ok(u64::from(chain.chain_time().await?)),
            Self::Proven { time, .. } => Ok(u64::from(*time)),
        }
    }

    /// What it says of one thing.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn entry(&self, listed: &Listed) -> Result<RegistryEntry, ChainError> {
        match self {
            Self::Believed { chain, address } => chain.registry_entry(address, listed).await,
            Self::Proven { state, .. } => state
                .entry(listed)
                .map_err(|_| ChainError::Malformed { what: "registry" }),
        }
    }
}
