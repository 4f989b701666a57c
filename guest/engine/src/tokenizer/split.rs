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
    /// Whether texts are brought into Unicode's form NFC first.
    pub(super) composes: bool,
}

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Gpt2,
    /// The same, and each numeral stands alone.
    SmolLm,
    Llama3,
    Qwen2,
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
    /// The rule of that name in a GGUF file; none for unknown ones.
    pub(super) fn named(name: &str) -> Option<Self> {
        let rule = match name {
            "gpt-2" | "mpt" => Rule::Gpt2,
            "smollm" | "starcoder" | "refact" => Rule::SmolLm,
            "llama-bpe" => Rule::Llama3,
            "qwen2" => Rule::Qwen2,
            _ => return None,
        };
        Some(Self {
            keeps_words: rule == Rule::Llama3,
            composes: rule == Rule::Qwen2,
            ..Self::of(rule)?
        })
    }

    /// The rule, without what is done before and after it.
    pub(super) fn of(rule: Rule) -> Option<Self> {
        let (expression, digits) = match rule {
            Rule::Gpt2 => (GPT2, Digits::InWords),
            Rule::SmolLm => (GPT2, Digits::Single),
            Rule::Llama3 => (LLAMA3, Digits::InWords),
            Rule::Qwen2 => (QWEN2, Digits::InWords),
        };
        let words = RegexBuilder::new(expression)
            .backtrack_limit(BACKTRACK_LIMIT)
            .build()
            .ok()?;
        Some(Self {
            words,
            digits,
            keeps_words: false,
            composes: false,
        })
    }

    /// The same, which splits no word that is a token, or does.
    pub(super) fn keeping(self, keeps_words: bool) -> Self {
        Self {
            keeps_words,
            ..self
        }
    }

    /// The rule whose expression a `tokenizer.json` spells out; none for unknown ones.
    pub(super) fn spelled(expression: &str) -> Option<Rule> {
        match expression {
            LLAMA3 => Some(Rule::Llama3),
            QWEN2 => Some(Rule::Qwen2),
            _ => None,
        }
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
