//! A request of OpenAI's Responses API as the chat that it stands for.
//!
//! Nothing of it is kept for a later request: what would need that, or a tool, is refused by its
//! name, and a member that asks for nothing (`null`, `"store": false`, an empty list of tools) is
//! taken. What a chat itself may say is the machine's to take or refuse.
//! `docs/spec/serving.md` §4.4.

use core::fmt;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::super::openai::Refusal;
use crate::chat::{Asked, ChatRequest, ChatRequestError, Delivery, member_name, members};

/// A request, translated. Content: does not print.
pub(in super::super) struct ResponseRequest {
    /// What is sent.
    pub(in super::super) chat: ChatRequest,
    /// How the asker wants the answer.
    pub(in super::super) delivery: Delivery,
    /// What the answer repeats of it.
    pub(super) repeated: Map<String, Value>,
}

impl fmt::Debug for ResponseRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResponseRequest({:?})", self.chat)
    }
}

impl ResponseRequest {
    /// Translates a body as an OpenAI client posts it.
    pub(in super::super) fn of_openai(body: &Bytes) -> Result<Self, Refusal> {
        let members = members(body).map_err(Refusal::of_request)?;
        let mut fields = Fields::default();
        for (name, value) in &members {
            fields.take(name, value)?;
        }
        fields.complete()
    }
}

/// The refusal's member in the words of this API.
pub(in super::super) fn renamed(mut refusal: Refusal) -> Refusal {
    let name = match refusal.param.as_deref() {
        Some("messages" | "role" | "content") => "input",
        Some("max_tokens" | "max_completion_tokens") => "max_output_tokens",
        Some("response_format") => "text",
        Some(_) | None => return refusal,
    };
    let before = refusal.param.replace(name.to_owned()).unwrap_or_default();
    let quoted = format!("`{before}`");
    refusal.message = refusal.message.replace(&quoted, &format!("`{name}`"));
    refusal
}

/// Members as they come; a name that is repeated counts once, the last time.
#[derive(Default)]
struct Fields {
    chat: Map<String, Value>,
    repeated: Map<String, Value>,
    instructions: Option<Value>,
    messages: Option<Vec<Value>>,
    streamed: bool,
}

impl Fields {
    fn take(&mut self, name: &str, value: &Value) -> Result<(), Refusal> {
        match (name, value) {
            ("model", Value::String(_)) => self.keep("model", "model", value),
            ("input", Value::String(_)) => {
                self.messages = Some(vec![json!({ "role": "user", "content": value })]);
            }
            ("input", Value::Array(items)) => {
                self.messages = Some(items.iter().map(message).collect::<Result<_, _>>()?);
            }
            ("instructions", Value::String(_)) => self.instructions = Some(value.clone()),
            ("max_output_tokens", Value::Number(_)) => {
                self.keep("max_output_tokens", "max_completion_tokens", value);
            }
            ("temperature", Value::Number(_)) => self.keep("temperature", "temperature", value),
            ("top_p", Value::Number(_)) => self.keep("top_p", "top_p", value),
            ("text", Value::Object(text)) => self.take_text(text)?,
            ("stream", Value::Bool(streamed)) => self.streamed = *streamed,
            (_, _) if asks_for_nothing(name, value) => {}
            (_, _) => return Err(not_taken(name)),
        }
        Ok(())
    }

    fn keep(&mut self, name: &str, in_chat: &str, value: &Value) {
        self.chat.insert(in_chat.to_owned(), value.clone());
        self.repeated.insert(name.to_owned(), value.clone());
    }

    fn take_text(&mut self, text: &Map<String, Value>) -> Result<(), Refusal> {
        for (name, value) in text {
            match (name.as_str(), value) {
                ("format", Value::Object(format)) => {
                    let in_chat = response_format(format)?;
                    self.chat.insert("response_format".to_owned(), in_chat);
                    let repeated = json!({ "format": value });
                    self.repeated.insert("text".to_owned(), repeated);
                }
                ("format" | "verbosity", Value::Null) => {}
                ("format", _) => return Err(invalid("text")),
                (other, _) => return Err(unsupported(other)),
            }
        }
        Ok(())
    }

