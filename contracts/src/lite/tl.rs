//! TL: little-endian integers, bytes with a length before and padding to four after, vectors with a
//! count. Bounded: no length is believed beyond what is there.

use crate::proof::{BlockId, FileHash, RootHash};

/// Bytes that are not the expected TL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Ends too early.
    #[error("answer ends too early")]
    Truncated,
    /// Something is left.
    #[error("answer has bytes left over")]
    Trailing,
    /// Another constructor than expected, or one that is not supported.
    #[error("answer of constructor {0:#010x}")]
    Constructor(u32),
    /// More elements than any valid answer has.
    #[error("{count} elements; at most {limit} are taken")]
    TooMany {
        /// How many.
        count: u32,
        /// The limit.
        limit: usize,
    },
    /// A signature that is not 64 bytes long.
    #[error("signature of another length")]
    SignatureLength,
    /// A step to an earlier block: clients here start at key blocks and never need one.
    #[error("proof has a link backward, which is not supported")]
    BackwardLink,
}

impl WireError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "lite-truncated",
            Self::Trailing => "lite-trailing",
            Self::Constructor(_) => "lite-constructor",
            Self::TooMany { .. } => "lite-too-many",
            Self::SignatureLength => "lite-signature-length",
            Self::BackwardLink => "lite-backward-link",
        }
    }
}

const TRUE: u32 = 0x9972_75b5;
const FALSE: u32 = 0xbc79_9737;
/// The first byte of a longer length, in the three bytes after it.
const LONG: u8 = 254;

/// Reads from the front.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, WireError> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn expect(&mut self, constructor: u32) -> Result<(), WireError> {
        match self.u32()? {
            found if found == constructor => Ok(()),
            found => Err(WireError::Constructor(found)),
        }
    }

    pub(super) fn bool(&mut self) -> Result<bool, WireError> {
        match self.u32()? {
            TRUE => Ok(true),
            FALSE => Ok(false),
            found => Err(WireError::Constructor(found)),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let [first] = self.array()?;
        let (length, before) = match first {
            0xff => return Err(WireError::Truncated),
            LONG => {
                let [a, b, c] = self.array()?;
                (u32::from_le_bytes([a, b, c, 0]), 4_usize)
            }
            short => (u32::from(short), 1),
        };
        let length = usize::try_from(length).map_err(|_| WireError::Truncated)?;
        let taken = self.take(length)?;
        let over = before.saturating_add(length) % 4;
        if over != 0 {
            self.take(4_usize.saturating_sub(over))?;
        }
        Ok(taken)
    }

    pub(super) fn count(&mut self, limit: usize) -> Result<usize, WireError> {
        let count = self.u32()?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= limit)
            .ok_or(WireError::TooMany { count, limit })
    }

    /// `tonNode.blockIdExt`.
    pub(super) fn block(&mut self) -> Result<BlockId, WireError> {
        Ok(BlockId {
            workchain: self.i32()?,
            shard: self.array().map(u64::from_le_bytes)?,
            seqno: self.u32()?,
            root: RootHash(self.array()?),
            file: FileHash(self.array()?),
        })
    }

    pub(super) const fn finish(&self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing)
        }
    }
}

/// Writes one question.
#[derive(Debug, Default)]
pub(super) struct Writer {
    written: Vec<u8>,
}

impl Writer {
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.written.extend(bytes);
        self
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// At most 16 MiB, which no frame has.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        match u8::try_from(bytes.len()) {
            Ok(short) if short < LONG => self.raw(&[short]),
            _ => {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let [a, b, c, _] = length.to_le_bytes();
                self.raw(&[LONG, a, b, c])
            }
        };
        self.raw(bytes);
        while !self.written.len().is_multiple_of(4) {
            self.written.push(0);
        }
        self
    }

    /// `tonNode.blockIdExt`.
    pub(super) fn block(&mut self, block: &BlockId) -> &mut Self {
        self.raw(&block.workchain.to_le_bytes());
        self.raw(&block.shard.to_le_bytes()).u32(block.seqno);
        self.raw(&block.root.0).raw(&block.file.0)
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_carry_their_length_and_end_on_a_multiple_of_four() {
        let mut reader = Reader::new(&[3, b'a', b'b', b'c', 1, b'd', 0, 0]);
        assert_eq!(reader.bytes().unwrap(), b"abc");
        assert_eq!(reader.bytes().unwrap(), b"d");
        reader.finish().unwrap();
        let mut long = vec![LONG, 0, 1, 0];
        long.extend([7; 256]);
        let mut reader = Reader::new(&long);
        assert_eq!(reader.bytes().unwrap(), [7; 256]);
        reader.finish().unwrap();
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 3, 253, 254, 255, 70_000] {
            let bytes = vec![5; length];
            let mut writer = Writer::default();
            writer.bytes(&bytes).u32(7);
            let written = writer.finish();
            let mut reader = Reader::new(&written);
            assert_eq!(reader.bytes().unwrap(), bytes);
            assert_eq!(reader.u32(), Ok(7));
            reader.finish().unwrap();
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        for bytes in [
            &[4, b'a', b'b', b'c'][..],
            &[1, b'a'][..],
            &[LONG, 255, 255, 255, 0][..],
            &[255, 0, 0, 0][..],
            &[][..],
        ] {
            assert_eq!(Reader::new(bytes).bytes(), Err(WireError::Truncated));
        }
        assert_eq!(
            Reader::new(&[255; 4]).count(5),
            Err(WireError::TooMany {
                count: u32::MAX,
                limit: 5
            })
        );
    }
}
