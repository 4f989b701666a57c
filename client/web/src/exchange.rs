//! The two buffers through which a module without imports is spoken to. The other side writes the
//! question where [`Exchange::room`] says and reads the answer where [`Exchange::answer`] says;
//! here a place is only told, never followed, so nothing here is unsafe.

use std::sync::{Mutex, MutexGuard, PoisonError};

use verifier::TrustAnchors;

use crate::{Question, judge};

/// One question and its answer.
#[derive(Debug)]
pub struct Exchange {
    question: Mutex<Vec<u8>>,
    answer: Mutex<Vec<u8>>,
}

impl Exchange {
    /// An exchange in which nothing was asked.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            question: Mutex::new(Vec::new()),
            answer: Mutex::new(Vec::new()),
        }
    }

    /// Makes room for a question, zeroed, and says where; null for one that is too long.
    pub fn room(&self, length: usize) -> *mut u8 {
        if length > Question::MAX_BYTES {
            return core::ptr::null_mut();
        }
        let mut question = held(&self.question);
        *question = vec![0; length];
        question.as_mut_ptr()
    }

    /// Answers the question in the room and says how long the answer is.
    pub fn judge(&self, anchors: &TrustAnchors) -> usize {
        let question = core::mem::take(&mut *held(&self.question));
        let mut answer = held(&self.answer);
        *answer = judge(&question, anchors);
        answer.len()
    }

    /// Where the answer lies, until the next question.
    pub fn answer(&self) -> *const u8 {
        held(&self.answer).as_ptr()
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Self::new()
    }
}

/// Whole buffers are put in place at once: one that a panic left behind is as good as any.
fn held(buffer: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    #[test]
    fn there_is_room_for_the_longest_question_and_for_none_longer() {
        let exchange = Exchange::new();
        assert!(!exchange.room(Question::MAX_BYTES).is_null());
        assert!(exchange.room(Question::MAX_BYTES + 1).is_null());
    }

    #[test]
    fn a_question_that_was_never_written_is_bad_input_and_said_so() {
        let exchange = Exchange::new();
        let _ = exchange.room(9);
        for _ in 0..2 {
            let length = exchange.judge(&TrustAnchors::PRODUCTION);
            assert!(!exchange.answer().is_null());
            let answer = held(&exchange.answer).clone();
            assert_eq!(answer.len(), length);
            assert_eq!(answer.first(), Some(&2));
            let text = String::from_utf8_lossy(&answer);
            assert!(text.contains("question-malformed"), "{text}");
        }
    }
}
