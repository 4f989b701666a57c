//! What clients write: bodies of requests as serve reads them, the schemas in them, and chats as a
//! model's template shows them.

use std::str::from_utf8;

use messages::engine_ipc::{
    ChatMessage, ChatRole, Content, Form, MAX_MESSAGES, MAX_PROMPT_BYTES, MAX_STOPS, Tool, ToolName,
};
use protocol::launch_configuration::Limits;
use serde_json::Value;
use serve::api::{AnswerRequest, Kind};
use serve::embeddings::EmbeddingsRequest;
use serve::errors::Refusal;

use crate::{Outcome, pieces};

const LIMITS: Limits = Limits {
    streams: 4,
    context_tokens: 2048,
    increment_tokens: 64,
};

/// A body, as each of the three paths reads it.
pub fn request(input: &[u8]) -> Outcome {
    let answers = [Kind::Chat, Kind::Text].map(|kind| answer(kind, input));
    let vectors = EmbeddingsRequest::parse(input);
    if let Ok(asked) = &vectors {
        let bytes: usize = asked.inputs.iter().map(|input| input.bytes()).sum();
        assert!((1..=MAX_PROMPT_BYTES).contains(&bytes));
    }
    check_refusal(&vectors, input);
    let [chat, text] = answers;
    chat.or(text).or(Outcome::of(&vectors))
}

fn answer(kind: Kind, input: &[u8]) -> Outcome {
    let read = AnswerRequest::parse(kind, input, &LIMITS);
    if let Ok(asked) = &read {
        let contents = asked.prompt.contents();
        let bytes: usize = contents.iter().map(|content| content.0.len()).sum();
        assert!(bytes <= MAX_PROMPT_BYTES);
        assert!((1..=LIMITS.context_tokens).contains(&asked.max_tokens));
        assert!(asked.stops.len() <= MAX_STOPS && asked.drawing.temperature_milli <= 2000);
        if let Form::Schema(schema) = &asked.form {
            let _taken_or_not = engine::door::form(&schema.0, b"{}");
        }
    }
    check_refusal(&read, input);
    Outcome::of(&read)
}

/// A refusal is an error object, and repeats of a request an identifier at most.
fn check_refusal<T>(read: &Result<T, Refusal>, input: &[u8]) {
    let Err(refusal) = read else { return };
    let object: Value = serde_json::from_slice(&refusal.to_json()).expect("an error object");
    assert!((400..500).contains(&refusal.status().as_u16()));
    if let Value::String(name) = &object["error"]["param"] {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        assert!((1..=64).contains(&name.len()) && name.bytes().all(is_plain));
    }
    // The messages are constants: they are no longer with a longer request.
    assert!(object.to_string().len() < 400, "of {} bytes", input.len());
}

/// A schema, and bytes of an answer after it.
pub fn schema(input: &[u8]) -> Outcome {
    let [answer, schema] = pieces::split::<2>(input);
    let Ok(schema) = from_utf8(schema) else {
        return Outcome::Refused;
    };
    let followed = engine::door::form(schema, answer);
    if let Ok(taken) = &followed {
        let taken = &answer[..*taken];
        assert!(from_utf8(taken).map_or_else(|cut| cut.error_len().is_none(), |_| true));
    }
    Outcome::of(&followed)
}

/// Texts that are nowhere else: none of them is part of another.
const SAID: [&str; 3] = ["<|im_end|> one\n", "\u{1f600}{{ two }}", "\"three\" <s>"];

