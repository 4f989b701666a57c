//! What a confined program must not be able to do, as a list of attempts.
//!
//! Each attempt is made by a process of its own, since the answer to most of them is death. Who
//! starts those processes, and under whose confinement, is `tests/research/init`'s part.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::fcntl::{AtFlags, FcntlArg, fcntl};
use nix::mount::MsFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{Pid, Uid, execveat, setuid};

/// The argument with which an attempt at starting a program starts this one.
pub const STARTED: &str = "started";

/// One thing that a confined program tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Nothing: shows that a confined program does start, and ends by itself.
    Nothing,
    /// Make an entry in configfs-tsm, from which a report could be had.
    QuoteByConfigfs,
    /// Open the device of SEV-SNP guests.
    OpenSevGuest,
    /// Open the device of TDX guests.
    OpenTdxGuest,
    /// Make a vsock socket.
    VsockSocket,
    /// Make a Unix socket.
    UnixSocket,
    /// Make an IP socket.
    InetSocket,
    /// Write to the console.
    WriteConsole,
    /// Write to the kernel log.
    WriteKernelLog,
    /// Mount a file system.
    Mount,
    /// Become traceable.
    Trace,
    /// Start another program in its own place.
    Exec,
    /// Start another program from a descriptor with the number of the one exec.
    ExecAgain,
    /// Make a child process.
    Fork,
    /// Look into a directory.
    ReadDirectory,
    /// Make a file.
    MakeFile,
    /// Reach the first process.
    Signal,
    /// Become root.
    BecomeRoot,
}

impl Attempt {
    /// Every attempt; its place in this list is its number.
    pub const ALL: [Self; 18] = [
        Self::Nothing,
        Self::QuoteByConfigfs,
        Self::OpenSevGuest,
        Self::OpenTdxGuest,
        Self::VsockSocket,
        Self::UnixSocket,
        Self::InetSocket,
        Self::WriteConsole,
        Self::WriteKernelLog,
        Self::Mount,
        Self::Trace,
        Self::Exec,
        Self::ExecAgain,
        Self::Fork,
        Self::ReadDirectory,
        Self::MakeFile,
        Self::Signal,
        Self::BecomeRoot,
    ];

    /// The attempt of that number.
    #[must_use]
    pub fn of_number(number: usize) -> Option<Self> {
        Self::ALL.get(number).copied()
    }

    /// Makes the attempt; `true` when it succeeded, which it must not. Attempts at starting a
    /// program in this one's place do not come back when they succeed.
    #[must_use]
    pub fn succeeds(self) -> bool {
        match self {
            Self::Nothing => false,
            Self::QuoteByConfigfs => fs::create_dir("/sys/kernel/config/tsm/report/probe").is_ok(),
            Self::OpenSevGuest => File::open("/dev/sev-guest").is_ok(),
            Self::OpenTdxGuest => File::open("/dev/tdx_guest").is_ok(),
            Self::VsockSocket => makes_socket(AddressFamily::Vsock),
            Self::UnixSocket => makes_socket(AddressFamily::Unix),
            Self::InetSocket => makes_socket(AddressFamily::Inet),
            Self::WriteConsole => writes("/dev/console"),
            Self::WriteKernelLog => writes("/dev/kmsg"),
            Self::Mount => {
                let kind = Some("tmpfs");
                nix::mount::mount(kind, "/", kind, MsFlags::empty(), None::<&str>).is_ok()
            }
            Self::Trace => nix::sys::ptrace::traceme().is_ok(),
            Self::Exec => {
                let _refused = Command::new("/proc/self/exe").arg(STARTED).exec();
                false
            }
            Self::ExecAgain => exec_again(),
            Self::Fork => Command::new("/proc/self/exe").arg(STARTED).spawn().is_ok(),
            Self::ReadDirectory => fs::read_dir("/").is_ok(),
            Self::MakeFile => File::create("/probe-was-here").is_ok(),
            Self::Signal => nix::sys::signal::kill(Pid::from_raw(1), None).is_ok(),
            Self::BecomeRoot => setuid(Uid::from_raw(0)).is_ok(),
        }
    }
}

fn makes_socket(family: AddressFamily) -> bool {
    socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).is_ok()
}

fn writes(path: &str) -> bool {
    let opened = OpenOptions::new().write(true).open(path);
    opened.is_ok_and(|mut file| file.write_all(b"probe\n").is_ok())
}

/// Puts the program it has at hand, or failing that its first stream, under the number of the one
/// exec, and starts that.
fn exec_again() -> bool {
    let at_hand = File::open("/proc/self/exe").ok();
    let number = FcntlArg::F_DUPFD_CLOEXEC(sys::process::PROGRAM_FD);
    let placed = match &at_hand {
        Some(program) => fcntl(program, number),
        None => fcntl(std::io::stdin(), number),
    };
    let arguments = ["probe", STARTED].map(|text| CString::new(text).unwrap_or_default());
    let environment: [CString; 0] = [];
    let empty = CString::default();
    let flags = AtFlags::AT_EMPTY_PATH;
    let _refused = match &at_hand {
        Some(program) => execveat(program, &empty, &arguments, &environment, flags),
        None => execveat(std::io::stdin(), &empty, &arguments, &environment, flags),
    };
    placed.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_attempts_in_the_order_of_the_list() {
        assert_eq!(Attempt::of_number(0), Some(Attempt::Nothing));
        assert_eq!(Attempt::of_number(17), Some(Attempt::BecomeRoot));
        assert_eq!(Attempt::of_number(18), None);
    }
}
