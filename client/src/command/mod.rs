//! The program's commands: arguments in, one exit code out.
//!
//! Each command joins the parts of this library and prints what happened; decisions are the parts'
//! own. Exit codes are listed at the end of `--help` and in `client/README.md`.

mod amount;
mod arguments;
mod ask;
mod connect;
mod device_set;
mod failure;
mod machine;
mod output;
mod prove;
mod providers;
mod purse;
mod qr;
mod serve;
mod settings;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, FromArgMatches as _};

use self::arguments::{Arguments, Command, examples};
use self::failure::Failure;
use self::output::{Output, Reader};
use self::settings::Settings;
use crate::deployment::{Deployment, Surroundings};

/// Runs one command of the program that `deployment` describes.
pub fn run(
    deployment: Deployment,
    surroundings: Arc<dyn Surroundings>,
    arguments: impl IntoIterator<Item = OsString>,
) -> ExitCode {
    let program = deployment.program;
    let command = Arguments::command()
        .name(program)
        .after_help(examples(program));
    let parsed = command
        .try_get_matches_from(arguments)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output, a mistake to standard error; 0 and 2.
            let _printed = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let reader = if arguments.options.json {
        Reader::Program
    } else {
        Reader::Person
    };
    let output = Output { program, reader };
    match execute(deployment, surroundings, &arguments, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit())
        }
    }
}

fn execute(
    deployment: Deployment,
    surroundings: Arc<dyn Surroundings>,
    arguments: &Arguments,
    output: Output,
) -> Result<(), Failure> {
    let settings = Settings::join(deployment, surroundings, &arguments.options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    runtime.block_on(async {
        match &arguments.command {
            Command::Chat(chat) => ask::chat(&settings, chat, output).await,
            Command::Serve(serve) => serve::serve(&settings, serve, output).await,
            Command::Wallet(command) => purse::wallet(&settings, command, output).await,
            Command::Balance => purse::balance(&settings, output).await,
            Command::Providers(arguments) => {
                providers::providers(&settings, arguments, output).await
            }
            Command::Prove(arguments) => prove::prove(&settings, arguments, output).await,
            Command::Verify(command) => verify::verify(&settings, command, output).await,
        }
    })
}
