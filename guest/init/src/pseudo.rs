//! Pseudo file systems and kernel settings: what a boot starts with.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use sys::mount;

use crate::failure::BootError;
use crate::image::ensure_directory;

/// Directories that init's own file systems are mounted on; the root image has the same.
pub const MOUNT_POINTS: [&str; 4] = ["/dev", "/proc", "/sys", "/run"];

/// Where the kernel shows its settings.
const SETTINGS: &str = "/proc/sys";

/// A kernel setting, with its reason.
#[derive(Debug)]
struct Setting {
    path: &'static str,
    value: &'static str,
    /// Why it is set.
    reason: &'static str,
}

const fn set(path: &'static str, value: &'static str, reason: &'static str) -> Setting {
    Setting {
        path,
        value,
        reason,
    }
}

/// What is set where the kernel has the setting at all; most features are not even built.
const HARDENING: &[Setting] = &[
    set(
        "kernel/kptr_restrict",
        "2",
        "no kernel addresses to anybody",
    ),
    set(
        "kernel/dmesg_restrict",
        "1",
        "no kernel log without capability",
    ),
    set("kernel/perf_event_paranoid", "3", "no performance counters"),
    set("kernel/kexec_load_disabled", "1", "no other kernel"),
    set("kernel/sysrq", "0", "no keyboard commands"),
    set(
        "kernel/unprivileged_bpf_disabled",
        "1",
        "no programs in the kernel",
    ),
    set(
        "kernel/io_uring_disabled",
        "2",
        "no system calls past the filter",
    ),
    set("kernel/randomize_va_space", "2", "addresses are random"),
    set(
        "kernel/yama/ptrace_scope",
        "3",
        "nobody traces anybody, for good",
    ),
    set("net/core/bpf_jit_harden", "2", "no programs in the kernel"),
    set(
        "user/max_user_namespaces",
        "0",
        "no capabilities by namespace",
    ),
    set("vm/unprivileged_userfaultfd", "0", "no page faults on hold"),
    set("vm/mmap_min_addr", "65536", "no null page"),
    set("dev/tty/ldisc_autoload", "0", "no line discipline"),
    set(
        "dev/tty/legacy_tiocsti",
        "0",
        "no input on another's behalf",
    ),
    set(
        "fs/suid_dumpable",
        "0",
        "no dump of what ran with privileges",
    ),
    set(
        "fs/protected_symlinks",
        "1",
        "no following of planted links",
    ),
    set("fs/protected_hardlinks", "1", "no planting of links"),
    set("fs/protected_fifos", "2", "no writing into planted pipes"),
    set("fs/protected_regular", "2", "no writing into planted files"),
];

/// Set when all modules are loaded, which most images do at once since they have none.
const NO_MORE_MODULES: Setting = set("kernel/modules_disabled", "1", "no module, for good");

/// Where the kernel shows how far it trusts its own administrator.
const SECURITY: &str = "/sys/kernel/security";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
/// The strictest level, and how the kernel shows that it is the one in force.
const CONFIDENTIALITY: (&str, &str) = ("confidentiality", "[confidentiality]");

/// Mounts the pseudo file systems on directories that are made where they are missing.
///
/// # Errors
/// A [`BootError`].
pub fn mount_all() -> Result<(), BootError> {
    for path in MOUNT_POINTS {
        ensure_directory(Path::new(path)).map_err(BootError::file("make a mount point"))?;
    }
    mount::devices(Path::new("/dev"))?;
    mount::pseudo("proc", Path::new("/proc"), "hidepid=invisible")?;
    mount::pseudo("sysfs", Path::new("/sys"), "")?;
    mount::pseudo("configfs", Path::new("/sys/kernel/config"), "")?;
    let options = "mode=0755,size=64k,nr_inodes=32";
    mount::pseudo("tmpfs", Path::new("/run"), options)?;
    Ok(())
}

/// Moves the pseudo file systems below the root image, which then becomes the root directory.
///
/// # Errors
/// A [`BootError`].
pub fn enter_root(root: &Path) -> Result<(), BootError> {
    for path in MOUNT_POINTS {
        let below = root.join(path.trim_start_matches('/'));
        mount::move_to(Path::new(path), &below)?;
    }
    Ok(mount::enter_root(root)?)
}

