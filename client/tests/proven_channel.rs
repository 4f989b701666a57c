//! Wallet and payment channel read by proof, without any endpoint: what counts, what a server that
//! lies or fails can do, and a channel that is opened through lite-servers alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

#[path = "proven/mod.rs"]
mod proven;
#[path = "../../contracts/tests/testnode/mod.rs"]
mod testnode;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::chain::{FRESH_SECONDS, by_proof};
use client::wallet::{ChannelFile, Ledger, Opening, Purse, StateDirectory, WalletError, refresh};
use client::{NoRandomness, Surroundings};
use contracts::chain::Chain;
use contracts::channel::{ChannelState, ChannelTerms, Standing};
use contracts::toncenter::Toncenter;
use contracts::wallet::WalletKind;
use ed25519_dalek::SigningKey;
use lite_server::accounts::{BALANCE, channel, not_a_channel, wallet};
use lite_server::blocks::{NETWORK, SEQNO, TIME, bag};
use lite_server::{AccountCell, Changing, Fault, Mirror, Scene, Served, TestChain};
use protocol::digest::{AccountId, PayerKey, ReceiptsRoot};
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use proven::{World, accounts};
use testnode::TestNode;
use zeroize::Zeroizing;

const PAYEE: TonAddress = TonAddress {
    workchain: 0,
    account: AccountId([0x5a; 32]),
};
const KEY: [u8; 32] = [3; 32];
const DEPOSIT: u64 = 2_000_000_000;

/// A client with a wallet and the ledger of one channel.
struct Stage {
    _directory: tempfile::TempDir,
    scene: Scene,
    state: StateDirectory,
    purse: Purse,
    terms: ChannelTerms,
}

fn opening() -> Opening {
    Opening {
        payee: PAYEE,
        jetton: None,
        deposit: Nano::from_u64(DEPOSIT),
        window: 3_600,
    }
}

impl Stage {
    async fn opened(&self, chain: &Chain) -> ChannelFile {
        let (opening, key) = (opening(), Zeroizing::new(KEY));
        let opened = self.purse.open_channel(chain, &opening, &key).await;
        opened.unwrap()
    }

    fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(directory.path()).unwrap();
        let (seed, network) = (Zeroizing::new([8; 32]), NetworkId(NETWORK));
        let purse = Purse::create(state.clone(), &seed, WalletKind::V4R2, network).unwrap();
        let key = SigningKey::from_bytes(&KEY).verifying_key();
        let terms = ChannelTerms {
            payer: purse.address().unwrap(),
            payee: PAYEE,
            payer_key: PayerKey(key.to_bytes()),
            window: 3_600,
        };
        Self {
            _directory: directory,
            scene: Scene::default(),
            state,
            purse,
            terms,
        }
    }

    fn channel(&self) -> TonAddress {
        self.terms.address().unwrap()
    }

    fn open(&self, deposited: u64) -> ChannelState {
        ChannelState {
            standing: Standing::Open,
            epoch: TIME - 1_000,
            deposited: Nano::from_u64(deposited),
            claimed: Nano::ZERO,
            last_root: ReceiptsRoot::ZERO,
            terms: self.terms,
        }
    }

    /// The wallet, and the channel in some state.
    fn accounts(&self, state: &ChannelState) -> Vec<AccountCell> {
        let own = self.purse.address().unwrap();
        vec![wallet(&own, 4, BALANCE), channel(&self.channel(), state)]
    }

    fn served(&self, seqno: u32, deposited: u64) -> Served {
        self.scene.at(seqno, &self.accounts(&self.open(deposited)))
    }

    /// The ledger as it was before the chain showed anything.
    fn ledger(&self) -> Ledger {
        let at = self.channel();
        let directory = self.state.within("channels").unwrap();
        let directory = directory.within(&at.account.to_string()).unwrap();
        let file = ChannelFile {
            version: 1,
            network: NetworkId(NETWORK),
            channel: at,
            payer: self.terms.payer,
            payee: self.terms.payee,
            payer_key: self.terms.payer_key,
            window: self.terms.window,
            epoch: 0,
            deposited: Nano::ZERO.to_string(),
            jetton: None,
        };
        Ledger::create(&directory, &KEY, &file).unwrap();
        Ledger::open(directory).unwrap()
    }

    async fn chain(&self, all: Vec<Served>) -> Chain {
        let by = self.scene.start(all).await;
        Chain::Proven {
            accounts: accounts(by, &self.state).unwrap(),
            // Nobody is there: no fact may come from an endpoint.
            endpoint: Some(Toncenter::new("http://127.0.0.1:9").unwrap()),
        }
    }
}

