//! An answer in the shapes of OpenAI's Responses API: the response object, and the events of its
//! stream with their numbers.
//!
//! Pure: chunks and counts in, JSON out. One output item, one part of text.

use core::fmt::Write as _;

use bytes::Bytes;
use protocol::receipt::{FinishReason, TokenCounts};
use serde_json::{Map, Value, json};
use verifier::UnixTime;
use zeroize::Zeroizing;

use super::super::openai::Refusal;
use crate::chat::Chunk;

/// How far an answer is.
enum Status {
    InProgress,
    Completed,
    /// It reached its limit of tokens.
    Incomplete,
    Failed,
}

impl Status {
    const fn name(&self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// An answer that is being told.
pub(in super::super) struct ResponseAnswer {
    /// Hex digits of the response's and the item's number.
    number: String,
    created: UnixTime,
    repeated: Map<String, Value>,
    text: Zeroizing<String>,
    finish: Option<FinishReason>,
    /// Whether the output item was announced.
    begun: bool,
    /// Number of the next event.
    sequence: u64,
}

impl ResponseAnswer {
    pub(super) fn new(drawn: &[u8], created: UnixTime, repeated: Map<String, Value>) -> Self {
        let mut number = String::new();
        for byte in drawn {
            // Writing to a string does not fail.
            let _written = write!(number, "{byte:02x}");
        }
        Self {
            number,
            created,
            repeated,
            text: Zeroizing::default(),
            finish: None,
            begun: false,
            sequence: 0,
        }
    }

    /// The events before anything of the answer is there.
    pub(in super::super) fn opening(&mut self) -> Bytes {
        let mut events = Vec::new();
        for name in ["response.created", "response.in_progress"] {
            let response = self.response(&Status::InProgress, None, None);
            self.event(&mut events, name, json!({ "response": response }));
        }
        events.into()
    }

    /// Takes a chunk; the events that it makes, if any.
    pub(in super::super) fn chunk(&mut self, chunk: &Chunk) -> Bytes {
        let mut events = Vec::new();
        if !self.begun {
            self.begun = true;
            let item = self.item(&Status::InProgress, json!([]));
            let added = json!({ "output_index": 0, "item": item });
            self.event(&mut events, "response.output_item.added", added);
            let added = self.of_part(json!({ "part": part("") }));
            self.event(&mut events, "response.content_part.added", added);
        }
        if chunk.finish.is_some() {
            self.finish = chunk.finish;
        }
        match chunk.text.as_deref() {
            None | Some("") => {}
            Some(text) => {
                self.text.push_str(text);
                let delta = self.of_part(json!({ "delta": text, "logprobs": [] }));
                self.event(&mut events, "response.output_text.delta", delta);
            }
        }
        events.into()
    }

    /// The events at the end of an answer with these counts.
    pub(in super::super) fn end(&mut self, tokens: &TokenCounts) -> Bytes {
        let mut events = Vec::new();
        let text = self.text.as_str();
        let done = self.of_part(json!({ "text": text, "logprobs": [] }));
        let whole = self.of_part(json!({ "part": part(text) }));
        self.event(&mut events, "response.output_text.done", done);
        self.event(&mut events, "response.content_part.done", whole);
        let status = self.status();
        let item = self.whole_item(&status);
        let done = json!({ "output_index": 0, "item": item });
        self.event(&mut events, "response.output_item.done", done);
        let name = format!("response.{}", status.name());
        let response = self.response(&status, Some(tokens), None);
        self.event(&mut events, &name, json!({ "response": response }));
        events.into()
    }

    /// The event of an answer that broke off.
    pub(in super::super) fn failed(&mut self, refusal: &Refusal) -> Bytes {
        let mut events = Vec::new();
        let response = self.response(&Status::Failed, None, Some(refusal));
        self.event(
            &mut events,
            "response.failed",
            json!({ "response": response }),
        );
        events.into()
    }

    /// The whole answer in one piece.
    pub(in super::super) fn whole(&self, tokens: &TokenCounts) -> String {
        self.response(&self.status(), Some(tokens), None)
            .to_string()
    }

    fn status(&self) -> Status {
        match self.finish {
            Some(FinishReason::Length) => Status::Incomplete,
            Some(FinishReason::Stop | FinishReason::Cancelled) | None => Status::Completed,
        }
    }

    fn event(&mut self, events: &mut Vec<u8>, name: &str, members: Value) {
        let mut event = json!({ "type": name, "sequence_number": self.sequence });
        self.sequence = self.sequence.saturating_add(1);
        if let (Value::Object(event), Value::Object(members)) = (&mut event, members) {
            event.extend(members);
        }
        events.extend(format!("event: {name}\ndata: {event}\n\n").into_bytes());
    }

    /// Members of an event about the one part of the one item.
    fn of_part(&self, members: Value) -> Value {
        let mut event = json!({
            "item_id": format!("msg_{}", self.number),
            "output_index": 0,
            "content_index": 0,
        });
        if let (Value::Object(event), Value::Object(members)) = (&mut event, members) {
            event.extend(members);
        }
        event
    }

    fn item(&self, status: &Status, content: Value) -> Value {
        json!({
            "id": format!("msg_{}", self.number),
            "type": "message",
            "status": status.name(),
            "role": "assistant",
            "content": content,
        })
    }

    fn whole_item(&self, status: &Status) -> Value {
        self.item(status, json!([part(&self.text)]))
    }

    fn response(
        &self,
        status: &Status,
        tokens: Option<&TokenCounts>,
        refusal: Option<&Refusal>,
    ) -> Value {
        let said = |name: &str| self.repeated.get(name).cloned();
        let (output, incomplete) = match status {
            Status::InProgress => (json!([]), Value::Null),
            Status::Failed if !self.begun => (json!([]), Value::Null),
            Status::Failed => (json!([self.whole_item(&Status::Incomplete)]), Value::Null),
            Status::Completed => (json!([self.whole_item(status)]), Value::Null),
            Status::Incomplete => {
                let reason = json!({ "reason": "max_output_tokens" });
                (json!([self.whole_item(status)]), reason)
            }
        };
        let error =
            refusal.map(|refusal| json!({ "code": refusal.code, "message": refusal.message }));
        json!({
            "id": format!("resp_{}", self.number),
            "object": "response",
            "created_at": self.created.0,
            "status": status.name(),
            "background": false,
            "error": error,
            "incomplete_details": incomplete,
            "instructions": said("instructions"),
            "max_output_tokens": said("max_output_tokens"),
            "metadata": {},
            "model": said("model"),
            "output": output,
            "parallel_tool_calls": false,
            "previous_response_id": null,
            "reasoning": { "effort": null, "summary": null },
            "store": false,
            "temperature": said("temperature").unwrap_or_else(|| json!(1.0)),
            "text": said("text").unwrap_or_else(|| json!({ "format": { "type": "text" } })),
            "tool_choice": "auto",
            "tools": [],
            "top_p": said("top_p").unwrap_or_else(|| json!(1.0)),
            "truncation": "disabled",
            "usage": tokens.map(usage),
            "user": null,
        })
    }
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn usage(tokens: &TokenCounts) -> Value {
    let input = u64::from(tokens.prompt).saturating_add(tokens.cached.into());
    let output = u64::from(tokens.completion);
    json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": tokens.cached },
        "output_tokens": output,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": input.saturating_add(output),
    })
}
