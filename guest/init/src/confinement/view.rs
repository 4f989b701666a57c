//! What a program sees of the file system beside itself: nothing, but for gpu-evidence and the
//! engine with GPUs, which need a loader, libraries and nodes of the driver.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use landlock::{AccessFs, BitFlags};

use super::{ConfinementError, Role};

/// The loader, and the directory of the libraries, of the measured root.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
const LIBRARIES: &str = "/lib/x86_64-linux-gnu";
/// What the driver says of itself.
const DRIVER: &str = "/proc/driver/nvidia";
/// The engine's kernels for GPUs, on the measured root.
const KERNELS: &str = "/kernels";

/// What may be done with a part of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A loader: read, and run as a part of the one exec.
    Load,
    /// A file, or every file of a directory, is read.
    Read,
    /// A directory is listed and its files are read.
    List,
    /// A device is read, written and given requests.
    Device,
}

impl Use {
    pub(super) fn access(self) -> BitFlags<AccessFs> {
        match self {
            Self::Load => AccessFs::ReadFile | AccessFs::Execute,
            Self::Read => AccessFs::ReadFile.into(),
            Self::List => AccessFs::ReadFile | AccessFs::ReadDir,
            Self::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
        }
    }
}

/// A file or directory that stays in sight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where init sees it.
    pub from: PathBuf,
    /// Where the program sees it; absolute.
    pub at: PathBuf,
    /// What the program may do with it.
    pub used: Use,
}

impl Seen {
    /// The same path for both.
    #[must_use]
    pub fn same(path: &str, used: Use) -> Self {
        Self {
            from: path.into(),
            at: path.into(),
            used,
        }
    }

    pub(super) fn open(&self, role: Role) -> Result<File, ConfinementError> {
        let mut options = File::options();
        options.read(true);
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_PATH);
        options
            .open(&self.from)
            .map_err(|error| unseen(role, &error))
    }
}

/// The loader and the libraries, which a program that is not static needs.
#[must_use]
pub fn libraries() -> Vec<Seen> {
    vec![
        Seen::same(LOADER, Use::Load),
        Seen::same(LIBRARIES, Use::Read),
    ]
}

/// Where init makes the nodes that are a program's own, if it has any: `modules` says which.
#[must_use]
pub const fn nodes(role: Role) -> Option<&'static str> {
    match role {
        Role::Serve | Role::Engine => None,
        Role::EngineGpu => Some("/dev/engine-gpu"),
        Role::GpuEvidence => Some("/dev/gpu-evidence"),
    }
}

/// What a program of `role` sees.
pub(super) fn of(role: Role) -> Result<Vec<Seen>, ConfinementError> {
    let Some(nodes) = nodes(role) else {
        return Ok(Vec::new());
    };
    let mut seen = libraries();
    seen.push(Seen::same(DRIVER, Use::List));
    if role == Role::EngineGpu {
        seen.push(Seen::same(KERNELS, Use::Read));
    }
    for node in fs::read_dir(nodes).map_err(|error| unseen(role, &error))? {
        let from = node.map_err(|error| unseen(role, &error))?.path();
        let name = from.file_name().unwrap_or(OsStr::new("nvidia"));
        seen.push(Seen {
            at: Path::new("/dev").join(name),
            from,
            used: Use::Device,
        });
    }
    Ok(seen)
}

fn unseen(role: Role, error: &std::io::Error) -> ConfinementError {
    ConfinementError::NoView {
        role,
        errno: error.raw_os_error().unwrap_or(0),
    }
}
