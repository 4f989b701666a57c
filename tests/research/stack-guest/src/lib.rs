//! stack-guest.
