//! Inputs whose vectors are wanted, and the vectors.

use alloc::vec::Vec;
use core::fmt;

use protocol::codec::{DecodeError, Reader, Writer};

use super::{Content, MAX_INPUTS, MAX_PROMPT_BYTES, MAX_VECTOR_BYTES, read_text};

/// Bytes of a token's number, and of an element of a vector.
const NUMBER: usize = 4;

/// The request for vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embed {
    /// Chosen by serve, unique while it is answered.
    pub request: u64,
    /// At least one, each with a vector of its own.
    pub inputs: Vec<Input>,
    /// The width that the vectors must have, if the client named one.
    pub dimensions: Option<u32>,
}

/// What a vector is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A text; what the model wants around it is put there. Not empty.
    Text(Content),
    /// Tokens, taken as they are. Not empty.
    Tokens(TokenIds),
}

impl Input {
    /// How much of [`MAX_PROMPT_BYTES`] it takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.0.len(),
            Self::Tokens(tokens) => tokens.0.len().saturating_mul(NUMBER),
        }
    }
}

/// Tokens by their numbers: prints their count only.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenIds(pub Vec<u32>);

impl fmt::Debug for TokenIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenIds({})", self.0.len())
    }
}

/// A vector: each element float32, little-endian. As telling as a text, so it does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Vector(pub Vec<u8>);

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vector({} bytes)", self.0.len())
    }
}

impl Vector {
    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = from.blob("vector", MAX_VECTOR_BYTES)?;
        let (elements, rest) = bytes.as_chunks::<NUMBER>();
        let finite = |bytes: &[u8; NUMBER]| f32::from_le_bytes(*bytes).is_finite();
        if elements.is_empty() || !rest.is_empty() || !elements.iter().all(finite) {
            return Err(DecodeError::OutOfRange { field: "vector" });
        }
        Ok(Self(bytes.into()))
    }
}

impl Embed {
    pub(super) fn write(&self, out: &mut Writer) {
        out.u64(self.request).u32(self.dimensions.unwrap_or(0));
        out.u16(u16::try_from(self.inputs.len()).unwrap_or(u16::MAX));
        for input in &self.inputs {
            match input {
                Input::Text(text) => {
                    out.u8(1).blob(text.0.as_bytes());
                }
                Input::Tokens(TokenIds(tokens)) => {
                    let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
                    out.u8(2).u32(count);
                    for token in tokens {
                        out.u32(*token);
                    }
                }
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let request = from.u64()?;
        let dimensions = Some(from.u32()?).filter(|width| *width > 0);
        let count = usize::from(from.u16()?);
        let refused = DecodeError::OutOfRange { field: "inputs" };
        if !(1..=MAX_INPUTS).contains(&count) {
            return Err(refused);
        }
        let mut room = MAX_PROMPT_BYTES;
        let mut inputs = Vec::with_capacity(count);
        for _ in 0..count {
            let input = match from.u8()? {
                1 => Input::Text(read_text(from, "input", room)?),
                2 => Input::Tokens(read_tokens(from, room)?),
                _ => return Err(refused),
            };
            if input.bytes() == 0 {
                return Err(refused);
            }
            room = room.saturating_sub(input.bytes());
            inputs.push(input);
        }
        Ok(Self {
            request,
            inputs,
            dimensions,
        })
    }
}

fn read_tokens(from: &mut Reader<'_>, room: usize) -> Result<TokenIds, DecodeError> {
    let count = usize::try_from(from.u32()?).unwrap_or(usize::MAX);
    let bytes = count.saturating_mul(NUMBER);
    if bytes > room {
        return Err(DecodeError::OutOfRange { field: "inputs" });
    }
    let (tokens, _) = from.slice(bytes)?.as_chunks::<NUMBER>();
    let tokens = tokens.iter().map(|bytes| u32::from_le_bytes(*bytes));
    Ok(TokenIds(tokens.collect()))
}
