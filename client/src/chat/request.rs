//! A chat request, as it will be sent byte for byte, and what of it the client must know itself.
//!
//! The body is OpenAI's. It is read here only as far as money and the receipt need; everything else
//! is the server's to take or refuse. Content: does not print.

use core::fmt;

use bytes::Bytes;
use protocol::serving::{CHAT_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH, MAX_REQUEST_BYTES};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::calls::Offered;
use super::vectors::{UNSAMPLED, VectorEncoding, VectorsAsked};
use crate::payment::RequestedSampling;

/// Bodies are multiples of so many bytes; so is the greatest, [`MAX_REQUEST_BYTES`].
const STEP: usize = 1024;

/// Why a body is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChatRequestError {
    /// Longer than the other side reads.
    #[error("the request is longer than {MAX_REQUEST_BYTES} bytes")]
    TooLong,
    /// Not a JSON object.
    #[error("the request is not a JSON object")]
    NotAnObject,
    /// A member has another type or range than it should.
    #[error("`{member}` is missing or not of its type")]
    Member {
        /// The member.
        member: &'static str,
    },
}

impl ChatRequestError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "request-too-long",
            Self::NotAnObject => "request-malformed",
            Self::Member { .. } => "request-invalid-member",
        }
    }
}

/// Which of OpenAI's ways to ask it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A chat is to be answered.
    Chat,
    /// A text is to be continued.
    Text,
    /// Vectors are wanted.
    Vectors(VectorEncoding),
}

impl Asked {
    /// Where it is asked.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => CHAT_PATH,
            Self::Text => COMPLETIONS_PATH,
            Self::Vectors(_) => EMBEDDINGS_PATH,
        }
    }
}

/// How the asker wants the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As a stream of chunks.
    Streamed,
    /// In one piece.
    Whole,
}

/// A request that may be sent.
#[derive(Clone)]
pub struct ChatRequest {
    asked: Asked,
    body: Bytes,
    model: String,
    sampling: RequestedSampling,
    alternatives: Option<u8>,
    offered: Option<Offered>,
    vectors: Option<VectorsAsked>,
    delivery: Delivery,
}

impl fmt::Debug for ChatRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChatRequest({} bytes)", self.body.len())
    }
}

/// One question, with what the command line can say about sampling.
#[derive(Clone, Serialize)]
pub struct Question {
    /// Name of the model.
    pub model: String,
    /// The prompt.
    #[serde(skip)]
    pub prompt: String,
    /// Completion tokens at most.
    pub max_tokens: u32,
    /// Temperature, 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Seed of the sampler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question({} bytes)", self.prompt.len())
    }
}

impl ChatRequest {
    /// The request of one question.
    ///
    /// # Errors
    /// See [`ChatRequestError`].
    pub fn of_question(question: &Question) -> Result<Self, ChatRequestError> {
        let Ok(Value::Object(mut body)) = serde_json::to_value(question) else {
            return Err(ChatRequestError::NotAnObject);
        };
        let message = json!({ "role": "user", "content": question.prompt });
        body.insert("messages".to_owned(), json!([message]));
        body.insert("stream".to_owned(), Value::Bool(true));
        Self::of_object(Asked::Chat, body, Delivery::Streamed)
    }

    /// A request as an OpenAI client posts it. One that wants no stream is made to stream: only a
    /// stream can be acknowledged piece by piece. One that streams is sent as it is, with spaces
    /// after it.
    ///
    /// # Errors
    /// See [`ChatRequestError`].
    pub fn of_openai(asked: Asked, body: &Bytes) -> Result<Self, ChatRequestError> {
        Self::of_read(asked, body, members(body)?)
    }

    /// A request for vectors as an OpenAI client posts it, with spaces after it.
    ///
    /// # Errors
    /// See [`ChatRequestError`].
    pub fn of_embeddings(body: &Bytes) -> Result<Self, ChatRequestError> {
        let members = members(body)?;
        let member = "model";
        let model = members.get(member).and_then(Value::as_str);
        let vectors = VectorsAsked::of(&members)?;
        Ok(Self {
            asked: Asked::Vectors(vectors.encoding),
            body: padded(body.to_vec()),
            model: model.ok_or(ChatRequestError::Member { member })?.to_owned(),
            sampling: UNSAMPLED,
            alternatives: None,
            offered: None,
            vectors: Some(vectors),
            delivery: Delivery::Whole,
        })
    }

