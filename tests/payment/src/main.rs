//! `payment-live`: the payment from end to end against lite-servers that are given. Nothing starts
//! it by itself: it is for whoever has two wallets on a network, and servers to ask.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test as a program: it reads the clock, prints its steps, and a panic is the failure"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use client::{NoRandomness, Surroundings};
use host_agent::clock::{Clock, UnixSeconds};
use payment_machines::end_to_end::{Around, run};
use payment_machines::given::{Given, USAGE};
use verifier::UnixTime;
use zeroize::Zeroizing;

struct World;

impl Surroundings for World {
    fn now(&self) -> UnixTime {
        UnixTime(now())
    }

    fn random(&self) -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
        draw().map(Zeroizing::new).map_err(|_| NoRandomness)
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn draw() -> std::io::Result<[u8; 32]> {
    let mut drawn = [0; 32];
    getrandom::fill(&mut drawn).map_err(|_| std::io::Error::other("no randomness"))?;
    Ok(drawn)
}

fn main() -> ExitCode {
    let given = match Given::parse(std::env::args().skip(1)) {
        Ok(given) => given,
        Err(refused) => {
            eprintln!("payment-live: {refused}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let around = Around {
        client: Arc::new(World),
        clock: Clock::new(|| UnixSeconds(now())),
        draw,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let told = runtime
        .unwrap()
        .block_on(run(&given, &around, |step| println!("{step}")));
    let [payer, payee] =
        [told.payer, told.payee].map(|[before, after]| format!("{before} -> {after}"));
    println!("payer's coins {payer}, payee's coins {payee}: all adds up");
    ExitCode::SUCCESS
}
