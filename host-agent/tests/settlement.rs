//! Claims about money, with the built program, a scripted guest, and the emulated chain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::too_many_lines,
    reason = "tests state claims; a panic is the failure"
)]

mod program;
mod provider;
#[path = "postgres/server.rs"]
mod server;
#[path = "../../contracts/tests/testnode/mod.rs"]
mod testnode;

use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use contracts::channel::Standing;
use contracts::close::Close;
use contracts::wallet::Wallet;
use host_agent::clock::UnixSeconds;
use host_agent::journal::{Journal, LedgerOptions};
use measurements::publication::{self, ReleaseFiles, names};
use measurements::transparency::note::SignerKey;
use measurements::transparency::record::FileDigest;
use messages::host_control::{StopReason, VoucherDecision};
use nix::sys::signal::Signal;
use program::Running;
use protocol::digest::ReceiptsRoot;
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use protocol::voucher::SignedVoucher;
use provider::{Guest, NETWORK, Provider, VALID_UNTIL, payer_key, terms, voucher_of};
use server::Server;
use testnode::{START, TestNode};

const DEPOSIT: u64 = 1_000_000_000;
/// So long the host goes by what it last saw of a channel.
const GOOD_VIEW: Duration = Duration::from_secs(10);

fn coins(count: u64) -> Nano {
    Nano::from_u64(count * 1_000_000_000)
}

/// A provider, and an open payment channel to it.
struct Stage {
    provider: Provider,
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
        let channel = open_channel_of(&provider.node, provider.payee, 1).await;
        provider.configure(&[]);
        Self { provider, channel }
    }

    fn guest(&self) -> Guest {
        self.guest_in("state")
    }

    fn guest_in(&self, state: &str) -> Guest {
        Guest::dial(&self.at(state))
    }

    fn voucher(&self, total: u64) -> SignedVoucher {
        voucher_of(self.channel, START, total)
    }
}

/// What the client hands over: a close at `total`, written to a file.
fn agreed(stage: &Stage, total: u64) -> String {
    let close = Close(stage.voucher(total).voucher);
    let document = close.sign(&payer_key()).unwrap().to_json().unwrap();
    std::fs::write(stage.at("close.json"), document).unwrap();
    stage.path("close.json")
}

