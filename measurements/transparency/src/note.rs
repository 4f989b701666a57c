//! Signed notes (C2SP signed-note) with Ed25519 signatures: text that names its signers.
//!
//! Strict where the format leaves room: at most [`MAX_NOTE_BYTES`] and [`MAX_SIGNATURES`]. Keys are
//! written as the format's first implementation writes them: `name+id+base64(1, key)`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// A note is at most this long.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;
/// A note has at most this many signatures; 16 must be accepted.
pub const MAX_SIGNATURES: usize = 32;

const ED25519: u8 = 1;
const MAX_NAME: usize = 256;
const SIGNATURE_PREFIX: &str = "\u{2014} ";
const SECRET_PREFIX: &str = "PRIVATE+KEY+";

/// A note or a key that is not of the specified form, or not signed as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than accepted.
    #[error("longer than {MAX_NOTE_BYTES} bytes")]
    TooLong,
    /// Not UTF-8, or a control character other than a line's end.
    #[error("not plain text")]
    NotText,
    /// No empty line between text and signatures, or a text without an end of line.
    #[error("text and signatures are not parted by an empty line")]
    NoSignatures,
    /// A signature line of another form.
    #[error("signature line {line} is not of the specified form")]
    SignatureLine {
        /// Which one, from 1.
        line: usize,
    },
    /// More signatures than accepted.
    #[error("more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// A key that is not `name+id+key` of type Ed25519.
    #[error("not an Ed25519 note key of the form name+id+key")]
    Key,
    /// A name that is empty, too long, or holds a space or a plus sign.
    #[error("not a name of a key: empty, too long, with a space or a plus sign")]
    Name,
    /// No signature by the expected key.
    #[error("no signature by the expected key")]
    Unsigned,
    /// The signature by the expected key is wrong.
    #[error("the signature by the expected key is wrong")]
    WrongSignature,
}

/// Name of a key, and of the log that it signs for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

impl KeyName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for KeyName {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let strange = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if text.is_empty() || text.len() > MAX_NAME || text.contains(strange) {
            return Err(NoteError::Name);
        }
        Ok(Self(text.to_owned()))
    }
}

/// What tells keys apart in a signature line; not a hash to rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; 4]);

impl KeyId {
    fn of(name: &KeyName, key: &VerifyingKey) -> Self {
        let hash = Sha256::new().chain_update(name.as_str()).chain_update("\n");
        let hash = hash.chain_update([ED25519]).chain_update(key.as_bytes());
        let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
        Self([a, b, c, d])
    }
}

/// The public half: what a client pins of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    id: KeyId,
    key: VerifyingKey,
}

impl VerifierKey {
    /// The key's name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", written(&self.name, self.id, self.key.as_bytes()))
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, id, bytes) = parts(text)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| NoteError::Key)?;
        // A key of small order signs everything.
        if key.is_weak() || KeyId::of(&name, &key) != id {
            return Err(NoteError::Key);
        }
        Ok(Self { name, id, key })
    }
}

/// The secret half. It does not print and is wiped when it goes.
pub struct SignerKey {
    name: KeyName,
    key: SigningKey,
}

impl std::fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignerKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl SignerKey {
    /// The key of that name from a seed.
    #[must_use]
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        Self {
            name,
            key: SigningKey::from_bytes(seed),
        }
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    /// `Key` or `Name`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let rest = text.strip_prefix(SECRET_PREFIX).ok_or(NoteError::Key)?;
        let (name, id, seed) = parts(rest)?;
        let key = Self::from_seed(name, &seed);
        if key.verifier().id == id {
            Ok(key)
        } else {
            Err(NoteError::Key)
        }
    }

    /// The text of a key file: a secret.
    #[must_use]
    pub fn reveal(&self) -> String {
        let id = self.verifier().id;
        let seed = zeroize::Zeroizing::new(self.key.to_bytes());
        format!("{SECRET_PREFIX}{}", written(&self.name, id, &seed))
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        let key = self.key.verifying_key();
        VerifierKey {
            name: self.name.clone(),
            id: KeyId::of(&self.name, &key),
            key,
        }
    }
}

