//! Around every execution: the bound of memory, and a word to `ci/fuzz` when an input is slower, or
//! costs more memory, than all before it.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fuzz_targets::Outcome;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What an execution may hold besides its input.
const MEMORY_BOUND: usize = 64 << 20;
/// What is faster than this is not looked at twice.
const WORTH_A_LOOK: Duration = Duration::from_millis(1);

static SLOWEST: AtomicU64 = AtomicU64::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// Runs a target on an input.
///
/// # Panics
/// When the target does, or when it took more memory than its bound: that is a finding.
pub fn drive(run: fn(&[u8]) -> Outcome, input: &[u8]) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let began = Instant::now();
    run(input);
    let took = began.elapsed();
    let held = MEMORY.peak_usage().saturating_sub(before);
    assert!(
        held <= input.len() + MEMORY_BOUND,
        "{held} bytes of memory for an input of {}",
        input.len()
    );
    if LARGEST.fetch_max(held, Ordering::Relaxed) < held {
        eprintln!("most memory: {held} bytes for {} bytes", input.len());
    }
    if took > WORTH_A_LOOK && micros(took) > SLOWEST.load(Ordering::Relaxed) {
        look_again(run, input, took);
    }
}

/// The machine is shared: an input is as slow as the fastest of several tries.
fn look_again(run: fn(&[u8]) -> Outcome, input: &[u8], took: Duration) {
    let again = (0..3).map(|_| {
        let began = Instant::now();
        run(input);
        began.elapsed()
    });
    let best = again.fold(took, Duration::min);
    if SLOWEST.fetch_max(micros(best), Ordering::Relaxed) < micros(best) {
        eprintln!("slowest: {} us for {} bytes", micros(best), input.len());
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
