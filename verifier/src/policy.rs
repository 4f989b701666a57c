//! What a client takes: strict JSON, every tolerated weakness by name, empty lists accept nothing.
//!
//! A policy can only narrow what the code accepts: debuggable or migratable guests, other VMPLs,
//! shared signing keys and unknown roots have no name here and so cannot be tolerated.

use dcap_qvl::TcbStatus;
use protocol::tee::EvidenceClass;
use serde::{Deserialize, Serialize};

use crate::nvidia::NvidiaPolicy;
use crate::result::ChipIdentity;
use crate::snp::{Product, Tcb, TcbMinimum};

/// The document is at most this long.
const MAX_BYTES: usize = 64 * 1024;

/// Rules of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppraisalPolicy {
    /// Version of the document, 1.
    pub version: u16,
    /// Accepted classes of evidence.
    pub classes: Vec<AcceptedClass>,
    /// How long a result holds at most, in seconds.
    pub result_lifetime_seconds: u32,
    /// How far the host's clock may be from the client's, in seconds, either way.
    pub host_time_tolerance_seconds: u32,
    /// Accepted processors.
    pub chips: ChipRule,
    /// Weaknesses that are tolerated.
    pub tolerated: Vec<Weakness>,
    /// Rules for AMD SEV-SNP.
    pub snp: SnpPolicy,
    /// Rules for Intel TDX.
    pub tdx: TdxPolicy,
    /// Rules for NVIDIA's GPUs and switches.
    pub nvidia: NvidiaPolicy,
}

/// A class of evidence that this version of the verifier can judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcceptedClass {
    /// The report covers this very connection.
    Fresh,
}

impl AcceptedClass {
    pub(crate) const fn class(self) -> EvidenceClass {
        match self {
            Self::Fresh => EvidenceClass::Fresh,
        }
    }
}

/// Which processors are accepted, by identity: lower-case hex of CHIP_ID or PPID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ChipRule {
    /// Every processor but these.
    AllBut(Vec<String>),
    /// These and no other; an empty list accepts nothing.
    Only(Vec<String>),
}

impl ChipRule {
    pub(crate) fn accepts(&self, chip: &ChipIdentity) -> bool {
        let name = chip.to_string();
        match self {
            Self::AllBut(denied) => !denied.contains(&name),
            Self::Only(allowed) => allowed.contains(&name),
        }
    }
}

/// A weakness that a policy may tolerate, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weakness {
    /// EPYC Milan: the root seed of its keys can be extracted by software (arXiv 2605.12990), and
    /// nothing in a report shows it.
    SnpMilan,
    /// Reports of version 2, which do not name the processor.
    SnpReportVersion2,
    /// No revocation list of AMD is stapled.
    SnpNoRevocationList,
    /// Memory was not checked for aliases (BadRAM).
    SnpAliasCheckIncomplete,
    /// Simultaneous multithreading is on: a sibling thread shares the core's caches.
    SnpSmt,
    /// The host can read the guest's ciphertext (CipherLeaks).
    SnpCiphertextVisible,
    /// The host can read energy counters (power side channels).
    SnpRaplReadable,
    /// Packages can be added to the platform, under keys that exist already.
    TdxDynamicPlatform,
    /// Intel's registration service keeps the platform's root keys.
    TdxCachedKeys,
    /// Simultaneous multithreading is on.
    TdxSmt,
    /// No answers about the revocation of NVIDIA's certificates are stapled.
    NvidiaNoRevocationAnswers,
}

/// Rules for AMD SEV-SNP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpPolicy {
    /// Minimum firmware levels per processor; a processor without an entry is refused.
    pub tcb_minima: Vec<TcbMinimum>,
}

impl SnpPolicy {
    /// Minimum firmware levels are those in which AMD's bulletins AMD-SB-3020 (RMP
    /// initialisation, `snp`) and AMD-SB-3027 (a sibling thread, `microcode`) are repaired, as
    /// quoted in a public review of 2026-10-08; `verifier/README.md` names it. Processors whose
    /// minimum was not seen there (Bergamo, Siena, Turin Dense) have no entry.
    fn strict() -> Self {
        let minimum = |product, model, stepping, snp, microcode| TcbMinimum {
            product,
            model: Some(model),
            stepping: Some(stepping),
            tcb: Tcb {
                fmc: 0,
                bootloader: 0,
                tee: 0,
                snp,
                microcode,
            },
        };
        Self {
            tcb_minima: vec![
                minimum(Product::Genoa, 0x11, 1, 0x1b, 0x56),
                minimum(Product::Genoa, 0x11, 2, 0x1b, 0x51),
                minimum(Product::Turin, 0x02, 1, 0x04, 0x51),
            ],
        }
    }
}

impl TdxPolicy {
    /// The evaluation number is the highest one seen in a real quote's collateral (October 2026);
    /// the four values of XFAM are those of real quotes: AVX-512 and AMX, without or with CET,
    /// with user interrupts, without protection keys.
    fn strict() -> Self {
        let xfam = [
            "e700060000000000",
            "e702060000000000",
            "e718060000000000",
            "e742060000000000",
        ];
        Self {
            statuses: vec![TdxStatus::UpToDate],
            advisories: Vec::new(),
            minimum_evaluation_number: 20,
            collateral_age_seconds: 30 * 86_400,
            xfam: xfam.map(str::to_owned).to_vec(),
            modules: SeamRule::AllOfIntel,
        }
    }
}

