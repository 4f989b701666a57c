//! What the engine of images for GPUs needs beyond the engine's list and its libraries
//! (`library`): requests to the driver and to its unified memory, and what libcuda does besides.
//!
//! Compiled into every init and used by one table, `boot::GPU`. The list follows
//! - the numbers of requests in the sources of the modules that the image holds: those of `nvidia`
//!   carry the byte 0x46; those of `nvidia-uvm` are plain numbers below 256
//!   (`UVM_IOCTL_BASE`), with two exceptions;
//! - traces of `cuInit` and of contexts that others published (NVIDIA/cuda-checkpoint issue 10,
//!   canonical/lxd issue 5433, google/gvisor issue 10331), for drivers 410 to 550.
//!
//! It has not run on a GPU: a call that is missing kills the engine, and the machine with it.

use super::filter::{Call, Condition, absent, allow, allow_when};
use super::library::{FIONBIO, OF_NVIDIA};

/// `UVM_INITIALIZE` and `UVM_DEINITIALIZE`.
const UVM_INITIALIZE: u32 = 0x3000_0001;
const UVM_DEINITIALIZE: u32 = 0x3000_0002;

/// A request of unified memory: a plain number. Of such numbers, files that are no devices have
/// only two, which tell where a block lies and how large it is.
const OF_UNIFIED_MEMORY: Condition = Condition::Bits {
    argument: 1,
    mask: 0xffff_ff00,
    value: 0,
};

/// The calls; each takes the place of the same call in the other lists.
pub(super) const CALLS: &[Call] = &[
    allow_when(
        libc::SYS_ioctl,
        "ioctl",
        &[
            &[Condition::Is(1, FIONBIO)],
            &[OF_NVIDIA],
            &[OF_UNIFIED_MEMORY],
            &[Condition::Is(1, UVM_INITIALIZE)],
            &[Condition::Is(1, UVM_DEINITIALIZE)],
        ],
        "requests to NVIDIA's driver and its unified memory",
    ),
    allow(
        libc::SYS_eventfd2,
        "eventfd2",
        "libcuda wakes a thread of its own",
    ),
    allow(
        libc::SYS_pipe2,
        "pipe2",
        "libcuda wakes a thread of its own",
    ),
    allow(
        libc::SYS_getcpu,
        "getcpu",
        "libcuda asks where it runs, where the clock is not in user space",
    ),
    allow(
        libc::SYS_sched_get_priority_max,
        "sched_get_priority_max",
        "libcuda asks what a thread's priority may be",
    ),
    allow(
        libc::SYS_sched_get_priority_min,
        "sched_get_priority_min",
        "libcuda asks what a thread's priority may be",
    ),
    absent(
        libc::SYS_get_mempolicy,
        "get_mempolicy",
        "libcuda looks for memory near a processor; as on a kernel with one kind",
    ),
    absent(
        libc::SYS_set_mempolicy,
        "set_mempolicy",
        "libcuda looks for memory near a processor; as on a kernel with one kind",
    ),
    absent(
        libc::SYS_mbind,
        "mbind",
        "libcuda looks for memory near a processor; as on a kernel with one kind",
    ),
    absent(
        libc::SYS_socket,
        "socket",
        "libcuda looks for a server that shares GPUs (MPS); there is none",
    ),
];
