//! Which processors are accepted, by identity: an allow list and a deny list, of which the second
//! wins.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use super::written_as_text;
use crate::checks::{Checks, Subject};
use crate::rejection::Rejection;
use crate::result::{ChipIdentity, ReportedChip};

/// Accepted and refused processors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChipRules {
    /// Who is accepted.
    pub allowed: AllowedChips,
    /// Who is refused, even where allowed.
    pub denied: Vec<ChipName>,
}

/// Who is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum AllowedChips {
    /// Every genuine processor.
    Every,
    /// These and no other; an empty list accepts nothing.
    Only(Vec<ChipName>),
}

impl ChipRules {
    pub(crate) fn plan(of: Subject, checks: &mut Checks) {
        checks.plan(
            of,
            &[Rejection::ChipNotCertified, Rejection::ChipNotAccepted],
        );
    }

    /// An allow list takes a chip that a certificate names; the deny list refuses by anyone's word.
    pub(crate) fn check(&self, of: Subject, chip: &ReportedChip, checks: &mut Checks) {
        let step = Rejection::ChipNotCertified;
        match (chip, &self.allowed) {
            (ReportedChip::Certified(_), _) => {
                checks.expect(of, step, "named by its certificate", true);
            }
            (ReportedChip::Uncertified(_), AllowedChips::Only(_)) => {
                checks.expect(of, step, "named by no certificate", false);
            }
            (ReportedChip::Uncertified(_), AllowedChips::Every) => {
                checks.not_needed(
                    of,
                    &[step],
                    "named by no certificate; every chip is allowed",
                );
            }
        }
        let (chip, step) = (chip.claimed(), Rejection::ChipNotAccepted);
        checks.expect(of, step, chip, self.accepts(chip));
    }

    fn accepts(&self, chip: &ChipIdentity) -> bool {
        let named = |list: &[ChipName]| list.iter().any(|name| name.0 == *chip);
        let allowed = match &self.allowed {
            AllowedChips::Every => true,
            AllowedChips::Only(list) => named(list),
        };
        allowed && !named(&self.denied)
    }
}

/// A processor's name: lower-case hex of CHIP_ID (128 digits) or PPID (32 digits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChipName(pub ChipIdentity);

/// Text that names no processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 or 128 lower-case hex digits")]
pub struct ChipNameError;

impl fmt::Display for ChipName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ChipName {
    type Err = ChipNameError;

    fn from_str(text: &str) -> Result<Self, ChipNameError> {
        let amd = text.parse().map(ChipIdentity::SevSnp);
        let intel = || protocol::digest::parse_hex(text).map(ChipIdentity::Tdx);
        amd.or_else(|_| intel())
            .map(Self)
            .map_err(|_| ChipNameError)
    }
}

written_as_text!(ChipName);

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    const CHIP: ChipIdentity = ChipIdentity::Tdx([7; 16]);

    fn rules(allowed: AllowedChips, denied: &[ChipIdentity]) -> ChipRules {
        ChipRules {
            allowed,
            denied: denied.iter().copied().map(ChipName).collect(),
        }
    }

    #[test]
    fn an_empty_list_of_chips_accepts_nothing() {
        assert!(!rules(AllowedChips::Only(Vec::new()), &[]).accepts(&CHIP));
        assert!(rules(AllowedChips::Every, &[]).accepts(&CHIP));
    }

    #[test]
    fn a_chip_on_both_lists_is_refused() {
        let only = || AllowedChips::Only(vec![ChipName(CHIP)]);
        assert!(rules(only(), &[]).accepts(&CHIP));
        assert!(!rules(only(), &[CHIP]).accepts(&CHIP));
        assert!(!rules(AllowedChips::Every, &[CHIP]).accepts(&CHIP));
    }

    #[test]
    fn a_name_is_hex_of_one_of_the_two_lengths() {
        for text in ["07".repeat(16), "0a".repeat(64)] {
            let name: ChipName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
        }
        for text in ["", "07", "any"] {
            assert_eq!(text.parse::<ChipName>(), Err(ChipNameError));
        }
        assert!("0A".repeat(64).parse::<ChipName>().is_err());
    }
}
