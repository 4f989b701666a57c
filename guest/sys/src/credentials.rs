//! Giving up privileges, for good.

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::{CallFailed, Result};

/// `_LINUX_CAPABILITY_VERSION_3` of `linux/capability.h`.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Highest capability number that `linux/capability.h` leaves room for.
const LAST_CAPABILITY: libc::c_ulong = 63;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct`, of which version 3 takes two.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Becomes user and group `id` in all their forms, without supplementary groups, with every
/// capability set empty (bounding and ambient included), and never gains anything by exec again.
///
/// # Errors
/// That of the failing call; the process must not go on then.
pub fn drop_to(id: u32) -> Result<()> {
    empty_bounding_set()?;
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    setgroups(&[]).map_err(CallFailed::of("setgroups"))?;
    setresgid(group, group, group).map_err(CallFailed::of("setresgid"))?;
    setresuid(user, user, user).map_err(CallFailed::of("setresuid"))?;
    clear_ambient_set()?;
    clear_capabilities()?;
    nix::sys::prctl::set_no_new_privs().map_err(CallFailed::of("prctl"))
}

fn empty_bounding_set() -> Result<()> {
    for capability in 0..=LAST_CAPABILITY {
        // SAFETY: PR_CAPBSET_READ takes a number and touches no memory.
        let known = unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) };
        if known < 0 {
            // The first number that this kernel does not know.
            return Ok(());
        }
        // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        nix::errno::Errno::result(dropped).map_err(CallFailed::of("prctl"))?;
    }
    Ok(())
}

fn clear_ambient_set() -> Result<()> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL;
    // SAFETY: PR_CAP_AMBIENT takes numbers and touches no memory.
    let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, 0, 0, 0) };
    nix::errno::Errno::result(cleared)
        .map(drop)
        .map_err(CallFailed::of("prctl"))
}

fn clear_capabilities() -> Result<()> {
    let header = CapabilityHeader {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let sets = [CapabilitySets::default(); 2];
    // SAFETY: both pointers are to live values of the layout that this version has; the kernel
    // only reads them.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    nix::errno::Errno::result(set)
        .map(drop)
        .map_err(CallFailed::of("capset"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn the_layouts_are_those_of_the_kernel() {
        assert_eq!(size_of::<CapabilityHeader>(), 8);
        assert_eq!(size_of::<[CapabilitySets; 2]>(), 24);
        assert_eq!(offset_of!(CapabilitySets, inheritable), 8);
    }
}
