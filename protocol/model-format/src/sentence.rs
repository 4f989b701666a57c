//! What sentence-transformers says of a model that gives vectors: which modules it has, and how its
//! hidden states are pooled. Both spellings of its versions 1 to 6 are known.
//!
//! Strict: a member, module or way of pooling that is not known is refused, since it would change
//! the vectors. What is deliberately not here: the names of files (who seals and who opens them).

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;

/// The name under which a model's image holds the description of its pooling: the image has no
/// folders.
pub const POOLING_FILE: &str = "pooling.json";
/// Longest text that is taken, of either file.
pub const MAX_BYTES: usize = 1 << 16;
/// Longest path of a module, in bytes.
const MAX_PATH: usize = 64;

/// Why a description is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SentenceError {
    /// Longer than [`MAX_BYTES`].
    #[error("description exceeds {MAX_BYTES} bytes")]
    TooLong,
    /// Not the JSON that it should be, or with a member that is not known.
    #[error("description is malformed, or has a member that is not known")]
    Form,
    /// Modules other than a transformer, a pooling and perhaps a normalisation, in this order.
    #[error("modules are not a transformer, a pooling, and at most a normalisation")]
    Modules,
    /// A path of the pooling that is no plain name.
    #[error("path of the pooling is no plain name")]
    Path,
    /// A pooling that is not known, several at once, or none.
    #[error("pooling is not exactly one of mean, first and last token")]
    Pooling,
    /// Texts are to be changed before they are read.
    #[error("texts are made small before they are read")]
    Lowers,
}

impl SentenceError {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLong => "sentence-too-long",
            Self::Form => "sentence-form",
            Self::Modules => "sentence-modules",
            Self::Path => "sentence-path",
            Self::Pooling => "sentence-pooling",
            Self::Lowers => "sentence-lowers",
        }
    }
}

/// Which hidden states a vector is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The mean of all.
    Mean,
    /// That of the first position.
    First,
    /// That of the last position.
    Last,
}

/// How hidden states become a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    /// Which of them.
    pub mode: Mode,
    /// The width of each.
    pub width: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Module {
    #[serde(rename = "idx")]
    _number: Option<u32>,
    #[serde(rename = "name")]
    _name: Option<String>,
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Module {
    /// The last part of a class of sentence-transformers, which moved between its versions.
    fn is(&self, class: &str) -> bool {
        let inside = self.kind.strip_prefix("sentence_transformers.");
        inside.and_then(|kind| kind.rsplit('.').next()) == Some(class)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolingMembers {
    #[serde(alias = "embedding_dimension")]
    word_embedding_dimension: usize,
    pooling_mode: Option<String>,
    pooling_mode_mean_tokens: Option<bool>,
    pooling_mode_cls_token: Option<bool>,
    pooling_mode_lasttoken: Option<bool>,
    pooling_mode_max_tokens: Option<bool>,
    pooling_mode_mean_sqrt_len_tokens: Option<bool>,
    pooling_mode_weightedmean_tokens: Option<bool>,
    /// Of prompts, of which a text here has none.
    #[serde(rename = "include_prompt")]
    _include_prompt: Option<bool>,
}

#[derive(Deserialize)]
struct TextMembers {
    do_lower_case: Option<bool>,
}

fn read<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, SentenceError> {
    if text.len() > MAX_BYTES {
        return Err(SentenceError::TooLong);
    }
    serde_json::from_slice(text).map_err(|_| SentenceError::Form)
}

/// Reads a `modules.json`; returns where the pooling is described, a folder beside it.
///
/// # Errors
/// A [`SentenceError`].
pub fn modules(text: &[u8]) -> Result<String, SentenceError> {
    let modules: Vec<Module> = read(text)?;
    let (pooling, more) = match modules.as_slice() {
        [first, pooling, more @ ..] if first.is("Transformer") && pooling.is("Pooling") => {
            (pooling, more)
        }
        _ => return Err(SentenceError::Modules),
    };
    match more {
        [] => {}
        [last] if last.is("Normalize") => {}
        _ => return Err(SentenceError::Modules),
    }
    // A transformer in a folder would be in another place than the weights are looked for.
    if modules.first().is_none_or(|first| !first.path.is_empty()) {
        return Err(SentenceError::Modules);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let path = &pooling.path;
    if path.is_empty() || path.len() > MAX_PATH || !path.bytes().all(plain) {
        return Err(SentenceError::Path);
    }
    Ok(path.clone())
}

/// Reads the `config.json` of the pooling.
///
/// # Errors
/// A [`SentenceError`].
pub fn pooling(text: &[u8]) -> Result<Pooling, SentenceError> {
    let members: PoolingMembers = read(text)?;
    let flags = [
        (members.pooling_mode_mean_tokens, Some(Mode::Mean)),
        (members.pooling_mode_cls_token, Some(Mode::First)),
        (members.pooling_mode_lasttoken, Some(Mode::Last)),
        (members.pooling_mode_max_tokens, None),
        (members.pooling_mode_mean_sqrt_len_tokens, None),
        (members.pooling_mode_weightedmean_tokens, None),
    ];
    let mut asked = flags.iter().filter(|(flag, _)| *flag == Some(true));
    let mode = match (members.pooling_mode.as_deref(), asked.next(), asked.next()) {
        (None, Some((_, mode)), None) => *mode,
        (Some("mean"), None, None) => Some(Mode::Mean),
        (Some("cls"), None, None) => Some(Mode::First),
        (Some("lasttoken"), None, None) => Some(Mode::Last),
        (_, _, _) => None,
    };
    Ok(Pooling {
        mode: mode.ok_or(SentenceError::Pooling)?,
        width: members.word_embedding_dimension,
    })
}

/// Reads a `sentence_bert_config.json`: what it says of lengths is not followed, since a text is
/// refused, not cut; what would change texts is refused.
///
/// # Errors
/// A [`SentenceError`].
pub fn texts(text: &[u8]) -> Result<(), SentenceError> {
    let members: TextMembers = read(text)?;
    match members.do_lower_case {
        Some(true) => Err(SentenceError::Lowers),
        Some(false) | None => Ok(()),
    }
}

#[cfg(test)]
#[path = "sentence_tests.rs"]
mod tests;
