//! How probable the model finds a token, and which others it would rather have taken.
//!
//! Probabilities are the softmax of the logits as the model gives them: before shifts, penalties,
//! temperature and whatever else narrows the draw (`docs/spec/engine-ipc.md`, Probabilities). Sums
//! go in the order of token numbers, and the logarithm is our own, so that the same logits give the
//! same figures on every processor.

use zeroize::Zeroizing;

use crate::kernels::exp;

/// Of one token, in millionths of the natural logarithm, negated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Likelihood {
    pub(crate) token: u32,
    pub(crate) micro: u32,
}

/// The token that was taken, then so many of the likeliest, ties by token number. Logits must be
/// finite.
#[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
pub(crate) fn likeliest(logits: &[f32], taken: u32, alternatives: u8) -> Vec<Likelihood> {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from(exp(logit - greatest)))
        .sum();
    // The greatest one's weight is 1, so the sum is at least that.
    let whole = logarithm(sum);
    let of = |token: u32, logit: f32| Likelihood {
        token,
        micro: micro(whole - (f64::from(logit) - f64::from(greatest))),
    };
    let at = usize::try_from(taken).unwrap_or(usize::MAX);
    let taken = logits.get(at).map(|logit| of(taken, *logit));
    let best = greatest_of(logits, usize::from(alternatives));
    let best = best.iter().map(|(logit, token)| of(*token, *logit));
    taken.into_iter().chain(best).collect()
}

/// The greatest so many, in falling order.
fn greatest_of(logits: &[f32], count: usize) -> Zeroizing<Vec<(f32, u32)>> {
    let room = count.saturating_add(1);
    let mut best = Zeroizing::new(Vec::<(f32, u32)>::with_capacity(room));
    for (token, logit) in (0_u32..).zip(logits) {
        let full = best.len() == count;
        if full && best.last().is_none_or(|(least, _)| logit <= least) {
            continue;
        }
        let at = best.partition_point(|(other, _)| other >= logit);
        best.insert(at, (*logit, token));
        best.truncate(count);
    }
    best
}

/// A number that is not negative, in millionths; the greatest where it does not fit.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts from floats saturate, and that is meant"
)]
fn micro(number: f64) -> u32 {
    (number * 1e6).round() as u32
}

/// The natural logarithm of a number from 1 on: `ln 2` times its exponent, and the series of
/// `artanh` for the rest.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "float arithmetic, and exponents have eleven bits"
)]
fn logarithm(number: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    const ONE: u64 = 1023 << 52;
    let bits = number.to_bits();
    let mut exponent = f64::from((bits >> 52) as u32) - 1023.0;
    let mut part = f64::from_bits((bits & MANTISSA) | ONE);
    if part > std::f64::consts::SQRT_2 {
        part /= 2.0;
        exponent += 1.0;
    }
    // |ratio| is at most 0.172: after its 23rd power nothing is left of a double.
    let ratio = (part - 1.0) / (part + 1.0);
    let square = ratio * ratio;
    let series = (0..12_u32)
        .rev()
        .map(|term| 1.0 / f64::from(2 * term + 1))
        .fold(0.0, |sum, factor| sum * square + factor);
    exponent * std::f64::consts::LN_2 + 2.0 * ratio * series
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(logits: &[f32], taken: u32, alternatives: u8) -> Vec<(u32, u32)> {
        likeliest(logits, taken, alternatives)
            .iter()
            .map(|one| (one.token, one.micro))
            .collect()
    }

    #[test]
    fn figures_are_those_of_the_softmax() {
        // ln(e^0 + e^1 + e^2) = 2.407606; what of it each logit lacks.
        let logits = [0.0, 1.0, 2.0];
        assert_eq!(found(&logits, 0, 0), [(0, 2_407_606)]);
        let all = [(0, 2_407_606), (2, 407_606), (1, 1_407_606)];
        assert_eq!(found(&logits, 0, 2), all);
    }

    #[test]
    fn alternatives_fall_and_equals_stand_in_the_order_of_their_numbers() {
        let logits = [1.0, 3.0, 3.0, 2.0, 3.0];
        let tokens = |alternatives| -> Vec<u32> {
            let found = found(&logits, 0, alternatives);
            found.iter().skip(1).map(|(token, _)| *token).collect()
        };
        assert_eq!(tokens(2), [1, 2]);
        assert_eq!(tokens(4), [1, 2, 4, 3]);
        assert_eq!(tokens(20), [1, 2, 4, 3, 0]);
    }

    #[test]
    fn what_is_certain_has_zero_and_what_is_out_of_the_question_does_not_overflow() {
        assert_eq!(found(&[0.0], 0, 1), [(0, 0), (0, 0)]);
        let far = found(&[1e30, -1e30], 1, 1);
        assert_eq!(far, [(1, u32::MAX), (0, 0)]);
    }

    proptest! {
        #[test]
        fn the_logarithm_is_that_of_the_standard_library(
            number in prop_oneof![1.0..10.0_f64, 1.0..1e6_f64],
        ) {
            prop_assert!((logarithm(number) - number.ln()).abs() < 1e-13);
        }

        #[test]
        fn probabilities_of_all_tokens_sum_to_one(
            logits in prop::collection::vec(-20.0..20.0_f32, 1..20),
        ) {
            let sum: f64 = likeliest(&logits, 0, 20)
                .iter()
                .skip(1)
                .map(|one| (-f64::from(one.micro) / 1e6).exp())
                .sum();
            prop_assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        }
    }
}
