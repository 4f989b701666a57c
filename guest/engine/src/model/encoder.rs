//! The parts that only encoders have (BERT): positions that are learned, norms that also center,
//! after the sums and not before the parts, offsets of every product, and an inner part without a
//! gate. A row sees all positions of its text, which are all in one step (`rows`).
//!
//! Plain Rust in a fixed order, as the rest of the float work.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "float arithmetic only; lengths are those of the shape"
)]

use super::matrix::Matrix;
use super::weights::Layer;
use crate::kernels::{add, exp};

/// A norm that centers: `(x - mean) / sqrt(variance + epsilon) * weight + offset`.
#[derive(Debug)]
pub(crate) struct CenteredNorm {
    pub(super) weights: Vec<f32>,
    pub(super) offsets: Vec<f32>,
}

impl CenteredNorm {
    pub(super) fn apply(&self, values: &mut [f32], epsilon: f32) {
        let count = self.weights.len().max(1) as f64;
        let sum = values.iter().fold(0.0, |sum, x| sum + f64::from(*x));
        let mean = sum / count;
        let square = |sum: f64, x: &f32| sum + (f64::from(*x) - mean) * (f64::from(*x) - mean);
        let variance = values.iter().fold(0.0, square) / count;
        let factor = 1.0 / (variance + f64::from(epsilon)).sqrt();
        let parts = self.weights.iter().zip(&self.offsets);
        for (value, (weight, offset)) in values.iter_mut().zip(parts) {
            let centered = narrow((f64::from(*value) - mean) * factor);
            *value = centered * weight + offset;
        }
    }
}

/// What stands before the first block.
#[derive(Debug)]
pub(crate) struct EncoderEmbedding {
    /// A row for each position.
    pub(super) positions: Matrix,
    /// What is added to every token of a text that stands alone.
    pub(super) kind: Vec<f32>,
    pub(super) norm: CenteredNorm,
}

impl EncoderEmbedding {
    /// From a token's row to the stream; `row` is scratch.
    pub(super) fn apply(
        &self,
        position: usize,
        stream: &mut [f32],
        row: &mut Vec<f32>,
        epsilon: f32,
    ) {
        row.clear();
        self.positions.read_row(position, row);
        add(stream, row);
        add(stream, &self.kind);
        self.norm.apply(stream, epsilon);
    }
}

/// What a block has beside its matrices.
#[derive(Debug)]
pub(crate) struct EncoderLayer {
    pub(super) output_offsets: Vec<f32>,
    pub(super) norm_after_attention: CenteredNorm,
    pub(super) up_offsets: Vec<f32>,
    pub(super) down_offsets: Vec<f32>,
    pub(super) norm_after_inner: CenteredNorm,
}

impl EncoderLayer {
    /// From the products of the inner part's first projection to the input of its second.
    pub(super) fn within_inner(&self, products: &mut [f32]) {
        for (product, offset) in products.iter_mut().zip(&self.up_offsets) {
            *product = gelu(*product + offset);
        }
    }
}

/// What becomes of the products of a part.
pub(super) enum After<'w> {
    /// They are added to the stream.
    Added,
    /// They are normed, then added.
    Normed(&'w [f32]),
    /// They are added with these offsets, and the stream is normed.
    Centered(&'w [f32], &'w CenteredNorm),
}

impl Layer {
    pub(super) fn after_attention(&self) -> After<'_> {
        match (&self.encoder, &self.norm_after_attention) {
            (Some(own), _) => After::Centered(&own.output_offsets, &own.norm_after_attention),
            (None, Some(norm)) => After::Normed(norm),
            (None, None) => After::Added,
        }
    }

    pub(super) fn after_inner(&self) -> After<'_> {
        match (&self.encoder, &self.norm_after_inner) {
            (Some(own), _) => After::Centered(&own.down_offsets, &own.norm_after_inner),
            (None, Some(norm)) => After::Normed(norm),
            (None, None) => After::Added,
        }
    }
}

/// Adds products and their offsets to a row of the stream, and norms it.
pub(super) fn add_and_norm(
    stream: &mut [f32],
    products: &[f32],
    (offsets, norm, epsilon): (&[f32], &CenteredNorm, f32),
) {
    add(stream, products);
    add(stream, offsets);
    norm.apply(stream, epsilon);
}

/// `x * (1 + erf(x / sqrt(2))) / 2`.
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The error function within 4e-7: Abramowitz and Stegun, Handbook of Mathematical Functions,
/// 7.1.26, and what floats add.
fn erf(x: f32) -> f32 {
    let magnitude = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * magnitude);
    let mut sum = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        sum = sum * t + coefficient;
    }
    let value = 1.0 - sum * t * exp(-magnitude * magnitude);
    value.copysign(x)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "rounding to float is what is meant"
)]
const fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_is_that_of_the_tables() {
        // Abramowitz and Stegun, table 7.1.
        for (x, truth) in [
            (0.0, 0.0),
            (0.1, 0.112_462_92),
            (0.5, 0.520_499_9),
            (1.0, 0.842_700_8),
            (1.5, 0.966_105_1),
            (2.0, 0.995_322_3),
        ] {
            assert!((erf(x) - truth).abs() < 4e-7, "{x}");
            assert!((erf(-x) + truth).abs() < 4e-7, "-{x}");
        }
        assert_eq!((erf(9.0), gelu(9.0)), (1.0, 9.0));
        assert!(gelu(f32::NAN).is_nan());
    }

    #[test]
    fn a_centered_norm_has_the_mean_and_the_spread_that_its_weights_say() {
        let norm = CenteredNorm {
            weights: vec![2.0; 4],
            offsets: vec![1.0; 4],
        };
        let mut values = [1.0, 3.0, 5.0, 7.0];
        norm.apply(&mut values, 0.0);
        let expected = [-1.683_281_6, 0.105_572_82, 1.894_427_2, 3.683_281_5];
        for (found, expected) in values.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{values:?}");
        }
    }
}
