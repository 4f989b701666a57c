//! Products of many rows of activations by AMX: one instruction adds 8192 byte products to the
//! sums of sixteen rows of activations with a tile's sixteen rows of weights.
//!
//! A block of a tile is what the instruction wants of weights as it lies: eight groups of four
//! columns, 64 bytes each. Integer sums are exact; the float work behind each block is that of
//! `portable`, in its order, fused where it fuses, so the bits are equal. What is deliberately not
//! here: few rows, where weights come from memory and `avx512` is as fast.
//! Source of the instructions and the palette: Intel SDM volume 1, chapter 18.
#![allow(
    unsafe_code,
    reason = "tile instructions, vector loads and the call into a target feature"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tensor loop: fixed arrays, block numbers below the length that is compared first"
)]

use std::arch::asm;
use std::arch::x86_64::{
    __cpuid_count, __m512, __m512i, _mm512_and_si512, _mm512_cvtepi32_ps, _mm512_fmadd_ps,
    _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi8, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_si512, _mm512_sub_epi8,
};
use std::ops::Range;

use zeroize::Zeroize;

use super::activation::{ActivationBlock, GROUPS, RAISE};
use super::avx512::{Avx512, ask_ahead, load, load_floats, lowered, store};
use super::fine::FineBlock;
use super::packed::{AffineBlock, ByteBlock, Chunk, NibbleBlock, TILE};

/// Rows of activations in a tile register.
const MOST: usize = 16;

/// From so many rows on the tiles are faster than vectors; see docs/decisions/2026-11-28-amx.md.
const LEAST: usize = 12;

/// Bits of CPUID leaf 7, EDX: tiles, and their byte products.
const AMX_TILE: u32 = 1 << 24;
const AMX_INT8: u32 = 1 << 25;

/// Shows that this processor has AMX beside AVX-512, and that the kernel lets this process use it;
/// made by [`Amx::detect`] only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amx(());

/// One block of up to sixteen rows of activations.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Rows {
    quants: [[u32; GROUPS]; MOST],
    factors: [f32; MOST],
    totals: [f32; MOST],
}

const NO_ROWS: Rows = Rows {
    quants: [[0; GROUPS]; MOST],
    factors: [0.0; MOST],
    totals: [0.0; MOST],
};

/// A block of weights as bytes: no line of it crosses one of the cache, which a tile's load would
/// read twice.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Bytes([Chunk; 8]);

const NO_BYTES: Bytes = Bytes([[0; 4 * TILE]; 8]);

/// A thread's rows as tiles take them, and room for a tile's weights.
#[derive(Default)]
pub(super) struct Room {
    /// Group after group, block after block.
    rows: Vec<Rows>,
    /// Rows of activations, and how many of them are a group.
    count: usize,
    each: usize,
    weights: Vec<Bytes>,
}

/// What `ldtilecfg` reads: palette 1, and for each register its bytes of a row and its rows.
#[repr(C, align(64))]
struct Palette {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Blocks of weights by the way that their products are made.
pub(super) trait Block: Sized {
    /// The products of all tiles.
    ///
    /// # Safety
    /// The processor has what [`Amx`] shows, and the tile registers are configured for `N` rows.
    unsafe fn multiply<const N: usize>(
        tile: &[Self],
        room: &mut [Bytes],
        rows: &[Rows],
        put: &mut impl FnMut(usize, &[f32; TILE]),
    );
}

impl Amx {
    /// Asks the processor, and the kernel for leave.
    pub(super) fn detect(_beside: Avx512) -> Option<Self> {
        let features = __cpuid_count(7, 0).edx;
        let there = features & AMX_TILE != 0 && features & AMX_INT8 != 0;
        (there && sys::processor::permit_tiles().is_ok()).then_some(Self(()))
    }

