//! The requests of the OpenAI API for answers, chats and texts to be continued, parsed once and
//! strictly into a type.
//!
//! What is not supported is refused by the member's name, never ignored: a client that asked for
//! three choices must not pay for an answer without them. Values are not repeated in errors.
//! Model names are compared by the caller; prompts are counted by the engine.

use bounded_json::Json;
use messages::engine_ipc::{
    ChatMessage, Content, Form, MAX_ALTERNATIVES, MAX_PROMPT_BYTES, MAX_STOP_BYTES, MAX_STOPS,
    Prompt,
};
use protocol::launch_configuration::Limits;

use crate::errors::{Refusal, repeatable_name};
use crate::sampling::{Drawing, whole};
use crate::tools::Functions;
use crate::{conversation, form};

/// Limits of a body, beside its length.
const JSON: bounded_json::Limits = bounded_json::Limits {
    depth: 32,
    values: 4096,
};
/// Completion tokens at most when the request does not say.
const DEFAULT_MAX_TOKENS: u32 = 1024;

/// Completion tokens at most when a text is to be continued and the request does not say, as with
/// OpenAI.
const DEFAULT_CONTINUATION: u32 = 16;

/// Which of OpenAI's two ways to ask it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A chat is to be answered.
    Chat,
    /// A text is to be continued.
    Text,
}

/// What a client wants.
#[derive(Debug)]
pub struct AnswerRequest {
    /// Name of the model.
    pub model: String,
    /// What is to be answered.
    pub prompt: Prompt,
    /// How tokens are drawn.
    pub drawing: Drawing,
    /// Completion tokens at most.
    pub max_tokens: u32,
    /// Strings that end the answer.
    pub stops: Vec<Content>,
    /// Whether the last chunk carries the usage.
    pub include_usage: bool,
    /// How many tokens' probabilities are told beside the taken one's, if any are.
    pub alternatives: Option<u8>,
    /// The form that the answer must have.
    pub form: Form,
}

impl AnswerRequest {
    /// Parses the body of a request.
    ///
    /// # Errors
    /// A [`Refusal`] that names the member at fault.
    pub fn parse(kind: Kind, body: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let Json::Object(members) = bounded_json::parse(body, JSON)? else {
            return Err(Refusal::JsonMalformed { member: None });
        };
        let mut fields = Fields::default();
        for (name, value) in members {
            fields.take((kind, &name), value, limits)?;
        }
        fields.complete(kind, limits)
    }
}

/// Members as they come, each at most once (`bounded_json` saw to that).
#[derive(Default)]
struct Fields {
    model: Option<String>,
    text: Option<Content>,
    messages: Option<Vec<ChatMessage>>,
    functions: Functions,
    drawing: Drawing,
    max_tokens: Option<u32>,
    stops: Vec<Content>,
    stream: bool,
    include_usage: bool,
    logprobs: bool,
    top_logprobs: Option<u8>,
    form: Option<Form>,
}

impl Fields {
    fn take(
        &mut self,
        (kind, name): (Kind, &str),
        value: Json,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        let Some(value) = self.drawing.take(name, value)? else {
            return Ok(());
        };
        match name {
            "model" => self.model = Some(text(value, "model")?),
            "max_tokens" => self.limit(value, "max_tokens", limits)?,
            "n" => optional(value, one)?.unwrap_or(()),
            "stop" => self.stops = optional(value, stops)?.unwrap_or_default(),
            "stream" => self.stream = matches!(value, Json::Bool(true)),
            "stream_options" => {
                self.include_usage = optional(value, include_usage)?.unwrap_or(false);
            }
            _ => match kind {
                Kind::Text => self.take_of_text(name, value)?,
                Kind::Chat => self.take_of_chat(name, value, limits)?,
            },
        }
        Ok(())
    }

    /// What only a chat's request has.
    fn take_of_chat(&mut self, name: &str, value: Json, limits: &Limits) -> Result<(), Refusal> {
        let Some(value) = self.functions.take(name, value)? else {
            return Ok(());
        };
        match name {
            "messages" => self.messages = Some(conversation::read(value)?),
            "max_completion_tokens" => self.limit(value, "max_completion_tokens", limits)?,
            "logprobs" => self.logprobs = optional(value, logprobs)?.unwrap_or(false),
            "top_logprobs" => self.top_logprobs = optional(value, top_logprobs)?,
            "response_format" => self.form = optional(value, form::read)?,
            other => return Err(unsupported(other)),
        }
        Ok(())
    }

    /// What only a text's request has. Members that would change nothing are taken.
    fn take_of_text(&mut self, name: &str, value: Json) -> Result<(), Refusal> {
        match (name, value) {
            ("prompt", Json::Text(text)) if text.len() > MAX_PROMPT_BYTES => {
                return Err(Refusal::MemberTooLong { member: "prompt" });
            }
            ("prompt", Json::Text(text)) => self.text = Some(Content(text)),
            ("prompt", _) => return Err(Refusal::InvalidMember { member: "prompt" }),
            ("echo", Json::Bool(false) | Json::Null)
            | ("best_of", Json::Whole(1) | Json::Null)
            | ("suffix" | "logprobs", Json::Null) => {}
            (other, _) => return Err(unsupported(other)),
        }
        Ok(())
    }

