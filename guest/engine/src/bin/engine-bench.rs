//! `engine-bench --model F [--prompt N] [--generate N] [--threads T] [--json]`: tokens per second
//! of prefill and decode. Not part of the image: the engine itself opens no file by name.

use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use engine::{Model, available_processors, bench};

const USAGE: &str =
    "usage: engine-bench --model F [--prompt N] [--generate N] [--threads T] [--json]";

#[derive(Default)]
struct Arguments {
    model: Option<String>,
    prompt: Option<usize>,
    generate: Option<usize>,
    threads: Option<NonZeroUsize>,
    json: bool,
}

fn parse(arguments: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut parsed = Arguments::default();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--model" => parsed.model = Some(arguments.next()?),
            "--prompt" => parsed.prompt = Some(arguments.next()?.parse().ok()?),
            "--generate" => parsed.generate = Some(arguments.next()?.parse().ok()?),
            "--threads" => parsed.threads = Some(arguments.next()?.parse().ok()?),
            "--json" => parsed.json = true,
            _ => return None,
        }
    }
    Some(parsed)
}

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            let written = writeln!(std::io::stdout(), "{line}");
            written.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
        }
        Err(message) => {
            let _written = writeln!(std::io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let arguments = parse(std::env::args().skip(1)).ok_or(USAGE)?;
    let path = arguments.model.ok_or(USAGE)?;
    let threads = arguments
        .threads
        .or_else(available_processors)
        .ok_or("no processors")?;
    let (prompt, generate) = (
        arguments.prompt.unwrap_or(512),
        arguments.generate.unwrap_or(64),
    );
    let started = Instant::now();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let model = Model::read(file).map_err(|error| error.to_string())?;
    let load = started.elapsed().as_secs_f64();
    let figures = bench::measure(&model, prompt, generate, threads);
    let prefill = rate(prompt, figures.prefill);
    let decode = rate(generate, figures.decode);
    let fingerprint = figures.fingerprint;
    Ok(if arguments.json {
        format!(
            "{{\"prompt\":{prompt},\"generate\":{generate},\"threads\":{threads},\
             \"load_s\":{load:.3},\"prefill_tokens_per_s\":{prefill:.2},\
             \"decode_tokens_per_s\":{decode:.2},\"fingerprint\":\"{fingerprint:016x}\"}}"
        )
    } else {
        format!(
            "load {load:.2} s, prefill {prompt}: {prefill:.1} tokens/s, \
             decode {generate}: {decode:.1} tokens/s, {threads} threads, {fingerprint:016x}"
        )
    })
}

#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "a rate for people to read"
)]
fn rate(tokens: usize, time: Duration) -> f64 {
    tokens as f64 / time.as_secs_f64().max(1e-9)
}
