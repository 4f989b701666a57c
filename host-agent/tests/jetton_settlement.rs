//! A channel in a jetton, served and claimed by the built program on the emulated chain.
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
mod program;
#[path = "../../contracts/tests/testnode/mod.rs"]
mod testnode;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use contracts::asset::Asset;
use contracts::channel::{ChannelTerms, Standing};
use contracts::close::Close;
use contracts::jetton_channel::{self, JettonChannelState, JettonTerms};
use contracts::wallet::Wallet;
use ed25519_dalek::SigningKey;
use host_agent::clock::UnixSeconds;
use host_agent::journal::{ClaimRecord, ClaimState, Journal};
use jetton::{FREE, Jetton, SENDS_NOTHING, send};
use messages::framing::frame;
use messages::host_control::{GuestMessage, HostMessage, StopReason, VoucherDecision};
use program::Running;
use protocol::digest::{PayerKey, ReceiptsRoot};
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::{SignedVoucher, Voucher};
use serde_json::Value;
use testnode::{START, TestNode};

const NETWORK: NetworkId = NetworkId(-7357);
const UNIT: u64 = 1_000_000;
const DEPOSIT: u64 = 5 * UNIT;
const MINTED: u64 = 1_000 * UNIT;
/// Years away on every clock.
const VALID_UNTIL: u32 = 2_100_000_000;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

/// A provider that is paid in a jetton, and a client's open channel to it.
struct Stage {
    place: tempfile::TempDir,
    node: TestNode,
    jetton: Jetton,
    payer: Wallet,
    payee: TonAddress,
    channel: TonAddress,
}

impl Stage {
    async fn set() -> Self {
        let place = tempfile::tempdir().unwrap();
        let seed = place.path().join("seed").display().to_string();
        let shown = program::lines(&["wallet", "new", "--seed", &seed, "--network", "-7357"]);
        let payee: TonAddress = shown[0]["address"].as_str().unwrap().parse().unwrap();
        let node = TestNode::start().await;
        let payer = Wallet::from_seed(&[1; 32], NETWORK);
        for party in [payee, payer.address().unwrap()] {
            node.fund(&party, Nano::from_u64(10_000_000_000)).await;
        }
        let jetton = Jetton::issued(&node, 4).await;
        let channel = open(&node, &jetton, &payer, payee).await;
        let stage = Self {
            place,
            node,
            jetton,
            payer,
            payee,
            channel,
        };
        stage.configure();
        stage
    }

    fn configure(&self) {
        std::fs::create_dir(self.place.path().join("endorsements")).unwrap();
        let description = program::write_model(&self.place.path().join("model"));
        program::lines(&[
            "configure",
            "--payee",
            &self.payee.to_string(),
            "--jetton",
            &self.jetton.minter.to_string(),
            "--network",
            "-7357",
            "--model",
            &format!("small={}", description.display()),
            "--prices",
            "20,2,160",
            "--out",
            &self.path("launch-config.json"),
        ]);
    }

    fn path(&self, name: &str) -> String {
        self.place.path().join(name).display().to_string()
    }

    fn relay(&self) -> Running {
        let chain = format!("http://{}", self.node.authority);
        let mut relay = Running::start(&[
            "relay",
            "--guest",
            "unix:/nowhere",
            "--launch-config",
            &self.path("launch-config.json"),
            "--state",
            &self.path("state"),
            "--endorsements",
            &self.path("endorsements"),
            "--chain",
            &chain,
            "--listen",
            "127.0.0.1:0",
        ]);
        relay.event("ready");
        relay
    }

    /// What `settle` says, line by line, and its exit code.
    fn settle(&self, action: &[&str]) -> (Vec<Value>, Option<i32>) {
        let (state, seed) = (self.path("state"), self.path("seed"));
        let chain = format!("http://{}", self.node.authority);
        let mut arguments = vec!["settle"];
        arguments.extend(action);
        arguments.extend(["--state", &state]);
        if action[0] != "export" {
            arguments.extend(["--wallet-seed", &seed, "--chain", &chain]);
        }
        let done = program::finish(&arguments);
        (program::parse(&done), done.status.code())
    }

    fn voucher(&self, total: u64) -> SignedVoucher {
        voucher_of(self.channel, total)
    }

