//! Evidence of GPUs and what is stapled for it: the wire, then SPDM, chains, manifests and answers
//! about revocation, as `appraise_devices` meets them.

use std::sync::OnceLock;

use mock_tee::nvidia::Board;
use protocol::digest::BootId;
use protocol::gpu_evidence::{DeviceKind, GpuEndorsements, GpuEvidence, GpuMode};
use protocol::reference_values::DeviceSet;
use verifier::{AppraisalPolicy, DeviceExpectations, DeviceNonces, UnixTime, appraise_devices};

use crate::honest::NOW;
use crate::{Outcome, pieces};

const BOOT: BootId = BootId([0x44; 32]);
const SET: DeviceSet = DeviceSet {
    architecture: DeviceKind::Hopper,
    gpus: 1,
    switches: 0,
    mode: GpuMode::SinglePass,
};

/// Evidence and endorsements of one simulated GPU, as they cross the wire.
///
/// # Panics
/// When the simulation cannot make them.
#[must_use]
pub fn honest() -> &'static (Vec<u8>, Vec<u8>) {
    static HONEST: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    HONEST.get_or_init(|| {
        let board = Board::new(SET.architecture, SET.gpus, SET.switches, SET.mode);
        let evidence = board.evidence(&BOOT, 0).expect("evidence").encode();
        let stapled = board.endorsements(NOW, None).expect("endorsements");
        (evidence, stapled.encode())
    })
}

/// Evidence, then endorsements; a part that is empty is the honest one.
pub fn gpu_evidence(input: &[u8]) -> Outcome {
    let [evidence, stapled] = pieces::split::<2>(input);
    let or_honest = |part: &[u8], honest: &[u8]| {
        let part = if part.is_empty() { honest } else { part };
        part.to_vec()
    };
    let (honest_evidence, honest_stapled) = honest();
    let evidence = or_honest(evidence, honest_evidence);
    let stapled = or_honest(stapled, honest_stapled);
    let decoded = GpuEvidence::decode(&evidence);
    let endorsements = GpuEndorsements::decode(&stapled);
    let (Ok(decoded), Ok(endorsements)) = (&decoded, &endorsements) else {
        return Outcome::Refused;
    };
    assert_eq!(decoded.encode(), evidence, "two encodings of one evidence");
    assert_eq!(endorsements.encode(), stapled, "two encodings");
    let expected = DeviceExpectations {
        nonces: DeviceNonces::OfBoot(&BOOT),
        sets: &[SET],
        ocsp_nonce: None,
    };
    let anchors = research_anchors::research_anchors();
    let policy = AppraisalPolicy::strict();
    let facts = appraise_devices(
        decoded,
        endorsements,
        &expected,
        &policy,
        &anchors,
        UnixTime(NOW),
    );
    if let Ok(facts) = &facts {
        assert_eq!(evidence, *honest_evidence, "a forged device");
        assert_eq!(facts.len(), 1);
    }
    Outcome::of(&facts)
}
