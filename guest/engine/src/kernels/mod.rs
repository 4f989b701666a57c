//! The arithmetic of the model: integer products of packed weights, and a little float work.
//!
//! Every result is the same, bit for bit, whatever the instruction set, the number of rows in a
//! call and the number of threads: one row of output is always computed by one thread in one
//! order. What is deliberately not here: the transformer, threads, memory of requests.

mod activation;
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

pub(crate) use activation::{ActivationBlock, BLOCK};
pub(crate) use attention::{
    BESIDE, HeadRun, RUN, SPAN, SpanScratch, SpanTask, merge_spans, span_floats, to_half,
};
pub(crate) use fine::{FineMatrix, FromSuperblocks, pack_superblocks};
pub(crate) use float::{add, angle, exp};
#[cfg(test)]
pub(crate) use packed::half_to_float;
pub(crate) use packed::{Blocks, PackedMatrix, ShapeMismatch, StoredLayout, TILE};
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

/// The instruction set in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernels {
    #[cfg(target_arch = "x86_64")]
    avx2: Option<avx2::Avx2>,
    #[cfg(target_arch = "x86_64")]
    avx512: Option<avx512::Avx512>,
}

impl Kernels {
    /// The best that this processor has.
    pub(crate) fn detect() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: avx2::Avx2::detect(),
            #[cfg(target_arch = "x86_64")]
            avx512: avx512::Avx512::detect(),
        }
    }

    /// Plain Rust only, to compare with.
    #[cfg(test)]
    pub(crate) fn portable() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: None,
            #[cfg(target_arch = "x86_64")]
            avx512: None,
        }
    }

    /// With AVX2 at most, to compare with.
    #[cfg(test)]
    pub(crate) fn without_avx512() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx512: None,
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

    /// The products of some tiles of a matrix with rows of activations. Each of `inputs` holds
    /// whole rows of `matrix.blocks_per_row` blocks. For each row and tile, `put(row, tile, sums)`
    /// is called once, where tiles count from the start of the matrix and rows go on from one input
    /// to the next.
    pub(crate) fn multiply(
        self,
        matrix: &PackedMatrix,
        tiles: Range<usize>,
        inputs: &[&[ActivationBlock]],
        mut put: impl FnMut(usize, usize, &[f32; TILE]),
    ) {
        let width = matrix.blocks_per_row;
        let start = tiles.start.saturating_mul(width);
        let blocks = start..tiles.end.saturating_mul(width);
        macro_rules! each_tile {
            ($all:ident, $kernel:ident) => {{
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

    /// Attention of some rows over one span of positions: see [`SpanTask`].
    pub(crate) fn span(self, task: &SpanTask<'_>, scratch: &mut SpanScratch, out: &mut [f32]) {
        with_vectors!(self, attention, span(task, scratch, out));
    }
}
