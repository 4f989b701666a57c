//! Speed of the model alone, without socket and text: what `engine-bench` prints.
//!
//! The prompt is made of token numbers, and the end token does not end anything, so that the
//! work depends on the lengths only.

mod first;

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::load::Model;
use crate::model::{Row, Runner, Slot, with_runner};
use crate::scheduler::PROMPT_ROWS_ALONE;

pub use first::{Arrival, FirstError, Waited, first};

/// Words of 64 bits that the roof is measured with: more than any cache holds.
const ROOF_WORDS: usize = 32 << 20;

/// What is computed.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Tokens that each answer has behind it before anything is measured.
    pub depth: usize,
    /// Tokens of each prompt.
    pub prompt: usize,
    /// Tokens that each answer generates.
    pub generate: usize,
    /// Answers at once.
    pub batch: usize,
}

/// Time by the clock, and of all threads on processors: on a busy machine the first says little.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// By the clock.
    pub elapsed: Duration,
    /// On processors.
    pub processor: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Of all prompts.
    pub prefill: Cost,
    /// Of all generated tokens, the head included.
    pub decode: Cost,
    /// The greedy tokens in one number, to compare runs with.
    pub fingerprint: u64,
}

/// Computes prompts one after another, then generates greedily for all at once; lengths are cut
/// to the model's context.
#[must_use]
pub fn measure(model: &Model, work: Work, threads: NonZeroUsize) -> Figures {
    let shape = &model.weights.shape;
    let depth = work.depth.min(shape.context.saturating_sub(1));
    let prompt = work.prompt.min(shape.context.saturating_sub(depth));
    let before = depth.saturating_add(prompt).max(1);
    let generate = work.generate.min(shape.context.saturating_sub(before));
    with_runner(&model.weights, model.kernels, threads, |mut runner| {
        let slots: Vec<Slot> = (0..work.batch.max(1)).map(|_| runner.open()).collect();
        let mut hidden: Vec<_> = slots
            .iter()
            .map(|slot| fill(&mut runner, model, *slot, 0..depth.max(1)))
            .collect();
        let clock = Clock::start();
        if prompt > 0 {
            for (slot, hidden) in slots.iter().zip(&mut hidden) {
                *hidden = fill(&mut runner, model, *slot, depth..before);
            }
        }
        let prefill = clock.stop();
        let clock = Clock::start();
        let mut fingerprint = 0_u64;
        for step in 0..generate {
            let logits = runner.logits(hidden.iter().map(|hidden| hidden.as_slice()));
            let rows: Vec<Row> = slots
                .iter()
                .zip(&logits)
                .map(|(slot, logits)| Row {
                    slot: *slot,
                    token: greatest(logits),
                    position: before.saturating_add(step),
                })
                .collect();
            for row in &rows {
                fingerprint = fingerprint
                    .wrapping_mul(1_000_003)
                    .wrapping_add(row.token.into());
            }
            runner.step(&rows);
            hidden = (0..rows.len()).map(|row| runner.hidden(row)).collect();
        }
        let decode = clock.stop();
        slots.into_iter().for_each(|slot| runner.close(slot));
        Figures {
            prefill,
            decode,
            fingerprint,
        }
    })
}

/// Computes these positions of a sequence; the last one's hidden state.
fn fill(
    runner: &mut Runner<'_, '_>,
    model: &Model,
    slot: Slot,
    positions: std::ops::Range<usize>,
) -> zeroize::Zeroizing<Vec<f32>> {
    let vocabulary = model.weights.shape.vocabulary;
    let row = |position: usize| {
        let spread = position.wrapping_mul(7919).checked_rem(vocabulary);
        Row {
            slot,
            token: u32::try_from(spread.unwrap_or(0)).unwrap_or(0),
            position,
        }
    };
    let rows: Vec<Row> = positions.map(row).collect();
    let mut last = 0;
    for rows in rows.chunks(PROMPT_ROWS_ALONE) {
        runner.step(rows);
        last = rows.len().saturating_sub(1);
    }
    runner.hidden(last)
}

fn greatest(logits: &[f32]) -> u32 {
    let mut most = f32::NEG_INFINITY;
    let mut at = 0;
    for (token, logit) in (0_u32..).zip(logits) {
        if *logit > most {
            (most, at) = (*logit, token);
        }
    }
    at
}

/// Bytes per second that so many threads read from memory, the best of some passes.
#[must_use]
pub fn roof(threads: NonZeroUsize) -> f64 {
    let words = vec![1_u64; ROOF_WORDS];
    let part = words.len().div_ceil(threads.get());
    let pass = || {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for words in words.chunks(part) {
                scope.spawn(move || {
                    let sum = words
                        .iter()
                        .fold(0_u64, |sum, word| sum.wrapping_add(*word));
                    black_box(sum)
                });
            }
        });
        started.elapsed()
    };
    let best = (0..12).map(|_| pass()).min().unwrap_or_default();
    let bytes = f64::from(u32::try_from(size_of_val(words.as_slice())).unwrap_or(u32::MAX));
    bytes / best.as_secs_f64().max(1e-9)
}

struct Clock {
    started: Instant,
    processor: Duration,
}

impl Clock {
    fn start() -> Self {
        Self {
            started: Instant::now(),
            processor: processor_time(),
        }
    }

    fn stop(&self) -> Cost {
        Cost {
            elapsed: self.started.elapsed(),
            processor: processor_time().saturating_sub(self.processor),
        }
    }
}

/// What all threads of this process that live have spent on processors.
fn processor_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let spent = tasks.flatten().filter_map(|task| {
        let line = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}
