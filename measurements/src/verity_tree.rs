//! The dm-verity hash tree over a file: format version 1, SHA-256, 4096-byte blocks, salted.
//!
//! Kernel documentation, `admin-guide/device-mapper/verity.rst`: a block's hash is
//! SHA-256(salt || block); hashes fill blocks, level by level, until one block is left, whose hash
//! is the root. The tree is made while the data passes, one block of each level in memory;
//! veritysetup, with which the root image is built, says the same.

use std::io::{self, Read};

use protocol::verity::{BLOCK_BYTES, VerityParameters};
use sha2::{Digest as _, Sha256};

/// Data and hash blocks are this long.
pub const BLOCK: usize = 4096;
const HASH: usize = 32;
const HASHES_PER_BLOCK: u64 = 128;
const SALT_DOMAIN: &str = "cocoon/verity-salt/v1/";

/// A block of data or of hashes.
pub type Block = [u8; BLOCK];

/// The salt of an artifact (`root`, `model-<name>`): derived from its name, so that builds are
/// reproducible. Its first 16 bytes are the file system's UUID.
#[must_use]
pub fn salt(artifact: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(SALT_DOMAIN)
        .chain_update(artifact)
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
    let mut tree = Tree::new(salt);
    let mut block = [0u8; BLOCK];
    let mut drop_it = |_: HashBlock, _: &Block| Ok(());
    while fill(&mut file, &mut block)? > 0 {
        tree.push(&block, &mut drop_it)?;
    }
    tree.finish(&mut drop_it)
}

/// Which block of a tree: level 0 hashes the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashBlock {
    level: usize,
    index: u64,
}

/// Where the blocks of a tree over so many data blocks lie: the topmost level first.
#[derive(Debug, Clone)]
pub struct Geometry {
    /// First block of each level, level 0 first.
    starts: Vec<u64>,
    /// The first block behind the tree.
    end: u64,
}

impl Geometry {
    /// The tree that follows `data_blocks` blocks of data.
    #[must_use]
    pub fn behind(data_blocks: u64) -> Self {
        let mut counts = Vec::new();
        let mut below = data_blocks;
        while below > 1 {
            below = below.div_ceil(HASHES_PER_BLOCK);
            counts.push(below);
        }
        let mut end = data_blocks;
        let mut starts = Vec::with_capacity(counts.len());
        for count in counts.iter().rev() {
            starts.push(end);
            end = end.saturating_add(*count);
        }
        starts.reverse();
        Self { starts, end }
    }

    /// Number of the block on the device.
    #[must_use]
    pub fn place(&self, block: HashBlock) -> Option<u64> {
        let start = self.starts.get(block.level)?;
        start.checked_add(block.index)
    }

    /// Blocks of data and tree together.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }
}

/// A tree that grows with the data; it keeps one block of each level.
#[derive(Debug)]
pub struct Tree {
    salt: [u8; 32],
    salted: Sha256,
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    waiting: Box<Block>,
    /// Hashes of this level so far.
    hashes: u64,
}

impl Level {
    fn put(&mut self, hash: &[u8; HASH]) {
        let slot = usize::try_from(self.hashes % HASHES_PER_BLOCK).unwrap_or_default();
        if let Some(to) = self.waiting.chunks_exact_mut(HASH).nth(slot) {
            to.copy_from_slice(hash);
        }
        self.hashes = self.hashes.saturating_add(1);
    }

    const fn is_full(&self) -> bool {
        self.hashes.is_multiple_of(HASHES_PER_BLOCK)
    }
}

/// Takes finished blocks of hashes.
pub trait Sink: FnMut(HashBlock, &Block) -> io::Result<()> {}
impl<F: FnMut(HashBlock, &Block) -> io::Result<()>> Sink for F {}

impl Tree {
    /// A tree over nothing yet.
    #[must_use]
    pub fn new(salt: [u8; 32]) -> Self {
        Self {
            salt,
            salted: Sha256::new().chain_update(salt),
            levels: Vec::new(),
        }
    }

