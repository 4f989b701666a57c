//! The program before the emulated chain, as `ci/stack` starts it, read as client and host agent
//! read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

#[allow(dead_code, reason = "its own controls of time are not needed here")]
#[path = "../../../contracts/tests/testnode/mod.rs"]
mod testnode;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use contracts::lite::{ByProof, LiteServers, PositionFile, ProvenAccounts};
use lite_server::TestChain;
use lite_server::blocks::NETWORK;
use protocol::digest::AccountId;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use testnode::{START, TestNode};

const LIMIT: u64 = 120;

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program, and what its line names.
fn start(base: &str) -> (Program, LiteServers) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lite-server"))
        .arg(base)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["ready", first, second, block] = words[..] else {
        panic!("{line}");
    };
    let by = LiteServers {
        servers: [first, second].map(|one| one.parse().unwrap()).to_vec(),
        pinned: block.parse().unwrap(),
    };
    (Program(child), by)
}

#[tokio::test]
async fn a_read_sees_what_happened_before_it_and_the_clock_can_be_moved_along() {
    let node = TestNode::start().await;
    let base = format!("http://{}", node.authority);
    let (_program, by) = start(&base);
    let place = tempfile::tempdir().unwrap();
    let reader = |now: u32| {
        ProvenAccounts::new(ByProof {
            network: NetworkId(NETWORK),
            by: by.clone(),
            file: PositionFile::at(place.path().join("position")),
            limit: LIMIT,
            now: Box::new(move || u64::from(now)),
            draw: Box::new(|| Ok([7; 32])),
        })
        .unwrap()
    };
    let at = |number| TonAddress {
        workchain: 0,
        account: AccountId([number; 32]),
    };
    let early = reader(START);
    assert_eq!(early.account(&at(1)).await.unwrap().balance, Nano::ZERO);
    for number in [1, 2, 1] {
        let before = early.account(&at(number)).await.unwrap().balance;
        node.fund(&at(number), Nano::from_u64(1_000_000_000)).await;
        let after = early.account(&at(number)).await.unwrap().balance;
        assert!(after > before);
        assert_eq!(after, node.chain.balance(&at(number)).await.unwrap());
    }
    // The chain's clock stands, this machine's does not.
    let later = START + 3_600;
    let late = reader(later);
    assert_eq!(late.account(&at(1)).await.unwrap_err().code(), "lite-stale");
    let chain = TestChain::at(&base);
    assert!(chain.keep_up(u64::from(later)).await);
    assert_eq!(late.account(&at(1)).await.unwrap().chain_time, later);
    // Never back.
    assert!(chain.keep_up(u64::from(START)).await);
    assert_eq!(late.account(&at(1)).await.unwrap().chain_time, later);
    drop(node);
    assert!(!chain.keep_up(u64::from(later)).await);
}
