//! Starting a program under confinement, and knowing when it ends.
//!
//! What the confinement consists of is `init::confinement`'s part. Here is the order in which a
//! child takes it on, and the rule that it can exec exactly once.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

use crate::{CallFailed, Result};

/// Number under which a child holds its own program for the one exec, and its limit of open
/// files. The limit is set before the exec and the descriptor is closed by it, so the program
/// can never hold this number again: a filter that allows `execveat` only on it allows one exec.
pub const PROGRAM_FD: i32 = 1024;

/// The pipe by which a child says why it could not start.
const REPORT_FD: i32 = PROGRAM_FD + 1;

/// Where inherited descriptors are parked while the low numbers are arranged.
const PARKED_FROM: i32 = 512;

/// A program to start.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The program's file.
    pub program: BorrowedFd<'a>,
    /// The arguments, the program's name first.
    pub arguments: &'a [CString],
    /// What the child holds as descriptors 0, 1, 2, …, and nothing else.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// How much memory the child may lock, in bytes; none: as much as its parent.
    pub locked: Option<u64>,
}

/// How far a child came before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Making the child.
    Fork,
    /// Taking on namespaces, credentials and file rules.
    Confine,
    /// Arranging descriptors.
    Descriptors,
    /// Setting limits.
    Limits,
    /// Installing the system call filters.
    Seal,
    /// Starting the program.
    Exec,
}

impl Stage {
    const REPORTED: [Self; 5] = [
        Self::Confine,
        Self::Descriptors,
        Self::Limits,
        Self::Seal,
        Self::Exec,
    ];

    const fn wire(self) -> u8 {
        match self {
            Self::Fork => 0,
            Self::Confine => 1,
            Self::Descriptors => 2,
            Self::Limits => 3,
            Self::Seal => 4,
            Self::Exec => 5,
        }
    }
}

/// A program that could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot start a program: stage {stage:?}, errno {errno}")]
pub struct LaunchError {
    /// Where it failed.
    pub stage: Stage,
    /// The kernel's error number.
    pub errno: i32,
}

