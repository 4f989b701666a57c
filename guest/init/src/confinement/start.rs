//! What every program needs: the one exec, the C library's and Rust's start, memory, threads,
//! time, its streams, its end.

use super::filter::{Call, Condition, absent, allow, allow_when};

/// `AT_EMPTY_PATH`: the descriptor itself is the program.
const AT_EMPTY_PATH: u32 = 0x1000;
/// `PROT_EXEC`.
const PROT_EXEC: u64 = 4;
/// `CLONE_VM | CLONE_SIGHAND | CLONE_THREAD`: a thread and no process.
const THREAD: u64 = 0x0001_0900;
/// `PR_SET_NAME`: a thread's name.
const PR_SET_NAME: u32 = 15;
/// `SIGABRT`.
const SIGABRT: u32 = 6;
/// `FIONBIO`: whether a socket waits.
const FIONBIO: u32 = 0x5421;

/// Nothing that is written can be run: no page is ever made executable.
const NOT_EXECUTABLE: &[&[Condition]] = &[&[Condition::Bits {
    argument: 2,
    mask: PROT_EXEC,
    value: 0,
}]];

/// `F_GETFD`, `F_SETFD`, `F_GETFL`, `F_SETFL`, `F_DUPFD_CLOEXEC`.
const DESCRIPTOR_FLAGS: &[&[Condition]] = &[
    &[Condition::Is(1, 1)],
    &[Condition::Is(1, 2)],
    &[Condition::Is(1, 3)],
    &[Condition::Is(1, 4)],
    &[Condition::Is(1, 1030)],
];

