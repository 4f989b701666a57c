//! What the GPU's driver and the process around it hand to init: requests and answers of the GPU
//! socket, a session between the two, and chains of certificates in PEM, wherever one is read.

use std::io::{self, Read, Write};

use gpu_evidence::chain::certificates;
use gpu_evidence::source::{EvidenceSource, GpuWord, Mode};
use messages::framing::{self, HEADER_BYTES};
use messages::gpu_socket::{DeviceCount, GpuAnswer, GpuRefusal, GpuRequest, GpuUuid};
use protocol::digest::GpuNonce;
use protocol::endorsements::EndorsementKind;
use protocol::gpu_evidence::{
    DeviceKind, GpuEvidence, MAX_CERTIFICATE_BYTES, MAX_CHAIN, MAX_REPORT_BYTES,
};
use serde_json::Value;

use crate::evidence::{tdx_collateral, tdx_quote};
use crate::honest::Machine;
use crate::releases::honest_release;
use crate::{Outcome, devices, pieces};

/// So much of what init is made to say is read.
const MAX_ASKED: usize = 4096;

/// A payload as request and as answer; then frames of requests, and what the driver says to them:
/// a name, a report, a chain.
pub fn gpu_socket(input: &[u8]) -> Outcome {
    let request = GpuRequest::decode(input);
    if let Ok(request) = &request {
        assert_eq!(request.encode(), input, "two encodings of one request");
    }
    let answer = GpuAnswer::decode(input);
    if let Ok(answer) = &answer {
        assert_eq!(answer.encode(), input, "two encodings of one answer");
    }
    let [asked, uuid, report, chain] = pieces::split::<4>(input);
    let asked = asked.get(..MAX_ASKED).unwrap_or(asked);
    let driver = || {
        Ok(Driver {
            uuid,
            report,
            chain,
        })
    };
    let spoken = gpu_evidence::run(Socket { asked, answers: 0 }, driver);
    Outcome::of(&request)
        .or(Outcome::of(&answer))
        .or(Outcome::of(&spoken))
}

/// init's end: what it says is the input, and what it hears is looked at and not kept.
struct Socket<'i> {
    asked: &'i [u8],
    answers: usize,
}

impl Read for Socket<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.asked.read(to)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        let (_, payload) = frame.split_at(HEADER_BYTES);
        let answer = GpuAnswer::decode(payload).expect("init reads what it is answered");
        assert_eq!(framing::frame(&answer.encode()), frame);
        if let GpuAnswer::Collected { uuids, evidence } = answer {
            assert_eq!(uuids.len(), evidence.devices.len());
            for device in &evidence.devices {
                assert!((1..=MAX_REPORT_BYTES).contains(&device.report.len()));
                check_chain(&device.chain);
            }
        }
        self.answers += 1;
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A driver of one GPU that says this of it, and that all is well.
struct Driver<'i> {
    uuid: &'i [u8],
    report: &'i [u8],
    chain: &'i [u8],
}

impl EvidenceSource for Driver<'_> {
    fn mode(&mut self) -> Result<Mode, GpuRefusal> {
        Ok(Mode {
            confidential: true,
            production: true,
            developer_tools: false,
            protected_pcie: false,
        })
    }

    fn gpus(&mut self) -> Result<u32, GpuRefusal> {
        Ok(1)
    }

    fn ask(&mut self, _: u32, _: &GpuNonce) -> Result<GpuWord, GpuRefusal> {
        Ok(GpuWord {
            kind: DeviceKind::Hopper,
            uuid: self.uuid.to_vec(),
            report: self.report.to_vec(),
            chain: self.chain.to_vec(),
        })
    }

    fn accept(&mut self) -> Result<(), GpuRefusal> {
        Ok(())
    }

    fn is_ready(&mut self) -> Result<bool, GpuRefusal> {
        Ok(true)
    }

    fn faults(&mut self) -> Result<u16, GpuRefusal> {
        Ok(0)
    }
}

/// Where a chain in PEM is read, by the input's first byte; the text is what follows.
pub fn pem_chain(input: &[u8]) -> Outcome {
    let (place, text) = input.split_first().unwrap_or((&0, &[]));
    match place {
        1 => stapled("tcb_info_issuer_chain", text),
        2 => stapled("qe_identity_issuer_chain", text),
        3 => stapled("pck_crl_issuer_chain", text),
        4 => tdx_quote(&quote_with(text)),
        _ => of_driver(text),
    }
}

