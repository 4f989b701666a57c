//! What is said of texts beside a `tokenizer.json`: names of the first and last token, the chat
//! template, and tokens that end an answer.

use serde::Deserialize;

use super::json::part;
use crate::refusal::ModelError;

/// Of several templates, the one that is taken.
const DEFAULT: &str = "default";
/// Tokens that end an answer, at most.
const MAX_ENDS: usize = 64;

/// Members of a `tokenizer_config.json`.
#[derive(Deserialize)]
pub(crate) struct Settings {
    bos_token: Option<Named>,
    eos_token: Option<Named>,
    chat_template: Option<Templates>,
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
}

/// A token's name, alone or with how it is recognised.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Alone(String),
    Described { content: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Several(Vec<Template>),
}

#[derive(Deserialize)]
struct Template {
    name: String,
    template: String,
}

/// Members of a `config.json` or `generation_config.json`.
#[derive(Deserialize)]
struct Ending {
    eos_token_id: Option<Numbers>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    One(u32),
    Several(Vec<u32>),
}

impl Settings {
    /// Reads a `tokenizer_config.json`.
    ///
    /// # Errors
    /// `Tokenizer` for one that is malformed.
    pub(crate) fn read(text: &[u8]) -> Result<Self, ModelError> {
        serde_json::from_slice(text).map_err(|_| part("tokenizer_config.json"))
    }

    /// Names of the tokens with which texts start and end.
    pub(crate) fn frame(&self) -> [Option<&str>; 2] {
        [&self.bos_token, &self.eos_token].map(|named| {
            named.as_ref().map(|named| match named {
                Named::Alone(name) | Named::Described { content: name } => name.as_str(),
            })
        })
    }

    /// Whether a tokenizer of BERT's makes letters small, where this says so: transformers lets it
    /// overrule `tokenizer.json`.
    ///
    /// # Errors
    /// `Tokenizer` for accents or ideographs in another way.
    pub(crate) fn lowers(&self) -> Result<Option<bool>, ModelError> {
        let lowers = self.do_lower_case;
        let strips = self.strip_accents;
        if strips.is_some() && strips != lowers {
            return Err(part("strip_accents"));
        }
        match self.tokenize_chinese_chars {
            Some(false) => Err(part("tokenize_chinese_chars")),
            Some(true) | None => Ok(lowers),
        }
    }

    /// The chat template; of several the one called `default`.
    pub(crate) fn template(&self) -> Option<&str> {
        match self.chat_template.as_ref()? {
            Templates::One(text) => Some(text),
            Templates::Several(all) => {
                let mut named = all.iter().filter(|one| one.name == DEFAULT);
                named.next().map(|one| one.template.as_str())
            }
        }
    }
}

/// Tokens that end an answer, as a `config.json` or a `generation_config.json` has them.
///
/// # Errors
/// `Tokenizer` for a text that is malformed or names too many.
pub(crate) fn ends_of(text: &[u8]) -> Result<Vec<u32>, ModelError> {
    let wrong = part("eos_token_id");
    let ending: Ending = serde_json::from_slice(text).map_err(|_| wrong)?;
    let ends = match ending.eos_token_id {
        None => Vec::new(),
        Some(Numbers::One(one)) => vec![one],
        Some(Numbers::Several(several)) => several,
    };
    (ends.len() <= MAX_ENDS).then_some(ends).ok_or(wrong)
}
