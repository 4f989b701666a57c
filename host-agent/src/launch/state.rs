//! The state directory: one running agent each, nobody else may enter, stale sockets go.
//!
//! Deliberately not here: the journal's content and the meaning of the sockets.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use messages::host_control::CONTROL_PORT;
use protocol::digest::ConfigDigest;
use serde::Serialize;

use super::shape::{Accelerator, Shape};
use crate::agent::AgentName;

/// A unix socket's path is at most this long, with its final zero 108 (`unix(7)`).
const MAX_SOCKET_PATH: usize = 107;

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file operation failed.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// What failed.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent runs there.
    #[error("another host agent runs in `{}`", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// Sockets in it would have names that the system does not take.
    #[error("`{}` is too long for a socket: choose a shorter state directory", path.display())]
    TooLong {
        /// The longest socket's path.
        path: PathBuf,
    },
}

/// Where everything lies in a state directory, whether or not it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePaths(pub PathBuf);

impl StatePaths {
    /// The journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal.sqlite")
    }

    /// Where connections to the guest begin.
    #[must_use]
    pub fn vsock(&self) -> PathBuf {
        self.0.join("vsock")
    }

    /// Where the guest's connections to the control port arrive.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.0.join(format!("vsock_{CONTROL_PORT}"))
    }

    /// Socket between QEMU and the vsock device's process.
    #[must_use]
    pub fn vhost(&self) -> PathBuf {
        self.0.join("vhost.sock")
    }

    /// The launch configuration's disk.
    #[must_use]
    pub fn configuration_disk(&self) -> PathBuf {
        self.0.join("launch-config.img")
    }

    /// The launch record.
    #[must_use]
    pub fn launch_record(&self) -> PathBuf {
        self.0.join("launch.json")
    }

    /// Copies of the artifacts that are launched.
    #[must_use]
    pub fn sealed(&self) -> PathBuf {
        self.0.join("launch")
    }

    /// What a child process said.
    #[must_use]
    pub fn log(&self, child: &str) -> PathBuf {
        self.0.join(format!("{child}.log"))
    }
}

/// A state directory that this process holds.
#[derive(Debug)]
pub struct StateDirectory {
    paths: StatePaths,
    _lock: File,
}

impl StateDirectory {
    /// Makes or enters the directory, for this user only, and locks it.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn enter(path: &Path) -> Result<Self, StateError> {
        let failed = |action| {
            move |source| StateError::File {
                action,
                path: path.to_owned(),
                source,
            }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed("create"))?;
        std::fs::set_permissions(path, Permissions::from_mode(0o700))
            .map_err(failed("close to others"))?;
        let path = path.canonicalize().map_err(failed("resolve"))?;
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(failed("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(StateError::Busy { path }),
            Err(std::fs::TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        let paths = StatePaths(path);
        let longest = paths.control();
        if longest.as_os_str().as_bytes().len() > MAX_SOCKET_PATH {
            return Err(StateError::TooLong { path: longest });
        }
        Ok(Self { paths, _lock: lock })
    }

    /// Where everything lies.
    #[must_use]
    pub const fn paths(&self) -> &StatePaths {
        &self.paths
    }

    /// The agent's name among those of other hosts, drawn when it is first asked for and kept. A
    /// copy of the directory is the same agent: it must not run beside this one.
    ///
    /// # Errors
    /// `File`, also when the file holds something else.
    pub fn agent(&self, draw: fn() -> io::Result<[u8; 32]>) -> Result<AgentName, StateError> {
        let path = self.paths.0.join("agent");
        AgentName::kept(&path, draw).map_err(|source| StateError::File {
            action: "keep a name in",
            path,
            source,
        })
    }

    /// Removes what an earlier run of this agent left and makes the directory of sealed artifacts.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn prepare_launch(&self) -> Result<PathBuf, StateError> {
        self.clear_launch()?;
        let sealed = self.paths.sealed();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&sealed)
            .map_err(|source| StateError::File {
                action: "create",
                path: sealed.clone(),
                source,
            })?;
        Ok(sealed)
    }

