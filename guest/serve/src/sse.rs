//! The answer as server-sent events: OpenAI's chunks, and the two events of `protocol::serving`.
//!
//! One event is one write, so that it travels as one unit, and as long as others of its stream
//! whatever it says: a comment before it fills it up to a multiple of [`Shape::step`]. Which event
//! comes when is `delivery`'s part. Nothing here is kept after it was written.

use bytes::Bytes;
use messages::engine_ipc::Candidate;
use protocol::receipt::{FinishReason, SignedReceipt, TokenCounts};
use protocol::serving::{PROGRESS_EVENT, Progress, RECEIPT_EVENT, ReceiptEvent};
use serde::Serialize;
use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::nano::Nano;
use zeroize::Zeroizing;

use crate::api::Kind;
use crate::errors::Refusal;

/// Events of a plain stream are multiples of so many bytes. A chunk with the text of a token is one
/// of them, so is an account, and the end.
pub const STEP: usize = 512;

/// What a chunk takes for one token and its probability: sixteen bytes as text and as numbers.
const CANDIDATE_ROOM: usize = 128;

/// The end of every stream.
const DONE: &[u8] = b"data: [DONE]\n\n";

/// What all chunks of one answer have in common.
#[derive(Debug)]
pub struct Chunks {
    /// `chatcmpl-` or `cmpl-`, and random hex digits.
    pub id: String,
    /// Seconds since 1970, as the host claims them.
    pub created: u64,
    /// Name of the model.
    pub model: String,
    /// What else they carry.
    pub shape: Shape,
}

/// What the chunks of one stream tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The text of an answer: to a chat, or of a text that is continued.
    Answer(Kind),
    /// Vectors, one each.
    Vectors,
}

/// What the chunks of one stream carry.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// What is told.
    pub told: Told,
    /// Whether a last chunk carries the usage, and the others say `null`.
    pub include_usage: bool,
    /// How many tokens' probabilities are told beside the taken one's, if any are.
    pub alternatives: Option<u8>,
}

impl Shape {
    /// What its number begins with.
    pub(crate) const fn prefix(self) -> &'static str {
        match self.told {
            Told::Answer(Kind::Chat) => "chatcmpl-",
            Told::Answer(Kind::Text) => "cmpl-",
            Told::Vectors => "",
        }
    }

    const fn object(self) -> &'static str {
        match self.told {
            Told::Answer(Kind::Chat) => "chat.completion.chunk",
            Told::Answer(Kind::Text) => "text_completion",
            Told::Vectors => "list",
        }
    }

    /// Events of this answer are multiples of so many bytes: it follows from the request alone.
    #[must_use]
    pub fn step(self) -> usize {
        let candidates = self
            .alternatives
            .map_or(0, |count| usize::from(count).saturating_add(1));
        let room = CANDIDATE_ROOM.saturating_mul(candidates);
        STEP.saturating_add(room).next_multiple_of(STEP)
    }
}

impl Chunks {
    /// The first chunk of a chat's answer: whose turn it is.
    #[must_use]
    pub fn role(&self) -> Option<Bytes> {
        if self.shape.told != Told::Answer(Kind::Chat) {
            return None;
        }
        let delta = Delta {
            role: Some("assistant"),
            content: Some(""),
        };
        Some(self.chunk(delta, None, None))
    }

    /// A piece of the answer, and what its token might have been, the token itself first.
    #[must_use]
    pub fn text(&self, text: &str, candidates: &[Candidate]) -> Bytes {
        let delta = Delta {
            role: None,
            content: Some(text),
        };
        let told = self.shape.alternatives.map(|_| Logprobs::of(candidates));
        self.chunk(delta, told.as_ref(), None)
    }

    /// The vector of the input at this place, float32, little-endian.
    #[must_use]
    pub fn vector(&self, index: usize, bytes: &[u8]) -> Bytes {
        let vector = VectorChunk {
            object: "embedding",
            index,
            embedding: &Zeroizing::new(STANDARD.encode(bytes)),
        };
        self.padded(&Zeroizing::new(lines(Vec::new(), &vector)))
    }

    /// The last chunk with a choice, where there are choices: why the answer ended. A cancelled
    /// answer has no OpenAI word and ends with an error event instead; `stop` stands in where a
    /// word is needed.
    #[must_use]
    pub fn finish(&self, reason: FinishReason) -> Option<Bytes> {
        if self.shape.told == Told::Vectors {
            return None;
        }
        let word = match reason {
            FinishReason::Stop | FinishReason::Cancelled => "stop",
            FinishReason::Length => "length",
        };
        let delta = Delta {
            role: None,
            content: None,
        };
        Some(self.chunk(delta, None, Some(word)))
    }

