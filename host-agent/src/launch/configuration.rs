//! The launch configuration on the host's side: made, read, and laid out as a disk.
//!
//! The document itself, its limits and its digest are `protocol::launch_configuration`; the model
//! directory's `model.json` is read here. Deliberately not here: any choice of price.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use protocol::digest::ConfigDigest;
use protocol::launch_configuration::{
    self as document, LaunchConfiguration, LaunchConfigurationError,
};
use protocol::verity::VerityParameters;
use serde::Deserialize;

/// Disks are a whole number of these.
const SECTOR_BYTES: usize = 512;
/// `model.json` is at most this long.
const MAX_MODEL_DOCUMENT: u64 = 64 * 1024;

/// The launch configuration or a model's description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is longer than it may be.
    #[error("`{}` is longer than {limit} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// The document is refused, as the guest would refuse it.
    #[error("`{}` is refused ({})", path.display(), source.code())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: LaunchConfigurationError,
    },
    /// The model's description is not of its form.
    #[error("`{}` is not a model description: {reason}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The document does not name this model.
    #[error("the launch configuration's model {at} is not the image in `{}`", path.display())]
    OtherModel {
        /// Position of the model, from 0.
        at: usize,
        /// The model directory.
        path: PathBuf,
    },
    /// There are more or fewer model images than models.
    #[error("the launch configuration names {named} models, {given} model images are given")]
    ModelCount {
        /// In the document.
        named: usize,
        /// On the command line.
        given: usize,
    },
}

/// A checked launch configuration with the bytes that are measured.
#[derive(Debug, Clone)]
pub struct MeasuredConfiguration {
    /// What it says.
    pub document: LaunchConfiguration,
    /// SHA-256 of the document's bytes.
    pub digest: ConfigDigest,
    bytes: Vec<u8>,
}

impl MeasuredConfiguration {
    /// Reads and checks the document exactly as the guest will.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    pub fn read(path: &Path) -> Result<Self, ConfigurationError> {
        let limit = u64::try_from(document::MAX_BYTES).unwrap_or(u64::MAX);
        let bytes = read_bounded(path, limit)?;
        let document =
            LaunchConfiguration::parse(&bytes).map_err(|source| ConfigurationError::Refused {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            document,
            digest: document::config_digest(&bytes),
            bytes,
        })
    }

    /// The disk that carries it: `u32` LE length, the document, zeros up to a whole sector.
    #[must_use]
    pub fn disk(&self) -> Vec<u8> {
        let mut disk = messages::framing::frame(&self.bytes);
        let sectors = disk.len().div_ceil(SECTOR_BYTES);
        disk.resize(sectors.saturating_mul(SECTOR_BYTES), 0);
        disk
    }

    /// Checks that the model images are the ones that the document names, in order.
    ///
    /// # Errors
    /// `ModelCount` or `OtherModel`.
    pub fn check_models(&self, models: &[ModelImage]) -> Result<(), ConfigurationError> {
        let named = &self.document.models;
        if named.len() != models.len() {
            return Err(ConfigurationError::ModelCount {
                named: named.len(),
                given: models.len(),
            });
        }
        for (at, (entry, image)) in named.iter().zip(models).enumerate() {
            if entry.verity != image.verity {
                return Err(ConfigurationError::OtherModel {
                    at,
                    path: image.path.clone(),
                });
            }
        }
        Ok(())
    }
}

/// A model image on this host. What is in it the guest checks, block by block.
#[derive(Debug, Clone)]
pub struct ModelImage {
    /// The image.
    pub path: PathBuf,
    /// Its usual name.
    pub name: String,
    /// Its parameters.
    pub verity: VerityParameters,
}

#[derive(Deserialize)]
struct ModelDescription {
    name: String,
    verity: VerityParameters,
}

impl ModelImage {
    /// Reads `model.json` of a model directory; the image beside it is `model.img`.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    pub fn in_directory(directory: &Path) -> Result<Self, ConfigurationError> {
        let (name, verity) = read_description(&directory.join("model.json"))?;
        Ok(Self {
            path: directory.join("model.img"),
            name,
            verity,
        })
    }
}

/// Name and verity parameters in a `model.json`; further members are the image builder's.
///
/// # Errors
/// [`ConfigurationError`].
pub fn read_description(path: &Path) -> Result<(String, VerityParameters), ConfigurationError> {
    let bytes = read_bounded(path, MAX_MODEL_DOCUMENT)?;
    let found: ModelDescription =
        serde_json::from_slice(&bytes).map_err(|error| ConfigurationError::Model {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    Ok((found.name, found.verity))
}

/// The whole of a file that must not be longer than `limit`.
///
/// # Errors
/// `Read` or `TooLong`.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, ConfigurationError> {
    let unreadable = |source| ConfigurationError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= limit => Ok(bytes),
        Ok(_) | Err(_) => Err(ConfigurationError::TooLong {
            path: path.to_owned(),
            limit,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("launch-config.json");
        std::fs::write(&path, bytes).unwrap();
        (place, path)
    }

    #[test]
    fn the_disk_is_a_length_the_document_and_zeros() {
        let bytes = samples::configuration().to_canonical_bytes().unwrap();
        let (_place, path) = written(&bytes);
        let disk = MeasuredConfiguration::read(&path).unwrap().disk();
        assert_eq!(disk.len() % 512, 0);
        let length = u32::try_from(bytes.len()).unwrap();
        assert_eq!(disk[..4], length.to_le_bytes());
        assert_eq!(disk[4..4 + bytes.len()], bytes);
        assert!(disk[4 + bytes.len()..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn refuses_a_truncated_document_at_every_length() {
        let bytes = samples::configuration().to_canonical_bytes().unwrap();
        for end in 0..bytes.len() {
            let (_place, path) = written(&bytes[..end]);
            let refused = MeasuredConfiguration::read(&path).unwrap_err();
            assert!(
                matches!(refused, ConfigurationError::Refused { .. }),
                "{end} bytes"
            );
        }
    }

    #[test]
    fn refuses_a_document_that_is_too_long_without_reading_all_of_it() {
        let (_place, path) = written(&vec![b' '; document::MAX_BYTES + 1]);
        let refused = MeasuredConfiguration::read(&path).unwrap_err();
        assert!(matches!(refused, ConfigurationError::TooLong { .. }));
    }

    #[test]
    fn refuses_a_model_image_that_the_document_does_not_name() {
        let bytes = samples::configuration().to_canonical_bytes().unwrap();
        let (_place, path) = written(&bytes);
        let configuration = MeasuredConfiguration::read(&path).unwrap();
        let mut image = ModelImage {
            path: PathBuf::from("model.img"),
            name: "m".to_owned(),
            verity: configuration.document.models[0].verity,
        };
        assert!(
            configuration
                .check_models(std::slice::from_ref(&image))
                .is_ok()
        );
        image.verity.root[0] ^= 1;
        assert!(matches!(
            configuration.check_models(&[image]).unwrap_err(),
            ConfigurationError::OtherModel { at: 0, .. }
        ));
        assert!(matches!(
            configuration.check_models(&[]).unwrap_err(),
            ConfigurationError::ModelCount { named: 1, given: 0 }
        ));
    }
}
