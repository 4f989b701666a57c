//! The image's artifacts: read from its manifest, checked against it, and held so that what was
//! hashed is what is launched.
//!
//! Kernel, initrd and firmware are copied into the state directory while they are hashed; the root
//! disk stays open and is launched through that very descriptor. In the guest dm-verity checks
//! each block of it again. Deliberately not here: expected measurements (`measurements`), and any
//! trust in the manifest: it protects the owner of this host from accidents, nobody else.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use protocol::reference_values::Profile;
use protocol::verity::VerityParameters;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::configuration::{ConfigurationError, read_bounded};

/// `manifest.json` is at most this long.
const MAX_MANIFEST: u64 = 1024 * 1024;
/// A kernel's command line is at most this long (COMMAND_LINE_SIZE of x86).
const MAX_COMMAND_LINE: usize = 2047;
const ROOT_PARAMETER: &str = "cocoon.root=";
const KERNEL: &str = "bzImage";
const FIRMWARE: &str = "OVMF.fd";
const ROOT: &str = "root.img";

/// The image cannot be launched.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The manifest cannot be read.
    #[error("cannot read the image's manifest")]
    Unreadable(#[from] ConfigurationError),
    /// The manifest is not of its form.
    #[error("`{}` is not an image manifest: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The manifest lacks an artifact.
    #[error("the image's manifest does not list `{name}`")]
    NotListed {
        /// The artifact.
        name: &'static str,
    },
    /// An artifact cannot be read or copied.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An artifact is not the one of the manifest.
    #[error("`{}` is not the file that the image's manifest lists", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// The command line is not of the specified form.
    #[error("the image's command line is malformed: {reason}")]
    CommandLine {
        /// Why.
        reason: &'static str,
    },
}

/// What is read of an image's `manifest.json`; further members are the image builder's.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    version: u16,
    /// Whether it is meant for clients.
    pub profile: Profile,
    /// The kernel's command line.
    pub cmdline: String,
    files: BTreeMap<String, Listed>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Listed {
    Plain(String),
    Described { sha256: String },
}

impl Manifest {
    /// Reads the manifest of an image directory.
    ///
    /// # Errors
    /// [`ArtifactError`].
    pub fn read(image: &Path) -> Result<Self, ArtifactError> {
        let path = image.join("manifest.json");
        let bytes = read_bounded(&path, MAX_MANIFEST)?;
        let malformed = |reason: String| ArtifactError::Manifest {
            path: path.clone(),
            reason,
        };
        let manifest: Self =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if manifest.version != 1 {
            return Err(malformed(format!("version {}", manifest.version)));
        }
        check_command_line(&manifest.cmdline)?;
        Ok(manifest)
    }

    fn digest(&self, name: &'static str) -> Result<[u8; 32], ArtifactError> {
        let listed = self.files.get(name);
        let text = match listed.ok_or(ArtifactError::NotListed { name })? {
            Listed::Plain(text) | Listed::Described { sha256: text } => text,
        };
        protocol::digest::parse_hex(text).map_err(|_| ArtifactError::NotListed { name })
    }

    /// The one file whose name begins with `initrd`, with its digest.
    fn initrd(&self) -> Result<(&str, [u8; 32]), ArtifactError> {
        let missing = ArtifactError::NotListed { name: "initrd" };
        let mut found = self.files.iter().filter(|(name, _)| {
            name.starts_with("initrd") && Path::new(name.as_str()).components().count() == 1
        });
        let (Some((name, listed)), None) = (found.next(), found.next()) else {
            return Err(missing);
        };
        let (Listed::Plain(text) | Listed::Described { sha256: text }) = listed;
        let digest = protocol::digest::parse_hex(text).map_err(|_| missing)?;
        Ok((name, digest))
    }
}

/// Where an image's artifacts lie.
#[derive(Debug, Clone)]
pub struct ImagePaths {
    /// The image directory.
    pub image: PathBuf,
    /// The firmware, when it does not lie in the image directory.
    pub firmware: Option<PathBuf>,
}

impl ImagePaths {
    fn firmware(&self) -> PathBuf {
        let own = || self.image.join(FIRMWARE);
        self.firmware.clone().unwrap_or_else(own)
    }
}

/// Artifacts that were checked; what these paths name cannot be exchanged by renaming.
#[derive(Debug)]
pub struct Artifacts {
    /// The firmware.
    pub firmware: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// The initrd.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub command_line: String,
    /// The disk with the root file system.
    pub root: PathBuf,
    /// Keeps the descriptor alive that [`Self::root`] names.
    held: Option<File>,
}

