//! The socket between serve and engine (`docs/spec/engine-ipc.md`): requests in, tokens out.
//!
//! engine holds no key and has no other socket. Frames as in [`crate::framing`], at most
//! [`MAX_FRAME`] bytes. Content travels here and nowhere else, so its types do not print it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use protocol::codec::{DecodeError, Reader, Writer};
use protocol::receipt::{FinishReason, Sampling};

/// Largest frame on this socket.
pub const MAX_FRAME: usize = 1024 * 1024;
/// All messages of one request together, in bytes.
pub const MAX_PROMPT_BYTES: usize = 512 * 1024;
/// Messages of one request.
pub const MAX_MESSAGES: usize = 128;
/// Stop strings of one request.
pub const MAX_STOPS: usize = 4;
/// One stop string, in bytes.
pub const MAX_STOP_BYTES: usize = 256;
/// Tokens of one request whose logits are shifted.
pub const MAX_BIASES: usize = 300;
/// Greatest shift of a logit, in thousandths.
pub const MAX_BIAS_MILLI: i32 = 100_000;
/// One piece of answer text, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Descriptor under which serve inherits its end of this socket.
pub const SERVE_FD: i32 = 6;
/// Descriptor under which engine inherits its end of this socket.
pub const ENGINE_FD: i32 = 3;
/// Descriptor under which engine inherits the model file, read-only.
pub const ENGINE_MODEL_FD: i32 = 4;

/// Text of a prompt or an answer: prints its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(pub String);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.0.len())
    }
}

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatRole {
    /// Instructions.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl ChatRole {
    const fn wire(self) -> u8 {
        match self {
            Self::System => 1,
            Self::User => 2,
            Self::Assistant => 3,
        }
    }

    const fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::System),
            2 => Ok(Self::User),
            3 => Ok(Self::Assistant),
            _ => Err(DecodeError::OutOfRange { field: "chat role" }),
        }
    }

    /// The name used in chat templates and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who wrote it.
    pub role: ChatRole,
    /// What was written.
    pub content: Content,
}

/// A shift of one token's logit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenBias {
    /// The token's number.
    pub token: u32,
    /// What is added, in thousandths.
    pub milli: i32,
}

/// Part of what a client asked: prints nothing of it.
impl fmt::Debug for TokenBias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenBias")
    }
}

/// What serve sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineRequest {
    /// Begin an answer.
    Start {
        /// Chosen by serve, unique while the answer runs.
        request: u64,
        /// How to sample.
        sampling: Sampling,
        /// Completion tokens that may be produced before the next grant.
        grant: u32,
        /// The chat, in order.
        messages: Vec<ChatMessage>,
        /// Strings that end the answer; their text is not returned.
        stops: Vec<Content>,
        /// Shifts of logits, no token twice.
        biases: Vec<TokenBias>,
    },
    /// So many further completion tokens may be produced.
    Grant {
        /// The answer.
        request: u64,
        /// Further tokens.
        tokens: u32,
    },
    /// Stop an answer and free what it holds; answered by `Finished` with `Cancelled`.
    Cancel {
        /// The answer.
        request: u64,
    },
}

impl EngineRequest {
    /// The encoded request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Start {
                request,
                sampling,
                grant,
                messages,
                stops,
                biases,
            } => {
                out.u8(1).u64(*request);
                sampling.write(&mut out);
                out.u32(*grant).count(messages.len());
                for message in messages {
                    out.u8(message.role.wire())
                        .blob(message.content.0.as_bytes());
                }
                out.count(stops.len());
                for stop in stops {
                    out.blob(stop.0.as_bytes());
                }
                write_biases(biases, &mut out);
            }
            Self::Grant { request, tokens } => {
                out.u8(2).u64(*request).u32(*tokens);
            }
            Self::Cancel { request } => {
                out.u8(3).u64(*request);
            }
        }
        out.finish()
    }

    /// Decodes exactly one request.
    ///
    /// # Errors
    /// A [`DecodeError`]; text that is not UTF-8 is out of range.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let request = match from.u8()? {
            1 => Self::read_start(&mut from)?,
            2 => Self::Grant {
                request: from.u64()?,
                tokens: from.u32()?,
            },
            3 => Self::Cancel {
                request: from.u64()?,
            },
            _ => {
                return Err(DecodeError::OutOfRange {
                    field: "engine request",
                });
            }
        };
        from.finish()?;
        Ok(request)
    }

    fn read_start(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let request = from.u64()?;
        let sampling = Sampling::read(from)?;
        let grant = from.u32()?;
        let mut messages = Vec::new();
        let mut room = MAX_PROMPT_BYTES;
        for _ in 0..from.count("messages", MAX_MESSAGES)? {
            let role = ChatRole::from_wire(from.u8()?)?;
            let content = read_text(from, "message", room)?;
            room = room.saturating_sub(content.0.len());
            messages.push(ChatMessage { role, content });
        }
        let stops = from.count("stops", MAX_STOPS)?;
        let stops = (0..stops)
            .map(|_| read_text(from, "stop", MAX_STOP_BYTES))
            .collect::<Result<_, _>>()?;
        let biases = read_biases(from)?;
        Ok(Self::Start {
            request,
            sampling,
            grant,
            messages,
            stops,
            biases,
        })
    }
}

