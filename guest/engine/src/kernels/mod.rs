//! The arithmetic of the model: integer products of packed weights, and a little float work.
//!
//! Every result is the same, bit for bit, whatever the instruction set, the number of rows in a
//! call and the number of threads: one row of output is always computed by one thread in one
//! order. What is deliberately not here: the transformer, threads, memory of requests.

mod activation;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod float;
mod packed;
mod portable;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub(crate) use activation::{ActivationBlock, BLOCK, quantize};
pub(crate) use float::{add_scaled, angle, dot, exp, normalize, silu, softmax};
pub(crate) use packed::{Blocks, PackedMatrix, StoredLayout, TILE};

/// Rows of activations that a call of a kernel takes at once, when there are so many.
const ROWS: usize = 4;

/// The instruction set in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernels {
    #[cfg(target_arch = "x86_64")]
    avx2: Option<avx2::Avx2>,
}

impl Kernels {
    /// The best that this processor has.
    pub(crate) fn detect() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: avx2::Avx2::detect(),
        }
    }

    /// Plain Rust only, to compare with.
    #[cfg(test)]
    pub(crate) fn portable() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: None,
        }
    }

    /// The products of some tiles of a matrix with rows of activations. `inputs` holds whole rows
    /// of `matrix.blocks_per_row` blocks. For each row and tile, `put(row, tile, sums)` is called
    /// once, where tiles count from the start of the matrix.
    pub(crate) fn multiply(
        self,
        matrix: &PackedMatrix,
        tiles: Range<usize>,
        inputs: &[ActivationBlock],
        mut put: impl FnMut(usize, usize, &[f32; TILE]),
    ) {
        let width = matrix.blocks_per_row;
        let start = tiles.start.saturating_mul(width);
        let blocks = start..tiles.end.saturating_mul(width);
        match &matrix.blocks {
            Blocks::Nibbles(all) => {
                let chunks = all.get(blocks).unwrap_or_default().chunks_exact(width);
                for (tile, blocks) in tiles.zip(chunks) {
                    self.nibbles(blocks, inputs, |row, sums| put(row, tile, sums));
                }
            }
            Blocks::Bytes(all) => {
                let chunks = all.get(blocks).unwrap_or_default().chunks_exact(width);
                for (tile, blocks) in tiles.zip(chunks) {
                    self.bytes(blocks, inputs, |row, sums| put(row, tile, sums));
                }
            }
        }
    }

    fn nibbles(
        self,
        tile: &[packed::NibbleBlock],
        inputs: &[ActivationBlock],
        mut put: impl FnMut(usize, &[f32; TILE]),
    ) {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.avx2 {
            return in_groups(
                tile.len(),
                inputs,
                |four| avx2.nibble_tile(tile, four),
                |one| avx2.nibble_tile(tile, one),
                put,
            );
        }
        let rows = inputs.chunks_exact(tile.len());
        rows.enumerate()
            .for_each(|(row, input)| put(row, &portable::nibble_tile(tile, input)));
    }

    fn bytes(
        self,
        tile: &[packed::ByteBlock],
        inputs: &[ActivationBlock],
        mut put: impl FnMut(usize, &[f32; TILE]),
    ) {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = self.avx2 {
            return in_groups(
                tile.len(),
                inputs,
                |four| avx2.byte_tile(tile, four),
                |one| avx2.byte_tile(tile, one),
                put,
            );
        }
        let rows = inputs.chunks_exact(tile.len());
        rows.enumerate()
            .for_each(|(row, input)| put(row, &portable::byte_tile(tile, input)));
    }
}

/// Hands rows of `width` blocks to a kernel, four at a time and the rest one by one.
#[cfg(target_arch = "x86_64")]
fn in_groups<'a>(
    width: usize,
    inputs: &'a [ActivationBlock],
    four: impl Fn([&'a [ActivationBlock]; ROWS]) -> [[f32; TILE]; ROWS],
    one: impl Fn([&'a [ActivationBlock]; 1]) -> [[f32; TILE]; 1],
    mut put: impl FnMut(usize, &[f32; TILE]),
) {
    let mut rows = inputs.chunks_exact(width);
    let mut row = 0_usize;
    let mut emit = |sums: &[[f32; TILE]]| {
        for sums in sums {
            put(row, sums);
            row = row.saturating_add(1);
        }
    };
    while rows.len() >= ROWS {
        let group = std::array::from_fn(|_| rows.next().unwrap_or_default());
        emit(&four(group));
    }
    rows.for_each(|input| emit(&one([input])));
}
