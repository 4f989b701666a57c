//! Loading kernel modules, and making the nodes of the devices that they bring.

use std::os::fd::{AsFd, AsRawFd as _};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Uid, chown};

use crate::{CallFailed, Result};

/// Loads the kernel module in an open file, without parameters.
///
/// # Errors
/// That of the call; `ENODEV` when the module found no device of its kind.
pub fn load(file: impl AsFd) -> Result<()> {
    let descriptor = file.as_fd().as_raw_fd();
    let parameters = c"".as_ptr();
    let none: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as `file` is borrowed, and the string is static.
    let loaded = unsafe { libc::syscall(libc::SYS_finit_module, descriptor, parameters, none) };
    nix::errno::Errno::result(loaded)
        .map(drop)
        .map_err(CallFailed::of("finit_module"))
}

/// Makes the node of a character device, which one user alone may open.
///
/// # Errors
/// That of the failing call.
pub fn node(path: &Path, major: u32, minor: u32, owner: u32) -> Result<()> {
    let device = makedev(u64::from(major), u64::from(minor));
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    mknod(path, SFlag::S_IFCHR, mode, device).map_err(CallFailed::of("mknod"))?;
    let (user, group) = (Uid::from_raw(owner), Gid::from_raw(owner));
    chown(path, Some(user), Some(group)).map_err(CallFailed::of("chown"))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_is_no_module_is_refused_with_the_kernels_reason() {
        let refused = load(File::open("/dev/null").unwrap()).unwrap_err();
        assert_eq!(refused.call, "finit_module");
        assert_ne!(refused.errno, 0);
    }

    #[test]
    fn a_node_cannot_be_made_where_there_is_no_directory() {
        let refused = node(Path::new("/no-such-directory/node"), 1, 3, 0).unwrap_err();
        assert_eq!((refused.call, refused.errno), ("mknod", libc::ENOENT));
    }
}
