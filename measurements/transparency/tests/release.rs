//! A release from bytes: what a keeper publishes is taken by its log's key alone, and each file
//! that is another is refused with its code.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests state claims; a panic is the failure"
)]

use serde_json::json;
use transparency::log::ReleaseLog;
use transparency::names;
use transparency::note::SignerKey;
use transparency::record::FileDigest;
use transparency::release::{
    DescribedRelease, LoggedRelease, MAX_MANIFEST_BYTES, ReleaseFilesError,
};

const SBOM: &[u8] = b"{\"of\": \"0.1.0\"}\n";
const INPUTS: &[u8] = b"{}\n";

#[derive(Clone)]
struct Release {
    entry: String,
    proof: String,
    manifest: String,
    values: String,
}

fn key(name: &str) -> SignerKey {
    SignerKey::from_seed(name.parse().unwrap(), &[3; 32])
}

fn described(version: &str) -> (String, String, DescribedRelease) {
    let manifest = json!({
        "version": 1, "image": version, "flavour": "cpu", "profile": "release",
        "files": { names::SBOM: { "sha256": FileDigest::of(SBOM).to_string() } },
    });
    let values = json!({
        "version": 1, "image": version, "profile": "release", "shapes": [], "models": [],
    });
    let (manifest, values) = (manifest.to_string(), values.to_string());
    let (sbom, inputs) = (FileDigest::of(SBOM), FileDigest::of(INPUTS));
    let described =
        DescribedRelease::of_files(manifest.as_bytes(), values.as_bytes(), sbom, inputs);
    (manifest, values, described.unwrap())
}

/// The second of two releases in one log.
fn published() -> Release {
    let mut log = ReleaseLog::default();
    log.append(*described("0.0.9").2.record()).unwrap();
    let (manifest, values, described) = described("0.1.0");
    let index = log.append(*described.record()).unwrap();
    let checkpoint = log.sign(&key("log.example/releases")).unwrap();
    Release {
        entry: described.record().to_string(),
        proof: log.inclusion(index, checkpoint).unwrap().to_string(),
        manifest,
        values,
    }
}

impl Release {
    fn described(&self) -> Result<DescribedRelease, ReleaseFilesError> {
        let Self {
            entry,
            manifest,
            values,
            ..
        } = self;
        DescribedRelease::of_entry(entry.as_bytes(), manifest.as_bytes(), values.as_bytes())
    }

    fn logged(&self, log: &str) -> Result<LoggedRelease, ReleaseFilesError> {
        let key = key(log).verifier();
        self.described()?.in_log(self.proof.as_bytes(), &key)
    }

    fn code(&self, change: impl FnOnce(&mut Self)) -> &'static str {
        let mut changed = self.clone();
        change(&mut changed);
        changed.logged("log.example/releases").unwrap_err().code()
    }
}

#[test]
fn a_published_release_is_taken_with_its_place_in_the_log() {
    let logged = published().logged("log.example/releases").unwrap();
    assert_eq!((logged.index(), logged.checkpoint().size), (1, 2));
    let (record, values) = (logged.record(), logged.reference_values());
    assert_eq!(record.version.to_string(), "0.1.0");
    assert_eq!(values.image, record.version);
}

#[test]
fn each_file_that_is_another_is_refused_with_its_code() {
    let good = published();
    let code = |change: fn(&mut Release)| good.code(change);
    assert_eq!(code(|r| r.entry.push(' ')), "release-entry-malformed");
    assert_eq!(code(|r| r.manifest.push(' ')), "release-file-changed");
    assert_eq!(code(|r| r.values.push(' ')), "release-file-changed");
    assert_eq!(code(|r| r.proof.push(' ')), "release-proof-malformed");
    let elsewhere = |r: &mut Release| r.proof = r.proof.replace("index 1", "index 0");
    assert_eq!(good.code(elsewhere), "release-not-in-log");
    // A record that says another version than the files whose digests it has.
    let renamed = |r: &mut Release| r.entry = r.entry.replace("0.1.0", "0.1.1");
    assert_eq!(good.code(renamed), "release-files-disagree");
    let other = good.logged("log.example/other").unwrap_err();
    assert_eq!(other.code(), "release-log-signature");
}

#[test]
fn the_files_besides_are_those_of_the_record() {
    let described = published().described().unwrap();
    assert!(described.has(SBOM, INPUTS).is_ok());
    for (sbom, inputs) in [(INPUTS, INPUTS), (SBOM, SBOM)] {
        let error = described.has(sbom, inputs).unwrap_err();
        assert_eq!(error.code(), "release-file-changed");
    }
}

#[test]
fn files_of_several_releases_are_described_by_no_record() {
    let digest = FileDigest::of(SBOM);
    let (manifest, values, _) = described("0.1.0");
    let (_, others, _) = described("0.2.0");
    let of = |manifest: &str, values: &str, sbom| {
        let described =
            DescribedRelease::of_files(manifest.as_bytes(), values.as_bytes(), sbom, digest);
        described.map_err(|error| error.code())
    };
    assert!(of(&manifest, &values, digest).is_ok());
    assert_eq!(
        of(&manifest, &others, digest),
        Err("release-files-disagree")
    );
    let research = values.replace("\"release\"", "\"research\"");
    assert_ne!(research, values);
    assert_eq!(
        of(&manifest, &research, digest),
        Err("release-files-disagree")
    );
    let sbom = FileDigest::of(INPUTS);
    assert_eq!(of(&manifest, &values, sbom), Err("release-files-disagree"));
    assert_eq!(of(&manifest, "{}", digest), Err("release-reference-values"));
    let filled = |length: usize| manifest.clone() + &" ".repeat(length - manifest.len());
    let longest = filled(MAX_MANIFEST_BYTES);
    assert!(of(&longest, &values, digest).is_ok());
    let other = |from: &str, to: &str| {
        let other = manifest.replacen(from, to, 1);
        assert_ne!(other, manifest, "{from}");
        other
    };
    for manifest in [
        "{}".to_owned(),
        filled(MAX_MANIFEST_BYTES + 1),
        other("\"version\":1", "\"version\":2"),
        other("\"version\"", "\"versions\""),
        other("cpu", "tpu"),
        other("\"profile\":\"release\"", "\"profile\":\"testing\""),
        other("0.1.0", "0.1"),
    ] {
        assert_eq!(
            of(&manifest, &values, digest),
            Err("release-manifest-malformed"),
            "{manifest:.80}"
        );
    }
}
