//! What a program may do: nothing but compute and use the descriptors that it was given.
//!
//! A program gets, in this order: namespaces of its own with one empty read-only directory and no
//! network interface; its own user, no group, no capability, no new privileges; landlock rules
//! that leave it its own program file and nothing else; its descriptors; limits; and two system
//! call filters. The lists are data (`start`, `serve`, `engine`), each call with its reason.
//!
//! In images for GPUs gpu-evidence and the engine are not static: they see a loader, libraries and
//! nodes of the driver, each its own, as well (`view`, `library`, `gpu_evidence`, `engine_gpu`).
//!
//! **One exec.** Filters are installed before the program starts, so they must let one `execveat`
//! through. It is allowed on one descriptor number only, which exec closes and which lies at the
//! limit of open files, so that no descriptor can have that number ever again
//! ([`sys::process::PROGRAM_FD`]). An absolute path, which `execveat` would take without looking
//! at the number, finds nothing: the directory is empty, and landlock refuses every other file.

mod engine;
mod engine_gpu;
mod filter;
mod gpu_evidence;
mod library;
mod serve;
mod start;
pub mod view;

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use sys::CallFailed;
use sys::process::{Child, Launch, LaunchError};
use view::Seen;

pub use filter::{Answer, Call, Condition, FilterError};

/// The landlock interface of the image's kernel (6.12); an older one is refused.
const LANDLOCK: ABI = ABI::V6;

/// A directory on which the child mounts its empty one.
const MOUNT_POINT: &str = "/run";

/// Errno for failures of the confinement libraries that carry none.
const EPERM: i32 = 1;

/// A program of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// TLS, HTTP, payment.
    Serve,
    /// Models.
    Engine,
    /// Models on GPUs; images for GPUs only, in the engine's place.
    EngineGpu,
    /// What GPUs say of themselves; images for GPUs only.
    GpuEvidence,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Serve,
        Self::Engine,
        Self::EngineGpu,
        Self::GpuEvidence,
    ];

    /// Those that see nothing but themselves.
    pub const BLIND: [Self; 2] = [Self::Serve, Self::Engine];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Engine => "engine",
            Self::EngineGpu => "engine-gpu",
            Self::GpuEvidence => "gpu-evidence",
        }
    }

    /// User and group under which it runs.
    #[must_use]
    pub const fn id(self) -> u32 {
        match self {
            Self::Serve => 1001,
            Self::Engine => 1002,
            Self::GpuEvidence => 1003,
            Self::EngineGpu => 1004,
        }
    }

    /// How much memory it may lock, in bytes; none: as much as the kernel lets any program.
    #[must_use]
    pub const fn locked(self) -> Option<u64> {
        match self {
            Self::Serve | Self::Engine | Self::GpuEvidence => None,
            // What crosses in a step is locked, four buffers of some kilobytes. Said here, so that
            // no kernel's default decides; it can only be lowered where a program is confined.
            Self::EngineGpu => Some(8 << 20),
        }
    }

    /// Its lists of system calls; where two have the same call, the earlier one says.
    const fn lists(self) -> &'static [&'static [Call]] {
        match self {
            Self::Serve => &[serve::CALLS, start::FURTHER, start::CALLS],
            Self::Engine => &[engine::CALLS, start::CALLS],
            Self::EngineGpu => &[
                engine_gpu::CALLS,
                library::CALLS,
                engine::CALLS,
                start::FURTHER,
                start::CALLS,
            ],
            Self::GpuEvidence => &[
                gpu_evidence::CALLS,
                library::CALLS,
                start::FURTHER,
                start::CALLS,
            ],
        }
    }

    /// The system calls that it may use, with what it needs to start.
    pub fn calls(self) -> impl Iterator<Item = &'static Call> {
        let lists = self.lists();
        (0..).zip(lists).flat_map(|(at, list)| {
            let earlier = lists.iter().take(at).copied().flatten();
            let is_new = move |call: &&Call| !earlier.clone().any(|e| e.number == call.number);
            list.iter().filter(is_new)
        })
    }
}

