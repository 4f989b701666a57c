//! Splitting a text into the words within which pairs are merged.
//!
//! Rules by the name in `tokenizer.ggml.pre` (source: llama.cpp `llama-vocab.cpp`); an unknown
//! name is refused, since a wrong rule would go unnoticed.

use fancy_regex::{Regex, RegexBuilder};

use super::EncodeError;

/// The expression of the GPT-2 encoder.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// That of Llama 3: up to three numerals stand together.
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// That of Qwen 2 and 3: each numeral stands alone.
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Steps back that an expression may take in one search.
const BACKTRACK_LIMIT: usize = 2_000_000;

/// A splitting rule.
pub(super) struct Splitter {
    words: Regex,
    digits: Digits,
    /// Whether a word that is a token is never split further.
    pub(super) keeps_words: bool,
}

/// What happens to numerals before words are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Digits {
    /// Nothing.
    InWords,
    /// Each stands alone.
    Single,
}

impl Splitter {
    /// The rule of that name; none for unknown ones.
    pub(super) fn named(name: &str) -> Option<Self> {
        let (expression, digits) = match name {
            "gpt-2" => (GPT2, Digits::InWords),
            "smollm" => (GPT2, Digits::Single),
            "llama-bpe" => (LLAMA3, Digits::InWords),
            "qwen2" => (QWEN2, Digits::InWords),
            _ => return None,
        };
        let words = RegexBuilder::new(expression)
            .backtrack_limit(BACKTRACK_LIMIT)
            .build()
            .ok()?;
        Some(Self {
            words,
            digits,
            keeps_words: name == "llama-bpe",
        })
    }

    /// Calls `take` with each word in order; together they are the text.
    pub(super) fn for_each(
        &self,
        text: &str,
        mut take: impl FnMut(&str) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        match self.digits {
            Digits::InWords => self.words(text, &mut take),
            Digits::Single => {
                let mut rest = text;
                while let Some(at) = rest.find(char::is_numeric) {
                    let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
                    self.words(before, &mut take)?;
                    let length = from.chars().next().map_or(0, char::len_utf8);
                    let (digit, after) = from.split_at_checked(length).unwrap_or((from, ""));
                    take(digit)?;
                    rest = after;
                }
                self.words(rest, &mut take)
            }
        }
    }

    fn words(
        &self,
        text: &str,
        take: &mut impl FnMut(&str) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut end = 0;
        for found in self.words.find_iter(text) {
            let found = found.map_err(|_| EncodeError::Inexpressible)?;
            if found.start() != end {
                // The expression covers every character, so this cannot be.
                return Err(EncodeError::Inexpressible);
            }
            end = found.end();
            take(found.as_str())?;
        }
        (end == text.len())
            .then_some(())
            .ok_or(EncodeError::Inexpressible)
    }
}
