//! `engine-bench --model F ...`: tokens per second of prefill and decode, memory, load time, and
//! how fast this machine reads memory. Not part of the image: the engine itself opens no file by
//! name.

use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use engine::bench::{self, Arrival, Cost, Figures, Waited, Work};
use engine::{Model, available_processors};

/// As the engine's own program: what is measured includes it.
#[global_allocator]
static HEAP: sys::WipingHeap = sys::WipingHeap;

const USAGE: &str = "usage: engine-bench --model F [--prompt N] [--generate N] [--batch B] \
    [--depth D] [--threads T] [--json]\n       \
    engine-bench --model F --first N [--batch B] [--tries K] [--threads T]\n       \
    engine-bench --roof [--threads T]";

struct Arguments {
    model: Option<String>,
    roof: bool,
    work: Work,
    first: Option<usize>,
    tries: usize,
    threads: Option<NonZeroUsize>,
    json: bool,
}

fn parse(arguments: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut parsed = Arguments {
        model: None,
        roof: false,
        work: Work {
            depth: 0,
            prompt: 512,
            generate: 64,
            batch: 1,
        },
        first: None,
        tries: 3,
        threads: None,
        json: false,
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let work = &mut parsed.work;
        match argument.as_str() {
            "--model" => parsed.model = Some(arguments.next()?),
            "--prompt" => work.prompt = arguments.next()?.parse().ok()?,
            "--generate" => work.generate = arguments.next()?.parse().ok()?,
            "--batch" => work.batch = arguments.next()?.parse().ok()?,
            "--depth" => work.depth = arguments.next()?.parse().ok()?,
            "--first" => parsed.first = Some(arguments.next()?.parse().ok()?),
            "--tries" => parsed.tries = arguments.next()?.parse().ok()?,
            "--threads" => parsed.threads = Some(arguments.next()?.parse().ok()?),
            "--roof" => parsed.roof = true,
            "--json" => parsed.json = true,
            _ => return None,
        }
    }
    Some(parsed)
}

fn main() -> ExitCode {
    sys::gather_in_large_pages();
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
    let threads = arguments
        .threads
        .or_else(available_processors)
        .ok_or("no processors")?;
    if arguments.roof {
        return Ok(format!("{{\"bytes_per_s\":{:.0}}}", bench::roof(threads)));
    }
    let path = arguments.model.ok_or(USAGE)?;
    let started = Instant::now();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let model = Model::read(file).map_err(|error| error.to_string())?;
    let load = started.elapsed().as_secs_f64();
    if let Some(prompt) = arguments.first {
        let arrival = Arrival {
            prompt,
            beside: arguments.work.batch,
            tries: arguments.tries,
        };
        let waited = bench::first(&model, arrival, threads);
        return Ok(firsts(&waited.map_err(|error| error.to_string())?));
    }
    let figures = bench::measure(&model, arguments.work, threads);
    Ok(if arguments.json {
        json(&arguments.work, threads, load, &figures)
    } else {
        text(&arguments.work, threads, load, &figures)
    })
}

fn json(work: &Work, threads: NonZeroUsize, load: f64, figures: &Figures) -> String {
    let (prefill, decode) = (figures.prefill, figures.decode);
    let resident = peak_resident().unwrap_or(0);
    let fingerprint = figures.fingerprint;
    let Work {
        depth,
        prompt,
        generate,
        batch,
    } = work;
    let rates = |name: &str, tokens: usize, cost: Cost| {
        let tokens = tokens.saturating_mul(*batch);
        let (elapsed, processor) = (rate(tokens, cost.elapsed), rate(tokens, cost.processor));
        format!("\"{name}_tokens_per_s\":{elapsed:.2},\"{name}_tokens_per_cpu_s\":{processor:.2}")
    };
    format!(
        "{{\"depth\":{depth},\"prompt\":{prompt},\"generate\":{generate},\"batch\":{batch},\
         \"threads\":{threads},\"load_s\":{load:.3},{},{},\"resident_bytes\":{resident},\
         \"fingerprint\":\"{fingerprint:016x}\"}}",
        rates("prefill", *prompt, prefill),
        rates("decode", *generate, decode),
    )
}

/// One object a try.
fn firsts(waited: &[Waited]) -> String {
    let tries = waited.iter().map(|waited| {
        format!(
            "{{\"prompt_tokens\":{},\"first_s\":{:.4},\"stall_s\":{:.4}}}",
            waited.prompt_tokens,
            waited.first.as_secs_f64(),
            waited.stall.as_secs_f64()
        )
    });
    format!("[{}]", tries.collect::<Vec<_>>().join(","))
}

fn text(work: &Work, threads: NonZeroUsize, load: f64, figures: &Figures) -> String {
    let Work {
        depth,
        prompt,
        generate,
        batch,
    } = work;
    let prefill = rate(prompt.saturating_mul(*batch), figures.prefill.elapsed);
    let decode = rate(generate.saturating_mul(*batch), figures.decode.elapsed);
    let fingerprint = figures.fingerprint;
    format!(
        "load {load:.2} s, prefill {prompt}: {prefill:.1} tokens/s, decode {generate} at depth \
         {depth}, {batch} at once: {decode:.1} tokens/s, {threads} threads, {fingerprint:016x}"
    )
}

/// The most memory that this process ever held.
fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "a rate for people to read"
)]
fn rate(tokens: usize, time: Duration) -> f64 {
    tokens as f64 / time.as_secs_f64().max(1e-9)
}