#[tokio::test]
async fn a_close_that_both_agreed_on_pays_both_at_once_and_never_less_than_a_voucher() {
    let stage = Stage::set().await;
    let relay = stage.relay();
    let mut guest = stage.guest();
    let before = Instant::now();
    for total in [0, 300_000_000] {
        let decision = guest.ask(stage.voucher(total));
        assert_eq!(decision, Some(VoucherDecision::Continue));
    }
    let low = stage.settle(&["close", &agreed(&stage, 299_999_999)]);
    assert_eq!(low.status.code(), Some(1));
    assert_eq!(program::parse(&low)[0]["error"], "close-below-voucher");
    let forged = std::fs::read_to_string(agreed(&stage, 300_000_000)).unwrap();
    std::fs::write(
        stage.at("close.json"),
        forged.replace("300000000", "400000000"),
    )
    .unwrap();
    let forged = stage.settle(&["close", &stage.path("close.json")]);
    assert_ne!(forged.status.code(), Some(0));
    let state = stage.node.chain.channel(&stage.channel).await.unwrap();
    assert_eq!(state.unwrap().standing, Standing::Open, "nothing was sent");

    let closed = stage.settle(&["close", &agreed(&stage, 400_000_000)]);
    let closed = program::parse(&closed);
    assert_eq!(closed[0]["paid"], true, "{closed:?}");
    assert_eq!(closed[0]["increment"], "400000000");
    assert_eq!(closed[0]["adds_up"], true, "{closed:?}");
    let state = stage.node.chain.channel(&stage.channel).await.unwrap();
    let state = state.unwrap();
    assert_eq!(state.standing, Standing::Closed);
    assert_eq!(state.claimed.units(), 400_000_000);
    let left = stage.node.chain.balance(&stage.channel).await.unwrap();
    assert_eq!(left, Nano::ZERO, "the payer has the rest");

    let again = stage.settle(&["close", &stage.path("close.json")]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(program::parse(&again)[0]["error"], "close-over");
    // A guest whose host looked at the chain before the close is stopped by the close's lease, as
    // long as that look is good: on a slow machine it is over. A host that looks now sees the
    // close.
    let stop = |reason| Some(VoucherDecision::Stop(reason, None));
    let after = guest.ask(stage.voucher(500_000_000));
    if before.elapsed() < GOOD_VIEW || after != stop(StopReason::Closing) {
        assert_eq!(after, stop(StopReason::Leased));
    }
    let journal = stage.path("state/journal.sqlite");
    let _later = stage.relay_in("later", &["--journal", &journal]);
    let after = stage.guest_in("later").ask(stage.voucher(500_000_000));
    assert_eq!(after, stop(StopReason::Closing));
    let status = program::parse(&stage.settle(&["status"]));
    assert_eq!(status[0]["prospect"], "over");
    relay.signal(Signal::SIGTERM);
    assert_eq!(relay.ended(), Some(0));
}

/// A client deposits; the wallet is the test's own.
async fn open_channel_of(node: &TestNode, payee: TonAddress, payer: u8) -> TonAddress {
    let wallet = Wallet::from_seed(&[payer; 32], NETWORK);
    let terms = terms(&wallet, payee);
    node.fund(&terms.payer, coins(100)).await;
    let transfer = terms.top_up(Nano::from_u64(DEPOSIT)).unwrap();
    let valid_until = node.chain.chain_time().await.unwrap() + 60;
    let message = wallet.sign(0, valid_until, &[transfer]).unwrap();
    node.chain.send_boc(&message).await.unwrap();
    let channel = terms.address().unwrap();
    let state = node.chain.channel(&channel).await.unwrap().unwrap();
    assert_eq!(state.epoch, START);
    channel
}

fn stored(state: &Path, stage: &Stage) -> u128 {
    let journal = Journal::open(&state.join("journal.sqlite")).unwrap();
    let found = journal.highest_voucher(&stage.channel, START).unwrap();
    found.map_or(0, |found| found.voucher.cumulative.units())
}

#[tokio::test]
async fn what_was_promised_is_claimed_once_and_adds_up_to_the_nano_unit() {
    let stage = Stage::set().await;
    let relay = stage.relay();
    let mut guest = stage.guest();
    for total in [0, 1_280, 640_000_000] {
        let decision = guest.ask(stage.voucher(total));
        assert_eq!(decision, Some(VoucherDecision::Continue));
    }
    let above = guest.ask(stage.voucher(DEPOSIT + 1));
    let exceeded = VoucherDecision::Stop(StopReason::DepositExceeded, None);
    assert_eq!(above, Some(exceeded));
    let lower = guest.ask(stage.voucher(1_280));
    let highest = Some(Box::new(stage.voucher(640_000_000)));
    let outdated = VoucherDecision::Stop(StopReason::Outdated, highest);
    assert_eq!(lower, Some(outdated));

    let before = stage.node.chain.balance(&stage.payee).await.unwrap();
    let claimed = program::parse(&stage.settle(&["claim"]));
    assert_eq!(claimed[0]["paid"], true, "{claimed:?}");
    assert_eq!(claimed[0]["adds_up"], true, "{claimed:?}");
    assert_eq!(claimed[0]["increment"], "640000000");
    assert_eq!(claimed[0]["before"], before.to_string());
    let after = stage.node.chain.balance(&stage.payee).await.unwrap();
    assert_eq!(claimed[0]["after"], after.to_string());
    let state = stage.node.chain.channel(&stage.channel).await.unwrap();
    let state = state.unwrap();
    assert_eq!(state.claimed.units(), 640_000_000);
    assert_eq!(state.last_root, ReceiptsRoot([5; 32]));

    let second = program::parse(&stage.settle(&["claim", "--all"]));
    assert_eq!(second[0]["prospect"], "paid");
    assert_eq!(stage.node.chain.balance(&stage.payee).await.unwrap(), after);

    let again = stage.settle(&["claim", "--again"]);
    assert_eq!(again.status.code(), Some(1));
    let again = program::parse(&again);
    assert_eq!(again[0]["paid"], false);
    assert_eq!(
        again[0]["exit_code"],
        contracts::channel::exit::STALE_VOUCHER
    );
    assert_eq!(again[0]["increment"], "0");
    assert_eq!(again[0]["adds_up"], true, "{again:?}");

    relay.signal(Signal::SIGTERM);
    assert_eq!(relay.ended(), Some(0));
    assert!(!stage.at("state/control").exists());
}

#[tokio::test]
async fn small_change_is_left_until_it_is_asked_for() {
    let stage = Stage::set().await;
    let relay = stage.relay();
    let mut guest = stage.guest();
    guest.ask(stage.voucher(1_280)).unwrap();
    let left = program::parse(&stage.settle(&["claim"]));
    assert_eq!(left[0]["prospect"], "small");
    let status = program::parse(&stage.settle(&["status"]));
    assert_eq!(status[0]["promised"], "1280");
    assert_eq!(status[0]["claimed"], "0");
    let all = program::parse(&stage.settle(&["claim", "--all"]));
    assert_eq!(all[0]["increment"], "1280");
    assert_eq!(all[0]["adds_up"], true, "{all:?}");
    drop(relay);
}

/// Two agents that share what is named: one serves the channel until it is given back.
fn one_after_the_other(stage: &Stage, shared: &[&str]) {
    let first = stage.relay_in("first", shared);
    let _second = stage.relay_in("second", shared);
    let mut one = stage.guest_in("first");
    let mut other = stage.guest_in("second");
    let goes_on = Some(VoucherDecision::Continue);
    assert_eq!(one.ask(stage.voucher(10)), goes_on);
    let leased = Some(VoucherDecision::Stop(StopReason::Leased, None));
    assert_eq!(other.ask(stage.voucher(20)), leased);
    first.signal(Signal::SIGTERM);
    assert_eq!(first.ended(), Some(0));
    // It has the channel now; a stream that it began before is not paid by what rose elsewhere.
    assert_eq!(other.ask(stage.voucher(20)), leased);
    assert_eq!(other.ask(stage.voucher(20)), goes_on);
}

#[tokio::test]
async fn one_channel_is_served_by_one_guest_until_it_is_given_back() {
    let stage = Stage::set().await;
    one_after_the_other(&stage, &["--journal", &stage.path("ledger.sqlite")]);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL: ci/ledger"]
async fn one_channel_is_served_by_one_host_of_those_that_share_a_ledger() {
    let stage = Stage::set().await;
    let server = Server::start(&[]);
    one_after_the_other(&stage, &["--ledger", &server.address()]);
    // On two hosts both have the same path; it is the name that must differ.
    let names =
        ["first", "second"].map(|name| std::fs::read(stage.at(name).join("agent")).unwrap());
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL: ci/ledger"]
async fn two_hosts_that_share_a_ledger_and_a_wallet_claim_each_total_once() {
    let stage = Stage::set().await;
    let server = Server::start(&[]);
    let other = open_channel_of(&stage.node, stage.payee, 2).await;
    let mut second = stage.voucher(200_000_000).voucher;
    second.channel = other;
    let options = LedgerOptions {
        address: server.address().parse().unwrap(),
        password: None,
        roots: None,
    };
    let mut journal = Journal::share(options).unwrap();
    for voucher in [stage.voucher(300_000_000), second.sign(&payer_key())] {
        journal.append_voucher(&voucher, UnixSeconds(1)).unwrap();
    }
    let (seed, chain, ledger) = (stage.path("seed"), stage.chain(), server.address());
    let words = ["settle", "claim", "--all", "--ledger", &ledger];
    let purse = ["--wallet-seed", &seed, "--chain", &chain];
    let arguments: Vec<String> = words
        .iter()
        .chain(&purse)
        .map(|&word| word.into())
        .collect();
    let hosts = [(); 2].map(|()| {
        let arguments = arguments.clone();
        std::thread::spawn(move || run(&arguments))
    });
    let mut paid = 0;
    for host in hosts {
        let output = tokio::task::spawn_blocking(|| host.join().unwrap())
            .await
            .unwrap();
        for line in program::parse(&output) {
            // Whoever came second saw it paid, or that the other one has the turn.
            assert_eq!(line["exit_code"].as_i64().unwrap_or(0), 0, "{line}");
            if line["paid"] == true {
                assert_eq!(line["adds_up"], true, "{line}");
                paid += 1;
            }
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let elsewhere = said.contains("another agent settles with this wallet");
        assert!(output.status.success() || elsewhere, "{said}");
    }
    assert_eq!(paid, 2, "each channel once");
    assert_eq!(claimed(&stage, &stage.channel).await, 300_000_000);
    assert_eq!(claimed(&stage, &other).await, 200_000_000);
    let steps = journal.claims().unwrap();
    assert_eq!(steps.len(), 4, "sent and shown, of each channel: {steps:?}");
}

/// The chain's clock decides, not this machine's.
#[tokio::test]
async fn a_voucher_that_the_chain_holds_for_expired_is_not_sent() {
    let stage = Stage::set().await;
    let relay = stage.relay();
    let mut guest = stage.guest();
    guest.ask(stage.voucher(640_000_000)).unwrap();
    stage.node.advance(VALID_UNTIL - START).await;
    let before = stage.node.chain.balance(&stage.payee).await.unwrap();
    let found = program::parse(&stage.settle(&["claim", "--all"]));
    assert_eq!(found[0]["prospect"], "expired");
    let after = stage.node.chain.balance(&stage.payee).await.unwrap();
    assert_eq!(before, after);
    drop(relay);
}

/// Real kills, at whatever point the program happens to be.
#[tokio::test]
async fn no_kill_loses_a_voucher_that_was_answered() {
    let stage = Stage::set().await;
    let mut total = 0;
    for round in 0..8_u64 {
        let relay = stage.relay();
        let mut guest = stage.guest();
        // The clock runs from the first answer on: a busy machine may take long to give it.
        let first = guest.ask(stage.voucher(total + 1));
        assert_eq!(first, Some(VoucherDecision::Continue));
        total += 1;
        let killer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(150 + round * 23));
            relay.signal(Signal::SIGKILL);
            relay.ended()
        });
        while let Some(decision) = guest.ask(stage.voucher(total + 1)) {
            assert_eq!(decision, VoucherDecision::Continue);
            total += 1;
        }
        assert_eq!(killer.join().unwrap(), None);
        let found = stored(&stage.at("state"), &stage);
        // The last one may have become durable without its answer arriving.
        let expected = u128::from(total)..=u128::from(total + 1);
        assert!(expected.contains(&found), "{found}, answered {total}");
        total = u64::try_from(found).unwrap();
    }
}

/// A journal that holds one voucher, as another agent of the provider has it.
fn journal_with(stage: &Stage, name: &str, voucher: &SignedVoucher) -> String {
    let path = stage.at(name);
    let mut journal = Journal::open(&path).unwrap();
    journal.append_voucher(voucher, UnixSeconds(1)).unwrap();
    path.display().to_string()
}

fn settle_arguments(stage: &Stage, journal: &str, action: &[&str]) -> Vec<String> {
    let mut arguments = vec!["settle".to_owned()];
    arguments.extend(action.iter().map(|word| (*word).to_owned()));
    let (seed, chain) = (stage.path("seed"), stage.chain());
    let rest = [
        "--journal",
        journal,
        "--wallet-seed",
        &seed,
        "--chain",
        &chain,
    ];
    arguments.extend(rest.map(str::to_owned));
    arguments
}

fn run(arguments: &[String]) -> std::process::Output {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    program::finish(&words)
}

/// The way to the chain, which can be cut: connections are then taken and dropped.
struct Way {
    port: u16,
    open: Arc<AtomicBool>,
}

impl Way {
    fn to(authority: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(AtomicBool::new(false));
        let (is_open, authority) = (Arc::clone(&open), authority.to_owned());
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if is_open.load(Ordering::SeqCst) {
                    let far = TcpStream::connect(&authority).unwrap();
                    let (back, forth) = (far.try_clone().unwrap(), near.try_clone().unwrap());
                    std::thread::spawn(move || pass(near, far));
                    std::thread::spawn(move || pass(back, forth));
                }
            }
        });
        Self { port, open }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// The payer asks to close, and the chain is away for most of the window. Whoever claims again and
