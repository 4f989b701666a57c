//! Weight matrices as the kernels read them: tiles of sixteen rows, so that vectors of sums belong
//! to rows and the float work of a block is shared by 512 weights. As large as what is stored.
//!
//! A block of a tile holds 32 columns of sixteen rows. Within it the columns stand in groups of
//! four, and a group of all rows fills 64 bytes: bytes `4 r .. 4 r + 4` belong to row `r`.
//! Source of the stored layouts: ggml `block_q4_0`, `block_q4_1`, `block_q8_0` (scales are f16;
//! nibble `j` of a 4-bit block is the low half of byte `j`, nibble `j + 16` its high half).

use super::activation::BLOCK;

/// Rows of a tile.
pub(crate) const TILE: usize = 16;

/// Bytes of a group of four columns of a tile; in 4 bits, of two groups.
pub(super) type Chunk = [u8; 4 * TILE];

/// Bytes of `block_q4_0`, `block_q4_1` and `block_q8_0`.
const Q4_0_BYTES: usize = 18;
const Q4_1_BYTES: usize = 20;
const Q8_0_BYTES: usize = 34;

/// 32 columns of sixteen rows in 4 bits: weight = scale * (quant - 8), quant from 0 to 15.
#[derive(Debug, Clone)]
#[repr(C, align(32))]
pub(crate) struct NibbleBlock {
    /// Per row, f16.
    pub(crate) scales: [u16; TILE],
    /// Low halves of chunk `c` are group `c`, high halves group `c + 4`.
    pub(crate) chunks: [Chunk; 4],
}

/// The same with minimums: weight = scale * quant + minimum.
#[derive(Debug, Clone)]
#[repr(C, align(32))]
pub(crate) struct AffineBlock {
    /// Per row, f16.
    pub(crate) scales: [u16; TILE],
    /// Per row, f16.
    pub(crate) minimums: [u16; TILE],
    /// As in `NibbleBlock`.
    pub(crate) chunks: [Chunk; 4],
}

/// 32 columns of sixteen rows in 8 bits: weight = scale * quant.
#[derive(Debug, Clone)]
#[repr(C, align(32))]
pub(crate) struct ByteBlock {
    /// Per row, f16.
    pub(crate) scales: [u16; TILE],
    /// One chunk per group; bytes are signed.
    pub(crate) chunks: [Chunk; 8],
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
    /// 4 bits around 8.
    Nibbles(Vec<NibbleBlock>),
    /// 4 bits with minimums.
    Affine(Vec<AffineBlock>),
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
                Blocks::Nibbles(pack(
                    bytes,
                    blocks_per_row,
                    Q4_0_BYTES,
                    &EMPTY_NIBBLES,
                    put_q4_0,
                ))
            }
            StoredLayout::Q4_1 => {
                source(Q4_1_BYTES)?;
                Blocks::Affine(pack(
                    bytes,
                    blocks_per_row,
                    Q4_1_BYTES,
                    &EMPTY_AFFINE,
                    put_q4_1,
                ))
            }
            StoredLayout::Q8_0 => {
                source(Q8_0_BYTES)?;
                Blocks::Bytes(pack(
                    bytes,
                    blocks_per_row,
                    Q8_0_BYTES,
                    &EMPTY_BYTES,
                    put_q8_0,
                ))
            }
        };
        Ok(Self {
            rows,
            blocks_per_row,
            blocks,
        })
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
                for block in blocks.get(range).unwrap_or_default() {
                    let scale = scale_of(&block.scales, lane);
                    read_nibbles(&block.chunks, lane, out, |q| (q - 8.0) * scale);
                }
            }
            Blocks::Affine(blocks) => {
                for block in blocks.get(range).unwrap_or_default() {
                    let scale = scale_of(&block.scales, lane);
                    let minimum = scale_of(&block.minimums, lane);
                    read_nibbles(&block.chunks, lane, out, |q| q * scale + minimum);
                }
            }
            Blocks::Bytes(blocks) => {
                for block in blocks.get(range).unwrap_or_default() {
                    let scale = scale_of(&block.scales, lane);
                    for chunk in &block.chunks {
                        let four = four_of(chunk, lane);
                        out.extend(four.map(|byte| f32::from(byte.cast_signed()) * scale));
                    }
                }
            }
        }
        true
    }
}

