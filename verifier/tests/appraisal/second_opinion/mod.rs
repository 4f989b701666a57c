//! A second implementation, the programs `openssl` and `xmlsec1`, over the same bytes: whatever
//! this crate's cryptography takes, they take too. They know nothing of policies, so only
//! certificates' signatures, names, dates, lists, answers and the reports' and manifests' own
//! signatures are compared.

mod nvidia;
mod openssl;

use std::fs;
use std::path::Path;

use mock_tee::Lie;
use mock_tee::snp::Product;
use mock_tee::tdx::QuoteVersion;
use p384::ecdsa::Signature as P384Signature;
use protocol::endorsements::{EndorsementKind, Endorsements};
use verifier::{Check, Outcome, Rejection, TrustAnchors, Verdict, appraise_hardware};

use self::openssl::{Openssl, der_signature};
use crate::world::World;
use crate::{snp, tdx};

/// Failures of these kinds are cryptography's; `openssl` has to agree when none of them failed.
const CRYPTOGRAPHY: &[Rejection] = &[
    Rejection::EndorsementMissing,
    Rejection::CertificateMalformed,
    Rejection::CertificateAlgorithm,
    Rejection::CertificateRoot,
    Rejection::CertificateIssuer,
    Rejection::CertificateNotAuthority,
    Rejection::CertificateSignature,
    Rejection::CertificateNotYetValid,
    Rejection::CertificateExpired,
    Rejection::CrlMissing,
    Rejection::CrlMalformed,
    Rejection::CrlIssuer,
    Rejection::CrlSignature,
    Rejection::CrlNotYetValid,
    Rejection::CrlExpired,
    Rejection::CertificateRevoked,
    Rejection::SnpReportLength,
    Rejection::SnpSignatureInvalid,
    Rejection::TdxQuoteMalformed,
    Rejection::TdxQuoteVersion,
    Rejection::TdxVerification,
    Rejection::CollateralMalformed,
];

/// Whether this crate found nothing wrong with signatures, chains, lists and dates.
fn our_cryptography_takes(verdict: &Verdict) -> bool {
    let open = |check: &&Check| !matches!(check.outcome, Outcome::Passed | Outcome::Tolerated(_));
    let mut open = verdict.checks().iter().filter(open);
    !open.any(|check| CRYPTOGRAPHY.contains(&check.check))
}

/// Other lies leave the cryptography of an honest machine.
fn lies_of_cryptography(lies: &[(Lie, Rejection)]) -> impl Iterator<Item = Option<Lie>> + '_ {
    let found =
        |(lie, reason): &(Lie, Rejection)| CRYPTOGRAPHY.contains(reason).then_some(Some(*lie));
    lies.iter().filter_map(found)
}

/// What `openssl` says of a SEV-SNP report and AMD's chain. AMD's list is the root's, over the
/// intermediate; VCEKs have no list of their own.
fn openssl_takes_report(report: &[u8], items: &Endorsements, at: u64) -> bool {
    let openssl = Openssl::open();
    let certificate = |kind, name| {
        let der = items.get(kind);
        der.is_some_and(|der| openssl.pem("x509", name, der))
    };
    if !certificate(EndorsementKind::SnpArk, "root.pem")
        || !certificate(EndorsementKind::SnpAsk, "authority.pem")
        || !certificate(EndorsementKind::SnpVcek, "leaf.pem")
    {
        return false;
    }
    if !openssl.chain(&[], at) || !openssl.leaf_key() {
        return false;
    }
    if let Some(list) = items.get(EndorsementKind::SnpCrl) {
        let at = at.to_string();
        let listed = openssl.pem("crl", "list.pem", list)
            && openssl.takes(&[
                "verify",
                "-ignore_critical",
                "-attime",
                &at,
                "-CAfile",
                "root.pem",
                "-CRLfile",
                "list.pem",
                "-crl_check",
                "authority.pem",
            ]);
        if !listed {
            return false;
        }
    }
    let Some((signed, rest)) = report.split_at_checked(0x2a0) else {
        return false;
    };
    let scalar = |from: usize| {
        let mut bytes = rest.get(from..from + 48)?.to_vec();
        bytes.reverse();
        Some(bytes)
    };
    let (Some(r), Some(s)) = (scalar(0), scalar(72)) else {
        return false;
    };
    openssl.signed("-sha384", "leaf.key", signed, &der_signature([&r, &s]))
}

