//! Codes of boot phases and of their failures: all that a guest tells its host about a boot.
//!
//! A failed phase powers the machine off; the code carries no content.

use protocol::codec::DecodeError;

/// A phase of the boot, in the order of init's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BootPhase {
    /// Pseudo file systems, kernel settings.
    PseudoFileSystems,
    /// The connection to the host's control port.
    HostControl,
    /// A source of hardware reports.
    ReportSource,
    /// The launch configuration, compared with the machine's own registers.
    LaunchConfiguration,
    /// The root file system through dm-verity.
    Root,
    /// Kernel modules from the root, and then no more of them; images for GPUs only.
    Modules,
    /// The GPUs' evidence is appraised, then they are set ready; images for GPUs only.
    Gpus,
    /// The model images through dm-verity.
    Models,
    /// The boot id is drawn, serve is started and registers its keys.
    Serve,
    /// engine is started and loads its weights.
    Engine,
    /// Model disks are detached; requests are taken.
    Ready,
}

impl BootPhase {
    /// Every phase, in order.
    pub const ALL: [Self; 11] = [
        Self::PseudoFileSystems,
        Self::HostControl,
        Self::ReportSource,
        Self::LaunchConfiguration,
        Self::Root,
        Self::Modules,
        Self::Gpus,
        Self::Models,
        Self::Serve,
        Self::Engine,
        Self::Ready,
    ];

    /// The number that stands for it on the control port.
    #[must_use]
    pub const fn wire(self) -> u8 {
        match self {
            Self::PseudoFileSystems => 1,
            Self::HostControl => 2,
            Self::ReportSource => 3,
            Self::LaunchConfiguration => 4,
            Self::Root => 5,
            Self::Models => 6,
            Self::Serve => 7,
            Self::Engine => 8,
            Self::Ready => 9,
            Self::Modules => 10,
            Self::Gpus => 11,
        }
    }

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PseudoFileSystems => "pseudo-file-systems",
            Self::HostControl => "host-control",
            Self::ReportSource => "report-source",
            Self::LaunchConfiguration => "launch-configuration",
            Self::Root => "root",
            Self::Modules => "modules",
            Self::Gpus => "gpus",
            Self::Models => "models",
            Self::Serve => "serve",
            Self::Engine => "engine",
            Self::Ready => "ready",
        }
    }

    /// Reads the number of [`BootPhase::wire`].
    ///
    /// # Errors
    /// `OutOfRange` for any other number.
    pub fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        Self::ALL
            .into_iter()
            .find(|phase| phase.wire() == byte)
            .ok_or(DecodeError::OutOfRange {
                field: "boot phase",
            })
    }
}

/// Why the machine powered itself off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BootFailure {
    /// No report source of a kind that this image accepts: "no TEE".
    NoTee,
    /// The launch configuration is malformed.
    ConfigurationMalformed,
    /// The launch configuration is not the one in the machine's registers.
    ConfigurationMismatch,
    /// A disk that the configuration or the command line names is not there.
    DiskMissing,
    /// The kernel's command line is not of the specified form.
    CommandLine,
    /// A verity device cannot be opened.
    VerityOpen,
    /// A block of a verity device is not what its root hash says.
    VerityCorrupt,
    /// A program cannot be started under its confinement.
    Confinement,
    /// serve ended.
    ServeEnded,
    /// engine ended before it was ready.
    EngineEnded,
    /// A program broke the protocol of its socket.
    Protocol,
    /// A system call that the phase needs failed.
    System,
    /// No GPU that the driver takes.
    GpuAbsent,
    /// A kernel module was refused, or loading modules could not be ended.
    Modules,
    /// The GPUs gave no evidence, or it was refused, at whatever time.
    GpuEvidence,
    /// gpu-evidence ended.
    GpuEvidenceEnded,
}

impl BootFailure {
    /// Every failure.
    pub const ALL: [Self; 16] = [
        Self::NoTee,
        Self::ConfigurationMalformed,
        Self::ConfigurationMismatch,
        Self::DiskMissing,
        Self::CommandLine,
        Self::VerityOpen,
        Self::VerityCorrupt,
        Self::Confinement,
        Self::ServeEnded,
        Self::EngineEnded,
        Self::Protocol,
        Self::System,
        Self::GpuAbsent,
        Self::Modules,
        Self::GpuEvidence,
        Self::GpuEvidenceEnded,
    ];

    /// The number that stands for it on the control port.
    #[must_use]
    pub const fn wire(self) -> u8 {
        match self {
            Self::NoTee => 1,
            Self::ConfigurationMalformed => 2,
            Self::ConfigurationMismatch => 3,
            Self::DiskMissing => 4,
            Self::CommandLine => 5,
            Self::VerityOpen => 6,
            Self::VerityCorrupt => 7,
            Self::Confinement => 8,
            Self::ServeEnded => 9,
            Self::EngineEnded => 10,
            Self::Protocol => 11,
            Self::System => 12,
            Self::GpuAbsent => 13,
            Self::Modules => 14,
            Self::GpuEvidence => 15,
            Self::GpuEvidenceEnded => 16,
        }
    }

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoTee => "boot-no-tee",
            Self::ConfigurationMalformed => "boot-configuration-malformed",
            Self::ConfigurationMismatch => "boot-configuration-mismatch",
            Self::DiskMissing => "boot-disk-missing",
            Self::CommandLine => "boot-command-line",
            Self::VerityOpen => "boot-verity-open",
            Self::VerityCorrupt => "boot-verity-corrupt",
            Self::Confinement => "boot-confinement",
            Self::ServeEnded => "boot-serve-ended",
            Self::EngineEnded => "boot-engine-ended",
            Self::Protocol => "boot-protocol",
            Self::System => "boot-system",
            Self::GpuAbsent => "boot-gpu-absent",
            Self::Modules => "boot-modules",
            Self::GpuEvidence => "boot-gpu-evidence",
            Self::GpuEvidenceEnded => "boot-gpu-evidence-ended",
        }
    }

    /// Reads the number of [`BootFailure::wire`].
    ///
    /// # Errors
    /// `OutOfRange` for any other number.
    pub fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        Self::ALL
            .into_iter()
            .find(|failure| failure.wire() == byte)
            .ok_or(DecodeError::OutOfRange {
                field: "boot failure",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips() {
        for phase in BootPhase::ALL {
            assert_eq!(BootPhase::from_wire(phase.wire()), Ok(phase));
        }
        for failure in BootFailure::ALL {
            assert_eq!(BootFailure::from_wire(failure.wire()), Ok(failure));
        }
        assert!(BootPhase::from_wire(0).is_err());
        assert!(BootFailure::from_wire(0).is_err());
    }
}
