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
    clippy::print_stderr,
    reason = "tests state claims; a panic is the failure"
)]

use super::*;
use proptest::prelude::*;

/// What this processor has, and what one without AMX and one without AVX-512 would have; says what
/// it does not have.
pub(crate) fn vectors() -> [Kernels; 3] {
    let detected = Kernels::detect();
    if !detected.has_avx512() {
        eprintln!("this processor has no AVX-512 with VNNI: these kernels were not run");
    }
    if !detected.has_amx() {
        eprintln!("this processor has no AMX: these kernels were not run");
    }
    [detected, Kernels::without_amx(), Kernels::without_avx512()]
}

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
    // As two lanes give them: rows go on from one to the other.
    let (first, second) = inputs.split_at(rows / 2 * matrix.blocks_per_row);
    let mut room = BlockRoom::default();
    let mut input = kernels.rows(matrix.blocks_per_row, vec![first, second], &mut room);
    kernels.multiply(
        matrix,
        0..matrix.rows.div_ceil(TILE),
        &mut input,
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
    fn every_set_of_vectors_equals_plain_rust_bit_for_bit(
        layout in 0..3_usize, rows in 1..40_usize, blocks in 1..7_usize,
        batch in 1..52_usize, seed: u64,
    ) {
        let (layout, columns) = (LAYOUTS[layout], blocks * BLOCK);
        let bytes = stored(layout, rows, columns, seed);
        let matrix = PackedMatrix::pack(layout, &bytes, rows, columns).unwrap();
        let (_, input) = inputs(batch, columns, seed % 1000);
        let plain = products(Kernels::portable(), &matrix, &input).concat();
        for kernels in vectors() {
            let fast = products(kernels, &matrix, &input).concat();
            prop_assert_eq!(bits(&fast), bits(&plain));
        }
    }

    #[test]
    fn attention_over_a_span_has_the_same_bits_with_all_vectors(
        head in 1..5_usize, group in 1..4_usize, rows in 1..9_usize, runs in 1..9_usize,
        halves: bool, seed: u64,
    ) {
        // The widths that are no multiple of sixteen are padded among values.
        let head = head * 20;
        let padded = head.next_multiple_of(BESIDE);
        let keys = Held::new(floats(runs * RUN * head, seed ^ 1), halves);
        let values = Held::new(floats(runs * RUN * padded, seed ^ 2), halves);
        let queries = floats(rows * group * head, seed);
        let seen: Vec<usize> = (0..rows).map(|row| (runs * RUN).saturating_sub(row)).collect();
        let passed: Vec<usize> = (0..rows).map(|row| row * 3).collect();
        let task = SpanTask {
            queries: &queries,
            head,
            seen: &seen,
            passed: &passed,
            scale: 0.125,
            keys: &keys.runs(head),
            values: &values.runs(padded),
        };
        let spans = |kernels: Kernels| {
            let mut out = vec![0.0; rows * group * span_floats(head)];
            kernels.span(&task, &mut SpanScratch::default(), &mut out);
            bits(&out)
        };
        let plain = spans(Kernels::portable());
        for kernels in vectors() {
            prop_assert_eq!(spans(kernels), plain.clone());
        }
    }

    #[test]
    fn float_work_has_the_same_bits_with_all_vectors(
        blocks in 1..5_usize, seed: u64, odd in 0..8_usize,
    ) {
        let mut values = floats(blocks * BLOCK, seed);
        let odds = [0.0, -0.0, f32::NAN, f32::INFINITY, -1e7, 1e-42, -3e-38, 7.9e6];
        values[seed as usize % (blocks * BLOCK)] = odds[odd];
        let weights = floats(values.len(), seed ^ 1);
        let all = |kernels: Kernels| {
            let mut found = Vec::new();
            kernels.normalize(&values, &weights, 1e-5, &mut found);
            let mut gates = [values.clone(), values.clone()];
            kernels.silu_times(&mut gates[0], &weights);
            kernels.gelu_times(&mut gates[1], &weights);
            found.extend(gates.concat());
            let mut rounded = Vec::new();
            kernels.quantize(&values, &mut rounded);
            let rounded = rounded.iter().map(|block| {
                (block.factor.to_bits(), [block.total, block.first], block.groups)
            });
            (numbers(&found), rounded.collect::<Vec<_>>())
        };
        let plain = all(Kernels::portable());
        for kernels in vectors() {
            prop_assert_eq!(all(kernels), plain.clone());
        }
    }
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|float| float.to_bits()).collect()
}

/// Bits, with one NaN for all: which of two NaNs a sum becomes is not laid down.
fn numbers(floats: &[f32]) -> Vec<u32> {
    let one = |float: &f32| if float.is_nan() { f32::NAN } else { *float };
    bits(&floats.iter().map(one).collect::<Vec<_>>())
}

fn floats(count: usize, seed: u64) -> Vec<f32> {
    let start = (seed % 1000) as f32;
    (0..count)
        .map(|at| ((at as f32 + start) * 0.7).sin() * 3.0)
        .collect()
}

/// What a cache holds of so many runs: keys of a head, or values, as f16 or as floats.
enum Held {
    Half(Vec<u16>),
    Single(Vec<f32>),
}

impl Held {
    fn new(floats: Vec<f32>, halves: bool) -> Self {
        if halves {
            Self::Half(floats.into_iter().map(to_half).collect())
        } else {
            Self::Single(floats)
        }
    }

    fn runs(&self, width: usize) -> Vec<HeadRun<'_>> {
        match self {
            Self::Half(all) => all.chunks(width * RUN).map(HeadRun::Half).collect(),
            Self::Single(all) => all.chunks(width * RUN).map(HeadRun::Single).collect(),
        }
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
            // So many rows that tile registers take them.
            Kernels::detect().quantize(&[127.0 * sign; 32 * 13], &mut input);
            let weight = match (layout, fill) {
                (StoredLayout::Q4_1, _) => 15.0,
                (_, 0x80) => -128.0,
                (_, _) => 127.0,
            };
            for kernels in vectors() {
                let found = products(kernels, &matrix, &input);
                assert_eq!(found, vec![vec![weight * 127.0 * 32.0 * sign; TILE]; 13]);
            }
        }
    }
}

#[test]
fn every_float_becomes_the_same_half_everywhere() {
    let mut bits = 1_u32;
    for _ in 0..20_000 {
        // Every exponent with many fractions: a generator of period 2^32.
        let values: [f32; HALVED] = std::array::from_fn(|_| {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(bits)
        });
        let expected = values.map(to_half);
        for kernels in vectors() {
            assert_eq!(kernels.halve(&values, &mut [0; HALVED]), expected);
            assert_eq!(
                kernels.halve(&values[..9], &mut [0; HALVED]),
                &expected[..9]
            );
        }
    }
}