fn judge(world: &World, report: &[u8], items: &Endorsements) -> Verdict {
    let tee = world.statement.tee;
    appraise_hardware(tee, report, items, &world.policy, &world.anchors, world.at)
}

#[test]
fn openssl_takes_every_sev_snp_chain_and_report_that_this_crate_takes() {
    let (mut taken, mut refused) = (0, 0);
    for product in [Product::Genoa, Product::Turin] {
        let honest = World::of(product);
        let lies = lies_of_cryptography(snp::LIES);
        for lie in lies.chain([None]) {
            let mut world = honest.clone();
            if let Some(lie) = lie {
                world.machine = world.machine.with(lie);
            }
            let evidence = world.evidence();
            let items = &evidence.endorsements;
            let ours = our_cryptography_takes(&judge(&world, &evidence.report, items));
            let theirs = openssl_takes_report(&evidence.report, items, world.at.0);
            assert!(!ours || theirs, "{lie:?}: we accept, openssl refuses");
            taken += u32::from(ours && theirs);
            refused += u32::from(!theirs);
        }
    }
    // The comparison says something only if both outcomes occur.
    assert!(
        taken > 1 && refused > 20,
        "{taken} taken, {refused} refused"
    );
}

#[test]
fn openssl_takes_the_real_sev_snp_reports_that_this_crate_takes() {
    for case in ["milan-v2", "milan-v2-debug"] {
        let folder = Path::new("../tests/fixtures/snp").join(case);
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        let mut items = Endorsements::default();
        for (kind, name) in [
            (EndorsementKind::SnpArk, "ark.der"),
            (EndorsementKind::SnpAsk, "ask.der"),
            (EndorsementKind::SnpVcek, "vcek.der"),
        ] {
            items.insert(kind, read(name)).unwrap();
        }
        let report = read("report.bin");
        let mut world = World::genoa();
        world.anchors = TrustAnchors::PRODUCTION;
        world.policy = verifier::AppraisalPolicy::testing();
        assert!(
            our_cryptography_takes(&judge(&world, &report, &items)),
            "{case}"
        );
        assert!(openssl_takes_report(&report, &items, world.at.0), "{case}");
        for at in (0..0x2a0).step_by(151) {
            let mut flipped = report.clone();
            flipped[at] ^= 1;
            assert!(
                !openssl_takes_report(&flipped, &items, world.at.0),
                "byte {at}"
            );
            assert!(
                !our_cryptography_takes(&judge(&world, &flipped, &items)),
                "byte {at}"
            );
        }
    }
}

