//! The products of `portable` with AVX2: 32 byte products at once, sums in 16 and 32 bits.
//!
//! Integer sums are exact, so their order is free; the float operations are those of `portable`
//! in its order (a product and a sum, never fused), so the bits are equal.
#![allow(
    unsafe_code,
    reason = "vector loads and the call into a target feature"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tensor loop: fixed arrays, block numbers below the length that the callers compare"
)]

use std::arch::x86_64::{
    __m256, __m256i, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps,
    _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_srli_epi16,
    _mm256_storeu_ps,
};

use super::activation::ActivationBlock;
use super::packed::{ByteBlock, NibbleBlock, TILE};

/// Shows that this processor has AVX2; made by [`Avx2::detect`] only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// Asks the processor.
    pub(super) fn detect() -> Option<Self> {
        std::arch::is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// One tile of 4-bit weights with `N` rows of activations.
    pub(super) fn nibble_tile<const N: usize>(
        self,
        tile: &[NibbleBlock],
        inputs: [&[ActivationBlock]; N],
    ) -> [[f32; TILE]; N] {
        // SAFETY: `self` exists only where the processor reported AVX2.
        unsafe { nibble_tile(tile, inputs) }
    }

    /// One tile of 8-bit weights with `N` rows of activations.
    pub(super) fn byte_tile<const N: usize>(
        self,
        tile: &[ByteBlock],
        inputs: [&[ActivationBlock]; N],
    ) -> [[f32; TILE]; N] {
        // SAFETY: `self` exists only where the processor reported AVX2.
        unsafe { byte_tile(tile, inputs) }
    }
}

#[target_feature(enable = "avx2")]
fn nibble_tile<const N: usize>(
    tile: &[NibbleBlock],
    inputs: [&[ActivationBlock]; N],
) -> [[f32; TILE]; N] {
    let low_half = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_ps(); N];
    for (at, block) in tile.iter().enumerate() {
        // A pair of products is at most 2 * 15 * 127; eight of them stay below 2^15.
        let mut pairs = [_mm256_setzero_si256(); N];
        for (group, chunk) in block.chunks.iter().enumerate() {
            let both = load_bytes(chunk);
            let low = _mm256_and_si256(both, low_half);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low_half);
            for (pairs, input) in pairs.iter_mut().zip(inputs) {
                let groups = &input[at].groups;
                let with_low = _mm256_maddubs_epi16(low, broadcast(groups[group]));
                let with_high = _mm256_maddubs_epi16(high, broadcast(groups[group + 4]));
                *pairs = _mm256_add_epi16(*pairs, _mm256_add_epi16(with_low, with_high));
            }
        }
        let scales = load_floats(&block.scales);
        let minimums = load_floats(&block.minimums);
        for ((sum, pairs), input) in sums.iter_mut().zip(pairs).zip(inputs) {
            let dots = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, ones));
            let scales = _mm256_mul_ps(scales, _mm256_set1_ps(input[at].scale));
            *sum = _mm256_add_ps(*sum, _mm256_mul_ps(dots, scales));
            let least = _mm256_mul_ps(minimums, _mm256_set1_ps(input[at].sum));
            *sum = _mm256_add_ps(*sum, least);
        }
    }
    sums.map(|sum| store(sum))
}

#[target_feature(enable = "avx2")]
fn byte_tile<const N: usize>(
    tile: &[ByteBlock],
    inputs: [&[ActivationBlock]; N],
) -> [[f32; TILE]; N] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_ps(); N];
    for (at, block) in tile.iter().enumerate() {
        let mut dots = [_mm256_setzero_si256(); N];
        for (group, chunk) in block.chunks.iter().enumerate() {
            // `maddubs` wants one side without sign: |w| * (a with the sign of w). A pair is at
            // most 2 * 128 * 127, below 2^15; only one pair is added in 16 bits.
            let weights = load_bytes(chunk);
            let magnitudes = _mm256_abs_epi8(weights);
            for (dots, input) in dots.iter_mut().zip(inputs) {
                let signed = _mm256_sign_epi8(broadcast(input[at].groups[group]), weights);
                let pairs = _mm256_maddubs_epi16(magnitudes, signed);
                *dots = _mm256_add_epi32(*dots, _mm256_madd_epi16(pairs, ones));
            }
        }
        let scales = load_floats(&block.scales);
        for ((sum, dots), input) in sums.iter_mut().zip(dots).zip(inputs) {
            let scales = _mm256_mul_ps(scales, _mm256_set1_ps(input[at].scale));
            *sum = _mm256_add_ps(*sum, _mm256_mul_ps(_mm256_cvtepi32_ps(dots), scales));
        }
    }
    sums.map(|sum| store(sum))
}

#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(group: u32) -> __m256i {
    _mm256_set1_epi32(group.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_bytes(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference covers 32 readable bytes, and the load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_floats(floats: &[f32; TILE]) -> __m256 {
    // SAFETY: the reference covers eight readable floats, and the load asks for no alignment.
    unsafe { _mm256_loadu_ps(floats.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(vector: __m256) -> [f32; TILE] {
    let mut floats = [0.0; TILE];
    // SAFETY: the array is eight writable floats, and the store asks for no alignment.
    unsafe { _mm256_storeu_ps(floats.as_mut_ptr(), vector) };
    floats
}
