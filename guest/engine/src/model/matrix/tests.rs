//! Each format's weights and products against candle-core's, and plain Rust against vectors.
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

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::*;
use crate::fixture::Seeded;
use crate::kernels::vectors;

const FORMATS: [(GgmlDType, Layout); 11] = [
    (GgmlDType::Q5_0, Layout::Superblocks(SuperLayout::Q5_0)),
    (GgmlDType::Q5_1, Layout::Superblocks(SuperLayout::Q5_1)),
    (GgmlDType::F32, Layout::Wide(WideLayout::F32)),
    (GgmlDType::F16, Layout::Wide(WideLayout::F16)),
    (GgmlDType::BF16, Layout::Wide(WideLayout::Bf16)),
    (GgmlDType::Q4_0, Layout::Blocks(StoredLayout::Q4_0)),
    (GgmlDType::Q4_1, Layout::Blocks(StoredLayout::Q4_1)),
    (GgmlDType::Q8_0, Layout::Blocks(StoredLayout::Q8_0)),
    (GgmlDType::Q4K, Layout::Superblocks(SuperLayout::Q4K)),
    (GgmlDType::Q5K, Layout::Superblocks(SuperLayout::Q5K)),
    (GgmlDType::Q6K, Layout::Superblocks(SuperLayout::Q6K)),
];
const COLUMNS: usize = 512;

/// Rows that differ in size by a factor of 3 from one to the next; not a multiple of a tile.
fn stored(format: GgmlDType, rows: usize) -> (Vec<u8>, Vec<Vec<f32>>) {
    let mut seeded = Seeded(9);
    let scale = |row: usize| 0.02 * 3_f32.powi(row as i32 % 5);
    let values: Vec<f32> = (0..rows * COLUMNS)
        .map(|at| (seeded.next() + 0.1) * scale(at / COLUMNS))
        .collect();
    let tensor = Tensor::from_vec(values, (rows, COLUMNS), &Device::Cpu).unwrap();
    let tensor = QTensor::quantize(&tensor, format).unwrap();
    let weights = tensor.dequantize(&Device::Cpu).unwrap();
    (
        tensor.data().unwrap().into_owned(),
        weights.to_vec2().unwrap(),
    )
}

fn products(kernels: Kernels, matrix: &Matrix, rows: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut input = Activations::default();
    rows.iter().for_each(|row| input.push(kernels, row));
    let mut out = vec![vec![0.0; matrix.tiles() * TILE]; rows.len()];
    let mut room = BlockRoom::default();
    let mut inputs = Inputs::of(std::iter::once(&input), &[matrix], kernels, &mut room);
    matrix.multiply(
        kernels,
        0..matrix.tiles(),
        &mut inputs,
        |row, tile, sums| {
            out[row][tile * TILE..][..TILE].copy_from_slice(sums);
        },
    );
    out
}

fn inputs(count: usize) -> Vec<Vec<f32>> {
    let mut seeded = Seeded(4);
    let mut row = || (0..COLUMNS).map(|_| seeded.next() * 3.0).collect();
    (0..count).map(|_| row()).collect()
}

#[test]
fn weights_are_those_that_candle_dequantises() {
    for (format, layout) in FORMATS {
        let (bytes, weights) = stored(format, 37);
        let matrix = Matrix::pack(layout, &bytes, 37, COLUMNS).unwrap();
        for (row, expected) in weights.iter().enumerate() {
            let mut found = Vec::new();
            assert!(matrix.read_row(row, &mut found));
            // Q4_K: scale and minimum are rounded to f16. Otherwise one rounding of a sum.
            let greatest = expected.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
            let bound = match format {
                GgmlDType::Q4K => greatest / 1024.0,
                _ => greatest * 1e-6,
            };
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() <= bound,
                    "{format:?} {found} {expected}"
                );
            }
            assert_eq!(found.len(), COLUMNS);
        }
        assert!(!matrix.read_row(37, &mut Vec::new()));
    }
}

#[test]
fn products_are_within_half_a_step_of_each_activation_of_candles() {
    let rows = inputs(6);
    for (format, layout) in FORMATS {
        let (bytes, weights) = stored(format, 37);
        let matrix = Matrix::pack(layout, &bytes, 37, COLUMNS).unwrap();
        let found = products(Kernels::detect(), &matrix, &rows);
        for (found, row) in found.iter().zip(&rows) {
            for (found, weights) in found.iter().zip(&weights) {
                let pairs = weights.iter().zip(row);
                let truth: f64 = pairs
                    .clone()
                    .map(|(w, x)| f64::from(*w) * f64::from(*x))
                    .sum();
                let size: f64 = pairs.map(|(w, _)| f64::from(w.abs())).sum();
                let bound = match layout {
                    // No rounding but that of the sum itself.
                    Layout::Wide(_) => size * 3.0 * 1e-5,
                    Layout::Blocks(_) | Layout::Superblocks(_) => size * 3.0 / 127.0 / 2.0,
                };
                let error = (f64::from(*found) - truth).abs();
                assert!(error <= bound, "{format:?} {error} {bound}");
            }
        }
    }
}

#[test]
fn plain_rust_has_the_bits_of_all_vectors() {
    for (format, layout) in FORMATS {
        let (bytes, _) = stored(format, 21);
        let matrix = Matrix::pack(layout, &bytes, 21, COLUMNS).unwrap();
        for count in [1, 2, 3, 4, 7, 9, 12, 13, 17, 33] {
            let rows = inputs(count);
            let bits =
                |all: Vec<Vec<f32>>| all.concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let plain = bits(products(Kernels::portable(), &matrix, &rows));
            for kernels in vectors() {
                let fast = bits(products(kernels, &matrix, &rows));
                assert_eq!(fast, plain, "{format:?} {kernels:?}");
            }
        }
    }
}

#[test]
fn refuses_bytes_that_are_not_the_matrix() {
    for (format, layout) in FORMATS {
        let (bytes, _) = stored(format, 16);
        let short = bytes.get(1..).unwrap();
        assert!(
            Matrix::pack(layout, short, 16, COLUMNS).is_err(),
            "{format:?}"
        );
        assert!(
            Matrix::pack(layout, &bytes, 15, COLUMNS).is_err(),
            "{format:?}"
        );
        assert!(Matrix::pack(layout, &[], 0, COLUMNS).is_err(), "{format:?}");
        assert!(Matrix::pack(layout, &[], 16, 0).is_err(), "{format:?}");
    }
}
