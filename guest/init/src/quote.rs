//! init's end of the quote socket: the only place where a Statement is composed.
//!
//! serve chooses nothing but nonces and exporters: its keys are taken once, everything else is
//! init's. Reading and writing the socket is the last part; the decision is pure.

use std::io::{ErrorKind, Read, Write};

use attest::{Report, ReportSource};
use messages::framing::{self, HEADER_BYTES};
use messages::quote_socket::{MAX_FRAME, QuoteAnswer, QuoteRefusal, QuoteRequest};
use protocol::digest::{
    BootId, ConfigDigest, EpochKey, EventLogDigest, Exporter, Freshness, HpkeConfigDigest,
    ModelsDigest, Nonce, ReceiptKey, SpkiDigest,
};
use protocol::evidence::{MAX_EVENT_LOG_BYTES, MAX_REPORT_BYTES, freshness_leaf};
use protocol::launch_configuration::config_digest;
use protocol::merkle;
use protocol::statement::{Role, Statement};
use protocol::tee::EvidenceClass;
use sha2::{Digest as _, Sha256};

use crate::gpu::evidence_digest;

/// Answers serve for one boot.
pub struct QuoteServer {
    source: Box<dyn ReportSource>,
    boot_id: BootId,
    configuration: Vec<u8>,
    digest: ConfigDigest,
    models: ModelsDigest,
    keys: Option<(SpkiDigest, ReceiptKey)>,
    /// Encoded, at most as long as evidence may be; empty without GPUs.
    gpu_evidence: Vec<u8>,
}

impl std::fmt::Debug for QuoteServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuoteServer")
            .field("boot_id", &self.boot_id)
            .field("registered", &self.keys.is_some())
            .finish_non_exhaustive()
    }
}

impl QuoteServer {
    /// Speaks for the boot `boot_id` of a machine whose register holds the digest of
    /// `configuration` and whose opened models have the digest `models`.
    #[must_use]
    pub fn new(
        source: Box<dyn ReportSource>,
        boot_id: BootId,
        configuration: Vec<u8>,
        models: ModelsDigest,
    ) -> Self {
        Self {
            source,
            boot_id,
            digest: config_digest(&configuration),
            configuration,
            models,
            keys: None,
            gpu_evidence: Vec::new(),
        }
    }

    /// Statements from now on speak of these bytes, which were appraised.
    pub fn set_gpu_evidence(&mut self, evidence: Vec<u8>) {
        self.gpu_evidence = evidence;
    }

    /// Whether serve has registered its keys.
    #[must_use]
    pub const fn is_registered(&self) -> bool {
        self.keys.is_some()
    }

    /// Answers one request. `host_time` is the time as the host claims it, in seconds.
    pub fn answer(&mut self, request: QuoteRequest, host_time: u64) -> QuoteAnswer {
        match (request, self.keys) {
            (
                QuoteRequest::Register {
                    tls_key,
                    receipt_key,
                },
                None,
            ) => {
                self.keys = Some((tls_key, receipt_key));
                QuoteAnswer::Registered {
                    boot_id: self.boot_id,
                    launch_configuration: self.configuration.clone(),
                }
            }
            (QuoteRequest::Register { .. }, Some(_)) => {
                QuoteAnswer::Refused(QuoteRefusal::AlreadyRegistered)
            }
            (QuoteRequest::Quote { .. } | QuoteRequest::Ready, None) => {
                QuoteAnswer::Refused(QuoteRefusal::NotRegistered)
            }
            (QuoteRequest::Quote { challenges }, Some(keys)) => self
                .quote(&challenges, keys, host_time)
                .unwrap_or(QuoteAnswer::Refused(QuoteRefusal::NoReport)),
            (QuoteRequest::Ready, Some(_)) => QuoteAnswer::Noted,
        }
    }

    /// Answers one frame's payload; what cannot be decoded is refused as malformed.
    pub fn answer_payload(&mut self, payload: &[u8], host_time: u64) -> QuoteAnswer {
        match QuoteRequest::decode(payload) {
            Ok(request) => self.answer(request, host_time),
            Err(_) => QuoteAnswer::Refused(QuoteRefusal::Malformed),
        }
    }

