//! What the engine of images for GPUs may do, shown with a program in its place (`stand_in.c`,
//! compiled here) and nodes behind which there is no driver. What libcuda does on a GPU is not
//! shown.
//!
//! Needs root, seccomp and landlock of version 6 or later.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests state claims; a panic is the failure"
)]

use std::ffi::CString;
use std::fs::{OpenOptions, Permissions};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use init::confinement::view::{Seen, Use, libraries};
use init::confinement::{Role, start_seeing};
use sys::process::Ended;

/// `SIGSYS`: the filter's answer.
const KILLED: Ended = Ended::Killed(31);

/// The program and a directory of kernels.
fn stand_in() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("engine");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stand_in.c");
    let compiled = Command::new("cc")
        .args(["-O1", "-Wall", "-Werror", "-o"])
        .args([program.as_path(), Path::new(source)])
        .status();
    assert!(compiled.unwrap().success(), "the stand-in does not compile");
    let kernels = directory.path().join("kernels");
    std::fs::create_dir(&kernels).unwrap();
    std::fs::write(kernels.join("product.cubin"), "kernel").unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o511)).unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    (directory, program)
}

/// Nodes of one GPU, and kernels.
fn view(directory: &Path) -> Vec<Seen> {
    let node = |name: &str| Seen {
        from: "/dev/null".into(),
        at: Path::new("/dev").join(name),
        used: Use::Device,
    };
    let mut seen = libraries();
    seen.extend(["nvidiactl", "nvidia-uvm", "nvidia0"].map(node));
    seen.push(Seen {
        from: directory.join("kernels"),
        at: "/kernels".into(),
        used: Use::Read,
    });
    seen
}

fn run(role: Role, argument: Option<&str>) -> Ended {
    let (directory, program) = stand_in();
    let opened = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = opened.unwrap();
    let arguments: Vec<_> = ["engine"].into_iter().chain(argument).collect();
    let arguments: Vec<_> = arguments
        .into_iter()
        .map(|argument| CString::new(argument).unwrap())
        .collect();
    let descriptors = [null.as_fd(), null.as_fd(), null.as_fd()];
    let seen = view(directory.path());
    let mut child = start_seeing(role, &program, &arguments, &descriptors, &seen).unwrap();
    child.wait().unwrap()
}

#[test]
fn what_libcuda_does_at_its_start_is_let_through_or_told_to_be_missing() {
    assert_eq!(run(Role::EngineGpu, None), Ended::Exited(0));
}

#[test]
fn a_request_of_another_kind_and_memory_that_can_be_run_are_the_end() {
    for what in ["request", "code", "protect", "pair", "limit"] {
        assert_eq!(run(Role::EngineGpu, Some(what)), KILLED, "{what}");
    }
}

#[test]
fn neither_the_engine_without_gpus_nor_gpu_evidence_may_do_as_much() {
    // The one opens no file at all, not even its libraries; the other asks nothing of unified
    // memory.
    assert_ne!(run(Role::Engine, None), Ended::Exited(0));
    assert_eq!(run(Role::GpuEvidence, None), KILLED);
}
