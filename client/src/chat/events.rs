//! The event stream of an answer, parsed once, bounded, into events.
//!
//! Pure: bytes in, events out. What the events mean for money is `payment`'s, for the user
//! `answer`'s. The peer is attested, but its bytes are still bounded before they are kept.
//! `docs/spec/serving.md` §3.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::receipt::FinishReason;
use protocol::serving::{PROGRESS_EVENT, Progress, RECEIPT_EVENT, ReceiptEvent};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::probabilities::{Probabilities, WireLogprobs};
use super::vectors::Vector;

/// A line of the stream is at most this long: one piece of text with every byte escaped.
const MAX_LINE_BYTES: usize = 512 * 1024;
/// Error codes of the other side are shown, so they are held to this alphabet and length.
const MAX_CODE_BYTES: usize = 64;

/// One event of an answer.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// An OpenAI chunk, for passing on.
    Chunk(Chunk),
    /// The account of the stream.
    Progress(Progress),
    /// The encoded signed receipt.
    Receipt(Vec<u8>),
    /// The server gave up after the answer began.
    Failed {
        /// Its stable code, if it has the form of one.
        code: String,
    },
    /// `[DONE]`.
    Done,
}

/// An OpenAI chunk and what it means here. Content: does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The JSON as it came.
    pub json: String,
    /// Text of the first choice; `None` where the chunk has no `content`, or only opens the answer.
    pub text: Option<String>,
    /// Why the answer ended, in the last chunk of it.
    pub finish: Option<FinishReason>,
    /// What it tells of its token's probability.
    pub probabilities: Option<Probabilities>,
    /// The vector that it is, if it is one.
    pub vector: Option<Vector>,
}

impl core::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Chunk({} bytes)", self.json.len())
    }
}

impl core::fmt::Debug for Event {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Chunk(chunk) => chunk.fmt(f),
            Self::Progress(progress) => progress.fmt(f),
            Self::Receipt(bytes) => write!(f, "Receipt({} bytes)", bytes.len()),
            Self::Failed { code } => write!(f, "Failed({code})"),
            Self::Done => f.write_str("Done"),
        }
    }
}

/// Why a stream is not read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A line exceeds its limit.
    #[error("a line of the stream exceeds {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// A line is not UTF-8.
    #[error("a line of the stream is not UTF-8")]
    NotText,
    /// An event has no specified form.
    #[error("an event of the stream is not of the specified form")]
    Malformed,
    /// An event of a name that nobody specified.
    #[error("an event of the stream has an unknown name")]
    UnknownEvent,
    /// The stream ended before it was done.
    #[error("the stream broke off")]
    BrokenOff,
}

impl StreamError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "stream-line-too-long",
            Self::NotText => "stream-not-text",
            Self::Malformed => "stream-malformed",
            Self::UnknownEvent => "stream-unknown-event",
            Self::BrokenOff => "stream-broken-off",
        }
    }
}

/// Cuts bytes into events.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    name: Option<String>,
    data: Option<String>,
}

impl EventReader {
    /// Takes further bytes and returns the events that they complete.
    ///
    /// # Errors
    /// See [`StreamError`]; the stream must not be read further.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, StreamError> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(at);
            self.keep(head)?;
            rest = tail.get(1..).unwrap_or_default();
            let line = core::mem::take(&mut self.line);
            events.extend(self.end_line(&line)?);
        }
        self.keep(rest)?;
        Ok(events)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        if self.line.len().saturating_add(bytes.len()) > MAX_LINE_BYTES {
            return Err(StreamError::TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, line: &[u8]) -> Result<Option<Event>, StreamError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = core::str::from_utf8(line).map_err(|_| StreamError::NotText)?;
        if line.is_empty() {
            let name = self.name.take();
            return match self.data.take() {
                Some(data) => parse(name.as_deref(), data).map(Some),
                None => Ok(None),
            };
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = Some(value.to_owned()),
            "data" if self.data.is_none() => self.data = Some(value.to_owned()),
            "data" => return Err(StreamError::Malformed),
            // A comment (padding), an id or a retry time: nothing of ours.
            _ => {}
        }
        Ok(None)
    }
}