    fn ask(&self, voucher: SignedVoucher) -> VoucherDecision {
        let socket = self.place.path().join("state").join("control");
        let mut guest = UnixStream::connect(socket).unwrap();
        let message = GuestMessage::VoucherQuestion {
            question: 1,
            voucher: Box::new(voucher),
        };
        guest.write_all(&frame(&message.encode())).unwrap();
        let mut header = [0; 4];
        guest.read_exact(&mut header).unwrap();
        let mut payload = vec![0; u32::from_le_bytes(header) as usize];
        guest.read_exact(&mut payload).unwrap();
        match HostMessage::decode(&payload).unwrap() {
            HostMessage::VoucherAnswer { decision, .. } => decision,
            HostMessage::Endorsements(_) => panic!("not an answer"),
        }
    }

    async fn shown(&self) -> JettonChannelState {
        let account = self.node.chain.account(&self.channel).await.unwrap();
        *account
            .payment_channel()
            .unwrap()
            .unwrap()
            .jetton()
            .unwrap()
    }

    /// What payer, payee and channel have; there is no more.
    async fn held(&self) -> [u64; 3] {
        let mut held = [0; 3];
        let payer = self.payer.address().unwrap();
        for (of, at) in held.iter_mut().zip([payer, self.payee, self.channel]) {
            *of = self.jetton.of(&self.node, &at).await;
        }
        assert_eq!(
            held.iter().sum::<u64>(),
            MINTED,
            "jettons appeared or vanished"
        );
        held
    }

    fn price(&self, price: &str) -> String {
        format!("{}={price}", self.jetton.minter)
    }
}

fn voucher_of(channel: TonAddress, total: u64) -> SignedVoucher {
    let voucher = Voucher {
        network: NETWORK,
        channel,
        epoch: START,
        cumulative: Nano::from_u64(total),
        receipts_root: ReceiptsRoot([5; 32]),
        valid_until: VALID_UNTIL,
    };
    voucher.sign(&key())
}

fn terms(payer: &Wallet, payee: TonAddress) -> ChannelTerms {
    ChannelTerms {
        payer: payer.address().unwrap(),
        payee,
        payer_key: PayerKey(key().verifying_key().to_bytes()),
        window: 3_600,
    }
}

/// A client deposits in some jetton; the wallet is the test's own.
async fn open(node: &TestNode, jetton: &Jetton, payer: &Wallet, payee: TonAddress) -> TonAddress {
    let own = payer.address().unwrap();
    jetton.mint(node, &own, MINTED).await;
    let terms = JettonTerms {
        channel: terms(payer, payee),
        minter: jetton.minter,
    };
    send(node, payer, terms.discover().unwrap()).await;
    let from = node
        .chain
        .jetton_wallet(&jetton.minter, &own)
        .await
        .unwrap();
    let deposit = terms.deposit(&from.address, 0, Nano::from_u64(DEPOSIT));
    send(node, payer, deposit.unwrap()).await;
    let channel = terms.address().unwrap();
    let account = node.chain.account(&channel).await.unwrap();
    let shown = account.payment_channel().unwrap().unwrap();
    assert_eq!(shown.state().deposited, Nano::from_u64(DEPOSIT));
    assert_eq!(shown.state().epoch, START);
    channel
}

#[tokio::test]
async fn a_channel_counts_in_the_configured_jetton_alone() {
    let stage = Stage::set().await;
    let _relay = stage.relay();
    assert_eq!(stage.ask(stage.voucher(0)), VoucherDecision::Continue);
    assert_eq!(stage.ask(stage.voucher(DEPOSIT)), VoucherDecision::Continue);
    let above = VoucherDecision::Stop(StopReason::DepositExceeded, None);
    assert_eq!(stage.ask(stage.voucher(DEPOSIT + 1)), above);

    let unknown = VoucherDecision::Stop(StopReason::UnknownChannel, None);
    // In a jetton that the payer could have minted itself, and in the network's coin.
    let other = Jetton::issued(&stage.node, 6).await;
    let worthless = open(&stage.node, &other, &stage.payer, stage.payee).await;
    assert_eq!(stage.ask(voucher_of(worthless, 1)), unknown);
    let coins = terms(&stage.payer, stage.payee);
    let deposit = coins.top_up(Nano::from_u64(1_000_000_000)).unwrap();
    send(&stage.node, &stage.payer, deposit).await;
    let coins = Asset::Coin.address(&coins).unwrap();
    assert_eq!(stage.ask(voucher_of(coins, 1)), unknown);
}

