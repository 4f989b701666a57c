//! Points of P-384, y^2 = x^3 - 3x + b: doubling, and adding a point of a table. The formulas are
//! of the Explicit-Formulas Database, short Weierstrass, Jacobian coordinates with a = -3; where
//! they do not hold (infinity, the same point, the opposite point), the cases are told apart.

use super::field::Element;

/// A point that is not infinity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    pub(super) x: Element,
    pub(super) y: Element,
}

impl Affine {
    pub(super) fn opposite(self) -> Self {
        Self {
            x: self.x,
            y: Element::ZERO.minus(self.y),
        }
    }
}

/// x is X/Z^2 and y is Y/Z^3; infinity has Z = 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    x: Element,
    y: Element,
    z: Element,
}

impl Point {
    pub(super) const INFINITY: Self = Self {
        x: Element::ONE,
        y: Element::ONE,
        z: Element::ZERO,
    };

    pub(super) fn is_infinity(self) -> bool {
        self.z == Element::ZERO
    }

    /// Whether its x is this one. Infinity has none.
    pub(super) fn has_x(self, x: Element) -> bool {
        !self.is_infinity() && x.times(self.z.square()) == self.x
    }

    /// Whether it is this point.
    #[cfg(test)]
    pub(super) fn is(self, other: Affine) -> bool {
        self.has_x(other.x) && other.y.times(self.z.square()).times(self.z) == self.y
    }

    /// "dbl-2001-b" with 2YZ written out. No point of P-384 has y = 0: its order is odd.
    pub(super) fn double(self) -> Self {
        let Self { x, y, z } = self;
        let zz = z.square();
        let yy2 = y.square().twice();
        let s = x.times(yy2).twice();
        let m = x.minus(zz).times(x.plus(zz));
        let m = m.twice().plus(m);
        let x3 = m.square().minus(s.twice());
        Self {
            x: x3,
            y: m.times(s.minus(x3)).minus(yy2.square().twice()),
            z: y.times(z).twice(),
        }
    }

    /// "madd": "add-1998-cmo-2" with Z2 = 1.
    pub(super) fn plus(self, other: Affine) -> Self {
        let Self { x, y, z } = self;
        if self.is_infinity() {
            return Self {
                x: other.x,
                y: other.y,
                z: Element::ONE,
            };
        }
        let zz = z.square();
        let h = other.x.times(zz).minus(x);
        let r = other.y.times(zz.times(z)).minus(y);
        if h == Element::ZERO {
            return if r == Element::ZERO {
                self.double()
            } else {
                Self::INFINITY
            };
        }
        let hh = h.square();
        let hhh = hh.times(h);
        let v = x.times(hh);
        let x3 = r.square().minus(hhh).minus(v.twice());
        Self {
            x: x3,
            y: r.times(v.minus(x3)).minus(y.times(hhh)),
            z: z.times(h),
        }
    }
}
