//! System call lists as data, and the two filters that a list becomes.
//!
//! The first filter kills the process at any call that is not listed. The second answers ENOSYS
//! to those that programs try and can do without. The kernel takes the stricter of two answers.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use sys::CallFailed;

/// What a listed call gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is made.
    Allow,
    /// It is made when all conditions of one of these alternatives hold.
    AllowWhen(&'static [&'static [Condition]]),
    /// It fails with ENOSYS, and the program goes on without it.
    Absent,
}

/// A condition on one argument of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The 32-bit argument has this value.
    Is(u8, u32),
    /// The pointer or 64-bit argument is zero.
    IsNull(u8),
    /// These bits of the argument have this value.
    Bits {
        /// Number of the argument, from 0.
        argument: u8,
        /// The bits that count.
        mask: u64,
        /// Their value.
        value: u64,
    },
}

/// A system call that a program makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its number on x86-64.
    pub number: i64,
    /// Its name.
    pub name: &'static str,
    /// What it gets.
    pub answer: Answer,
    /// Why it is listed.
    pub reason: &'static str,
}

/// A call that is made whatever its arguments are.
pub(super) const fn allow(number: i64, name: &'static str, reason: &'static str) -> Call {
    Call {
        number,
        name,
        answer: Answer::Allow,
        reason,
    }
}

/// A call that is made under conditions.
pub(super) const fn allow_when(
    number: i64,
    name: &'static str,
    alternatives: &'static [&'static [Condition]],
    reason: &'static str,
) -> Call {
    Call {
        number,
        name,
        answer: Answer::AllowWhen(alternatives),
        reason,
    }
}

/// A call that fails with ENOSYS.
pub(super) const fn absent(number: i64, name: &'static str, reason: &'static str) -> Call {
    Call {
        number,
        name,
        answer: Answer::Absent,
        reason,
    }
}

/// A list that is no filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("list of system calls is no filter")]
pub struct FilterError;

impl From<seccompiler::BackendError> for FilterError {
    fn from(_: seccompiler::BackendError) -> Self {
        Self
    }
}

/// Both filters of a program.
#[derive(Debug)]
pub(super) struct Filters {
    absent: BpfProgram,
    deadly: BpfProgram,
}

impl Filters {
    /// Installs both on this thread, for good.
    pub(super) fn install(&self) -> Result<(), CallFailed> {
        // The deadly one comes last: it does not list what installing takes.
        for filter in [&self.absent, &self.deadly] {
            apply_filter(filter).map_err(|_| CallFailed {
                call: "seccomp",
                errno: super::EPERM,
            })?;
        }
        Ok(())
    }
}

/// Compiles a list.
pub(super) fn compile(calls: impl Iterator<Item = &'static Call>) -> Result<Filters, FilterError> {
    let (mut listed, mut missing) = (BTreeMap::new(), BTreeMap::new());
    for call in calls {
        let rules = match call.answer {
            Answer::Allow => Vec::new(),
            Answer::AllowWhen(alternatives) => alternatives
                .iter()
                .map(|conditions| rule(conditions))
                .collect::<Result<_, _>>()?,
            Answer::Absent => {
                missing.insert(call.number, Vec::new());
                Vec::new()
            }
        };
        listed.insert(call.number, rules);
    }
    let enosys = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let arch = TargetArch::x86_64;
    let absent = SeccompFilter::new(missing, SeccompAction::Allow, enosys, arch)?;
    let (killed, allowed) = (SeccompAction::KillProcess, SeccompAction::Allow);
    let deadly = SeccompFilter::new(listed, killed, allowed, arch)?;
    Ok(Filters {
        absent: absent.try_into()?,
        deadly: deadly.try_into()?,
    })
}

fn rule(conditions: &[Condition]) -> Result<SeccompRule, FilterError> {
    let conditions = conditions
        .iter()
        .map(|condition| match *condition {
            Condition::Is(argument, value) => SeccompCondition::new(
                argument,
                SeccompCmpArgLen::Dword,
                SeccompCmpOp::Eq,
                u64::from(value),
            ),
            Condition::IsNull(argument) => {
                SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
            }
            Condition::Bits {
                argument,
                mask,
                value,
            } => SeccompCondition::new(
                argument,
                SeccompCmpArgLen::Qword,
                SeccompCmpOp::MaskedEq(mask),
                value,
            ),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(SeccompRule::new(conditions)?)
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;

    #[test]
    fn every_list_compiles() {
        for role in Role::ALL {
            assert!(compile(role.calls()).is_ok(), "{}", role.name());
        }
    }
}