fn write_biases(biases: &[TokenBias], out: &mut Writer) {
    out.u16(u16::try_from(biases.len()).unwrap_or(u16::MAX));
    for bias in biases {
        out.u32(bias.token).u32(bias.milli.cast_unsigned());
    }
}

/// In the order of their tokens, so that none occurs twice.
fn read_biases(from: &mut Reader<'_>) -> Result<Vec<TokenBias>, DecodeError> {
    let refused = DecodeError::OutOfRange { field: "biases" };
    let count = usize::from(from.u16()?);
    if count > MAX_BIASES {
        return Err(refused);
    }
    let mut biases: Vec<TokenBias> = Vec::with_capacity(count);
    for _ in 0..count {
        let bias = TokenBias {
            token: from.u32()?,
            milli: from.u32()?.cast_signed(),
        };
        let in_order = biases.last().is_none_or(|last| last.token < bias.token);
        if !in_order || !(-MAX_BIAS_MILLI..=MAX_BIAS_MILLI).contains(&bias.milli) {
            return Err(refused);
        }
        biases.push(bias);
    }
    Ok(biases)
}

fn read_text(
    from: &mut Reader<'_>,
    field: &'static str,
    limit: usize,
) -> Result<Content, DecodeError> {
    core::str::from_utf8(from.blob(field, limit)?)
        .map(|text| Content(text.into()))
        .map_err(|_| DecodeError::OutOfRange { field })
}

/// Why engine refused or gave up an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineRefusal {
    /// Prompt and wanted completion exceed the context.
    ContextTooLong,
    /// The chat is not one that the model's template takes.
    Chat,
    /// No room for another stream.
    Busy,
    /// The computation left the range of numbers.
    Numeric,
    /// A logit is to be shifted whose token the model does not have.
    Bias,
}

impl EngineRefusal {
    const fn wire(self) -> u8 {
        match self {
            Self::ContextTooLong => 1,
            Self::Chat => 2,
            Self::Busy => 3,
            Self::Numeric => 4,
            Self::Bias => 5,
        }
    }

    const fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::ContextTooLong),
            2 => Ok(Self::Chat),
            3 => Ok(Self::Busy),
            4 => Ok(Self::Numeric),
            5 => Ok(Self::Bias),
            _ => Err(DecodeError::OutOfRange {
                field: "engine refusal",
            }),
        }
    }

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ContextTooLong => "context_length_exceeded",
            Self::Chat => "chat_not_supported",
            Self::Busy => "engine_busy",
            Self::Numeric => "engine_numeric",
            Self::Bias => "logit_bias_token",
        }
    }
}

/// What engine sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// The model is loaded into anonymous memory and its file is closed.
    Loaded {
        /// Longest context of the model, in tokens.
        context_tokens: u32,
    },
    /// An answer was admitted; nothing is computed yet.
    Admitted {
        /// The answer.
        request: u64,
        /// Tokens of the prompt, template included.
        prompt_tokens: u32,
    },
    /// So many prompt tokens are computed.
    Prefilled {
        /// The answer.
        request: u64,
        /// Prompt tokens computed so far.
        prompt_tokens: u32,
    },
    /// One completion token.
    Token {
        /// The answer.
        request: u64,
        /// Text that became complete with this token; may be empty.
        text: Content,
    },
    /// The answer ended.
    Finished {
        /// The answer.
        request: u64,
        /// Why.
        reason: FinishReason,
        /// Completion tokens in total, the end token included.
        completion_tokens: u32,
    },
    /// The answer was refused or given up.
    Refused {
        /// The answer.
        request: u64,
        /// Why.
        refusal: EngineRefusal,
    },
}