    /// `None` when the platform gives no report that fits into evidence.
    fn quote(
        &mut self,
        challenges: &[(Nonce, Exporter)],
        (tls_key, receipt_key): (SpkiDigest, ReceiptKey),
        host_time: u64,
    ) -> Option<QuoteAnswer> {
        let leaves: Vec<_> = challenges
            .iter()
            .map(|(nonce, exporter)| freshness_leaf(nonce, exporter))
            .collect();
        let event_log = self.source.event_log().ok()?;
        let statement = Statement {
            role: Role::Worker,
            class: EvidenceClass::Fresh,
            tee: self.source.tee(),
            boot_id: self.boot_id,
            freshness: Freshness(merkle::root(&leaves)),
            tls_key,
            epoch_key: EpochKey::ZERO,
            hpke_configuration: HpkeConfigDigest::ZERO,
            receipt_key,
            configuration: self.digest,
            models: self.models,
            event_log: event_log_digest(&event_log),
            gpu_evidence: evidence_digest(&self.gpu_evidence),
            host_time,
        };
        let Report(report) = self.source.report(&statement.report_data()).ok()?;
        let fits = report.len() <= MAX_REPORT_BYTES && event_log.len() <= MAX_EVENT_LOG_BYTES;
        fits.then(|| QuoteAnswer::Quoted {
            statement: Box::new(statement),
            report,
            event_log,
            gpu_evidence: self.gpu_evidence.clone(),
        })
    }
}

/// Zero for an empty log: absent is zero (`docs/spec/statement.md`).
fn event_log_digest(log: &[u8]) -> EventLogDigest {
    if log.is_empty() {
        EventLogDigest::ZERO
    } else {
        EventLogDigest(Sha256::digest(log).into())
    }
}

/// Why a frame could not be exchanged with serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// serve closed its end between two frames.
    #[error("quote socket ended")]
    Ended,
    /// The announced length is above the limit.
    #[error("frame on the quote socket is too long")]
    TooLong,
    /// The socket failed, or ended inside a frame.
    #[error("quote socket failed: {0}")]
    Socket(ErrorKind),
}

/// Reads the payload of one request.
///
/// # Errors
/// An [`ExchangeError`]; no length is used before it was compared with the limit.
pub fn read_payload(stream: &mut impl Read) -> Result<Vec<u8>, ExchangeError> {
    let mut header = [0; HEADER_BYTES];
    let (first, rest) = header.split_at_mut(1);
    match stream.read(first) {
        Ok(0) => return Err(ExchangeError::Ended),
        Ok(_) => stream.read_exact(rest),
        Err(error) => Err(error),
    }
    .map_err(|error| ExchangeError::Socket(error.kind()))?;
    let length = framing::payload_length(header, MAX_FRAME).map_err(|_| ExchangeError::TooLong)?;
    let mut payload = vec![0; length];
    stream
        .read_exact(&mut payload)
        .map_err(|error| ExchangeError::Socket(error.kind()))?;
    Ok(payload)
}