/// Sets the kernel's settings.
///
/// # Errors
/// `File` when a setting that exists does not take its value.
pub fn harden() -> Result<(), BootError> {
    HARDENING
        .iter()
        .try_for_each(|setting| apply(Path::new(SETTINGS), setting))
}

/// Ends the loading of modules for good, in a kernel that may have none.
///
/// # Errors
/// `File` when the kernel has the setting and does not take its value.
pub fn end_modules() -> Result<(), BootError> {
    apply(Path::new(SETTINGS), &NO_MORE_MODULES)
}

/// Ends the loading of modules for good, in a kernel that must have had it, and raises lockdown,
/// which a kernel that loads modules without a signature cannot have from the start.
///
/// # Errors
/// A [`BootError`] when any of it is not as it must be afterwards.
pub fn lock_modules() -> Result<(), BootError> {
    apply(Path::new(SETTINGS), &NO_MORE_MODULES)?;
    has_value(
        &Path::new(SETTINGS).join(NO_MORE_MODULES.path),
        &NO_MORE_MODULES,
    )?;
    mount::pseudo("securityfs", Path::new(SECURITY), "")?;
    raise_lockdown(Path::new(LOCKDOWN))?;
    Ok(mount::unmount(Path::new(SECURITY))?)
}

fn raise_lockdown(path: &Path) -> Result<(), BootError> {
    let (level, in_force) = CONFIDENTIALITY;
    let opened = OpenOptions::new().write(true).open(path);
    opened
        .and_then(|mut file| file.write_all(level.as_bytes()))
        .map_err(BootError::file("raise lockdown"))?;
    let levels = fs::read_to_string(path).map_err(BootError::file("read lockdown"))?;
    if levels.split_ascii_whitespace().any(|word| word == in_force) {
        return Ok(());
    }
    Err(BootError::Modules {
        action: "raise lockdown",
    })
}

fn apply(settings: &Path, setting: &Setting) -> Result<(), BootError> {
    let path = settings.join(setting.path);
    let written = OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(setting.value.as_bytes()));
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // Some settings refuse to be written once they have their strictest value.
        Err(error) if has_value(&path, setting).is_ok() => drop(error),
        Err(error) => return Err(BootError::file(setting.reason)(error)),
    }
    has_value(&path, setting)
}

fn has_value(path: &Path, setting: &Setting) -> Result<(), BootError> {
    let value = fs::read(path).map_err(BootError::file(setting.reason))?;
    if value.trim_ascii() == setting.value.as_bytes() {
        return Ok(());
    }
    Err(BootError::File {
        action: setting.reason,
        errno: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_written_and_read_back_and_skipped_where_the_kernel_lacks_it() {
        let root = tempfile::tempdir().unwrap();
        let setting = set("present", "2", "test");
        fs::write(root.path().join("present"), "0").unwrap();
        assert_eq!(apply(root.path(), &setting), Ok(()));
        assert_eq!(fs::read(root.path().join("present")).unwrap(), b"2");
        assert_eq!(apply(root.path(), &set("absent", "1", "test")), Ok(()));
        assert!(!root.path().join("absent").exists());
    }

    #[test]
    fn a_setting_that_keeps_another_value_is_a_failure() {
        let taken = has_value(Path::new("/dev/null"), &set("x", "1", "test"));
        assert!(matches!(taken, Err(BootError::File { errno: 0, .. })));
    }

    #[test]
    fn a_lockdown_that_is_not_shown_as_in_force_is_a_failure() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let raised = raise_lockdown(file.path());
        assert!(matches!(raised, Err(BootError::Modules { .. })));
    }

    #[test]
    fn every_setting_has_a_reason_and_a_path_of_its_own() {
        let mut paths: Vec<_> = HARDENING.iter().map(|s| s.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), HARDENING.len());
        assert!(HARDENING.iter().all(|s| !s.reason.is_empty()));
    }
}
