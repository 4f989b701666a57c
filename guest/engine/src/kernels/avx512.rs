//! The products of `portable` with AVX-512 and VNNI: a vector is one row of sums for each of a
//! tile's sixteen rows, and one instruction adds 64 byte products to it.
//!
//! Integer sums are exact, so their order is free; the float operations are those of `portable`
//! in its order, fused where it fuses, so the bits are equal. Activation functions are plain Rust,
//! compiled here once more, for these vectors. What is deliberately not here: norms, whose sums are
//! of eight lanes: `avx2` computes them.
#![allow(
    unsafe_code,
    reason = "vector loads and the call into a target feature"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tensor loop: fixed arrays, block numbers below the length that is compared first"
)]

mod attention;
mod fine;
mod wide;

use fine::fine_tile;
use wide::{wide_bf16, wide_f16, wide_f32};

use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_T0, _mm_prefetch, _mm_storeu_si128, _mm256_loadu_si256,
    _mm512_add_ps, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps,
    _mm512_cvtepi16_epi32, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_max_epu32, _mm512_mul_ps,
    _mm512_reduce_add_epi32, _mm512_reduce_max_epu32, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32, _mm512_srli_epi16, _mm512_storeu_ps,
    _mm512_sub_epi32, _mm512_xor_si512,
};

use super::activation::{self, ActivationBlock, BLOCK, GROUPS, RAISE, ROUND, SPOILED};
use super::attention::{SpanScratch, SpanTask};
use super::fine::FineBlock;
use super::packed::{self, AffineBlock, ByteBlock, Chunk, HALVED, NibbleBlock, TILE};
use super::{ROWS, float};

/// Bytes of a cache line, and how far ahead of the block in hand lines are asked for.
const LINE: usize = 64;
const AHEAD: usize = 4096;

/// Up to so many rows at a time, blocks ahead are asked for: all that are taken at once.
const FEW: usize = 8;

/// Shows that this processor has AVX-512 with VNNI; made by [`Avx512::detect`] only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

/// Declares a method that calls the function of the same name, compiled for AVX-512.
macro_rules! compiled_here {
    ($(
        $name:ident$(<const $n:ident: usize>)?($($argument:ident: $type:ty),*) $(-> $out:ty)?;
    )*) => {
        $(
            pub(super) fn $name$(<const $n: usize>)?(self, $($argument: $type),*) $(-> $out)? {
                // SAFETY: `self` exists only where the processor reported every feature that is
                // enabled below.
                unsafe { $name($($argument),*) }
            }
        )*
    };
}

impl Avx512 {
    /// Asks the processor. VNNI is asked for also because processors that have AVX-512 without it
    /// slow down when they use it.
    pub(super) fn detect() -> Option<Self> {
        let all = std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512vnni");
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
        fine_tile<const N: usize>(tile: &[FineBlock], inputs: [&[ActivationBlock]; N])
            -> [[f32; TILE]; N];
        wide_f32(columns: &[[f32; TILE]], rows: &[&[f32]], sums: &mut [[f32; TILE]; ROWS]);
        wide_f16(columns: &[[u16; TILE]], rows: &[&[f32]], sums: &mut [[f32; TILE]; ROWS]);
        wide_bf16(columns: &[[u16; TILE]], rows: &[&[f32]], sums: &mut [[f32; TILE]; ROWS]);
        silu_times(gate: &mut [f32], up: &[f32]);
        gelu_times(gate: &mut [f32], up: &[f32]);
        halve(values: &[f32], out: &mut [u16; HALVED]);
    }

