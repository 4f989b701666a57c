//! Frames of `messages::framing` on the three local sockets.
//!
//! A length is compared with the socket's limit before a byte is set aside for it. What a frame
//! holds is for the module that owns the socket.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use messages::framing::{self, FrameTooLong, HEADER_BYTES};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// Why a frame could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The socket failed or ended.
    #[error("socket failed: {0}")]
    Socket(ErrorKind),
    /// The peer announced more than the socket's limit.
    #[error(transparent)]
    TooLong(#[from] FrameTooLong),
}

impl From<std::io::Error> for FrameError {
    fn from(error: std::io::Error) -> Self {
        Self::Socket(error.kind())
    }
}

/// Reads one frame of at most `limit` bytes.
pub(crate) async fn read(
    from: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<Vec<u8>, FrameError> {
    let mut header = [0; HEADER_BYTES];
    from.read_exact(&mut header).await?;
    let mut payload = vec![0; framing::payload_length(header, limit)?];
    from.read_exact(&mut payload).await?;
    Ok(payload)
}

/// Writes one frame.
pub(crate) async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    payload: &[u8],
) -> Result<(), FrameError> {
    to.write_all(&framing::frame(payload)).await?;
    Ok(to.flush().await?)
}

/// A connected stream socket of any family as tokio drives it. Reading and writing do not depend
/// on the family.
pub(crate) fn adopt(socket: OwnedFd) -> std::io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}
