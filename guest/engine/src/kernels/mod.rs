//! The arithmetic of the model: integer products of packed weights, and a little float work.
//!
//! Every result is the same, bit for bit, whatever the instruction set, the number of rows in a
//! call and the number of threads: one row of output is always computed by one thread in one
//! order. What is deliberately not here: the transformer, threads, memory of requests.

mod activation;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod fine;
mod float;
mod packed;
mod portable;
mod superblock;
#[cfg(test)]
mod tests;
mod wide;

use std::ops::Range;

use zeroize::Zeroize;

pub(crate) use activation::{ActivationBlock, BLOCK};
pub(crate) use attention::{
    BESIDE, HeadRun, RUN, SPAN, SpanScratch, SpanTask, merge_spans, span_floats,
};
pub(crate) use fine::{FineMatrix, FromSuperblocks, pack_superblocks};
pub(crate) use float::{add, angle, exp};
pub(crate) use packed::{Blocks, HALVED, PackedMatrix, ShapeMismatch, StoredLayout, TILE};
#[cfg(test)]
pub(crate) use packed::{half_to_float, to_half};
pub(crate) use superblock::SuperLayout;
#[cfg(test)]
pub(crate) use tests::vectors;
pub(crate) use wide::{WideLayout, WideMatrix};

/// Rows of activations that a call of a kernel takes at once, when there are so many.
pub(crate) const ROWS: usize = 4;

/// Calls a function as compiled for this processor's vectors, or for any.
macro_rules! with_vectors {
    ($self:ident, $module:ident, $name:ident($($argument:ident),*)) => {{
        #[cfg(target_arch = "x86_64")]
        if let Some(avx512) = $self.avx512 {
            return avx512.$name($($argument),*);
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = $self.avx2 {
            return avx2.$name($($argument),*);
        }
        $module::$name($($argument),*);
    }};
}

/// Hands rows of `width` blocks to a kernel: four at a time, or eight where that is asked for, and
/// then what is left.
macro_rules! in_groups {
    ($width:expr, $inputs:expr, $put:ident, |$rows:ident| $kernel:expr) => {
        in_groups!($width, $inputs, $put, |$rows| $kernel,)
    };
    ($width:expr, $inputs:expr, $put:ident, |$rows:ident| $kernel:expr, $($most:pat => 8)?) => {{
        let width = $width;
        let mut all = $inputs.iter().flat_map(|input| input.chunks_exact(width));
        let count = $inputs.iter().map(|input| input.chunks_exact(width).len()).sum::<usize>();
        let mut row = 0_usize;
        let put = &mut $put;
        loop {
            macro_rules! some {
                ($count:literal) => {{
                    let $rows: [&[ActivationBlock]; $count] =
                        std::array::from_fn(|_| all.next().unwrap_or_default());
                    for sums in $kernel {
                        put(row, &sums);
                        row = row.saturating_add(1);
                    }
                }};
            }
            match count.saturating_sub(row) {
                0 => break,
                1 => some!(1),
                2 => some!(2),
                3 => some!(3),
                $($most => some!(8),)?
                _ => some!(4),
            }
        }
    }};
}

use in_groups;

/// Rows of activations as the products of one matrix or of several take them.
pub(crate) struct BlockRows<'a> {
    /// Whole rows, going on from one to the next.
    inputs: Vec<&'a [ActivationBlock]>,
    /// Those rows once more, where tile registers take them.
    #[cfg(target_arch = "x86_64")]
    tiles: Option<(amx::Amx, &'a mut amx::Room)>,
}

/// What a thread needs for [`BlockRows`], kept from one product to the next.
#[derive(Default)]
pub(crate) struct BlockRoom {
    #[cfg(target_arch = "x86_64")]
    tiles: amx::Room,
}

impl Zeroize for BlockRoom {
    fn zeroize(&mut self) {
        #[cfg(target_arch = "x86_64")]
        self.tiles.zeroize();
    }
}

/// The instruction set in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernels {
    #[cfg(target_arch = "x86_64")]
    avx2: Option<avx2::Avx2>,
    #[cfg(target_arch = "x86_64")]
    avx512: Option<avx512::Avx512>,
    #[cfg(target_arch = "x86_64")]
    amx: Option<amx::Amx>,
}

