//! The field of P-384: numbers modulo p = 2^384 - 2^128 - 2^96 + 2^32 - 1 (SP 800-186 §3.2.1.4),
//! in variable time. Every value is kept below p, so equal values are equal limbs. Not here:
//! inversion and roots, which verification does not need.

/// A number below p; its least significant limb first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element([u64; 6]);

const P: Element = Element([
    0x0000_0000_ffff_ffff,
    0xffff_ffff_0000_0000,
    0xffff_ffff_ffff_fffe,
    u64::MAX,
    u64::MAX,
    u64::MAX,
]);

/// 2^384 - p = 2^128 + 2^96 - 2^32 + 1: what a carry out of the limbs is worth.
const CARRY: [u64; 3] = [0xffff_ffff_0000_0001, 0x0000_0000_ffff_ffff, 1];

impl Element {
    pub(super) const ZERO: Self = Self([0; 6]);
    pub(super) const ONE: Self = Self([1, 0, 0, 0, 0, 0]);

    /// A big-endian number, modulo p.
    pub(super) fn from_bytes(bytes: &[u8; 48]) -> Self {
        let mut limbs = [0; 6];
        for (limb, eight) in limbs.iter_mut().rev().zip(bytes.as_chunks().0) {
            *limb = u64::from_be_bytes(*eight);
        }
        below_p(limbs, false)
    }

    /// As numbers.
    pub(super) fn is_below(self, other: Self) -> bool {
        self.0.iter().rev().lt(other.0.iter().rev())
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let ([a0, a1, a2, a3, a4, a5], [b0, b1, b2, b3, b4, b5]) = (self.0, other.0);
        let (t0, c) = a0.carrying_add(b0, false);
        let (t1, c) = a1.carrying_add(b1, c);
        let (t2, c) = a2.carrying_add(b2, c);
        let (t3, c) = a3.carrying_add(b3, c);
        let (t4, c) = a4.carrying_add(b4, c);
        let (t5, c) = a5.carrying_add(b5, c);
        below_p([t0, t1, t2, t3, t4, t5], c)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        let ([a0, a1, a2, a3, a4, a5], [b0, b1, b2, b3, b4, b5]) = (self.0, other.0);
        let (t0, c) = a0.borrowing_sub(b0, false);
        let (t1, c) = a1.borrowing_sub(b1, c);
        let (t2, c) = a2.borrowing_sub(b2, c);
        let (t3, c) = a3.borrowing_sub(b3, c);
        let (t4, c) = a4.borrowing_sub(b4, c);
        let (t5, c) = a5.borrowing_sub(b5, c);
        // Below zero, 2^384 too much stands there: what is left to add is p - 2^384.
        let [k0, k1, k2] = CARRY.map(|limb| if c { limb } else { 0 });
        let (t0, c) = t0.borrowing_sub(k0, false);
        let (t1, c) = t1.borrowing_sub(k1, c);
        let (t2, c) = t2.borrowing_sub(k2, c);
        let (t3, c) = t3.borrowing_sub(0, c);
        let (t4, c) = t4.borrowing_sub(0, c);
        let (t5, _) = t5.borrowing_sub(0, c);
        Self([t0, t1, t2, t3, t4, t5])
    }

    pub(super) fn twice(self) -> Self {
        self.plus(self)
    }

    pub(super) fn times(self, other: Self) -> Self {
        let [a0, a1, a2, a3, a4, a5] = self.0;
        let b = other.0;
        let (w0, t) = row(a0, b, [0; 6]);
        let (w1, t) = row(a1, b, t);
        let (w2, t) = row(a2, b, t);
        let (w3, t) = row(a3, b, t);
        let (w4, t) = row(a4, b, t);
        let (w5, t) = row(a5, b, t);
        reduced([w0, w1, w2, w3, w4, w5], t)
    }

    /// By `times`: sums that add each product of two limbs once and double it would be 42 lines
    /// more, and 4 % of a verification.
    pub(super) fn square(self) -> Self {
        self.times(self)
    }
}

