//! Opening the root and a model through dm-verity, and taking a model away again.
//!
//! Parameters come from a measured place only; a superblock on the disk is never read. Two ways
//! to meet a wrong block:
//! - The **root** is read once from end to end while a wrong block is only an I/O error, so that
//!   the host can be told `boot-verity-corrupt`. Then the same device gets its lasting table,
//!   under which a wrong block stops the kernel at once (`panic_on_corruption`).
//! - A **model** keeps the table of I/O errors, since it is large and read exactly once, by
//!   engine, which cannot load what it cannot read. The device remembers that a block was wrong;
//!   it is asked before the machine becomes ready and whenever a program ends before that.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use messages::boot::BootFailure;
use protocol::verity::{BLOCK_BYTES, VerityParameters};
use sys::CallFailed;
use sys::device_mapper::{DeviceMapper, Target};
use sys::mount::{self, Contents};

use crate::disk::Disk;

const CONTROL: &str = "/dev/mapper/control";
/// `errno` of a block that verity refused.
const EIO: i32 = 5;
/// `errno` of a device or mount that is still in use.
const EBUSY: i32 = 16;
/// How long a device may stay in use after its last user has closed it.
const RELEASE: Duration = Duration::from_secs(5);
/// How much of the root is read at once.
const CHUNK: usize = 1 << 20;

/// What the kernel does when a block is not what its root hash says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCorruption {
    /// The read fails, and the device remembers it.
    Fail,
    /// The kernel panics, which ends the machine.
    Panic,
}

/// Why an image was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The verity device cannot be made.
    #[error("cannot open the verity device `{name}`: {cause}")]
    Open {
        /// Name of the device.
        name: &'static str,
        /// The failed call.
        cause: CallFailed,
    },
    /// A block is not what the root hash says.
    #[error("a block of `{name}` is not what its root hash says")]
    Corrupt {
        /// Name of the device.
        name: &'static str,
    },
    /// The image is whole, but cannot be mounted.
    #[error("cannot mount the image `{name}`: {cause}")]
    Mount {
        /// Name of the device.
        name: &'static str,
        /// The failed call.
        cause: CallFailed,
    },
    /// The image cannot be taken away.
    #[error("cannot detach the image `{name}`: {cause}")]
    Detach {
        /// Name of the device.
        name: &'static str,
        /// The failed call.
        cause: CallFailed,
    },
}

impl ImageError {
    /// The code that the host is told.
    #[must_use]
    pub const fn code(&self) -> BootFailure {
        match self {
            Self::Open { .. } | Self::Mount { .. } => BootFailure::VerityOpen,
            Self::Corrupt { .. } => BootFailure::VerityCorrupt,
            Self::Detach { .. } => BootFailure::System,
        }
    }
}

/// The table of a verity device whose data and hashes lie on one disk.
#[must_use]
pub fn verity_target(parameters: &VerityParameters, disk: &str, then: OnCorruption) -> Target {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let option = match then {
        OnCorruption::Fail => "",
        OnCorruption::Panic => " 1 panic_on_corruption",
    };
    let text = format!(
        "1 {disk} {disk} {BLOCK_BYTES} {BLOCK_BYTES} {} {} sha256 {} {}{option}",
        parameters.data_blocks,
        parameters.hash_start_block,
        hex(&parameters.root),
        hex(&parameters.salt),
    );
    Target {
        kind: "verity",
        sectors: parameters
            .data_blocks
            .saturating_mul(u64::from(BLOCK_BYTES / 512)),
        parameters: text,
    }
}

/// An image that is open.
#[derive(Debug)]
pub struct OpenImage {
    name: &'static str,
    mapper: DeviceMapper,
    mount_point: PathBuf,
}

impl OpenImage {
    /// Opens the root image and mounts it; every block has been read once by then.
    ///
    /// # Errors
    /// An [`ImageError`].
    pub fn root(
        parameters: &VerityParameters,
        disk: &Disk,
        mount_point: &Path,
    ) -> Result<Self, ImageError> {
        const NAME: &str = "root";
        let open = |cause| ImageError::Open { name: NAME, cause };
        let (mapper, node) = device(NAME, parameters, disk).map_err(open)?;
        read_whole(&node, parameters).map_err(|()| ImageError::Corrupt { name: NAME })?;
        let lasting = verity_target(parameters, &disk.number, OnCorruption::Panic);
        mapper.load(NAME, &lasting).map_err(open)?;
        mapper.resume(NAME).map_err(open)?;
        mount::image(&node, mount_point, Contents::Programs)
            .map_err(|cause| ImageError::Mount { name: NAME, cause })?;
        Ok(Self {
            name: NAME,
            mapper,
            mount_point: mount_point.to_path_buf(),
        })
    }

    /// Opens a model image and mounts it.
    ///
    /// # Errors
    /// An [`ImageError`].
    pub fn model(
        name: &'static str,
        parameters: &VerityParameters,
        disk: &Disk,
        mount_point: &Path,
    ) -> Result<Self, ImageError> {
        let opened = device(name, parameters, disk);
        let (mapper, node) = opened.map_err(|cause| ImageError::Open { name, cause })?;
        let image = Self {
            name,
            mapper,
            mount_point: mount_point.to_path_buf(),
        };
        match mount::image(&node, mount_point, Contents::Files) {
            Ok(()) => image.check().map(|()| image),
            Err(CallFailed { errno: EIO, .. }) => Err(ImageError::Corrupt { name }),
            Err(cause) => {
                image.check()?;
                Err(ImageError::Mount { name, cause })
            }
        }
    }

