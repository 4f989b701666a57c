//! `measure`: expected registers from artifacts, as JSON. Exit status 0, or 2 for bad input.
//!
//! Each subcommand is a module of `command`; what it computes lies in the library.

mod command;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match command::Arguments::parse().command.run() {
        Ok(output) => match std::io::stdout().write_all(output.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            // Nothing can be done about a closed standard error.
            let _ = writeln!(std::io::stderr(), "measure: {error:#}");
            ExitCode::from(2)
        }
    }
}
