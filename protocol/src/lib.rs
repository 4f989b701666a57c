//! Every type that crosses a trust boundary, with its limits and its encoding.
//!
//! Pure: no I/O, clock, environment or randomness; `no_std` with `alloc`. A reader of
//! `docs/spec` finds one module here for each page there. What is deliberately not here:
//! appraisal (the `verifier` crate), sockets (the programs), and TON cells other than the one
//! hash that a voucher's signature needs.
#![no_std]
#![forbid(unsafe_code)]

// For the macros of `digest`, in crates that name no `alloc`.
#[doc(hidden)]
pub extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod codec;
pub mod digest;
pub mod endorsements;
pub mod event_log;
pub mod evidence;
pub mod gpu_evidence;
pub mod launch_configuration;
pub mod machine_grant;
pub mod merkle;
pub mod nano;
pub mod receipt;
pub mod reference_values;
pub mod serving;
mod signature;
pub mod statement;
pub mod tee;
pub mod ton;
pub mod verity;
pub mod voucher;
