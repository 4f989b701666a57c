//! Held against RustCrypto's `p384`: the field, the digits, the sum and the verdict, at random
//! values and at all ends. Edges of whole signatures are in `nvidia::tests::edges` besides.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use p384::U384;
use p384::ecdsa::signature::{Signer as _, Verifier as _};
use p384::ecdsa::{Signature, SigningKey, VerifyingKey};
use p384::elliptic_curve::hazmat::FieldArithmetic;
use p384::elliptic_curve::ops::LinearCombination as _;
use p384::elliptic_curve::point::DecompressPoint as _;

use super::*;

type Theirs = <NistP384 as FieldArithmetic>::FieldElement;

/// Numbers that look random and are the same in every run.
fn random(number: u32) -> [u8; 48] {
    Sha384::digest(number.to_be_bytes()).into()
}

/// Big-endian numbers of limbs that carry far: all zeros, all ones, and what lies beside.
fn ends() -> Vec<[u8; 48]> {
    let limbs = [0, 1, u64::MAX, u64::MAX - 1, 0xffff_ffff, 0xffff_ffff << 32];
    let pick = |number: usize, at: u32| limbs[number / limbs.len().pow(at) % limbs.len()];
    let all = 0..limbs.len().pow(3);
    let spread = all.map(|number| {
        let limbs = [0, 1, 2, 0, 1, 2].map(|at| pick(number, at));
        limbs.map(u64::to_be_bytes).concat().try_into().unwrap()
    });
    // The prime, what lies beside it, and what lies below the order.
    let mut prime: [u8; 48] = (-Theirs::ONE).to_repr().into();
    prime[47] += 1;
    let below = [-Theirs::ONE, -Theirs::from(2_u32)].map(|e| e.to_repr().into());
    let order = [-Scalar::ONE, -Scalar::from(2_u64)].map(|e| e.to_repr().into());
    spread.chain([prime]).chain(below).chain(order).collect()
}

/// Word by word, so that they reduce it.
fn theirs(bytes: &[u8; 48]) -> Theirs {
    let range = Theirs::from(1_u32 << 31).double();
    let words = bytes.as_chunks().0.iter();
    words.fold(Theirs::ZERO, |number, word| {
        number * range + Theirs::from(u32::from_be_bytes(*word))
    })
}

fn same(ours: Element, theirs: Theirs) -> bool {
    ours == Element::from_bytes(&theirs.to_repr().into())
}

#[test]
fn the_field_is_theirs() {
    let mut values = ends();
    values.extend((0..200).map(random));
    for (number, a) in values.iter().enumerate() {
        let (x, theirs_x) = (Element::from_bytes(a), theirs(a));
        assert!(same(x, theirs_x), "{a:x?}");
        assert!(same(x.square(), theirs_x.square()), "{a:x?}");
        assert!(same(x.twice(), theirs_x.double()), "{a:x?}");
        for b in &values[number..] {
            let (y, theirs_y) = (Element::from_bytes(b), theirs(b));
            assert!(same(x.plus(y), theirs_x + theirs_y), "{a:x?} {b:x?}");
            assert!(same(x.minus(y), theirs_x - theirs_y), "{a:x?} {b:x?}");
            assert!(same(y.minus(x), theirs_y - theirs_x), "{a:x?} {b:x?}");
            assert!(same(x.times(y), theirs_x * theirs_y), "{a:x?} {b:x?}");
        }
    }
}

/// Scalars at the ends, powers of two and what lies beside them, some random ones.
fn scalars() -> Vec<Scalar> {
    let powers = [1, 4, 5, 63, 64, 191, 192, 320, 382, 383];
    let powers = powers.map(|place| (0..place).fold(Scalar::ONE, |power, _| power.double()));
    let beside = powers
        .iter()
        .flat_map(|p| [*p, *p - Scalar::ONE, *p + Scalar::ONE]);
    let small = (0..20_u64).map(Scalar::from).flat_map(|s| [s, -s]);
    let half = Scalar::from(2_u64).invert().unwrap();
    let random = (0..8).map(|n| Scalar::reduce(&FieldBytes::from(random(n))));
    let ends = ends().into_iter().step_by(20);
    let ends = ends.map(|bytes| Scalar::reduce(&FieldBytes::from(bytes)));
    small
        .chain(beside)
        .chain([half, -half])
        .chain(random)
        .chain(ends)
        .collect()
}

#[test]
fn digits_are_odd_and_far_apart_and_add_up() {
    for scalar in scalars() {
        for window in [WIDE, NARROW] {
            let digits = digits(&scalar, window);
            let sum = digits.iter().rev().fold(Scalar::ZERO, |sum, digit| {
                let size = Scalar::from(u64::from(digit.unsigned_abs()));
                sum.double() + if *digit < 0 { -size } else { size }
            });
            assert_eq!(sum, scalar);
            let most = 2 * window.multiples;
            for some in digits.windows(window.bits) {
                let set: Vec<_> = some.iter().filter(|digit| **digit != 0).collect();
                assert!(set.len() <= 1, "{some:?}");
                assert!(set.iter().all(|digit| *digit % 2 != 0), "{some:?}");
                let small = |digit: &&i16| usize::from(digit.unsigned_abs()) < most;
                assert!(set.iter().all(small), "{some:?}");
            }
        }
    }
}