const EMPTY_NIBBLES: NibbleBlock = NibbleBlock {
    scales: [0; TILE],
    chunks: [[0; 4 * TILE]; 4],
};
const EMPTY_AFFINE: AffineBlock = AffineBlock {
    scales: [0; TILE],
    minimums: [0; TILE],
    chunks: [[0; 4 * TILE]; 4],
};
const EMPTY_BYTES: ByteBlock = ByteBlock {
    scales: [0; TILE],
    chunks: [[0; 4 * TILE]; 8],
};

/// Puts one stored block into the lane of a block of a tile; none when it is too short.
type Put<B> = fn(&mut B, usize, &[u8]) -> Option<()>;

/// Puts every stored block of `size` bytes, which `pack` counted, into its lane.
#[allow(
    clippy::arithmetic_side_effects,
    reason = "products of the counts that were compared with the length of the bytes"
)]
fn pack<B: Clone>(
    bytes: &[u8],
    blocks_per_row: usize,
    size: usize,
    empty: &B,
    put: Put<B>,
) -> Vec<B> {
    let row_bytes = blocks_per_row * size;
    let tiles = bytes.len().div_ceil(row_bytes * TILE);
    let mut packed = Vec::with_capacity(tiles * blocks_per_row);
    for tile in bytes.chunks(row_bytes * TILE) {
        for at in 0..blocks_per_row {
            let mut block = empty.clone();
            for (lane, row) in tile.chunks_exact(row_bytes).enumerate() {
                let stored = row.get(at * size..).and_then(|rest| rest.get(..size));
                stored.and_then(|stored| put(&mut block, lane, stored));
            }
            packed.push(block);
        }
    }
    packed
}

fn put_q4_0(block: &mut NibbleBlock, lane: usize, stored: &[u8]) -> Option<()> {
    let (scale, quants) = stored.split_first_chunk::<2>()?;
    *block.scales.get_mut(lane)? = u16::from_le_bytes(*scale);
    put_fours(&mut block.chunks, lane, quants)
}

fn put_q4_1(block: &mut AffineBlock, lane: usize, stored: &[u8]) -> Option<()> {
    let (scale, rest) = stored.split_first_chunk::<2>()?;
    let (minimum, quants) = rest.split_first_chunk::<2>()?;
    *block.scales.get_mut(lane)? = u16::from_le_bytes(*scale);
    *block.minimums.get_mut(lane)? = u16::from_le_bytes(*minimum);
    put_fours(&mut block.chunks, lane, quants)
}

fn put_q8_0(block: &mut ByteBlock, lane: usize, stored: &[u8]) -> Option<()> {
    let (scale, quants) = stored.split_first_chunk::<2>()?;
    *block.scales.get_mut(lane)? = u16::from_le_bytes(*scale);
    put_fours(&mut block.chunks, lane, quants)
}

fn put_fours(chunks: &mut [Chunk], lane: usize, quants: &[u8]) -> Option<()> {
    let (fours, _) = quants.as_chunks::<4>();
    for (chunk, four) in chunks.iter_mut().zip(fours) {
        *chunk.as_chunks_mut::<4>().0.get_mut(lane)? = *four;
    }
    Some(())
}

fn scale_of(scales: &[u16; TILE], lane: usize) -> f32 {
    half_to_float(scales.get(lane).copied().unwrap_or(0).to_le_bytes())
}

fn four_of(chunk: &Chunk, lane: usize) -> [u8; 4] {
    let (fours, _) = chunk.as_chunks::<4>();
    fours.get(lane).copied().unwrap_or_default()
}

