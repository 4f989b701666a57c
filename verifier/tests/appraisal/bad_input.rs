//! Hostile bytes: every prefix and a flip of every byte of everything that is signed, chains in
//! the wrong order, nested and enormous DER and JSON, ten megabytes of anything.
//!
//! Where a byte lies outside every signature (the frame of PEM, white space of JSON), a flip may be
//! without effect: then the verdict must be the honest one, byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mock_tee::tdx::QuoteVersion;
use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::evidence::{Evidence, MAX_BYTES, MAX_REPORT_BYTES};
use protocol::launch_configuration::LaunchConfiguration;
use protocol::reference_values::ReferenceValues;
use protocol::statement::Statement;
use verifier::{AppraisalPolicy, Check, Decision, Outcome, Rejection, Verdict, appraise_hardware};

use crate::world::World;

const TEN_MIB: usize = 10 * 1024 * 1024;
const SNP_ITEMS: [EndorsementKind; 4] = [
    EndorsementKind::SnpArk,
    EndorsementKind::SnpAsk,
    EndorsementKind::SnpVcek,
    EndorsementKind::SnpCrl,
];

/// Judges a report and its endorsements alone: every signature, without the rest.
fn judge(world: &World, report: &[u8], items: &Endorsements) -> Verdict {
    let tee = world.statement.tee;
    appraise_hardware(tee, report, items, &world.policy, &world.anchors, world.at)
}

/// These items alone, one of them with other bytes.
fn only(
    items: &Endorsements,
    kinds: &[EndorsementKind],
    (changed, bytes): (EndorsementKind, &[u8]),
) -> Endorsements {
    let mut some = Endorsements::default();
    for kind in kinds {
        let own = items.get(*kind).unwrap();
        let bytes = if *kind == changed { bytes } else { own };
        some.insert(*kind, bytes.to_vec()).unwrap();
    }
    some
}

fn with(items: &Endorsements, kind: EndorsementKind, bytes: &[u8]) -> Endorsements {
    only(items, &SNP_ITEMS, (kind, bytes))
}

/// An item with what its own checks read besides it, so that no signature elsewhere is verified
/// again for each byte: the root by its pin, the others by their issuer's key.
const SIGNED_BY: [&[EndorsementKind]; 4] = [
    &[EndorsementKind::SnpArk],
    &[EndorsementKind::SnpArk, EndorsementKind::SnpAsk],
    &[EndorsementKind::SnpAsk, EndorsementKind::SnpVcek],
    &[EndorsementKind::SnpArk, EndorsementKind::SnpCrl],
];

/// A check that passed before does not pass now, or is not even listed.
fn worse(before: &Verdict, now: &Verdict) -> bool {
    let passed = |verdict: &Verdict| {
        let passed = |check: &&Check| check.outcome == Outcome::Passed;
        let checks = verdict.checks().iter().filter(passed);
        checks
            .map(|check| (check.check, check.of))
            .collect::<Vec<_>>()
    };
    let now = passed(now);
    passed(before).iter().any(|check| !now.contains(check))
}

fn collateral(bytes: Vec<u8>) -> Endorsements {
    let mut items = Endorsements::default();
    items.insert(EndorsementKind::TdxCollateral, bytes).unwrap();
    items
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at] ^= 1 << (at % 8);
    changed
}

#[test]
fn every_prefix_of_every_sev_snp_item_is_rejected() {
    let world = World::genoa();
    let good = world.evidence();
    let items = &good.endorsements;
    assert_eq!(
        judge(&world, &good.report, items).decision(),
        Decision::Accepted
    );
    let nothing = Endorsements::default();
    for end in 0..good.report.len() {
        let verdict = judge(&world, &good.report[..end], &nothing);
        assert_eq!(verdict.rejection(), Some(Rejection::SnpReportLength));
    }
    for kind in SNP_ITEMS {
        let whole = items.get(kind).unwrap();
        for end in 0..whole.len() {
            let alone = only(items, &[kind], (kind, &whole[..end]));
            let verdict = judge(&world, &[], &alone);
            let malformed = [Rejection::CertificateMalformed, Rejection::CrlMalformed];
            let mut checks = verdict.checks().iter();
            let refused = |check: &Check| {
                check.outcome == Outcome::Failed && malformed.contains(&check.check)
            };
            assert!(checks.any(refused), "{kind:?} {end}");
        }
        for end in (0..whole.len()).step_by(211) {
            let verdict = judge(&world, &good.report, &with(items, kind, &whole[..end]));
            assert_eq!(verdict.decision(), Decision::Rejected, "{kind:?} {end}");
        }
    }
}

