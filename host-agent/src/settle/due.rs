//! When a claim is due: worth its minimum, or pressing and worth its fee. Fees are paid in coins;
//! what a jetton is worth in coins the operator says, or nobody.
//!
//! Pure. Deliberately not here: what the contract would refuse (`super::prospect`).

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::str::FromStr;

use contracts::asset::Asset;
use contracts::channel::Standing;
use protocol::nano::Nano;
use protocol::ton::TonAddress;

use crate::clock::UnixSeconds;

/// What a jetton is worth: so many nano units of the coin for so many smallest units of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    nano: NonZeroU64,
    units: NonZeroU64,
}

/// Text that is not `MINTER=NANO/UNITS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected MINTER=NANO/UNITS: so many nano units of the coin for so many of the jetton's")]
pub struct PriceError;

/// A jetton's price, as the operator says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priced {
    /// Whose jetton.
    pub minter: TonAddress,
    /// What it is worth.
    pub price: Price,
}

impl FromStr for Priced {
    type Err = PriceError;

    fn from_str(text: &str) -> Result<Self, PriceError> {
        let (minter, price) = text.split_once('=').ok_or(PriceError)?;
        let (nano, units) = price.split_once('/').ok_or(PriceError)?;
        let number = |text: &str| text.parse().map_err(|_| PriceError);
        Ok(Self {
            minter: minter.parse().map_err(|_| PriceError)?,
            price: Price {
                nano: number(nano)?,
                units: number(units)?,
            },
        })
    }
}

impl Price {
    /// The least units that are worth so much; as many as there can be when they are more.
    fn units_for(self, nano: Nano) -> Nano {
        let product = nano.units().checked_mul(u128::from(self.units.get()));
        let units = product.map(|product| product.div_ceil(u128::from(self.nano.get())));
        let units = units.and_then(|units| Nano::new(units).ok());
        units.unwrap_or(Nano::MAX)
    }
}

/// What claims must bring, in whatever they pay.
#[derive(Debug, Clone)]
pub struct Demands {
    /// In coins, of channels in coins.
    pub coin: Threshold,
    /// In coins, of channels in jettons, whose claims cost more.
    pub jetton: Threshold,
    /// What jettons are worth. One that is not here is claimed when it presses, and only then.
    pub prices: BTreeMap<TonAddress, Price>,
}

impl Demands {
    /// What a claim must bring, in smallest units of the asset.
    #[must_use]
    pub fn of(&self, asset: Asset) -> Threshold {
        let Some(minter) = asset.minter() else {
            return self.coin;
        };
        let in_units = |nano| match self.prices.get(&minter) {
            Some(price) => price.units_for(nano),
            None => Nano::MAX,
        };
        Threshold {
            minimum: in_units(self.jetton.minimum),
            fee: match self.prices.get(&minter) {
                Some(price) => price.units_for(self.jetton.fee),
                // Whether it is worth its fee nobody knows; what is not claimed now is lost.
                None => Nano::from_u64(1),
            },
            margin: self.jetton.margin,
        }
    }

    /// After a claim that cost so much: [`Threshold::after`].
    pub fn raise(&mut self, asset: Asset, fees: Nano) {
        match asset {
            Asset::Coin => self.coin = self.coin.after(fees),
            Asset::Jetton(_) => self.jetton = self.jetton.after(fees),
        }
    }
}

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
    fn a_jetton_must_be_worth_what_a_claim_costs_and_without_a_price_it_waits_until_it_presses() {
        let priced: Priced = format!("0:{}=3/7", "4a".repeat(32)).parse().unwrap();
        let mut demands = Demands {
            coin: THRESHOLD,
            jetton: THRESHOLD.after(Nano::from_u64(200)),
            prices: BTreeMap::from([(priced.minter, priced.price)]),
        };
        assert_eq!(demands.of(Asset::Coin), THRESHOLD);
        let jetton = Asset::Jetton(priced.minter);
        let least = |demands: &Demands, asset, until| {
            let least = demands.of(asset).least(Standing::Open, until, NOW);
            least.units()
        };
        // 2,334 units are worth 1,000.3 nano, and one less 999.9.
        assert_eq!(least(&demands, jetton, u32::MAX), 2_334);
        assert_eq!(least(&demands, jetton, 0), 467);
        let unknown = Asset::Jetton(crate::samples::PAYEE);
        assert_eq!(least(&demands, unknown, u32::MAX), Nano::MAX.units());
        assert_eq!(least(&demands, unknown, 0), 1);
        demands.raise(jetton, Nano::from_u64(300));
        assert_eq!(least(&demands, jetton, 0), 700);
        assert_eq!(demands.of(Asset::Coin), THRESHOLD);
        demands.jetton.fee = Nano::MAX;
        assert_eq!(least(&demands, jetton, 0), Nano::MAX.units());
    }

    #[test]
    fn prices_are_fractions_of_whole_numbers() {
        let minter = format!("0:{}", "4a".repeat(32));
        let good = format!("{minter}=1/2").parse::<Priced>().unwrap();
        assert_eq!((good.price.nano.get(), good.price.units.get()), (1, 2));
        for bad in ["", "1/2", "=0/1", "=1/0", "=1", "=-1/2", "=1.5/2", "=1/2/3"] {
            let text = format!("{minter}{bad}");
            assert_eq!(text.parse::<Priced>(), Err(PriceError), "{bad}");
        }
        assert_eq!("USDT=1/2".parse::<Priced>(), Err(PriceError));
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