    fn complete(mut self) -> Result<ResponseRequest, Refusal> {
        let mut messages = self.messages.ok_or_else(|| invalid("input"))?;
        if messages.is_empty() {
            return Err(invalid("input"));
        }
        if let Some(instructions) = self.instructions {
            messages.insert(0, json!({ "role": "system", "content": instructions }));
            self.repeated
                .insert("instructions".to_owned(), instructions);
        }
        self.chat.insert("messages".to_owned(), messages.into());
        self.chat.insert("stream".to_owned(), Value::Bool(true));
        let chat = ChatRequest::of_members(Asked::Chat, self.chat, Delivery::Streamed);
        Ok(ResponseRequest {
            chat: chat.map_err(|error| renamed(Refusal::of_request(error)))?,
            delivery: match self.streamed {
                true => Delivery::Streamed,
                false => Delivery::Whole,
            },
            repeated: self.repeated,
        })
    }
}

/// Whether a member that is not supported asks for nothing.
fn asks_for_nothing(name: &str, value: &Value) -> bool {
    match (name, value) {
        ("store" | "background", Value::Bool(wanted)) => !wanted,
        ("tools" | "include", Value::Array(list)) => list.is_empty(),
        ("metadata", Value::Object(pairs)) => pairs.is_empty(),
        ("truncation", Value::String(how)) => how == "disabled",
        ("service_tier", Value::String(tier)) => matches!(tier.as_str(), "auto" | "default"),
        // Without tools there is nothing to choose from.
        ("tool_choice", Value::String(choice)) => matches!(choice.as_str(), "auto" | "none"),
        ("parallel_tool_calls", Value::Bool(_)) => true,
        ("stream_options", Value::Object(options)) => options
            .iter()
            .all(|(name, value)| name == "include_obfuscation" && *value == Value::Bool(false)),
        (_, Value::Null) => is_known(name),
        (_, _) => false,
    }
}

/// The members whose `null` stands for an absent one, as SDKs send it.
fn is_known(name: &str) -> bool {
    matches!(
        name,
        "background"
            | "conversation"
            | "include"
            | "instructions"
            | "max_output_tokens"
            | "max_tool_calls"
            | "metadata"
            | "parallel_tool_calls"
            | "previous_response_id"
            | "prompt"
            | "prompt_cache_key"
            | "reasoning"
            | "safety_identifier"
            | "service_tier"
            | "store"
            | "stream"
            | "stream_options"
            | "temperature"
            | "text"
            | "tool_choice"
            | "tools"
            | "top_logprobs"
            | "top_p"
            | "truncation"
            | "user"
    )
}

/// One item of the input as a message of a chat.
fn message(item: &Value) -> Result<Value, Refusal> {
    let members = item.as_object().ok_or_else(|| invalid("input"))?;
    let (mut role, mut content) = (None, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("type", Value::String(kind)) if kind == "message" => {}
            // Calls of tools, thoughts, references to what would have been stored.
            ("type", _) => return Err(unsupported("input")),
            // What an answer that is handed back has beside its text.
            ("id" | "status", Value::String(_) | Value::Null) => {}
            ("role", Value::String(name)) => {
                role = Some(match name.as_str() {
                    "developer" => "system",
                    "system" => "system",
                    "user" => "user",
                    "assistant" => "assistant",
                    _ => return Err(invalid("input")),
                });
            }
            ("content", Value::String(_)) => content = Some(value.clone()),
            ("content", Value::Array(parts)) => {
                let parts = parts.iter().map(part).collect::<Result<Vec<_>, _>>()?;
                content = Some(parts.into());
            }
            ("role" | "content" | "id" | "status", _) => return Err(invalid("input")),
            (other, _) => return Err(unsupported(other)),
        }
    }
    match (role, content) {
        (Some(role), Some(content)) => Ok(json!({ "role": role, "content": content })),
        (_, _) => Err(invalid("input")),
    }
}

