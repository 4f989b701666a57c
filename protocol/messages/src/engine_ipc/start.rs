//! What begins an answer: the prompt, and how it is to be continued.

use alloc::vec::Vec;
use core::fmt;

use protocol::codec::{DecodeError, Reader, Writer};
use protocol::receipt::Sampling;

use super::tool::{read_calls, read_tools, write_calls, write_tools};
use super::{
    Call, ClientKey, Content, MAX_ALTERNATIVES, MAX_BIAS_MILLI, MAX_BIASES, MAX_MESSAGES,
    MAX_PROMPT_BYTES, MAX_SCHEMA_BYTES, MAX_STOP_BYTES, MAX_STOPS, Tool, read_text,
};

/// The request for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Chosen by serve, unique while the answer runs.
    pub request: u64,
    /// Whose answer it is.
    pub client: ClientKey,
    /// How to sample.
    pub sampling: Sampling,
    /// Completion tokens that may be produced before the next grant.
    pub grant: u32,
    /// What is answered.
    pub prompt: Prompt,
    /// Strings that end the answer; their text is not returned.
    pub stops: Vec<Content>,
    /// Shifts of logits, no token twice.
    pub biases: Vec<TokenBias>,
    /// Whether probabilities are returned, and how many tokens beside the one that was taken.
    pub alternatives: Option<u8>,
    /// The form that the answer must have.
    pub form: Form,
}

/// The form of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Any text.
    Free,
    /// A JSON object.
    Object,
    /// JSON after this schema.
    Schema(Content),
    /// One call of a function of the chat: of this one, by its place among them, or of any.
    Call(Option<u8>),
}

impl Form {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Free => out.u8(0),
            Self::Object => out.u8(1),
            Self::Schema(schema) => out.u8(2).blob(schema.0.as_bytes()),
            Self::Call(None) => out.u8(3),
            Self::Call(Some(function)) => out.u8(4).u8(*function),
        };
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match from.u8()? {
            0 => Ok(Self::Free),
            1 => Ok(Self::Object),
            2 => read_text(from, "schema", MAX_SCHEMA_BYTES).map(Self::Schema),
            3 => Ok(Self::Call(None)),
            4 => from.u8().map(|function| Self::Call(Some(function))),
            _ => Err(DecodeError::OutOfRange { field: "form" }),
        }
    }
}

impl Start {
    pub(super) fn write(&self, out: &mut Writer) {
        out.u64(self.request);
        self.client.write(out);
        self.sampling.write(out);
        out.u32(self.grant);
        self.prompt.write(out);
        out.count(self.stops.len());
        for stop in &self.stops {
            out.blob(stop.0.as_bytes());
        }
        write_biases(&self.biases, out);
        out.u8(self.alternatives.map_or(0, |count| count.saturating_add(1)));
        self.form.write(out);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let request = from.u64()?;
        let client = ClientKey::read(from)?;
        let sampling = Sampling::read(from)?;
        let grant = from.u32()?;
        let prompt = Prompt::read(from)?;
        let stops = from.count("stops", MAX_STOPS)?;
        let stops = (0..stops)
            .map(|_| read_text(from, "stop", MAX_STOP_BYTES))
            .collect::<Result<_, _>>()?;
        let biases = read_biases(from)?;
        let alternatives = from.u8()?.checked_sub(1);
        if alternatives.is_some_and(|count| usize::from(count) > MAX_ALTERNATIVES) {
            let field = "alternatives";
            return Err(DecodeError::OutOfRange { field });
        }
        let form = Form::read(from)?;
        if !prompt.has_function_of(&form) {
            return Err(DecodeError::OutOfRange { field: "form" });
        }
        Ok(Self {
            request,
            client,
            sampling,
            grant,
            prompt,
            stops,
            biases,
            alternatives,
            form,
        })
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A chat; the model's template is put around it.
    Chat {
        /// At least one message, in order.
        messages: Vec<ChatMessage>,
        /// The functions that the model may call.
        tools: Vec<Tool>,
    },
    /// A text that is continued as it is.
    Text(Content),
}

impl Prompt {
    /// What was written.
    #[must_use]
    pub fn contents(&self) -> Vec<&Content> {
        let Self::Chat { messages, tools } = self else {
            return self.text().into_iter().collect();
        };
        let messages = messages.iter().flat_map(|message| {
            let calls = message.calls.iter();
            let calls = calls.flat_map(|call| [call.name.content(), &call.arguments]);
            core::iter::once(&message.content).chain(calls)
        });
        let tools = tools.iter().flat_map(|tool| {
            let parts = tool.description.iter().chain(&tool.parameters);
            core::iter::once(tool.name.content()).chain(parts)
        });
        messages.chain(tools).collect()
    }

    const fn text(&self) -> Option<&Content> {
        match self {
            Self::Chat { .. } => None,
            Self::Text(text) => Some(text),
        }
    }

    /// Whether the functions that a form names are there.
    fn has_function_of(&self, form: &Form) -> bool {
        let count = match self {
            Self::Chat { tools, .. } => tools.len(),
            Self::Text(_) => 0,
        };
        match form {
            Form::Free | Form::Object | Form::Schema(_) => true,
            Form::Call(function) => usize::from(function.unwrap_or(0)) < count,
        }
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Self::Chat { messages, tools } => {
                out.count(messages.len());
                for message in messages {
                    message.role.write(out);
                    out.blob(message.content.0.as_bytes());
                    if message.role == ChatRole::Assistant {
                        write_calls(&message.calls, out);
                    }
                }
                write_tools(tools, out);
            }
            Self::Text(text) => {
                out.count(0).blob(text.0.as_bytes());
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = from.count("messages", MAX_MESSAGES)?;
        if count == 0 {
            return read_text(from, "text", MAX_PROMPT_BYTES).map(Self::Text);
        }
        let (mut messages, mut made) = (Vec::new(), 0_usize);
        let mut room = MAX_PROMPT_BYTES;
        for _ in 0..count {
            let role = ChatRole::read(from, made)?;
            let content = read_text(from, "message", room)?;
            room = room.saturating_sub(content.0.len());
            let mut calls = Vec::new();
            if role == ChatRole::Assistant {
                (calls, room) = read_calls(from, room)?;
                made = made.saturating_add(calls.len());
            }
            messages.push(ChatMessage {
                role,
                content,
                calls,
            });
        }
        let (tools, _) = read_tools(from, room)?;
        Ok(Self::Chat { messages, tools })
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
    /// A function, in answer to a call.
    Tool {
        /// Number of the call among all that were made before in the chat, from 0.
        call: u16,
    },
}

impl ChatRole {
    fn write(self, out: &mut Writer) {
        match self {
            Self::System => out.u8(1),
            Self::User => out.u8(2),
            Self::Assistant => out.u8(3),
            Self::Tool { call } => out.u8(4).u16(call),
        };
    }

    /// After so many calls.
    fn read(from: &mut Reader<'_>, made: usize) -> Result<Self, DecodeError> {
        let refused = DecodeError::OutOfRange { field: "chat role" };
        match from.u8()? {
            1 => Ok(Self::System),
            2 => Ok(Self::User),
            3 => Ok(Self::Assistant),
            4 => {
                let call = from.u16()?;
                let known = usize::from(call) < made;
                known.then_some(Self::Tool { call }).ok_or(refused)
            }
            _ => Err(refused),
        }
    }

    /// The name used in chat templates and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool { .. } => "tool",
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
    /// The calls that the model made in it; nobody else makes any.
    pub calls: Vec<Call>,
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
