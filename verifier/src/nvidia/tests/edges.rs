//! Edges of ECDSA P-384, as others' collections of them have: scalars at the ends of their range,
//! sums at the ends of the group, encodings that mean the same, keys that are no points. Keys and
//! scalars were computed for this file by a few lines of Python over big integers.

use der::asn1::{Any, ObjectIdentifier};
use mock_tee::nvidia::Board;
use p384::ecdsa::VerifyingKey;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::super::ecdsa::Signatures;
use super::super::*;
use crate::certificate::ParsedCertificate;

const MESSAGE: &[u8] = b"edges of ECDSA P-384";
const ORDER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffff\
                     c7634d81f4372ddf581a0db248b0a77aecec196accc52973";
/// The order and one; and two, which is the least that is an x of the curve.
const ORDER_AND_1: &str = "ffffffffffffffffffffffffffffffffffffffffffffffff\
                           c7634d81f4372ddf581a0db248b0a77aecec196accc52974";
const ORDER_AND_2: &str = "ffffffffffffffffffffffffffffffffffffffffffffffff\
                           c7634d81f4372ddf581a0db248b0a77aecec196accc52975";
const ORDER_LESS_1: &str = "ffffffffffffffffffffffffffffffffffffffffffffffff\
                            c7634d81f4372ddf581a0db248b0a77aecec196accc52972";
/// The point that verification reaches has the x of [`ORDER_AND_2`], so r is 2; s is 7.
const WRAPPED: [&str; 2] = [
    "8fa3b024bfb0eb443d34a7edecad9e56397701592dcda65b\
     c8bf89389b04b1a284d668550afe8ceaa353e3dcd4d50255",
    "466ca6a8437de825d5b4255cc43d683b79bdf8da17db9b5d\
     8f67e074790f856d367e6bfcebc8ec62524c9f11fc7ce167",
];
/// With r 5 and any s, the two halves of the sum cancel.
const CANCELS: [&str; 2] = [
    "5e96de5b1d774d9aa7b0256f9a486ae5e92edff4bc43133d\
     591666a73f2605bdf38840b47531996192dadb8aa7f036ea",
    "01d7807b5817228007be6eba05d95a35a6b4ca2f449a2b54\
     89d7cfdc744f4efa46f4e767ee56d35bb2dca47da456273c",
];
/// The two halves of the sum are one and the same point.
const DOUBLES: [&str; 4] = [
    "7a98a4811b7606a99fc36db220600dd32404a914175bd153\
     ff2d52e68f1fbce4e5eaed28f1e522f75393dac5404ba90e",
    "817946a05d732e250d49617ceaaf82fad7ed702b5363e819\
     41c4b1fb19c700f5d1537230be81d01a44432977a83d858a",
    "e86b995e350e4d312a95a6b7d5d8cdcdb4682f588800a1cd\
     6c972e1dcb2a5ac38d90046951b03ccb3b179a89fda88b1b",
    "1ed7e657b1495cce477462c1e0e4a61878a86384f752038a\
     5e11beb6a65fe96efcf1bfcb5a9eec0d0f56bc1be23f9c78",
];
/// r is 2, s is 1.
const LEAST: [&str; 2] = [
    "1eecc12b99120e64bc971b8059d86be3b283a3cf4565c61d\
     b8f6e2334e494ab84d57cc94ee0c0389219a6796385c0211",
    "aed2053f494803afe054c096fb0be71685f88026f85395ff\
     b500ae55567b8a3d2805a17c4eaf93bdc6e14d802903340c",
];
/// r is 2, s is the order less one.
const GREATEST: [&str; 2] = [
    "9fcf8cb77e09880a597d6dda7e0e1d53cbc3e8138645e9f1\
     a5703df5ab2e693790b6d6e18f4a6a1ba0fc128396c80bdf",
    "2577932e027aa3772c9bcb0ef3610e01352fa5645dd5c2bf\
     d81a2ad3bbdf595765096789b29593bf15f9e3e6e374c5a6",
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn key([x, y]: [&str; 2]) -> VerifyingKey {
    let point = [vec![4], bytes(x), bytes(y)].concat();
    VerifyingKey::from_sec1_bytes(&point).unwrap()
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 0x80, "short form");
    [&[tag, length], content].concat()
}

