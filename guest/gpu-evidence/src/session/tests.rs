//! Claims about a session, over a source that says what a test wants.

use super::*;
use protocol::gpu_evidence::{DeviceKind, MAX_CERTIFICATE_BYTES, MAX_CHAIN};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const GOOD: Mode = Mode {
    confidential: true,
    production: true,
    developer_tools: false,
    protected_pcie: false,
};

/// What is changed, and what refuses it.
type Case<T> = (fn(&mut T), GpuRefusal);

#[derive(Debug, Clone)]
struct Scripted {
    mode: Mode,
    gpus: u32,
    word: GpuWord,
    ready: bool,
    /// Whether it takes work when it is told to.
    obeys: bool,
    lost: bool,
}

fn pem(der: &[u8]) -> Vec<u8> {
    let digits = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{digits}\n-----END CERTIFICATE-----\n").into_bytes()
}

fn scripted() -> Scripted {
    Scripted {
        mode: GOOD,
        gpus: 2,
        word: GpuWord {
            kind: DeviceKind::Hopper,
            uuid: b"GPU-0".to_vec(),
            report: Vec::new(),
            chain: pem(&[1, 2, 3]),
        },
        ready: false,
        obeys: true,
        lost: false,
    }
}

/// The same with GPUs whose names are refused: whoever asks one before it may is told so.
fn unaskable() -> Scripted {
    let mut source = scripted();
    source.word.uuid.clear();
    let asked = answer_of(source.clone(), &collect(2, 0));
    assert_eq!(asked, GpuAnswer::Refused(GpuRefusal::Uuid));
    source
}

impl EvidenceSource for Scripted {
    fn mode(&mut self) -> Result<Mode, GpuRefusal> {
        Ok(self.mode)
    }

    fn gpus(&mut self) -> Result<u32, GpuRefusal> {
        Ok(self.gpus)
    }

    fn ask(&mut self, index: u32, nonce: &GpuNonce) -> Result<GpuWord, GpuRefusal> {
        let mut word = self.word.clone();
        if word.report.is_empty() {
            word.report = [&index.to_le_bytes()[..], &nonce.0].concat();
        }
        Ok(word)
    }

    fn accept(&mut self) -> Result<(), GpuRefusal> {
        self.ready = self.obeys;
        Ok(())
    }

    fn is_ready(&mut self) -> Result<bool, GpuRefusal> {
        if self.lost {
            return Err(GpuRefusal::Lost);
        }
        Ok(self.ready)
    }

    fn faults(&mut self) -> Result<u16, GpuRefusal> {
        Ok(3)
    }
}

fn collect(gpus: u8, switches: u8) -> GpuRequest {
    let count = DeviceCount { gpus, switches };
    GpuRequest::Collect {
        round: 5,
        count,
        nonces: (0..gpus.saturating_add(switches))
            .map(|at| GpuNonce([at; 32]))
            .collect(),
    }
}

fn answer_of(source: Scripted, request: &GpuRequest) -> GpuAnswer {
    Session::new(|| Ok(source.clone())).answer(request)
}

#[test]
fn every_gpu_is_asked_with_its_own_nonce_and_answers_in_order() {
    let answer = answer_of(scripted(), &collect(2, 0));
    let device = |index: u8| DeviceEvidence {
        kind: DeviceKind::Hopper,
        report: [&[index, 0, 0, 0][..], &[index; 32]].concat(),
        chain: vec![vec![1, 2, 3]],
    };
    let uuid = GpuUuid::new(b"GPU-0").unwrap();
    let expected = GpuAnswer::Collected {
        uuids: vec![uuid.clone(), uuid],
        evidence: Box::new(GpuEvidence {
            round: 5,
            devices: vec![device(0), device(1)],
        }),
    };
    assert_eq!(answer, expected);
}

#[test]
fn no_report_is_asked_for_in_a_mode_that_protects_nothing() {
    let with = |change: fn(&mut Mode)| {
        let mut source = unaskable();
        change(&mut source.mode);
        answer_of(source, &collect(2, 0))
    };
    let cases: [Case<Mode>; 4] = [
        (
            |mode| mode.confidential = false,
            GpuRefusal::ConfidentialOff,
        ),
        (|mode| mode.production = false, GpuRefusal::NotProduction),
        (
            |mode| mode.developer_tools = true,
            GpuRefusal::DeveloperTools,
        ),
        (
            |mode| mode.protected_pcie = true,
            GpuRefusal::ModeUnsupported,
        ),
    ];
    for (change, refusal) in cases {
        assert_eq!(with(change), GpuAnswer::Refused(refusal));
    }
}

#[test]
fn the_number_of_gpus_is_that_of_init_and_switches_are_refused_by_name() {
    for gpus in [1, 3] {
        let refused = answer_of(unaskable(), &collect(gpus, 0));
        assert_eq!(refused, GpuAnswer::Refused(GpuRefusal::Count));
    }
    let refused = answer_of(unaskable(), &collect(2, 1));
    assert_eq!(refused, GpuAnswer::Refused(GpuRefusal::SwitchesUnsupported));
}

