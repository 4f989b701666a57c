//! File descriptors that a program inherits from init, and waiting on descriptors.
//!
//! Which number carries what is the protocol's part.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{CallFailed, Result};

/// Inherited descriptors lie above the standard streams and below this number.
const LIMIT: i32 = 64;

/// One bit per descriptor that has its owner.
static ADOPTED: AtomicU64 = AtomicU64::new(0);

/// Takes ownership of an inherited descriptor, once: checks that it is open and closes it on
/// exec. To be called at the start of `main`, before the program opens anything itself.
///
/// # Errors
/// `EBADF` for a number outside 3..64, a closed one, or one that was adopted before.
pub fn adopt(fd: i32) -> Result<OwnedFd> {
    let refused = CallFailed {
        call: "adopt",
        errno: libc::EBADF,
    };
    if !(3..LIMIT).contains(&fd) {
        return Err(refused);
    }
    let bit = u32::try_from(fd)
        .ok()
        .and_then(|shift| 1_u64.checked_shl(shift))
        .ok_or(refused)?;
    if ADOPTED.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
        return Err(refused);
    }
    // SAFETY: the number is not negative; the call that follows says whether it is open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(CallFailed::of("fcntl"))?;
    // SAFETY: the descriptor is open, and ADOPTED shows that nobody took it from here before;
    // callers adopt before they open anything, so it is an inherited one.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Which of the descriptors can be read (or have ended) within `timeout`; none when it passed.
///
/// # Errors
/// That of `poll`; an interruption counts as "none".
pub fn readable<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    timeout: Duration,
) -> Result<[bool; N]> {
    let mut polled = descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    match poll(&mut polled, timeout) {
        Ok(_) => Ok(polled.map(|fd| fd.any().unwrap_or(true))),
        Err(nix::errno::Errno::EINTR) => Ok([false; N]),
        Err(errno) => Err(CallFailed::of("poll")(errno)),
    }
}

/// Lets reads and writes on a descriptor return at once instead of waiting.
///
/// # Errors
/// That of `fcntl`.
pub fn set_nonblocking(descriptor: &impl AsFd) -> Result<()> {
    let flags = fcntl(descriptor, FcntlArg::F_GETFL).map_err(CallFailed::of("fcntl"))?;
    let flags = nix::fcntl::OFlag::from_bits_retain(flags) | nix::fcntl::OFlag::O_NONBLOCK;
    fcntl(descriptor, FcntlArg::F_SETFL(flags))
        .map(drop)
        .map_err(CallFailed::of("fcntl"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, IntoRawFd};

    #[test]
    fn adopts_an_open_descriptor_once_and_nothing_else() {
        let (end, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let number = end.into_raw_fd();
        let adopted = adopt(number).unwrap();
        assert_eq!(adopted.as_raw_fd(), number);
        for refused in [number, -1, 0, 2, 63, 64] {
            assert_eq!(adopt(refused).unwrap_err().errno, libc::EBADF);
        }
    }

    #[test]
    fn tells_which_descriptor_can_be_read() {
        use std::io::Write as _;
        let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let (_quiet_near, quiet) = std::os::unix::net::UnixStream::pair().unwrap();
        let wait = Duration::from_millis(1);
        let both = || readable([far.as_fd(), quiet.as_fd()], wait).unwrap();
        assert_eq!(both(), [false, false]);
        near.write_all(b"x").unwrap();
        assert_eq!(both(), [true, false]);
    }
}
