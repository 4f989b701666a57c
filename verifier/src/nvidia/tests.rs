//! Genuine manifests, the same with changes, and hostile input for each reader.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod comparison;
mod edges;
mod no_device;
mod points;
mod signatures;
mod texts;

use mock_tee::nvidia::Board;
use protocol::gpu_evidence::{DeviceEvidence, NamedRim};

use super::canonical::canonical;
use super::ecdsa::Signatures;
use super::golden::RimIds;
use super::rim::Rim;
use super::signature::XmlSignature;
use super::spdm::SpdmReport;
use super::xml::Child;
use super::*;
use crate::anchors::{AmdRoots, CertificateDigest, NvidiaRoots};
use crate::certificate::ParsedCertificate;
use crate::checks::Terms;
use crate::checks::tests::strict;
use crate::policy::Weakness;

macro_rules! manifest {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/nvidia/manifests/", $name))
    };
}

/// 2024-06-01, 2025-06-01, 2026-11-22.
const EARLY: UnixTime = UnixTime(1_717_200_000);
const LATER: UnixTime = UnixTime(1_748_736_000);
const NOW: UnixTime = UnixTime(1_795_305_600);

/// Document, a time at which its signer was valid, version, active measurements.
const GENUINE: [(&[u8], UnixTime, &str, usize); 7] = [
    (
        manifest!("1010_0200_882_96005E0001_PROD.swidtag"),
        EARLY,
        "96.00.5E.00.01",
        12,
    ),
    (
        manifest!("1010_0200_882_96005E0003_PROD.swidtag"),
        EARLY,
        "96.00.5E.00.03",
        12,
    ),
    (
        manifest!("1010_0205_862_96005E0002_PROD.swidtag"),
        EARLY,
        "96.00.5E.00.02",
        12,
    ),
    (
        manifest!("1010_0210_886_9600740011_PROD.swidtag"),
        EARLY,
        "96.00.74.00.11",
        12,
    ),
    (
        manifest!("g520_0200_885_9600740001_PROD.swidtag"),
        EARLY,
        "96.00.74.00.01",
        12,
    ),
    (
        manifest!("g520_0213_881_96006D0007_PROD.swidtag"),
        EARLY,
        "96.00.6D.00.07",
        12,
    ),
    (
        manifest!("NV_GPU_DRIVER_GH100_550.144.03.xml"),
        LATER,
        "550.144.03",
        21,
    ),
];
const DRIVER: &[u8] = GENUINE[6].0;
const BAD_SIGNATURE: &[u8] = manifest!("bad/incorrect_signature_driver_rim.xml");
const BAD_CHAIN: &[u8] = manifest!("bad/incorrect_cert_chain_driver_rim.xml");
const EXPIRED: &[u8] = manifest!("bad/NV_GPU_DRIVER_GH100_570.124.03_expired.xml");
const CHANGED: &[u8] = manifest!("bad/NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml");
const SINGLE: &[u8] = include_bytes!("../../../tests/fixtures/nvidia/evidence/h100-550.90.07.bin");

const MANIFEST: (Subject, Subject) = (Subject::of("manifest"), Subject::of("manifest-chain"));
const GPU: Place = Place {
    kind: DeviceKind::Hopper,
    number: 0,
};

/// Without answers about revocation, none of which is public.
fn tolerant() -> AppraisalPolicy {
    let mut policy = AppraisalPolicy::strict();
    policy.tolerated.push(Weakness::NvidiaNoRevocationAnswers);
    policy
}

/// Chains, and by what they are judged.
type Judging<'v> = (ChainVerifier<'v>, Terms<'v>);

