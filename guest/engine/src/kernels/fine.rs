//! Matrices of Q4_K, Q5_K, Q6_K, Q5_0 and Q5_1.
//!
//! Q4_K becomes a matrix of [`AffineBlock`]s, as large as what is stored: their scales are f16, so
//! the products of f16 and 6 bits are rounded, after a power of two has been taken out of the
//! whole matrix so that the greatest is near the end of f16's range. That changes a weight by less
//! than one part in a hundred of a step of its quant. The others become [`FineBlock`]s: 8 bits,
//! a float scale for each sixteen columns, a minimum; exact.

use super::activation::{ActivationBlock, BLOCK, RAISE};
use super::packed::{AffineBlock, Blocks, Chunk, PackedMatrix, ShapeMismatch, TILE, to_half};
use super::superblock::{SubBlock, SuperLayout};
use super::{BlockRows, Kernels, in_groups};

/// 32 columns of a tile: weight = scale * quant + minimum.
#[derive(Debug, Clone)]
#[repr(C, align(32))]
pub(crate) struct FineBlock {
    /// Of the first and of the second sixteen columns, per row.
    pub(super) scales: [[f32; TILE]; 2],
    /// Per row.
    pub(super) minimums: [f32; TILE],
    /// One chunk per group of four columns; bytes are signed.
    pub(super) chunks: [Chunk; 8],
}

/// A matrix of fine blocks.
#[derive(Debug)]
pub(crate) struct FineMatrix {
    pub(crate) rows: usize,
    pub(crate) blocks_per_row: usize,
    blocks: Vec<FineBlock>,
}

/// A matrix of superblocks as the kernels read it.
#[derive(Debug)]
pub(crate) enum FromSuperblocks {
    /// From Q4_K, and what its products are multiplied with.
    Scaled(PackedMatrix, f32),
    /// From the others.
    Fine(FineMatrix),
}

/// Repacks a stored matrix. Rows missing from the last tile weigh nothing.
///
/// # Errors
/// `ShapeMismatch` when columns do not fill whole blocks or the bytes are too few or too many.
pub(crate) fn pack_superblocks(
    layout: SuperLayout,
    bytes: &[u8],
    rows: usize,
    columns: usize,
) -> Result<FromSuperblocks, ShapeMismatch> {
    let weights = layout.weights();
    let blocks = columns.checked_div(weights).unwrap_or(0);
    let row_bytes = blocks.saturating_mul(layout.bytes());
    let whole = rows > 0 && columns > 0 && columns.is_multiple_of(weights);
    if !whole || rows.checked_mul(row_bytes) != Some(bytes.len()) {
        return Err(ShapeMismatch);
    }
    let blocks_per_row = columns / BLOCK;
    let stored = Stored {
        layout,
        bytes,
        row_bytes,
        blocks_per_row,
    };
    if layout == SuperLayout::Q4K {
        let unit = stored.unit();
        let put = |block: &mut AffineBlock, lane: usize, sub: &SubBlock| {
            put_affine(block, lane, sub, unit)
        };
        let packed = PackedMatrix {
            rows,
            blocks_per_row,
            blocks: Blocks::Affine(stored.tiles(&EMPTY_AFFINE, put)),
        };
        return Ok(FromSuperblocks::Scaled(packed, unit));
    }
    Ok(FromSuperblocks::Fine(FineMatrix {
        rows,
        blocks_per_row,
        blocks: stored.tiles(&EMPTY_FINE, put_fine),
    }))
}

const EMPTY_AFFINE: AffineBlock = AffineBlock {
    scales: [0; TILE],
    minimums: [0; TILE],
    chunks: [[0; 4 * TILE]; 4],
};
const EMPTY_FINE: FineBlock = FineBlock {
    scales: [[0.0; TILE]; 2],
    minimums: [0.0; TILE],
    chunks: [[0; 4 * TILE]; 8],
};

/// A stored matrix whose length was checked.
struct Stored<'a> {
    layout: SuperLayout,
    bytes: &'a [u8],
    row_bytes: usize,
    blocks_per_row: usize,
}

impl Stored<'_> {
    fn block(&self, row: &[u8], at: usize) -> Option<SubBlock> {
        let blocks = self.layout.weights() / BLOCK;
        let mut stored = row.chunks_exact(self.layout.bytes());
        let stored = stored.nth(at.checked_div(blocks)?)?;
        self.layout.read(stored, at.checked_rem(blocks)?)
    }

    /// A power of two with which the greatest scale or minimum is between 2^14 and 2^15.
    fn unit(&self) -> f32 {
        let mut greatest = 0.0_f32;
        for row in self.bytes.chunks_exact(self.row_bytes) {
            let blocks = (0..self.blocks_per_row).filter_map(|at| self.block(row, at));
            greatest = blocks.fold(greatest, |most, sub| {
                most.max(sub.scales[0].abs()).max(sub.minimum.abs())
            });
        }
        if greatest < f32::MIN_POSITIVE || !greatest.is_finite() {
            return 1.0;
        }
        // The power of two at or below it, over 2^14; below 2^-126 the unit stays there.
        let power = f32::from_bits(greatest.to_bits() & 0x7f80_0000);
        (power / 16384.0).max(f32::MIN_POSITIVE)
    }

    /// All blocks, tile after tile.
    fn tiles<B: Clone>(&self, empty: &B, put: impl Fn(&mut B, usize, &SubBlock)) -> Vec<B> {
        let tile_bytes = self.row_bytes.saturating_mul(TILE);
        let tiles = self.bytes.chunks(tile_bytes);
        let mut packed = Vec::with_capacity(tiles.len().saturating_mul(self.blocks_per_row));
        for tile in tiles {
            for at in 0..self.blocks_per_row {
                let mut block = empty.clone();
                for (lane, row) in tile.chunks_exact(self.row_bytes).enumerate() {
                    if let Some(sub) = self.block(row, at) {
                        put(&mut block, lane, &sub);
                    }
                }
                packed.push(block);
            }
        }
        packed
    }
}

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "lanes below the tile's rows, places in arrays of 32"
)]
fn put_affine(block: &mut AffineBlock, lane: usize, sub: &SubBlock, unit: f32) {
    block.scales[lane] = to_half(sub.scales[0] / unit);
    block.minimums[lane] = to_half(sub.minimum / unit);
    for (group, chunk) in block.chunks.iter_mut().enumerate() {
        let both = |at: usize| {
            let (low, high) = (sub.quants[4 * group + at], sub.quants[16 + 4 * group + at]);
            low.cast_unsigned() | high.cast_unsigned() << 4
        };
        chunk.as_chunks_mut::<4>().0[lane] = std::array::from_fn(both);
    }
}

