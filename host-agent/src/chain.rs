//! The chain by proof, for this program: whose clock and randomness, and how old a proof may be.
//!
//! Not here: what is read (`control`, `settle`), how it is proven (`contracts::lite`).

use std::path::PathBuf;

use contracts::lite::{ByProof, LiteServers, NoRandomness, PositionFile, ProvenAccounts};
use contracts::toncenter::ChainError;
use protocol::ton::NetworkId;

use crate::clock::Clock;

/// A proof that is older refuses: two minutes, so that a close is known long before its window
/// ends.
pub const FRESH_SECONDS: u64 = 120;

/// Reads accounts by proof; nothing is sent yet.
///
/// # Errors
/// See [`ProvenAccounts::new`].
pub fn by_proof(
    by: LiteServers,
    network: NetworkId,
    file: PathBuf,
    clock: &Clock,
    draw: fn() -> std::io::Result<[u8; 32]>,
) -> Result<ProvenAccounts, ChainError> {
    let clock = clock.clone();
    ProvenAccounts::new(ByProof {
        network,
        by,
        file: PositionFile::at(file),
        limit: FRESH_SECONDS,
        now: Box::new(move || clock.now().0),
        draw: Box::new(move || draw().map_err(|_| NoRandomness)),
    })
}
