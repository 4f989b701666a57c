//! Logits against a straightforward forward pass, and independence from company and threads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

use std::num::NonZeroUsize;

use candle_core::Device;
use candle_core::quantized::GgmlDType;

use super::{Row, with_runner};
use crate::fixture::{
    TINY_HEAD, TINY_HEADS, TINY_INNER, TINY_KV_HEADS, TINY_LAYERS, TINY_WIDTH, Tiny,
};
use crate::gguf::ModelFile;
use crate::kernels::{Kernels, half_to_float, to_half};
use crate::load::Model;

/// What activations go through before a product.
type Rounding = fn(&[f64]) -> Vec<f64>;

fn exact(values: &[f64]) -> Vec<f64> {
    values.to_vec()
}

/// To 8 bits in blocks of 32, as the engine does.
fn eight_bits(values: &[f64]) -> Vec<f64> {
    let block = |block: &[f64]| {
        let scale = block
            .iter()
            .fold(0.0, |most: f64, value| most.max(value.abs()))
            / 127.0;
        let step = if scale > 0.0 { scale } else { 1.0 };
        block
            .iter()
            .map(|value| (value / step).round_ties_even() * step)
            .collect::<Vec<_>>()
    };
    values.chunks(32).flat_map(block).collect()
}

/// What the cache holds of keys and values where activations are rounded: f16.
fn as_held(values: Vec<f64>, rounding: Rounding) -> Vec<f64> {
    if rounding(&[0.3, 1.0]) == exact(&[0.3, 1.0]) {
        return values;
    }
    let held = |value: f64| f64::from(half_to_float(to_half(value as f32).to_le_bytes()));
    values.into_iter().map(held).collect()
}

/// The textbook model in double precision, from weights dequantised by candle-core.
struct Textbook {
    file: ModelFile,
    rounding: Rounding,
}

impl Textbook {
    fn matrix(&mut self, name: &str) -> Vec<Vec<f64>> {
        let tensor = self
            .file
            .tensor(name)
            .unwrap()
            .unwrap()
            .dequantize(&Device::Cpu)
            .unwrap();
        let rows = tensor.to_vec2::<f32>().unwrap();
        rows.into_iter()
            .map(|row| row.into_iter().map(f64::from).collect())
            .collect()
    }

    fn vector(&mut self, name: &str) -> Vec<f64> {
        let tensor = self
            .file
            .tensor(name)
            .unwrap()
            .unwrap()
            .dequantize(&Device::Cpu)
            .unwrap();
        tensor
            .to_vec1::<f32>()
            .unwrap()
            .into_iter()
            .map(f64::from)
            .collect()
    }

    fn product(&mut self, name: &str, input: &[f64]) -> Vec<f64> {
        let input = (self.rounding)(input);
        let matrix = self.matrix(name);
        matrix
            .iter()
            .map(|row| row.iter().zip(&input).map(|(w, x)| w * x).sum())
            .collect()
    }

    fn norm(&mut self, name: &str, input: &[f64]) -> Vec<f64> {
        let mean = input.iter().map(|x| x * x).sum::<f64>() / input.len() as f64;
        let weights = self.vector(name);
        input
            .iter()
            .zip(weights)
            .map(|(x, w)| x / (mean + 1e-5).sqrt() * w)
            .collect()
    }

    fn rotated(heads: &[f64], position: usize) -> Vec<f64> {
        let turn = |(at, value): (usize, &f64)| {
            let within = at % TINY_HEAD;
            let exponent = (within / 2 * 2) as f64 / TINY_HEAD as f64;
            let (sine, cosine) = (position as f64 / 100_f64.powf(exponent)).sin_cos();
            let other = heads[if within.is_multiple_of(2) {
                at + 1
            } else {
                at - 1
            }];
            value * cosine
                + if within.is_multiple_of(2) {
                    -other * sine
                } else {
                    other * sine
                }
        };
        heads.iter().enumerate().map(turn).collect()
    }

