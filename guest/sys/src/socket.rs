//! vsock and local socket pairs.
//!
//! A connected socket comes back as an `OwnedFd`; `std::os::unix::net::UnixStream::from(fd)` reads
//! and writes it whatever its address family is.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, VsockAddr, accept4, bind, connect, listen,
    setsockopt, shutdown, socket, socketpair, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::{CallFailed, Result};

/// The host's context identifier.
pub const HOST_CID: u32 = libc::VMADDR_CID_HOST;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

fn vsock() -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    socket(AddressFamily::Vsock, SockType::Stream, flags, None).map_err(CallFailed::of("socket"))
}

/// Listens on a vsock port, for every peer.
///
/// # Errors
/// That of the call; `ENODEV` or `EAFNOSUPPORT` without a vsock device.
pub fn vsock_listen(port: u32) -> Result<OwnedFd> {
    let listener = vsock()?;
    let address = VsockAddr::new(libc::VMADDR_CID_ANY, port);
    bind(listener.as_raw_fd(), &address).map_err(CallFailed::of("bind"))?;
    let backlog = Backlog::new(BACKLOG).map_err(CallFailed::of("listen"))?;
    listen(&listener, backlog).map_err(CallFailed::of("listen"))?;
    Ok(listener)
}

/// Connects to a vsock port; waits at most the kernel's 2 s.
///
/// # Errors
/// That of the call.
pub fn vsock_connect(cid: u32, port: u32) -> Result<OwnedFd> {
    let stream = vsock()?;
    connect(stream.as_raw_fd(), &VsockAddr::new(cid, port)).map_err(CallFailed::of("connect"))?;
    Ok(stream)
}

/// Accepts one connection of a vsock or Unix listener. The new descriptor is closed on exec and
/// waits on reads and writes; see [`crate::descriptor::set_nonblocking`].
///
/// # Errors
/// That of the call; `EAGAIN` when nobody waits and the listener does not block.
pub fn accept(listener: &impl AsFd) -> Result<OwnedFd> {
    let listener = listener.as_fd().as_raw_fd();
    let accepted = accept4(listener, SockFlag::SOCK_CLOEXEC).map_err(CallFailed::of("accept4"))?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
}

/// Two connected local stream sockets.
///
/// # Errors
/// That of the call.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    socketpair(AddressFamily::Unix, SockType::Stream, None, flags)
        .map_err(CallFailed::of("socketpair"))
}

/// Bounds every later read and write on a socket that waits.
///
/// # Errors
/// That of the call.
pub fn set_timeout(socket: &impl AsFd, timeout: Duration) -> Result<()> {
    let milliseconds = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
    let value = TimeVal::milliseconds(milliseconds);
    setsockopt(socket, sockopt::ReceiveTimeout, &value).map_err(CallFailed::of("setsockopt"))?;
    setsockopt(socket, sockopt::SendTimeout, &value).map_err(CallFailed::of("setsockopt"))
}

/// Says that nothing more will be written.
///
/// # Errors
/// That of the call.
pub fn finish_writing(socket: &impl AsFd) -> Result<()> {
    let socket = socket.as_fd().as_raw_fd();
    shutdown(socket, nix::sys::socket::Shutdown::Write).map_err(CallFailed::of("shutdown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_pair_carries_bytes_and_an_end() {
        let (near, far) = pair().unwrap();
        let (mut near, mut far) = (UnixStream::from(near), UnixStream::from(far));
        near.write_all(b"frame").unwrap();
        finish_writing(&near).unwrap();
        let mut read = Vec::new();
        far.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"frame");
    }

    #[test]
    fn a_timeout_ends_a_read_that_nothing_answers() {
        let (near, _far) = pair().unwrap();
        set_timeout(&near, Duration::from_millis(5)).unwrap();
        let error = UnixStream::from(near).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn accepts_on_a_unix_listener() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut near = UnixStream::connect(&path).unwrap();
        let mut far = UnixStream::from(accept(&listener).unwrap());
        near.write_all(b"x").unwrap();
        far.read_exact(&mut [0]).unwrap();
    }
}
