//! What serve needs beyond its start: accepting on the listener that it was given, and waiting on
//! many streams at once.

use super::filter::{Call, allow};

/// The calls.
pub(super) const CALLS: &[Call] = &[
    allow(
        libc::SYS_accept4,
        "accept4",
        "connections on the inherited listener",
    ),
    allow(
        libc::SYS_epoll_create1,
        "epoll_create1",
        "waits on many streams",
    ),
    allow(libc::SYS_epoll_ctl, "epoll_ctl", "waits on many streams"),
    allow(libc::SYS_epoll_wait, "epoll_wait", "waits on many streams"),
    allow(
        libc::SYS_epoll_pwait,
        "epoll_pwait",
        "waits on many streams",
    ),
    allow(
        libc::SYS_eventfd2,
        "eventfd2",
        "wakes the wait from another thread",
    ),
    allow(libc::SYS_getsockopt, "getsockopt", "why a stream failed"),
    allow(
        libc::SYS_getsockname,
        "getsockname",
        "kind of an inherited socket",
    ),
    allow(
        libc::SYS_getpeername,
        "getpeername",
        "kind of an inherited socket",
    ),
    allow(libc::SYS_setsockopt, "setsockopt", "timeouts of a stream"),
];
