//! The stored superblocks of 256 weights, read as eight blocks of 32; and blocks of five bits.
//!
//! Source of the layouts: ggml `block_q5_0`, `block_q5_1`, `block_q4_K`, `block_q5_K`, `block_q6_K`
//! (`ggml-common.h`), where
//! scales of a superblock are integers of 6 or 8 bits times one f16. A weight is
//! `scale * quant + minimum`; products `f16 * integer` fit a float exactly.

use super::packed::half_to_float;

/// Which superblocks a stored matrix has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SuperLayout {
    /// `block_q5_0`, of 32 weights: what stands for Q4_K where rows do not fill superblocks.
    Q5_0,
    /// `block_q5_1`, of 32 weights.
    Q5_1,
    /// `block_q4_K`.
    Q4K,
    /// `block_q5_K`.
    Q5K,
    /// `block_q6_K`.
    Q6K,
}

/// 32 weights of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SubBlock {
    /// Of the first and the second sixteen weights.
    pub(super) scales: [f32; 2],
    /// Added to each.
    pub(super) minimum: f32,
    /// From 0 to 15, from 0 to 31, or from -32 to 31.
    pub(super) quants: [i8; 32],
}

impl SuperLayout {
    /// Weights of a stored block.
    pub(super) const fn weights(self) -> usize {
        match self {
            Self::Q5_0 | Self::Q5_1 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of a stored block.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// Block `at`, below 8, of a stored superblock; none when it is too short.
    pub(super) fn read(self, stored: &[u8], at: usize) -> Option<SubBlock> {
        match self {
            Self::Q5_0 => five_bits(stored.get(2..)?, half(stored)?, half(stored)? * -16.0),
            Self::Q5_1 => five_bits(stored.get(4..)?, half(stored)?, half(stored.get(2..)?)?),
            Self::Q4K => affine(stored, at, 16, None),
            Self::Q5K => affine(stored, at, 48, Some(stored.get(16..48)?)),
            Self::Q6K => signed(stored, at),
        }
    }
}

fn half(bytes: &[u8]) -> Option<f32> {
    Some(half_to_float(*bytes.first_chunk()?))
}

/// The fifth bits of 32 weights, then the other four: low halves, then high ones.
#[allow(clippy::arithmetic_side_effects, reason = "places below 32")]
fn five_bits(bits: &[u8], scale: f32, minimum: f32) -> Option<SubBlock> {
    let (fifths, nibbles) = bits.split_first_chunk::<4>()?;
    let fifths = u32::from_le_bytes(*fifths);
    let nibbles = nibbles.first_chunk::<16>()?;
    let lows = nibbles.iter().map(|byte| byte & 15);
    let highs = nibbles.iter().map(|byte| byte >> 4);
    let mut quants = [0; 32];
    for (place, (quant, nibble)) in quants.iter_mut().zip(lows.chain(highs)).enumerate() {
        let fifth = if fifths >> place & 1 == 1 { 16 } else { 0 };
        *quant = (nibble | fifth).cast_signed();
    }
    Some(SubBlock {
        scales: [scale; 2],
        minimum,
        quants,
    })
}

/// Four bits of each weight from byte `low`, a fifth from `high`.
#[allow(
    clippy::arithmetic_side_effects,
    reason = "block numbers below 8, quants below 32"
)]
fn affine(stored: &[u8], at: usize, low: usize, high: Option<&[u8]>) -> Option<SubBlock> {
    let (step, rest) = stored.split_first_chunk::<2>()?;
    let (least, rest) = rest.split_first_chunk::<2>()?;
    let (scale, minimum) = six_bits(rest.first_chunk()?, at)?;
    let nibbles = stored.get(low + at / 2 * 32..)?.first_chunk::<32>()?;
    let mut quants = [0; 32];
    for (place, (quant, byte)) in quants.iter_mut().zip(nibbles).enumerate() {
        let nibble = if at.is_multiple_of(2) {
            byte & 15
        } else {
            byte >> 4
        };
        let fifth = high.map_or(Some(0), |high| Some(high.get(place)? >> at & 1))?;
        *quant = (nibble | fifth << 4).cast_signed();
    }
    let scale = half_to_float(*step) * f32::from(scale);
    Some(SubBlock {
        scales: [scale; 2],
        minimum: -(half_to_float(*least) * f32::from(minimum)),
        quants,
    })
}

/// Scale and minimum of block `at`: 6 bits each, those of the last four blocks in two pieces.
#[allow(clippy::arithmetic_side_effects, reason = "block numbers below 8")]
fn six_bits(packed: &[u8; 12], at: usize) -> Option<(u8, u8)> {
    if at < 4 {
        return Some((packed.get(at)? & 63, packed.get(at + 4)? & 63));
    }
    let last = packed.get(at + 4)?;
    let scale = (last & 15) | (packed.get(at - 4)? >> 6 << 4);
    Some((scale, (last >> 4) | (packed.get(at)? >> 6 << 4)))
}

/// Six bits of each weight around 32, a scale for sixteen.
#[allow(
    clippy::arithmetic_side_effects,
    reason = "block numbers below 8, quants below 64"
)]
fn signed(stored: &[u8], at: usize) -> Option<SubBlock> {
    let (half, quarter) = (at / 4, at % 4);
    let nibbles = stored
        .get(half * 64 + quarter % 2 * 32..)?
        .first_chunk::<32>()?;
    let pairs = stored.get(128 + half * 32..)?.first_chunk::<32>()?;
    let scales = stored
        .get(192 + half * 8 + quarter * 2..)?
        .first_chunk::<2>()?;
    let step = half_to_float(*stored.get(208..)?.first_chunk()?);
    let mut quants = [0; 32];
    for (quant, (byte, pair)) in quants.iter_mut().zip(nibbles.iter().zip(pairs)) {
        let nibble = if quarter < 2 { byte & 15 } else { byte >> 4 };
        *quant = (nibble | (pair >> (2 * quarter) & 3) << 4).cast_signed() - 32;
    }
    Some(SubBlock {
        scales: scales.map(|scale| step * f32::from(scale.cast_signed())),
        minimum: 0.0,
        quants,
    })
}
