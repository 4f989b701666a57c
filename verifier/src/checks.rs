//! The list of checks: each with its name, what it is about, how it ended and what was found.
//!
//! A module announces what it is going to look at ([`Checks::plan`], in the order of
//! `docs/spec/evidence.md`), then notes each result. Whatever was announced and never noted counts
//! as not reached, and a list with such a check accepts nothing: a check that somebody forgot
//! cannot pass. What was found is a public fact (a number, a date, a digest), never content.
//! The list holds what it judges by as well, so every module judges by the same.

use core::fmt;

use serde::{Serialize, Serializer};

use crate::anchors::TrustAnchors;
use crate::policy::{AppraisalPolicy, Weakness};
use crate::rejection::Rejection;
use crate::time::UnixTime;

/// What a check is about, as the verdict names it: `vcek`, `gpu-3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subject {
    name: &'static str,
    number: Option<u16>,
}

impl Subject {
    /// The only thing of its name.
    pub(crate) const fn of(name: &'static str) -> Self {
        Self { name, number: None }
    }

    /// One of several things of that name, counted from 0.
    pub(crate) const fn numbered(name: &'static str, number: u16) -> Self {
        Self {
            name,
            number: Some(number),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match self.number {
            Some(number) => write!(f, "-{number}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "outcome", content = "weakness", rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold, and the policy tolerates the weakness by name.
    Tolerated(Weakness),
    /// It does not hold.
    Failed,
    /// There is nothing that it would have to hold for: a switch has no driver.
    NotNeeded,
    /// What it reads could not be read, because of a check that failed.
    NotReached,
}

/// One check of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name: the code of the rejection that it ends in when it fails.
    pub check: Rejection,
    /// What it is about.
    pub of: Subject,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The value that decided; empty where there is none, or where it was not reached.
    pub found: String,
}

/// What every module judges by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'t> {
    pub(crate) policy: &'t AppraisalPolicy,
    pub(crate) anchors: &'t TrustAnchors,
    pub(crate) at: UnixTime,
}

/// Collects the checks of one appraisal.
#[derive(Debug)]
pub(crate) struct Checks<'t> {
    pub(crate) terms: Terms<'t>,
    list: Vec<Check>,
}

impl<'t> Checks<'t> {
    pub(crate) const fn by(
        policy: &'t AppraisalPolicy,
        anchors: &'t TrustAnchors,
        at: UnixTime,
    ) -> Self {
        let terms = Terms {
            policy,
            anchors,
            at,
        };
        let list = Vec::new();
        Self { terms, list }
    }

    /// Announces checks, in the order in which the first failure is looked for.
    pub(crate) fn plan(&mut self, of: Subject, checks: &[Rejection]) {
        let announced = checks.iter().map(|check| Check {
            check: *check,
            of,
            outcome: Outcome::NotReached,
            found: String::new(),
        });
        self.list.extend(announced);
    }

    /// Announces each of these lists for all of the subjects, one list after the other.
    pub(crate) fn plan_each(&mut self, of: &[Subject], lists: &[&[Rejection]]) {
        for list in lists {
            for subject in of {
                self.plan(*subject, list);
            }
        }
    }

    /// Notes whether a check holds, and returns that.
    pub(crate) fn expect(
        &mut self,
        of: Subject,
        check: Rejection,
        found: impl fmt::Display,
        holds: bool,
    ) -> bool {
        let outcome = if holds {
            Outcome::Passed
        } else {
            Outcome::Failed
        };
        self.set(of, check, outcome, found);
        holds
    }

    /// Notes the check of a weakness: a policy may tolerate that it fails.
    pub(crate) fn expect_or(
        &mut self,
        of: Subject,
        weakness: Weakness,
        found: impl fmt::Display,
        holds: bool,
    ) {
        let outcome = match (holds, self.terms.policy.tolerates(weakness)) {
            (true, _) => Outcome::Passed,
            (false, true) => Outcome::Tolerated(weakness),
            (false, false) => Outcome::Failed,
        };
        self.set(of, weakness.check(), outcome, found);
    }