/// A chat template, with which a chat and a function are shown.
pub fn template(input: &[u8]) -> Outcome {
    let Ok(source) = from_utf8(input) else {
        return Outcome::Refused;
    };
    let message = |role, text: &str| ChatMessage {
        role,
        content: Content(text.to_owned()),
        calls: Vec::new(),
    };
    let chat = [
        message(ChatRole::System, SAID[0]),
        message(ChatRole::User, SAID[1]),
        message(ChatRole::Assistant, SAID[2]),
        message(ChatRole::User, SAID[1]),
    ];
    assert!(chat.len() <= MAX_MESSAGES);
    let tool = Tool {
        name: ToolName::new("look".to_owned()).expect("a name"),
        description: None,
        parameters: Some(Content(r#"{"type":"object"}"#.to_owned())),
    };
    for tools in [&[] as &[Tool], &[tool]] {
        match engine::door::template(source, &chat, tools) {
            Ok(Some(shown)) => check_shown(&shown, &chat, tools.is_empty()),
            Ok(None) => {}
            Err(_) => return Outcome::Refused,
        }
    }
    Outcome::Taken
}

/// Each message is shown once, whole or trimmed or as JSON, and apart from what the template wrote.
fn check_shown(shown: &engine::door::Rendered, chat: &[ChatMessage], alone: bool) {
    assert!(shown.written <= 1 << 20);
    if !alone {
        return;
    }
    let mut found: Vec<_> = shown.shown.iter().map(|text| plain(text)).collect();
    let mut said: Vec<_> = chat.iter().map(|one| plain(&one.content.0)).collect();
    found.sort();
    said.sort();
    assert_eq!(found, said);
}

/// A text, however it was written.
fn plain(text: &str) -> String {
    let read = serde_json::from_str::<String>(&format!("\"{text}\""));
    read.unwrap_or_else(|_| text.to_owned()).trim().to_owned()
}

/// What the fuzzers start from: target, name, input.
#[must_use]
pub fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let texts = [
        ("request", "chat", CHAT),
        ("request", "text", TEXT),
        ("request", "vectors", VECTORS),
        ("chat_template", "loop", LOOP),
        ("chat_template", "calls", CALLS),
    ];
    let mut seeds: Vec<_> = texts
        .into_iter()
        .map(|(target, name, text)| (target, name, text.as_bytes().to_vec()))
        .collect();
    let person = pieces::join(&[br#"{"name": "A", "tags": ["b"]"#, PERSON.as_bytes()]);
    let tree = pieces::join(&[br#"{"next": {"next": null}}"#, TREE.as_bytes()]);
    seeds.push(("answer_schema", "person", person));
    seeds.push(("answer_schema", "tree", tree));
    seeds
}

const CHAT: &str = r#"{"model":"m","stream":true,"messages":[
{"role":"system","content":"Be brief."},
{"role":"user","content":[{"type":"text","text":"Weather?"}]},
{"role":"assistant","content":null,"tool_calls":[
{"id":"c1","type":"function","function":{"name":"look","arguments":"{\"at\":1}"}}]},
{"role":"tool","tool_call_id":"c1","content":"rain"}],
"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object"}}}],
"temperature":0.7,"top_p":0.9,"top_k":5,"min_p":0.1,"presence_penalty":-1,"frequency_penalty":1,
"logit_bias":{"7":-100},"seed":-1,"stop":["a","b"],"max_completion_tokens":9,"logprobs":true,
"top_logprobs":2,"stream_options":{"include_usage":true}}"#;
const TEXT: &str =
    r#"{"model":"m","stream":true,"prompt":"Once","max_tokens":4,"echo":false,"n":1}"#;
const VECTORS: &str = r#"{"model":"m","input":["a",[1,2]],"encoding_format":"base64"}"#;
const LOOP: &str = "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' }}\
{{ m.content | trim }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
const CALLS: &str = "{%- if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}\
{% endif %}\
{%- for m in messages %}{{ m.role }}:{% generation %}{{ m.content }}{% endgeneration %}\
{%- for call in m.tool_calls %}{{ call.function.name }}{{ call.function.arguments | tojson }}\
{% endfor %}{% endfor %}";
const PERSON: &str = r#"{"type":"object","required":["name"],"properties":{
"name":{"type":"string","maxLength":9},"age":{"type":"integer"},
"tags":{"type":"array","items":{"enum":["a","b"]},"maxItems":3}}}"#;
const TREE: &str =
    r##"{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}}}"##;
