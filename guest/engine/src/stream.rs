//! One answer on its way: what it waits for, and what a row of logits makes of it.
//!
//! What is deliberately not here: which answer gets which row (`scheduler`).

use messages::engine_ipc::{
    Candidate, ClientKey, Content, EngineEvent, EngineRefusal, MAX_CANDIDATE_BYTES,
};
use protocol::receipt::FinishReason;
use zeroize::Zeroizing;

use crate::answer::{Held, SampleError, Sampler, StopHolder, Utf8Holder, likeliest};
use crate::backend::{Fed, Given};
use crate::format::{Follower, NotAllowed};
use crate::language::Language;
use crate::model::Slot;
use crate::scheduler::count;

/// What a sequence waits for.
pub(crate) enum Next<S> {
    /// Its prompt, computed up to here.
    Prompt { computed: usize },
    /// A grant, with what its last row left.
    Sample(Left<S>),
    /// A row for this token.
    Compute(u32),
}

/// What a row left, and in which step it was.
pub(crate) struct Left<S> {
    pub(crate) state: S,
    pub(crate) step: u64,
}

/// One answer.
pub(crate) struct Stream<S> {
    pub(crate) request: u64,
    /// For whom its pages are kept when it ends, while there is such a client.
    pub(crate) client: Option<ClientKey>,
    pub(crate) slot: Slot,
    pub(crate) prompt: Zeroizing<Vec<u32>>,
    pub(crate) reported: usize,
    pub(crate) pages: usize,
    pub(crate) max_tokens: u32,
    pub(crate) sampler: Sampler,
    /// How many tokens' probabilities are told beside the taken one's, if any are.
    pub(crate) alternatives: Option<u8>,
    /// The form that it must have, and how far it has it.
    pub(crate) form: Option<Follower>,
    pub(crate) grant: u32,
    /// Whether it was ever granted a token: serve grants none before the prompt is paid, and what
    /// nobody paid for is not kept.
    pub(crate) granted: bool,
    /// The tokens of the answer so far.
    pub(crate) written: Zeroizing<Vec<u32>>,
    /// Special tokens that are told as text: part of what calls are read from.
    pub(crate) told: Vec<(u32, &'static str)>,
    pub(crate) characters: Utf8Holder,
    pub(crate) stops: StopHolder,
    pub(crate) next: Next<S>,
    /// What the row left of the token that `next` still has to give, where it was sent before.
    pub(crate) ahead: Option<Left<S>>,
}

/// What a sampled token did to its answer.
pub(crate) enum Outcome {
    /// It goes on.
    Continues,
    /// It ended.
    Ended(FinishReason),
    /// It is given up.
    Failed(EngineRefusal),
}

impl<S> Stream<S> {
    /// Whether a token may be taken from what a step left, until that one.
    pub(crate) fn is_ready(&self, until: u64) -> bool {
        match &self.next {
            Next::Sample(left) => self.grant > 0 && left.step <= until,
            Next::Prompt { .. } | Next::Compute(_) => false,
        }
    }

    /// Whether it will have a row in the step after the newest, whatever its tokens are that nobody
    /// has seen yet: unless one of them ends it.
    pub(crate) fn goes_on(&self) -> bool {
        let unseen = if self.ahead.is_some() { 2 } else { 1 };
        match self.next {
            Next::Prompt { .. } | Next::Compute(_) => true,
            // Each has its grant, none is the last, and what a form allows follows from none.
            Next::Sample(_) => {
                self.grant >= unseen
                    && count(self.written.len()).saturating_add(unseen) < self.max_tokens
                    && self.form.is_none()
            }
        }
    }

    /// The row of its last token, with its position; of the one that nobody has seen yet only where
    /// rows may be sent ahead.
    pub(crate) fn row(&self, may_run_ahead: bool) -> Option<(Fed, usize)> {
        let next = self.prompt.len().saturating_add(self.written.len());
        match self.next {
            Next::Compute(token) => Some((Fed::Known(token), next.saturating_sub(1))),
            Next::Sample(_) => {
                let may = may_run_ahead && self.ahead.is_none() && self.goes_on();
                may.then_some((Fed::Chosen, next))
            }
            Next::Prompt { .. } => None,
        }
    }

