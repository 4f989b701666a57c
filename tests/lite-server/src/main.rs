//! The program: two lite-servers before an emulated chain, whose clock it keeps up with this
//! machine's, since by proof nothing old is read.
//!
//!     lite-server http://127.0.0.1:PORT
//!
//! prints one line `ready SERVER SERVER BLOCK`, for `--lite-server`, `--lite-server` and
//! `--trusted-block`, and ends with a signal, or when the chain is away.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a part of tests; a panic is the failure, and the line is what it is started for"
)]

use std::time::Duration;

use lite_server::{Mirror, TestChain};

/// The chain's clock may be so far behind: a fourth of what the strictest reader takes.
const BEHIND: Duration = Duration::from_secs(30);

fn main() {
    let base = std::env::args().nth(1).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(show(&base));
}

async fn show(base: &str) {
    let chain = TestChain::at(base);
    let mirror = Mirror::start(chain.clone()).await;
    let [first, second] = mirror.by.servers.as_slice() else {
        panic!("two servers");
    };
    println!("ready {first} {second} {}", mirror.by.pinned);
    loop {
        tokio::time::sleep(BEHIND).await;
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        if !chain.keep_up(now).await {
            return;
        }
    }
}
