//! The program's commands: arguments in, one exit code out.
//!
//! Deliberately not here: what the commands do; each is a module of this crate.

mod arguments;
mod chain;
mod grant;
mod guest;
mod money;
mod settle;

use std::future::Future;
use std::io::Write;
use std::time::Instant;

use clap::Parser as _;

use crate::clock::Clock;
use crate::report::{Format, Reporter};
use arguments::{Arguments, Command};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or stopped by the operator.
    Success,
    /// Something failed; the reason was printed.
    Failure,
    /// The arguments were not understood.
    Usage,
    /// The guest powered itself off and told why.
    PoweredOff,
    /// The guest ended and told nothing.
    Unexplained,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::PoweredOff => 3,
            Self::Unexplained => 4,
        }
    }
}

/// Draws 32 random bytes.
pub type Draw = fn() -> std::io::Result<[u8; 32]>;

/// What the program gets from its surroundings.
#[derive(Debug)]
pub struct Surroundings<Out, Errors, Stop> {
    /// Where results and events go.
    pub out: Out,
    /// Where complaints about arguments go.
    pub errors: Errors,
    /// When the program began.
    pub began: Instant,
    /// The time of day.
    pub clock: Clock,
    /// Draws 32 bytes for a new wallet, a new key, an agent's name.
    pub draw: Draw,
    /// Ends when the operator wants the program to.
    pub stop: Stop,
}

/// Runs the program. Call on a single-threaded runtime, from its main thread.
///
/// # Errors
/// Whatever made a command fail, with its chain of sources.
pub async fn run<Out, Errors, Stop>(
    arguments: impl IntoIterator<Item = std::ffi::OsString>,
    mut surroundings: Surroundings<Out, Errors, Stop>,
) -> anyhow::Result<Exit>
where
    Out: Write + Send + 'static,
    Errors: Write,
    Stop: Future<Output = ()>,
{
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            let text = error.render();
            // Zero for help and version, which were asked for.
            if error.exit_code() == 0 {
                write!(surroundings.out, "{text}")?;
                return Ok(Exit::Success);
            }
            write!(surroundings.errors, "{text}")?;
            return Ok(Exit::Usage);
        }
    };
    let format = if arguments.json {
        Format::Json
    } else {
        Format::Text
    };
    let reporter = Reporter::new(surroundings.began, format, surroundings.out);
    let clock = surroundings.clock;
    match arguments.command {
        Command::Doctor(options) => Ok(guest::doctor(&options, &reporter)),
        Command::Configure(options) => guest::configure(&options, &reporter),
        Command::Plan(options) => guest::plan(&options, &reporter),
        Command::Up(options) => {
            let given = (&clock, surroundings.draw);
            guest::up(&options, given, &reporter, surroundings.stop).await
        }
        Command::Relay(options) => {
            let given = (&clock, surroundings.draw);
            guest::relay(&options, given, &reporter, surroundings.stop).await
        }
        Command::Wallet(options) => money::wallet(&options, &reporter, surroundings.draw),
        Command::Grant(options) => grant::grant(&options, &clock, &reporter, surroundings.draw),
        Command::Settle(options) => {
            let given = (&clock, surroundings.draw);
            settle::settle(&options, given, &reporter, surroundings.stop).await
        }
        Command::Publish(options) => {
            let given = (&clock, surroundings.draw);
            money::publish(&options, given, &reporter).await
        }
    }
}