/// again tells of it, goes on, and still claims in time, even what is below its minimum.
#[tokio::test]
async fn an_hour_without_the_chain_while_a_channel_closes_costs_nothing() {
    let stage = Stage::set().await;
    let journal = journal_with(&stage, "own.sqlite", &stage.voucher(6_000_000));
    let way = Way::to(&stage.node.authority);
    let (seed, chain) = (stage.path("seed"), format!("http://127.0.0.1:{}", way.port));
    let mut agent = Running::start(&[
        "settle",
        "claim",
        "--every",
        "1",
        "--journal",
        &journal,
        "--wallet-seed",
        &seed,
        "--chain",
        &chain,
    ]);
    agent.line("a round that failed", |line| line["settled"] == false);
    let payer = Wallet::from_seed(&[1; 32], NETWORK);
    let close = contracts::channel::start_close(&stage.channel).unwrap();
    let valid_until = stage.node.chain.chain_time().await.unwrap() + 60;
    let message = payer.sign(1, valid_until, &[close]).unwrap();
    stage.node.chain.send_boc(&message).await.unwrap();
    stage.node.advance(3_500).await;
    agent.line("another round that failed", |line| line["settled"] == false);
    assert_eq!(claimed(&stage, &stage.channel).await, 0);
    way.open.store(true, Ordering::SeqCst);
    let paid = agent.line("a claim", |line| line["paid"] == true);
    assert_eq!(paid["increment"], "6000000");
    assert_eq!(claimed(&stage, &stage.channel).await, 6_000_000);
    agent.line("nothing more to do", |line| line["prospect"] == "paid");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended(), Some(0));
}

