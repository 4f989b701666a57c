//! `cocoon providers` on what was captured of the original Cocoon's root contract.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod captured;

use std::path::Path;
use std::process::{Command, Output};

use captured::root_data;

fn providers(state: &Path, data: &[u8]) -> Output {
    let file = state.join("root.boc");
    std::fs::write(&file, data).unwrap();
    Command::new(env!("CARGO_BIN_EXE_cocoon"))
        .args(["--json", "--state"])
        .arg(state)
        .args(["providers", "--file"])
        .arg(file)
        .output()
        .unwrap()
}

#[test]
fn shows_where_clients_connect_and_what_a_token_costs() {
    let state = tempfile::tempdir().unwrap();
    let output = providers(state.path(), &root_data());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["providers"][0]["for_clients"], "91.108.4.11:8888");
    assert_eq!(shown["params"]["price_per_token"], "20");
    assert_eq!(shown["params"]["completion_multiplier"], 80_000);
    assert_eq!(shown["models"].as_array().unwrap().len(), 4);
}

#[test]
fn refuses_what_is_no_such_contract() {
    let state = tempfile::tempdir().unwrap();
    for bytes in [&b""[..], b"not a bag of cells", &root_data()[..4_000]] {
        let output = providers(state.path(), bytes);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("cocoon-root-malformed"), "{said}");
    }
}