fn written(name: &KeyName, KeyId([a, b, c, d]): KeyId, key: &[u8; 32]) -> String {
    let mut typed = vec![ED25519];
    typed.extend_from_slice(key);
    let (name, key) = (name.as_str(), STANDARD.encode(&typed));
    format!("{name}+{a:02x}{b:02x}{c:02x}{d:02x}+{key}")
}

fn parts(text: &str) -> Result<(KeyName, KeyId, [u8; 32]), NoteError> {
    if text.len() > MAX_NAME.saturating_mul(2) {
        return Err(NoteError::Key);
    }
    // Base64 has plus signs, names and ids have none.
    let mut words = text.splitn(3, '+');
    let mut next = || words.next().ok_or(NoteError::Key);
    let name = next()?.parse()?;
    let id = protocol::digest::parse_hex(next()?).map_err(|_| NoteError::Key)?;
    let bytes = STANDARD.decode(next()?).map_err(|_| NoteError::Key)?;
    let (kind, key) = bytes.split_first().ok_or(NoteError::Key)?;
    let key = key.try_into().map_err(|_| NoteError::Key)?;
    if *kind == ED25519 {
        Ok((name, KeyId(id), key))
    } else {
        Err(NoteError::Key)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SignatureLine {
    name: String,
    id: KeyId,
    signature: Vec<u8>,
}

/// Text with signatures, none of which is checked yet: the text is given out by [`Self::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<SignatureLine>,
}

impl SignedNote {
    /// Signs a text, which ends with a line's end.
    ///
    /// # Errors
    /// `NotText` or `NoSignatures` for a text that no note can carry.
    pub fn sign(text: String, key: &SignerKey) -> Result<Self, NoteError> {
        check_text(&text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::NoSignatures);
        }
        let signature = key.key.sign(text.as_bytes()).to_bytes().to_vec();
        let line = SignatureLine {
            name: key.name.as_str().to_owned(),
            id: key.verifier().id,
            signature,
        };
        Ok(Self {
            text,
            signatures: vec![line],
        })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::NotText)?;
        check_text(note)?;
        let at = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, rest) = note
            .split_at_checked(at.saturating_add(1))
            .unwrap_or((note, ""));
        let lines = rest
            .strip_prefix('\n')
            .and_then(|rest| rest.strip_suffix('\n'));
        let mut signatures = Vec::new();
        for (at, line) in lines
            .ok_or(NoteError::NoSignatures)?
            .split('\n')
            .enumerate()
        {
            if at >= MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            let line = signature_line(line).ok_or(NoteError::SignatureLine {
                line: at.saturating_add(1),
            })?;
            signatures.push(line);
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The text, if this key signed it. Signatures by other keys are ignored, as the format asks.
    ///
    /// # Errors
    /// `Unsigned` or `WrongSignature`.
    pub fn verify(&self, key: &VerifierKey) -> Result<&str, NoteError> {
        let ours = |line: &&SignatureLine| line.id == key.id && line.name == key.name.as_str();
        let mut found = self.signatures.iter().filter(ours).peekable();
        found.peek().ok_or(NoteError::Unsigned)?;
        for line in found {
            let signature =
                Signature::from_slice(&line.signature).map_err(|_| NoteError::WrongSignature)?;
            key.key
                .verify_strict(self.text.as_bytes(), &signature)
                .map_err(|_| NoteError::WrongSignature)?;
        }
        Ok(&self.text)
    }
}

impl std::fmt::Display for SignedNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        for line in &self.signatures {
            let mut bytes = line.id.0.to_vec();
            bytes.extend_from_slice(&line.signature);
            let signature = STANDARD.encode(&bytes);
            writeln!(f, "{SIGNATURE_PREFIX}{} {signature}", line.name)?;
        }
        Ok(())
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    let control = |byte: u8| byte < 0x20 && byte != b'\n';
    if text.bytes().any(control) {
        Err(NoteError::NotText)
    } else {
        Ok(())
    }
}

