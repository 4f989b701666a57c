//! The state directory: where the client's few files lie, and how they are written.
//!
//! Every file is readable by its owner alone. A file is replaced whole or not at all, and what was
//! written survives a power cut once a function here returned. What the files mean is not here.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why the state directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The operating system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is longer than anything that is written there.
    #[error("`{}` is longer than {limit} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// A file is not of its form.
    #[error("`{}` is not of the expected form", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// Another program is using it.
    #[error("`{}` is in use by another program", path.display())]
    InUse {
        /// The locked path.
        path: PathBuf,
    },
    /// It exists and must not be replaced.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
}

impl StateError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "state-io",
            Self::TooLong { .. } => "state-too-long",
            Self::Malformed { .. } => "state-malformed",
            Self::InUse { .. } => "state-in-use",
            Self::Exists { .. } => "state-exists",
        }
    }
}

/// Attaches what was tried to an error of the operating system.
fn doing<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> StateError + 'p {
    move |source| StateError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// A directory of the client's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDirectory(PathBuf);

impl StateDirectory {
    /// Creates the directory, and those above it, if they are not there.
    ///
    /// # Errors
    /// `Io`.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(doing("create", path))?;
        Ok(Self(path.to_owned()))
    }

    /// A directory within this one.
    ///
    /// # Errors
    /// `Io`.
    pub fn within(&self, name: &str) -> Result<Self, StateError> {
        Self::open(&self.0.join(name))
    }

    /// The path of an entry.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Names of the entries, in order; those that are not UTF-8 are nobody's of ours.
    ///
    /// # Errors
    /// `Io`.
    pub fn names(&self) -> Result<Vec<String>, StateError> {
        let entries = fs::read_dir(&self.0).map_err(doing("list", &self.0))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(doing("list", &self.0))?;
            names.extend(entry.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// Reads a file that is at most `limit` bytes long; `None` when there is none.
    ///
    /// # Errors
    /// `Io`, `TooLong`.
    pub fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path(name);
        match read_bounded(&path, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StateError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Replaces a file, durably.
    ///
    /// # Errors
    /// `Io`; the old content is then still there.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let temporary = self.write_temporary(name, bytes)?;
        let path = self.path(name);
        fs::rename(&temporary, &path).map_err(doing("replace", &path))?;
        self.sync()
    }

    /// Writes a file that must not be there yet, durably.
    ///
    /// # Errors
    /// `Exists`, `Io`.
    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let temporary = self.write_temporary(name, bytes)?;
        let path = self.path(name);
        // A link is made only where nothing is: two programs cannot both succeed.
        let linked = fs::hard_link(&temporary, &path);
        fs::remove_file(&temporary).map_err(doing("remove", &temporary))?;
        linked.map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                return StateError::Exists { path: path.clone() };
            }
            doing("create", &path)(source)
        })?;
        self.sync()
    }

    /// Appends to a file, durably.
    ///
    /// # Errors
    /// `Io`.
    pub fn append(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.path(name);
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(doing("open", &path))?;
        file.write_all(bytes).map_err(doing("write", &path))?;
        file.sync_all().map_err(doing("sync", &path))?;
        self.sync()
    }

    /// Removes a file; one that is not there is removed already.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(doing("remove", &path)(error))
            }
            Ok(()) | Err(_) => self.sync(),
        }
    }

    /// Locks the directory against every other program, until the lock is dropped.
    ///
    /// # Errors
    /// `InUse`, `Io`.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.path("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(doing("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(StateError::InUse { path }),
            Err(fs::TryLockError::Error(source)) => Err(doing("lock", &path)(source)),
        }
    }

    /// Each writer has a temporary name of its own: the process's number and a random one are not
    /// needed, since writers hold the directory's lock or use `create`, whose link decides.
    fn write_temporary(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, StateError> {
        let path = self.path(&format!(".{name}.{}", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(doing("create", &path))?;
        file.write_all(bytes).map_err(doing("write", &path))?;
        file.sync_all().map_err(doing("sync", &path))?;
        Ok(path)
    }

    fn sync(&self) -> Result<(), StateError> {
        let directory = File::open(&self.0).map_err(doing("open", &self.0))?;
        directory.sync_all().map_err(doing("sync", &self.0))
    }
}

/// Held while a program uses a directory.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// Reads a file that is at most `limit` bytes long.
///
/// # Errors
/// `Io`, `TooLong`.
pub fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, StateError> {
    let file = File::open(path).map_err(doing("open", path))?;
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(most)
        .read_to_end(&mut bytes)
        .map_err(doing("read", path))?;
    if bytes.len() > limit {
        return Err(StateError::TooLong {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn directory() -> (tempfile::TempDir, StateDirectory) {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&root.path().join("state")).unwrap();
        (root, state)
    }

    #[test]
    fn files_are_the_owners_alone_and_no_temporary_stays() {
        let (_root, state) = directory();
        state.create("seed", b"1").unwrap();
        state.replace("voucher", b"2").unwrap();
        state.append("receipts", b"3").unwrap();
        assert_eq!(state.names().unwrap(), ["receipts", "seed", "voucher"]);
        for name in state.names().unwrap() {
            let mode = fs::metadata(state.path(&name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let mode = fs::metadata(state.path("")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_created_file_is_never_replaced() {
        let (_root, state) = directory();
        state.create("seed", b"1").unwrap();
        assert_eq!(
            state.create("seed", b"2").unwrap_err().code(),
            "state-exists"
        );
        assert_eq!(state.read("seed", 1).unwrap(), Some(b"1".to_vec()));
    }

    #[test]
    fn a_file_beyond_its_limit_is_not_read() {
        let (_root, state) = directory();
        state.replace("voucher", b"12345").unwrap();
        assert_eq!(
            state.read("voucher", 4).unwrap_err().code(),
            "state-too-long"
        );
        assert_eq!(state.read("none", 4).unwrap(), None);
    }

    #[test]
    fn a_second_program_is_refused_until_the_first_is_gone() {
        let (_root, state) = directory();
        let first = state.lock().unwrap();
        assert_eq!(state.lock().unwrap_err().code(), "state-in-use");
        drop(first);
        assert!(state.lock().is_ok());
    }
}
