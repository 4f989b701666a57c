//! `docs/spec/policy.schema.json` and the Rust types take and refuse the same documents.
//!
//! The schema is read by a small validator that knows exactly the keywords that the schema uses,
//! and stops at any other: so no keyword is passed over in silence.

use serde_json::{Map, Value, json};
use verifier::{AppraisalPolicy, Weakness};

const SCHEMA: &str = include_str!("../../../docs/spec/policy.schema.json");

struct Schema(Value);

impl Schema {
    fn open() -> Self {
        Self(serde_json::from_str(SCHEMA).unwrap())
    }

    fn takes(&self, document: &Value) -> bool {
        self.holds(&self.0, document)
    }

    fn holds(&self, rule: &Value, value: &Value) -> bool {
        let members = rule.as_object().unwrap();
        let mut keywords = members.iter();
        keywords.all(|(keyword, operand)| self.keyword(keyword, operand, members, value))
    }

    fn keyword(
        &self,
        keyword: &str,
        operand: &Value,
        rule: &Map<String, Value>,
        value: &Value,
    ) -> bool {
        match keyword {
            "$schema" | "title" | "description" | "$defs" => true,
            "$ref" => {
                let pointer = operand.as_str().unwrap().strip_prefix('#').unwrap();
                self.holds(self.0.pointer(pointer).unwrap(), value)
            }
            "type" => match operand.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_u64() || value.is_i64(),
                "null" => value.is_null(),
                other => panic!("type {other}"),
            },
            "const" => value == operand,
            "enum" => operand.as_array().unwrap().contains(value),
            "oneOf" => {
                let rules = operand.as_array().unwrap().iter();
                rules.filter(|each| self.holds(each, value)).count() == 1
            }
            "items" => {
                let items = value.as_array();
                items.is_none_or(|items| items.iter().all(|item| self.holds(operand, item)))
            }
            "minimum" | "maximum" => bounded(keyword, operand, value),
            "pattern" => value.as_str().is_none_or(|text| matches(operand, text)),
            "required" => {
                let there = |name: &Value| value.get(name.as_str().unwrap()).is_some();
                !value.is_object() || operand.as_array().unwrap().iter().all(there)
            }
            "properties" => self.members_hold(operand, value),
            "additionalProperties" => {
                assert_eq!(operand, &json!(false));
                let known = rule["properties"].as_object().unwrap();
                let members = value.as_object();
                members.is_none_or(|members| members.keys().all(|name| known.contains_key(name)))
            }
            other => panic!("keyword {other}"),
        }
    }
}

impl Schema {
    fn members_hold(&self, rules: &Value, value: &Value) -> bool {
        let mut members = value.as_object().into_iter().flatten();
        members.all(|(name, member)| rules.get(name).is_none_or(|rule| self.holds(rule, member)))
    }
}

fn bounded(keyword: &str, operand: &Value, value: &Value) -> bool {
    let bound = operand.as_u64().unwrap();
    match (keyword, value.as_u64()) {
        ("minimum", Some(number)) => number >= bound,
        ("maximum", Some(number)) => number <= bound,
        // A negative number, or no number at all, which `type` refuses.
        (_, _) => false,
    }
}

fn matches(pattern: &Value, text: &str) -> bool {
    let hex = |digits| {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.len() == digits && text.bytes().all(digit)
    };
    match pattern.as_str().unwrap() {
        "^[0-9a-f]{16}$" => hex(16),
        "^[0-9a-f]{64}$" => hex(64),
        "^[0-9a-f]{96}$" => hex(96),
        "^([0-9a-f]{32}|[0-9a-f]{128})$" => hex(32) || hex(128),
        "^INTEL-SA-[0-9]{5}$" => text.strip_prefix("INTEL-SA-").is_some_and(|number| {
            number.len() == 5 && number.bytes().all(|byte| byte.is_ascii_digit())
        }),
        r"^[0-9]{1,5}(\.[0-9]{1,5}){1,3}$" => {
            let number = |part: &str| {
                (1..=5).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
            };
            (2..=4).contains(&text.split('.').count()) && text.split('.').all(number)
        }
        r"^[0-9A-F]{2}(\.[0-9A-F]{2}){4}$" => {
            let digit = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
            let byte = |part: &str| part.len() == 2 && part.bytes().all(digit);
            text.split('.').count() == 5 && text.split('.').all(byte)
        }
        other => panic!("pattern {other}"),
    }
}