    /// The logits after the last token.
    fn logits(&mut self, tokens: &[u32]) -> Vec<f64> {
        let embedding = self.matrix("token_embd.weight");
        let mut stream: Vec<Vec<f64>> = tokens
            .iter()
            .map(|token| embedding[*token as usize].clone())
            .collect();
        for layer in 0..TINY_LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            let (mut queries, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
            for (position, row) in stream.iter().enumerate() {
                let input = self.norm(&name("attn_norm"), row);
                queries.push(Self::rotated(
                    &self.product(&name("attn_q"), &input),
                    position,
                ));
                let key = self.product(&name("attn_k"), &input);
                keys.push(as_held(Self::rotated(&key, position), self.rounding));
                let value = self.product(&name("attn_v"), &input);
                values.push(as_held(value, self.rounding));
            }
            for (position, row) in stream.iter_mut().enumerate() {
                let mixed = attention(&queries[position], &keys[..=position], &values);
                let output = self.product(&name("attn_output"), &mixed);
                row.iter_mut().zip(output).for_each(|(sum, x)| *sum += x);
                let input = self.norm(&name("ffn_norm"), row);
                let gate = self.product(&name("ffn_gate"), &input);
                let up = self.product(&name("ffn_up"), &input);
                let inner: Vec<f64> = gate
                    .iter()
                    .zip(up)
                    .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
                    .collect();
                assert_eq!(inner.len(), TINY_INNER);
                let down = self.product(&name("ffn_down"), &inner);
                row.iter_mut().zip(down).for_each(|(sum, x)| *sum += x);
            }
        }
        let last = self.norm("output_norm.weight", stream.last().unwrap());
        self.product("token_embd.weight", &last)
    }
}

fn attention(query: &[f64], keys: &[Vec<f64>], values: &[Vec<f64>]) -> Vec<f64> {
    let mut out = vec![0.0; TINY_HEADS * TINY_HEAD];
    for head in 0..TINY_HEADS {
        let kv = head / (TINY_HEADS / TINY_KV_HEADS) * TINY_HEAD;
        let own = &query[head * TINY_HEAD..][..TINY_HEAD];
        let score = |key: &Vec<f64>| {
            let sum: f64 = own.iter().zip(&key[kv..]).map(|(q, k)| q * k).sum();
            (sum / (TINY_HEAD as f64).sqrt()).exp()
        };
        let scores: Vec<f64> = keys.iter().map(score).collect();
        let total: f64 = scores.iter().sum();
        for (score, value) in scores.iter().zip(values) {
            for at in 0..TINY_HEAD {
                out[head * TINY_HEAD + at] += score / total * value[kv + at];
            }
        }
    }
    out
}

fn threads(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

/// Logits after each sequence, computed in steps of so many rows.
fn engine_logits(
    model: &Model,
    sequences: &[&[u32]],
    chunk: usize,
    number: usize,
) -> Vec<Vec<f32>> {
    with_runner(
        &model.weights,
        model.kernels,
        threads(number),
        |mut runner| {
            let slots: Vec<_> = sequences.iter().map(|_| runner.open()).collect();
            let mut rows = Vec::new();
            let longest = sequences.iter().map(|tokens| tokens.len()).max().unwrap();
            for position in 0..longest {
                for (slot, tokens) in slots.iter().zip(sequences) {
                    if let Some(token) = tokens.get(position) {
                        rows.push(Row {
                            slot: *slot,
                            token: *token,
                            position,
                        });
                    }
                }
            }
            let mut last = vec![None; sequences.len()];
            for rows in rows.chunks(chunk) {
                runner.step(rows);
                for (at, row) in rows.iter().enumerate() {
                    let sequence = slots.iter().position(|slot| *slot == row.slot).unwrap();
                    last[sequence] = Some(runner.hidden(at).to_vec());
                }
            }
            let hidden: Vec<Vec<f32>> = last.into_iter().map(Option::unwrap).collect();
            runner
                .logits(hidden.iter().map(Vec::as_slice))
                .into_iter()
                .map(|row| row.to_vec())
                .collect()
        },
    )
}

const TOKENS: [u32; 12] = [3, 200, 41, 7, 7, 258, 0, 99, 128, 12, 255, 64];

#[test]
fn logits_equal_the_textbook_model_for_every_layout() {
    for (matrices, seed) in [
        (GgmlDType::Q4_1, 1),
        (GgmlDType::Q8_0, 2),
        (GgmlDType::Q4_0, 3),
    ] {
        let tiny = Tiny {
            seed,
            matrices,
            ..Tiny::default()
        };
        let found = engine_logits(&tiny.model(), &[&TOKENS], 5, 1).remove(0);
        for (rounding, tolerance) in [(eight_bits as Rounding, 2e-3), (exact as Rounding, 0.05)] {
            let file = ModelFile::open(tiny.file()).unwrap();
            let truth = Textbook { file, rounding }.logits(&TOKENS);
            let most = truth
                .iter()
                .fold(0.0, |most: f64, logit| most.max(logit.abs()));
            assert!(most > 1.0, "logits too flat to show an error: {most}");
            let error = found
                .iter()
                .zip(&truth)
                .map(|(found, truth)| (f64::from(*found) - truth).abs());
            let error = error.fold(0.0, f64::max) / most;
            assert!(error < tolerance, "{matrices:?}: {error}");
        }
    }
    assert_eq!(TINY_WIDTH, TINY_HEADS * TINY_HEAD);
}

#[test]
fn a_sequence_has_the_same_bits_alone_and_in_company_and_with_any_threads() {
    let model = Tiny::default().model();
    let others: Vec<Vec<u32>> = (1..6)
        .map(|step| (0..40).map(|at| (at * step * 7) % 256).collect())
        .collect();
    let alone = engine_logits(&model, &[&TOKENS], 1, 1).remove(0);
    for (chunk, number) in [(1, 2), (5, 1), (16, 3), (64, 2)] {
        let mut sequences: Vec<&[u32]> = others.iter().map(Vec::as_slice).collect();
        sequences.insert(2, &TOKENS);
        let found = engine_logits(&model, &sequences, chunk, number).remove(2);
        let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&alone), "{chunk} rows, {number} threads");
    }
}

