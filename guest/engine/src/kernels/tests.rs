//! Every instruction set equals plain Rust bit for bit, and plain Rust equals the mathematics.
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

use super::*;
use proptest::prelude::*;

/// Stored bytes of a random matrix with moderate scales.
fn stored(layout: StoredLayout, rows: usize, columns: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    let (scales, quants) = match layout {
        StoredLayout::Q4_0 => (1, 16),
        StoredLayout::Q4_1 => (2, 16),
        StoredLayout::Q8_0 => (1, 32),
    };
    let mut bytes = Vec::new();
    for _ in 0..rows * columns / BLOCK {
        for _ in 0..scales {
            bytes.extend([next(), 0x20 | (next() & 0x8f)]);
        }
        bytes.extend((0..quants).map(|_| next()));
    }
    bytes
}

fn inputs(rows: usize, columns: usize, seed: u64) -> (Vec<f32>, Vec<ActivationBlock>) {
    let values: Vec<f32> = (0..rows * columns)
        .map(|at| ((at as f32 + seed as f32) * 0.7).sin() * 3.0)
        .collect();
    let mut blocks = Vec::new();
    Kernels::detect().quantize(&values, &mut blocks);
    (values, blocks)
}

fn products(kernels: Kernels, matrix: &PackedMatrix, inputs: &[ActivationBlock]) -> Vec<Vec<f32>> {
    let rows = inputs.len() / matrix.blocks_per_row;
    let mut out = vec![vec![0.0; matrix.rows.div_ceil(TILE) * TILE]; rows];
    kernels.multiply(
        matrix,
        0..matrix.rows.div_ceil(TILE),
        &[inputs],
        |row, tile, sums| {
            out[row][tile * TILE..][..TILE].copy_from_slice(sums);
        },
    );
    out
}

const LAYOUTS: [StoredLayout; 3] = [StoredLayout::Q4_0, StoredLayout::Q4_1, StoredLayout::Q8_0];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_detected_kernels_equal_plain_rust_bit_for_bit(
        layout in 0..3_usize, rows in 1..40_usize, blocks in 1..7_usize,
        batch in 1..11_usize, seed: u64,
    ) {
        let (layout, columns) = (LAYOUTS[layout], blocks * BLOCK);
        let bytes = stored(layout, rows, columns, seed);
        let matrix = PackedMatrix::pack(layout, &bytes, rows, columns).unwrap();
        let (_, input) = inputs(batch, columns, seed % 1000);
        let fast = products(Kernels::detect(), &matrix, &input);
        let plain = products(Kernels::portable(), &matrix, &input);
        let bits = |all: &[Vec<f32>]| all.concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&fast), bits(&plain));
    }
}

#[test]
fn products_are_those_of_the_dequantised_numbers() {
    for layout in LAYOUTS {
        let (rows, columns) = (13, 96);
        let bytes = stored(layout, rows, columns, 7);
        let matrix = PackedMatrix::pack(layout, &bytes, rows, columns).unwrap();
        let (values, input) = inputs(3, columns, 5);
        let found = products(Kernels::detect(), &matrix, &input);
        for (row, weights) in (0..rows).map(|row| {
            let mut weights = Vec::new();
            assert!(matrix.read_row(row, &mut weights));
            (row, weights)
        }) {
            for (batch, values) in values.chunks(columns).enumerate() {
                let pairs = weights.iter().zip(values);
                let truth: f64 = pairs
                    .clone()
                    .map(|(w, x)| f64::from(*w) * f64::from(*x))
                    .sum();
                let size: f64 = pairs.map(|(w, _)| f64::from(w.abs())).sum();
                let error = (f64::from(found[batch][row]) - truth).abs();
                // Half a step of 3/127 per activation at most.
                assert!(
                    error <= size * 3.0 / 127.0 / 2.0 + 1e-4,
                    "{layout:?} {error} {size}"
                );
            }
        }
    }
}

#[test]
fn the_extremes_do_not_saturate() {
    for (layout, fill) in [
        (StoredLayout::Q4_1, 0xff),
        (StoredLayout::Q8_0, 0x80),
        (StoredLayout::Q8_0, 0x7f),
    ] {
        let mut bytes = stored(layout, TILE, 32, 1);
        let size = bytes.len() / TILE;
        for block in bytes.chunks_mut(size) {
            let quants = if layout == StoredLayout::Q8_0 { 2 } else { 4 };
            block[..quants].copy_from_slice(&[0x00, 0x3c, 0x00, 0x00][..quants]);
            block[quants..].fill(fill);
        }
        let matrix = PackedMatrix::pack(layout, &bytes, TILE, 32).unwrap();
        for sign in [1.0, -1.0] {
            let mut input = Vec::new();
            Kernels::detect().quantize(&[127.0 * sign; 32], &mut input);
            let weight = match (layout, fill) {
                (StoredLayout::Q4_1, _) => 15.0,
                (_, 0x80) => -128.0,
                (_, _) => 127.0,
            };
            let found = products(Kernels::detect(), &matrix, &input);
            assert_eq!(found, vec![vec![weight * 127.0 * 32.0 * sign; TILE]]);
        }
    }
}
