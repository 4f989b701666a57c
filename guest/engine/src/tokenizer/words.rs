//! WordPiece: texts as encoders read them, in words and the longest pieces of these.
//!
//! As BERT's own tokenizer: control characters go, letters are made small and lose their accents
//! where the vocabulary says so, each sign of punctuation and each ideograph is a word, and a word
//! of more than 100 characters, or with a piece that has no token, is the unknown token.

use std::collections::HashMap;

use fancy_regex::Regex;
use unicode_normalization_alignments::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// What stands in GGUF files before a token that begins a word; other tokens go on within one.
pub(super) const BEGINS: char = '\u{2581}';
/// What stands elsewhere before a token that goes on within a word.
pub(super) const GOES_ON: &str = "##";
/// Characters of a word that is looked into.
pub(super) const MAX_CHARACTERS: usize = 100;

/// Characters that are dropped.
const DROPPED: &str = r"\x{FFFD}|[^\P{C}\t\n\r]";
/// Accents, once they stand by themselves.
const ACCENTS: &str = r"\p{Mn}";
/// Words: a sign, an ideograph (the blocks of BERT's list), or a run of neither.
const WORDS: &str = concat!(
    r"[\p{P}$+<=>^`|~\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}",
    r"\x{2B740}-\x{2B81F}\x{2B920}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]",
    r"|[^\s\p{P}$+<=>^`|~\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}",
    r"\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}\x{2B920}-\x{2CEAF}\x{F900}-\x{FAFF}",
    r"\x{2F800}-\x{2FA1F}]+",
);

/// A vocabulary of words and pieces of words.
pub(super) struct Words {
    begins: HashMap<Box<str>, u32>,
    within: HashMap<Box<str>, u32>,
    /// The longest of them, in characters.
    longest: usize,
    unknown: u32,
    /// Whether letters are made small and lose their accents.
    lowers: bool,
    dropped: Regex,
    accents: Regex,
    words: Regex,
}

/// A token as it stands within words.
pub(super) struct WordPart<'a> {
    /// Whether it begins a word, or goes on within one.
    pub(super) begins: bool,
    pub(super) text: &'a str,
    pub(super) token: u32,
}

/// The library gave up on a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GaveUp;

impl Words {
    /// A vocabulary of these tokens.
    pub(super) fn read<'a>(
        parts: impl Iterator<Item = WordPart<'a>>,
        unknown: u32,
        lowers: bool,
    ) -> Option<Self> {
        let (mut begins, mut within) = (HashMap::new(), HashMap::new());
        let mut longest = 0;
        for part in parts {
            let table = match part.begins {
                true => &mut begins,
                false => &mut within,
            };
            longest = longest.max(part.text.chars().count());
            table.insert(Box::from(part.text), part.token);
        }
        Some(Self {
            begins,
            within,
            longest,
            unknown,
            lowers,
            dropped: Regex::new(DROPPED).ok()?,
            accents: Regex::new(ACCENTS).ok()?,
            words: Regex::new(WORDS).ok()?,
        })
    }

    /// The tokens of a text, one after the other.
    pub(super) fn for_each<E: From<GaveUp>>(
        &self,
        text: &str,
        mut push: impl FnMut(u32) -> Result<(), E>,
    ) -> Result<(), E> {
        let text = self.cleaned(text)?;
        let mut tokens = Zeroizing::new(Vec::with_capacity(MAX_CHARACTERS));
        for word in self.words.find_iter(&text) {
            let word = word.map_err(|_| GaveUp)?;
            tokens.clear();
            if !self.pieces(word.as_str(), &mut tokens) {
                tokens.clear();
                tokens.push(self.unknown);
            }
            tokens.iter().try_for_each(|token| push(*token))?;
        }
        Ok(())
    }

    /// The text without what is dropped, perhaps in small letters without accents.
    fn cleaned(&self, text: &str) -> Result<Zeroizing<String>, GaveUp> {
        let kept = without(&self.dropped, text)?;
        if !self.lowers {
            return Ok(kept);
        }
        let mut apart = Zeroizing::new(String::with_capacity(kept.len().saturating_mul(4)));
        apart.extend(kept.nfd().map(|(character, _)| character));
        let bare = without(&self.accents, &apart)?;
        let mut small = Zeroizing::new(String::with_capacity(bare.len().saturating_mul(2)));
        small.extend(bare.chars().flat_map(char::to_lowercase));
        Ok(small)
    }

    /// The longest pieces of a word from its beginning on; whether it has no other part.
    fn pieces(&self, word: &str, tokens: &mut Vec<u32>) -> bool {
        if word.chars().count() > MAX_CHARACTERS {
            return false;
        }
        let mut rest = word;
        while !rest.is_empty() {
            let table = match tokens.is_empty() {
                true => &self.begins,
                false => &self.within,
            };
            let ends = rest.char_indices().take(self.longest);
            let ends = ends.map(|(at, character)| at.saturating_add(character.len_utf8()));
            let found = ends.collect::<Vec<_>>().into_iter().rev().find_map(|end| {
                let (piece, after) = rest.split_at_checked(end)?;
                Some((*table.get(piece)?, after))
            });
            let Some((token, after)) = found else {
                return false;
            };
            tokens.push(token);
            rest = after;
        }
        true
    }
}

/// The text without what the expression finds.
fn without(found: &Regex, text: &str) -> Result<Zeroizing<String>, GaveUp> {
    let mut kept = Zeroizing::new(String::with_capacity(text.len()));
    let mut from = 0;
    for one in found.find_iter(text) {
        let one = one.map_err(|_| GaveUp)?;
        kept.push_str(text.get(from..one.start()).unwrap_or_default());
        from = one.end();
    }
    kept.push_str(text.get(from..).unwrap_or_default());
    Ok(kept)
}
