//! Runs the probe in a program's place, under exactly that program's confinement.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use init::BootError;
use init::confinement::view::Seen;
use init::confinement::{self, Role};
use probe::Attempt;
use sys::process::Ended;

/// `SIGSYS`: the filter's answer.
const SIGSYS: i32 = 31;

/// What came out of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Refused,
    Succeeded,
    /// The probe did not come as far as the attempt.
    NotMade(Ended),
}

/// Why a rehearsal failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RehearsalError {
    /// An attempt succeeded.
    #[error("confinement of {} lets {attempt:?} through", .role.name())]
    Leak {
        /// Whose confinement.
        role: Role,
        /// What succeeded.
        attempt: Attempt,
    },
    /// The probe did not come as far as its attempt.
    #[error("probe of {attempt:?} in place of {} ended early: {ended:?}", .role.name())]
    NotMade {
        /// Whose confinement.
        role: Role,
        /// What was to be tried.
        attempt: Attempt,
        /// How it ended.
        ended: Ended,
    },
    /// The probe could not be started.
    #[error(transparent)]
    Start(BootError),
}

impl RehearsalError {
    /// The error with which a boot stops.
    #[must_use]
    pub fn into_boot_error(self) -> BootError {
        match self {
            Self::Leak { role, attempt } => BootError::ConfinementLeaks {
                role,
                attempt: number(attempt),
            },
            Self::NotMade { role, ended, .. } => BootError::ProgramEnded { role, ended },
            Self::Start(error) => error,
        }
    }
}

fn number(attempt: Attempt) -> u8 {
    let place = Attempt::ALL.iter().position(|known| *known == attempt);
    place
        .and_then(|place| u8::try_from(place).ok())
        .unwrap_or(u8::MAX)
}

/// Makes every attempt in the place of `role`; how many were refused.
///
/// # Errors
/// A [`RehearsalError`] at the first attempt that was not refused.
pub fn rehearse(role: Role, probe: &Path) -> Result<usize, RehearsalError> {
    rehearse_seeing(role, probe, &[])
}

/// As [`rehearse`], where the probe sees more than itself.
///
/// # Errors
/// As there.
pub fn rehearse_seeing(role: Role, probe: &Path, seen: &[Seen]) -> Result<usize, RehearsalError> {
    for attempt in Attempt::ALL {
        match make(role, probe, attempt, seen).map_err(RehearsalError::Start)? {
            Outcome::Refused => {}
            Outcome::Succeeded => return Err(RehearsalError::Leak { role, attempt }),
            Outcome::NotMade(ended) => {
                return Err(RehearsalError::NotMade {
                    role,
                    attempt,
                    ended,
                });
            }
        }
    }
    Ok(Attempt::ALL.len())
}

fn make(role: Role, probe: &Path, attempt: Attempt, seen: &[Seen]) -> Result<Outcome, BootError> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(BootError::file("open the null device"))?;
    let (begun, pipe) = sys::socket::pair()?;
    let descriptors = [null.as_fd(), null.as_fd(), null.as_fd(), pipe.as_fd()];
    let arguments = [c"probe".into(), decimal(number(attempt))];
    let mut child = confinement::start_seeing(role, probe, &arguments, &descriptors, seen)?;
    drop(pipe);
    let ended = child.wait()?;
    let mut mark = Vec::new();
    let read = UnixStream::from(begun).take(1).read_to_end(&mut mark);
    Ok(judge(attempt, matches!(read, Ok(1)), ended))
}

fn decimal(number: u8) -> CString {
    CString::new(number.to_string()).unwrap_or_default()
}

fn judge(attempt: Attempt, begun: bool, ended: Ended) -> Outcome {
    match (begun, ended) {
        (true, Ended::Exited(0)) => Outcome::Refused,
        // The one that tries nothing must come to its end: it shows that the others could.
        (true, Ended::Killed(SIGSYS)) if attempt != Attempt::Nothing => Outcome::Refused,
        (true, Ended::Exited(1)) => Outcome::Succeeded,
        (true | false, Ended::Exited(_) | Ended::Killed(_)) => Outcome::NotMade(ended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_before_the_attempt_is_no_refusal() {
        let killed = Ended::Killed(SIGSYS);
        let judged = |begun, ended| judge(Attempt::Mount, begun, ended);
        assert_eq!(judged(true, killed), Outcome::Refused);
        assert_eq!(judged(true, Ended::Exited(0)), Outcome::Refused);
        assert_eq!(judged(true, Ended::Exited(1)), Outcome::Succeeded);
        assert_eq!(judged(false, killed), Outcome::NotMade(killed));
        let segfault = Ended::Killed(11);
        assert_eq!(judged(true, segfault), Outcome::NotMade(segfault));
        let nothing = judge(Attempt::Nothing, true, killed);
        assert_eq!(nothing, Outcome::NotMade(killed));
    }
}