/// A policy in which every list has something in it.
fn full() -> Value {
    let text = AppraisalPolicy::testing().to_json().unwrap();
    let mut policy: Value = serde_json::from_str(&text).unwrap();
    policy["chips"]["allowed"] = json!({"only": ["0a".repeat(64), "0b".repeat(16)]});
    policy["chips"]["denied"] = json!(["0c".repeat(16)]);
    policy["providers"] = json!({"only": ["0e".repeat(32)]});
    policy["tdx"]["levels"][0]["advisories"] = json!(["INTEL-SA-00837"]);
    policy["tdx"]["modules"] = json!({"only": ["0d".repeat(48)]});
    policy["snp"]["tcb_minima"][0]["model"] = json!(17);
    policy["snp"]["tcb_minima"][0]["mitigations"] = json!(u64::MAX);
    policy
}

/// What schema and types say of a document, which must be the same.
fn taken(document: &Value, name: &str) -> bool {
    let text = serde_json::to_vec(document).unwrap();
    let by_types = AppraisalPolicy::parse(&text).is_ok();
    let by_schema = Schema::open().takes(document);
    assert_eq!(
        by_types, by_schema,
        "{name}: types {by_types}, schema {by_schema}"
    );
    by_types
}

/// Every place of a document, as a JSON pointer.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                places(member, &format!("{at}/{name}"), into);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                places(item, &format!("{at}/{number}"), into);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn all_places() -> Vec<String> {
    let mut found = Vec::new();
    places(&full(), "", &mut found);
    found
}

#[test]
fn both_take_the_built_in_policies_and_one_with_every_list_filled() {
    for (name, policy) in AppraisalPolicy::built_in() {
        let text = policy.to_json().unwrap();
        assert!(taken(&serde_json::from_str(&text).unwrap(), name));
    }
    assert!(taken(&full(), "full"));
}

#[test]
fn both_say_the_same_of_every_value_put_in_every_place() {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(255),
        json!(256),
        json!(-1),
        json!(4_294_967_295_u64),
        json!(4_294_967_296_u64),
        json!(u64::MAX),
        json!(""),
        json!("fresh"),
        json!("every"),
        json!("all-of-intel"),
        json!("snp-smt"),
        json!("snp-debug"),
        json!("genoa"),
        json!("up-to-date"),
        json!("revoked"),
        json!("INTEL-SA-0083"),
        json!("550.90.07"),
        json!("550"),
        json!("96.00.5E.00.01"),
        json!("96.00.5e.00.01"),
        json!("hopper"),
        json!({"age-seconds": 1}),
        json!("0a".repeat(8)),
        json!("0A".repeat(8)),
        json!("0a".repeat(16)),
        json!("0a".repeat(32)),
        json!("0a".repeat(48)),
        json!([]),
        json!({}),
        json!({"only": []}),
        json!({"every": null}),
        json!({"fresh": null}),
    ];
    let mut refused = 0;
    for place in all_places() {
        for value in &values {
            let mut document = full();
            *document.pointer_mut(&place).unwrap() = value.clone();
            refused += u32::from(!taken(&document, &format!("{place} = {value}")));
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn both_refuse_every_missing_and_every_unknown_member() {
    for place in all_places() {
        let Some(members) = full().pointer(&place).and_then(Value::as_object).cloned() else {
            continue;
        };
        for name in members.keys() {
            let mut document = full();
            let object = document.pointer_mut(&place).unwrap();
            object.as_object_mut().unwrap().remove(name);
            assert!(!taken(&document, &format!("{place} without {name}")));
        }
        let mut document = full();
        document.pointer_mut(&place).unwrap()["extra"] = json!(1);
        assert!(!taken(&document, &format!("{place} with another member")));
    }
}

#[test]
fn the_schema_names_every_weakness() {
    let schema = Schema::open();
    let listed = schema
        .0
        .pointer("/properties/tolerated/items/enum")
        .unwrap();
    assert_eq!(listed, &json!(Weakness::ALL));
}

/// `cocoon verify policy` prints them. Whoever changes a number of them changes it there too.
#[test]
fn the_built_in_policies_are_the_documents_beside_the_schema() {
    let strict = include_str!("../../../docs/spec/policies/strict.json");
    let testing = include_str!("../../../docs/spec/policies/testing.json");
    let schema = Schema::open();
    for ((name, policy), written) in AppraisalPolicy::built_in()
        .into_iter()
        .zip([strict, testing])
    {
        assert_eq!(policy.to_json().unwrap(), written, "{name}");
        assert!(
            schema.takes(&serde_json::from_str(written).unwrap()),
            "{name}"
        );
    }
}
