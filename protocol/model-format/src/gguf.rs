//! The strict check of a GGUF header.
//!
//! Layout: `docs/gguf.md` of the ggml project: magic, version, tensor count, key count, keys with
//! values, tensor descriptions, padding to the alignment, data. Linear in the header's size, one
//! name set and one list of ranges in memory.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// What is read of a file at first; enough for most headers.
pub const FIRST_READ: u64 = 4 << 20;
/// Largest header that is taken.
pub const MAX_HEADER_BYTES: u64 = 32 << 20;

const MAGIC: [u8; 4] = *b"GGUF";
const MAX_KEYS: u64 = 4096;
const MAX_TENSORS: u64 = 65_536;
const MAX_NAME: u64 = 256;
const MAX_STRING: u64 = 1 << 20;
/// Elements of all arrays together: three arrays over a vocabulary of 262 144 fit.
const MAX_ELEMENTS: u64 = 1 << 20;
const MAX_DIMENSIONS: u64 = 4;
/// Elements of one tensor.
const MAX_VOLUME: u64 = 1 << 40;
const DEFAULT_ALIGNMENT: u64 = 32;
const ALIGNMENTS: core::ops::RangeInclusive<u64> = 8..=65_536;
const ALIGNMENT_KEY: &str = "general.alignment";

const TYPE_BOOL: u32 = 7;
const TYPE_STRING: u32 = 8;
const TYPE_ARRAY: u32 = 9;
const TYPE_U32: u32 = 4;

/// Why a header is refused. No text of the file is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file ends within what it announces.
    #[error("model file ends early: {need} bytes needed at {at}")]
    Truncated {
        /// Offset in the file.
        at: u64,
        /// Bytes needed there.
        need: u64,
    },
    /// The header is larger than any model's.
    #[error("model file header exceeds {limit} bytes")]
    HeaderTooLong {
        /// The limit.
        limit: u64,
    },
    /// Not a GGUF file.
    #[error("model file has another magic number")]
    Magic,
    /// A version of GGUF that is not read here.
    #[error("model file has format version {found}")]
    Version {
        /// The version.
        found: u32,
    },
    /// A count or a length exceeds its limit.
    #[error("model file has {found} {what}, limit {limit}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The count.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A string is not UTF-8 or holds a zero byte.
    #[error("model file has a malformed string at {at}")]
    Text {
        /// Offset in the file.
        at: u64,
    },
    /// A value or tensor type that is unknown or not taken at its place.
    #[error("model file has type {found} at {at}")]
    Type {
        /// Offset in the file.
        at: u64,
        /// The type's number.
        found: u32,
    },
    /// A key or a tensor name occurs twice.
    #[error("model file repeats a name at {at}")]
    Duplicate {
        /// Offset of the repetition.
        at: u64,
    },
    /// The alignment is no power of two within its range.
    #[error("model file has alignment {found}")]
    Alignment {
        /// The alignment.
        found: u64,
    },
    /// A tensor's dimensions are zero, too large, or do not fill whole blocks.
    #[error("model file has a tensor of impossible shape at {at}")]
    Shape {
        /// Offset of its description.
        at: u64,
    },
    /// A tensor's data is not aligned, lies outside the file, or overlaps another's.
    #[error("model file has a misplaced tensor")]
    Placement,
}

impl HeaderError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "gguf-truncated",
            Self::HeaderTooLong { .. } => "gguf-header-too-long",
            Self::Magic => "gguf-magic",
            Self::Version { .. } => "gguf-version",
            Self::TooMany { .. } => "gguf-too-many",
            Self::Text { .. } => "gguf-text",
            Self::Type { .. } => "gguf-type",
            Self::Duplicate { .. } => "gguf-duplicate",
            Self::Alignment { .. } => "gguf-alignment",
            Self::Shape { .. } => "gguf-shape",
            Self::Placement => "gguf-placement",
        }
    }
}

/// What a sound header says of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Version of the format.
    pub version: u32,
    /// Number of keys.
    pub keys: u64,
    /// Number of tensors.
    pub tensors: u64,
    /// First byte of the tensors' data.
    pub data_start: u64,
    /// End of the last tensor's data.
    pub data_end: u64,
}

