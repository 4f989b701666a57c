//! The release program under its confinement, on the machine that runs the tests: linked with a
//! loader, it starts, answers, and ends well.
//!
//! Needs root, seccomp and landlock of version 6 or later, and no NVIDIA driver.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::fs::{File, OpenOptions, Permissions};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use init::confinement::{Role, start_seeing, view};
use init::gpu::client::{GpuClient, GpuSocketError};
use messages::gpu_socket::{DeviceCount, GpuRefusal};
use protocol::digest::GpuNonce;
use sys::process::Ended;

/// The program in a file that its user can start and not read, as in the image.
fn program() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let manifest = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../guest/gpu-evidence/Cargo.toml"
    );
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--bin", "gpu-evidence"])
        .args(["--manifest-path", manifest, "--message-format=json"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "cannot build the program: {errors}");
    let messages = String::from_utf8(built.stdout).unwrap();
    let executable = messages.rsplit("\"executable\":\"").next().unwrap();
    let executable = executable.split('"').next().unwrap();
    let program = directory.path().join("gpu-evidence");
    std::fs::copy(executable, &program).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o511)).unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    (directory, program)
}

fn null() -> File {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/null");
    opened.unwrap()
}

#[test]
fn the_confined_program_starts_says_that_it_has_no_driver_and_ends_well() {
    let (_directory, program) = program();
    let (near, far) = sys::socket::pair().unwrap();
    let null = null();
    let descriptors = [null.as_fd(), null.as_fd(), null.as_fd(), far.as_fd()];
    let (role, seen) = (Role::GpuEvidence, view::libraries());
    let mut child = start_seeing(
        role,
        &program,
        &[c"gpu-evidence".into()],
        &descriptors,
        &seen,
    )
    .unwrap();
    drop(far);
    let mut client = GpuClient::new(near, Duration::from_secs(10));
    let count = DeviceCount {
        gpus: 1,
        switches: 0,
    };
    for _ in 0..2 {
        let refused = client.collect(0, count, vec![GpuNonce([1; 32])]);
        assert_eq!(
            refused.unwrap_err(),
            GpuSocketError::Refused(GpuRefusal::NoLibrary),
            "{:?}",
            child.ended()
        );
    }
    drop(client);
    assert_eq!(child.wait().unwrap(), Ended::Exited(0));
}

#[test]
fn without_its_loader_in_sight_the_program_does_not_start() {
    let (_directory, program) = program();
    let (_near, far) = sys::socket::pair().unwrap();
    let null = null();
    let descriptors = [null.as_fd(), null.as_fd(), null.as_fd(), far.as_fd()];
    let role = Role::GpuEvidence;
    let started = start_seeing(role, &program, &[c"gpu-evidence".into()], &descriptors, &[]);
    assert!(started.is_err());
}
