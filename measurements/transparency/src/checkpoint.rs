//! Checkpoints (C2SP tlog-checkpoint): the root of the log at a size, signed by the log's key.
//!
//! Extension lines are refused: the format advises against them and this log writes none.

use crate::merkle::TreeHash;
use crate::note::{KeyName, NoteError, SignedNote, SignerKey, VerifierKey};

/// A checkpoint that is not of the specified form, or not of the expected log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a note, or not signed by the log.
    #[error("checkpoint")]
    Note(#[from] NoteError),
    /// Not the three lines origin, size, root.
    #[error("a checkpoint has three lines: origin, size, root")]
    Lines,
    /// Of another log than the key's.
    #[error("the checkpoint is of another log than the key's")]
    OtherLog,
    /// A size that is not decimal without leading zeroes.
    #[error("the size of the tree is not a decimal number")]
    Size,
    /// A root that is not base64 of 32 bytes.
    #[error("the root of the tree is not base64 of 32 bytes")]
    Root,
}

impl CheckpointError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Note(NoteError::Unsigned | NoteError::WrongSignature) => "release-log-signature",
            Self::OtherLog => "release-log-other",
            Self::Note(
                NoteError::TooLong
                | NoteError::NotText
                | NoteError::NoSignatures
                | NoteError::SignatureLine { .. }
                | NoteError::TooManySignatures
                | NoteError::Key
                | NoteError::Name,
            )
            | Self::Lines
            | Self::Size
            | Self::Root => "release-proof-malformed",
        }
    }
}

/// The log's state, as somebody with its key said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: KeyName,
    /// Number of records.
    pub size: u64,
    /// Root over them.
    pub root: TreeHash,
}

impl Checkpoint {
    /// Reads a checkpoint whose signature by the log's key is right.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn open(note: &SignedNote, key: &VerifierKey) -> Result<Self, CheckpointError> {
        let text = note.verify(key)?;
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = body.split('\n');
        let mut next = || lines.next().ok_or(CheckpointError::Lines);
        let (origin, size, root) = (next()?, next()?, next()?);
        if lines.next().is_some() {
            return Err(CheckpointError::Lines);
        }
        if origin != key.name().as_str() {
            return Err(CheckpointError::OtherLog);
        }
        Ok(Self {
            origin: key.name().clone(),
            size: decimal(size).ok_or(CheckpointError::Size)?,
            root: TreeHash::from_base64(root).ok_or(CheckpointError::Root)?,
        })
    }

    /// Signs a state of the key's log. Who signs must have checked that it extends the last one.
    ///
    /// # Errors
    /// Those of the note, which these texts do not raise.
    pub fn sign(size: u64, root: TreeHash, key: &SignerKey) -> Result<SignedNote, CheckpointError> {
        let origin = key.verifier().name().as_str().to_owned();
        let text = format!("{origin}\n{size}\n{}\n", root.to_base64());
        Ok(SignedNote::sign(text, key)?)
    }
}

/// A decimal number without sign or leading zeroes.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain || (text.starts_with('0') && text != "0") {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]

    use super::*;

    fn key() -> SignerKey {
        SignerKey::from_seed("log.example/releases".parse().unwrap(), &[3; 32])
    }

    fn open(text: &str) -> Result<Checkpoint, CheckpointError> {
        let note = SignedNote::sign(text.to_owned(), &key()).unwrap();
        Checkpoint::open(&note, &key().verifier())
    }

    #[test]
    fn a_signed_state_reads_back() {
        let root = TreeHash([5; 32]);
        let note = Checkpoint::sign(7, root, &key()).unwrap();
        let again = SignedNote::parse(note.to_string().as_bytes()).unwrap();
        let read = Checkpoint::open(&again, &key().verifier()).unwrap();
        assert_eq!((read.size, read.root), (7, root));
    }

    #[test]
    fn each_line_of_another_form_is_refused() {
        let root = TreeHash([5; 32]).to_base64();
        let name = "log.example/releases";
        assert_eq!(open(&format!("{name}\n7\n")), Err(CheckpointError::Lines));
        let extended = format!("{name}\n7\n{root}\nmore\n");
        assert_eq!(open(&extended), Err(CheckpointError::Lines));
        let other = format!("log.example/other\n7\n{root}\n");
        assert_eq!(open(&other), Err(CheckpointError::OtherLog));
        for size in ["07", "+7", "", "7 ", "99999999999999999999"] {
            let text = format!("{name}\n{size}\n{root}\n");
            assert_eq!(open(&text), Err(CheckpointError::Size), "{size}");
        }
        for root in ["", "AAAA", &root[1..], &root.replace('=', "A")] {
            let text = format!("{name}\n7\n{root}\n");
            assert_eq!(open(&text), Err(CheckpointError::Root), "{root}");
        }
    }
}
