//! How long a new prompt waits for its first token beside answers that are being written: through
//! the engine's socket, as serve would ask.
//!
//! The prompt is a text of common words. The end token is made impossible, so that nothing ends
//! early.

use std::io::{Read as _, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use messages::engine_ipc::{
    ClientKey, Content, EngineEvent, EngineRequest, Form, MAX_FRAME, Prompt, Start, TokenBias,
};
use messages::framing::{HEADER_BYTES, frame, payload_length};
use protocol::receipt::Sampling;

use crate::ipc::answer;
use crate::load::Model;

/// Words that are one token each in common vocabularies, with the space before them.
const WORDS: [&str; 8] = [" the", " of", " and", " to", " in", " is", " it", " on"];
/// Words of the prompt of an answer that is only there beside the new one.
const BESIDE_WORDS: usize = 16;
/// Tokens of each answer beside, between two tries: so that all are written in turn again.
const BETWEEN: usize = 8;
/// Tokens that an answer beside may have more than it needs.
const SPARE: usize = 512;
/// Takes a token away from those that may come.
const NEVER_MILLI: i32 = -100_000;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Words of the new prompt, each one token in common vocabularies.
    pub prompt: usize,
    /// Answers that are being written.
    pub beside: usize,
    /// New prompts, one after another.
    pub tries: usize,
}

/// What was measured of one new prompt.
#[derive(Debug, Clone, Copy)]
pub struct Waited {
    /// Its tokens.
    pub prompt_tokens: u32,
    /// From asking to its first token.
    pub first: Duration,
    /// The longest time in which none of the answers beside it got a token.
    pub stall: Duration,
}

/// Why nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FirstError {
    /// The engine hung up.
    #[error("engine ended")]
    Ended,
    /// An answer was refused, or one that should go on ended.
    #[error("answer refused or ended early")]
    Refused,
}

/// Starts the answers beside, and then one new prompt after another.
///
/// # Errors
/// A [`FirstError`].
pub fn first(
    model: &Model,
    arrival: Arrival,
    threads: NonZeroUsize,
) -> Result<Vec<Waited>, FirstError> {
    let (near, far) = UnixStream::pair().map_err(|_| FirstError::Ended)?;
    std::thread::scope(|scope| {
        scope.spawn(|| answer(model, far, threads));
        let ends = model.language.tokenizer.ends().to_vec();
        // Closed in whatever way this ends, and the engine with it.
        let mut asking = Asking { near, ends };
        asking.measure(arrival)
    })
}

struct Asking {
    near: UnixStream,
    ends: Vec<u32>,
}

impl Asking {
    fn measure(&mut self, arrival: Arrival) -> Result<Vec<Waited>, FirstError> {
        let each = (arrival.prompt / 4).saturating_add(BETWEEN.saturating_mul(2));
        let tokens = SPARE.saturating_add(each.saturating_mul(arrival.tries));
        let beside = u64::try_from(arrival.beside).unwrap_or(u64::MAX);
        for request in 0..beside {
            self.start(request, BESIDE_WORDS, tokens)?;
        }
        let mut waited = Vec::new();
        for (request, _) in (beside..).zip(0..arrival.tries) {
            self.until_written(arrival.beside)?;
            waited.push(self.arrive(request, arrival.prompt)?);
        }
        Ok(waited)
    }

    /// Until each answer beside got some tokens more.
    fn until_written(&mut self, beside: usize) -> Result<(), FirstError> {
        let mut written = vec![0_usize; beside];
        while written.iter().any(|tokens| *tokens < BETWEEN) {
            let request = match self.event()? {
                EngineEvent::Token { request, .. } => request,
                EngineEvent::Finished { .. } | EngineEvent::Refused { .. } => {
                    return Err(FirstError::Refused);
                }
                EngineEvent::Loaded { .. }
                | EngineEvent::Steps(_)
                | EngineEvent::Admitted { .. }
                | EngineEvent::Prefilled { .. }
                | EngineEvent::Embedded { .. }
                | EngineEvent::Counted(_) => continue,
            };
            let at = usize::try_from(request).unwrap_or(usize::MAX);
            if let Some(tokens) = written.get_mut(at) {
                *tokens = tokens.saturating_add(1);
            }
        }
        Ok(())
    }

    /// One new prompt, to its first and only token.
    fn arrive(&mut self, new: u64, words: usize) -> Result<Waited, FirstError> {
        let asked = Instant::now();
        self.start(new, words, 1)?;
        let (mut last, mut stall) = (asked, Duration::ZERO);
        let (mut prompt_tokens, mut first) = (0, None);
        loop {
            match self.event()? {
                EngineEvent::Admitted {
                    request,
                    prompt_tokens: tokens,
                    ..
                } if request == new => prompt_tokens = tokens,
                EngineEvent::Token { request, .. } if request == new => {
                    first = Some(asked.elapsed());
                }
                EngineEvent::Token { .. } => {
                    stall = stall.max(last.elapsed());
                    last = Instant::now();
                }
                EngineEvent::Finished { request, .. } if request == new => break,
                EngineEvent::Finished { .. } | EngineEvent::Refused { .. } => {
                    return Err(FirstError::Refused);
                }
                EngineEvent::Loaded { .. }
                | EngineEvent::Steps(_)
                | EngineEvent::Admitted { .. }
                | EngineEvent::Prefilled { .. }
                | EngineEvent::Embedded { .. }
                | EngineEvent::Counted(_) => {}
            }
        }
        Ok(Waited {
            prompt_tokens,
            first: first.ok_or(FirstError::Refused)?,
            stall,
        })
    }

    fn start(&mut self, request: u64, words: usize, tokens: usize) -> Result<(), FirstError> {
        let number = usize::try_from(request).unwrap_or(0);
        // Begins with another word each time, and belongs to another client.
        let spoken = WORDS.iter().cycle().skip(number).take(words);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let mut client = [0; 16];
        client
            .iter_mut()
            .zip(request.to_le_bytes())
            .for_each(|(to, from)| *to = from);
        let start = Start {
            request,
            client: ClientKey(client),
            sampling: Sampling {
                temperature_milli: 0,
                top_p_milli: 1000,
                seed: 1,
                top_k: 0,
                min_p_milli: 0,
                presence_milli: 0,
                frequency_milli: 0,
                max_tokens: tokens,
            },
            grant: tokens,
            prompt: Prompt::Text(Content(spoken.copied().collect())),
            stops: Vec::new(),
            biases: self.ends.iter().map(|end| never(*end)).collect(),
            alternatives: None,
            form: Form::Free,
        };
        let bytes = frame(&EngineRequest::Start(start).encode());
        self.near.write_all(&bytes).map_err(|_| FirstError::Ended)
    }

    fn event(&mut self) -> Result<EngineEvent, FirstError> {
        let mut header = [0; HEADER_BYTES];
        self.near
            .read_exact(&mut header)
            .map_err(|_| FirstError::Ended)?;
        let length = payload_length(header, MAX_FRAME).map_err(|_| FirstError::Ended)?;
        let mut payload = vec![0; length];
        self.near
            .read_exact(&mut payload)
            .map_err(|_| FirstError::Ended)?;
        EngineEvent::decode(&payload).map_err(|_| FirstError::Ended)
    }
}

const fn never(token: u32) -> TokenBias {
    TokenBias {
        token,
        milli: NEVER_MILLI,
    }
}
