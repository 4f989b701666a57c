//! What an answer in a form promises: everything allowed can be brought to its end, everything
//! else is refused, and no schema costs more than its size.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn follow(schema: &str, text: &[u8]) -> Result<Follower, &'static str> {
    let grammar = Grammar::of_schema(schema).map_err(|_| "schema")?;
    let mut follower = Follower::new(grammar);
    match follower.take(text) {
        Ok(()) => Ok(follower),
        Err(_) => Err("text"),
    }
}

fn takes(schema: &str, text: &str) -> bool {
    follow(schema, text.as_bytes()).is_ok_and(|mut follower| follower.may_end())
}

fn refusal(schema: &str) -> Option<String> {
    let refused = Grammar::of_schema(schema).err();
    refused.expect("it was taken").keyword
}

const PERSON: &str = r##"{
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 8},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["a", "ab", 1, 12]}, "maxItems": 2},
        "boss": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}
    },
    "required": ["name", "boss"],
    "additionalProperties": false
}"##;

#[test]
fn takes_what_the_schema_says_and_nothing_else() {
    for text in [
        r#"{"name":"Ann","boss":null}"#,
        r#"{"name": "Ann", "age": -3, "tags": ["a", 12], "boss": {"name":"B","boss":null}}"#,
        "{\n  \"name\": \"\\u00e9\\n\",\n  \"tags\": [],\n  \"boss\": null\n}",
        r#"{"name":"éééééééé","boss":null}"#,
        r#"{"name":"a","tags":["ab",1],"boss":null}"#,
    ] {
        assert!(takes(PERSON, text), "{text}");
    }
    for text in [
        "",
        "{}",
        r#" {"name":"Ann","boss":null}"#,
        r#"{"name":"Ann"}"#,
        r#"{"name":"Ann","boss":null"#,
        r#"{"name":"Ann","boss":null} "#,
        "{\"name\":\"Ann\"\n}",
        r#"{"boss":null,"name":"Ann"}"#,
        r#"{"name":"","boss":null}"#,
        r#"{"name":"123456789","boss":null}"#,
        r#"{"name":"Ann","name":"Ann","boss":null}"#,
        r#"{"name":"Ann","age":1.5,"boss":null}"#,
        r#"{"name":"Ann","age":01,"boss":null}"#,
        r#"{"name":"Ann","age":-,"boss":null}"#,
        r#"{"name":"Ann","tags":["a","a","a"],"boss":null}"#,
        r#"{"name":"Ann","tags":["abc"],"boss":null}"#,
        r#"{"name":"Ann","tags":[2],"boss":null}"#,
        r#"{"name":"Ann","tags":["a",],"boss":null}"#,
        r#"{"name":"Ann","more":1,"boss":null}"#,
        r#"{"name":"Ann","boss":null,}"#,
        r#"{"name" :"Ann","boss":null}"#,
        r#"{"name":"\ud800","boss":null}"#,
        r#"{"name":"\x","boss":null}"#,
        "{\"name\":\"\n\",\"boss\":null}",
    ] {
        assert!(!takes(PERSON, text), "{text}");
    }
}

