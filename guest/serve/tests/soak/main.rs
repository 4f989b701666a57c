//! The soak: many clients at once on the programs serve and engine, for as long as is said. They
//! ask, cancel, leave, send what is too large and what is no request. No program may end, no answer
//! may have two ends or none, and whenever all clients are gone the engine holds no page and both
//! programs are as large as they were.
//!
//!     soak [--minutes N | --seconds N] [--clients N] [--seed SEED] [--model FILE.gguf]
//!
//! Without arguments: ten seconds on a tiny seeded model. `ci/soak` runs it longer. The engine is
//! the program beside serve.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

mod between;
mod machine;
mod pace;
mod programs;
mod requests;
#[path = "../../../../tests/payment/tests/joint/seed.rs"]
mod seed;
#[path = "../stage/mod.rs"]
mod stage;
mod visitor;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use machine::{Machine, Memory};
use messages::engine_ipc::Holdings;
use pace::{Pace, Tally};
use sys::process::Ended;
use visitor::Visitor;

/// How long visitors may take to end what they do.
const RESTING: Duration = Duration::from_secs(200);
/// Rounds, between which all rest, of a short soak; a long one rests each minute.
const ROUNDS: u64 = 4;
/// What a program may grow by from one half of the soak to the other, in kilobytes and in parts of
/// a hundred of what it was.
const GROWTH: (u64, u64) = (4096, 5);

struct Arguments {
    seconds: u64,
    clients: u8,
    seed: u64,
    model: Option<PathBuf>,
}

fn arguments() -> Arguments {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let named = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1).cloned()
    };
    let number = |name: &str| named(name).map(|word| word.parse::<u64>().unwrap());
    let minutes = number("--minutes").map(|minutes| minutes * 60);
    Arguments {
        seconds: minutes.or_else(|| number("--seconds")).unwrap_or(10),
        clients: number("--clients").unwrap_or(24).try_into().unwrap(),
        seed: number("--seed").unwrap_or(1),
        model: named("--model").map(PathBuf::from),
    }
}

/// A panic in any thread is the failure, also where nobody waits for the thread.
fn end_with_any_panic() {
    let says = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        says(panic);
        std::process::exit(1);
    }));
}

fn main() {
    end_with_any_panic();
    assert!(is_flat(&[10_000, 11_000, 10_500, 11_200]));
    assert!(!is_flat(&[10_000, 12_000, 30_000, 40_000]));
    let arguments = arguments();
    let mut machine = Machine::start(arguments.model.as_deref());
    machine.until_ready();
    let before = machine.holdings();
    let tally = Tally::default();
    println!(
        "{} clients, {} s, seed {}, {} pages, {} MB engine",
        arguments.clients,
        arguments.seconds,
        arguments.seed,
        before.pages,
        machine.memory().engine / 1000
    );
    let rests = soak(&mut machine, &arguments, &tally);
    for ((what, end), count) in tally.all() {
        println!("  {what:<10}{end:<28}{count:>8}");
    }
    println!("  of the engine's answers: {:?}", machine.ends());
    judge(&rests, before, &tally, arguments.seconds);
    assert_eq!(
        machine.stop(),
        (Ended::Exited(1), Ended::Exited(0)),
        "serve ends with init, the engine with serve"
    );
}

/// Both programs when nobody asks for anything.
struct Rest {
    holdings: Holdings,
    memory: Memory,
}

fn soak(machine: &mut Machine, arguments: &Arguments, tally: &Tally) -> Vec<Rest> {
    let pace = Pace::new();
    let (path, size) = (machine.path.clone(), machine.size);
    let rounds = (arguments.seconds / 60).max(ROUNDS);
    let round = Duration::from_secs(arguments.seconds) / u32::try_from(rounds).unwrap();
    let long = arguments.seconds >= 60;
    let began = Instant::now();
    let mut rests = Vec::new();
    thread::scope(|scope| {
        for number in 0..arguments.clients {
            let about = (path.as_path(), size);
            let visitor = Visitor::new(number, arguments.seed, about, (&pace, tally), long);
            scope.spawn(move || visitor.stay());
        }
        for number in 1..=rounds {
            let peak = watch(machine, round);
            let at_rest = pace.rest(arguments.clients.into(), RESTING);
            assert!(at_rest, "a visitor does not come to rest");
            let settled = machine.settled();
            let holdings = settled.expect("something is held though nobody is there");
            let memory = machine.memory();
            println!(
                "round {number}, {} s: {} requests, at rest engine {} kB, serve {} kB; \
                 at most {} and {} kB; {} of {} pages free",
                began.elapsed().as_secs(),
                tally.sum(),
                memory.engine,
                memory.serve,
                peak.engine,
                peak.serve,
                holdings.pages - holdings.reserved - holdings.kept,
                holdings.pages
            );
            rests.push(Rest { holdings, memory });
            pace.go();
        }
        pace.end();
    });
    rests
}

/// Waits for a round's end; the most memory in it.
fn watch(machine: &mut Machine, round: Duration) -> Memory {
    let began = Instant::now();
    let mut peak = Memory::default();
    while began.elapsed() < round {
        thread::sleep(Duration::from_millis(200).min(round));
        assert_eq!(machine.crashed(), None, "a program ended");
        let now = machine.memory();
        peak.engine = peak.engine.max(now.engine);
        peak.serve = peak.serve.max(now.serve);
    }
    peak
}

/// Nothing leaked, and enough happened for that to mean something.
fn judge(rests: &[Rest], before: Holdings, tally: &Tally, seconds: u64) {
    for rest in rests {
        assert_eq!(rest.holdings, before, "as many pages as before");
    }
    let engine: Vec<_> = rests.iter().map(|rest| rest.memory.engine).collect();
    let serve: Vec<_> = rests.iter().map(|rest| rest.memory.serve).collect();
    assert!(is_flat(&engine), "the engine grows: {engine:?} kB");
    assert!(is_flat(&serve), "serve grows: {serve:?} kB");
    let all = tally.all();
    let count = |what: &str, end: &str| -> u64 {
        let found = all
            .iter()
            .filter(|((of, how), _)| *of == what && how == end);
        found.map(|(_, count)| count).sum()
    };
    for (what, end) in [
        ("answer", "length"),
        ("answer", "cancelled"),
        ("answer", "abandoned"),
        ("refusal", "body-too-long"),
        ("refusal", "json-malformed"),
        ("noise", "closed"),
    ] {
        assert!(count(what, end) > 0, "no {what} ended with {end}");
    }
    assert!(tally.sum() > seconds, "hardly anything happened");
}

/// Whether what rests in the second half is no larger than in the first, but for some slack.
fn is_flat(kilobytes: &[u64]) -> bool {
    let (first, second) = kilobytes.split_at(kilobytes.len() / 2);
    let before = first.iter().max().copied().unwrap_or(0);
    let after = second.iter().min().copied().unwrap_or(0);
    let (fixed, percent) = GROWTH;
    after <= before + fixed + before / 100 * percent
}
