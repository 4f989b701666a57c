//! Activations as the integer kernels take them: blocks of 32 values as int8 with a scale.
//!
//! What is deliberately not here: weights (`packed`) and the products (`portable`, `avx2`).

use zeroize::Zeroize;

/// Values of one block, of weights and of activations alike.
pub(crate) const BLOCK: usize = 32;

/// Groups of four values in a block: what one 32-bit broadcast carries.
pub(crate) const GROUPS: usize = BLOCK / 4;

/// Sums and greatest values are kept in so many lanes, so that loops become vectors; the order of
/// neither matters.
const LANES: usize = 8;

/// 1.5 * 2^23: adding it rounds a float of at most 2^22 to the nearest integer, ties to even, and
/// leaves that integer in the low bits. Same result on every processor, without a library call.
pub(super) const ROUND: f32 = 12_582_912.0;

/// 2^112: what scales of weights are too small by (`packed::lowered`).
pub(super) const RAISE: f32 = f32::from_bits((127 + 112) << 23);

/// Bits of 127 * 2^16: with a greater value the raised scale would be infinite.
const TOO_GREAT_BITS: u32 = 8_323_072_f32.to_bits();

/// 32 activations: value = factor / 2^112 * quant.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ActivationBlock {
    /// What one step of a quant is worth, times 2^112; NaN when a value was not finite, or of a
    /// magnitude of eight million and more, which nothing sound has.
    pub(crate) factor: f32,
    /// The sum of all quants.
    pub(crate) total: i32,
    /// The sum of the first sixteen.
    pub(crate) first: i32,
    /// Quants from -127 to 127, four to a word, the first in the lowest byte.
    pub(crate) groups: [u32; GROUPS],
}

/// Of a block with a value that is not finite or too great.
pub(super) const SPOILED: ActivationBlock = ActivationBlock {
    factor: f32::NAN,
    total: 0,
    first: 0,
    groups: [0; GROUPS],
};

impl Zeroize for ActivationBlock {
    fn zeroize(&mut self) {
        self.factor.zeroize();
        self.total.zeroize();
        self.first.zeroize();
        self.groups.zeroize();
    }
}

/// Appends the blocks of `values`, whose length is a multiple of 32 (the model checks widths when
/// it is loaded; a remainder is left out).
#[inline(always)]
pub(super) fn quantize(values: &[f32], blocks: &mut Vec<ActivationBlock>) {
    let (chunks, _) = values.as_chunks::<BLOCK>();
    blocks.reserve(chunks.len());
    // Not `extend`: its loop would be a function of its own, without the caller's vectors.
    for chunk in chunks {
        blocks.push(quantize_block(chunk));
    }
}

#[allow(
    clippy::arithmetic_side_effects,
    reason = "float arithmetic, and integers below 2^13 from 32 quants of at most 127"
)]
#[inline(always)]
fn quantize_block(values: &[f32; BLOCK]) -> ActivationBlock {
    // As integers, so that NaN counts as the greatest and cannot be passed over.
    let mut lanes = [0_u32; LANES];
    for eight in values.as_chunks::<LANES>().0 {
        for (lane, value) in lanes.iter_mut().zip(eight) {
            *lane = (value.to_bits() & 0x7fff_ffff).max(*lane);
        }
    }
    let greatest = lanes.iter().fold(0, |greatest, lane| greatest.max(*lane));
    let Some((scale, inverse)) = steps(greatest) else {
        return SPOILED;
    };
    let mut quants = [0_i32; BLOCK];
    for (quant, value) in quants.iter_mut().zip(values) {
        let bits = (value * inverse + ROUND).to_bits().cast_signed();
        *quant = bits.wrapping_sub(ROUND.to_bits().cast_signed());
    }
    let sum = |quants: &[i32]| {
        let mut lanes = [0_i32; LANES];
        for eight in quants.as_chunks::<LANES>().0 {
            for (lane, quant) in lanes.iter_mut().zip(eight) {
                *lane = lane.wrapping_add(*quant);
            }
        }
        let lanes = lanes.iter();
        lanes.fold(0_i32, |total, lane| total.wrapping_add(*lane))
    };
    let (first, second) = quants.split_at(BLOCK / 2);
    let first = sum(first);
    let total = first.wrapping_add(sum(second));
    let mut groups = [0_u32; GROUPS];
    let (fours, _) = quants.as_chunks::<4>();
    for (group, [a, b, c, d]) in groups.iter_mut().zip(fours) {
        // From -127 to 127: the low bytes say all.
        *group = (a.cast_unsigned() & 0xff)
            | (b.cast_unsigned() & 0xff) << 8
            | (c.cast_unsigned() & 0xff) << 16
            | d.cast_unsigned() << 24;
    }
    ActivationBlock {
        factor: scale * RAISE,
        total,
        first,
        groups,
    }
}

/// What a quant is worth and how many of them make one, from the bits of the greatest magnitude of
/// a block; none when that is not finite or too great.
#[allow(clippy::arithmetic_side_effects, reason = "float arithmetic")]
#[inline(always)]
pub(super) fn steps(greatest: u32) -> Option<(f32, f32)> {
    if greatest >= TOO_GREAT_BITS {
        return None;
    }
    let scale = f32::from_bits(greatest) / 127.0;
    let inverse = if scale > f32::MIN_POSITIVE {
        1.0 / scale
    } else {
        0.0
    };
    Some((scale, inverse))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(values: &[f32; BLOCK]) -> ActivationBlock {
        let mut blocks = Vec::new();
        quantize(values, &mut blocks);
        assert_eq!(blocks.len(), 1);
        blocks[0]
    }

    #[test]
    fn a_block_comes_back_within_half_a_step() {
        let values: [f32; BLOCK] =
            std::array::from_fn(|at| (at as f32 - 13.0) * 0.37 + (at as f32).sin());
        let block = block(&values);
        let back = block.groups.iter().flat_map(|group| group.to_le_bytes());
        for (value, quant) in values.iter().zip(back) {
            let quant = f32::from(quant.cast_signed());
            assert!(
                (value - quant * (block.factor / RAISE)).abs() <= block.factor / RAISE * 0.5001
            );
        }
    }

    #[test]
    fn the_greatest_value_becomes_127_and_zeros_stay_zero() {
        let mut values = [0.0; BLOCK];
        assert_eq!(block(&values).groups, [0; GROUPS]);
        values[5] = -3.0;
        let groups = block(&values).groups;
        assert_eq!(groups[1].to_le_bytes()[1].cast_signed(), -127);
    }

    #[test]
    fn one_value_that_is_not_finite_spoils_its_block() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -8.4e6] {
            let mut values = [1.0; BLOCK];
            values[31] = bad;
            assert!(block(&values).factor.is_nan());
        }
    }
}
