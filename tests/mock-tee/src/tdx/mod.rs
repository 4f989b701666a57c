//! A simulated Intel TDX machine: so far its root.

mod chain;

pub use chain::root_certificate;
