//! What computes, behind one door: processors (`model`), or a GPU in a program of its own.
//!
//! The scheduler says which rows a step has and after which of them a token is wanted. What a
//! backend makes of those stays with the answer until it is granted a token: a hidden state where
//! tokens are chosen here, the token itself where they are chosen beside the arithmetic. What is
//! deliberately not here: which answer gets which row (`scheduler`), and text.

use messages::engine_ipc::{Start, StepFigures, TokenBias};
use protocol::receipt::Sampling;
use zeroize::{Zeroize, Zeroizing};

use crate::model::{self, CACHE_BYTES, Geometry, Runner, SharedPage};
pub use crate::model::{PAGE, Slot};

/// Prompt rows of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// When nobody else waits for a token.
    pub alone: usize,
    /// Beside answers that are being written.
    pub beside: usize,
}

/// Which token a row is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// This one.
    Known(u32),
    /// The one that was chosen after the sequence's row before, which nobody here has seen yet.
    Chosen,
}

/// One token of one sequence in a step.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The sequence.
    pub slot: Slot,
    /// Its token.
    pub token: Fed,
    /// Its position; all earlier ones are in the cache or before it in the same step.
    pub position: usize,
}

impl Zeroize for Row {
    fn zeroize(&mut self) {
        self.slot.0.zeroize();
        self.token = Fed::Known(0);
        self.position.zeroize();
    }
}

/// A row after which a token is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Its place in the step.
    pub row: usize,
    /// How that token is chosen.
    pub sampling: Sampling,
    /// Its place in the answer, from 0.
    pub place: usize,
    /// Where it is drawn, all that the draw depends on: 64 bits of the seed and of the token's
    /// place in its answer.
    pub drawn: u64,
}

/// What becomes of a row after which a token was wanted.
#[derive(Debug)]
pub enum Given {
    /// One logit for each token of the vocabulary: the token is still to be chosen.
    Logits(Zeroizing<Vec<f32>>),
    /// The token.
    Token(u32),
    /// None: a number was not finite.
    Broken,
}

/// The device failed, and every answer on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("computing device failed")]
pub struct BackendFailed;

/// What computes rows.
pub trait Backend {
    /// A full page of keys and values ([`PAGE`] positions), which several answers may begin with.
    /// Wiped when the last of them is dropped, at the latest in [`Backend::rest`].
    type Page: Clone;
    /// What a row leaves for its answer.
    type State;

    /// What each step does on the bus to a GPU; none without one.
    fn figures(&self) -> Option<StepFigures>;

    /// How many steps may be sent behind one whose tokens were not given yet. Where none may, no
    /// row is of a token that was not.
    fn ahead(&self) -> u64;

    /// How many prompt rows a step takes.
    fn pace(&self) -> Pace;

    /// And how many of a prompt that goes on at a position.
    fn rows_at(&self, position: usize) -> usize;

    /// Pages that all answers together may hold.
    fn most_pages(&self) -> usize;

    /// The parameter of a request that this backend does not know, if there is one.
    fn unsupported(&self, start: &Start) -> Option<&'static str>;

    /// A place for a new sequence, which begins with these pages, and in whose answer logits of
    /// tokens are shifted.
    fn open_after(&mut self, pages: Vec<Self::Page>, biases: &[TokenBias]) -> Slot;

    /// Gives a sequence's place up, but for its first pages, at most so many, each of which is
    /// full.
    fn close_keeping(&mut self, slot: Slot, pages: usize) -> Vec<Self::Page>;

    /// Computes the rows of a step, or sends them on their way, earlier positions of a sequence
    /// before later ones; of each wanted row what it leaves, in their order.
    ///
    /// # Errors
    /// `BackendFailed`.
    fn step(&mut self, rows: &[Row], wanted: &[Wanted]) -> Result<Vec<Self::State>, BackendFailed>;

    /// What becomes of rows whose answers were granted a token, in their order. Waits for the steps
    /// that they were in.
    ///
    /// # Errors
    /// `BackendFailed`.
    fn give(&mut self, states: &[&Self::State]) -> Result<Vec<Given>, BackendFailed>;

    /// Nothing is to be computed for now: wipes what still waits for it.
    ///
    /// # Errors
    /// `BackendFailed`.
    fn rest(&mut self) -> Result<(), BackendFailed>;
}

impl Backend for Runner<'_, '_> {
    type Page = SharedPage;
    type State = Zeroizing<Vec<f32>>;

    fn figures(&self) -> Option<StepFigures> {
        None
    }

    fn ahead(&self) -> u64 {
        0
    }

    fn pace(&self) -> Pace {
        Pace {
            alone: crate::scheduler::PROMPT_ROWS_ALONE,
            beside: crate::scheduler::PROMPT_ROWS_BESIDE,
        }
    }

    fn rows_at(&self, position: usize) -> usize {
        crate::scheduler::rows_at(position)
    }

    fn most_pages(&self) -> usize {
        let page = Geometry::of(self.weights()).page_bytes();
        CACHE_BYTES.checked_div(page).unwrap_or(0)
    }

    fn unsupported(&self, _: &Start) -> Option<&'static str> {
        None
    }

    fn open_after(&mut self, pages: Vec<SharedPage>, _: &[TokenBias]) -> Slot {
        Runner::open_after(self, pages)
    }

    fn close_keeping(&mut self, slot: Slot, pages: usize) -> Vec<SharedPage> {
        Runner::close_keeping(self, slot, pages)
    }

    fn step(&mut self, rows: &[Row], wanted: &[Wanted]) -> Result<Vec<Self::State>, BackendFailed> {
        let known = rows.iter().map(|row| match row.token {
            Fed::Known(token) => Ok(model::Row {
                slot: row.slot,
                token,
                position: row.position,
            }),
            Fed::Chosen => Err(BackendFailed),
        });
        let known: Zeroizing<Vec<_>> = Zeroizing::new(known.collect::<Result<_, _>>()?);
        Runner::step(self, &known);
        Ok(wanted
            .iter()
            .map(|wanted| self.hidden(wanted.row))
            .collect())
    }

    fn give(&mut self, states: &[&Self::State]) -> Result<Vec<Given>, BackendFailed> {
        let states = states.iter().map(|state| state.as_slice());
        let logits = self.logits(states);
        Ok(logits.into_iter().map(Given::Logits).collect())
    }

    fn rest(&mut self) -> Result<(), BackendFailed> {
        Ok(())
    }
}
