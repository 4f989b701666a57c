//! `/v1/responses`: OpenAI's Responses API as a translation, on this side of the attested
//! connection, to the one chat that the machine answers. Nothing is stored for later requests.

mod answer;
mod asked;

use super::openai::Refusal;
use crate::chat::{AskError, Chat};

pub(super) use answer::ResponseAnswer;
pub(super) use asked::{ResponseRequest, renamed};

/// Bytes of the random number of a response.
const NUMBER_BYTES: usize = 16;

impl ResponseAnswer {
    /// An answer to a request, from now on.
    pub(super) fn to(request: &ResponseRequest, chat: &Chat) -> Result<Self, Refusal> {
        let drawn = chat
            .draw()
            .map_err(|error| Refusal::of(&AskError::from(error)))?;
        let drawn = drawn.get(..NUMBER_BYTES).unwrap_or_default();
        Ok(Self::new(drawn, chat.now(), request.repeated.clone()))
    }
}
