//! Which processors are accepted, by identity (an allow list, and a deny list that wins), and whose
//! machines.

use protocol::digest::ProviderKey;
use protocol::machine_grant::ChipIdentity;
use serde::{Deserialize, Serialize};

use crate::checks::{Checks, Subject};
use crate::rejection::Rejection;
use crate::result::ReportedChip;

/// Accepted and refused processors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChipRules {
    /// Who is accepted.
    pub allowed: Allowed<ChipIdentity>,
    /// Who is refused, even where allowed.
    pub denied: Vec<ChipIdentity>,
}

/// Who is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Allowed<T> {
    /// Every genuine one.
    Every,
    /// These and no other; an empty list accepts nothing.
    Only(Vec<T>),
}

/// Providers whose machines are accepted.
pub type AllowedProviders = Allowed<ProviderKey>;

impl<T: PartialEq> Allowed<T> {
    pub(crate) fn accepts(&self, one: &T) -> bool {
        match self {
            Self::Every => true,
            Self::Only(list) => list.contains(one),
        }
    }
}

impl ChipRules {
    pub(crate) fn plan(of: Subject, checks: &mut Checks<'_>) {
        let steps = [Rejection::ChipNotCertified, Rejection::ChipNotAccepted];
        checks.plan(of, &steps);
    }

    /// An allow list takes a chip that a certificate names; the deny list refuses by anyone's word.
    pub(crate) fn check(&self, of: Subject, chip: &ReportedChip, checks: &mut Checks<'_>) {
        let step = Rejection::ChipNotCertified;
        match (chip, &self.allowed) {
            (ReportedChip::Certified(_), _) => {
                checks.expect(of, step, "named by its certificate", true);
            }
            (ReportedChip::Uncertified(_), Allowed::Only(_)) => {
                checks.expect(of, step, "named by no certificate", false);
            }
            (ReportedChip::Uncertified(_), Allowed::Every) => {
                let reason = "named by no certificate; every chip is allowed";
                checks.not_needed(of, &[step], reason);
            }
        }
        let (chip, step) = (chip.claimed(), Rejection::ChipNotAccepted);
        let accepted = self.allowed.accepts(chip) && !self.denied.contains(chip);
        checks.expect(of, step, chip, accepted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests::strict;
    use protocol::digest::Ppid;

    const CHIP: ChipIdentity = ChipIdentity::Tdx(Ppid([7; 16]));

    fn accepts(allowed: Allowed<ChipIdentity>, denied: &[ChipIdentity]) -> bool {
        let rules = ChipRules {
            allowed,
            denied: denied.to_vec(),
        };
        let mut checks = strict();
        let chip = ReportedChip::Certified(CHIP);
        rules.check(Subject::of("chip"), &chip, &mut checks);
        checks.outcome().is_ok()
    }

    #[test]
    fn an_empty_list_of_chips_accepts_nothing() {
        assert!(!accepts(Allowed::Only(Vec::new()), &[]));
        assert!(accepts(Allowed::Every, &[]));
    }

    #[test]
    fn a_chip_on_both_lists_is_refused() {
        let only = || Allowed::Only(vec![CHIP]);
        assert!(accepts(only(), &[]));
        assert!(!accepts(only(), &[CHIP]));
        assert!(!accepts(Allowed::Every, &[CHIP]));
    }
}
