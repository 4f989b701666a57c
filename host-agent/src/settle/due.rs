//! When a claim is due: worth its minimum, or pressing and worth its fee.
//!
//! Pure. Deliberately not here: what the contract would refuse (`super::prospect`).

use contracts::channel::Standing;
use protocol::nano::Nano;

use crate::clock::UnixSeconds;

/// What a claim must bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// At least this much, while there is time.
    pub minimum: Nano,
    /// More than this, when it is now or perhaps never.
    pub fee: Nano,
    /// It presses when the voucher expires within so many seconds.
    pub margin: u64,
}

impl Threshold {
    /// What a claim must bring now: never less than its fee, and no more than that when the channel
    /// is closing or the voucher is about to expire.
    #[must_use]
    pub fn least(&self, standing: Standing, valid_until: u32, now: UnixSeconds) -> Nano {
        let closing = match standing {
            Standing::Closing { .. } => true,
            Standing::Open | Standing::Closed => false,
        };
        let expiring = u64::from(valid_until) < now.plus(self.margin).0;
        if closing || expiring {
            self.fee
        } else {
            self.minimum.max(self.fee)
        }
    }

    /// The threshold after a claim that cost so much: fees that rose are not paid again for less.
    #[must_use]
    pub fn after(self, fees: Nano) -> Self {
        Self {
            fee: self.fee.max(fees),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(10_000);
    const THRESHOLD: Threshold = Threshold {
        minimum: Nano::from_u64(1_000),
        fee: Nano::from_u64(100),
        margin: 3_600,
    };

    #[test]
    fn waits_for_its_minimum_until_the_voucher_is_about_to_expire_or_the_channel_closes() {
        let least = |standing, until| THRESHOLD.least(standing, until, NOW).units();
        assert_eq!(least(Standing::Open, 13_600), 1_000);
        assert_eq!(least(Standing::Open, 13_599), 100);
        let closing = Standing::Closing { until: 20_000 };
        assert_eq!(least(closing, u32::MAX), 100);
    }

    #[test]
    fn a_spike_of_fees_raises_what_the_next_claims_must_bring() {
        let spiked = THRESHOLD.after(Nano::from_u64(5_000));
        assert_eq!(spiked.least(Standing::Open, u32::MAX, NOW).units(), 5_000);
        assert_eq!(spiked.least(Standing::Open, 0, NOW).units(), 5_000);
        let calm = spiked.after(Nano::from_u64(50));
        assert_eq!(calm, spiked, "within a run it does not fall again");
    }
}