fn signature_line(line: &str) -> Option<SignatureLine> {
    let (name, signature) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
    let name: KeyName = name.parse().ok()?;
    let bytes = STANDARD.decode(signature).ok()?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    if signature.is_empty() {
        return None;
    }
    Some(SignatureLine {
        name: name.0,
        id: KeyId(*id),
        signature: signature.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]

    use super::*;

    // The example of the package golang.org/x/mod/sumdb/note.
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgK\
        vqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn key(seed: u8) -> SignerKey {
        SignerKey::from_seed("log.example/releases".parse().unwrap(), &[seed; 32])
    }

    #[test]
    fn the_published_example_verifies_and_is_written_as_it_was_read() {
        let key: VerifierKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        let note = SignedNote::parse(NOTE.as_bytes()).unwrap();
        let text = note.verify(&key).unwrap();
        assert!(text.starts_with("If you") && text.ends_with("problem is.\n"));
        assert_eq!(note.to_string(), NOTE);
    }

    #[test]
    fn a_changed_text_or_signature_is_refused() {
        let key: VerifierKey = KEY.parse().unwrap();
        let changed = NOTE.replacen("answer", "Answer", 1);
        let note = SignedNote::parse(changed.as_bytes()).unwrap();
        assert_eq!(note.verify(&key), Err(NoteError::WrongSignature));
        let changed = NOTE.replacen("x08go/ZJ", "x08go/ZK", 1);
        let note = SignedNote::parse(changed.as_bytes()).unwrap();
        assert_eq!(note.verify(&key), Err(NoteError::WrongSignature));
    }

    #[test]
    fn a_note_by_somebody_else_is_unsigned_even_under_the_same_name() {
        let note = SignedNote::sign("text\n".to_owned(), &key(1)).unwrap();
        assert_eq!(note.verify(&key(1).verifier()), Ok("text\n"));
        assert_eq!(note.verify(&key(2).verifier()), Err(NoteError::Unsigned));
    }

    #[test]
    fn a_signature_by_an_unknown_key_beside_ours_is_ignored() {
        let ours = SignedNote::sign("text\n".to_owned(), &key(1)).unwrap();
        let theirs = SignedNote::sign("text\n".to_owned(), &key(2)).unwrap();
        let line = theirs.to_string().lines().last().unwrap().to_owned();
        let both = format!("{ours}{line}\n");
        let note = SignedNote::parse(both.as_bytes()).unwrap();
        assert_eq!(note.verify(&key(1).verifier()), Ok("text\n"));
        assert_eq!(note.to_string(), both);
    }

    #[test]
    fn keys_round_trip_and_a_wrong_id_or_type_is_refused() {
        let key = key(7);
        let again = SignerKey::parse(&key.reveal()).unwrap();
        assert_eq!(again.verifier(), key.verifier());
        let public = key.verifier().to_string();
        assert_eq!(public.parse::<VerifierKey>().unwrap(), key.verifier());
        let wrong_id = KEY.replacen("c74f20a3", "c74f20a4", 1);
        assert_eq!(wrong_id.parse::<VerifierKey>(), Err(NoteError::Key));
        let wrong_type = KEY.replacen("+AR", "+AB", 1);
        assert_eq!(wrong_type.parse::<VerifierKey>(), Err(NoteError::Key));
        assert!(!format!("{key:?}").contains(&key.reveal()[30..]));
    }

    #[test]
    fn what_is_not_a_note_is_refused_with_its_reason() {
        let parse = |text: &str| SignedNote::parse(text.as_bytes()).map(|_| ());
        assert_eq!(parse(""), Err(NoteError::NoSignatures));
        assert_eq!(parse("text\n"), Err(NoteError::NoSignatures));
        let bad = NoteError::SignatureLine { line: 1 };
        assert_eq!(parse("text\n\n\n"), Err(NoteError::NoSignatures));
        assert_eq!(parse("text\n\n \n"), Err(bad));
        assert_eq!(parse("text\n\n- name AAAAAAA=\n"), Err(bad));
        assert_eq!(parse("text\n\n\u{2014} name AAAA\n"), Err(bad));
        assert_eq!(
            parse("te\rxt\n\n\u{2014} name AAAAAAA=\n"),
            Err(NoteError::NotText)
        );
        assert_eq!(SignedNote::parse(&[0xff]), Err(NoteError::NotText));
        assert_eq!(
            parse(&"x".repeat(MAX_NOTE_BYTES + 1)),
            Err(NoteError::TooLong)
        );
        let line = "\u{2014} name AAAAAAA=\n";
        let many = format!("text\n\n{}", line.repeat(MAX_SIGNATURES + 1));
        assert_eq!(parse(&many), Err(NoteError::TooManySignatures));
    }
}
