//! The socket between serve and engine (`docs/spec/engine-ipc.md`): requests in, tokens out.
//!
//! engine holds no key and has no other socket. Frames as in [`crate::framing`], at most
//! [`MAX_FRAME`] bytes. Content travels here and nowhere else, so its types do not print it.

mod candidate;
mod client;
mod embed;
mod holdings;
mod refusal;
mod start;
mod tool;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use protocol::codec::{DecodeError, Reader, Writer};
use protocol::receipt::FinishReason;

pub use candidate::Candidate;
pub use client::ClientKey;
pub use embed::{Embed, Input, TokenIds, Vector};
pub use holdings::Holdings;
pub use refusal::EngineRefusal;
pub use start::{ChatMessage, ChatRole, Form, Prompt, Start, TokenBias};
pub use tool::{Call, CallSyntax, Tool, ToolName};

/// Largest frame on this socket.
pub const MAX_FRAME: usize = 1024 * 1024;
/// All messages, calls and tools of one request together, or its text, in bytes.
pub const MAX_PROMPT_BYTES: usize = 512 * 1024;
/// Messages of one request.
pub const MAX_MESSAGES: usize = 128;
/// Functions of one request: as many as there may be ways to begin an answer that must call one.
pub const MAX_TOOLS: usize = 32;
/// Calls in one message.
pub const MAX_CALLS: usize = 32;
/// A function's name, in bytes.
pub const MAX_TOOL_NAME: usize = 64;
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
/// The text of a schema, in bytes.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// The keyword of a schema that is refused, in bytes.
pub const MAX_KEYWORD_BYTES: usize = 64;
/// Tokens beside the one that was taken whose probabilities are told.
pub const MAX_ALTERNATIVES: usize = 20;
/// Bytes of a token that are told beside its probability; a longer one is cut.
pub const MAX_CANDIDATE_BYTES: usize = 256;
/// Inputs of one request for vectors. Their texts, and four bytes for each token, together are at
/// most [`MAX_PROMPT_BYTES`].
pub const MAX_INPUTS: usize = 2048;
/// One vector, in bytes.
pub const MAX_VECTOR_BYTES: usize = 256 * 1024;
/// All vectors of one request together, in bytes.
pub const MAX_VECTORS_BYTES: usize = 4 * 1024 * 1024;
/// Descriptor under which serve inherits its end of this socket.
pub const SERVE_FD: i32 = 6;
/// Descriptor under which engine inherits its end of this socket.
pub const ENGINE_FD: i32 = 3;
/// Descriptor under which engine inherits the first file of the model, read-only; the others
/// follow, and engine's arguments are their names.
pub const ENGINE_MODEL_FD: i32 = 4;
/// Files of a model, at most.
pub const MAX_MODEL_FILES: usize = 56;

/// Text of a prompt or an answer: prints its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(pub String);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.0.len())
    }
}

/// What serve sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineRequest {
    /// Begin an answer.
    Start(Start),
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
    /// A client is gone: what was kept of its prompts is wiped, and nothing more is kept.
    Forget {
        /// The client.
        client: ClientKey,
    },
    /// Compute vectors; a grant of any size lets them be told.
    Embed(Embed),
    /// Tell what is held. serve never asks; who tests engine and serve together does.
    Count,
}

impl EngineRequest {
    /// The encoded request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Self::Start(start) => {
                out.u8(1);
                start.write(&mut out);
            }
            Self::Grant { request, tokens } => {
                out.u8(2).u64(*request).u32(*tokens);
            }
            Self::Cancel { request } => {
                out.u8(3).u64(*request);
            }
            Self::Forget { client } => client.write(out.u8(4)),
            Self::Embed(embed) => embed.write(out.u8(5)),
            Self::Count => {
                out.u8(6);
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
            1 => Self::Start(Start::read(&mut from)?),
            2 => Self::Grant {
                request: from.u64()?,
                tokens: from.u32()?,
            },
            3 => Self::Cancel {
                request: from.u64()?,
            },
            4 => Self::Forget {
                client: ClientKey::read(&mut from)?,
            },
            5 => Self::Embed(Embed::read(&mut from)?),
            6 => Self::Count,
            _ => {
                return Err(DecodeError::OutOfRange {
                    field: "engine request",
                });
            }
        };
        from.finish()?;
        Ok(request)
    }
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