impl Artifacts {
    /// Checks every artifact and names the originals: for showing what would run.
    ///
    /// # Errors
    /// [`ArtifactError`].
    pub fn check(paths: &ImagePaths, manifest: &Manifest) -> Result<Self, ArtifactError> {
        let (initrd, initrd_digest) = manifest.initrd()?;
        let found = Self {
            firmware: paths.firmware(),
            kernel: paths.image.join(KERNEL),
            initrd: paths.image.join(initrd),
            command_line: manifest.cmdline.clone(),
            root: paths.image.join(ROOT),
            held: None,
        };
        for (path, digest) in [
            (&found.firmware, manifest.digest(FIRMWARE)?),
            (&found.kernel, manifest.digest(KERNEL)?),
            (&found.initrd, initrd_digest),
            (&found.root, manifest.digest(ROOT)?),
        ] {
            hash_into(&open(path)?, &mut io::sink(), path, &digest)?;
        }
        Ok(found)
    }

    /// Checks every artifact and seals it for a launch: copies into `directory`, which only this
    /// user can enter, and an open descriptor for the disk.
    ///
    /// # Errors
    /// [`ArtifactError`].
    pub fn seal(
        paths: &ImagePaths,
        manifest: &Manifest,
        directory: &Path,
    ) -> Result<Self, ArtifactError> {
        let (initrd, initrd_digest) = manifest.initrd()?;
        let copy = |from: PathBuf, name: &str, digest: &[u8; 32]| {
            let to = directory.join(name);
            copy_checked(&from, &to, digest).map(|()| to)
        };
        let root = paths.image.join(ROOT);
        let held = open(&root)?;
        hash_into(&held, &mut io::sink(), &root, &manifest.digest(ROOT)?)?;
        Ok(Self {
            firmware: copy(paths.firmware(), FIRMWARE, &manifest.digest(FIRMWARE)?)?,
            kernel: copy(paths.image.join(KERNEL), KERNEL, &manifest.digest(KERNEL)?)?,
            initrd: copy(paths.image.join(initrd), initrd, &initrd_digest)?,
            command_line: manifest.cmdline.clone(),
            root: descriptor_path(&held),
            held: Some(held),
        })
    }

    /// Whether a descriptor is held for the root disk.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.held.is_some()
    }
}

/// A path by which this process's children open the very file that `file` has open.
fn descriptor_path(file: &File) -> PathBuf {
    let descriptor = file.as_raw_fd();
    PathBuf::from(format!("/proc/{}/fd/{descriptor}", std::process::id()))
}

fn open(path: &Path) -> Result<File, ArtifactError> {
    File::open(path).map_err(|source| ArtifactError::File {
        action: "open",
        path: path.to_owned(),
        source,
    })
}

fn copy_checked(from: &Path, to: &Path, digest: &[u8; 32]) -> Result<(), ArtifactError> {
    let failed = |action| {
        move |source| ArtifactError::File {
            action,
            path: to.to_owned(),
            source,
        }
    };
    if let Err(error) = std::fs::remove_file(to)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed("replace")(error));
    }
    let mut copy = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(failed("create"))?;
    hash_into(&open(from)?, &mut copy, from, digest)
}

