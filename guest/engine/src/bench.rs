//! Speed of the model alone, without socket and text: what `engine-bench` prints.
//!
//! The prompt is made of token numbers, and the end token does not end anything, so that the
//! work depends on the two lengths only.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::load::Model;
use crate::model::{Row, with_runner};

/// Prompt rows of a step.
const ROWS: usize = 32;

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Time for the prompt.
    pub prefill: Duration,
    /// Time for the generated tokens, the head included.
    pub decode: Duration,
    /// The greedy tokens in one number, to compare runs with.
    pub fingerprint: u64,
}

/// Computes a prompt of `prompt` tokens and generates `generate` tokens greedily; lengths are cut
/// to the model's context.
#[must_use]
pub fn measure(model: &Model, prompt: usize, generate: usize, threads: NonZeroUsize) -> Figures {
    let shape = &model.weights.shape;
    let prompt = prompt.clamp(1, shape.context);
    let generate = generate.min(shape.context.saturating_sub(prompt));
    with_runner(&model.weights, model.kernels, threads, |mut runner| {
        let slot = runner.open();
        let token = |position: usize| {
            let spread = position
                .wrapping_mul(7919)
                .checked_rem(shape.vocabulary)
                .unwrap_or(0);
            u32::try_from(spread).unwrap_or(0)
        };
        let row = |position| Row {
            slot,
            token: token(position),
            position,
        };
        let rows: Vec<Row> = (0..prompt).map(row).collect();
        let started = Instant::now();
        let mut hidden = runner.hidden(0);
        for rows in rows.chunks(ROWS) {
            runner.step(rows);
            hidden = runner.hidden(rows.len().saturating_sub(1));
        }
        let prefill = started.elapsed();
        let started = Instant::now();
        let mut fingerprint = 0_u64;
        for step in 0..generate {
            let logits = runner.logits(std::iter::once(hidden.as_slice()));
            let token = greatest(logits.first().map(|row| row.as_slice()).unwrap_or_default());
            fingerprint = fingerprint
                .wrapping_mul(1_000_003)
                .wrapping_add(token.into());
            runner.step(&[Row {
                slot,
                token,
                position: prompt.saturating_add(step),
            }]);
            hidden = runner.hidden(0);
        }
        let decode = started.elapsed();
        runner.close(slot);
        Figures {
            prefill,
            decode,
            fingerprint,
        }
    })
}

fn greatest(logits: &[f32]) -> u32 {
    let numbered = (0_u32..).zip(logits);
    numbered
        .max_by(|left, right| left.1.total_cmp(right.1))
        .map_or(0, |(token, _)| token)
}
