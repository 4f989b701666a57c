//! What a release says of itself: reference values, manifest, shapes, descriptions of models; and
//! the notes, proofs and records of the log that it stands in.

use std::sync::OnceLock;

use measurements::check;
use measurements::explain::document;
use measurements::publication::{ReleaseFiles, names};
use measurements::release::{ModelDescription, Shape};
use measurements::transparency::checkpoint::Checkpoint;
use measurements::transparency::log::ReleaseLog;
use measurements::transparency::note::{SignedNote, SignerKey, VerifierKey};
use measurements::transparency::proof::{ConsistencyProof, InclusionProof};
use measurements::transparency::record::{FileDigest, ReleaseRecord};
use measurements::transparency::release::DescribedRelease;
use protocol::launch_configuration::LaunchConfiguration;
use protocol::reference_values::ReferenceValues;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Outcome, honest, pieces};

thread_local! {
    static PLACE: TempDir = TempDir::new().expect("a place for files");
}

/// Two documents: read as each kind that there is, as the two files of a release, and compared.
pub fn documents(input: &[u8]) -> Outcome {
    let [first, second] = pieces::split::<2>(input);
    let mut outcome = Outcome::Refused;
    for text in [first, second] {
        let values = ReferenceValues::parse(text);
        if let Ok(values) = &values {
            let again = values.to_json().expect("what was read can be written");
            assert_eq!(
                ReferenceValues::parse(again.as_bytes()).as_ref(),
                Ok(values)
            );
        }
        let configuration = LaunchConfiguration::parse(text);
        if let Ok(configuration) = &configuration {
            let again = configuration.to_canonical_bytes();
            assert_eq!(again.as_deref(), Ok(text), "two texts for one digest");
        }
        let shapes = serde_json::from_slice::<Vec<Shape>>(text);
        let description = serde_json::from_slice::<ModelDescription>(text);
        outcome = outcome
            .or(Outcome::of(&values))
            .or(Outcome::of(&configuration))
            .or(Outcome::of(&shapes))
            .or(Outcome::of(&description));
    }
    if let (Ok(first), Ok(second)) = (document::parse(first), document::parse(second)) {
        let differ = document::differences(&first, &second);
        assert_eq!(
            differ.is_empty(),
            document::differences(&second, &first).is_empty()
        );
        assert!(document::differences(&first, &first).is_empty());
    }
    outcome.or(release(first, second))
}

/// A document, compared with itself and with one in which every number is another.
pub fn comparison(input: &[u8]) -> Outcome {
    let parsed = document::parse(input);
    if let Ok(document) = &parsed {
        assert!(document::differences(document, document).is_empty());
        let _causes = document::differences(document, &without_numbers(document));
    }
    Outcome::of(&parsed)
}