    /// Whether every block that was read so far is what the root hash says.
    ///
    /// # Errors
    /// `Corrupt` when one was not, `Open` when the device does not say.
    pub fn check(&self) -> Result<(), ImageError> {
        let name = self.name;
        let status = self.mapper.status(name);
        let status = status.map_err(|cause| ImageError::Open { name, cause })?;
        if is_intact(&status) {
            return Ok(());
        }
        Err(ImageError::Corrupt { name })
    }

    /// Unmounts the image and removes its device, so that nothing reads the disk any more.
    ///
    /// # Errors
    /// `Corrupt` when a block was wrong, `Detach` while something still holds it.
    pub fn detach(self) -> Result<(), ImageError> {
        self.check()?;
        let name = self.name;
        released(|| mount::unmount(&self.mount_point))
            .and_then(|()| released(|| self.mapper.remove(name)))
            .map_err(|cause| ImageError::Detach { name, cause })
    }
}

/// `V` while no block was wrong, `C` afterwards (`drivers/md/dm-verity-target.c`).
fn is_intact(status: &str) -> bool {
    status.split_ascii_whitespace().next() == Some("V")
}

fn device(
    name: &'static str,
    parameters: &VerityParameters,
    disk: &Disk,
) -> Result<(DeviceMapper, PathBuf), CallFailed> {
    let mapper = DeviceMapper::open(Path::new(CONTROL))?;
    let number = mapper.create(name)?;
    let target = verity_target(parameters, &disk.number, OnCorruption::Fail);
    mapper.load(name, &target)?;
    mapper.resume(name)?;
    Ok((mapper, PathBuf::from(format!("/dev/dm-{}", number.minor))))
}

/// Reads every data block once; an error stands for a wrong block.
fn read_whole(node: &Path, parameters: &VerityParameters) -> Result<(), ()> {
    let mut device = File::open(node).map_err(drop)?;
    let mut chunk = vec![0; CHUNK];
    let mut left = parameters
        .data_blocks
        .saturating_mul(u64::from(BLOCK_BYTES));
    while left > 0 {
        let read = device.read(&mut chunk).map_err(drop)?;
        let read = u64::try_from(read).map_err(drop)?;
        if read == 0 {
            return Err(());
        }
        left = left.saturating_sub(read);
    }
    Ok(())
}

/// Repeats a call while the kernel still sees a user that has just gone.
fn released(mut call: impl FnMut() -> Result<(), CallFailed>) -> Result<(), CallFailed> {
    let start = Instant::now();
    loop {
        match call() {
            Err(CallFailed { errno: EBUSY, .. }) if start.elapsed() < RELEASE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

/// Makes a directory unless it is there.
///
/// # Errors
/// That of the call.
pub fn ensure_directory(path: &Path) -> std::io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETERS: VerityParameters = VerityParameters {
        data_blocks: 100,
        hash_start_block: 101,
        salt: [0x0a; 32],
        root: [0xb0; 32],
    };

    #[test]
    fn the_table_names_every_parameter_and_reads_no_superblock() {
        let (root, salt) = ("b0".repeat(32), "0a".repeat(32));
        let target = verity_target(&PARAMETERS, "254:0", OnCorruption::Panic);
        let expected =
            format!("1 254:0 254:0 4096 4096 100 101 sha256 {root} {salt} 1 panic_on_corruption");
        assert_eq!(target.parameters, expected);
        assert_eq!((target.kind, target.sectors), ("verity", 800));
    }

    #[test]
    fn a_device_that_only_fails_has_no_option() {
        let target = verity_target(&PARAMETERS, "254:0", OnCorruption::Fail);
        assert!(target.parameters.ends_with(&"0a".repeat(32)));
    }

    #[test]
    fn anything_but_v_is_corrupt() {
        assert!(is_intact("V"));
        assert!(is_intact("V -"));
        for status in ["C", "", "VC", "C V"] {
            assert!(!is_intact(status));
        }
    }

    #[test]
    fn a_device_that_ends_early_is_not_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), vec![0; 100 * 4096]).unwrap();
        assert_eq!(read_whole(file.path(), &PARAMETERS), Ok(()));
        fs::write(file.path(), vec![0; 100 * 4096 - 1]).unwrap();
        assert_eq!(read_whole(file.path(), &PARAMETERS), Err(()));
    }

    #[test]
    fn waits_only_for_what_is_busy() {
        let failed = |errno| CallFailed {
            call: "test",
            errno,
        };
        let mut answers = [Err(failed(EBUSY)), Err(failed(EBUSY)), Ok(())].into_iter();
        assert_eq!(released(|| answers.next().unwrap()), Ok(()));
        let mut calls = 0;
        let refused = released(|| {
            calls += 1;
            Err(failed(EIO))
        });
        assert_eq!((refused, calls), (Err(failed(EIO)), 1));
    }
}
