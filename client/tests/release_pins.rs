//! Pins from a published release: what its log holds is taken, and each way in which a directory is
//! not that release is refused with its own code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod peer;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use client::pins::{Pins, PinsError};
use measurements::publication::{self, ReleaseFiles, names};
use measurements::transparency::log::ReleaseLog;
use measurements::transparency::note::{SignedNote, SignerKey, VerifierKey};
use measurements::transparency::record::{FileDigest, ReleaseRecord};
use peer::{Answering, IMAGE, Peer, Script, Stage};
use protocol::reference_values::{Profile, ReferenceValues};
use serde_json::{Value, json};

const LOG: &str = "log.example/releases";

/// A keeper with a log of two releases; the second is the one that peers run.
struct Keeper {
    key: SignerKey,
    place: tempfile::TempDir,
}

impl Keeper {
    fn of_profile(profile: Profile) -> Self {
        let keeper = Self {
            key: SignerKey::from_seed(LOG.parse().unwrap(), &[3; 32]),
            place: tempfile::tempdir().unwrap(),
        };
        let mut log = ReleaseLog::default();
        let mut last = None;
        for (name, version) in [("before", "0.0.9".parse().unwrap()), ("release", IMAGE)] {
            let values = ReferenceValues {
                image: version,
                profile,
                ..peer::references()
            };
            let directory = keeper.place.path().join(name);
            write_files(&directory, &values);
            let files = ReleaseFiles::read(&directory).unwrap();
            let entries = log.to_string();
            let done =
                publication::append(&files, entries.as_bytes(), last.as_deref(), &keeper.key)
                    .unwrap();
            write(&directory, names::ENTRY, &done.record.to_string());
            write(&directory, names::INCLUSION, &done.inclusion.to_string());
            last = Some(done.checkpoint.to_string().into_bytes());
            log = done.log;
        }
        keeper
    }

    fn release(&self) -> PathBuf {
        self.place.path().join("release")
    }

    fn log_key(&self) -> VerifierKey {
        self.key.verifier()
    }

    fn pins(&self) -> Result<Pins, PinsError> {
        Pins::of_release(&self.release(), &self.log_key(), Profile::Research)
    }

    /// The code with which the release is refused after a change to its directory.
    fn refused_after(&self, change: impl FnOnce(&Path)) -> &'static str {
        change(&self.release());
        self.pins().unwrap_err().code()
    }
}

fn research() -> Keeper {
    Keeper::of_profile(Profile::Research)
}

fn write(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text).unwrap();
}

fn read(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap()
}

/// Replaces the first `from` of a file, which must be there.
fn change(directory: &Path, name: &str, from: &str, to: &str) {
    let text = read(directory, name);
    assert!(text.contains(from), "{name}");
    write(directory, name, &text.replacen(from, to, 1));
}

fn write_files(directory: &Path, values: &ReferenceValues) {
    fs::create_dir(directory).unwrap();
    let sbom = format!("{{\"of\": \"{}\"}}\n", values.image);
    let profile = match values.profile {
        Profile::Release => "release",
        Profile::Research => "research",
    };
    let manifest = json!({
        "version": 1, "image": values.image.to_string(), "flavour": "cpu", "profile": profile,
        "files": { names::SBOM: { "sha256": FileDigest::of(sbom.as_bytes()).to_string() } },
    });
    write(directory, names::SBOM, &sbom);
    write(directory, names::MANIFEST, &manifest.to_string());
    write(
        directory,
        names::REFERENCE_VALUES,
        &values.to_json().unwrap(),
    );
    write(directory, names::BUILD_INPUTS, "{}\n");
}

/// Enters a record into a log of its own, signed by the keeper's key.
fn enter(keeper: &Keeper, record: ReleaseRecord) {
    let mut log = ReleaseLog::default();
    let index = log.append(record).unwrap();
    let checkpoint = log.sign(&keeper.key).unwrap();
    let proof = log.inclusion(index, checkpoint).unwrap();
    write(&keeper.release(), names::ENTRY, &record.to_string());
    write(&keeper.release(), names::INCLUSION, &proof.to_string());
}

#[tokio::test]
async fn a_machine_of_a_published_release_is_attested() {
    let stage = Stage::open();
    let peer = Peer::start(&stage.world, Answering::Honest, Script::default()).await;
    let mut attester = stage.attester(peer.address);
    attester.pins = research().pins().unwrap();
    let release = attester.pins.release().unwrap();
    assert_eq!((release.index(), release.checkpoint().size), (1, 2));
    assert_eq!(release.record().version, IMAGE);
    assert!(attester.connect().await.is_ok());
}

