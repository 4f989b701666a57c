//! What client and host agent know of TON: cells and messages of the contracts, the wallet that
//! sends them, and reads of the chain.
//!
//! The contracts themselves are `tolk/*.tolk`; their committed code is embedded here and checked
//! against its committed hash. `chain` reads accounts in one of two ways: `toncenter`, an endpoint
//! that is **trusted** (whoever runs it can lie), or `lite`, lite-servers whose answers `proof`
//! checks from one pinned block. Deliberately not here: deciding when to claim
//! or what to sign (`host-agent`, `client`), a voucher's bytes (`protocol`), clocks and randomness.
#![forbid(unsafe_code)]

pub mod account;
pub mod asset;
mod cells;
pub mod chain;
pub mod channel;
pub mod close;
pub mod cocoon_root;
mod code;
pub mod jetton_channel;
pub mod lite;
pub mod message;
pub mod proof;
pub mod registry;
pub mod stake;
pub mod toncenter;
pub mod transaction;
pub mod wallet;

pub use cells::CellError;
pub use tycho_types::cell::Cell;