#[test]
fn a_flip_of_every_byte_of_every_sev_snp_item_is_rejected() {
    let world = World::genoa();
    let good = world.evidence();
    let items = &good.endorsements;
    let key = items.get(EndorsementKind::SnpVcek).unwrap();
    let key = only(
        items,
        &[EndorsementKind::SnpVcek],
        (EndorsementKind::SnpVcek, key),
    );
    let before = judge(&world, &good.report, &key);
    for at in 0..good.report.len() {
        let verdict = judge(&world, &flipped(&good.report, at), &key);
        assert!(worse(&before, &verdict), "report byte {at}");
    }
    for (kind, signers) in SNP_ITEMS.into_iter().zip(SIGNED_BY) {
        let whole = items.get(kind).unwrap();
        let before = judge(&world, &[], &only(items, signers, (kind, whole)));
        for at in 0..whole.len() {
            let changed = only(items, signers, (kind, &flipped(whole, at)));
            let verdict = judge(&world, &[], &changed);
            assert!(worse(&before, &verdict), "{kind:?} byte {at}");
        }
        for at in (0..whole.len()).step_by(211) {
            let changed = with(items, kind, &flipped(whole, at));
            let verdict = judge(&world, &good.report, &changed);
            assert_eq!(verdict.decision(), Decision::Rejected, "{kind:?} byte {at}");
        }
    }
}

#[test]
fn every_prefix_of_a_quote_and_its_collateral_is_rejected() {
    for version in [QuoteVersion::V4, QuoteVersion::V5] {
        let world = World::tdx(version);
        let good = world.evidence();
        for end in 0..good.report.len() {
            let verdict = judge(&world, &good.report[..end], &good.endorsements);
            assert_eq!(
                verdict.rejection(),
                Some(Rejection::TdxQuoteMalformed),
                "{end}"
            );
        }
    }
    let world = World::tdx(QuoteVersion::V4);
    let good = world.evidence();
    let whole = good
        .endorsements
        .get(EndorsementKind::TdxCollateral)
        .unwrap();
    for end in 0..whole.len() {
        let verdict = judge(&world, &good.report, &collateral(whole[..end].to_vec()));
        assert_eq!(
            verdict.rejection(),
            Some(Rejection::CollateralMalformed),
            "{end}"
        );
    }
}

#[test]
fn a_flip_in_a_quote_is_rejected_or_without_any_effect() {
    // Every byte before the chain; of the chain, which is three times as long, some.
    flip_quote(23);
}

#[test]
#[ignore = "exhaustive: half a minute"]
fn a_flip_of_every_byte_of_a_quote_is_rejected_or_without_any_effect() {
    flip_quote(1);
}

fn flip_quote(step_in_chain: usize) {
    let world = World::tdx(QuoteVersion::V5);
    let good = world.evidence();
    let honest = judge(&world, &good.report, &good.endorsements);
    assert_eq!(honest.decision(), Decision::Accepted);
    let pem = find(&good.report, b"-----BEGIN");
    for at in 0..good.report.len() {
        if at > pem && at % step_in_chain != 0 {
            continue;
        }
        let verdict = judge(&world, &flipped(&good.report, at), &good.endorsements);
        let same = at >= pem && verdict == honest;
        assert!(
            same || verdict.decision() == Decision::Rejected,
            "byte {at}"
        );
    }
}

#[test]
fn a_flip_in_collateral_is_rejected_or_without_any_effect() {
    flip_collateral(13);
}

#[test]
#[ignore = "exhaustive: half a minute"]
fn a_flip_of_every_byte_of_collateral_is_rejected_or_without_any_effect() {
    flip_collateral(1);
}

