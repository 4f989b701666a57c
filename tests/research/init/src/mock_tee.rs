//! Reports from `tests/mock-tee`: real formats, research keys.
//!
//! Frames as in `messages::framing`. Request: kind 2 (`identify`), or kind 1 (`report`) and 64
//! bytes of report data. Answer to the first: the TEE kind's byte and a blob of 32 bytes, the
//! configuration register; to the second: 0 and two blobs, report and event log, or 1 and a code.

use std::io::{Read, Write};

use attest::{ConfigRegister, Report, ReportError, ReportSource};
use messages::framing::{self, HEADER_BYTES};
use protocol::codec::{DecodeError, Reader};
use protocol::digest::{ConfigDigest, ReportData};
use protocol::evidence::{MAX_EVENT_LOG_BYTES, MAX_REPORT_BYTES};
use protocol::launch_configuration::{host_data, mr_config_id};
use protocol::tee::TeeKind;

/// vsock port of mock-tee on the host.
pub const MOCK_TEE_PORT: u32 = 7002;

const REPORT: u8 = 1;
const IDENTIFY: u8 = 2;
const MAX_ANSWER: usize = MAX_REPORT_BYTES + MAX_EVENT_LOG_BYTES + 64;

/// A source of simulated reports over a connected stream.
#[derive(Debug)]
pub struct MockTee<S> {
    stream: S,
    tee: TeeKind,
    register: ConfigDigest,
}

impl<S: Read + Write> MockTee<S> {
    /// Asks mock-tee what it simulates.
    ///
    /// # Errors
    /// `System` when the stream fails, `Malformed` for another answer than the specified one.
    pub fn open(mut stream: S) -> Result<Self, ReportError> {
        let answer = ask(&mut stream, &[IDENTIFY])?;
        let mut from = Reader::new(&answer);
        let identity = |from: &mut Reader<'_>| {
            let tee = TeeKind::from_wire(from.u8()?)?;
            let register = Reader::new(from.blob("register", 32)?).array()?;
            Ok((tee, ConfigDigest(register)))
        };
        let (tee, register) = identity(&mut from).map_err(malformed)?;
        from.finish().map_err(malformed)?;
        Ok(Self {
            stream,
            tee,
            register,
        })
    }

    fn both(&mut self, data: &ReportData) -> Result<(Report, Vec<u8>), ReportError> {
        let mut request = vec![REPORT];
        request.extend_from_slice(&data.0);
        let answer = ask(&mut self.stream, &request)?;
        let mut from = Reader::new(&answer);
        if from.u8().map_err(malformed)? != 0 {
            return Err(ReportError::NoProvider);
        }
        let report = from.blob("report", MAX_REPORT_BYTES).map_err(malformed)?;
        let log = from.blob("event log", MAX_EVENT_LOG_BYTES);
        let log = log.map_err(malformed)?;
        from.finish().map_err(malformed)?;
        Ok((Report(report.to_vec()), log.to_vec()))
    }
}

impl<S: Read + Write> ReportSource for MockTee<S> {
    fn tee(&self) -> TeeKind {
        self.tee
    }

    fn own_configuration(&mut self) -> Result<ConfigRegister, ReportError> {
        Ok(match self.tee {
            TeeKind::SevSnp => ConfigRegister::HostData(host_data(&self.register)),
            TeeKind::Tdx => ConfigRegister::MrConfigId(mr_config_id(&self.register)),
        })
    }

    fn event_log(&mut self) -> Result<Vec<u8>, ReportError> {
        // The simulation hands the log out with a report only; it is the same for each.
        self.both(&ReportData::ZERO).map(|(_, log)| log)
    }

    fn report(&mut self, data: &ReportData) -> Result<Report, ReportError> {
        self.both(data).map(|(report, _)| report)
    }
}

const fn malformed(_: DecodeError) -> ReportError {
    ReportError::Malformed {
        field: "answer of the simulation",
    }
}

fn ask<S: Read + Write>(stream: &mut S, request: &[u8]) -> Result<Vec<u8>, ReportError> {
    let failed = |error: std::io::Error| ReportError::System {
        action: "speak with the simulation",
        errno: error.raw_os_error().unwrap_or(0),
    };
    stream.write_all(&framing::frame(request)).map_err(failed)?;
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).map_err(failed)?;
    let length = framing::payload_length(header, MAX_ANSWER);
    let length = length.map_err(|_| ReportError::Malformed {
        field: "length of the simulation's answer",
    })?;
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).map_err(failed)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::codec::Writer;
    use protocol::digest::HostData;
    use std::os::unix::net::UnixStream;

    /// A stream whose peer has already sent these answers.
    fn answering(answers: &[Vec<u8>]) -> UnixStream {
        let (near, mut far) = UnixStream::pair().unwrap();
        for answer in answers {
            far.write_all(&framing::frame(answer)).unwrap();
        }
        // The peer keeps reading: what it was asked does not matter here.
        std::thread::spawn(move || std::io::copy(&mut far, &mut std::io::sink()));
        near
    }

    fn identity(tee: u8) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(tee).blob(&[3; 32]);
        out.finish()
    }

    #[test]
    fn tells_kind_register_and_reports_of_the_simulation() {
        let mut report = Writer::new();
        report.u8(0).blob(b"report").blob(b"log");
        let report = report.finish();
        let mut source = MockTee::open(answering(&[identity(1), report.clone(), report])).unwrap();
        assert_eq!(source.tee(), TeeKind::SevSnp);
        let register = ConfigRegister::HostData(HostData([3; 32]));
        assert_eq!(source.own_configuration(), Ok(register));
        let data = ReportData::ZERO;
        assert_eq!(source.report(&data), Ok(Report(b"report".to_vec())));
        assert_eq!(source.event_log(), Ok(b"log".to_vec()));
    }

    #[test]
    fn a_refusal_or_another_answer_is_no_report() {
        let answers = [identity(2), vec![1, 7], vec![0, 9, 0, 0, 0]];
        let mut source = MockTee::open(answering(&answers)).unwrap();
        assert_eq!(
            source.report(&ReportData::ZERO),
            Err(ReportError::NoProvider)
        );
        let cut = source.report(&ReportData::ZERO);
        assert!(matches!(cut, Err(ReportError::Malformed { .. })));
        let unknown = MockTee::open(answering(&[identity(9)]));
        assert!(matches!(unknown, Err(ReportError::Malformed { .. })));
    }
}