    pub(super) fn span(self, task: &SpanTask<'_>, scratch: &mut SpanScratch, out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { span(self, task, scratch, out) };
    }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn quantize(values: &[f32], blocks: &mut Vec<ActivationBlock>) {
    let (chunks, _) = values.as_chunks::<BLOCK>();
    blocks.reserve(chunks.len());
    for chunk in chunks {
        blocks.push(quantize_block(chunk));
    }
}

/// `activation::quantize_block`: the order of maxima and of integer sums is free.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn quantize_block(values: &[f32; BLOCK]) -> ActivationBlock {
    let (halves, _) = values.as_chunks::<TILE>();
    let (first, second) = (load_floats(&halves[0]), load_floats(&halves[1]));
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let greatest = _mm512_reduce_max_epu32(_mm512_max_epu32(
        _mm512_and_si512(_mm512_castps_si512(first), magnitude),
        _mm512_and_si512(_mm512_castps_si512(second), magnitude),
    ));
    let Some((scale, inverse)) = activation::steps(greatest) else {
        return SPOILED;
    };
    let (first, second) = (quants(first, inverse), quants(second, inverse));
    let sums = [first, second].map(|quants| _mm512_reduce_add_epi32(quants));
    let mut groups = [0; GROUPS];
    let (fours, _) = groups.as_chunks_mut::<4>();
    for (four, quants) in fours.iter_mut().zip([first, second]) {
        let bytes = _mm512_cvtepi32_epi8(quants);
        // SAFETY: the array is 16 writable bytes, and the store asks for no alignment.
        unsafe { _mm_storeu_si128(four.as_mut_ptr().cast(), bytes) };
    }
    ActivationBlock {
        factor: scale * RAISE,
        total: sums[0].wrapping_add(sums[1]),
        first: sums[0],
        groups,
    }
}

/// Sixteen quants: rounded by adding, not fused.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn quants(values: __m512, inverse: f32) -> __m512i {
    let scaled = _mm512_mul_ps(values, _mm512_set1_ps(inverse));
    let rounded = _mm512_castps_si512(_mm512_add_ps(scaled, _mm512_set1_ps(ROUND)));
    _mm512_sub_epi32(rounded, _mm512_set1_epi32(ROUND.to_bits().cast_signed()))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn silu_times(gate: &mut [f32], up: &[f32]) {
    float::silu_times(gate, up);
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn gelu_times(gate: &mut [f32], up: &[f32]) {
    float::gelu_times(gate, up);
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn halve(values: &[f32], out: &mut [u16; HALVED]) {
    packed::halve(values, out);
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn span(loops: Avx512, task: &SpanTask<'_>, scratch: &mut SpanScratch, out: &mut [f32]) {
    super::attention::span_by(loops, task, scratch, out);
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn nibble_tile<const N: usize>(
    tile: &[NibbleBlock],
    inputs: [&[ActivationBlock]; N],
) -> [[f32; TILE]; N] {
    let inputs = inputs.map(|input| &input[..tile.len()]);
    let mut sums = [_mm512_setzero_ps(); N];
    for (at, block) in tile.iter().enumerate() {
        if N <= FEW {
            ask_ahead(block);
        }
        let mut dots = [_mm512_set1_epi32(0); N];
        for row in 0..N {
            // Eight is taken off each weight: eight totals off the sum that they begin with.
            dots[row] = _mm512_set1_epi32(inputs[row][at].total.wrapping_mul(-8));
        }
        add_nibbles(&mut dots, &block.chunks, inputs, at);
        let scales = lowered(&block.scales);
        for row in 0..N {
            let factor = _mm512_set1_ps(inputs[row][at].factor);
            let part = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[row]), scales);
            sums[row] = _mm512_fmadd_ps(part, factor, sums[row]);
        }
    }
    sums.map(|sums| store(sums))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn affine_tile<const N: usize>(
    tile: &[AffineBlock],
    inputs: [&[ActivationBlock]; N],
) -> [[f32; TILE]; N] {
    let inputs = inputs.map(|input| &input[..tile.len()]);
    let mut sums = [_mm512_setzero_ps(); N];
    for (at, block) in tile.iter().enumerate() {
        if N <= FEW {
            ask_ahead(block);
        }
        let mut dots = [_mm512_set1_epi32(0); N];
        add_nibbles(&mut dots, &block.chunks, inputs, at);
        let scales = lowered(&block.scales);
        let minimums = lowered(&block.minimums);
        for row in 0..N {
            let input = &inputs[row][at];
            let factor = _mm512_set1_ps(input.factor);
            let least = _mm512_mul_ps(minimums, _mm512_set1_ps(input.total as f32));
            let part = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[row]), scales, least);
            sums[row] = _mm512_fmadd_ps(part, factor, sums[row]);
        }
    }
    sums.map(|sums| store(sums))
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn byte_tile<const N: usize>(
    tile: &[ByteBlock],
    inputs: [&[ActivationBlock]; N],
) -> [[f32; TILE]; N] {
    let inputs = inputs.map(|input| &input[..tile.len()]);
    let sign = _mm512_set1_epi8(i8::MIN);
    let mut sums = [_mm512_setzero_ps(); N];
    for (at, block) in tile.iter().enumerate() {
        if N <= FEW {
            ask_ahead(block);
        }
        // The instruction wants weights without sign. With its sign bit turned a byte is 128 more,
        // so 128 totals are taken off the sum that they begin with: 2 * 32 * 255 * 127 at most.
        let mut dots = [_mm512_set1_epi32(0); N];
        for row in 0..N {
            dots[row] = _mm512_set1_epi32(inputs[row][at].total.wrapping_mul(-128));
        }
        for (group, chunk) in block.chunks.iter().enumerate() {
            let weights = _mm512_xor_si512(load(chunk), sign);
            for row in 0..N {
                let four = broadcast(inputs[row][at].groups[group]);
                dots[row] = _mm512_dpbusd_epi32(dots[row], weights, four);
            }
        }
        let scales = lowered(&block.scales);
        for row in 0..N {
            let factor = _mm512_set1_ps(inputs[row][at].factor);
            let part = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[row]), scales);
            sums[row] = _mm512_fmadd_ps(part, factor, sums[row]);
        }
    }
    sums.map(|sums| store(sums))
}

