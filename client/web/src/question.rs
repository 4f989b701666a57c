//! What is asked: a time, a policy, a pin and a bundle, in one message of bounded parts.

use core::error::Error;
use core::fmt::Write as _;

use protocol::codec::{DecodeError, Reader};
use protocol::reference_values::{self, ReferenceValues, ReferenceValuesError};
use transparency::note::{NoteError, VerifierKey};
use transparency::proof::MAX_PROOF_BYTES;
use transparency::record::MAX_RECORD_BYTES;
use transparency::release::{
    DescribedRelease, LoggedRelease, MAX_MANIFEST_BYTES, ReleaseFilesError,
};
use verifier::{AppraisalPolicy, Bundle, BundleError, DocumentDigest, Pin, PolicyError, UnixTime};

/// A policy, or the name of a built-in one, is at most this long.
const MAX_POLICY_BYTES: usize = 64 * 1024;

/// The text of a log's key is at most this long.
const MAX_KEY_BYTES: usize = 1024;

const PIN_NOTHING: u8 = 0;
const PIN_DIGEST: u8 = 1;
const PIN_VALUES: u8 = 2;
const PIN_RELEASE: u8 = 3;

/// Which release the reader of the bundle pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pinned {
    /// None: no bundle is accepted.
    Nothing,
    /// The bundle's own values, if they have this digest.
    Digest(DocumentDigest),
    /// These values.
    Values(ReferenceValues),
    /// Those of a release that the log of the reader's key holds.
    Release(Box<LoggedRelease>),
}

impl Pinned {
    pub(crate) const fn pin(&self) -> Pin<'_> {
        match self {
            Self::Nothing => Pin::Nothing,
            Self::Digest(digest) => Pin::Digest(*digest),
            Self::Values(values) => Pin::Values(values),
            Self::Release(release) => Pin::Values(release.reference_values()),
        }
    }
}

/// Everything that a verdict depends on, but for the anchors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The time at which the bundle is judged.
    pub at: UnixTime,
    /// The reader's policy.
    pub policy: AppraisalPolicy,
    /// The reader's release.
    pub pinned: Pinned,
    /// The bundle.
    pub bundle: Bundle,
}

/// Why there is no verdict. The codes are those of `cocoon verify bundle`.
#[derive(Debug, thiserror::Error)]
pub enum BadInput {
    /// The message is not of its form.
    #[error("the question is not of its form")]
    Question(#[from] DecodeError),
    /// An unknown kind of pin.
    #[error("the question names an unknown kind of pin")]
    Pin,
    /// Not a policy's name, and not a policy.
    #[error("cannot read the policy")]
    Policy(#[from] PolicyError),
    /// Not reference values.
    #[error("cannot read the reference values")]
    References(#[from] ReferenceValuesError),
    /// Not a log's key.
    #[error("cannot read the log's key")]
    LogKey(#[from] NoteError),
    /// Not a release, or not one of that log.
    #[error("the release is refused")]
    Release(#[from] ReleaseFilesError),
    /// Not a bundle.
    #[error("cannot read the bundle")]
    Bundle(#[from] BundleError),
    /// The serialiser failed, which these types do not make it do.
    #[error("cannot write the verdict")]
    Unwritable,
}

impl BadInput {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Question(_) | Self::Pin => "question-malformed",
            Self::Policy(_) => "policy-malformed",
            Self::References(_) => "reference-values-malformed",
            Self::LogKey(_) => "log-key-malformed",
            Self::Release(error) => error.code(),
            Self::Bundle(error) => error.code(),
            Self::Unwritable => "verdict",
        }
    }

    /// The error and its sources, in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            // Writing to a String does not fail.
            let _ = write!(text, ": {error}");
            next = error.source();
        }
        text
    }
}

impl Question {
    /// A question is at most this long: its blobs and 128 bytes.
    pub const MAX_BYTES: usize = Bundle::MAX_BYTES
        .saturating_add(reference_values::MAX_BYTES)
        .saturating_add(MAX_POLICY_BYTES)
        .saturating_add(MAX_KEY_BYTES)
        .saturating_add(MAX_RECORD_BYTES)
        .saturating_add(MAX_PROOF_BYTES)
        .saturating_add(MAX_MANIFEST_BYTES)
        .saturating_add(128);

    /// Reads exactly one question.
    ///
    /// # Errors
    /// See [`BadInput`]; every length is compared with its limit before it is used.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadInput> {
        let mut from = Reader::new(bytes);
        let at = UnixTime(from.u64()?);
        let policy = from.blob("policy", MAX_POLICY_BYTES)?;
        let pinned = match from.u8()? {
            PIN_NOTHING => Pinned::Nothing,
            PIN_DIGEST => Pinned::Digest(DocumentDigest(from.array()?)),
            PIN_VALUES => Pinned::Values(ReferenceValues::parse(values(&mut from)?)?),
            PIN_RELEASE => Pinned::Release(Box::new(release(&mut from)?)),
            _ => return Err(BadInput::Pin),
        };
        let bundle = from.blob("bundle", Bundle::MAX_BYTES)?;
        from.finish()?;
        Ok(Self {
            at,
            policy: named_or_read(policy)?,
            pinned,
            bundle: Bundle::decode(bundle)?,
        })
    }
}

fn values<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    from.blob("reference values", reference_values::MAX_BYTES)
}

