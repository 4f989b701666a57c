//! The chunks of an answer in which functions may be called: what the server streams as text, an
//! OpenAI client gets as text and calls. Other answers are passed on as they came.

use protocol::receipt::FinishReason;
use serde_json::{Map, Value, json};

use super::calls::{CallReader, Said};
use super::events::Chunk;

/// What is passed on of an answer.
#[derive(Debug)]
pub(super) struct Spoken(Option<CallReader>);

impl Spoken {
    pub(super) const fn of(reader: Option<CallReader>) -> Self {
        Self(reader)
    }

    /// The chunks that a chunk becomes; the last of them has its end.
    pub(super) fn chunks(&mut self, mut chunk: Chunk) -> Vec<Chunk> {
        let Some(reader) = &mut self.0 else {
            return vec![chunk];
        };
        // `events` read it as JSON already.
        let Ok(mut value) = serde_json::from_str::<Value>(&chunk.json) else {
            return vec![chunk];
        };
        let mut chunks = Vec::new();
        if let Some(text) = chunk.text.take() {
            let (delta, told) = delta(reader.push(&text));
            chunk.text = Some(told);
            set(&mut value, "delta", delta);
        }
        if let Some(reason) = chunk.finish {
            let rest = reader.finish();
            if !rest.is_empty() {
                let mut before = value.clone();
                let (delta, told) = delta(rest);
                set(&mut before, "delta", delta);
                set(&mut before, "finish_reason", Value::Null);
                chunks.push(Chunk {
                    json: before.to_string(),
                    text: Some(told),
                    finish: None,
                    probabilities: None,
                    vector: None,
                });
            }
            if reason == FinishReason::Stop && reader.calls() > 0 {
                set(&mut value, "finish_reason", json!("tool_calls"));
            }
        }
        chunk.json = value.to_string();
        chunks.push(chunk);
        chunks
    }
}

/// What was said as OpenAI writes it, and the text of it.
fn delta(said: Vec<Said>) -> (Value, String) {
    let (mut told, mut calls) = (String::new(), Vec::new());
    for one in said {
        match one {
            Said::Text(more) => told.push_str(&more),
            Said::Call {
                index,
                id,
                name,
                arguments,
            } => calls.push(json!({
                "index": index,
                "id": id,
                "type": "function",
                "function": { "name": name, "arguments": arguments },
            })),
        }
    }
    let mut delta = Map::new();
    if !told.is_empty() {
        delta.insert("content".to_owned(), Value::String(told.clone()));
    }
    if !calls.is_empty() {
        delta.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    (Value::Object(delta), told)
}

fn set(chunk: &mut Value, member: &str, value: Value) {
    let choice = chunk.pointer_mut("/choices/0");
    if let Some(members) = choice.and_then(Value::as_object_mut) {
        members.insert(member.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::events::{Event, EventReader};

    /// The deltas and the reasons of what a stream of these texts becomes.
    fn told(texts: &[&str], reason: &str) -> Vec<(Value, Value)> {
        let request = json!({"tools": [{"function": {"name": "f"}}]});
        let mut spoken = Spoken::of(Some(CallReader::for_tests(&request)));
        let choice = |delta: Value, reason: Value| {
            let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
            format!("data: {}\n\n", json!({"id": "c", "choices": [choice]}))
        };
        let mut stream = choice(json!({"role": "assistant", "content": ""}), Value::Null);
        for text in texts {
            stream.push_str(&choice(json!({ "content": text }), Value::Null));
        }
        stream.push_str(&choice(json!({}), json!(reason)));
        let events = EventReader::default().push(stream.as_bytes()).unwrap();
        let chunks = events.into_iter().flat_map(|event| {
            let Event::Chunk(chunk) = event else {
                panic!("only chunks");
            };
            spoken.chunks(chunk)
        });
        let choices = chunks.map(|chunk| {
            let mut value: Value = serde_json::from_str(&chunk.json).unwrap();
            assert_eq!(value["id"], "c");
            let choice = value["choices"][0].take();
            let reason = choice["finish_reason"].clone();
            assert_eq!(chunk.finish.is_some(), !reason.is_null());
            (choice["delta"].clone(), reason)
        });
        choices.skip(1).collect()
    }

    #[test]
    fn a_call_becomes_a_delta_that_openai_clients_parse() {
        let texts = [
            "So:",
            "\n<tool_",
            "call>{\"name\":\"f\",",
            "\"arguments\":{}}</tool_call>",
            "",
        ];
        let told = told(&texts, "stop");
        assert_eq!(told.len(), texts.len() + 1);
        assert_eq!(told[0].0, json!({"content": "So:"}));
        assert_eq!((&told[1].0, &told[2].0), (&json!({}), &json!({})));
        let call = &told[3].0["tool_calls"][0];
        assert_eq!(
            (&call["index"], &call["type"]),
            (&json!(0), &json!("function"))
        );
        assert_eq!(call["function"], json!({"name": "f", "arguments": "{}"}));
        assert!(call["id"].as_str().unwrap().starts_with("call_"));
        assert_eq!(told[5], (json!({}), json!("tool_calls")));
    }

    #[test]
    fn what_was_held_back_comes_before_the_end() {
        let told = told(&["a <tool", "_call>{"], "length");
        assert_eq!(told[0].0, json!({"content": "a"}));
        assert_eq!(told[2], (json!({"content": " <tool_call>{"}), Value::Null));
        assert_eq!(told[3], (json!({}), json!("length")));
    }
}