fn without_numbers(value: &Value) -> Value {
    match value {
        Value::Number(_) => Value::Null,
        Value::Array(list) => list.iter().map(without_numbers).collect(),
        Value::Object(members) => {
            let members = members.iter();
            members
                .map(|(name, value)| (name.clone(), without_numbers(value)))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// The manifest and the reference values of a release directory.
fn release(manifest: &[u8], values: &[u8]) -> Outcome {
    PLACE.with(|place| {
        let (release, image) = (place.path().join("release"), place.path().join("image"));
        if !image.exists() {
            std::fs::create_dir_all(&release).expect("a directory");
            for name in [names::SBOM, names::BUILD_INPUTS] {
                std::fs::write(release.join(name), "{}\n").expect("a file");
            }
            std::fs::create_dir_all(&image).expect("a directory");
        }
        std::fs::write(release.join(names::MANIFEST), manifest).expect("a file");
        std::fs::write(release.join(names::REFERENCE_VALUES), values).expect("a file");
        let checked = check::check(&release, &image, &[]);
        assert!(checked.is_err(), "the image has no files");
        let files = ReleaseFiles::read(&release);
        Outcome::of(&files.and_then(|files| files.record()))
    })
}

/// Seed and name of the key that signed the seeds.
pub const LOG_SEED: [u8; 32] = [3; 32];
/// See [`LOG_SEED`].
pub const LOG_NAME: &str = "log.example/releases";

/// The key that signed the seeds: it signs nothing else.
///
/// # Panics
/// Never: the name is a name.
#[must_use]
pub fn log_key() -> SignerKey {
    SignerKey::from_seed(LOG_NAME.parse().expect("a name"), &LOG_SEED)
}

/// Everything of the log that is text.
pub fn transparency(input: &[u8]) -> Outcome {
    let key = log_key().verifier();
    let note = SignedNote::parse(input);
    if let Ok(note) = &note {
        assert_eq!(note.to_string().as_bytes(), input, "two texts for one note");
        let _state_or_reason = Checkpoint::open(note, &key);
    }
    let inclusion = InclusionProof::parse(input);
    if let Ok(proof) = &inclusion {
        assert_eq!(
            proof.to_string().as_bytes(),
            input,
            "two texts for one proof"
        );
        let _state_or_reason = proof.verify(b"record", &key);
    }
    let consistency = ConsistencyProof::parse(input);
    if let Ok(proof) = &consistency {
        assert_eq!(
            proof.to_string().as_bytes(),
            input,
            "two texts for one proof"
        );
        if let Ok(old) = Checkpoint::open(&proof.checkpoint, &key) {
            let _state_or_reason = proof.verify(&old, &key);
        }
    }
    let record = ReleaseRecord::parse(input);
    let log = ReleaseLog::parse(input);
    if let Ok(log) = &log {
        assert_eq!(log.to_string().as_bytes(), input, "two texts for one log");
        let signed = log.sign(&log_key()).expect("a log can be signed");
        if let Some(proof) = log.inclusion(0, signed) {
            let record = log.records()[0].to_string();
            let holds = proof.verify(record.as_bytes(), &key);
            assert!(holds.is_ok(), "the log's own proof");
        }
    }
    let text = std::str::from_utf8(input).unwrap_or_default();
    let public: Result<VerifierKey, _> = text.parse();
    Outcome::of(&note)
        .or(Outcome::of(&inclusion))
        .or(Outcome::of(&consistency))
        .or(Outcome::of(&record))
        .or(Outcome::of(&log))
        .or(Outcome::of(&public))
}

/// A release as a keeper hands it out: entry, manifest, reference values, proof.
///
/// # Panics
/// When the honest one cannot be made.
#[must_use]
pub fn honest_release() -> &'static [Vec<u8>; 4] {
    static RELEASE: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    RELEASE.get_or_init(|| {
        let sbom = FileDigest::of(b"{}\n");
        let values = honest::references().to_json().expect("reference values");
        let files = format!(r#"{{"{}":{{"sha256":"{sbom}"}}}}"#, names::SBOM);
        let head = r#""version":1,"image":"0.1.0","flavour":"cpu","profile":"research""#;
        let manifest = format!(r#"{{{head},"files":{files}}}"#);
        let (manifest, values) = (manifest.into_bytes(), values.into_bytes());
        let described = DescribedRelease::of_files(&manifest, &values, sbom, sbom);
        let record = *described.expect("a release").record();
        let mut log = ReleaseLog::default();
        log.append(record).expect("a first record");
        let note = log.sign(&log_key()).expect("a log can be signed");
        let proof = log.inclusion(0, note).expect("a proof").to_string();
        [
            record.to_string().into_bytes(),
            manifest,
            values,
            proof.into_bytes(),
        ]
    })
}

/// Entry, manifest, reference values and proof; then the same where the entry has the digests of
/// those files, as a hostile keeper's would.
pub fn described_release(input: &[u8]) -> Outcome {
    let [entry, manifest, values, proof] = pieces::split::<4>(input);
    let key = log_key().verifier();
    let fitting = ReleaseRecord::parse(entry).map(|record| ReleaseRecord {
        manifest: FileDigest::of(manifest),
        reference_values: FileDigest::of(values),
        ..record
    });
    let fitting = fitting.map_or_else(|_| Vec::new(), |record| record.to_string().into_bytes());
    let mut outcome = Outcome::Refused;
    for entry in [entry, &fitting] {
        let described = DescribedRelease::of_entry(entry, manifest, values);
        outcome = outcome.or(Outcome::of(&described));
        let Ok(described) = described else {
            continue;
        };
        let record = *described.record();
        assert_eq!(record.to_string().as_bytes(), entry, "another entry");
        assert_eq!(record.manifest, FileDigest::of(manifest));
        assert_eq!(record.reference_values, FileDigest::of(values));
        if described.in_log(proof, &key).is_ok() {
            let [honest, ..] = honest_release();
            assert_eq!(entry, honest, "a forged entry");
        }
    }
    outcome
}
