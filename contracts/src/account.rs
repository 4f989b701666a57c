//! An account as the chain holds it, whoever showed it.
//!
//! Not here: how it was learned. `toncenter` is believed, `proof` checks.

use protocol::nano::Nano;
use tycho_types::cell::Cell;

/// Whether an account has code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountState {
    /// No code yet, whatever its balance.
    Uninitialized,
    /// Frozen for unpaid rent.
    Frozen,
    /// Code and data.
    Active {
        /// The code.
        code: Cell,
        /// The data.
        data: Cell,
    },
}

/// An account at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its balance.
    pub balance: Nano,
    /// Its state.
    pub state: AccountState,
    /// Logical time of its last transaction; 0 before the first.
    pub last_lt: u64,
    /// The chain's time when this was read, unix seconds.
    pub chain_time: u32,
}