#[test]
fn what_a_gpu_says_beyond_the_limits_of_evidence_is_refused() {
    let with = |change: fn(&mut GpuWord)| {
        let mut source = scripted();
        change(&mut source.word);
        answer_of(source, &collect(2, 0))
    };
    let cases: [Case<GpuWord>; 4] = [
        (|word| word.uuid = b"GPU 0".to_vec(), GpuRefusal::Uuid),
        (|word| word.uuid.clear(), GpuRefusal::Uuid),
        (
            |word| word.report = vec![1; MAX_REPORT_BYTES + 1],
            GpuRefusal::Report,
        ),
        (|word| word.chain.clear(), GpuRefusal::Chain),
    ];
    for (change, refusal) in cases {
        assert_eq!(with(change), GpuAnswer::Refused(refusal));
    }
    let mut largest = scripted();
    largest.gpus = 32;
    largest.word.report = vec![1; MAX_REPORT_BYTES];
    largest.word.chain = pem(&[1; MAX_CERTIFICATE_BYTES]).repeat(MAX_CHAIN);
    let refused = answer_of(largest, &collect(32, 0));
    assert_eq!(refused, GpuAnswer::Refused(GpuRefusal::TooLong));
}

#[test]
fn nothing_is_accepted_or_watched_before_evidence_was_collected() {
    for request in [GpuRequest::Accept, GpuRequest::Watch] {
        let refused = answer_of(scripted(), &request);
        assert_eq!(refused, GpuAnswer::Refused(GpuRefusal::OutOfStep));
    }
}

#[test]
fn nothing_is_accepted_or_watched_after_evidence_that_was_refused() {
    for refused in [collect(3, 0), collect(2, 1)] {
        for request in [GpuRequest::Accept, GpuRequest::Watch] {
            let mut session = Session::new(|| Ok(scripted()));
            let first = session.answer(&collect(2, 0));
            assert!(matches!(first, GpuAnswer::Collected { .. }));
            let second = session.answer(&refused);
            assert!(matches!(second, GpuAnswer::Refused(_)));
            let after = session.answer(&request);
            assert_eq!(after, GpuAnswer::Refused(GpuRefusal::OutOfStep));
        }
    }
}

#[test]
fn a_mode_that_changes_after_evidence_is_told_to_whoever_watches() {
    let mut session = Session::new(|| Ok(scripted()));
    session.answer(&collect(2, 0));
    if let Some(source) = session.source.as_mut() {
        source.mode.developer_tools = true;
    }
    let refused = session.answer(&GpuRequest::Watch);
    assert_eq!(refused, GpuAnswer::Refused(GpuRefusal::DeveloperTools));
}

#[test]
fn accepting_is_read_back_and_watching_tells_readiness_and_faults() {
    let mut session = Session::new(|| Ok(scripted()));
    session.answer(&collect(2, 0));
    let watched = |ready| GpuAnswer::Watched { ready, faults: 3 };
    assert_eq!(session.answer(&GpuRequest::Watch), watched(false));
    assert_eq!(session.answer(&GpuRequest::Accept), GpuAnswer::Accepted);
    assert_eq!(session.answer(&GpuRequest::Watch), watched(true));
    let mut deaf = scripted();
    deaf.obeys = false;
    let mut session = Session::new(|| Ok(deaf.clone()));
    session.answer(&collect(2, 0));
    let refused = session.answer(&GpuRequest::Accept);
    assert_eq!(refused, GpuAnswer::Refused(GpuRefusal::Driver));
}

#[test]
fn a_lost_gpu_ends_the_session_and_the_next_evidence_opens_the_source_again() {
    let mut opened = 0;
    let mut session = Session::new(|| {
        opened += 1;
        let mut source = scripted();
        source.lost = opened == 1;
        Ok(source)
    });
    session.answer(&collect(2, 0));
    let refused = session.answer(&GpuRequest::Watch);
    assert_eq!(refused, GpuAnswer::Refused(GpuRefusal::Lost));
    let refused = session.answer(&GpuRequest::Watch);
    assert_eq!(refused, GpuAnswer::Refused(GpuRefusal::OutOfStep));
    session.answer(&collect(2, 0));
    let watched = session.answer(&GpuRequest::Watch);
    assert!(matches!(watched, GpuAnswer::Watched { .. }));
    drop(session);
    assert_eq!(opened, 2);
}

#[test]
fn a_source_that_cannot_be_opened_is_a_refusal() {
    let mut session = Session::new(|| Err::<Scripted, _>(GpuRefusal::NoLibrary));
    let refused = session.answer(&collect(1, 0));
    assert_eq!(refused, GpuAnswer::Refused(GpuRefusal::NoLibrary));
}
