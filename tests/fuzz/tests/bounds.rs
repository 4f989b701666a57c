//! What hostile input costs in memory, counted by the allocator: at most its own length and 64 MiB,
//! and for short inputs far less, whatever lengths stand in them. How long it takes is measured by
//! `benches/bounds.rs`, not asserted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::sync::Mutex;

use fuzz_targets::{Outcome, TARGETS, Target, corpus, hostile};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One measurement at a time: the allocator counts for all threads.
static ALONE: Mutex<()> = Mutex::new(());

const MIB: usize = 1 << 20;
/// What a parser may take besides the input.
const BOUND: usize = 64 * MIB;
/// Prefixes and changed places that are tried of one seed.
const PLACES: usize = 64;
/// Seeds of one target that are taken apart.
const SEEDS: usize = 3;

/// The outcome, and the most memory that was held besides what was held before.
fn measured(run: fn(&[u8]) -> Outcome, input: &[u8]) -> (Outcome, usize) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let outcome = run(input);
    (outcome, MEMORY.peak_usage().saturating_sub(before))
}

/// What a short input may cost: two megabytes, of which sealing a model takes one, and a hundred
/// times its length, for trees of JSON.
fn check_short(target: &Target, input: &[u8], what: &str) {
    let (_, peak) = measured(target.run, input);
    let limit = 2 * MIB + 100 * input.len();
    assert!(
        peak <= limit,
        "`{}`, {what}: {peak} bytes of memory",
        target.name
    );
}

/// Up to [`PLACES`] places of an input, the first and the last among them.
fn places(length: usize) -> impl Iterator<Item = usize> {
    (0..length)
        .step_by(length.div_ceil(PLACES).max(1))
        .chain(length.checked_sub(1))
}

#[test]
fn hostile_inputs_end_as_their_row_says_within_their_length_and_64_mib() {
    let _alone = ALONE.lock().unwrap();
    for row in hostile::all() {
        let input = (row.make)();
        let (outcome, peak) = measured(row.run, &input);
        let what = format!("`{}`: {}", row.parser, row.what);
        assert_eq!(outcome, row.outcome, "{what}");
        assert!(
            peak <= input.len() + BOUND,
            "{what}: {peak} bytes of memory"
        );
    }
}

#[test]
fn every_prefix_of_a_seed_is_taken_or_refused_with_little_memory() {
    let _alone = ALONE.lock().unwrap();
    for target in TARGETS {
        for (name, seed) in corpus(target.name).iter().take(SEEDS) {
            // What is made once for all inputs is not any input's cost.
            (target.run)(seed);
            for end in places(seed.len()) {
                check_short(target, &seed[..end], &format!("{name} up to {end}"));
            }
        }
    }
}

#[test]
fn a_length_that_nothing_stands_behind_buys_no_memory() {
    let _alone = ALONE.lock().unwrap();
    // Beyond every limit, and one mebibyte, which is within many.
    let lengths: [&[u8]; 2] = [&[0xff; 8], &[0, 0, 0x10, 0]];
    for target in TARGETS {
        for (name, seed) in corpus(target.name).iter().take(SEEDS) {
            (target.run)(seed);
            for at in places(seed.len()) {
                for length in lengths {
                    let mut changed = seed.clone();
                    let room = changed.len().min(at + length.len()) - at;
                    changed[at..at + room].copy_from_slice(&length[..room]);
                    check_short(target, &changed, &format!("{name}, {room} bytes at {at}"));
                }
            }
        }
    }
}