#[test]
fn values_of_every_kind_are_taken_where_any_may_stand() {
    for text in [
        "1",
        "-0.5e+9",
        "\"x\"",
        "true",
        "null",
        "[1, [], {\"a\": {}}]",
        "{}",
    ] {
        assert!(takes("true", text), "{text}");
        assert!(takes("{}", text), "{text}");
    }
    let mut any = Follower::new(Grammar::any_object().unwrap());
    any.take(br#"{"a": [1, "b"], "c": {"d": null}}"#).unwrap();
    assert!(any.may_end());
    for text in ["[", "1", "\"", "t", " {"] {
        let mut any = Follower::new(Grammar::any_object().unwrap());
        assert!(any.take(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn broken_characters_never_stand_in_a_text() {
    let schema = r#"{"type":"string"}"#;
    for good in ["é", "€", "😀", "\u{ffff}", "\u{10ffff}", "\u{7f}"] {
        assert!(takes(schema, &format!("\"{good}\"")), "{good}");
    }
    for bad in [
        &b"\"\x80"[..],
        b"\"\xc0",
        b"\"\xc3\"",
        b"\"\xe0\x80",
        b"\"\xed\xa0",
        b"\"\xf4\x90",
        b"\"\xf5",
    ] {
        assert!(follow(schema, bad).is_err(), "{bad:?}");
    }
}

#[test]
fn nesting_ends_where_its_limit_is() {
    let open = |count: usize| "[".repeat(count);
    assert!(takes("true", &(open(32) + &"]".repeat(32))));
    assert!(!takes("true", &open(33)));
    // What must go deeper than that is no schema; what need not is led to its end.
    let endless = r##"{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}"##;
    assert_eq!(refusal(endless), None);
    let list = r##"{"type":"array","items":{"$ref":"#"},"minItems":1}"##;
    assert_eq!(refusal(list), None);
    let free = r##"{"type":"object","properties":{"a":{"$ref":"#"}}}"##;
    let chain = |count: usize| "{\"a\":".repeat(count) + "{}" + &"}".repeat(count);
    assert!(takes(free, &chain(31)));
    assert!(!takes(free, &chain(32)));
    // Behind the deepest brace only its closing is left: the member would not fit.
    assert!(follow(free, ("{\"a\":".repeat(31) + "{\"").as_bytes()).is_err());
}

#[test]
fn spaces_come_between_and_never_without_end() {
    let spaces = |count: usize| format!("[{}1]", " ".repeat(count));
    assert!(takes("true", &spaces(32)));
    assert!(!takes("true", &spaces(33)));
    assert!(takes("true", "{\"a\": 1,\n\t\"b\": [ 2 ]\n}"));
    assert!(!takes("true", "[1 ,2]"));
    let two = r#"{"type":"array","items":true,"minItems":2}"#;
    assert!(takes(two, "[1, 2 ]") && !takes(two, "[1 ]") && !takes(two, "[ ]"));
    assert!(!takes("true", "1 "));
}

#[test]
fn refuses_by_its_name_what_would_be_ignored() {
    for (schema, keyword) in [
        (r#"{"type":"string","pattern":"^a"}"#, "pattern"),
        (r#"{"type":"string","format":"date"}"#, "format"),
        (r#"{"type":"integer","minimum":0}"#, "minimum"),
        (r#"{"type":"number","multipleOf":7919393}"#, "multipleOf"),
        (r#"{"oneOf":[{},{}]}"#, "oneOf"),
        (r#"{"not":{}}"#, "not"),
        (r#"{"allOf":[{},{}]}"#, "allOf"),
        (r#"{"anyOf":[]}"#, "anyOf"),
        (r#"{"anyOf":[{}],"type":"string"}"#, "anyOf"),
        (
            r#"{"type":"object","patternProperties":{}}"#,
            "patternProperties",
        ),
        (r#"{"type":"array","uniqueItems":true}"#, "uniqueItems"),
        (r#"{"type":"array","prefixItems":[]}"#, "prefixItems"),
        (r#"{"type":"strin"}"#, "type"),
        (r#"{"type":[]}"#, "type"),
        (r#"{"type":"string","enum":[1]}"#, "enum"),
        (r#"{"enum":[]}"#, "enum"),
        (r##"{"$ref":"#/$defs/a"}"##, "$ref"),
        (r#"{"$ref":"http://example.org/"}"#, "$ref"),
        (r##"{"$ref":"#","maxItems":1}"##, "$ref"),
        (r#"{"minLength":-1}"#, "minLength"),
        (r#"{"minLength":9223372036854775808}"#, "minLength"),
        (r#"{"minLength":1.5}"#, "minLength"),
        (r#"{"minItems":2,"maxItems":1}"#, "minItems"),
        (r#"{"required":[1]}"#, "required"),
        (
            r#"{"required":["a"],"additionalProperties":false}"#,
            "required",
        ),
        (r#"{"properties":[]}"#, "properties"),
        (r#"{"items":[{}]}"#, "items"),
        (r#"{"properties":{"a":{"then":{}}}}"#, "then"),
    ] {
        assert_eq!(refusal(schema).as_deref(), Some(keyword), "{schema}");
    }
    for schema in [
        "",
        "[]",
        "1",
        "false",
        "{",
        "{\"type\":1e999}",
        r#"{"items":false}"#,
    ] {
        assert_eq!(refusal(schema), None, "{schema}");
    }
    let deep = "{\"items\":".repeat(40) + "{}" + &"}".repeat(40);
    assert_eq!(refusal(&deep), None);
}

#[test]
fn what_only_describes_changes_nothing() {
    let schema = r##"{"$schema":"x","title":"T","description":"d","default":1,"examples":[],
        "$comment":"c","deprecated":true,"readOnly":true,"writeOnly":false,
        "$defs":{"n":{"type":"integer"}},"allOf":[{"$ref":"#/$defs/n"}]}"##;
    assert!(takes(schema, "12"));
    assert!(!takes(schema, "\"12\""));
}

/// Processor time of this thread, in milliseconds.
fn spent() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: u64 = text.split_whitespace().next().unwrap().parse().unwrap();
    nanoseconds / 1_000_000
}

fn list(item: impl Fn(usize) -> String, count: usize) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(",")
}

/// A definition names the next one in each of its ways, many times over.
fn doubled(last: &str) -> String {
    let next = |at: usize| format!(r##"{{"$ref":"#/$defs/d{}"}}"##, at + 1);
    let choice = |at: usize| format!(r#""d{at}":{{"anyOf":[{0},{0}]}}"#, next(at));
    let choices = list(choice, 400);
    format!(r##"{{"$ref":"#/$defs/d0","$defs":{{{choices},"d400":{last}}}}}"##)
}

fn tripled() -> String {
    let next = |at: usize| format!(r##"{{"$ref":"#/$defs/d{}"}}"##, at + 1);
    let object = |at: usize| {
        let next = next(at);
        format!(
            r#""d{at}":{{"type":"object","properties":{{"a":{next},"b":{next},"c":{next}}},
            "required":["a","b","c"]}}"#
        )
    };
    let objects = list(object, 30);
    format!(r##"{{"$ref":"#/$defs/d0","$defs":{{{objects},"d30":{{}}}}}}"##)
}

/// Schemas that want more than their size: by breadth, by depth, by reference, by number.
fn bombs() -> Vec<String> {
    let objects = |count: usize| {
        let one =
            |at| format!(r#"{{"type":"object","properties":{{"k{at}":{{"type":"string"}}}}}}"#);
        format!(r#"{{"anyOf":[{}]}}"#, list(one, count))
    };
    let members = list(|at| format!(r#""p{at:03}":{{"type":"string"}}"#), 512);
    let words = list(|at| format!("\"v{}\"", at * 7919 % 100_003), 4000);
    let chain = |at: usize| format!(r##""c{at}":{{"$ref":"#/$defs/c{}"}}"##, at + 1);
    let chain = list(chain, 1500);
    let short = |at: usize| format!(r#"{{"type":"string","maxLength":{}}}"#, at + 100);
    vec![
        doubled("{\"type\":\"null\"}"),
        doubled("{}"),
        tripled(),
        objects(32),
        objects(500),
        format!(r#"{{"type":"object","properties":{{{members}}}}}"#),
        format!(r#"{{"enum":[{words}]}}"#),
        format!(r##"{{"$ref":"#/$defs/c0","$defs":{{{chain},"c1500":{{}}}}}}"##),
        r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}"##
            .to_owned(),
        r##"{"anyOf":[{"$ref":"#"},{"$ref":"#"},{"type":"null"}]}"##.to_owned(),
        r#"{"type":"array","items":{"type":"integer"},"minItems":65535}"#.to_owned(),
        r#"{"type":"string","minLength":65535,"maxLength":1000000000000}"#.to_owned(),
        format!(r#"{{"anyOf":[{}]}}"#, list(short, 32)),
    ]
}

#[test]
fn no_schema_costs_more_than_its_size() {
    // Optimised; the others are about ten times slower.
    let most = if cfg!(debug_assertions) { 2000 } else { 50 };
    for (at, schema) in bombs().iter().enumerate() {
        let before = spent();
        let _taken_or_not = Grammar::of_schema(schema);
        let took = spent() - before;
        assert!(took < most, "bomb {at}: {took} ms");
    }
}

/// Prints microseconds, for docs and README.
#[test]
#[ignore = "prints what a mask costs"]
#[allow(clippy::print_stdout, reason = "that is its purpose")]
fn what_a_mask_costs() {
    let model = crate::Model::read(crate::fixture::demonstration_model()).unwrap();
    let before = spent();
    let vocabulary = model.language.vocabulary();
    println!("tables of the vocabulary: {} ms", spent() - before);
    let mut schemas = bombs();
    schemas.extend([PERSON.to_owned(), "true".to_owned()]);
    for (at, schema) in schemas.iter().enumerate() {
        let Ok(grammar) = Grammar::of_schema(schema) else {
            continue;
        };
        let mut follower = Follower::new(grammar);
        let (mut most, mut whole, mut masks) = (0, 0, 0);
        for step in 0..200_u64 {
            // The best of five: whatever else the machine does is left out.
            let once = |follower: &mut Follower| {
                let before = std::time::Instant::now();
                let _allowed = follower.allowed(vocabulary);
                before.elapsed().as_micros()
            };
            let took = (0..5).map(|_| once(&mut follower)).min().unwrap();
            let allowed = follower.allowed(vocabulary);
            (most, whole, masks) = (most.max(took), whole + took, masks + 1);
            let size = model.weights.shape.vocabulary as u32;
            let all: Vec<u32> = (0..size).filter(|token| allowed.holds(*token)).collect();
            let token = all[(mixed(7, step) % all.len() as u64) as usize];
            if model.language.tokenizer.is_end(token) {
                break;
            }
            follower.take(model.language.tokenizer.text(token)).unwrap();
        }
        println!(
            "schema {at}: {masks} masks, mean {} us, most {most} us",
            whole / masks
        );
    }
}

/// Every byte as a token, and some of several; the last ends the answer.
fn vocabulary() -> (Vec<Vec<u8>>, Vocabulary) {
    let mut texts: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    let words = [
        "\":", "\", \"", "\"}", "ab", "abc", "é", "{\"", "\n  ", "1, ", "null", "true}", "",
    ];
    texts.extend(words.iter().map(|word| word.as_bytes().to_vec()));
    texts.push(vec![0xf0, 0x9f]);
    texts.push(b"name".to_vec());
    texts.push(Vec::new());
    let end = texts.len() as u32 - 1;
    let vocabulary = Vocabulary::of(texts.iter().map(Vec::as_slice), &[end]);
    (texts, vocabulary)
}

#[test]
fn tokens_are_allowed_exactly_where_their_bytes_are() {
    let (texts, vocabulary) = vocabulary();
    let starts = [
        "",
        "{",
        "{\"",
        "{\"na",
        "{\"name\":",
        "{\"name\":\"",
        "{\"name\":\"1234567",
        "{\"name\":\"12345678",
        "{\"name\":\"\\",
        "{\"name\":\"a\",\"age\":1",
        "{\"name\":\"a\",\"tags\":[1",
        "{\"name\":\"a\",\"tags\":[\"a",
        "{\"name\":\"a\",\"boss\":",
        "{\"name\":\"a\",\"boss\":null",
        "{\"name\":\"a\",\"boss\":null}",
    ];
    for (schema, start) in starts
        .iter()
        .map(|start| (PERSON, *start))
        .chain(["", "[", "{\"x", "{\"x\": ", "12", "\"\u{1f600}"].map(|start| ("true", start)))
    {
        let mut follower = follow(schema, start.as_bytes()).expect(start);
        let allowed = follower.allowed(&vocabulary);
        for (token, text) in (0_u32..).zip(&texts) {
            let whole = [start.as_bytes(), text].concat();
            let expected = if text.is_empty() {
                token as usize == texts.len() - 1 && follower.may_end()
            } else {
                follow(schema, &whole).is_ok()
            };
            assert_eq!(allowed.holds(token), expected, "{start:?} {text:?}");
        }
        assert!(!allowed.is_empty(), "{start:?}");
    }
}

/// A number that looks drawn.
fn mixed(seed: u64, step: u64) -> u64 {
    let mixed =
        (seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 29)
}

/// Writes any answer, with as many tokens as it may; then what leads to its end.
fn write(schema: &str, seed: u64, tokens: u64) -> Vec<u8> {
    let (texts, vocabulary) = vocabulary();
    let mut follower = Follower::new(Grammar::of_schema(schema).unwrap());
    let mut answer = Vec::new();
    for step in 0..tokens + 2000 {
        let allowed = follower.allowed(&vocabulary);
        let mut all: Vec<u32> = (0..texts.len() as u32)
            .filter(|t| allowed.holds(*t))
            .collect();
        assert!(!all.is_empty(), "no way on from {answer:?}");
        if step >= tokens {
            // Whatever ends a value goes first.
            let in_text = allowed.holds(u32::from(b'a'));
            let rank = |token: &u32| match texts[*token as usize].as_slice() {
                [] => 0,
                b"\"" if in_text => 1,
                b"}" | b"]" => 2,
                b"\"" => 3,
                b":" | b"," => 4,
                b"0" | b"n" | b"u" | b"l" => 5,
                [b'!'..=b'~'] => 6,
                _ => 7,
            };
            all.sort_by_key(rank);
            all.truncate(1);
        }
        let token = all[(mixed(seed, step) % all.len() as u64) as usize];
        let text = &texts[token as usize];
        if text.is_empty() {
            return answer;
        }
        answer.extend_from_slice(text);
        follower.take(text).unwrap();
    }
    panic!("no end: {:?}", String::from_utf8_lossy(&answer));
}

proptest! {
    #[test]
    fn every_answer_is_json_and_has_the_members_that_it_must(seed: u64, tokens in 0..150_u64) {
        let person = write(PERSON, seed, tokens);
        let mut value: &Value = &serde_json::from_slice(&person).unwrap();
        loop {
            prop_assert!(matches!(value["name"].as_str().unwrap().chars().count(), 1..=8));
            prop_assert!(value.get("age").is_none_or(|age| age.is_number()));
            value = &value["boss"];
            if value.is_null() {
                break;
            }
        }
        let any = write("true", seed, tokens);
        prop_assert!(serde_json::from_slice::<Value>(&any).is_ok(), "{:?}", any);
    }

    #[test]
    fn no_schema_makes_it_panic(text in ".{0,200}") {
        let _taken_or_not = Grammar::of_schema(&text);
    }
}
