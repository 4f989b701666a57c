//! A release that a log holds, from bytes: `docs/spec/release.md` §7, steps 1 and 2.
//!
//! In two steps, each a type that only it makes: a record with the files that it describes, then
//! that with its place in the log. Not here: reading files, and what a caller remembers of the log.

use std::collections::BTreeMap;

use protocol::reference_values::{ReferenceValues, ReferenceValuesError};
use serde::Deserialize;

use crate::checkpoint::Checkpoint;
use crate::names;
use crate::note::VerifierKey;
use crate::proof::{InclusionProof, ProofError};
use crate::record::{FileDigest, RecordError, ReleaseRecord, flavour, profile};

/// A manifest is at most this long.
pub const MAX_MANIFEST_BYTES: usize = 64 * 1024;

/// A release that is not what the log says.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseFilesError {
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
    /// The proof that the log holds the record.
    #[error("`entry.tlog-proof`")]
    Inclusion(#[from] ProofError),
}

impl ReleaseFilesError {
    /// The stable code: `docs/spec/release.md` §7.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OtherFile { .. } => "release-file-changed",
            Self::Manifest => "release-manifest-malformed",
            Self::ReferenceValues(_) => "release-reference-values",
            Self::Disagree { .. } => "release-files-disagree",
            Self::Record(_) => "release-entry-malformed",
            Self::Inclusion(error) => error.code(),
        }
    }
}

/// Version of the manifest that is read here.
const MANIFEST_VERSION: u16 = 1;

#[derive(Deserialize)]
struct Manifest {
    version: u16,
    image: String,
    flavour: String,
    profile: String,
    files: BTreeMap<String, ManifestFile>,
}

#[derive(Deserialize)]
struct ManifestFile {
    sha256: String,
}

/// What a release is by its files: their record, and what clients pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedRelease {
    record: ReleaseRecord,
    reference_values: ReferenceValues,
}

impl DescribedRelease {
    /// Of files that are not published yet, which must be of one release. Bill of materials and
    /// build inputs come as their digests.
    ///
    /// # Errors
    /// `Manifest`, `ReferenceValues`, `Disagree`.
    pub fn of_files(
        manifest: &[u8],
        reference_values: &[u8],
        sbom: FileDigest,
        build_inputs: FileDigest,
    ) -> Result<Self, ReleaseFilesError> {
        if manifest.len() > MAX_MANIFEST_BYTES {
            return Err(ReleaseFilesError::Manifest);
        }
        let read: Manifest =
            serde_json::from_slice(manifest).map_err(|_| ReleaseFilesError::Manifest)?;
        let (version, flavour, profile) = (
            read.image.parse().ok(),
            flavour(&read.flavour),
            profile(&read.profile),
        );
        let (MANIFEST_VERSION, Some(version), Some(flavour), Some(profile)) =
            (read.version, version, flavour, profile)
        else {
            return Err(ReleaseFilesError::Manifest);
        };
        let record = ReleaseRecord {
            version,
            flavour,
            profile,
            manifest: FileDigest::of(manifest),
            reference_values: FileDigest::of(reference_values),
            sbom,
            build_inputs,
        };
        let reference_values = ReferenceValues::parse(reference_values)?;
        if (reference_values.image, reference_values.profile) != (version, profile) {
            let name = names::REFERENCE_VALUES;
            return Err(ReleaseFilesError::Disagree { name });
        }
        let listed = read.files.get(names::SBOM).map(|file| &file.sha256);
        if listed != Some(&sbom.to_string()) {
            return Err(ReleaseFilesError::Disagree { name: names::SBOM });
        }
        Ok(Self {
            record,
            reference_values,
        })
    }

    /// Of a record and the two files that decide what is pinned, which must be those of which it
    /// has the digests.
    ///
    /// # Errors
    /// `Record`, `OtherFile`, and those of [`Self::of_files`].
    pub fn of_entry(
        entry: &[u8],
        manifest: &[u8],
        reference_values: &[u8],
    ) -> Result<Self, ReleaseFilesError> {
        let record = ReleaseRecord::parse(entry)?;
        expect(names::MANIFEST, manifest, record.manifest)?;
        expect(
            names::REFERENCE_VALUES,
            reference_values,
            record.reference_values,
        )?;
        let (sbom, build_inputs) = (record.sbom, record.build_inputs);
        let described = Self::of_files(manifest, reference_values, sbom, build_inputs)?;
        if described.record != record {
            return Err(ReleaseFilesError::Disagree { name: names::ENTRY });
        }
        Ok(described)
    }

    /// Checks the two files besides: the bill of materials and the build inputs.
    ///
    /// # Errors
    /// `OtherFile`.
    pub fn has(&self, sbom: &[u8], build_inputs: &[u8]) -> Result<(), ReleaseFilesError> {
        expect(names::SBOM, sbom, self.record.sbom)?;
        expect(names::BUILD_INPUTS, build_inputs, self.record.build_inputs)
    }

    /// What is published.
    #[must_use]
    pub const fn record(&self) -> &ReleaseRecord {
        &self.record
    }

    /// Checks that the log of this key holds the record.
    ///
    /// # Errors
    /// `Inclusion`.
    pub fn in_log(
        self,
        proof: &[u8],
        key: &VerifierKey,
    ) -> Result<LoggedRelease, ReleaseFilesError> {
        let proof = InclusionProof::parse(proof)?;
        // A record has one form: this is the entry, byte for byte.
        let checkpoint = proof.verify(self.record.to_string().as_bytes(), key)?;
        Ok(LoggedRelease {
            record: self.record,
            index: proof.index,
            checkpoint,
            reference_values: self.reference_values,
        })
    }
}

fn expect(
    name: &'static str,
    bytes: &[u8],
    published: FileDigest,
) -> Result<(), ReleaseFilesError> {
    let found = FileDigest::of(bytes);
    if found == published {
        Ok(())
    } else {
        Err(ReleaseFilesError::OtherFile {
            name,
            published,
            found,
        })
    }
}

/// A release that the log of a key holds: made by [`DescribedRelease::in_log`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRelease {
    record: ReleaseRecord,
    index: u64,
    checkpoint: Checkpoint,
    reference_values: ReferenceValues,
}

impl LoggedRelease {
    /// What was published.
    #[must_use]
    pub const fn record(&self) -> &ReleaseRecord {
        &self.record
    }

    /// Its number in the log, from 0.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The state of the log that was shown.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What clients pin.
    #[must_use]
    pub const fn reference_values(&self) -> &ReferenceValues {
        &self.reference_values
    }
}
