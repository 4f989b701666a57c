//! init's end of the GPU socket (`docs/spec/gpu-socket.md`): one question, one answer, in time.
//!
//! gpu-evidence holds a vendor's library: nothing it sends is believed to be in order, of a length,
//! or ever to end.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use messages::framing::{self, HEADER_BYTES};
use messages::gpu_socket::{DeviceCount, GpuAnswer, GpuRefusal, GpuRequest, GpuUuid, MAX_FRAME};
use protocol::digest::GpuNonce;
use protocol::gpu_evidence::GpuEvidence;

/// How long an answer may take. Below the time that serve gives init for a quote, which waits
/// meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Why a question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GpuSocketError {
    /// gpu-evidence refused.
    #[error("gpu-evidence refused: {}", .0.code())]
    Refused(GpuRefusal),
    /// It spoke without being asked.
    #[error("gpu-evidence spoke out of turn")]
    OutOfTurn,
    /// It answered another question.
    #[error("gpu-evidence answered another question")]
    OutOfStep,
    /// The answer cannot be decoded.
    #[error("answer of gpu-evidence is malformed")]
    Malformed,
    /// The answer is longer than answers are.
    #[error("answer of gpu-evidence is too long")]
    TooLong,
    /// No answer in time.
    #[error("gpu-evidence does not answer")]
    Silent,
    /// It closed its end, or ended.
    #[error("gpu-evidence went away")]
    Ended,
    /// The socket failed.
    #[error("GPU socket failed: {0}")]
    Socket(ErrorKind),
}

/// What has happened to the GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// Whether they take work.
    pub ready: bool,
    /// Critical errors since the last look.
    pub faults: u16,
}

impl Watched {
    /// Whether nothing has happened.
    #[must_use]
    pub const fn is_quiet(self) -> bool {
        self.ready && self.faults == 0
    }
}

/// Asks gpu-evidence.
#[derive(Debug)]
pub struct GpuClient {
    stream: UnixStream,
    patience: Duration,
}

impl GpuClient {
    /// Asks on a connected socket; every answer has `patience` to come.
    #[must_use]
    pub fn new(socket: OwnedFd, patience: Duration) -> Self {
        Self {
            stream: socket.into(),
            patience,
        }
    }

    /// What every device says to its nonce.
    ///
    /// # Errors
    /// A [`GpuSocketError`].
    pub fn collect(
        &mut self,
        round: u32,
        count: DeviceCount,
        nonces: Vec<GpuNonce>,
    ) -> Result<(Vec<GpuUuid>, GpuEvidence), GpuSocketError> {
        let request = GpuRequest::Collect {
            round,
            count,
            nonces,
        };
        match self.ask(&request)? {
            GpuAnswer::Collected { uuids, evidence } => Ok((uuids, *evidence)),
            GpuAnswer::Refused(refusal) => Err(GpuSocketError::Refused(refusal)),
            GpuAnswer::Accepted | GpuAnswer::Watched { .. } => Err(GpuSocketError::OutOfStep),
        }
    }

    /// Lets the GPUs take work.
    ///
    /// # Errors
    /// A [`GpuSocketError`].
    pub fn accept(&mut self) -> Result<(), GpuSocketError> {
        match self.ask(&GpuRequest::Accept)? {
            GpuAnswer::Accepted => Ok(()),
            GpuAnswer::Refused(refusal) => Err(GpuSocketError::Refused(refusal)),
            GpuAnswer::Collected { .. } | GpuAnswer::Watched { .. } => {
                Err(GpuSocketError::OutOfStep)
            }
        }
    }

    /// What has happened since the last look. A lost GPU is a fault like any other: the next
    /// collection says whether it came back.
    ///
    /// # Errors
    /// A [`GpuSocketError`].
    pub fn watch(&mut self) -> Result<Watched, GpuSocketError> {
        match self.ask(&GpuRequest::Watch)? {
            GpuAnswer::Watched { ready, faults } => Ok(Watched { ready, faults }),
            GpuAnswer::Refused(GpuRefusal::Lost) => Ok(Watched {
                ready: false,
                faults: 1,
            }),
            GpuAnswer::Refused(refusal) => Err(GpuSocketError::Refused(refusal)),
            GpuAnswer::Collected { .. } | GpuAnswer::Accepted => Err(GpuSocketError::OutOfStep),
        }
    }

    fn ask(&mut self, request: &GpuRequest) -> Result<GpuAnswer, GpuSocketError> {
        self.refuse_unasked()?;
        let start = Instant::now();
        self.allow(start)?;
        let frame = framing::frame(&request.encode());
        self.stream.write_all(&frame).map_err(failed)?;
        let mut header = [0; HEADER_BYTES];
        self.read(&mut header, start)?;
        let length = framing::payload_length(header, MAX_FRAME);
        let mut payload = vec![0; length.map_err(|_| GpuSocketError::TooLong)?];
        self.read(&mut payload, start)?;
        let answer = GpuAnswer::decode(&payload).map_err(|_| GpuSocketError::Malformed)?;
        self.refuse_unasked()?;
        Ok(answer)
    }

    /// Nothing may lie in the socket between an answer and the next question.
    fn refuse_unasked(&mut self) -> Result<(), GpuSocketError> {
        let only = [self.stream.as_fd()];
        match sys::descriptor::readable(only, Duration::ZERO) {
            Ok([false]) => Ok(()),
            Ok([true]) => match self.stream.read(&mut [0]) {
                Ok(0) => Err(GpuSocketError::Ended),
                Ok(_) => Err(GpuSocketError::OutOfTurn),
                Err(error) => Err(failed(error)),
            },
            Err(_) => Err(GpuSocketError::Socket(ErrorKind::Other)),
        }
    }

    /// Fills the buffer; the time is that of the whole answer, however many pieces it comes in.
    fn read(&mut self, mut buffer: &mut [u8], start: Instant) -> Result<(), GpuSocketError> {
        while !buffer.is_empty() {
            self.allow(start)?;
            let length = match self.stream.read(buffer) {
                Ok(0) => return Err(GpuSocketError::Ended),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => 0,
                Err(error) => return Err(failed(error)),
            };
            buffer = buffer.get_mut(length..).unwrap_or_default();
        }
        Ok(())
    }

    /// Bounds the next call by what is left of the time.
    fn allow(&self, start: Instant) -> Result<(), GpuSocketError> {
        let left = self.patience.saturating_sub(start.elapsed());
        // A timeout of no time would be none at all.
        if left < Duration::from_millis(1) {
            return Err(GpuSocketError::Silent);
        }
        sys::socket::set_timeout(&self.stream, left)
            .map_err(|_| GpuSocketError::Socket(ErrorKind::Other))
    }
}

fn failed(error: std::io::Error) -> GpuSocketError {
    let kind = error.kind();
    if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&kind) {
        GpuSocketError::Silent
    } else if [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&kind) {
        GpuSocketError::Ended
    } else {
        GpuSocketError::Socket(kind)
    }
}
