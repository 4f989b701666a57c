//! A release directory and the log's directory: what a keeper writes, and what anybody checks
//! offline. `docs/spec/release.md`.
//!
//! Reads files. Not here: whether the artifacts measure as the reference values say (`release`),
//! and where a release is announced (the host agent's `publish`).

use std::path::{Path, PathBuf};

use protocol::reference_values::{self, ReferenceValues};
use transparency::checkpoint::{Checkpoint, CheckpointError};
use transparency::log::{LogError, MAX_LOG_BYTES, ReleaseLog};
pub use transparency::names;
use transparency::note::{MAX_NOTE_BYTES, NoteError, SignedNote, SignerKey, VerifierKey};
use transparency::proof::{ConsistencyProof, InclusionProof, MAX_PROOF_BYTES, ProofError};
use transparency::record::{FileDigest, MAX_RECORD_BYTES, ReleaseRecord};
use transparency::release::{
    DescribedRelease, LoggedRelease, MAX_MANIFEST_BYTES, ReleaseFilesError,
};

use crate::release::{ReleaseError, read_bounded};

const MAX_SBOM_BYTES: usize = 4 * 1024 * 1024;
const MAX_BUILD_INPUTS_BYTES: usize = 1024 * 1024;

/// A release that is not what the log says, or cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublicationError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReleaseError),
    /// The files, or the proof that the log holds them.
    #[error(transparent)]
    Files(#[from] ReleaseFilesError),
    /// A note.
    #[error("note")]
    Note(#[from] NoteError),
    /// A checkpoint.
    #[error("old checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// The proof that the log only grew.
    #[error("`consistency`")]
    Consistency(#[from] ProofError),
    /// That proof leads to another state of the log than the release's.
    #[error("`consistency` and `entry.tlog-proof` show different states of the log")]
    OtherState,
    /// The log.
    #[error("log")]
    Log(#[from] LogError),
    /// The release's proof starts elsewhere and no whole log was given.
    #[error(
        "the old checkpoint has {old} records, the release's proof starts at {start}: \
         give the whole log"
    )]
    NeedsLog {
        /// Records in the old checkpoint.
        old: u64,
        /// Where the release's own proof starts.
        start: u64,
    },
}

impl PublicationError {
    /// The stable code: `docs/spec/release.md` §7.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "release-unreadable",
            Self::Files(error) => error.code(),
            Self::Consistency(error) => error.code(),
            Self::Note(_)
            | Self::Checkpoint(_)
            | Self::OtherState
            | Self::Log(_)
            | Self::NeedsLog { .. } => "release-log-history",
        }
    }
}

/// The files that a record has digests of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseFiles {
    manifest: Vec<u8>,
    reference_values: Vec<u8>,
    sbom: Vec<u8>,
    build_inputs: Vec<u8>,
}

fn read(directory: &Path, name: &str, limit: usize) -> Result<Vec<u8>, PublicationError> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    Ok(read_bounded(&directory.join(name), limit)?)
}

impl ReleaseFiles {
    /// Reads them.
    ///
    /// # Errors
    /// `Read`.
    pub fn read(directory: &Path) -> Result<Self, PublicationError> {
        Ok(Self {
            manifest: read(directory, names::MANIFEST, MAX_MANIFEST_BYTES)?,
            reference_values: read(
                directory,
                names::REFERENCE_VALUES,
                reference_values::MAX_BYTES,
            )?,
            sbom: read(directory, names::SBOM, MAX_SBOM_BYTES)?,
            build_inputs: read(directory, names::BUILD_INPUTS, MAX_BUILD_INPUTS_BYTES)?,
        })
    }

    /// The record of these files, which must be of one release.
    ///
    /// # Errors
    /// `Files`.
    pub fn record(&self) -> Result<ReleaseRecord, PublicationError> {
        let described = DescribedRelease::of_files(
            &self.manifest,
            &self.reference_values,
            FileDigest::of(&self.sbom),
            FileDigest::of(&self.build_inputs),
        )?;
        Ok(*described.record())
    }
}

/// A release that the log of a key holds, and that log the one that the caller knew: made by
/// [`verify`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedRelease {
    logged: LoggedRelease,
    consistent_with: Option<u64>,
}

impl PublishedRelease {
    /// What was published.
    #[must_use]
    pub const fn record(&self) -> &ReleaseRecord {
        self.logged.record()
    }

