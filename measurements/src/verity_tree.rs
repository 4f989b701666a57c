//! The dm-verity hash tree over a file: format version 1, SHA-256, 4096-byte blocks, salted.
//!
//! Kernel documentation, `admin-guide/device-mapper/verity.rst`: a block's hash is
//! SHA-256(salt || block); hashes fill blocks, level by level, until one block is left, whose hash
//! is the root. Only the root is computed here: image builds write the tree with veritysetup, and
//! the two must agree.

use std::io::{self, Read};

use protocol::verity::{BLOCK_BYTES, VerityParameters};
use sha2::{Digest as _, Sha256};

const BLOCK: usize = 4096;
const HASHES_PER_BLOCK: usize = BLOCK / 32;
const SALT_DOMAIN: &[u8] = b"cocoon/verity-salt/v1\0";

/// The salt of an artifact: derived from its name, so that builds are reproducible.
#[must_use]
pub fn salt(name: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(SALT_DOMAIN)
        .chain_update(name)
        .finalize()
        .into()
}

/// Parameters of a file whose tree would follow it on the same device; the last block is padded
/// with zeros.
///
/// # Errors
/// Those of the reader; an empty file is refused as invalid data.
pub fn parameters(mut file: impl Read, salt: [u8; 32]) -> io::Result<VerityParameters> {
    debug_assert_eq!(u32::try_from(BLOCK), Ok(BLOCK_BYTES));
    let mut level = Vec::new();
    let mut block = [0u8; BLOCK];
    while fill(&mut file, &mut block)? > 0 {
        level.push(hash(&salt, &block));
    }
    let data_blocks = u64::try_from(level.len()).unwrap_or(u64::MAX);
    while level.len() > 1 {
        level = level
            .chunks(HASHES_PER_BLOCK)
            .map(|hashes| hash(&salt, &packed(hashes)))
            .collect();
    }
    let [root] = level.as_slice() else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    Ok(VerityParameters {
        data_blocks,
        hash_start_block: data_blocks,
        salt,
        root: *root,
    })
}

fn hash(salt: &[u8; 32], block: &[u8; BLOCK]) -> [u8; 32] {
    Sha256::new()
        .chain_update(salt)
        .chain_update(block)
        .finalize()
        .into()
}

/// Hashes side by side in one block, the rest zero.
fn packed(hashes: &[[u8; 32]]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for (to, from) in block.chunks_exact_mut(32).zip(hashes) {
        to.copy_from_slice(from);
    }
    block
}

/// Reads one block; the rest of a short last block is zero. Returns the bytes read.
fn fill(file: &mut impl Read, block: &mut [u8; BLOCK]) -> io::Result<usize> {
    block.fill(0);
    let mut filled = 0usize;
    while let Some(room) = block.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_covers_every_byte_the_salt_and_the_length() {
        let file: Vec<u8> = (0..BLOCK * 300)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        let good = parameters(file.as_slice(), [1; 32]).unwrap();
        assert_eq!(good.data_blocks, 300);
        // `veritysetup format --no-superblock --hash=sha256` (cryptsetup 2.6.1) says the same.
        let text = good.to_string();
        let expected = "679a77c3d8a122799970b9acc4acaeaea22cde9692454bdb18bb3ef5d5330857";
        assert!(text.ends_with(expected), "{text}");
        let mut other = file.clone();
        other[BLOCK * 299] ^= 1;
        assert_ne!(
            parameters(other.as_slice(), [1; 32]).unwrap().root,
            good.root
        );
        assert_ne!(
            parameters(file.as_slice(), [2; 32]).unwrap().root,
            good.root
        );
        let shorter = &file[..file.len() - BLOCK];
        assert_ne!(parameters(shorter, [1; 32]).unwrap().root, good.root);
        assert!(parameters(&[][..], [1; 32]).is_err());
    }
}