    /// Lays rows out for [`Amx::multiply`]; false when they are none, or so few that vectors are
    /// better.
    pub(super) fn take_rows(
        self,
        width: usize,
        inputs: &[&[ActivationBlock]],
        room: &mut Room,
    ) -> bool {
        let all = || {
            inputs
                .iter()
                .flat_map(|input| input.chunks_exact(width.max(1)))
        };
        room.count = all().count();
        if width == 0 || room.count < LEAST {
            return false;
        }
        let groups = room.count.div_ceil(MOST);
        room.each = room.count.div_ceil(groups).next_multiple_of(4);
        // Rows that a group lacks are what was there before: nobody asks for their products.
        if room.rows.len() < groups * width {
            room.rows.resize(groups * width, NO_ROWS);
        }
        if room.weights.len() < width {
            room.weights.resize(width, NO_BYTES);
        }
        for (number, input) in all().enumerate() {
            let (group, row) = (number / room.each, number % room.each);
            for (block, input) in room.rows[group * width..].iter_mut().zip(input) {
                block.quants[row] = input.groups;
                block.factors[row] = input.factor;
                block.totals[row] = input.total as f32;
            }
        }
        true
    }

    /// As `Kernels::multiply`, of the blocks of these tiles with the rows that were taken last, of
    /// `width` blocks each.
    pub(super) fn multiply<B: Block>(
        self,
        blocks: &[B],
        width: usize,
        tiles: Range<usize>,
        room: &mut Room,
        mut put: impl FnMut(usize, usize, &[f32; TILE]),
    ) {
        let (count, each) = (room.count, room.each);
        let rows = &room.rows[..count.div_ceil(each.max(1)) * width];
        let weights = &mut room.weights[..width];
        macro_rules! by {
            ($n:literal) => {{
                let _configured = Configured::for_rows($n);
                for (tile, blocks) in tiles.zip(blocks.chunks_exact(width)) {
                    let mut put = |row: usize, sums: &[f32; TILE]| {
                        if row < count {
                            put(row, tile, sums);
                        }
                    };
                    // SAFETY: `self` exists only where the processor has AMX and AVX-512, and the
                    // registers are configured for this number of rows until the end of the block.
                    unsafe { B::multiply::<$n>(blocks, weights, rows, &mut put) };
                }
            }};
        }
        match each {
            4 => by!(4),
            8 => by!(8),
            12 => by!(12),
            _ => by!(16),
        }
    }
}

impl Zeroize for Room {
    fn zeroize(&mut self) {
        for rows in &mut self.rows {
            rows.quants.zeroize();
            rows.factors.zeroize();
            rows.totals.zeroize();
        }
    }
}

/// The tile registers as configured; empty and without a shape again when dropped, so that no
/// activation stays in them.
struct Configured(());

impl Configured {
    /// Register 0 and 3 hold sums, 1 and 4 rows of 32 and of 16 activations, 2 and 5 weights of as
    /// many columns.
    #[inline]
    fn for_rows(rows: u8) -> Self {
        let mut palette = Palette {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        palette.row_bytes[..6].copy_from_slice(&[64, 32, 64, 64, 16, 64]);
        palette.rows[..6].copy_from_slice(&[rows, rows, 8, rows, rows, 4]);
        // SAFETY: reads 64 bytes of a palette that the processor takes: sizes within palette 1's
        // limits. Only called by `Amx::multiply`, which shows that there are such registers.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const palette, options(nostack, readonly)) };
        Self(())
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: made by `for_rows`, so there are tile registers; nothing else uses them.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Exact sums of a row of activations with each row of weights.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Dots([[i32; TILE]; MOST]);

const NO_DOTS: Dots = Dots([[0; TILE]; MOST]);

/// Sums of the 32 products of each pair of rows.
///
/// # Safety
/// The registers are configured for at most [`MOST`] rows.
#[inline(always)]
unsafe fn dots(rows: &[[u32; GROUPS]; MOST], weights: &[Chunk; 8], out: &mut Dots) {
    // SAFETY: reads at most 16 rows of 32 bytes and 8 of 64, writes at most 16 of 64: what the
    // references cover.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tileloadd tmm1, [{rows} + {narrow}]",
            "tileloadd tmm2, [{weights} + {wide}]",
            "tdpbssd tmm0, tmm1, tmm2",
            "tilestored [{out} + {wide}], tmm0",
            rows = in(reg) rows.as_ptr(),
            weights = in(reg) weights.as_ptr(),
            out = in(reg) out.0.as_mut_ptr(),
            narrow = in(reg) 32_usize,
            wide = in(reg) 64_usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _,
            options(nostack),
        );
    }
}

/// Sums of the first and of the second sixteen products of each pair of rows.
///
/// # Safety
/// As for [`dots`].
#[inline(always)]
unsafe fn halves(rows: &[[u32; GROUPS]; MOST], weights: &[Chunk; 8], out: &mut [Dots; 2]) {
    // SAFETY: as in `dots`, in halves: the second ones are 16 bytes and 4 rows further.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tileloadd tmm4, [{rows} + {narrow}]",
            "tileloadd tmm5, [{weights} + {wide}]",
            "tdpbssd tmm0, tmm4, tmm5",
            "tilestored [{first} + {wide}], tmm0",
            "tilezero tmm3",
            "tileloadd tmm4, [{rows} + {narrow} + 16]",
            "tileloadd tmm5, [{weights} + {wide} + 256]",
            "tdpbssd tmm3, tmm4, tmm5",
            "tilestored [{second} + {wide}], tmm3",
            rows = in(reg) rows.as_ptr(),
            weights = in(reg) weights.as_ptr(),
            first = in(reg) out[0].0.as_mut_ptr(),
            second = in(reg) out[1].0.as_mut_ptr(),
            narrow = in(reg) 32_usize,
            wide = in(reg) 64_usize,
            out("tmm0") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
            options(nostack),
        );
    }
}