#[tokio::test]
async fn a_machine_of_another_image_than_the_release_s_is_refused() {
    let stage = Stage::open();
    let peer = Peer::start(&stage.world, Answering::OtherImage, Script::default()).await;
    let mut attester = stage.attester(peer.address);
    attester.pins = research().pins().unwrap();
    let error = attester.connect().await.unwrap_err();
    assert_eq!(error.code(), "registers-unknown");
    assert_eq!(error.application_bytes(), Some(0));
}

#[test]
fn a_file_that_is_not_the_published_one_is_refused() {
    for name in [
        names::MANIFEST,
        names::REFERENCE_VALUES,
        names::SBOM,
        names::BUILD_INPUTS,
    ] {
        let code = research().refused_after(|release| change(release, name, "{", "{ "));
        assert_eq!(code, "release-file-changed", "{name}");
    }
}

#[test]
fn a_file_that_is_missing_or_too_long_is_refused() {
    for name in [
        names::MANIFEST,
        names::REFERENCE_VALUES,
        names::SBOM,
        names::BUILD_INPUTS,
        names::ENTRY,
        names::INCLUSION,
    ] {
        let code = research().refused_after(|release| fs::remove_file(release.join(name)).unwrap());
        assert_eq!(code, "release-unreadable", "{name}");
        let long = " ".repeat(5 << 20);
        let code = research().refused_after(|release| write(release, name, &long));
        assert_eq!(code, "release-unreadable", "{name}");
    }
}

/// Whoever changes the reference values can change their digest in the entry as well.
#[test]
fn a_record_that_the_log_does_not_hold_is_refused() {
    let keeper = research();
    let code = keeper.refused_after(|release| {
        change(release, names::REFERENCE_VALUES, "1a1a", "1b1b");
        let files = ReleaseFiles::read(release).unwrap();
        write(release, names::ENTRY, &files.record().unwrap().to_string());
    });
    assert_eq!(code, "release-not-in-log");
}

#[test]
fn a_proof_of_another_release_or_with_another_path_is_refused() {
    let keeper = research();
    let code = keeper.refused_after(|release| {
        let proof = read(&keeper.place.path().join("before"), names::INCLUSION);
        write(release, names::INCLUSION, &proof);
    });
    assert_eq!(code, "release-not-in-log");
    let code = research().refused_after(|release| {
        let proof = read(release, names::INCLUSION);
        let hash = proof.lines().nth(2).unwrap();
        let other = "A".repeat(43) + "=";
        write(release, names::INCLUSION, &proof.replacen(hash, &other, 1));
    });
    assert_eq!(code, "release-not-in-log");
    let code = research().refused_after(|release| {
        change(release, names::INCLUSION, "index 1\n", "index 0\n");
    });
    assert_eq!(code, "release-not-in-log");
}

#[test]
fn a_checkpoint_that_the_key_did_not_sign_is_refused() {
    let code = research().refused_after(|release| {
        change(
            release,
            names::INCLUSION,
            &format!("{LOG}\n2\n"),
            &format!("{LOG}\n3\n"),
        );
    });
    assert_eq!(code, "release-log-signature");
    let keeper = research();
    for name in [LOG, "log.example/other"] {
        let other = SignerKey::from_seed(name.parse().unwrap(), &[4; 32]).verifier();
        let refused = Pins::of_release(&keeper.release(), &other, Profile::Research);
        assert_eq!(
            refused.unwrap_err().code(),
            "release-log-signature",
            "{name}"
        );
    }
}

#[test]
fn a_checkpoint_of_another_log_of_the_same_key_is_refused() {
    let keeper = research();
    let code = keeper.refused_after(|release| {
        let root = "A".repeat(43) + "=";
        let text = format!("log.example/other\n2\n{root}\n");
        let note = SignedNote::sign(text, &keeper.key).unwrap();
        let proof = read(release, names::INCLUSION);
        let (before, _) = proof.split_once("\n\n").unwrap();
        write(release, names::INCLUSION, &format!("{before}\n\n{note}"));
    });
    assert_eq!(code, "release-log-other");
}

#[test]
fn text_of_another_form_is_refused() {
    for (name, from, to, code) in [
        (names::ENTRY, "v1", "v2", "release-entry-malformed"),
        (names::ENTRY, "\n", "\n\n", "release-entry-malformed"),
        (names::INCLUSION, "@v1", "@v2", "release-proof-malformed"),
        (
            names::INCLUSION,
            "index 1",
            "index 01",
            "release-proof-malformed",
        ),
        (
            names::INCLUSION,
            "\n\n",
            "\nextra\n\n",
            "release-proof-malformed",
        ),
        (
            names::INCLUSION,
            "\u{2014} ",
            "- ",
            "release-proof-malformed",
        ),
    ] {
        let found = research().refused_after(|release| change(release, name, from, to));
        assert_eq!(found, code, "{name}: {to:?}");
    }
}