    /// The same of a body whose members were read already.
    pub(super) fn of_read(
        asked: Asked,
        body: &Bytes,
        members: Map<String, Value>,
    ) -> Result<Self, ChatRequestError> {
        let delivery = delivery(&members)?;
        let mut request = Self::of_members(asked, members, delivery)?;
        if delivery == Delivery::Streamed {
            request.body = padded(body.to_vec());
        }
        Ok(request)
    }

    /// A request with these members, which streams whatever the asker wants.
    ///
    /// # Errors
    /// See [`ChatRequestError`].
    pub fn of_members(
        asked: Asked,
        mut members: Map<String, Value>,
        delivery: Delivery,
    ) -> Result<Self, ChatRequestError> {
        match delivery {
            Delivery::Streamed => {}
            Delivery::Whole => {
                members.insert("stream".to_owned(), Value::Bool(true));
                let usage = json!({ "include_usage": true });
                members.insert("stream_options".to_owned(), usage);
            }
        }
        Self::of_object(asked, members, delivery)
    }

    fn of_object(
        asked: Asked,
        object: Map<String, Value>,
        delivery: Delivery,
    ) -> Result<Self, ChatRequestError> {
        let member = |member| ChatRequestError::Member { member };
        let model = object.get("model").and_then(Value::as_str);
        let model = model.ok_or(member("model"))?.to_owned();
        let max_tokens = match optional(&object, "max_completion_tokens") {
            Some(value) => Some(count(value).ok_or(member("max_completion_tokens"))?),
            None => optional(&object, "max_tokens")
                .map(|value| count(value).ok_or(member("max_tokens")))
                .transpose()?,
        };
        let sampling = RequestedSampling {
            temperature_milli: share(&object, "temperature")?.unwrap_or(1000),
            top_p_milli: share(&object, "top_p")?.unwrap_or(1000),
            top_k: match optional(&object, "top_k") {
                Some(value) => top_k(value).ok_or(member("top_k"))?,
                None => 0,
            },
            min_p_milli: share(&object, "min_p")?.unwrap_or(0),
            presence_milli: thousandths(&object, "presence_penalty")?.unwrap_or(0),
            frequency_milli: thousandths(&object, "frequency_penalty")?.unwrap_or(0),
            seed: optional(&object, "seed")
                .map(|value| seed(value).ok_or(member("seed")))
                .transpose()?,
            max_tokens,
        };
        let offered = match asked {
            Asked::Chat => Offered::of(&object),
            Asked::Text | Asked::Vectors(_) => None,
        };
        let body = serde_json::to_vec(&object).map_err(|_| ChatRequestError::NotAnObject)?;
        if body.len() > MAX_REQUEST_BYTES {
            return Err(ChatRequestError::TooLong);
        }
        Ok(Self {
            asked,
            body: padded(body),
            model,
            sampling,
            alternatives: alternatives(&object),
            offered,
            vectors: None,
            delivery,
        })
    }

    /// What it asks for.
    #[must_use]
    pub const fn asked(&self) -> Asked {
        self.asked
    }

    /// What is sent.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Name of the model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What it asks of the sampler.
    #[must_use]
    pub const fn sampling(&self) -> &RequestedSampling {
        &self.sampling
    }

    /// Whether it asks for probabilities, and for how many tokens beside the taken one.
    #[must_use]
    pub const fn alternatives(&self) -> Option<u8> {
        self.alternatives
    }

    /// The functions that may be called in its answer, if any may.
    pub(super) const fn offered(&self) -> Option<&Offered> {
        self.offered.as_ref()
    }

    /// The vectors that it asks for, if it does.
    pub(super) const fn vectors(&self) -> Option<VectorsAsked> {
        self.vectors
    }

    /// How the asker wants the answer.
    #[must_use]
    pub const fn delivery(&self) -> Delivery {
        self.delivery
    }
}

