//! The end of the machine.

use nix::sys::reboot::{RebootMode, reboot};

use crate::CallFailed;

/// Powers the machine off; comes back only with the reason why that failed.
#[must_use]
pub fn off() -> CallFailed {
    nix::unistd::sync();
    match reboot(RebootMode::RB_POWER_OFF) {
        Ok(never) => match never {},
        Err(errno) => CallFailed::of("reboot")(errno),
    }
}
