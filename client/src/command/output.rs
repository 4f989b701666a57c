//! What a command prints: lines for people on standard error, content on standard output; or, with
//! `--json`, one object a line on standard output and nothing else.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use serde_json::{Map, Value};

use super::failure::Failure;

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Person,
    Program,
}

/// Prints for one program name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) program: &'static str,
    pub(super) reader: Reader,
}

impl Output {
    /// Something happened: a line on standard error, or an object.
    pub(super) fn event(
        &self,
        name: &str,
        line: &str,
        members: Map<String, Value>,
    ) -> Result<(), Failure> {
        match self.reader {
            Reader::Person => {
                let mut error = io::stderr().lock();
                writeln!(error, "{}: {line}", self.program).map_err(Failure::Output)
            }
            Reader::Program => self.object(name, members),
        }
    }

    /// The result of a command: lines on standard output, or an object.
    pub(super) fn result(
        &self,
        name: &str,
        lines: &[String],
        members: Map<String, Value>,
    ) -> Result<(), Failure> {
        match self.reader {
            Reader::Person => {
                let mut out = io::stdout().lock();
                let print = |line| writeln!(out, "{line}").map_err(Failure::Output);
                lines.iter().try_for_each(print)
            }
            Reader::Program => self.object(name, members),
        }
    }

    /// A piece of the answer.
    pub(super) fn content(&self, text: &str) -> Result<(), Failure> {
        match self.reader {
            Reader::Person => {
                let mut out = io::stdout().lock();
                let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                written.map_err(Failure::Output)
            }
            Reader::Program => {
                let mut members = Map::new();
                members.insert("text".to_owned(), text.into());
                self.object("text", members)
            }
        }
    }

    fn object(&self, name: &str, members: Map<String, Value>) -> Result<(), Failure> {
        let mut object = Map::new();
        object.insert("event".to_owned(), name.into());
        object.insert("program".to_owned(), self.program.into());
        object.extend(members);
        let mut out = io::stdout().lock();
        let written = writeln!(out, "{}", Value::Object(object)).and_then(|()| out.flush());
        written.map_err(Failure::Output)
    }

    /// A failure, with its stable code; never fails itself. A verdict was printed already.
    pub(super) fn failure(&self, failure: &Failure) {
        if matches!(failure, Failure::Rejected(_)) {
            return;
        }
        let sent = match failure {
            Failure::Attest { error, .. } => error.application_bytes(),
            Failure::Missing { .. }
            | Failure::Settings
            | Failure::Amount(_)
            | Failure::Policy(_)
            | Failure::Chain(_)
            | Failure::LiteServer(_)
            | Failure::TrustedBlock(_)
            | Failure::Pins(_)
            | Failure::Wallet(_)
            | Failure::Request(_)
            | Failure::SeveralModels { .. }
            | Failure::Ask(_)
            | Failure::Port(_)
            | Failure::Output(_)
            | Failure::Exists(_)
            | Failure::Runtime(_)
            | Failure::Receipt(_)
            | Failure::Anchor(_)
            | Failure::Mnemonic(_)
            | Failure::Input(_)
            | Failure::Bundle(_)
            | Failure::CocoonRoot(_)
            | Failure::NoContract
            | Failure::Certificates
            | Failure::Verdict
            | Failure::UnknownWallet
            | Failure::NotConnected
            | Failure::Rejected(_) => None,
        };
        let mut members = Map::new();
        members.insert("code".to_owned(), failure.code().into());
        members.insert("reason".to_owned(), failure.reasons().into());
        let mut line = format!("refused: {}: {}", failure.code(), failure.reasons());
        if let Failure::Attest { dropped, .. } = failure {
            for pin in dropped {
                line.push_str(&format!(
                    "\n{}: the registry dropped `{}`: {}",
                    self.program,
                    pin.name,
                    pin.code()
                ));
            }
            let codes = dropped
                .iter()
                .map(|pin| format!("{}: {}", pin.name, pin.code()));
            members.insert("dropped".to_owned(), codes.collect::<Vec<_>>().into());
        }
        if let Some(sent) = sent {
            line.push_str(&format!(
                "\n{}: application bytes sent: {sent}",
                self.program
            ));
            members.insert("application_bytes_sent".to_owned(), sent.into());
        }
        // There is nowhere left to report that standard error or output is gone.
        let _printed = self.event("refused", &line, members);
    }
}

/// A verdict on standard output.
pub(super) fn write_line(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{text}").map_err(Failure::Output)
}

/// A document on standard output, whose last line has its end.
pub(super) fn write_text(text: &str) -> Result<(), Failure> {
    write!(io::stdout().lock(), "{text}").map_err(Failure::Output)
}

/// Refuses a name that something has already, before anything is made to be written there.
pub(super) fn check_new(path: &Path) -> Result<(), Failure> {
    match path.symlink_metadata() {
        Ok(_) => Err(Failure::Exists(path.to_owned())),
        Err(_) => Ok(()),
    }
}

/// A document in a new file; whatever has the name already stays as it is.
pub(super) fn write_new_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = opened.map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            return Failure::Exists(path.to_owned());
        }
        Failure::Output(error)
    })?;
    let written = file.write_all(bytes);
    if written.is_err() {
        // Half a document would be in the way of the whole one.
        let _removed = std::fs::remove_file(path);
    }
    written.map_err(Failure::Output)
}

/// Members of an object, in their order.
pub(super) fn members<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    #[test]
    fn a_document_replaces_nothing_that_has_its_name() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("document");
        let exists = |written| matches!(written, Err(Failure::Exists(named)) if named == path);
        assert!(check_new(&path).is_ok());
        write_new_file(&path, b"first").unwrap();
        assert!(exists(check_new(&path)));
        assert!(exists(write_new_file(&path, b"second")));
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        // Not even by a link that leads nowhere yet.
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(place.path().join("elsewhere"), &path).unwrap();
        assert!(exists(check_new(&path)));
        assert!(exists(write_new_file(&path, b"third")));
        let nowhere = place.path().join("none").join("document");
        let written = write_new_file(&nowhere, b"fourth");
        assert!(matches!(written, Err(Failure::Output(_))));
    }
}
