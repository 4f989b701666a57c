//! A model image from a model's files: checked first, then sealed. `docs/spec/measurements.md` §6.
//!
//! The image is an EROFS file system with the dm-verity tree behind it, no superblock between
//! them; salt and UUID follow from the model's name, so the same files and name give the same
//! bytes everywhere. Nothing is written before every file has been found well-formed. This module
//! and `release` are the ones that touch files.

mod seal;
mod source;

use std::path::PathBuf;

use model_format::{gguf, safetensors, sentence};
use protocol::digest::{ModelDigest, write_hex};
use protocol::verity::VerityParameters;
use serde::{Serialize, Serializer};

pub use source::Source;

use crate::erofs::ErofsError;

/// Why no image is made.
#[derive(Debug, thiserror::Error)]
pub enum ModelImageError {
    /// A file or directory cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The image cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A name that is no model's.
    #[error("a model's name has 1 to 64 of the characters a-z, A-Z, 0-9, `.`, `_`, `-`")]
    Name,
    /// Neither GGUF nor safetensors, or several models.
    #[error("needs one GGUF file, or safetensors files; found {gguf} and {safetensors}")]
    Files {
        /// Number of GGUF files.
        gguf: usize,
        /// Number of safetensors files.
        safetensors: usize,
    },
    /// A directory holds more than a model's.
    #[error("directory holds more than {limit} entries")]
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
    /// The model has more files than a guest opens.
    #[error(
        "model has {found} files, and a guest opens at most {limit}: put its weights into fewer"
    )]
    TooManyModelFiles {
        /// Its files.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The files of weights hold more tensors than any model has.
    #[error("more than {limit} tensors in one model")]
    TooManyTensors {
        /// The limit.
        limit: usize,
    },
    /// A file that the format needs is not there.
    #[error("needs `{file}` beside the weights")]
    Missing {
        /// The file.
        file: &'static str,
    },
    /// There is no chat template.
    #[error("no chat template: neither chat_template.jinja nor a member of tokenizer_config.json")]
    NoTemplate,
    /// Not a regular file, or longer than is taken.
    #[error("`{file}` is not a regular file of 1 to {limit} bytes")]
    Length {
        /// The file.
        file: String,
        /// The limit.
        limit: u64,
    },
    /// Not the text that it should be.
    #[error("`{file}` is malformed at line {line}, column {column}")]
    Malformed {
        /// The file.
        file: String,
        /// Line of the first offence.
        line: usize,
        /// Column of the first offence.
        column: usize,
    },
    /// A GGUF header is refused.
    #[error("`{file}`")]
    Gguf {
        /// The file.
        file: String,
        /// The cause.
        source: gguf::HeaderError,
    },
    /// A safetensors header is refused.
    #[error("`{file}`")]
    Safetensors {
        /// The file.
        file: String,
        /// The cause.
        source: safetensors::HeaderError,
    },
    /// What says that a model gives vectors is refused.
    #[error("`{file}`")]
    Sentence {
        /// The file.
        file: String,
        /// The cause.
        source: sentence::SentenceError,
    },
    /// Files of weights hold a tensor twice.
    #[error("`{file}` repeats a tensor of another file")]
    Repeated {
        /// The file.
        file: String,
    },
    /// The index does not name exactly the tensors that are there.
    #[error("`{file}` does not agree with the files of weights")]
    Index {
        /// The index.
        file: &'static str,
    },
    /// The files do not fit into one image.
    #[error("image")]
    Layout(#[from] ErofsError),
    /// A file changed after it was checked.
    #[error("`{file}` changed while it was read")]
    Changed {
        /// The file.
        file: String,
    },
}

/// SHA-256 of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigest(pub [u8; 32]);

impl std::fmt::Display for FileDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_hex(&self.0, f)
    }
}

impl Serialize for FileDigest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A file with its length and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileRecord {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: FileDigest,
}

/// The description of a sealed model: the content of `model.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SealedModel {
    /// Version of the document, 1.
    pub version: u16,
    /// The model's usual name.
    pub name: String,
    /// Parameters of the image.
    pub verity: VerityParameters,
    /// The digest that names it.
    pub digest: ModelDigest,
    /// `gguf` or `safetensors`.
    pub format: &'static str,
    /// The image.
    pub image: FileRecord,
    /// The files in it, in the order of their names.
    pub contents: Vec<FileRecord>,
}
