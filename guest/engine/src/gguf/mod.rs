//! Model files in the format GGUF: a strict check of the header, then candle-core's reader.
//!
//! The model is pinned by digest, yet its bytes come from the host's disk and its author is not
//! ours. candle-core's own reader leaves some of the header unchecked (a zero alignment, a wrapping
//! product of dimensions, duplicates, overlaps), hence `model_format`'s check before it. What is
//! deliberately not here: what keys and tensors mean (`model`, `tokenizer`).

mod file;
#[cfg(test)]
mod tests;

pub(crate) use file::ModelFile;
use model_format::gguf::HeaderError;

/// Why a model file is refused. No text of the file is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// The header is malformed, or the file ends within what it announces.
    #[error(transparent)]
    Header(#[from] HeaderError),
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
            Self::Header(error) => error.code(),
            Self::Key { .. } => "gguf-key",
            Self::Tensor { .. } => "gguf-tensor",
            Self::Read => "gguf-read",
            Self::Library => "gguf-library",
        }
    }
}
