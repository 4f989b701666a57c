//! Text to tokens and back: byte-level BPE and pieces, from the keys of a GGUF file (here) or from
//! a `tokenizer.json` (`json`).
//!
//! Special tokens exist only where the template's own text names them: [`Tokenizer::encode`] gets
//! the text in pieces and looks for them in [`Piece::Skeleton`] alone, so no content can forge a
//! turn. Only tables whose splitting rule is known are taken; candle-core's own reader of
//! tokenizers guesses and is not used. What is deliberately not here: the template.

mod bytes;
mod encode;
mod json;
mod merge;
mod pieces;
mod settings;
mod split;
mod steps;
#[cfg(test)]
mod tests;
mod vocabulary;
mod words;

use std::collections::HashMap;

use crate::gguf::ModelFile;
use crate::refusal::ModelError;
#[cfg(test)]
pub(crate) use bytes::name_of;
pub(crate) use encode::{EncodeError, Piece};
pub(crate) use json::{Described, Wants};
use merge::Merges;
use pieces::{Pieces, Prefix};
pub(crate) use settings::{Settings, ends_of};
use split::Splitter;
use words::{BEGINS, GaveUp, WordPart, Words};

/// Longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 1024;
/// Special tokens of one vocabulary.
const MAX_SPECIALS: usize = 4096;
/// Kinds of tokens (`llama_token_type`).
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// Names under which models end a turn, beside the keys that say so.
const END_NAMES: [&str; 7] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "</s>",
];
const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";
const MODEL: &str = "tokenizer.ggml.model";

/// The vocabulary and its rules.
pub(crate) struct Tokenizer {
    /// Bytes of each token; none for special ones.
    texts: Vec<Option<Box<[u8]>>>,
    /// Special tokens by the first byte of their text, longest first.
    specials: HashMap<u8, Vec<Special>>,
    /// Runs of spaces and line ends with tokens of their own, longest first.
    blanks: Vec<Special>,
    /// Whether texts are brought into Unicode's form NFC.
    composes: bool,
    letters: Letters,
    merges: Merges,
    ends: Vec<u32>,
    /// Names of the tokens with which texts start and end.
    frame: [Option<Box<str>>; 2],
    /// Whether a text that no template stands around begins with the first of them.
    starts: bool,
    /// Whether it ends with the second.
    closes: bool,
}

/// A token that is recognised by its text.
struct Special {
    name: Box<str>,
    token: u32,
    /// Whether spaces before it belong to it.
    strips_before: bool,
    /// Whether spaces behind it do.
    strips_behind: bool,
}

/// Tokens before any are joined.
enum Letters {
    /// Of each single byte of a word.
    Bytes {
        single: [Option<u32>; 256],
        splitter: Splitter,
        /// Words that are tokens, where these are never split further.
        whole: HashMap<Box<[u8]>, u32>,
    },
    /// Of each character of a text.
    Pieces(Pieces),
    /// None: words are looked up, not joined.
    Words(Words),
}

impl Letters {
    fn of_bytes(splitter: Splitter, ids: &HashMap<&str, u32>, texts: &Texts) -> Self {
        let mut single = [None; 256];
        for (byte, slot) in (0..=u8::MAX).zip(&mut single) {
            let name = bytes::name_of(byte);
            *slot = ids.get(&*name.encode_utf8(&mut [0; 4])).copied();
        }
        let mut whole = HashMap::new();
        if splitter.keeps_words {
            let named = texts.iter().zip(0_u32..);
            whole.extend(named.filter_map(|(text, id)| Some((text.clone()?, id))));
        }
        Self::Bytes {
            single,
            splitter,
            whole,
        }
    }

    /// Whether the makers of a splitting rule bring texts into the form NFC first.
    const fn composes(&self) -> bool {
        match self {
            Self::Bytes { splitter, .. } => splitter.composes,
            Self::Pieces(_) | Self::Words(_) => false,
        }
    }
}