#[tokio::test]
async fn the_deposit_that_is_proven_counts() {
    let stage = Stage::set();
    let mut ledger = stage.ledger();
    let both = vec![stage.served(SEQNO, 1), stage.served(SEQNO + 1, DEPOSIT)];
    refresh(&stage.chain(both).await, &mut ledger)
        .await
        .unwrap();
    assert_eq!(ledger.file().deposited, DEPOSIT.to_string());
    assert_eq!(ledger.file().epoch, TIME - 1_000);
    // Not again from a block below it, also in another run.
    let both = vec![stage.served(SEQNO, 1), stage.served(SEQNO - 1, 1)];
    let refused = refresh(&stage.chain(both).await, &mut ledger).await;
    assert_eq!(refused.unwrap_err().code(), "lite-behind");
    assert_eq!(ledger.file().deposited, DEPOSIT.to_string());
}

#[tokio::test]
async fn a_server_that_lies_or_fails_changes_nothing() {
    let stage = Stage::set();
    let mut ledger = stage.ledger();
    let honest = || stage.served(SEQNO, DEPOSIT);
    let newer = || stage.served(SEQNO + 1, 9 * DEPOSIT);
    let with = |fault| Served { fault, ..newer() };
    // The block of one state, with the channel of another.
    let mut lies = stage.served(SEQNO + 1, DEPOSIT);
    lies.accounts = newer().accounts;
    // Or with the proof of the one, and the account of the other.
    let mut swaps = stage.served(SEQNO + 1, DEPOSIT);
    swaps.accounts[1].state = bag(&stage.accounts(&stage.open(9 * DEPOSIT))[1].cell);
    // Nothing is there, it says.
    let mut hides = stage.served(SEQNO + 1, DEPOSIT);
    hides.accounts[1].state.clear();
    for (name, second, code) in [
        ("lies", lies, "proof-other-root"),
        ("swaps", swaps, "proof-other-account"),
        ("hides", hides, "proof-other-account"),
        (
            "disagrees",
            stage.served(SEQNO, 9 * DEPOSIT),
            "lite-disagreement",
        ),
        ("damages", with(Fault::Damages), "lite-damaged"),
        ("refuses", with(Fault::Refuses), "lite-refused"),
        ("hangs up", with(Fault::HangsUp), "lite-unreachable"),
        (
            "hangs up late",
            with(Fault::HangsUpLate),
            "lite-unreachable",
        ),
        ("halves", with(Fault::Halves), "lite-unreachable"),
    ] {
        let chain = stage.chain(vec![honest(), second]).await;
        let refused = refresh(&chain, &mut ledger).await.unwrap_err();
        assert_eq!(refused.code(), code, "{name}");
        assert_eq!(ledger.file().deposited, "0", "{name}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let stage = Stage::set();
    let mut ledger = stage.ledger();
    let silent = Served {
        fault: Fault::Silent,
        ..stage.served(SEQNO + 1, DEPOSIT)
    };
    let chain = stage
        .chain(vec![silent, stage.served(SEQNO, DEPOSIT)])
        .await;
    let within = Duration::from_secs(30);
    let refused = tokio::time::timeout(within, refresh(&chain, &mut ledger)).await;
    assert_eq!(refused.unwrap().unwrap_err().code(), "lite-timed-out");
}

#[tokio::test]
async fn a_block_that_is_too_old_is_refused() {
    let stage = Stage::set();
    let mut ledger = stage.ledger();
    for (later, expected) in [(0, Ok(())), (1, Err("lite-stale"))] {
        let both = [
            stage.served(SEQNO, DEPOSIT),
            stage.served(SEQNO + 1, DEPOSIT),
        ];
        let by = stage.scene.start(both).await;
        let world: Arc<dyn Surroundings> = Arc::new(World(FRESH_SECONDS + later));
        let chain = Chain::Proven {
            accounts: by_proof(by, NetworkId(NETWORK), &stage.state, &world).unwrap(),
            endpoint: None,
        };
        let read = refresh(&chain, &mut ledger).await;
        assert_eq!(read.map_err(|refused| code(&refused)), expected);
    }
}

fn code(error: &WalletError) -> &'static str {
    error.code()
}

#[tokio::test]
async fn other_code_a_close_and_nothing_at_all_take_no_vouchers() {
    let stage = Stage::set();
    let mut ledger = stage.ledger();
    let at = stage.channel();
    let mut closing = stage.open(DEPOSIT);
    closing.standing = Standing::Closing { until: TIME + 60 };
    for (shown, code) in [
        (
            vec![not_a_channel(&at, &stage.open(DEPOSIT))],
            "chain-other-code",
        ),
        (vec![channel(&at, &closing)], "channel-standing"),
        (vec![wallet(&PAYEE, 1, 1)], "channel-none"),
    ] {
        let both = vec![stage.scene.at(SEQNO, &shown), stage.scene.at(SEQNO, &shown)];
        let refused = refresh(&stage.chain(both).await, &mut ledger).await;
        assert_eq!(refused.unwrap_err().code(), code);
    }
}

/// The kernel gives nothing.
struct Dry;

impl Surroundings for Dry {
    fn now(&self) -> verifier::UnixTime {
        World(30).now()
    }

    fn random(&self) -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
        Err(NoRandomness)
    }

    fn home(&self) -> Option<std::path::PathBuf> {
        None
    }
}