/// Rules for Intel TDX. Texts are compared as they are: lower-case hex, Intel's own names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxPolicy {
    /// Accepted TCB statuses; revoked platforms have no name here.
    pub statuses: Vec<TdxStatus>,
    /// Advisories that may apply, such as `INTEL-SA-00837`; every other one refuses.
    pub advisories: Vec<String>,
    /// Least `tcbEvaluationDataNumber` of TCB information and QE identity.
    pub minimum_evaluation_number: u32,
    /// Greatest age of TCB information and QE identity, in seconds.
    pub collateral_age_seconds: u32,
    /// Accepted values of XFAM, 8 bytes as the quote holds them.
    pub xfam: Vec<String>,
    /// Accepted TDX modules.
    pub modules: SeamRule,
}

/// Which TDX modules are accepted, by MRSEAM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SeamRule {
    /// Every module of Intel's that the TCB information covers.
    AllOfIntel,
    /// These builds and no other; an empty list accepts nothing.
    Only(Vec<String>),
}

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

/// A policy that is not of the specified form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Longer than 64 KiB.
    #[error("policy longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not JSON of the specified members.
    #[error("policy is not of the specified form (line {line}, column {column})")]
    Malformed {
        /// Line of the first offence.
        line: usize,
        /// Column of the first offence.
        column: usize,
    },
    /// Another version of the document.
    #[error("policy of version {found}; this program reads version 1")]
    Version {
        /// The version found.
        found: u16,
    },
}

impl AppraisalPolicy {
    /// The built-in policy.
    ///
    /// It tolerates what nearly every machine for rent has: multithreading, ciphertext and energy
    /// counters that the host can read, and Intel's multi-package platforms. Each is named.
    #[must_use]
    pub fn strict() -> Self {
        Self {
            version: 1,
            classes: vec![AcceptedClass::Fresh],
            result_lifetime_seconds: 3600,
            host_time_tolerance_seconds: 3600,
            chips: ChipRule::AllBut(Vec::new()),
            tolerated: vec![
                Weakness::SnpSmt,
                Weakness::SnpCiphertextVisible,
                Weakness::SnpRaplReadable,
                Weakness::TdxDynamicPlatform,
                Weakness::TdxCachedKeys,
                Weakness::TdxSmt,
            ],
            snp: SnpPolicy::strict(),
            tdx: TdxPolicy::strict(),
            nvidia: NvidiaPolicy::strict(),
        }
    }

    /// Parses a policy.
    ///
    /// # Errors
    /// See [`PolicyError`]; unknown members are refused at every level.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_BYTES {
            return Err(PolicyError::TooLong);
        }
        let policy: Self =
            serde_json::from_slice(bytes).map_err(|error| PolicyError::Malformed {
                line: error.line(),
                column: error.column(),
            })?;
        if policy.version != 1 {
            return Err(PolicyError::Version {
                found: policy.version,
            });
        }
        Ok(policy)
    }

    /// The document, indented, with a final newline.
    ///
    /// # Errors
    /// Those of the serialiser, which these types do not raise.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    pub(crate) fn tolerates(&self, weakness: Weakness) -> bool {
        self.tolerated.contains(&weakness)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    #[test]
    fn the_strict_policy_round_trips_through_its_document() {
        let text = AppraisalPolicy::strict().to_json().unwrap();
        let parsed = AppraisalPolicy::parse(text.as_bytes());
        assert_eq!(parsed, Ok(AppraisalPolicy::strict()));
    }

    #[test]
    fn refuses_unknown_members_and_weaknesses_without_a_name() {
        let text = AppraisalPolicy::strict().to_json().unwrap();
        for (from, to) in [
            ("\"version\"", "\"extra\": 1, \"version\""),
            ("\"tcb_minima\"", "\"extra\": 1, \"tcb_minima\""),
            ("\"product\"", "\"extra\": 1, \"product\""),
            ("\"all-but\"", "\"any\""),
            ("\"snp-smt\"", "\"snp-debug\""),
            ("\"fresh\"", "\"epoch\""),
        ] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text, "{from}");
            let refused = AppraisalPolicy::parse(other.as_bytes());
            assert!(
                matches!(refused, Err(PolicyError::Malformed { .. })),
                "{to}"
            );
        }
    }

    #[test]
    fn refuses_another_version_and_what_is_too_long() {
        let text = AppraisalPolicy::strict().to_json().unwrap();
        let other = text.replacen("\"version\": 1", "\"version\": 2", 1);
        let refused = AppraisalPolicy::parse(other.as_bytes());
        assert_eq!(refused, Err(PolicyError::Version { found: 2 }));
        let long = " ".repeat(MAX_BYTES + 1);
        assert_eq!(
            AppraisalPolicy::parse(long.as_bytes()),
            Err(PolicyError::TooLong)
        );
    }

    #[test]
    fn an_empty_list_of_chips_accepts_nothing() {
        let chip = ChipIdentity::Tdx([7; 16]);
        assert!(!ChipRule::Only(Vec::new()).accepts(&chip));
        assert!(ChipRule::AllBut(Vec::new()).accepts(&chip));
        assert!(ChipRule::Only(vec![chip.to_string()]).accepts(&chip));
        assert!(!ChipRule::AllBut(vec![chip.to_string()]).accepts(&chip));
    }
}