    /// Keeps what its row left.
    pub(crate) fn keep(&mut self, left: Left<S>) {
        match self.next {
            Next::Sample(_) => self.ahead = Some(left),
            Next::Prompt { .. } | Next::Compute(_) => self.next = Next::Sample(left),
        }
    }

    /// The tokens whose keys and values are in its cache.
    pub(crate) fn computed(&self) -> Zeroizing<Vec<u32>> {
        let all = self.prompt.len().saturating_add(self.written.len());
        let mut tokens = Zeroizing::new(Vec::with_capacity(all));
        tokens.extend_from_slice(&self.prompt);
        tokens.extend_from_slice(&self.written);
        tokens.truncate(match self.next {
            Next::Prompt { computed } => computed,
            Next::Sample(_) => all,
            // The last token's row is still to come.
            Next::Compute(_) => all.saturating_sub(1),
        });
        tokens
    }

    pub(crate) fn take(
        &mut self,
        model: &Language,
        given: &Given,
        events: &mut Vec<EngineEvent>,
    ) -> Outcome {
        let (chosen, logits) = match given {
            Given::Logits(logits) => (self.choose(model, logits), logits.as_slice()),
            // No form and no probabilities were asked for: `Backend::unsupported`.
            Given::Token(token) => (Ok(*token), [].as_slice()),
            Given::Broken => (Err(EngineRefusal::Numeric), [].as_slice()),
        };
        let token = match chosen {
            Ok(token) => token,
            Err(refusal) => return Outcome::Failed(refusal),
        };
        self.grant = self.grant.saturating_sub(1);
        self.written.push(token);
        // Of an answer that ends, a row that was sent ahead is nothing.
        self.next = Next::Compute(token);
        let ahead = self.ahead.take();
        let (ended, candidates) = if model.tokenizer.is_end(token) {
            (Some(FinishReason::Stop), Vec::new())
        } else {
            let full = count(self.written.len()) >= self.max_tokens;
            let candidates = self.candidates(model, logits, token);
            (full.then_some(FinishReason::Length), candidates)
        };
        let told = self.told.iter().find(|(special, _)| *special == token);
        let said = match told {
            Some((_, name)) => name.as_bytes(),
            None => model.tokenizer.text(token),
        };
        let mut text = self.characters.push(said);
        if ended.is_some() {
            text.push_str(&self.characters.finish());
        }
        let text = Zeroizing::new(text);
        let (text, outcome) = match (self.stops.push(&text), ended) {
            (Held::Stopped(before), _) => (before, Outcome::Ended(FinishReason::Stop)),
            (Held::Text(text), None) => (text, Outcome::Continues),
            (Held::Text(mut text), Some(reason)) => {
                text.push_str(&self.stops.finish());
                (text, Outcome::Ended(reason))
            }
        };
        events.push(EngineEvent::Token {
            request: self.request,
            text: Content(text),
            candidates,
        });
        if let (Outcome::Continues, Some(ahead)) = (&outcome, ahead) {
            self.next = Next::Sample(ahead);
        }
        outcome
    }

    /// The next token, and the form that is left after it.
    fn choose(&mut self, model: &Language, logits: &[f32]) -> Result<u32, EngineRefusal> {
        let allowed = self
            .form
            .as_mut()
            .map(|form| form.allowed(model.vocabulary()));
        let token = self.sampler.sample(logits, &self.written, allowed.as_ref());
        let token = token.map_err(|error| match error {
            SampleError::NotFinite => EngineRefusal::Numeric,
            SampleError::NothingAllowed => EngineRefusal::Form,
        })?;
        // What ends an answer may be a token that has a text elsewhere: here it is none.
        if let Some(form) = &mut self.form
            && !model.tokenizer.is_end(token)
        {
            let taken = form.take(model.tokenizer.text(token));
            taken.map_err(|NotAllowed| EngineRefusal::Form)?;
        }
        Ok(token)
    }

    /// The token and what else it might have been, where that was asked for.
    fn candidates(&self, model: &Language, logits: &[f32], token: u32) -> Vec<Candidate> {
        let Some(alternatives) = self.alternatives else {
            return Vec::new();
        };
        let likeliest = likeliest(logits, token, alternatives);
        let candidate = likeliest.iter().map(|one| Candidate {
            micro: one.micro,
            bytes: model
                .tokenizer
                .text(one.token)
                .iter()
                .take(MAX_CANDIDATE_BYTES)
                .copied()
                .collect(),
        });
        candidate.collect()
    }
}