async fn claimed(stage: &Stage, channel: &TonAddress) -> u128 {
    let state = stage.node.chain.channel(channel).await.unwrap();
    state.unwrap().claimed.units()
}

#[tokio::test]
async fn two_agents_on_one_wallet_pay_each_total_once() {
    let stage = Stage::set().await;
    let other = open_channel_of(&stage.node, stage.payee, 2).await;
    let mut second = stage.voucher(200_000_000).voucher;
    second.channel = other;
    let second = second.sign(&payer_key());
    let journals = [
        journal_with(&stage, "one.sqlite", &stage.voucher(300_000_000)),
        journal_with(&stage, "two.sqlite", &second),
    ];
    let agents = journals.each_ref().map(|journal| {
        let arguments = settle_arguments(&stage, journal, &["claim", "--all"]);
        std::thread::spawn(move || run(&arguments))
    });
    for agent in agents {
        let output = tokio::task::spawn_blocking(|| agent.join().unwrap())
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(program::parse(&output)[0]["paid"], true, "{said}");
    }
    assert_eq!(claimed(&stage, &stage.channel).await, 300_000_000);
    assert_eq!(claimed(&stage, &other).await, 200_000_000);
    // Once more, both: the chain shows it, nothing is sent.
    let before = stage.node.chain.balance(&stage.payee).await.unwrap();
    for journal in &journals {
        let again = run(&settle_arguments(&stage, journal, &["claim", "--all"]));
        assert_eq!(program::parse(&again)[0]["prospect"], "paid");
    }
    assert_eq!(
        stage.node.chain.balance(&stage.payee).await.unwrap(),
        before
    );
}