    /// Takes the next block of data.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn push(&mut self, block: &Block, sink: &mut impl Sink) -> io::Result<()> {
        let hash = self.hash(block);
        self.rise(0, hash, sink)
    }

    /// Finishes the levels.
    ///
    /// # Errors
    /// Those of the sink; no data is invalid data.
    pub fn finish(mut self, sink: &mut impl Sink) -> io::Result<VerityParameters> {
        let nothing = || io::Error::from(io::ErrorKind::InvalidData);
        let data_blocks = self.levels.first().ok_or_else(nothing)?.hashes;
        let mut at = 0usize;
        let root = loop {
            let level = self.levels.get(at).ok_or_else(nothing)?;
            if level.hashes == 1 {
                break *level.waiting.first_chunk::<HASH>().ok_or_else(nothing)?;
            }
            let is_full = level.is_full();
            let above = at.saturating_add(1);
            if !is_full {
                let hash = self.write(at, sink)?;
                self.rise(above, hash, sink)?;
            }
            at = above;
        };
        Ok(VerityParameters {
            data_blocks,
            hash_start_block: data_blocks,
            salt: self.salt,
            root,
        })
    }

    /// Puts a hash into its level; a block that is full is written and hashed into the next.
    fn rise(&mut self, from: usize, hash: [u8; HASH], sink: &mut impl Sink) -> io::Result<()> {
        let (mut at, mut hash) = (from, hash);
        loop {
            if at == self.levels.len() {
                self.levels.push(Level {
                    waiting: Box::new([0; BLOCK]),
                    hashes: 0,
                });
            }
            let Some(level) = self.levels.get_mut(at) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            level.put(&hash);
            if !level.is_full() {
                return Ok(());
            }
            hash = self.write(at, sink)?;
            at = at.saturating_add(1);
        }
    }

    /// Hands the level's waiting block over; its hash.
    fn write(&mut self, level: usize, sink: &mut impl Sink) -> io::Result<[u8; HASH]> {
        let salted = self.salted.clone();
        let Some(held) = self.levels.get_mut(level) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let index = held.hashes.saturating_sub(1).div_euclid(HASHES_PER_BLOCK);
        sink(HashBlock { level, index }, &held.waiting)?;
        let hash = salted.chain_update(held.waiting.as_slice()).finalize();
        held.waiting.fill(0);
        Ok(hash.into())
    }

    fn hash(&self, block: &Block) -> [u8; HASH] {
        self.salted.clone().chain_update(block).finalize().into()
    }
}

/// Reads one block; the rest of a short last block is zero. Returns the bytes read.
pub(crate) fn fill(file: &mut impl Read, block: &mut Block) -> io::Result<usize> {
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

    /// Every level kept, hashed again from below: the plain definition.
    fn tree_by_definition(data: &[u8], salt: [u8; 32]) -> (Vec<u8>, [u8; 32]) {
        let hash = |block: &[u8]| {
            Sha256::new()
                .chain_update(salt)
                .chain_update(block)
                .finalize()
        };
        let mut below: Vec<u8> = data.to_vec();
        let mut levels = Vec::new();
        while below.len() > BLOCK {
            let mut level: Vec<u8> = below.chunks(BLOCK).flat_map(hash).collect();
            level.resize(level.len().next_multiple_of(BLOCK), 0);
            levels.insert(0, level.clone());
            below = level;
        }
        (levels.concat(), hash(&below).into())
    }

    #[test]
    fn the_written_tree_is_the_defined_one_for_every_number_of_levels() {
        for blocks in [1, 2, 127, 128, 129, 300, 128 * 128, 128 * 128 + 1] {
            let data: Vec<u8> = (0..blocks * BLOCK)
                .map(|i| u8::try_from(i / 7 % 253).unwrap())
                .collect();
            let geometry = Geometry::behind(u64::try_from(blocks).unwrap());
            let end = usize::try_from(geometry.end()).unwrap();
            let mut written = vec![0; (end - blocks) * BLOCK];
            let mut sink = |place: HashBlock, block: &Block| {
                let at = usize::try_from(geometry.place(place).unwrap()).unwrap() - blocks;
                written[at * BLOCK..(at + 1) * BLOCK].copy_from_slice(block);
                Ok(())
            };
            let mut tree = Tree::new([3; 32]);
            for block in data.chunks_exact(BLOCK) {
                tree.push(block.try_into().unwrap(), &mut sink).unwrap();
            }
            let found = tree.finish(&mut sink).unwrap();
            let (expected, root) = tree_by_definition(&data, [3; 32]);
            assert_eq!(found.root, root, "{blocks} blocks");
            assert!(written == expected, "{blocks} blocks");
        }
    }
}
