//! Shapes of the OpenAI API that the local port makes itself: lists of models, whole answers,
//! errors. Chunks of a stream are passed on as they came.

use bytes::Bytes;
use http::StatusCode;
use protocol::launch_configuration::{LaunchConfiguration, ModelEntry};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::chat::{AskError, Asked, ChatRequestError, Chunk};
use crate::session::AttestError;

/// An error as OpenAI clients parse it. The code is stable; the message is ours, never content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) code: String,
    pub(super) message: String,
    /// The member of the request that it is about.
    pub(super) param: Option<String>,
    pub(super) retry_after: Option<u32>,
}

impl Refusal {
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        code: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind,
            code: code.to_owned(),
            message: message.into(),
            param: None,
            retry_after: None,
        }
    }

    pub(super) fn of_request(error: ChatRequestError) -> Self {
        let status = match error {
            ChatRequestError::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            ChatRequestError::NotAnObject | ChatRequestError::Member { .. } => {
                StatusCode::BAD_REQUEST
            }
        };
        let message = error.to_string();
        let mut refusal = Self::new(status, "invalid_request_error", error.code(), message);
        if let ChatRequestError::Member { member } = error {
            refusal.param = Some(member.to_owned());
        }
        refusal
    }

    /// Of a request that has no answer yet: nothing was acknowledged, so nothing is lost when it is
    /// sent again.
    pub(super) fn before_answer(error: &AskError) -> Self {
        let mut refusal = Self::of(error);
        if let AskError::Request(_) | AskError::Silent { .. } = error {
            refusal.status = StatusCode::SERVICE_UNAVAILABLE;
        }
        refusal
    }

    pub(super) fn of(error: &AskError) -> Self {
        let (status, kind) = class(error);
        let mut refusal = Self::new(status, kind, error.code(), error.to_string());
        if let AskError::TooManyChoices { .. } = error {
            refusal.param = Some("n".to_owned());
        }
        if let AskError::Refused {
            param, retry_after, ..
        } = error
        {
            refusal.retry_after = *retry_after;
            if let Some(param) = param {
                refusal.message = format!("{}: `{param}`", refusal.message);
                refusal.param = Some(param.clone());
            }
        }
        refusal
    }

    pub(super) fn to_json(&self) -> String {
        json!({ "error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
        .to_string()
    }
}

/// What may succeed when it is tried again has a status that SDKs retry; a refusal on principle,
/// and whatever may have been paid for, has not.
fn class(error: &AskError) -> (StatusCode, &'static str) {
    match error {
        AskError::Attest(AttestError::Connect(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "server_error")
        }
        AskError::Attest(
            AttestError::Randomness(_)
            | AttestError::Challenge { .. }
            | AttestError::Refused { .. }
            | AttestError::Open { .. },
        ) => (StatusCode::FORBIDDEN, "permission_error"),
        AskError::UnknownModel => (StatusCode::NOT_FOUND, "invalid_request_error"),
        AskError::TooManyChoices { .. } => (StatusCode::BAD_REQUEST, "invalid_request_error"),
        AskError::PriceAboveLimit { .. }
        | AskError::OtherPayee { .. }
        | AskError::OtherAsset { .. }
        | AskError::Overflow(_)
        | AskError::Payment(_)
        | AskError::Ledger(_)
        | AskError::VoucherRefused { .. } => (StatusCode::PAYMENT_REQUIRED, "payment_error"),
        AskError::Refused { status, .. } => {
            let kind = match status.as_u16() {
                402 => "payment_error",
                403 => "permission_error",
                429 => "rate_limit_error",
                400..=499 => "invalid_request_error",
                _ => "server_error",
            };
            (*status, kind)
        }
        AskError::Randomness(_)
        | AskError::Request(_)
        | AskError::Failed { .. }
        | AskError::Stream(_)
        | AskError::Silent { .. }
        | AskError::Receipt(_)
        | AskError::NoReceipt => (StatusCode::UNPROCESSABLE_ENTITY, "server_error"),
    }
}

/// One event of a stream.
pub(super) fn event(json: &str) -> Bytes {
    format!("data: {json}\n\n").into()
}

/// The end of a stream.
pub(super) fn done() -> Bytes {
    Bytes::from_static(b"data: [DONE]\n\n")
}

fn model_value(entry: &ModelEntry) -> Value {
    json!({ "id": entry.name, "object": "model", "created": 0, "owned_by": "cocoon" })
}

pub(super) fn model(entry: &ModelEntry) -> String {
    model_value(entry).to_string()
}

pub(super) fn models(configuration: &LaunchConfiguration) -> String {
    let all: Vec<Value> = configuration.models.iter().map(model_value).collect();
    json!({ "object": "list", "data": all }).to_string()
}

/// An answer in one piece, put together from its chunks.
pub(super) struct WholeAnswer {
    asked: Asked,
    id: Value,
    created: Value,
    model: Value,
    usage: Value,
    finish: Value,
    text: Zeroizing<String>,
    calls: Vec<Value>,
    vectors: Vec<Value>,
    /// What was told of the probabilities of its tokens, where anything was.
    logprobs: Option<Vec<Value>>,
}

impl WholeAnswer {
    pub(super) fn of(asked: Asked) -> Self {
        Self {
            asked,
            id: Value::Null,
            created: Value::Null,
            model: Value::Null,
            usage: Value::Null,
            finish: Value::Null,
            text: Zeroizing::default(),
            calls: Vec::new(),
            vectors: Vec::new(),
            logprobs: None,
        }
    }

    pub(super) fn add(&mut self, chunk: &Chunk) {
        if let Some(text) = &chunk.text {
            self.text.push_str(text);
        }
        if let (Asked::Vectors(encoding), Some(vector)) = (self.asked, &chunk.vector) {
            self.vectors.push(json!({
                "object": "embedding",
                "index": self.vectors.len(),
                "embedding": vector.written(encoding),
            }));
            return;
        }
        // `events` read it as JSON already.
        let Ok(mut value) = serde_json::from_str::<Value>(&chunk.json) else {
            return;
        };
        let mut take = |name: &str, into: &mut Value| {
            if let Some(found) = value.get_mut(name).filter(|found| !found.is_null()) {
                *into = found.take();
            }
        };
        take("id", &mut self.id);
        take("created", &mut self.created);
        take("model", &mut self.model);
        take("usage", &mut self.usage);
        if let Some(reason) = value.pointer_mut("/choices/0/finish_reason")
            && !reason.is_null()
        {
            self.finish = reason.take();
        }
        if let Some(Value::Array(calls)) = value.pointer_mut("/choices/0/delta/tool_calls") {
            // A place in the list is told in a stream only.
            let members = calls.iter_mut().filter_map(Value::as_object_mut);
            members.for_each(|call| drop(call.remove("index")));
            self.calls.append(calls);
        }
        if let Some(Value::Array(told)) = value.pointer_mut("/choices/0/logprobs/content") {
            self.logprobs.get_or_insert_default().append(told);
        }
    }

    pub(super) fn finish(self) -> String {
        self.value(0).to_string()
    }

    /// As the choice of this index.
    pub(super) fn value(self, index: usize) -> Value {
        let logprobs = self.logprobs.map_or(
            Value::Null,
            |content| json!({ "content": content, "refusal": Value::Null }),
        );
        let text = self.text.as_str();
        let (object, name, said) = match self.asked {
            Asked::Chat => {
                let message = message(text, self.calls);
                ("chat.completion", "message", message)
            }
            Asked::Text => ("text_completion", "text", json!(text)),
            Asked::Vectors(_) => {
                return json!({
                    "object": "list",
                    "data": self.vectors,
                    "model": self.model,
                    "usage": self.usage,
                });
            }
        };
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": index,
                name: said,
                "logprobs": logprobs,
                "finish_reason": self.finish,
            }],
            "usage": self.usage,
        })
    }
}