/// Checks the header of a file of `file_size` bytes, of which `prefix` is the beginning. `None`
/// asks for a longer prefix, up to [`MAX_HEADER_BYTES`].
///
/// # Errors
/// A [`HeaderError`].
pub fn check(prefix: &[u8], file_size: u64) -> Result<Option<Header>, HeaderError> {
    let mut from = Cursor {
        bytes: prefix,
        at: 0,
    };
    match descriptions(&mut from) {
        Ok((header, ranges)) => place(header, ranges, file_size).map(Some),
        Err(HeaderError::Truncated { at, need }) => {
            let held = u64::try_from(prefix.len()).unwrap_or(u64::MAX);
            if held >= file_size {
                Err(HeaderError::Truncated { at, need })
            } else if held >= MAX_HEADER_BYTES {
                Err(HeaderError::HeaderTooLong {
                    limit: MAX_HEADER_BYTES,
                })
            } else {
                Ok(None)
            }
        }
        Err(refused) => Err(refused),
    }
}

/// Offset and size of each tensor's data.
type Ranges = Vec<(u64, u64)>;

fn descriptions(from: &mut Cursor<'_>) -> Result<(Header, Ranges), HeaderError> {
    if from.array::<4>()? != MAGIC {
        return Err(HeaderError::Magic);
    }
    let version = from.u32()?;
    if !matches!(version, 2 | 3) {
        return Err(HeaderError::Version { found: version });
    }
    let tensors = from.count("tensors", MAX_TENSORS)?;
    let keys = from.count("keys", MAX_KEYS)?;
    let alignment = check_keys(from, keys)?;
    let ranges = check_tensors(from, tensors, alignment)?;
    let data_start = from.at.next_multiple_of(alignment);
    let header = Header {
        version,
        keys,
        tensors,
        data_start,
        data_end: data_start,
    };
    Ok((header, ranges))
}

/// Holds each tensor's place against the others' and the file's end.
fn place(mut header: Header, mut ranges: Ranges, file_size: u64) -> Result<Header, HeaderError> {
    ranges.sort_unstable();
    for (offset, size) in ranges {
        let first = header.data_start.checked_add(offset);
        let first = first.ok_or(HeaderError::Placement)?;
        if first < header.data_end {
            return Err(HeaderError::Placement);
        }
        header.data_end = first.checked_add(size).ok_or(HeaderError::Placement)?;
        if header.data_end > file_size {
            return Err(HeaderError::Truncated {
                at: first,
                need: size,
            });
        }
    }
    // A file without tensors may end within the padding of its header.
    let missing = header.data_end.saturating_sub(file_size);
    if missing > 0 {
        return Err(HeaderError::Truncated {
            at: file_size,
            need: missing,
        });
    }
    Ok(header)
}

/// Walks over the keys; returns the alignment.
fn check_keys(from: &mut Cursor<'_>, keys: u64) -> Result<u64, HeaderError> {
    let mut seen = BTreeSet::new();
    let mut alignment = DEFAULT_ALIGNMENT;
    let mut elements = MAX_ELEMENTS;
    for _ in 0..keys {
        let at = from.at;
        let key = from.text(MAX_NAME)?;
        if !seen.insert(key) {
            return Err(HeaderError::Duplicate { at });
        }
        let kind = from.u32()?;
        if key == ALIGNMENT_KEY {
            if kind != TYPE_U32 {
                return Err(HeaderError::Type { at, found: kind });
            }
            alignment = u64::from(from.u32()?);
            if !alignment.is_power_of_two() || !ALIGNMENTS.contains(&alignment) {
                return Err(HeaderError::Alignment { found: alignment });
            }
        } else if kind == TYPE_ARRAY {
            let kind = from.u32()?;
            let count = from.count("array elements", elements)?;
            elements = elements.saturating_sub(count);
            for _ in 0..count {
                check_scalar(from, kind)?;
            }
        } else {
            check_scalar(from, kind)?;
        }
    }
    Ok(alignment)
}

