//! The products of `portable` with AVX2 and FMA: 32 byte products at once, sums in 16 and 32 bits.
//!
//! Integer sums are exact, so their order is free; the float operations are those of `portable`
//! in its order, fused where it fuses, so the bits are equal. Float work that is plain Rust is
//! compiled here once more, for these vectors.
#![allow(
    unsafe_code,
    reason = "vector loads and the call into a target feature"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tensor loop: fixed arrays, block numbers below the length that is compared first"
)]

use std::arch::x86_64::{
    __m256, __m256i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_abs_epi8, _mm256_add_epi16,
    _mm256_add_epi32, _mm256_and_si256, _mm256_castsi256_ps, _mm256_cvtepi16_epi32,
    _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_slli_epi32,
    _mm256_srli_epi16, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_epi32,
};

use super::activation::{self, ActivationBlock};
use super::attention::{self, SpanScratch, SpanTask};
use super::fine::{self, Dots, FineBlock};
use super::float;
use super::packed::{self, AffineBlock, ByteBlock, Chunk, HALVED, NibbleBlock, TILE};
use super::{ROWS, wide};

/// Bytes of a cache line, and how far ahead of the block in hand lines are asked for.
const LINE: usize = 64;
const AHEAD: usize = 4096;

/// Shows that this processor has AVX2 and FMA; made by [`Avx2::detect`] only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

/// Declares a method that calls the function of the same name, compiled for AVX2.
macro_rules! compiled_here {
    ($(
        $name:ident$(<const $n:ident: usize>)?($($argument:ident: $type:ty),*) $(-> $out:ty)?;
    )*) => {
        $(
            pub(super) fn $name$(<const $n: usize>)?(self, $($argument: $type),*) $(-> $out)? {
                // SAFETY: `self` exists only where the processor reported AVX2 and FMA.
                unsafe { $name($($argument),*) }
            }
        )*
    };
}

impl Avx2 {
    /// Asks the processor.
    pub(super) fn detect() -> Option<Self> {
        let all = std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma");
        all.then_some(Self(()))
    }

