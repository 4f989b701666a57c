//! The program `cocoon`: the client library with the vendors' production roots.
//!
//! Nothing here can add a root. The research twin is a program of its own, `tests/research/cocoon`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use client::{Deployment, NoRandomness, Surroundings};
use protocol::evidence::ALPN;
use protocol::ton::NetworkId;
use verifier::{AppraisalPolicy, TrustAnchors, UnixTime};
use zeroize::Zeroizing;

fn main() -> ExitCode {
    let deployment = Deployment {
        program: "cocoon",
        alpn: ALPN,
        network: NetworkId::MAIN,
        anchors: TrustAnchors::PRODUCTION,
        policy: AppraisalPolicy::strict(),
    };
    client::run(deployment, Arc::new(Machine), std::env::args_os())
}

/// The machine that the program runs on.
#[derive(Debug)]
struct Machine;

impl Surroundings for Machine {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where this program reads the clock"
    )]
    fn now(&self) -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        // Before 1970 nothing is valid, and nothing is accepted.
        UnixTime(since.map_or(0, |since| since.as_secs()))
    }

    fn random(&self) -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
        Ok(bytes)
    }

    fn home(&self) -> Option<PathBuf> {
        std::env::home_dir()
    }
}
