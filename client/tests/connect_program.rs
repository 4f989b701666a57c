//! `cocoon wallet connect` as a program, with a bridge over TLS: the link, the session, its end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

mod phone;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use client::wallet::StateDirectory;
use client::wallet::connect::{Invitation, Request};
use contracts::wallet::WalletKind;
use phone::bridge::TestBridge;
use phone::certificate::Certificate;
use phone::{MANIFEST, Phone, SOON, invitation, world};
use protocol::ton::NetworkId;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

fn cocoon(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cocoon"));
    command
        .args(["--json", "--state"])
        .arg(state)
        .args(arguments);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn said(command: &mut Command) -> (bool, Value) {
    let output = command.output().await.unwrap();
    let line = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.success(), line)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the phone's clock, beside the program's own"
)]
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_connects_over_tls_shows_the_wallet_and_ends_the_session() {
    let place = tempfile::tempdir().unwrap();
    let certificate = Certificate::until("400101000000Z");
    let roots = place.path().join("roots.pem");
    std::fs::write(&roots, certificate.pem()).unwrap();
    let bridge = TestBridge::start_with(Some(certificate.acceptor())).await;
    let (state, roots) = (place.path().join("state"), roots.display().to_string());
    let connect = [
        "wallet",
        "connect",
        "--bridge",
        &bridge.url,
        "--bridge-roots",
        &roots,
        "--manifest",
        MANIFEST,
        "--within",
        "30",
    ];
    let mut program = cocoon(&state, &connect).spawn().unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(SOON, lines.next_line()).await.unwrap();
    let link: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
    assert_eq!(link["event"], "link");
    let mut wallet = Phone::on(NetworkId::MAIN, WalletKind::V5R1, [11; 32], &bridge);
    wallet.now = now();
    wallet.scan(link["link"].as_str().unwrap());
    let line = tokio::time::timeout(SOON, lines.next_line()).await.unwrap();
    let connected: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
    assert!(program.wait().await.unwrap().success(), "{connected}");
    assert_eq!(connected["event"], "connected");
    assert_eq!(connected["address"], wallet.address().to_string());

    let (good, shown) = said(&mut cocoon(&state, &["wallet", "show"])).await;
    assert!(good);
    assert_eq!(shown["address"], wallet.address().to_string());
    assert_eq!(shown["connected"], connected["app"]);
    let (good, again) = said(&mut cocoon(&state, &connect)).await;
    assert!(!good);
    assert_eq!(again["code"], "state-exists");
    let (good, ended) = said(&mut cocoon(&state, &["wallet", "disconnect"])).await;
    assert!(good, "{ended}");
    assert_eq!(ended["told"], true);
    let (_, gone) = said(&mut cocoon(&state, &["wallet", "show"])).await;
    assert_eq!(gone["code"], "wallet-none");
}

#[tokio::test]
async fn options_that_lead_nowhere_are_named() {
    let place = tempfile::tempdir().unwrap();
    for (more, code) in [
        (&[][..], "option-missing"),
        (
            &["--wallet", "paper", "--manifest", MANIFEST][..],
            "connect-unknown-wallet",
        ),
        (
            &["--bridge", "http://bridge.example", "--manifest", MANIFEST][..],
            "bridge-url",
        ),
        (
            &["--manifest", "https://nodot/m.json"][..],
            "connect-manifest",
        ),
        (
            &["--bridge-roots", "/none", "--manifest", MANIFEST][..],
            "bridge-roots",
        ),
    ] {
        let arguments = [&["wallet", "connect"][..], more].concat();
        let output = cocoon(place.path(), &arguments).output().await.unwrap();
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (output.status.code(), line["code"].as_str()),
            (Some(2), Some(code))
        );
    }
    let (_, none) = said(&mut cocoon(place.path(), &["wallet", "disconnect"])).await;
    assert_eq!(none["code"], "wallet-none");
    cocoon(place.path(), &["wallet", "new"])
        .output()
        .await
        .unwrap();
    let (_, none) = said(&mut cocoon(place.path(), &["wallet", "disconnect"])).await;
    assert_eq!(none["code"], "connect-none");
}

/// Waits for a wallet that never comes: how the bridge was refused.
async fn refused(bridge: &Arc<TestBridge>, roots: Option<&Certificate>) -> &'static str {
    let place = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(&place.path().join("state")).unwrap();
    let file = place.path().join("roots.pem");
    std::fs::write(&file, roots.map_or_else(String::new, Certificate::pem)).unwrap();
    let asked = Invitation {
        bridge_roots: Some(file),
        ..invitation(bridge)
    };
    match Request::new(asked, &world()) {
        Ok(request) => request.wait(&state, SOON).await.unwrap_err().code(),
        Err(error) => error.code(),
    }
}

#[tokio::test]
async fn a_bridge_is_believed_by_our_roots_and_our_clock_alone() {
    let own = Certificate::until("400101000000Z");
    let bridge = TestBridge::start_with(Some(own.acceptor())).await;
    let other = Certificate::until("400101000000Z");
    assert_eq!(refused(&bridge, Some(&other)).await, "bridge-unreachable");
    assert_eq!(refused(&bridge, None).await, "bridge-roots");
    // The clock of `world` is in November 2026.
    let expired = Certificate::until("261001000000Z");
    let bridge = TestBridge::start_with(Some(expired.acceptor())).await;
    assert_eq!(refused(&bridge, Some(&expired)).await, "bridge-unreachable");
    // No such request was served.
    assert!(bridge.targets().is_empty());
}
