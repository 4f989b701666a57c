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
    /// An answer is asked of a model that gives vectors only.
    EmbedsOnly,
    /// Vectors are asked of a model that gives none.
    EmbedsNothing,
    /// Vectors are asked for of another width than the model's.
    Dimensions,
    /// The vectors of so many inputs are more than one request may have.
    Inputs,
    /// An input has a token that the model does not have.
    InputToken,
    /// A parameter asks for what this machine's engine does not compute.
    Parameter,
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
            Self::EmbedsOnly => 10,
            Self::EmbedsNothing => 11,
            Self::Dimensions => 12,
            Self::Inputs => 13,
            Self::InputToken => 14,
            Self::Parameter => 15,
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
            10 => Ok(Self::EmbedsOnly),
            11 => Ok(Self::EmbedsNothing),
            12 => Ok(Self::Dimensions),
            13 => Ok(Self::Inputs),
            14 => Ok(Self::InputToken),
            15 => Ok(Self::Parameter),
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
            Self::EmbedsOnly => "model_embeds_only",
            Self::EmbedsNothing => "embeddings_not_supported",
            Self::Dimensions => "dimensions_not_supported",
            Self::Inputs => "embedding_inputs_too_many",
            Self::InputToken => "embedding_input_token",
            Self::Parameter => "parameter_not_supported",
        }
    }
}
