//! Between this project's types and cells: addresses, amounts, bags of one root.
//!
//! Not here: the layout of any particular cell, which stands beside its type.

use protocol::digest::AccountId;
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use tycho_types::boc::Boc;
use tycho_types::cell::{
    Cell, CellBuilder, CellFamily as _, CellSlice, HashBytes, Load as _, Store as _,
};
use tycho_types::models::{IntAddr, StdAddr};
use tycho_types::num::Tokens;

/// A cell could not be made or is not of the expected form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// More bits or references than one cell holds.
    #[error("value does not fit its cell")]
    DoesNotFit,
    /// Not the expected layout, or not a bag of one root.
    #[error("cell is not of the expected form")]
    Malformed,
}

impl CellError {
    /// For `map_err` while building: the cell library only ever reports an overflow there.
    pub(crate) fn building(_: tycho_types::error::Error) -> Self {
        Self::DoesNotFit
    }

    /// For `map_err` while parsing.
    pub(crate) fn parsing(_: tycho_types::error::Error) -> Self {
        Self::Malformed
    }
}

pub(crate) fn store_address(to: &mut CellBuilder, address: &TonAddress) -> Result<(), CellError> {
    StdAddr::new(address.workchain, HashBytes(address.account.0))
        .store_into(to, Cell::empty_context())
        .map_err(CellError::building)
}

/// Two zero bits: no address.
pub(crate) fn store_no_address(to: &mut CellBuilder) -> Result<(), CellError> {
    to.store_zeros(2).map_err(CellError::building)
}

pub(crate) fn store_coins(to: &mut CellBuilder, amount: Nano) -> Result<(), CellError> {
    Tokens::new(amount.units())
        .store_into(to, Cell::empty_context())
        .map_err(CellError::building)
}

pub(crate) fn load_address(from: &mut CellSlice<'_>) -> Result<TonAddress, CellError> {
    let address = StdAddr::load_from(from).map_err(CellError::parsing)?;
    if address.anycast.is_some() {
        return Err(CellError::Malformed);
    }
    Ok(of_standard(&address))
}

/// Two zero bits are no address.
pub(crate) fn load_maybe_address(
    from: &mut CellSlice<'_>,
) -> Result<Option<TonAddress>, CellError> {
    if from.get_small_uint(0, 2).map_err(CellError::parsing)? != 0 {
        return load_address(from).map(Some);
    }
    from.skip_first(2, 0).map_err(CellError::parsing)?;
    Ok(None)
}

/// An amount in its shortest form, as every contract stores it: there is one cell for it.
pub(crate) fn load_coins(from: &mut CellSlice<'_>) -> Result<Nano, CellError> {
    let before = from.size_bits();
    let amount = Tokens::load_from(from).map_err(CellError::parsing)?;
    let shortest = amount.bit_len();
    if shortest.is_none() || before.checked_sub(from.size_bits()) != shortest {
        return Err(CellError::Malformed);
    }
    nano(amount)
}

pub(crate) fn nano(amount: Tokens) -> Result<Nano, CellError> {
    Nano::new(amount.into_inner()).map_err(|_| CellError::Malformed)
}

/// `None` for an address of variable length, which this project never uses.
pub(crate) fn of_internal(address: &IntAddr) -> Option<TonAddress> {
    match address {
        IntAddr::Std(address) => Some(of_standard(address)),
        IntAddr::Var(_) => None,
    }
}

fn of_standard(address: &StdAddr) -> TonAddress {
    TonAddress {
        workchain: address.workchain,
        account: AccountId(address.address.0),
    }
}

/// Nothing may be left once a cell was read.
pub(crate) fn finish(slice: &CellSlice<'_>) -> Result<(), CellError> {
    if slice.is_data_empty() && slice.is_refs_empty() {
        Ok(())
    } else {
        Err(CellError::Malformed)
    }
}

/// The one root of a bag of cells.
pub(crate) fn decode(bag: &[u8]) -> Result<Cell, CellError> {
    Boc::decode(bag).map_err(|_| CellError::Malformed)
}

pub(crate) fn encode(root: &Cell) -> Vec<u8> {
    Boc::encode(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An amount in so many bytes, and whether they are all there.
    fn stored(bytes: &[u8]) -> CellBuilder {
        let mut cell = CellBuilder::new();
        cell.store_small_uint(u8::try_from(bytes.len()).unwrap(), 4)
            .unwrap();
        let bits = u16::try_from(bytes.len()).unwrap().saturating_mul(8);
        cell.store_raw(bytes, bits).unwrap();
        cell
    }

    fn loaded(cell: CellBuilder) -> Result<Nano, CellError> {
        let cell = cell.build().unwrap();
        let mut slice = cell.as_slice().unwrap();
        let amount = load_coins(&mut slice)?;
        finish(&slice).map(|()| amount)
    }

    #[test]
    fn an_amount_has_one_form() {
        for units in [0, 1, 255, 256, 1 << 63, (1 << 120) - 1] {
            let amount = Nano::new(units).unwrap();
            let mut cell = CellBuilder::new();
            store_coins(&mut cell, amount).unwrap();
            assert_eq!(loaded(cell), Ok(amount));
        }
        assert_eq!(loaded(stored(&[1, 0])), Ok(Nano::from_u64(256)));
        for longer in [&[0][..], &[0, 1], &[0, 0], &[0; 15]] {
            let refused = loaded(stored(longer));
            assert_eq!(refused, Err(CellError::Malformed), "{longer:?}");
        }
        let mut cut = CellBuilder::new();
        cut.store_small_uint(2, 4).unwrap();
        cut.store_u8(1).unwrap();
        assert_eq!(loaded(cut), Err(CellError::Malformed));
    }
}
