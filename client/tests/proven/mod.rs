//! The surroundings of a client that reads the chain by proof, soon after the blocks were made.

use std::path::PathBuf;
use std::sync::Arc;

use client::chain::by_proof;
use client::wallet::StateDirectory;
use client::{NoRandomness, Surroundings};
use contracts::lite::{LiteServers, ProvenAccounts};
use contracts::toncenter::ChainError;
use lite_server::blocks::{NETWORK, TIME};
use protocol::ton::NetworkId;
use verifier::UnixTime;
use zeroize::Zeroizing;

/// Its clock is so many seconds after the blocks.
pub(crate) struct World(pub(crate) u64);

impl Surroundings for World {
    fn now(&self) -> UnixTime {
        UnixTime(u64::from(TIME) + self.0)
    }

    fn random(&self) -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
        Ok(Zeroizing::new([7; 32]))
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }
}

/// A reader by proof, half a minute after the blocks.
pub(crate) fn accounts(
    by: LiteServers,
    state: &StateDirectory,
) -> Result<ProvenAccounts, ChainError> {
    let world: Arc<dyn Surroundings> = Arc::new(World(30));
    by_proof(by, NetworkId(NETWORK), state, &world)
}
