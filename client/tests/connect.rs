//! A wallet on a phone connects: what is taken, what is kept, and each refusal, with a bridge that
//! is honest or is not.
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

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::wallet::connect::{
    ClientId, ConnectError, MAX_EVENT_BYTES, MAX_EVENTS, PROOF_SECONDS, Request, Session,
    SessionKey,
};
use client::wallet::{Purse, StateDirectory, WalletError};
use contracts::channel::ChannelTerms;
use contracts::wallet::{Wallet, WalletKind};
use ed25519_dalek::SigningKey;
use phone::bridge::TestBridge;
use phone::{DOMAIN, NETWORK, NOW, Phone, SOON, Scanned, invitation, proof_item, world};
use protocol::digest::PayerKey;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// A client that asks, and a bridge.
struct Stage {
    directory: tempfile::TempDir,
    state: StateDirectory,
    bridge: Arc<TestBridge>,
    request: Request,
    app: ClientId,
    payload: String,
}

impl Stage {
    async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&directory.path().join("state")).unwrap();
        let bridge = TestBridge::start().await;
        let request = Request::new(invitation(&bridge), &world()).unwrap();
        let scanned = Scanned::read(&request.link());
        Self {
            directory,
            state,
            bridge,
            app: scanned.app,
            payload: scanned.payload(),
            request,
        }
    }

    fn phone(&self) -> Phone {
        Phone::new(WalletKind::V5R1, &self.bridge)
    }

    /// How the waiting ended; a session is on the disk exactly when it ended well.
    async fn end_within(self, within: Duration) -> Result<Session, ConnectError> {
        let ended = self.request.wait(&self.state, within).await;
        let kept = self.directory.path().join("state/connect/session.json");
        assert_eq!(kept.exists(), ended.is_ok());
        ended
    }

    async fn code(self) -> &'static str {
        self.end_within(SOON).await.unwrap_err().code()
    }
}

#[tokio::test]
async fn wallets_of_both_kinds_connect_and_stay_connected() {
    for kind in WalletKind::ALL {
        let stage = Stage::set().await;
        let wallet = Phone::new(kind, &stage.bridge);
        wallet.scan(&stage.request.link());
        let session = stage.request.wait(&stage.state, SOON).await.unwrap();
        assert_eq!(session.address, wallet.address());
        assert_eq!(session.kind, kind.name());
        assert_eq!(session.wallet, wallet.key.id().to_string());
        // Nothing that a terminal would obey.
        assert_eq!(session.app, "Test31m Wallet");
        let purse = Purse::open(stage.state.clone(), NETWORK, &world()).unwrap();
        assert_eq!(purse.address().unwrap(), wallet.address());
        assert_eq!(purse.connected().unwrap().session(), &session);
    }
}