    compiled_here! {
        nibble_tile<const N: usize>(tile: &[NibbleBlock], inputs: [&[ActivationBlock]; N])
            -> [[f32; TILE]; N];
        affine_tile<const N: usize>(tile: &[AffineBlock], inputs: [&[ActivationBlock]; N])
            -> [[f32; TILE]; N];
        byte_tile<const N: usize>(tile: &[ByteBlock], inputs: [&[ActivationBlock]; N])
            -> [[f32; TILE]; N];
        quantize(values: &[f32], blocks: &mut Vec<ActivationBlock>);
        normalize(values: &[f32], weights: &[f32], epsilon: f32, out: &mut Vec<f32>);
        silu_times(gate: &mut [f32], up: &[f32]);
        gelu_times(gate: &mut [f32], up: &[f32]);
        halve(values: &[f32], out: &mut [u16; HALVED]);
        fine_tile<const N: usize>(tile: &[FineBlock], inputs: [&[ActivationBlock]; N])
            -> [[f32; TILE]; N];
        wide_f32(columns: &[[f32; TILE]], rows: &[&[f32]], sums: &mut [[f32; TILE]; ROWS]);
        wide_f16(columns: &[[u16; TILE]], rows: &[&[f32]], sums: &mut [[f32; TILE]; ROWS]);
        wide_bf16(columns: &[[u16; TILE]], rows: &[&[f32]], sums: &mut [[f32; TILE]; ROWS]);
        span(task: &SpanTask<'_>, scratch: &mut SpanScratch, out: &mut [f32]);
    }
}

#[target_feature(enable = "avx2,fma")]
fn quantize(values: &[f32], blocks: &mut Vec<ActivationBlock>) {
    activation::quantize(values, blocks);
}

#[target_feature(enable = "avx2,fma")]
fn normalize(values: &[f32], weights: &[f32], epsilon: f32, out: &mut Vec<f32>) {
    float::normalize(values, weights, epsilon, out);
}

#[target_feature(enable = "avx2,fma")]
fn silu_times(gate: &mut [f32], up: &[f32]) {
    float::silu_times(gate, up);
}

#[target_feature(enable = "avx2,fma")]
fn gelu_times(gate: &mut [f32], up: &[f32]) {
    float::gelu_times(gate, up);
}

#[target_feature(enable = "avx2,fma")]
fn halve(values: &[f32], out: &mut [u16; HALVED]) {
    packed::halve(values, out);
}

#[target_feature(enable = "avx2,fma")]
fn wide_f32(columns: &[[f32; TILE]], rows: &[&[f32]], sums: &mut [[f32; TILE]; ROWS]) {
    wide::wide_tile(columns, rows, sums, |float| float);
}

#[target_feature(enable = "avx2,fma")]
fn wide_f16(columns: &[[u16; TILE]], rows: &[&[f32]], sums: &mut [[f32; TILE]; ROWS]) {
    wide::wide_tile(columns, rows, sums, wide::half);
}

#[target_feature(enable = "avx2,fma")]
fn wide_bf16(columns: &[[u16; TILE]], rows: &[&[f32]], sums: &mut [[f32; TILE]; ROWS]) {
    wide::wide_tile(columns, rows, sums, wide::brain);
}

#[target_feature(enable = "avx2,fma")]
fn fine_tile<const N: usize>(
    tile: &[FineBlock],
    inputs: [&[ActivationBlock]; N],
) -> [[f32; TILE]; N] {
    fine::fine_tile(tile, inputs, |chunks, input| fine_dots(chunks, input))
}

/// `fine::dots`: quants are at most 32, so a pair of products is far below 2^15.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn fine_dots(chunks: &[Chunk; 8], input: &ActivationBlock) -> Dots {
    let ones = _mm256_set1_epi16(1);
    let mut dots = [[_mm256_setzero_si256(); 2]; 2];
    for (group, chunk) in chunks.iter().enumerate() {
        let four = broadcast(input.groups[group]);
        for (sum, weights) in dots[group / 4].iter_mut().zip(load(chunk)) {
            let signed = _mm256_sign_epi8(four, weights);
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights), signed);
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    dots.map(|dots| store_integers(dots))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store_integers(sums: [__m256i; 2]) -> [i32; TILE] {
    let mut integers = [0; TILE];
    let (eights, _) = integers.as_chunks_mut::<8>();
    for (eight, sums) in eights.iter_mut().zip(sums) {
        // SAFETY: the array is eight writable integers, and the store asks for no alignment.
        unsafe { _mm256_storeu_si256(eight.as_mut_ptr().cast(), sums) };
    }
    integers
}

#[target_feature(enable = "avx2,fma")]
fn span(task: &SpanTask<'_>, scratch: &mut SpanScratch, out: &mut [f32]) {
    attention::span(task, scratch, out);
}

/// Sums of a tile for one row of activations: eight rows and eight rows.
type Halves = [__m256; 2];

#[target_feature(enable = "avx2,fma")]
fn nibble_tile<const N: usize>(
    tile: &[NibbleBlock],
    inputs: [&[ActivationBlock]; N],
) -> [[f32; TILE]; N] {
    let inputs = inputs.map(|input| &input[..tile.len()]);
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (at, block) in tile.iter().enumerate() {
        if N == 1 {
            ask_ahead(block);
        }
        let dots = nibble_dots(&block.chunks, inputs, at);
        let scales = lowered(&block.scales);
        for row in 0..N {
            let input = &inputs[row][at];
            let factor = _mm256_set1_ps(input.factor);
            let middle = _mm256_set1_epi32(8 * input.total);
            for half in 0..2 {
                let dots = _mm256_cvtepi32_ps(_mm256_sub_epi32(dots[row][half], middle));
                let part = _mm256_mul_ps(dots, scales[half]);
                sums[row][half] = _mm256_fmadd_ps(part, factor, sums[row][half]);
            }
        }
    }
    sums.map(|sums| store(sums))
}

#[target_feature(enable = "avx2,fma")]
fn affine_tile<const N: usize>(
    tile: &[AffineBlock],
    inputs: [&[ActivationBlock]; N],
) -> [[f32; TILE]; N] {
    let inputs = inputs.map(|input| &input[..tile.len()]);
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (at, block) in tile.iter().enumerate() {
        if N == 1 {
            ask_ahead(block);
        }
        let dots = nibble_dots(&block.chunks, inputs, at);
        let scales = lowered(&block.scales);
        let minimums = lowered(&block.minimums);
        for row in 0..N {
            let input = &inputs[row][at];
            let factor = _mm256_set1_ps(input.factor);
            let total = _mm256_set1_ps(input.total as f32);
            for half in 0..2 {
                let least = _mm256_mul_ps(minimums[half], total);
                let dots = _mm256_cvtepi32_ps(dots[row][half]);
                let part = _mm256_fmadd_ps(dots, scales[half], least);
                sums[row][half] = _mm256_fmadd_ps(part, factor, sums[row][half]);
            }
        }
    }
    sums.map(|sums| store(sums))
}

#[target_feature(enable = "avx2,fma")]
fn byte_tile<const N: usize>(
    tile: &[ByteBlock],
    inputs: [&[ActivationBlock]; N],
) -> [[f32; TILE]; N] {
    let inputs = inputs.map(|input| &input[..tile.len()]);
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (at, block) in tile.iter().enumerate() {
        if N == 1 {
            ask_ahead(block);
        }
        let mut dots = [[_mm256_setzero_si256(); 2]; N];
        for (group, chunk) in block.chunks.iter().enumerate() {
            // `maddubs` wants one side without sign: |w| * (a with the sign of w). A pair is at
            // most 2 * 128 * 127, below 2^15; only one pair is added in 16 bits.
            let weights = load(chunk);
            let magnitudes = [_mm256_abs_epi8(weights[0]), _mm256_abs_epi8(weights[1])];
            for row in 0..N {
                let four = broadcast(inputs[row][at].groups[group]);
                for half in 0..2 {
                    let signed = _mm256_sign_epi8(four, weights[half]);
                    let pairs = _mm256_maddubs_epi16(magnitudes[half], signed);
                    let four = _mm256_madd_epi16(pairs, ones);
                    dots[row][half] = _mm256_add_epi32(dots[row][half], four);
                }
            }
        }
        let scales = lowered(&block.scales);
        for row in 0..N {
            let factor = _mm256_set1_ps(inputs[row][at].factor);
            for half in 0..2 {
                let part = _mm256_mul_ps(_mm256_cvtepi32_ps(dots[row][half]), scales[half]);
                sums[row][half] = _mm256_fmadd_ps(part, factor, sums[row][half]);
            }
        }
    }
    sums.map(|sums| store(sums))
}

/// Asks for the cache lines that are [`AHEAD`] behind a block's. With one row of activations
/// weights come from memory, and the processor's own prefetching ends at each page's end.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn ask_ahead<B>(block: &B) {
    let start: *const i8 = std::ptr::from_ref(block).cast();
    for line in 0..size_of::<B>().div_ceil(LINE) {
        // Any address will do: nothing is read, and one that is not mapped is passed over.
        _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(AHEAD + LINE * line));
    }
}