/// Writes one answer.
///
/// # Errors
/// `Socket`.
pub fn write_answer(stream: &mut impl Write, answer: &QuoteAnswer) -> Result<(), ExchangeError> {
    stream
        .write_all(&framing::frame(&answer.encode()))
        .map_err(|error| ExchangeError::Socket(error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use attest::{ConfigRegister, ReportError};
    use protocol::digest::{GpuEvidenceDigest, HostData, ReportData};
    use protocol::evidence::FreshnessProof;
    use protocol::tee::TeeKind;

    type Reporter = fn(&ReportData) -> Result<Report, ReportError>;

    /// Reports that repeat what they were asked to cover, so that a test can look at it.
    struct Scripted {
        tee: TeeKind,
        event_log: Vec<u8>,
        report: Reporter,
    }

    impl ReportSource for Scripted {
        fn tee(&self) -> TeeKind {
            self.tee
        }

        fn own_configuration(&mut self) -> Result<ConfigRegister, ReportError> {
            Ok(ConfigRegister::HostData(HostData::ZERO))
        }

        fn event_log(&mut self) -> Result<Vec<u8>, ReportError> {
            Ok(self.event_log.clone())
        }

        fn report(&mut self, data: &ReportData) -> Result<Report, ReportError> {
            (self.report)(data)
        }
    }

    const CONFIGURATION: &[u8] = b"{}";
    const KEYS: QuoteRequest = QuoteRequest::Register {
        tls_key: SpkiDigest([1; 32]),
        receipt_key: ReceiptKey([2; 32]),
    };

    fn server(tee: TeeKind, event_log: &[u8]) -> QuoteServer {
        let source = Scripted {
            tee,
            event_log: event_log.to_vec(),
            report: |data| Ok(Report(data.0.to_vec())),
        };
        QuoteServer::new(
            Box::new(source),
            BootId([3; 32]),
            CONFIGURATION.to_vec(),
            ModelsDigest([4; 32]),
        )
    }

    fn registered(tee: TeeKind, event_log: &[u8]) -> QuoteServer {
        let mut server = server(tee, event_log);
        server.answer(KEYS, 0);
        server
    }

    fn quote_of(challenges: &[(Nonce, Exporter)]) -> QuoteRequest {
        QuoteRequest::Quote {
            challenges: challenges.to_vec(),
        }
    }

    const ONE: [(Nonce, Exporter); 1] = [(Nonce([5; 32]), Exporter([6; 32]))];

    #[test]
    fn registration_tells_the_boot_and_its_configuration() {
        let answer = server(TeeKind::SevSnp, b"").answer(KEYS, 0);
        let expected = QuoteAnswer::Registered {
            boot_id: BootId([3; 32]),
            launch_configuration: CONFIGURATION.to_vec(),
        };
        assert_eq!(answer, expected);
    }

    #[test]
    fn refuses_a_second_registration_and_keeps_the_first_keys() {
        let mut server = registered(TeeKind::SevSnp, b"");
        let others = QuoteRequest::Register {
            tls_key: SpkiDigest([9; 32]),
            receipt_key: ReceiptKey([9; 32]),
        };
        for again in [others, KEYS] {
            assert_eq!(
                server.answer(again, 0),
                QuoteAnswer::Refused(QuoteRefusal::AlreadyRegistered)
            );
        }
        let QuoteAnswer::Quoted { statement, .. } = server.answer(quote_of(&ONE), 0) else {
            panic!("no quote")
        };
        assert_eq!(statement.tls_key, SpkiDigest([1; 32]));
        assert_eq!(statement.receipt_key, ReceiptKey([2; 32]));
    }

    #[test]
    fn refuses_everything_else_before_keys_are_registered() {
        for request in [quote_of(&ONE), QuoteRequest::Ready] {
            assert_eq!(
                server(TeeKind::SevSnp, b"").answer(request, 0),
                QuoteAnswer::Refused(QuoteRefusal::NotRegistered)
            );
        }
    }

    #[test]
    fn serve_chooses_nothing_but_nonces_and_exporters() {
        let mut server = registered(TeeKind::SevSnp, b"");
        let challenges = [ONE[0], (Nonce([7; 32]), Exporter([8; 32]))];
        let answer = server.answer(quote_of(&challenges), 1_795_000_000);
        let QuoteAnswer::Quoted {
            statement, report, ..
        } = answer
        else {
            panic!("no quote")
        };
        let leaves = challenges.map(|(nonce, exporter)| freshness_leaf(&nonce, &exporter));
        let expected = Statement {
            role: Role::Worker,
            class: EvidenceClass::Fresh,
            tee: TeeKind::SevSnp,
            boot_id: BootId([3; 32]),
            freshness: Freshness(merkle::root(&leaves)),
            tls_key: SpkiDigest([1; 32]),
            epoch_key: EpochKey::ZERO,
            hpke_configuration: HpkeConfigDigest::ZERO,
            receipt_key: ReceiptKey([2; 32]),
            configuration: config_digest(CONFIGURATION),
            models: ModelsDigest([4; 32]),
            event_log: EventLogDigest::ZERO,
            gpu_evidence: GpuEvidenceDigest::ZERO,
            host_time: 1_795_000_000,
        };
        assert_eq!(*statement, expected);
        assert_eq!(report, expected.report_data().0);
        let proof = FreshnessProof {
            index: 1,
            count: 2,
            path: merkle::path(&leaves, 1).unwrap(),
        };
        let fresh = proof.freshness(&challenges[1].0, &challenges[1].1);
        assert_eq!(fresh, Some(statement.freshness));
    }

    #[test]
    fn the_report_covers_the_event_log_that_comes_with_it() {
        let mut server = registered(TeeKind::Tdx, b"log");
        let QuoteAnswer::Quoted {
            statement,
            event_log,
            ..
        } = server.answer(quote_of(&ONE), 0)
        else {
            panic!("no quote")
        };
        assert_eq!(event_log, b"log");
        assert_eq!(
            statement.event_log.0,
            <[u8; 32]>::from(Sha256::digest(b"log"))
        );
    }

    #[test]
    fn the_report_covers_the_evidence_of_gpus_that_comes_with_it() {
        let mut server = registered(TeeKind::SevSnp, b"");
        for evidence in [&b"first"[..], b"second"] {
            server.set_gpu_evidence(evidence.to_vec());
            let answer = server.answer(quote_of(&ONE), 0);
            let QuoteAnswer::Quoted {
                statement,
                report,
                gpu_evidence,
                ..
            } = answer
            else {
                panic!("no quote")
            };
            assert_eq!(gpu_evidence, evidence);
            let digest = <[u8; 32]>::from(Sha256::digest(evidence));
            assert_eq!(statement.gpu_evidence, GpuEvidenceDigest(digest));
            assert_eq!(report, statement.report_data().0);
        }
    }

    #[test]
    fn a_platform_without_a_report_or_with_too_long_a_one_is_a_refusal() {
        let failures: [Reporter; 2] = [
            |_| Err(ReportError::TimedOut),
            |_| Ok(Report(vec![0; MAX_REPORT_BYTES + 1])),
        ];
        for report in failures {
            let source = Scripted {
                tee: TeeKind::SevSnp,
                event_log: Vec::new(),
                report,
            };
            let mut server =
                QuoteServer::new(Box::new(source), BootId::ZERO, vec![], ModelsDigest::ZERO);
            server.answer(KEYS, 0);
            assert_eq!(
                server.answer(quote_of(&ONE), 0),
                QuoteAnswer::Refused(QuoteRefusal::NoReport)
            );
        }
    }

    #[test]
    fn refuses_a_payload_that_cannot_be_decoded() {
        let mut server = server(TeeKind::SevSnp, b"");
        for payload in [&b""[..], &[0], &[2, 0, 0, 0, 0], &[3, 0]] {
            assert_eq!(
                server.answer_payload(payload, 0),
                QuoteAnswer::Refused(QuoteRefusal::Malformed)
            );
        }
    }

    #[test]
    fn a_frame_is_read_whole_or_refused() {
        let frame = framing::frame(&QuoteRequest::Ready.encode());
        assert_eq!(read_payload(&mut &frame[..]), Ok(vec![3]));
        assert_eq!(read_payload(&mut &b""[..]), Err(ExchangeError::Ended));
        let longest = u32::try_from(MAX_FRAME).unwrap();
        let header = (longest + 1).to_le_bytes();
        assert_eq!(read_payload(&mut &header[..]), Err(ExchangeError::TooLong));
        for end in 1..frame.len() {
            let cut = read_payload(&mut &frame[..end]);
            assert_eq!(cut, Err(ExchangeError::Socket(ErrorKind::UnexpectedEof)));
        }
    }
}
