//! A token that could stand at one place of an answer, and how probable the model finds it there.

use alloc::vec::Vec;
use core::fmt;

use protocol::codec::{DecodeError, Reader, Writer};

use super::{MAX_ALTERNATIVES, MAX_CANDIDATE_BYTES};

/// A token and its probability. Content: prints lengths only.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The negated natural logarithm of the probability, in millionths: a whole number, so that
    /// there is no value that is not one.
    pub micro: u32,
    /// The token's bytes, at most [`MAX_CANDIDATE_BYTES`] of them; not always UTF-8.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Candidate({} bytes)", self.bytes.len())
    }
}

pub(super) fn write_candidates(candidates: &[Candidate], out: &mut Writer) {
    out.count(candidates.len());
    for candidate in candidates {
        out.u32(candidate.micro).blob(&candidate.bytes);
    }
}

pub(super) fn read_candidates(from: &mut Reader<'_>) -> Result<Vec<Candidate>, DecodeError> {
    // The token that was taken, and the alternatives.
    let most = MAX_ALTERNATIVES.saturating_add(1);
    let count = from.count("candidates", most)?;
    let candidates = (0..count).map(|_| {
        Ok(Candidate {
            micro: from.u32()?,
            bytes: from.blob("candidate", MAX_CANDIDATE_BYTES)?.to_vec(),
        })
    });
    candidates.collect()
}
