//! Weights from rows of floats into their arena, in the order in which the kernels take them:
//! `kernels/packed.cuh`. Floats are rounded to 16 bits, to even.
//!
//! What crosses at once is many megabytes: small copies cost most in confidential mode. What is
//! deliberately not here: a file, and 8-bit weights, which need scales of their own.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "places inside matrices of a checked shape, below 2^40"
)]

use crate::device::{Device, DeviceError};
use crate::layout::{Matrix, Region};
use crate::shape::Precision;

/// Rows of a tile.
pub const TILE: usize = 16;

/// Columns of a chunk.
const CHUNK: usize = 32;

/// Bytes that cross at once, about: a tile more at most.
const CROSSING: usize = 32 << 20;

/// Rounds to 16 bits, to even; what is not a number stays none.
#[must_use]
pub const fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = match value.is_nan() {
        true => bits | 0x0040_0000,
        false => bits.wrapping_add(0x7fff + (bits >> 16 & 1)),
    };
    let [_, _, low, high] = rounded.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// Appends sixteen rows, one after the other in `rows`: chunk by chunk of 32 columns, first eight
/// rows, then eight, and of each row the eight columns of each lane of a warp.
pub fn pack_tile(rows: &[f32], columns: usize, out: &mut Vec<u8>) {
    for chunk in 0..columns / CHUNK {
        for half in 0..2 {
            for lane in 0..32 {
                let row = half * 8 + lane / 4;
                let column = chunk * CHUNK + lane % 4 * 8;
                let from = row * columns + column;
                let eight = rows.get(from..from + 8).unwrap_or(&[0.0; 8]);
                out.extend(eight.iter().flat_map(|value| bf16(*value).to_le_bytes()));
            }
        }
    }
}

/// Writes a matrix whose rows `row` appends, each as long as the matrix is wide.
///
/// # Errors
/// `Row` for a row that is not there, `Precision` for 8-bit weights, those of the device.
pub fn write_matrix<D: Device>(
    device: &mut D,
    matrix: &Matrix,
    mut row: impl FnMut(usize, &mut Vec<f32>) -> bool,
) -> Result<(), DeviceError> {
    if matrix.precision != Precision::Bf16 {
        return Err(DeviceError::Precision);
    }
    let (count, columns) = (matrix.rows as usize, matrix.columns as usize);
    let mut stream = Stream::new(device, matrix.weights);
    let mut rows = Vec::with_capacity(TILE * columns);
    for first in (0..count).step_by(TILE) {
        rows.clear();
        for at in first..(first + TILE).min(count) {
            whole(&mut rows, columns, |out| row(at, out))?;
        }
        rows.resize(TILE * columns, 0.0);
        pack_tile(&rows, columns, &mut stream.waiting);
        stream.send(CROSSING)?;
    }
    stream.send(1)
}

/// Writes rows of 16-bit numbers one after the other, as the embedding lies.
///
/// # Errors
/// As of [`write_matrix`].
pub fn write_rows<D: Device>(
    device: &mut D,
    to: Region,
    (count, columns): (usize, usize),
    mut row: impl FnMut(usize, &mut Vec<f32>) -> bool,
) -> Result<(), DeviceError> {
    let mut stream = Stream::new(device, to);
    let mut one = Vec::with_capacity(columns);
    for at in 0..count {
        one.clear();
        whole(&mut one, columns, |out| row(at, out))?;
        let bytes = one.iter().flat_map(|value| bf16(*value).to_le_bytes());
        stream.waiting.extend(bytes);
        stream.send(CROSSING)?;
    }
    stream.send(1)
}

/// Writes floats.
///
/// # Errors
/// `Bounds` when they are not as many as there is room for, those of the device.
pub fn write_floats<D: Device>(
    device: &mut D,
    to: Region,
    floats: &[f32],
) -> Result<(), DeviceError> {
    let bytes: Vec<u8> = floats
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    if bytes.len() as u64 != to.bytes {
        return Err(DeviceError::Bounds);
    }
    device.write(to, &bytes)
}

fn whole(
    rows: &mut Vec<f32>,
    columns: usize,
    read: impl FnOnce(&mut Vec<f32>) -> bool,
) -> Result<(), DeviceError> {
    let before = rows.len();
    let good = read(rows) && rows.len() == before + columns;
    good.then_some(()).ok_or(DeviceError::Row)
}

/// Bytes on their way to a region, from its start on.
struct Stream<'d, D> {
    device: &'d mut D,
    to: Region,
    sent: u64,
    waiting: Vec<u8>,
}

impl<'d, D: Device> Stream<'d, D> {
    const fn new(device: &'d mut D, to: Region) -> Self {
        Self {
            device,
            to,
            sent: 0,
            waiting: Vec::new(),
        }
    }

    /// Sends what waits, if it is so much.
    fn send(&mut self, least: usize) -> Result<(), DeviceError> {
        if self.waiting.len() < least {
            return Ok(());
        }
        let bytes = self.waiting.len() as u64;
        if self.sent + bytes > self.to.bytes {
            return Err(DeviceError::Bounds);
        }
        let part = Region {
            offset: self.to.offset + self.sent,
            bytes,
            ..self.to
        };
        self.device.write(part, &self.waiting)?;
        self.sent += bytes;
        self.waiting.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::indexing_slicing,
        clippy::cast_precision_loss,
        reason = "tests state claims; a panic is the failure"
    )]

    use super::*;

    #[test]
    fn sixteen_bits_are_rounded_to_even_and_keep_what_is_no_number() {
        let cases = [
            (1.0, 0x3f80),
            (-2.0, 0xc000),
            (1.0 + 1.0 / 256.0, 0x3f80),
            (1.0 + 3.0 / 256.0, 0x3f82),
            (f32::INFINITY, 0x7f80),
            (f32::MAX, 0x7f80),
        ];
        for (value, bits) in cases {
            assert_eq!(bf16(value), bits, "{value}");
        }
        for nan in [
            f32::NAN,
            f32::from_bits(0xffff_ffff),
            f32::from_bits(0x7f80_0001),
        ] {
            let back = f32::from_bits(u32::from(bf16(nan)) << 16);
            assert!(back.is_nan());
        }
    }

    #[test]
    fn a_tile_lies_as_the_lanes_of_a_warp_take_it() {
        // Row r, column c holds 128 r + c, which 16 bits hold exactly for these rows of 64 columns.
        let rows: Vec<f32> = (0..TILE * 64)
            .map(|at| (at / 64 * 8 + at % 64 / 8) as f32)
            .collect();
        let mut packed = Vec::new();
        pack_tile(&rows, 64, &mut packed);
        assert_eq!(packed.len(), 2 * TILE * 64);
        let (numbers, _) = packed.as_chunks::<2>();
        // The place of each number as kernels/seeded.cu states it.
        for (i, bytes) in numbers.iter().enumerate() {
            let (lane, half, block) = (i / 8 % 32, i / 256 % 2, i / 512);
            let (row, column) = (half * 8 + lane / 4, block * 32 + lane % 4 * 8 + i % 8);
            let value = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
            assert_eq!(value, (row * 8 + column / 8) as f32, "{i}");
        }
    }
}
