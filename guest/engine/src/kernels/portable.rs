//! The products of a tile with rows of activations, in plain Rust: what every other instruction
//! set must equal bit for bit.
//!
//! The rule that fixes the bits: per block one exact integer sum, then
//! `sum = fma(integer * weight scale, activation factor, sum)`, where with minimums the first
//! operand is `fma(integer, weight scale, minimum * activation total)`; block after block.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tensor loop: fixed arrays of a tile, and sums of 32 products below 2^20"
)]

use super::activation::ActivationBlock;
use super::packed::{AffineBlock, ByteBlock, Chunk, NibbleBlock, TILE, lowered};

/// One tile of 4-bit weights around 8 with one row of activations.
pub(super) fn nibble_tile(tile: &[NibbleBlock], input: &[ActivationBlock]) -> [f32; TILE] {
    let mut sums = [0.0_f32; TILE];
    for (block, input) in tile.iter().zip(input) {
        let dots = nibble_dots(&block.chunks, input);
        for lane in 0..TILE {
            let part = (dots[lane] - 8 * input.total) as f32 * lowered(block.scales[lane]);
            sums[lane] = part.mul_add(input.factor, sums[lane]);
        }
    }
    sums
}

/// One tile of 4-bit weights with minimums with one row of activations.
pub(super) fn affine_tile(tile: &[AffineBlock], input: &[ActivationBlock]) -> [f32; TILE] {
    let mut sums = [0.0_f32; TILE];
    for (block, input) in tile.iter().zip(input) {
        let dots = nibble_dots(&block.chunks, input);
        for lane in 0..TILE {
            let least = lowered(block.minimums[lane]) * input.total as f32;
            let part = (dots[lane] as f32).mul_add(lowered(block.scales[lane]), least);
            sums[lane] = part.mul_add(input.factor, sums[lane]);
        }
    }
    sums
}

/// One tile of 8-bit weights with one row of activations.
pub(super) fn byte_tile(tile: &[ByteBlock], input: &[ActivationBlock]) -> [f32; TILE] {
    let mut sums = [0.0_f32; TILE];
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
            let part = dots[lane] as f32 * lowered(block.scales[lane]);
            sums[lane] = part.mul_add(input.factor, sums[lane]);
        }
    }
    sums
}

fn nibble_dots(chunks: &[Chunk; 4], input: &ActivationBlock) -> [i32; TILE] {
    let mut dots = [0_i32; TILE];
    for (at, chunk) in chunks.iter().enumerate() {
        let low = input.groups[at].to_le_bytes().map(u8::cast_signed);
        let high = input.groups[at + 4].to_le_bytes().map(u8::cast_signed);
        for (dot, four) in dots.iter_mut().zip(chunk.as_chunks::<4>().0) {
            for at in 0..4 {
                *dot += i32::from(four[at] & 15) * i32::from(low[at]);
                *dot += i32::from(four[at] >> 4) * i32::from(high[at]);
            }
        }
    }
    dots
}
