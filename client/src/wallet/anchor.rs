//! That a receipt reached the chain: its path to the receipts root that a channel's contract holds.
//!
//! The file shows whoever is given it that an answer was paid on a channel, and which machine and
//! model made it; it opens neither prompt nor answer, since the salt is not in it. Pure: the
//! root is an argument. `docs/spec/receipt.md` §6.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::digest::{ReceiptDigest, ReceiptsRoot};
use protocol::merkle::{self, Leaf, MAX_PATH, node_hash};
use protocol::receipt::SignedReceipt;
use protocol::statement::Statement;
use serde::{Deserialize, Serialize};

use super::receipts::{KeptReceipt, KeptReceiptError, under_its_statement};

/// A proof is shorter: a kept receipt and a path of 20 hashes.
pub const MAX_PROOF_BYTES: usize = 16 * 1024;

/// The file's form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u16,
    receipt: String,
    statement: String,
    index: u32,
    count: u32,
    /// Hashes from the leaf to the root, one after the other, base64.
    path: String,
}

/// Why there is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// The file is not of its form.
    #[error("not a proof of a receipt")]
    Malformed,
    /// The receipt in it proves nothing.
    #[error(transparent)]
    Receipt(#[from] KeptReceiptError),
    /// The channel's ledger does not hold this receipt.
    #[error("the channel's ledger does not hold this receipt")]
    Unknown,
    /// No root over receipts that include this one is on the chain.
    #[error("the chain does not show this receipt's root: it comes with the provider's next claim")]
    NotAnchored,
}

impl AnchorError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "anchor-malformed",
            Self::Receipt(error) => error.code(),
            Self::Unknown => "anchor-unknown-receipt",
            Self::NotAnchored => "anchor-root",
        }
    }
}

/// A receipt, the Statement that covers its key, and its place under a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorProof {
    /// Checked under the Statement's receipt key.
    pub receipt: SignedReceipt,
    /// Says whose key it is; not appraised here.
    pub statement: Statement,
    /// The receipt's number among those that were verified in its epoch, from 0.
    pub index: u32,
    /// How many receipts the root is over.
    pub count: u32,
    path: Vec<[u8; 32]>,
}

impl AnchorProof {
    /// The proof that `kept` is under `anchored`, given every receipt of its channel and epoch in
    /// the order in which they were verified. More may have been verified since the anchored root.
    ///
    /// # Errors
    /// `Unknown`, `NotAnchored`.
    pub fn of(
        kept: &KeptReceipt,
        receipts: &[ReceiptDigest],
        anchored: &ReceiptsRoot,
    ) -> Result<Self, AnchorError> {
        let digest = kept.receipt.receipt.digest();
        let leaves: Vec<Leaf> = receipts.iter().map(|receipt| receipt.0).collect();
        let index = receipts.iter().position(|receipt| *receipt == digest);
        let index = index.ok_or(AnchorError::Unknown)?;
        let mut roots = prefix_roots(&leaves).skip(index);
        let later = roots.position(|root| root == anchored.0);
        let count = later.and_then(|later| index.checked_add(later)?.checked_add(1));
        let count = count.ok_or(AnchorError::NotAnchored)?;
        let covered = leaves.get(..count).ok_or(AnchorError::NotAnchored)?;
        let path = merkle::path(covered, index).ok_or(AnchorError::NotAnchored)?;
        let number = |count: usize| u32::try_from(count).map_err(|_| AnchorError::NotAnchored);
        Ok(Self {
            receipt: kept.receipt.clone(),
            statement: kept.statement.clone(),
            index: number(index)?,
            count: number(count)?,
            path,
        })
    }

    /// The root under which the receipt is; it proves something once the chain shows the same.
    ///
    /// # Errors
    /// `Malformed` when index, count and path do not fit each other.
    pub fn root(&self) -> Result<ReceiptsRoot, AnchorError> {
        let leaf = self.receipt.receipt.digest().0;
        merkle::root_through(&leaf, self.index, self.count, &self.path)
            .map(ReceiptsRoot)
            .ok_or(AnchorError::Malformed)
    }

    /// The file.
    ///
    /// # Errors
    /// `Malformed` never in practice: every proof has a form.
    pub fn to_json(&self) -> Result<String, AnchorError> {
        let file = File {
            version: 1,
            receipt: STANDARD.encode(self.receipt.encode()),
            statement: STANDARD.encode(self.statement.encode()),
            index: self.index,
            count: self.count,
            path: STANDARD.encode(self.path.concat()),
        };
        let mut text = serde_json::to_string_pretty(&file).map_err(|_| AnchorError::Malformed)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads a file's bytes and checks what can be checked without the chain: the signature under
    /// the Statement, and that the path leads somewhere.
    ///
    /// # Errors
    /// `Malformed`, `Receipt`.
    pub fn parse(bytes: &[u8]) -> Result<Self, AnchorError> {
        let file: File = serde_json::from_slice(bytes).map_err(|_| AnchorError::Malformed)?;
        let path = STANDARD
            .decode(&file.path)
            .map_err(|_| AnchorError::Malformed)?;
        let (hashes, []) = path.as_chunks::<32>() else {
            return Err(AnchorError::Malformed);
        };
        if file.version != 1 || hashes.len() > MAX_PATH {
            return Err(AnchorError::Malformed);
        }
        let (receipt, statement) = under_its_statement(&file.receipt, &file.statement)?;
        let proof = Self {
            receipt,
            statement,
            index: file.index,
            count: file.count,
            path: hashes.to_vec(),
        };
        proof.root()?;
        Ok(proof)
    }
}

/// The roots over the first leaf, the first two, and so on. Each costs a few hashes: kept are the
/// roots of the full subtrees from left to right, as the bits of the count say.
fn prefix_roots(leaves: &[Leaf]) -> impl Iterator<Item = [u8; 32]> {
    let mut full: Vec<(usize, [u8; 32])> = Vec::new();
    leaves.iter().filter_map(move |leaf| {
        let mut subtree = (1, merkle::root(std::slice::from_ref(leaf)));
        while let Some((size, left)) = full.pop_if(|(size, _)| *size == subtree.0) {
            subtree = (size.saturating_mul(2), node_hash(&left, &subtree.1));
        }
        full.push(subtree);
        let from_the_right = full.iter().rev().map(|(_, root)| *root);
        from_the_right.reduce(|right, left| node_hash(&left, &right))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::receipt::receipts_root;

    #[test]
    fn every_prefix_has_the_root_that_the_whole_tree_gives_it() {
        let leaves: Vec<Leaf> = (0..70).map(|byte| [byte; 32]).collect();
        let roots: Vec<_> = prefix_roots(&leaves).collect();
        assert_eq!(roots.len(), leaves.len());
        for (at, root) in roots.iter().enumerate() {
            let prefix: Vec<_> = leaves[..=at].iter().copied().map(ReceiptDigest).collect();
            assert_eq!(ReceiptsRoot(*root), receipts_root(&prefix), "{at}");
        }
    }
}