#[allow(clippy::indexing_slicing, reason = "lanes below the tile's rows")]
fn put_fine(block: &mut FineBlock, lane: usize, sub: &SubBlock) {
    for (scales, scale) in block.scales.iter_mut().zip(sub.scales) {
        scales[lane] = scale;
    }
    block.minimums[lane] = sub.minimum;
    let (fours, _) = sub.quants.as_chunks::<4>();
    for (chunk, four) in block.chunks.iter_mut().zip(fours) {
        chunk.as_chunks_mut::<4>().0[lane] = four.map(i8::cast_unsigned);
    }
}

impl FineMatrix {
    /// Writes one row as floats; false when there is no such row.
    #[allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "lanes below the tile's rows"
    )]
    pub(crate) fn read_row(&self, row: usize, out: &mut Vec<f32>) -> bool {
        if row >= self.rows {
            return false;
        }
        let (tile, lane) = (row / TILE, row % TILE);
        let blocks = self.blocks.chunks_exact(self.blocks_per_row).nth(tile);
        for block in blocks.unwrap_or_default() {
            for (group, chunk) in block.chunks.iter().enumerate() {
                let scale = block.scales[group / 4][lane];
                let four = chunk.as_chunks::<4>().0[lane];
                let weigh = |byte: u8| f32::from(byte.cast_signed()) * scale;
                out.extend(four.map(|byte| weigh(byte) + block.minimums[lane]));
            }
        }
        true
    }
}

impl Kernels {
    /// As [`Kernels::multiply`].
    pub(crate) fn multiply_fine(
        self,
        matrix: &FineMatrix,
        tiles: std::ops::Range<usize>,
        rows: &mut BlockRows<'_>,
        mut put: impl FnMut(usize, usize, &[f32; TILE]),
    ) {
        let width = matrix.blocks_per_row;
        let range = tiles.start.saturating_mul(width)..tiles.end.saturating_mul(width);
        let all = matrix.blocks.get(range).unwrap_or_default();
        #[cfg(target_arch = "x86_64")]
        if let Some((amx, room)) = &mut rows.tiles {
            return amx.multiply(all, width, tiles, room, put);
        }
        let inputs = &rows.inputs;
        for (tile, blocks) in tiles.zip(all.chunks_exact(width)) {
            let mut put = |row: usize, sums: &[f32; TILE]| put(row, tile, sums);
            #[cfg(target_arch = "x86_64")]
            if let Some(avx512) = self.avx512 {
                in_groups!(width, inputs, put, |rows| avx512.fine_tile(blocks, rows));
                continue;
            }
            #[cfg(target_arch = "x86_64")]
            if let Some(avx2) = self.avx2 {
                in_groups!(width, inputs, put, |rows| avx2.fine_tile(blocks, rows));
                continue;
            }
            in_groups!(width, inputs, put, |rows| fine_tile(blocks, rows, dots));
        }
    }
}

/// Integer sums of the first and of the second sixteen columns of a block.
pub(super) type Dots = [[i32; TILE]; 2];

/// One tile with `N` rows of activations; `dots` is exact, and the rest is in one order.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tensor loop: fixed arrays, block numbers below the length that is compared first"
)]
#[inline(always)]
pub(super) fn fine_tile<const N: usize>(
    tile: &[FineBlock],
    inputs: [&[ActivationBlock]; N],
    dots: impl Fn(&[Chunk; 8], &ActivationBlock) -> Dots,
) -> [[f32; TILE]; N] {
    let inputs = inputs.map(|input| &input[..tile.len()]);
    let mut sums = [[0.0_f32; TILE]; N];
    for (at, block) in tile.iter().enumerate() {
        for row in 0..N {
            let input = &inputs[row][at];
            let [first, second] = dots(&block.chunks, input);
            let (total, factor) = (input.total as f32, input.factor * (1.0 / RAISE));
            for lane in 0..TILE {
                let least = block.minimums[lane] * total;
                let part = (second[lane] as f32).mul_add(block.scales[1][lane], least);
                let part = (first[lane] as f32).mul_add(block.scales[0][lane], part);
                sums[row][lane] = part.mul_add(factor, sums[row][lane]);
            }
        }
    }
    sums
}

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "fixed arrays, sums of 16 products below 2^18"
)]
fn dots(chunks: &[Chunk; 8], input: &ActivationBlock) -> Dots {
    let mut dots = [[0; TILE]; 2];
    for (group, chunk) in chunks.iter().enumerate() {
        let activations = input.groups[group].to_le_bytes().map(u8::cast_signed);
        for (dot, four) in dots[group / 4].iter_mut().zip(chunk.as_chunks::<4>().0) {
            for at in 0..4 {
                *dot += i32::from(four[at].cast_signed()) * i32::from(activations[at]);
            }
        }
    }
    dots
}
