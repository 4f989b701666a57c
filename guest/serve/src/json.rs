//! Untrusted JSON as a bounded tree: depth and number of values are limited while it is read,
//! a member that occurs twice is refused, members keep their order.
//!
//! What the members mean is `api`'s part. The tree holds content, so it does not print.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::errors::{Refusal, repeatable_name};

/// Objects and lists within each other.
const MAX_DEPTH: u32 = 16;
/// Values of all kinds together.
const MAX_VALUES: u32 = 4096;

/// A value.
pub(crate) enum Json {
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

/// Reads exactly one value.
pub(crate) fn parse(bytes: &[u8]) -> Result<Json, Refusal> {
    let limits = Limits {
        values: Cell::new(MAX_VALUES),
        offence: RefCell::new(None),
    };
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let seed = Seed {
        limits: &limits,
        depth: MAX_DEPTH,
    };
    let parsed = seed.deserialize(&mut from).and_then(|value| {
        from.end()?;
        Ok(value)
    });
    parsed.map_err(|_| limits.offence.take().unwrap_or(Refusal::JsonMalformed))
}

struct Limits {
    values: Cell<u32>,
    offence: RefCell<Option<Refusal>>,
}

impl Limits {
    fn refuse<E: Error>(&self, refusal: Refusal) -> E {
        self.offence.replace(Some(refusal));
        E::custom("refused")
    }
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    limits: &'a Limits,
    depth: u32,
}

impl Seed<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        let depth = depth.ok_or_else(|| self.limits.refuse(Refusal::JsonTooLarge))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        let left = self.limits.values.get().checked_sub(1);
        let left = left.ok_or_else(|| self.limits.refuse(Refusal::JsonTooLarge))?;
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
            Err(self.limits.refuse(Refusal::JsonMalformed))
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
        let inner = self.deeper()?;
        let mut object: Vec<(String, Json)> = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name.clone()) {
                let member = repeatable_name(&name);
                return Err(self.limits.refuse(Refusal::JsonDuplicate { member }));
            }
            let value = members.next_value_seed(inner)?;
            object.push((name, value));
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        parse(text.as_bytes()).map_or_else(|refusal| refusal.code(), |_| "taken")
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
        assert_eq!(
            parse(b"\"\xff\"").map_or_else(|refusal| refusal.code(), |_| "taken"),
            "json-malformed"
        );
    }

    #[test]
    fn takes_every_kind_of_value() {
        assert_eq!(
            code(r#"{"a":[null,true,-1,18446744073709551615,0.5,"x"]}"#),
            "taken"
        );
    }
}
