//! The program `cocoon-research`: the client library with the roots of the simulated TEE.
//!
//! Another ALPN, another network and another name than the release program: neither end ever
//! completes a handshake with the other's kind, and reference values of the other profile are
//! refused. Nothing but these constants differs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use client::{Deployment, NoRandomness, Surroundings};
use research_anchors::{RESEARCH_ALPN, RESEARCH_NETWORK, research_anchors};
use verifier::{AppraisalPolicy, UnixTime};
use zeroize::Zeroizing;

fn main() -> ExitCode {
    let deployment = Deployment {
        program: "cocoon-research",
        alpn: RESEARCH_ALPN,
        network: RESEARCH_NETWORK,
        anchors: research_anchors(),
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
