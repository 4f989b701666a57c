//! Messages between the parts of one machine: guest and host, init and serve, serve and engine.
//!
//! Pure like `protocol`, and apart from it because no client and no verifier reads any of them: who
//! audits what a client trusts has these lines not to read. What is deliberately not here: what a
//! client sees (`protocol`), and sockets (the programs).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod boot;
pub mod engine_ipc;
pub mod framing;
pub mod gpu_socket;
pub mod host_control;
pub mod quote_socket;