#[test]
fn a_long_sequence_has_the_same_bits_however_its_prompt_is_cut_and_in_plain_rust() {
    let model = Tiny {
        context: 1024,
        ..Tiny::default()
    }
    .model();
    // More than two spans of attention.
    let tokens: Vec<u32> = (0..600).map(|at| (at * at + 7 * at) % 256).collect();
    let short: Vec<u32> = tokens.iter().rev().take(301).copied().collect();
    let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let alone = bits(&engine_logits(&model, &[&tokens], 1, 1).remove(0));
    for (chunk, number) in [(3, 1), (64, 2), (200, 3)] {
        let found = engine_logits(&model, &[&tokens], chunk, number).remove(0);
        assert_eq!(bits(&found), alone, "{chunk} rows, {number} threads");
    }
    let found = engine_logits(&model, &[&short, &tokens], 7, 2).remove(1);
    assert_eq!(bits(&found), alone, "in company");
    let plain = Model {
        kernels: Kernels::portable(),
        ..model
    };
    let found = engine_logits(&plain, &[&tokens], 50, 1).remove(0);
    assert_eq!(bits(&found), alone, "in plain Rust");
}

#[test]
fn plain_rust_gives_the_same_logits_as_the_detected_kernels() {
    let model = Tiny::default().model();
    let detected = engine_logits(&model, &[&TOKENS], 4, 1);
    let plain = engine_logits(
        &Model {
            kernels: Kernels::portable(),
            ..model
        },
        &[&TOKENS],
        4,
        1,
    );
    assert_eq!(detected, plain);
}

#[test]
fn what_would_write_to_a_shared_page_has_no_result_and_changes_nobody_elses() {
    let model = Tiny::default().model();
    let rows = |slot, range: std::ops::Range<usize>, token| -> Vec<Row> {
        let row = |position| Row {
            slot,
            token,
            position,
        };
        range.map(row).collect()
    };
    with_runner(&model.weights, model.kernels, threads(1), |mut runner| {
        let first = runner.open();
        runner.step(&rows(first, 0..32, 65));
        let pages = runner.close_keeping(first, 1);
        let after = |runner: &mut super::Runner<'_, '_>| {
            let slot = runner.open_after(pages.clone());
            runner.step(&rows(slot, 32..33, 66));
            let hidden = runner.hidden(0).to_vec();
            runner.close(slot);
            hidden
        };
        let before = after(&mut runner);
        assert!(before.iter().all(|value| value.is_finite()));
        let writer = runner.open_after(pages.clone());
        runner.step(&rows(writer, 31..32, 67));
        let hidden = runner.hidden(0).to_vec();
        assert!(hidden.iter().all(|value| value.is_nan()));
        assert!(
            runner.close_keeping(writer, 1).is_empty(),
            "nothing sound to keep"
        );
        assert_eq!(after(&mut runner), before);
    });
}

#[test]
fn a_closed_sequence_leaves_nothing_for_the_next_one() {
    let model = Tiny::default().model();
    let fresh = engine_logits(&model, &[&TOKENS[..4]], 2, 1);
    let reused = with_runner(&model.weights, model.kernels, threads(1), |mut runner| {
        let first = runner.open();
        let rows: Vec<_> = (0..30)
            .map(|position| Row {
                slot: first,
                token: 250,
                position,
            })
            .collect();
        runner.step(&rows);
        runner.close(first);
        let second = runner.open();
        assert_eq!(first, second);
        let rows: Vec<_> = TOKENS[..4]
            .iter()
            .enumerate()
            .map(|(position, token)| Row {
                slot: second,
                token: *token,
                position,
            })
            .collect();
        runner.step(&rows);
        let hidden = runner.hidden(3).to_vec();
        runner
            .logits(std::iter::once(hidden.as_slice()))
            .remove(0)
            .to_vec()
    });
    assert_eq!(fresh[0], reused);
}
