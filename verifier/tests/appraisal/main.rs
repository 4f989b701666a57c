//! Appraisal from outside: good evidence of a simulated machine, then the same with one thing
//! wrong at a time, and real evidence of real machines. Nothing here reads a clock or a socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod bad_input;
mod binding;
mod bundle;
mod coverage;
mod dates;
mod devices;
mod edges;
mod grant;
mod nvidia;
mod order;
mod points;
mod policy_schema;
mod real_nvidia;
mod real_snp;
mod real_tdx;
mod second_opinion;
mod snp;
mod tdx;
mod verdict;
mod world;
