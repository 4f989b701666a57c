//! A vocabulary from a `tokenizer.json`, as the library `tokenizers` writes it, and what stands
//! beside it.
//!
//! A file says in general terms what is done to a text; taken are the ways of the families that are
//! served, recognised as a whole, and every other is refused by the part that is not known. What is
//! deliberately not here: truncation and padding, which transformers sets for itself.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;

use super::steps::{Around, Expected, Joining, Step};
use super::vocabulary::{Added, Bounded, Pairs, Vocab};
use super::words::{GOES_ON, MAX_CHARACTERS, WordPart, Words};
use super::{
    BYTE, CONTROL, END_NAMES, Letters, MAX_TOKEN_BYTES, Merges, NORMAL, Pieces, Special, Spelling,
    Splitter, Texts, Tokenizer, USER_DEFINED, pieces, read_tokens, sorted, spelled,
};
use crate::refusal::ModelError;

/// Tokens of one vocabulary, and rules of one.
const MAX_TOKENS: usize = 1 << 20;

/// A `tokenizer.json` and what is said beside it.
pub(crate) struct Described<'a> {
    /// The text of the file.
    pub(crate) tokenizer: &'a [u8],
    /// Names of the tokens with which texts start and end.
    pub(crate) frame: [Option<&'a str>; 2],
    /// What the model is to do with texts.
    pub(crate) wants: Wants,
}

/// What a model does with texts, beside how it reads them.
pub(crate) enum Wants {
    /// It goes on with them.
    Answers {
        /// Numbers of tokens that end an answer, beside the last token of the frame.
        ends: Vec<u32>,
    },
    /// It gives their vectors: the file alone says what stands around a text, and nothing ends.
    Vectors {
        /// Whether letters are made small, if that is said elsewhere too.
        lowers: Option<bool>,
    },
}

/// Members that are read.
#[derive(Deserialize)]
struct File {
    added_tokens: Bounded<Added>,
    normalizer: Option<Step>,
    pre_tokenizer: Option<Step>,
    post_processor: Option<Step>,
    decoder: Option<Step>,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: String,
    dropout: Option<f32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    vocab: Vocab,
    merges: Option<Bounded<Pairs>>,
    unk_token: Option<String>,
    max_input_chars_per_word: Option<usize>,
}

pub(super) const fn part(part: &'static str) -> ModelError {
    ModelError::Tokenizer { part }
}

impl Tokenizer {
    /// Reads the vocabulary.
    ///
    /// # Errors
    /// `Tokenizer` for a part that is missing, contradicts another, or is not known.
    pub(crate) fn from_json(described: &Described<'_>) -> Result<Self, ModelError> {
        let file: File = serde_json::from_slice(described.tokenizer).map_err(|_| part("form"))?;
        file.model.refuse_unsupported()?;
        let expected = Expected::of(
            file.normalizer.as_ref(),
            file.pre_tokenizer.as_ref(),
            file.decoder.as_ref(),
        )?;
        let spelling = expected.joining.spelling();
        if file.model.byte_fallback.unwrap_or(false) != (spelling == Spelling::Pieces) {
            return Err(part("byte_fallback"));
        }
        let unknown = |one: &Added| one.single_word || (one.normalized && expected.prepends);
        if file.added_tokens.0.iter().any(unknown) {
            return Err(part("added_tokens"));
        }
        let table = Table::of(&file.model.vocab.0, &file.added_tokens.0, spelling)?;
        let named = read_tokens(&table.names, &table.kinds, spelling);
        let (texts, specials) = named.map_err(|_| part("vocab"))?;
        let specials = flagged(specials, &file.added_tokens.0);
        let strip = |special: &Special| special.strips_before || special.strips_behind;
        let strips = specials.iter().any(strip);
        let (specials, blanks) = sorted(specials).ok_or(part("added_tokens"))?;
        // Where both meet the library tells spaces twice; no family has both.
        if strips && !blanks.is_empty() {
            return Err(part("added_tokens"));
        }
        let spelled = spelled(&table.ids, &texts);
        let merges = file.model.rules(&spelled, expected.joining)?;
        let letters = file
            .model
            .letters(&spelled, &table.ids, (expected.joining, &texts))?;
        let around = Step::around(file.post_processor.as_ref(), &table.ids)?;
        let (frame, ends, starts) = described.frame_and_ends(&table, around, expected.joining)?;
        Ok(Self {
            ends,
            texts,
            specials,
            blanks,
            composes: expected.composes,
            letters,
            merges,
            frame: frame.map(|name| name.map(Box::from)),
            starts,
            // What stands behind a text is refused of a model that goes on after it.
            closes: matches!(described.wants, Wants::Vectors { .. }),
        })
    }
}

