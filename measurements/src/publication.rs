//! A release directory and the log's directory: what a keeper writes, and what anybody checks
//! offline. `docs/spec/release.md`.
//!
//! Reads files. Not here: whether the artifacts measure as the reference values say (`release`),
//! and where a release is announced (the host agent's `publish`).

use std::path::{Path, PathBuf};

use protocol::reference_values::{self, ReferenceValues, ReferenceValuesError};
use serde::Deserialize;

use crate::release::{ReleaseError, read_bounded};
use crate::transparency::checkpoint::{Checkpoint, CheckpointError};
use crate::transparency::log::{LogError, MAX_LOG_BYTES, ReleaseLog};
use crate::transparency::note::{MAX_NOTE_BYTES, NoteError, SignedNote, SignerKey, VerifierKey};
use crate::transparency::proof::{ConsistencyProof, InclusionProof, MAX_PROOF_BYTES, ProofError};
use crate::transparency::record::{
    FileDigest, MAX_RECORD_BYTES, RecordError, ReleaseRecord, flavour, profile,
};

const MAX_MANIFEST_BYTES: usize = 64 * 1024;
const MAX_SBOM_BYTES: usize = 4 * 1024 * 1024;
const MAX_BUILD_INPUTS_BYTES: usize = 1024 * 1024;

/// Names of the files of a release and of the log.
pub mod names {
    /// The image's manifest: every artifact with its digest.
    pub const MANIFEST: &str = "manifest.json";
    /// What clients pin.
    pub const REFERENCE_VALUES: &str = "reference-values.json";
    /// The bill of materials.
    pub const SBOM: &str = "sbom.cdx.json";
    /// Every lock with its digest.
    pub const BUILD_INPUTS: &str = "build-inputs.json";
    /// The leaf of the log.
    pub const ENTRY: &str = "entry";
    /// That the leaf is in the log.
    pub const INCLUSION: &str = "entry.tlog-proof";
    /// That the log only grew since the release before.
    pub const CONSISTENCY: &str = "consistency";
    /// In the log's directory: all records.
    pub const ENTRIES: &str = "entries";
    /// In the log's directory: its newest checkpoint.
    pub const CHECKPOINT: &str = "checkpoint";
}

/// A release that is not what the log says, or cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublicationError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReleaseError),
    /// A file is not the one of which the record has the digest.
    #[error("`{name}` is not the published one: the log says {published}, it has {found}")]
    OtherFile {
        /// The file.
        name: &'static str,
        /// The record's digest.
        published: FileDigest,
        /// The file's digest.
        found: FileDigest,
    },
    /// The manifest cannot be read.
    #[error("`manifest.json` is not of the specified form")]
    Manifest,
    /// The reference values cannot be read.
    #[error("`reference-values.json`")]
    ReferenceValues(#[from] ReferenceValuesError),
    /// Files of one release name different releases.
    #[error("`{name}` is of another version, flavour or profile than the manifest")]
    Disagree {
        /// The file.
        name: &'static str,
    },
    /// The record.
    #[error("`entry`")]
    Record(#[from] RecordError),
    /// A note.
    #[error("note")]
    Note(#[from] NoteError),
    /// A checkpoint.
    #[error("old checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// A proof.
    #[error("`{name}`")]
    Proof {
        /// The file.
        name: &'static str,
        /// What is wrong.
        source: ProofError,
    },
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
            Self::OtherFile { .. } => "release-file-changed",
            Self::Manifest => "release-manifest-malformed",
            Self::ReferenceValues(_) => "release-reference-values",
            Self::Disagree { .. } => "release-files-disagree",
            Self::Record(_) => "release-entry-malformed",
            Self::Proof { source, .. } => source.code(),
            Self::Note(_) | Self::Checkpoint(_) | Self::Log(_) | Self::NeedsLog { .. } => {
                "release-log-history"
            }
        }
    }
}

#[derive(Deserialize)]
struct Manifest {
    image: String,
    flavour: String,
    profile: String,
    files: std::collections::BTreeMap<String, ManifestFile>,
}

