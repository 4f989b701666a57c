//! What an appraisal found. Only `appraise` makes one, so whoever holds one holds a verdict.

use protocol::digest::{MeasurementKey, ModelDigest, ProviderKey};
use protocol::launch_configuration::LaunchConfiguration;
use protocol::machine_grant::ChipIdentity;
use protocol::statement::Statement;
use protocol::tee::TeeKind;

use crate::nvidia::DeviceFacts;
use crate::time::UnixTime;

/// The processor that reports, and whether anybody vouches for which one that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportedChip {
    /// A certificate of its vendor's names it.
    Certified(ChipIdentity),
    /// The report's own word: whoever holds the key that signed it may sign for any chip. It may
    /// refuse; nothing may be accepted because of it.
    Uncertified(ChipIdentity),
}

impl ReportedChip {
    /// The chip that a certificate names.
    #[must_use]
    pub const fn certified(&self) -> Option<&ChipIdentity> {
        match self {
            Self::Certified(chip) => Some(chip),
            Self::Uncertified(_) => None,
        }
    }

    /// The chip that is named, by whomever.
    #[must_use]
    pub const fn claimed(&self) -> &ChipIdentity {
        match self {
            Self::Certified(chip) | Self::Uncertified(chip) => chip,
        }
    }
}

/// Accepted evidence, for one connection and until one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationResult {
    pub(crate) statement: Statement,
    pub(crate) launch_configuration: LaunchConfiguration,
    pub(crate) models: Vec<ModelDigest>,
    pub(crate) shape: String,
    pub(crate) chip: ReportedChip,
    pub(crate) provider: Option<ProviderKey>,
    pub(crate) measurement_key: MeasurementKey,
    pub(crate) devices: Vec<DeviceFacts>,
    pub(crate) not_after: UnixTime,
}

impl AttestationResult {
    /// What the machine says of itself, covered by the hardware report.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The launch configuration whose digest the machine's register holds.
    #[must_use]
    pub const fn launch_configuration(&self) -> &LaunchConfiguration {
        &self.launch_configuration
    }

    /// Digests of the loaded models, in the order of the configuration; all are pinned.
    #[must_use]
    pub fn models(&self) -> &[ModelDigest] {
        &self.models
    }

    /// Name of the machine shape in the reference values.
    #[must_use]
    pub fn shape(&self) -> &str {
        &self.shape
    }

    /// The kind of the hardware report.
    #[must_use]
    pub const fn tee(&self) -> TeeKind {
        self.statement.tee
    }

    /// The processor, and whether a certificate names it.
    #[must_use]
    pub const fn chip(&self) -> &ReportedChip {
        &self.chip
    }

    /// The provider who granted the machine; `None` where the policy takes every provider.
    #[must_use]
    pub const fn provider(&self) -> Option<&ProviderKey> {
        self.provider.as_ref()
    }

    /// The key by which the registry contract names these registers.
    #[must_use]
    pub const fn measurement_key(&self) -> &MeasurementKey {
        &self.measurement_key
    }

    /// GPUs and switches, in the order in which they report.
    #[must_use]
    pub fn devices(&self) -> &[DeviceFacts] {
        &self.devices
    }

    /// From this time on the result must not be used any more: the earliest end of the policy's
    /// lifetime and of every endorsement's validity.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }
}