    fn limit(&mut self, value: Json, member: &'static str, limits: &Limits) -> Result<(), Refusal> {
        let Some(limit) = optional(value, |v| whole(&v, member))? else {
            return Ok(());
        };
        let limit = u32::try_from(limit).map_err(|_| Refusal::InvalidMember { member })?;
        if limit == 0 || limit > limits.context_tokens || self.max_tokens.is_some() {
            return Err(Refusal::InvalidMember { member });
        }
        self.max_tokens = Some(limit);
        Ok(())
    }

    fn complete(self, kind: Kind, limits: &Limits) -> Result<AnswerRequest, Refusal> {
        let missing = |member| Refusal::MissingMember { member };
        // Between client and serve answers always stream: only so can they be acknowledged.
        if !self.stream {
            return Err(Refusal::InvalidMember { member: "stream" });
        }
        if self.top_logprobs.is_some() && !self.logprobs {
            let member = "top_logprobs";
            return Err(Refusal::InvalidMember { member });
        }
        let model = self.model.ok_or_else(|| missing("model"))?;
        let (tools, form) = self.functions.complete(self.form)?;
        let (prompt, usual) = match kind {
            Kind::Chat => {
                let messages = self.messages.ok_or_else(|| missing("messages"))?;
                conversation::check_length(&messages, &tools)?;
                (Prompt::Chat { messages, tools }, DEFAULT_MAX_TOKENS)
            }
            Kind::Text => {
                let text = self.text.ok_or_else(|| missing("prompt"))?;
                (Prompt::Text(text), DEFAULT_CONTINUATION)
            }
        };
        let quarter = (limits.context_tokens >> 2).max(1);
        Ok(AnswerRequest {
            model,
            prompt,
            drawing: self.drawing,
            max_tokens: self.max_tokens.unwrap_or(quarter.min(usual)),
            stops: self.stops,
            include_usage: self.include_usage,
            alternatives: self.logprobs.then(|| self.top_logprobs.unwrap_or(0)),
            form,
        })
    }
}

/// `null` stands for an absent member, as SDKs send it.
pub(crate) fn optional<T>(
    value: Json,
    read: impl FnOnce(Json) -> Result<T, Refusal>,
) -> Result<Option<T>, Refusal> {
    match value {
        Json::Null => Ok(None),
        other @ (Json::Bool(_)
        | Json::Whole(_)
        | Json::Real(_)
        | Json::Text(_)
        | Json::List(_)
        | Json::Object(_)) => read(other).map(Some),
    }
}

pub(crate) fn text(value: Json, member: &'static str) -> Result<String, Refusal> {
    if let Json::Text(text) = value {
        return Ok(text);
    }
    Err(Refusal::InvalidMember { member })
}

fn stops(value: Json) -> Result<Vec<Content>, Refusal> {
    let refused = || Refusal::InvalidMember { member: "stop" };
    let list = match value {
        Json::Text(_) => vec![value],
        Json::List(list) => list,
        Json::Null | Json::Bool(_) | Json::Whole(_) | Json::Real(_) | Json::Object(_) => {
            return Err(refused());
        }
    };
    if list.len() > MAX_STOPS {
        return Err(refused());
    }
    list.into_iter()
        .map(|stop| {
            let stop = text(stop, "stop")?;
            let fits = matches!(stop.len(), 1..=MAX_STOP_BYTES);
            fits.then_some(Content(stop)).ok_or_else(refused)
        })
        .collect()
}

/// One choice is what there is.
fn one(value: Json) -> Result<(), Refusal> {
    if matches!(value, Json::Whole(1)) {
        return Ok(());
    }
    Err(unsupported("n"))
}

pub(crate) fn unsupported(name: &str) -> Refusal {
    let member = repeatable_name(name);
    Refusal::UnsupportedMember { member }
}

fn logprobs(value: Json) -> Result<bool, Refusal> {
    if let Json::Bool(wanted) = value {
        return Ok(wanted);
    }
    Err(Refusal::InvalidMember { member: "logprobs" })
}

fn top_logprobs(value: Json) -> Result<u8, Refusal> {
    let member = "top_logprobs";
    let count = u8::try_from(whole(&value, member)?).ok();
    let count = count.filter(|count| usize::from(*count) <= MAX_ALTERNATIVES);
    count.ok_or(Refusal::InvalidMember { member })
}

fn include_usage(value: Json) -> Result<bool, Refusal> {
    let member = "stream_options";
    let Json::Object(members) = value else {
        return Err(Refusal::InvalidMember { member });
    };
    let mut wanted = false;
    for (name, value) in members {
        match (name.as_str(), value) {
            ("include_usage", Json::Bool(include)) => wanted = include,
            ("include_usage", _) => return Err(Refusal::InvalidMember { member }),
            (other, _) => return Err(unsupported(other)),
        }
    }
    Ok(wanted)
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