/// What the model said. As with OpenAI, a call alone has no content.
fn message(text: &str, calls: Vec<Value>) -> Value {
    if calls.is_empty() {
        return json!({ "role": "assistant", "content": text, "refusal": Value::Null });
    }
    let content = (!text.is_empty()).then_some(text);
    json!({
        "role": "assistant",
        "content": content,
        "refusal": Value::Null,
        "tool_calls": calls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Event, EventReader};
    use crate::payment::PaymentRefusal;

    #[test]
    fn a_whole_answer_with_calls_has_the_shape_that_openai_clients_parse() {
        let stream = |text: &str| {
            let call = json!({
                "index": 0, "id": "call_1", "type": "function",
                "function": {"name": "f", "arguments": "{}"},
            });
            let said = json!({"choices": [{"delta": {"content": text, "tool_calls": [call]}}]});
            format!("data: {said}\n\n")
        };
        for (text, content) in [("", Value::Null), ("Wait.", json!("Wait."))] {
            let mut whole = WholeAnswer::of(Asked::Chat);
            for event in EventReader::default()
                .push(stream(text).as_bytes())
                .unwrap()
            {
                let Event::Chunk(chunk) = event else {
                    panic!("only chunks");
                };
                whole.add(&chunk);
            }
            let value: Value = serde_json::from_str(&whole.finish()).unwrap();
            let expected = json!({
                "role": "assistant", "content": content, "refusal": null,
                "tool_calls": [{
                    "id": "call_1", "type": "function",
                    "function": {"name": "f", "arguments": "{}"},
                }],
            });
            assert_eq!(value["choices"][0]["message"], expected);
        }
    }

    #[test]
    fn a_whole_answer_has_the_shape_that_openai_clients_parse() {
        let stream = concat!(
            "data: {\"id\":\"c\",\"created\":7,\"model\":\"m\",\"choices\":[{\"delta\":",
            "{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],",
            "\"usage\":null}\n\n",
            "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"Par\"}}]}\n\n",
            "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"is\"}}]}\n\n",
            "data: {\"id\":\"c\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"total_tokens\":9}}\n\n",
        );
        let mut whole = WholeAnswer::of(Asked::Chat);
        for event in EventReader::default().push(stream.as_bytes()).unwrap() {
            let Event::Chunk(chunk) = event else {
                panic!("only chunks");
            };
            whole.add(&chunk);
        }
        let value: Value = serde_json::from_str(&whole.finish()).unwrap();
        let expected = json!({
            "id": "c", "object": "chat.completion", "created": 7, "model": "m",
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": "Paris", "refusal": null },
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": { "total_tokens": 9 },
        });
        assert_eq!(value, expected);
    }

    /// SDKs send a request again on 408, 409, 429 and 5xx.
    #[test]
    fn nothing_that_may_have_been_paid_has_a_status_that_is_retried() {
        let retried = |error: &AskError| {
            let status = class(error).0.as_u16();
            matches!(status, 408 | 409 | 429 | 500..)
        };
        assert!(!retried(&AskError::NoReceipt));
        assert!(!retried(&AskError::Failed {
            code: "x".to_owned()
        }));
        assert!(!retried(&AskError::Silent { seconds: 1 }));
        assert!(!retried(&AskError::Payment(PaymentRefusal::WrongCharge)));
    }

    #[test]
    fn an_error_has_the_shape_that_openai_clients_parse() {
        let value: Value =
            serde_json::from_str(&Refusal::of(&AskError::UnknownModel).to_json()).unwrap();
        assert_eq!(value["error"]["code"], "model_not_found");
        assert_eq!(value["error"]["type"], "invalid_request_error");
        assert_eq!(value["error"]["param"], Value::Null);
    }

    #[test]
    fn names_the_member_that_the_server_did_not_take() {
        let refused = AskError::Refused {
            status: StatusCode::BAD_REQUEST,
            code: "unsupported-member".to_owned(),
            param: Some("logit_bias".to_owned()),
            retry_after: None,
        };
        let value: Value = serde_json::from_str(&Refusal::of(&refused).to_json()).unwrap();
        assert_eq!(value["error"]["param"], "logit_bias");
        let message = value["error"]["message"].as_str().unwrap();
        assert!(message.contains("`logit_bias`"));
    }
}
