//! The members of toncenter's replies that are looked at, and their strict reading.
//!
//! Members that are not named here are ignored: the real service adds some. Not here: requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::nano::Nano;
use serde::Deserialize;
use serde_json::Value;
use tycho_types::cell::Cell;

use super::ChainError;
use crate::cells::{self, CellError};

#[derive(Deserialize)]
pub(super) struct Reply<T> {
    pub(super) ok: bool,
    pub(super) result: Option<T>,
}

#[derive(Deserialize)]
pub(super) struct ShownRefusal {
    pub(super) error: String,
}

#[derive(Deserialize)]
pub(super) struct ShownAccount {
    pub(super) balance: Text,
    pub(super) code: String,
    pub(super) data: String,
    pub(super) state: ShownState,
    pub(super) last_transaction_id: ShownId,
    pub(super) sync_utime: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ShownState {
    Uninitialized,
    Frozen,
    Active,
}

#[derive(Deserialize)]
pub(super) struct ShownId {
    pub(super) lt: Text,
}

#[derive(Deserialize)]
pub(super) struct ShownTransaction {
    pub(super) data: String,
}

#[derive(Deserialize)]
pub(super) struct ShownConfig {
    pub(super) config: ShownCell,
}

#[derive(Deserialize)]
pub(super) struct ShownCell {
    pub(super) bytes: String,
}

#[derive(Deserialize)]
pub(super) struct ShownResult {
    pub(super) exit_code: i32,
    pub(super) stack: Vec<(String, Value)>,
}

/// Toncenter shows the same member as a number or as a string.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Text {
    Digits(String),
    Number(u64),
}

pub(super) fn amount(text: &Text) -> Result<Nano, ChainError> {
    let units = match text {
        Text::Digits(digits) => plain(digits, 10).and_then(|digits| digits.parse().ok()),
        Text::Number(number) => Some(u128::from(*number)),
    };
    units
        .and_then(|units| Nano::new(units).ok())
        .ok_or(ChainError::Malformed { what: "amount" })
}

pub(super) fn number(text: &Text, what: &'static str) -> Result<u64, ChainError> {
    match text {
        Text::Digits(digits) => plain(digits, 10)
            .and_then(|digits| digits.parse().ok())
            .ok_or(ChainError::Malformed { what }),
        Text::Number(number) => Ok(*number),
    }
}

/// Digits of this base as one writes them: no sign, no zeros in front.
pub(super) fn plain(digits: &str, base: u32) -> Option<&str> {
    let all = digits.chars().all(|digit| digit.is_digit(base));
    let shortest = digits == "0" || !digits.starts_with('0');
    (all && shortest && !digits.is_empty()).then_some(digits)
}

pub(super) fn bytes(text: &str, what: &'static str) -> Result<Vec<u8>, ChainError> {
    STANDARD
        .decode(text)
        .map_err(|_| ChainError::Malformed { what })
}

pub(super) fn cell(text: &str, what: &'static str) -> Result<Cell, ChainError> {
    cells::decode(&bytes(text, what)?).map_err(malformed(what))
}

pub(super) const fn malformed(what: &'static str) -> impl Fn(CellError) -> ChainError {
    move |_| ChainError::Malformed { what }
}

/// The digits after `exitcode=` in a refusal's text, the only part of it that is looked at.
pub(super) fn exit_code_of(text: &str) -> Option<i32> {
    let (_, after) = text.split_once("exitcode=")?;
    let end = after
        .find(|c: char| !c.is_ascii_digit() && c != '-')
        .unwrap_or(after.len());
    after.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_exit_code_of_a_refused_external_message() {
        let text = "cannot apply external message\nexitcode=33, steps=12";
        assert_eq!(exit_code_of(text), Some(33));
        assert_eq!(exit_code_of("exitcode=-14"), Some(-14));
        assert_eq!(exit_code_of("exitcode=99999999999"), None);
        assert_eq!(exit_code_of("no code"), None);
    }

    #[test]
    fn amounts_beyond_the_chain_are_malformed() {
        let text = |digits: &str| Text::Digits(digits.to_owned());
        assert!(amount(&text("1329227995784915872903807060280344576")).is_err());
        assert!(amount(&text("-1")).is_err());
        assert_eq!(amount(&Text::Number(7)).unwrap(), Nano::from_u64(7));
    }

    #[test]
    fn a_number_has_one_text() {
        let text = |digits: &str| Text::Digits(digits.to_owned());
        for digits in [
            "", "+7", "07", "00", "7 ", " 7", "7.0", "0x7", "7e0", "\u{667}",
        ] {
            assert!(amount(&text(digits)).is_err(), "{digits}");
            assert!(number(&text(digits), "lt").is_err(), "{digits}");
        }
        for digits in ["0", "7", "1329227995784915872903807060280344575"] {
            assert_eq!(amount(&text(digits)).unwrap().to_string(), digits);
        }
        assert_eq!(number(&text("10"), "lt").unwrap(), 10);
    }
}
