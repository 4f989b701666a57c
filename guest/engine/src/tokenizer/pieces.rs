//! Vocabularies of SentencePiece, as GGUF files hold them (`tokenizer.ggml.model` = `llama`) and as
//! `tokenizer.json` does.
//!
//! Pairs of tokens are joined by the score of what they make, or by the order of rules; a
//! character without a token is written in tokens of its bytes. What is deliberately not here: the
//! other algorithms of the name.

use std::collections::HashMap;

use super::merge::Merges;

/// How these vocabularies write a space.
pub(super) const SPACE: char = '\u{2581}';

/// Characters, bytes and what stands before a text.
pub(super) struct Pieces {
    characters: HashMap<char, u32>,
    bytes: [Option<u32>; 256],
    prefix: Prefix,
}

/// Where a space is put before a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    /// Nowhere.
    Never,
    /// Where the whole text begins and behind each special token.
    Always,
    /// The same, but not before another one.
    Unspaced,
    /// Where the whole text begins, and not before another one.
    First,
}

/// A text that has a character without tokens.
pub(super) struct Inexpressible;

impl Pieces {
    /// Reads the tokens: names of those that are text, with their scores, and those of bytes.
    pub(super) fn read(
        words: &[(&str, u32, f32)],
        bytes: [Option<u32>; 256],
        prefix: Prefix,
    ) -> (Self, Merges) {
        let ids: HashMap<&str, u32> = words.iter().map(|(name, id, _)| (*name, *id)).collect();
        let mut by_score: Vec<_> = words.iter().collect();
        by_score.sort_by(|one, other| other.2.total_cmp(&one.2).then(one.1.cmp(&other.1)));
        let mut rules = HashMap::new();
        let mut characters = HashMap::new();
        for (rank, (name, made, _)) in (0_u32..).zip(by_score) {
            let mut letters = name.char_indices();
            let first = letters.next().map(|(_, letter)| letter);
            for (at, _) in letters.clone() {
                let halves = name.split_at_checked(at);
                let pair =
                    halves.and_then(|(left, right)| Some((*ids.get(left)?, *ids.get(right)?)));
                if let Some(pair) = pair {
                    rules.entry(pair).or_insert((rank, *made));
                }
            }
            if let (Some(letter), None) = (first, letters.next()) {
                characters.insert(letter, *made);
            }
        }
        let pieces = Self {
            characters,
            bytes,
            prefix,
        };
        (pieces, Merges::of(rules))
    }

    /// Of a vocabulary whose pieces are joined by rules, in which tokens of bytes have names like
    /// `<0x0A>`.
    pub(super) fn ranked(ids: &HashMap<&str, u32>, prefix: Prefix) -> Self {
        let mut bytes = [None; 256];
        for (byte, slot) in (0..=u8::MAX).zip(&mut bytes) {
            *slot = ids.get(format!("<0x{byte:02X}>").as_str()).copied();
        }
        let single = |(name, token): (&&str, &u32)| {
            let mut letters = name.chars();
            let letter = letters.next()?;
            letters.next().is_none().then_some((letter, *token))
        };
        Self {
            characters: ids.iter().filter_map(single).collect(),
            bytes,
            prefix,
        }
    }

    /// Appends the tokens of a text's characters, not joined yet.
    pub(super) fn letters(
        &self,
        text: &str,
        is_first: bool,
        out: &mut Vec<u32>,
    ) -> Result<(), Inexpressible> {
        let wanted = match self.prefix {
            Prefix::Never => false,
            Prefix::Always => true,
            Prefix::Unspaced => !text.starts_with([' ', SPACE]),
            Prefix::First => is_first && !text.starts_with([' ', SPACE]),
        };
        let prefix = (wanted && !text.is_empty()).then_some(' ');
        for letter in prefix.into_iter().chain(text.chars()) {
            let letter = if letter == ' ' { SPACE } else { letter };
            if let Some(token) = self.characters.get(&letter) {
                out.push(*token);
                continue;
            }
            for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                let token = self.bytes.get(usize::from(byte)).copied().flatten();
                out.push(token.ok_or(Inexpressible)?);
            }
        }
        Ok(())
    }
}

/// What a token's name says as text.
pub(super) fn text_of(name: &str) -> Box<[u8]> {
    name.replace(SPACE, " ").into_bytes().into_boxed_slice()
}

/// The byte of a token that is called `<0xNN>`.
pub(super) fn byte_of(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2)
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}
