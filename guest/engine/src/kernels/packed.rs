//! Weight matrices as the kernels read them: tiles of eight rows, so that one vector of eight
//! sums belongs to eight rows and the float work of a block is shared by 256 weights.
//!
//! A block of a tile holds 32 columns of eight rows. Within it the columns stand in groups of
//! four, and a group of all eight rows fills 32 bytes: bytes `4 r .. 4 r + 4` belong to row `r`.
//! Source of the stored layouts: ggml `block_q4_0`, `block_q4_1`, `block_q8_0` (scales are f16;
//! nibble `j` of a 4-bit block is the low half of byte `j`, nibble `j + 16` its high half).

use super::activation::BLOCK;

/// Rows of a tile.
pub(crate) const TILE: usize = 8;

/// Bytes of `block_q4_0`, `block_q4_1` and `block_q8_0`.
const Q4_0_BYTES: usize = 18;
const Q4_1_BYTES: usize = 20;
const Q8_0_BYTES: usize = 34;

/// 32 columns of eight rows in 4 bits: weight = scale * quant + minimum, quant from 0 to 15.
#[derive(Debug, Clone)]
#[repr(C)]
pub(crate) struct NibbleBlock {
    /// Per row.
    pub(crate) scales: [f32; TILE],
    /// Per row.
    pub(crate) minimums: [f32; TILE],
    /// Low halves of chunk `c` are group `c`, high halves group `c + 4`.
    pub(crate) chunks: [[u8; 32]; 4],
}

/// 32 columns of eight rows in 8 bits: weight = scale * quant.
#[derive(Debug, Clone)]
#[repr(C)]
pub(crate) struct ByteBlock {
    /// Per row.
    pub(crate) scales: [f32; TILE],
    /// One chunk per group; bytes are signed.
    pub(crate) chunks: [[u8; 32]; 8],
}

/// How the blocks of a stored matrix are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredLayout {
    /// `block_q4_0`.
    Q4_0,
    /// `block_q4_1`.
    Q4_1,
    /// `block_q8_0`.
    Q8_0,
}

/// The blocks of all tiles, tile after tile.
#[derive(Debug)]
pub(crate) enum Blocks {
    /// 4 bits.
    Nibbles(Vec<NibbleBlock>),
    /// 8 bits.
    Bytes(Vec<ByteBlock>),
}

/// A matrix of weights, row-major in the mathematical sense: output row by input column.
#[derive(Debug)]
pub(crate) struct PackedMatrix {
    pub(crate) rows: usize,
    pub(crate) blocks_per_row: usize,
    pub(crate) blocks: Blocks,
}

/// The stored bytes are not those of a matrix of the wanted shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShapeMismatch;

impl PackedMatrix {
    /// Repacks a stored matrix. Rows missing from the last tile weigh nothing.
    ///
    /// # Errors
    /// `ShapeMismatch` when columns are no multiple of 32 or the bytes are too few or too many.
    pub(crate) fn pack(
        layout: StoredLayout,
        bytes: &[u8],
        rows: usize,
        columns: usize,
    ) -> Result<Self, ShapeMismatch> {
        let blocks_per_row = columns / BLOCK;
        if rows == 0 || blocks_per_row == 0 || !columns.is_multiple_of(BLOCK) {
            return Err(ShapeMismatch);
        }
        let source = |size: usize| {
            let wanted = rows
                .checked_mul(blocks_per_row)
                .and_then(|count| count.checked_mul(size));
            (wanted == Some(bytes.len()))
                .then_some(())
                .ok_or(ShapeMismatch)
        };
        let blocks = match layout {
            StoredLayout::Q4_0 => {
                source(Q4_0_BYTES)?;
                Blocks::Nibbles(pack_nibbles(bytes, blocks_per_row, Q4_0_BYTES, split_q4_0))
            }
            StoredLayout::Q4_1 => {
                source(Q4_1_BYTES)?;
                Blocks::Nibbles(pack_nibbles(bytes, blocks_per_row, Q4_1_BYTES, split_q4_1))
            }
            StoredLayout::Q8_0 => {
                source(Q8_0_BYTES)?;
                Blocks::Bytes(pack_bytes(bytes, blocks_per_row))
            }
        };
        Ok(Self {
            rows,
            blocks_per_row,
            blocks,
        })
    }