#[tokio::test]
async fn the_key_is_the_owner_s_alone_and_stands_in_one_file() {
    let stage = Stage::set().await;
    stage.phone().scan(&stage.request.link());
    stage.request.wait(&stage.state, SOON).await.unwrap();
    let place = stage.directory.path().join("state/connect");
    let key = std::fs::read(place.join("key")).unwrap();
    let own = SessionKey::from_bytes(&key.clone().try_into().unwrap());
    assert_eq!(own.id(), stage.app);
    for name in ["key", "session.json"] {
        let mode = std::fs::metadata(place.join(name)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
    }
    let session = std::fs::read_to_string(place.join("session.json")).unwrap();
    assert!(!session.contains(&phone::hex(&key)));
    assert!(!session.contains(&STANDARD.encode(&key)));
    // The bridge was told neither the nonce nor who asks.
    let targets = stage.bridge.targets().join(" ");
    assert!(!targets.contains(&stage.payload) && !targets.contains(DOMAIN));
}

#[tokio::test]
async fn a_state_directory_has_one_wallet() {
    let stage = Stage::set().await;
    stage.phone().scan(&stage.request.link());
    stage.request.wait(&stage.state, SOON).await.unwrap();
    let seed = Zeroizing::new([1; 32]);
    let made = Purse::create(stage.state.clone(), &seed, WalletKind::V4R2, NETWORK);
    assert_eq!(made.unwrap_err().code(), "state-exists");
    let beside = Purse::refuse_beside_one(&stage.state);
    assert_eq!(beside.unwrap_err().code(), "state-exists");
    let other = protocol::ton::NetworkId::MAIN;
    let opened = Purse::open(stage.state.clone(), other, &world());
    assert!(matches!(opened, Err(WalletError::OtherNetwork { .. })));

    let stage = Stage::set().await;
    Purse::create(stage.state.clone(), &seed, WalletKind::V4R2, NETWORK).unwrap();
    let beside = Purse::refuse_beside_one(&stage.state);
    assert_eq!(beside.unwrap_err().code(), "state-exists");
}

#[tokio::test]
async fn two_that_connect_at_once_do_not_mix_their_keys() {
    let stage = Stage::set().await;
    let place = stage.state.within("connect").unwrap();
    let other = place.lock().unwrap();
    stage.phone().scan(&stage.request.link());
    let refused = stage.request.wait(&stage.state, SOON).await.unwrap_err();
    assert_eq!(refused.code(), "state-in-use");
    assert_eq!(place.names().unwrap(), ["lock"]);
    drop(other);
}

/// A change of what an honest wallet would say, and the code of its refusal.
type Lie = (&'static str, fn(&Phone, &str, &mut Value), &'static str);

fn item<'a>(event: &'a mut Value, name: &str) -> &'a mut Value {
    let items = event["payload"]["items"].as_array_mut().unwrap();
    items.iter_mut().find(|item| item["name"] == name).unwrap()
}

fn prove(event: &mut Value, phone: &Phone, domain: &str, seconds: u64, payload: &str) {
    let key = SigningKey::from_bytes(&phone.seed);
    *item(event, "ton_proof") = proof_item(&key, &phone.address(), domain, seconds, payload);
}

