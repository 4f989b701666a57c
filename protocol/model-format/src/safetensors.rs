//! The strict check of a safetensors header.
//!
//! Layout: `u64` little-endian length of a JSON object, the object (padded with spaces at its
//! end), then one buffer. The object maps each tensor's name to `dtype`, `shape` and
//! `data_offsets`, begin and end within the buffer; `__metadata__` maps text to text. Tensors
//! cover the buffer from its first byte to its last, without a gap or an overlap, and the buffer
//! ends with the file. What the format's own library accepts beyond that is refused here:
//! duplicate names, unknown members, more dimensions than any model has.

mod json;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

/// Largest header that is taken.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Tensors of one file, at most.
pub const MAX_TENSORS: usize = 65_536;
/// Bytes of a tensor's name, at most.
pub const MAX_NAME_BYTES: usize = 256;
/// Entries of `__metadata__`, at most.
pub const MAX_METADATA: usize = 4096;
const MAX_DIMENSIONS: usize = 8;
const LENGTH_BYTES: u64 = 8;

/// Why a header is refused. No text of the file is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file ends before its header does.
    #[error("weights file of {file_bytes} bytes ends within its header")]
    Truncated {
        /// Length of the file.
        file_bytes: u64,
    },
    /// The header is larger than any model's.
    #[error("weights file header of {found} bytes exceeds {limit}")]
    HeaderTooLong {
        /// Its announced length.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The header is not one JSON object of the specified members.
    #[error("weights file header is malformed at line {line}, column {column}")]
    Malformed {
        /// Line of the first offence.
        line: usize,
        /// Column of the first offence.
        column: usize,
    },
    /// There are more of something than its limit allows.
    #[error("weights file has more than {limit} {what}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A name occurs twice.
    #[error("weights file repeats the name of entry {entry}")]
    Duplicate {
        /// Number of the repetition, from 0.
        entry: usize,
    },
    /// A data type that is not known.
    #[error("weights file has an unknown data type in entry {entry}")]
    Type {
        /// Number of the tensor, from 0.
        entry: usize,
    },
    /// A tensor's dimensions are too many, or multiply to more bytes than exist.
    #[error("weights file has a tensor of impossible shape in entry {entry}")]
    Shape {
        /// Number of the tensor, from 0.
        entry: usize,
    },
    /// A tensor's place is not as long as its type and shape say.
    #[error("weights file has {found} bytes where entry {entry} needs {expected}")]
    Size {
        /// Number of the tensor, from 0.
        entry: usize,
        /// Length by type and shape.
        expected: u64,
        /// Length by its offsets.
        found: u64,
    },
    /// A tensor begins before the one in front of it ends.
    #[error("weights file has overlapping tensors at byte {at} of its buffer")]
    Overlap {
        /// Where it begins.
        at: u64,
    },
    /// No tensor covers these bytes.
    #[error("weights file has bytes without a tensor at byte {at} of its buffer")]
    Hole {
        /// The first such byte.
        at: u64,
    },
    /// The tensors end before or behind the end of the file.
    #[error("weights file has a buffer of {found} bytes for tensors of {expected}")]
    BufferLength {
        /// What the tensors need.
        expected: u64,
        /// What the file has.
        found: u64,
    },
}

impl HeaderError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "safetensors-truncated",
            Self::HeaderTooLong { .. } => "safetensors-header-too-long",
            Self::Malformed { .. } => "safetensors-malformed",
            Self::TooMany { .. } => "safetensors-too-many",
            Self::Duplicate { .. } => "safetensors-duplicate",
            Self::Type { .. } => "safetensors-type",
            Self::Shape { .. } => "safetensors-shape",
            Self::Size { .. } => "safetensors-size",
            Self::Overlap { .. } => "safetensors-overlap",
            Self::Hole { .. } => "safetensors-hole",
            Self::BufferLength { .. } => "safetensors-buffer-length",
        }
    }
}

/// Data types of the format, by the bits of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the format's own")]
pub enum Dtype {
    Bool,
    U8,
    I8,
    F8E5M2,
    F8E4M3,
    F8E8M0,
    I16,
    U16,
    F16,
    Bf16,
    I32,
    U32,
    F32,
    I64,
    U64,
    F64,
}

