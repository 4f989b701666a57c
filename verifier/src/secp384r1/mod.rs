//! Verification of ECDSA signatures over P-384 with SHA-384 (FIPS 186-5 §6.4.2), in variable time:
//! key, message and signature are public. Whatever else there is to do with such keys is
//! RustCrypto's `p384`: reading keys and signatures, with every refusal; numbers modulo the order;
//! the tables of multiples. Own is the one sum of a verification, where nearly all its time goes.
//! Nothing here may ever see a secret: there is no signing and no agreement on keys.

mod field;
mod point;
#[cfg(test)]
mod tests;

use std::iter::successors;
use std::sync::LazyLock;

use p384::ecdsa::{Signature, VerifyingKey};
use p384::elliptic_curve::bigint::ArrayEncoding as _;
use p384::elliptic_curve::ops::{Invert as _, Reduce as _};
use p384::elliptic_curve::point::AffineCoordinates as _;
use p384::elliptic_curve::{BatchNormalize as _, Curve as _, Group as _, PrimeField as _};
use p384::{AffinePoint, FieldBytes, NistP384, ProjectivePoint, Scalar};
use sha2::{Digest as _, Sha384};

use field::Element;
use point::{Affine, Point};

/// How a scalar is cut into digits: each is 0, or odd and of less than half the range.
#[derive(Clone, Copy)]
struct Window {
    bits: usize,
    /// 2^bits.
    range: i16,
    /// Odd numbers below half the range.
    multiples: usize,
}

/// Of the generator, whose multiples are made once.
const WIDE: Window = Window {
    bits: 7,
    range: 128,
    multiples: 32,
};
/// Of a key, whose multiples are made for each signature.
const NARROW: Window = Window {
    bits: 5,
    range: 32,
    multiples: 8,
};

static GENERATOR: LazyLock<Vec<Affine>> =
    LazyLock::new(|| odd_multiples(ProjectivePoint::GENERATOR, WIDE));

/// Whether the key signed the message.
pub(crate) fn verifies(key: &VerifyingKey, message: &[u8], signature: &Signature) -> bool {
    let (r, s) = signature.split_scalars();
    let digest: [u8; 48] = Sha384::digest(message).into();
    let e = Scalar::reduce(&FieldBytes::from(digest));
    let w = *s.invert_vartime();
    let sum = sum(
        &e.multiply(&w),
        &r.multiply(&w),
        ProjectivePoint::from(*key.as_affine()),
    );
    sum.is_some_and(|sum| has_x_modulo_n(sum, &r.to_repr().into()))
}

/// u·G + v·Q, by Straus's method: the digits of both scalars share the doublings.
fn sum(u: &Scalar, v: &Scalar, q: ProjectivePoint) -> Option<Point> {
    let table = odd_multiples(q, NARROW);
    let terms = [(&*GENERATOR, digits(u, WIDE)), (&table, digits(v, NARROW))];
    let length = terms.iter().map(|(_, digits)| digits.len()).max()?;
    let mut sum = Point::INFINITY;
    for place in (0..length).rev() {
        sum = sum.double();
        for (table, digits) in &terms {
            match digits.get(place) {
                None | Some(0) => (),
                Some(digit) => sum = sum.plus(multiple(table, *digit)?),
            }
        }
    }
    Some(sum)
}

/// P, 3P, 5P, …
fn odd_multiples(base: ProjectivePoint, window: Window) -> Vec<Affine> {
    let twice = base.double();
    let points = successors(Some(base), |point| Some(point.add(&twice))).take(window.multiples);
    let points: Vec<_> = points.collect();
    let affine = ProjectivePoint::batch_normalize_vartime(points.as_slice());
    let read = |point: &AffinePoint| Affine {
        x: Element::from_bytes(&point.x().into()),
        y: Element::from_bytes(&point.y().into()),
    };
    affine.iter().map(read).collect()
}

/// The multiple that an odd digit names.
fn multiple(odd_multiples: &[Affine], digit: i16) -> Option<Affine> {
    let point = *odd_multiples.get(usize::from(digit.unsigned_abs() / 2))?;
    Some(if digit < 0 { point.opposite() } else { point })
}

/// The scalar as a sum of digit · 2^place, least place first: the windowed non-adjacent form. Of as
/// many digits in a row as the window has bits, at most one is not 0.
fn digits(scalar: &Scalar, window: Window) -> Vec<i16> {
    let bytes: [u8; 48] = scalar.to_repr().into();
    let of_byte = |byte: &u8| [0, 1, 2, 3, 4, 5, 6, 7].map(|at| byte.wrapping_shr(at) & 1);
    let bits: Vec<_> = bytes
        .iter()
        .rev()
        .flat_map(of_byte)
        .map(i16::from)
        .collect();
    let mut digits = Vec::with_capacity(bits.len());
    let (mut rest, mut carry) = (bits.as_slice(), 0);
    while let Some((lowest, above)) = rest.split_first() {
        if *lowest == carry {
            // Together 0 or 2: nothing is left here, and as much to carry.
            digits.push(0);
            rest = above;
            continue;
        }
        let (these, above) = rest.split_at(window.bits.min(rest.len()));
        // Odd: either the lowest bit is set or the carry.
        let value = these.iter().rev().fold(0, |value, bit| value << 1 | bit) | carry;
        let is_upper = value >= window.range >> 1;
        carry = i16::from(is_upper);
        digits.push(value.wrapping_sub(if is_upper { window.range } else { 0 }));
        digits.extend(these.iter().skip(1).map(|_| 0));
        rest = above;
    }
    digits.push(carry);
    digits
}

/// Whether the point's x is `r` modulo the order n: it is r, or r + n if that is below p.
fn has_x_modulo_n(point: Point, r: &[u8; 48]) -> bool {
    let order = NistP384::ORDER.as_ref().to_be_byte_array().into();
    let (r, n) = (Element::from_bytes(r), Element::from_bytes(&order));
    let room = Element::ZERO.minus(n);
    point.has_x(r) || (r.is_below(room) && point.has_x(r.plus(n)))
}