const LIES: &[Lie] = &[
    (
        "the test network",
        |_, _, event| item(event, "ton_addr")["network"] = "-3".into(),
        "connect-other-network",
    ),
    (
        "no network",
        |_, _, event| item(event, "ton_addr")["network"] = Value::Null,
        "connect-other-network",
    ),
    (
        "another address",
        |_, _, event| {
            let other = Wallet::from_seed(&[99; 32], NETWORK).address().unwrap();
            item(event, "ton_addr")["address"] = json!(other);
        },
        "connect-other-address",
    ),
    (
        "another key",
        |_, _, event| item(event, "ton_addr")["publicKey"] = "11".repeat(32).into(),
        "connect-other-key",
    ),
    (
        "a contract that is no wallet",
        |phone, _, event| {
            let terms = ChannelTerms {
                payer: phone.address(),
                payee: phone.address(),
                payer_key: PayerKey([1; 32]),
                window: 1,
            };
            let first = STANDARD.encode(terms.state_init().unwrap().encode());
            item(event, "ton_addr")["walletStateInit"] = first.into();
        },
        "connect-other-wallet",
    ),
    (
        "no first state",
        |_, _, event| item(event, "ton_addr")["walletStateInit"] = "".into(),
        "connect-other-wallet",
    ),
    (
        "a first state beyond the bound",
        |_, _, event| item(event, "ton_addr")["walletStateInit"] = "A".repeat(16_388).into(),
        "connect-other-wallet",
    ),
    (
        "no address",
        |_, _, event| item(event, "ton_addr")["name"] = "other".into(),
        "connect-no-address",
    ),
    (
        "two addresses",
        |_, _, event| {
            let twice = item(event, "ton_addr").clone();
            event["payload"]["items"]
                .as_array_mut()
                .unwrap()
                .push(twice);
        },
        "connect-no-address",
    ),
    (
        "no proof",
        |_, _, event| {
            let refused = json!({ "name": "ton_proof", "error": { "code": 400 } });
            *item(event, "ton_proof") = refused;
        },
        "connect-no-proof",
    ),
    (
        "a proof for another program",
        |phone, payload, event| prove(event, phone, "evil.example", NOW, payload),
        "connect-proof-domain",
    ),
    (
        "a length that is not the domain's",
        |_, _, event| item(event, "ton_proof")["proof"]["domain"]["lengthBytes"] = 13.into(),
        "connect-proof-domain",
    ),
    (
        "a proof for another request",
        |phone, _, event| prove(event, phone, DOMAIN, NOW, &"00".repeat(32)),
        "connect-proof-payload",
    ),
    (
        "an old proof",
        |phone, payload, event| prove(event, phone, DOMAIN, NOW - PROOF_SECONDS - 1, payload),
        "connect-proof-time",
    ),
    (
        "a proof from the future",
        |phone, payload, event| prove(event, phone, DOMAIN, NOW + PROOF_SECONDS + 1, payload),
        "connect-proof-time",
    ),
    (
        "a proof of another key",
        |phone, payload, event| {
            let key = SigningKey::from_bytes(&[5; 32]);
            let address = phone.address();
            *item(event, "ton_proof") = proof_item(&key, &address, DOMAIN, NOW, payload);
        },
        "connect-proof-signature",
    ),
    (
        "a time that was not signed",
        |_, _, event| item(event, "ton_proof")["proof"]["timestamp"] = (NOW + 1).into(),
        "connect-proof-signature",
    ),
    (
        "a signature of another length",
        |_, _, event| item(event, "ton_proof")["proof"]["signature"] = "AAAA".into(),
        "connect-proof-malformed",
    ),
    (
        "a wallet that cannot send",
        |_, _, event| event["payload"]["device"]["features"] = json!(["SignData"]),
        "connect-cannot-send",
    ),
    (
        "a user who says no",
        |_, _, event| {
            *event = json!({ "event": "connect_error", "id": 1, "payload": { "code": 300 } });
        },
        "connect-declined",
    ),
    (
        "a wallet that finds no manifest",
        |_, _, event| {
            *event = json!({ "event": "connect_error", "id": 1, "payload": { "code": 2 } });
        },
        "connect-refused",
    ),
    (
        "an event that is not known",
        |_, _, event| event["event"] = "transaction".into(),
        "connect-unknown-event",
    ),
    (
        "no event's form",
        |_, _, event| event["payload"] = Value::Null,
        "connect-malformed",
    ),
];

#[tokio::test]
async fn each_thing_that_a_wallet_shows_must_hold() {
    for (name, lie, code) in LIES {
        let stage = Stage::set().await;
        let wallet = stage.phone();
        let mut event = wallet.connect_event(&stage.payload);
        lie(&wallet, &stage.payload, &mut event);
        wallet.tell(&stage.app, &event);
        assert_eq!(stage.code().await, *code, "{name}");
    }
}

#[tokio::test]
async fn a_proof_is_taken_to_the_second_and_its_time_as_text_too() {
    for seconds in [NOW - PROOF_SECONDS, NOW + PROOF_SECONDS] {
        let stage = Stage::set().await;
        let wallet = stage.phone();
        let mut event = wallet.connect_event(&stage.payload);
        prove(&mut event, &wallet, DOMAIN, seconds, &stage.payload);
        item(&mut event, "ton_proof")["proof"]["timestamp"] = seconds.to_string().into();
        wallet.tell(&stage.app, &event);
        stage.end_within(SOON).await.unwrap();
    }
}

#[tokio::test]
async fn a_bridge_that_knows_our_end_cannot_answer_for_a_wallet() {
    // It sees the ends of a session, but never the link, and so not the nonce.
    let stage = Stage::set().await;
    let own = stage.phone();
    let event = own.connect_event(&"ab".repeat(32));
    own.tell(&stage.app, &event);
    assert_eq!(stage.code().await, "connect-proof-payload");
}