/// What `openssl` says of a TDX quote: the PCK chain with its list, the quoting enclave's report by
/// the PCK, the attestation key in it, the quote by that key, both texts of the collateral.
#[allow(
    clippy::too_many_lines,
    reason = "one chain of proof, link by link, in the order in which it holds"
)]
fn openssl_takes_quote(quote: &[u8], collateral: &[u8], at: u64) -> bool {
    let parsed = dcap_qvl::quote::Quote::parse(quote);
    let json = serde_json::from_slice::<dcap_qvl::QuoteCollateralV3>(collateral);
    let (Ok(parsed), Ok(json)) = (parsed, json) else {
        return false;
    };
    let dcap_qvl::quote::AuthData::V4(signature) = &parsed.auth_data else {
        return false;
    };
    let certification = &signature.qe_report_data;
    let openssl = Openssl::open();
    let split = |name: [&str; 3], text: &str| {
        for (name, block) in name
            .iter()
            .zip(text.split_inclusive("-----END CERTIFICATE-----"))
        {
            openssl.write(name, block.trim_start().as_bytes());
        }
    };
    let chain = String::from_utf8_lossy(&certification.certification_data.body.data).into_owned();
    split(["leaf.pem", "authority.pem", "root.pem"], &chain);
    let lists = openssl.pem("crl", "pck.crl", &json.pck_crl)
        && openssl.pem("crl", "root.crl", &json.root_ca_crl);
    if !lists || !openssl.chain(&["pck.crl", "root.crl"], at) || !openssl.leaf_key() {
        return false;
    }
    let scalars = |raw: &[u8]| der_signature([&raw[..32], &raw[32..64]]);
    let enclave = &certification.qe_report;
    let by_pck = scalars(&certification.qe_report_signature);
    if !openssl.signed("-sha256", "leaf.key", enclave, &by_pck) {
        return false;
    }
    // SubjectPublicKeyInfo of a P-256 key, up to its point.
    let mut key = vec![
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
        0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    key.extend(signature.ecdsa_attestation_key);
    openssl.write("attestation.der", &key);
    let convert = ["pkey", "-pubin", "-inform", "DER", "-in", "attestation.der"];
    let convert = [convert.as_slice(), &["-pubout", "-out", "attestation.key"]].concat();
    let signed = &quote[..parsed.signed_length()];
    if !openssl.takes(&convert)
        || !openssl.signed(
            "-sha256",
            "attestation.key",
            signed,
            &scalars(&signature.ecdsa_signature),
        )
    {
        return false;
    }
    [
        (
            &json.tcb_info_issuer_chain,
            &json.tcb_info,
            &json.tcb_info_signature,
        ),
        (
            &json.qe_identity_issuer_chain,
            &json.qe_identity,
            &json.qe_identity_signature,
        ),
    ]
    .into_iter()
    .all(|(chain, text, signature)| {
        split(["leaf.pem", "root.pem", "none.pem"], chain);
        openssl.write(
            "authority.pem",
            &fs::read(openssl.place.path().join("root.pem")).unwrap(),
        );
        openssl.chain(&[], at)
            && openssl.leaf_key()
            && openssl.signed("-sha256", "leaf.key", text.as_bytes(), &scalars(signature))
    })
}

#[test]
fn openssl_takes_every_quote_that_this_crate_takes() {
    let (mut taken, mut refused) = (0, 0);
    for version in [QuoteVersion::V4, QuoteVersion::V5] {
        for lie in lies_of_cryptography(tdx::LIES).chain([None]) {
            let mut world = World::tdx(version);
            if let Some(lie) = lie {
                world.machine = world.machine.with(lie);
            }
            let evidence = world.evidence();
            let items = &evidence.endorsements;
            let ours = our_cryptography_takes(&judge(&world, &evidence.report, items));
            let collateral = items
                .get(EndorsementKind::TdxCollateral)
                .unwrap_or_default();
            let theirs = openssl_takes_quote(&evidence.report, collateral, world.at.0);
            assert!(!ours || theirs, "{lie:?}: we accept, openssl refuses");
            taken += u32::from(ours && theirs);
            refused += u32::from(!theirs);
        }
    }
    assert!(taken > 1 && refused > 5, "{taken} taken, {refused} refused");
}

#[test]
fn openssl_and_dcap_qvl_take_the_real_quotes_that_this_crate_takes() {
    let mut taken = 0;
    for (name, at) in [
        ("tdx_quote", 1_750_329_148),
        ("tdx_quote", 1_752_919_235),
        ("tdx_quote_outdated", 1_772_323_200),
        ("tdx_quote_td15ex", 1_792_000_000),
    ] {
        let folder = Path::new("../tests/fixtures/tdx/dcap-qvl");
        let quote = fs::read(folder.join(format!("{name}.bin"))).unwrap();
        let document = fs::read(folder.join(format!("{name}_collateral.json"))).unwrap();
        let mut world = World::tdx(QuoteVersion::V5);
        world.anchors = TrustAnchors::PRODUCTION;
        world.policy = verifier::AppraisalPolicy::testing();
        world.at = verifier::UnixTime(at);
        let mut items = Endorsements::default();
        items
            .insert(EndorsementKind::TdxCollateral, document.clone())
            .unwrap();
        let ours = our_cryptography_takes(&judge(&world, &quote, &items));
        let theirs = openssl_takes_quote(&quote, &document, at);
        assert!(!ours || theirs, "{name}: we accept, openssl refuses");
        let json: dcap_qvl::QuoteCollateralV3 = serde_json::from_slice(&document).unwrap();
        let library = dcap_qvl::verify::verify(&quote, &json, at).is_ok();
        assert!(!ours || library, "{name}: we accept, dcap-qvl refuses");
        taken += u32::from(ours);
    }
    assert!(taken > 0, "no real quote was taken");
}

/// The two parsers of P-384 signatures agree on what a signature is.
#[test]
fn a_zero_or_an_oversized_scalar_is_no_signature_for_either() {
    for scalar in [[0; 48], [0xff; 48]] {
        assert!(P384Signature::from_scalars(scalar, [1; 48]).is_err());
        let world = World::genoa();
        let evidence = world.evidence();
        let mut report = evidence.report.clone();
        report[0x2a0..0x2a0 + 48].copy_from_slice(&scalar);
        let items = &evidence.endorsements;
        assert!(!our_cryptography_takes(&judge(&world, &report, items)));
        assert!(!openssl_takes_report(&report, items, world.at.0));
    }
}
