//! Model files in the format GGUF: a strict check of the header, then candle-core's reader.
//!
//! The model is pinned by digest, yet its bytes come from the host's disk and its author is not
//! ours: every count, length, shape and offset is compared with a limit before it is used.
//! candle-core's own reader leaves some of them unchecked (a zero alignment, a wrapping product of
//! dimensions, duplicates, overlaps), hence the check before it. What is deliberately not here:
//! what keys and tensors mean (`model`, `tokenizer`).

mod file;
mod header;
#[cfg(test)]
mod tests;

pub(crate) use file::ModelFile;

/// Why a model file is refused. No text of the file is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
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
    /// A key is missing or has another type or range.
    #[error("model file lacks a usable key `{key}`")]
    Key {
        /// The key.
        key: &'static str,
    },
    /// A tensor is missing or has another shape or type.
    #[error("model file lacks a usable tensor `{name}`")]
    Tensor {
        /// The tensor's name, without the layer's number.
        name: &'static str,
    },
    /// The file could not be read.
    #[error("model file cannot be read")]
    Read,
    /// candle-core refused what passed our check.
    #[error("model file refused by the format library")]
    Library,
}

impl GgufError {
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
            Self::Key { .. } => "gguf-key",
            Self::Tensor { .. } => "gguf-tensor",
            Self::Read => "gguf-read",
            Self::Library => "gguf-library",
        }
    }
}