fn flip_collateral(step: usize) {
    let world = World::tdx(QuoteVersion::V4);
    let good = world.evidence();
    let honest = judge(&world, &good.report, &good.endorsements);
    let whole = good
        .endorsements
        .get(EndorsementKind::TdxCollateral)
        .unwrap();
    let length = format!("{} bytes", whole.len());
    assert!(honest.to_json().unwrap().contains(&length));
    // Between its texts, whatever holds the document together is flipped too.
    let structure = |at: &usize| at.is_multiple_of(step) || b"{}[]:,".contains(&whole[*at]);
    for at in (0..whole.len()).filter(structure) {
        let verdict = judge(&world, &good.report, &collateral(flipped(whole, at)));
        let same = verdict == honest;
        assert!(
            same || verdict.decision() == Decision::Rejected,
            "byte {at}"
        );
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    let mut windows = bytes.windows(wanted.len());
    windows.position(|window| window == wanted).unwrap()
}

#[test]
fn certificates_of_a_chain_in_any_other_order_or_twice_are_rejected() {
    let world = World::genoa();
    let good = world.evidence();
    let item = |kind| good.endorsements.get(kind).unwrap().to_vec();
    let three = [SNP_ITEMS[0], SNP_ITEMS[1], SNP_ITEMS[2]];
    let mut refused = 0;
    for first in 0..3 {
        for second in 0..3 {
            for third in 0..3 {
                let order = [first, second, third];
                let mut items = Endorsements::default();
                items.insert(SNP_ITEMS[3], item(SNP_ITEMS[3])).unwrap();
                for (kind, from) in three.iter().zip(order) {
                    items.insert(*kind, item(three[from])).unwrap();
                }
                let verdict = judge(&world, &good.report, &items);
                let honest = order == [0, 1, 2];
                let accepted = verdict.decision() == Decision::Accepted;
                assert_eq!(accepted, honest, "{order:?}: {:?}", verdict.rejection());
                refused += u32::from(!accepted);
            }
        }
    }
    assert_eq!(refused, 26);
}

/// The quote with another chain inside, and its lengths after it.
fn with_chain(quote: &[u8], certificates: &[Vec<u8>]) -> Vec<u8> {
    let pem: String = certificates.iter().map(|der| pem(der)).collect();
    let begin = find(quote, b"-----BEGIN");
    let mut out = quote[..begin - 4].to_vec();
    out.extend(u32::try_from(pem.len()).unwrap().to_le_bytes());
    out.extend(pem.as_bytes());
    // TD 1.5: header 48, type and size 6, report 648; then length, signature, key, outer type.
    let outer = 48 + 6 + 648;
    let all = u32::try_from(out.len() - outer - 4).unwrap();
    out[outer..outer + 4].copy_from_slice(&all.to_le_bytes());
    let inner = outer + 4 + 64 + 64 + 2;
    let certification = u32::try_from(out.len() - inner - 4).unwrap();
    out[inner..inner + 4].copy_from_slice(&certification.to_le_bytes());
    out
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).collect();
    let lines = lines.iter().map(|line| core::str::from_utf8(line).unwrap());
    let body = lines.collect::<Vec<_>>().join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

/// The certificates of a quote's chain.
fn chain_of(quote: &[u8]) -> Vec<Vec<u8>> {
    let text = core::str::from_utf8(&quote[find(quote, b"-----BEGIN")..]).unwrap();
    let bodies = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    let decode = |body: &str| {
        let body = body.split("-----END").next().unwrap();
        STANDARD.decode(body.replace('\n', "")).unwrap()
    };
    bodies.map(decode).collect()
}

#[test]
fn a_pck_chain_in_any_other_order_or_with_a_certificate_twice_is_rejected() {
    let world = World::tdx(QuoteVersion::V5);
    let good = world.evidence();
    let chain = chain_of(&good.report);
    let judge_chain = |order: &[usize]| {
        let certificates: Vec<_> = order.iter().map(|at| chain[*at].clone()).collect();
        let quote = with_chain(&good.report, &certificates);
        judge(&world, &quote, &good.endorsements)
    };
    assert_eq!(judge_chain(&[0, 1, 2]).decision(), Decision::Accepted);
    for order in [
        [0, 2, 1].as_slice(),
        &[1, 0, 2],
        &[1, 2, 0],
        &[2, 0, 1],
        &[2, 1, 0],
        &[0, 1],
        &[0, 2],
        &[0],
        &[0, 1, 1, 2],
        &[0, 0, 1, 2],
        &[0, 1, 2, 2],
        &[0, 2, 2],
        &[1, 1, 2],
    ] {
        let verdict = judge_chain(order);
        assert_eq!(verdict.decision(), Decision::Rejected, "{order:?}");
    }
}

#[test]
fn an_issuer_chain_of_the_collateral_with_certificates_too_few_or_many_is_rejected() {
    let world = World::tdx(QuoteVersion::V4);
    let good = world.evidence();
    let whole = good
        .endorsements
        .get(EndorsementKind::TdxCollateral)
        .unwrap();
    for member in [
        "tcb_info_issuer_chain",
        "qe_identity_issuer_chain",
        "pck_crl_issuer_chain",
    ] {
        let mut document: serde_json::Value = serde_json::from_slice(whole).unwrap();
        let text = document[member].as_str().unwrap().to_owned();
        let (first, _) = text.split_once("-----END").unwrap();
        let one = format!("{first}-----END CERTIFICATE-----\n");
        let few = [
            String::new(),
            "\n".to_owned(),
            "\r\n\r".to_owned(),
            one.clone(),
        ];
        let many = [format!("{one}{text}"), format!("{one}{one}")];
        for chain in few.into_iter().chain(many) {
            document[member] = chain.into();
            let bytes = serde_json::to_vec(&document).unwrap();
            let verdict = judge(&world, &good.report, &collateral(bytes));
            assert_eq!(
                verdict.rejection(),
                Some(Rejection::CertificateMalformed),
                "{member}"
            );
        }
    }
}

#[test]
fn an_issuer_chain_of_the_collateral_that_ends_elsewhere_is_rejected() {
    let world = World::tdx(QuoteVersion::V4);
    let good = world.evidence();
    let whole = good
        .endorsements
        .get(EndorsementKind::TdxCollateral)
        .unwrap();
    let honest: serde_json::Value = serde_json::from_slice(whole).unwrap();
    let pem = |member: &str| {
        let text = honest[member].as_str().unwrap();
        let end = "-----END CERTIFICATE-----\n";
        let (first, second) = text.split_once(end).unwrap();
        [format!("{first}{end}"), second.to_owned()]
    };
    let lists = "pck_crl_issuer_chain";
    let [signer, root] = pem("tcb_info_issuer_chain");
    let [authority, _] = pem(lists);
    // Genuine certificates all, each in the place of another.
    for (member, chain) in [
        ("tcb_info_issuer_chain", [&signer, &authority]),
        ("qe_identity_issuer_chain", [&signer, &authority]),
        (lists, [&authority, &signer]),
        (lists, [&signer, &root]),
    ] {
        let mut document = honest.clone();
        document[member] = chain.map(String::as_str).concat().into();
        let bytes = serde_json::to_vec(&document).unwrap();
        let verdict = judge(&world, &good.report, &collateral(bytes));
        let issuer = Rejection::CertificateIssuer;
        assert_eq!(verdict.rejection(), Some(issuer), "{member}");
    }
}

/// DER that is small to send and would be large, deep or endless to read.
fn der_bombs() -> Vec<Vec<u8>> {
    let mut nested = Vec::new();
    for _ in 0..2000 {
        nested.splice(0..0, [0x30, 0x80]);
    }
    let mut deep: Vec<u8> = vec![0x05, 0x00];
    while deep.len() < 8000 {
        let [high, low] = u16::try_from(deep.len()).unwrap().to_be_bytes();
        deep.splice(0..0, [0x30, 0x82, high, low]);
    }
    let sequence = |body: Vec<u8>| {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [vec![0x30, 0x84], length.to_vec(), body].concat()
    };
    vec![
        nested,
        deep,
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        vec![0x30, 0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0x30; 8000],
        vec![0xff; 8000],
        vec![0x1f; 8000],
        // An OID whose arcs never end, and a hundred thousand empty entries.
        sequence([vec![0x06, 0x82, 0x1f, 0x00], vec![0xff; 0x1f00]].concat()),
        sequence([0x30, 0x00].repeat(100_000)),
        sequence([0x31, 0x00].repeat(2_000)),
    ]
}

#[test]
fn der_bombs_are_rejected_as_malformed() {
    let world = World::genoa();
    let good = world.evidence();
    for (number, bomb) in der_bombs().into_iter().enumerate() {
        for kind in SNP_ITEMS {
            let items = with(&good.endorsements, kind, &bomb);
            let reason = judge(&world, &good.report, &items).rejection();
            let malformed = [Rejection::CertificateMalformed, Rejection::CrlMalformed];
            assert!(
                malformed.map(Some).contains(&reason),
                "bomb {number}, {kind:?}"
            );
        }
    }
    let world = World::tdx(QuoteVersion::V5);
    let good = world.evidence();
    let chain = chain_of(&good.report);
    for (number, bomb) in der_bombs().into_iter().enumerate() {
        for place in 0..3 {
            let mut certificates = chain.clone();
            certificates[place] = bomb.clone();
            let quote = with_chain(&good.report, &certificates);
            let verdict = judge(&world, &quote, &good.endorsements);
            assert_eq!(
                verdict.decision(),
                Decision::Rejected,
                "bomb {number} at {place}"
            );
        }
    }
}

#[test]
fn json_bombs_are_rejected_as_malformed() {
    let world = World::tdx(QuoteVersion::V4);
    let good = world.evidence();
    let whole = good
        .endorsements
        .get(EndorsementKind::TdxCollateral)
        .unwrap();
    let megabyte = 1024 * 1024;
    let mut bombs = vec![
        vec![b'['; megabyte],
        b"{\"a\":".repeat(megabyte / 5),
        vec![b' '; megabyte],
        vec![b'9'; megabyte],
        [b"\"".to_vec(), vec![b'x'; megabyte - 2], b"\"".to_vec()].concat(),
    ];
    // Texts within the document: deep, empty, numbers beyond every type.
    for text in ["[".repeat(200_000), String::new(), "1e999999999".to_owned()] {
        let mut document: serde_json::Value = serde_json::from_slice(whole).unwrap();
        document["tcb_info"] = text.into();
        bombs.push(serde_json::to_vec(&document).unwrap());
    }
    for (number, bomb) in bombs.into_iter().enumerate() {
        let verdict = judge(&world, &good.report, &collateral(bomb.clone()));
        assert_eq!(
            verdict.rejection(),
            Some(Rejection::CollateralMalformed),
            "{number}"
        );
        assert!(AppraisalPolicy::parse(&bomb).is_err(), "policy {number}");
        assert!(
            ReferenceValues::parse(&bomb).is_err(),
            "references {number}"
        );
        assert!(
            LaunchConfiguration::parse(&bomb).is_err(),
            "configuration {number}"
        );
    }
}

#[test]
fn ten_megabytes_of_anything_are_rejected_before_they_are_read() {
    for filling in [0x00, 0xff, b'{', b'[', 0x30] {
        let huge = vec![filling; TEN_MIB];
        for world in [World::genoa(), World::tdx(QuoteVersion::V5)] {
            let good = world.evidence();
            let verdict = judge(&world, &huge, &good.endorsements);
            assert_eq!(verdict.decision(), Decision::Rejected);
            let mut items = Endorsements::default();
            assert!(items.insert(EndorsementKind::SnpCrl, huge.clone()).is_err());
            let mut evidence = good.clone();
            evidence.launch_configuration = huge.clone();
            let refused = world.appraise_this(&evidence);
            assert_eq!(refused, Err(Rejection::ConfigurationMalformed));
        }
        assert!(Evidence::decode(&huge).is_err());
        assert!(AppraisalPolicy::parse(&huge).is_err());
        assert!(ReferenceValues::parse(&huge).is_err());
        assert!(LaunchConfiguration::parse(&huge).is_err());
    }
    const { assert!(TEN_MIB > MAX_BYTES && MAX_BYTES > MAX_REPORT_BYTES) };
}

#[test]
fn every_prefix_and_a_flip_of_every_byte_of_a_statement_is_rejected() {
    for world in [World::genoa(), World::tdx(QuoteVersion::V4)] {
        // What the report binds does not hang on who signed it.
        let mut good = world.evidence();
        good.endorsements = Endorsements::default();
        let before = world.appraise_in_full(&good).verdict;
        let bytes = good.statement.encode();
        for end in 0..bytes.len() {
            assert!(Statement::decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        for at in 0..bytes.len() {
            let Ok(statement) = Statement::decode(&flipped(&bytes, at)) else {
                continue;
            };
            if statement.tee != world.statement.tee {
                continue; // the other vendor's list of checks: see below
            }
            let mut evidence = good.clone();
            evidence.statement = statement;
            let now = world.appraise_in_full(&evidence).verdict;
            assert!(worse(&before, &now), "byte {at}");
        }
        for at in 0..good.launch_configuration.len() {
            let mut evidence = good.clone();
            evidence.launch_configuration = flipped(&good.launch_configuration, at);
            let now = world.appraise_in_full(&evidence).verdict;
            let mut checks = now.checks().iter();
            let mismatch = |check: &Check| {
                check.check == Rejection::ConfigurationMismatch && check.outcome == Outcome::Failed
            };
            assert!(checks.any(mismatch), "byte {at}");
        }
    }
}

#[test]
fn a_report_of_the_other_vendor_is_rejected_by_its_form() {
    let (snp, tdx) = (World::genoa(), World::tdx(QuoteVersion::V4));
    let (amd, intel) = (snp.evidence(), tdx.evidence());
    let verdict = judge(&snp, &intel.report, &amd.endorsements);
    assert_eq!(verdict.rejection(), Some(Rejection::SnpReportLength));
    let verdict = judge(&tdx, &amd.report, &intel.endorsements);
    assert_eq!(verdict.rejection(), Some(Rejection::TdxQuoteVersion));
    let verdict = judge(&snp, &amd.report, &intel.endorsements);
    assert_eq!(verdict.rejection(), Some(Rejection::EndorsementMissing));
}
