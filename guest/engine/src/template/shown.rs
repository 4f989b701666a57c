//! What a template is shown of a chat: its roles and the structure of its functions, and a
//! placeholder for every text that somebody else wrote.

use std::borrow::Cow;

use bounded_json::Json;
use messages::engine_ipc::{Call, ChatMessage, ChatRole, Content, Tool};
use minijinja::Value;

use super::ChatRefused;
use super::skeleton::{Hidden, Times};

/// Objects and lists within each other, in a schema and in the arguments of a call.
const MAX_DEPTH: u32 = 32;
/// Values of all schemas and arguments of one chat.
const MAX_VALUES: u32 = 16_384;

/// Words of JSON Schema and of the API that templates look for: shown as they are. They are ours,
/// whoever repeats them.
const WORDS: [&str; 20] = [
    "additionalProperties",
    "anyOf",
    "array",
    "boolean",
    "default",
    "description",
    "enum",
    "function",
    "integer",
    "items",
    "name",
    "null",
    "number",
    "object",
    "parameters",
    "properties",
    "required",
    "string",
    "title",
    "type",
];

/// A chat as values, with the texts that they hide.
pub(super) struct Shown<'a> {
    pub(super) messages: Vec<Value>,
    pub(super) tools: Vec<Value>,
    pub(super) hidden: Hidden<'a>,
    /// Values that there may still be.
    values: u32,
}

impl<'a> Shown<'a> {
    pub(super) fn of(messages: &'a [ChatMessage], tools: &'a [Tool]) -> Result<Self, ChatRefused> {
        let mut shown = Self {
            messages: Vec::new(),
            tools: Vec::new(),
            hidden: Hidden::default(),
            values: MAX_VALUES,
        };
        let calls: Vec<&Call> = messages.iter().flat_map(|one| &one.calls).collect();
        let mut made = 0;
        for message in messages {
            let value = shown.message(message, &calls, made)?;
            made = made.saturating_add(message.calls.len());
            shown.messages.push(value);
        }
        for tool in tools {
            let value = shown.tool(tool)?;
            shown.tools.push(value);
        }
        Ok(shown)
    }

    fn message(
        &mut self,
        message: &'a ChatMessage,
        calls: &[&'a Call],
        made: usize,
    ) -> Result<Value, ChatRefused> {
        let text = message.content.0.as_str();
        // Templates may leave out what stands beside calls, and ask whether anything does.
        let content = match (message.calls.is_empty(), text) {
            (false, "") => String::new(),
            (false, _) => self.hidden.add(text, Times::AtMostOnce),
            (true, _) => self.hidden.add(text, Times::Once),
        };
        let mut members = vec![
            ("role", Value::from(message.role.name())),
            ("content", Value::from(content)),
        ];
        if let ChatRole::Tool { call } = message.role {
            let number = usize::from(call);
            let answered = calls.get(number).ok_or(ChatRefused)?;
            let name = self.hidden.add(answered.name.as_str(), Times::Any);
            members.push(("name", Value::from(name)));
            members.push(("tool_call_id", Value::from(call_id(number))));
        }
        if !message.calls.is_empty() {
            let calls = message.calls.iter().zip(made..);
            let calls = calls.map(|(call, number)| self.call(call, number));
            let calls: Vec<Value> = calls.collect::<Result<_, _>>()?;
            members.push(("tool_calls", Value::from(calls)));
        }
        Ok(Value::from_pairs(members))
    }

    fn call(&mut self, call: &'a Call, number: usize) -> Result<Value, ChatRefused> {
        let name = self.hidden.add(call.name.as_str(), Times::AtLeastOnce);
        let arguments = self.json(&call.arguments, Words::Hidden)?;
        let function = Value::from_pairs([("name", Value::from(name)), ("arguments", arguments)]);
        Ok(Value::from_pairs([
            ("id", Value::from(call_id(number))),
            ("type", Value::from("function")),
            ("function", function),
        ]))
    }

    fn tool(&mut self, tool: &'a Tool) -> Result<Value, ChatRefused> {
        let name = self.hidden.add(tool.name.as_str(), Times::AtLeastOnce);
        let mut members = vec![("name", Value::from(name))];
        if let Some(Content(text)) = &tool.description {
            let text = self.hidden.add(text.as_str(), Times::Any);
            members.push(("description", Value::from(text)));
        }
        if let Some(schema) = &tool.parameters {
            members.push(("parameters", self.json(schema, Words::Shown)?));
        }
        Ok(Value::from_pairs([
            ("type", Value::from("function")),
            ("function", Value::from_pairs(members)),
        ]))
    }

    /// An object.
    fn json(&mut self, text: &Content, words: Words) -> Result<Value, ChatRefused> {
        let limits = bounded_json::Limits {
            depth: MAX_DEPTH,
            values: self.values,
        };
        let json = bounded_json::parse(text.0.as_bytes(), limits).map_err(|_| ChatRefused)?;
        if !matches!(json, Json::Object(_)) {
            return Err(ChatRefused);
        }
        self.value(json, words)
    }

    /// No deeper than it was read.
    fn value(&mut self, json: Json, words: Words) -> Result<Value, ChatRefused> {
        self.values = self.values.checked_sub(1).ok_or(ChatRefused)?;
        Ok(match json {
            Json::Null => Value::from(()),
            Json::Bool(value) => Value::from(value),
            Json::Whole(number) => Value::from(number),
            Json::Real(number) => Value::from(number),
            Json::Text(text) => Value::from(self.text(text, words)),
            Json::List(items) => {
                let items = items.into_iter().map(|item| self.value(item, words));
                Value::from(items.collect::<Result<Vec<_>, _>>()?)
            }
            Json::Object(members) => {
                let mut shown = Vec::with_capacity(members.len());
                for (name, value) in members {
                    shown.push((self.text(name, words), self.value(value, words)?));
                }
                Value::from_pairs(shown)
            }
        })
    }

    fn text(&mut self, text: String, words: Words) -> String {
        if words == Words::Shown && WORDS.contains(&text.as_str()) {
            return text;
        }
        self.hidden.add(Cow::Owned(text), Times::Any)
    }
}

/// Whether a template sees the words that it may look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    Shown,
    Hidden,
}

/// Ours, whatever the client called it: templates demand nine letters or digits, and no text of a
/// client stands where they look at it.
fn call_id(number: usize) -> String {
    format!("{number:09}")
}
