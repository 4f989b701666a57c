//! Choosing a token: greedy, or drawn with an own generator from what the request leaves.
//!
//! The draw for a position depends on the request, the answer so far and that position alone, so an
//! answer can be computed again from its receipt and request. The method is
//! `docs/spec/engine-ipc.md`, Sampling: what the answer's form allows, shifts and penalties,
//! temperature, the likeliest `top_k`, those not below `min_p` of the likeliest, the nucleus of
//! `top_p`, then the draw. Weights are summed as whole numbers, so that the order of sums, and with
//! it whatever computes them, changes no draw.

use messages::engine_ipc::TokenBias;
use protocol::receipt::Sampling;
use zeroize::Zeroizing;

use crate::backend::Wanted;
use crate::format::Allowed;
use crate::kernels::exp;

/// SplitMix64's increment, 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The units of a weight of 1: even 2^20 such weights sum far below 2^64.
const UNITS: f32 = (1_u64 << 40) as f32;

/// Of the bits that are drawn, how many lower ones are left out: 53 stay.
const LEFT_OUT: u32 = 11;

/// Why there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SampleError {
    /// A logit is not a finite number.
    NotFinite,
    /// None is allowed.
    NothingAllowed,
}

/// How one answer samples.
pub(crate) struct Sampler {
    sampling: Sampling,
    biases: Vec<TokenBias>,
}

type Weights = Zeroizing<Vec<(f32, u32)>>;

impl Sampler {
    /// As the request wants it.
    pub(crate) const fn new(sampling: Sampling, biases: Vec<TokenBias>) -> Self {
        Self { sampling, biases }
    }

    /// What a backend is told of the row behind which the token of a place in the answer is chosen.
    pub(crate) fn wanted(&self, row: usize, place: usize) -> Wanted {
        Wanted {
            row,
            sampling: self.sampling,
            place,
            drawn: drawn(self.sampling.seed, place),
        }
    }

    /// The token that follows `written`, the answer so far: one of those that are allowed, if not
    /// all are.
    ///
    /// # Errors
    /// `NotFinite` when any logit is infinite or not a number; `NothingAllowed`.
    pub(crate) fn sample(
        &self,
        logits: &[f32],
        written: &[u32],
        allowed: Option<&Allowed>,
    ) -> Result<u32, SampleError> {
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(SampleError::NotFinite);
        }
        if allowed.is_some_and(Allowed::is_empty) {
            return Err(SampleError::NothingAllowed);
        }
        let shifted = self.shifted(logits, written);
        let logits = shifted.as_ref().map_or(logits, |shifted| shifted);
        let mut best = (f32::NEG_INFINITY, 0);
        for (token, logit) in (0_u32..).zip(logits) {
            if *logit > best.0 && may_come(allowed, token) {
                best = (*logit, token);
            }
        }
        if self.sampling.temperature_milli == 0 || logits.is_empty() {
            return Ok(best.1);
        }
        let drawn = drawn(self.sampling.seed, written.len());
        Ok(self.draw((logits, allowed), best, drawn))
    }

    /// The logits with their shifts and penalties, where there are any.
    #[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
    fn shifted(&self, logits: &[f32], written: &[u32]) -> Option<Zeroizing<Vec<f32>>> {
        let Sampling {
            presence_milli: presence,
            frequency_milli: frequency,
            ..
        } = self.sampling;
        let penalised = presence != 0 || frequency != 0;
        if self.biases.is_empty() && !penalised {
            return None;
        }
        let mut shifted = Zeroizing::new(logits.to_vec());
        let mut add = |token: u32, milli: i32| {
            let at = usize::try_from(token).unwrap_or(usize::MAX);
            if let Some(logit) = shifted.get_mut(at) {
                *logit += milli as f32 / 1000.0;
            }
        };
        for bias in &self.biases {
            add(bias.token, bias.milli);
        }
        if penalised {
            let mut tokens = Zeroizing::new(written.to_vec());
            tokens.sort_unstable();
            for alike in tokens.chunk_by(|left, right| left == right) {
                let times = i32::try_from(alike.len()).unwrap_or(i32::MAX);
                let penalty = presence.saturating_add(frequency.saturating_mul(times));
                if let Some(token) = alike.first() {
                    add(*token, penalty.saturating_neg());
                }
            }
        }
        Some(shifted)
    }

    #[allow(
        clippy::arithmetic_side_effects,
        reason = "float arithmetic, and sums of weights as `UNITS` says"
    )]
    fn draw(
        &self,
        (logits, allowed): (&[f32], Option<&Allowed>),
        (greatest, best): (f32, u32),
        drawn: u64,
    ) -> u32 {
        let factor = 1000.0 / self.sampling.temperature_milli as f32;
        let weights = (0_u32..).zip(logits);
        let weights = weights.filter(|(token, _)| may_come(allowed, *token));
        let weights = weights.map(|(token, logit)| (exp((logit - greatest) * factor), token));
        let mut weights: Weights = Zeroizing::new(weights.collect());
        self.narrow(&mut weights);
        // The greatest weighs 1, so that some token is passed.
        let target = (u128::from(sum(&weights)) * u128::from(drawn >> LEFT_OUT)) >> 53;
        let mut reached = 0;
        let passed = weights.iter().find(|(weight, _)| {
            reached += units(*weight);
            u128::from(reached) > target
        });
        passed.map_or(best, |(_, token)| *token)
    }

    /// Leaves the tokens that may be drawn; the likeliest one's weight is 1.
    #[allow(
        clippy::arithmetic_side_effects,
        reason = "float arithmetic, and sums of weights as `UNITS` says"
    )]
    fn narrow(&self, weights: &mut Weights) {
        let Sampling {
            top_k,
            min_p_milli: min_p,
            top_p_milli: top_p,
            ..
        } = self.sampling;
        if min_p > 0 {
            let least = min_p as f32 / 1000.0;
            weights.retain(|(weight, _)| *weight >= least);
        }
        let most = usize::try_from(top_k).unwrap_or(usize::MAX);
        let cut = top_k > 0 && most < weights.len();
        if !cut && top_p == 1000 {
            return;
        }
        weights
            .sort_unstable_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
        if cut {
            weights.truncate(most);
        }
        if top_p < 1000 {
            let wanted = u128::from(sum(weights)) * u128::from(top_p);
            let mut reached = 0;
            let kept = weights.iter().take_while(|(weight, _)| {
                let before = u128::from(reached) * 1000;
                reached += units(*weight);
                before < wanted
            });
            let kept = kept.count();
            weights.truncate(kept);
        }
    }
}