    /// Tiles, the last perhaps not full.
    pub(crate) const fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE)
    }

    /// Writes one row as floats; false when there is no such row.
    pub(crate) fn read_row(&self, row: usize, out: &mut Vec<f32>) -> bool {
        if row >= self.rows {
            return false;
        }
        let (tile, lane) = (row / TILE, row % TILE);
        let start = tile.saturating_mul(self.blocks_per_row);
        let range = start..start.saturating_add(self.blocks_per_row);
        match &self.blocks {
            Blocks::Nibbles(blocks) => {
                let blocks = blocks.get(range).unwrap_or_default();
                blocks
                    .iter()
                    .for_each(|block| read_nibbles(block, lane, out));
            }
            Blocks::Bytes(blocks) => {
                let blocks = blocks.get(range).unwrap_or_default();
                blocks.iter().for_each(|block| read_bytes(block, lane, out));
            }
        }
        true
    }
}

/// Scale, minimum and the 16 bytes of quants of one stored 4-bit block.
type Split = fn(&[u8]) -> Option<(f32, f32, &[u8; 16])>;

fn split_q4_0(block: &[u8]) -> Option<(f32, f32, &[u8; 16])> {
    let (scale, rest) = block.split_first_chunk::<2>()?;
    let scale = half_to_float(*scale);
    Some((scale, scale * -8.0, rest.first_chunk()?))
}

fn split_q4_1(block: &[u8]) -> Option<(f32, f32, &[u8; 16])> {
    let (scale, rest) = block.split_first_chunk::<2>()?;
    let (minimum, rest) = rest.split_first_chunk::<2>()?;
    Some((
        half_to_float(*scale),
        half_to_float(*minimum),
        rest.first_chunk()?,
    ))
}

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "lanes below 8 in arrays of 8, block numbers below the counts checked by `pack`"
)]
fn pack_nibbles(
    bytes: &[u8],
    blocks_per_row: usize,
    size: usize,
    split: Split,
) -> Vec<NibbleBlock> {
    let row_bytes = blocks_per_row * size;
    let tile_bytes = row_bytes * TILE;
    let empty = NibbleBlock {
        scales: [0.0; TILE],
        minimums: [0.0; TILE],
        chunks: [[0; 32]; 4],
    };
    let tiles = bytes.len().div_ceil(tile_bytes);
    let mut packed = vec![empty; tiles * blocks_per_row];
    let targets = packed.chunks_exact_mut(blocks_per_row);
    for (target, tile) in targets.zip(bytes.chunks(tile_bytes)) {
        for (lane, row) in tile.chunks_exact(row_bytes).enumerate() {
            for (block, stored) in target.iter_mut().zip(row.chunks_exact(size)) {
                let Some((scale, minimum, quants)) = split(stored) else {
                    continue;
                };
                block.scales[lane] = scale;
                block.minimums[lane] = minimum;
                let (fours, _) = quants.as_chunks::<4>();
                for (chunk, four) in block.chunks.iter_mut().zip(fours) {
                    chunk.as_chunks_mut::<4>().0[lane] = *four;
                }
            }
        }
    }
    packed
}

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "lanes below 8 in arrays of 8, block numbers below the counts checked by `pack`"
)]
fn pack_bytes(bytes: &[u8], blocks_per_row: usize) -> Vec<ByteBlock> {
    let row_bytes = blocks_per_row * Q8_0_BYTES;
    let empty = ByteBlock {
        scales: [0.0; TILE],
        chunks: [[0; 32]; 8],
    };
    let tiles = bytes.len().div_ceil(row_bytes * TILE);
    let mut packed = vec![empty; tiles * blocks_per_row];
    let targets = packed.chunks_exact_mut(blocks_per_row);
    for (target, tile) in targets.zip(bytes.chunks(row_bytes * TILE)) {
        for (lane, row) in tile.chunks_exact(row_bytes).enumerate() {
            for (block, stored) in target.iter_mut().zip(row.as_chunks::<Q8_0_BYTES>().0) {
                let Some((scale, quants)) = stored.split_first_chunk::<2>() else {
                    continue;
                };
                block.scales[lane] = half_to_float(*scale);
                let (fours, _) = quants.as_chunks::<4>();
                for (chunk, four) in block.chunks.iter_mut().zip(fours) {
                    chunk.as_chunks_mut::<4>().0[lane] = *four;
                }
            }
        }
    }
    packed
}

