//! What minters and wallets of jettons say of themselves, through getters (TEP-74, TEP-89).
//!
//! **Trusted** twice: that the endpoint ran the getter, and that the jetton's code answers rightly.
//! Nothing of it is used to judge a channel: a channel's state says what was deposited.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tycho_types::cell::{Cell, CellBuilder, HashBytes};
use tycho_types::dict::RawDict;

use super::reply::{cell, plain};
use super::{ChainError, Toncenter};
use crate::account::AccountState;
use crate::cells::{self, CellError};

/// Beyond this an amount is unreadable, whatever a minter says.
const MAX_DECIMALS: u8 = 36;

/// A jetton wallet and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JettonWallet {
    /// Its address, as the minter says.
    pub address: TonAddress,
    /// Its jettons, as it says; nothing while it is not deployed.
    pub balance: Nano,
}

impl Toncenter {
    /// Somebody's wallet of a minter's jetton.
    ///
    /// # Errors
    /// See [`ChainError`]; `Getter` when no minter lives at the address.
    pub async fn jetton_wallet(
        &self,
        minter: &TonAddress,
        owner: &TonAddress,
    ) -> Result<JettonWallet, ChainError> {
        let mut slice = CellBuilder::new();
        let stored = cells::store_address(&mut slice, owner);
        let slice = stored.and_then(|()| slice.build().map_err(CellError::building));
        let slice = slice.map_err(|_| MALFORMED)?;
        let given = json!([["tvm.Slice", STANDARD.encode(cells::encode(&slice))]]);
        let stack = self.run(minter, "get_wallet_address", given).await?;
        let address = address_of(&bag_at(&stack, 0)?).map_err(|_| MALFORMED)?;
        let balance = match self.account(&address).await?.state {
            AccountState::Active { .. } => {
                let stack = self.run(&address, "get_wallet_data", json!([])).await?;
                amount_at(&stack, 0)?
            }
            AccountState::Uninitialized | AccountState::Frozen => Nano::ZERO,
        };
        Ok(JettonWallet { address, balance })
    }

    /// Into how many decimals people divide a jetton, where its minter says so on the chain. What
    /// a minter keeps elsewhere is not fetched.
    ///
    /// # Errors
    /// See [`ChainError`].
    pub async fn jetton_decimals(&self, minter: &TonAddress) -> Result<Option<u8>, ChainError> {
        let stack = self.run(minter, "get_jetton_data", json!([])).await?;
        Ok(decimals_of(&bag_at(&stack, 3)?))
    }
}

const MALFORMED: ChainError = ChainError::Malformed { what: "stack" };

/// Real endpoints show a slice as a cell.
fn bag_at(stack: &[(String, Value)], at: usize) -> Result<Cell, ChainError> {
    let bytes = match stack.get(at) {
        Some((kind, value)) if matches!(kind.as_str(), "cell" | "slice") => value.get("bytes"),
        Some(_) | None => None,
    };
    cell(bytes.and_then(Value::as_str).ok_or(MALFORMED)?, "stack")
}

fn amount_at(stack: &[(String, Value)], at: usize) -> Result<Nano, ChainError> {
    let digits = match stack.get(at) {
        Some((kind, Value::String(text))) if kind == "num" => text.strip_prefix("0x"),
        Some(_) | None => None,
    };
    let digits = digits.and_then(|digits| plain(digits, 16));
    let units = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    let amount = units.and_then(|units| Nano::new(units).ok());
    amount.ok_or(MALFORMED)
}

fn address_of(slice: &Cell) -> Result<TonAddress, CellError> {
    let mut slice = slice.as_slice().map_err(CellError::parsing)?;
    let address = cells::load_address(&mut slice)?;
    cells::finish(&slice)?;
    Ok(address)
}

/// Content on the chain (TEP-64): a zero byte, and texts by the SHA-256 of their names.
fn decimals_of(content: &Cell) -> Option<u8> {
    let mut slice = content.as_slice().ok()?;
    if slice.load_u8().ok()? != 0 || !slice.load_bit().ok()? {
        return None;
    }
    let texts = RawDict::<256>::from(Some(slice.load_reference_cloned().ok()?));
    let key = HashBytes(Sha256::digest("decimals").into());
    let key = CellBuilder::build_from(key).ok()?;
    let mut found = texts.get(key.as_slice().ok()?).ok()??;
    let mut text = found.load_reference_as_slice().ok()?;
    if text.load_u8().ok()? != 0 {
        return None;
    }
    let mut digits = String::new();
    while !text.is_data_empty() {
        digits.push(char::from(text.load_u8().ok()?));
    }
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    let decimals: u8 = digits.parse().ok().filter(|_| plain)?;
    (decimals <= MAX_DECIMALS).then_some(decimals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tycho_types::cell::CellFamily as _;
    use tycho_types::dict::Dict;

    /// Content as minters make it, with one text.
    fn content(layout: u8, name: &str, text: &[u8]) -> Cell {
        let mut value = CellBuilder::new();
        value
            .store_raw(text, u16::try_from(text.len()).unwrap().saturating_mul(8))
            .unwrap();
        let mut texts = Dict::<HashBytes, Cell>::new();
        let key = HashBytes(Sha256::digest(name).into());
        texts.set(key, value.build().unwrap()).unwrap();
        let mut content = CellBuilder::new();
        content.store_u8(layout).unwrap();
        let texts = CellBuilder::build_from(texts).unwrap();
        content.store_slice(texts.as_slice().unwrap()).unwrap();
        content.build().unwrap()
    }

    #[test]
    fn an_amount_on_a_stack_has_one_text() {
        let amount = |text: &str| amount_at(&[("num".to_owned(), Value::from(text))], 0).ok();
        assert_eq!(amount("0x0"), Some(Nano::ZERO));
        assert_eq!(amount("0xf4240"), Some(Nano::from_u64(1_000_000)));
        let largest = format!("0x{}", "f".repeat(30));
        assert_eq!(amount(&largest), Some(Nano::MAX));
        let beyond = format!("0x1{}", "0".repeat(30));
        for other in [
            "", "0x", "7", "-0x1", "0x-1", "0x+1", "0x01", "0x00", &beyond,
        ] {
            assert_eq!(amount(other), None, "{other}");
        }
        assert!(amount_at(&[("cell".to_owned(), Value::from("0x1"))], 0).is_err());
        assert!(amount_at(&[], 0).is_err());
    }

    #[test]
    fn decimals_are_what_the_content_says_and_never_a_guess() {
        let six = content(0, "decimals", b"\x006");
        assert_eq!(decimals_of(&six), Some(6));
        assert_eq!(decimals_of(&content(0, "decimals", b"\x0018")), Some(18));
        for silent in [
            content(1, "decimals", b"\x006"),
            content(0, "symbol", b"\x006"),
            content(0, "decimals", b"6"),
            content(0, "decimals", b"\x00"),
            content(0, "decimals", b"\x00+6"),
            content(0, "decimals", b"\x0037"),
            content(0, "decimals", b"\x00300"),
            content(0, "decimals", b"\x00six"),
            Cell::empty_cell(),
        ] {
            assert_eq!(decimals_of(&silent), None);
        }
    }
}