/// Declares that a block's products are made by a function that is compiled for AVX-512.
macro_rules! by_tiles {
    ($($block:ty, $function:ident;)*) => {
        $(impl Block for $block {
            unsafe fn multiply<const N: usize>(
                tile: &[Self],
                room: &mut [Bytes],
                rows: &[Rows],
                put: &mut impl FnMut(usize, &[f32; TILE]),
            ) {
                // SAFETY: what is asked of the caller.
                unsafe { $function::<N>(tile, room, rows, put) }
            }
        })*
    };
}

by_tiles! {
    NibbleBlock, nibble_tile;
    AffineBlock, affine_tile;
    ByteBlock, byte_tile;
    FineBlock, fine_tile;
}

/// As [`Block::multiply`].
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn nibble_tile<const N: usize>(
    tile: &[NibbleBlock],
    room: &mut [Bytes],
    rows: &[Rows],
    put: &mut impl FnMut(usize, &[f32; TILE]),
) {
    for (block, room) in tile.iter().zip(&mut *room) {
        ask_ahead(block);
        widen(&block.chunks, _mm512_set1_epi8(8), room);
    }
    let room = &*room;
    for (group, rows) in rows.chunks_exact(tile.len()).enumerate() {
        let block = |at: usize| (&room[at].0, lowered(&tile[at].scales));
        let part = |scales, dots, _| _mm512_mul_ps(dots, scales);
        // SAFETY: what is asked of the caller.
        let sums: [_; N] = unsafe { sums(rows, block, part) };
        hand_out(group, sums, put);
    }
}

/// As [`Block::multiply`].
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn affine_tile<const N: usize>(
    tile: &[AffineBlock],
    room: &mut [Bytes],
    rows: &[Rows],
    put: &mut impl FnMut(usize, &[f32; TILE]),
) {
    for (block, room) in tile.iter().zip(&mut *room) {
        ask_ahead(block);
        widen(&block.chunks, _mm512_setzero_si512(), room);
    }
    let room = &*room;
    for (group, rows) in rows.chunks_exact(tile.len()).enumerate() {
        let block = |at: usize| {
            (
                &room[at].0,
                (lowered(&tile[at].scales), lowered(&tile[at].minimums)),
            )
        };
        let part = |(scales, minimums), dots, total| {
            let least = _mm512_mul_ps(minimums, _mm512_set1_ps(total));
            _mm512_fmadd_ps(dots, scales, least)
        };
        // SAFETY: what is asked of the caller.
        let sums: [_; N] = unsafe { sums(rows, block, part) };
        hand_out(group, sums, put);
    }
}

/// As [`Block::multiply`], without a need for room.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn byte_tile<const N: usize>(
    tile: &[ByteBlock],
    _room: &mut [Bytes],
    rows: &[Rows],
    put: &mut impl FnMut(usize, &[f32; TILE]),
) {
    for (group, rows) in rows.chunks_exact(tile.len()).enumerate() {
        let block = |at: usize| {
            if group == 0 {
                ask_ahead(&tile[at]);
            }
            (&tile[at].chunks, lowered(&tile[at].scales))
        };
        let part = |scales, dots, _| _mm512_mul_ps(dots, scales);
        // SAFETY: what is asked of the caller.
        let sums: [_; N] = unsafe { sums(rows, block, part) };
        hand_out(group, sums, put);
    }
}

