//! Proofs as files: that a record is in the log (C2SP tlog-proof), and that the log only grew (the
//! body of C2SP tlog-witness's add-checkpoint: `old SIZE`, path, checkpoint).

use crate::checkpoint::{Checkpoint, CheckpointError, decimal};
use crate::merkle::{self, MAX_PATH, PathError, TreeHash};
use crate::note::{MAX_NOTE_BYTES, NoteError, SignedNote, VerifierKey};

/// A proof is at most this long: a note and a path.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + 64 * 1024;

const INCLUSION_HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A proof that is not of the specified form, or proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Longer than accepted.
    #[error("longer than {MAX_PROOF_BYTES} bytes")]
    TooLong,
    /// Not text.
    #[error("not text")]
    NotText,
    /// Another first line.
    #[error("the first line is not that of such a proof")]
    Header,
    /// No number where the leaf or the old size should stand.
    #[error("no decimal number where the proof's index or size should stand")]
    Number,
    /// A line of the path that is not base64 of 32 bytes, or a path that is too long.
    #[error("line {line} of the path is not a hash, or one too many")]
    Path {
        /// Which one, from 1.
        line: usize,
    },
    /// The note inside.
    #[error("the checkpoint inside")]
    Note(#[from] NoteError),
    /// The checkpoint inside.
    #[error("the checkpoint inside")]
    Checkpoint(#[from] CheckpointError),
    /// The path leads elsewhere.
    #[error("the proof does not hold")]
    Refuted(#[from] PathError),
    /// The proof starts at another size than the old checkpoint's.
    #[error("the proof starts at {proof} records, the old checkpoint has {checkpoint}")]
    OtherStart {
        /// The proof's.
        proof: u64,
        /// The checkpoint's.
        checkpoint: u64,
    },
}

impl ProofError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong
            | Self::NotText
            | Self::Header
            | Self::Number
            | Self::Path { .. }
            | Self::Note(_) => "release-proof-malformed",
            Self::Checkpoint(error) => error.code(),
            Self::Refuted(_) => "release-not-in-log",
            Self::OtherStart { .. } => "release-log-history",
        }
    }
}

/// That a record is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The record's number, from 0.
    pub index: u64,
    /// From the record's sibling to the root.
    pub path: Vec<TreeHash>,
    /// The state of the log that the path leads to.
    pub checkpoint: SignedNote,
}

impl InclusionProof {
    /// Reads a proof. Extra data, which nothing authenticates, is refused.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let text = bounded(bytes)?;
        let rest = text
            .strip_prefix(INCLUSION_HEADER)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(ProofError::Header)?;
        let (index, path, checkpoint) = body(rest, "index ")?;
        Ok(Self {
            index,
            path,
            checkpoint,
        })
    }

    /// Checks that the log whose key this is holds this record.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn verify(&self, record: &[u8], key: &VerifierKey) -> Result<Checkpoint, ProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        merkle::verify_inclusion(
            merkle::leaf_hash(record),
            self.index,
            checkpoint.size,
            &self.path,
            checkpoint.root,
        )?;
        Ok(checkpoint)
    }
}

impl std::fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{INCLUSION_HEADER}\nindex {}", self.index)?;
        write_path(&self.path, f)?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// That the log only grew since it had `old` records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// Size of the log before.
    pub old: u64,
    /// The path of RFC 6962 §2.1.2.
    pub path: Vec<TreeHash>,
    /// The state of the log after.
    pub checkpoint: SignedNote,
}

impl ConsistencyProof {
    /// Reads a proof.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let (old, path, checkpoint) = body(bounded(bytes)?, "old ")?;
        Ok(Self {
            old,
            path,
            checkpoint,
        })
    }

    /// Checks that the log of this key grew from `old` to the state in the proof.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn verify(&self, old: &Checkpoint, key: &VerifierKey) -> Result<Checkpoint, ProofError> {
        let new = Checkpoint::open(&self.checkpoint, key)?;
        if self.old != old.size {
            return Err(ProofError::OtherStart {
                proof: self.old,
                checkpoint: old.size,
            });
        }
        merkle::verify_consistency((old.size, old.root), (new.size, new.root), &self.path)?;
        Ok(new)
    }
}

impl std::fmt::Display for ConsistencyProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "old {}", self.old)?;
        write_path(&self.path, f)?;
        write!(f, "\n{}", self.checkpoint)
    }
}

fn write_path(path: &[TreeHash], f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    path.iter()
        .try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))
}

fn bounded(bytes: &[u8]) -> Result<&str, ProofError> {
    if bytes.len() > MAX_PROOF_BYTES {
        return Err(ProofError::TooLong);
    }
    std::str::from_utf8(bytes).map_err(|_| ProofError::NotText)
}

/// `WORD NUMBER`, the path's lines, an empty line, a checkpoint.
fn body(text: &str, word: &str) -> Result<(u64, Vec<TreeHash>, SignedNote), ProofError> {
    let (first, mut rest) = text.split_once('\n').ok_or(ProofError::Number)?;
    let number = first.strip_prefix(word).and_then(decimal);
    let number = number.ok_or(ProofError::Number)?;
    let mut path = Vec::new();
    loop {
        let at = path.len().saturating_add(1);
        let wrong = ProofError::Path { line: at };
        let (line, after) = rest.split_once('\n').ok_or(wrong)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        if at > MAX_PATH {
            return Err(wrong);
        }
        path.push(TreeHash::from_base64(line).ok_or(wrong)?);
    }
    Ok((number, path, SignedNote::parse(rest.as_bytes())?))
}
