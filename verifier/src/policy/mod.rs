//! What a client takes: strict JSON, every tolerated weakness by name, empty lists accept nothing.
//!
//! A policy can only narrow what the code accepts: debuggable or migratable guests, other VMPLs,
//! shared signing keys and unknown roots have no name here and so cannot be tolerated. The document
//! is described by `docs/spec/policy.schema.json`, which a test holds against these types.

mod built_in;
mod chips;
mod tdx;
mod weakness;

use protocol::tee::EvidenceClass;
use serde::{Deserialize, Serialize};

use crate::nvidia::NvidiaPolicy;
use crate::snp::TcbMinimum;

pub use chips::{Allowed, AllowedProviders, ChipRules};
pub use tdx::{AcceptedLevel, Advisory, MrSeam, SeamRule, TdxPolicy, TdxStatus, Xfam};
pub use weakness::Weakness;

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
    pub chips: ChipRules,
    /// Accepted providers: whoever is named here granted the machine. Where every one is taken, no
    /// grant is looked at.
    pub providers: AllowedProviders,
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

/// Version of the firmware's interface, as a guest policy asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abi {
    /// ABI_MAJOR.
    pub major: u8,
    /// ABI_MINOR.
    pub minor: u8,
}

impl core::fmt::Display for Abi {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Rules for AMD SEV-SNP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnpPolicy {
    /// The least interface that the guest policy asks the firmware for.
    pub minimum_abi: Abi,
    /// Minimum firmware levels per processor; the first entry that fits counts, and a processor
    /// without one is refused.
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
    /// A member in another form than this program writes, or left out.
    #[error("policy has a member in another form than the specified one")]
    Form,
    /// Another version of the document.
    #[error("policy of version {found}; this program reads version 1")]
    Version {
        /// The version found.
        found: u16,
    },
}

impl AppraisalPolicy {
    /// Parses a policy.
    ///
    /// # Errors
    /// See [`PolicyError`]; unknown members are refused at every level.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_BYTES {
            return Err(PolicyError::TooLong);
        }
        let malformed = |error: serde_json::Error| PolicyError::Malformed {
            line: error.line(),
            column: error.column(),
        };
        let policy: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        let found = policy.version;
        if found != 1 {
            return Err(PolicyError::Version { found });
        }
        // What was read must say all that the text says, in the form that the schema describes.
        let text: serde_json::Value = serde_json::from_slice(bytes).map_err(malformed)?;
        if serde_json::to_value(&policy).ok() != Some(text) {
            return Err(PolicyError::Form);
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
    fn the_built_in_policies_round_trip_through_their_documents() {
        for (name, policy) in AppraisalPolicy::built_in() {
            let text = policy.to_json().unwrap();
            assert!(text.ends_with("}\n"), "{name}");
            // As long as a policy may be, most of it white space.
            let filling = " ".repeat(MAX_BYTES.saturating_sub(text.len()));
            let longest = format!("{text}{filling}");
            assert_eq!(longest.len(), MAX_BYTES);
            for text in [&text, &longest] {
                let parsed = AppraisalPolicy::parse(text.as_bytes());
                assert_eq!(parsed.as_ref(), Ok(&policy), "{name}");
            }
        }
    }

    #[test]
    fn refuses_unknown_members_and_weaknesses_without_a_name() {
        let text = AppraisalPolicy::strict().to_json().unwrap();
        for (from, to) in [
            ("\"version\"", "\"extra\": 1, \"version\""),
            ("\"tcb_minima\"", "\"extra\": 1, \"tcb_minima\""),
            ("\"product\"", "\"extra\": 1, \"product\""),
            ("\"every\"", "\"any\""),
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
    fn refuses_another_form_of_the_same_meaning() {
        let text = AppraisalPolicy::strict().to_json().unwrap();
        for (from, to) in [("\"every\"", "{\"every\": null}"), ("\"model\": 17,", "")] {
            let other = text.replacen(from, to, 1);
            assert_ne!(other, text, "{from}");
            let refused = AppraisalPolicy::parse(other.as_bytes());
            assert!(refused.is_err(), "{to}");
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
}
