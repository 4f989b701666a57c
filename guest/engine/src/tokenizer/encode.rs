//! From the pieces of a prompt to tokens.
//!
//! Special tokens are looked for in [`Piece::Skeleton`] alone. What is deliberately not here: how
//! a vocabulary is read (`mod`, `json`).

use unicode_normalization_alignments::UnicodeNormalization as _;
use unicode_normalization_alignments::{IsNormalized, is_nfc_quick};
use zeroize::Zeroizing;

use super::{Letters, Special, Tokenizer};

/// How many times as many bytes a composed text has at most (Unicode's annex 15).
const LONGEST: usize = 3;

/// A piece of a prompt.
pub(crate) enum Piece<'a> {
    /// From the template: special tokens are recognised.
    Skeleton(&'a str),
    /// From a message: nothing is special.
    Content(&'a str),
}

/// Why a text has no tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    /// More tokens than the limit.
    #[error("more than {limit} tokens")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The splitting expression gave up, or a byte has no token.
    #[error("text that this vocabulary cannot express")]
    Inexpressible,
}

/// A prompt on its way: what was told of it, and the text since the last special token.
struct Encoding<'t> {
    tokenizer: &'t Tokenizer,
    tokens: Zeroizing<Vec<u32>>,
    limit: usize,
    run: Zeroizing<String>,
    /// Whether the text began with `run`.
    is_first: bool,
    /// Whether spaces that come now belong to the special token before them.
    swallows: bool,
}

impl Tokenizer {
    /// The tokens of a prompt, at most `limit`. Text between two special tokens is split as one,
    /// whichever pieces it comes from.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub(crate) fn encode(
        &self,
        pieces: &[Piece<'_>],
        limit: usize,
    ) -> Result<Zeroizing<Vec<u32>>, EncodeError> {
        let lengths = pieces.iter().map(|piece| match piece {
            Piece::Skeleton(text) | Piece::Content(text) => text.len(),
        });
        let mut encoding = Encoding::new(self, lengths.sum(), limit);
        for piece in pieces {
            match piece {
                Piece::Content(text) => encoding.text(text),
                Piece::Skeleton(text) => encoding.skeleton(text)?,
            }
        }
        encoding.finish()
    }

    /// The tokens of a text that no template stands around, at most `limit`; around them those with
    /// which such texts start and end. Neither is looked for in a text: spaces beside them stay.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub(crate) fn encode_text(
        &self,
        text: &str,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u32>>, EncodeError> {
        let special = |name: Option<&str>| name.and_then(|name| self.special(name));
        let mut encoding = Encoding::new(self, text.len().saturating_add(2), limit);
        if let Some(start) = special(self.start()) {
            encoding.push(start)?;
        }
        encoding.text(text);
        encoding.end_run(false)?;
        if let Some(close) = special(self.close()) {
            encoding.push(close)?;
        }
        Ok(encoding.tokens)
    }
}

impl<'t> Encoding<'t> {
    fn new(tokenizer: &'t Tokenizer, length: usize, limit: usize) -> Self {
        // A composed text may be longer.
        let letters = length.saturating_mul(if tokenizer.composes { LONGEST } else { 1 });
        let most = letters.saturating_add(1).min(limit);
        Self {
            tokenizer,
            // Neither grows, so no copy is left behind: a token has at least one byte.
            tokens: Zeroizing::new(Vec::with_capacity(most)),
            run: Zeroizing::new(String::with_capacity(length)),
            limit,
            is_first: true,
            swallows: false,
        }
    }

    fn text(&mut self, text: &str) {
        let text = match self.swallows {
            true => text.trim_start(),
            false => text,
        };
        self.swallows &= text.is_empty();
        self.run.push_str(text);
    }

    fn skeleton(&mut self, mut text: &str) -> Result<(), EncodeError> {
        while let Some(character) = text.chars().next() {
            if let Some(special) = self.tokenizer.special_at(text) {
                self.special(special)?;
                text = text.get(special.name.len()..).unwrap_or_default();
            } else {
                let (letter, rest) = text
                    .split_at_checked(character.len_utf8())
                    .unwrap_or((text, ""));
                self.text(letter);
                text = rest;
            }
        }
        Ok(())
    }

    fn special(&mut self, special: &Special) -> Result<(), EncodeError> {
        self.end_run(special.strips_before)?;
        self.is_first = false;
        self.swallows = special.strips_behind;
        self.push(special.token)
    }

    fn push(&mut self, token: u32) -> Result<(), EncodeError> {
        push(&mut self.tokens, token, self.limit)
    }

    fn finish(mut self) -> Result<Zeroizing<Vec<u32>>, EncodeError> {
        self.end_run(false)?;
        Ok(self.tokens)
    }

    /// Turns what stands between two special tokens into tokens, but for the spaces at its end if
    /// they belong to the second.
    fn end_run(&mut self, strips: bool) -> Result<(), EncodeError> {
        let run = std::mem::take(&mut self.run);
        let mut rest = run.as_str();
        while let Some((at, special)) = self.tokenizer.blank_in(rest) {
            let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
            self.words(before)?;
            self.push(special.token)?;
            self.is_first = false;
            rest = from.get(special.name.len()..).unwrap_or_default();
        }
        self.words(if strips { rest.trim_end() } else { rest })?;
        // Its capacity is needed for the runs that follow.
        self.run = run;
        self.run.clear();
        Ok(())
    }

    fn words(&mut self, text: &str) -> Result<(), EncodeError> {
        if !self.tokenizer.composes || is_nfc_quick(text.chars()) == IsNormalized::Yes {
            return self.composed(text);
        }
        let most = text.len().saturating_mul(LONGEST);
        let mut composed = Zeroizing::new(String::with_capacity(most));
        composed.extend(text.nfc().map(|(character, _)| character));
        self.composed(&composed)
    }

    fn composed(&mut self, text: &str) -> Result<(), EncodeError> {
        let mut word = Zeroizing::new(Vec::new());
        let (merges, limit) = (&self.tokenizer.merges, self.limit);
        let (single, splitter, whole) = match &self.tokenizer.letters {
            Letters::Bytes {
                single,
                splitter,
                whole,
            } => (single, splitter, whole),
            Letters::Pieces(pieces) => {
                let letters = pieces.letters(text, self.is_first, &mut word);
                letters.map_err(|_| EncodeError::Inexpressible)?;
                merges.apply(&mut word);
                return word.iter().try_for_each(|token| self.push(*token));
            }
            Letters::Words(words) => {
                let tokens = &mut self.tokens;
                return words.for_each(text, |token| push(tokens, token, limit));
            }
        };
        let tokens = &mut self.tokens;
        splitter.for_each(text, |part| {
            if let Some(token) = whole.get(part.as_bytes()) {
                return push(tokens, *token, limit);
            }
            word.clear();
            for byte in part.bytes() {
                let single = single.get(usize::from(byte)).copied().flatten();
                word.push(single.ok_or(EncodeError::Inexpressible)?);
            }
            merges.apply(&mut word);
            word.iter()
                .try_for_each(|token| push(tokens, *token, limit))
        })
    }
}

fn push(tokens: &mut Vec<u32>, token: u32, limit: usize) -> Result<(), EncodeError> {
    if tokens.len() >= limit {
        return Err(EncodeError::TooLong { limit });
    }
    tokens.push(token);
    Ok(())
}
