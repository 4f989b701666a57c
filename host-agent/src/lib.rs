//! The provider's agent: launches guests, relays ciphertext, keeps the journal of vouchers, and
//! settles on the chain.
//!
//! It is trusted by nobody but its owner: it sees no key, no prompt and no answer, and what it
//! tells a guest or a client is believed only where a signature or a register backs it. What a
//! guest tells it is hostile. Deliberately not here: appraisal (`verifier`, asked before a machine
//! of the owner's is granted), expected measurements (`measurements`), cells (`contracts`), and
//! anything that a release of clients trusts.
#![forbid(unsafe_code)]

pub mod agent;
pub mod chain;
pub mod clock;
pub mod command;
pub mod configure;
pub mod control;
pub mod doctor;
pub mod grant;
pub mod journal;
pub mod launch;
pub mod metrics;
pub mod plan;
pub mod publish;
pub mod relay;
pub mod report;
pub mod services;
pub mod settle;
pub mod up;
pub mod wallet;

#[cfg(test)]
mod samples;
