//! The long lists of a `tokenizer.json`, each bounded while it is read.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Tokens, rules or added tokens, at most.
const MOST: usize = 1 << 20;

/// A token beside the vocabulary, or one of it that is recognised by its text.
#[derive(Deserialize)]
pub(super) struct Added {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default)]
    pub(super) special: bool,
}

/// A rule that joins two tokens: `"left right"`, or a list of both.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Pairs {
    Joined(String),
    Apart(String, String),
}

impl Pairs {
    /// Its halves.
    pub(super) fn halves(&self) -> Option<(&str, &str)> {
        match self {
            Self::Joined(text) => text.split_once(' '),
            Self::Apart(left, right) => Some((left, right)),
        }
    }
}

/// A list that is not longer than any that is known.
pub(super) struct Bounded<T>(pub(super) Vec<T>);

/// Names and numbers of tokens, in the file's order. A name that is there twice stays there twice.
pub(super) struct Vocab(pub(super) Vec<(String, u32)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Bounded<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(ListVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(VocabVisitor)
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Bounded<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() >= MOST {
                return Err(A::Error::custom("longer than any that is known"));
            }
            list.push(item);
        }
        Ok(Bounded(list))
    }
}

struct VocabVisitor;

impl<'de> Visitor<'de> for VocabVisitor {
    type Value = Vocab;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
        let mut words = Vec::new();
        while let Some(entry) = map.next_entry()? {
            if words.len() >= MOST {
                return Err(A::Error::custom("more tokens than any vocabulary has"));
            }
            words.push(entry);
        }
        Ok(Vocab(words))
    }
}
