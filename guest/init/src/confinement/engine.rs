//! What engine needs beyond its start: reading the model from the descriptor that it was given.

use super::filter::{Call, allow};

/// The calls.
pub(super) const CALLS: &[Call] = &[
    allow(libc::SYS_pread64, "pread64", "parts of the model"),
    allow(libc::SYS_lseek, "lseek", "length of the model"),
    allow(
        libc::SYS_setsockopt,
        "setsockopt",
        "timeouts of the stream from serve",
    ),
];
