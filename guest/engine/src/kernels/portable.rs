//! The products of a tile with rows of activations, in plain Rust: what every other instruction
//! set must equal bit for bit.
//!
//! The rule that fixes the bits: per block one exact integer sum, then
//! `sum = sum + (integer * (weight scale * activation scale))` and, for 4-bit weights,
//! `sum = sum + (minimum * activation sum)`, block after block, rounded at each operation.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tensor loop: fixed arrays of 8, and sums of 32 products below 2^20"
)]

use super::activation::ActivationBlock;
use super::packed::{ByteBlock, NibbleBlock, TILE};

/// One tile of 4-bit weights with one row of activations.
pub(super) fn nibble_tile(tile: &[NibbleBlock], input: &[ActivationBlock]) -> [f32; TILE] {
    let mut sums = [0.0; TILE];
    for (block, input) in tile.iter().zip(input) {
        let mut dots = [0_i32; TILE];
        for (at, chunk) in block.chunks.iter().enumerate() {
            let low = input.groups[at].to_le_bytes().map(u8::cast_signed);
            let high = input.groups[at + 4].to_le_bytes().map(u8::cast_signed);
            for (dot, four) in dots.iter_mut().zip(chunk.as_chunks::<4>().0) {
                for at in 0..4 {
                    *dot += i32::from(four[at] & 15) * i32::from(low[at]);
                    *dot += i32::from(four[at] >> 4) * i32::from(high[at]);
                }
            }
        }
        for lane in 0..TILE {
            sums[lane] += dots[lane] as f32 * (block.scales[lane] * input.scale);
            sums[lane] += block.minimums[lane] * input.sum;
        }
    }
    sums
}

/// One tile of 8-bit weights with one row of activations.
pub(super) fn byte_tile(tile: &[ByteBlock], input: &[ActivationBlock]) -> [f32; TILE] {
    let mut sums = [0.0; TILE];
    for (block, input) in tile.iter().zip(input) {
        let mut dots = [0_i32; TILE];
        for (chunk, group) in block.chunks.iter().zip(input.groups) {
            let group = group.to_le_bytes().map(u8::cast_signed);
            for (dot, four) in dots.iter_mut().zip(chunk.as_chunks::<4>().0) {
                for at in 0..4 {
                    *dot += i32::from(four[at].cast_signed()) * i32::from(group[at]);
                }
            }
        }
        for lane in 0..TILE {
            sums[lane] += dots[lane] as f32 * (block.scales[lane] * input.scale);
        }
    }
    sums
}
