//! A connected wallet signs and sends: real deposits on the emulated chain, and everything that a
//! wallet or a bridge can do instead.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

#[path = "../../contracts/tests/testnode/jetton.rs"]
mod jetton;
mod phone;
#[path = "../../contracts/tests/testnode/mod.rs"]
mod testnode;

use std::sync::Arc;
use std::time::Duration;

use client::wallet::connect::{ClientId, Connected, Reply, Request, SessionKey};
use client::wallet::{ChannelTo, Jetton as Known, Opening, Purse, StateDirectory, WalletError};
use contracts::asset::Asset;
use contracts::chain::Chain;
use contracts::channel::Standing;
use contracts::wallet::{Wallet, WalletKind};
use jetton::Jetton;
use phone::bridge::TestBridge;
use phone::{Manner, NETWORK, Phone, SOON, invitation, world};
use protocol::digest::AccountId;
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use serde_json::{Value, json};
use testnode::TestNode;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

const PAYEE: TonAddress = TonAddress {
    workchain: 0,
    account: AccountId([0x5a; 32]),
};
const TO: ChannelTo = ChannelTo {
    payee: PAYEE,
    asset: Asset::Coin,
};
const KEY: [u8; 32] = [3; 32];
const DEPOSIT: Nano = Nano::from_u64(2_000_000_000);
/// Short, for what never comes.
const NEVER: Duration = Duration::from_millis(1_500);

/// A client whose wallet is connected, and the wallet at work.
struct Stage {
    _directory: tempfile::TempDir,
    state: StateDirectory,
    bridge: Arc<TestBridge>,
    phone: Phone,
}

impl Stage {
    async fn set(kind: WalletKind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(directory.path()).unwrap();
        let bridge = TestBridge::start().await;
        let phone = Phone::new(kind, &bridge);
        let stage = Self {
            _directory: directory,
            state,
            bridge,
            phone,
        };
        stage.connect(&stage.phone).await;
        stage
    }

    /// On a chain where the wallet has ten coins.
    async fn on(node: &TestNode, kind: WalletKind) -> Self {
        let mut stage = Self::set(kind).await;
        stage.phone.chain = Some(node.chain.clone());
        let coins = Nano::from_u64(10_000_000_000);
        node.fund(&stage.phone.address(), coins).await;
        stage
    }

    async fn connect(&self, phone: &Phone) {
        let request = Request::new(invitation(&self.bridge), &world()).unwrap();
        phone.scan(&request.link());
        request.wait(&self.state, SOON).await.unwrap();
    }

    fn attend(&self, manner: Manner) -> JoinHandle<Vec<Value>> {
        let mut phone = self.phone.clone();
        phone.manner = manner;
        tokio::spawn(phone.attend())
    }

    /// Our own end.
    fn app(&self) -> ClientId {
        let key = std::fs::read(self.state.path("connect").join("key")).unwrap();
        SessionKey::from_bytes(&key.try_into().unwrap()).id()
    }

    fn purse(&self) -> Purse {
        Purse::open(self.state.clone(), NETWORK, &world()).unwrap()
    }

