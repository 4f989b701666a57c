//! The payment from end to end on the emulated chain behind two lite-servers, and the program that
//! does the same against given ones.
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

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use client::{NoRandomness, Surroundings};
use host_agent::clock::{Clock, UnixSeconds};
use host_agent::wallet;
use lite_server::blocks::NETWORK;
use lite_server::{Mirror, TestChain};
use payment_machines::end_to_end::{Around, run};
use payment_machines::given::Given;
use protocol::nano::Nano;
use protocol::ton::NetworkId;
use testnode::{START, TestNode};
use verifier::UnixTime;
use zeroize::Zeroizing;

struct World;

impl Surroundings for World {
    fn now(&self) -> UnixTime {
        UnixTime(u64::from(START) + 1)
    }

    fn random(&self) -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
        draw().map(Zeroizing::new).map_err(|_| NoRandomness)
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }
}

fn draw() -> std::io::Result<[u8; 32]> {
    let mut drawn = [0; 32];
    getrandom::fill(&mut drawn).unwrap();
    Ok(drawn)
}

#[tokio::test(flavor = "multi_thread")]
async fn deposit_claim_and_close_add_up_where_every_account_is_proven() {
    let place = tempfile::tempdir().unwrap();
    let node = TestNode::start().await;
    let network = NetworkId(NETWORK);
    let seeds = [1, 2].map(|number| {
        let path = place.path().join(number.to_string());
        wallet::create(&path, [number; 32]).unwrap();
        path
    });
    for seed in &seeds {
        let address = wallet::read(seed, network).unwrap().address().unwrap();
        node.fund(&address, Nano::from_u64(3_000_000_000)).await;
    }
    let endpoint = format!("http://{}", node.authority);
    let mirror = Mirror::start(TestChain::at(&endpoint)).await;
    let [payer, payee] = seeds;
    let given = Given {
        network,
        by: mirror.by.clone(),
        endpoint,
        payer,
        payee,
        state: place.path().join("state"),
        deposit: Nano::from_u64(1_000_000_001),
    };
    let around = Around {
        client: Arc::new(World),
        clock: Clock::new(|| UnixSeconds(u64::from(START) + 1)),
        draw,
    };
    let told = run(&given, &around, |_| ()).await;
    assert_eq!(told.claimed.increment, Nano::from_u64(500_000_000));
    assert_eq!(told.closed.increment, Nano::from_u64(250_000_000));
    let [before, after] = told.payer;
    let paid = before.minus(after).unwrap().units();
    assert!((750_000_000..850_000_000).contains(&paid), "{paid}");
}

#[test]
fn the_program_runs_on_no_chain_that_it_is_not_given() {
    let ended = |words: &[&str]| {
        let ended = Command::new(env!("CARGO_BIN_EXE_payment-live"))
            .args(words)
            .output();
        let ended = ended.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains("usage: payment-live"), "{said}");
        (ended.status.code(), said.lines().next().unwrap().to_owned())
    };
    let nothing = "payment-live: no lite-server is given, and there is no default";
    assert_eq!(ended(&[]), (Some(2), nothing.to_owned()));
    let one = format!("{}@127.0.0.1:1", "11".repeat(32));
    let refused = "payment-live: one server can hide what it likes: two or more";
    let words = ["--lite-server", &one, "--network", "-3"];
    assert_eq!(ended(&words), (Some(2), refused.to_owned()));
}
