//! The socket of the simulated TEE: frames as in `messages::framing`; a request is one byte and,
//! for a report, 64 bytes of report data. Research only: nothing of it is in a release.

use std::io::{self, Read, Write};

use messages::framing::{HEADER_BYTES, frame, payload_length};
use protocol::codec::{DecodeError, Reader, Writer};
use protocol::digest::ReportData;
use protocol::tee::TeeKind;

use crate::MockTeeError;
use crate::snp::SnpMachine;
use crate::tdx::TdxMachine;

/// A request is at most this long.
const MAX_REQUEST: usize = 65;
/// Failure code: the request was not of the specified form.
const MALFORMED: u8 = 1;
/// Failure code: the simulation could not make a report.
const NO_REPORT: u8 = 2;

/// What a client of the socket asks.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Report(Box<ReportData>),
    Identify,
}

impl Request {
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let request = match from.u8()? {
            1 => Self::Report(Box::new(ReportData(from.array()?))),
            2 => Self::Identify,
            _ => return Err(DecodeError::OutOfRange { field: "request" }),
        };
        from.finish()?;
        Ok(request)
    }
}

/// A simulated machine, of whichever vendor.
#[derive(Debug, Clone)]
pub enum Machine {
    /// AMD SEV-SNP.
    SevSnp(SnpMachine),
    /// Intel TDX.
    Tdx(TdxMachine),
}

impl Machine {
    const fn tee(&self) -> TeeKind {
        match self {
            Self::SevSnp(_) => TeeKind::SevSnp,
            Self::Tdx(_) => TeeKind::Tdx,
        }
    }

    /// The digest in the configuration register, as the machine itself sees it.
    const fn configuration(&self) -> [u8; 32] {
        match self {
            Self::SevSnp(machine) => machine.host_data().0,
            Self::Tdx(machine) => machine.configuration().0,
        }
    }

    fn report(&self, report_data: &ReportData) -> Result<(Vec<u8>, Vec<u8>), MockTeeError> {
        match self {
            Self::SevSnp(machine) => Ok((machine.report(report_data)?, Vec::new())),
            Self::Tdx(machine) => Ok((machine.quote(report_data)?, Vec::new())),
        }
    }

    /// The answer to one request's payload.
    #[must_use]
    pub fn answer(&self, request: &[u8]) -> Vec<u8> {
        let mut out = Writer::new();
        match Request::decode(request) {
            Ok(Request::Identify) => {
                out.u8(self.tee().wire()).blob(&self.configuration());
            }
            Ok(Request::Report(report_data)) => match self.report(&report_data) {
                Ok((report, event_log)) => {
                    out.u8(0).blob(&report).blob(&event_log);
                }
                Err(_) => {
                    out.u8(1).u8(NO_REPORT);
                }
            },
            Err(_) => {
                out.u8(1).u8(MALFORMED);
            }
        }
        out.finish()
    }

    /// Answers requests on one connection until its peer closes it.
    ///
    /// # Errors
    /// Those of the stream, and `InvalidData` for a frame that is too long.
    pub fn serve(&self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        loop {
            let mut header = [0; HEADER_BYTES];
            match stream.read_exact(&mut header) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
            let length = payload_length(header, MAX_REQUEST)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let mut request = vec![0; length];
            stream.read_exact(&mut request)?;
            stream.write_all(&frame(&self.answer(&request)))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snp::Product;
    use protocol::digest::{HostData, LaunchDigest};
    use std::os::unix::net::UnixStream;

    fn machine() -> Machine {
        let honest = SnpMachine::new(Product::Genoa, LaunchDigest([1; 48]), HostData([2; 32]));
        Machine::SevSnp(honest)
    }

    fn ask(request: &[u8]) -> Vec<u8> {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let serving = std::thread::spawn(move || machine().serve(&mut far));
        near.write_all(&frame(request)).unwrap();
        near.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).unwrap();
        serving.join().unwrap().unwrap();
        answer.split_off(4)
    }

    #[test]
    fn identifies_itself_with_its_configuration_register() {
        let mut expected = vec![1, 32, 0, 0, 0];
        expected.extend([2; 32]);
        assert_eq!(ask(&[2]), expected);
    }

    #[test]
    fn a_report_carries_the_report_data_that_was_asked_for() {
        let answer = ask(&[&[1][..], &[0x5a; 64]].concat());
        assert_eq!(answer.len(), 1 + 4 + 1184 + 4);
        assert_eq!(answer[0], 0);
        assert_eq!(answer[5 + 0x50..5 + 0x90], [0x5a; 64]);
    }

    #[test]
    fn a_malformed_request_is_answered_with_a_code() {
        for request in [&[][..], &[9], &[1, 2, 3], &[2, 0]] {
            assert_eq!(ask(request), [1, MALFORMED]);
        }
    }

    #[test]
    fn a_frame_that_is_too_long_closes_the_connection() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        near.write_all(&66u32.to_le_bytes()).unwrap();
        let refused = machine().serve(&mut far).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }
}
