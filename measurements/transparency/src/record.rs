//! What a leaf of the log says: one release, by the digests of its files.
//!
//! Eight lines, one form: a text that is not written exactly as it is read is refused, so that a
//! release has one leaf hash.

use protocol::reference_values::{ImageVersion, Profile};
use sha2::{Digest as _, Sha256};

use crate::merkle::{self, TreeHash};

/// A record is at most this long.
pub const MAX_RECORD_BYTES: usize = 1024;

const HEADER: &str = "cocoon-release/v1";
const DIGEST_DOMAIN: &[u8] = b"cocoon/release/v1\0";

/// SHA-256 of a published file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileDigest(pub [u8; 32]);

impl FileDigest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl std::fmt::Display for FileDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        protocol::digest::write_hex(&self.0, f)
    }
}

impl std::fmt::Debug for FileDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Which machines an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Without GPUs.
    Cpu,
    /// With NVIDIA GPUs.
    Gpu,
}

impl Flavour {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }
}

/// Text that is not a release's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a release's record: {reason}")]
pub struct RecordError {
    /// What is wrong.
    pub reason: &'static str,
}

/// One release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseRecord {
    /// Version of the image.
    pub version: ImageVersion,
    /// Flavour of the image.
    pub flavour: Flavour,
    /// What the image is meant for.
    pub profile: Profile,
    /// Digest of `manifest.json`, which has the digest of every artifact.
    pub manifest: FileDigest,
    /// Digest of `reference-values.json`.
    pub reference_values: FileDigest,
    /// Digest of `sbom.cdx.json`.
    pub sbom: FileDigest,
    /// Digest of `build-inputs.json`.
    pub build_inputs: FileDigest,
}

impl ReleaseRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let refused = |reason| RecordError { reason };
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(refused("too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| refused("not text"))?;
        let mut lines = text.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(refused("another first line"));
        }
        let mut value = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name));
            line.and_then(|line| line.strip_prefix(' '))
                .ok_or(refused("a line is missing, or not in its place"))
        };
        let record = Self {
            version: value("version")?
                .parse()
                .map_err(|_| refused("not a version"))?,
            flavour: flavour(value("flavour")?).ok_or(refused("not a flavour"))?,
            profile: profile(value("profile")?).ok_or(refused("not a profile"))?,
            manifest: digest(value("manifest")?)?,
            reference_values: digest(value("reference-values")?)?,
            sbom: digest(value("sbom")?)?,
            build_inputs: digest(value("build-inputs")?)?,
        };
        if record.to_string() == text {
            Ok(record)
        } else {
            Err(refused("not in the one form"))
        }
    }

    /// Its hash in the log.
    #[must_use]
    pub fn leaf_hash(&self) -> TreeHash {
        merkle::leaf_hash(self.to_string().as_bytes())
    }

    /// What names it in the registry contract.
    #[must_use]
    pub fn registry_key(&self) -> FileDigest {
        let hash = Sha256::new().chain_update(DIGEST_DOMAIN);
        FileDigest(hash.chain_update(self.to_string()).finalize().into())
    }
}

impl std::fmt::Display for ReleaseRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let profile = match self.profile {
            Profile::Release => "release",
            Profile::Research => "research",
        };
        writeln!(f, "{HEADER}\nversion {}", self.version)?;
        writeln!(f, "flavour {}\nprofile {profile}", self.flavour.name())?;
        writeln!(f, "manifest {}", self.manifest)?;
        writeln!(f, "reference-values {}", self.reference_values)?;
        writeln!(f, "sbom {}", self.sbom)?;
        writeln!(f, "build-inputs {}", self.build_inputs)
    }
}

/// The flavour of that name.
#[must_use]
pub fn flavour(name: &str) -> Option<Flavour> {
    [Flavour::Cpu, Flavour::Gpu]
        .into_iter()
        .find(|flavour| flavour.name() == name)
}

/// The profile of that name.
#[must_use]
pub fn profile(name: &str) -> Option<Profile> {
    match name {
        "release" => Some(Profile::Release),
        "research" => Some(Profile::Research),
        _ => None,
    }
}

fn digest(text: &str) -> Result<FileDigest, RecordError> {
    protocol::digest::parse_hex(text)
        .map(FileDigest)
        .map_err(|_| RecordError {
            reason: "not 64 lower-case hex digits",
        })
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]

    use super::*;

    pub(crate) fn record(number: u8) -> ReleaseRecord {
        ReleaseRecord {
            version: format!("0.1.{number}").parse().unwrap(),
            flavour: Flavour::Cpu,
            profile: Profile::Release,
            manifest: FileDigest([1; 32]),
            reference_values: FileDigest([2; 32]),
            sbom: FileDigest([3; 32]),
            build_inputs: FileDigest([4; 32]),
        }
    }

    #[test]
    fn a_record_has_one_form() {
        let text = record(7).to_string();
        assert_eq!(text.lines().count(), 8);
        assert_eq!(ReleaseRecord::parse(text.as_bytes()), Ok(record(7)));
        for (from, to) in [
            ("v1\n", "v2\n"),
            ("0.1.7", "0.1.07"),
            ("flavour cpu", "flavour tpu"),
            (
                "flavour cpu\nprofile release",
                "profile release\nflavour cpu",
            ),
            ("profile release", "profile test"),
            ("manifest 01", "manifest 0"),
            ("sbom 03", "sbom 0X"),
            ("sbom ", "sbom  "),
            ("\nbuild-inputs", "\r\nbuild-inputs"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert!(ReleaseRecord::parse(changed.as_bytes()).is_err(), "{to}");
        }
        for more in ["\n", "more\n", " "] {
            assert!(ReleaseRecord::parse(format!("{text}{more}").as_bytes()).is_err());
        }
        for end in 0..text.len() {
            assert!(
                ReleaseRecord::parse(&text.as_bytes()[..end]).is_err(),
                "{end}"
            );
        }
    }

    #[test]
    fn the_registry_names_a_release_by_another_hash_than_the_log() {
        assert_ne!(record(1).registry_key().0, record(1).leaf_hash().0);
        assert_ne!(record(1).registry_key(), record(2).registry_key());
    }
}
