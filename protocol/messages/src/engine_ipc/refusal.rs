//! Why engine refuses or gives up an answer.

use protocol::codec::DecodeError;

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
    /// The answer is to have a form that is none, or that engine does not know.
    Schema,
    /// The model has no token with which an answer could go on in its form.
    Form,
    /// Functions are offered, and the model's template knows no calls.
    Tools,
    /// A function must be called whose parameters engine cannot lead an answer by.
    Parameters,
}

impl EngineRefusal {
    pub(super) const fn wire(self) -> u8 {
        match self {
            Self::ContextTooLong => 1,
            Self::Chat => 2,
            Self::Busy => 3,
            Self::Numeric => 4,
            Self::Bias => 5,
            Self::Schema => 6,
            Self::Form => 7,
            Self::Tools => 8,
            Self::Parameters => 9,
        }
    }

    pub(super) const fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::ContextTooLong),
            2 => Ok(Self::Chat),
            3 => Ok(Self::Busy),
            4 => Ok(Self::Numeric),
            5 => Ok(Self::Bias),
            6 => Ok(Self::Schema),
            7 => Ok(Self::Form),
            8 => Ok(Self::Tools),
            9 => Ok(Self::Parameters),
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
            Self::Schema => "response_format_schema",
            Self::Form => "engine_form",
            Self::Tools => "tools_not_supported",
            Self::Parameters => "tool_parameters_schema",
        }
    }
}
