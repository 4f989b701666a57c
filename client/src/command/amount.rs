//! Amounts as people write them: whole nano units, or coins with the unit `ton`.

use protocol::nano::Nano;

const NANO_DIGITS: usize = 9;

/// Text that is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected nano units such as `500000000`, or coins such as `0.5ton`")]
pub(super) struct AmountError;

/// Reads `500000000` or `0.5ton`.
///
/// # Errors
/// `AmountError` for anything else, more than nine decimals, or beyond the range of coins.
pub(super) fn parse_amount(text: &str) -> Result<Nano, AmountError> {
    let Some(coins) = text.strip_suffix("ton") else {
        return units(text);
    };
    let (whole, decimals) = coins.split_once('.').unwrap_or((coins, ""));
    if whole.is_empty()
        || decimals.len() > NANO_DIGITS
        || (coins.contains('.') && decimals.is_empty())
    {
        return Err(AmountError);
    }
    units(&format!("{whole}{decimals:0<NANO_DIGITS$}"))
}

fn units(digits: &str) -> Result<Nano, AmountError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AmountError);
    }
    let units = digits.parse().map_err(|_| AmountError)?;
    Nano::new(units).map_err(|_| AmountError)
}

/// An amount in coins, for people.
#[must_use]
pub(super) fn in_coins(amount: Nano) -> String {
    let digits = format!("{:0>10}", amount.units());
    let (whole, decimals) = digits.split_at(digits.len().saturating_sub(NANO_DIGITS));
    match decimals.trim_end_matches('0') {
        "" => format!("{whole} TON"),
        decimals => format!("{whole}.{decimals} TON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nano_units_and_coins_are_told_apart_by_the_unit_alone() {
        let nano = |units| Ok(Nano::from_u64(units));
        assert_eq!(parse_amount("500000000"), nano(500_000_000));
        assert_eq!(parse_amount("0.5ton"), nano(500_000_000));
        assert_eq!(parse_amount("2ton"), nano(2_000_000_000));
        assert_eq!(parse_amount("0.000000001ton"), nano(1));
        for bad in [
            "",
            "ton",
            ".ton",
            "0.5",
            "-1",
            "+1",
            "1.ton",
            "0.0000000001ton",
            "1e9",
            "1 ton",
            "9999999999999999999999999999999999999",
        ] {
            assert_eq!(parse_amount(bad), Err(AmountError), "{bad}");
        }
    }

    #[test]
    fn coins_are_shown_exactly() {
        assert_eq!(in_coins(Nano::from_u64(1_500_000_000)), "1.5 TON");
        assert_eq!(in_coins(Nano::from_u64(1)), "0.000000001 TON");
        assert_eq!(in_coins(Nano::ZERO), "0 TON");
    }
}