#[tokio::test]
async fn what_is_no_message_to_us_is_passed_over() {
    let stage = Stage::set().await;
    let wallet = stage.phone();
    let event = wallet.connect_event(&stage.payload);
    let (app, bridge) = (stage.app, &stage.bridge);
    bridge.say(&app, ": a comment\n\nevent: heartbeat\n\n");
    bridge.say(&app, "id: 2\ndata: not JSON\n\n");
    bridge.say(&app, "id: 3\ndata: {\"from\":\"00\",\"message\":\"\"}\n\n");
    // Each forged: a bit of the box, another sender's name, sealed for somebody else.
    let mut damaged = wallet.sealed(&app, &event);
    damaged[30] ^= 1;
    bridge.pass(&app, &wallet.key.id(), &damaged);
    bridge.pass(&app, &ClientId([7; 32]), &wallet.sealed(&app, &event));
    let elsewhere = wallet.sealed(&ClientId([9; 32]), &event);
    bridge.pass(&app, &wallet.key.id(), &elsewhere);
    bridge.pass(&app, &wallet.key.id(), &[]);
    wallet.tell(&app, &event);
    // And the line breaks after every event.
    bridge.cut_after(3);
    let session = stage.end_within(SOON).await.unwrap();
    assert_eq!(session.address, wallet.address());
}

#[tokio::test]
async fn size_count_and_time_are_bounded() {
    let stage = Stage::set().await;
    let endless = "x".repeat(MAX_EVENT_BYTES);
    stage.bridge.say(&stage.app, &format!("data: {endless}"));
    assert_eq!(stage.code().await, "bridge-event-too-long");

    let stage = Stage::set().await;
    for _ in 0..MAX_EVENTS {
        stage.bridge.say(&stage.app, "data: {}\n\n");
    }
    let wallet = stage.phone();
    wallet.tell(&stage.app, &wallet.connect_event(&stage.payload));
    assert_eq!(stage.code().await, "bridge-too-many-events");

    let stage = Stage::set().await;
    let silent = stage.end_within(Duration::from_millis(300)).await;
    assert_eq!(silent.unwrap_err().code(), "connect-silent");
}

#[tokio::test]
async fn a_bridge_that_refuses_or_is_not_there_is_named_at_once() {
    let stage = Stage::set().await;
    stage.bridge.refuse(302);
    assert_eq!(stage.code().await, "bridge-refused");

    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    let stage = Stage::set().await;
    let mut nowhere = invitation(&stage.bridge);
    "http://127.0.0.1:9/bridge".clone_into(&mut nowhere.bridge);
    let ended = Request::new(nowhere, &world())
        .unwrap()
        .wait(&state, SOON)
        .await;
    assert_eq!(ended.unwrap_err().code(), "bridge-unreachable");
}

#[tokio::test]
async fn plain_http_is_for_this_machine_alone_and_a_manifest_has_a_domain() {
    let stage = Stage::set().await;
    for url in [
        "http://bridge.example/bridge",
        "http://localhost:1/bridge",
        "http://127.0.0.1.example/",
        "http://a@127.0.0.1/",
        "https://a@bridge.example/",
        "https://bridge.example/?a=b",
        "ftp://127.0.0.1/",
        "bridge",
        "",
    ] {
        let mut other = invitation(&stage.bridge);
        url.clone_into(&mut other.bridge);
        let refused = Request::new(other, &world()).unwrap_err();
        assert_eq!(refused.code(), "bridge-url", "{url}");
    }
    for manifest in [
        "http://cocoon.example/m.json",
        "https://cocoon/m.json",
        "https://.a/",
        "x",
    ] {
        let mut other = invitation(&stage.bridge);
        manifest.clone_into(&mut other.manifest);
        let refused = Request::new(other, &world()).unwrap_err();
        assert_eq!(refused.code(), "connect-manifest", "{manifest}");
    }
}
