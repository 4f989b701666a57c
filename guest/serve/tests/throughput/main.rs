//! What serve costs the engine: the same prompts and streams through the program engine alone, and
//! through the programs serve and engine, over serve's TLS port with evidence, vouchers and
//! receipts; whole tokens a second of both, in turn. It asserts that the work is the same, and no
//! speed.
//!
//!     throughput [--model FILE.gguf] [--streams N] [--requests N] [--tokens N] [--pairs N]
//!                [--json]
//!
//! Without a model: a tiny seeded one, which says nothing of speed. `ci/bench serve` runs it. The
//! clients run on the same processors, and what they cost counts against serve.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

mod alone;
#[path = "../soak/programs.rs"]
mod programs;
#[path = "../stage/mod.rs"]
mod stage;
mod through;

use std::path::PathBuf;
use std::time::Duration;

use alone::Alone;
use through::Through;

/// Words of a prompt, most of which are a token in common vocabularies.
const WORDS: [&str; 8] = [" the", " of", " and", " to", " in", " is", " it", " on"];
/// How many of them a prompt has. Of the tiny model each byte is a token.
const PROMPT_WORDS: usize = 32;

/// What is computed in each round, by either way.
#[derive(Debug, Clone, Copy)]
struct Load {
    streams: usize,
    requests: usize,
    tokens: u32,
}

/// A prompt that nobody asked before, and that both ways are asked.
fn prompt(round: usize, stream: usize, request: usize) -> String {
    let words = WORDS.iter().cycle().skip(stream % WORDS.len());
    let words: String = words.take(PROMPT_WORDS).copied().collect();
    format!("{round}.{request}.{stream}{words}")
}

/// What a round was.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// Of prompts and of answers.
    tokens: (u64, u64),
    elapsed: Duration,
    /// Processor time of engine, serve and what asks.
    spent: [Duration; 3],
}

impl Round {
    /// Tokens of answers in a second.
    fn rate(&self) -> f64 {
        self.tokens.1 as f64 / self.elapsed.as_secs_f64()
    }

    fn seconds(&self) -> String {
        let seconds = self
            .spent
            .map(|spent| format!("{:.2}", spent.as_secs_f64()));
        format!("[{}]", seconds.join(","))
    }
}

struct Arguments {
    model: Option<PathBuf>,
    load: Load,
    pairs: usize,
    json: bool,
}

fn arguments() -> Arguments {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let named = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1).cloned()
    };
    let number = |name: &str, usual: usize| -> usize {
        named(name).map_or(usual, |word| word.parse().unwrap())
    };
    Arguments {
        model: named("--model").map(PathBuf::from),
        load: Load {
            streams: number("--streams", 8),
            requests: number("--requests", 3),
            tokens: number("--tokens", 128).try_into().unwrap(),
        },
        pairs: number("--pairs", 5),
        json: words.iter().any(|word| word == "--json"),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments = arguments();
    let model = arguments.model.as_deref();
    let mut alone = Alone::start(model);
    let mut through = Through::start(model);
    // One round that does not count: memory is touched, connections are made.
    let warm = Load {
        requests: 1,
        ..arguments.load
    };
    assert_eq!(alone.round(warm, 0).tokens, through.round(warm, 0).tokens);
    let rounds: Vec<(Round, Round)> = (1..=arguments.pairs)
        .map(|round| {
            let pair = (
                alone.round(arguments.load, round),
                through.round(arguments.load, round),
            );
            assert_eq!(pair.0.tokens, pair.1.tokens, "the work is the same");
            pair
        })
        .collect();
    through.stop();
    tell(&arguments, &rounds);
}

fn tell(arguments: &Arguments, rounds: &[(Round, Round)]) {
    let of = |figure: fn(&(Round, Round)) -> f64| median(rounds.iter().map(figure).collect());
    let alone = of(|(alone, _)| alone.rate());
    let through = of(|(_, through)| through.rate());
    let ratio = of(|(alone, through)| through.rate() / alone.rate());
    let Load {
        streams,
        requests,
        tokens,
    } = arguments.load;
    if arguments.json {
        let pairs = rounds.iter().map(|(alone, through)| {
            format!(
                "{{\"engine\":{:.2},\"serve\":{:.2},\"ratio\":{:.4},\"engine_cpu_s\":{},\
                 \"serve_cpu_s\":{}}}",
                alone.rate(),
                through.rate(),
                through.rate() / alone.rate(),
                alone.seconds(),
                through.seconds()
            )
        });
        println!(
            "{{\"streams\":{streams},\"requests\":{requests},\"tokens\":{tokens},\
             \"engine\":{alone:.2},\"serve\":{through:.2},\"ratio\":{ratio:.4},\"least\":0.97,\
             \"aim\":0.99,\"pairs\":[{}]}}",
            pairs.collect::<Vec<_>>().join(",")
        );
        return;
    }
    println!(
        "{streams} streams of {requests} answers of at most {tokens} tokens, medians of {} pairs",
        rounds.len()
    );
    for (one, other) in rounds {
        println!(
            "  engine {:8.1} tokens/s, serve and engine {:8.1}, ratio {:.3}; processor seconds \
             of engine, serve, clients {} and {}",
            one.rate(),
            other.rate(),
            other.rate() / one.rate(),
            one.seconds(),
            other.seconds()
        );
    }
    let met = match ratio {
        ratio if ratio >= 0.99 => "aim",
        ratio if ratio >= 0.97 => "met",
        _ => "MISSED",
    };
    println!(
        "engine {alone:.1} tokens/s, serve and engine {through:.1}, ratio {ratio:.3}, at least \
         0.97, aim 0.99: {met}"
    );
}
