//! The chain by proof: what a guest's question is answered from, what a server that lies or fails
//! can do, and the built program with lite-servers, alone and before the emulated chain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

#[path = "proven/guest.rs"]
mod guest;
mod program;
#[allow(dead_code, reason = "its controls of time are not needed here")]
#[path = "../../contracts/tests/testnode/mod.rs"]
mod testnode;

use std::path::PathBuf;

use contracts::asset::PaymentChannel;
use contracts::chain::Chain;
use contracts::channel::{ChannelState, ChannelTerms, Standing};
use contracts::lite::LiteServers;
use contracts::toncenter::Toncenter;
use contracts::wallet::Wallet;
use ed25519_dalek::SigningKey;
use guest::Guest;
use host_agent::chain::{FRESH_SECONDS, by_proof};
use host_agent::clock::{Clock, UnixSeconds};
use host_agent::control::channels::{ChainReader as _, Snapshot};
use lite_server::accounts::{BALANCE, channel, not_a_channel, wallet};
use lite_server::blocks::{NETWORK, SEQNO, TIME, bag};
use lite_server::{AccountCell, Fault, Mirror, Scene, Served, TestChain};
use messages::host_control::{StopReason, VoucherDecision};
use nix::sys::signal::Signal;
use program::Running;
use protocol::digest::{AccountId, PayerKey, ReceiptsRoot};
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::{SignedVoucher, Voucher};
use testnode::TestNode;

const DEPOSIT: u64 = 1_000_000_000;
/// Years away on every clock.
const VALID_UNTIL: u32 = 2_100_000_000;

fn payer_key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn terms(payee: TonAddress) -> ChannelTerms {
    ChannelTerms {
        payer: Wallet::from_seed(&[1; 32], NetworkId(NETWORK))
            .address()
            .unwrap(),
        payee,
        payer_key: PayerKey(payer_key().verifying_key().to_bytes()),
        window: 3_600,
    }
}

fn open(payee: TonAddress, deposited: u64) -> ChannelState {
    ChannelState {
        standing: Standing::Open,
        epoch: TIME - 1_000,
        deposited: Nano::from_u64(deposited),
        claimed: Nano::ZERO,
        last_root: ReceiptsRoot::ZERO,
        terms: terms(payee),
    }
}

fn voucher(at: TonAddress, epoch: u32, total: u64) -> SignedVoucher {
    let voucher = Voucher {
        network: NetworkId(NETWORK),
        channel: at,
        epoch,
        cumulative: Nano::from_u64(total),
        receipts_root: ReceiptsRoot([5; 32]),
        valid_until: VALID_UNTIL,
    };
    voucher.sign(&payer_key())
}

const PAYEE: TonAddress = TonAddress {
    workchain: 0,
    account: AccountId([0x5a; 32]),
};

/// A host's reader of the chain, so many seconds after the blocks.
struct Reader {
    _place: tempfile::TempDir,
    chain: Chain,
}

impl Reader {
    fn of(by: LiteServers, later: u64) -> Self {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("chain-position");
        let clock = Clock::new(move || UnixSeconds(u64::from(TIME) + later));
        let accounts = by_proof(by, NetworkId(NETWORK), file, &clock, || Ok([7; 32])).unwrap();
        Self {
            _place: place,
            chain: Chain::Proven {
                accounts,
                // Nobody is there: no fact may come from an endpoint.
                endpoint: Some(Toncenter::new("http://127.0.0.1:9").unwrap()),
            },
        }
    }

    /// What is shown of the channel to [`PAYEE`], or the refusal's code.
    async fn read(&self) -> Result<Snapshot, &'static str> {
        let read = self.chain.read(terms(PAYEE).address().unwrap()).await;
        read.map_err(|refused| refused.code())
    }
}

/// An honest server's word at some height: the channel has this deposit.
fn served(scene: &Scene, seqno: u32, deposited: u64) -> Served {
    let state = open(PAYEE, deposited);
    scene.at(seqno, &[channel(&state.terms.address().unwrap(), &state)])
}

