//! Which signatures are verified, and how often.

use mock_tee::nvidia::Board;
use protocol::gpu_evidence::MAX_OCSP;

use super::super::*;

const NOW: UnixTime = super::NOW;

#[test]
fn a_whole_boards_signatures_are_each_verified_once() {
    let board = Board::new(DeviceKind::Hopper, 8, 4, GpuMode::ProtectedPcie);
    let boot = BootId([1; 32]);
    let evidence = board.evidence(&boot, 0).unwrap();
    let mut stapled = board.endorsements(NOW.0, None).unwrap();
    let set = DeviceSet {
        architecture: DeviceKind::Hopper,
        gpus: 8,
        switches: 4,
        mode: GpuMode::ProtectedPcie,
    };
    let expected = DeviceExpectations {
        nonces: DeviceNonces::OfBoot(&boot),
        sets: &[set],
        ocsp_nonce: None,
    };
    let (policy, anchors) = (AppraisalPolicy::strict(), super::simulated().1);
    let verified = |stapled: &GpuEndorsements| {
        let mut checks = Checks::by(&policy, &anchors, NOW);
        let read = read_all(&evidence, &stapled.ocsp, &expected, &mut checks);
        let (devices, mut chains) = read.unwrap();
        let places = places(&evidence);
        let facts = compare_each(&places, &devices, stapled, &mut chains, &mut checks);
        assert_eq!(
            (facts.map(|facts| facts.len()), checks.outcome()),
            (Some(12), Ok(()))
        );
        chains.signatures.verified()
    };
    // Of devices: 12 leaves, their 12 issuers, 2 provisioners, 1 identity. Of manifests: 3. As many
    // answers as certificates without the leaves, and 2 responders for those of the 12 issuers.
    assert_eq!(
        verified(&stapled),
        12 + 12 + 2 + 1 + 3 + (12 + 2 + 1 + 3) + 2
    );
    // Stapled as often as they may be, they cost nothing more.
    let once = stapled.ocsp.clone();
    stapled.ocsp = once.iter().cycle().take(MAX_OCSP).cloned().collect();
    assert_eq!(verified(&stapled), 50);
}
