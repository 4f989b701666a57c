//! Matrices of F32, F16 and BF16: products of floats with floats, nothing rounded on the way in.
//!
//! A tile holds its rows column by column, so that a vector of weights belongs to one column of
//! all its rows. A row's product is a chain of fused products from its first column to its last,
//! whatever the instruction set. What is deliberately not here: integers.

use super::packed::{ShapeMismatch, TILE, half_to_float};
use super::{Kernels, ROWS};

/// Columns that become floats at once in plain Rust.
const WIDENED: usize = 32;

/// Element types of a stored matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WideLayout {
    /// IEEE 754 binary32, little endian.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
}

impl WideLayout {
    /// Bytes of an element.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// Columns of all tiles, tile after tile.
#[derive(Debug)]
enum Columns {
    F32(Vec<[f32; TILE]>),
    F16(Vec<[u16; TILE]>),
    Bf16(Vec<[u16; TILE]>),
}

/// A matrix of floats.
#[derive(Debug)]
pub(crate) struct WideMatrix {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    all: Columns,
}

/// The float of an f16.
#[inline(always)]
pub(super) fn half(bits: u16) -> f32 {
    half_to_float(bits.to_le_bytes())
}

/// The float whose upper half this is.
#[inline(always)]
pub(super) fn brain(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

impl WideMatrix {
    /// Repacks a stored matrix. Rows missing from the last tile weigh nothing.
    ///
    /// # Errors
    /// `ShapeMismatch` when the bytes are too few or too many.
    pub(crate) fn pack(
        layout: WideLayout,
        bytes: &[u8],
        rows: usize,
        columns: usize,
    ) -> Result<Self, ShapeMismatch> {
        let wanted = rows
            .checked_mul(columns)
            .and_then(|count| count.checked_mul(layout.bytes()));
        if rows == 0 || columns == 0 || wanted != Some(bytes.len()) {
            return Err(ShapeMismatch);
        }
        let all = match layout {
            WideLayout::F32 => Columns::F32(turn(bytes, columns, f32::from_le_bytes)),
            WideLayout::F16 => Columns::F16(turn(bytes, columns, u16::from_le_bytes)),
            WideLayout::Bf16 => Columns::Bf16(turn(bytes, columns, u16::from_le_bytes)),
        };
        Ok(Self { rows, columns, all })
    }

    /// Writes one row as floats; false when there is no such row.
    pub(crate) fn read_row(&self, row: usize, out: &mut Vec<f32>) -> bool {
        if row >= self.rows {
            return false;
        }
        let (tile, lane) = (row / TILE, row % TILE);
        let start = tile.saturating_mul(self.columns);
        macro_rules! extend {
            ($all:ident, $widen:expr) => {
                out.extend(
                    $all.iter()
                        .skip(start)
                        .take(self.columns)
                        .filter_map(|column| column.get(lane).map(|element| $widen(*element))),
                )
            };
        }
        match &self.all {
            Columns::F32(all) => extend!(all, |float| float),
            Columns::F16(all) => extend!(all, half),
            Columns::Bf16(all) => extend!(all, brain),
        }
        true
    }
}

/// Rows of stored elements as columns of tiles.
fn turn<const N: usize, T: Copy + Default>(
    bytes: &[u8],
    columns: usize,
    read: impl Fn([u8; N]) -> T,
) -> Vec<[T; TILE]> {
    let row_bytes = columns.saturating_mul(N);
    let tiles = bytes.chunks(row_bytes.saturating_mul(TILE));
    let mut turned = Vec::with_capacity(tiles.len().saturating_mul(columns));
    for tile in tiles {
        let first = turned.len();
        turned.resize(first.saturating_add(columns), [T::default(); TILE]);
        let target = turned.get_mut(first..).unwrap_or_default();
        for (lane, row) in tile.chunks_exact(row_bytes).enumerate() {
            for (column, element) in target.iter_mut().zip(row.as_chunks::<N>().0) {
                if let Some(place) = column.get_mut(lane) {
                    *place = read(*element);
                }
            }
        }
    }
    turned
}

impl Kernels {
    /// As [`Kernels::multiply`], from rows of `matrix.columns` floats.
    pub(crate) fn multiply_wide(
        self,
        matrix: &WideMatrix,
        tiles: std::ops::Range<usize>,
        inputs: &[&[f32]],
        mut put: impl FnMut(usize, usize, &[f32; TILE]),
    ) {
        let width = matrix.columns;
        let range = tiles.start.saturating_mul(width)..tiles.end.saturating_mul(width);
        macro_rules! each_tile {
            ($all:ident, $kernel:ident, $wrap:expr) => {{
                let chunks = $all.get(range).unwrap_or_default().chunks_exact(width);
                for (tile, columns) in tiles.zip(chunks) {
                    let mut put = |row: usize, sums: &[f32; TILE]| put(row, tile, sums);
                    #[cfg(target_arch = "x86_64")]
                    if let Some(avx512) = self.avx512 {
                        in_rows(width, inputs, &mut put, |rows, sums| {
                            avx512.$kernel(columns, rows, sums)
                        });
                        continue;
                    }
                    #[cfg(target_arch = "x86_64")]
                    if let Some(avx2) = self.avx2 {
                        in_rows(width, inputs, &mut put, |rows, sums| {
                            avx2.$kernel(columns, rows, sums)
                        });
                        continue;
                    }
                    in_rows(width, inputs, &mut put, |rows, sums| {
                        wide_tile(columns, rows, sums, $wrap)
                    });
                }
            }};
        }
        match &matrix.all {
            Columns::F32(all) => each_tile!(all, wide_f32, |float| float),
            Columns::F16(all) => each_tile!(all, wide_f16, half),
            Columns::Bf16(all) => each_tile!(all, wide_bf16, brain),
        }
    }
}

/// Hands up to four rows at a time to a kernel.
fn in_rows<'a>(
    width: usize,
    inputs: &[&'a [f32]],
    put: &mut impl FnMut(usize, &[f32; TILE]),
    kernel: impl Fn(&[&'a [f32]], &mut [[f32; TILE]; ROWS]),
) {
    let mut row = 0_usize;
    for input in inputs {
        let mut rows = input.chunks_exact(width);
        while rows.len() > 0 {
            let count = rows.len().min(ROWS);
            let group: [&[f32]; ROWS] = std::array::from_fn(|_| rows.next().unwrap_or_default());
            let mut sums = [[0.0; TILE]; ROWS];
            kernel(group.get(..count).unwrap_or_default(), &mut sums);
            for sums in sums.iter().take(count) {
                put(row, sums);
                row = row.saturating_add(1);
            }
        }
    }
}

/// One tile with one to four rows of floats.
#[inline(always)]
pub(super) fn wide_tile<T: Copy>(
    columns: &[[T; TILE]],
    rows: &[&[f32]],
    sums: &mut [[f32; TILE]; ROWS],
    widen: impl Fn(T) -> f32,
) {
    match rows {
        [a, b, c, d] => chain(columns, [a, b, c, d], sums, widen),
        [a, b, c] => chain(columns, [a, b, c], sums, widen),
        [a, b] => chain(columns, [a, b], sums, widen),
        [a] => chain(columns, [a], sums, widen),
        _ => {}
    }
}

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tensor loop: fixed arrays, columns below the length that is compared first"
)]
#[inline(always)]
fn chain<const N: usize, T: Copy>(
    columns: &[[T; TILE]],
    rows: [&[f32]; N],
    out: &mut [[f32; TILE]; ROWS],
    widen: impl Fn(T) -> f32,
) {
    let rows = rows.map(|row| &row[..columns.len()]);
    let mut sums = [[0.0_f32; TILE]; N];
    // As floats some columns at a time: the loop over all their elements becomes vectors.
    let mut floats = [[0.0_f32; TILE]; WIDENED];
    for (part, columns) in columns.chunks(WIDENED).enumerate() {
        let all = columns.as_flattened().iter();
        for (float, element) in floats.as_flattened_mut().iter_mut().zip(all) {
            *float = widen(*element);
        }
        for (at, weights) in floats[..columns.len()].iter().enumerate() {
            for row in 0..N {
                let value = rows[row][part * WIDENED + at];
                for lane in 0..TILE {
                    sums[row][lane] = weights[lane].mul_add(value, sums[row][lane]);
                }
            }
        }
    }
    out[..N].copy_from_slice(&sums);
}
