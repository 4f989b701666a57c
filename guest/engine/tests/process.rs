//! The program as init starts it: two descriptors, no environment, no output, a status at the end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};

/// Starts the engine on a file of these bytes and hangs up after what it said first.
fn run(model: &[u8]) -> (Output, Vec<u8>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(model).unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    let child = Command::new("sh")
        .args([
            "-c",
            "exec \"$0\" 3<&0 4<\"$1\" </dev/null",
            env!("CARGO_BIN_EXE_engine"),
        ])
        .arg(file.path())
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(far)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    let _ended = near.read_to_end(&mut said);
    drop(near);
    (child.wait_with_output().unwrap(), said)
}

#[test]
fn a_file_that_is_no_model_ends_the_program_with_a_status_and_silence() {
    let truncated = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".as_slice();
    for model in [b"".as_slice(), b"not a model at all", truncated] {
        let (output, said) = run(model);
        assert_eq!(output.status.code(), Some(10));
        assert!(output.stdout.is_empty() && output.stderr.is_empty() && said.is_empty());
    }
}

#[test]
fn without_its_descriptors_the_program_ends_with_its_own_status() {
    let output = Command::new(env!("CARGO_BIN_EXE_engine"))
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}
