//! Several choices joined to one OpenAI answer: one id, an index for each choice, one usage.
//!
//! Pure. The choices themselves, each paid and receipted by itself, are `chat`'s.

use protocol::receipt::TokenCounts;
use serde_json::{Map, Value, json};

use super::openai::WholeAnswer;
use crate::chat::Chunk;

/// What the chunks of all choices have in common, and what is known of the tokens.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// Members of the first chunk that came, without choices and usage.
    head: Option<Map<String, Value>>,
    /// Counts of the receipts, with the index of the choice.
    tokens: Vec<(usize, TokenCounts)>,
}

impl Joined {
    /// A choice's chunk as one of the joined stream; `None` for the chunk that only has its usage.
    pub(super) fn chunk(&mut self, index: usize, chunk: &Chunk) -> Option<String> {
        // `events` read it as JSON already.
        let mut value: Value = serde_json::from_str(&chunk.json).ok()?;
        let choice = value.pointer_mut("/choices/0")?.as_object_mut()?;
        choice.insert("index".to_owned(), index.into());
        let members = value.as_object_mut()?;
        let head = self.head.get_or_insert_with(|| {
            let common = |name: &str| !matches!(name, "choices" | "usage");
            let common = members.iter().filter(|(name, _)| common(name));
            common.map(|(k, v)| (k.clone(), v.clone())).collect()
        });
        for name in ["id", "created"] {
            if let Some(value) = head.get(name) {
                members.insert(name.to_owned(), value.clone());
            }
        }
        Some(value.to_string())
    }

    /// Notes what a choice's receipt counts.
    pub(super) fn settled(&mut self, index: usize, tokens: TokenCounts) {
        self.tokens.push((index, tokens));
    }

    /// The last chunk of a stream whose asker wants the usage.
    pub(super) fn usage_chunk(&self) -> String {
        let mut chunk = self.head.clone().unwrap_or_default();
        chunk.insert("choices".to_owned(), json!([]));
        chunk.insert("usage".to_owned(), self.usage());
        Value::Object(chunk).to_string()
    }

    /// The whole answer of all choices, in the order of their index.
    pub(super) fn whole(&self, answers: Vec<WholeAnswer>) -> String {
        let mut whole = Map::new();
        let mut choices = Vec::new();
        for (index, answer) in answers.into_iter().enumerate() {
            let Value::Object(mut members) = answer.value(index) else {
                continue;
            };
            if let Some(Value::Array(own)) = members.get_mut("choices") {
                choices.append(own);
            }
            if index == 0 {
                whole = members;
            }
        }
        whole.insert("choices".to_owned(), choices.into());
        whole.insert("usage".to_owned(), self.usage());
        Value::Object(whole).to_string()
    }

    /// As OpenAI counts: the prompt once, as the first choice had it; the completions together.
    fn usage(&self) -> Value {
        let first = self.tokens.iter().min_by_key(|(index, _)| *index);
        let first = first.map(|(_, tokens)| *tokens).unwrap_or_default();
        let completion = self.tokens.iter().fold(0_u64, |sum, (_, tokens)| {
            sum.saturating_add(tokens.completion.into())
        });
        let prompt = u64::from(first.prompt).saturating_add(first.cached.into());
        json!({
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt.saturating_add(completion),
            "prompt_tokens_details": { "cached_tokens": first.cached },
        })
    }
}
