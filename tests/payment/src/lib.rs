//! The machines of a payment channel, joined: in `tests/joint` under faults and lies, and here once
//! from end to end on a chain that is read by proof.
//!
//! Not here: guests, prompts and receipts (`ci/demo` has them), jettons.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a part of tests; a panic is the failure"
)]

pub mod end_to_end;
pub mod given;