/// Why a program could not be confined or started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfinementError {
    /// The program's file cannot be opened.
    #[error("cannot open the program of {} (errno {errno})", .role.name())]
    NoProgram {
        /// Whose.
        role: Role,
        /// The kernel's error number.
        errno: i32,
    },
    /// What the program must see cannot be opened.
    #[error("cannot open what {} must see (errno {errno})", .role.name())]
    NoView {
        /// Whose.
        role: Role,
        /// The kernel's error number.
        errno: i32,
    },
    /// The kernel has no landlock, or an older one.
    #[error("kernel lacks landlock of the required version")]
    NoLandlock,
    /// A list of system calls cannot be compiled.
    #[error("list of system calls of {} cannot be compiled", .role.name())]
    Filter {
        /// Whose.
        role: Role,
    },
    /// The child failed on its way.
    #[error("cannot confine {}: {cause}", .role.name())]
    Launch {
        /// Whose.
        role: Role,
        /// Where and why.
        cause: LaunchError,
    },
}

/// Starts a program under the confinement of `role`, with `descriptors` as its 0, 1, 2, … .
///
/// # Errors
/// A [`ConfinementError`]; nothing runs then.
pub fn start(
    role: Role,
    program: &Path,
    arguments: &[CString],
    descriptors: &[BorrowedFd<'_>],
) -> Result<Child, ConfinementError> {
    let seen = view::of(role)?;
    start_seeing(role, program, arguments, descriptors, &seen)
}

/// As [`start`], with another view than the role has in an image.
///
/// # Errors
/// A [`ConfinementError`]; nothing runs then.
pub fn start_seeing(
    role: Role,
    program: &Path,
    arguments: &[CString],
    descriptors: &[BorrowedFd<'_>],
    seen: &[Seen],
) -> Result<Child, ConfinementError> {
    let file = File::open(program).map_err(|error| ConfinementError::NoProgram {
        role,
        errno: error.raw_os_error().unwrap_or(0),
    })?;
    let rules = rules(role, &file, seen)?;
    let places: Vec<_> = seen
        .iter()
        .map(|seen| (seen.from.clone(), seen.at.clone()))
        .collect();
    let calls = role.calls();
    let filters = filter::compile(calls).map_err(|_| ConfinementError::Filter { role })?;
    let launch = Launch {
        program: file.as_fd(),
        arguments,
        descriptors,
        locked: role.locked(),
    };
    let confine = move || {
        if places.is_empty() {
            sys::mount::leave_everything(Path::new(MOUNT_POINT))?;
        } else {
            sys::mount::leave_all_but(Path::new(MOUNT_POINT), &places)?;
        }
        sys::credentials::drop_to(role.id())?;
        restrict(rules)
    };
    sys::process::spawn(&launch, confine, || filters.install())
        .map_err(|cause| ConfinementError::Launch { role, cause })
}

/// The rules of a program and of what it sees.
fn rules(role: Role, program: &File, seen: &[Seen]) -> Result<RulesetCreated, ConfinementError> {
    let failed = |_: RulesetError| ConfinementError::NoLandlock;
    let mut rules = own_rules(program).map_err(failed)?;
    for part in seen {
        let rule = PathBeneath::new(part.open(role)?, part.used.access());
        rules = rules.add_rule(rule).map_err(failed)?;
    }
    Ok(rules)
}

/// Rules under which every kind of access is refused but reading and starting `program`.
fn own_rules(program: &File) -> Result<RulesetCreated, RulesetError> {
    let own = AccessFs::Execute | AccessFs::ReadFile;
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rule(PathBeneath::new(program, own))
}

fn restrict(rules: RulesetCreated) -> Result<(), CallFailed> {
    let refused = CallFailed {
        call: "landlock_restrict_self",
        errno: EPERM,
    };
    let status = rules.restrict_self().map_err(|_| refused)?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced | RulesetStatus::NotEnforced => Err(refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_list_allows_a_call_by_which_a_program_reaches_beyond_its_descriptors() {
        let forbidden = [
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_mount,
            libc::SYS_fsopen,
            libc::SYS_open_tree,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_execve,
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_kill,
            libc::SYS_open,
            libc::SYS_memfd_create,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_userfaultfd,
            libc::SYS_keyctl,
            libc::SYS_pidfd_getfd,
        ];
        for role in Role::ALL {
            for call in role.calls().filter(|call| call.answer != Answer::Absent) {
                assert!(!forbidden.contains(&call.number), "{}", call.name);
            }
        }
    }

    #[test]
    fn only_serve_accepts_connections() {
        let accepts = |role: Role| role.calls().any(|call| call.number == libc::SYS_accept4);
        assert!(accepts(Role::Serve));
        assert!(!accepts(Role::Engine));
        assert!(!accepts(Role::EngineGpu));
        assert!(!accepts(Role::GpuEvidence));
    }

    fn answer(role: Role, number: i64) -> Option<Answer> {
        let listed = role.calls().find(|call| call.number == number);
        listed.map(|call| call.answer)
    }

    #[test]
    fn only_programs_with_libraries_open_files_and_every_program_has_a_user_of_its_own() {
        let opens = |role| answer(role, libc::SYS_openat) == Some(Answer::Allow);
        assert_eq!(Role::ALL.map(opens), [false, false, true, true]);
        assert_eq!(Role::ALL.map(Role::id), [1001, 1002, 1004, 1003]);
    }

    #[test]
    fn no_program_makes_requests_of_any_kind_or_memory_that_it_wrote_and_can_run() {
        for role in Role::ALL {
            for number in [libc::SYS_ioctl, libc::SYS_mmap, libc::SYS_mprotect] {
                let found = answer(role, number);
                assert!(
                    matches!(found, Some(Answer::AllowWhen(_))),
                    "{}: {number}",
                    role.name()
                );
            }
        }
    }

    #[test]
    fn of_two_lists_the_first_one_says() {
        // `start` has the engine without GPUs look for files in vain, and make one request alone.
        assert_eq!(answer(Role::Engine, libc::SYS_openat), Some(Answer::Absent));
        let requests = |role| match answer(role, libc::SYS_ioctl) {
            Some(Answer::AllowWhen(alternatives)) => alternatives.len(),
            _ => 0,
        };
        assert_eq!(Role::ALL.map(requests), [1, 1, 5, 2]);
        // What libcuda looks for is told to be missing, and is no way out.
        let socket = |role| answer(role, libc::SYS_socket);
        assert_eq!(
            Role::ALL.map(socket),
            [None, None, Some(Answer::Absent), None]
        );
    }

    #[test]
    fn the_engine_with_gpus_lacks_nothing_that_the_engine_has() {
        for call in Role::Engine.calls() {
            assert!(
                answer(Role::EngineGpu, call.number).is_some(),
                "{}",
                call.name
            );
        }
    }

    #[test]
    fn once_it_has_started_the_engine_makes_forty_kinds_of_calls_at_most() {
        let of_its_start = [
            libc::SYS_execveat,
            libc::SYS_arch_prctl,
            libc::SYS_set_tid_address,
            libc::SYS_prlimit64,
        ];
        let made = Role::Engine
            .calls()
            .filter(|call| call.answer != Answer::Absent && !of_its_start.contains(&call.number));
        assert!(made.count() <= 40);
    }

    #[test]
    fn every_call_is_listed_once_with_its_reason() {
        for role in Role::ALL {
            let mut numbers: Vec<_> = role.calls().map(|call| call.number).collect();
            let listed = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), listed, "{}", role.name());
            assert!(role.calls().all(|call| !call.reason.is_empty()));
        }
    }
}
