//! Single points: of a manifest's content, of a report's form, of the times of an answer, and of
//! the bounds of XML. Each differs from a good one in one place, and no signature stands in front.

use der::Encode as _;
use mock_tee::nvidia::Board;
use protocol::gpu_evidence::MAX_RIM_BYTES;
use sha2::{Digest as _, Sha256};

use super::super::opaque::OpaqueData;
use super::*;

/// Whether a manifest's content is read, whatever its signature.
fn is_read(document: &str, (chains, terms): &mut Judging<'_>) -> bool {
    let mut checks = list(*terms);
    Rim::read(MANIFEST, document.as_bytes(), chains, &mut checks).is_some()
}

/// The driver's manifest with one text for another, which must be there.
fn changed(text: &str, from: &str, to: &str) -> String {
    let changed = text.replacen(from, to, 1);
    assert_ne!(changed, text, "{from}");
    changed
}

/// So many values of one measurement.
fn hashes(count: usize) -> String {
    let value = "ab".repeat(48);
    let hash = |number| format!(" ns2:Hash{number}=\"{value}\"");
    (0..count).map(hash).collect()
}

#[test]
fn a_measurement_of_a_manifest_is_read_in_one_form() {
    let (rim, anchors) = simulated();
    let policy = tolerant();
    let mut chains = chains(&policy, &anchors, NOW);
    let text = String::from_utf8(rim.document).unwrap();
    // Measurement 7 is active, 8 is not.
    let (start, rest) = text.split_once("alternatives=\"1\" index=\"7\"").unwrap();
    let (_, behind) = rest.split_once("></ns0:Resource>").unwrap();
    let resource = |front: &str, values: &str| {
        let front = format!("{start}{front} name=\"m\"");
        format!("{front} type=\"Measurement\"{values}></ns0:Resource>{behind}")
    };
    let good = |count: usize| format!("alternatives=\"{count}\" index=\"7\" size=\"48\"");
    for count in [1, 2, 64] {
        assert!(
            is_read(&resource(&good(count), &hashes(count)), &mut chains),
            "{count}"
        );
    }
    for count in [0, 65] {
        assert!(
            !is_read(&resource(&good(count), &hashes(count)), &mut chains),
            "{count}"
        );
    }
    assert!(!is_read(&resource(&good(2), &hashes(1)), &mut chains));
    assert!(!is_read(&resource(&good(1), &hashes(2)), &mut chains));
    for front in [
        "alternatives=\"1\" index=\"07\" size=\"48\"",
        "alternatives=\"1\" index=\"+7\" size=\"48\"",
        "alternatives=\"1\" index=\"256\" size=\"48\"",
        "alternatives=\"1\" index=\"8\" size=\"48\"",
        "alternatives=\"01\" index=\"7\" size=\"48\"",
        "alternatives=\"\" index=\"7\" size=\"48\"",
        "alternatives=\"1\" index=\"7\" size=\"47\"",
        "alternatives=\"1\" index=\"7\" size=\"49\"",
        "alternatives=\"1\" index=\"7\"",
        "alternatives=\"1\" size=\"48\"",
        "index=\"7\" size=\"48\"",
    ] {
        assert!(
            !is_read(&resource(front, &hashes(1)), &mut chains),
            "{front}"
        );
    }
    let last = "alternatives=\"1\" index=\"255\" size=\"48\"";
    assert!(is_read(&resource(last, &hashes(1)), &mut chains));
    for values in [
        hashes(1).replace("Hash0", "Hash1"),
        hashes(1).replace("Hash0", "Hash"),
        hashes(1).replace("ns2:Hash0", "Hash0"),
        hashes(1).replacen("ab", "a", 1),
        hashes(1).replacen("ab", "ag", 1),
        hashes(1).replacen("ab", "abab", 1),
    ] {
        assert!(
            !is_read(&resource(&good(1), &values), &mut chains),
            "{values}"
        );
    }
    let upper = hashes(1).replace("ab", "AB");
    assert!(is_read(&resource(&good(1), &upper), &mut chains));
}

