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
mod provider;
#[path = "../../contracts/tests/testnode/mod.rs"]
mod testnode;

use std::ops::Deref;

use contracts::asset::Asset;
use contracts::channel::Standing;
use contracts::close::Close;
use contracts::jetton_channel::{self, JettonChannelState, JettonTerms};
use contracts::wallet::Wallet;
use host_agent::clock::UnixSeconds;
use host_agent::journal::{ClaimRecord, ClaimState, Journal};
use jetton::{FREE, Jetton, SENDS_NOTHING, send};
use messages::host_control::{StopReason, VoucherDecision};
use protocol::digest::ReceiptsRoot;
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use protocol::voucher::SignedVoucher;
use provider::{Guest, NETWORK, Provider, payer_key, terms, voucher_of};
use serde_json::Value;
use testnode::{START, TestNode};

const UNIT: u64 = 1_000_000;
const DEPOSIT: u64 = 5 * UNIT;
const MINTED: u64 = 1_000 * UNIT;

/// A provider that is paid in a jetton, and a client's open channel to it.
struct Stage {
    provider: Provider,
    jetton: Jetton,
    payer: Wallet,
    channel: TonAddress,
}

impl Deref for Stage {
    type Target = Provider;

    fn deref(&self) -> &Provider {
        &self.provider
    }
}

impl Stage {
    async fn set() -> Self {
        let provider = Provider::set().await;
        let (node, payee) = (&provider.node, provider.payee);
        let payer = Wallet::from_seed(&[1; 32], NETWORK);
        let coins = Nano::from_u64(10_000_000_000);
        node.fund(&payer.address().unwrap(), coins).await;
        let jetton = Jetton::issued(node, 4).await;
        let channel = open(node, &jetton, &payer, payee).await;
        provider.configure(&["--jetton", &jetton.minter.to_string()]);
        Self {
            provider,
            jetton,
            payer,
            channel,
        }
    }

    /// What `settle` says, line by line, and its exit code.
    fn settle(&self, action: &[&str]) -> (Vec<Value>, Option<i32>) {
        let done = self.provider.settle(action);
        (program::parse(&done), done.status.code())
    }

    fn voucher(&self, total: u64) -> SignedVoucher {
        voucher_of(self.channel, START, total)
    }

    fn ask(&self, voucher: SignedVoucher) -> VoucherDecision {
        let answered = Guest::dial(&self.at("state")).ask(voucher);
        answered.expect("the host is there")
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

    /// Each step in the books, and the jettons that came in with it.
    fn books(&self) -> Vec<String> {
        let (rows, _) = self.settle(&["export"]);
        let field = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let step = |row| [field(row, "state"), field(row, "received_units")].join(" ");
        rows.iter().map(step).collect()
    }

    fn price(&self, price: &str) -> String {
        format!("{}={price}", self.jetton.minter)
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
    assert_eq!(stage.ask(voucher_of(worthless, START, 1)), unknown);
    let coins = terms(&stage.payer, stage.payee);
    let deposit = coins.top_up(Nano::from_u64(1_000_000_000)).unwrap();
    send(&stage.node, &stage.payer, deposit).await;
    let coins = Asset::Coin.address(&coins).unwrap();
    assert_eq!(stage.ask(voucher_of(coins, START, 1)), unknown);
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
    let books = stage.books();
    assert_eq!(books, ["sent 0", "missing 0", "sent 0", "shown 1000000"]);
    let (rows, _) = stage.settle(&["export"]);
    let minter = stage.jetton.minter.to_string();
    assert!(rows.iter().all(|row| row["asset"] == minter));
}

/// The payer takes back what is left, and deposits again: the channel's next epoch.
async fn closed_and_opened_again(stage: &Stage) -> u32 {
    let close = jetton_channel::start_close(&stage.channel).unwrap();
    send(&stage.node, &stage.payer, close).await;
    stage.node.advance(3_600).await;
    let finish = jetton_channel::finish_close(&stage.channel).unwrap();
    send(&stage.node, &stage.payer, finish).await;
    assert_eq!(stage.shown().await.channel.standing, Standing::Closed);
    let terms = JettonTerms {
        channel: terms(&stage.payer, stage.payee),
        minter: stage.jetton.minter,
    };
    let own = stage.payer.address().unwrap();
    let chain = &stage.node.chain;
    let from = chain.jetton_wallet(&terms.minter, &own).await.unwrap();
    let deposit = terms.deposit(&from.address, 0, Nano::from_u64(DEPOSIT));
    send(&stage.node, &stage.payer, deposit.unwrap()).await;
    let shown = stage.shown().await.channel;
    assert_eq!(shown.standing, Standing::Open);
    shown.epoch
}

#[tokio::test]
async fn what_bounced_in_an_earlier_epoch_is_in_the_books_once_it_came_along() {
    let stage = Stage::set().await;
    let relay = stage.relay();
    let lock = |status| stage.jetton.lock(&stage.node, &stage.channel, status);
    assert_eq!(stage.ask(stage.voucher(UNIT)), VoucherDecision::Continue);
    lock(SENDS_NOTHING).await;
    let (bounced, _) = stage.settle(&["claim", "--all"]);
    assert_eq!(bounced[0]["paid"], false, "{bounced:?}");
    lock(FREE).await;
    drop(relay);
    let epoch = closed_and_opened_again(&stage).await;
    assert_eq!(stage.shown().await.due_payee, Nano::from_u64(UNIT));
    let _relay = stage.relay();
    let voucher = voucher_of(stage.channel, epoch, 2 * UNIT);
    assert_eq!(stage.ask(voucher), VoucherDecision::Continue);
    assert_eq!(stage.books(), ["sent 0", "missing 0"]);

    let (claimed, exit) = stage.settle(&["claim", "--all"]);
    assert_eq!(exit, Some(0), "{claimed:?}");
    assert_eq!(claimed[0]["prospect"], "due", "{claimed:?}");
    assert_eq!(claimed[1]["increment"], (2 * UNIT).to_string());
    assert_eq!(claimed[1]["adds_up"], true, "{claimed:?}");
    assert_eq!(stage.held().await[1], 3 * UNIT);
    let came = ["sent 0", "shown 1000000", "shown 2000000"];
    assert_eq!(stage.books()[2..], came);
    let (rows, _) = stage.settle(&["export"]);
    assert_eq!(rows[3]["epoch"], START.to_string(), "{rows:?}");
    // And no run says more of it.
    let (again, _) = stage.settle(&["claim", "--all", "--resend"]);
    assert_eq!(again[0]["prospect"], "over", "{again:?}");
    assert_eq!(again[1]["prospect"], "paid", "{again:?}");
    assert_eq!(stage.books().len(), 5);
}

/// The agent is killed after it sent: the journal says `sent`, and the chain goes on without it.
async fn sent_and_killed(stage: &Stage, total: u64) {
    let mut journal = Journal::open(&stage.at("state/journal.sqlite")).unwrap();
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
    let expected = [
        "sent 0",
        "sent 0",
        "shown 2000000",
        "sent 0",
        "shown 1000000",
    ];
    assert_eq!(stage.books(), expected);
    assert_eq!(stage.held().await, [995 * UNIT, 3 * UNIT, 2 * UNIT]);
}

#[tokio::test]
async fn a_close_by_both_pays_both_in_the_jetton() {
    let stage = Stage::set().await;
    let _relay = stage.relay();
    assert_eq!(stage.ask(stage.voucher(UNIT)), VoucherDecision::Continue);
    let close = Close(stage.voucher(2 * UNIT).voucher);
    let document = close.sign(&payer_key()).unwrap().to_json().unwrap();
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