#[tokio::test]
async fn a_claim_waits_for_its_price_and_adds_up_to_the_unit_in_coins_and_jettons() {
    let stage = Stage::set().await;
    let relay = stage.relay();
    assert_eq!(
        stage.ask(stage.voucher(2 * UNIT + 1)),
        VoucherDecision::Continue
    );
    // Without a price nobody knows whether it is worth its fee.
    let (waits, _) = stage.settle(&["claim"]);
    assert_eq!(waits[0]["prospect"], "small", "{waits:?}");
    assert_eq!(waits[0]["asset"], stage.jetton.minter.to_string());
    // At four nano a unit it is less than a claim must bring, at ten no less.
    let (cheap, _) = stage.settle(&["claim", "--jetton-price", &stage.price("4/1")]);
    assert_eq!(cheap[0]["prospect"], "small");
    let before = stage.node.chain.balance(&stage.payee).await.unwrap();
    let price = stage.price("10/1");
    let (claimed, exit) = stage.settle(&["claim", "--jetton-price", &price]);
    assert_eq!(exit, Some(0), "{claimed:?}");
    assert_eq!(claimed[0]["paid"], true, "{claimed:?}");
    assert_eq!(claimed[0]["adds_up"], true, "{claimed:?}");
    assert_eq!(claimed[0]["increment"], "2000001");
    assert_eq!(claimed[0]["jettons"]["after"], "2000001");
    assert_eq!(claimed[0]["before"], before.to_string());
    assert_eq!(stage.held().await, [995 * UNIT, 2 * UNIT + 1, 3 * UNIT - 1]);
    // Fees and no more left the wallet in coins.
    let after = stage.node.chain.balance(&stage.payee).await.unwrap();
    let fees = before.minus(after).unwrap();
    assert!(fees < Nano::from_u64(40_000_000), "{fees}");
    assert_eq!(stage.shown().await.channel.last_root, ReceiptsRoot([5; 32]));

    let (again, exit) = stage.settle(&["claim", "--again"]);
    assert_eq!(exit, Some(1));
    let stale = contracts::channel::exit::STALE_VOUCHER;
    assert_eq!(again[0]["exit_code"], stale);
    assert_eq!(again[0]["adds_up"], true, "{again:?}");
    drop(relay);
}

#[tokio::test]
async fn a_payout_that_bounced_is_no_payment_until_it_was_sent_again() {
    let stage = Stage::set().await;
    let _relay = stage.relay();
    assert_eq!(stage.ask(stage.voucher(UNIT)), VoucherDecision::Continue);
    stage
        .jetton
        .lock(&stage.node, &stage.channel, SENDS_NOTHING)
        .await;
    let (bounced, exit) = stage.settle(&["claim", "--all"]);
    assert_eq!(exit, Some(1));
    assert_eq!(bounced[0]["paid"], false, "{bounced:?}");
    assert_eq!(bounced[0]["exit_code"], 0);
    assert_eq!(bounced[0]["jettons"]["due_after"], UNIT.to_string());
    assert_eq!(bounced[0]["adds_up"], true, "{bounced:?}");
    assert_eq!(stage.held().await, [995 * UNIT, 0, 5 * UNIT]);
    // Nothing is tried again unless it is asked for: each try costs.
    let (due, _) = stage.settle(&["claim", "--all"]);
    assert_eq!(due[0]["prospect"], "due");
    assert_eq!(due[0]["due"], UNIT.to_string());

    stage.jetton.lock(&stage.node, &stage.channel, FREE).await;
    let (sent, exit) = stage.settle(&["claim", "--resend"]);
    assert_eq!(exit, Some(0), "{sent:?}");
    assert_eq!(sent[0]["paid"], true, "{sent:?}");
    assert_eq!(sent[0]["adds_up"], true, "{sent:?}");
    assert_eq!(stage.held().await, [995 * UNIT, UNIT, 4 * UNIT]);
    let (books, _) = stage.settle(&["export"]);
    let column = |name: &str| -> Vec<String> {
        let fields = books
            .iter()
            .map(|row| row[name].as_str().unwrap().to_owned());
        fields.collect()
    };
    assert_eq!(column("state"), ["sent", "missing", "sent", "shown"]);
    assert_eq!(column("received_units"), ["0", "0", "0", "1000000"]);
    let minter = stage.jetton.minter.to_string();
    assert!(column("asset").iter().all(|asset| *asset == minter));
}