    async fn open(&self, purse: &Purse, chain: &Chain) -> Result<TonAddress, WalletError> {
        let opening = Opening {
            payee: PAYEE,
            jetton: None,
            deposit: DEPOSIT,
            window: 3_600,
        };
        let seed = Zeroizing::new(KEY);
        let opened = purse.open_channel(chain, &opening, &seed).await?;
        assert_eq!(opened.deposited, DEPOSIT.to_string());
        assert_eq!(opened.payer, self.phone.address());
        Ok(opened.channel)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_is_opened_topped_up_and_closed_by_the_phone_alone() {
    let node = TestNode::start().await;
    let chain = Chain::Believed(node.chain.clone());
    for kind in WalletKind::ALL {
        let stage = Stage::on(&node, kind).await;
        let wallet = stage.attend(Manner::Agrees);
        let purse = stage.purse();
        let at = stage.open(&purse, &chain).await.unwrap();
        let more = Nano::from_u64(500_000_000);
        purse.top_up(&chain, &TO, more).await.unwrap();
        let shown = chain.channel(&at).await.unwrap().unwrap();
        assert_eq!(shown.deposited, DEPOSIT.plus(more).unwrap());
        assert_eq!(shown.terms.payer, stage.phone.address());
        let closing = purse.close(&chain, &TO).await.unwrap();
        assert!(matches!(closing, Standing::Closing { .. }), "{closing:?}");
        node.advance(3_600).await;
        let before = chain.balance(&stage.phone.address()).await.unwrap();
        let closed = purse.close(&chain, &TO).await.unwrap();
        assert_eq!(closed, Standing::Closed);
        let after = chain.balance(&stage.phone.address()).await.unwrap();
        assert!(after.minus(before).unwrap() > DEPOSIT);
        assert_eq!(purse.disconnect().await.unwrap(), Some(true));
        let requests = tokio::time::timeout(SOON, wallet).await.unwrap().unwrap();
        let said = |name: &str| {
            requests
                .iter()
                .map(|one| one[name].clone())
                .collect::<Vec<_>>()
        };
        let send = "sendTransaction";
        assert_eq!(said("method"), [send, send, send, send, "disconnect"]);
        assert_eq!(said("id"), ["1", "2", "3", "4", "5"]);
        // Nothing is left of the session, and there is no wallet any more.
        let gone = Purse::open(stage.state.clone(), NETWORK, &world());
        assert!(matches!(gone, Err(WalletError::NoWallet)));
        assert!(!stage.state.path("connect").join("key").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_in_a_jetton_too_is_the_phones_alone() {
    let node = TestNode::start().await;
    let chain = Chain::Believed(node.chain.clone());
    let usd = Jetton::issued(&node, 4).await;
    let unit = Nano::from_u64;
    for (kind, payee) in WalletKind::ALL.into_iter().zip([0x5b, 0x5c]) {
        let stage = Stage::on(&node, kind).await;
        let own = stage.phone.address();
        usd.mint(&node, &own, 1_000).await;
        let wallet = stage.attend(Manner::Agrees);
        let purse = stage.purse();
        let opening = Opening {
            payee: TonAddress {
                account: AccountId([payee; 32]),
                ..PAYEE
            },
            jetton: Some(Known {
                minter: usd.minter,
                decimals: None,
            }),
            deposit: unit(600),
            window: 3_600,
        };
        let seed = Zeroizing::new(KEY);
        let opened = purse.open_channel(&chain, &opening, &seed);
        let opened = opened.await.unwrap();
        assert_eq!((opened.payer, opened.deposited.as_str()), (own, "600"));
        let topped = purse.top_up(&chain, &opening.to(), unit(300)).await;
        assert_eq!(topped.unwrap().deposited, "900");
        assert_eq!(usd.of(&node, &own).await, 100);
        assert_eq!(usd.of(&node, &opened.channel).await, 900);
        purse.close(&chain, &opening.to()).await.unwrap();
        node.advance(3_600).await;
        let closed = purse.close(&chain, &opening.to()).await.unwrap();
        assert_eq!(closed, Standing::Closed);
        assert_eq!(usd.of(&node, &own).await, 1_000);
        // Each message is asked for: the channel's question to the minter, the deposit, more of
        // it, and the two steps of the close.
        purse.disconnect().await.unwrap();
        let requests = tokio::time::timeout(SOON, wallet).await.unwrap().unwrap();
        assert_eq!(requests.len(), 6);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_chain_says_that_something_was_sent() {
    let node = TestNode::start().await;
    let chain = Chain::Believed(node.chain.clone());
    let other = Arc::new(Wallet::from_seed(&[77; 32], NETWORK));
    let coins = Nano::from_u64(10_000_000_000);
    node.fund(&other.address().unwrap(), coins).await;
    let stage = Stage::on(&node, WalletKind::V5R1).await;
    for (manner, patience, code) in [
        (Manner::Refuses(300), SOON, "connect-declined"),
        (Manner::Refuses(1), SOON, "connect-refused"),
        (Manner::Lies, SOON, "chain-timed-out"),
        (Manner::Sleeps, NEVER, "connect-silent"),
    ] {
        let wallet = stage.attend(manner);
        let purse = stage.purse().with_patience(patience, NEVER);
        let refused = stage.open(&purse, &chain).await.unwrap_err();
        assert_eq!(refused.code(), code);
        wallet.abort();
        let file = &purse.channels().unwrap()[0].1;
        assert!(
            chain.channel(&file.channel).await.unwrap().is_none(),
            "{code}"
        );
        assert_eq!(file.deposited, "0", "{code}");
    }
    // What another account sends is not what was asked, whatever the chain shows.
    let wallet = stage.attend(Manner::SendsFrom(other));
    let purse = stage.purse().with_patience(SOON, NEVER);
    let refused = stage.open(&purse, &chain).await.unwrap_err();
    assert_eq!(refused.code(), "connect-other-sender");
    wallet.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_bridge_keeps_back_changes_nothing() {
    let node = TestNode::start().await;
    let chain = Chain::Believed(node.chain.clone());
    let stage = Stage::on(&node, WalletKind::V4R2).await;
    let wallet = stage.attend(Manner::SendsSilently);
    // Long enough for the wallet to send, whatever else runs here.
    let purse = stage.purse().with_patience(6 * NEVER, SOON);
    stage.open(&purse, &chain).await.unwrap();
    wallet.abort();
}

/// Whoever saw it fail would ask once more, and the owner would sign twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_bridge_says_ends_no_command_while_the_phone_can_sign() {
    let node = TestNode::start().await;
    let chain = Chain::Believed(node.chain.clone());
    let endless = "x".repeat(client::wallet::connect::MAX_EVENT_BYTES);
    let many = "data: {}\n\n".repeat(300);
    // Nobody signs: it failed as the bridge did, once the request is void.
    let stage = Stage::on(&node, WalletKind::V4R2).await;
    stage.bridge.say(&stage.app(), &format!("data: {endless}"));
    let purse = stage.purse().with_patience(NEVER, NEVER);
    let began = tokio::time::Instant::now();
    let refused = stage.open(&purse, &chain).await.unwrap_err();
    assert_eq!(refused.code(), "bridge-event-too-long");
    assert!(began.elapsed() >= NEVER);
    for (kind, noise) in [
        (WalletKind::V4R2, format!("data: {endless}")),
        (WalletKind::V5R1, many),
    ] {
        let stage = Stage::on(&node, kind).await;
        stage.bridge.say(&stage.app(), &noise);
        let wallet = stage.attend(Manner::SendsSilently);
        let purse = stage.purse().with_patience(SOON, SOON);
        stage.open(&purse, &chain).await.unwrap();
        wallet.abort();
    }
}

#[tokio::test]
async fn a_bridge_that_cannot_be_listened_to_is_handed_no_request() {
    let stage = Stage::set(WalletKind::V5R1).await;
    stage.bridge.refuse(503);
    assert_eq!(ask(&stage, SOON).await, Err("bridge-refused"));
    let targets = stage.bridge.targets();
    assert!(!targets.iter().any(|target| target.contains("/message?")));
}

/// Both ends seal with the same key: what was sent opens as what came.
#[tokio::test]
async fn a_request_that_the_bridge_hands_back_is_no_answer() {
    let stage = Stage::set(WalletKind::V5R1).await;
    let (phone, app) = (&stage.phone, stage.app());
    let bridge = async {
        let (from, sealed) = stage.bridge.posted_to(&phone.key.id(), 0).await;
        assert_eq!(from, app);
        stage.bridge.pass(&app, &phone.key.id(), &sealed);
        phone.tell(&app, &json!({ "id": "1", "result": "te6" }));
    };
    let (asked, ()) = tokio::join!(ask(&stage, SOON), bridge);
    assert_eq!(asked, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_of_another_wallet_is_left_alone() {
    let node = TestNode::start().await;
    let chain = Chain::Believed(node.chain.clone());
    let stage = Stage::on(&node, WalletKind::V5R1).await;
    let wallet = stage.attend(Manner::Agrees);
    let purse = stage.purse();
    stage.open(&purse, &chain).await.unwrap();
    purse.disconnect().await.unwrap();
    wallet.await.unwrap();
    let second = Phone::on(NETWORK, WalletKind::V5R1, [12; 32], &stage.bridge);
    stage.connect(&second).await;
    let purse = stage.purse();
    let topped = purse.top_up(&chain, &TO, DEPOSIT).await;
    assert_eq!(topped.unwrap_err().code(), "channel-other-payer");
    let closed = purse.close(&chain, &TO).await;
    assert_eq!(closed.unwrap_err().code(), "channel-other-payer");
    let opened = stage.open(&purse, &chain).await;
    assert_eq!(opened.unwrap_err().code(), "channel-other-payer");
}

/// Asks without a chain: the wallet signs and sends nothing.
async fn ask(stage: &Stage, patience: Duration) -> Result<(), &'static str> {
    let connected = Connected::open(&stage.state, &world(), patience).unwrap();
    let transfer = contracts::channel::start_close(&PAYEE).unwrap();
    let asked = connected.unwrap().ask(&transfer, testnode::START).await;
    match asked {
        Ok(Reply::Sent) => Ok(()),
        Ok(Reply::Unclear(error)) | Err(error) => Err(error.code()),
    }
}

#[tokio::test]
async fn an_answer_that_was_given_before_is_not_taken_again() {
    let stage = Stage::set(WalletKind::V5R1).await;
    let wallet = stage.attend(Manner::Agrees);
    ask(&stage, SOON).await.unwrap();
    wallet.abort();
    let (app, _) = stage.bridge.posted_to(&stage.phone.key.id(), 0).await;
    // The first event connected, the second answered.
    stage.bridge.replay(&app, 0);
    stage.bridge.replay(&app, 1);
    assert_eq!(ask(&stage, NEVER).await, Err("connect-silent"));
    // It was numbered anew, and each number is used once.
    let session = stage.purse().connected().unwrap().session().clone();
    assert_eq!(session.next_request, 3);
}

#[tokio::test]
async fn nobody_but_the_wallet_answers_or_ends_the_session() {
    let stage = Stage::set(WalletKind::V5R1).await;
    let (phone, bridge) = (&stage.phone, &stage.bridge);
    let (app, thief) = (stage.app(), Phone::new(WalletKind::V5R1, bridge));
    let answer = json!({ "id": "1", "result": "te6" });
    let end = json!({ "event": "disconnect", "id": 99, "payload": {} });
    for message in [&answer, &end] {
        // In its own name, and in the wallet's.
        thief.tell(&app, message);
        bridge.pass(&app, &phone.key.id(), &thief.sealed(&app, message));
        let mut damaged = phone.sealed(&app, message);
        damaged[24] ^= 1;
        bridge.pass(&app, &phone.key.id(), &damaged);
    }
    // The wallet's own, but not after its last event.
    phone.tell(
        &app,
        &json!({ "event": "disconnect", "id": 70, "payload": {} }),
    );
    phone.tell(&app, &phone.connect_event("x"));
    assert_eq!(ask(&stage, NEVER).await, Err("connect-silent"));
    assert!(stage.purse().connected().is_some());
    // What is not of a known form is not waited out.
    phone.tell(&app, &json!({ "event": "transaction", "id": 72 }));
    assert_eq!(ask(&stage, SOON).await, Err("connect-unknown-event"));
    phone.tell(&app, &json!({ "id": "3", "result": { "boc": "te6" } }));
    assert_eq!(ask(&stage, SOON).await, Err("connect-malformed"));
}

#[tokio::test]
async fn a_session_that_its_owner_ends_is_forgotten() {
    let stage = Stage::set(WalletKind::V5R1).await;
    let wallet = stage.attend(Manner::Leaves);
    assert_eq!(ask(&stage, SOON).await, Err("connect-ended"));
    wallet.abort();
    let gone = Purse::open(stage.state.clone(), NETWORK, &world());
    assert!(matches!(gone, Err(WalletError::NoWallet)));
}

#[tokio::test]
async fn a_wallet_that_holds_another_account_now_refuses() {
    let mut stage = Stage::set(WalletKind::V5R1).await;
    let before = stage.phone.wallet.clone();
    stage.phone.wallet = Arc::new(Wallet::from_seed(&[78; 32], NETWORK));
    let wallet = stage.attend(Manner::Agrees);
    assert_eq!(ask(&stage, SOON).await, Err("connect-refused"));
    wallet.abort();
    // And on another network.
    stage.phone.wallet = before;
    stage.phone.network = protocol::ton::NetworkId(-3);
    let wallet = stage.attend(Manner::Agrees);
    assert_eq!(ask(&stage, SOON).await, Err("connect-refused"));
    wallet.abort();
}

#[tokio::test]
async fn two_commands_do_not_use_a_session_at_once() {
    let stage = Stage::set(WalletKind::V5R1).await;
    let (first, second) = tokio::join!(ask(&stage, NEVER), ask(&stage, NEVER));
    assert_eq!(first, Err("connect-silent"));
    assert_eq!(second, Err("state-in-use"));
}
