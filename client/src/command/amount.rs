//! Amounts as people write and read them: whole smallest units; coins with the unit `ton`; jettons
//! with the unit `jetton`, where it is known into how many decimals one is divided.

use contracts::asset::Asset;
use protocol::nano::Nano;

const COIN: &str = "ton";
const JETTON: &str = "jetton";
const COIN_DECIMALS: u8 = 9;

/// Text that is not an amount, or not one of this asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AmountError {
    #[error("expected units such as `500000000`, coins such as `0.5ton`, or `0.5jetton`")]
    Form,
    #[error("the amount is in another asset than the channel's")]
    OtherAsset,
    #[error("the jetton's decimals are not known: give smallest units, or `--decimals`")]
    Decimals,
}

/// An amount as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Amount {
    /// In smallest units of whatever asset.
    Units(Nano),
    /// In coins.
    Coins(Nano),
    /// In jettons: what stands before the point, and behind it.
    Jettons(String, String),
}

impl Amount {
    /// Smallest units of an asset that people divide into so many decimals.
    ///
    /// # Errors
    /// `OtherAsset`, `Decimals`; `Form` with more decimals than the asset has, or out of range.
    pub(super) fn units(&self, asset: Asset, decimals: Option<u8>) -> Result<Nano, AmountError> {
        match (self, asset) {
            (Self::Units(units), _) | (Self::Coins(units), Asset::Coin) => Ok(*units),
            (Self::Coins(_), Asset::Jetton(_)) | (Self::Jettons(..), Asset::Coin) => {
                Err(AmountError::OtherAsset)
            }
            (Self::Jettons(whole, part), Asset::Jetton(_)) => {
                scaled(whole, part, decimals.ok_or(AmountError::Decimals)?)
            }
        }
    }
}

/// Reads `500000000`, `0.5ton` or `0.5jetton`.
///
/// # Errors
/// `Form` for anything else, more than nine decimals of a coin, or beyond the range of coins.
pub(super) fn parse_amount(text: &str) -> Result<Amount, AmountError> {
    // Before coins: the one word ends in the other.
    if let Some(jettons) = text.strip_suffix(JETTON) {
        let (whole, part) = halves(jettons)?;
        scaled(whole, part, u8::try_from(part.len()).unwrap_or(u8::MAX))?;
        return Ok(Amount::Jettons(whole.to_owned(), part.to_owned()));
    }
    if let Some(coins) = text.strip_suffix(COIN) {
        let (whole, part) = halves(coins)?;
        return scaled(whole, part, COIN_DECIMALS).map(Amount::Coins);
    }
    units(text).map(Amount::Units)
}

fn halves(text: &str) -> Result<(&str, &str), AmountError> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || (text.contains('.') && part.is_empty()) {
        return Err(AmountError::Form);
    }
    Ok((whole, part))
}

fn scaled(whole: &str, part: &str, decimals: u8) -> Result<Nano, AmountError> {
    let width = usize::from(decimals);
    if part.len() > width {
        return Err(AmountError::Form);
    }
    units(&format!("{whole}{part:0<width$}"))
}

fn units(digits: &str) -> Result<Nano, AmountError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AmountError::Form);
    }
    let units = digits.parse().map_err(|_| AmountError::Form)?;
    Nano::new(units).map_err(|_| AmountError::Form)
}

/// An amount in coins, for people.
#[must_use]
pub(super) fn in_coins(amount: Nano) -> String {
    format!("{} TON", divided(amount, COIN_DECIMALS))
}

/// Smallest units of whatever asset.
#[must_use]
pub(super) fn in_whole_units(amount: Nano) -> String {
    format!("{amount} units")
}

/// Smallest units for people: with the asset's name, and divided where the decimals are known.
#[must_use]
pub(super) fn in_units(amount: Nano, asset: Asset, decimals: Option<u8>) -> String {
    match (asset, decimals) {
        (Asset::Coin, _) => format!("{amount} nano"),
        (Asset::Jetton(_), None) => in_whole_units(amount),
        (Asset::Jetton(_), Some(decimals)) => {
            format!("{amount} units ({} {JETTON})", divided(amount, decimals))
        }
    }
}

fn divided(amount: Nano, decimals: u8) -> String {
    let width = usize::from(decimals);
    let digits = amount.units().to_string();
    let digits = format!("{digits:0>width$}");
    let (whole, part) = digits.split_at(digits.len().saturating_sub(width));
    let whole = if whole.is_empty() { "0" } else { whole };
    match part.trim_end_matches('0') {
        "" => whole.to_owned(),
        part => format!("{whole}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::digest::AccountId;
    use protocol::ton::TonAddress;

    const JETTON: Asset = Asset::Jetton(TonAddress {
        workchain: 0,
        account: AccountId([4; 32]),
    });

    #[test]
    fn units_and_coins_are_told_apart_by_the_unit_alone() {
        let nano = |text| parse_amount(text)?.units(Asset::Coin, None);
        for (text, units) in [
            ("500000000", 500_000_000),
            ("0.5ton", 500_000_000),
            ("2ton", 2_000_000_000),
            ("0.000000001ton", 1),
        ] {
            assert_eq!(nano(text), Ok(Nano::from_u64(units)));
        }
        for bad in [
            "",
            "ton",
            ".ton",
            "jetton",
            "0.5",
            "-1",
            "+1",
            "1.ton",
            "1.jetton",
            "0.0000000001ton",
            "1e9",
            "1 ton",
            "9999999999999999999999999999999999999",
            "1.-1jetton",
        ] {
            assert_eq!(parse_amount(bad), Err(AmountError::Form), "{bad}");
        }
    }

    #[test]
    fn jettons_are_counted_by_known_decimals_and_by_nothing_else() {
        let units = |text, asset, decimals| parse_amount(text)?.units(asset, decimals);
        assert_eq!(
            units("5.25jetton", JETTON, Some(6)),
            Ok(Nano::from_u64(5_250_000))
        );
        assert_eq!(units("5jetton", JETTON, Some(0)), Ok(Nano::from_u64(5)));
        assert_eq!(units("7", JETTON, None), Ok(Nano::from_u64(7)));
        let none = units("5.25jetton", JETTON, None);
        assert_eq!(none, Err(AmountError::Decimals));
        let finer = units("0.0000001jetton", JETTON, Some(6));
        assert_eq!(finer, Err(AmountError::Form));
        for (text, asset) in [("1jetton", Asset::Coin), ("1ton", JETTON)] {
            assert_eq!(units(text, asset, Some(6)), Err(AmountError::OtherAsset));
        }
    }

    #[test]
    fn amounts_are_shown_exactly() {
        assert_eq!(in_coins(Nano::from_u64(1_500_000_000)), "1.5 TON");
        assert_eq!(in_coins(Nano::from_u64(1)), "0.000000001 TON");
        assert_eq!(in_coins(Nano::ZERO), "0 TON");
        let shown = |units, decimals| in_units(Nano::from_u64(units), JETTON, decimals);
        assert_eq!(shown(5_250_000, Some(6)), "5250000 units (5.25 jetton)");
        assert_eq!(shown(12, Some(0)), "12 units (12 jetton)");
        assert_eq!(shown(12, None), "12 units");
    }
}