/// The chain of a GPU, as its driver hands it out.
fn of_driver(text: &[u8]) -> Outcome {
    let chain = certificates(text);
    if let Ok(chain) = &chain {
        check_chain(chain);
        let behind = [text, &[0; 9]].concat();
        assert_eq!(certificates(&behind).as_ref(), Ok(chain), "zeros behind");
    }
    match chain {
        Ok(_) => Outcome::Taken,
        Err(_) => Outcome::Refused,
    }
}

fn check_chain(chain: &[Vec<u8>]) {
    assert!((1..=MAX_CHAIN).contains(&chain.len()));
    let fits = |der: &Vec<u8>| (1..=MAX_CERTIFICATE_BYTES).contains(&der.len());
    assert!(chain.iter().all(fits));
}

/// Honest collateral with this text in the place of one of its chains.
fn stapled(member: &str, text: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(text) else {
        return Outcome::Refused;
    };
    let mut collateral = collateral();
    collateral[member] = Value::from(text);
    tdx_collateral(collateral.to_string().as_bytes())
}

fn collateral() -> Value {
    let stapled = &Machine::TdxV4.evidence().endorsements;
    let json = stapled.get(EndorsementKind::TdxCollateral);
    serde_json::from_slice(json.expect("collateral")).expect("JSON")
}

/// Header and TD report of a quote of version 4.
const SIGNED: usize = 48 + 584;
/// The length of the quoting enclave's own data lies behind signature, key, and its report.
const ENCLAVE_DATA: usize = SIGNED + 4 + 128 + 6 + 384 + 64;

/// Where the text of the chain begins in the honest quote.
fn chain_in(quote: &[u8]) -> usize {
    let data = [quote[ENCLAVE_DATA], quote[ENCLAVE_DATA + 1]];
    ENCLAVE_DATA + 2 + usize::from(u16::from_le_bytes(data)) + 6
}

/// The honest quote with this text as its chain, and the lengths that fit.
fn quote_with(text: &[u8]) -> Vec<u8> {
    let honest = &Machine::TdxV4.evidence().report;
    let at = chain_in(honest);
    let mut quote = [&honest[..at], text].concat();
    let length = |from: usize| {
        let length = u32::try_from(at + text.len() - from);
        length.expect("a short text").to_le_bytes()
    };
    for place in [SIGNED, SIGNED + 4 + 128 + 2, at - 4] {
        quote[place..place + 4].copy_from_slice(&length(place + 4));
    }
    quote
}

/// Hands out seeds of both targets, and a release, by target and name.
///
/// # Panics
/// When the simulation cannot make them.
pub fn seeds(mut put: impl FnMut(&'static str, &str, &[u8])) {
    let count = DeviceCount {
        gpus: 1,
        switches: 0,
    };
    let collect = GpuRequest::Collect {
        round: 0,
        count,
        nonces: vec![GpuNonce([7; 32])],
    };
    let evidence = GpuEvidence::decode(&devices::honest().0).expect("evidence");
    let uuid = GpuUuid::new(b"GPU-1a").expect("a name");
    let report = evidence.devices[0].report.clone();
    let answer = GpuAnswer::Collected {
        uuids: vec![uuid],
        evidence: Box::new(evidence),
    };
    let all = [collect.clone(), GpuRequest::Accept, GpuRequest::Watch];
    let frames = all
        .map(|request| framing::frame(&request.encode()))
        .concat();
    let collateral = collateral();
    let text = |member: &str| collateral[member].as_str().expect("text").as_bytes();
    let quote = &Machine::TdxV4.evidence().report;
    let own = &quote[chain_in(quote)..];
    let session = pieces::join(&[&frames, b"GPU-1a", &report, own]);
    let at = |place: u8, text: &[u8]| [&[place], text].concat();
    let release = honest_release().each_ref().map(Vec::as_slice);
    let all = [
        ("described_release", "logged", pieces::join(&release)),
        ("gpu_socket", "collect", collect.encode()),
        ("gpu_socket", "collected", answer.encode()),
        ("gpu_socket", "session", session),
        ("pem_chain", "driver", at(0, own)),
        (
            "pem_chain",
            "tcb-info",
            at(1, text("tcb_info_issuer_chain")),
        ),
        (
            "pem_chain",
            "qe-identity",
            at(2, text("qe_identity_issuer_chain")),
        ),
        ("pem_chain", "pck-crl", at(3, text("pck_crl_issuer_chain"))),
        ("pem_chain", "quote", at(4, own)),
    ];
    for (target, name, seed) in all {
        put(target, name, &seed);
    }
}
