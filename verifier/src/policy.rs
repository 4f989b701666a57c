//! What a client takes: strict JSON, every tolerated weakness by name, empty lists accept nothing.
//!
//! A policy can only narrow what the code accepts: debuggable or migratable guests, other VMPLs,
//! shared signing keys and unknown roots have no name here and so cannot be tolerated.

use protocol::tee::EvidenceClass;
use serde::{Deserialize, Serialize};

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
}

/// Rules for AMD SEV-SNP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpPolicy {
    /// Minimum firmware levels per processor; a processor without an entry is refused.
    pub tcb_minima: Vec<TcbMinimum>,
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
    /// Minimum firmware levels are those in which AMD's bulletins AMD-SB-3020 (RMP
    /// initialisation, `snp`) and AMD-SB-3027 (a sibling thread, `microcode`) are repaired, as
    /// quoted in a public review of 2026-10-08; `verifier/README.md` names it. Processors whose
    /// minimum was not seen there (Bergamo, Siena, Turin Dense) have no entry.
    #[must_use]
    pub fn strict() -> Self {
        let minimum = |product, model, stepping, tcb| TcbMinimum {
            product,
            model: Some(model),
            stepping: Some(stepping),
            tcb,
        };
        let genoa = |microcode| Tcb {
            fmc: 0,
            bootloader: 0,
            tee: 0,
            snp: 0x1b,
            microcode,
        };
        let turin = Tcb {
            fmc: 0,
            bootloader: 0,
            tee: 0,
            snp: 0x04,
            microcode: 0x51,
        };
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
            ],
            snp: SnpPolicy {
                tcb_minima: vec![
                    minimum(Product::Genoa, 0x11, 1, genoa(0x56)),
                    minimum(Product::Genoa, 0x11, 2, genoa(0x51)),
                    minimum(Product::Turin, 0x02, 1, turin),
                ],
            },
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
