//! Money: integer nano units of the network's coin, checked in every step.

use core::fmt;

use crate::codec::{DecodeError, Reader, Writer};

/// Arithmetic on amounts left the range `0 ..= Nano::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("amount outside the range of the chain's coins")]
pub struct AmountOverflow;

/// An amount in nano units, at most 2^120 - 1 (the range of TL-B `Coins`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nano(u128);

impl Nano {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount that the chain can express.
    pub const MAX: Self = Self((1 << 120) - 1);

    /// An amount from an integer number of nano units.
    ///
    /// # Errors
    /// `AmountOverflow` above [`Nano::MAX`].
    pub const fn new(units: u128) -> Result<Self, AmountOverflow> {
        if units <= Self::MAX.0 {
            Ok(Self(units))
        } else {
            Err(AmountOverflow)
        }
    }

    /// An amount that always fits.
    #[must_use]
    pub const fn from_u64(units: u64) -> Self {
        // u64 to u128 is lossless; `From` is not const.
        #[allow(clippy::as_conversions, reason = "widening, const context")]
        Self(units as u128)
    }

    /// Nano units.
    #[must_use]
    pub const fn units(self) -> u128 {
        self.0
    }

    /// The sum.
    ///
    /// # Errors
    /// `AmountOverflow` above [`Nano::MAX`].
    pub fn plus(self, other: Self) -> Result<Self, AmountOverflow> {
        self.0
            .checked_add(other.0)
            .ok_or(AmountOverflow)
            .and_then(Self::new)
    }

    /// The difference.
    ///
    /// # Errors
    /// `AmountOverflow` when `other` is larger.
    pub fn minus(self, other: Self) -> Result<Self, AmountOverflow> {
        self.0.checked_sub(other.0).map(Self).ok_or(AmountOverflow)
    }

    /// This amount, `count` times.
    ///
    /// # Errors
    /// `AmountOverflow` above [`Nano::MAX`].
    pub fn times(self, count: u64) -> Result<Self, AmountOverflow> {
        self.0
            .checked_mul(u128::from(count))
            .ok_or(AmountOverflow)
            .and_then(Self::new)
    }

    /// Reads 16 little-endian bytes.
    ///
    /// # Errors
    /// `OutOfRange` above [`Nano::MAX`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(reader.u128()?)
            .map_err(|AmountOverflow| DecodeError::OutOfRange { field: "amount" })
    }

    /// Writes 16 little-endian bytes.
    pub fn write(self, writer: &mut Writer) {
        writer.u128(self.0);
    }
}

impl fmt::Display for Nano {
    /// Whole nano units, for machines; see `client` and `host-agent` for coins.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Nano {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}n", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_the_range_of_coins_in_no_direction() {
        assert_eq!(Nano::MAX.plus(Nano::from_u64(1)), Err(AmountOverflow));
        assert_eq!(Nano::ZERO.minus(Nano::from_u64(1)), Err(AmountOverflow));
        assert_eq!(Nano::MAX.times(2), Err(AmountOverflow));
        assert_eq!(Nano::new(1 << 120), Err(AmountOverflow));
        assert_eq!(Nano::new((1 << 120) - 1), Ok(Nano::MAX));
    }
}
