//! What names a block: its place in the chain and two hashes.

use core::fmt;
use core::str::FromStr;

use protocol::digest::{parse_hex, write_hex};

/// Representation hash of a block's root cell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RootHash(pub [u8; 32]);

/// SHA-256 of a block as validators exchange it. No Merkle proof reaches it; signatures do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileHash(pub [u8; 32]);

/// A block of a shard or of the masterchain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockId {
    /// -1 for the masterchain.
    pub workchain: i32,
    /// The shard's prefix with the bit after it set.
    pub shard: u64,
    /// Its height.
    pub seqno: u32,
    /// Hash of its root cell.
    pub root: RootHash,
    /// Hash of its bytes.
    pub file: FileHash,
}

/// Text that is not `seqno:root:file`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a masterchain block as `seqno:root hash:file hash`, hashes as 64 hex digits")]
pub struct BlockIdError;

impl BlockId {
    /// The masterchain's workchain.
    pub const MASTERCHAIN: i32 = -1;
    /// The shard that is a whole workchain.
    pub const WHOLE: u64 = 1 << 63;

    /// A block of the masterchain.
    #[must_use]
    pub const fn masterchain(seqno: u32, root: RootHash, file: FileHash) -> Self {
        Self {
            workchain: Self::MASTERCHAIN,
            shard: Self::WHOLE,
            seqno,
            root,
            file,
        }
    }

    /// Whether it is of the masterchain.
    #[must_use]
    pub const fn is_masterchain(&self) -> bool {
        self.workchain == Self::MASTERCHAIN && self.shard == Self::WHOLE
    }
}

/// Of a masterchain block: `seqno:root hash:file hash`, hashes in lower-case hex.
impl FromStr for BlockId {
    type Err = BlockIdError;

    fn from_str(text: &str) -> Result<Self, BlockIdError> {
        let (seqno, hashes) = text.split_once(':').ok_or(BlockIdError)?;
        let (root, file) = hashes.split_once(':').ok_or(BlockIdError)?;
        let number: u32 = seqno.parse().map_err(|_| BlockIdError)?;
        // One text for one block: no sign, no leading zero.
        if number.to_string() != seqno {
            return Err(BlockIdError);
        }
        Ok(Self::masterchain(
            number,
            RootHash(parse_hex(root).map_err(|_| BlockIdError)?),
            FileHash(parse_hex(file).map_err(|_| BlockIdError)?),
        ))
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_masterchain() {
            write!(f, "({},{:016x})", self.workchain, self.shard)?;
        }
        write!(f, "{}:{:?}:{:?}", self.seqno, self.root, self.file)
    }
}

impl fmt::Debug for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_the_masterchain_has_one_text() {
        let text = format!("46894135:{}:{}", "30".repeat(32), "bb".repeat(32));
        let block: BlockId = text.parse().unwrap();
        assert!(block.is_masterchain());
        assert_eq!(block.seqno, 46_894_135);
        assert_eq!(block.to_string(), text);
        for other in [
            format!("+1:{}:{}", "30".repeat(32), "bb".repeat(32)),
            format!("01:{}:{}", "30".repeat(32), "bb".repeat(32)),
            format!("4294967296:{}:{}", "30".repeat(32), "bb".repeat(32)),
            format!("1:{}:{}", "30".repeat(31), "bb".repeat(32)),
            format!("1:{}", "30".repeat(32)),
            format!("1:{}:{}:", "30".repeat(32), "bb".repeat(32)),
            String::new(),
        ] {
            assert_eq!(other.parse::<BlockId>(), Err(BlockIdError), "{other}");
        }
    }
}