#[tokio::test]
async fn a_close_raced_by_an_old_voucher_still_pays_the_highest() {
    let stage = Stage::set().await;
    let old = journal_with(&stage, "old.sqlite", &stage.voucher(100_000_000));
    let new = journal_with(&stage, "new.sqlite", &stage.voucher(400_000_000));
    start_close(&stage).await;
    // An agent that was put back to an older state claims first; worth less than the minimum, but
    // the channel is closing.
    let pressed = ["claim", "--minimum", "900000000", "--fee", "1000000"];
    let first = program::parse(&run(&settle_arguments(&stage, &old, &pressed)));
    assert_eq!(first[0]["increment"], "100000000", "{first:?}");
    let second = program::parse(&run(&settle_arguments(&stage, &new, &pressed)));
    assert_eq!(second[0]["increment"], "300000000", "{second:?}");
    assert_eq!(second[0]["adds_up"], true, "{second:?}");
    let late = program::parse(&run(&settle_arguments(&stage, &old, &["claim", "--all"])));
    assert_eq!(late[0]["prospect"], "paid");
    assert_eq!(claimed(&stage, &stage.channel).await, 400_000_000);
    stage.node.advance(3_601).await;
    let over = program::parse(&run(&settle_arguments(&stage, &new, &["claim", "--all"])));
    assert_eq!(over[0]["prospect"], "over");
}

/// The payer leaves; its wallet has sent one message before.
async fn start_close(stage: &Stage) {
    let wallet = Wallet::from_seed(&[1; 32], NETWORK);
    let transfer = contracts::channel::start_close(&stage.channel).unwrap();
    let valid_until = stage.node.chain.chain_time().await.unwrap() + 60;
    let message = wallet.sign(1, valid_until, &[transfer]).unwrap();
    stage.node.chain.send_boc(&message).await.unwrap();
    let state = stage
        .node
        .chain
        .channel(&stage.channel)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(state.standing, Standing::Closing { .. }));
}