/// One part of a message's content: text, whoever wrote it.
fn part(part: &Value) -> Result<Value, Refusal> {
    let members = part.as_object().ok_or_else(|| invalid("input"))?;
    let (mut is_text, mut text) = (false, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("type", Value::String(kind)) => match kind.as_str() {
                "input_text" | "output_text" => is_text = true,
                // Images, files, sound.
                _ => return Err(unsupported("input")),
            },
            ("text", Value::String(_)) => text = Some(value),
            ("annotations" | "logprobs", Value::Array(list)) if list.is_empty() => {}
            ("annotations" | "logprobs", Value::Null) => {}
            ("type" | "text", _) => return Err(invalid("input")),
            (other, _) => return Err(unsupported(other)),
        }
    }
    match (is_text, text) {
        (true, Some(text)) => Ok(json!({ "type": "text", "text": text })),
        (_, _) => Err(invalid("input")),
    }
}

/// A chat has the members of a schema's format one level deeper.
fn response_format(format: &Map<String, Value>) -> Result<Value, Refusal> {
    let kind = format.get("type").and_then(Value::as_str);
    let kind = kind.ok_or_else(|| invalid("text"))?;
    let mut rest = Map::new();
    for (name, value) in format.iter().filter(|(name, _)| *name != "type") {
        match name.as_str() {
            "name" | "schema" | "description" | "strict" if kind == "json_schema" => {
                rest.insert(name.clone(), value.clone());
            }
            other => return Err(unsupported(other)),
        }
    }
    match kind {
        "json_schema" => Ok(json!({ "type": kind, "json_schema": rest })),
        "text" | "json_object" => Ok(json!({ "type": kind })),
        _ => Err(invalid("text")),
    }
}

/// Of a member that is taken: its value is not.
fn invalid(member: &'static str) -> Refusal {
    Refusal::of_request(ChatRequestError::Member { member })
}

/// Of a member that was not taken, for its value or for itself.
fn not_taken(name: &str) -> Refusal {
    match name {
        "model" => invalid("model"),
        "input" => invalid("input"),
        "instructions" => invalid("instructions"),
        "max_output_tokens" => invalid("max_output_tokens"),
        "temperature" => invalid("temperature"),
        "top_p" => invalid("top_p"),
        "text" => invalid("text"),
        "stream" => invalid("stream"),
        other => unsupported(other),
    }
}

