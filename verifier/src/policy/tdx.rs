//! Rules for Intel TDX. Numbers of the quote are hex as the quote holds them; statuses and
//! advisories are Intel's own names.

use core::fmt;
use core::str::FromStr;

use dcap_qvl::TcbStatus;
use protocol::{byte_strings, written_as_text};
use serde::{Deserialize, Serialize};

/// Rules for Intel TDX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxPolicy {
    /// Accepted TCB levels; revoked platforms have no name here.
    pub levels: Vec<AcceptedLevel>,
    /// Least `tcbEvaluationDataNumber` of TCB information and QE identity.
    pub minimum_evaluation_number: u32,
    /// Greatest age of TCB information and QE identity, in seconds.
    pub collateral_age_seconds: u32,
    /// Accepted values of XFAM.
    pub xfam: Vec<Xfam>,
    /// Accepted TDX modules.
    pub modules: SeamRule,
}

/// One status that is accepted, and under what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptedLevel {
    /// The status.
    pub status: TdxStatus,
    /// Advisories that may apply; every other one refuses.
    pub advisories: Vec<Advisory>,
    /// Where updates are missing: how many hours the level may be old, counted from the date that
    /// Intel gives it. Without meaning for every other status.
    pub grace_hours: u32,
}

/// Which TDX modules are accepted, by MRSEAM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SeamRule {
    /// Every module of Intel's that the TCB information covers.
    AllOfIntel,
    /// These builds and no other; an empty list accepts nothing.
    Only(Vec<MrSeam>),
}

byte_strings! {
    /// A value of XFAM, as the quote holds it.
    Xfam(8);
    /// A value of MRSEAM.
    MrSeam(48);
}

/// The name of one of Intel's advisories: `INTEL-SA-` and five digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advisory(String);

/// Text that names no advisory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `INTEL-SA-` and five digits")]
pub struct AdvisoryError;

impl Advisory {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Advisory {
    type Err = AdvisoryError;

    fn from_str(text: &str) -> Result<Self, AdvisoryError> {
        let digits = text.strip_prefix("INTEL-SA-").ok_or(AdvisoryError)?;
        if digits.len() == 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(AdvisoryError)
        }
    }
}

impl fmt::Display for Advisory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written_as_text!(Advisory);

/// A TCB status, as Intel's TCB information names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TdxStatus {
    /// Nothing is known to be missing.
    UpToDate,
    /// Software must harden itself against the advisories.
    SwHardeningNeeded,
    /// The platform's configuration leaves a hole open.
    ConfigurationNeeded,
    /// Both.
    ConfigurationAndSwHardeningNeeded,
    /// Updates are missing.
    OutOfDate,
    /// Updates are missing, and configuration.
    OutOfDateConfigurationNeeded,
    /// The guest was launched before an update of the TDX module.
    TdRelaunchAdvised,
    /// The same, and configuration is missing.
    TdRelaunchAdvisedConfigurationNeeded,
}

/// Its name in a policy.
impl fmt::Display for TdxStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl TdxStatus {
    /// `None` for a revoked platform.
    pub(crate) const fn of(status: TcbStatus) -> Option<Self> {
        match status {
            TcbStatus::UpToDate => Some(Self::UpToDate),
            TcbStatus::SWHardeningNeeded => Some(Self::SwHardeningNeeded),
            TcbStatus::ConfigurationNeeded => Some(Self::ConfigurationNeeded),
            TcbStatus::ConfigurationAndSWHardeningNeeded => {
                Some(Self::ConfigurationAndSwHardeningNeeded)
            }
            TcbStatus::OutOfDate => Some(Self::OutOfDate),
            TcbStatus::OutOfDateConfigurationNeeded => Some(Self::OutOfDateConfigurationNeeded),
            TcbStatus::TDRelaunchAdvised => Some(Self::TdRelaunchAdvised),
            TcbStatus::TDRelaunchAdvisedConfigurationNeeded => {
                Some(Self::TdRelaunchAdvisedConfigurationNeeded)
            }
            TcbStatus::Revoked => None,
        }
    }
}