impl Kernels {
    /// The best that this processor has.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn detect() -> Self {
        let avx512 = avx512::Avx512::detect();
        Self {
            avx2: avx2::Avx2::detect(),
            avx512,
            amx: avx512.and_then(amx::Amx::detect),
        }
    }

    /// The best that this processor has.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn detect() -> Self {
        Self {}
    }

    /// Plain Rust only, to compare with.
    #[cfg(test)]
    pub(crate) fn portable() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: None,
            #[cfg(target_arch = "x86_64")]
            avx512: None,
            #[cfg(target_arch = "x86_64")]
            amx: None,
        }
    }

    /// With AVX2 at most, to compare with.
    #[cfg(test)]
    pub(crate) fn without_avx512() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx512: None,
            ..Self::without_amx()
        }
    }

    /// With AVX-512 at most, to compare with.
    #[cfg(test)]
    pub(crate) fn without_amx() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            amx: None,
            ..Self::detect()
        }
    }

    /// Whether AVX-512 is in use.
    #[cfg(test)]
    pub(crate) fn has_avx512(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.avx512.is_some();
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// Whether AMX is in use.
    #[cfg(test)]
    pub(crate) fn has_amx(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.amx.is_some();
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// Rows of `width` blocks, laid out for this processor's products.
    pub(crate) fn rows<'a>(
        self,
        width: usize,
        inputs: Vec<&'a [ActivationBlock]>,
        room: &'a mut BlockRoom,
    ) -> BlockRows<'a> {
        #[cfg(not(target_arch = "x86_64"))]
        let _unused = (width, room);
        BlockRows {
            #[cfg(target_arch = "x86_64")]
            tiles: self.amx.and_then(|amx| {
                let taken = amx.take_rows(width, &inputs, &mut room.tiles);
                taken.then_some((amx, &mut room.tiles))
            }),
            inputs,
        }
    }

    /// The products of some tiles of a matrix with rows of `matrix.blocks_per_row` blocks. For each
    /// row and tile, `put(row, tile, sums)` is called once, where tiles count from the start of the
    /// matrix.
    pub(crate) fn multiply(
        self,
        matrix: &PackedMatrix,
        tiles: Range<usize>,
        rows: &mut BlockRows<'_>,
        mut put: impl FnMut(usize, usize, &[f32; TILE]),
    ) {
        let width = matrix.blocks_per_row;
        let start = tiles.start.saturating_mul(width);
        let blocks = start..tiles.end.saturating_mul(width);
        macro_rules! each_tile {
            ($all:ident, $kernel:ident) => {{
                #[cfg(target_arch = "x86_64")]
                if let Some((amx, room)) = &mut rows.tiles {
                    let all = $all.get(blocks).unwrap_or_default();
                    return amx.multiply(all, width, tiles, room, put);
                }
                let inputs = &rows.inputs;
                let chunks = $all.get(blocks).unwrap_or_default().chunks_exact(width);
                for (tile, blocks) in tiles.zip(chunks) {
                    let mut put = |row: usize, sums: &[f32; TILE]| put(row, tile, sums);
                    #[cfg(target_arch = "x86_64")]
                    if let Some(avx512) = self.avx512 {
                        in_groups!(
                            width, inputs, put, |rows| avx512.$kernel(blocks, rows), 8.. => 8
                        );
                        continue;
                    }
                    #[cfg(target_arch = "x86_64")]
                    if let Some(avx2) = self.avx2 {
                        in_groups!(width, inputs, put, |rows| avx2.$kernel(blocks, rows));
                        continue;
                    }
                    let rows = inputs.iter().flat_map(|input| input.chunks_exact(width));
                    rows.enumerate()
                        .for_each(|(row, input)| put(row, &portable::$kernel(blocks, input)));
                }
            }};
        }
        match &matrix.blocks {
            Blocks::Nibbles(all) => each_tile!(all, nibble_tile),
            Blocks::Affine(all) => each_tile!(all, affine_tile),
            Blocks::Bytes(all) => each_tile!(all, byte_tile),
        }
    }

    /// Appends the blocks of `values`, whose length is a multiple of 32.
    pub(crate) fn quantize(self, values: &[f32], blocks: &mut Vec<ActivationBlock>) {
        with_vectors!(self, activation, quantize(values, blocks));
    }

    /// RMS norm: appends `values / sqrt(mean of squares + epsilon) * weights`.
    pub(crate) fn normalize(
        self,
        values: &[f32],
        weights: &[f32],
        epsilon: f32,
        out: &mut Vec<f32>,
    ) {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.avx2 {
            return avx2.normalize(values, weights, epsilon, out);
        }
        float::normalize(values, weights, epsilon, out);
    }

    /// `gate = gelu(gate) * up`, with the usual approximation by tanh.
    pub(crate) fn gelu_times(self, gate: &mut [f32], up: &[f32]) {
        with_vectors!(self, float, gelu_times(gate, up));
    }

    /// `gate = silu(gate) * up`.
    pub(crate) fn silu_times(self, gate: &mut [f32], up: &[f32]) {
        with_vectors!(self, float, silu_times(gate, up));
    }

    /// Floats as f16, as [`packed::to_half`]; as many as there are, at most [`HALVED`].
    pub(crate) fn halve<'o>(self, values: &[f32], out: &'o mut [u16; HALVED]) -> &'o [u16] {
        self.halve_into(values, out);
        out.get(..values.len()).unwrap_or_default()
    }

    fn halve_into(self, values: &[f32], out: &mut [u16; HALVED]) {
        with_vectors!(self, packed, halve(values, out));
    }

    /// Attention of some rows over one span of positions: see [`SpanTask`].
    pub(crate) fn span(self, task: &SpanTask<'_>, scratch: &mut SpanScratch, out: &mut [f32]) {
        with_vectors!(self, attention, span(task, scratch, out));
    }
}
