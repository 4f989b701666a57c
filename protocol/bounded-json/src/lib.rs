//! Untrusted JSON as a bounded tree: depth and number of values are limited while it is read,
//! a member that occurs twice is refused, members keep their order.
//!
//! What the members mean is the reader's part: serve reads requests with it, engine schemas.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )
)]

extern crate alloc;

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// What a document may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Objects and lists within each other.
    pub depth: u32,
    /// Values of all kinds together.
    pub values: u32,
}

/// Why a document is not read. Where it is an object, `Malformed` and `TooLarge` come with its own
/// member in which that was found. Names of members are content: they do not print.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not one JSON document, or a number that is not finite.
    #[error("not one JSON document")]
    Malformed(Option<String>),
    /// Deeper or larger than its limits.
    #[error("deeper or larger than its limits")]
    TooLarge(Option<String>),
    /// A member, of whatever object, occurs twice.
    #[error("a member occurs twice")]
    Duplicate(String),
}

/// A value. Content: does not print.
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that fits.
    Whole(i128),
    /// Any other finite number.
    Real(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object, each name once.
    Object(Vec<(String, Json)>),
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool(_) => "a switch",
            Self::Whole(_) | Self::Real(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        })
    }
}

/// Reads exactly one value.
///
/// # Errors
/// See [`JsonError`].
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Json, JsonError> {
    let depth = limits.depth;
    let limits = Reading {
        values: Cell::new(limits.values),
        depth,
        member: RefCell::new(None),
        offence: RefCell::new(None),
    };
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let seed = Seed {
        limits: &limits,
        depth,
    };
    let parsed = seed.deserialize(&mut from).and_then(|value| {
        from.end()?;
        Ok(value)
    });
    parsed.map_err(|_| {
        let member = limits.member.take();
        match limits.offence.take() {
            Some(Offence::Repeats(name)) => JsonError::Duplicate(name),
            Some(Offence::TooLarge) => JsonError::TooLarge(member),
            None => JsonError::Malformed(member),
        }
    })
}

struct Reading {
    values: Cell<u32>,
    /// Of the whole document.
    depth: u32,
    /// The document's own member that is being read.
    member: RefCell<Option<String>>,
    offence: RefCell<Option<Offence>>,
}

/// What the text's own reader does not see.
enum Offence {
    TooLarge,
    Repeats(String),
}

impl Reading {
    fn refuse<E: Error>(&self, offence: Offence) -> E {
        self.offence.replace(Some(offence));
        E::custom("refused")
    }
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    limits: &'a Reading,
    depth: u32,
}

impl Seed<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        let depth = depth.ok_or_else(|| self.limits.refuse(Offence::TooLarge))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        let left = self.limits.values.get().checked_sub(1);
        let left = left.ok_or_else(|| self.limits.refuse(Offence::TooLarge))?;
        self.limits.values.set(left);
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Whole(i128::from(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Whole(i128::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        if value.is_finite() {
            Ok(Json::Real(value))
        } else {
            Err(E::custom("not finite"))
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let is_whole = self.depth == self.limits.depth;
        let inner = self.deeper()?;
        let mut object: Vec<(String, Json)> = Vec::new();
        let mut names = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(self.limits.refuse(Offence::Repeats(name)));
            }
            if is_whole {
                self.limits.member.replace(Some(name.clone()));
            }
            let value = members.next_value_seed(inner)?;
            if is_whole {
                self.limits.member.replace(None);
            }
            object.push((name, value));
        }
        Ok(Json::Object(object))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Whole(value) => to.serialize_i128(*value),
            Self::Real(value) => to.serialize_f64(*value),
            Self::Text(value) => to.serialize_str(value),
            Self::List(items) => to.collect_seq(items),
            Self::Object(members) => {
                let mut map = to.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const LIMITS: Limits = Limits {
        depth: 16,
        values: 4096,
    };

    fn code(text: &str) -> &'static str {
        match parse(text.as_bytes(), LIMITS) {
            Ok(_) => "taken",
            Err(JsonError::Malformed(_)) => "json-malformed",
            Err(JsonError::TooLarge(_)) => "json-too-large",
            Err(JsonError::Duplicate(_)) => "json-duplicate-member",
        }
    }

    #[test]
    fn refuses_depth_breadth_and_repetition_each_with_its_code() {
        assert_eq!(code(&"[".repeat(200_000)), "json-too-large");
        assert_eq!(code(&format!("[{}0]", "0,".repeat(5000))), "json-too-large");
        assert_eq!(code(r#"{"a":1,"b":2,"a":3}"#), "json-duplicate-member");
        assert_eq!(code(r#"{"a":{"b":1,"\u0062":2}}"#), "json-duplicate-member");
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            "{",
            "nul",
            "NaN",
            "1e999",
            "\"\\ud800\"",
            "{} {}",
            "[1,]",
            "\u{0}",
        ] {
            assert_eq!(code(text), "json-malformed", "{text:?}");
        }
        assert!(matches!(
            parse(b"\"\xff\"", LIMITS),
            Err(JsonError::Malformed(None))
        ));
    }

    #[test]
    fn names_the_documents_own_member_in_which_it_ended() {
        let deep = format!(r#"{{"a":1,"b":{{"c":{}"#, "[".repeat(99));
        let many = format!(r#"{{"a":1,"b":[{}0]}}"#, "0,".repeat(5000));
        for (text, expected) in [
            (deep.as_str(), JsonError::TooLarge(Some("b".to_owned()))),
            (&many, JsonError::TooLarge(Some("b".to_owned()))),
            (r#"{"a":NaN}"#, JsonError::Malformed(Some("a".to_owned()))),
            (r#"{"a":1e999}"#, JsonError::Malformed(Some("a".to_owned()))),
            (
                r#"{"a":{"b":"\ud800"}}"#,
                JsonError::Malformed(Some("a".to_owned())),
            ),
            (r#"{"a":1,b}"#, JsonError::Malformed(None)),
            (r#"{"a":1} x"#, JsonError::Malformed(None)),
            (r#"[{"a":NaN}]"#, JsonError::Malformed(None)),
        ] {
            assert_eq!(
                parse(text.as_bytes(), LIMITS).err(),
                Some(expected),
                "{text:.40}"
            );
        }
    }

    #[test]
    fn takes_every_kind_of_value() {
        assert_eq!(
            code(r#"{"a":[null,true,-1,18446744073709551615,0.5,"x"]}"#),
            "taken"
        );
    }

    #[test]
    fn a_document_is_written_as_it_was_read() {
        let text = r#"{"b":[null,true,-1,18446744073709551615,0.5,"x\n"],"a":{}}"#;
        let json = parse(text.as_bytes(), LIMITS).unwrap();
        assert_eq!(serde_json::to_string(&json).unwrap(), text);
    }
}
