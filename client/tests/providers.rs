//! `cocoon providers` on what was captured of the original Cocoon's root contract: of a file, and
//! of a contract on the emulated chain that has the same data.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod captured;
#[path = "../../contracts/tests/testnode/mod.rs"]
mod testnode;

use std::path::Path;
use std::process::{Command, Output};

use captured::root_data;
use contracts::message::{OnFailure, StateInit, Transfer};
use contracts::wallet::Wallet;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use testnode::TestNode;
use tycho_types::boc::Boc;

fn providers(state: &Path, data: &[u8]) -> Output {
    let file = state.join("root.boc");
    std::fs::write(&file, data).unwrap();
    cocoon(state, &["providers", "--file", &file.display().to_string()])
}

fn cocoon(state: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cocoon"))
        .args(["--json", "--state"])
        .arg(state)
        .args(words)
        .output()
        .unwrap()
}

/// A contract with this data; its code does nothing with a plain transfer.
async fn deployed(node: &TestNode, data: &[u8]) -> TonAddress {
    let code = include_bytes!("../../contracts/compiled/wallet-v4r2.boc");
    let data = Boc::decode(data).unwrap();
    let first = StateInit::new(Boc::decode(code).unwrap(), data).unwrap();
    let wallet = Wallet::from_seed(&[1; 32], NetworkId(-7357));
    let own = wallet.address().unwrap();
    node.fund(&own, Nano::from_u64(2_000_000_000)).await;
    let transfer = Transfer {
        to: first.address(),
        value: Nano::from_u64(1_000_000_000),
        on_failure: OnFailure::Keep,
        deploy: Some(first.clone()),
        body: None,
    };
    let valid_until = node.chain.chain_time().await.unwrap() + 60;
    let message = wallet.sign(0, valid_until, &[transfer]).unwrap();
    node.chain.send_boc(&message).await.unwrap();
    first.address()
}

#[tokio::test]
async fn shows_the_same_of_a_contract_as_of_its_data() {
    let state = tempfile::tempdir().unwrap();
    let node = TestNode::start().await;
    let root = deployed(&node, &root_data()).await;
    let chain = format!("http://{}", node.authority);
    let shown = |address: &str, chain: &str| {
        let words = ["providers", "--cocoon-root", address, "--chain", chain];
        cocoon(state.path(), &words)
    };
    let of_contract = shown(&root.to_string(), &chain);
    assert!(of_contract.status.success());
    let of_file = providers(state.path(), &root_data());
    assert_eq!(of_contract.stdout, of_file.stdout);
    let nothing = shown(&format!("0:{}", "5a".repeat(32)), &chain);
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
    let said = String::from_utf8_lossy(&nothing.stdout).into_owned();
    assert!(said.contains("cocoon-root-none"), "{said}");
    let nobody = shown(&root.to_string(), "http://127.0.0.1:1");
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
}

#[test]
fn says_of_an_endpoint_that_it_is_trusted() {
    let place = tempfile::tempdir().unwrap();
    let help = cocoon(place.path(), &["--help"]);
    let said = String::from_utf8(help.stdout).unwrap();
    let at = said.find("--chain <").expect("the option is shown");
    let words: Vec<_> = said[at..].split_whitespace().take(20).collect();
    let words = words.join(" ");
    assert!(words.contains("Its answers are trusted"), "{words}");
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
