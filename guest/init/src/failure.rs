//! Why a boot stops: one error for all phases, and the code that the host is told.
//!
//! The host learns the code only; what the error says beyond it stays inside.

use attest::ReportError;
use messages::boot::BootFailure;
use protocol::launch_configuration::LaunchConfigurationError;
use sys::CallFailed;
use sys::entropy::EntropyError;
use sys::process::Ended;

use crate::command_line::CommandLineError;
use crate::confinement::{ConfinementError, Role};
use crate::disk::DiskError;
use crate::gpu::DevicesError;
use crate::gpu::client::GpuSocketError;
use crate::image::ImageError;
use crate::quote::ExchangeError;

/// Why a phase failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// No source of reports.
    #[error("no report source: {0}")]
    NoReportSource(ReportError),
    /// The machine's own register cannot be read.
    #[error("cannot read the machine's own register: {0}")]
    NoRegister(ReportError),
    /// The launch configuration is malformed.
    #[error("launch configuration refused: {0}")]
    Configuration(#[from] LaunchConfigurationError),
    /// The launch configuration names more models than engine takes.
    #[error("launch configuration names {found} models, engine takes one")]
    TooManyModels {
        /// How many it names.
        found: usize,
    },
    /// The model image has no files, or more than engine takes.
    #[error("model image has {found} files")]
    ModelFiles {
        /// How many it has, or the first number that is too great.
        found: usize,
    },
    /// The launch configuration is not the one in the machine's register.
    #[error("launch configuration is not the one that the machine was launched with")]
    ForeignConfiguration,
    /// A disk is missing or malformed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The command line is not of its form.
    #[error(transparent)]
    CommandLine(#[from] CommandLineError),
    /// An image cannot be opened through dm-verity, or is corrupt.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The processor gives no randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A program cannot be started under its confinement.
    #[error(transparent)]
    Confinement(#[from] ConfinementError),
    /// A program did under its confinement what it must not be able to do.
    #[error("confinement of {} lets attempt {attempt} through", .role.name())]
    ConfinementLeaks {
        /// Whose confinement.
        role: Role,
        /// Number of the attempt.
        attempt: u8,
    },
    /// A program ended.
    #[error("{} ended: {ended:?}", .role.name())]
    ProgramEnded {
        /// Which one.
        role: Role,
        /// How.
        ended: Ended,
    },
    /// serve broke the protocol of the quote socket.
    #[error("serve broke the quote socket's protocol: {0}")]
    Exchange(ExchangeError),
    /// serve sent something that is no request.
    #[error("serve sent a malformed request")]
    MalformedRequest,
    /// A program did not come as far as it must before the deadline.
    #[error("no progress before the deadline")]
    TimedOut,
    /// The GPUs may not be used, or not any longer.
    #[error(transparent)]
    Devices(#[from] DevicesError),
    /// The driver found no GPU.
    #[error("no GPU that the driver takes")]
    GpuAbsent,
    /// A kernel module cannot be loaded.
    #[error("kernel module `{path}` refused: {cause}")]
    ModuleRefused {
        /// Where it lies in the root.
        path: &'static str,
        /// What the kernel says.
        cause: CallFailed,
    },
    /// The kernel's word on its modules is not of the expected form, or not the expected one.
    #[error("cannot {action}")]
    Modules {
        /// What was tried.
        action: &'static str,
    },
    /// A file system call failed.
    #[error("cannot {action} (errno {errno})")]
    File {
        /// What was tried.
        action: &'static str,
        /// The kernel's error number; 0 when it gave none.
        errno: i32,
    },
    /// A system call failed.
    #[error(transparent)]
    Call(#[from] CallFailed),
    /// A phase ran before one that it builds on.
    #[error("boot table out of order: {missing} is missing")]
    OutOfOrder {
        /// What is missing.
        missing: &'static str,
    },
}

impl BootError {
    /// For `map_err` on calls of the standard library.
    pub fn file(action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::File {
            action,
            errno: error.raw_os_error().unwrap_or(0),
        }
    }

    /// The code that the host is told.
    #[must_use]
    pub const fn code(&self) -> BootFailure {
        match self {
            Self::NoReportSource(_) => BootFailure::NoTee,
            Self::Configuration(_) | Self::TooManyModels { .. } => {
                BootFailure::ConfigurationMalformed
            }
            Self::ForeignConfiguration => BootFailure::ConfigurationMismatch,
            Self::Disk(error) => error.code(),
            Self::CommandLine(_) => BootFailure::CommandLine,
            Self::Image(error) => error.code(),
            Self::Confinement(_) | Self::ConfinementLeaks { .. } => BootFailure::Confinement,
            Self::ProgramEnded {
                role: Role::Serve, ..
            } => BootFailure::ServeEnded,
            Self::ProgramEnded {
                role: Role::Engine | Role::EngineGpu,
                ..
            } => BootFailure::EngineEnded,
            Self::ProgramEnded {
                role: Role::GpuEvidence,
                ..
            } => BootFailure::GpuEvidenceEnded,
            Self::Devices(error) => of_devices(*error),
            Self::Exchange(_) | Self::MalformedRequest | Self::TimedOut => BootFailure::Protocol,
            Self::GpuAbsent => BootFailure::GpuAbsent,
            Self::ModuleRefused { .. } | Self::Modules { .. } => BootFailure::Modules,
            Self::NoRegister(_)
            | Self::Entropy(_)
            | Self::ModelFiles { .. }
            | Self::File { .. }
            | Self::Call(_)
            | Self::OutOfOrder { .. } => BootFailure::System,
        }
    }
}

const fn of_devices(error: DevicesError) -> BootFailure {
    match error {
        DevicesError::Socket(GpuSocketError::Ended) => BootFailure::GpuEvidenceEnded,
        DevicesError::Socket(GpuSocketError::Refused(_))
        | DevicesError::Changed
        | DevicesError::Counted { .. }
        | DevicesError::Rejected(_)
        | DevicesError::Rounds => BootFailure::GpuEvidence,
        DevicesError::Socket(
            GpuSocketError::OutOfTurn
            | GpuSocketError::OutOfStep
            | GpuSocketError::Malformed
            | GpuSocketError::TooLong
            | GpuSocketError::Silent
            | GpuSocketError::Socket(_),
        )
        | DevicesError::Foreign => BootFailure::Protocol,
    }
}
