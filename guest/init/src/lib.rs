//! PID 1 of the guest: boots by a table, composes every Statement, confines and watches the rest.
//!
//! What is deliberately not here: TLS, HTTP, models and payment (`serve`, `engine`), unsafe code
//! (`sys`), and any source of simulated reports (`tests/research/init`).
#![forbid(unsafe_code)]

pub mod quote;