/// Adds the integer sums of block `at` of each input with 4-bit weights.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn add_nibbles<const N: usize>(
    dots: &mut [__m512i; N],
    chunks: &[Chunk; 4],
    inputs: [&[ActivationBlock]; N],
    at: usize,
) {
    let low_half = _mm512_set1_epi8(15);
    for (group, chunk) in chunks.iter().enumerate() {
        let both = load(chunk);
        let low = _mm512_and_si512(both, low_half);
        let high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), low_half);
        for row in 0..N {
            let groups = &inputs[row][at].groups;
            dots[row] = _mm512_dpbusd_epi32(dots[row], low, broadcast(groups[group]));
            dots[row] = _mm512_dpbusd_epi32(dots[row], high, broadcast(groups[group + 4]));
        }
    }
}

/// As in `avx2`: with few rows of activations weights come from memory.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn ask_ahead<B>(block: &B) {
    let start: *const i8 = std::ptr::from_ref(block).cast();
    for line in 0..size_of::<B>().div_ceil(LINE) {
        // Any address will do: nothing is read, and one that is not mapped is passed over.
        _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(AHEAD + LINE * line));
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn broadcast(group: u32) -> __m512i {
    _mm512_set1_epi32(group.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn load(chunk: &Chunk) -> __m512i {
    // SAFETY: the reference covers 64 readable bytes, and the load asks for no alignment.
    unsafe { _mm512_loadu_si512(chunk.as_ptr().cast()) }
}

/// `packed::lowered` of sixteen f16.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn lowered(halves: &[u16; TILE]) -> __m512 {
    // SAFETY: the reference covers 32 readable bytes, and the load asks for no alignment.
    let halves = unsafe { _mm256_loadu_si256(halves.as_ptr().cast()) };
    let wide = _mm512_slli_epi32::<13>(_mm512_cvtepi16_epi32(halves));
    let kept = _mm512_set1_epi32(0x8fff_ffff_u32.cast_signed());
    _mm512_castsi512_ps(_mm512_and_si512(wide, kept))
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn store(sums: __m512) -> [f32; TILE] {
    let mut floats = [0.0; TILE];
    // SAFETY: the array is sixteen writable floats, and the store asks for no alignment.
    unsafe { _mm512_storeu_ps(floats.as_mut_ptr(), sums) };
    floats
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn load_floats(floats: &[f32; TILE]) -> __m512 {
    // SAFETY: the reference covers sixteen readable floats, and the load asks for no alignment.
    unsafe { _mm512_loadu_ps(floats.as_ptr()) }
}