#[allow(clippy::indexing_slicing, reason = "lanes below 8 in arrays of 8")]
fn read_nibbles(block: &NibbleBlock, lane: usize, out: &mut Vec<f32>) {
    let (scale, minimum) = (block.scales[lane], block.minimums[lane]);
    for shift in [0, 4] {
        for chunk in &block.chunks {
            let four = chunk.as_chunks::<4>().0[lane];
            out.extend(four.map(|byte| f32::from((byte >> shift) & 15) * scale + minimum));
        }
    }
}

#[allow(clippy::indexing_slicing, reason = "lanes below 8 in arrays of 8")]
fn read_bytes(block: &ByteBlock, lane: usize, out: &mut Vec<f32>) {
    for chunk in &block.chunks {
        let four = chunk.as_chunks::<4>().0[lane];
        out.extend(four.map(|byte| f32::from(byte.cast_signed()) * block.scales[lane]));
    }
}

/// IEEE 754 binary16, little endian, to binary32; exact.
pub(crate) fn half_to_float(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let sign = (bits & 0x8000) << 16;
    let rest = (bits & 0x7fff) << 13;
    let magnitude = if bits & 0x7c00 == 0x7c00 {
        f32::from_bits(rest | 0x7f80_0000)
    } else {
        // Taken as binary32 the exponent is 112 too small; the product is exact, subnormals too.
        f32::from_bits(rest) * f32::from_bits((127 + 112) << 23)
    };
    f32::from_bits(magnitude.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_becomes_the_float_of_the_same_value() {
        for bits in 0..=u16::MAX {
            let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
            let magnitude = match exponent {
                0 => fraction * 2_f64.powi(-24),
                31 if fraction == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
            };
            let expected = if bits >> 15 == 1 {
                -magnitude
            } else {
                magnitude
            };
            let found = f64::from(half_to_float(bits.to_le_bytes()));
            assert!(
                found == expected || (found.is_nan() && expected.is_nan()),
                "{bits:04x}"
            );
        }
    }

    #[test]
    fn refuses_bytes_that_are_not_the_matrix() {
        for (bytes, rows, columns) in [
            (20, 1, 31),
            (20, 1, 64),
            (20, 2, 32),
            (0, 0, 32),
            (21, 1, 32),
        ] {
            let packed = PackedMatrix::pack(StoredLayout::Q4_1, &vec![0; bytes], rows, columns);
            assert_eq!(
                packed.err(),
                Some(ShapeMismatch),
                "{bytes} {rows} {columns}"
            );
        }
    }

    #[test]
    fn rows_come_back_as_the_stored_layout_says() {
        let mut stored = Vec::new();
        for row in 0..9_u8 {
            stored.extend([0x00, 0x3c, 0x00, 0xc0]); // scale 1, minimum -2
            stored.extend((0..16_u8).map(|at| (at ^ row) & 15 | (15 - at) << 4));
        }
        let packed = PackedMatrix::pack(StoredLayout::Q4_1, &stored, 9, 32).unwrap();
        assert_eq!(packed.tiles(), 2);
        for row in 0..9_u8 {
            let mut out = Vec::new();
            assert!(packed.read_row(row.into(), &mut out));
            let low = (0..16_u8).map(|at| f32::from((at ^ row) & 15) - 2.0);
            let high = (0..16_u8).map(|at| f32::from(15 - at) - 2.0);
            assert_eq!(out, low.chain(high).collect::<Vec<_>>());
        }
        assert!(!packed.read_row(9, &mut Vec::new()));
    }
}