impl<'a> Described<'a> {
    /// The names around texts, what ends an answer, and whether a text alone begins with the first
    /// of these names.
    fn frame_and_ends<'f>(
        &self,
        table: &Table<'_>,
        around: Around<'f>,
        joining: Joining,
    ) -> Result<(Around<'f>, Vec<u32>, bool), ModelError>
    where
        'a: 'f,
    {
        match &self.wants {
            Wants::Vectors { lowers } => {
                let agrees = match (joining, lowers) {
                    (Joining::Whole { lowers: own }, Some(said)) => own == *said,
                    (_, _) => true,
                };
                let all = (around, Vec::new(), true);
                agrees.then_some(all).ok_or(part("do_lower_case"))
            }
            Wants::Answers { ends } => {
                if matches!(joining, Joining::Whole { .. }) {
                    return Err(part("type"));
                }
                for (name, wanted) in self.frame.into_iter().zip(["bos_token", "eos_token"]) {
                    if name.is_some_and(|name| !table.ids.contains_key(name)) {
                        return Err(part(wanted));
                    }
                }
                let [start, end] = self.frame;
                let starts = match around {
                    [None, None] => false,
                    [Some(name), None] if start == Some(name) => true,
                    [_, _] => return Err(part("post_processor")),
                };
                Ok((self.frame, table.ends(end, ends)?, starts))
            }
        }
    }
}

impl Model {
    fn refuse_unsupported(&self) -> Result<(), ModelError> {
        let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let asked = [
            ("type", !matches!(self.kind.as_str(), "BPE" | "WordPiece")),
            ("dropout", self.dropout.is_some_and(|share| share != 0.0)),
            (
                "continuing_subword_prefix",
                self.kind == "BPE" && said(&self.continuing_subword_prefix),
            ),
            ("end_of_word_suffix", said(&self.end_of_word_suffix)),
        ];
        let asked = asked.into_iter().find(|(_, asked)| *asked);
        asked.map_or(Ok(()), |(name, _)| Err(part(name)))
    }

    /// The rules that join letters: none of a vocabulary of whole words. No rule makes a token that
    /// a template alone may name.
    fn rules(&self, ids: &HashMap<&str, u32>, joining: Joining) -> Result<Merges, ModelError> {
        let is_whole = matches!(joining, Joining::Whole { .. });
        if is_whole != (self.kind == "WordPiece") {
            return Err(part("type"));
        }
        match &self.merges {
            None if is_whole => Ok(Merges::of(HashMap::new())),
            Some(rules) if !is_whole => {
                Merges::pairs(rules.0.iter().map(Pairs::halves), ids).ok_or(part("merges"))
            }
            Some(_) | None => Err(part("merges")),
        }
    }

    /// How texts become letters; `spelled` are the tokens that stand for texts.
    fn letters(
        &self,
        spelled: &HashMap<&str, u32>,
        all: &HashMap<&str, u32>,
        (joining, texts): (Joining, &Texts),
    ) -> Result<Letters, ModelError> {
        Ok(match joining {
            Joining::Words(rule) => {
                let splitter = Splitter::of(rule).ok_or(part("pre_tokenizer"))?;
                let keeps_words = self.ignore_merges.unwrap_or(false);
                Letters::of_bytes(splitter.keeping(keeps_words), spelled, texts)
            }
            Joining::Pieces(prefix) => Letters::Pieces(Pieces::ranked(spelled, prefix)),
            Joining::Whole { lowers } => Letters::Words(self.words(spelled, all, lowers)?),
        })
    }

    /// The table of whole words and of what goes on within them.
    fn words(
        &self,
        spelled: &HashMap<&str, u32>,
        all: &HashMap<&str, u32>,
        lowers: bool,
    ) -> Result<Words, ModelError> {
        if self.continuing_subword_prefix.as_deref() != Some(GOES_ON) {
            return Err(part("continuing_subword_prefix"));
        }
        if self.max_input_chars_per_word != Some(MAX_CHARACTERS) {
            return Err(part("max_input_chars_per_word"));
        }
        let unknown = self.unk_token.as_deref().and_then(|name| all.get(name));
        let unknown = unknown.ok_or(part("unk_token"))?;
        let parts = spelled.iter().map(|(name, token)| {
            let text = name.strip_prefix(GOES_ON);
            WordPart {
                begins: text.is_none(),
                text: text.unwrap_or(name),
                token: *token,
            }
        });
        Words::read(parts, *unknown, lowers).ok_or(part("model"))
    }
}