/// A keeper can log what it likes; a client compares the files with each other all the same.
#[test]
fn logged_files_that_are_not_of_one_release_are_refused() {
    for (name, from, to, code) in [
        (
            names::MANIFEST,
            "\"research\"",
            "\"release\"",
            "release-files-disagree",
        ),
        (
            names::MANIFEST,
            "\"cpu\"",
            "\"tpu\"",
            "release-manifest-malformed",
        ),
        (
            names::REFERENCE_VALUES,
            "\"shapes\"",
            "\"shape\"",
            "release-reference-values",
        ),
    ] {
        let keeper = research();
        let code_found = keeper.refused_after(|release| {
            let record = read(release, names::ENTRY);
            let record = ReleaseRecord::parse(record.as_bytes()).unwrap();
            change(release, name, from, to);
            let digest = FileDigest::of(read(release, name).as_bytes());
            let record = if name == names::MANIFEST {
                ReleaseRecord {
                    manifest: digest,
                    ..record
                }
            } else {
                ReleaseRecord {
                    reference_values: digest,
                    ..record
                }
            };
            enter(&keeper, record);
        });
        assert_eq!(code_found, code, "{name}");
    }
}

#[test]
fn a_release_of_the_other_profile_is_refused() {
    let keeper = Keeper::of_profile(Profile::Release);
    assert_eq!(
        keeper.pins().unwrap_err().code(),
        "reference-values-profile"
    );
}

/// Runs `cocoon --json verify bundle` on a file that is not there, so that the pins decide.
fn verify(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cocoon"))
        .args(["--json", "verify", "bundle", "/nonexistent/bundle"])
        .args(arguments)
        .output()
        .unwrap()
}

fn last(output: &Output) -> Value {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(said.lines().last().unwrap()).unwrap()
}

#[test]
fn the_program_takes_a_release_or_bare_values_and_never_one_for_the_other() {
    let keeper = Keeper::of_profile(Profile::Release);
    let (release, key) = (keeper.release(), keeper.log_key().to_string());
    let (release, key) = (release.to_str().unwrap(), key.as_str());
    let good = verify(&["--release", release, "--log-key", key]);
    let said = String::from_utf8(good.stdout.clone()).unwrap();
    let first: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["event"], &first["index"]),
        (&json!("release"), &json!(1))
    );
    assert_ne!(last(&good)["code"], json!("release-file-changed"));
    let without_key = verify(&["--release", release]);
    assert_eq!(without_key.status.code(), Some(2));
    assert_eq!(last(&without_key)["code"], "option-missing");
    let values = keeper.release().join(names::REFERENCE_VALUES);
    let both = ["--reference-values", values.to_str().unwrap()];
    for more in [&["--release", release][..], &["--log-key", key][..]] {
        let refused = verify(&[&both[..], more].concat());
        assert_eq!(refused.status.code(), Some(2), "{more:?}");
        assert!(refused.stdout.is_empty(), "{more:?}");
    }
    change(&keeper.release(), names::SBOM, "{", "{ ");
    let changed = verify(&["--release", release, "--log-key", key]);
    assert_eq!(changed.status.code(), Some(2));
    assert_eq!(last(&changed)["code"], "release-file-changed");
}

#[test]
fn the_settings_file_names_a_release_and_its_log() {
    let keeper = Keeper::of_profile(Profile::Release);
    let settings = keeper.place.path().join("settings.json");
    let path = settings.to_str().unwrap();
    let (release, key) = (keeper.release(), keeper.log_key().to_string());
    fs::write(
        &settings,
        json!({ "release": release, "log_key": key }).to_string(),
    )
    .unwrap();
    let said = verify(&["--config", path]);
    assert!(
        String::from_utf8(said.stdout)
            .unwrap()
            .contains("\"release\"")
    );
    for wrong in [
        json!({ "release": release, "log_key": "log.example/releases" }),
        json!({ "release": release, "log_key": key, "reference_values": "values.json" }),
    ] {
        fs::write(&settings, wrong.to_string()).unwrap();
        let refused = verify(&["--config", path]);
        assert_eq!(last(&refused)["code"], "settings-malformed");
    }
}
