//! The products of wide matrices: the chains of `wide::wide_tile`, a vector for a row of inputs.
#![allow(unsafe_code, reason = "vector loads")]
#![allow(
    clippy::indexing_slicing,
    reason = "tensor loop: columns below the length that is compared first"
)]

use std::arch::x86_64::{
    __m512, _mm256_loadu_si256, _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_cvtph_ps,
    _mm512_fmadd_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32,
};

use super::super::ROWS;
use super::super::packed::TILE;
use super::{ask_ahead, load_floats, store};

type Sums = [[f32; TILE]; ROWS];

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn wide_f32(columns: &[[f32; TILE]], rows: &[&[f32]], sums: &mut Sums) {
    wide_tile(columns, rows, sums, |floats| load_floats(floats));
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn wide_f16(columns: &[[u16; TILE]], rows: &[&[f32]], sums: &mut Sums) {
    wide_tile(columns, rows, sums, |halves| {
        // SAFETY: the reference covers 32 readable bytes, and the load asks for no alignment.
        let halves = unsafe { _mm256_loadu_si256(halves.as_ptr().cast()) };
        _mm512_cvtph_ps(halves)
    });
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn wide_bf16(columns: &[[u16; TILE]], rows: &[&[f32]], sums: &mut Sums) {
    wide_tile(columns, rows, sums, |halves| {
        // SAFETY: as above.
        let halves = unsafe { _mm256_loadu_si256(halves.as_ptr().cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
    });
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn wide_tile<T>(
    columns: &[[T; TILE]],
    rows: &[&[f32]],
    sums: &mut Sums,
    load: impl Fn(&[T; TILE]) -> __m512,
) {
    match rows {
        [a, b, c, d] => chain(columns, [a, b, c, d], sums, load),
        [a, b, c] => chain(columns, [a, b, c], sums, load),
        [a, b] => chain(columns, [a, b], sums, load),
        [a] => chain(columns, [a], sums, load),
        _ => {}
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn chain<const N: usize, T>(
    columns: &[[T; TILE]],
    rows: [&[f32]; N],
    out: &mut Sums,
    load: impl Fn(&[T; TILE]) -> __m512,
) {
    let rows = rows.map(|row| &row[..columns.len()]);
    let mut sums = [_mm512_setzero_ps(); N];
    for (at, column) in columns.iter().enumerate() {
        if N == 1 {
            ask_ahead(column);
        }
        let weights = load(column);
        for row in 0..N {
            sums[row] = _mm512_fmadd_ps(weights, _mm512_set1_ps(rows[row][at]), sums[row]);
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        *out = store(sums);
    }
}