/// Copies `from` to `to` and compares what was copied with `digest`.
fn hash_into(
    from: &File,
    to: &mut impl Write,
    path: &Path,
    digest: &[u8; 32],
) -> Result<(), ArtifactError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut from = from;
    loop {
        let failed = |action| {
            move |source| ArtifactError::File {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let length = from.read(&mut buffer).map_err(failed("read"))?;
        let Some(part) = buffer.get(..length).filter(|part| !part.is_empty()) else {
            break;
        };
        hash.update(part);
        to.write_all(part).map_err(failed("copy"))?;
    }
    if hash.finalize().as_slice() == digest {
        Ok(())
    } else {
        Err(ArtifactError::Differs {
            path: path.to_owned(),
        })
    }
}

/// One root with readable parameters, printable ASCII, not too long.
fn check_command_line(line: &str) -> Result<(), ArtifactError> {
    let refused = |reason| Err(ArtifactError::CommandLine { reason });
    if line.len() > MAX_COMMAND_LINE {
        return refused("too long");
    }
    if !line.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return refused("a character that is not printable ASCII");
    }
    let mut roots = line
        .split(' ')
        .filter_map(|token| token.strip_prefix(ROOT_PARAMETER));
    match (roots.next(), roots.next()) {
        (Some(root), None) if root.parse::<VerityParameters>().is_ok() => Ok(()),
        (Some(_), None) => refused("the root's parameters"),
        (None, _) => refused("no root"),
        (Some(_), Some(_)) => refused("two roots"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::digest::write_hex;
    use std::fmt;

    struct Hex([u8; 32]);

    impl fmt::Display for Hex {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_hex(&self.0, f)
        }
    }

    const FILES: [&str; 4] = ["bzImage", "initrd.cpio.zst", "root.img", "OVMF.fd"];

    fn image() -> (tempfile::TempDir, ImagePaths) {
        let place = tempfile::tempdir().unwrap();
        let image = place.path().join("image");
        std::fs::create_dir(&image).unwrap();
        let mut listed = Vec::new();
        for name in FILES {
            let content = format!("content of {name}");
            std::fs::write(image.join(name), &content).unwrap();
            let digest = Hex(Sha256::digest(content).into());
            listed.push(format!("\"{name}\": \"{digest}\""));
        }
        let zeros = "00".repeat(32);
        let manifest = format!(
            "{{\"version\": 1, \"profile\": \"research\", \"packages\": [],
              \"cmdline\": \"panic=-1 cocoon.root=sha256:4096:7:7:{zeros}:{zeros}\",
              \"files\": {{{}}}}}",
            listed.join(", ")
        );
        std::fs::write(image.join("manifest.json"), manifest).unwrap();
        let firmware = None;
        (place, ImagePaths { image, firmware })
    }

    fn sealed(place: &Path, paths: &ImagePaths) -> Result<Artifacts, ArtifactError> {
        let directory = place.join("launch");
        std::fs::create_dir_all(&directory).unwrap();
        Artifacts::seal(paths, &Manifest::read(&paths.image)?, &directory)
    }

    #[test]
    fn seals_copies_and_holds_the_disk_that_was_hashed() {
        let (place, paths) = image();
        let artifacts = sealed(place.path(), &paths).unwrap();
        for name in FILES {
            let path = paths.image.join(name);
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "another").unwrap();
        }
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&artifacts.kernel), "content of bzImage");
        assert_eq!(read(&artifacts.initrd), "content of initrd.cpio.zst");
        assert_eq!(read(&artifacts.firmware), "content of OVMF.fd");
        assert_eq!(read(&artifacts.root), "content of root.img");
    }

    #[test]
    fn refuses_each_artifact_with_one_changed_byte() {
        for name in FILES {
            let (place, paths) = image();
            let path = paths.image.join(name);
            let mut content = std::fs::read(&path).unwrap();
            content[3] ^= 1;
            std::fs::write(&path, content).unwrap();
            let refused = sealed(place.path(), &paths).unwrap_err();
            let manifest = Manifest::read(&paths.image).unwrap();
            let also = Artifacts::check(&paths, &manifest).unwrap_err();
            for error in [refused, also] {
                assert!(
                    matches!(&error, ArtifactError::Differs { path: found } if *found == path),
                    "{name}: {error}"
                );
            }
        }
    }

    #[test]
    fn firmware_from_elsewhere_must_be_the_listed_one() {
        let (place, mut paths) = image();
        let elsewhere = place.path().join("other.fd");
        std::fs::write(&elsewhere, "content of OVMF.fd").unwrap();
        paths.firmware = Some(elsewhere.clone());
        assert!(sealed(place.path(), &paths).is_ok());
        std::fs::write(&elsewhere, "other").unwrap();
        assert!(sealed(place.path(), &paths).is_err());
    }

    #[test]
    fn refuses_a_manifest_that_lists_less() {
        for name in ["bzImage", "root.img", "OVMF.fd", "initrd.cpio.zst"] {
            let (place, paths) = image();
            let manifest = paths.image.join("manifest.json");
            let text = std::fs::read_to_string(&manifest).unwrap();
            std::fs::write(&manifest, text.replace(name, "other")).unwrap();
            let refused = sealed(place.path(), &paths).unwrap_err();
            assert!(matches!(refused, ArtifactError::NotListed { .. }), "{name}");
        }
    }

    #[test]
    fn refuses_command_lines_without_one_readable_root() {
        let zeros = "00".repeat(32);
        let root = format!("cocoon.root=sha256:4096:7:7:{zeros}:{zeros}");
        assert!(check_command_line(&format!("panic=-1 {root}")).is_ok());
        for line in [
            String::new(),
            "cocoon.root=sha256:4096:7".to_owned(),
            format!("{root} {root}"),
            format!("{root}\ninit=other"),
            format!("{root} {}", "x".repeat(2048)),
        ] {
            assert!(check_command_line(&line).is_err(), "{line}");
        }
    }
}