impl LaunchError {
    fn at(stage: Stage) -> impl FnOnce(CallFailed) -> Self {
        move |failed| Self {
            stage,
            errno: failed.errno,
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

/// A running program; killed and reaped when dropped.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    /// Readable once the program has ended.
    pidfd: OwnedFd,
    ended: Option<Ended>,
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Child {
    /// Whether and how the program ended, without waiting.
    ///
    /// # Errors
    /// That of the call.
    pub fn ended(&mut self) -> Result<Option<Ended>> {
        if self.ended.is_none() {
            let status = waitpid(self.pid, Some(WaitPidFlag::WNOHANG));
            self.ended = fate(status.map_err(CallFailed::of("waitpid"))?);
        }
        Ok(self.ended)
    }

    /// Waits for the program's end.
    ///
    /// # Errors
    /// That of the call.
    pub fn wait(&mut self) -> Result<Ended> {
        loop {
            if let Some(ended) = self.ended {
                return Ok(ended);
            }
            match waitpid(self.pid, None) {
                Ok(status) => self.ended = fate(status),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(CallFailed::of("waitpid")(errno)),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // The child is not reaped yet, so its number is still its own.
            let _already_gone = kill(self.pid, Signal::SIGKILL);
            let _reaped = self.wait();
        }
    }
}

fn fate(status: WaitStatus) -> Option<Ended> {
    match status {
        WaitStatus::Exited(_, code) => Some(Ended::Exited(code)),
        WaitStatus::Signaled(_, signal, _) => Some(Ended::Killed(signal as i32)),
        WaitStatus::Stopped(..)
        | WaitStatus::PtraceEvent(..)
        | WaitStatus::PtraceSyscall(_)
        | WaitStatus::Continued(_)
        | WaitStatus::StillAlive => None,
    }
}

/// Starts a program in a child process: `confine` runs first, then descriptors and limits are
/// set, then `seal` runs, then the program. Its environment is empty.
///
/// The caller should have one thread only; the closures should not wait for other threads.
///
/// # Errors
/// A [`LaunchError`] with the stage that failed. A child that the filter killed on its way into
/// the program is not an error here: it has ended with `SIGSYS`.
pub fn spawn(
    launch: &Launch<'_>,
    confine: impl FnOnce() -> Result<()>,
    seal: impl FnOnce() -> Result<()>,
) -> std::result::Result<Child, LaunchError> {
    let fork_failed = |call| move |errno| LaunchError::at(Stage::Fork)(CallFailed::of(call)(errno));
    let (reports, report) = pipe2(OFlag::O_CLOEXEC).map_err(fork_failed("pipe2"))?;
    // SAFETY: the child calls only what a forked process may: it is a copy of a process whose
    // callers keep one thread, and it never returns from `become_program`.
    let forked = unsafe { fork() }.map_err(fork_failed("fork"))?;
    match forked {
        ForkResult::Parent { child } => {
            drop(report);
            let child = Child {
                pid: child,
                pidfd: pidfd(child).map_err(LaunchError::at(Stage::Fork))?,
                ended: None,
            };
            reported(reports)?;
            Ok(child)
        }
        ForkResult::Child => {
            let failed = match become_program(launch, &report, confine, seal) {
                Ok(never) => match never {},
                Err(failed) => failed,
            };
            leave(&failed)
        }
    }
}

fn pidfd(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: the call takes two numbers and touches no memory.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let opened = Errno::result(opened).map_err(CallFailed::of("pidfd_open"))?;
    let opened = i32::try_from(opened).map_err(|_| CallFailed {
        call: "pidfd_open",
        errno: libc::EBADF,
    })?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

/// Reads the child's report: nothing when the program was reached.
fn reported(reports: OwnedFd) -> std::result::Result<(), LaunchError> {
    let mut report = Vec::new();
    let read = File::from(reports).take(5).read_to_end(&mut report);
    match (read, report.as_slice()) {
        (Ok(_), []) => Ok(()),
        (Ok(_), [stage, errno @ ..]) => Err(LaunchError {
            stage: Stage::REPORTED
                .into_iter()
                .find(|known| known.wire() == *stage)
                .unwrap_or(Stage::Exec),
            errno: errno.first_chunk().map_or(0, |e| i32::from_le_bytes(*e)),
        }),
        (Err(error), _) => Err(LaunchError {
            stage: Stage::Fork,
            errno: error.raw_os_error().unwrap_or(0),
        }),
    }
}

/// The child's way from fork to exec.
fn become_program(
    launch: &Launch<'_>,
    report: &OwnedFd,
    confine: impl FnOnce() -> Result<()>,
    seal: impl FnOnce() -> Result<()>,
) -> std::result::Result<Infallible, LaunchError> {
    raise_limit_of_files()
        .and_then(|()| place(report.as_raw_fd(), REPORT_FD, libc::O_CLOEXEC))
        .and_then(|()| place(launch.program.as_raw_fd(), PROGRAM_FD, libc::O_CLOEXEC))
        .map_err(LaunchError::at(Stage::Descriptors))?;
    confine().map_err(LaunchError::at(Stage::Confine))?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(CallFailed::of("prctl"))
        .map_err(LaunchError::at(Stage::Confine))?;
    arrange(launch.descriptors).map_err(LaunchError::at(Stage::Descriptors))?;
    set_limits(launch.locked).map_err(LaunchError::at(Stage::Limits))?;
    seal().map_err(LaunchError::at(Stage::Seal))?;
    exec(launch.arguments).map_err(LaunchError::at(Stage::Exec))
}

fn raise_limit_of_files() -> Result<()> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    let (_, hard) = limit.map_err(CallFailed::of("getrlimit"))?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(CallFailed::of("setrlimit"))
}

/// Gives an open descriptor another number.
fn place(from: i32, to: i32, flags: i32) -> Result<()> {
    // SAFETY: the call takes numbers and touches no memory; whatever `to` was belongs to this
    // child's copy of the descriptor table, which is about to be replaced as a whole.
    let placed = unsafe { libc::dup3(from, to, flags) };
    Errno::result(placed)
        .map(drop)
        .map_err(CallFailed::of("dup3"))
}

fn arrange(descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let mut parked = Vec::with_capacity(descriptors.len());
    for descriptor in descriptors {
        let number = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(PARKED_FROM));
        parked.push(number.map_err(CallFailed::of("fcntl"))?);
    }
    let mut next = 0_i32;
    for number in parked {
        place(number, next, 0)?;
        next = next.saturating_add(1);
    }
    close_between(next, PROGRAM_FD.saturating_sub(1))?;
    close_between(REPORT_FD.saturating_add(1), i32::MAX)
}

fn close_between(first: i32, last: i32) -> Result<()> {
    // SAFETY: the call takes numbers and touches no memory; no owner of these descriptors runs
    // again in this child.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    Errno::result(closed)
        .map(drop)
        .map_err(CallFailed::of("close_range"))
}

fn set_limits(locked: Option<u64>) -> Result<()> {
    let files = u64::from(PROGRAM_FD.unsigned_abs());
    let locked = locked.map(|bytes| (Resource::RLIMIT_MEMLOCK, bytes));
    let limits = [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_NOFILE, files),
    ];
    for (resource, limit) in limits.into_iter().chain(locked) {
        setrlimit(resource, limit, limit).map_err(CallFailed::of("setrlimit"))?;
    }
    Ok(())
}

fn exec(arguments: &[CString]) -> Result<Infallible> {
    const EMPTY: &CStr = c"";
    let environment: [*const libc::c_char; 1] = [std::ptr::null()];
    let mut pointers: Vec<_> = arguments.iter().map(|a| a.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: all strings are live and NUL-terminated, both lists end with a null pointer, and
    // the kernel only reads them.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            PROGRAM_FD,
            EMPTY.as_ptr(),
            pointers.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    match Errno::result(failed) {
        Ok(_) => Err(CallFailed {
            call: "execveat",
            errno: 0,
        }),
        Err(errno) => Err(CallFailed::of("execveat")(errno)),
    }
}

/// Reports and ends the child, without running anything of its parent's.
fn leave(failed: &LaunchError) -> ! {
    let [a, b, c, d] = failed.errno.to_le_bytes();
    // SAFETY: the number is the report pipe, which only this function writes to.
    let mut pipe = unsafe { File::from_raw_fd(REPORT_FD) };
    let _nobody_listens = pipe.write_all(&[failed.stage.wire(), a, b, c, d]);
    let _left_open = pipe.into_raw_fd();
    // SAFETY: ends this process at once; no handler of the parent's copy runs.
    unsafe { libc::_exit(127) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(
        arguments: &[&str],
        confine: impl FnOnce() -> Result<()>,
    ) -> std::result::Result<Ended, LaunchError> {
        let program = File::open("/bin/sh").unwrap();
        let null = File::open("/dev/null").unwrap();
        let arguments: Vec<_> = arguments
            .iter()
            .map(|a| CString::new(*a).unwrap())
            .collect();
        let launch = Launch {
            program: program.as_fd(),
            arguments: &arguments,
            descriptors: &[null.as_fd(), null.as_fd(), null.as_fd(), program.as_fd()],
            locked: Some(128 << 10),
        };
        spawn(&launch, confine, || Ok(())).map(|mut child| child.wait().unwrap())
    }

    #[test]
    fn a_program_ends_with_its_status_or_its_signal() {
        let ended = |script| run(&["sh", "-c", script], || Ok(())).unwrap();
        assert_eq!(ended("exit 7"), Ended::Exited(7));
        assert_eq!(ended("kill -9 $$"), Ended::Killed(9));
    }

    #[test]
    fn a_program_holds_the_descriptors_that_it_was_given_and_no_other() {
        let script = "test -e /proc/$$/fd/3 && test ! -e /proc/$$/fd/4 && \
             test ! -e /proc/$$/fd/1024 && test ! -e /proc/$$/fd/1025";
        assert_eq!(run(&["sh", "-c", script], || Ok(())), Ok(Ended::Exited(0)));
    }

    #[test]
    fn a_program_cannot_open_a_descriptor_with_the_number_of_the_one_exec() {
        let script = "ulimit -n 1025 2>/dev/null && exit 1; test $(ulimit -n) = 1024";
        let drop_root = || crate::credentials::drop_to(1001);
        assert_eq!(run(&["sh", "-c", script], drop_root), Ok(Ended::Exited(0)));
    }

    #[test]
    fn a_program_locks_no_more_memory_than_it_may() {
        assert_eq!(
            run(&["sh", "-c", "test $(ulimit -l) = 128"], || Ok(())),
            Ok(Ended::Exited(0))
        );
    }

    #[test]
    fn a_program_leaves_no_core_and_writes_no_file() {
        let script = "test $(ulimit -c) = 0 && test $(ulimit -f) = 0";
        assert_eq!(run(&["sh", "-c", script], || Ok(())), Ok(Ended::Exited(0)));
    }

    #[test]
    fn a_program_has_no_environment_and_no_capabilities() {
        let script = "test \"$(tr -d '\\0' </proc/self/environ | grep -c SECRET)\" = 0 && \
             test \"$(grep -c -E '^Cap(Inh|Prm|Eff|Bnd|Amb):.0+$' /proc/self/status)\" = 5 && \
             grep -q -E '^NoNewPrivs:.1$' /proc/self/status && \
             grep -q -E '^Groups:[[:space:]]*$' /proc/self/status";
        let script = format!("export PATH=/usr/bin:/bin; {script}");
        let drop_root = || crate::credentials::drop_to(1001);
        assert_eq!(run(&["sh", "-c", &script], drop_root), Ok(Ended::Exited(0)));
    }

    #[test]
    fn a_failure_before_the_program_names_its_stage() {
        let refused = run(&["sh"], || {
            Err(CallFailed {
                call: "test",
                errno: 38,
            })
        });
        let expected = LaunchError {
            stage: Stage::Confine,
            errno: 38,
        };
        assert_eq!(refused, Err(expected));
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let program = File::open("/bin/sh").unwrap();
        let arguments = ["sh", "-c", "read forever"].map(|a| CString::new(a).unwrap());
        let (waits, _silent) = crate::socket::pair().unwrap();
        let launch = Launch {
            program: program.as_fd(),
            arguments: &arguments,
            descriptors: &[waits.as_fd()],
            locked: None,
        };
        let mut child = spawn(&launch, || Ok(()), || Ok(())).unwrap();
        assert_eq!(child.ended(), Ok(None));
        let pid = child.pid;
        drop(child);
        assert_eq!(kill(pid, None), Err(Errno::ESRCH));
    }
}