fn parse(name: Option<&str>, data: String) -> Result<Event, StreamError> {
    match name {
        Some(PROGRESS_EVENT) => serde_json::from_str(&data)
            .map(Event::Progress)
            .map_err(|_| StreamError::Malformed),
        Some(RECEIPT_EVENT) => {
            let event: ReceiptEvent =
                serde_json::from_str(&data).map_err(|_| StreamError::Malformed)?;
            let bytes = STANDARD.decode(&event.receipt);
            bytes
                .map(Event::Receipt)
                .map_err(|_| StreamError::Malformed)
        }
        Some(_) => Err(StreamError::UnknownEvent),
        None if data == "[DONE]" => Ok(Event::Done),
        None => parse_chunk(data),
    }
}

#[derive(Deserialize)]
struct WireChunk {
    error: Option<WireError>,
    #[serde(default)]
    choices: Vec<WireChoice>,
    /// In the chunk of a vector.
    index: Option<u64>,
    embedding: Option<String>,
}

#[derive(Deserialize)]
struct WireError {
    code: Option<String>,
}

#[derive(Deserialize)]
struct WireChoice {
    #[serde(default)]
    delta: WireDelta,
    /// In the chunks of a continued text.
    text: Option<String>,
    logprobs: Option<WireLogprobs>,
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
struct WireDelta {
    role: Option<String>,
    content: Option<String>,
}

fn parse_chunk(json: String) -> Result<Event, StreamError> {
    let chunk: WireChunk = serde_json::from_str(&json).map_err(|_| StreamError::Malformed)?;
    if let Some(error) = chunk.error {
        return Ok(Event::Failed {
            code: stable_code(error.code.as_deref().unwrap_or_default()),
        });
    }
    // More than one answer is never asked for.
    let mut choices = chunk.choices.into_iter();
    let (choice, None) = (choices.next(), choices.next()) else {
        return Err(StreamError::Malformed);
    };
    let vector = match (chunk.embedding, chunk.index, &choice) {
        (None, _, _) => None,
        (Some(text), Some(index), None) => {
            let text = Zeroizing::new(text);
            Some(Vector::read(index, &text).ok_or(StreamError::Malformed)?)
        }
        (Some(_), _, _) => return Err(StreamError::Malformed),
    };
    let (mut text, mut finish, mut probabilities) = (None, None, None);
    if let Some(choice) = choice {
        let opens = choice.delta.role.is_some()
            && choice.delta.content.as_deref().is_none_or(str::is_empty);
        text = choice.delta.content.filter(|_| !opens);
        finish = match choice.finish_reason.as_deref() {
            None => None,
            Some("stop") => Some(FinishReason::Stop),
            Some("length") => Some(FinishReason::Length),
            Some(_) => return Err(StreamError::Malformed),
        };
        if let Some(piece) = choice.text {
            if text.is_some() || opens {
                return Err(StreamError::Malformed);
            }
            // The last chunk has a text too, and stands for no token by it.
            text = (finish.is_none() || !piece.is_empty()).then_some(piece);
        }
        if let Some(logprobs) = choice.logprobs {
            probabilities = Some(logprobs.check().ok_or(StreamError::Malformed)?);
        }
    }
    Ok(Event::Chunk(Chunk {
        json,
        text,
        finish,
        probabilities,
        vector,
    }))
}

/// A code from the other side, if it is one: `a-z 0-9 - _`, short. Nothing else is ever shown.
#[must_use]
pub fn stable_code(code: &str) -> String {
    let well_formed = matches!(code.len(), 1..=MAX_CODE_BYTES)
        && code
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    if well_formed {
        code.to_owned()
    } else {
        "unnamed".to_owned()
    }
}

/// A name of a member or header from the other side, if it is one: `A-Z a-z 0-9 - _`, short.
#[must_use]
pub fn member_name(name: &str) -> Option<String> {
    let well_formed = matches!(name.len(), 1..=MAX_CODE_BYTES)
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    well_formed.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &str = concat!(
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",",
        "\"content\":\"\"},\"finish_reason\":null}]}\n\n",
        ": padding\n\n",
        "event: cocoon.progress\r\ndata: {\"prompt_tokens\":5,\"cached_tokens\":0,",
        "\"completion_tokens\":0,\"charged\":\"100\"}\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"Par\"},\"finish_reason\":null}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5}}\n\n",
        "event: cocoon.receipt\ndata: {\"receipt\":\"AQID\"}\n\n",
        "data: [DONE]\n\n",
    );

    fn read(pieces: &[&[u8]]) -> Result<Vec<Event>, StreamError> {
        let mut reader = EventReader::default();
        let mut events = Vec::new();
        for piece in pieces {
            events.extend(reader.push(piece)?);
        }
        Ok(events)
    }

    fn texts(events: &[Event]) -> Vec<Option<&str>> {
        events
            .iter()
            .filter_map(|event| match event {
                Event::Chunk(chunk) => Some(chunk.text.as_deref()),
                Event::Progress(_) | Event::Receipt(_) | Event::Failed { .. } | Event::Done => None,
            })
            .collect()
    }

    #[test]
    fn a_whole_answer_is_read_and_its_opening_is_no_token() {
        let events = read(&[STREAM.as_bytes()]).unwrap();
        let expected = [None, Some("Par"), Some(""), None, None];
        assert_eq!(texts(&events), expected);
        assert!(matches!(&events[1], Event::Progress(p) if p.charged == "100"));
        assert!(matches!(&events[4], Event::Chunk(c) if c.finish == Some(FinishReason::Stop)));
        assert_eq!(events[6], Event::Receipt(vec![1, 2, 3]));
        assert_eq!(events[7], Event::Done);
    }

    #[test]
    fn the_chunks_of_a_continued_text_are_tokens_but_for_the_last() {
        let stream = concat!(
            "data: {\"choices\":[{\"text\":\"Par\",\"finish_reason\":null}]}\n\n",
            "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":null}]}\n\n",
            "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n",
        );
        let events = read(&[stream.as_bytes()]).unwrap();
        assert_eq!(texts(&events), [Some("Par"), Some(""), None]);
        let both = "data: {\"choices\":[{\"text\":\"a\",\"delta\":{\"content\":\"a\"}}]}\n\n";
        assert_eq!(read(&[both.as_bytes()]), Err(StreamError::Malformed));
    }

    #[test]
    fn refuses_a_line_without_end() {
        let long = vec![b'x'; MAX_LINE_BYTES];
        assert_eq!(read(&[&long]), Ok(Vec::new()));
        assert_eq!(read(&[&long, b"x"]), Err(StreamError::TooLong));
    }

    #[test]
    fn refuses_what_is_not_specified() {
        let refused = |text: &str| read(&[text.as_bytes()]).unwrap_err();
        assert_eq!(refused("data: {\n\n"), StreamError::Malformed);
        assert_eq!(
            refused("event: cocoon.gift\ndata: {}\n\n"),
            StreamError::UnknownEvent
        );
        assert_eq!(
            refused("event: cocoon.progress\ndata: {\"x\":1}\n\n"),
            StreamError::Malformed
        );
        assert_eq!(
            refused("data: {\"choices\":[{},{}]}\n\n"),
            StreamError::Malformed
        );
        assert_eq!(read(&[b"\xff\n"]), Err(StreamError::NotText));
    }

    #[test]
    fn an_error_shows_a_code_and_never_a_message() {
        let failed = |code: &str| {
            let text = format!("data: {{\"error\":{{\"message\":\"m\",\"code\":{code}}}}}\n\n");
            read(&[text.as_bytes()]).unwrap()
        };
        let code = |code: &str| {
            vec![Event::Failed {
                code: code.to_owned(),
            }]
        };
        assert_eq!(failed("\"payment-timeout\""), code("payment-timeout"));
        assert_eq!(failed("\"Your prompt was: secret\""), code("unnamed"));
        assert_eq!(failed("null"), code("unnamed"));
    }

    #[test]
    fn a_member_is_named_only_by_an_identifier() {
        assert_eq!(member_name("logit_bias").as_deref(), Some("logit_bias"));
        assert_eq!(member_name("cocoon-salt").as_deref(), Some("cocoon-salt"));
        assert_eq!(member_name(""), None);
        assert_eq!(member_name("Your prompt was: secret"), None);
        assert_eq!(member_name(&"m".repeat(MAX_CODE_BYTES + 1)), None);
    }

    #[test]
    fn content_does_not_print() {
        let events = read(&[STREAM.as_bytes()]).unwrap();
        assert!(!format!("{events:?}").contains("Par"));
    }

    proptest! {
        #[test]
        fn cutting_the_bytes_anywhere_changes_nothing(
            cuts in proptest::collection::vec(0..STREAM.len(), 0..8),
        ) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                pieces.push(&STREAM.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!(read(&pieces), read(&[STREAM.as_bytes()]));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&[&bytes]);
        }
    }
}