#[test]
fn a_manifest_has_one_meta_and_one_payload_of_measurements() {
    let (rim, anchors) = simulated();
    let policy = tolerant();
    let mut chains = chains(&policy, &anchors, NOW);
    let text = String::from_utf8(rim.document).unwrap();
    assert!(is_read(&text, &mut chains));
    for (from, to) in [
        ("active=\"True\"", "active=\"true\""),
        ("active=\"False\"", "active=\"No\""),
        ("active=\"False\" ", ""),
        ("type=\"Measurement\"", "type=\"Other\""),
        ("<ns0:Resource active", "<ns2:Resource active"),
        ("></ns0:Resource>", "> </ns0:Resource>"),
        ("></ns0:Resource>", "><ns0:Meta/></ns0:Resource>"),
        ("<ns0:Payload>", "<ns0:Payload>text"),
        ("<ns0:Payload>", "<ns0:Payload/><ns0:Payload>"),
        ("<ns0:Payload>", "<ns0:Meta/><ns0:Payload>"),
        ("<ns0:Payload>", "text<ns0:Payload>"),
        (" colloquialVersion=\"", " other=\""),
        ("edition=\"GPU\" product=\"", "edition=\"GPU\" other=\""),
    ] {
        let other = changed(&text, from, to);
        // A part that ends under another name is no XML, and no content either.
        let other = other.replacen("<ns2:Resource", "<ns2:R", usize::from(to.is_empty()));
        assert!(!is_read(&other, &mut chains), "{from} {to}");
    }
    let root = text.replace("SoftwareIdentity", "OtherIdentity");
    assert!(!is_read(&root, &mut chains));
    let namespace = changed(
        &text,
        "<SoftwareIdentity xmlns=\"http:",
        "<SoftwareIdentity xmlns=\"x:",
    );
    assert!(!is_read(&namespace, &mut chains));
    // What is not active may be of any size.
    let inactive = text.split_once("index=\"8\"").unwrap();
    let other = inactive.1.replacen("size=\"48\"", "size=\"1\"", 1);
    assert!(is_read(
        &format!("{}index=\"8\"{other}", inactive.0),
        &mut chains
    ));
}

#[test]
fn xml_at_its_bounds_is_read() {
    let deep = ["<a>".repeat(8), "</a>".repeat(8)].concat();
    let wide = ["<a>", &"<b/>".repeat(2047), "</a>"].concat();
    let attributes: String = (0..128).map(|number| format!(" a{number}=\"\"")).collect();
    let scopes: String = (0..16)
        .map(|number| format!(" xmlns:a{number}=\"u\""))
        .collect();
    for text in [
        deep,
        wide,
        format!("<a{attributes}/>"),
        format!("<a{scopes}/>"),
        format!("<a{scopes}><b xmlns:a0=\"v\"/></a>"),
    ] {
        assert!(xml::parse(text.as_bytes()).is_some(), "{text:.40}");
    }
    // The default counts as one.
    let one_more = format!("<a{scopes}><b xmlns=\"v\"/></a>");
    assert!(xml::parse(one_more.as_bytes()).is_none());
}

/// Where the record of measurements begins in a report, and the length of one of them.
const RECORD: usize = 45;
const BLOCK: usize = 55;
const BLOCKS: usize = 64;

fn simulated_report() -> (Board, Vec<u8>) {
    let board = Board::new(DeviceKind::Hopper, 1, 0, GpuMode::SinglePass);
    let evidence = board.evidence(&BootId([1; 32]), 0).unwrap();
    let report = evidence.devices[0].report.clone();
    (board, report)
}

#[test]
fn every_byte_of_a_reports_frame_has_one_value() {
    let (_, report) = simulated_report();
    let is_read = |report: &[u8]| SpdmReport::parse(report).is_some();
    assert!(is_read(&report));
    let second = RECORD + BLOCK;
    let opaque = RECORD + BLOCKS * BLOCK + 32;
    // Request, slot, response, count and length; then all of a block but its value.
    let frame = (0..4).chain(36..RECORD).chain(second + 1..second + 7);
    for at in frame.chain([opaque, opaque + 1]) {
        for change in [1, 0x80] {
            let mut other = report.clone();
            other[at] ^= change;
            assert!(!is_read(&other), "byte {at}");
        }
    }
    // A block's number is its own, and not 0.
    for number in [0, 1, 3] {
        let mut other = report.clone();
        other[second] = number;
        assert!(!is_read(&other), "{number}");
    }
    let mut other = report.clone();
    other[second] = 200;
    assert!(is_read(&other));
}

