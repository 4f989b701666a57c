//! What the client takes: the reference values of a published release or of a file, narrowed by the
//! registry on the chain.
//!
//! A release is taken when the log of the user's key holds it (`measurements::publication`,
//! `docs/spec/release.md` §7); a file is the user's own word.
//!
//! The registry can only take away: a shape or model that it does not list as valid now is dropped
//! before anything is appraised, and nothing that the file lacks is ever added. Where it is read by
//! proof or believed is `registry`'s: a lying endpoint that is believed can hide a revocation, but
//! cannot make the client take what its file does not name. `docs/spec/evidence.md` §5.

use std::path::Path;

use contracts::registry::{Listed, ReleaseKey, Validity};
use contracts::toncenter::ChainError;
use measurements::publication::{self, PublicationError, PublishedRelease};
use measurements::transparency::note::VerifierKey;
use protocol::reference_values::{Profile, ReferenceValues, ReferenceValuesError};

use crate::registry::Registry;

/// Why there are no pins.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// The file is not one.
    #[error(transparent)]
    File(#[from] ReferenceValuesError),
    /// The directory is no release of that log.
    #[error("the release is refused")]
    Release(#[from] PublicationError),
    /// The file is for the other kind of program.
    #[error("reference values of profile {found:?}; this program takes {expected:?}")]
    Profile {
        /// The file's.
        found: Profile,
        /// The program's.
        expected: Profile,
    },
    /// The registry cannot be read.
    #[error("cannot read the registry")]
    Registry(#[from] ChainError),
}

impl PinsError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(ReferenceValuesError::TooLong) => "reference-values-too-long",
            Self::File(ReferenceValuesError::Malformed { .. }) => "reference-values-malformed",
            Self::File(ReferenceValuesError::DeviceSet) => "reference-values-device-set",
            Self::File(ReferenceValuesError::Version { .. }) => "reference-values-version",
            Self::Release(error) => error.code(),
            Self::Profile { .. } => "reference-values-profile",
            Self::Registry(error) => error.code(),
        }
    }
}

/// A pin that the registry does not list as valid now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The shape's or the model's name, or the release's.
    pub name: String,
    /// What the registry says.
    pub validity: Validity,
}

impl Dropped {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.validity {
            Validity::Unknown => "registry-not-listed",
            Validity::Pending { .. } => "registry-pending",
            Validity::Revoked { .. } => "registry-revoked",
            Validity::Valid => "registry-valid",
        }
    }
}

/// The pins of one run.
#[derive(Debug, Clone)]
pub struct Pins {
    references: ReferenceValues,
    release: Option<PublishedRelease>,
    dropped: Vec<Dropped>,
}

impl Pins {
    /// Reads the bytes of a reference-values file for a program of this profile.
    ///
    /// # Errors
    /// See [`PinsError`].
    pub fn parse(bytes: &[u8], expected: Profile) -> Result<Self, PinsError> {
        Self::of_profile(ReferenceValues::parse(bytes)?, None, expected)
    }

    /// Verifies a release's directory: its files are those of its record, and a checkpoint that the
    /// key signed has that record in the log. Then its reference values are the pins.
    ///
    /// # Errors
    /// See [`PinsError`].
    pub fn of_release(
        directory: &Path,
        log_key: &VerifierKey,
        expected: Profile,
    ) -> Result<Self, PinsError> {
        let release = publication::verify(directory, log_key, None)?;
        let references = release.reference_values().clone();
        Self::of_profile(references, Some(release), expected)
    }

    fn of_profile(
        references: ReferenceValues,
        release: Option<PublishedRelease>,
        expected: Profile,
    ) -> Result<Self, PinsError> {
        if references.profile != expected {
            return Err(PinsError::Profile {
                found: references.profile,
                expected,
            });
        }
        Ok(Self {
            references,
            release,
            dropped: Vec::new(),
        })
    }

    /// Drops whatever the registry does not list as valid at the chain's own time. Of a release
    /// that is not listed itself, nothing stays.
    ///
    /// # Errors
    /// `Registry`: a registry that was asked for and cannot be read refuses everything.
    pub async fn narrowed_by(self, registry: &Registry) -> Result<Self, PinsError> {
        let now = registry.time().await?;
        let Self {
            mut references,
            release,
            mut dropped,
        } = self;
        if let Some(record) = release.as_ref().map(PublishedRelease::record) {
            let listed = Listed::Release(ReleaseKey(record.registry_key().0));
            let validity = registry.entry(&listed).await?.validity(now);
            if validity != Validity::Valid {
                references.shapes.clear();
                references.models.clear();
                let name = format!("release {} {}", record.version, record.flavour.name());
                dropped.push(Dropped { name, validity });
            }
        }
        let mut shapes = Vec::new();
        for shape in references.shapes {
            let listed = Listed::Measurement(shape.registers.key());
            let entry = registry.entry(&listed).await?;
            keep(
                entry.validity(now),
                shape.shape.clone(),
                shape,
                &mut shapes,
                &mut dropped,
            );
        }
        let mut models = Vec::new();
        for model in references.models {
            let entry = registry.entry(&Listed::Model(model.digest)).await?;
            keep(
                entry.validity(now),
                model.name.clone(),
                model,
                &mut models,
                &mut dropped,
            );
        }
        references.shapes = shapes;
        references.models = models;
        Ok(Self {
            references,
            release,
            dropped,
        })
    }

    /// The release that the pins come from, when they do not come from a bare file.
    #[must_use]
    pub const fn release(&self) -> Option<&PublishedRelease> {
        self.release.as_ref()
    }

    /// What is accepted.
    #[must_use]
    pub const fn references(&self) -> &ReferenceValues {
        &self.references
    }

    /// What the registry took away.
    #[must_use]
    pub fn dropped(&self) -> &[Dropped] {
        &self.dropped
    }
}

fn keep<T>(
    validity: Validity,
    name: String,
    pin: T,
    kept: &mut Vec<T>,
    dropped: &mut Vec<Dropped>,
) {
    match validity {
        Validity::Valid => kept.push(pin),
        Validity::Unknown | Validity::Pending { .. } | Validity::Revoked { .. } => {
            dropped.push(Dropped { name, validity });
        }
    }
}