    /// Notes whether what the check reads could be read, and returns it.
    pub(crate) fn read<T>(
        &mut self,
        of: Subject,
        check: Rejection,
        found: impl fmt::Display,
        read: Option<T>,
    ) -> Option<T> {
        self.expect(of, check, found, read.is_some());
        read
    }

    /// Notes checks that one function made one after the other, of which it reports the first that
    /// fails: those before it passed, those behind it stay not reached.
    pub(crate) fn steps<T>(
        &mut self,
        of: Subject,
        checks: &[Rejection],
        found: impl fmt::Display,
        result: Result<T, Rejection>,
    ) -> Option<T> {
        let failed = result.as_ref().err().copied();
        let known = failed.is_none_or(|failed| checks.contains(&failed));
        for check in checks {
            if !known || Some(*check) == failed {
                break;
            }
            self.set(of, *check, Outcome::Passed, &found);
        }
        if let Some(failed) = failed {
            self.set(of, failed, Outcome::Failed, &found);
        }
        result.ok()
    }

    /// Notes checks that each of several things went through in this order, up to its own first
    /// failure. The earliest check that one of them failed is the failure: all of them passed those
    /// before it.
    pub(crate) fn steps_of_all<T>(
        &mut self,
        of: Subject,
        checks: &[Rejection],
        found: impl fmt::Display,
        results: impl IntoIterator<Item = Result<T, Rejection>>,
    ) {
        let place = |failed: &Rejection| checks.iter().position(|check| check == failed);
        let failures = results.into_iter().filter_map(Result::err);
        let first = failures.min_by_key(place);
        self.steps(of, checks, found, first.map_or(Ok(()), Err));
    }

    /// Notes checks that there is nothing to make of, and why.
    pub(crate) fn not_needed(
        &mut self,
        of: Subject,
        checks: &[Rejection],
        reason: impl fmt::Display,
    ) {
        for check in checks {
            self.set(of, *check, Outcome::NotNeeded, &reason);
        }
    }

    /// The first failure in the order of the list. Without one, whatever was not reached refuses.
    pub(crate) fn outcome(&self) -> Result<(), Rejection> {
        let first = |outcome| self.list.iter().find(|check| check.outcome == outcome);
        let refuses = first(Outcome::Failed).or_else(|| first(Outcome::NotReached));
        refuses.map_or(Ok(()), |check| Err(check.check))
    }

    pub(crate) fn into_list(self) -> Vec<Check> {
        self.list
    }