#[test]
fn nothing_lies_behind_the_last_block_nor_behind_the_devices_own_words() {
    let (_, report) = simulated_report();
    let end = RECORD + BLOCKS * BLOCK;
    let length = u16::try_from(end - RECORD).unwrap();
    let mut longer = report.clone();
    longer.insert(end, 0);
    longer[42..44].copy_from_slice(&(length + 1).to_le_bytes());
    assert!(SpdmReport::parse(&longer).is_none());
    let mut longer = report.clone();
    longer.insert(report.len() - 96, 0);
    assert!(SpdmReport::parse(&longer).is_none());
    // One block less, and its number.
    let mut shorter = report.clone();
    shorter.drain(end - BLOCK..end);
    let less = u16::try_from(end - RECORD - BLOCK).unwrap();
    shorter[42..44].copy_from_slice(&less.to_le_bytes());
    assert!(SpdmReport::parse(&shorter).is_none());
    shorter[41] -= 1;
    let parsed = SpdmReport::parse(&shorter).unwrap();
    assert_eq!((parsed.value(62).is_some(), parsed.value(63)), (true, None));
    assert_eq!(parsed.value(255), None);
}

#[test]
fn a_report_that_was_signed_again_holds_where_nobody_reads_it_and_nowhere_else() {
    let (board, report) = simulated_report();
    let evidence = board.evidence(&BootId([1; 32]), 0).unwrap();
    let (policy, anchors) = (tolerant(), simulated().1);
    let mut chains = chains(&policy, &anchors, NOW);
    let nonce = SpdmReport::parse(&report).unwrap().nonce;
    let mut judge = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut device = evidence.devices[0].clone();
        change(&mut device.report);
        device.report = board.signed_again(0, &device.report).unwrap().unwrap();
        verify_device(&device, nonce, &mut chains).err()
    };
    assert_eq!(judge(&|_| {}), None);
    assert_eq!(judge(&|report| report[4] ^= 1), Some(Rejection::GpuNonce));
    assert_eq!(judge(&|report| report[35] ^= 1), Some(Rejection::GpuNonce));
    // A measured value is the manifests' to judge; the responder's nonce is nobody's.
    let end = RECORD + BLOCKS * BLOCK;
    for at in [RECORD + 7, end - 1, end, end + 31] {
        assert_eq!(judge(&|report| report[at] ^= 1), None, "{at}");
    }
    // The firmware that the leaf certifies is the one that reports.
    let fwid = field(&report, 20);
    for at in [fwid.start, fwid.end - 1] {
        let found = judge(&|report| report[at] ^= 1);
        assert_eq!(found, Some(Rejection::GpuFwid), "{at}");
    }
    let without = judge(&|report| remove(report, 20));
    assert_eq!(without, Some(Rejection::GpuFwid));
}

/// Where the value of one of a device's own fields lies in its report.
fn field(report: &[u8], wanted: u16) -> std::ops::Range<usize> {
    let mut at = RECORD + BLOCKS * BLOCK + 34;
    loop {
        let number = |at: usize| u16::from_le_bytes([report[at], report[at + 1]]);
        let (kind, length) = (number(at), usize::from(number(at + 2)));
        if kind == wanted {
            return at + 4..at + 4 + length;
        }
        at += 4 + length;
    }
}

/// Takes a field out, and out of the length.
fn remove(report: &mut Vec<u8>, kind: u16) {
    let value = field(report, kind);
    let gone = u16::try_from(value.len() + 4).unwrap();
    report.drain(value.start - 4..value.end);
    let at = RECORD + BLOCKS * BLOCK + 32;
    let length = u16::from_le_bytes([report[at], report[at + 1]]) - gone;
    report[at..at + 2].copy_from_slice(&length.to_le_bytes());
}