    /// The chunk with the usage, when it was asked for.
    #[must_use]
    pub fn usage(&self, tokens: &TokenCounts) -> Option<Bytes> {
        if !self.shape.include_usage {
            return None;
        }
        let prompt = tokens.prompt.saturating_add(tokens.cached);
        if self.shape.told == Told::Vectors {
            let list = VectorList {
                object: self.shape.object(),
                model: &self.model,
                usage: VectorUsage {
                    prompt_tokens: prompt,
                    total_tokens: prompt,
                },
            };
            return Some(self.padded(&lines(Vec::new(), &list)));
        }
        let usage = Usage {
            prompt_tokens: prompt,
            completion_tokens: tokens.completion,
            total_tokens: prompt.saturating_add(tokens.completion),
            prompt_tokens_details: PromptDetails {
                cached_tokens: tokens.cached,
            },
        };
        Some(self.event(&[], Some(Some(usage))))
    }

    /// The account of the stream so far.
    #[must_use]
    pub fn progress(&self, tokens: &TokenCounts, charged: Nano) -> Bytes {
        let progress = Progress {
            prompt_tokens: tokens.prompt,
            cached_tokens: tokens.cached,
            completion_tokens: tokens.completion,
            charged: charged.to_string(),
        };
        self.named(PROGRESS_EVENT, &progress)
    }

    /// The signed receipt.
    #[must_use]
    pub fn receipt(&self, signed: &SignedReceipt) -> Bytes {
        let receipt = STANDARD.encode(signed.encode());
        self.named(RECEIPT_EVENT, &ReceiptEvent { receipt })
    }

    /// An error after the stream began.
    #[must_use]
    pub fn error(&self, refusal: &Refusal) -> Bytes {
        let mut event = b"data: ".to_vec();
        event.extend(refusal.to_json());
        event.extend(b"\n\n");
        self.padded(&event)
    }

    /// The end of the stream.
    #[must_use]
    pub fn done(&self) -> Bytes {
        self.padded(DONE)
    }

    fn chunk(
        &self,
        delta: Delta<'_>,
        logprobs: Option<&Logprobs<'_>>,
        finish_reason: Option<&str>,
    ) -> Bytes {
        let (delta, text) = match self.shape.told {
            Told::Answer(Kind::Chat) | Told::Vectors => (Some(delta), None),
            Told::Answer(Kind::Text) => (None, Some(delta.content.unwrap_or_default())),
        };
        let choice = Choice {
            index: 0,
            delta,
            text,
            logprobs,
            finish_reason,
        };
        self.event(&[choice], self.shape.include_usage.then_some(None))
    }

    fn event(&self, choices: &[Choice<'_>], usage: Option<Option<Usage>>) -> Bytes {
        let chunk = Chunk {
            id: &self.id,
            object: self.shape.object(),
            created: self.created,
            model: &self.model,
            choices,
            usage,
        };
        self.padded(&lines(Vec::new(), &chunk))
    }

    fn named(&self, name: &str, value: &impl Serialize) -> Bytes {
        self.padded(&lines(format!("event: {name}\n").into_bytes(), value))
    }

    fn padded(&self, event: &[u8]) -> Bytes {
        padded(event, self.shape.step())
    }
}

fn lines(mut event: Vec<u8>, value: &impl Serialize) -> Vec<u8> {
    event.extend(b"data: ");
    // Strings and finite numbers only: this cannot fail.
    event.extend(serde_json::to_vec(value).unwrap_or_default());
    event.extend(b"\n\n");
    event
}

/// An event behind a comment that fills it up: a colon, points, the end of the line.
fn padded(event: &[u8], step: usize) -> Bytes {
    let shortest = event.len().saturating_add(b":\n".len());
    let length = shortest.next_multiple_of(step);
    let mut whole = Vec::with_capacity(length);
    whole.push(b':');
    whole.resize(length.saturating_sub(shortest).saturating_add(1), b'.');
    whole.push(b'\n');
    whole.extend_from_slice(event);
    whole.into()
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'a str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<Delta<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    logprobs: Option<&'a Logprobs<'a>>,
    finish_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

#[derive(Serialize)]
struct Logprobs<'a> {
    content: Vec<Taken<'a>>,
    refusal: Option<()>,
}

#[derive(Serialize)]
struct Taken<'a> {
    #[serde(flatten)]
    token: Logprob<'a>,
    top_logprobs: Vec<Logprob<'a>>,
}

