//! What is a call, and what stays text.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn offered(request: Value) -> Option<Offered> {
    Offered::of(request.as_object().unwrap())
}

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "f"}},
           {"type": "function", "function": {"name": "g"}}])
}

fn reader(more: Value) -> CallReader {
    reader_of(Syntax::Tagged, more)
}

fn reader_of(syntax: Syntax, more: Value) -> CallReader {
    let mut request = json!({ "tools": tools() });
    for (member, value) in more.as_object().unwrap() {
        request[member] = value.clone();
    }
    CallReader::new(syntax, offered(request).unwrap(), Salt([7; 32]))
}

/// What pieces say: texts joined, calls as `name(arguments)`.
fn heard(mut reader: CallReader, pieces: &[&str]) -> Vec<String> {
    let mut said: Vec<Said> = pieces.iter().flat_map(|piece| reader.push(piece)).collect();
    said.extend(reader.finish());
    let mut heard: Vec<String> = Vec::new();
    let mut in_text = false;
    for one in said {
        match one {
            Said::Text(text) if in_text => heard.last_mut().unwrap().push_str(&text),
            Said::Text(text) => {
                heard.push(text);
                in_text = true;
            }
            Said::Call {
                name, arguments, ..
            } => {
                heard.push(format!("{name}({arguments})"));
                in_text = false;
            }
        }
    }
    heard
}

fn auto(text: &str) -> Vec<String> {
    heard(reader(json!({})), &[text])
}