#[derive(Deserialize)]
struct ManifestFile {
    sha256: String,
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
    /// `Manifest`, `ReferenceValues`, `Disagree`.
    pub fn record(&self) -> Result<ReleaseRecord, PublicationError> {
        let manifest: Manifest =
            serde_json::from_slice(&self.manifest).map_err(|_| PublicationError::Manifest)?;
        let (version, flavour, profile) = (
            manifest.image.parse().ok(),
            flavour(&manifest.flavour),
            profile(&manifest.profile),
        );
        let (Some(version), Some(flavour), Some(profile)) = (version, flavour, profile) else {
            return Err(PublicationError::Manifest);
        };
        let record = ReleaseRecord {
            version,
            flavour,
            profile,
            manifest: FileDigest::of(&self.manifest),
            reference_values: FileDigest::of(&self.reference_values),
            sbom: FileDigest::of(&self.sbom),
            build_inputs: FileDigest::of(&self.build_inputs),
        };
        let values = ReferenceValues::parse(&self.reference_values)?;
        if (values.image, values.profile) != (version, profile) {
            let name = names::REFERENCE_VALUES;
            return Err(PublicationError::Disagree { name });
        }
        let listed = manifest.files.get(names::SBOM).map(|file| &file.sha256);
        if listed != Some(&record.sbom.to_string()) {
            return Err(PublicationError::Disagree { name: names::SBOM });
        }
        Ok(record)
    }

    fn compare(&self, published: &ReleaseRecord) -> Result<(), PublicationError> {
        let files = [
            (names::MANIFEST, &self.manifest, published.manifest),
            (
                names::REFERENCE_VALUES,
                &self.reference_values,
                published.reference_values,
            ),
            (names::SBOM, &self.sbom, published.sbom),
            (
                names::BUILD_INPUTS,
                &self.build_inputs,
                published.build_inputs,
            ),
        ];
        for (name, bytes, published) in files {
            let found = FileDigest::of(bytes);
            if found != published {
                return Err(PublicationError::OtherFile {
                    name,
                    published,
                    found,
                });
            }
        }
        Ok(())
    }
}

/// A release that the log of a key holds: made by [`verify`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedRelease {
    record: ReleaseRecord,
    index: u64,
    checkpoint: Checkpoint,
    consistent_with: Option<u64>,
    reference_values: ReferenceValues,
}

impl PublishedRelease {
    /// What was published.
    #[must_use]
    pub const fn record(&self) -> &ReleaseRecord {
        &self.record
    }

    /// Its number in the log.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The state of the log that was shown.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Size of the log that the caller knew, which is of one history with this one.
    #[must_use]
    pub const fn consistent_with(&self) -> Option<u64> {
        self.consistent_with
    }

    /// What clients pin.
    #[must_use]
    pub const fn reference_values(&self) -> &ReferenceValues {
        &self.reference_values
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
    let record = ReleaseRecord::parse(&entry)?;
    let files = ReleaseFiles::read(directory)?;
    files.compare(&record)?;
    if files.record()? != record {
        return Err(PublicationError::Disagree { name: names::ENTRY });
    }
    let name = names::INCLUSION;
    let refused = |source| PublicationError::Proof { name, source };
    let proof = read(directory, name, MAX_PROOF_BYTES)?;
    let proof = InclusionProof::parse(&proof).map_err(refused)?;
    let checkpoint = proof.verify(&entry, key).map_err(refused)?;
    let consistent_with = match remembered {
        None => None,
        Some(remembered) => Some(grown(directory, key, &checkpoint, remembered)?),
    };
    Ok(PublishedRelease {
        record,
        index: proof.index,
        checkpoint,
        consistent_with,
        reference_values: ReferenceValues::parse(&files.reference_values)?,
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
    let name = names::CONSISTENCY;
    let refused = |source| PublicationError::Proof { name, source };
    let proof = read(directory, name, MAX_PROOF_BYTES)?;
    let proof = ConsistencyProof::parse(&proof).map_err(refused)?;
    if proof.old != old.size {
        return Err(PublicationError::NeedsLog {
            old: old.size,
            start: proof.old,
        });
    }
    if proof.verify(&old, key).map_err(refused)? == *new {
        Ok(old.size)
    } else {
        Err(PublicationError::Disagree { name })
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