/// Walks over a value that is no array: arrays of arrays do not occur in models.
fn check_scalar(from: &mut Cursor<'_>, kind: u32) -> Result<(), HeaderError> {
    let at = from.at;
    match kind {
        0 | 1 => from.array::<1>().map(drop),
        2 | 3 => from.array::<2>().map(drop),
        4..=6 => from.array::<4>().map(drop),
        10..=12 => from.array::<8>().map(drop),
        TYPE_BOOL => match from.array::<1>()? {
            [0 | 1] => Ok(()),
            [found] => Err(HeaderError::Type {
                at,
                found: found.into(),
            }),
        },
        TYPE_STRING => from.text(MAX_STRING).map(drop),
        found => Err(HeaderError::Type { at, found }),
    }
}

/// Walks over the tensor descriptions; returns offset and size of each.
fn check_tensors(
    from: &mut Cursor<'_>,
    tensors: u64,
    alignment: u64,
) -> Result<Ranges, HeaderError> {
    let mut seen = BTreeSet::new();
    let mut ranges = Vec::new();
    for _ in 0..tensors {
        let at = from.at;
        if !seen.insert(from.text(MAX_NAME)?) {
            return Err(HeaderError::Duplicate { at });
        }
        let dimensions = u64::from(from.u32()?);
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(HeaderError::Shape { at });
        }
        let fastest = from.u64()?;
        let mut volume = fastest;
        for _ in 1..dimensions {
            volume = volume
                .checked_mul(from.u64()?)
                .ok_or(HeaderError::Shape { at })?;
        }
        let kind = from.u32()?;
        let (block, size) = block_of(kind).ok_or(HeaderError::Type { at, found: kind })?;
        if !(1..=MAX_VOLUME).contains(&volume) || !fastest.is_multiple_of(block) {
            return Err(HeaderError::Shape { at });
        }
        let offset = from.u64()?;
        if !offset.is_multiple_of(alignment) {
            return Err(HeaderError::Placement);
        }
        let blocks = volume.checked_div(block).ok_or(HeaderError::Shape { at })?;
        ranges.push((
            offset,
            blocks.checked_mul(size).ok_or(HeaderError::Shape { at })?,
        ));
    }
    Ok(ranges)
}

/// Elements and bytes of a block of a tensor type (`ggml.h`, `ggml-common.h`); none for the types
/// that candle-core does not store.
const fn block_of(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 => (1, 4),      // F32
        1 | 30 => (1, 2), // F16, BF16
        2 => (32, 18),    // Q4_0
        3 => (32, 20),    // Q4_1
        6 => (32, 22),    // Q5_0
        7 => (32, 24),    // Q5_1
        8 => (32, 34),    // Q8_0
        9 => (32, 36),    // Q8_1
        10 => (256, 84),  // Q2_K
        11 => (256, 110), // Q3_K
        12 => (256, 144), // Q4_K
        13 => (256, 176), // Q5_K
        14 => (256, 210), // Q6_K
        15 => (256, 292), // Q8_K
        _ => return None,
    })
}

/// A position in the header that only moves over bytes that are there.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: u64,
}

impl<'a> Cursor<'a> {
    fn slice(&mut self, need: u64) -> Result<&'a [u8], HeaderError> {
        let truncated = HeaderError::Truncated { at: self.at, need };
        let end = self.at.checked_add(need).ok_or(truncated)?;
        let index = |at: u64| usize::try_from(at).map_err(|_| truncated);
        let range = index(self.at)?..index(end)?;
        let slice = self.bytes.get(range).ok_or(truncated)?;
        self.at = end;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let at = self.at;
        let slice = self.slice(N as u64)?;
        slice
            .try_into()
            .map_err(|_| HeaderError::Truncated { at, need: N as u64 })
    }

    fn u32(&mut self) -> Result<u32, HeaderError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, HeaderError> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self, what: &'static str, limit: u64) -> Result<u64, HeaderError> {
        let found = self.u64()?;
        let within = found <= limit;
        within
            .then_some(found)
            .ok_or(HeaderError::TooMany { what, found, limit })
    }

    fn text(&mut self, limit: u64) -> Result<&'a str, HeaderError> {
        let at = self.at;
        let length = self.count("bytes in a string", limit)?;
        let bytes = self.slice(length)?;
        let text = core::str::from_utf8(bytes).map_err(|_| HeaderError::Text { at })?;
        // candle-core cuts zero bytes off: two names must not become one.
        (!text.contains('\0'))
            .then_some(text)
            .ok_or(HeaderError::Text { at })
    }
}

#[cfg(test)]
mod tests;
