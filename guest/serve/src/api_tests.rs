//! What of the OpenAI API is taken, and what is refused by which name.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests state claims; a panic is the failure"
)]

#[path = "api_functions_tests.rs"]
mod functions;

use super::*;
use messages::engine_ipc::{MAX_MESSAGES, MAX_SCHEMA_BYTES};

const LIMITS: Limits = Limits {
    streams: 4,
    context_tokens: 2048,
    increment_tokens: 64,
};
const MESSAGES: &str = r#""messages":[{"role":"user","content":"hi"}]"#;

fn parse(members: &str) -> Result<AnswerRequest, Refusal> {
    let body = format!(r#"{{"model":"m","stream":true,{members}}}"#);
    AnswerRequest::parse(Kind::Chat, body.as_bytes(), &LIMITS)
}

fn with(members: &str) -> Result<AnswerRequest, Refusal> {
    parse(&format!("{MESSAGES},{members}"))
}

/// What was written first.
fn first(request: &AnswerRequest) -> &str {
    &request.prompt.contents()[0].0
}

/// Code and member of a refusal.
fn refused(result: Result<AnswerRequest, Refusal>) -> (&'static str, Option<String>) {
    let refusal = result.unwrap_err();
    (refusal.code(), refusal.param().map(str::to_owned))
}

fn named(code: &'static str, member: &str) -> (&'static str, Option<String>) {
    (code, Some(member.to_owned()))
}

#[test]
fn takes_what_an_sdk_sends_for_a_plain_chat() {
    let request = with(
        r#""temperature":0.7,"top_p":0.95,"max_tokens":16,"seed":-1,"stop":["\n","END"],
           "stream_options":{"include_usage":true}"#,
    )
    .unwrap();
    assert_eq!(request.model, "m");
    assert_eq!(first(&request), "hi");
    let drawing = &request.drawing;
    assert_eq!((drawing.temperature_milli, drawing.top_p_milli), (700, 950));
    assert_eq!((request.max_tokens, drawing.seed), (16, Some(u64::MAX)));
    assert_eq!(request.stops.len(), 2);
    assert!(request.include_usage);
}

#[test]
fn the_defaults_are_those_of_the_specification() {
    let request = with(r#""temperature":null,"stop":null,"logit_bias":null"#).unwrap();
    assert_eq!(request.drawing, Drawing::default());
    let drawing = &request.drawing;
    assert_eq!(
        (drawing.temperature_milli, drawing.top_p_milli),
        (1000, 1000)
    );
    assert_eq!((request.max_tokens, drawing.seed), (512, None));
    assert!(request.stops.is_empty() && !request.include_usage);
}

#[test]
fn takes_what_shapes_the_distribution() {
    let request = with(
        r#""top_k":40,"min_p":0.05,"presence_penalty":-2,"frequency_penalty":0.0005,
           "logit_bias":{"50256":-100,"7":0.5}"#,
    )
    .unwrap();
    let drawing = &request.drawing;
    assert_eq!((drawing.top_k, drawing.min_p_milli), (40, 50));
    assert_eq!(
        (drawing.presence_milli, drawing.frequency_milli),
        (-2000, 1)
    );
    let biases: Vec<_> = drawing.biases.iter().map(|b| (b.token, b.milli)).collect();
    assert_eq!(biases, [(7, 500), (50256, -100_000)]);
    assert_eq!(with(r#""top_k":-1"#).unwrap().drawing.top_k, 0);
}

#[test]
fn the_form_of_an_answer_is_passed_on_and_its_wrapping_is_checked() {
    let form = |value: &str| {
        let member = format!("\"response_format\":{value}");
        with(&member).map(|request| request.form)
    };
    assert_eq!(form("null").unwrap(), Form::Free);
    assert_eq!(form(r#"{"type":"text"}"#).unwrap(), Form::Free);
    assert_eq!(form(r#"{"type":"json_object"}"#).unwrap(), Form::Object);
    let schema = r#"{"properties":{"b":{},"a":{"maximum":0.5}},"type":"object"}"#;
    let wrapped = |schema: &str, more: &str| {
        format!(
            r#"{{"type":"json_schema","json_schema":{{"name":"n-1","schema":{schema}{more}}}}}"#
        )
    };
    let taken = form(&wrapped(schema, r#","strict":true,"description":"d""#)).unwrap();
    assert_eq!(
        taken,
        Form::Schema(Content(schema.to_owned())),
        "in its order"
    );
    let long = format!("{{\"title\":\"{}\"}}", "x".repeat(MAX_SCHEMA_BYTES));
    assert_eq!(
        form(&wrapped(&long, "")).unwrap_err().code(),
        "body-too-long"
    );
    for bad in [
        "1",
        "[]",
        r#"{}"#,
        r#"{"type":"xml"}"#,
        r#"{"type":1}"#,
        r#"{"type":"json_schema"}"#,
        r#"{"type":"json_object","json_schema":{}}"#,
        r#"{"type":"json_schema","json_schema":{"name":"n"}}"#,
        r#"{"type":"json_schema","json_schema":{"schema":{}}}"#,
        r#"{"type":"json_schema","json_schema":{"name":"a b","schema":{}}}"#,
        r#"{"type":"json_schema","json_schema":{"name":"n","schema":true}}"#,
        r#"{"type":"json_schema","json_schema":{"name":"n","schema":{},"strict":1}}"#,
    ] {
        let expected = named("invalid-member", "response_format");
        let member = format!("\"response_format\":{bad}");
        assert_eq!(refused(with(&member)), expected, "{bad}");
    }
    let more = with(&format!(
        "\"response_format\":{}",
        wrapped("{}", r#","more":1"#)
    ));
    assert_eq!(refused(more), named("unsupported-member", "more"));
}

#[test]
fn probabilities_are_asked_for_by_a_switch_and_a_number() {
    let asked = |members: &str| with(members).unwrap().alternatives;
    assert_eq!(asked(r#""logprobs":false"#), None);
    assert_eq!(asked(r#""logprobs":null,"top_logprobs":null"#), None);
    assert_eq!(asked(r#""logprobs":true"#), Some(0));
    assert_eq!(asked(r#""logprobs":true,"top_logprobs":0"#), Some(0));
    assert_eq!(asked(r#""top_logprobs":20,"logprobs":true"#), Some(20));
    for alone in [
        r#""top_logprobs":1"#,
        r#""top_logprobs":0,"logprobs":false"#,
        r#""top_logprobs":1,"logprobs":null"#,
    ] {
        let expected = named("invalid-member", "top_logprobs");
        assert_eq!(refused(with(alone)), expected, "{alone}");
    }
}

fn of_text(members: &str) -> Result<AnswerRequest, Refusal> {
    let body = format!(r#"{{"model":"m","stream":true,{members}}}"#);
    AnswerRequest::parse(Kind::Text, body.as_bytes(), &LIMITS)
}

#[test]
fn a_text_to_be_continued_has_members_of_its_own() {
    let request = of_text(
        r#""prompt":"Once","echo":false,"best_of":1,"n":1,"suffix":null,"logprobs":null,"seed":7"#,
    )
    .unwrap();
    assert_eq!(request.prompt, Prompt::Text(Content("Once".to_owned())));
    assert_eq!((request.max_tokens, request.drawing.seed), (16, Some(7)));
    let missing = refused(of_text(r#""max_tokens":1"#));
    assert_eq!(missing, named("missing-member", "prompt"));
    for prompt in ["[\"a\"]", "[1,2]", "null", "7", "{}"] {
        let found = refused(of_text(&format!("\"prompt\":{prompt}")));
        assert_eq!(found, named("invalid-member", "prompt"), "{prompt}");
    }
    for (member, value) in [
        ("echo", "true"),
        ("suffix", "\"b\""),
        ("best_of", "2"),
        ("n", "2"),
        ("logprobs", "1"),
        ("messages", "[]"),
        ("tools", "null"),
        ("tool_choice", "null"),
        ("max_completion_tokens", "1"),
        ("response_format", "null"),
    ] {
        let found = refused(of_text(&format!("\"prompt\":\"a\",\"{member}\":{value}")));
        assert_eq!(found, named("unsupported-member", member));
    }
    let long = format!(r#""prompt":"{}""#, "x".repeat(MAX_PROMPT_BYTES + 1));
    assert_eq!(of_text(&long).unwrap_err().code(), "body-too-long");
    let chat = refused(with(r#""prompt":"a""#));
    assert_eq!(chat, named("unsupported-member", "prompt"));
}

#[test]
fn one_choice_is_what_there_is() {
    assert!(with(r#""n":1"#).is_ok() && with(r#""n":null"#).is_ok());
    for n in ["0", "2", "\"1\"", "9223372036854775808", "1.0"] {
        let found = refused(with(&format!("\"n\":{n}")));
        assert_eq!(found, named("unsupported-member", "n"), "{n}");
    }
}

#[test]
fn text_parts_follow_each_other() {
    let parts = r#""messages":[{"role":"user","content":[
        {"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#;
    assert_eq!(first(&parse(parts).unwrap()), "ab");
}

#[test]
fn refuses_by_name_what_it_does_not_support() {
    for member in ["functions", "user", "chat_template_kwargs"] {
        assert_eq!(
            refused(with(&format!(r#""{member}":1"#))),
            named("unsupported-member", member)
        );
    }
    let image = r#""messages":[{"role":"user","content":[
        {"type":"image_url","image_url":{"url":"http://x"}}]}]"#;
    assert_eq!(
        refused(parse(image)),
        named("unsupported-member", "image_url")
    );
    let role = r#""messages":[{"role":"developer","content":"x"}]"#;
    assert_eq!(refused(parse(role)), named("invalid-member", "role"));
}

#[test]
fn refuses_values_outside_their_range_by_the_members_name() {
    for (member, values) in [
        (
            "temperature",
            &[
                "-0.1",
                "2.001",
                "1e300",
                "\"1\"",
                "[]",
                "9223372036854775808",
            ][..],
        ),
        ("top_p", &["0", "0.0001", "1.5", "-1"]),
        (
            "max_tokens",
            &["0", "-1", "9223372036854775808", "2049", "1.5", "\"1\""],
        ),
        ("max_completion_tokens", &["0", "18446744073709551616"]),
        ("top_k", &["-2", "1.5", "4294967296", "\"1\""]),
        ("min_p", &["-0.1", "1.001", "{}"]),
        ("presence_penalty", &["-2.1", "2.001", "\"0\""]),
        ("frequency_penalty", &["2.5", "1e300", "[]"]),
        (
            "logit_bias",
            &[
                "[]",
                "{\"07\":1}",
                "{\"-1\":1}",
                "{\"4294967296\":1}",
                "{\"7\":100.1}",
                "{\"7\":\"1\"}",
                "{\"the\":1}",
            ],
        ),
        ("seed", &["1.5", "18446744073709551616", "\"x\""]),
        (
            "stop",
            &["[\"a\",\"b\",\"c\",\"d\",\"e\"]", "\"\"", "[1]", "7"],
        ),
        ("stream_options", &["{\"include_usage\":1}", "true"]),
        ("logprobs", &["1", "\"true\"", "[]", "5"]),
        (
            "top_logprobs",
            &["21", "-1", "1.5", "256", "9223372036854775808", "true"],
        ),
    ] {
        for value in values {
            assert_eq!(
                refused(with(&format!(r#""{member}":{value}"#))),
                named("invalid-member", member),
                "{member}: {value}"
            );
        }
    }
}

#[test]
fn refuses_both_names_of_one_limit_at_once() {
    let both = with(r#""max_tokens":1,"max_completion_tokens":1"#);
    assert_eq!(
        refused(both),
        named("invalid-member", "max_completion_tokens")
    );
}

#[test]
fn refuses_an_answer_that_could_not_be_acknowledged_as_it_comes() {
    for body in [r#"{"model":"m","stream":false}"#, r#"{"model":"m"}"#] {
        let refusal = AnswerRequest::parse(Kind::Chat, body.as_bytes(), &LIMITS);
        assert_eq!(refused(refusal), named("invalid-member", "stream"));
    }
}

#[test]
fn refuses_missing_members_and_too_many_messages() {
    assert_eq!(
        refused(parse(r#""seed":1"#)),
        named("missing-member", "messages")
    );
    let empty = r#""messages":[{"role":"user"}]"#;
    assert_eq!(refused(parse(empty)), named("missing-member", "content"));
    let one = r#"{"role":"user","content":"x"}"#;
    let many = format!(r#""messages":[{}{one}]"#, format!("{one},").repeat(128));
    assert_eq!(refused(parse(&many)), named("invalid-member", "messages"));
}

#[test]
fn no_error_repeats_a_value() {
    for body in [
        r#"{"model":"the-secret","messages":"the-secret","stream":true}"#,
        r#"{"the-secret":"the-secret"}"#,
        r#"{"a":"the-secret","a":1}"#,
        r#"["the-secret""#,
    ] {
        let refusal = AnswerRequest::parse(Kind::Chat, body.as_bytes(), &LIMITS).unwrap_err();
        let told = String::from_utf8(refusal.to_json()).unwrap();
        assert!(!told.contains("secret"), "{told}");
    }
}

/// Milliseconds that this thread has computed.
fn spent() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let spent: u64 = stat.split(' ').next().unwrap().parse().unwrap();
    spent / 1_000_000
}

/// A request made to cost more than it weighs, with the code and the member of its refusal.
type Bomb = (String, &'static str, &'static str);

fn after(member: &str) -> String {
    format!("{MESSAGES},{member}")
}

/// Values of the members that say how tokens are drawn, and of members that are not there.
fn bombs_of_values() -> Vec<Bomb> {
    let stops = |count: usize| after(&format!(r#""stop":[{}]"#, vec![r#""s""#; count].join(",")));
    let long = format!(r#""stop":"{}""#, "s".repeat(257));
    let seed = format!(r#""seed":{}"#, "9".repeat(500_000));
    let seeds = vec![r#""seed":1"#; 4000].join(",");
    let numbered: Vec<_> = (0..3000).map(|at| format!("\"m{at}\":1")).collect();
    let biases: Vec<_> = (0..301).map(|at| format!("\"{at}\":1")).collect();
    let biases = format!(r#""logit_bias":{{{}}}"#, biases.join(","));
    let name = format!(r#""{}":1"#, "n".repeat(900_000));
    vec![
        (stops(100_000), "json-too-large", "stop"),
        (stops(4000), "invalid-member", "stop"),
        (after(&long), "invalid-member", "stop"),
        (
            after(r#""temperature":NaN"#),
            "json-malformed",
            "temperature",
        ),
        (after(r#""top_p":-1e400"#), "json-malformed", "top_p"),
        (after(&seed), "json-malformed", "seed"),
        (after(&seeds), "json-duplicate-member", "seed"),
        (after(&biases), "invalid-member", "logit_bias"),
        (after(&numbered.join(",")), "unsupported-member", "m0"),
        (after(&name), "unsupported-member", ""),
    ]
}

/// Texts and forms.
fn bombs_of_texts() -> Vec<Bomb> {
    let said = |text: &str| format!(r#""messages":[{{"role":"user","content":{text}}}]"#);
    let marks = format!("\"{}x\"", "\u{0301}".repeat(MAX_PROMPT_BYTES / 2));
    let endless = format!("\"{}", r"\u0301".repeat(170_000));
    let form = |schema: &str| {
        let schema = format!(r#"{{"name":"n","schema":{schema}}}"#);
        let form = format!(r#"{{"type":"json_schema","json_schema":{schema}}}"#);
        after(&format!(r#""response_format":{form}"#))
    };
    let nested = |count| {
        form(&format!(
            "{}1{}",
            r#"{"a":"#.repeat(count),
            "}".repeat(count)
        ))
    };
    let pattern = format!(r#"{{"pattern":"{}"}}"#, "(a*)*".repeat(20_000));
    vec![
        (said(&marks), "body-too-long", "messages"),
        (said(&endless), "json-malformed", "messages"),
        (said(r#""\ud800""#), "json-malformed", "messages"),
        (said(&"[".repeat(400_000)), "json-too-large", "messages"),
        (nested(200), "json-too-large", "response_format"),
        (nested(160_000), "json-too-large", "response_format"),
        (form(&pattern), "body-too-long", "response_format"),
    ]
}

#[test]
fn what_is_made_to_cost_much_is_refused_by_its_name_at_little_cost() {
    // Optimised; without, the same takes about ten times as long.
    let most = if cfg!(debug_assertions) { 500 } else { 50 };
    let bombs = bombs_of_values().into_iter().chain(bombs_of_texts());
    for (at, (members, code, member)) in bombs.enumerate() {
        let before = spent();
        let found = parse(&members);
        let took = spent() - before;
        let member = (!member.is_empty()).then(|| member.to_owned());
        assert_eq!(refused(found), (code, member), "bomb {at}");
        assert!(took < most, "bomb {at}: {took} ms");
    }
}

#[test]
fn a_form_by_a_grammar_or_an_expression_is_refused_by_name() {
    for member in [
        "grammar",
        "guided_grammar",
        "guided_regex",
        "structured_outputs",
    ] {
        assert_eq!(
            refused(with(&format!(r#""{member}":"root ::= \"a\"""#))),
            named("unsupported-member", member)
        );
    }
    for form in [
        r#"{"type":"grammar"}"#,
        r#"{"type":"regex"}"#,
        r#"{"type":"lark"}"#,
    ] {
        let refused = refused(with(&format!(r#""response_format":{form}"#)));
        assert_eq!(refused, named("invalid-member", "response_format"));
    }
    let form = r#""response_format":{"type":"grammar","grammar":"start: \"a\""}"#;
    assert_eq!(refused(with(form)), named("unsupported-member", "grammar"));
}

#[test]
fn a_megabyte_of_marks_is_read_in_linear_time() {
    let marks = "\u{0301}".repeat(250_000);
    let body = format!(r#""messages":[{{"role":"user","content":"{marks}"}}]"#);
    let before = std::time::Instant::now();
    assert!(parse(&body).is_ok());
    assert!(before.elapsed() < std::time::Duration::from_millis(500));
}
