//! Release directories: what a keeper writes is what a client accepts offline, and what anybody
//! changes afterwards is refused with its reason. Through the program where a person would use it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state claims; a panic is the failure"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use measurements::publication::names;
use measurements::transparency::record::FileDigest;
use serde_json::{Value, json};

/// A log and its keeper in a directory of their own.
struct House {
    directory: tempfile::TempDir,
    log_key: String,
}

fn measure(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_measure"))
        .args(arguments)
        .output()
        .unwrap()
}

fn printed(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl House {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("log")).unwrap();
        let key = directory.path().join("log.key");
        let made = printed(&measure(&[
            "log",
            "new-key",
            "--name",
            "log.example/releases",
            "--out",
            text(&key),
        ]));
        let log_key = made["log_key"].as_str().unwrap().to_owned();
        Self { directory, log_key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The files of a release that was built but not published.
    fn build(&self, version: &str) -> PathBuf {
        let release = self.path(version);
        std::fs::create_dir(&release).unwrap();
        let sbom = format!("{{\"of\": \"{version}\"}}\n");
        let manifest = json!({
            "version": 1, "image": version, "flavour": "cpu", "profile": "release",
            "files": { names::SBOM: { "sha256": FileDigest::of(sbom.as_bytes()).to_string() } },
        });
        let values = json!({
            "version": 1, "image": version, "profile": "release", "shapes": [], "models": [],
        });
        std::fs::write(release.join(names::SBOM), sbom).unwrap();
        std::fs::write(release.join(names::MANIFEST), manifest.to_string()).unwrap();
        std::fs::write(release.join(names::REFERENCE_VALUES), values.to_string()).unwrap();
        std::fs::write(release.join(names::BUILD_INPUTS), "{}\n").unwrap();
        release
    }

    fn append(&self, release: &Path) -> Output {
        let (log, key) = (self.path("log"), self.path("log.key"));
        measure(&[
            "log",
            "append",
            "--release",
            text(release),
            "--log",
            text(&log),
            "--key",
            text(&key),
        ])
    }

    fn publish(&self, version: &str) -> PathBuf {
        let release = self.build(version);
        printed(&self.append(&release));
        release
    }

    fn verify(&self, release: &Path, more: &[&str]) -> Output {
        let mut arguments = vec!["log", "verify", "--release", text(release)];
        arguments.extend(["--log-key", &self.log_key]);
        arguments.extend(more);
        measure(&arguments)
    }

    fn remember(&self, name: &str) -> PathBuf {
        let copy = self.path(name);
        std::fs::copy(self.path("log").join(names::CHECKPOINT), &copy).unwrap();
        copy
    }
}

#[test]
fn a_published_release_verifies_offline_and_so_do_earlier_ones() {
    let house = House::new();
    let releases = ["0.1.0", "0.1.1", "0.2.0"].map(|version| house.publish(version));
    for (index, release) in releases.iter().enumerate() {
        let verdict = printed(&house.verify(release, &[]));
        assert_eq!(verdict["index"], json!(index));
        assert_eq!(verdict["log"], "log.example/releases");
    }
}

#[test]
fn each_changed_file_of_a_release_is_named() {
    let house = House::new();
    let release = house.publish("0.1.0");
    for name in [
        names::MANIFEST,
        names::REFERENCE_VALUES,
        names::SBOM,
        names::BUILD_INPUTS,
        names::ENTRY,
        names::INCLUSION,
    ] {
        let path = release.join(name);
        let good = std::fs::read(&path).unwrap();
        let mut changed = good.clone();
        let last = changed.iter_mut().rfind(|byte| **byte != b'\n').unwrap();
        *last ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let said = refused(&house.verify(&release, &[]));
        assert!(
            said.contains(name) || name == names::ENTRY,
            "{name}: {said}"
        );
        std::fs::remove_file(&path).unwrap();
        assert!(refused(&house.verify(&release, &[])).contains(name));
        std::fs::write(&path, good).unwrap();
    }
    printed(&house.verify(&release, &[]));
}

#[test]
fn another_log_s_key_is_refused() {
    let (house, other) = (House::new(), House::new());
    let release = house.publish("0.1.0");
    let said = refused(&other.verify(&release, &[]));
    assert!(said.contains("no signature by the expected key"), "{said}");
}

#[test]
fn a_client_that_remembers_a_checkpoint_sees_that_the_log_only_grew() {
    let house = House::new();
    house.publish("0.1.0");
    let first = house.remember("first");
    house.publish("0.1.1");
    let second = house.remember("second");
    let release = house.publish("0.1.2");
    // The release carries the step from the one before; older memories need the whole log.
    let verdict = printed(&house.verify(&release, &["--old-checkpoint", text(&second)]));
    assert_eq!(verdict["consistent_with"], 2);
    let said = refused(&house.verify(&release, &["--old-checkpoint", text(&first)]));
    assert!(said.contains("give the whole log"), "{said}");
    let log = house.path("log");
    let whole = ["--old-checkpoint", text(&first), "--log", text(&log)];
    let verdict = printed(&house.verify(&release, &whole));
    assert_eq!(verdict["consistent_with"], 1);
}

#[test]
fn a_client_with_a_checkpoint_refuses_the_same_keeper_s_other_history() {
    let house = House::new();
    house.publish("0.1.0");
    let seen = house.remember("seen");
    // The keeper starts again with the same key, as if the first release had never been.
    std::fs::remove_dir_all(house.path("log")).unwrap();
    std::fs::create_dir(house.path("log")).unwrap();
    house.publish("0.1.1");
    let release = house.publish("0.1.2");
    printed(&house.verify(&release, &[]));
    let said = refused(&house.verify(&release, &["--old-checkpoint", text(&seen)]));
    assert!(said.contains("another root"), "{said}");
}

#[test]
fn the_keeper_s_program_does_not_sign_a_second_history() {
    let house = House::new();
    house.publish("0.1.0");
    house.publish("0.1.1");
    let entries = house.path("log").join(names::ENTRIES);
    let good = std::fs::read_to_string(&entries).unwrap();
    let release = house.build("0.1.2");
    for (changed, reason) in [
        (good.replacen("0.1.0", "0.0.9", 1), "another root"),
        (good.split_inclusive("\n\n").take(1).collect(), "shrank"),
        (String::new(), "shrank"),
        (good.clone() + &good.replace("0.1.", "0.3."), "behind the 2"),
    ] {
        std::fs::write(&entries, changed).unwrap();
        let said = refused(&house.append(&release));
        assert!(said.contains(reason), "{said}");
    }
    std::fs::write(&entries, good).unwrap();
    printed(&house.append(&release));
}

#[test]
fn a_version_is_published_once() {
    let house = House::new();
    let release = house.publish("0.1.0");
    std::fs::write(release.join(names::BUILD_INPUTS), "{ }\n").unwrap();
    let said = refused(&house.append(&release));
    assert!(said.contains("published once"), "{said}");
}

#[test]
fn files_of_different_releases_are_not_published_together() {
    let house = House::new();
    for (name, reason) in [
        (names::REFERENCE_VALUES, "another version"),
        (names::SBOM, "another version"),
    ] {
        let (one, other) = (house.build("1.0.0"), house.build("2.0.0"));
        std::fs::copy(other.join(name), one.join(name)).unwrap();
        let said = refused(&house.append(&one));
        assert!(said.contains(name) && said.contains(reason), "{said}");
        for release in [one, other] {
            std::fs::remove_dir_all(release).unwrap();
        }
    }
}

#[test]
fn a_consistency_proof_is_printed_for_whoever_remembers() {
    let house = House::new();
    house.publish("0.1.0");
    let first = house.remember("first");
    house.publish("0.1.1");
    house.publish("0.1.2");
    let log = house.path("log");
    let output = measure(&[
        "log",
        "consistency",
        "--log",
        text(&log),
        "--log-key",
        &house.log_key,
        "--old-checkpoint",
        text(&first),
    ]);
    assert_eq!(output.status.code(), Some(0));
    let proof = String::from_utf8(output.stdout).unwrap();
    assert!(proof.starts_with("old 1\n"), "{proof}");
}

#[test]
fn a_key_file_is_for_its_owner_alone_and_is_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = House::new();
    let key = house.path("log.key");
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let public = printed(&measure(&["log", "key", "--key", text(&key)]));
    assert_eq!(public["log_key"], house.log_key.as_str());
    let again = ["log", "new-key", "--name", "log.example/other", "--out"];
    let mut again = again.to_vec();
    again.push(text(&key));
    assert!(refused(&measure(&again)).contains("cannot make"));
}