#[derive(Serialize)]
struct Logprob<'a> {
    token: Cow<'a, str>,
    logprob: f64,
    bytes: &'a [u8],
}

impl<'a> Logprobs<'a> {
    fn of(candidates: &'a [Candidate]) -> Self {
        let taken = candidates.split_first().map(|(token, others)| Taken {
            token: Logprob::of(token),
            top_logprobs: others.iter().map(Logprob::of).collect(),
        });
        Self {
            content: taken.into_iter().collect(),
            refusal: None,
        }
    }
}

impl<'a> Logprob<'a> {
    #[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
    fn of(candidate: &'a Candidate) -> Self {
        Self {
            token: String::from_utf8_lossy(&candidate.bytes),
            // Not the negation of zero, which is written as "-0.0".
            logprob: 0.0 - f64::from(candidate.micro) / 1e6,
            bytes: &candidate.bytes,
        }
    }
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u32,
    prompt_tokens_details: PromptDetails,
}

#[derive(Serialize)]
struct VectorChunk<'a> {
    object: &'a str,
    index: usize,
    embedding: &'a str,
}

/// The rest of OpenAI's list, without its vectors.
#[derive(Serialize)]
struct VectorList<'a> {
    object: &'a str,
    model: &'a str,
    usage: VectorUsage,
}

#[derive(Serialize)]
struct VectorUsage {
    prompt_tokens: u32,
    total_tokens: u32,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u32,
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    fn chunks(include_usage: bool) -> Chunks {
        Chunks {
            id: "chatcmpl-1".to_owned(),
            created: 7,
            model: "m".to_owned(),
            shape: Shape {
                told: Told::Answer(Kind::Chat),
                include_usage,
                alternatives: None,
            },
        }
    }

    /// What an event says behind its comment.
    fn line(bytes: &Bytes) -> &str {
        let text = std::str::from_utf8(bytes).unwrap();
        let (comment, event) = text.split_once('\n').unwrap();
        assert_eq!(comment.trim_end_matches('.'), ":");
        event
    }

    #[test]
    fn chunks_accounts_and_the_end_are_equally_long() {
        let chunks = Chunks {
            id: format!("chatcmpl-{:032x}", 1),
            created: 1_795_000_000,
            model: "smollm2-135m-instruct".to_owned(),
            shape: Shape {
                told: Told::Answer(Kind::Chat),
                include_usage: true,
                alternatives: None,
            },
        };
        let tokens = TokenCounts {
            prompt: u32::MAX,
            cached: 0,
            completion: 7,
        };
        let events = [
            chunks.role().unwrap(),
            chunks.text("", &[]),
            chunks.text("a", &[]),
            chunks.text(&"\u{1}".repeat(32), &[]),
            chunks.finish(FinishReason::Length).unwrap(),
            chunks.usage(&tokens).unwrap(),
            chunks.progress(&tokens, Nano::from_u64(u64::MAX)),
            chunks.done(),
        ];
        for event in events {
            assert_eq!(event.len(), STEP, "{}", line(&event));
        }
    }

    #[test]
    fn an_event_of_any_length_is_filled_up_to_a_whole_number_of_steps() {
        for length in 0..3 * STEP {
            let event = vec![b'e'; length];
            let whole = padded(&event, STEP);
            assert_eq!(whole.len(), (length + 2).next_multiple_of(STEP));
            assert!(whole.ends_with(&event) && whole.starts_with(b":"));
            assert_eq!(whole[whole.len() - length - 1], b'\n');
        }
    }

    fn candidate(bytes: &[u8], micro: u32) -> Candidate {
        let bytes = bytes.to_vec();
        Candidate { micro, bytes }
    }

    /// An answer whose tokens' probabilities were asked for.
    fn told(alternatives: u8) -> Chunks {
        let mut chunks = chunks(false);
        chunks.shape.alternatives = Some(alternatives);
        chunks
    }

