//! Why a model is refused: one error for every file of one.

use model_format::{gguf, safetensors, sentence};

/// Why a model's files are refused. No text of the files is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The header of a GGUF file is malformed, or the file ends within what it announces.
    #[error(transparent)]
    Gguf(#[from] gguf::HeaderError),
    /// The header of a safetensors file is malformed, or its tensors are misplaced.
    #[error(transparent)]
    Safetensors(#[from] safetensors::HeaderError),
    /// What says that a model gives vectors is malformed, or asks for what is not computed.
    #[error(transparent)]
    Sentence(#[from] sentence::SentenceError),
    /// A key of a GGUF file is missing or has another type or range.
    #[error("model file lacks a usable key `{key}`")]
    Key {
        /// The key, perhaps without the family's name before it.
        key: &'static str,
    },
    /// A member of `config.json` is missing, has another type or range, or is not supported.
    #[error("config.json lacks a usable `{member}`")]
    Config {
        /// The member.
        member: &'static str,
    },
    /// A part of `tokenizer.json` or of the files beside it is missing or not supported.
    #[error("tokenizer lacks a usable `{part}`")]
    Tokenizer {
        /// The part.
        part: &'static str,
    },
    /// A file of the model is missing, unknown, too long or there twice.
    #[error("model lacks a usable file `{name}`")]
    Files {
        /// Its name or the end of it, or what is wrong.
        name: &'static str,
    },
    /// A tensor is missing or has another shape or type.
    #[error("model file lacks a usable tensor `{name}`")]
    Tensor {
        /// The tensor's name, without the layer's number.
        name: &'static str,
    },
    /// A tensor that no part of the model reads.
    #[error("model file has {found} tensors of which {read} are read")]
    TensorsLeft {
        /// Tensors of the files.
        found: usize,
        /// Those that have a place.
        read: usize,
    },
    /// A part that is computed on processors only.
    #[error("model has {part}, which this machine does not compute")]
    Part {
        /// The part.
        part: &'static str,
    },
    /// The device did not take the weights.
    #[error("computing device did not take the weights")]
    Sink,
    /// A file could not be read.
    #[error("model file cannot be read")]
    Read,
    /// candle-core refused what passed our check.
    #[error("model file refused by the format library")]
    Library,
}

impl ModelError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Gguf(error) => error.code(),
            Self::Safetensors(error) => error.code(),
            Self::Sentence(error) => error.code(),
            Self::Key { .. } => "gguf-key",
            Self::Config { .. } => "model-config",
            Self::Tokenizer { .. } => "model-tokenizer",
            Self::Files { .. } => "model-files",
            Self::Tensor { .. } => "gguf-tensor",
            Self::TensorsLeft { .. } => "model-tensors-left",
            Self::Part { .. } => "model-part",
            Self::Sink => "model-device",
            Self::Read => "gguf-read",
            Self::Library => "gguf-library",
        }
    }
}
