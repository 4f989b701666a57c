//! Child processes that never outlive the agent: their own process group, ended on drop, and by the
//! kernel when the agent is killed (`setpriv --pdeathsig`, since asking for that directly would
//! need unsafe code).
//!
//! What they print goes to capped files. Call from the program's main thread: the kernel watches
//! the thread that started the child. Deliberately not here: what is run (`argv`).

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::fs::OpenOptions;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a child has between being asked and being made to end.
const GRACE: Duration = Duration::from_secs(5);
/// What is kept of a child's output; the rest is read and dropped.
pub const MAX_LOG_BYTES: usize = 1 << 20;

/// A child cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The start failed.
    #[error("cannot start {name}")]
    Start {
        /// Which child.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It ended where it had to go on.
    #[error("{name} ended at once ({status}): see `{}`", log.display())]
    Ended {
        /// Which child.
        name: &'static str,
        /// How.
        status: ExitStatus,
        /// What it said.
        log: PathBuf,
    },
    /// It did not open its socket in time.
    #[error("{name} did not open its socket: see `{}`", log.display())]
    NotReady {
        /// Which child.
        name: &'static str,
        /// What it said.
        log: PathBuf,
    },
}

/// A running child.
#[derive(Debug)]
pub struct Supervised {
    name: &'static str,
    child: Child,
    group: Option<Pid>,
    log: PathBuf,
}

/// Where a child's standard output goes; its errors always go to its log.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// Nowhere.
    Dropped,
    /// To a file of its own.
    File(&'a Path),
}

impl Supervised {
    /// Starts a program.
    ///
    /// # Errors
    /// `Start`.
    pub fn start(
        name: &'static str,
        program: &Path,
        arguments: &[OsString],
        output: Output<'_>,
        log: &Path,
    ) -> Result<Self, ChildError> {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(match output {
                Output::Dropped => Stdio::null(),
                Output::File(_) => Stdio::piped(),
            })
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ChildError::Start { name, source })?;
        if let (Some(from), Output::File(to)) = (child.stdout.take(), output) {
            tokio::spawn(keep(from, to.to_owned()));
        }
        if let Some(from) = child.stderr.take() {
            tokio::spawn(keep(from, log.to_owned()));
        }
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            name,
            child,
            group: group.map(Pid::from_raw),
            log: log.to_owned(),
        })
    }

    /// The process id; zero when it has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// Those of waiting.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.group = None;
        status
    }

    /// Waits until every one of `sockets` is there.
    ///
    /// # Errors
    /// `Ended` or `NotReady`.
    pub async fn opens(&mut self, sockets: &[&Path], patience: Duration) -> Result<(), ChildError> {
        let appear = async {
            while !sockets.iter().all(|socket| socket.exists()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let name = self.name;
        let log = self.log.clone();
        tokio::select! {
            appeared = timeout(patience, appear) => {
                appeared.map_err(|_| ChildError::NotReady { name, log })
            }
            status = self.child.wait() => {
                let status = status.map_err(|source| ChildError::Start { name, source })?;
                Err(ChildError::Ended { name, status, log })
            }
        }
    }

    /// Ends it: asked first, then made to.
    pub async fn stop(mut self) {
        if self.child.id().is_none() {
            return;
        }
        self.signal(Signal::SIGTERM);
        if timeout(GRACE, self.child.wait()).await.is_err() {
            self.signal(Signal::SIGKILL);
            // Killed: the wait ends as soon as the kernel is done with it.
            drop(self.child.wait().await);
        }
        self.group = None;
    }

    fn signal(&self, signal: Signal) {
        if let (Some(group), Some(_)) = (self.group, self.child.id()) {
            // It may have ended meanwhile: then there is nobody to tell.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Reads all that a child prints and keeps the first part.
async fn keep(mut from: impl AsyncRead + Unpin, to: PathBuf) {
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(to)
        .await;
    let mut file = file.ok();
    let mut room = MAX_LOG_BYTES;
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let Some(part) = buffer.get(..length.min(room)) else {
            continue;
        };
        room = room.saturating_sub(part.len());
        if let Some(open) = &mut file
            && (open.write_all(part).await.is_err() || open.flush().await.is_err())
        {
            // A full disk must not stop the guest; what it prints is dropped from here on.
            file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, place: &Path, output: Output<'_>) -> Supervised {
        let arguments = ["-c", script].map(OsString::from);
        let log = place.join("log");
        Supervised::start("sh", Path::new("/bin/sh"), &arguments, output, &log).unwrap()
    }

    fn alive(pid: u32) -> bool {
        // A zombie still has a directory: its command line is empty.
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
    }

    async fn becomes(pid: u32, expected: bool) {
        for _ in 0..500 {
            if alive(pid) == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {pid}: alive is not {expected}");
    }

    #[tokio::test]
    async fn a_stopped_child_takes_its_own_children_along() {
        let place = tempfile::tempdir().unwrap();
        let pids = place.path().join("pids");
        let script = format!("sleep 600 & echo $! > {}; wait", pids.display());
        let child = sh(&script, place.path(), Output::Dropped);
        let inner = loop {
            let text = std::fs::read_to_string(&pids).unwrap_or_default();
            if let Ok(pid) = text.trim().parse::<u32>() {
                break pid;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        becomes(inner, true).await;
        let outer = child.pid();
        child.stop().await;
        becomes(inner, false).await;
        becomes(outer, false).await;
    }

    #[tokio::test]
    async fn a_dropped_child_ends_even_if_it_will_not() {
        let place = tempfile::tempdir().unwrap();
        let child = sh("trap '' TERM; sleep 600", place.path(), Output::Dropped);
        let pid = child.pid();
        becomes(pid, true).await;
        drop(child);
        becomes(pid, false).await;
    }

    #[tokio::test]
    async fn what_a_child_prints_is_capped_and_never_stops_it() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("output");
        let script = "head -c 5000000 /dev/zero; exit 9";
        let mut child = sh(script, place.path(), Output::File(&file));
        let status = child.ended().await.unwrap();
        assert_eq!(status.code(), Some(9));
        for _ in 0..500 {
            if std::fs::metadata(&file).unwrap().len() == MAX_LOG_BYTES as u64 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the file did not reach its cap");
    }

    #[tokio::test]
    async fn a_child_that_ends_before_its_socket_is_there_is_told_apart() {
        let place = tempfile::tempdir().unwrap();
        let mut child = sh("exit 3", place.path(), Output::Dropped);
        let socket = place.path().join("never");
        let patience = Duration::from_secs(20);
        let refused = child.opens(&[&socket], patience).await.unwrap_err();
        assert!(matches!(refused, ChildError::Ended { .. }));
    }
}