/// The members of a body that is short enough to be sent.
pub(crate) fn members(body: &Bytes) -> Result<Map<String, Value>, ChatRequestError> {
    if body.len() > MAX_REQUEST_BYTES {
        return Err(ChatRequestError::TooLong);
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) | Err(_) => Err(ChatRequestError::NotAnObject),
    }
}

/// How an OpenAI client says that it wants the answer.
pub(super) fn delivery(members: &Map<String, Value>) -> Result<Delivery, ChatRequestError> {
    match members.get("stream") {
        Some(Value::Bool(true)) => Ok(Delivery::Streamed),
        None | Some(Value::Null | Value::Bool(false)) => Ok(Delivery::Whole),
        Some(Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            Err(ChatRequestError::Member { member: "stream" })
        }
    }
}

/// A document as a multiple of [`STEP`] bytes, by spaces at its end: who watches the connection
/// learns the prompt's length no better than that.
fn padded(mut body: Vec<u8>) -> Bytes {
    body.resize(body.len().next_multiple_of(STEP), b' ');
    body.into()
}

/// `null` stands for an absent member, as SDKs send it.
pub(super) fn optional<'o>(object: &'o Map<String, Value>, member: &str) -> Option<&'o Value> {
    object.get(member).filter(|value| !value.is_null())
}

fn count(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|count| u32::try_from(count).ok())
}

/// What it asks of probabilities; where it is not well formed, the server refuses it.
fn alternatives(object: &Map<String, Value>) -> Option<u8> {
    let asked = object.get("logprobs").and_then(Value::as_bool)?;
    let count = optional(object, "top_logprobs").and_then(Value::as_u64);
    asked.then(|| u8::try_from(count.unwrap_or(0)).unwrap_or(u8::MAX))
}

/// -1 stands for all tokens, as 0 does.
fn top_k(value: &Value) -> Option<u32> {
    match value.as_i64() {
        Some(-1) => Some(0),
        Some(_) | None => count(value),
    }
}

/// OpenAI's seeds are signed; both ranges of 64 bits are taken.
pub(super) fn seed(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_i64().map(i64::cast_unsigned))
}

/// What is not negative, in thousandths.
fn share(
    object: &Map<String, Value>,
    member: &'static str,
) -> Result<Option<u32>, ChatRequestError> {
    let milli = thousandths(object, member)?.map(u32::try_from).transpose();
    milli.map_err(|_| ChatRequestError::Member { member })
}