impl Tokenizer {
    /// Reads the vocabulary of a GGUF file.
    ///
    /// # Errors
    /// `Key` for a key that is missing, contradicts another, or names an unknown rule.
    pub(crate) fn read(file: &ModelFile) -> Result<Self, ModelError> {
        let spelling = match file.text(MODEL)? {
            "gpt2" => Spelling::Letters,
            "llama" => Spelling::Pieces,
            "bert" => Spelling::Words,
            _ => return Err(key(MODEL)),
        };
        let names = file.texts(TOKENS)?;
        let kinds = file.numbers(KINDS)?;
        let ids = numbered(&names).ok_or(key(TOKENS))?;
        if kinds.len() != names.len() {
            return Err(key(KINDS));
        }
        let (texts, specials) = read_tokens(&names, &kinds, spelling)?;
        let (specials, blanks) = sorted(specials).ok_or(key(KINDS))?;
        let (letters, merges) = match spelling {
            Spelling::Letters => read_letters(file, &spelled(&ids, &texts), &texts)?,
            Spelling::Pieces => read_pieces(file, &names, &kinds)?,
            Spelling::Words => read_words(file, &names, &kinds)?,
        };
        let named = |key_name: &'static str| {
            let id = file.optional_number(key_name, key_name)?;
            let name = id.map(|id| {
                let name = usize::try_from(id).ok().and_then(|at| names.get(at));
                name.map(|name| Box::from(*name)).ok_or(key(key_name))
            });
            name.transpose()
        };
        Ok(Self {
            texts,
            specials,
            blanks,
            composes: letters.composes(),
            letters,
            merges,
            ends: match spelling {
                // An encoder ends nothing.
                Spelling::Words => Vec::new(),
                Spelling::Letters | Spelling::Pieces => read_ends(file, &ids, &kinds)?,
            },
            frame: match spelling {
                Spelling::Words => [
                    named(START)?.or(named(CLASS)?),
                    named(END)?.or(named(SEPARATOR)?),
                ],
                Spelling::Letters | Spelling::Pieces => [named(START)?, named(END)?],
            },
            starts: match spelling {
                Spelling::Pieces | Spelling::Words if !file.has(ADD_START) => true,
                Spelling::Pieces | Spelling::Letters | Spelling::Words => file.is_set(ADD_START)?,
            },
            closes: match spelling {
                Spelling::Words if !file.has(ADD_END) => true,
                Spelling::Pieces | Spelling::Letters | Spelling::Words => file.is_set(ADD_END)?,
            },
        })
    }

    /// What the template knows as `bos_token` and `eos_token`.
    pub(crate) fn frame(&self) -> [Option<&str>; 2] {
        self.frame.each_ref().map(Option::as_deref)
    }

    /// The token before a text that no template stands around, if it has one.
    pub(crate) fn start(&self) -> Option<&str> {
        let [start, _] = self.frame();
        start.filter(|_| self.starts)
    }

    /// The token after such a text, if it has one: only in models that give vectors.
    pub(crate) fn close(&self) -> Option<&str> {
        let [_, end] = self.frame();
        end.filter(|_| self.closes)
    }

    /// The bytes of a token; none for special ones and for numbers outside the vocabulary.
    pub(crate) fn text(&self, token: u32) -> &[u8] {
        let text = usize::try_from(token)
            .ok()
            .and_then(|at| self.texts.get(at));
        text.and_then(Option::as_deref).unwrap_or_default()
    }

    /// The special token of this name.
    pub(crate) fn special(&self, name: &str) -> Option<u32> {
        let found = self.special_at(name)?;
        (&*found.name == name).then_some(found.token)
    }

    /// Whether a token stands for no text, so that a template alone may name it.
    pub(crate) fn is_named_only(&self, token: u32) -> bool {
        let mut specials = self.specials.values().flatten();
        let text = usize::try_from(token)
            .ok()
            .and_then(|at| self.texts.get(at));
        text == Some(&None) && specials.any(|special| special.token == token)
    }

    /// How many numbers tokens have.
    pub(crate) const fn count(&self) -> usize {
        self.texts.len()
    }

    /// Whether a token ends an answer.
    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The tokens that end an answer.
    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends
    }

    fn special_at(&self, text: &str) -> Option<&Special> {
        let named = self.specials.get(text.as_bytes().first()?)?;
        named
            .iter()
            .find(|special| text.starts_with(&*special.name))
    }

    /// The first run of spaces in a text that a token of its own stands for.
    fn blank_in(&self, text: &str) -> Option<(usize, &Special)> {
        if self.blanks.is_empty() {
            return None;
        }
        let mut places = text.char_indices().filter(|(_, letter)| is_blank(*letter));
        places.find_map(|(at, _)| {
            let rest = text.get(at..)?;
            let mut named = self.blanks.iter();
            let found = named.find(|blank| rest.starts_with(&*blank.name))?;
            Some((at, found))
        })
    }
}

