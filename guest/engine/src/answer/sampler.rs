//! Choosing a token: greedy, or by temperature and nucleus with an own generator.
//!
//! The draw for a position depends on seed and position alone, so an answer can be computed again
//! from its receipt. Method: weights `exp((logit - greatest) / temperature)`; with a nucleus
//! below 1 the heaviest tokens, ties by number, until their sum reaches that share; then the
//! token at which the running sum passes `uniform * sum`.

use protocol::receipt::Sampling;
use zeroize::Zeroizing;

use crate::kernels::exp;

/// SplitMix64's increment, 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A logit is not a finite number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotFinite;

/// How one answer samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampler {
    temperature_milli: u32,
    top_p_milli: u32,
    seed: u64,
}

impl Sampler {
    /// As the request wants it.
    pub(crate) const fn of(sampling: &Sampling) -> Self {
        Self {
            temperature_milli: sampling.temperature_milli,
            top_p_milli: sampling.top_p_milli,
            seed: sampling.seed,
        }
    }

    /// The token at completion position `position`, counted from 0.
    ///
    /// # Errors
    /// `NotFinite` when any logit is infinite or not a number.
    pub(crate) fn sample(&self, logits: &[f32], position: u32) -> Result<u32, NotFinite> {
        let mut best = (f32::NEG_INFINITY, 0);
        for (token, logit) in (0_u32..).zip(logits) {
            if !logit.is_finite() {
                return Err(NotFinite);
            }
            if *logit > best.0 {
                best = (*logit, token);
            }
        }
        if self.temperature_milli == 0 || logits.is_empty() {
            return Ok(best.1);
        }
        Ok(self.draw(logits, best, uniform(self.seed, position.into())))
    }

    #[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
    fn draw(&self, logits: &[f32], (greatest, best): (f32, u32), uniform: f64) -> u32 {
        let factor = 1000.0 / self.temperature_milli as f32;
        let weights = (0_u32..).zip(logits);
        let weights = weights.map(|(token, logit)| (exp((logit - greatest) * factor), token));
        let mut weights: Zeroizing<Vec<(f32, u32)>> = Zeroizing::new(weights.collect());
        let sum = |weights: &[(f32, u32)]| -> f64 {
            weights.iter().map(|(weight, _)| f64::from(*weight)).sum()
        };
        let mut total = sum(&weights);
        if self.top_p_milli < 1000 {
            weights.sort_unstable_by(|left, right| {
                right.0.total_cmp(&left.0).then(left.1.cmp(&right.1))
            });
            let wanted = total * f64::from(self.top_p_milli) / 1000.0;
            let mut reached = 0.0;
            let kept = weights.iter().take_while(|(weight, _)| {
                let before = reached;
                reached += f64::from(*weight);
                before < wanted
            });
            let kept = kept.count();
            weights.truncate(kept);
            total = sum(&weights);
        }
        let target = uniform * total;
        let mut reached = 0.0;
        let passed = weights.iter().find(|(weight, _)| {
            reached += f64::from(*weight);
            reached > target
        });
        passed.map_or(best, |(_, token)| *token)
    }
}

/// A number in [0, 1) from seed and position: two rounds of SplitMix64's mixer, upper 53 bits.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "53 bits fit a double, and the divisor is a constant"
)]
fn uniform(seed: u64, position: u64) -> f64 {
    let drawn = mix(mix(seed.wrapping_add(GOLDEN)) ^ position.wrapping_mul(GOLDEN));
    (drawn >> 11) as f64 / (1_u64 << 53) as f64
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature_milli: u32, top_p_milli: u32, seed: u64) -> Sampler {
        Sampler {
            temperature_milli,
            top_p_milli,
            seed,
        }
    }

    fn shares(sampler: impl Fn(u64) -> Sampler, logits: &[f32]) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        for seed in 0..20_000 {
            counts[sampler(seed).sample(logits, 3).unwrap() as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn temperature_zero_takes_the_greatest_and_the_first_among_equals() {
        assert_eq!(sampler(0, 1000, 9).sample(&[0.5, 2.0, 2.0, -1.0], 0), Ok(1));
    }

    #[test]
    fn draws_follow_the_softmax() {
        let found = shares(|seed| sampler(1000, 1000, seed), &[0.0, 1.0, 2.0]);
        for (found, expected) in found.iter().zip([0.0900, 0.2447, 0.6652]) {
            assert!((found - expected).abs() < 0.02, "{found} {expected}");
        }
        let sharp = shares(|seed| sampler(500, 1000, seed), &[0.0, 1.0, 2.0]);
        assert!((sharp[2] - 0.8668).abs() < 0.02);
    }

    #[test]
    fn a_nucleus_leaves_out_the_tail_only() {
        let found = shares(|seed| sampler(1000, 700, seed), &[0.0, 1.0, 2.0]);
        assert_eq!(found[0], 0.0);
        assert!((found[1] - 0.2689).abs() < 0.02);
        let one = shares(|seed| sampler(1000, 1, seed), &[0.0, 1.0, 2.0]);
        assert_eq!(one[..2], [0.0, 0.0]);
    }

    #[test]
    fn a_draw_depends_on_seed_and_position_and_on_nothing_else() {
        let logits: Vec<f32> = (0..100).map(|at| (at as f32 * 0.7).sin()).collect();
        let tokens = |seed| -> Vec<_> {
            (0..50)
                .map(|position| sampler(1500, 900, seed).sample(&logits, position))
                .collect()
        };
        assert_eq!(tokens(1), tokens(1));
        assert_ne!(tokens(1), tokens(2));
    }

    #[test]
    fn a_logit_that_is_not_finite_is_an_error() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(sampler(0, 1000, 0).sample(&[0.0, bad], 0), Err(NotFinite));
        }
    }
}