/// An INTEGER in the one way of DER.
fn integer(value: &[u8]) -> Vec<u8> {
    let start = value.iter().position(|byte| *byte != 0);
    let value = &value[start.unwrap_or(value.len() - 1)..];
    let sign: &[u8] = if value[0] >= 0x80 { &[0] } else { &[] };
    tlv(2, &[sign, value].concat())
}

fn signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    tlv(0x30, &[integer(r), integer(s)].concat())
}

fn verifies(key: &VerifyingKey, der: &[u8]) -> bool {
    let algorithm = AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"),
        parameters: None,
    };
    let mut signatures = Signatures::default();
    let first = signatures.verifies(key, &algorithm, MESSAGE, Some(der));
    // What is known of it already is the same.
    let again = signatures.verifies(key, &algorithm, MESSAGE, Some(der));
    assert_eq!(first, again);
    first.unwrap()
}

#[test]
fn scalars_at_the_ends_of_their_range_verify_and_those_beyond_do_not() {
    let [x, y, r, s] = DOUBLES;
    assert!(verifies(&key([x, y]), &signature(&bytes(r), &bytes(s))));
    assert!(verifies(&key(LEAST), &signature(&[2], &[1])));
    let most = bytes(ORDER_LESS_1);
    assert!(verifies(&key(GREATEST), &signature(&[2], &most)));
    assert!(verifies(&key(WRAPPED), &signature(&[2], &[7])));
    // The same x, not reduced.
    let x = bytes(ORDER_AND_2);
    assert!(!verifies(&key(WRAPPED), &signature(&x, &[7])));
    for name in [LEAST, GREATEST, WRAPPED, CANCELS] {
        let key = key(name);
        let beyond = [vec![0], bytes(ORDER), bytes(ORDER_AND_1), vec![0xff; 48]];
        for outside in &beyond {
            for inside in &[vec![1], vec![2], vec![7]] {
                assert!(!verifies(&key, &signature(outside, inside)), "{name:?}");
                assert!(!verifies(&key, &signature(inside, outside)), "{name:?}");
            }
            for other in &beyond {
                assert!(!verifies(&key, &signature(outside, other)), "{name:?}");
            }
        }
        // 49 bytes.
        let long = [vec![1], bytes(ORDER_AND_2)].concat();
        assert!(!verifies(&key, &signature(&long, &[7])), "{name:?}");
    }
}

#[test]
fn a_sum_that_is_no_point_of_the_plane_verifies_nothing() {
    for s in [vec![1], vec![9], bytes(ORDER_LESS_1)] {
        assert!(!verifies(&key(CANCELS), &signature(&[5], &s)));
    }
}

