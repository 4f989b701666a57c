//! Mounting, and leaving every mount behind.
//!
//! Each function states what it mounts with; no flag is the caller's choice.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, chroot, pivot_root};

use crate::{CallFailed, Result};

const NONE: Option<&str> = None;

/// Nothing on such a mount is a device, gains privileges or runs.
const INERT: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

/// What lies on an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Programs, which may be started.
    Programs,
    /// Files that are only read.
    Files,
}

/// Mounts a pseudo file system (`proc`, `sysfs`, `tmpfs`, …): no devices, no programs.
///
/// # Errors
/// That of the call.
pub fn pseudo(kind: &str, target: &Path, options: &str) -> Result<()> {
    mount(Some(kind), target, Some(kind), INERT, Some(options)).map_err(CallFailed::of("mount"))
}

/// Mounts the kernel's own device nodes.
///
/// # Errors
/// That of the call.
pub fn devices(target: &Path) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let kind = Some("devtmpfs");
    mount(kind, target, kind, flags, Some("mode=0755")).map_err(CallFailed::of("mount"))
}

/// Mounts an EROFS image from a block device, read-only.
///
/// # Errors
/// That of the call; `EIO` when the device refuses a block.
pub fn image(device: &Path, target: &Path, contents: Contents) -> Result<()> {
    let flags = match contents {
        Contents::Programs => MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Contents::Files => INERT,
    };
    let flags = flags | MsFlags::MS_RDONLY;
    mount(Some(device), target, Some("erofs"), flags, NONE).map_err(CallFailed::of("mount"))
}

/// Unmounts; fails while something on it is open.
///
/// # Errors
/// That of the call.
pub fn unmount(target: &Path) -> Result<()> {
    umount2(target, MntFlags::empty()).map_err(CallFailed::of("umount2"))
}

/// Moves a mount to another directory.
///
/// # Errors
/// That of the call.
pub fn move_to(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, NONE, MsFlags::MS_MOVE, NONE).map_err(CallFailed::of("mount"))
}

/// Makes the mount at `root` the root directory, for a process whose root is the initramfs.
///
/// # Errors
/// That of the failing call.
pub fn enter_root(root: &Path) -> Result<()> {
    chdir(root).map_err(CallFailed::of("chdir"))?;
    move_to(Path::new("."), Path::new("/"))?;
    chroot(".").map_err(CallFailed::of("chroot"))?;
    chdir("/").map_err(CallFailed::of("chdir"))
}

/// Leaves every mount and every network interface behind: afterwards the process sees one empty
/// read-only directory. `mount_point` is any directory; it needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// That of the failing call.
pub fn leave_everything(mount_point: &Path) -> Result<()> {
    part()?;
    let kind = Some("tmpfs");
    let options = Some("mode=0555,size=4k,nr_inodes=2");
    mount(kind, mount_point, kind, INERT | MsFlags::MS_RDONLY, options)
        .map_err(CallFailed::of("mount"))?;
    enter(mount_point)
}

/// As [`leave_everything`], but files and directories stay in sight: each at the place beside it,
/// an absolute path, in the otherwise empty read-only directory.
///
/// # Errors
/// That of the failing call.
pub fn leave_all_but(mount_point: &Path, seen: &[(PathBuf, PathBuf)]) -> Result<()> {
    part()?;
    let kind = Some("tmpfs");
    let options = Some("mode=0755,size=64k,nr_inodes=256");
    mount(kind, mount_point, kind, INERT, options).map_err(CallFailed::of("mount"))?;
    for (from, at) in seen {
        let target = mount_point.join(at.strip_prefix("/").unwrap_or(at));
        make_place(from, &target)?;
        mount(Some(from), &target, NONE, MsFlags::MS_BIND, NONE)
            .map_err(CallFailed::of("mount"))?;
    }
    let sealed = INERT | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(NONE, mount_point, NONE, sealed, NONE).map_err(CallFailed::of("mount"))?;
    enter(mount_point)
}

/// A directory or an empty file on which `from` can be mounted.
fn make_place(from: &Path, target: &Path) -> Result<()> {
    let failed = |error: std::io::Error| CallFailed {
        call: "open",
        errno: error.raw_os_error().unwrap_or(0),
    };
    if fs::metadata(from).map_err(failed)?.is_dir() {
        return fs::create_dir_all(target).map_err(failed);
    }
    let directory = target.parent().unwrap_or(target);
    fs::create_dir_all(directory).map_err(failed)?;
    File::create(target).map(drop).map_err(failed)
}

/// Namespaces of its own, from which nothing comes back.
fn part() -> Result<()> {
    let namespaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    unshare(namespaces).map_err(CallFailed::of("unshare"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NONE, "/", NONE, private, NONE).map_err(CallFailed::of("mount"))
}

/// Makes the mount at `mount_point` the root, and leaves the old one.
fn enter(mount_point: &Path) -> Result<()> {
    chdir(mount_point).map_err(CallFailed::of("chdir"))?;
    // The old root comes to lie on the new one and is detached with all that is mounted below it.
    pivot_root(".", ".").map_err(CallFailed::of("pivot_root"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(CallFailed::of("umount2"))?;
    chdir("/").map_err(CallFailed::of("chdir"))
}