/// A GPU's own words as type and value, encoded.
fn words(fields: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, value) in fields {
        out.extend(kind.to_le_bytes());
        out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        out.extend(value);
    }
    out
}

/// What a GPU says of its mode: links, version and feature.
fn mode_of(protected: u8, version: Option<u16>, feature: Option<u16>) -> Option<GpuMode> {
    let mut fields = vec![
        (3, b"590.12".to_vec()),
        (6, vec![0, 0xa5, 0, 0x96, 1, 9, 9, 9]),
        (11, vec![0x55]),
        (15, b"885".to_vec()),
        (17, b"g520".to_vec()),
        (18, b"0200".to_vec()),
        (21, vec![protected]),
    ];
    let number = |kind: u16, value: Option<u16>| value.map(|v| (kind, v.to_le_bytes().to_vec()));
    fields.extend(number(34, version));
    fields.extend(number(36, feature));
    let data = OpaqueData::parse(&words(&fields), DeviceKind::Hopper)?;
    assert_eq!(data.firmware.to_string(), "96.00.A5.00.01");
    assert_eq!(data.fwid, None);
    let ids = RimIds::of(DeviceKind::Hopper, &data);
    assert_eq!(ids.firmware, "NV_GPU_VBIOS_G520_0200_885_9600A50001");
    match data.device {
        super::super::opaque::DeviceFields::Gpu(gpu) => Some(gpu.mode),
        super::super::opaque::DeviceFields::Switch { .. } => panic!("a GPU"),
    }
}

#[test]
fn a_mode_is_said_in_one_of_two_ways_and_both_agree() {
    let (on, off) = (0xaa, 0x55);
    for (protected, version, feature, mode) in [
        (off, None, None, Some(GpuMode::SinglePass)),
        (on, None, None, Some(GpuMode::ProtectedPcie)),
        (off, Some(0), None, Some(GpuMode::SinglePass)),
        (off, Some(1), Some(0), Some(GpuMode::MultiPass)),
        (off, Some(1), Some(1), Some(GpuMode::SinglePass)),
        (on, Some(1), Some(2), Some(GpuMode::ProtectedPcie)),
        (on, Some(1), Some(0), None),
        (on, Some(1), Some(1), None),
        (off, Some(1), Some(2), None),
        (off, Some(1), Some(3), None),
        (off, Some(1), None, None),
        (off, Some(2), Some(1), None),
        (off, Some(0), Some(1), None),
        (off, None, Some(1), None),
        (0, None, None, None),
        (0xab, None, None, None),
    ] {
        let found = mode_of(protected, version, feature);
        assert_eq!(found, mode, "{protected:#x} {version:?} {feature:?}");
    }
}

#[test]
fn an_answer_holds_from_its_making_to_its_next_update_or_age() {
    let board = Board::new(DeviceKind::Hopper, 1, 0, GpuMode::SinglePass);
    // Made an hour ago; its next update is named.
    let stapled = board.endorsements(NOW.0, None).unwrap();
    let evidence = board.evidence(&BootId([1; 32]), 0).unwrap();
    let chain = &evidence.devices[0].chain;
    let [subject, issuer] = [1, 2].map(|place| ParsedCertificate::parse(&chain[place]).unwrap());
    let anchors = simulated().1;
    let check = |rule, nonce, at: u64| {
        let one = [stapled.ocsp[0].clone()];
        let mut policy = AppraisalPolicy::strict();
        policy.nvidia.ocsp = rule;
        let mut checks = Checks::by(&policy, &anchors, UnixTime(at));
        let answers = Answers::parse(ANSWERS, &one, nonce, &mut checks);
        answers.check(&subject, &issuer, checks.terms, &mut Signatures::default())
    };
    let made = NOW.0 - 3_600;
    let day = OcspRule::AgeSeconds(86_400);
    assert_eq!(check(day, None, made - 1), Err(Rejection::OcspNotYetValid));
    assert!(check(day, None, made).is_ok());
    let hour = OcspRule::AgeSeconds(3_600);
    assert_eq!(check(hour, None, NOW.0), Ok(Some(NOW)));
    assert_eq!(check(hour, None, NOW.0 + 1), Err(Rejection::OcspTooOld));
    // What it says of its next update is the end, whatever the age that is taken.
    let long = OcspRule::AgeSeconds(u32::MAX);
    let end = check(long, None, NOW.0).unwrap().unwrap().0;
    assert!(check(long, None, end - 1).is_ok());
    assert_eq!(check(long, None, end), Err(Rejection::OcspExpired));
    // Without a nonce in it, none that was asked for is in it, nor is none.
    let nonce = Some(protocol::digest::OcspNonce([1; 32]));
    for asked in [None, nonce] {
        assert_eq!(
            check(OcspRule::Nonce, asked, NOW.0),
            Err(Rejection::OcspNonce)
        );
    }
}

