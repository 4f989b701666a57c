//! The program from outside: what it prints, writes and answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state claims; a panic is the failure"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mock-tee");

/// Ends the program when a test ends, however it ends.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn record(folder: &Path) -> std::path::PathBuf {
    let program = folder.join("program");
    std::fs::write(&program, b"some program").unwrap();
    let text = format!(
        r#"{{"pid":null,"tee":"sev-snp","shape":{{"vcpus":2,"memory_mib":2048,
        "vcpu_type":"EPYC-v4","guest_features":1}},"host_data":"{}","digest_of":[{program:?}]}}"#,
        "5a".repeat(32)
    );
    let path = folder.join("launch.json");
    std::fs::write(&path, text).unwrap();
    path
}

fn serve(folder: &Path, tee: &str, more: &[&str]) -> (Serving, Vec<String>) {
    let mut child = Command::new(PROGRAM)
        .args(["serve", "--tee", tee, "--listen"])
        .arg(folder.join("socket"))
        .arg("--launch")
        .arg(record(folder))
        .args(more)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    for line in lines {
        let line = line.unwrap();
        let ready = line == "ready";
        said.push(line);
        if ready {
            break;
        }
    }
    (Serving(child), said)
}

fn ask(folder: &Path, request: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(folder.join("socket")).unwrap();
    let length = u32::try_from(request.len()).unwrap();
    stream.write_all(&length.to_le_bytes()).unwrap();
    stream.write_all(request).unwrap();
    let mut header = [0; 4];
    stream.read_exact(&mut header).unwrap();
    let mut answer = vec![0; usize::try_from(u32::from_le_bytes(header)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    answer
}

#[test]
fn says_at_start_that_it_is_a_simulation() {
    let folder = tempfile::tempdir().unwrap();
    let (_serving, said) = serve(folder.path(), "sev-snp", &[]);
    assert_eq!(
        said[0],
        "simulated TEE: proves protocol and verifier, not isolation"
    );
}

#[test]
fn answers_with_the_measurement_that_it_printed() {
    for (tee, offset, word) in [
        ("sev-snp", 0x90, "measurement "),
        ("tdx", 48 + 136, "mrtd "),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (_serving, said) = serve(folder.path(), tee, &[]);
        let printed = said
            .iter()
            .find_map(|line| line.strip_prefix(word))
            .unwrap();
        let answer = ask(folder.path(), &[&[1][..], &[7; 64]].concat());
        assert_eq!(answer[0], 0);
        let register = &answer[5 + offset..5 + offset + 48];
        let hex: String = register.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, printed);
    }
}

#[test]
fn a_lie_changes_what_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let (_serving, _said) = serve(folder.path(), "sev-snp", &["--lie", "debug"]);
    let answer = ask(folder.path(), &[&[1][..], &[7; 64]].concat());
    // Bit 19 of the guest policy at offset 8.
    assert_eq!(answer[5 + 8 + 2] & 0x08, 0x08);
}

#[test]
fn writes_the_files_that_a_host_staples() {
    for (tee, files) in [
        (
            "sev-snp",
            &["ark.der", "ask.der", "crl.der", "vcek.der"][..],
        ),
        ("tdx", &["tdx-collateral.json"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("endorsements");
        let status = Command::new(PROGRAM)
            .args(["endorsements", "--tee", tee, "--out"])
            .arg(&out)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        let entries = std::fs::read_dir(&out).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, files);
    }
}

#[test]
fn refuses_a_lie_without_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args([
            "endorsements",
            "--tee",
            "tdx",
            "--lie",
            "everything",
            "--out",
        ])
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
