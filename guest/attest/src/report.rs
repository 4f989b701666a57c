//! What a source of hardware reports can do.

use protocol::digest::{ConfigDigest, HostData, MrConfigId, ReportData};
use protocol::launch_configuration::{host_data, mr_config_id};
use protocol::tee::TeeKind;

/// A source of hardware reports about this very machine.
///
/// The trait is object-safe, so that the boot table does not depend on which source it has.
pub trait ReportSource {
    /// The kind of its reports.
    fn tee(&self) -> TeeKind;

    /// The register that holds the launch configuration's digest, read from the hardware itself
    /// and never from what the host handed back.
    ///
    /// # Errors
    /// A [`ReportError`].
    fn own_configuration(&mut self) -> Result<ConfigRegister, ReportError>;

    /// The firmware's event log as this machine has it; empty on SEV-SNP, where no host table is
    /// evidence. It is read before the report, since the report covers its digest.
    ///
    /// # Errors
    /// A [`ReportError`].
    fn event_log(&mut self) -> Result<Vec<u8>, ReportError>;

    /// A report over `data`.
    ///
    /// # Errors
    /// A [`ReportError`]; waiting is bounded.
    fn report(&mut self, data: &ReportData) -> Result<Report, ReportError>;
}

/// The register by which the machine was told its launch configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigRegister {
    /// HOST_DATA of SEV-SNP.
    HostData(HostData),
    /// MRCONFIGID of TDX.
    MrConfigId(MrConfigId),
}

impl ConfigRegister {
    /// Whether the machine was launched with the configuration of that digest.
    #[must_use]
    pub fn holds(&self, digest: &ConfigDigest) -> bool {
        match self {
            Self::HostData(register) => *register == host_data(digest),
            Self::MrConfigId(register) => *register == mr_config_id(digest),
        }
    }
}

/// A report as evidence carries it: the SEV-SNP report (1184 bytes) or the TDX quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report(pub Vec<u8>);

/// Why there is no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The kernel has no provider of reports.
    #[error("no provider of hardware reports")]
    NoProvider,
    /// A provider of a kind that this image does not take.
    #[error("provider of hardware reports is of an unknown kind")]
    ForeignProvider,
    /// Another writer interfered at each of the attempts, or the platform stayed busy.
    #[error("no undisturbed report in {attempts} attempts")]
    Disturbed {
        /// How often it was tried.
        attempts: u32,
    },
    /// No report before the deadline.
    #[error("no report before the deadline")]
    TimedOut,
    /// The answer is not of the form that its kind has.
    #[error("report or register `{field}` is not of its form")]
    Malformed {
        /// What is wrong.
        field: &'static str,
    },
    /// A system call failed.
    #[error("cannot {action} (errno {errno})")]
    System {
        /// What was tried.
        action: &'static str,
        /// The kernel's error number; 0 when it gave none.
        errno: i32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_holds_its_own_digest_and_no_other() {
        let (own, other) = (ConfigDigest([7; 32]), ConfigDigest([8; 32]));
        let mut padded = [0; 48];
        padded[..32].copy_from_slice(&own.0);
        let mut tainted = padded;
        tainted[47] = 1;
        assert!(ConfigRegister::HostData(HostData(own.0)).holds(&own));
        assert!(!ConfigRegister::HostData(HostData(own.0)).holds(&other));
        assert!(ConfigRegister::MrConfigId(MrConfigId(padded)).holds(&own));
        assert!(!ConfigRegister::MrConfigId(MrConfigId(padded)).holds(&other));
        assert!(!ConfigRegister::MrConfigId(MrConfigId(tainted)).holds(&own));
    }
}