impl EngineEvent {
    /// The encoded event.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Loaded { context_tokens } => {
                out.u8(1).u32(*context_tokens);
            }
            Self::Admitted {
                request,
                prompt_tokens,
            } => {
                out.u8(2).u64(*request).u32(*prompt_tokens);
            }
            Self::Prefilled {
                request,
                prompt_tokens,
            } => {
                out.u8(3).u64(*request).u32(*prompt_tokens);
            }
            Self::Token { request, text } => {
                out.u8(4).u64(*request).blob(text.0.as_bytes());
            }
            Self::Finished {
                request,
                reason,
                completion_tokens,
            } => {
                out.u8(5)
                    .u64(*request)
                    .u8(reason.wire())
                    .u32(*completion_tokens);
            }
            Self::Refused { request, refusal } => {
                out.u8(6).u64(*request).u8(refusal.wire());
            }
        }
        out.finish()
    }

    /// Decodes exactly one event.
    ///
    /// # Errors
    /// A [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let event = match from.u8()? {
            1 => Self::Loaded {
                context_tokens: from.u32()?,
            },
            2 => Self::Admitted {
                request: from.u64()?,
                prompt_tokens: from.u32()?,
            },
            3 => Self::Prefilled {
                request: from.u64()?,
                prompt_tokens: from.u32()?,
            },
            4 => Self::Token {
                request: from.u64()?,
                text: read_text(&mut from, "text", MAX_TEXT_BYTES)?,
            },
            5 => Self::Finished {
                request: from.u64()?,
                reason: FinishReason::from_wire(from.u8()?)?,
                completion_tokens: from.u32()?,
            },
            6 => Self::Refused {
                request: from.u64()?,
                refusal: EngineRefusal::from_wire(from.u8()?)?,
            },
            _ => {
                return Err(DecodeError::OutOfRange {
                    field: "engine event",
                });
            }
        };
        from.finish()?;
        Ok(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    /// Greedy, sixteen tokens.
    const GREEDY: Sampling = Sampling {
        temperature_milli: 0,
        top_p_milli: 1000,
        top_k: 0,
        min_p_milli: 0,
        presence_milli: 0,
        frequency_milli: 0,
        seed: 0,
        max_tokens: 16,
    };

    fn start(text: &str) -> EngineRequest {
        EngineRequest::Start {
            request: 1,
            sampling: GREEDY,
            grant: 64,
            messages: std::vec![ChatMessage {
                role: ChatRole::User,
                content: Content(text.to_string()),
            }],
            stops: std::vec![Content("\n".to_string())],
            biases: std::vec![shift(7, -100_000), shift(9, 1)],
        }
    }

    fn shift(token: u32, milli: i32) -> TokenBias {
        TokenBias { token, milli }
    }

    #[test]
    fn refuses_shifts_out_of_order_out_of_range_and_too_many() {
        for bad in [
            std::vec![shift(7, 1), shift(7, 2)],
            std::vec![shift(8, 1), shift(7, 2)],
            std::vec![shift(7, 100_001)],
            std::vec![shift(7, i32::MIN)],
            (0..301).map(|token| shift(token, 1)).collect(),
        ] {
            let EngineRequest::Start {
                request,
                sampling,
                grant,
                messages,
                stops,
                ..
            } = start("hello")
            else {
                unreachable!()
            };
            let biases = bad;
            let start = EngineRequest::Start {
                request,
                sampling,
                grant,
                messages,
                stops,
                biases,
            };
            let refused = DecodeError::OutOfRange { field: "biases" };
            assert_eq!(EngineRequest::decode(&start.encode()), Err(refused));
        }
    }

    #[test]
    fn requests_round_trip_and_no_prefix_is_taken() {
        for request in [
            start("hello"),
            EngineRequest::Grant {
                request: 1,
                tokens: 64,
            },
            EngineRequest::Cancel { request: 1 },
        ] {
            let bytes = request.encode();
            assert_eq!(EngineRequest::decode(&bytes), Ok(request));
            for end in 0..bytes.len() {
                assert!(EngineRequest::decode(&bytes[..end]).is_err());
            }
        }
    }

    #[test]
    fn events_round_trip() {
        let text = Content("Paris".to_string());
        for event in [
            EngineEvent::Loaded {
                context_tokens: 8192,
            },
            EngineEvent::Admitted {
                request: 1,
                prompt_tokens: 42,
            },
            EngineEvent::Prefilled {
                request: 1,
                prompt_tokens: 42,
            },
            EngineEvent::Token { request: 1, text },
            EngineEvent::Finished {
                request: 1,
                reason: FinishReason::Stop,
                completion_tokens: 8,
            },
            EngineEvent::Refused {
                request: 1,
                refusal: EngineRefusal::Busy,
            },
        ] {
            assert_eq!(EngineEvent::decode(&event.encode()), Ok(event));
        }
    }

    #[test]
    fn content_never_prints() {
        let printed = std::format!("{:?}", start("the secret"));
        assert!(!printed.contains("secret"));
        assert!(printed.contains("Content(10 bytes)"));
    }
}
