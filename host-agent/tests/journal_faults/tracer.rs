//! A child under ptrace: every write, truncation, synchronisation and removal that it makes in its
//! directory is seen before it happens, and can be torn, failed or made its last.
//!
//! Synchronisations are skipped: what a crash may take is decided by `image`, not by this machine's
//! disk. x86-64 Linux only, like everything here.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// What a child did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Create(String),
    Write {
        file: String,
        at: u64,
        data: Vec<u8>,
    },
    Truncate {
        file: String,
        length: u64,
    },
    Sync(String),
    SyncDirectory,
    Remove(String),
    /// A line of its own on the standard output.
    Said(String),
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Happens,
    /// The child is killed before it.
    KillBefore,
    /// The child is killed after it.
    KillAfter,
    /// Only so many bytes of a write get through, and the child is killed.
    Torn(u64),
    /// Only so many bytes of a write get through, and the child is told so.
    Short(u64),
    /// It does not happen, and the child is told this error.
    Fails(i32),
}

pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;

const WRITE: u64 = 1;
const PWRITE: u64 = 18;
const FSYNC: u64 = 74;
const FDATASYNC: u64 = 75;
const FTRUNCATE: u64 = 77;
const UNLINK: u64 = 87;
const OPENAT: u64 = 257;
const O_CREAT: u64 = 0o100;

/// Runs this very program as a child that uses a journal in `directory`.
#[allow(
    clippy::zombie_processes,
    reason = "it is waited for by its number, as ptrace does"
)]
pub(crate) fn run(
    directory: &Path,
    seed: u64,
    mut fate: impl FnMut(usize, &Event) -> Fate,
) -> Vec<Event> {
    let mut child = Command::new("/proc/self/exe")
        .args(["child", &directory.display().to_string(), &seed.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    ptrace::attach(pid).expect("this test needs ptrace of its own child");
    waitpid(pid, None).unwrap();
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(pid, options).unwrap();
    child.stdin.take().unwrap().write_all(b"g").unwrap();
    let traced = Traced {
        pid,
        directory: directory.canonicalize().unwrap(),
        memory: File::open(format!("/proc/{pid}/mem")).unwrap(),
    };
    let mut events = Vec::new();
    let mut signal = None;
    let mut pending = None;
    let mut entering = true;
    while ptrace::syscall(pid, signal.take()).is_ok() {
        match waitpid(pid, None) {
            Ok(WaitStatus::PtraceSyscall(_)) if entering => {
                entering = false;
                if let Some(event) = traced.event() {
                    let decided = fate(events.len(), &event);
                    if decided == Fate::KillBefore {
                        break;
                    }
                    traced.enter(&event, decided);
                    pending = Some((event, decided));
                }
            }
            Ok(WaitStatus::PtraceSyscall(_)) => {
                entering = true;
                if let Some((event, decided)) = pending.take() {
                    traced.leave(&event, decided);
                    events.extend(seen(event, decided));
                    if matches!(decided, Fate::KillAfter | Fate::Torn(_)) {
                        break;
                    }
                }
            }
            Ok(WaitStatus::Stopped(_, other)) => signal = Some(other),
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_) => return events,
            Ok(_) => {}
        }
    }
    let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
    while !matches!(
        waitpid(pid, None),
        Err(_) | Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
    ) {}
    events
}

/// What reached the file system of an event.
fn seen(event: Event, fate: Fate) -> Option<Event> {
    match (event, fate) {
        (_, Fate::Fails(_) | Fate::KillBefore) => None,
        (Event::Write { file, at, mut data }, Fate::Torn(length) | Fate::Short(length)) => {
            data.truncate(usize::try_from(length).unwrap());
            Some(Event::Write { file, at, data })
        }
        (event, _) => Some(event),
    }
}

struct Traced {
    pid: Pid,
    directory: std::path::PathBuf,
    memory: File,
}

impl Traced {
    /// What the system call that is being entered will do, if that matters.
    fn event(&self) -> Option<Event> {
        let registers = ptrace::getregs(self.pid).unwrap();
        let (first, second) = (registers.rdi, registers.rsi);
        match registers.orig_rax {
            WRITE if first == 1 => {
                let text = self.bytes(second, registers.rdx);
                Some(Event::Said(String::from_utf8(text).unwrap()))
            }
            WRITE => {
                let file = self.name(first)?;
                let info = fs::read_to_string(format!("/proc/{}/fdinfo/{first}", self.pid));
                let position = info.unwrap().lines().next().unwrap()[4..].trim().parse();
                let data = self.bytes(second, registers.rdx);
                let at = position.unwrap();
                Some(Event::Write { file, at, data })
            }
            PWRITE => {
                let file = self.name(first)?;
                let data = self.bytes(second, registers.rdx);
                let at = registers.r10;
                Some(Event::Write { file, at, data })
            }
            FSYNC | FDATASYNC => match self.name(first)? {
                name if name.is_empty() => Some(Event::SyncDirectory),
                name => Some(Event::Sync(name)),
            },
            FTRUNCATE => Some(Event::Truncate {
                file: self.name(first)?,
                length: second,
            }),
            UNLINK => self.path(first).map(Event::Remove),
            OPENAT if registers.rdx & O_CREAT != 0 => {
                let name = self.path(second)?;
                let is_new = !self.directory.join(&name).exists();
                is_new.then_some(Event::Create(name))
            }
            _ => None,
        }
    }

    fn enter(&self, event: &Event, fate: Fate) {
        let mut registers = ptrace::getregs(self.pid).unwrap();
        match (event, fate) {
            (_, Fate::Fails(_)) | (Event::Sync(_) | Event::SyncDirectory, _) => {
                registers.orig_rax = u64::MAX;
            }
            (Event::Write { .. }, Fate::Torn(length) | Fate::Short(length)) => {
                registers.rdx = length;
            }
            _ => return,
        }
        ptrace::setregs(self.pid, registers).unwrap();
    }

    fn leave(&self, event: &Event, fate: Fate) {
        let mut registers = ptrace::getregs(self.pid).unwrap();
        registers.rax = match (event, fate) {
            (_, Fate::Fails(error)) => u64::from_ne_bytes((-i64::from(error)).to_ne_bytes()),
            (Event::Sync(_) | Event::SyncDirectory, _) => 0,
            _ => return,
        };
        ptrace::setregs(self.pid, registers).unwrap();
    }

    /// The name within the directory of what a descriptor names; empty for the directory itself.
    /// The index of the write-ahead log is made anew by who opens the journal first: not durable.
    fn name(&self, descriptor: u64) -> Option<String> {
        let path = fs::read_link(format!("/proc/{}/fd/{descriptor}", self.pid)).ok()?;
        self.within(&path)
    }

    fn path(&self, address: u64) -> Option<String> {
        let mut text = Vec::new();
        for at in address.. {
            match self.bytes(at, 1).first() {
                Some(0) | None => break,
                Some(byte) => text.push(*byte),
            }
        }
        self.within(Path::new(&String::from_utf8(text).ok()?))
    }

    fn within(&self, path: &Path) -> Option<String> {
        let name = path.strip_prefix(&self.directory).ok()?.to_str()?;
        (!name.ends_with("-shm")).then(|| name.to_owned())
    }

    fn bytes(&self, address: u64, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        self.memory.read_exact_at(&mut bytes, address).unwrap();
        bytes
    }
}