    #[test]
    fn probabilities_have_the_shape_that_openai_clients_parse() {
        let chunk = told(1).text(
            "a",
            &[candidate(b"a", 0), candidate(b"\xe2\x82", 12_345_678)],
        );
        let expected = concat!(
            r#""choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":["#,
            r#"{"token":"a","logprob":0.0,"bytes":[97],"top_logprobs":["#,
            "{\"token\":\"\u{fffd}\",\"logprob\":-12.345678,\"bytes\":[226,130]}",
            r#"]}],"refusal":null},"finish_reason":null}]}"#
        );
        assert_eq!(line(&chunk), format!("{HEAD}{expected}\n\n"));
        let end = told(1).text("", &[]);
        assert!(line(&end).contains(r#""logprobs":{"content":[],"refusal":null}"#));
        let plain = chunks(false).text("a", &[candidate(b"a", 0)]);
        assert!(line(&plain).contains(r#""logprobs":null"#));
    }

    #[test]
    fn events_with_probabilities_are_as_long_whatever_the_tokens_are() {
        for alternatives in 0..=20 {
            let chunks = told(alternatives);
            let step = chunks.shape.step();
            let count = usize::from(alternatives) + 1;
            let tokens = TokenCounts::default();
            for event in [
                chunks.text("", &[]),
                chunks.text("a", &vec![candidate(b"a", 0); count]),
                chunks.text(
                    "sixteen bytes !!",
                    &vec![candidate(b"sixteen bytes !!", u32::MAX); count],
                ),
                chunks.finish(FinishReason::Stop).unwrap(),
                chunks.progress(&tokens, Nano::from_u64(u64::MAX)),
                chunks.done(),
            ] {
                assert_eq!(event.len(), step, "{}", line(&event));
            }
        }
        assert_eq!(told(0).shape.step(), 1024);
        assert_eq!(told(20).shape.step(), 3584);
    }

    const HEAD: &str =
        r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","#;

    #[test]
    fn chunks_have_the_shape_that_openai_clients_parse() {
        let plain = chunks(false);
        let expected = concat!(
            r#""choices":[{"index":0,"delta":{"role":"assistant","content":""},"#,
            r#""logprobs":null,"finish_reason":null}]}"#
        );
        assert_eq!(
            line(&plain.role().unwrap()),
            format!("{HEAD}{expected}\n\n")
        );
        let expected = concat!(
            r#""choices":[{"index":0,"delta":{"content":"a\"\n"},"#,
            r#""logprobs":null,"finish_reason":null}]}"#
        );
        assert_eq!(
            line(&plain.text("a\"\n", &[])),
            format!("{HEAD}{expected}\n\n")
        );
        let expected =
            r#""choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}"#;
        assert_eq!(
            line(&plain.finish(FinishReason::Length).unwrap()),
            format!("{HEAD}{expected}\n\n")
        );
        assert_eq!(plain.usage(&TokenCounts::default()), None);
    }

    #[test]
    fn chunks_of_a_continued_text_have_openais_other_shape() {
        let mut chunks = chunks(false);
        chunks.shape.told = Told::Answer(Kind::Text);
        assert_eq!(chunks.role(), None);
        let head =
            r#"data: {"id":"chatcmpl-1","object":"text_completion","created":7,"model":"m","#;
        let one = |text: &str, finish: &str| {
            format!(
                "{head}\"choices\":[{{\"index\":0,\"text\":\"{text}\",\"logprobs\":null,\
                 \"finish_reason\":{finish}}}]}}\n\n"
            )
        };
        assert_eq!(line(&chunks.text("x", &[])), one("x", "null"));
        assert_eq!(
            line(&chunks.finish(FinishReason::Stop).unwrap()),
            one("", "\"stop\"")
        );
        assert_eq!(chunks.text("x", &[]).len(), STEP);
    }

    #[test]
    fn usage_comes_in_a_chunk_without_choices_and_is_null_before() {
        let chunks = chunks(true);
        assert!(line(&chunks.text("x", &[])).ends_with(",\"usage\":null}\n\n"));
        let tokens = TokenCounts {
            prompt: 40,
            cached: 2,
            completion: 8,
        };
        let expected = concat!(
            r#""choices":[],"usage":{"prompt_tokens":42,"completion_tokens":8,"#,
            r#""total_tokens":50,"prompt_tokens_details":{"cached_tokens":2}}}"#
        );
        assert_eq!(
            line(&chunks.usage(&tokens).unwrap()),
            format!("{HEAD}{expected}\n\n")
        );
    }

    #[test]
    fn an_event_of_ours_has_a_name_that_openai_clients_skip() {
        let event = chunks(false).progress(&TokenCounts::default(), Nano::from_u64(9));
        assert_eq!(
            line(&event),
            concat!(
                "event: cocoon.progress\ndata: {\"prompt_tokens\":0,\"cached_tokens\":0,",
                "\"completion_tokens\":0,\"charged\":\"9\"}\n\n"
            )
        );
    }
}
