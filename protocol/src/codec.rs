//! Reading and writing fixed-order, little-endian bytes: the only byte parser of this crate.
//!
//! A `Reader` never allocates more than the caller's limit and never reads past its input; every
//! length from the wire is compared with a limit before it is used. Text formats (the launch
//! configuration, reference values) are JSON and do not come here.

use alloc::vec::Vec;

/// Why bytes were refused. The position is an offset into the item that was being decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ended inside a field.
    #[error("input ends inside a field at byte {at}")]
    Truncated {
        /// Offset of the field's first byte.
        at: usize,
    },
    /// A length exceeds the limit that the specification sets for its field.
    #[error("length {found} of `{field}` exceeds {limit}")]
    TooLong {
        /// Name of the field in the specification.
        field: &'static str,
        /// The length on the wire.
        found: u64,
        /// The largest allowed length.
        limit: usize,
    },
    /// Bytes are left over after the last field.
    #[error("trailing bytes from byte {at}")]
    Trailing {
        /// Offset of the first surplus byte.
        at: usize,
    },
    /// A field holds a value that the specification does not list.
    #[error("`{field}` holds a value outside its range")]
    OutOfRange {
        /// Name of the field in the specification.
        field: &'static str,
    },
}

impl DecodeError {
    /// The stable code of this refusal, as listed in `docs/spec`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "decode-truncated",
            Self::TooLong { .. } => "decode-too-long",
            Self::Trailing { .. } => "decode-trailing",
            Self::OutOfRange { .. } => "decode-out-of-range",
        }
    }
}

/// A cursor over untrusted bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts reading at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// `Truncated` when fewer than `N` bytes are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated { at: self.at })?;
        self.rest = rest;
        self.at = self.at.saturating_add(N);
        Ok(*head)
    }

    /// The next `length` bytes, borrowed.
    ///
    /// # Errors
    /// `Truncated` when fewer are left.
    pub fn slice(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated { at: self.at })?;
        self.rest = rest;
        self.at = self.at.saturating_add(length);
        Ok(head)
    }

    /// One byte.
    ///
    /// # Errors
    /// `Truncated` at the end of the input.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A little-endian `u16`.
    ///
    /// # Errors
    /// `Truncated` when fewer than 2 bytes are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// A little-endian `u32`.
    ///
    /// # Errors
    /// `Truncated` when fewer than 4 bytes are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A little-endian `u64`.
    ///
    /// # Errors
    /// `Truncated` when fewer than 8 bytes are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A little-endian `u128`.
    ///
    /// # Errors
    /// `Truncated` when fewer than 16 bytes are left.
    pub fn u128(&mut self) -> Result<u128, DecodeError> {
        self.array().map(u128::from_le_bytes)
    }

    /// A `u32` length, compared with `limit`, and that many bytes.
    ///
    /// # Errors
    /// `TooLong` when the length exceeds `limit`, `Truncated` when the bytes are not there.
    pub fn blob(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], DecodeError> {
        let length = self.u32()?;
        let too_long = DecodeError::TooLong {
            field,
            found: u64::from(length),
            limit,
        };
        let length = usize::try_from(length).map_err(|_| too_long)?;
        if length > limit {
            return Err(too_long);
        }
        self.slice(length)
    }

    /// A `u8` count, compared with `limit`.
    ///
    /// # Errors
    /// `TooLong` when the count exceeds `limit`.
    pub fn count(&mut self, field: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let count = self.u8()?;
        if usize::from(count) > limit {
            return Err(DecodeError::TooLong {
                field,
                found: u64::from(count),
                limit,
            });
        }
        Ok(usize::from(count))
    }

    /// Checks a constant at the start of an item.
    ///
    /// # Errors
    /// `OutOfRange` when the bytes differ from `expected`.
    pub fn magic<const N: usize>(&mut self, expected: &[u8; N]) -> Result<(), DecodeError> {
        if self.array::<N>()? == *expected {
            Ok(())
        } else {
            Err(DecodeError::OutOfRange { field: "magic" })
        }
    }

    /// Whether every byte that is left, perhaps none, is `filling`.
    #[must_use]
    pub fn is_filled_with(&self, filling: u8) -> bool {
        self.rest.iter().all(|byte| *byte == filling)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// `Trailing` when bytes are left.
    pub const fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing { at: self.at })
        }
    }
}

/// Builds an item; the inverse of [`Reader`].
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty item.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// Appends a little-endian `u16`.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Appends a little-endian `u32`.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Appends a little-endian `u64`.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Appends a little-endian `u128`.
    pub fn u128(&mut self, value: u128) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Appends a `u32` length and the bytes.
    ///
    /// Lengths come from types whose constructors are bounded far below `u32::MAX`; a longer
    /// slice is cut off at the length that the reader will see, which the reader then refuses.
    pub fn blob(&mut self, bytes: &[u8]) -> &mut Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.u32(length).raw(bytes)
    }

    /// Appends a `u8` count; more than 255 items saturate, which the reader refuses.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.u8(u8::try_from(count).unwrap_or(u8::MAX))
    }

    /// The finished bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_length_above_the_limit_before_it_looks_for_the_bytes() {
        let mut bytes = Writer::new();
        bytes.u32(1 << 31);
        let bytes = bytes.finish();
        let refused = Reader::new(&bytes).blob("report", 16);
        assert_eq!(
            refused,
            Err(DecodeError::TooLong {
                field: "report",
                found: 1 << 31,
                limit: 16
            })
        );
    }

    #[test]
    fn every_prefix_of_a_blob_is_truncated() {
        let mut bytes = Writer::new();
        bytes.blob(b"12345");
        let bytes = bytes.finish();
        for end in 0..bytes.len() {
            let refused = Reader::new(&bytes[..end]).blob("x", 16);
            assert!(
                matches!(refused, Err(DecodeError::Truncated { .. })),
                "prefix of {end}"
            );
        }
    }

    #[test]
    fn left_over_bytes_are_refused_with_their_position() {
        let mut reader = Reader::new(&[1, 2, 3]);
        reader.u16().unwrap();
        assert_eq!(reader.finish(), Err(DecodeError::Trailing { at: 2 }));
    }
}