    /// Removes what says that a guest runs here.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn clear_launch(&self) -> Result<(), StateError> {
        for stale in [
            self.paths.launch_record(),
            self.paths.vhost(),
            self.paths.vsock(),
            self.paths.control(),
        ] {
            remove_stale(&stale)?;
        }
        Ok(())
    }

    /// Writes a file of this directory at once: readers see the old one or the whole new one.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StateError> {
        let partial = path.with_extension("partial");
        let failed = |action| {
            let path = path.to_owned();
            move |source| StateError::File {
                action,
                path,
                source,
            }
        };
        remove_stale(&partial)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)
            .map_err(failed("create"))?;
        file.write_all(bytes).map_err(failed("write"))?;
        std::fs::rename(&partial, path).map_err(failed("replace"))
    }
}

/// Removes a file that may be there.
///
/// # Errors
/// `File` when it is there and stays.
pub fn remove_stale(path: &Path) -> Result<(), StateError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StateError::File {
            action: "remove",
            path: path.to_owned(),
            source,
        }),
    }
}

/// What was launched: read by the simulated TEE of research deployments, which works out from it
/// and from the process's own arguments what a TEE would have measured.
#[derive(Debug, Clone, Serialize)]
pub struct LaunchRecord {
    pid: u32,
    shape: RecordedShape,
    host_data: ConfigDigest,
    tee: &'static str,
}

#[derive(Debug, Clone, Serialize)]
struct RecordedShape {
    vcpus: u16,
    memory_mib: u32,
    vcpu_type: &'static str,
    guest_features: u64,
}

impl LaunchRecord {
    /// The record of a QEMU process.
    #[must_use]
    pub const fn new(
        pid: u32,
        shape: &Shape,
        accelerator: Accelerator,
        host_data: ConfigDigest,
    ) -> Self {
        Self {
            pid,
            shape: RecordedShape {
                vcpus: shape.vcpus,
                memory_mib: shape.memory_mib,
                vcpu_type: shape.vcpu_type,
                guest_features: shape.guest_features,
            },
            host_data,
            tee: accelerator.tee().name(),
        }
    }

    /// The record as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // These members are numbers and plain strings: serialising them cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::shape::SHAPES;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn nobody_else_may_enter_and_one_agent_runs_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/state");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let first = StateDirectory::enter(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        let refused = StateDirectory::enter(&path).unwrap_err();
        assert!(matches!(refused, StateError::Busy { .. }));
        drop(first);
        assert!(StateDirectory::enter(&path).is_ok());
    }

    #[test]
    fn removes_its_own_stale_sockets_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::enter(place.path()).unwrap();
        let foreign = place.path().join("vsock_7002");
        for path in [
            state.paths().control(),
            state.paths().vsock(),
            state.paths().launch_record(),
        ] {
            std::fs::write(path, "stale").unwrap();
        }
        std::fs::write(&foreign, "another program's").unwrap();
        state.prepare_launch().unwrap();
        assert!(!state.paths().control().exists() && !state.paths().vsock().exists());
        assert!(!state.paths().launch_record().exists());
        assert!(foreign.exists());
    }

    #[test]
    fn refuses_a_path_that_no_socket_can_have() {
        let place = tempfile::tempdir().unwrap();
        let refused = StateDirectory::enter(&place.path().join("x".repeat(100))).unwrap_err();
        assert!(matches!(refused, StateError::TooLong { .. }));
    }

    #[test]
    fn the_launch_record_names_process_shape_and_register() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDirectory::enter(place.path()).unwrap();
        let record = LaunchRecord::new(77, &SHAPES[0], Accelerator::Tdx, ConfigDigest([1; 32]));
        state
            .write(&state.paths().launch_record(), &record.to_json())
            .unwrap();
        let text = std::fs::read_to_string(state.paths().launch_record()).unwrap();
        let expected = format!(
            "{{\"pid\":77,\"shape\":{{\"vcpus\":2,\"memory_mib\":2048,\
             \"vcpu_type\":\"EPYC-v4\",\"guest_features\":1}},\
             \"host_data\":\"{}\",\"tee\":\"tdx\"}}",
            "01".repeat(32)
        );
        assert_eq!(text, expected);
        assert_eq!(mode(&state.paths().launch_record()), 0o600);
    }
}
