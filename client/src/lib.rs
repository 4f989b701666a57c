//! The client: attest the machine that answers, pin what it runs, pay for what arrives, ask.
//!
//! One room for the program `cocoon` and for its research twin: [`run`] takes the trust anchors,
//! the ALPN name, the network and the surroundings (clock, randomness) as arguments. What is
//! deliberately not here: the rules of appraisal (`verifier`), byte layouts (`protocol`), TON cells
//! (`contracts`).
#![forbid(unsafe_code)]

pub mod chain;
pub mod channel;
pub mod chat;
mod command;
mod deployment;
pub mod local;
pub mod payment;
pub mod pins;
pub mod registry;
pub mod session;
pub mod wallet;

pub use command::run;
pub use deployment::{Deployment, NoRandomness, Surroundings};
