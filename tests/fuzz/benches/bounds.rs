//! Prints what each hostile input costs, in time and memory, beside its bounds: 100 ms, and its own
//! length with 64 MiB. Only an input that is refused has a bound of time.
#![allow(
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a table is what this program is for"
)]

use std::time::{Duration, Instant};

use fuzz_targets::{Outcome, hostile};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const BOUND: Duration = Duration::from_millis(100);
const MEMORY_BOUND: usize = 64 << 20;
/// The best of so many: other programs on the machine only ever add.
const ROUNDS: usize = 3;

fn main() {
    println!(
        "{:<16} {:<48} {:>9} {:>9} {:>10}  outcome",
        "parser", "input", "bytes", "ms", "memory"
    );
    let (mut slow, mut large) = (0, 0);
    for row in hostile::all() {
        let input = (row.make)();
        // What is made once for all inputs is not any input's cost.
        (row.run)(&[]);
        let mut best = Duration::MAX;
        let mut peak = 0;
        for _ in 0..ROUNDS {
            MEMORY.reset_peak_usage();
            let before = MEMORY.current_usage();
            let began = Instant::now();
            let outcome = (row.run)(&input);
            best = best.min(began.elapsed());
            peak = MEMORY.peak_usage().saturating_sub(before);
            assert_eq!(outcome, row.outcome, "{}: {}", row.parser, row.what);
        }
        let is_slow = row.outcome == Outcome::Refused && best > BOUND;
        let is_large = peak > input.len() + MEMORY_BOUND;
        slow += usize::from(is_slow);
        large += usize::from(is_large);
        println!(
            "{:<16} {:<48} {:>9} {:>9.2} {:>10}  {}{}{}",
            row.parser,
            row.what,
            input.len(),
            best.as_secs_f64() * 1000.0,
            peak,
            match row.outcome {
                Outcome::Taken => "taken",
                Outcome::Refused => "refused",
            },
            if is_slow { ", SLOW" } else { "" },
            if is_large { ", LARGE" } else { "" },
        );
    }
    println!(
        "{slow} refused later than {} ms, {large} above 64 MiB",
        BOUND.as_millis()
    );
}