#[tokio::test]
async fn the_view_of_a_channel_is_what_is_proven() {
    let scene = Scene::default();
    let both = [served(&scene, SEQNO, 1), served(&scene, SEQNO + 1, DEPOSIT)];
    let reader = Reader::of(scene.start(both).await, 30);
    let view = reader.read().await.unwrap();
    assert_eq!(
        view.channel,
        Some(PaymentChannel::Coin(open(PAYEE, DEPOSIT)))
    );
    assert_eq!(view.time, UnixSeconds(u64::from(TIME)));
    // Other code, terms of another channel, nothing: no channel.
    let at = terms(PAYEE).address().unwrap();
    let mut foreign = open(PAYEE, DEPOSIT);
    foreign.terms.window += 1;
    for shown in [
        vec![not_a_channel(&at, &open(PAYEE, DEPOSIT))],
        vec![channel(&at, &foreign)],
        vec![wallet(&PAYEE, 1, 1)],
    ] {
        let both = [scene.at(SEQNO, &shown), scene.at(SEQNO, &shown)];
        let reader = Reader::of(scene.start(both).await, 30);
        assert_eq!(reader.read().await.unwrap().channel, None);
    }
}

#[tokio::test]
async fn a_server_that_lies_or_fails_shows_nothing() {
    let scene = Scene::default();
    let newer = || served(&scene, SEQNO + 1, 9 * DEPOSIT);
    let with = |fault| Served { fault, ..newer() };
    let mut lies = served(&scene, SEQNO + 1, DEPOSIT);
    lies.accounts = newer().accounts;
    let mut swaps = served(&scene, SEQNO + 1, DEPOSIT);
    let rich = open(PAYEE, 9 * DEPOSIT);
    let rich: AccountCell = channel(&rich.terms.address().unwrap(), &rich);
    swaps.accounts[0].state = bag(&rich.cell);
    for (second, code) in [
        (lies, "proof-other-root"),
        (swaps, "proof-other-account"),
        (served(&scene, SEQNO, 9 * DEPOSIT), "lite-disagreement"),
        (with(Fault::Damages), "lite-damaged"),
        (with(Fault::Refuses), "lite-refused"),
        (with(Fault::HangsUpLate), "lite-unreachable"),
        (with(Fault::Halves), "lite-unreachable"),
    ] {
        let by = scene.start([served(&scene, SEQNO, DEPOSIT), second]).await;
        let reader = Reader::of(by, 30);
        assert_eq!(reader.read().await.unwrap_err(), code);
    }
    for (later, is_fresh) in [(FRESH_SECONDS, true), (FRESH_SECONDS + 1, false)] {
        let both = [served(&scene, SEQNO, 1), served(&scene, SEQNO + 1, DEPOSIT)];
        let reader = Reader::of(scene.start(both).await, later);
        let read = reader.read().await;
        assert_eq!(read.is_ok(), is_fresh, "{later}");
    }
}

/// A provider's files: wallet, launch configuration, endorsements.
struct Stage {
    place: tempfile::TempDir,
    payee: TonAddress,
}

impl Stage {
    fn set() -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name).display().to_string();
        let network = NETWORK.to_string();
        let (seed, out) = (path("seed"), path("launch-config.json"));
        let shown = program::lines(&["wallet", "new", "--seed", &seed, "--network", &network]);
        let payee: TonAddress = shown[0]["address"].as_str().unwrap().parse().unwrap();
        std::fs::create_dir(place.path().join("endorsements")).unwrap();
        let description = program::write_model(&place.path().join("model"));
        let model = format!("small={}", description.display());
        let payee_text = payee.to_string();
        program::lines(&[
            "configure",
            "--payee",
            &payee_text,
            "--network",
            &network,
            "--model",
            &model,
            "--prices",
            "20,2,160",
            "--out",
            &out,
        ]);
        Self { place, payee }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    /// `relay`, reading through these servers and nothing else.
    fn relay(&self, by: &LiteServers) -> Running {
        let (configuration, state) = (self.path("launch-config.json"), self.path("state"));
        let endorsements = self.path("endorsements");
        let proven = named(by);
        let mut arguments = vec![
            "relay",
            "--guest",
            "unix:/nowhere",
            "--launch-config",
            &configuration,
            "--state",
            &state,
            "--endorsements",
            &endorsements,
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
        ];
        arguments.extend(proven.iter().map(String::as_str));
        Running::start(&arguments)
    }

    /// `settle`, reading through these servers.
    fn settle(&self, by: &LiteServers, action: &[&str]) -> std::process::Output {
        let state = self.path("state");
        let settle = [&["settle"][..], action, &["--state", &state]].concat();
        self.in_purse(by, &settle)
    }

    /// A command about the wallet, reading through these servers, in the directory of its seed.
    fn in_purse(&self, by: &LiteServers, command: &[&str]) -> std::process::Output {
        let mut program = program::command();
        program.current_dir(self.place.path()).args(command);
        program.args(["--wallet-seed", "seed", "--network", &NETWORK.to_string()]);
        program.args(named(by)).output().unwrap()
    }
}