#[test]
fn the_mirrored_scalar_is_another_signature_of_the_same_and_changes_no_verdict() {
    // Nothing here is named by a signature's bytes: what is signed is.
    let [x, y, r, s] = DOUBLES;
    let (order, s) = (bytes(ORDER), bytes(s));
    let mut mirrored = vec![0; 48];
    let mut borrow = 0;
    for at in (0..48).rev() {
        let difference = i16::from(order[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(difference < 0);
        mirrored[at] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    assert!(verifies(&key([x, y]), &signature(&bytes(r), &mirrored)));
}

#[test]
fn a_signature_in_another_encoding_than_ders_does_not_verify() {
    let key = key(LEAST);
    let (r, s) = (tlv(2, &[2]), tlv(2, &[1]));
    let good = tlv(0x30, &[r.clone(), s.clone()].concat());
    assert!(verifies(&key, &good));
    let body = &good[2..];
    let (padded_r, padded_s) = (tlv(2, &[0, 2]), tlv(2, &[0, 1]));
    for (what, other) in [
        ("nothing", Vec::new()),
        ("a byte behind", [good.as_slice(), &[0]].concat()),
        ("a byte behind, within", tlv(0x30, &[body, &[0]].concat())),
        ("an element behind", tlv(0x30, &[body, &[5, 0]].concat())),
        ("only r", tlv(0x30, &r)),
        ("r padded", tlv(0x30, &[padded_r, s.clone()].concat())),
        ("s padded", tlv(0x30, &[r.clone(), padded_s].concat())),
        ("an empty r", tlv(0x30, &[tlv(2, &[]), s.clone()].concat())),
        (
            "a negative s",
            tlv(0x30, &[r.clone(), tlv(2, &[0x81])].concat()),
        ),
        ("a set", tlv(0x31, body)),
        ("octets for r", tlv(0x30, &[tlv(4, &[2]), s].concat())),
        ("a long length", [&[0x30, 0x81, 6], body].concat()),
        (
            "a length without end",
            [&[0x30, 0x80], body, &[0, 0]].concat(),
        ),
        ("a length too great", [&[0x30, 7], body].concat()),
        ("a length too small", [&[0x30, 5], body].concat()),
        ("r of four bytes", [&[0x30, 6, 2, 4], &body[2..]].concat()),
        (
            "two raw numbers",
            [vec![0; 47], vec![2], vec![0; 47], vec![1]].concat(),
        ),
    ] {
        assert!(!verifies(&key, &other), "{what}");
    }
    for at in 0..good.len() {
        assert!(!verifies(&key, &good[..at]), "{at} bytes");
    }
}

#[test]
fn a_key_that_is_no_point_of_the_curve_is_none() {
    let board = Board::new(DeviceKind::Hopper, 1, 0, GpuMode::SinglePass);
    let evidence = board.evidence(&BootId([1; 32]), 0).unwrap();
    let der = &evidence.devices[0].chain[1];
    let known = ParsedCertificate::parse(der).unwrap().p384_key().unwrap();
    let point = known.to_sec1_point(false);
    let point: &[u8] = point.as_ref();
    let at = der.windows(97).position(|window| window == point).unwrap();
    let prime = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe\
                 ffffffff0000000000000000ffffffff";
    let (x, y) = point[1..].split_at(48);
    let four = [vec![0; 47], vec![4]].concat();
    for (what, other) in [
        ("y of another point", [&[4], x, x].concat()),
        (
            "no point has this x",
            [vec![4], four.clone(), four].concat(),
        ),
        (
            "x of the prime",
            [vec![4], bytes(prime), y.to_vec()].concat(),
        ),
        ("zeros", [vec![4], vec![0; 96]].concat()),
        ("infinity, padded", vec![0; 97]),
        ("hybrid, even", [&[6], x, y].concat()),
        ("hybrid, odd", [&[7], x, y].concat()),
    ] {
        let mut changed = der.clone();
        changed[at..at + 97].copy_from_slice(&other);
        let parsed = ParsedCertificate::parse(&changed).unwrap();
        let refused = parsed.p384_key().err();
        assert_eq!(refused, Some(Rejection::CertificateAlgorithm), "{what}");
    }
}

#[test]
fn a_good_signature_is_refused_under_another_algorithm_or_with_parameters() {
    let (key, der) = (key(LEAST), signature(&[2], &[1]));
    let judge = |oid: &str, parameters| {
        let oid = ObjectIdentifier::new_unwrap(oid);
        let algorithm = AlgorithmIdentifierOwned { oid, parameters };
        Signatures::default().verifies(&key, &algorithm, MESSAGE, Some(&der))
    };
    let sha384 = "1.2.840.10045.4.3.3";
    assert_eq!(judge(sha384, None), Ok(true));
    let refused = Err(Rejection::CertificateAlgorithm);
    assert_eq!(judge(sha384, Some(Any::null())), refused);
    assert_eq!(judge("1.2.840.10045.4.3.2", None), refused);
}