#[tokio::test]
async fn without_randomness_nothing_is_read() {
    let stage = Stage::set();
    let both = [
        stage.served(SEQNO, DEPOSIT),
        stage.served(SEQNO + 1, DEPOSIT),
    ];
    let by = stage.scene.start(both).await;
    let dry: Arc<dyn Surroundings> = Arc::new(Dry);
    let accounts = by_proof(by, NetworkId(NETWORK), &stage.state, &dry).unwrap();
    let refused = accounts.account(&stage.channel()).await;
    assert_eq!(refused.unwrap_err().code(), "no-randomness");
}

#[tokio::test]
async fn a_channel_is_opened_through_lite_servers_alone() {
    let stage = Stage::set();
    let own = stage.purse.address().unwrap();
    let before = stage.scene.at(SEQNO, &[wallet(&own, 4, BALANCE)]);
    let sent = Arc::clone(&before.sent);
    let both: [Changing; 2] = [
        Arc::new(Mutex::new(before.clone())),
        Arc::new(Mutex::new(before)),
    ];
    let by = stage.scene.start_changing(both.clone()).await;
    let chain = Chain::Proven {
        accounts: accounts(by, &stage.state).unwrap(),
        endpoint: None,
    };
    // The network takes the message: a later block, first shown by one server alone.
    let mut after = vec![wallet(&own, 5, BALANCE)];
    after.push(channel(&stage.channel(), &stage.open(DEPOSIT)));
    let later = [SEQNO + 2, SEQNO + 3].map(|seqno| stage.scene.at(seqno, &after));
    let network = tokio::spawn(async move {
        while sent.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (server, later) in both.iter().zip(later) {
            *server.lock().unwrap() = later;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        sent.lock().unwrap().len()
    });
    let opened = stage.opened(&chain).await;
    assert_eq!(opened.channel, stage.channel());
    assert_eq!(opened.deposited, DEPOSIT.to_string());
    assert_eq!(opened.epoch, TIME - 1_000);
    // Each server was handed it.
    assert_eq!(network.await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_the_emulated_chain_is_opened_topped_up_and_closed_by_proof() {
    let stage = Stage::set();
    let node = TestNode::start().await;
    let own = stage.purse.address().unwrap();
    node.fund(&own, Nano::from_u64(20_000_000_000)).await;
    let endpoint = format!("http://{}", node.authority);
    let mirror = Mirror::start(TestChain::at(&endpoint)).await;
    let chain = Chain::Proven {
        accounts: accounts(mirror.by.clone(), &stage.state).unwrap(),
        endpoint: None,
    };
    let opened = stage.opened(&chain).await;
    assert_eq!(opened.deposited, DEPOSIT.to_string());
    let topped = stage
        .purse
        .top_up(&chain, &opening().to(), Nano::from_u64(DEPOSIT))
        .await
        .unwrap();
    assert_eq!(topped.deposited, (2 * DEPOSIT).to_string());
    let closing = stage.purse.close(&chain, &opening().to()).await.unwrap();
    let Standing::Closing { until } = closing else {
        panic!("{closing:?}");
    };
    node.advance(until - TIME).await;
    // By proof too the window is over once the blocks say so.
    let over = chain.wait_until(Duration::from_secs(10), async || {
        Ok((chain.chain_time().await? >= until).then_some(()))
    });
    over.await.unwrap();
    let closed = stage.purse.close(&chain, &opening().to()).await.unwrap();
    assert_eq!(closed, Standing::Closed);
    let proven = chain.balance(&own).await.unwrap();
    assert_eq!(proven, node.chain.balance(&own).await.unwrap());
}