/// How names of tokens say their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// A letter for each byte.
    Letters,
    /// As it is, but for spaces; bytes by number.
    Pieces,
    /// As it is, but for a mark where a word begins.
    Words,
}

const START: &str = "tokenizer.ggml.bos_token_id";
const ADD_START: &str = "tokenizer.ggml.add_bos_token";
const END: &str = "tokenizer.ggml.eos_token_id";
pub(crate) const ADD_END: &str = "tokenizer.ggml.add_eos_token";
const PREFIX: &str = "tokenizer.ggml.add_space_prefix";

fn read_letters(
    file: &ModelFile,
    ids: &HashMap<&str, u32>,
    texts: &Texts,
) -> Result<(Letters, Merges), ModelError> {
    let pre = "tokenizer.ggml.pre";
    let splitter = Splitter::named(file.text(pre)?).ok_or(key(pre))?;
    let merges = Merges::read(&file.texts(MERGES)?, ids).ok_or(key(MERGES))?;
    Ok((Letters::of_bytes(splitter, ids, texts), merges))
}

fn read_pieces(
    file: &ModelFile,
    names: &[&str],
    kinds: &[i32],
) -> Result<(Letters, Merges), ModelError> {
    let scores = file.floats(SCORES)?;
    if scores.len() != names.len() {
        return Err(key(SCORES));
    }
    let mut bytes = [None; 256];
    let mut words = Vec::with_capacity(names.len());
    for ((id, name), (kind, score)) in (0_u32..).zip(names).zip(kinds.iter().zip(scores)) {
        match *kind {
            NORMAL | UNUSED => words.push((*name, id, score)),
            BYTE => {
                let byte = pieces::byte_of(name).ok_or(key(TOKENS))?;
                if let Some(slot) = bytes.get_mut(usize::from(byte)) {
                    *slot = Some(id);
                }
            }
            _ => {}
        }
    }
    let prefix = match !file.has(PREFIX) || file.is_set(PREFIX)? {
        true => Prefix::Always,
        false => Prefix::Never,
    };
    let (pieces, merges) = Pieces::read(&words, bytes, prefix);
    Ok((Letters::Pieces(pieces), merges))
}

impl From<GaveUp> for EncodeError {
    fn from(GaveUp: GaveUp) -> Self {
        Self::Inexpressible
    }
}

const CLASS: &str = "tokenizer.ggml.cls_token_id";
const SEPARATOR: &str = "tokenizer.ggml.seperator_token_id";
const UNKNOWN_WORD: &str = "tokenizer.ggml.unknown_token_id";
const LOWERS: &str = "tokenizer.ggml.normalizer.lowercase";
const STRIPS: &str = "tokenizer.ggml.normalizer.strip_accents";

/// Accents go with capitals, as in BERT's own vocabularies, or the model is refused.
fn read_words(
    file: &ModelFile,
    names: &[&str],
    kinds: &[i32],
) -> Result<(Letters, Merges), ModelError> {
    let unknown = file.optional_number(UNKNOWN_WORD, UNKNOWN_WORD)?;
    let known = |unknown: &u32| usize::try_from(*unknown).is_ok_and(|at| at < names.len());
    let unknown = unknown.filter(known).ok_or(key(UNKNOWN_WORD))?;
    let lowers = file.optional_flag(LOWERS, LOWERS)?.unwrap_or(true);
    if file.optional_flag(STRIPS, STRIPS)?.unwrap_or(lowers) != lowers {
        return Err(key(STRIPS));
    }
    let words = (0_u32..).zip(names).zip(kinds);
    let words = words.filter(|(_, kind)| matches!(**kind, NORMAL | UNUSED));
    let parts = words.map(|((token, name), _)| {
        let text = name.strip_prefix(BEGINS);
        WordPart {
            begins: text.is_some(),
            text: text.unwrap_or(name),
            token,
        }
    });
    let words = Words::read(parts, unknown, lowers);
    Ok((
        Letters::Words(words.ok_or(key(MODEL))?),
        Merges::of(HashMap::new()),
    ))
}

type Texts = Vec<Option<Box<[u8]>>>;
type Specials = HashMap<u8, Vec<Special>>;

