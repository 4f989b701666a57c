//! The float work: norms, the activation function, softmax, dot products of attention, angles.
//!
//! Plain Rust in a fixed order with own `exp` and `sin`, so that no library and no processor
//! changes a bit. Kept small: under emulation float vectors cost ten times what integers do.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "float arithmetic only; the integers are exponents that were clamped"
)]

/// Sums of eight lanes, in this tree.
#[inline(always)]
pub(super) fn reduce(lanes: [f32; 8]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The dot product of two slices of one length.
#[inline(always)]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left, left_rest) = left.as_chunks::<8>();
    let (right, right_rest) = right.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (left, right) in left.iter().zip(right) {
        for (lane, (left, right)) in lanes.iter_mut().zip(left.iter().zip(right)) {
            *lane += left * right;
        }
    }
    let rest = left_rest.iter().zip(right_rest);
    rest.fold(reduce(lanes), |sum, (left, right)| sum + left * right)
}

/// Adds `values` to `sums`.
pub(crate) fn add(sums: &mut [f32], values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// RMS norm: appends `values / sqrt(mean of squares + epsilon) * weights`.
#[inline(always)]
pub(super) fn normalize(values: &[f32], weights: &[f32], epsilon: f32, out: &mut Vec<f32>) {
    let mean = dot(values, values) / values.len() as f32;
    let factor = 1.0 / (mean + epsilon).sqrt();
    // Not `extend`: its loop would be a function of its own, without the caller's vectors.
    let start = out.len();
    out.resize(start + values.len(), 0.0);
    let (_, out) = out.split_at_mut(start);
    for (out, (value, weight)) in out.iter_mut().zip(values.iter().zip(weights)) {
        *out = value * factor * weight;
    }
}

/// `gate = gate / (1 + exp(-gate)) * up`.
#[inline(always)]
pub(super) fn silu_times(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exp(-*gate)) * up;
    }
}

/// `gate = gelu(gate) * up` with `gelu(x) = x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2`;
/// written as `x / (1 + exp(-2 y))`.
#[inline(always)]
pub(super) fn gelu_times(gate: &mut [f32], up: &[f32]) {
    const TWICE_ROOT: f32 = 1.595_769;
    for (gate, up) in gate.iter_mut().zip(up) {
        let x = *gate;
        let y = TWICE_ROOT * (x + 0.044_715 * x * x * x);
        *gate = x / (1.0 + exp(-y)) * up;
    }
}

/// `e^x` within two units in the last place; zero below -87, infinite above 88.
/// Method: x = n ln 2 + r, a polynomial of degree 6 in r (Cephes `expf`), then 2^n by its bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const ROUND: f32 = 12_582_912.0;
    // Computed for every x and then chosen from, so that loops over it become vectors.
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = p * r + coefficient;
    }
    let value = p * r * r + r + 1.0;
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127);
    let value = value * f32::from_bits(exponent << 23);
    let value = if x < -87.0 { 0.0 } else { value };
    let value = if x > 88.0 { f32::INFINITY } else { value };
    if x.is_nan() { x } else { value }
}

/// Cosine and sine of an angle in radians of at most 2^30, within 1e-7.
pub(crate) fn angle(radians: f64) -> (f32, f32) {
    let turns = (radians / std::f64::consts::TAU).round();
    let mut x = radians - turns * std::f64::consts::TAU;
    // Into [-pi/2, pi/2], where cosine is positive.
    let mut sign = 1.0;
    if x.abs() > std::f64::consts::FRAC_PI_2 {
        x = std::f64::consts::PI.copysign(x) - x;
        sign = -1.0;
    }
    let square = x * x;
    let series = |first: f64, from: u32| {
        // first * (1 - x^2/((from)(from+1)) * (1 - ...)), innermost term of degree 20 first.
        let steps = (0..10_u32).rev().map(|step| f64::from(from + 2 * step));
        first * steps.fold(1.0, |inner, at| 1.0 - square / (at * (at + 1.0)) * inner)
    };
    (single(sign * series(1.0, 1)), single(series(x, 2)))
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "rounds a value within [-1, 1]"
)]
fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_of_the_true_value() {
        for step in -87_000..88_000 {
            let x = step as f32 / 1000.0;
            let truth = f64::from(x).exp();
            let error = (f64::from(exp(x)) - truth).abs() / truth;
            assert!(error < 2.4e-7, "{x} {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1000.0), 0.0);
        assert_eq!(exp(1000.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn angles_are_those_of_the_library() {
        for step in 0..200_000 {
            let radians = f64::from(step) * 0.041_3;
            let (cosine, sine) = angle(radians);
            assert!(
                (f64::from(cosine) - radians.cos()).abs() < 1e-7,
                "{radians}"
            );
            assert!((f64::from(sine) - radians.sin()).abs() < 1e-7, "{radians}");
        }
    }

    #[test]
    fn dot_takes_lengths_that_are_no_multiple_of_eight() {
        let values: Vec<f32> = (0..19).map(|at| at as f32).collect();
        assert_eq!(
            dot(&values, &values),
            (0..19).map(|at| (at * at) as f32).sum::<f32>()
        );
    }
}
