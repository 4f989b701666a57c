//! The guest's door to the kernel: every unsafe line of the guest outside the engine's kernels.
//!
//! Thin and without policy: one function per thing the kernel does, safe to call, with the errno
//! when it fails. What is deliberately not here: who calls what in which order (`init`), what a
//! report means (`attest`), and any parser of bytes that the host sent.
#![allow(
    unsafe_code,
    reason = "this crate is the one place for it: one operation per block, each with its fact"
)]

pub mod credentials;
pub mod descriptor;
pub mod device_mapper;
pub mod entropy;
pub mod heap;
pub mod memory;
pub mod module;
pub mod mount;
pub mod power;
pub mod process;
pub mod processor;
pub mod socket;
pub mod tee;

pub use descriptor::adopt;
pub use heap::{WipingHeap, gather_in_large_pages};

/// A system call that the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("system call {call} failed with errno {errno}")]
pub struct CallFailed {
    /// Name of the call.
    pub call: &'static str,
    /// The kernel's error number.
    pub errno: i32,
}

impl CallFailed {
    /// Names the call of a failure that `nix` reports; for use with `map_err`.
    pub(crate) fn of(call: &'static str) -> impl FnOnce(nix::errno::Errno) -> Self {
        move |errno| Self {
            call,
            errno: errno as i32,
        }
    }
}

/// The result of a call.
pub type Result<T> = std::result::Result<T, CallFailed>;