/// The calls.
pub(super) const CALLS: &[Call] = &[
    allow_when(
        libc::SYS_execveat,
        "execveat",
        &[&[
            Condition::Is(0, sys::process::PROGRAM_FD.unsigned_abs()),
            Condition::Is(4, AT_EMPTY_PATH),
        ]],
        "the one exec; see the module above",
    ),
    // The C library's start.
    allow(
        libc::SYS_arch_prctl,
        "arch_prctl",
        "thread-local storage; leave to use AMX",
    ),
    allow(
        libc::SYS_set_tid_address,
        "set_tid_address",
        "the first thread's end",
    ),
    allow(
        libc::SYS_set_robust_list,
        "set_robust_list",
        "locks of a thread that ends",
    ),
    allow(
        libc::SYS_rseq,
        "rseq",
        "the C library registers each thread",
    ),
    allow_when(
        libc::SYS_prlimit64,
        "prlimit64",
        &[&[Condition::IsNull(2)]],
        "reads the limit of the stack; sets nothing",
    ),
    absent(
        libc::SYS_readlink,
        "readlink",
        "a static program looks for its own path",
    ),
    absent(
        libc::SYS_readlinkat,
        "readlinkat",
        "a static program looks for its own path",
    ),
    // Memory.
    allow(libc::SYS_brk, "brk", "heap"),
    allow_when(libc::SYS_mmap, "mmap", NOT_EXECUTABLE, "heap and stacks"),
    allow_when(
        libc::SYS_mprotect,
        "mprotect",
        NOT_EXECUTABLE,
        "guard pages, relocations",
    ),
    allow(libc::SYS_munmap, "munmap", "heap and stacks"),
    allow(libc::SYS_mremap, "mremap", "a growing allocation"),
    allow(
        libc::SYS_madvise,
        "madvise",
        "gives memory back, keeps it out of dumps",
    ),
    // Threads.
    allow_when(
        libc::SYS_clone,
        "clone",
        &[&[Condition::Bits {
            argument: 0,
            mask: THREAD,
            value: THREAD,
        }]],
        "threads, and no process",
    ),
    absent(
        libc::SYS_clone3,
        "clone3",
        "its flags cannot be seen here; clone is used instead",
    ),
    allow(libc::SYS_futex, "futex", "locks"),
    allow(
        libc::SYS_sched_yield,
        "sched_yield",
        "a short wait for a lock",
    ),
    allow(
        libc::SYS_sched_getaffinity,
        "sched_getaffinity",
        "how many threads are worth it",
    ),
    allow(libc::SYS_gettid, "gettid", "a thread's name for itself"),
    allow(
        libc::SYS_getpid,
        "getpid",
        "detects a fork that never comes",
    ),
    allow_when(
        libc::SYS_prctl,
        "prctl",
        &[&[Condition::Is(0, PR_SET_NAME)]],
        "names threads",
    ),
    // Signals: Rust's handlers for stack overflow.
    allow(
        libc::SYS_rt_sigaction,
        "rt_sigaction",
        "handlers of stack overflow",
    ),
    allow(
        libc::SYS_rt_sigprocmask,
        "rt_sigprocmask",
        "around the start of a thread",
    ),
    allow(
        libc::SYS_rt_sigreturn,
        "rt_sigreturn",
        "back from a handler",
    ),
    allow(
        libc::SYS_sigaltstack,
        "sigaltstack",
        "stack of the handlers",
    ),
    allow(
        libc::SYS_restart_syscall,
        "restart_syscall",
        "a wait that a stop interrupted",
    ),
    // Time and randomness.
    allow(
        libc::SYS_clock_gettime,
        "clock_gettime",
        "where the clock is not in user space",
    ),
    allow(libc::SYS_getrandom, "getrandom", "keys, nonces, hash seeds"),
    // Descriptors that it was given.
    allow(libc::SYS_read, "read", "sockets, the model"),
    allow(libc::SYS_write, "write", "sockets"),
    allow(libc::SYS_recvfrom, "recvfrom", "sockets"),
    allow(libc::SYS_sendto, "sendto", "sockets"),
    allow(libc::SYS_shutdown, "shutdown", "the end of a stream"),
    allow(libc::SYS_close, "close", "the end of a descriptor"),
    allow(
        libc::SYS_poll,
        "poll",
        "waits; Rust's start looks at the standard streams",
    ),
    allow(libc::SYS_fstat, "fstat", "length of the model"),
    allow(
        libc::SYS_newfstatat,
        "newfstatat",
        "the C library's fstat; there is no path to name",
    ),
    allow(
        libc::SYS_statx,
        "statx",
        "Rust's fstat; there is no path to name",
    ),
    allow_when(
        libc::SYS_fcntl,
        "fcntl",
        DESCRIPTOR_FLAGS,
        "flags of inherited descriptors",
    ),
    allow_when(
        libc::SYS_ioctl,
        "ioctl",
        &[&[Condition::Is(1, FIONBIO)]],
        "lets a socket wait, or not",
    ),
    // Looking for files that are not there: programs go on without them.
    absent(
        libc::SYS_openat,
        "openat",
        "control groups, processors, random devices",
    ),
    absent(libc::SYS_access, "access", "tuning files"),
    // The end.
    allow(libc::SYS_exit, "exit", "a thread ends"),
    allow_when(
        libc::SYS_tgkill,
        "tgkill",
        &[&[Condition::Is(2, SIGABRT)]],
        "a program that panics aborts, which is told from one that the filter killed",
    ),
    allow(libc::SYS_exit_group, "exit_group", "the program ends"),
];

/// What programs make besides that wait for many streams or bring a vendor's libraries; the engine
/// on processors does without.
pub(super) const FURTHER: &[Call] = &[
    allow(libc::SYS_mlock, "mlock", "keeps keys in memory"),
    allow(
        libc::SYS_gettimeofday,
        "gettimeofday",
        "where the clock is not in user space",
    ),
    allow(libc::SYS_nanosleep, "nanosleep", "sleeps"),
    allow(libc::SYS_clock_nanosleep, "clock_nanosleep", "sleeps"),
    allow(libc::SYS_readv, "readv", "sockets"),
    allow(libc::SYS_writev, "writev", "sockets"),
    allow(libc::SYS_recvmsg, "recvmsg", "sockets"),
    allow(libc::SYS_sendmsg, "sendmsg", "sockets"),
];