impl Dtype {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "BOOL" => Self::Bool,
            "U8" => Self::U8,
            "I8" => Self::I8,
            "F8_E5M2" => Self::F8E5M2,
            "F8_E4M3" => Self::F8E4M3,
            "F8_E8M0" => Self::F8E8M0,
            "I16" => Self::I16,
            "U16" => Self::U16,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "I32" => Self::I32,
            "U32" => Self::U32,
            "F32" => Self::F32,
            "I64" => Self::I64,
            "U64" => Self::U64,
            "F64" => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of one element.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Bool | Self::U8 | Self::I8 | Self::F8E5M2 | Self::F8E4M3 | Self::F8E8M0 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }
}

/// A tensor whose place was found sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, slowest first.
    pub shape: Vec<u64>,
    /// First byte, counted from the start of the file.
    pub begin: u64,
    /// End, counted from the start of the file.
    pub end: u64,
}

/// Length of the header, from the first 8 bytes of a file of `file_bytes`.
///
/// # Errors
/// `Truncated` or `HeaderTooLong`.
pub fn header_length(first: [u8; 8], file_bytes: u64) -> Result<u64, HeaderError> {
    let found = u64::from_le_bytes(first);
    let room = file_bytes.saturating_sub(LENGTH_BYTES);
    if found > MAX_HEADER_BYTES {
        return Err(HeaderError::HeaderTooLong {
            found,
            limit: MAX_HEADER_BYTES,
        });
    }
    if file_bytes < LENGTH_BYTES || found > room {
        return Err(HeaderError::Truncated { file_bytes });
    }
    Ok(found)
}

/// Checks a header, the bytes behind its length, of a file of `file_bytes`. The tensors come in the
/// order of their places.
///
/// # Errors
/// A [`HeaderError`].
pub fn check(header: &[u8], file_bytes: u64) -> Result<Vec<Tensor>, HeaderError> {
    let length = u64::try_from(header.len()).unwrap_or(u64::MAX);
    header_length(length.to_le_bytes(), file_bytes)?;
    let start = LENGTH_BYTES.saturating_add(length);
    let buffer = file_bytes.saturating_sub(start);
    let entries = json::entries(header)?;
    let mut names = BTreeSet::new();
    let mut tensors = Vec::with_capacity(entries.len());
    for (entry, described) in entries.into_iter().enumerate() {
        if !names.insert(described.name.clone()) {
            return Err(HeaderError::Duplicate { entry });
        }
        tensors.push(sized(entry, described)?);
    }
    drop(names);
    tensors.sort_by_key(|tensor| (tensor.begin, tensor.end));
    let mut end = 0;
    for tensor in &mut tensors {
        if tensor.begin < end {
            return Err(HeaderError::Overlap { at: tensor.begin });
        }
        if tensor.begin > end {
            return Err(HeaderError::Hole { at: end });
        }
        end = tensor.end;
        tensor.begin = tensor.begin.saturating_add(start);
        tensor.end = tensor.end.saturating_add(start);
    }
    if end != buffer {
        return Err(HeaderError::BufferLength {
            expected: end,
            found: buffer,
        });
    }
    Ok(tensors)
}

/// A tensor whose length is that of its type and shape.
fn sized(entry: usize, described: json::Entry) -> Result<Tensor, HeaderError> {
    let dtype = Dtype::named(&described.dtype).ok_or(HeaderError::Type { entry })?;
    if described.shape.len() > MAX_DIMENSIONS {
        return Err(HeaderError::Shape { entry });
    }
    let volume = described
        .shape
        .iter()
        .try_fold(dtype.bytes(), |volume, size| volume.checked_mul(*size));
    let expected = volume.ok_or(HeaderError::Shape { entry })?;
    let [begin, end] = described.offsets;
    let found = end.saturating_sub(begin);
    if begin > end || found != expected {
        return Err(HeaderError::Size {
            entry,
            expected,
            found,
        });
    }
    Ok(Tensor {
        name: described.name,
        dtype,
        shape: described.shape,
        begin,
        end,
    })
}

#[cfg(test)]
mod tests;
