//! mock-tee.
