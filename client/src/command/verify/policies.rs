//! Policies by name or from a file, and printed in full.

use std::path::Path;

use verifier::AppraisalPolicy;

use super::{Failure, Settings, read};
use crate::command::output::write_text;
use crate::command::settings::MAX_POLICY_BYTES;

/// The policy of that name, or of that file; without one, the program's own.
pub(super) fn named_or_read(
    settings: &Settings,
    which: Option<&Path>,
) -> Result<AppraisalPolicy, Failure> {
    which.map_or_else(|| settings.policy(None), of)
}

fn of(which: &Path) -> Result<AppraisalPolicy, Failure> {
    match built_in(which) {
        Some(policy) => Ok(policy),
        None => Ok(AppraisalPolicy::parse(&read(which, MAX_POLICY_BYTES)?)?),
    }
}

/// Prints one policy, or every built-in one under its name.
pub(super) fn print(which: Option<&Path>) -> Result<(), Failure> {
    let text = |policy: &AppraisalPolicy| policy.to_json().map_err(|_| Failure::Verdict);
    match which {
        None => AppraisalPolicy::built_in()
            .iter()
            .try_for_each(|(name, policy)| write_text(&format!("{name}:\n{}", text(policy)?))),
        Some(which) => write_text(&text(&of(which)?)?),
    }
}

/// A file of such a name is meant by `./strict`.
fn built_in(which: &Path) -> Option<AppraisalPolicy> {
    let mut all = AppraisalPolicy::built_in().into_iter();
    let found = all.find(|(name, _)| which.as_os_str() == *name);
    found.map(|(_, policy)| policy)
}