/// Texts, and what they say.
const CASES: [(&str, &[&str]); 19] = [
    ("Hello, world\n", &["Hello, world\n"]),
    (" <tool <tool_cal <b> \n", &[" <tool <tool_cal <b> \n"]),
    (
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"b\": 1, \"a\": [2.5, null]}}\n\
         </tool_call>",
        &["f({\"b\":1,\"a\":[2.5,null]})"],
    ),
    (
        "I look.\n\n<tool_call>{\"arguments\":{},\"name\":\"g\"}</tool_call>\n",
        &["I look.", "g({})"],
    ),
    (
        "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n\
         <tool_call>{\"name\":\"g\",\"arguments\":{\"x\":1}}</tool_call>",
        &["f({})", "g({\"x\":1})"],
    ),
    (
        "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call> then more",
        &["f({})", " then more"],
    ),
    // Braces, quotes and tags within texts.
    (
        r#"<tool_call>{"name":"f","arguments":{"a":"}\"}{</tool_call>\\"}}</tool_call>"#,
        &[r#"f({"a":"}\"}{</tool_call>\\"})"#],
    ),
    // Nothing but the closing tag is missing.
    ("<tool_call>{\"name\":\"f\",\"arguments\":{}}", &["f({})"]),
    (
        "<tool_call>{\"name\":\"f\",\"arguments\":{}}\n</tool",
        &["f({})"],
    ),
    // Unfinished.
    ("a <tool_call>", &["a <tool_call>"]),
    (
        "<tool_call>\n{\"name\":\"f\",\"arguments\":{",
        &["<tool_call>\n{\"name\":\"f\",\"arguments\":{"],
    ),
    // Of a function that nobody offered, or not of the form.
    (
        "<tool_call>{\"name\":\"h\",\"arguments\":{}}</tool_call>",
        &["<tool_call>{\"name\":\"h\",\"arguments\":{}}</tool_call>"],
    ),
    (
        "<tool_call>{\"name\":\"f\",\"arguments\":{}}} </tool_call>",
        &["<tool_call>{\"name\":\"f\",\"arguments\":{}}} </tool_call>"],
    ),
    (
        "<tool_call>{\"name\":\"f\"}</tool_call>",
        &["<tool_call>{\"name\":\"f\"}</tool_call>"],
    ),
    (
        "<tool_call>{\"name\":\"f\",\"arguments\":\"{}\"}</tool_call>",
        &["<tool_call>{\"name\":\"f\",\"arguments\":\"{}\"}</tool_call>"],
    ),
    (
        "<tool_call>{\"name\":\"f\",\"name\":\"g\",\"arguments\":{}}</tool_call>",
        &["<tool_call>{\"name\":\"f\",\"name\":\"g\",\"arguments\":{}}</tool_call>"],
    ),
    // A call behind what was none.
    (
        "<tool_call>f()<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
        &["<tool_call>f()", "f({})"],
    ),
    (
        "<tool_call><tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
        &["<tool_call>", "f({})"],
    ),
    (
        "<tool_call>{}<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>",
        &["<tool_call>{}", "f({})"],
    ),
];

#[test]
fn whole_calls_of_offered_functions_are_calls_and_all_else_is_text() {
    for (text, expected) in CASES {
        assert_eq!(auto(text), expected, "{text}");
    }
}

/// Texts of the other ways, and what they say.
const OTHERS: [(Syntax, &str, &[&str]); 16] = [
    (Syntax::Listed, "Hello [TOOL_ ", &["Hello [TOOL_ "]),
    (
        Syntax::Listed,
        r#"[TOOL_CALLS] [{"name": "f", "arguments": {"a": "]}"}, "id": "123456789"}]"#,
        &[r#"f({"a":"]}"})"#],
    ),
    (
        Syntax::Listed,
        r#"I look. [TOOL_CALLS][{"name":"f","arguments":{}}, {"name":"g","arguments":{}}] "#,
        &["I look.", "f({})", "g({})"],
    ),
    (
        Syntax::Listed,
        r#"[TOOL_CALLS][{"name":"f","arguments":{}}"#,
        &["f({})"],
    ),
    (
        Syntax::Listed,
        r#"[TOOL_CALLS][{"name":"f","arguments":{}},{"name":"g","#,
        &["f({})", r#"{"name":"g","#],
    ),
    (Syntax::Listed, "[TOOL_CALLS]f", &["[TOOL_CALLS]f"]),
    (Syntax::Listed, "[TOOL_CALLS][]", &["[TOOL_CALLS][]"]),
    (
        Syntax::Listed,
        r#"[TOOL_CALLS][{"name":"h","arguments":{}}]"#,
        &[r#"[TOOL_CALLS][{"name":"h","arguments":{}}]"#],
    ),
    (Syntax::Bare, "Hello {}", &["Hello {}"]),
    (Syntax::Bare, "\n", &["\n"]),
    (
        Syntax::Bare,
        r#" {"name": "f", "parameters": {"a": "}{"}}"#,
        &[r#"f({"a":"}{"})"#],
    ),
    (
        Syntax::Bare,
        r#"{"type": "function", "name": "f", "parameters": {}}; {"name":"g","parameters":{}}"#,
        &["f({})", "g({})"],
    ),
    (
        Syntax::Bare,
        r#"{"name":"f","parameters":{}} is it"#,
        &[r#"{"name":"f","parameters":{}} is it"#],
    ),
    (
        Syntax::Bare,
        r#"So: {"name":"f","parameters":{}}"#,
        &[r#"So: {"name":"f","parameters":{}}"#],
    ),
    (
        Syntax::Bare,
        r#"{"name":"f","arguments":{}}"#,
        &[r#"{"name":"f","arguments":{}}"#],
    ),
    (Syntax::Bare, r#"{"a":1}"#, &[r#"{"a":1}"#]),
];

#[test]
fn each_way_of_writing_calls_is_read_and_no_other() {
    for (syntax, text, expected) in OTHERS {
        let reader = || reader_of(syntax, json!({}));
        assert_eq!(heard(reader(), &[text]), expected, "{text}");
        let single: Vec<String> = text.chars().map(String::from).collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        assert_eq!(heard(reader(), &single), expected, "{text}");
    }
    for syntax in [Syntax::Listed, Syntax::Bare] {
        let (text, _) = CASES[4];
        assert_eq!(heard(reader_of(syntax, json!({})), &[text]), [text]);
    }
}

/// Arguments as a model writes them, and as they are passed on.
const ARGUMENTS: [(&str, &str); 5] = [
    // More digits than a number of 64 bits or a double has.
    (
        r#"{"order": 123456789012345678901234567890}"#,
        r#"{"order":123456789012345678901234567890}"#,
    ),
    (
        r#"{"price": -0, "share": 0.10000000000000000000001, "of": 1E2}"#,
        r#"{"price":-0,"share":0.10000000000000000000001,"of":1E2}"#,
    ),
    (
        "{\n\t\"a b\" : [ { } , \" \\\" } \" ] }\r",
        r#"{"a b":[{}," \" } "]}"#,
    ),
    (r#"{"a":"\u00e9 é\/"}"#, r#"{"a":"\u00e9 é\/"}"#),
    ("{}", "{}"),
];

#[test]
fn arguments_are_passed_on_as_the_model_wrote_them_but_for_spaces_between_values() {
    for (written, expected) in ARGUMENTS {
        for text in [
            format!("<tool_call>{{\"name\": \"f\", \"arguments\": {written} }}</tool_call>"),
            format!("<tool_call>{{\"arguments\":{written},\"name\":\"f\"}}</tool_call>"),
        ] {
            assert_eq!(auto(&text), [format!("f({expected})")]);
        }
    }
}

#[test]
fn an_answer_that_must_be_a_call_is_one_from_its_first_character() {
    let call = " {\"name\": \"g\", \"arguments\": {\"a\": \"}\"}}\n";
    for choice in [
        json!("required"),
        json!({"type": "function", "function": {"name": "g"}}),
    ] {
        let must = || reader(json!({ "tool_choice": choice }));
        assert_eq!(heard(must(), &[call]), ["g({\"a\":\"}\"})"]);
        // It was cut.
        assert_eq!(
            heard(must(), &["{\"name\": \"g\", "]),
            ["{\"name\": \"g\", "]
        );
    }
    let other = reader(json!({"tool_choice": {"function": {"name": "f"}}}));
    assert_eq!(
        heard(other, &[call]),
        [call],
        "not the function that was chosen"
    );
}

#[test]
fn one_call_is_passed_on_where_one_was_wanted() {
    let (text, expected) = CASES[4];
    let one = reader(json!({"parallel_tool_calls": false}));
    assert_eq!(heard(one, &[text]), expected[..1]);
}

#[test]
fn a_request_offers_functions_unless_it_forbids_calls() {
    assert_eq!(offered(json!({})), None);
    assert_eq!(offered(json!({"tools": null})), None);
    assert_eq!(offered(json!({"tools": []})), None);
    assert_eq!(
        offered(json!({"tools": tools(), "tool_choice": "none"})),
        None
    );
    let offered = offered(json!({"tools": tools(), "tool_choice": "auto"})).unwrap();
    assert_eq!((offered.names.len(), offered.must), (2, false));
}

#[test]
fn numbers_of_calls_differ_within_an_answer_and_between_answers() {
    let ids = |salt| {
        let offered = offered(json!({ "tools": tools() })).unwrap();
        let mut reader = CallReader::new(Syntax::Tagged, offered, Salt([salt; 32]));
        let said = reader.push(CASES[4].0).into_iter();
        let ids = said.filter_map(|one| match one {
            Said::Call { index, id, .. } => Some((index, id)),
            Said::Text(_) => None,
        });
        ids.collect::<Vec<_>>()
    };
    let (first, second) = (ids(1), ids(2));
    let all: std::collections::BTreeSet<_> =
        first.iter().chain(&second).map(|(_, id)| id).collect();
    assert_eq!((first.len(), all.len()), (2, 4));
    assert_eq!(
        first.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
        [0, 1]
    );
    assert!(
        all.iter()
            .all(|id| id.len() == 29 && id.starts_with("call_"))
    );
}

#[test]
fn neither_functions_nor_calls_print() {
    let mut reader = reader(json!({}));
    let said =
        reader.push("secret<tool_call>{\"name\":\"f\",\"arguments\":{\"secret\":1}}</tool_call>");
    assert!(!format!("{said:?}{reader:?}{:?}", reader.offered).contains("secret"));
}

#[test]
fn a_megabyte_of_tags_is_read_in_linear_time() {
    for part in [
        "<tool_call>",
        "<tool_call>{",
        "<tool_call>{}",
        "</tool_call>",
        "\n",
        "<",
    ] {
        let text = part.repeat(100_000);
        let before = std::time::Instant::now();
        assert_eq!(auto(&text).concat().len(), text.len(), "{part}");
        assert!(
            before.elapsed() < core::time::Duration::from_secs(5),
            "{part}"
        );
    }
}

fn any_syntax() -> impl Strategy<Value = Syntax> {
    proptest::sample::select(vec![Syntax::Tagged, Syntax::Listed, Syntax::Bare])
}

/// Scraps of which answers that nearly call are made.
fn scrap() -> impl Strategy<Value = String> {
    let scraps = [
        "[TOOL_CALLS]",
        "[",
        "]",
        ",",
        ";",
        "{\"name\":\"f\",\"parameters\":{}}",
        "<tool_call>",
        "</tool_call>",
        "<tool",
        "{",
        "}",
        "\"",
        "\\",
        "\n",
        " ",
        "é",
        "{\"name\":\"f\",\"arguments\":{\"a\":\"}\"}}",
        "\"arguments\":",
        "text",
        "<",
    ];
    proptest::sample::select(scraps.map(str::to_owned).to_vec())
}

proptest! {
    #[test]
    fn it_says_the_same_wherever_the_text_is_cut(
        case in 0..CASES.len(),
        scraps in proptest::collection::vec(scrap(), 0..24),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        must: bool,
        syntax in any_syntax(),
        behind: bool,
    ) {
        let other = OTHERS.get(case).map_or("", |(_, text, _)| *text);
        let case = if behind { CASES[case].0 } else { other };
        let text = if behind {
            format!("{case}{}", scraps.concat())
        } else {
            format!("{}{case}", scraps.concat())
        };
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| ends[cut.index(ends.len())]).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([text.len()]) {
            pieces.push(&text[from..cut]);
            from = cut;
        }
        let more = if must { json!({"tool_choice": "required"}) } else { json!({}) };
        let new = || reader_of(syntax, more.clone());
        prop_assert_eq!(heard(new(), &pieces), heard(new(), &[&text]));
        let single: Vec<String> = text.chars().map(String::from).collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        prop_assert_eq!(heard(new(), &single), heard(new(), &[&text]));
    }

    #[test]
    fn without_a_call_no_character_is_lost(
        scraps in proptest::collection::vec(scrap(), 0..40),
        syntax in any_syntax(),
    ) {
        let text = scraps.concat();
        let mut reader = reader_of(syntax, json!({}));
        let mut said = reader.push(&text);
        said.extend(reader.finish());
        let texts = said.iter().filter_map(|one| match one {
            Said::Text(text) => Some(text.as_str()),
            Said::Call { .. } => None,
        });
        let texts: String = texts.collect();
        if reader.calls() == 0 {
            prop_assert_eq!(texts, text);
        } else {
            prop_assert!(texts.len() < text.len());
        }
    }
}
