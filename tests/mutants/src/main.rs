//! Mutation testing of the verifier: `plant` writes all small faults into one copy of its sources,
//! each behind a number; `run` runs the tests that reach a fault until one of them fails.
//!
//! Driven by `ci/mutants`, in a copy that is thrown away. Deliberately not here: compiling, and
//! which survivors are excused (`survivors.md`).
#![forbid(unsafe_code)]

mod operators;
mod plant;
mod run;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

fn main() -> ExitCode {
    match start(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is gone.
            drop(writeln!(std::io::stderr(), "mutants: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Vec<String>) -> anyhow::Result<()> {
    let mut arguments = arguments.into_iter();
    let command = arguments.next().context("plant, drop or run")?;
    let rest: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    match (command.as_str(), rest.as_slice()) {
        // The original sources, the copy, and a list of numbers that are not to be planted.
        ("plant", [from, to, dropped, out]) => plant::plant(from, to, dropped, out),
        // What the compiler said of a planted copy, as JSON lines.
        ("drop", [planted, messages, dropped]) => plant::drop_refused(planted, messages, dropped),
        ("run", [planted, results, seconds, programs @ ..]) if !programs.is_empty() => {
            let seconds = seconds.to_string_lossy().parse().context("seconds")?;
            run::run(planted, results, seconds, programs)
        }
        ("report", [planted, results]) => run::report(planted, results),
        _ => bail!("see ci/mutants"),
    }
}
