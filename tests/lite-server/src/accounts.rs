//! Accounts of the project's own contracts, as cells of a shard's state: committed code, and data
//! that the test says.

use contracts::channel::{ChannelState, Standing};
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellFamily as _, HashBytes, Store as _};
use tycho_types::dict::Dict;
use tycho_types::models::{IntAddr, StdAddr};
use tycho_types::num::Tokens;

use crate::AccountCell;
use crate::blocks::{LAST_LT, account_of, tower};

/// What accounts hold unless a test says otherwise: ten coins.
pub const BALANCE: u128 = 10_000_000_000;

/// A payment channel in some state, whatever its address follows from.
#[must_use]
pub fn channel(at: &TonAddress, state: &ChannelState) -> AccountCell {
    let code = include_bytes!("../../../contracts/compiled/channel.boc");
    under(code, at, BALANCE, channel_data(state))
}

/// The same data under other code.
#[must_use]
pub fn not_a_channel(at: &TonAddress, state: &ChannelState) -> AccountCell {
    of(at, BALANCE, tower(2), channel_data(state))
}

fn channel_data(state: &ChannelState) -> Cell {
    let mut parties = CellBuilder::new();
    put_address(&mut parties, &state.terms.payee);
    parties
        .store_u256(&HashBytes(state.terms.payer_key.0))
        .unwrap();
    put_address(&mut parties, &state.terms.payer);
    let mut data = CellBuilder::new();
    put_coins(&mut data, state.claimed);
    data.store_u256(&HashBytes(state.last_root.0)).unwrap();
    data.store_u32(match state.standing {
        Standing::Closed => 0,
        Standing::Open => u32::MAX,
        Standing::Closing { until } => until,
    })
    .unwrap();
    put_coins(&mut data, state.deposited);
    data.store_u32(state.epoch).unwrap();
    data.store_u32(state.terms.window).unwrap();
    data.store_reference(parties.build().unwrap()).unwrap();
    data.build().unwrap()
}

/// A wallet v4r2 whose next message must carry this number.
#[must_use]
pub fn wallet(at: &TonAddress, seqno: u32, balance: u128) -> AccountCell {
    let code = include_bytes!("../../../contracts/compiled/wallet-v4r2.boc");
    let mut data = CellBuilder::new();
    data.store_u32(seqno).unwrap();
    // Its own number, its key, no plugins: not read.
    data.store_zeros(32 + 256 + 1).unwrap();
    under(code, at, balance, data.build().unwrap())
}

/// A registry with one release in its list: since when it counts, when it was revoked.
#[must_use]
pub fn registry(at: &TonAddress, release: [u8; 32], valid: (u32, u32)) -> AccountCell {
    let code = include_bytes!("../../../contracts/compiled/registry.boc");
    under(code, at, BALANCE, registry_data(release, valid))
}

/// The same data under other code.
#[must_use]
pub fn not_a_registry(at: &TonAddress, release: [u8; 32], valid: (u32, u32)) -> AccountCell {
    of(at, BALANCE, tower(2), registry_data(release, valid))
}

fn registry_data(release: [u8; 32], (valid_from, revoked_at): (u32, u32)) -> Cell {
    let mut releases = Dict::<HashBytes, (u32, u32, bool)>::new();
    releases
        .set(HashBytes(release), (valid_from, revoked_at, false))
        .unwrap();
    let releases = CellBuilder::build_from(releases).unwrap();
    let mut lists = CellBuilder::new();
    lists.store_zeros(2).unwrap();
    lists.store_bit_one().unwrap();
    lists.store_bit_zero().unwrap();
    lists
        .store_reference(releases.reference_cloned(0).unwrap())
        .unwrap();
    let mut data = CellBuilder::new();
    data.store_zeros(32 + 32 + 256).unwrap();
    data.store_reference(lists.build().unwrap()).unwrap();
    for _ in ["prices", "adder", "revoker"] {
        data.store_reference(tower(1)).unwrap();
    }
    data.build().unwrap()
}

fn under(code: &[u8], at: &TonAddress, balance: u128, data: Cell) -> AccountCell {
    of(at, balance, Boc::decode(code).unwrap(), data)
}

fn of(at: &TonAddress, balance: u128, code: Cell, data: Cell) -> AccountCell {
    AccountCell {
        address: at.account.0,
        cell: account_of(at.account.0, balance, code, data),
        last_lt: LAST_LT,
    }
}

fn put_address(cell: &mut CellBuilder, address: &TonAddress) {
    let address = StdAddr::new(address.workchain, HashBytes(address.account.0));
    IntAddr::Std(address)
        .store_into(cell, Cell::empty_context())
        .unwrap();
}

fn put_coins(cell: &mut CellBuilder, amount: Nano) {
    Tokens::new(amount.units())
        .store_into(cell, Cell::empty_context())
        .unwrap();
}