/// What a run has paid for one claim, the next one must bring: prices may have risen since the
/// operator said what a claim costs.
#[tokio::test]
async fn a_spike_of_fees_is_not_paid_again_for_less_than_it_costs() {
    let stage = Stage::set().await;
    let other = open_channel_of(&stage.node, stage.payee, 2).await;
    let journal = journal_with(&stage, "own.sqlite", &stage.voucher(300_000_000));
    let mut small = stage.voucher(100_000).voucher;
    small.channel = other;
    let small = small.sign(&payer_key());
    let mut books = Journal::open(Path::new(&journal)).unwrap();
    books.append_voucher(&small, UnixSeconds(2)).unwrap();
    drop(books);
    let hoping = ["claim", "--minimum", "1", "--fee", "1"];
    let run_of = program::parse(&run(&settle_arguments(&stage, &journal, &hoping)));
    assert_eq!(run_of[0]["paid"], true, "{run_of:?}");
    assert_eq!(run_of[1]["channel"], other.to_string(), "{run_of:?}");
    assert_eq!(run_of[1]["prospect"], "claimable", "{run_of:?}");
    assert_eq!(claimed(&stage, &other).await, 0, "nothing was sent");
    // Asked for it, the agent sends it all the same.
    let all = program::parse(&run(&settle_arguments(
        &stage,
        &journal,
        &["claim", "--all"],
    )));
    assert_eq!(all[1]["increment"], "100000", "{all:?}");
    assert_eq!(claimed(&stage, &other).await, 100_000);
}

