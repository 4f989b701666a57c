//! What a program needs that is linked with a loader and opens NVIDIA's libraries: it may map code
//! from files; landlock says from which, and none can be written.
//!
//! The list follows what the loader does, which the test machine shows, and what the driver's
//! libraries are known to do from the traces of others. That it is enough is not shown without a
//! GPU. What is deliberately not here: which requests a program may make of the driver.

use super::filter::{Call, Condition, absent, allow, allow_when};

/// `PROT_EXEC`.
const PROT_EXEC: u64 = 4;
/// `MAP_ANONYMOUS`.
const MAP_ANONYMOUS: u64 = 0x20;
/// `FIONBIO`: whether a socket waits.
pub(super) const FIONBIO: u32 = 0x5421;

/// A request of NVIDIA's: the byte that says whose it is (`NV_IOCTL_MAGIC`).
pub(super) const OF_NVIDIA: Condition = Condition::Bits {
    argument: 1,
    mask: 0xff00,
    value: 0x4600,
};

/// Memory that can be run comes from a file, or is no memory that can be run.
const FROM_FILES: &[&[Condition]] = &[
    &[Condition::Bits {
        argument: 2,
        mask: PROT_EXEC,
        value: 0,
    }],
    &[Condition::Bits {
        argument: 3,
        mask: MAP_ANONYMOUS,
        value: 0,
    }],
];

/// The calls; each takes the place of the same call in `start`.
pub(super) const CALLS: &[Call] = &[
    allow(
        libc::SYS_openat,
        "openat",
        "libraries and the driver's nodes; landlock lists them",
    ),
    allow(libc::SYS_pread64, "pread64", "headers of libraries"),
    allow(libc::SYS_lseek, "lseek", "files of the driver"),
    allow(
        libc::SYS_getdents64,
        "getdents64",
        "the driver's list of GPUs",
    ),
    allow_when(
        libc::SYS_mmap,
        "mmap",
        FROM_FILES,
        "heap, stacks, libraries, memory of the driver",
    ),
    allow(
        libc::SYS_geteuid,
        "geteuid",
        "the driver's library asks who it is",
    ),
    allow(
        libc::SYS_getuid,
        "getuid",
        "the driver's library asks who it is",
    ),
    allow(
        libc::SYS_getegid,
        "getegid",
        "the driver's library asks who it is",
    ),
    allow(
        libc::SYS_getgid,
        "getgid",
        "the driver's library asks who it is",
    ),
    allow(libc::SYS_uname, "uname", "the kernel's version"),
    allow(libc::SYS_sysinfo, "sysinfo", "size of memory"),
    absent(libc::SYS_mknodat, "mknodat", "nodes are init's"),
    absent(libc::SYS_mknod, "mknod", "nodes are init's"),
    absent(libc::SYS_chmod, "chmod", "nodes are init's"),
    absent(libc::SYS_fchmodat, "fchmodat", "nodes are init's"),
    absent(libc::SYS_chown, "chown", "nodes are init's"),
    absent(libc::SYS_fchownat, "fchownat", "nodes are init's"),
];