/// A release from its files, if the log of the key in front of them holds it.
fn release(from: &mut Reader<'_>) -> Result<LoggedRelease, BadInput> {
    let key = from.blob("log key", MAX_KEY_BYTES)?;
    let entry = from.blob("entry", MAX_RECORD_BYTES)?;
    let proof = from.blob("proof", MAX_PROOF_BYTES)?;
    let manifest = from.blob("manifest", MAX_MANIFEST_BYTES)?;
    let values = values(from)?;
    let key = core::str::from_utf8(key).map_err(|_| NoteError::Key)?;
    let key: VerifierKey = key.parse()?;
    let described = DescribedRelease::of_entry(entry, manifest, values)?;
    Ok(described.in_log(proof, &key)?)
}

fn named_or_read(text: &[u8]) -> Result<AppraisalPolicy, PolicyError> {
    let mut all = AppraisalPolicy::built_in().into_iter();
    match all.find(|(name, _)| name.as_bytes() == text) {
        Some((_, policy)) => Ok(policy),
        None => AppraisalPolicy::parse(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;
    use protocol::codec::Writer;
    use transparency::log::ReleaseLog;
    use transparency::names;
    use transparency::note::SignerKey;
    use transparency::record::FileDigest;

    fn question(policy: &[u8], pin: u8, bundle: &[u8]) -> Vec<u8> {
        let mut out = Writer::new();
        out.u64(1).blob(policy).u8(pin).blob(bundle);
        out.finish()
    }

    fn code(bytes: &[u8]) -> &'static str {
        Question::decode(bytes).unwrap_err().code()
    }

    #[test]
    fn each_part_that_cannot_be_read_is_named_by_its_code() {
        assert_eq!(code(&question(b"strict", 3, b"")), "question-malformed");
        assert_eq!(code(&question(b"lenient", 0, b"")), "policy-malformed");
        assert_eq!(code(&question(b"strict", 0, b"")), "bundle-malformed");
        let mut given = Writer::new();
        given.u64(1).blob(b"strict").u8(2).blob(b"{}").blob(b"");
        assert_eq!(code(&given.finish()), "reference-values-malformed");
        let mut digest = Writer::new();
        digest.u64(1).blob(b"strict").u8(1).raw(&[0; 31]);
        assert_eq!(code(&digest.finish()), "question-malformed");
    }

    #[test]
    fn no_prefix_and_nothing_longer_is_a_question() {
        let whole = question(b"testing", 0, b"COCOBNDL");
        for end in 0..whole.len() {
            assert_eq!(code(&whole[..end]), "question-malformed", "{end} bytes");
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert_eq!(code(&longer), "question-malformed");
    }

    #[test]
    fn a_built_in_policy_is_meant_by_its_name_and_by_its_text() {
        for (name, policy) in AppraisalPolicy::built_in() {
            let text = policy.to_json().unwrap();
            assert_eq!(named_or_read(name.as_bytes()).as_ref(), Ok(&policy));
            assert_eq!(named_or_read(text.as_bytes()), Ok(policy));
        }
    }

    #[test]
    fn an_error_says_what_is_behind_it_in_one_line() {
        let error = Question::decode(&question(b"strict", 0, b"COCO")).unwrap_err();
        let text = error.chain();
        assert!(
            text.starts_with("cannot read the bundle: not a bundle: "),
            "{text}"
        );
    }

    fn key() -> SignerKey {
        SignerKey::from_seed("log.example/releases".parse().unwrap(), &[3; 32])
    }

    /// Entry, proof, manifest and reference values of a published release.
    fn published() -> [String; 4] {
        let digest = FileDigest::of(b"sbom");
        let values =
            r#"{"version":1,"image":"0.1.0","profile":"research","shapes":[],"models":[]}"#;
        let manifest = serde_json::json!({
            "version": 1, "image": "0.1.0", "flavour": "cpu", "profile": "research",
            "files": { names::SBOM: { "sha256": digest.to_string() } },
        });
        let manifest = manifest.to_string();
        let (texts, mut log) = (
            (manifest.as_bytes(), values.as_bytes()),
            ReleaseLog::default(),
        );
        let described = DescribedRelease::of_files(texts.0, texts.1, digest, digest).unwrap();
        let index = log.append(*described.record()).unwrap();
        let proof = log.inclusion(index, log.sign(&key()).unwrap()).unwrap();
        let entry = described.record().to_string();
        [entry, proof.to_string(), manifest, values.to_owned()]
    }

    fn asked(key: &str, files: &[String; 4]) -> Vec<u8> {
        let mut out = Writer::new();
        out.u64(1).blob(b"strict").u8(3).blob(key.as_bytes());
        for file in files {
            out.blob(file.as_bytes());
        }
        out.blob(b"");
        out.finish()
    }

    #[test]
    fn a_release_is_pinned_that_the_log_of_the_readers_key_holds() {
        let files = published();
        let mut out = Writer::new();
        out.blob(key().verifier().to_string().as_bytes());
        for file in &files {
            out.blob(file.as_bytes());
        }
        let bytes = out.finish();
        let release = release(&mut Reader::new(&bytes)).unwrap();
        let pinned = Pinned::Release(Box::new(release));
        let values = ReferenceValues::parse(files[3].as_bytes()).unwrap();
        assert!(matches!(pinned.pin(), Pin::Values(pinned) if *pinned == values));
    }

    #[test]
    fn a_release_that_the_log_does_not_hold_is_refused_with_its_code() {
        let (own, files) = (key().verifier().to_string(), published());
        // The release is good: what is refused is the bundle behind it.
        assert_eq!(code(&asked(&own, &files)), "bundle-malformed");
        let other = SignerKey::from_seed("log.example/releases".parse().unwrap(), &[4; 32]);
        let other = other.verifier().to_string();
        assert_eq!(code(&asked(&other, &files)), "release-log-signature");
        for text in ["", "log.example/releases", &own[1..]] {
            assert_eq!(code(&asked(text, &files)), "log-key-malformed", "{text}");
        }
        for (at, expected) in [
            (0, "release-entry-malformed"),
            (1, "release-proof-malformed"),
            (2, "release-file-changed"),
            (3, "release-file-changed"),
        ] {
            let mut changed = files.clone();
            changed[at].push(' ');
            assert_eq!(code(&asked(&own, &changed)), expected);
        }
        let mut long = files.clone();
        long[0] = "x".repeat(MAX_RECORD_BYTES + 1);
        assert_eq!(code(&asked(&own, &long)), "question-malformed");
    }
}
