//! A lite-server for tests: blocks of a network of one validator, whose accounts are what the test
//! says, and a server that shows them over ADNL, with every fault that a server can have.
//!
//! Written by the models of `tycho-types`, so that layouts are not the reader's own. Not here: an
//! emulation of the chain (`tests/ton-testnode`), claims about what reads it.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::missing_panics_doc,
    reason = "a part of tests; a panic is the failure"
)]

pub mod accounts;
pub mod blocks;
mod mirror;
mod scene;
mod server;
mod test_chain;

pub use mirror::Mirror;
pub use scene::{AccountCell, Scene};
pub use server::{Changing, Fault, Served, Shown, start, start_changing};
pub use test_chain::TestChain;