fn may_come(allowed: Option<&Allowed>, token: u32) -> bool {
    allowed.is_none_or(|allowed| allowed.holds(token))
}

/// A weight as a whole number, rounded down.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a weight is from 0 to 1"
)]
fn units(weight: f32) -> u64 {
    (weight * UNITS) as u64
}

fn sum(weights: &[(f32, u32)]) -> u64 {
    weights.iter().map(|(weight, _)| units(*weight)).sum()
}

/// What the token of a place in the answer is drawn by: two rounds of SplitMix64's mixer.
fn drawn(seed: u64, place: usize) -> u64 {
    let place = u64::try_from(place).unwrap_or(u64::MAX);
    mix(mix(seed.wrapping_add(GOLDEN)) ^ place.wrapping_mul(GOLDEN))
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Follower, Grammar, Vocabulary};

    /// Greedy, sixteen tokens.
    const GREEDY: Sampling = Sampling {
        temperature_milli: 0,
        top_p_milli: 1000,
        top_k: 0,
        min_p_milli: 0,
        presence_milli: 0,
        frequency_milli: 0,
        seed: 0,
        max_tokens: 16,
    };

    fn sampler(temperature_milli: u32, top_p_milli: u32, seed: u64) -> Sampler {
        with(|sampling| {
            sampling.temperature_milli = temperature_milli;
            sampling.top_p_milli = top_p_milli;
            sampling.seed = seed;
        })
    }

    fn with(change: impl FnOnce(&mut Sampling)) -> Sampler {
        let mut sampling = GREEDY;
        change(&mut sampling);
        Sampler::new(sampling, Vec::new())
    }

    fn shares(sampler: impl Fn(u64) -> Sampler, logits: &[f32]) -> Vec<f64> {
        let mut counts = vec![0.0; logits.len()];
        for seed in 0..20_000 {
            counts[sampler(seed).sample(logits, &[0; 3], None).unwrap() as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn temperature_zero_takes_the_greatest_and_the_first_among_equals() {
        assert_eq!(
            sampler(0, 1000, 9).sample(&[0.5, 2.0, 2.0, -1.0], &[], None),
            Ok(1)
        );
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
    fn the_likeliest_k_and_no_others_are_drawn() {
        let of = |top_k| {
            let draws = move |seed| {
                with(|sampling| {
                    sampling.temperature_milli = 1000;
                    sampling.top_k = top_k;
                    sampling.seed = seed;
                })
            };
            shares(draws, &[0.0, 1.0, 2.0])
        };
        assert_eq!(of(2)[0], 0.0);
        assert!((of(2)[1] - 0.2689).abs() < 0.02);
        assert_eq!(of(1)[..2], [0.0, 0.0]);
        assert!((of(3)[0] - 0.0900).abs() < 0.02);
        assert_eq!(of(3), of(0));
    }

    #[test]
    fn what_is_far_less_likely_than_the_likeliest_is_not_drawn() {
        // Beside the likeliest, the others have e^-1 = 0.368 and e^-2 = 0.135 of its weight.
        let of = |min_p_milli| {
            let draws = move |seed| {
                with(|sampling| {
                    sampling.temperature_milli = 1000;
                    sampling.min_p_milli = min_p_milli;
                    sampling.seed = seed;
                })
            };
            shares(draws, &[0.0, 1.0, 2.0])
        };
        assert!((of(135)[0] - 0.0900).abs() < 0.02);
        assert_eq!(of(136)[0], 0.0);
        assert!((of(136)[1] - 0.2689).abs() < 0.02);
        assert_eq!(of(1000)[..2], [0.0, 0.0]);
    }

    #[test]
    fn penalties_count_what_was_written() {
        let presence = with(|sampling| sampling.presence_milli = 600);
        let logits = [1.0, 0.5, 0.0];
        assert_eq!(presence.sample(&logits, &[], None), Ok(0));
        assert_eq!(presence.sample(&logits, &[0], None), Ok(1));
        assert_eq!(presence.sample(&logits, &[0, 0, 0, 1], None), Ok(0));
        let frequency = with(|sampling| sampling.frequency_milli = 300);
        assert_eq!(frequency.sample(&logits, &[0], None), Ok(0));
        assert_eq!(frequency.sample(&logits, &[0, 1, 0], None), Ok(0));
        assert_eq!(frequency.sample(&logits, &[0, 0], None), Ok(1));
        assert_eq!(frequency.sample(&logits, &[0, 0, 0, 0, 1, 1], None), Ok(2));
        let wanted = with(|sampling| sampling.presence_milli = -2000);
        assert_eq!(wanted.sample(&logits, &[2], None), Ok(2));
    }

    #[test]
    fn a_shift_forbids_or_forces_a_token() {
        let biased = |token, milli| Sampler::new(GREEDY, vec![TokenBias { token, milli }]);
        let logits = [1.0, 0.5, 0.0];
        assert_eq!(biased(0, -100_000).sample(&logits, &[], None), Ok(1));
        assert_eq!(biased(2, 1001).sample(&logits, &[], None), Ok(2));
        assert_eq!(biased(2, 999).sample(&logits, &[], None), Ok(0));
    }

    #[test]
    fn a_draw_depends_on_seed_and_position_and_on_nothing_else() {
        let logits: Vec<f32> = (0..100).map(|at| (at as f32 * 0.7).sin()).collect();
        let tokens = |seed| -> Vec<_> {
            (0..50)
                .map(|position| sampler(1500, 900, seed).sample(&logits, &vec![0; position], None))
                .collect()
        };
        assert_eq!(tokens(1), tokens(1));
        assert_ne!(tokens(1), tokens(2));
    }

    #[test]
    fn what_is_not_allowed_is_neither_taken_nor_drawn_nor_counted() {
        let texts: [&[u8]; 3] = [b"1", b"\"", b"x"];
        let mut number = Follower::new(Grammar::of_schema(r#"{"type":"integer"}"#).unwrap());
        let allowed = number.allowed(&Vocabulary::of(texts.into_iter(), &[]));
        let logits = [0.0, 5.0, 9.0];
        let greedy = Sampler::new(GREEDY, Vec::new());
        assert_eq!(greedy.sample(&logits, &[], Some(&allowed)), Ok(0));
        for seed in 0..100 {
            let drawn = sampler(2000, 500, seed).sample(&logits, &[], Some(&allowed));
            assert_eq!(drawn, Ok(0));
        }
        let nothing = number.allowed(&Vocabulary::of([b"x".as_slice()].into_iter(), &[]));
        let none = greedy.sample(&logits, &[], Some(&nothing));
        assert_eq!(none, Err(SampleError::NothingAllowed));
    }

    #[test]
    fn a_logit_that_is_not_finite_is_an_error() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(
                sampler(0, 1000, 0).sample(&[0.0, bad], &[], None),
                Err(SampleError::NotFinite)
            );
        }
    }
}
