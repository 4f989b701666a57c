//! The built program as a child of a test, with its JSON lines, and what its commands need on disk.
//!
//! Not here: any claim.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn command() -> Command {
    let mut command = command_in_text();
    command.arg("--json");
    command
}

/// The program as people use it.
pub(crate) fn command_in_text() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host-agent"));
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn finish(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

/// The JSON lines of a command that ends well.
pub(crate) fn lines(arguments: &[&str]) -> Vec<Value> {
    let output = finish(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    parse(&output)
}

pub(crate) fn parse(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A command that goes on.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = command()
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line with that event.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.line(name, |line| line["event"] == name)
    }

    /// The next line that is what is waited for.
    pub(crate) fn line(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let length = self.lines.read_line(&mut line).unwrap();
            assert!(length > 0, "the program ended before `{what}`:\n{seen}");
            let value: Value = serde_json::from_str(&line).unwrap();
            if is_it(&value) {
                return value;
            }
            seen.push_str(&line);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// The exit code once it ended by itself.
    pub(crate) fn ended(mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the program did not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes an image directory of small files whose manifest lists them.
pub(crate) fn write_image(image: &Path) {
    std::fs::create_dir(image).unwrap();
    let mut files = serde_json::Map::new();
    for name in ["bzImage", "initrd.cpio.zst", "root.img", "OVMF.fd"] {
        let content = format!("content of {name}");
        std::fs::write(image.join(name), &content).unwrap();
        let digest: [u8; 32] = Sha256::digest(content).into();
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        files.insert(name.to_owned(), Value::String(digest));
    }
    let zeros = "00".repeat(32);
    let manifest = serde_json::json!({
        "version": 1,
        "profile": "research",
        "cmdline": format!("panic=-1 cocoon.root=sha256:4096:7:7:{zeros}:{zeros}"),
        "files": files,
    });
    std::fs::write(image.join("manifest.json"), manifest.to_string()).unwrap();
}

/// Writes a model directory and gives the path of its description.
pub(crate) fn write_model(model: &Path) -> PathBuf {
    std::fs::create_dir(model).unwrap();
    std::fs::write(model.join("model.img"), "content of the model").unwrap();
    let description = model.join("model.json");
    let text = format!(
        "{{\"name\": \"small\", \"verity\": \"sha256:4096:10:10:{}:{}\"}}",
        "11".repeat(32),
        "22".repeat(32)
    );
    std::fs::write(&description, text).unwrap();
    description
}

/// What is answered at a port to a request of this head.
pub(crate) fn ask(address: &str, head: &str) -> String {
    let mut port = TcpStream::connect(address).unwrap();
    port.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    port.read_to_string(&mut answer).unwrap();
    answer
}

/// Whether a process runs; a zombie does not.
pub(crate) fn is_alive(pid: u64) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

pub(crate) fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}