/// A small number as thousandths, half rounded away from zero: as receipts state it.
fn thousandths(
    object: &Map<String, Value>,
    member: &'static str,
) -> Result<Option<i32>, ChatRequestError> {
    let Some(value) = optional(object, member) else {
        return Ok(None);
    };
    let refused = ChatRequestError::Member { member };
    let number = value.as_f64().ok_or(refused)?;
    if !(-2.0..=2.0).contains(&number) {
        return Err(refused);
    }
    // No lossless cast from floats exists; the text of a whole number is exact.
    let text = format!("{:.0}", (number * 1000.0).round());
    text.parse().map(Some).map_err(|_| refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openai(text: &str) -> Result<ChatRequest, ChatRequestError> {
        ChatRequest::of_openai(Asked::Chat, &Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_streaming_request_is_sent_byte_for_byte_but_for_spaces_after_it() {
        let text = r#"{ "model":"m", "stream":true, "messages":[],"temperature":0.7005 }"#;
        let request = openai(text).unwrap();
        assert_eq!(request.body().trim_ascii_end(), text.as_bytes());
        assert_eq!(request.sampling().temperature_milli, 701);
        assert_eq!(request.delivery(), Delivery::Streamed);
    }

    #[test]
    fn a_request_for_a_whole_answer_is_made_to_stream_and_to_count() {
        let request = openai(r#"{"model":"m","messages":[],"max_tokens":5,"seed":-1}"#).unwrap();
        let sent: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(sent["stream"], Value::Bool(true));
        assert_eq!(sent["stream_options"]["include_usage"], Value::Bool(true));
        assert_eq!(request.delivery(), Delivery::Whole);
        assert_eq!(request.sampling().max_tokens, Some(5));
        assert_eq!(request.sampling().seed, Some(u64::MAX));
    }

    #[test]
    fn the_members_of_a_schema_keep_their_order() {
        let request = openai(
            r#"{"model":"m","messages":[],"response_format":{"type":"json_schema","json_schema":
                {"name":"n","schema":{"properties":{"z":{},"a":{},"m":{}}}}}}"#,
        );
        let sent = request.unwrap();
        let sent = core::str::from_utf8(sent.body()).unwrap();
        assert!(sent.contains(r#"{"z":{},"a":{},"m":{}}"#), "{sent}");
    }

    #[test]
    fn what_is_sent_tells_the_length_of_a_prompt_in_kilobytes_only() {
        let sent = |prompt: usize| {
            let question = Question {
                model: "m".to_owned(),
                prompt: "x".repeat(prompt),
                max_tokens: 16,
                temperature: None,
                seed: None,
            };
            ChatRequest::of_question(&question).unwrap().body().len()
        };
        assert_eq!([sent(1), sent(800), sent(1800)], [1024, 1024, 2048]);
        let streamed = r#"{"model":"m","stream":true,"messages":[]}"#;
        assert_eq!(openai(streamed).unwrap().body().len(), 1024);
        let longest = format!(
            "{{\"model\":\"{}\",\"stream\":true}}",
            "x".repeat(MAX_REQUEST_BYTES - 26)
        );
        assert_eq!(openai(&longest).unwrap().body().len(), MAX_REQUEST_BYTES);
    }

    #[test]
    fn knows_what_the_receipt_must_say_of_the_sampler() {
        let request = openai(
            r#"{"model":"m","messages":[],"top_k":-1,"min_p":0.05,"presence_penalty":-2,
                "frequency_penalty":0.0005,"top_p":null}"#,
        );
        let sampling = *request.unwrap().sampling();
        assert_eq!((sampling.top_k, sampling.min_p_milli), (0, 50));
        assert_eq!(sampling.presence_milli, -2000);
        assert_eq!(sampling.frequency_milli, 1);
        assert_eq!(sampling.top_p_milli, 1000);
    }

    #[test]
    fn knows_what_it_asks_of_probabilities() {
        let asked = |members: &str| {
            let text = format!("{{\"model\":\"m\",\"messages\":[],{members}}}");
            openai(&text).unwrap().alternatives()
        };
        assert_eq!(asked(r#""logprobs":null"#), None);
        assert_eq!(asked(r#""logprobs":false,"top_logprobs":3"#), None);
        assert_eq!(asked(r#""logprobs":true"#), Some(0));
        assert_eq!(asked(r#""logprobs":true,"top_logprobs":3"#), Some(3));
    }

    #[test]
    fn refuses_what_money_or_the_receipt_could_not_be_checked_against() {
        let code = |text: &str| openai(text).unwrap_err().code();
        assert_eq!(code("[]"), "request-malformed");
        assert_eq!(code(r#"{"messages":[]}"#), "request-invalid-member");
        assert_eq!(
            code(r#"{"model":"m","stream":1}"#),
            "request-invalid-member"
        );
        for member in [
            "\"max_tokens\":-1",
            "\"temperature\":2.1",
            "\"temperature\":-0.1",
            "\"frequency_penalty\":-2.1",
            "\"top_k\":-2",
            "\"temperature\":\"0\"",
            "\"seed\":1.5",
        ] {
            let text = format!("{{\"model\":\"m\",{member}}}");
            assert_eq!(code(&text), "request-invalid-member", "{member}");
        }
        let long = Bytes::from(vec![b' '; MAX_REQUEST_BYTES + 1]);
        assert_eq!(
            ChatRequest::of_openai(Asked::Chat, &long).unwrap_err(),
            ChatRequestError::TooLong
        );
    }

    #[test]
    fn neither_request_nor_question_prints_its_prompt() {
        let question = Question {
            model: "m".to_owned(),
            prompt: "secret".to_owned(),
            max_tokens: 16,
            temperature: Some(0.0),
            seed: None,
        };
        let request = ChatRequest::of_question(&question).unwrap();
        assert!(!format!("{question:?}{request:?}").contains("secret"));
        assert_eq!(request.sampling().temperature_milli, 0);
    }
}