#[tokio::test]
async fn only_what_the_chain_showed_is_in_the_books() {
    let stage = Stage::set().await;
    let journal = journal_with(&stage, "one.sqlite", &stage.voucher(300_000_000));
    let mut away = settle_arguments(&stage, &journal, &["claim", "--all"]);
    // Nobody listens there: a partition.
    *away.last_mut().unwrap() = "http://127.0.0.1:1".to_owned();
    assert_eq!(run(&away).status.code(), Some(1));
    let export = || {
        let arguments = ["settle", "export", "--journal", &journal];
        let output = program::command_in_text().args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let header = "recorded_at,channel,epoch,state,cumulative_units,received_units,\
                  fees_nano,receipts_root,asset\r\n";
    assert_eq!(export(), header);
    let paid = run(&settle_arguments(&stage, &journal, &["claim", "--all"]));
    let paid = program::parse(&paid);
    let number = |name: &str| paid[0][name].as_str().unwrap().parse::<u64>().unwrap();
    let fees = (number("wallet_fees") + number("contract_fees")).to_string();
    run(&settle_arguments(&stage, &journal, &["claim", "--again"]));
    let table = export();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .skip(1)
        .map(|line| line.split(',').skip(3).take(3).collect())
        .collect();
    let expected = [
        ["sent", "300000000", "0"],
        ["shown", "300000000", "300000000"],
        ["sent", "300000000", "0"],
        // The contract refused it, and the chain still shows the total as claimed.
        ["shown", "300000000", "0"],
    ];
    assert_eq!(lines, expected);
    let json = program::lines(&["settle", "export", "--journal", &journal]);
    assert_eq!(
        (&json[0]["fees_nano"], &json[1]["fees_nano"]),
        (&"".into(), &fees.into())
    );
    assert_eq!(json[1]["received_units"], "300000000");
}

#[tokio::test]
async fn a_release_is_listed_once_and_takes_effect_after_the_delay() {
    let stage = Stage::set().await;
    let (seed, chain) = (stage.path("seed"), stage.chain());
    let revoker = format!("0:{}", "99".repeat(32));
    let purse = ["--wallet-seed", &seed, "--chain", &chain];
    let mut deploy = vec![
        "publish",
        "deploy",
        "--revoker",
        &revoker,
        "--delay",
        "3600",
    ];
    deploy.extend(purse);
    let deployed = program::lines(&deploy);
    assert_eq!(
        program::lines(&deploy),
        deployed,
        "deploying again changed it"
    );
    let registry = deployed[0]["registry"].as_str().unwrap().to_owned();
    let values = stage.path("reference-values.json");
    std::fs::write(&values, reference_values()).unwrap();
    let mut publish = vec![
        "publish",
        "--reference-values",
        &values,
        "--registry",
        &registry,
    ];
    publish.extend(purse);
    let listed = program::lines(&publish);
    assert_eq!(listed.len(), 6);
    let now = stage.node.chain.chain_time().await.unwrap();
    for item in &listed {
        assert_eq!(item["added"], true);
        assert_eq!(item["valid_from"], now + 3_600);
    }
    let before = stage.node.chain.balance(&stage.payee).await.unwrap();
    for item in program::lines(&publish) {
        assert_eq!(item["added"], false);
    }
    let after = stage.node.chain.balance(&stage.payee).await.unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_release_is_listed_only_when_its_log_holds_it() {
    let stage = Stage::set().await;
    let (seed, chain) = (stage.path("seed"), stage.chain());
    let revoker = format!("0:{}", "98".repeat(32));
    let purse = ["--wallet-seed", &seed, "--chain", &chain];
    let mut deploy = vec!["publish", "deploy", "--revoker", &revoker];
    deploy.extend(purse);
    let registry = program::lines(&deploy)[0]["registry"]
        .as_str()
        .unwrap()
        .to_owned();
    let release = stage.at("0.1.0");
    let (log_key, registry_key) = publish_in_log(&release);
    let directory = release.to_str().unwrap();
    let mut publish = vec!["publish", "--release", directory, "--log-key", &log_key];
    publish.extend(["--registry", &registry]);
    publish.extend(purse);
    let listed = program::lines(&publish);
    assert_eq!(listed.len(), 7);
    assert_eq!(listed[0]["kind"], "release");
    assert_eq!(listed[0]["key"], registry_key.as_str());
    assert!(listed.iter().all(|item| item["added"] == true));

    let sbom = release.join(names::SBOM);
    std::fs::write(&sbom, "{ }").unwrap();
    let refused = program::finish(&publish);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("is not the published one"), "{said}");
}

/// A release directory that a log holds: -> the log's key, the release's key in the registry.
fn publish_in_log(release: &Path) -> (String, String) {
    std::fs::create_dir(release).unwrap();
    let sbom = "{}";
    let digest = FileDigest::of(sbom.as_bytes());
    let manifest = format!(
        "{{\"version\": 1, \"image\": \"0.1.0\", \"flavour\": \"cpu\", \"profile\": \"research\",
          \"files\": {{\"sbom.cdx.json\": {{\"sha256\": \"{digest}\"}}}}}}"
    );
    std::fs::write(release.join(names::SBOM), sbom).unwrap();
    std::fs::write(release.join(names::MANIFEST), manifest).unwrap();
    std::fs::write(release.join(names::REFERENCE_VALUES), reference_values()).unwrap();
    std::fs::write(release.join(names::BUILD_INPUTS), "{}").unwrap();
    let key = SignerKey::from_seed("log.example/releases".parse().unwrap(), &[5; 32]);
    let files = ReleaseFiles::read(release).unwrap();
    let published = publication::append(&files, b"", None, &key).unwrap();
    std::fs::write(release.join(names::ENTRY), published.record.to_string()).unwrap();
    let proof = published.inclusion.to_string();
    std::fs::write(release.join(names::INCLUSION), proof).unwrap();
    let registry_key = published.record.registry_key().to_string();
    (key.verifier().to_string(), registry_key)
}

/// Four shapes and two models: more than one message holds.
fn reference_values() -> String {
    let shape = |at: u8| {
        let digest = format!("{at:02x}").repeat(48);
        format!(
            "{{\"shape\": \"s{at}\", \"vcpus\": 2, \"memory_mib\": 2048, \"registers\":
             {{\"tee\": \"sev-snp\", \"vcpu_type\": \"EPYC-v4\", \"guest_features\": 1,
              \"launch_digest\": \"{digest}\"}}}}"
        )
    };
    let model = |at: u8| {
        let digest = format!("{at:02x}").repeat(32);
        format!("{{\"name\": \"m{at}\", \"digest\": \"{digest}\"}}")
    };
    format!(
        "{{\"version\": 1, \"image\": \"0.1.0\", \"profile\": \"research\",
          \"shapes\": [{}], \"models\": [{}]}}",
        (1..=4).map(shape).collect::<Vec<_>>().join(","),
        (5..=6).map(model).collect::<Vec<_>>().join(",")
    )
}
