//! System calls of serve, as data.

/// Placeholder until measured.
pub const SYSCALLS: &[(&str, &str)] = &[];
