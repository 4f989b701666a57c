//! The program: gives the library its clock, randomness, output and signals, and ends with its exit
//! code. Deliberately not here: anything else.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use host_agent::clock::{Clock, UnixSeconds};
use host_agent::command::{self, Exit, Surroundings};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let exit = start().unwrap_or_else(|error| {
        // Nobody is left to tell when standard error is gone.
        drop(writeln!(io::stderr(), "host-agent: {error:#}"));
        Exit::Failure
    });
    ExitCode::from(exit.code())
}

fn start() -> anyhow::Result<Exit> {
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot await SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot await SIGINT")?;
        let surroundings = Surroundings {
            out: io::stdout(),
            errors: io::stderr(),
            began,
            clock: Clock::new(now),
            draw,
            stop: async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            },
        };
        command::run(std::env::args_os(), surroundings).await
    })
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place where the clock is read"
)]
fn now() -> UnixSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixSeconds(since.map_or(0, |since| since.as_secs()))
}

fn draw() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    Ok(bytes)
}
