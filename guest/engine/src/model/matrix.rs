//! One matrix of weights in whichever form it was stored, and the rows that it is multiplied with.

use zeroize::Zeroize;

use crate::kernels::{
    ActivationBlock, BLOCK, BlockRoom, BlockRows, FineMatrix, FromSuperblocks, Kernels,
    PackedMatrix, ShapeMismatch, StoredLayout, SuperLayout, TILE, WideLayout, WideMatrix,
    pack_superblocks,
};

/// How a matrix is stored in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Blocks of 32 weights.
    Blocks(StoredLayout),
    /// Blocks of 256 weights.
    Superblocks(SuperLayout),
    /// Floats.
    Wide(WideLayout),
}

/// A matrix of weights, output row by input column.
#[derive(Debug)]
pub(crate) enum Matrix {
    /// Blocks, and what products are multiplied with.
    Packed(PackedMatrix, Option<f32>),
    /// Fine blocks.
    Fine(FineMatrix),
    /// Floats.
    Wide(WideMatrix),
}

/// Rows as products take them: rounded to blocks, and as floats.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    blocks: Vec<ActivationBlock>,
    floats: Vec<f32>,
}

/// The rows of several [`Activations`].
pub(super) struct Inputs<'a> {
    blocks: BlockRows<'a>,
    floats: Vec<&'a [f32]>,
}

impl Activations {
    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.floats.clear();
    }

    /// Appends a row, whose length is a multiple of 32.
    pub(super) fn push(&mut self, kernels: Kernels, row: &[f32]) {
        kernels.quantize(row, &mut self.blocks);
        self.floats.extend_from_slice(row);
    }

    /// All rows, one after the other.
    pub(super) fn floats(&self) -> &[f32] {
        &self.floats
    }

    /// Numbers held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.floats.len()
    }
}

impl Zeroize for Activations {
    fn zeroize(&mut self) {
        self.blocks.zeroize();
        self.floats.zeroize();
    }
}

impl<'a> Inputs<'a> {
    /// As these matrices, all of one width, are multiplied with them.
    pub(super) fn of(
        all: impl Iterator<Item = &'a Activations> + Clone,
        matrices: &[&Matrix],
        kernels: Kernels,
        room: &'a mut BlockRoom,
    ) -> Self {
        let rounded = matrices.iter().find(|matrix| matrix.is_rounded());
        let width = rounded.map_or(0, |matrix| matrix.columns() / BLOCK);
        let blocks = all.clone().map(|one| one.blocks.as_slice()).collect();
        Self {
            blocks: kernels.rows(width, blocks, room),
            floats: all.map(|one| one.floats.as_slice()).collect(),
        }
    }

    /// Rows of so many columns.
    pub(super) fn rows(&self, columns: usize) -> usize {
        let floats = self.floats.iter().map(|floats| floats.len());
        floats.sum::<usize>().checked_div(columns).unwrap_or(0)
    }
}

impl Matrix {
    /// Repacks a stored matrix.
    ///
    /// # Errors
    /// `ShapeMismatch` when the columns do not fill whole blocks or the bytes are too few or many.
    pub(crate) fn pack(
        layout: Layout,
        bytes: &[u8],
        rows: usize,
        columns: usize,
    ) -> Result<Self, ShapeMismatch> {
        Ok(match layout {
            Layout::Blocks(layout) => {
                Self::Packed(PackedMatrix::pack(layout, bytes, rows, columns)?, None)
            }
            Layout::Superblocks(layout) => match pack_superblocks(layout, bytes, rows, columns)? {
                FromSuperblocks::Scaled(packed, unit) => Self::Packed(packed, Some(unit)),
                FromSuperblocks::Fine(fine) => Self::Fine(fine),
            },
            Layout::Wide(layout) => Self::Wide(WideMatrix::pack(layout, bytes, rows, columns)?),
        })
    }

    /// Output rows.
    const fn rows(&self) -> usize {
        match self {
            Self::Packed(packed, _) => packed.rows,
            Self::Fine(fine) => fine.rows,
            Self::Wide(wide) => wide.rows,
        }
    }

    /// Input columns.
    pub(crate) const fn columns(&self) -> usize {
        match self {
            Self::Packed(packed, _) => packed.blocks_per_row.saturating_mul(BLOCK),
            Self::Fine(fine) => fine.blocks_per_row.saturating_mul(BLOCK),
            Self::Wide(wide) => wide.columns,
        }
    }

    /// Tiles, the last perhaps not full.
    pub(crate) const fn tiles(&self) -> usize {
        self.rows().div_ceil(TILE)
    }

    /// Whether the weights were rounded to eight bits or fewer.
    pub(crate) const fn is_rounded(&self) -> bool {
        match self {
            Self::Packed(..) | Self::Fine(_) => true,
            Self::Wide(_) => false,
        }
    }

    /// Writes one row as floats; false when there is no such row.
    #[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
    pub(crate) fn read_row(&self, row: usize, out: &mut Vec<f32>) -> bool {
        match self {
            Self::Packed(packed, unit) => {
                let start = out.len();
                let read = packed.read_row(row, out);
                if let Some(unit) = unit {
                    let written = out.get_mut(start..).unwrap_or_default();
                    written.iter_mut().for_each(|weight| *weight *= unit);
                }
                read
            }
            Self::Fine(fine) => fine.read_row(row, out),
            Self::Wide(wide) => wide.read_row(row, out),
        }
    }

    /// The products of some tiles with all rows of `inputs`: `put(row, tile, sums)` once for each.
    #[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
    pub(super) fn multiply(
        &self,
        kernels: Kernels,
        tiles: std::ops::Range<usize>,
        inputs: &mut Inputs<'_>,
        mut put: impl FnMut(usize, usize, &[f32; TILE]),
    ) {
        match self {
            Self::Packed(packed, None) => kernels.multiply(packed, tiles, &mut inputs.blocks, put),
            Self::Packed(packed, Some(unit)) => {
                kernels.multiply(packed, tiles, &mut inputs.blocks, |row, tile, sums| {
                    put(row, tile, &sums.map(|sum| sum * unit));
                });
            }
            Self::Fine(fine) => kernels.multiply_fine(fine, tiles, &mut inputs.blocks, put),
            Self::Wide(wide) => kernels.multiply_wide(wide, tiles, &inputs.floats, put),
        }
    }
}

#[cfg(test)]
mod tests;