fn named(by: &LiteServers) -> Vec<String> {
    let mut words = Vec::new();
    for server in &by.servers {
        words.extend(["--lite-server".to_owned(), server.to_string()]);
    }
    words.extend(["--trusted-block".to_owned(), by.pinned.to_string()]);
    words
}

/// A shape and a model, as a file.
fn reference_values(at: &std::path::Path) {
    let digests = ["1a".repeat(48), "2b".repeat(32)];
    let values = serde_json::json!({
        "version": 1, "image": "0.1.0", "profile": "research",
        "shapes": [{ "shape": "one", "vcpus": 2, "memory_mib": 2048, "registers": {
            "tee": "sev-snp", "vcpu_type": "EPYC-v4", "guest_features": 1,
            "launch_digest": digests[0] } }],
        "models": [{ "name": "small", "digest": digests[1] }],
    });
    std::fs::write(at, values.to_string()).unwrap();
}

/// Seconds of this machine's clock, by which the program judges.
fn now() -> u32 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    u32::try_from(now).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_served_by_proof_alone_and_nothing_is_served_on_an_old_block() {
    let stage = Stage::set();
    let scene = Scene::default();
    let state = open(stage.payee, DEPOSIT);
    let at = state.terms.address().unwrap();
    let cells = [channel(&at, &state), wallet(&stage.payee, 1, BALANCE)];
    let served = |time| [SEQNO, SEQNO + 1].map(|seqno| scene.at_time(time, seqno, &cells));
    let by = scene.start(served(now() + 30)).await;
    let mut relay = stage.relay(&by);
    let metrics = relay.event("metrics")["listen"].clone();
    let metrics = metrics.as_str().unwrap().to_owned();
    relay.event("ready");
    let mut guest = Guest::dial(&stage.at("state"));
    let mut ask = |total| guest.ask(voucher(at, state.epoch, total)).unwrap();
    assert_eq!(ask(1_280), VoucherDecision::Continue);
    let exceeded = VoucherDecision::Stop(StopReason::DepositExceeded, None);
    assert_eq!(ask(DEPOSIT + 1), exceeded);
    let metrics = program::ask(&metrics, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for line in [
        format!("cocoon_proven_height {}", SEQNO + 1),
        "cocoon_promised_units{asset=\"coin\"} 1280".to_owned(),
        "cocoon_unclaimed_units{asset=\"coin\"} 1280".to_owned(),
        "cocoon_claimed_units{asset=\"coin\"} 0".to_owned(),
        "cocoon_vouchers_stored_total 1".to_owned(),
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}\n{metrics}"
        );
    }
    relay.signal(Signal::SIGTERM);
    assert_eq!(relay.ended(), Some(0));
    // The books hold it, the proven channel shows nothing of it yet.
    let status = program::parse(&stage.settle(&by, &["status"]));
    assert_eq!(status[0]["promised"], "1280", "{status:?}");
    assert_eq!(status[0]["claimed"], "0");
    // Without an endpoint no claim could be followed: none is sent.
    let claimed = stage.settle(&by, &["claim", "--all"]);
    assert_eq!(claimed.status.code(), Some(1));
    assert_eq!(program::parse(&claimed)[0]["error"], "chain-no-endpoint");
    let old = stage.relay(&scene.start(served(now() - 600)).await);
    assert_eq!(old.ended(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_claimed_counts_when_it_is_proven_and_adds_up() {
    let stage = Stage::set();
    let node = TestNode::start_at(now() + 60).await;
    node.fund(&stage.payee, Nano::from_u64(10_000_000_000))
        .await;
    let terms = terms(stage.payee);
    node.fund(&terms.payer, Nano::from_u64(100_000_000_000))
        .await;
    let payer = Wallet::from_seed(&[1; 32], NetworkId(NETWORK));
    let deposit = terms.top_up(Nano::from_u64(DEPOSIT)).unwrap();
    let until = node.chain.chain_time().await.unwrap() + 60;
    let message = payer.sign(0, until, &[deposit]).unwrap();
    node.chain.send_boc(&message).await.unwrap();
    let at = terms.address().unwrap();
    let epoch = node.chain.channel(&at).await.unwrap().unwrap().epoch;

    let endpoint = format!("http://{}", node.authority);
    let mirror = Mirror::start(TestChain::at(&endpoint)).await;
    let mut relay = stage.relay(&mirror.by);
    relay.event("ready");
    let mut guest = Guest::dial(&stage.at("state"));
    let asked = guest.ask(voucher(at, epoch, 640_000_000));
    assert_eq!(asked, Some(VoucherDecision::Continue));
    let before = node.chain.balance(&stage.payee).await.unwrap();
    let claimed = stage.settle(&mirror.by, &["claim", "--chain", &endpoint]);
    let claimed = program::parse(&claimed);
    assert_eq!(claimed[0]["paid"], true, "{claimed:?}");
    assert_eq!(claimed[0]["adds_up"], true, "{claimed:?}");
    assert_eq!(claimed[0]["increment"], "640000000");
    assert_eq!(claimed[0]["before"], before.to_string());
    let after = node.chain.balance(&stage.payee).await.unwrap();
    assert_eq!(claimed[0]["after"], after.to_string());
    let again = program::parse(&stage.settle(&mirror.by, &["status"]));
    assert_eq!(again[0]["prospect"], "paid", "{again:?}");
    drop(relay);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_read_by_proof_and_sent_only_where_it_can_be_followed() {
    let stage = Stage::set();
    let node = TestNode::start_at(now() + 60).await;
    let coins = Nano::from_u64(10_000_000_000);
    node.fund(&stage.payee, coins).await;
    let endpoint = format!("http://{}", node.authority);
    let by = Mirror::start(TestChain::at(&endpoint)).await.by;
    let revoker = format!("0:{}", "99".repeat(32));
    let deploy = ["publish", "deploy", "--revoker", &revoker];
    let sent = [&deploy[..], &["--delay", "3600", "--chain", &endpoint]].concat();
    let deployed = program::parse(&stage.in_purse(&by, &sent));
    let registry = deployed[0]["registry"].as_str().unwrap().to_owned();

    reference_values(&stage.at("values"));
    let publish = |more: &[&str]| {
        let what = [
            "publish",
            "--reference-values",
            "values",
            "--registry",
            &registry,
        ];
        stage.in_purse(&by, &[&what[..], more].concat())
    };
    let refused = publish(&[]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("chain-no-endpoint"), "{said}");

    let listed = program::parse(&publish(&["--chain", &endpoint]));
    let effective = node.chain.chain_time().await.unwrap() + 3_600;
    assert_eq!(listed.len(), 2);
    for item in &listed {
        assert_eq!(item["added"], true, "{listed:?}");
        assert_eq!(item["valid_from"], effective);
    }
    // What is listed needs no endpoint; where one is named, nobody asks it.
    for more in [&[][..], &["--chain", "http://127.0.0.1:9"]] {
        let again = program::parse(&publish(more));
        assert_eq!(again.len(), 2, "{more:?}");
        assert!(again.iter().all(|item| item["added"] == false));
    }
    // Servers of another chain, where there is no registry: whatever the endpoint shows.
    let scene = Scene::default();
    let cells = [wallet(&stage.payee, 1, BALANCE)];
    let other = [SEQNO + 900, SEQNO + 901].map(|seqno| scene.at_time(now(), seqno, &cells));
    let other = scene.start(other).await;
    let what = [
        "publish",
        "--reference-values",
        "values",
        "--registry",
        &registry,
    ];
    let refused = stage.in_purse(&other, &[&what[..], &["--chain", &endpoint]].concat());
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("chain-other-code"), "{said}");
}
