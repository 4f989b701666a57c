//! Merkle trees as in RFC 6962 §2.1, over leaves that already are digests under a domain.
//!
//! A leaf's hash is SHA-256(0x00 || leaf), a node's SHA-256(0x01 || left || right); the left
//! subtree holds the largest power of two of leaves that is smaller than the whole. The tree of
//! no leaves has the zero root here: "no receipt yet".

use alloc::vec::Vec;
use sha2::{Digest as _, Sha256};

/// A leaf: a digest that was made under a domain of its own.
pub type Leaf = [u8; 32];

/// Longest inclusion path that is accepted: 2^20 leaves.
pub const MAX_PATH: usize = 20;

/// The root over `leaves`; zeros for an empty list.
#[must_use]
pub fn root(leaves: &[Leaf]) -> [u8; 32] {
    match leaves {
        [] => [0; 32],
        [only] => leaf_hash(only),
        more => {
            let (left, right) = more.split_at(split(more.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// Inclusion path of the leaf at `index`, from the leaf to the root; `None` outside the tree.
#[must_use]
pub fn path(leaves: &[Leaf], index: usize) -> Option<Vec<[u8; 32]>> {
    if index >= leaves.len() {
        return None;
    }
    if leaves.len() == 1 {
        return Some(Vec::new());
    }
    let at = split(leaves.len());
    let (left, right) = leaves.split_at(at);
    let (mut inner, sibling) = if index < at {
        (path(left, index)?, root(right))
    } else {
        (path(right, index.saturating_sub(at))?, root(left))
    };
    inner.push(sibling);
    Some(inner)
}

/// The root that `leaf`, as number `index` of `count`, has through `path`.
///
/// `None` when index, count and the length of the path do not fit each other.
#[must_use]
pub fn root_through(leaf: &Leaf, index: u32, count: u32, path: &[[u8; 32]]) -> Option<[u8; 32]> {
    if index >= count || path.len() > MAX_PATH {
        return None;
    }
    // RFC 9162 §2.1.3.2: walk up while the last node of a level may lack a sibling.
    let (mut node, mut last) = (index, count.checked_sub(1)?);
    let mut hash = leaf_hash(leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

fn leaf_hash(leaf: &Leaf) -> [u8; 32] {
    Sha256::new()
        .chain_update([0])
        .chain_update(leaf)
        .finalize()
        .into()
}

/// The hash of the node above two.
#[must_use]
pub fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: usize) -> usize {
    count.next_power_of_two() >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<Leaf> {
        (0..count).map(|i| [i; 32]).collect()
    }

    #[test]
    fn every_leaf_of_every_small_tree_reaches_the_root_through_its_own_path_only() {
        for count in 1..40u8 {
            let leaves = leaves(count);
            let expected = root(&leaves);
            for index in 0..count {
                let path = path(&leaves, usize::from(index)).unwrap();
                let through = |i: u8, p: &[[u8; 32]]| {
                    root_through(&[i; 32], u32::from(i), u32::from(count), p)
                };
                assert_eq!(through(index, &path), Some(expected), "{index} of {count}");
                let other = (index + 1) % count;
                if count > 1 {
                    assert_ne!(through(other, &path), Some(expected), "{other} of {count}");
                }
                let mut longer = path.clone();
                longer.push([0; 32]);
                assert_eq!(through(index, &longer), None);
            }
        }
    }

    #[test]
    fn an_index_outside_the_tree_has_no_path_and_no_root() {
        assert_eq!(path(&leaves(3), 3), None);
        assert_eq!(root_through(&[0; 32], 3, 3, &[]), None);
        assert_eq!(root_through(&[0; 32], 0, 0, &[]), None);
    }
}
