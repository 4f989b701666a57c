//! The Merkle tree of RFC 6962 §2.1 over SHA-256: roots, paths and their verification (the
//! algorithms of RFC 9162 §2.1.3.2 and §2.1.4.2).
//!
//! Not here: what a leaf says (`record`), and who signs a root (`checkpoint`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// Hashes in a path, at most: a tree of 2^63 leaves has no longer one.
pub const MAX_PATH: usize = 63;

/// Hash of a leaf, of an inner node or of a whole tree: RFC 6962 gives leaves and nodes different
/// prefixes, and a tree of one leaf has the leaf's hash as its root.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeHash(pub [u8; 32]);

impl std::fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        protocol::digest::write_hex(&self.0, f)
    }
}

impl TreeHash {
    /// Standard base64, as checkpoints and proofs carry it.
    #[must_use]
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads standard base64 of exactly 32 bytes.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        // Longer text is refused before it is decoded.
        if text.len() != 44 {
            return None;
        }
        let bytes = STANDARD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

/// A path does not lead where it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The tree has no such leaf.
    #[error("the tree of {size} leaves has no leaf {index}")]
    OutOfTree {
        /// The leaf.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A tree does not shrink.
    #[error("the tree shrank from {old} to {new} leaves")]
    Shrunk {
        /// Size before.
        old: u64,
        /// Size after.
        new: u64,
    },
    /// The path has another length than these sizes ask for.
    #[error("the path has the wrong length")]
    Length,
    /// The path leads to another root.
    #[error("the path leads to another root")]
    OtherRoot,
}

/// Hash of a leaf with this content.
#[must_use]
pub fn leaf_hash(content: &[u8]) -> TreeHash {
    let hash = Sha256::new().chain_update([0]).chain_update(content);
    TreeHash(hash.finalize().into())
}

fn node_hash(left: TreeHash, right: TreeHash) -> TreeHash {
    let hash = Sha256::new().chain_update([1]).chain_update(left.0);
    TreeHash(hash.chain_update(right.0).finalize().into())
}

/// Root of the tree over these leaves.
#[must_use]
pub fn root(leaves: &[TreeHash]) -> TreeHash {
    match leaves {
        [] => TreeHash(Sha256::digest([]).into()),
        [leaf] => *leaf,
        more => {
            let (left, right) = split(more);
            node_hash(root(left), root(right))
        }
    }
}

/// At the largest power of two below the length, which is at least 2.
fn split(leaves: &[TreeHash]) -> (&[TreeHash], &[TreeHash]) {
    let half = leaves.len().div_ceil(2).next_power_of_two();
    leaves.split_at_checked(half).unwrap_or((leaves, &[]))
}

/// The path from a leaf to the root, the leaf's sibling first. `None` when there is no such leaf.
#[must_use]
pub fn inclusion_path(leaves: &[TreeHash], index: usize) -> Option<Vec<TreeHash>> {
    if index >= leaves.len() {
        return None;
    }
    if leaves.len() == 1 {
        return Some(Vec::new());
    }
    let (left, right) = split(leaves);
    let (mut path, sibling) = match index.checked_sub(left.len()) {
        None => (inclusion_path(left, index)?, right),
        Some(index) => (inclusion_path(right, index)?, left),
    };
    path.push(root(sibling));
    Some(path)
}

/// The path that shows that the tree over the first `old` leaves was extended to this one. `None`
/// when the tree is smaller than that.
#[must_use]
pub fn consistency_path(leaves: &[TreeHash], old: usize) -> Option<Vec<TreeHash>> {
    if old > leaves.len() {
        return None;
    }
    if old == 0 || old == leaves.len() {
        return Some(Vec::new());
    }
    subproof(leaves, old, true)
}

/// SUBPROOF of RFC 6962 §2.1.2; `whole` while the old tree is a whole subtree that is known.
fn subproof(leaves: &[TreeHash], old: usize, whole: bool) -> Option<Vec<TreeHash>> {
    if old == leaves.len() {
        return Some(if whole {
            Vec::new()
        } else {
            vec![root(leaves)]
        });
    }
    let (left, right) = split(leaves);
    let (mut path, sibling) = match old.checked_sub(left.len()) {
        None | Some(0) => (subproof(left, old, whole)?, right),
        Some(rest) => (subproof(right, rest, false)?, left),
    };
    path.push(root(sibling));
    Some(path)
}

/// Where a path stands: the node's number on its level and the level's last number.
#[derive(Clone, Copy)]
struct Climb {
    node: u64,
    last: u64,
}

/// On which side the path's next hash stands.
enum Side {
    Left,
    Right,
}

impl Climb {
    /// One hash of the path taken. `None` when the path is longer than the tree is high.
    const fn step(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = if self.node & 1 == 1 || self.node == self.last {
            while self.node & 1 == 0 && self.node != 0 {
                self.up();
            }
            Side::Left
        } else {
            Side::Right
        };
        self.up();
        Some(side)
    }

    const fn up(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }
}

/// Checks that the leaf with this hash is number `index` of the tree of `size` leaves with `root`.
///
/// # Errors
/// See [`PathError`].
pub fn verify_inclusion(
    leaf: TreeHash,
    index: u64,
    size: u64,
    path: &[TreeHash],
    root: TreeHash,
) -> Result<(), PathError> {
    let last = size
        .checked_sub(1)
        .filter(|last| index <= *last)
        .ok_or(PathError::OutOfTree { index, size })?;
    let mut climb = Climb { node: index, last };
    let mut hash = leaf;
    for sibling in path {
        hash = match climb.step().ok_or(PathError::Length)? {
            Side::Left => node_hash(*sibling, hash),
            Side::Right => node_hash(hash, *sibling),
        };
    }
    if climb.last != 0 {
        return Err(PathError::Length);
    }
    if hash == root {
        Ok(())
    } else {
        Err(PathError::OtherRoot)
    }
}

/// Checks that the tree of `new` leaves extends the tree of `old` leaves: nothing was changed or
/// taken out.
///
/// # Errors
/// See [`PathError`].
pub fn verify_consistency(
    (old, old_root): (u64, TreeHash),
    (new, new_root): (u64, TreeHash),
    path: &[TreeHash],
) -> Result<(), PathError> {
    if old > new {
        return Err(PathError::Shrunk { old, new });
    }
    let known = if old == 0 { root(&[]) } else { new_root };
    if old == 0 || old == new {
        if !path.is_empty() {
            return Err(PathError::Length);
        }
        return if old_root == known {
            Ok(())
        } else {
            Err(PathError::OtherRoot)
        };
    }
    let mut climb = Climb {
        node: old.saturating_sub(1),
        last: new.saturating_sub(1),
    };
    while climb.node & 1 == 1 {
        climb.up();
    }
    // A whole subtree is not repeated in the path: its root is known.
    let (first, rest) = if old.is_power_of_two() {
        (&old_root, path)
    } else {
        path.split_first().ok_or(PathError::Length)?
    };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        match climb.step().ok_or(PathError::Length)? {
            Side::Left => {
                old_hash = node_hash(*sibling, old_hash);
                new_hash = node_hash(*sibling, new_hash);
            }
            Side::Right => new_hash = node_hash(new_hash, *sibling),
        }
    }
    if climb.last != 0 {
        return Err(PathError::Length);
    }
    if old_hash == old_root && new_hash == new_root {
        Ok(())
    } else {
        Err(PathError::OtherRoot)
    }
}
