//! Merkle proofs: from a bag of bytes to a tree whose root hash is the trusted one.
//!
//! A proof is a tree in which branches are replaced by their hashes. A cell that is still there is
//! authentic, since its hash is under the trusted root; a pruned one can be named but not read.

use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellSlice, CellType};
use tycho_types::error::Error;

use super::{Part, ProofError, RootHash};

/// A bag of cells from outside is at most this long: a key block's configuration with the
/// validators of the main network takes about 40 KiB (`tests/fixtures/ton`), a large account less
/// than 1 MiB.
pub const MAX_BAG_BYTES: usize = 1 << 20;

/// The one tree of a bag that proves `root`.
pub(super) fn tree(bag: &[u8], root: &RootHash, part: Part) -> Result<Cell, ProofError> {
    proven(&single(bag, part)?, root, part)
}

/// The one root of a bag.
pub(super) fn single(bag: &[u8], part: Part) -> Result<Cell, ProofError> {
    bounded(bag)?;
    Boc::decode(bag).map_err(|_| ProofError::Bag(part))
}

/// The two roots of a bag: proof of a block, and proof of the state after it.
pub(super) fn pair(bag: &[u8], part: Part) -> Result<(Cell, Cell), ProofError> {
    bounded(bag)?;
    Boc::decode_pair(bag).map_err(|_| ProofError::Bag(part))
}

fn bounded(bag: &[u8]) -> Result<(), ProofError> {
    if bag.len() > MAX_BAG_BYTES {
        return Err(ProofError::TooLong { length: bag.len() });
    }
    Ok(())
}

/// The tree below a proof's cell, if it is the one with this root hash.
pub(super) fn proven(proof: &Cell, root: &RootHash, part: Part) -> Result<Cell, ProofError> {
    if proof.cell_type() != CellType::MerkleProof {
        return Err(ProofError::NotAProof(part));
    }
    let tree = proof
        .reference_cloned(0)
        .ok_or(ProofError::NotAProof(part))?;
    // Of the tree itself, not of what the proof's cell claims: the hash at level 0 is that of the
    // original tree, with what is pruned still in it.
    if tree.hash(0).0 != root.0 {
        return Err(ProofError::Other(part));
    }
    Ok(tree)
}

/// A cell to read; pruned or otherwise exotic ones are not.
pub(super) fn ordinary(cell: &Cell, part: Part) -> Result<CellSlice<'_>, ProofError> {
    cell.as_slice().map_err(reading(part))
}

/// For `map_err` while reading a part.
pub(super) const fn reading(part: Part) -> impl Fn(Error) -> ProofError {
    move |error| {
        if matches!(error, Error::UnexpectedExoticCell) {
            ProofError::Withheld(part)
        } else {
            ProofError::Layout(part)
        }
    }
}

/// Nothing may be left once a cell was read.
pub(super) fn finish(slice: &CellSlice<'_>, part: Part) -> Result<(), ProofError> {
    if slice.is_data_empty() && slice.is_refs_empty() {
        Ok(())
    } else {
        Err(ProofError::Layout(part))
    }
}
