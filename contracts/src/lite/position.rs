//! Where a reader stands, and the file in which that is kept between runs, so that heights never
//! fall.
//!
//! Not here: how a position comes about, which is `reader`'s.

use core::fmt;
use core::str::FromStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::proof::BlockId;

/// Two heights and two hashes in hex are shorter.
const MAX_BYTES: u64 = 256;

/// Where a reader stands: what it goes on from, and what it never goes below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The last key block that was proven, or the pinned one.
    pub key_block: BlockId,
    /// The greatest height that was proven.
    pub seqno: u32,
}

/// Text that is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a position as `height key-block`")]
pub struct PositionError;

impl Position {
    /// At a pinned block.
    #[must_use]
    pub const fn at(pinned: BlockId) -> Self {
        Self {
            key_block: pinned,
            seqno: pinned.seqno,
        }
    }

    /// The later of both in each member; of two key blocks at one height this one's.
    #[must_use]
    pub fn or_later(self, other: Self) -> Self {
        Self {
            key_block: if other.key_block.seqno > self.key_block.seqno {
                other.key_block
            } else {
                self.key_block
            },
            seqno: self.seqno.max(other.seqno),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.seqno, self.key_block)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (seqno, block) = text.split_once(' ').ok_or(PositionError)?;
        let height: u32 = seqno.parse().map_err(|_| PositionError)?;
        let key_block: BlockId = block.parse().map_err(|_| PositionError)?;
        if height.to_string() != seqno || height < key_block.seqno {
            return Err(PositionError);
        }
        Ok(Self {
            key_block,
            seqno: height,
        })
    }
}

/// A file that holds a position; several programs may use one at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionFile(PathBuf);

impl PositionFile {
    /// The file at a path; its directory is there already.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// What is kept; nothing before the first time.
    ///
    /// # Errors
    /// The system's, and `InvalidData` for a damaged file: without it heights could fall.
    pub fn read(&self) -> io::Result<Option<Position>> {
        let file = match File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text)?;
        let position = text.parse();
        position
            .map(Some)
            .map_err(|PositionError| io::ErrorKind::InvalidData.into())
    }

    /// Keeps a position durably; what is kept already and later stays.
    ///
    /// # Errors
    /// Those of [`PositionFile::read`].
    pub fn keep(&self, position: Position) -> io::Result<()> {
        // Another read may end at the same time, here or in another program.
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.beside("lock"))?;
        lock.lock()?;
        let kept = self.read()?;
        let later = kept.map_or(position, |kept| kept.or_later(position));
        if kept == Some(later) {
            return Ok(());
        }
        let temporary = self.beside("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(later.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.0)?;
        File::open(self.directory())?.sync_all()
    }

    fn directory(&self) -> &Path {
        let named = self.0.parent().filter(|one| !one.as_os_str().is_empty());
        // Of a bare name, the current one.
        named.unwrap_or(Path::new("."))
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(".");
        name.push(ending);
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_lies_in_the_current_directory() {
        for (path, directory) in [("at", "."), ("./at", "."), ("in/at", "in"), ("/at", "/")] {
            let file = PositionFile::at(path.into());
            assert_eq!(file.directory(), Path::new(directory), "{path}");
        }
    }
}
