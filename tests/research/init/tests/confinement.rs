//! The probe under both confinements, on the machine that runs the tests.
//!
//! Needs root, seccomp and landlock of version 6 or later; without them it fails and says so. The
//! same attempts, unconfined, do succeed here, so that a refusal means something.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests state claims; a panic is the failure"
)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use init::confinement::{Role, view};
use init_research::{rehearse, rehearse_seeing};
use probe::Attempt;

/// The probe, linked without a loader as the programs of the image are, in a file that its user
/// can start and not read.
fn static_probe() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../probe/Cargo.toml");
    let built = Command::new(env!("CARGO"))
        .args([
            "rustc",
            "--quiet",
            "--release",
            "--offline",
            "--bin",
            "probe",
        ])
        .args(["--manifest-path", manifest, "--message-format=json"])
        .args(["--", "-C", "target-feature=+crt-static"])
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "cannot build the probe: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    let messages = String::from_utf8(built.stdout).unwrap();
    let executable = messages.rsplit("\"executable\":\"").next().unwrap();
    let executable = executable.split('"').next().unwrap();
    let probe = directory.path().join("probe");
    std::fs::copy(executable, &probe).unwrap();
    std::fs::set_permissions(&probe, Permissions::from_mode(0o511)).unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    (directory, probe)
}

#[test]
fn everything_beyond_its_descriptors_is_refused_to_a_confined_program() {
    let _alone = alone();
    let (_directory, probe) = static_probe();
    for role in Role::BLIND {
        match rehearse(role, &probe) {
            Ok(refused) => assert_eq!(refused, Attempt::ALL.len()),
            Err(error) => panic!("{error} (the test needs root, seccomp and landlock 6)"),
        }
    }
}

#[test]
fn a_program_that_sees_a_loader_and_libraries_can_attempt_no_more() {
    let _alone = alone();
    let (_directory, probe) = static_probe();
    match rehearse_seeing(Role::GpuEvidence, &probe, &view::libraries()) {
        Ok(refused) => assert_eq!(refused, Attempt::ALL.len()),
        Err(error) => panic!("{error} (the test needs root, seccomp and landlock 6)"),
    }
}

#[test]
fn the_same_attempts_succeed_unconfined() {
    let _alone = alone();
    let (_directory, probe) = static_probe();
    let exits_with = |attempt: Attempt| {
        let number = Attempt::ALL.iter().position(|known| *known == attempt);
        let script = "exec 3>/dev/null; exec \"$0\" \"$1\"";
        let status = Command::new("unshare")
            .args(["--mount", "--net", "sh", "-c", script])
            .arg(&probe)
            .arg(number.unwrap().to_string())
            .status()
            .unwrap();
        status.code()
    };
    assert_eq!(exits_with(Attempt::Nothing), Some(0));
    for attempt in [
        Attempt::UnixSocket,
        Attempt::InetSocket,
        Attempt::Mount,
        Attempt::Trace,
        Attempt::Exec,
        Attempt::ExecAgain,
        Attempt::Fork,
        Attempt::ReadDirectory,
        Attempt::Signal,
        Attempt::BecomeRoot,
    ] {
        assert_eq!(exits_with(attempt), Some(1), "{attempt:?}");
    }
}

/// One test at a time: a child that is forked while the other test still writes its program holds
/// that file open for writing, and the program cannot be run ("text file busy").
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