fn read_tokens(
    names: &[&str],
    kinds: &[i32],
    spelling: Spelling,
) -> Result<(Texts, Vec<Special>), ModelError> {
    let mut texts = Vec::with_capacity(names.len());
    let mut specials = Vec::new();
    for ((id, name), kind) in (0_u32..).zip(names).zip(kinds) {
        match (*kind, spelling) {
            (NORMAL | UNUSED, Spelling::Pieces) => texts.push(Some(pieces::text_of(name))),
            (BYTE, Spelling::Pieces) => {
                let byte = pieces::byte_of(name).ok_or(key(TOKENS))?;
                texts.push(Some(Box::new([byte])));
            }
            (NORMAL | UNUSED, Spelling::Words) => texts.push(Some(name.as_bytes().into())),
            (UNKNOWN, Spelling::Pieces) => texts.push(None),
            (NORMAL | UNUSED, Spelling::Letters) => {
                let text = name
                    .chars()
                    .map(bytes::byte_of)
                    .collect::<Option<Vec<u8>>>();
                texts.push(Some(text.ok_or(key(TOKENS))?.into_boxed_slice()));
            }
            (CONTROL | USER_DEFINED, _) => {
                specials.push(Special {
                    name: (*name).into(),
                    token: id,
                    strips_before: false,
                    strips_behind: false,
                });
                // What a control token says is not text; a user-defined one is written as it is.
                texts.push(match (*kind, spelling) {
                    (USER_DEFINED, Spelling::Pieces) => Some(pieces::text_of(name)),
                    (USER_DEFINED, Spelling::Letters | Spelling::Words) => {
                        Some(name.as_bytes().into())
                    }
                    (_, _) => None,
                });
            }
            (_, _) => return Err(key(KINDS)),
        }
    }
    Ok((texts, specials))
}

/// Numbers by names; none where a name is too long, or there twice.
fn numbered<'a>(names: &[&'a str]) -> Option<HashMap<&'a str, u32>> {
    let mut ids = HashMap::with_capacity(names.len());
    for (id, name) in (0_u32..).zip(names) {
        if name.len() > MAX_TOKEN_BYTES || ids.insert(*name, id).is_some() {
            return None;
        }
    }
    Some(ids)
}

/// Tokens that stand for a text, by their names.
fn spelled<'a>(ids: &HashMap<&'a str, u32>, texts: &Texts) -> HashMap<&'a str, u32> {
    let text = |id: u32| texts.get(usize::try_from(id).ok()?)?.as_ref();
    let all = ids.iter().map(|(name, id)| (*name, *id));
    all.filter(|(_, id)| text(*id).is_some()).collect()
}

/// Those by whose first byte texts are looked at, and those that say spaces and nothing else, which
/// forge nothing in a message either. None where there are too many, or one has no name.
fn sorted(mut all: Vec<Special>) -> Option<(Specials, Vec<Special>)> {
    if all.len() > MAX_SPECIALS {
        return None;
    }
    all.sort_by_key(|special| std::cmp::Reverse(special.name.len()));
    let (mut specials, mut blanks): (Specials, _) = (HashMap::new(), Vec::new());
    for special in all {
        let first = *special.name.as_bytes().first()?;
        if special.name.chars().all(is_blank) {
            blanks.push(special);
        } else {
            specials.entry(first).or_default().push(special);
        }
    }
    Some((specials, blanks))
}

/// What Gemma's runs are made of.
const fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\n' | '\t' | '\r')
}

fn read_ends(
    file: &ModelFile,
    ids: &HashMap<&str, u32>,
    kinds: &[i32],
) -> Result<Vec<u32>, ModelError> {
    let kind = |id: u32| {
        usize::try_from(id)
            .ok()
            .and_then(|at| kinds.get(at))
            .copied()
    };
    let mut ends = Vec::new();
    for name in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"] {
        if let Some(id) = file.optional_number(name, name)? {
            kind(id).ok_or(key(name))?;
            ends.push(id);
        }
    }
    let named = END_NAMES.iter().filter_map(|name| ids.get(name).copied());
    ends.extend(named.filter(|id| kind(*id) == Some(CONTROL)));
    ends.sort_unstable();
    ends.dedup();
    (!ends.is_empty())
        .then_some(ends)
        .ok_or(key("tokenizer.ggml.eos_token_id"))
}

const fn key(key: &'static str) -> ModelError {
    ModelError::Key { key }
}