/// As [`Block::multiply`], without a need for room.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn fine_tile<const N: usize>(
    tile: &[FineBlock],
    _room: &mut [Bytes],
    rows: &[Rows],
    put: &mut impl FnMut(usize, &[f32; TILE]),
) {
    for (group, rows) in rows.chunks_exact(tile.len()).enumerate() {
        let mut found = [NO_DOTS; 2];
        let mut sums = [_mm512_setzero_ps(); N];
        for (block, rows) in tile.iter().zip(rows) {
            if group == 0 {
                ask_ahead(block);
            }
            // SAFETY: what is asked of the caller.
            unsafe { halves(&rows.quants, &block.chunks, &mut found) };
            let scales = [load_floats(&block.scales[0]), load_floats(&block.scales[1])];
            let minimums = load_floats(&block.minimums);
            for (row, sum) in sums.iter_mut().enumerate() {
                let factor = _mm512_set1_ps(rows.factors[row] * (1.0 / RAISE));
                let least = _mm512_mul_ps(minimums, _mm512_set1_ps(rows.totals[row]));
                let [first, second] = [0, 1].map(|half| floats(&found[half].0[row]));
                let part = _mm512_fmadd_ps(second, scales[1], least);
                let part = _mm512_fmadd_ps(first, scales[0], part);
                *sum = _mm512_fmadd_ps(part, factor, *sum);
            }
        }
        hand_out(group, sums, put);
    }
}

/// What a tile gives with a group of rows: `block` gives a block's weights and what its parts are
/// made with, `part` a row's part of a block, from exact sums and the total of its quants.
///
/// # Safety
/// As for [`Block::multiply`].
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn sums<'w, const N: usize, S: Copy>(
    rows: &[Rows],
    block: impl Fn(usize) -> (&'w [Chunk; 8], S),
    part: impl Fn(S, __m512, f32) -> __m512,
) -> [__m512; N] {
    // The sums of the next block are made while those of this one become floats.
    let mut found = [NO_DOTS; 2];
    let mut sums = [_mm512_setzero_ps(); N];
    // SAFETY: what is asked of the caller.
    unsafe { dots(&rows[0].quants, block(0).0, &mut found[0]) };
    for (at, here) in rows.iter().enumerate() {
        if let Some(next) = rows.get(at + 1) {
            // SAFETY: as above.
            unsafe { dots(&next.quants, block(at + 1).0, &mut found[(at + 1) % 2]) };
        }
        let scales = block(at).1;
        for (row, sum) in sums.iter_mut().enumerate() {
            let part = part(scales, floats(&found[at % 2].0[row]), here.totals[row]);
            *sum = _mm512_fmadd_ps(part, _mm512_set1_ps(here.factors[row]), *sum);
        }
    }
    sums
}

/// Hands out the sums of a group of rows.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn hand_out<const N: usize>(
    group: usize,
    sums: [__m512; N],
    put: &mut impl FnMut(usize, &[f32; TILE]),
) {
    for (row, sums) in sums.into_iter().enumerate() {
        put(group * N + row, &store(sums));
    }
}

/// Nibbles as bytes, so much less.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn widen(chunks: &[Chunk; 4], less: __m512i, out: &mut Bytes) {
    let low_half = _mm512_set1_epi8(15);
    let (lows, highs) = out.0.split_at_mut(4);
    for ((chunk, low), high) in chunks.iter().zip(lows).zip(highs) {
        let both = load(chunk);
        let halves = [both, _mm512_srli_epi16::<4>(both)];
        for (half, out) in halves.into_iter().zip([low, high]) {
            let bytes = _mm512_sub_epi8(_mm512_and_si512(half, low_half), less);
            // SAFETY: the reference covers 64 writable bytes, and the store asks for no alignment.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), bytes) };
        }
    }
}

/// Sixteen integers as floats; exact, for they are below 2^24.
#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn floats(sums: &[i32; TILE]) -> __m512 {
    // SAFETY: the reference covers 64 readable bytes, and the load asks for no alignment.
    _mm512_cvtepi32_ps(unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) })
}
