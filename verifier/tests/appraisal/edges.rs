//! Edges of ECDSA where signatures are raw scalars: AMD's reports (P-384, little-endian), Intel's
//! quotes (P-256) and NVIDIA's reports (P-384). Scalars outside of their range verify nothing; the
//! mirrored s is another signature of the same and changes no verdict.

use mock_tee::nvidia::Board;
use mock_tee::tdx::QuoteVersion;
use protocol::evidence::Evidence;
use protocol::gpu_evidence::{DeviceKind, GpuEvidence, GpuMode};
use protocol::reference_values::DeviceSet;
use verifier::Rejection;

use crate::world::World;

const ORDER_256: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const ORDER_384: &str = "ffffffffffffffffffffffffffffffffffffffffffffffff\
                         c7634d81f4372ddf581a0db248b0a77aecec196accc52973";
/// Behind the signed part of a report.
const SNP_SIGNATURE: usize = 0x2a0;
const SNP_SCALAR: usize = 72;
/// Behind header, the body of a TD 1.0 report, and the length of what follows.
const QUOTE_SIGNATURE: usize = 48 + 584 + 4;

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// `left` less `right`; big-endian, of one length.
fn less(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut difference = vec![0; left.len()];
    let mut borrow = 0;
    for at in (0..left.len()).rev() {
        let digit = i16::from(left[at]) - i16::from(right[at]) - borrow;
        borrow = i16::from(digit < 0);
        difference[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    difference
}

fn plus_one(value: &[u8]) -> Vec<u8> {
    let mut sum = value.to_vec();
    *sum.last_mut().unwrap() += 1;
    sum
}

/// Pairs that no key signed anything by, made of an honest r and s.
fn beyond(order: &[u8], r: &[u8], s: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let zero = vec![0; order.len()];
    let outside = [
        zero,
        order.to_vec(),
        plus_one(order),
        vec![0xff; order.len()],
    ];
    let mut pairs = vec![(s.to_vec(), r.to_vec()), (r.to_vec(), r.to_vec())];
    for value in &outside {
        pairs.push((value.clone(), s.to_vec()));
        pairs.push((r.to_vec(), value.clone()));
        pairs.extend(outside.iter().map(|other| (value.clone(), other.clone())));
    }
    pairs
}

/// Each of those pairs in place of the honest one, then the honest one with its mirrored s.
fn check(order: &str, (r, s): (Vec<u8>, Vec<u8>), refused: impl Fn(&[u8], &[u8]) -> bool) {
    let order = bytes(order);
    assert!(!refused(&r, &s), "the honest one");
    for (one, other) in beyond(&order, &r, &s) {
        assert!(refused(&one, &other), "{one:x?} {other:x?}");
    }
    assert!(!refused(&r, &less(&order, &s)), "mirrored");
}

fn is_refused(world: &World, evidence: &Evidence, reason: Rejection) -> bool {
    match world.appraise_this(evidence) {
        Ok(_) => false,
        Err(refused) => {
            assert_eq!(refused, reason);
            true
        }
    }
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

#[test]
fn scalars_of_an_amd_report() {
    let world = World::genoa();
    let honest = world.evidence();
    let scalar = |number: usize| {
        let at = SNP_SIGNATURE + number * SNP_SCALAR;
        reversed(&honest.report[at..at + 48])
    };
    check(ORDER_384, (scalar(0), scalar(1)), |r, s| {
        let mut other = honest.clone();
        for (number, value) in [r, s].into_iter().enumerate() {
            let at = SNP_SIGNATURE + number * SNP_SCALAR;
            other.report[at..at + 48].copy_from_slice(&reversed(value));
        }
        is_refused(&world, &other, Rejection::SnpSignatureInvalid)
    });
    // Above a scalar's 48 bytes, and behind both, are zeros.
    for at in [48, SNP_SCALAR - 1, SNP_SCALAR + 48, 2 * SNP_SCALAR, 511] {
        let mut other = honest.clone();
        other.report[SNP_SIGNATURE + at] = 1;
        let refused = world.appraise_this(&other);
        assert_eq!(refused, Err(Rejection::SnpSignatureInvalid), "{at}");
    }
}

#[test]
fn scalars_of_an_intel_quote_and_its_key() {
    let world = World::tdx(QuoteVersion::V4);
    let honest = world.evidence();
    let scalar = |number: usize| {
        let at = QUOTE_SIGNATURE + number * 32;
        honest.report[at..at + 32].to_vec()
    };
    check(ORDER_256, (scalar(0), scalar(1)), |r, s| {
        let mut other = honest.clone();
        let room = &mut other.report[QUOTE_SIGNATURE..QUOTE_SIGNATURE + 64];
        room.copy_from_slice(&[r, s].concat());
        is_refused(&world, &other, Rejection::TdxVerification)
    });
    let [x, y] = [scalar(2), scalar(3)];
    for key in [[x.clone(), x], [vec![0; 32], vec![0; 32]], [y.clone(), y]] {
        let mut other = honest.clone();
        let room = &mut other.report[QUOTE_SIGNATURE + 64..QUOTE_SIGNATURE + 128];
        room.copy_from_slice(&key.concat());
        let refused = world.appraise_this(&other);
        assert_eq!(refused, Err(Rejection::TdxVerification));
    }
}

#[test]
fn scalars_of_an_nvidia_report() {
    let set = DeviceSet {
        architecture: DeviceKind::Hopper,
        gpus: 1,
        switches: 0,
        mode: GpuMode::SinglePass,
    };
    let board = Board::new(set.architecture, set.gpus, set.switches, set.mode);
    let world = World::genoa().with_board(&board, set);
    let honest = GpuEvidence::decode(&world.gpu_evidence).unwrap();
    let report = &honest.devices[0].report;
    let (_, signature) = report.split_at(report.len() - 96);
    let (r, s) = signature.split_at(48);
    check(ORDER_384, (r.to_vec(), s.to_vec()), |r, s| {
        let mut other = honest.clone();
        let report = &mut other.devices[0].report;
        let at = report.len() - 96;
        report[at..].copy_from_slice(&[r, s].concat());
        let mut world = world.clone();
        world.set_gpu_evidence(other.encode());
        is_refused(&world, &world.evidence(), Rejection::GpuSignatureInvalid)
    });
}