/// The integer sums of block `at` of each input with 4-bit weights.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn nibble_dots<const N: usize>(
    chunks: &[Chunk; 4],
    inputs: [&[ActivationBlock]; N],
    at: usize,
) -> [[__m256i; 2]; N] {
    let low_half = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    // A pair of products is at most 2 * 15 * 127; eight of them stay below 2^15.
    let mut pairs = [[_mm256_setzero_si256(); 2]; N];
    for (group, chunk) in chunks.iter().enumerate() {
        let both = load(chunk);
        let low = [
            _mm256_and_si256(both[0], low_half),
            _mm256_and_si256(both[1], low_half),
        ];
        let high = [
            _mm256_and_si256(_mm256_srli_epi16::<4>(both[0]), low_half),
            _mm256_and_si256(_mm256_srli_epi16::<4>(both[1]), low_half),
        ];
        for row in 0..N {
            let groups = &inputs[row][at].groups;
            let (first, second) = (broadcast(groups[group]), broadcast(groups[group + 4]));
            for half in 0..2 {
                let with_low = _mm256_maddubs_epi16(low[half], first);
                let with_high = _mm256_maddubs_epi16(high[half], second);
                let both = _mm256_add_epi16(with_low, with_high);
                pairs[row][half] = _mm256_add_epi16(pairs[row][half], both);
            }
        }
    }
    for pairs in &mut pairs {
        *pairs = [
            _mm256_madd_epi16(pairs[0], ones),
            _mm256_madd_epi16(pairs[1], ones),
        ];
    }
    pairs
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn broadcast(group: u32) -> __m256i {
    _mm256_set1_epi32(group.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(chunk: &Chunk) -> [__m256i; 2] {
    let (halves, _) = chunk.as_chunks::<32>();
    [load_bytes(&halves[0]), load_bytes(&halves[1])]
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load_bytes(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference covers 32 readable bytes, and the load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// `packed::lowered` of sixteen f16.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn lowered(halves: &[u16; TILE]) -> Halves {
    let (eights, _) = halves.as_chunks::<8>();
    [lowered_eight(&eights[0]), lowered_eight(&eights[1])]
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn lowered_eight(halves: &[u16; 8]) -> __m256 {
    // SAFETY: the reference covers 16 readable bytes, and the load asks for no alignment.
    let halves = unsafe { _mm_loadu_si128(halves.as_ptr().cast()) };
    let wide = _mm256_slli_epi32::<13>(_mm256_cvtepi16_epi32(halves));
    let kept = _mm256_set1_epi32(0x8fff_ffff_u32.cast_signed());
    _mm256_castsi256_ps(_mm256_and_si256(wide, kept))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store(sums: Halves) -> [f32; TILE] {
    let mut floats = [0.0; TILE];
    let (eights, _) = floats.as_chunks_mut::<8>();
    for (eight, sums) in eights.iter_mut().zip(sums) {
        // SAFETY: the array is eight writable floats, and the store asks for no alignment.
        unsafe { _mm256_storeu_ps(eight.as_mut_ptr(), sums) };
    }
    floats
}
