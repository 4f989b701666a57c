//! The program as init starts it, on a machine without a GPU: a status at the end, and silence.
#![allow(
    clippy::unwrap_used,
    reason = "tests state claims; a panic is the failure"
)]

use std::process::{Command, Output, Stdio};

fn run(script: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_engine-gpu");
    Command::new("bash")
        .args(["--norc", "-c", script, program])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn ends_with(script: &str, status: i32) {
    let output = run(script);
    assert_eq!(output.status.code(), Some(status));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}

#[test]
fn without_its_descriptors_or_a_named_file_the_program_says_so() {
    ends_with("exec \"$0\"", 9);
    ends_with("exec \"$0\" model.gguf", 9);
    ends_with("exec \"$0\" 3</dev/null", 9);
}

#[test]
fn without_its_kernels_the_program_does_not_look_at_the_model() {
    ends_with("exec \"$0\" model.gguf 3</dev/null 4</dev/null", 15);
}
