//! A simulated TEE: signs real-format reports under research roots, with a knob for every lie.
//!
//! It proves the protocol and the verifier, not isolation. Every key is derived from a text that
//! stands in `seed`, so it protects nothing; every certificate carries the research marker, which
//! production anchors refuse. What was launched is worked out from what the hypervisor was really
//! given, by crate `sev`, and never by `measurements`: otherwise the equality would prove nothing.
#![forbid(unsafe_code)]

mod certificates;
pub mod launch;
mod lie;
pub mod nvidia;
mod rsa_keys;
mod seed;
pub mod snp;
pub mod socket;
pub mod tdx;

pub use lie::{Lie, UnknownLie};
pub use seed::PUBLIC_SEED;

/// Why the simulation could not make what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum MockTeeError {
    /// A value does not fit its DER form.
    #[error("cannot encode a certificate")]
    Encoding(#[from] der::Error),
    /// The derivation of a key gave no key.
    #[error("cannot derive a key")]
    Key,
    /// Endorsements beyond their limits.
    #[error("cannot collect endorsements")]
    Endorsements(#[from] protocol::codec::DecodeError),
}
