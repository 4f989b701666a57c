//! `cocoon wallet`: the wallets that it makes and takes up, offline.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state claims; a panic is the failure"
)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn wallet(state: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cocoon"))
        .args(["--json", "--state"])
        .arg(state)
        .arg("wallet")
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn vector() -> Value {
    let text = include_str!("../../tests/fixtures/wallet/vector.json");
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_wallet_of_another_program_is_taken_up_by_its_words_and_never_replaced() {
    let place = tempfile::tempdir().unwrap();
    let words = place.path().join("words");
    std::fs::write(&words, vector()["mnemonic"].as_str().unwrap()).unwrap();
    let words = words.display().to_string();
    let mut addresses = Vec::new();
    for kind in ["v4r2", "v5r1"] {
        let state = place.path().join(kind);
        let made = wallet(&state, &["new", "--kind", kind, "--mnemonic", &words]);
        assert!(made.status.success());
        let address = said(&made)["address"].clone();
        assert_eq!(said(&wallet(&state, &["show"]))["address"], address);
        let again = wallet(&state, &["new"]);
        assert_eq!(said(&again)["code"], "state-exists");
        assert_eq!(said(&wallet(&state, &["show"]))["address"], address);
        addresses.push(address);
    }
    assert_ne!(addresses[0], addresses[1]);
}

#[test]
fn a_close_is_agreed_to_into_a_new_file_only() {
    let place = tempfile::tempdir().unwrap();
    let (state, file) = (place.path().join("state"), place.path().join("close.json"));
    assert!(wallet(&state, &["new"]).status.success());
    let payee = format!("0:{}", "1".repeat(64));
    let out = file.display().to_string();
    let agree = || wallet(&state, &["close", "--payee", &payee, "--agree", &out]);
    let other = said(&agree())["code"].clone();
    assert_ne!(other, "output-exists", "there is nothing yet");
    std::fs::write(&file, "kept").unwrap();
    let refused = agree();
    assert_eq!(said(&refused)["code"], "output-exists");
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn words_that_are_no_wallet_s_make_none_and_are_not_repeated() {
    let place = tempfile::tempdir().unwrap();
    let words = place.path().join("words");
    let good = vector()["mnemonic"].as_str().unwrap().to_owned();
    let long = format!("{good} {}", "word ".repeat(100));
    for text in [
        good.replace("ring", "rings"),
        "ring".to_owned(),
        String::new(),
        long,
    ] {
        std::fs::write(&words, &text).unwrap();
        let state = place.path().join("state");
        let refused = wallet(&state, &["new", "--mnemonic", &words.display().to_string()]);
        assert_eq!(refused.status.code(), Some(2));
        let everything = [refused.stdout, refused.stderr].concat();
        assert!(!String::from_utf8_lossy(&everything).contains("ring"));
        assert!(!state.join("wallet.seed").exists());
    }
}

#[test]
fn a_damaged_seed_file_is_refused() {
    let place = tempfile::tempdir().unwrap();
    assert!(wallet(place.path(), &["new"]).status.success());
    let seed = place.path().join("wallet.seed");
    let good = std::fs::read(&seed).unwrap();
    assert_eq!(good.len(), 32);
    for bytes in [
        &good[..31],
        &[&good[..], b"v9r9"].concat(),
        &[&good[..], b"v"].concat(),
    ] {
        std::fs::write(&seed, bytes).unwrap();
        let refused = wallet(place.path(), &["show"]);
        assert_eq!(said(&refused)["code"], "state-malformed");
    }
}
