//! The system calls that the engine makes, each with its reason: data for init's filter.

/// Number and reason.
pub const SYSCALLS: &[(i64, &str)] = &[];
