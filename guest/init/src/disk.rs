//! Finding a virtio disk by its serial number, and reading the launch configuration from one.
//!
//! The host chooses the disks, their serials and their bytes. What opens a disk's content is
//! `crate::image`; what the configuration says is `protocol::launch_configuration`'s part.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use messages::boot::BootFailure;
use protocol::launch_configuration::MAX_BYTES;

/// The kernel keeps at most this much of a serial (`VIRTIO_BLK_ID_BYTES`).
const MAX_SERIAL: u64 = 20;
/// Longest text of a `dev` attribute.
const MAX_NUMBER: u64 = 24;
/// More disks than this are not looked at.
const MAX_DISKS: usize = 64;

/// Why a disk was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// No disk has the serial.
    #[error("no disk `{serial}`")]
    Missing {
        /// The serial that was looked for.
        serial: &'static str,
    },
    /// More than one disk has the serial.
    #[error("several disks `{serial}`")]
    Ambiguous {
        /// The serial that was looked for.
        serial: &'static str,
    },
    /// The disk, or what the kernel says of it, cannot be read.
    #[error("disk `{serial}` cannot be read")]
    Unreadable {
        /// The serial that was looked for.
        serial: &'static str,
    },
    /// The length in front of the document is above the limit, or 0.
    #[error("length of the launch configuration is outside its range")]
    Length,
    /// The disk ends before the document does.
    #[error("launch configuration disk is too short")]
    TooShort,
}

impl DiskError {
    /// The code that the host is told.
    #[must_use]
    pub const fn code(&self) -> BootFailure {
        match self {
            Self::Missing { .. } | Self::Ambiguous { .. } | Self::Unreadable { .. } => {
                BootFailure::DiskMissing
            }
            Self::Length | Self::TooShort => BootFailure::ConfigurationMalformed,
        }
    }
}

/// A whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its node.
    pub node: PathBuf,
    /// Its number as device-mapper takes it, `major:minor`.
    pub number: String,
}

/// Finds the one disk with that serial below `/sys/block`, whose nodes lie in `/dev`.
///
/// # Errors
/// A [`DiskError`].
pub fn find(sys_block: &Path, dev: &Path, serial: &'static str) -> Result<Disk, DiskError> {
    let unreadable = |_| DiskError::Unreadable { serial };
    let mut found = None;
    for entry in fs::read_dir(sys_block).map_err(unreadable)?.take(MAX_DISKS) {
        let entry = entry.map_err(unreadable)?;
        let Ok(read) = read_at_most(&entry.path().join("serial"), MAX_SERIAL) else {
            continue; // Device-mapper devices have no serial.
        };
        if read.trim_ascii_end() != serial.as_bytes() {
            continue;
        }
        let number = read_at_most(&entry.path().join("dev"), MAX_NUMBER).map_err(unreadable)?;
        let number = device_number(&number).ok_or(DiskError::Unreadable { serial })?;
        let node = dev.join(entry.file_name());
        if found.replace(Disk { node, number }).is_some() {
            return Err(DiskError::Ambiguous { serial });
        }
    }
    found.ok_or(DiskError::Missing { serial })
}

/// `major:minor` in decimal digits; the text becomes part of a device-mapper table.
fn device_number(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text.trim_ascii_end()).ok()?;
    let (major, minor) = text.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some(format!("{major}:{minor}"))
}

fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the document from the start of its disk: a `u32` length, then that many bytes.
///
/// # Errors
/// `Length` before anything is read for a length that the limit forbids, `TooShort`.
pub fn launch_configuration(mut disk: impl Read) -> Result<Vec<u8>, DiskError> {
    let mut length = [0; 4];
    disk.read_exact(&mut length)
        .map_err(|_| DiskError::TooShort)?;
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| DiskError::Length)?;
    if length == 0 || length > MAX_BYTES {
        return Err(DiskError::Length);
    }
    let mut document = vec![0; length];
    disk.read_exact(&mut document)
        .map_err(|_| DiskError::TooShort)?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    /// `/sys/block` with disks of these names and serials.
    fn disks(serials: &[(&str, Option<&str>)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (at, (name, serial)) in serials.iter().enumerate() {
            let directory = root.path().join(name);
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("dev"), format!("254:{}\n", 16 * at)).unwrap();
            if let Some(serial) = serial {
                fs::write(directory.join("serial"), serial).unwrap();
            }
        }
        root
    }

    #[test]
    fn finds_a_disk_by_its_whole_serial() {
        let root = disks(&[
            ("vda", Some("root")),
            ("vdb", Some("model-0")),
            ("dm-0", None),
        ]);
        let found = |serial| find(root.path(), Path::new("/dev"), serial);
        let expected = Disk {
            node: "/dev/vdb".into(),
            number: "254:16".to_string(),
        };
        assert_eq!(found("model-0"), Ok(expected));
        for serial in ["model", "model-01"] {
            assert_eq!(found(serial), Err(DiskError::Missing { serial }));
        }
    }

    #[test]
    fn refuses_two_disks_of_one_serial() {
        let root = disks(&[("vda", Some("root")), ("vdb", Some("root"))]);
        let refused = find(root.path(), Path::new("/dev"), "root");
        assert_eq!(refused, Err(DiskError::Ambiguous { serial: "root" }));
    }

    #[test]
    fn a_device_number_is_two_numbers_and_nothing_else() {
        assert_eq!(device_number(b"254:16\n").as_deref(), Some("254:16"));
        for text in [
            &b"254"[..],
            b"254:",
            b"254:1 6",
            b"a:b",
            b"254:16 x",
            b"\xff:1",
        ] {
            assert_eq!(device_number(text), None);
        }
    }

    fn disk_with(length: u32, document: &[u8]) -> Vec<u8> {
        let mut disk = length.to_le_bytes().to_vec();
        disk.extend_from_slice(document);
        disk
    }

    #[test]
    fn reads_the_document_and_not_the_padding() {
        let disk = disk_with(2, b"{}\0\0\0");
        assert_eq!(launch_configuration(&disk[..]), Ok(b"{}".to_vec()));
    }

    #[test]
    fn refuses_a_length_outside_its_range_and_a_disk_that_ends_early() {
        for length in [0, 64 * 1024 + 1, u32::MAX] {
            let disk = disk_with(length, b"{}");
            assert_eq!(launch_configuration(&disk[..]), Err(DiskError::Length));
        }
        let disk = disk_with(3, b"{}");
        for end in 0..disk.len() {
            assert_eq!(launch_configuration(&disk[..end]), Err(DiskError::TooShort));
        }
    }
}
