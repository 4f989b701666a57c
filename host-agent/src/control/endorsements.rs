//! Endorsements from a directory: whichever of the known files are there, bounded.
//!
//! Trusted only by their signatures, which the client checks. Deliberately not here: fetching them.

use std::io;
use std::path::{Path, PathBuf};

use protocol::endorsements::{EndorsementKind, Endorsements, MAX_BYTES};

use crate::launch::configuration::{ConfigurationError, read_bounded};

/// Every file that is looked for, and what it holds.
pub const FILES: [(&str, EndorsementKind); 7] = [
    ("vcek.der", EndorsementKind::SnpVcek),
    ("ask.der", EndorsementKind::SnpAsk),
    ("ark.der", EndorsementKind::SnpArk),
    ("crl.der", EndorsementKind::SnpCrl),
    ("tdx-collateral.json", EndorsementKind::TdxCollateral),
    ("gpu-endorsements.bin", EndorsementKind::Nvidia),
    ("machine-grant.bin", EndorsementKind::MachineGrant),
];

/// The endorsements cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndorsementsError {
    /// A file cannot be read, or is too long.
    #[error("cannot read an endorsement")]
    File(#[from] ConfigurationError),
    /// All files together are too long.
    #[error("the endorsements in `{}` are longer than {MAX_BYTES} bytes", directory.display())]
    TooLong {
        /// Where they lie.
        directory: PathBuf,
    },
}

/// Reads the directory; a file that is not there is left out.
///
/// # Errors
/// [`EndorsementsError`].
pub fn read(directory: &Path) -> Result<Endorsements, EndorsementsError> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let mut found = Endorsements::default();
    for (name, kind) in FILES {
        let bytes = match read_bounded(&directory.join(name), limit) {
            Ok(bytes) => bytes,
            Err(ConfigurationError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        found
            .insert(kind, bytes)
            .map_err(|_| EndorsementsError::TooLong {
                directory: directory.to_owned(),
            })?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_files_that_are_there_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        for (name, bytes) in [("vcek.der", "v"), ("ark.der", "root"), ("other.der", "x")] {
            std::fs::write(place.path().join(name), bytes).unwrap();
        }
        let found = read(place.path()).unwrap();
        assert_eq!(found.get(EndorsementKind::SnpVcek), Some(&b"v"[..]));
        assert_eq!(found.get(EndorsementKind::SnpArk), Some(&b"root"[..]));
        assert_eq!(found.get(EndorsementKind::SnpAsk), None);
    }

    #[test]
    fn refuses_more_than_the_protocol_carries() {
        let place = tempfile::tempdir().unwrap();
        let half = vec![0; MAX_BYTES / 2 + 1];
        std::fs::write(place.path().join("vcek.der"), &half).unwrap();
        std::fs::write(place.path().join("ask.der"), &half).unwrap();
        let refused = read(place.path()).unwrap_err();
        assert!(matches!(refused, EndorsementsError::TooLong { .. }));
        std::fs::write(place.path().join("vcek.der"), vec![0; MAX_BYTES + 1]).unwrap();
        let refused = read(place.path()).unwrap_err();
        assert!(matches!(refused, EndorsementsError::File(_)));
    }
}