fn list(terms: Terms<'_>) -> Checks<'_> {
    Checks::by(terms.policy, terms.anchors, terms.at)
}

fn chains<'v>(policy: &'v AppraisalPolicy, anchors: &'v TrustAnchors, at: UnixTime) -> Judging<'v> {
    let mut checks = Checks::by(policy, anchors, at);
    let answers = Answers::parse(ANSWERS, &[], None, &mut checks);
    (ChainVerifier::new(answers), checks.terms)
}

fn verify(document: &[u8], at: UnixTime) -> Result<Rim, Rejection> {
    verify_with(
        document,
        &mut chains(&tolerant(), &TrustAnchors::PRODUCTION, at),
    )
}

fn verify_with(document: &[u8], (chains, terms): &mut Judging<'_>) -> Result<Rim, Rejection> {
    let mut checks = list(*terms);
    let (of, chain) = MANIFEST;
    rim::plan(of, chain, &mut checks);
    let rim = Rim::read(MANIFEST, document, chains, &mut checks);
    checks.outcome().map(|()| rim.unwrap())
}

fn verify_device(
    device: &DeviceEvidence,
    nonce: GpuNonce,
    (chains, terms): &mut Judging<'_>,
) -> Result<(), Rejection> {
    let mut checks = list(*terms);
    report::plan(GPU, &mut checks);
    ReadDevice::read(GPU, device, Some(nonce), chains, &mut checks);
    checks.outcome()
}

/// How the form of one answer is refused, if it is.
fn form_of(answer: &[u8]) -> Result<(), Rejection> {
    let mut checks = strict();
    checks.plan(ANSWERS, ocsp::PARSE);
    Answers::parse(ANSWERS, &[answer.to_vec()], None, &mut checks);
    checks.outcome()
}

#[test]
fn genuine_manifests_verify_while_their_signers_are_valid() {
    for (document, at, version, active) in GENUINE {
        let rim = verify(document, at).unwrap();
        assert_eq!((rim.version.as_str(), rim.active.len()), (version, active));
        assert!(rim.is_for(DeviceKind::Hopper) && !rim.is_for(DeviceKind::Ls10));
    }
    let driver = verify(DRIVER, LATER).unwrap();
    let indices: Vec<_> = driver.active.keys().copied().collect();
    assert_eq!(indices, [7].into_iter().chain(21..=40).collect::<Vec<u8>>());
}

#[test]
fn genuine_manifests_are_refused_when_their_signers_are_not_valid_any_more() {
    for (document, ..) in GENUINE.iter().take(6) {
        assert_eq!(
            verify(document, NOW).err(),
            Some(Rejection::CertificateExpired)
        );
    }
    assert!(verify(DRIVER, NOW).is_ok());
    let before = verify(DRIVER, EARLY).err();
    assert_eq!(before, Some(Rejection::CertificateNotYetValid));
}

#[test]
fn bad_manifests_are_refused_for_their_own_reason() {
    // 2025-01-01 12:00, the only day of that signer.
    let its_day = UnixTime(1_735_732_800);
    for (document, at, reason) in [
        (BAD_SIGNATURE, LATER, Rejection::RimSignature),
        (BAD_CHAIN, LATER, Rejection::NvidiaChainLength),
        (EXPIRED, NOW, Rejection::CertificateExpired),
        (EXPIRED, its_day, Rejection::RimDigest),
        (CHANGED, NOW, Rejection::RimDigest),
    ] {
        assert_eq!(verify(document, at).err(), Some(reason));
    }
}

#[test]
fn indices_of_manifests_count_from_zero_and_those_of_reports_from_one() {
    // Of another driver, but most of what it measures did not change.
    let evidence = GpuEvidence::decode(SINGLE).unwrap();
    let report = SpdmReport::parse(&evidence.devices[0].report).unwrap();
    let driver = verify(DRIVER, LATER).unwrap();
    let matching = |shift: u8| {
        let fits = |(index, accepted): &(&u8, &Vec<[u8; 48]>)| {
            let measured = report.value(**index + shift);
            measured.is_some_and(|value| accepted.contains(value))
        };
        driver.active.iter().filter(fits).count()
    };
    assert_eq!(matching(0), 16);
    assert!(matching(1) < 10);
}

#[test]
fn the_canonical_form_is_that_of_the_recommendation() {
    // Examples 3.3 of Canonical XML, as far as this reader takes them.
    let text = br#"<doc>
   <e1   />
   <e2   ></e2>
   <e3   name = "elem3"   id="elem3"   />
</doc>"#;
    // No space around `=` is read.
    assert!(xml::parse(text).is_none());
    let text = br#"<doc>
   <e3   name="elem3"   id="elem3"   />
   <e5 a:attr="out" b:attr="sorted" attr2="all" attr="I'm"
      xmlns:b="http://www.ietf.org"
      xmlns:a="http://www.w3.org"
      xmlns="http://example.org"/>
   <e6 xmlns="" xmlns:a="http://www.w3.org">
   </e6>
</doc>"#;
    assert!(
        xml::parse(text).is_none(),
        "an undeclared default is not read"
    );
    let text = br#"<doc>
   <e3   name="elem3"   id="elem3"   />
   <e5 a:attr="out" b:attr="sorted" attr2="all" attr="I'm"
      xmlns:b="http://www.ietf.org"
      xmlns:a="http://www.w3.org"
      xmlns="http://example.org"/>
   <e6 xmlns:a="http://www.w3.org"><e7 xmlns="http://www.ietf.org"
   ><e8 xmlns="http://www.ietf.org" a:b="c"/></e7></e6>
</doc>
"#;
    let root = xml::parse(text).unwrap();
    let expected = [
        "<doc>\n   <e3 id=\"elem3\" name=\"elem3\"></e3>\n   <e5 xmlns=\"http://example.org\"",
        " xmlns:a=\"http://www.w3.org\" xmlns:b=\"http://www.ietf.org\" attr=\"I'm\" attr2=\"all\"",
        " b:attr=\"sorted\" a:attr=\"out\"></e5>\n   <e6 xmlns:a=\"http://www.w3.org\">",
        "<e7 xmlns=\"http://www.ietf.org\"><e8 a:b=\"c\"></e8></e7></e6>\n</doc>",
    ];
    assert_eq!(canonical(&root, None), expected.concat());
    // A part carries what is in scope there.
    let Child::Element(e6) = &root.children[5] else {
        panic!("an element");
    };
    let Child::Element(e7) = &e6.children[0] else {
        panic!("an element");
    };
    let part = canonical(e7, None);
    let start = r#"<e7 xmlns="http://www.ietf.org" xmlns:a="http://www.w3.org"><e8"#;
    assert!(part.starts_with(start), "{part}");
}

#[test]
fn what_is_not_needed_of_xml_is_refused() {
    for text in [
        "",
        "<a>",
        "<a></b>",
        "<a></a b>",
        "<a/><b/>",
        "<a/>text",
        "text<a/>",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
        "<a>&amp;</a>",
        "<a>&#65;</a>",
        "<a><!-- --></a>",
        "<a><?b?></a>",
        "<a><![CDATA[b]]></a>",
        "<a>]]></a>",
        "<?xml version=\"1.1\"?><a/>",
        "<a b=\"c\" b=\"d\"/>",
        "<a xmlns:b=\"u\" xmlns:c=\"u\" b:d=\"\" c:d=\"\"/>",
        "<a xmlns:b=\"u\" xmlns:b=\"v\"/>",
        "<a xmlns:b=\"\"/>",
        "<a xmlns:=\"u\"/>",
        "<a xmlns:xml=\"u\"/>",
        "<a xml:lang=\"en\"/>",
        "<b:a/>",
        "<a b:c=\"\"/>",
        "<a b=c/>",
        "<a b/>",
        "<a b=\"<\"/>",
        "<a b=\"c\"d=\"e\"/>",
        "<a b='\"'/>",
        "<1a/>",
        "<a:b:c xmlns:a=\"u\"/>",
        "< a/>",
        "<a\r/>",
        "<a>\u{e9}</a>",
        "<a>\0</a>",
    ] {
        assert!(xml::parse(text.as_bytes()).is_none(), "{text:?}");
    }
    for text in [
        "<a/>",
        " <a></a>\n",
        "<?xml version=\"1.0\"?>\n<a b='c'>d<e/></a>",
    ] {
        assert!(xml::parse(text.as_bytes()).is_some(), "{text:?}");
    }
}

#[test]
fn bombs_are_refused_within_their_bounds() {
    let deep = ["<a>".repeat(9), "</a>".repeat(9)].concat();
    let wide = ["<a>", &"<b/>".repeat(2048), "</a>"].concat();
    let attributes: String = (0..129).map(|number| format!(" a{number}=\"\"")).collect();
    let scopes: String = (0..17)
        .map(|number| format!(" xmlns:a{number}=\"u\""))
        .collect();
    for text in [
        deep,
        wide,
        format!("<a{attributes}/>"),
        format!("<a{scopes}/>"),
        "<".repeat(10 << 20),
    ] {
        assert!(xml::parse(text.as_bytes()).is_none());
    }
    let huge = vec![b' '; 10 << 20];
    assert_eq!(verify(&huge, NOW).err(), Some(Rejection::RimXml));
    let huge = vec![0x30; 10 << 20];
    assert_eq!(form_of(&huge), Err(Rejection::OcspMalformed));
    assert!(SpdmReport::parse(&huge).is_none());
    let nested = [0x30, 0x80].repeat(4000);
    assert_eq!(form_of(&nested), Err(Rejection::OcspMalformed));
}

#[test]
fn every_prefix_and_every_flipped_byte_of_a_report_is_refused() {
    let evidence = GpuEvidence::decode(SINGLE).unwrap();
    let device = &evidence.devices[0];
    let (policy, anchors) = (tolerant(), TrustAnchors::PRODUCTION);
    let mut chains = chains(&policy, &anchors, NOW);
    let nonce = SpdmReport::parse(&device.report).unwrap().nonce;
    assert!(verify_device(device, nonce, &mut chains).is_ok());
    let mut other = device.clone();
    for end in 0..device.report.len() {
        other.report.clear();
        other.report.extend(&device.report[..end]);
        assert!(verify_device(&other, nonce, &mut chains).is_err(), "{end}");
    }
    other.report.clone_from(&device.report);
    for at in 0..device.report.len() {
        other.report[at] ^= 1 << (at % 8);
        assert!(verify_device(&other, nonce, &mut chains).is_err(), "{at}");
        other.report[at] = device.report[at];
    }
}

#[test]
fn every_prefix_and_every_flipped_byte_of_a_chain_is_refused() {
    let evidence = GpuEvidence::decode(SINGLE).unwrap();
    let device = &evidence.devices[0];
    let (policy, anchors) = (tolerant(), TrustAnchors::PRODUCTION);
    let mut chains = chains(&policy, &anchors, NOW);
    let nonce = SpdmReport::parse(&device.report).unwrap().nonce;
    assert!(verify_device(device, nonce, &mut chains).is_ok());
    for (place, certificate) in device.chain.iter().enumerate() {
        let mut other = device.clone();
        for at in 0..certificate.len() {
            other.chain[place] = certificate[..at].to_vec();
            let refused = verify_device(&other, nonce, &mut chains);
            assert!(refused.is_err(), "{place}, {at} bytes");
            other.chain[place].clone_from(certificate);
            other.chain[place][at] ^= 1 << (at % 8);
            let refused = verify_device(&other, nonce, &mut chains);
            assert!(refused.is_err(), "{place}, byte {at}");
        }
    }
}

/// The driver's manifest of the simulation, and anchors that take it.
fn simulated() -> (NamedRim, TrustAnchors) {
    let board = Board::new(DeviceKind::Hopper, 1, 0, GpuMode::SinglePass);
    let stapled = board.endorsements(NOW.0, None).unwrap();
    let none = CertificateDigest([0; 32]);
    let amd = AmdRoots {
        milan: none,
        genoa: none,
        turin: none,
    };
    let root = mock_tee::nvidia::manifest_root_certificate().unwrap();
    let nvidia = NvidiaRoots {
        device: CertificateDigest::of(&mock_tee::nvidia::device_root_certificate().unwrap()),
        rim: CertificateDigest::of(&root),
    };
    (
        stapled.rims[0].clone(),
        TrustAnchors::research(amd, none, nvidia),
    )
}

#[test]
fn every_prefix_and_flipped_bytes_of_a_manifest_are_refused() {
    let (rim, anchors) = simulated();
    let document = rim.document;
    let policy = tolerant();
    let mut chains = chains(&policy, &anchors, NOW);
    assert!(verify_with(&document, &mut chains).is_ok());
    // Every byte but in the middle, where 64 lines are alike.
    let signature = document.len() - 4000;
    for end in 0..document.len() {
        if (1500..signature).contains(&end) && end % 17 != 0 {
            continue;
        }
        let refused = verify_with(&document[..end], &mut chains);
        assert!(refused.is_err(), "{end} bytes");
    }
    let mut other = document.clone();
    for at in 0..document.len() {
        if (1500..signature).contains(&at) && at % 41 != 0 {
            continue;
        }
        other[at] ^= 1 << (at % 8);
        assert!(verify_with(&other, &mut chains).is_err(), "byte {at}");
        other[at] = document[at];
    }
}

#[test]
fn every_prefix_and_every_flipped_byte_of_an_answer_is_refused() {
    let board = Board::new(DeviceKind::Hopper, 1, 0, GpuMode::SinglePass);
    let (policy, anchors) = (AppraisalPolicy::strict(), simulated().1);
    let stapled = board.endorsements(NOW.0, None).unwrap();
    let evidence = board.evidence(&BootId([1; 32]), 0).unwrap();
    let chain = &evidence.devices[0].chain;
    let [subject, issuer] = [1, 2].map(|place| ParsedCertificate::parse(&chain[place]).unwrap());
    let check = |answer: &[u8]| {
        let stapled = [answer.to_vec()];
        let mut checks = Checks::by(&policy, &anchors, NOW);
        let answers = Answers::parse(ANSWERS, &stapled, None, &mut checks);
        let end = answers.check(&subject, &issuer, checks.terms, &mut Signatures::default())?;
        end.ok_or(Rejection::OcspMissing)
    };
    // The first is about the device's read-only firmware, by a responder of its own.
    let answer = &stapled.ocsp[0];
    assert!(check(answer).is_ok());
    for at in 0..answer.len() {
        assert!(check(&answer[..at]).is_err(), "{at} bytes");
        let mut other = answer.clone();
        other[at] ^= 1 << (at % 8);
        assert!(check(&other).is_err(), "byte {at}");
    }
}

#[test]
fn a_signature_that_is_not_the_roots_child_or_not_alone_is_refused() {
    let (rim, _) = simulated();
    let text = String::from_utf8(rim.document).unwrap();
    let (start, rest) = text.split_once("<ds:Signature ").unwrap();
    let (inner, _) = rest.split_once("</ds:Signature>").unwrap();
    let signature = format!("<ds:Signature {inner}</ds:Signature>");
    let end = "</SoftwareIdentity>";
    for changed in [
        format!("{start}{end}"),
        format!("{start}<W>{signature}</W>{end}"),
        format!("{start}{signature}<W>{signature}</W>{end}"),
        text.replacen(
            "<ns0:Payload>",
            "<ds:Object xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"/><ns0:Payload>",
            1,
        ),
        text.replacen("URI=\"\"", "URI=\"#a\"", 1),
        text.replacen("URI=\"\"", "URI=\"\" Id=\"a\"", 1),
        text.replacen("<ds:Reference URI=\"\"", "<ds:Reference", 1),
        text.replacen("#enveloped-signature", "#base64", 1),
        text.replacen("<ds:KeyInfo>", "<ds:KeyInfo><ds:KeyName/>", 1),
        text.replacen("xml-c14n11", "xml-c14n11#WithComments", 1),
        text.replace("ds:X509Data", "ds:PGPData"),
        text.replace("ds:DigestValue", "ds:DigestOther"),
        text.replace("ds:SignatureValue", "ds:SignatureOther"),
    ] {
        assert_ne!(changed, text);
        let root = xml::parse(changed.as_bytes()).unwrap();
        assert!(XmlSignature::read(&root).is_none(), "{changed}");
    }
}
