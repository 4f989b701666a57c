//! What an agent is called among those that share a ledger: 32 random bytes, so that no two hosts
//! have the same name, whatever their paths and host names are.
//!
//! Deliberately not here: randomness, which the program's `main` draws.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use protocol::digest::{parse_hex, write_hex};

/// A name's length as text.
const DIGITS: u64 = 64;

/// The name of one agent, or of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentName([u8; 32]);

impl AgentName {
    /// A new name.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn drawn(draw: fn() -> io::Result<[u8; 32]>) -> io::Result<Self> {
        draw().map(Self)
    }

    /// The name in a file; a new one is drawn when there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds something else.
    pub fn kept(path: &Path, draw: fn() -> io::Result<[u8; 32]>) -> io::Result<Self> {
        match File::open(path) {
            Ok(file) => {
                let mut text = String::new();
                let mut bounded = file.take(DIGITS.saturating_add(1));
                bounded.read_to_string(&mut text)?;
                let name = parse_hex(&text).map_err(|_| io::ErrorKind::InvalidData)?;
                Ok(Self(name))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = Self::drawn(draw)?;
                // Whole or not at all: half a name would be refused for ever.
                let part = path.with_extension("part");
                let mut file = File::create(&part)?;
                file.write_all(name.to_string().as_bytes())?;
                file.sync_all()?;
                std::fs::rename(&part, path)?;
                Ok(name)
            }
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_drawn_once_and_kept_and_nothing_else_is_taken_for_one() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("agent");
        let name = AgentName::kept(&path, || Ok([7; 32])).unwrap();
        assert_eq!(AgentName::kept(&path, || Ok([8; 32])).unwrap(), name);
        for other in ["", "07", &"07".repeat(33)] {
            std::fs::write(&path, other).unwrap();
            assert!(AgentName::kept(&path, || Ok([8; 32])).is_err());
        }
    }
}
