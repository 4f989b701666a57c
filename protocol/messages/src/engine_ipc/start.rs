//! What begins an answer: the prompt, and how it is to be continued.

use alloc::vec::Vec;
use core::fmt;

use protocol::codec::{DecodeError, Reader, Writer};
use protocol::receipt::Sampling;

use super::{
    ClientKey, Content, MAX_ALTERNATIVES, MAX_BIAS_MILLI, MAX_BIASES, MAX_MESSAGES,
    MAX_PROMPT_BYTES, MAX_SCHEMA_BYTES, MAX_STOP_BYTES, MAX_STOPS, read_text,
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
}

impl Form {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Free => out.u8(0),
            Self::Object => out.u8(1),
            Self::Schema(schema) => out.u8(2).blob(schema.0.as_bytes()),
        };
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match from.u8()? {
            0 => Ok(Self::Free),
            1 => Ok(Self::Object),
            2 => read_text(from, "schema", MAX_SCHEMA_BYTES).map(Self::Schema),
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
        Ok(Self {
            request,
            client,
            sampling,
            grant,
            prompt,
            stops,
            biases,
            alternatives,
            form: Form::read(from)?,
        })
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A chat of at least one message, in order; the model's template is put around it.
    Chat(Vec<ChatMessage>),
    /// A text that is continued as it is.
    Text(Content),
}

impl Prompt {
    /// What was written, in order.
    pub fn contents(&self) -> impl Iterator<Item = &Content> {
        let (messages, text) = match self {
            Self::Chat(messages) => (messages.as_slice(), None),
            Self::Text(text) => (&[][..], Some(text)),
        };
        messages.iter().map(|message| &message.content).chain(text)
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Self::Chat(messages) => {
                out.count(messages.len());
                for message in messages {
                    out.u8(message.role.wire())
                        .blob(message.content.0.as_bytes());
                }
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
        let mut messages = Vec::new();
        let mut room = MAX_PROMPT_BYTES;
        for _ in 0..count {
            let role = ChatRole::from_wire(from.u8()?)?;
            let content = read_text(from, "message", room)?;
            room = room.saturating_sub(content.0.len());
            messages.push(ChatMessage { role, content });
        }
        Ok(Self::Chat(messages))
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
