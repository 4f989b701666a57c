//! The release program over a stand-in for NVIDIA's library (`nvml.c`, compiled here): its calls,
//! the structures that they fill, and what the library can get wrong. Not shown: NVIDIA's own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use init::gpu::client::{GpuClient, GpuSocketError, Watched};
use messages::gpu_socket::{DeviceCount, GpuRefusal};
use protocol::digest::GpuNonce;
use protocol::gpu_evidence::DeviceKind;

const ONE: DeviceCount = DeviceCount {
    gpus: 1,
    switches: 0,
};

/// The program, running over a library that was compiled with these flags.
struct Running {
    client: Option<GpuClient>,
    child: Child,
    _library: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.client = None;
        self.child.wait().unwrap();
    }
}

fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
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
        executable.split('"').next().unwrap().to_owned()
    })
}

fn over(flags: &[&str]) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nvml.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror"])
        .args(flags)
        .arg("-o")
        .arg(directory.path().join("libnvidia-ml.so.1"))
        .arg(source)
        .status();
    assert!(compiled.unwrap().success(), "the stand-in does not compile");
    let (near, far) = UnixStream::pair().unwrap();
    let child = Command::new("sh")
        .args(["-c", "exec \"$0\" 3<&0 </dev/null", program()])
        .env("LD_LIBRARY_PATH", directory.path())
        .stdin(Stdio::from(OwnedFd::from(far)))
        .spawn()
        .unwrap();
    Running {
        client: Some(GpuClient::new(near.into(), Duration::from_secs(20))),
        child,
        _library: directory,
    }
}

fn lying(lie: &str) -> GpuSocketError {
    let mut running = over(&[&format!("-DLIE={lie}")]);
    let client = running.client.as_mut().unwrap();
    let collected = client.collect(0, ONE, vec![GpuNonce([6; 32])]);
    collected.unwrap_err()
}

#[test]
fn report_chain_name_ready_state_and_errors_pass_through_the_library() {
    let mut running = over(&[]);
    let client = running.client.as_mut().unwrap();
    let collected = client.collect(4, ONE, vec![GpuNonce([6; 32])]).unwrap();
    let (uuids, evidence) = collected;
    assert_eq!(uuids[0].as_str(), "GPU-0");
    assert_eq!(evidence.round, 4);
    assert_eq!(evidence.devices[0].kind, DeviceKind::Hopper);
    assert_eq!(evidence.devices[0].report, [&b"R"[..], &[6; 32]].concat());
    assert_eq!(evidence.devices[0].chain, [[1, 2, 3]]);
    let watched = |ready, faults| Ok(Watched { ready, faults });
    assert_eq!(client.watch(), watched(false, 2));
    assert_eq!(client.accept(), Ok(()));
    assert_eq!(client.watch(), watched(true, 0));
}

#[test]
fn whatever_the_library_says_wrong_has_its_refusal() {
    for (lie, refusal) in [
        ("OFF", GpuRefusal::ConfidentialOff),
        ("TOOLS", GpuRefusal::DeveloperTools),
        ("SIMULATED", GpuRefusal::NotProduction),
        ("BOARD", GpuRefusal::ModeUnsupported),
        ("REPORT_LENGTH", GpuRefusal::Report),
        ("CHAIN_LENGTH", GpuRefusal::Chain),
        ("NAME", GpuRefusal::Uuid),
        ("LOST", GpuRefusal::Lost),
        ("OLD", GpuRefusal::Architecture),
    ] {
        assert_eq!(lying(lie), GpuSocketError::Refused(refusal), "{lie}");
    }
}

#[test]
fn a_library_without_a_function_or_that_does_not_obey_is_refused() {
    let mut running = over(&["-DWITHOUT_SETTINGS"]);
    let client = running.client.as_mut().unwrap();
    let collected = client.collect(0, ONE, vec![GpuNonce([6; 32])]);
    let expected = GpuSocketError::Refused(GpuRefusal::NoLibrary);
    assert_eq!(collected.unwrap_err(), expected);
    let mut running = over(&["-DLIE=DEAF"]);
    let client = running.client.as_mut().unwrap();
    client.collect(0, ONE, vec![GpuNonce([6; 32])]).unwrap();
    let expected = GpuSocketError::Refused(GpuRefusal::Driver);
    assert_eq!(client.accept(), Err(expected));
}