    fn set(&mut self, of: Subject, check: Rejection, outcome: Outcome, found: impl fmt::Display) {
        let noted = Check {
            check,
            of,
            outcome,
            found: found.to_string(),
        };
        let waiting = |known: &&mut Check| {
            known.check == check && known.of == of && known.outcome == Outcome::NotReached
        };
        match self.list.iter_mut().find(waiting) {
            Some(planned) => *planned = noted,
            None => self.list.push(noted),
        }
    }
}

/// Bytes that print as lower-case hex.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        protocol::digest::write_hex(self.0, f)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests state claims; a panic is the failure"
    )]
    use std::sync::LazyLock;

    use super::*;

    /// An empty list under the strict policy, AMD's, Intel's and NVIDIA's own roots.
    pub(crate) fn strict() -> Checks<'static> {
        static POLICY: LazyLock<AppraisalPolicy> = LazyLock::new(AppraisalPolicy::strict);
        Checks::by(&POLICY, &TrustAnchors::PRODUCTION, UnixTime(0))
    }

    const HERE: Subject = Subject::of("here");
    const THREE: &[Rejection] = &[
        Rejection::CertificateIssuer,
        Rejection::CertificateAlgorithm,
        Rejection::CertificateSignature,
    ];

    fn outcomes(checks: Checks<'_>) -> Vec<Outcome> {
        let list = checks.into_list();
        list.into_iter().map(|check| check.outcome).collect()
    }

    #[test]
    fn what_was_announced_and_never_noted_refuses() {
        let mut checks = strict();
        checks.plan(HERE, THREE);
        assert_eq!(checks.outcome(), Err(Rejection::CertificateIssuer));
        for check in THREE {
            checks.expect(HERE, *check, "", true);
        }
        assert_eq!(checks.outcome(), Ok(()));
    }

    #[test]
    fn the_first_failure_of_the_order_counts_whenever_it_was_noted() {
        let mut checks = strict();
        checks.plan(HERE, THREE);
        checks.expect(HERE, Rejection::CertificateSignature, "", false);
        assert_eq!(checks.outcome(), Err(Rejection::CertificateSignature));
        checks.expect(HERE, Rejection::CertificateAlgorithm, "", false);
        assert_eq!(checks.outcome(), Err(Rejection::CertificateAlgorithm));
    }

    #[test]
    fn of_steps_those_before_the_failure_passed_and_those_behind_were_not_reached() {
        let mut checks = strict();
        checks.plan(HERE, THREE);
        let refused: Result<(), _> = Err(Rejection::CertificateAlgorithm);
        assert_eq!(checks.steps(HERE, THREE, "x", refused), None);
        let expected = [Outcome::Passed, Outcome::Failed, Outcome::NotReached];
        assert_eq!(outcomes(checks), expected);
    }

    #[test]
    fn a_failure_that_no_step_announced_is_listed_and_passes_none_of_them() {
        let mut checks = strict();
        checks.plan(HERE, THREE);
        let refused: Result<(), _> = Err(Rejection::CertificateRoot);
        assert_eq!(checks.steps(HERE, THREE, "x", refused), None);
        assert_eq!(checks.outcome(), Err(Rejection::CertificateRoot));
        assert_eq!(outcomes(checks).len(), 4);
    }

    #[test]
    fn a_tolerated_weakness_is_named_and_does_not_refuse() {
        let mut checks = strict();
        checks.expect_or(HERE, Weakness::SnpSmt, "0x21", false);
        assert_eq!(checks.outcome(), Ok(()));
        let text = serde_json::to_string(&checks.into_list()).unwrap();
        let expected = r#"[{"check":"snp-smt","of":"here","outcome":"tolerated","#.to_owned()
            + r#""weakness":"snp-smt","found":"0x21"}]"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn lists_are_announced_one_after_the_other_each_for_all_subjects() {
        let others = [HERE, Subject::of("there")];
        let mut checks = strict();
        let (first, rest) = THREE.split_at(1);
        checks.plan_each(&others, &[first, rest]);
        let list = checks.into_list();
        let names: Vec<_> = list.iter().map(|check| (check.of, check.check)).collect();
        let [one, two, three] = [0, 1, 2].map(|number| THREE[number]);
        let [here, there] = others;
        let expected = [
            (here, one),
            (there, one),
            (here, two),
            (here, three),
            (there, two),
            (there, three),
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn of_several_things_the_earliest_check_that_one_failed_is_the_failure() {
        let mut checks = strict();
        checks.plan(HERE, THREE);
        let results = [
            Err(Rejection::CertificateSignature),
            Ok(()),
            Err(Rejection::CertificateAlgorithm),
        ];
        checks.steps_of_all(HERE, THREE, "x", results);
        let expected = [Outcome::Passed, Outcome::Failed, Outcome::NotReached];
        assert_eq!(outcomes(checks), expected);
    }

    #[test]
    fn what_is_not_needed_does_not_refuse() {
        let mut checks = strict();
        checks.plan(HERE, THREE);
        checks.not_needed(HERE, THREE, "nothing to check");
        assert_eq!(checks.outcome(), Ok(()));
        assert_eq!(outcomes(checks), [Outcome::NotNeeded; 3]);
    }

    #[test]
    fn numbered_subjects_are_kept_apart() {
        let mut checks = strict();
        let gpus = [0, 1].map(|number| Subject::numbered("gpu", number));
        for gpu in gpus {
            checks.plan(gpu, THREE);
        }
        checks.expect(gpus[1], Rejection::CertificateIssuer, "", false);
        let list = checks.into_list();
        let failed = list.iter().find(|check| check.outcome == Outcome::Failed);
        assert_eq!(
            failed.map(|check| check.of.to_string()),
            Some("gpu-1".to_owned())
        );
    }
}
