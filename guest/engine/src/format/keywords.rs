//! The keywords of one JSON Schema, each with the type that it must have; what they mean together
//! is `schema`'s part.

use bounded_json::Json;

use super::schema::{SchemaRefused, refused};

/// Keywords that narrow nothing.
const DESCRIPTIONS: [&str; 9] = [
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
    "$schema",
];

/// The kinds of value that a schema can name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    List,
    Text,
    Number,
    Whole,
    Switch,
    Null,
}

const KINDS: [(&str, Kind); 7] = [
    ("object", Kind::Object),
    ("array", Kind::List),
    ("string", Kind::Text),
    ("number", Kind::Number),
    ("integer", Kind::Whole),
    ("boolean", Kind::Switch),
    ("null", Kind::Null),
];

/// The keywords of one schema.
#[derive(Default)]
pub(super) struct Keywords<'s> {
    pub(super) kinds: Option<Vec<Kind>>,
    pub(super) reference: Option<&'s str>,
    pub(super) any_of: Option<&'s [Json]>,
    pub(super) all_of: Option<&'s [Json]>,
    pub(super) literals: Option<(&'static str, &'s [Json])>,
    pub(super) properties: Option<&'s [(String, Json)]>,
    pub(super) required: &'s [Json],
    pub(super) additional: Option<&'s Json>,
    pub(super) items: Option<&'s Json>,
    pub(super) item_counts: [Option<u16>; 2],
    pub(super) lengths: [Option<u16>; 2],
}

impl<'s> Keywords<'s> {
    pub(super) fn of(members: &'s [(String, Json)]) -> Result<Self, SchemaRefused> {
        let mut found = Self::default();
        for (name, value) in members {
            found.take(name, value)?;
        }
        Ok(found)
    }

    fn take(&mut self, name: &'s str, value: &'s Json) -> Result<(), SchemaRefused> {
        match (name, value) {
            ("type", Json::Text(kind)) => self.kinds = Some(vec![kind_of(kind)?]),
            ("type", Json::List(kinds)) if !kinds.is_empty() => {
                let kinds = kinds.iter().map(named_kind);
                self.kinds = Some(kinds.collect::<Result<_, _>>()?);
            }
            ("$ref", Json::Text(reference)) => self.reference = Some(reference),
            ("anyOf", Json::List(list)) => self.any_of = Some(list),
            ("allOf", Json::List(list)) => self.all_of = Some(list),
            ("enum", Json::List(list)) => self.literals = Some(("enum", list)),
            ("const", value) => self.literals = Some(("const", std::slice::from_ref(value))),
            ("properties", Json::Object(members)) => self.properties = Some(members),
            ("required", Json::List(names)) => self.required = names,
            ("additionalProperties", Json::Bool(_) | Json::Object(_)) => {
                self.additional = Some(value);
            }
            ("items", Json::Bool(_) | Json::Object(_)) => self.items = Some(value),
            ("minItems", _) => self.item_counts[0] = Some(count(value, "minItems")?),
            ("maxItems", _) => self.item_counts[1] = Some(limit(value, "maxItems")?),
            ("minLength", _) => self.lengths[0] = Some(count(value, "minLength")?),
            ("maxLength", _) => self.lengths[1] = Some(limit(value, "maxLength")?),
            ("$defs" | "definitions", Json::Object(_)) => {}
            (name, _) if DESCRIPTIONS.contains(&name) => {}
            (name, _) => return Err(refused(name)),
        }
        Ok(())
    }

    /// Whether nothing stands beside a keyword that stands alone.
    pub(super) fn only(&self) -> bool {
        let alone = [
            self.reference.is_some(),
            self.any_of.is_some(),
            self.all_of.is_some(),
            self.literals.is_some(),
        ];
        let alone = alone.iter().filter(|one| **one).count();
        let beside = self.kinds.is_some() && self.literals.is_none()
            || self.properties.is_some()
            || !self.required.is_empty()
            || self.additional.is_some()
            || self.items.is_some()
            || self.item_counts != [None; 2]
            || self.lengths != [None; 2];
        alone == 1 && !beside
    }
}

fn named_kind(kind: &Json) -> Result<Kind, SchemaRefused> {
    let Json::Text(name) = kind else {
        return Err(refused("type"));
    };
    kind_of(name)
}

fn kind_of(name: &str) -> Result<Kind, SchemaRefused> {
    let found = KINDS.iter().find(|(known, _)| *known == name);
    found.map(|(_, kind)| *kind).ok_or_else(|| refused("type"))
}

fn count(value: &Json, keyword: &str) -> Result<u16, SchemaRefused> {
    if let Json::Whole(number) = value
        && let Ok(number) = u16::try_from(*number)
    {
        return Ok(number);
    }
    Err(refused(keyword))
}

/// A limit; one that is higher than can be counted is lowered.
fn limit(value: &Json, keyword: &str) -> Result<u16, SchemaRefused> {
    if let Json::Whole(number) = value
        && *number > i128::from(u16::MAX)
    {
        return Ok(u16::MAX);
    }
    count(value, keyword)
}
