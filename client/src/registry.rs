//! Where the client reads the registry: an endpoint that it believes, or lite-servers whose answers
//! it checks by proof (`docs/spec/chain-proofs.md` §7).
//!
//! The position of the proofs lies in the state directory, so that heights never fall between runs.
//! What the registry takes away is `pins`'.

use contracts::lite::{LiteError, LiteReader, LiteServer, Moment, Position};
use contracts::proof::BlockId;
use contracts::registry::{Listed, RegistryEntry, RegistryState};
use contracts::toncenter::{ChainError, Toncenter};
use protocol::ton::{NetworkId, TonAddress};

use crate::deployment::{NoRandomness, Surroundings};
use crate::wallet::{StateDirectory, StateError};

/// The position's file, with the network's number after it.
const POSITION: &str = "chain-position";
const MAX_POSITION_BYTES: usize = 256;
/// A proof older than this refuses: one day.
pub const FRESH_SECONDS: u64 = 86_400;

/// The registry was not proven.
#[derive(Debug, thiserror::Error)]
pub enum ProvenReadError {
    /// The servers, or what they prove.
    #[error(transparent)]
    Lite(#[from] LiteError),
    /// The account is no registry.
    #[error("cannot read the registry's account")]
    Chain(#[from] ChainError),
    /// The file of the position.
    #[error("cannot keep the position of the proofs")]
    State(#[from] StateError),
    /// The kernel.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl ProvenReadError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Lite(error) => error.code(),
            Self::Chain(error) => error.code(),
            Self::State(error) => error.code(),
            Self::Randomness(_) => "no-randomness",
        }
    }
}

/// Which lite-servers are asked, and the key block from which their answers are proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiteServers {
    /// Two different ones at least.
    pub servers: Vec<LiteServer>,
    /// Trusted by the user's word.
    pub pinned: BlockId,
}

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
    /// Reads the registry's account by proof, and keeps the position.
    ///
    /// # Errors
    /// See [`ProvenReadError`].
    pub async fn prove(
        by: &LiteServers,
        network: NetworkId,
        address: &TonAddress,
        state: &StateDirectory,
        surroundings: &dyn Surroundings,
    ) -> Result<Self, ProvenReadError> {
        let file = format!("{POSITION}.{}", network.0);
        let position = from(by.pinned, kept(state, &file)?);
        let mut reader = LiteReader::new(network, by.servers.clone(), position)?;
        let seeds = by.servers.iter().map(|_| surroundings.random());
        let seeds = seeds.collect::<Result<Vec<_>, _>>()?;
        let mut seeds = seeds.iter();
        // As many as there are servers, each asked once.
        let draw = || seeds.next().map_or([0; 32], |seed| **seed);
        let moment = Moment {
            now: surroundings.now().0,
            limit: FRESH_SECONDS,
        };
        let proven = reader.account(address, moment, draw).await?;
        state.replace(&file, reader.position().to_string().as_bytes())?;
        let account = proven.account();
        Ok(Self::Proven {
            state: RegistryState::of_account(account)?,
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

/// The newer of the kept key block and the pinned one; the height that was seen never falls.
fn from(pinned: BlockId, kept: Option<Position>) -> Position {
    match kept {
        Some(kept) if kept.key_block.seqno > pinned.seqno => kept,
        Some(kept) => Position {
            key_block: pinned,
            seqno: kept.seqno.max(pinned.seqno),
        },
        None => Position::at(pinned),
    }
}

/// The position of an earlier run. A damaged file refuses: without it heights could fall.
fn kept(state: &StateDirectory, file: &str) -> Result<Option<Position>, StateError> {
    let Some(bytes) = state.read(file, MAX_POSITION_BYTES)? else {
        return Ok(None);
    };
    let text = core::str::from_utf8(&bytes).ok();
    let position = text.and_then(|text| text.parse().ok());
    position.map(Some).ok_or_else(|| StateError::Malformed {
        path: state.path(file),
    })
}
