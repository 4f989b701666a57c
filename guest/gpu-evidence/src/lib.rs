//! Hands what GPUs say of themselves to init, and sets them ready when init says so.
//!
//! The only user of NVIDIA's management library (NVML) in the guest, in a process of its own: a
//! fault in that library reaches no key, no prompt and no Statement. What is deliberately not here:
//! any judgement of a report (`verifier`, called by init's program), NVSwitches, whose evidence
//! comes by other libraries that the image does not have, and a source of simulated evidence
//! (`tests/research/gpu-evidence`).
#![deny(unsafe_code)]

pub mod chain;
pub mod nvml;
pub mod session;
pub mod source;

use std::io::{ErrorKind, Read, Write};

use messages::framing::{self, HEADER_BYTES};
use messages::gpu_socket::{GpuAnswer, GpuRefusal, GpuRequest, MAX_REQUEST};

use session::Session;
use source::EvidenceSource;

/// Why the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndError {
    /// init announced a request above the limit.
    #[error("request is too long")]
    TooLong,
    /// init sent something that is no request.
    #[error("request is malformed")]
    Malformed,
    /// The socket failed, or ended inside a frame.
    #[error("socket failed: {0}")]
    Socket(ErrorKind),
}

impl EndError {
    /// The program's exit status.
    #[must_use]
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::TooLong => 2,
            Self::Malformed => 3,
            Self::Socket(_) => 4,
        }
    }
}

/// Answers init until it closes its end. `open` opens the source when it is first needed, and again
/// after it has refused something.
///
/// # Errors
/// An [`EndError`].
pub fn run<S: EvidenceSource>(
    mut stream: impl Read + Write,
    open: impl FnMut() -> Result<S, GpuRefusal>,
) -> Result<(), EndError> {
    let mut session = Session::new(open);
    while let Some(payload) = read_request(&mut stream)? {
        let request = GpuRequest::decode(&payload);
        let answer = match &request {
            Ok(request) => session.answer(request),
            Err(_) => GpuAnswer::Refused(GpuRefusal::Malformed),
        };
        stream
            .write_all(&framing::frame(&answer.encode()))
            .map_err(|error| EndError::Socket(error.kind()))?;
        request.map_err(|_| EndError::Malformed)?;
    }
    Ok(())
}

/// `None` when init has closed its end between two frames.
fn read_request(stream: &mut impl Read) -> Result<Option<Vec<u8>>, EndError> {
    let failed = |error: std::io::Error| EndError::Socket(error.kind());
    let mut header = [0; HEADER_BYTES];
    let (first, rest) = header.split_at_mut(1);
    let count = loop {
        match stream.read(first) {
            // As `read_exact` does: whoever stops and continues the program ends nothing.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read.map_err(failed)?,
        }
    };
    if count == 0 {
        return Ok(None);
    }
    stream.read_exact(rest).map_err(failed)?;
    let length = framing::payload_length(header, MAX_REQUEST).map_err(|_| EndError::TooLong)?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).map_err(failed)?;
    Ok(Some(payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    use source::Absent;

    /// What the program answers to these bytes, and how it ends when init then closes its end.
    fn ends(sent: &[u8]) -> (Vec<u8>, Result<(), EndError>) {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(sent).unwrap();
        near.shutdown(std::net::Shutdown::Write).unwrap();
        let end = run(far, || Err::<Absent, _>(GpuRefusal::NoLibrary));
        let mut answers = Vec::new();
        near.read_to_end(&mut answers).unwrap();
        (answers, end)
    }

    #[test]
    fn ends_well_when_init_closes_its_end_between_two_frames() {
        assert_eq!(ends(b""), (Vec::new(), Ok(())));
    }

    /// Whose every other read is interrupted, as by a signal.
    struct Interrupted(UnixStream, bool);

    impl Read for Interrupted {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.1 = !self.1;
            match self.1 {
                true => Err(ErrorKind::Interrupted.into()),
                false => self.0.read(buffer),
            }
        }
    }

    #[test]
    fn a_signal_between_two_frames_ends_nothing() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let frame = framing::frame(&GpuRequest::Watch.encode());
        near.write_all(&frame).unwrap();
        drop(near);
        let mut stream = Interrupted(far, false);
        let request = read_request(&mut stream);
        assert_eq!(request, Ok(Some(GpuRequest::Watch.encode())));
        assert_eq!(read_request(&mut stream), Ok(None));
    }

    #[test]
    fn a_request_above_the_limit_is_not_read() {
        let header = u32::try_from(MAX_REQUEST + 1).unwrap().to_le_bytes();
        assert_eq!(ends(&header), (Vec::new(), Err(EndError::TooLong)));
    }

    #[test]
    fn a_malformed_request_is_refused_and_ends_the_program() {
        let (answers, end) = ends(&framing::frame(&[9]));
        let refused = GpuAnswer::Refused(GpuRefusal::Malformed);
        assert_eq!(answers, framing::frame(&refused.encode()));
        assert_eq!(end, Err(EndError::Malformed));
    }

    #[test]
    fn an_end_inside_a_frame_is_no_good_end() {
        let frame = framing::frame(&GpuRequest::Watch.encode());
        for cut in 1..frame.len() {
            let (_, end) = ends(&frame[..cut]);
            assert_eq!(end, Err(EndError::Socket(ErrorKind::UnexpectedEof)));
        }
    }
}