/// Of a member that is unknown, or known and not supported; named if it is an identifier.
fn unsupported(name: &str) -> Refusal {
    let mut refusal = Refusal::new(
        StatusCode::BAD_REQUEST,
        "invalid_request_error",
        "unsupported-member",
        "this member is not supported",
    );
    refusal.param = member_name(name);
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translate(body: &Value) -> Result<ResponseRequest, Refusal> {
        ResponseRequest::of_openai(&body.to_string().into())
    }

    fn sent(body: &Value) -> Value {
        let request = translate(body).unwrap();
        serde_json::from_slice(request.chat.body()).unwrap()
    }

    fn asked(member: &str, value: Value) -> Value {
        let mut body = json!({ "model": "m", "input": "hello" });
        body[member] = value;
        body
    }

    #[test]
    fn a_text_is_a_chat_of_one_message() {
        let expected = json!({
            "model": "m", "stream": true,
            "messages": [{ "role": "user", "content": "hello" }],
        });
        assert_eq!(sent(&json!({ "model": "m", "input": "hello" })), expected);
    }

    #[test]
    fn instructions_come_first_and_every_member_has_its_place_in_the_chat() {
        let body = json!({
            "model": "m", "instructions": "be brief", "max_output_tokens": 9, "temperature": 0.5,
            "top_p": 0.9, "store": false, "stream": true,
            "input": [
                { "role": "developer", "content": "in French" },
                { "type": "message", "role": "user",
                  "content": [{ "type": "input_text", "text": "hel" },
                              { "type": "input_text", "text": "lo" }] },
                { "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
                  "content": [{ "type": "output_text", "text": "oui", "annotations": [] }] },
            ],
            "text": { "format": { "type": "json_schema", "name": "n", "strict": true,
                                  "schema": { "type": "object" } } },
        });
        let text = |text: &str| json!({ "type": "text", "text": text });
        let expected = json!({
            "model": "m", "stream": true, "max_completion_tokens": 9, "temperature": 0.5,
            "top_p": 0.9,
            "messages": [
                { "role": "system", "content": "be brief" },
                { "role": "system", "content": "in French" },
                { "role": "user", "content": [text("hel"), text("lo")] },
                { "role": "assistant", "content": [text("oui")] },
            ],
            "response_format": { "type": "json_schema", "json_schema":
                { "name": "n", "strict": true, "schema": { "type": "object" } } },
        });
        assert_eq!(sent(&body), expected);
        assert_eq!(translate(&body).unwrap().delivery, Delivery::Streamed);
    }

    #[test]
    fn a_member_that_asks_for_nothing_is_taken() {
        let plain = sent(&json!({ "model": "m", "input": "hello" }));
        for (member, value) in [
            ("store", json!(false)),
            ("store", json!(null)),
            ("background", json!(false)),
            ("tools", json!([])),
            ("tool_choice", json!("auto")),
            ("previous_response_id", json!(null)),
            ("metadata", json!({})),
            ("truncation", json!("disabled")),
            ("stream_options", json!({ "include_obfuscation": false })),
            ("text", json!({ "verbosity": null })),
            ("temperature", json!(null)),
        ] {
            assert_eq!(sent(&asked(member, value)), plain, "{member}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_its_name() {
        for (member, value) in [
            ("store", json!(true)),
            ("background", json!(true)),
            ("tools", json!([{ "type": "web_search" }])),
            ("tool_choice", json!("required")),
            ("previous_response_id", json!("resp_1")),
            ("conversation", json!("conv_1")),
            ("prompt", json!({ "id": "p" })),
            ("reasoning", json!({ "effort": "low" })),
            ("include", json!(["message.output_text.logprobs"])),
            ("metadata", json!({ "a": "b" })),
            ("truncation", json!("auto")),
            ("stream_options", json!({ "include_obfuscation": true })),
            ("top_logprobs", json!(2)),
            ("user", json!("u")),
            ("frequency_penalty", json!(null)),
        ] {
            let refusal = translate(&asked(member, value)).unwrap_err();
            assert_eq!(refusal.code, "unsupported-member", "{member}");
            assert_eq!(refusal.param.as_deref(), Some(member));
        }
        let verbose = translate(&asked("text", json!({ "verbosity": "low" }))).unwrap_err();
        assert_eq!(verbose.param.as_deref(), Some("verbosity"));
        let secret = translate(&asked("my secret", json!(1))).unwrap_err();
        assert_eq!(
            (secret.code.as_str(), secret.param),
            ("unsupported-member", None)
        );
    }

    #[test]
    fn what_is_not_text_is_refused() {
        let code = |input: Value| translate(&asked("input", input)).unwrap_err().code;
        let user = |part: Value| json!([{ "role": "user", "content": [part] }]);
        let image = json!({ "type": "input_image", "image_url": "http://x" });
        assert_eq!(code(user(image)), "unsupported-member");
        let call = json!([{ "type": "function_call", "name": "f", "arguments": "{}" }]);
        assert_eq!(code(call), "unsupported-member");
        let quoted = json!({ "type": "output_text", "text": "t", "annotations": [{}] });
        assert_eq!(code(user(quoted)), "unsupported-member");
        for invalid in [
            json!([]),
            json!(7),
            json!(["hello"]),
            json!([{ "role": "user" }]),
            json!([{ "role": "tool", "content": "x" }]),
            json!([{ "role": "user", "content": 1 }]),
            user(json!({ "type": "input_text" })),
            user(json!({ "text": "x" })),
        ] {
            assert_eq!(code(invalid.clone()), "request-invalid-member", "{invalid}");
        }
        let absent = translate(&json!({ "model": "m" })).unwrap_err();
        assert_eq!(absent.param.as_deref(), Some("input"));
    }

    #[test]
    fn a_value_out_of_range_names_the_member_of_this_api() {
        for (member, value) in [
            ("max_output_tokens", json!(-1)),
            ("max_output_tokens", json!("9")),
            ("temperature", json!(2.5)),
            ("top_p", json!("1")),
            ("text", json!({ "format": { "type": "xml" } })),
            ("text", json!("json")),
            ("stream", json!(1)),
            ("instructions", json!(["a"])),
        ] {
            let refusal = translate(&asked(member, value)).unwrap_err();
            assert_eq!(refusal.code, "request-invalid-member", "{member}");
            assert_eq!(refusal.param.as_deref(), Some(member));
        }
    }
}