fn read_nibbles(chunks: &[Chunk; 4], lane: usize, out: &mut Vec<f32>, weigh: impl Fn(f32) -> f32) {
    for shift in [0, 4] {
        for chunk in chunks {
            let four = four_of(chunk, lane);
            out.extend(four.map(|byte| weigh(f32::from((byte >> shift) & 15))));
        }
    }
}

/// An f16 as a float 2^112 times too small: what its bits are in the place of a float's. Exact for
/// every finite f16, and no float operation; `ActivationBlock::factor` is that much greater. An f16
/// that is not finite becomes a finite number; only a broken model has such scales.
#[inline(always)]
pub(super) const fn lowered(half: u16) -> f32 {
    f32::from_bits(((half.cast_signed() as i32).cast_unsigned() << 13) & 0x8fff_ffff)
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

/// Floats that become f16 at once.
pub(crate) const HALVED: usize = 64;

/// [`to_half`] of each value, as far as there is room.
#[inline(always)]
pub(super) fn halve(values: &[f32], out: &mut [u16; HALVED]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = to_half(*value);
    }
}

/// A float as f16, to the nearest, ties to even; infinite from 65520 on.
#[inline(always)]
pub(crate) fn to_half(value: f32) -> u16 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    // Normal: drop 13 bits with a carry that rounds to even, exponent 112 less.
    let odd = (magnitude >> 13) & 1;
    let rounded = magnitude.wrapping_add(0xfff).wrapping_add(odd);
    let normal = rounded.wrapping_sub(112 << 23) >> 13;
    // Subnormal: a sum with 0.5 leaves multiples of 2^-24 in the low bits, rounded to even.
    let small = (f32::from_bits(magnitude) + 0.5)
        .to_bits()
        .wrapping_sub(0x3f00_0000);
    let half = if magnitude < (113 << 23) {
        small
    } else {
        normal
    };
    let half = if magnitude >= 0x477f_f000 {
        0x7c00
    } else {
        half
    };
    let half = if magnitude > 0x7f80_0000 {
        0x7e00
    } else {
        half
    };
    #[allow(
        clippy::cast_possible_truncation,
        reason = "at most 0x7e00, and a sign"
    )]
    let half = (half | ((bits >> 16) & 0x8000)) as u16;
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_and_what_lies_between_becomes_the_nearest_half() {
        for bits in 0..0x7c00_u16 {
            let (this, next) = (half_to_float(bits.to_le_bytes()), bits + 1);
            assert_eq!(to_half(this), bits);
            assert_eq!(to_half(-this), bits | 0x8000);
            if next == 0x7c00 {
                continue;
            }
            let above = half_to_float(next.to_le_bytes());
            let middle = f32::midpoint(this, above);
            assert_eq!(to_half(middle), if bits % 2 == 0 { bits } else { next });
            assert_eq!(to_half(middle.next_down()), bits);
            assert_eq!(to_half(middle.next_up()), next);
        }
        assert_eq!(to_half(65_519.0), 0x7bff);
        assert_eq!(to_half(65_520.0), 0x7c00);
        assert_eq!(to_half(f32::NEG_INFINITY), 0xfc00);
        assert_eq!(to_half(f32::NAN) & 0x7fff, 0x7e00);
    }

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
        for row in 0..17_u8 {
            stored.extend([0x00, 0x3c, 0x00, 0xc0]); // scale 1, minimum -2
            stored.extend((0..16_u8).map(|at| (at ^ row) & 15 | (15 - at) << 4));
        }
        let packed = PackedMatrix::pack(StoredLayout::Q4_1, &stored, 17, 32).unwrap();
        assert_eq!(packed.rows.div_ceil(TILE), 2);
        for row in 0..17_u8 {
            let mut out = Vec::new();
            assert!(packed.read_row(row.into(), &mut out));
            let low = (0..16_u8).map(|at| f32::from((at ^ row) & 15) - 2.0);
            let high = (0..16_u8).map(|at| f32::from(15 - at) - 2.0);
            assert_eq!(out, low.chain(high).collect::<Vec<_>>());
        }
        assert!(!packed.read_row(17, &mut Vec::new()));
    }
}