/// What a step does on the bus to a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepFigures {
    /// Copies between host and device.
    pub crossings: u32,
    /// Their bytes.
    pub bytes: u32,
    /// Allocations, on the device or of pinned memory.
    pub allocations: u32,
    /// Launches by the host.
    pub launches: u32,
}

/// What engine sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// The model is loaded into anonymous memory and its file is closed.
    Loaded {
        /// Longest context of the model, in tokens.
        context_tokens: u32,
    },
    /// What every step of the engine does on the bus to its GPU, whatever is in it.
    Steps(StepFigures),
    /// An answer was admitted; nothing is computed yet.
    Admitted {
        /// The answer.
        request: u64,
        /// Tokens of the prompt, template included.
        prompt_tokens: u32,
        /// How many of them are kept from before and not computed again: never all.
        cached_tokens: u32,
        /// How calls are written in it; none where no function was offered.
        calls: Option<CallSyntax>,
    },
    /// So many prompt tokens are computed.
    Prefilled {
        /// The answer.
        request: u64,
        /// Prompt tokens computed so far, those from before included.
        prompt_tokens: u32,
    },
    /// One completion token.
    Token {
        /// The answer.
        request: u64,
        /// Text that became complete with this token; may be empty.
        text: Content,
        /// Where probabilities were asked for: the token itself, then its likeliest alternatives.
        /// Empty for an end token.
        candidates: Vec<Candidate>,
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
        /// The keyword of its schema that is at fault; empty where there is none.
        keyword: Content,
    },
    /// The vector of the next input.
    Embedded {
        /// The request.
        request: u64,
        /// The vector.
        vector: Vector,
    },
    /// What is held at this moment.
    Counted(Holdings),
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
                cached_tokens,
                calls,
            } => {
                out.u8(2).u64(*request);
                out.u32(*prompt_tokens).u32(*cached_tokens);
                out.u8(CallSyntax::wire(*calls));
            }
            Self::Prefilled {
                request,
                prompt_tokens,
            } => {
                out.u8(3).u64(*request).u32(*prompt_tokens);
            }
            Self::Token {
                request,
                text,
                candidates,
            } => {
                out.u8(4).u64(*request).blob(text.0.as_bytes());
                candidate::write_candidates(candidates, &mut out);
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
            Self::Refused {
                request,
                refusal,
                keyword,
            } => {
                out.u8(6).u64(*request).u8(refusal.wire());
                out.blob(keyword.0.as_bytes());
            }
            Self::Embedded { request, vector } => {
                out.u8(7).u64(*request).blob(&vector.0);
            }
            Self::Steps(figures) => {
                out.u8(8).u32(figures.crossings).u32(figures.bytes);
                out.u32(figures.allocations).u32(figures.launches);
            }
            Self::Counted(holdings) => holdings.write(out.u8(9)),
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
            2 => read_admitted(&mut from)?,
            3 => Self::Prefilled {
                request: from.u64()?,
                prompt_tokens: from.u32()?,
            },
            4 => Self::Token {
                request: from.u64()?,
                text: read_text(&mut from, "text", MAX_TEXT_BYTES)?,
                candidates: candidate::read_candidates(&mut from)?,
            },
            5 => Self::Finished {
                request: from.u64()?,
                reason: FinishReason::from_wire(from.u8()?)?,
                completion_tokens: from.u32()?,
            },
            6 => Self::Refused {
                request: from.u64()?,
                refusal: EngineRefusal::from_wire(from.u8()?)?,
                keyword: read_text(&mut from, "keyword", MAX_KEYWORD_BYTES)?,
            },
            7 => Self::Embedded {
                request: from.u64()?,
                vector: Vector::read(&mut from)?,
            },
            8 => Self::Steps(StepFigures {
                crossings: from.u32()?,
                bytes: from.u32()?,
                allocations: from.u32()?,
                launches: from.u32()?,
            }),
            9 => Self::Counted(Holdings::read(&mut from)?),
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

/// At least one token of a prompt is computed: its last.
fn read_admitted(from: &mut Reader<'_>) -> Result<EngineEvent, DecodeError> {
    let request = from.u64()?;
    let prompt_tokens = from.u32()?;
    let cached_tokens = from.u32()?;
    if cached_tokens >= prompt_tokens {
        let field = "cached tokens";
        return Err(DecodeError::OutOfRange { field });
    }
    Ok(EngineEvent::Admitted {
        request,
        prompt_tokens,
        cached_tokens,
        calls: CallSyntax::from_wire(from.u8()?)?,
    })
}

#[cfg(test)]
mod tests;