/// SHA-384's name but for its last byte.
const SHA: [u8; 8] = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];

/// What an answer says of the certificate that it is about, and of that one's issuer, where
/// something was changed in it from SHA-384's name on.
fn said(
    change: impl FnOnce(&mut Vec<u8>, usize, &ParsedCertificate<'_>),
) -> Result<Option<UnixTime>, Rejection> {
    let board = Board::new(DeviceKind::Hopper, 1, 0, GpuMode::SinglePass);
    let mut stapled = board.endorsements(NOW.0, None).unwrap();
    let evidence = board.evidence(&BootId([1; 32]), 0).unwrap();
    let chain = &evidence.devices[0].chain;
    let [subject, issuer] = [1, 2].map(|place| ParsedCertificate::parse(&chain[place]).unwrap());
    let (policy, anchors) = (AppraisalPolicy::strict(), simulated().1);
    stapled.ocsp.truncate(1);
    let answer = &mut stapled.ocsp[0];
    let at = answer.windows(8).position(|bytes| bytes == SHA).unwrap();
    change(answer, at, &issuer);
    let mut checks = Checks::by(&policy, &anchors, NOW);
    let answers = Answers::parse(ANSWERS, &stapled.ocsp, None, &mut checks);
    answers.check(&subject, &issuer, checks.terms, &mut Signatures::default())
}

#[test]
fn an_answer_that_names_certificates_by_an_unknown_digest_is_about_none() {
    let named_by = |digest| said(|answer, at, _| answer[at + 8] = digest);
    assert!(matches!(named_by(2), Ok(Some(_))));
    // SHA-256, of which these are no digests; SHA-512; nobody's.
    for other in [1, 3, 99] {
        assert_eq!(named_by(other), Ok(None), "{other}");
    }
}

#[test]
fn an_answer_may_name_certificates_by_sha_256() {
    let named = |turn: bool| {
        said(|answer, at, issuer| {
            let tbs = &issuer.parsed.tbs_certificate;
            let name = Sha256::digest(tbs.subject.to_der().unwrap());
            let key = tbs.subject_public_key_info.subject_public_key.raw_bytes();
            let mut digests = [name, Sha256::digest(key)];
            if turn {
                digests.reverse();
            }
            // As long as with SHA-384: the difference are parameters, which nobody reads.
            let algorithm = [&[0x30, 43, 6, 9][..], &SHA, &[1, 4, 30], &[0; 30]].concat();
            let digests = digests.map(|digest| [&[4, 32][..], &digest].concat());
            let with = [algorithm, digests.concat()].concat();
            answer.splice(at - 4..at - 4 + with.len(), with);
        })
    };
    // It is about the certificate, and not as it was signed.
    assert_eq!(named(false), Err(Rejection::OcspSignature));
    assert_eq!(named(true), Ok(None));
}

#[test]
fn a_manifest_of_the_greatest_length_is_read_and_no_longer_one() {
    let (rim, anchors) = simulated();
    let policy = tolerant();
    let mut chains = chains(&policy, &anchors, NOW);
    // Behind the root lies white space, which no signature covers.
    let mut document = rim.document;
    document.resize(MAX_RIM_BYTES, b'\n');
    assert!(verify_with(&document, &mut chains).is_ok());
    document.push(b'\n');
    let refused = verify_with(&document, &mut chains).err();
    assert_eq!(refused, Some(Rejection::RimXml));
}