/// The agent is killed after it sent: the journal says `sent`, and the chain goes on without it.
async fn sent_and_killed(stage: &Stage, total: u64) {
    let mut journal = Journal::open(&stage.place.path().join("state/journal.sqlite")).unwrap();
    let step = ClaimRecord {
        channel: stage.channel,
        epoch: START,
        cumulative: Nano::from_u64(total),
        receipts_root: ReceiptsRoot([5; 32]),
        state: ClaimState::Sent,
        at: UnixSeconds(1),
        fees: None,
        asset: Asset::Jetton(stage.jetton.minter),
    };
    journal.append_claim(&step).unwrap();
    let wallet = host_agent::wallet::read(stage.path("seed").as_ref(), NETWORK).unwrap();
    let claim = jetton_channel::claim(&stage.channel, &stage.voucher(total));
    send(&stage.node, &wallet, claim.unwrap()).await;
}

#[tokio::test]
async fn an_agent_that_was_killed_between_sending_and_seeing_still_has_its_books_right() {
    let stage = Stage::set().await;
    let relay = stage.relay();
    assert_eq!(
        stage.ask(stage.voucher(2 * UNIT)),
        VoucherDecision::Continue
    );
    let lock = |status| stage.jetton.lock(&stage.node, &stage.channel, status);
    lock(SENDS_NOTHING).await;
    drop(relay);
    sent_and_killed(&stage, 2 * UNIT).await;
    assert_eq!(stage.shown().await.due_payee, Nano::from_u64(2 * UNIT));
    lock(FREE).await;
    let (sent, exit) = stage.settle(&["claim", "--resend"]);
    assert_eq!(
        (exit, &sent[0]["paid"]),
        (Some(0), &true.into()),
        "{sent:?}"
    );
    assert_eq!(sent[0]["adds_up"], true, "{sent:?}");
    assert_eq!(stage.held().await, [995 * UNIT, 2 * UNIT, 3 * UNIT]);

    // Killed once more, and this time the payout came through.
    let relay = stage.relay();
    assert_eq!(
        stage.ask(stage.voucher(3 * UNIT)),
        VoucherDecision::Continue
    );
    drop(relay);
    sent_and_killed(&stage, 3 * UNIT).await;
    let (paid, _) = stage.settle(&["claim", "--all"]);
    assert_eq!(paid[0]["prospect"], "paid", "{paid:?}");
    let (books, _) = stage.settle(&["export"]);
    let field = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let steps = books
        .iter()
        .map(|row| (field(row, "state"), field(row, "received_units")));
    let expected = [
        "sent 0",
        "sent 0",
        "shown 2000000",
        "sent 0",
        "shown 1000000",
    ];
    let steps: Vec<_> = steps
        .map(|(state, units)| format!("{state} {units}"))
        .collect();
    assert_eq!(steps, expected);
    assert_eq!(stage.held().await, [995 * UNIT, 3 * UNIT, 2 * UNIT]);
}

#[tokio::test]
async fn a_close_by_both_pays_both_in_the_jetton() {
    let stage = Stage::set().await;
    let _relay = stage.relay();
    assert_eq!(stage.ask(stage.voucher(UNIT)), VoucherDecision::Continue);
    let close = Close(stage.voucher(2 * UNIT).voucher);
    let document = close.sign(&key()).unwrap().to_json().unwrap();
    std::fs::write(stage.path("close.json"), document).unwrap();
    let (closed, exit) = stage.settle(&["close", &stage.path("close.json")]);
    assert_eq!(exit, Some(0), "{closed:?}");
    assert_eq!(closed[0]["increment"], (2 * UNIT).to_string());
    assert_eq!(closed[0]["adds_up"], true, "{closed:?}");
    assert_eq!(stage.shown().await.channel.standing, Standing::Closed);
    assert_eq!(stage.held().await, [998 * UNIT, 2 * UNIT, 0]);
    let left = stage.node.chain.balance(&stage.channel).await.unwrap();
    assert_eq!(left, Nano::ZERO, "the payer has the rest");
}
