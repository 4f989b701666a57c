//! The strict check of a GGUF header; keeps nothing of it.
//!
//! Layout: `docs/gguf.md` of the ggml project: magic, version, tensor count, key count, keys with
//! values, tensor descriptions, padding to the alignment, data. Linear in the header's size, one
//! name set and one list of ranges in memory.

use std::collections::BTreeSet;

use super::GgufError;

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
const ALIGNMENTS: std::ops::RangeInclusive<u64> = 8..=65_536;
const ALIGNMENT_KEY: &str = "general.alignment";

const TYPE_BOOL: u32 = 7;
const TYPE_STRING: u32 = 8;
const TYPE_ARRAY: u32 = 9;
const TYPE_U32: u32 = 4;

/// Checks the header at the start of a file of `file_size` bytes, of which `bytes` is a prefix.
///
/// # Errors
/// A [`GgufError`]; `Truncated` also when the prefix is too short.
pub(super) fn check(bytes: &[u8], file_size: u64) -> Result<(), GgufError> {
    let mut from = Cursor { bytes, at: 0 };
    if from.array::<4>()? != MAGIC {
        return Err(GgufError::Magic);
    }
    let version = from.u32()?;
    if !matches!(version, 2 | 3) {
        return Err(GgufError::Version { found: version });
    }
    let tensors = from.count("tensors", MAX_TENSORS)?;
    let keys = from.count("keys", MAX_KEYS)?;
    let alignment = check_keys(&mut from, keys)?;
    let mut ranges = check_tensors(&mut from, tensors, alignment)?;
    let start = from.at.next_multiple_of(alignment);
    ranges.sort_unstable();
    let mut end = start;
    for (offset, size) in ranges {
        let first = start.checked_add(offset).ok_or(GgufError::Placement)?;
        if first < end {
            return Err(GgufError::Placement);
        }
        end = first.checked_add(size).ok_or(GgufError::Placement)?;
        if end > file_size {
            return Err(GgufError::Truncated {
                at: first,
                need: size,
            });
        }
    }
    Ok(())
}

/// Walks over the keys; returns the alignment.
fn check_keys(from: &mut Cursor<'_>, keys: u64) -> Result<u64, GgufError> {
    let mut seen = BTreeSet::new();
    let mut alignment = DEFAULT_ALIGNMENT;
    let mut elements = MAX_ELEMENTS;
    for _ in 0..keys {
        let at = from.at;
        let key = from.text(MAX_NAME)?;
        if !seen.insert(key) {
            return Err(GgufError::Duplicate { at });
        }
        let kind = from.u32()?;
        if key == ALIGNMENT_KEY {
            if kind != TYPE_U32 {
                return Err(GgufError::Type { at, found: kind });
            }
            alignment = u64::from(from.u32()?);
            if !alignment.is_power_of_two() || !ALIGNMENTS.contains(&alignment) {
                return Err(GgufError::Alignment { found: alignment });
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
fn check_scalar(from: &mut Cursor<'_>, kind: u32) -> Result<(), GgufError> {
    let at = from.at;
    match kind {
        0 | 1 => from.array::<1>().map(drop),
        2 | 3 => from.array::<2>().map(drop),
        4..=6 => from.array::<4>().map(drop),
        10..=12 => from.array::<8>().map(drop),
        TYPE_BOOL => match from.array::<1>()? {
            [0 | 1] => Ok(()),
            [found] => Err(GgufError::Type {
                at,
                found: found.into(),
            }),
        },
        TYPE_STRING => from.text(MAX_STRING).map(drop),
        found => Err(GgufError::Type { at, found }),
    }
}

/// Walks over the tensor descriptions; returns offset and size of each.
fn check_tensors(
    from: &mut Cursor<'_>,
    tensors: u64,
    alignment: u64,
) -> Result<Vec<(u64, u64)>, GgufError> {
    let mut seen = BTreeSet::new();
    let mut ranges = Vec::new();
    for _ in 0..tensors {
        let at = from.at;
        if !seen.insert(from.text(MAX_NAME)?) {
            return Err(GgufError::Duplicate { at });
        }
        let dimensions = u64::from(from.u32()?);
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(GgufError::Shape { at });
        }
        let fastest = from.u64()?;
        let mut volume = fastest;
        for _ in 1..dimensions {
            volume = volume
                .checked_mul(from.u64()?)
                .ok_or(GgufError::Shape { at })?;
        }
        let kind = from.u32()?;
        let (block, size) = block_of(kind).ok_or(GgufError::Type { at, found: kind })?;
        if !(1..=MAX_VOLUME).contains(&volume) || !fastest.is_multiple_of(block) {
            return Err(GgufError::Shape { at });
        }
        let offset = from.u64()?;
        if !offset.is_multiple_of(alignment) {
            return Err(GgufError::Placement);
        }
        let blocks = volume.checked_div(block).ok_or(GgufError::Shape { at })?;
        ranges.push((
            offset,
            blocks.checked_mul(size).ok_or(GgufError::Shape { at })?,
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
    fn slice(&mut self, need: u64) -> Result<&'a [u8], GgufError> {
        let truncated = GgufError::Truncated { at: self.at, need };
        let end = self.at.checked_add(need).ok_or(truncated)?;
        let index = |at: u64| usize::try_from(at).map_err(|_| truncated);
        let range = index(self.at)?..index(end)?;
        let slice = self.bytes.get(range).ok_or(truncated)?;
        self.at = end;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let at = self.at;
        let slice = self.slice(N as u64)?;
        slice
            .try_into()
            .map_err(|_| GgufError::Truncated { at, need: N as u64 })
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self, what: &'static str, limit: u64) -> Result<u64, GgufError> {
        let found = self.u64()?;
        let within = found <= limit;
        within
            .then_some(found)
            .ok_or(GgufError::TooMany { what, found, limit })
    }

    fn text(&mut self, limit: u64) -> Result<&'a str, GgufError> {
        let at = self.at;
        let length = self.count("bytes in a string", limit)?;
        let bytes = self.slice(length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| GgufError::Text { at })?;
        // candle-core cuts zero bytes off: two names must not become one.
        (!text.contains('\0'))
            .then_some(text)
            .ok_or(GgufError::Text { at })
    }
}
