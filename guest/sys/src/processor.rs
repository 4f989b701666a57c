//! Leave to use parts of the processor that the kernel saves only for processes that ask.

use crate::{CallFailed, Result};

/// `ARCH_REQ_XCOMP_PERM` of `arch_prctl(2)`, and the number of AMX's tile data among the extended
/// states. Source: Linux, Documentation/arch/x86/xstate.rst.
const REQUEST: libc::c_long = 0x1023;
const TILE_DATA: libc::c_long = 18;

/// Lets all threads of this process use AMX's tile registers.
///
/// # Errors
/// `arch_prctl` when processor or kernel has none, or the call is not allowed.
pub fn permit_tiles() -> Result<()> {
    // SAFETY: the call takes two numbers and touches no memory of this process.
    let permitted = unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) };
    nix::errno::Errno::result(permitted)
        .map(drop)
        .map_err(CallFailed::of("arch_prctl"))
}
