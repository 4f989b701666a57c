//! The chain by proof, for this program: whose clock and randomness, and where the position of the
//! proofs lies, so that heights never fall between runs.
//!
//! Not here: what is read (`registry`, `wallet`), how it is proven (`contracts::lite`).

use std::sync::Arc;

use contracts::lite::{ByProof, LiteServers, NoRandomness, PositionFile, ProvenAccounts};
use contracts::toncenter::ChainError;
use protocol::ton::NetworkId;

use crate::deployment::Surroundings;
use crate::wallet::StateDirectory;

/// The position's file, with the network's number after it.
const POSITION: &str = "chain-position";
/// A proof of a wallet or a channel that is older refuses: ten minutes. What is newer than the
/// newest block that a server shows, such as a close, is not known yet.
pub const FRESH_SECONDS: u64 = 600;

/// Reads accounts by proof; nothing is sent yet.
///
/// # Errors
/// See [`ProvenAccounts::new`].
pub fn by_proof(
    by: LiteServers,
    network: NetworkId,
    state: &StateDirectory,
    surroundings: &Arc<dyn Surroundings>,
) -> Result<ProvenAccounts, ChainError> {
    let (clock, randomness) = (Arc::clone(surroundings), Arc::clone(surroundings));
    ProvenAccounts::new(ByProof {
        network,
        by,
        file: PositionFile::at(state.path(&format!("{POSITION}.{}", network.0))),
        limit: FRESH_SECONDS,
        now: Box::new(move || clock.now().0),
        draw: Box::new(move || match randomness.random() {
            Ok(seed) => Ok(*seed),
            Err(crate::NoRandomness) => Err(NoRandomness),
        }),
    })
}