/// a·b + t, as its least limb and the others.
#[inline(always)]
fn row(a: u64, [b0, b1, b2, b3, b4, b5]: [u64; 6], t: [u64; 6]) -> (u64, [u64; 6]) {
    let [t0, t1, t2, t3, t4, t5] = t;
    let (least, c) = a.carrying_mul_add(b0, t0, 0);
    let (t0, c) = a.carrying_mul_add(b1, t1, c);
    let (t1, c) = a.carrying_mul_add(b2, t2, c);
    let (t2, c) = a.carrying_mul_add(b3, t3, c);
    let (t3, c) = a.carrying_mul_add(b4, t4, c);
    let (t4, t5) = a.carrying_mul_add(b5, t5, c);
    (least, [t0, t1, t2, t3, t4, t5])
}

/// `low` + 2^384·`high`, by 2^384 = 2^128 + 2^96 - 2^32 + 1 (mod p).
#[inline(always)]
fn reduced([l0, l1, l2, l3, l4, l5]: [u64; 6], high: [u64; 6]) -> Element {
    let [h0, h1, h2, h3, h4, h5] = high;
    // 2^32·high; 2^96·high is that one limb further.
    let [s0, s1, s2, s3] = [
        h0 << 32,
        h1 << 32 | h0 >> 32,
        h2 << 32 | h1 >> 32,
        h3 << 32 | h2 >> 32,
    ];
    let [s4, s5, s6] = [h4 << 32 | h3 >> 32, h5 << 32 | h4 >> 32, h5 >> 32];
    let sum = &mut 0;
    let l0 = limb(sum, [l0, h0, 0, 0], s0);
    let l1 = limb(sum, [l1, h1, s0, 0], s1);
    let l2 = limb(sum, [l2, h2, s1, h0], s2);
    let l3 = limb(sum, [l3, h3, s2, h1], s3);
    let l4 = limb(sum, [l4, h4, s3, h2], s4);
    let l5 = limb(sum, [l5, h5, s4, h3], s5);
    // What is left above 2^384, below 2^129: the same once more.
    let h0 = limb(sum, [s5, h4, 0, 0], s6);
    let h1 = limb(sum, [s6, h5, 0, 0], 0);
    let h2 = limb(sum, [0; 4], 0);
    let [s0, s1, s2] = [h0 << 32, h1 << 32 | h0 >> 32, h2 << 32 | h1 >> 32];
    let sum = &mut 0;
    let l0 = limb(sum, [l0, h0, 0, 0], s0);
    let l1 = limb(sum, [l1, h1, s0, 0], s1);
    let l2 = limb(sum, [l2, h2, s1, h0], s2);
    let l3 = limb(sum, [l3, s2, h1, 0], 0);
    let l4 = limb(sum, [l4, h2, 0, 0], 0);
    let l5 = limb(sum, [l5, 0, 0, 0], 0);
    below_p([l0, l1, l2, l3, l4, l5], *sum != 0)
}

/// Adds to what the limbs below left over: takes one limb, leaves what belongs above it.
#[inline(always)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the lowest 64 bits in two's complement are meant; the rest stays in the sum"
)]
fn limb(sum: &mut i128, plus: [u64; 4], minus: u64) -> u64 {
    let [a, b, c, d] = plus.map(i128::from);
    let more = a.wrapping_add(b).wrapping_add(c).wrapping_add(d);
    let all = sum.wrapping_add(more).wrapping_sub(i128::from(minus));
    *sum = all >> 64;
    all as u64
}

/// The limbs and 2^384 where `carry` is set: less than 2p.
#[inline(always)]
fn below_p([t0, t1, t2, t3, t4, t5]: [u64; 6], carry: bool) -> Element {
    let [k0, k1, k2] = CARRY.map(|limb| if carry { limb } else { 0 });
    let (t0, c) = t0.carrying_add(k0, false);
    let (t1, c) = t1.carrying_add(k1, c);
    let (t2, c) = t2.carrying_add(k2, c);
    let (t3, c) = t3.carrying_add(0, c);
    let (t4, c) = t4.carrying_add(0, c);
    let (t5, _) = t5.carrying_add(0, c);
    let sum = Element([t0, t1, t2, t3, t4, t5]);
    // Hardly ever is a number from p on met that is below 2^384: its upper limbs are all ones.
    if t5 == u64::MAX && !sum.is_below(P) {
        sum.minus(P)
    } else {
        sum
    }
}
