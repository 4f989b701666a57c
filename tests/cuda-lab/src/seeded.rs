//! Weights from a seed, for tests and benches without a model: kernels make them where they lie,
//! and the CPU makes the same numbers for the reference. Not here: any weights of a real model.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float arithmetic, and places inside checked matrices"
)]

use engine_cuda::layout::{Layout, Matrix, Region};
use engine_cuda::plan::{Argument, Launch};
use engine_cuda::shape::Precision;

/// splitmix64's mixing: `mixed` in `kernels/packed.cuh`.
#[must_use]
pub const fn mixed(seed: u64, at: u64) -> u64 {
    let mut z = seed.wrapping_add(at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number between half of minus `amplitude` and half of it.
#[must_use]
pub fn seeded(seed: u64, at: u64, amplitude: f32) -> f32 {
    ((mixed(seed, at) >> 40) as f32 * (1.0 / 16_777_216.0) - 0.5) * amplitude
}

/// Rounds to 16 bits, to even.
#[must_use]
pub fn bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    f32::from_bits(rounded & 0xffff_0000)
}

/// Rounds to e4m3, to even; 448 at most.
#[must_use]
pub fn e4m3(value: f32) -> f32 {
    let size = value.abs().min(448.0);
    let step = if size < 2.0_f32.powi(-6) {
        2.0_f32.powi(-9)
    } else {
        f32::from_bits(size.to_bits() & 0x7f80_0000) / 8.0
    };
    ((size / step).round_ties_even() * step).copysign(value)
}

/// What a tensor is filled with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Filling {
    /// A packed matrix.
    Matrix(Matrix),
    /// Rows of 16-bit numbers.
    Rows(Region),
    /// Floats around one.
    Floats(Region),
}

/// A tensor of the model with its seed and amplitude.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tensor {
    /// Where and how.
    pub filling: Filling,
    /// Seed of this tensor.
    pub seed: u64,
    /// See [`seeded`].
    pub amplitude: f32,
}

/// All tensors of a model: embedding, each layer's six, last norm, head. Amplitudes keep the
/// numbers of the stream near one, and logits far from flat.
#[must_use]
pub fn tensors(layout: &Layout, seed: u64) -> Vec<Tensor> {
    let mut found = Vec::new();
    let mut add = |filling, amplitude| {
        let seed = mixed(seed, found.len() as u64);
        found.push(Tensor {
            filling,
            seed,
            amplitude,
        });
    };
    let spread = |matrix: &Matrix, gain: f32| gain * (12.0 / matrix.columns as f32).sqrt();
    add(Filling::Rows(layout.embedding), 3.4);
    for layer in &layout.layers {
        add(Filling::Floats(layer.attention_norm), 0.2);
        add(Filling::Matrix(layer.qkv), spread(&layer.qkv, 1.0));
        add(Filling::Matrix(layer.output), spread(&layer.output, 0.5));
        add(Filling::Floats(layer.inner_norm), 0.2);
        add(Filling::Matrix(layer.gate_up), spread(&layer.gate_up, 1.0));
        add(Filling::Matrix(layer.down), spread(&layer.down, 0.5));
    }
    add(Filling::Floats(layout.norm), 0.2);
    add(Filling::Matrix(layout.head), spread(&layout.head, 1.0));
    found
}

fn launch(kernel: &str, arguments: Vec<Argument>) -> Launch {
    Launch {
        kernel: kernel.to_owned(),
        grid: [1056, 1, 1],
        block: 256,
        arguments,
    }
}

fn floats(region: Region, seed: u64, base: f32, amplitude: f32) -> Launch {
    let arguments = vec![
        Argument::At(region),
        Argument::Long(region.bytes / 4),
        Argument::Long(seed),
        Argument::Float(base),
        Argument::Float(amplitude),
    ];
    launch("seed_floats", arguments)
}

/// Rows of 16-bit numbers.
#[must_use]
pub fn rows(region: Region, seed: u64, amplitude: f32) -> Launch {
    let arguments = vec![
        Argument::At(region),
        Argument::Long(region.bytes / 2),
        Argument::Long(seed),
        Argument::Float(amplitude),
    ];
    launch("seed_rows_bf16", arguments)
}

/// The kernels that make a tensor.
#[must_use]
pub fn filling(tensor: &Tensor) -> Vec<Launch> {
    let (seed, amplitude) = (tensor.seed, tensor.amplitude);
    match tensor.filling {
        Filling::Rows(region) => vec![rows(region, seed, amplitude)],
        Filling::Floats(region) => vec![floats(region, seed, 1.0, amplitude)],
        Filling::Matrix(matrix) => {
            let kernel = format!("seed_packed_{}", matrix.precision.name());
            let arguments = vec![
                Argument::At(matrix.weights),
                Argument::Number(matrix.rows),
                Argument::Number(matrix.columns / 32),
                Argument::Long(matrix.weights.bytes / matrix.precision.bytes()),
                Argument::Long(seed),
                Argument::Float(amplitude),
            ];
            let scales = matrix
                .scales
                .map(|scales| floats(scales, seed, amplitude / 896.0, 0.0));
            [Some(launch(&kernel, arguments)), scales]
                .into_iter()
                .flatten()
                .collect()
        }
    }
}

/// The same tensor on the CPU, row by row, as the numbers that the kernels compute with.
#[must_use]
pub fn values(tensor: &Tensor) -> Vec<f32> {
    let (seed, amplitude) = (tensor.seed, tensor.amplitude);
    match tensor.filling {
        Filling::Rows(region) => (0..region.bytes / 2)
            .map(|at| bf16(seeded(seed, at, amplitude)))
            .collect(),
        Filling::Floats(region) => (0..region.bytes / 4)
            .map(|at| 1.0 + seeded(seed, at, amplitude))
            .collect(),
        Filling::Matrix(matrix) => {
            let count = u64::from(matrix.rows) * u64::from(matrix.columns);
            let value = |at| match matrix.precision {
                Precision::Bf16 => bf16(seeded(seed, at, amplitude)),
                Precision::Fp8 => e4m3(seeded(seed, at, 896.0)) * (amplitude / 896.0),
            };
            (0..count).map(value).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e4m3_has_three_bits_behind_the_point_and_rounds_to_even() {
        let cases = [
            (0.0, 0.0),
            (1.0, 1.0),
            (1.0625, 1.0),
            (1.1875, 1.25),
            (447.0, 448.0),
            (1000.0, 448.0),
            (-0.3, -0.3125),
            (0.001, 0.001_953_125),
            (0.000_9, 0.0),
        ];
        for (value, rounded) in cases {
            assert_eq!(e4m3(value), rounded, "{value}");
        }
    }

    #[test]
    fn bf16_keeps_eight_bits_and_rounds_to_even() {
        assert_eq!(bf16(1.0), 1.0);
        assert_eq!(bf16(1.0 + 1.0 / 256.0), 1.0);
        assert_eq!(bf16(1.0 + 3.0 / 256.0), 1.0 + 4.0 / 256.0);
    }

    #[test]
    fn seeded_numbers_fill_their_range_evenly() {
        let values: Vec<f32> = (0..10_000).map(|at| seeded(7, at, 2.0)).collect();
        assert!(values.iter().all(|value| (-1.0..1.0).contains(value)));
        let mean = values.iter().sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.02, "{mean}");
    }
}