    /// Its number in the log.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.logged.index()
    }

    /// The state of the log that was shown.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        self.logged.checkpoint()
    }

    /// Size of the log that the caller knew, which is of one history with this one.
    #[must_use]
    pub const fn consistent_with(&self) -> Option<u64> {
        self.consistent_with
    }

    /// What clients pin.
    #[must_use]
    pub const fn reference_values(&self) -> &ReferenceValues {
        self.logged.reference_values()
    }
}

/// What the caller remembers of the log.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// A checkpoint from before.
    pub checkpoint: PathBuf,
    /// The log's directory, needed when more than one release came since.
    pub log: Option<PathBuf>,
}

/// Checks a release directory: its files are those of its record, the record is in the log, and the
/// log is the one that the caller knew.
///
/// # Errors
/// See [`PublicationError`].
pub fn verify(
    directory: &Path,
    key: &VerifierKey,
    remembered: Option<&Remembered>,
) -> Result<PublishedRelease, PublicationError> {
    let entry = read(directory, names::ENTRY, MAX_RECORD_BYTES)?;
    let files = ReleaseFiles::read(directory)?;
    let described = DescribedRelease::of_entry(&entry, &files.manifest, &files.reference_values)?;
    described.has(&files.sbom, &files.build_inputs)?;
    let proof = read(directory, names::INCLUSION, MAX_PROOF_BYTES)?;
    let logged = described.in_log(&proof, key)?;
    let consistent_with = match remembered {
        None => None,
        Some(remembered) => Some(grown(directory, key, logged.checkpoint(), remembered)?),
    };
    Ok(PublishedRelease {
        logged,
        consistent_with,
    })
}

/// The size of the log that the caller knew, when it and `new` are states of one log.
fn grown(
    directory: &Path,
    key: &VerifierKey,
    new: &Checkpoint,
    remembered: &Remembered,
) -> Result<u64, PublicationError> {
    let path = &remembered.checkpoint;
    let note = read_bounded(path, u64::try_from(MAX_NOTE_BYTES).unwrap_or(u64::MAX))?;
    let note = SignedNote::parse(&note)?;
    let old = Checkpoint::open(&note, key)?;
    if old == *new {
        return Ok(old.size);
    }
    if let Some(log) = &remembered.log {
        let log = ReleaseLog::parse(&read(log, names::ENTRIES, MAX_LOG_BYTES)?)?;
        log.extends(&note, key)?;
        log.holds(new)?;
        return Ok(old.size);
    }
    let proof = read(directory, names::CONSISTENCY, MAX_PROOF_BYTES)?;
    let proof = ConsistencyProof::parse(&proof)?;
    if proof.old != old.size {
        return Err(PublicationError::NeedsLog {
            old: old.size,
            start: proof.old,
        });
    }
    if proof.verify(&old, key)? == *new {
        Ok(old.size)
    } else {
        Err(PublicationError::OtherState)
    }
}

/// What publishing a release writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// What was published.
    pub record: ReleaseRecord,
    /// The proof for the release directory.
    pub inclusion: InclusionProof,
    /// The proof for those who know the log from before.
    pub consistency: ConsistencyProof,
    /// The log, longer by one.
    pub log: ReleaseLog,
    /// Its new checkpoint.
    pub checkpoint: SignedNote,
}

/// Appends a release to the log, which must be the one that the key signed last.
///
/// # Errors
/// See [`PublicationError`].
pub fn append(
    files: &ReleaseFiles,
    entries: &[u8],
    last: Option<&[u8]>,
    key: &SignerKey,
) -> Result<Publication, PublicationError> {
    let record = files.record()?;
    let mut log = ReleaseLog::parse(entries)?;
    match last {
        // Signing another history under the same key is what the log exists to show.
        Some(note) => {
            let note = SignedNote::parse(note)?;
            let signed = log.extends(&note, &key.verifier())?;
            if signed.size != log.size() {
                return Err(LogError::Unsigned { size: signed.size }.into());
            }
        }
        None if log.size() != 0 => return Err(LogError::Unsigned { size: 0 }.into()),
        None => {}
    }
    let old = log.size();
    let index = log.append(record)?;
    let checkpoint = log.sign(key)?;
    let inclusion = log.inclusion(index, checkpoint.clone());
    let consistency = log.consistency(old, checkpoint.clone());
    let (Some(inclusion), Some(consistency)) = (inclusion, consistency) else {
        return Err(LogError::TooLong.into());
    };
    Ok(Publication {
        record,
        inclusion,
        consistency,
        log,
        checkpoint,
    })
}