/// Names and kinds of all numbers from 0 on.
struct Table<'a> {
    names: Vec<&'a str>,
    kinds: Vec<i32>,
    ids: HashMap<&'a str, u32>,
}

impl<'a> Table<'a> {
    fn of(
        words: &'a [(String, u32)],
        added: &'a [Added],
        spelling: Spelling,
    ) -> Result<Self, ModelError> {
        let of_added = |one: &'a Added| (one.content.as_str(), one.id);
        let words_named = words.iter().map(|(name, id)| (name.as_str(), *id));
        let mut by_id = BTreeMap::new();
        let mut ids = HashMap::with_capacity(words.len());
        for (name, id) in words_named.chain(added.iter().map(of_added)) {
            // An added token may be one of the vocabulary's own: then they agree.
            let other = by_id.insert(id, name).is_some_and(|other| other != name)
                || ids.insert(name, id).is_some_and(|other| other != id);
            if other || name.is_empty() || name.len() > MAX_TOKEN_BYTES {
                return Err(part("vocab"));
            }
        }
        let last = by_id.last_key_value().map(|(id, _)| *id);
        let last = last.and_then(|id| usize::try_from(id).ok());
        let last = last
            .filter(|last| *last < MAX_TOKENS)
            .ok_or(part("vocab"))?;
        let own: HashSet<&str> = words.iter().map(|(name, _)| name.as_str()).collect();
        // The library numbers those that are not the vocabulary's own itself, from its length on.
        let others = added
            .iter()
            .filter(|one| !own.contains(one.content.as_str()));
        let numbered = (words.len()..).zip(others);
        if !numbered
            .into_iter()
            .all(|(id, one)| u32::try_from(id) == Ok(one.id))
        {
            return Err(part("added_tokens"));
        }
        // Numbers that nothing has are tokens without a text, which no text is made of.
        let mut names = vec![""; last.saturating_add(1)];
        let mut kinds = vec![NORMAL; names.len()];
        let at = |id: u32| usize::try_from(id).unwrap_or(usize::MAX);
        for (id, name) in by_id {
            let is_byte = spelling == Spelling::Pieces && pieces::byte_of(name).is_some();
            if let (Some(slot), Some(kind)) = (names.get_mut(at(id)), kinds.get_mut(at(id))) {
                *slot = name;
                *kind = if is_byte { BYTE } else { NORMAL };
            }
        }
        for one in added {
            if let Some(kind) = kinds.get_mut(at(one.id)) {
                *kind = if one.special { CONTROL } else { USER_DEFINED };
            }
        }
        Ok(Self { names, kinds, ids })
    }

    fn ends(&self, end: Option<&str>, more: &[u32]) -> Result<Vec<u32>, ModelError> {
        let wrong = part("eos_token");
        let kind = |id: u32| self.kinds.get(usize::try_from(id).ok()?).copied();
        let mut ends: Vec<u32> = end
            .and_then(|end| self.ids.get(end))
            .copied()
            .into_iter()
            .collect();
        for id in more {
            kind(*id).ok_or(wrong)?;
            ends.push(*id);
        }
        let named = END_NAMES
            .iter()
            .filter_map(|name| self.ids.get(name).copied());
        ends.extend(named.filter(|id| kind(*id) == Some(CONTROL)));
        ends.sort_unstable();
        ends.dedup();
        (!ends.is_empty()).then_some(ends).ok_or(wrong)
    }
}

/// The same tokens, with what their file says of the spaces around them.
fn flagged(specials: Vec<Special>, added: &[Added]) -> Vec<Special> {
    let flags: HashMap<u32, &Added> = added.iter().map(|one| (one.id, one)).collect();
    let flagged = specials
        .into_iter()
        .map(|special| match flags.get(&special.token) {
            Some(one) => Special {
                strips_before: one.lstrip,
                strips_behind: one.rstrip,
                ..special
            },
            None => special,
        });
    flagged.collect()
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
