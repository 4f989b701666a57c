//! Activations as the integer kernels take them: blocks of 32 values as int8 with a scale.
//!
//! What is deliberately not here: weights (`packed`) and the products (`portable`, `avx2`).

use zeroize::Zeroize;

/// Values of one block, of weights and of activations alike.
pub(crate) const BLOCK: usize = 32;

/// Groups of four values in a block: what one 32-bit broadcast carries.
pub(crate) const GROUPS: usize = BLOCK / 4;

/// 1.5 * 2^23: adding it rounds a float of at most 2^22 to the nearest integer, ties to even, and
/// leaves that integer in the low bits. Same result on every processor, without a library call.
const ROUND: f32 = 12_582_912.0;

/// Bits of positive infinity: every number beyond it is not finite.
const INFINITY_BITS: u32 = 0x7f80_0000;

/// 32 activations: value = scale * quant.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ActivationBlock {
    /// What one step of a quant is worth; NaN when the block was not finite.
    pub(crate) scale: f32,
    /// `scale` times the sum of all quants.
    pub(crate) sum: f32,
    /// Quants from -127 to 127, four to a word, the first in the lowest byte.
    pub(crate) groups: [u32; GROUPS],
}

impl Zeroize for ActivationBlock {
    fn zeroize(&mut self) {
        self.scale.zeroize();
        self.sum.zeroize();
        self.groups.zeroize();
    }
}

/// Appends the blocks of `values`, whose length is a multiple of 32 (the model checks widths when
/// it is loaded; a remainder is left out).
pub(crate) fn quantize(values: &[f32], blocks: &mut Vec<ActivationBlock>) {
    let (chunks, _) = values.as_chunks::<BLOCK>();
    blocks.extend(chunks.iter().map(quantize_block));
}

#[allow(
    clippy::arithmetic_side_effects,
    reason = "float arithmetic, and integers below 2^13 from 32 quants of at most 127"
)]
fn quantize_block(values: &[f32; BLOCK]) -> ActivationBlock {
    // As integers, so that NaN counts as the greatest and cannot be passed over.
    let greatest = values.iter().fold(0, |greatest, value| {
        (value.to_bits() & 0x7fff_ffff).max(greatest)
    });
    if greatest >= INFINITY_BITS {
        return ActivationBlock {
            scale: f32::NAN,
            sum: f32::NAN,
            groups: [0; GROUPS],
        };
    }
    let scale = f32::from_bits(greatest) / 127.0;
    let inverse = if scale > f32::MIN_POSITIVE {
        1.0 / scale
    } else {
        0.0
    };
    let mut groups = [0_u32; GROUPS];
    let mut total = 0_i32;
    let (fours, _) = values.as_chunks::<4>();
    for (group, four) in groups.iter_mut().zip(fours) {
        let quants = four.map(|value| (value * inverse + ROUND).to_bits().cast_signed());
        let quants = quants.map(|bits| bits.wrapping_sub(ROUND.to_bits().cast_signed()));
        total = quants
            .iter()
            .fold(total, |total, quant| total.wrapping_add(*quant));
        *group = u32::from_le_bytes(quants.map(|quant| quant.to_le_bytes()[0]));
    }
    ActivationBlock {
        scale,
        sum: scale * total as f32,
        groups,
    }
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
            assert!((value - quant * block.scale).abs() <= block.scale * 0.5001);
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
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = [1.0; BLOCK];
            values[31] = bad;
            assert!(block(&values).scale.is_nan());
        }
    }
}
