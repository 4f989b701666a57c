//! The products of fine matrices: `fine::fine_tile` with sums of bytes by VNNI.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tensor loop: fixed arrays, block numbers below the length that is compared first"
)]

use std::arch::x86_64::{
    _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_mul_ps, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_xor_si512,
};

use super::super::activation::{ActivationBlock, RAISE};
use super::super::fine::FineBlock;
use super::super::packed::TILE;
use super::{broadcast, load, load_floats, store};

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn fine_tile<const N: usize>(
    tile: &[FineBlock],
    inputs: [&[ActivationBlock]; N],
) -> [[f32; TILE]; N] {
    let inputs = inputs.map(|input| &input[..tile.len()]);
    let sign = _mm512_set1_epi8(i8::MIN);
    let mut sums = [_mm512_setzero_ps(); N];
    for (at, block) in tile.iter().enumerate() {
        // As in `byte_tile`: weights are 128 more.
        let mut dots = [[_mm512_set1_epi32(0); 2]; N];
        for row in 0..N {
            let input = &inputs[row][at];
            let halves = [input.first, input.total.wrapping_sub(input.first)];
            dots[row] = halves.map(|half| _mm512_set1_epi32(half.wrapping_mul(-128)));
        }
        for (group, chunk) in block.chunks.iter().enumerate() {
            let weights = _mm512_xor_si512(load(chunk), sign);
            for row in 0..N {
                let four = broadcast(inputs[row][at].groups[group]);
                let dot = &mut dots[row][group / 4];
                *dot = _mm512_dpbusd_epi32(*dot, weights, four);
            }
        }
        let scales = [load_floats(&block.scales[0]), load_floats(&block.scales[1])];
        let minimums = load_floats(&block.minimums);
        for row in 0..N {
            let input = &inputs[row][at];
            let factor = _mm512_set1_ps(input.factor * (1.0 / RAISE));
            let least = _mm512_mul_ps(minimums, _mm512_set1_ps(input.total as f32));
            let [first, second] = dots[row];
            let part = _mm512_fmadd_ps(_mm512_cvtepi32_ps(second), scales[1], least);
            let part = _mm512_fmadd_ps(_mm512_cvtepi32_ps(first), scales[0], part);
            sums[row] = _mm512_fmadd_ps(part, factor, sums[row]);
        }
    }
    sums.map(|sums| store(sums))
}
