//! The whole log: its records in order, and what its keeper makes of them. It is small (about half
//! a kilobyte for a release), so everybody can hold all of it.
//!
//! As a file: the records one after the other, an empty line behind each.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::merkle::{self, PathError, TreeHash};
use crate::note::{SignedNote, SignerKey, VerifierKey};
use crate::proof::{ConsistencyProof, InclusionProof};
use crate::record::{RecordError, ReleaseRecord};

/// A log file is at most this long: about 2,400 releases. A release is looked for among all before
/// it, so the time to read a log grows by the square of its length.
pub const MAX_LOG_BYTES: usize = 1024 * 1024;

/// A log that is not of the specified form, or is not the one that was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Longer than accepted.
    #[error("longer than {MAX_LOG_BYTES} bytes")]
    TooLong,
    /// Not text, or not closed by an empty line.
    #[error("not records with an empty line behind each")]
    Form,
    /// A record.
    #[error("record {index}")]
    Record {
        /// Its number, from 0.
        index: usize,
        /// What is wrong.
        source: RecordError,
    },
    /// The release is in the log already: a version is published once.
    #[error("record {index} is of the same version and flavour: a version is published once")]
    Published {
        /// The number of the record that is there.
        index: usize,
    },
    /// Records that no checkpoint covers.
    #[error("the log has records behind the {size} that its last checkpoint signs")]
    Unsigned {
        /// Records that are signed.
        size: u64,
    },
    /// A checkpoint.
    #[error("checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// The log does not hold what a checkpoint says it held.
    #[error("the log is not the one of the checkpoint of {size} records")]
    Rewritten {
        /// The checkpoint's size.
        size: u64,
        /// What is wrong.
        source: PathError,
    },
}

/// Every record so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseLog {
    records: Vec<ReleaseRecord>,
}

impl ReleaseLog {
    /// Reads a log file; an empty one is an empty log.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LogError> {
        if bytes.len() > MAX_LOG_BYTES {
            return Err(LogError::TooLong);
        }
        let mut log = Self::default();
        let mut rest = std::str::from_utf8(bytes).map_err(|_| LogError::Form)?;
        while !rest.is_empty() {
            let (body, after) = rest.split_once("\n\n").ok_or(LogError::Form)?;
            let index = log.records.len();
            let record = ReleaseRecord::parse(format!("{body}\n").as_bytes())
                .map_err(|source| LogError::Record { index, source })?;
            log.append(record)?;
            rest = after;
        }
        Ok(log)
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &[ReleaseRecord] {
        &self.records
    }

    /// Adds a release and gives its number.
    ///
    /// # Errors
    /// `Published`.
    pub fn append(&mut self, record: ReleaseRecord) -> Result<usize, LogError> {
        let same = |old: &ReleaseRecord| {
            (old.version, old.flavour, old.profile)
                == (record.version, record.flavour, record.profile)
        };
        if let Some(index) = self.records.iter().position(same) {
            return Err(LogError::Published { index });
        }
        self.records.push(record);
        Ok(self.records.len().saturating_sub(1))
    }

    /// Number of records.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::try_from(self.records.len()).unwrap_or(u64::MAX)
    }

    fn leaves(&self) -> Vec<TreeHash> {
        self.records.iter().map(ReleaseRecord::leaf_hash).collect()
    }

    /// Signs the log as it stands.
    ///
    /// # Errors
    /// Those of the note, which this text does not raise.
    pub fn sign(&self, key: &SignerKey) -> Result<SignedNote, LogError> {
        let root = merkle::root(&self.leaves());
        Ok(Checkpoint::sign(self.size(), root, key)?)
    }

    /// Checks that this log extends, or is, the one that was signed then.
    ///
    /// # Errors
    /// `Checkpoint` or `Rewritten`.
    pub fn extends(&self, note: &SignedNote, key: &VerifierKey) -> Result<Checkpoint, LogError> {
        let old = Checkpoint::open(note, key)?;
        self.holds(&old)?;
        Ok(old)
    }

    /// Checks that the first records of this log are the ones of a checkpoint.
    ///
    /// # Errors
    /// `Rewritten`.
    pub fn holds(&self, checkpoint: &Checkpoint) -> Result<(), LogError> {
        let rewritten = |source| LogError::Rewritten {
            size: checkpoint.size,
            source,
        };
        let leaves = self.leaves();
        let then = usize::try_from(checkpoint.size)
            .ok()
            .and_then(|size| leaves.get(..size))
            .ok_or(rewritten(PathError::Shrunk {
                old: checkpoint.size,
                new: self.size(),
            }))?;
        if merkle::root(then) == checkpoint.root {
            Ok(())
        } else {
            Err(rewritten(PathError::OtherRoot))
        }
    }

    /// The proof that record `index` is in the log of this checkpoint.
    #[must_use]
    pub fn inclusion(&self, index: usize, checkpoint: SignedNote) -> Option<InclusionProof> {
        Some(InclusionProof {
            index: u64::try_from(index).ok()?,
            path: merkle::inclusion_path(&self.leaves(), index)?,
            checkpoint,
        })
    }

    /// The proof that the log grew from `old` records to this checkpoint.
    #[must_use]
    pub fn consistency(&self, old: u64, checkpoint: SignedNote) -> Option<ConsistencyProof> {
        Some(ConsistencyProof {
            old,
            path: merkle::consistency_path(&self.leaves(), usize::try_from(old).ok()?)?,
            checkpoint,
        })
    }
}

impl std::fmt::Display for ReleaseLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.records
            .iter()
            .try_for_each(|record| writeln!(f, "{record}"))
    }
}