#[test]
fn the_sum_is_theirs_also_where_points_meet() {
    let g = ProjectivePoint::GENERATOR;
    let random = Scalar::reduce(&FieldBytes::from(random(99)));
    let half = Scalar::from(2_u64).invert().unwrap();
    // Whose multiples are the generator's, or are opposite, and others.
    let points = [g, -g, g.double(), g * half, g * -half, g * random];
    let scalars = scalars();
    let mut infinite = 0;
    for q in points {
        for (number, u) in scalars.iter().enumerate() {
            let some = scalars.iter().skip(number % 60).step_by(60);
            for v in some.chain([u, &-*u]) {
                let ours = sum(u, v, q).unwrap();
                let theirs = ProjectivePoint::lincomb(&[(g, *u), (q, *v)]).to_affine();
                if bool::from(theirs.is_identity()) {
                    assert!(ours.is_infinity(), "{u:?} {v:?}");
                    assert!(!ours.has_x(Element::ZERO) && !ours.has_x(Element::ONE));
                    infinite += 1;
                } else {
                    let [x, y] = [theirs.x(), theirs.y()].map(|c| Element::from_bytes(&c.into()));
                    assert!(ours.is(Affine { x, y }), "{u:?} {v:?}");
                }
            }
        }
    }
    assert!(infinite > 100, "{infinite} sums were infinity");
}

/// What both say of it.
fn verdict(key: &VerifyingKey, message: &[u8], signature: &Signature) -> bool {
    let ours = verifies(key, message, signature);
    let theirs = key.verify(message, signature).is_ok();
    assert_eq!(
        ours,
        theirs,
        "{:x?} {signature:?}",
        key.to_sec1_point(false)
    );
    ours
}

/// The least point from this x on, and how far it lies.
fn least(x: U384) -> (ProjectivePoint, u64) {
    let mut points = (1..).map(|beyond| {
        let x = x.wrapping_add(&U384::from(beyond)).to_be_byte_array();
        (AffinePoint::decompress(&x, 0.into()), beyond)
    });
    points
        .find_map(|(point, beyond)| Some((point.into_option()?.into(), beyond)))
        .unwrap()
}

#[test]
fn an_x_is_compared_modulo_the_order_and_never_modulo_the_prime() {
    // The key under which a signature with this r reaches this point.
    let message = b"which key?";
    let digest: [u8; 48] = Sha384::digest(message).into();
    let e = Scalar::reduce(&FieldBytes::from(digest));
    let s = Scalar::from(7_u64);
    let reaches = |point: ProjectivePoint, r: Scalar| {
        let key = (point * s - ProjectivePoint::GENERATOR * e) * r.invert().unwrap();
        let key = VerifyingKey::from_affine(key.to_affine()).unwrap();
        verdict(&key, message, &Signature::from_scalars(r, s).unwrap())
    };
    let (point, x) = least(U384::ZERO);
    assert!(reaches(point, Scalar::from(x)));
    // As long as the prime is above the order; r and the order are the prime and x.
    let mut prime: [u8; 48] = (-Theirs::ONE).to_repr().into();
    prime[47] += 1;
    let room = Scalar::reduce(&FieldBytes::from(prime));
    assert!(!reaches(point, room + Scalar::from(x)));
    let (point, beyond) = least(*NistP384::ORDER.as_ref());
    assert!(reaches(point, Scalar::from(beyond)));
    assert!(!reaches(point, Scalar::from(beyond + 1)));
}

fn compare(count: u32) {
    for number in 0..count {
        let secret = Scalar::reduce(&FieldBytes::from(random(number)));
        let key = SigningKey::from_bytes(&secret.to_repr()).unwrap();
        let message = random(!number);
        let signature: Signature = key.sign(&message);
        let (r, s) = signature.split_scalars();
        let key = *key.verifying_key();
        assert!(verdict(&key, &message, &signature));
        // The mirrored one is as good; what is not signed, or not by this key, is not.
        let mirrored = Signature::from_scalars(*r, -*s).unwrap();
        assert!(verdict(&key, &message, &mirrored));
        let swapped = Signature::from_scalars(*s, *r).unwrap();
        let beside = Signature::from_scalars(*r + Scalar::ONE, *s).unwrap();
        let opposite =
            VerifyingKey::from_affine((-ProjectivePoint::from(*key.as_affine())).to_affine());
        let wrong = [
            verdict(&key, b"another", &signature),
            verdict(&key, &message, &swapped),
            verdict(&key, &message, &beside),
            verdict(&opposite.unwrap(), &message, &signature),
        ];
        assert_eq!(wrong, [false; 4]);
    }
}

#[test]
fn every_verdict_is_theirs() {
    compare(40);
}

#[test]
#[ignore = "takes a minute for each ten thousand signatures"]
fn every_verdict_is_theirs_of_many() {
    compare(10_000);
}
