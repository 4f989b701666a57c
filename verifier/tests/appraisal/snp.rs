//! SEV-SNP: honest machines are accepted, and every lie is refused for its own reason.

use mock_tee::Lie;
use mock_tee::snp::Product;
use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::machine_grant::ChipIdentity;
use protocol::reference_values::{Profile, snp_measurement_key};
use protocol::tee::TeeKind;
use verifier::{Outcome, Rejection, ReportedChip, TrustAnchors, UnixTime, Weakness};

use crate::world::{MEASUREMENT, NOW, World};

/// One lie, one reason.
pub(crate) const LIES: &[(Lie, Rejection)] = &[
    (Lie::Truncated, Rejection::SnpReportLength),
    (Lie::ReportVersion, Rejection::SnpReportVersion),
    (Lie::Reserved, Rejection::SnpReportReserved),
    (Lie::TcbReserved, Rejection::SnpReportReserved),
    (Lie::PlatformReserved, Rejection::SnpReportReserved),
    (Lie::SignatureAlgorithm, Rejection::SnpSignatureAlgorithm),
    (Lie::BadSignature, Rejection::SnpSignatureInvalid),
    (Lie::Debug, Rejection::SnpDebug),
    (Lie::Migratable, Rejection::SnpMigratable),
    (Lie::PolicyBit, Rejection::SnpGuestPolicy),
    (Lie::Cxl, Rejection::SnpCxl),
    (Lie::Vmpl, Rejection::SnpVmpl),
    (Lie::Vlek, Rejection::SnpVlek),
    (Lie::NoSigningKey, Rejection::SnpSigningKey),
    (Lie::MaskedChip, Rejection::SnpChipKeyMasked),
    (Lie::IdBlock, Rejection::SnpIdBlock),
    (Lie::MigrationAgent, Rejection::SnpMigrationAgent),
    (Lie::Milan, Rejection::SnpMilan),
    (Lie::UnknownProduct, Rejection::SnpProductUnknown),
    (Lie::OtherProduct, Rejection::SnpProductMismatch),
    (Lie::UnlistedStepping, Rejection::SnpTcbUnlisted),
    (Lie::TcbLow, Rejection::SnpTcbBelowMinimum),
    (Lie::LaunchTcbLow, Rejection::SnpTcbBelowMinimum),
    (Lie::TcbOrder, Rejection::SnpTcbOrder),
    (Lie::FirmwareOrder, Rejection::SnpTcbOrder),
    (Lie::NoAliasCheck, Rejection::SnpAliasCheck),
    (Lie::OtherMeasurement, Rejection::RegistersUnknown),
    (Lie::WrongHostData, Rejection::ConfigurationMismatch),
    (Lie::StaleNonce, Rejection::ReportDataMismatch),
    (Lie::NoEndorsement, Rejection::EndorsementMissing),
    (Lie::MalformedCertificate, Rejection::CertificateMalformed),
    (Lie::SelfSignedRoot, Rejection::CertificateRoot),
    (Lie::Unmarked, Rejection::ResearchMarkerMissing),
    (Lie::CertificateAlgorithm, Rejection::CertificateAlgorithm),
    (Lie::OtherIssuer, Rejection::CertificateIssuer),
    (Lie::NotAuthority, Rejection::CertificateNotAuthority),
    (Lie::CriticalExtension, Rejection::CertificateCritical),
    (Lie::CertificateSignature, Rejection::CertificateSignature),
    (Lie::NotYetValid, Rejection::CertificateNotYetValid),
    (Lie::Expired, Rejection::CertificateExpired),
    (Lie::MissingLevel, Rejection::SnpVcekExtension),
    (Lie::OtherChip, Rejection::SnpChipMismatch),
    (Lie::OtherTcb, Rejection::SnpTcbMismatch),
    (Lie::OtherProductName, Rejection::SnpProductMismatch),
    (Lie::NoCrl, Rejection::CrlMissing),
    (Lie::MalformedCrl, Rejection::CrlMalformed),
    (Lie::CrlIssuer, Rejection::CrlIssuer),
    (Lie::CrlSignature, Rejection::CrlSignature),
    (Lie::CrlNotYetValid, Rejection::CrlNotYetValid),
    (Lie::CrlExpired, Rejection::CrlExpired),
    (Lie::Revoked, Rejection::CertificateRevoked),
];

#[test]
fn accepts_an_honest_genoa_with_a_report_of_version_3() {
    let world = World::genoa();
    let result = world.appraise().unwrap();
    assert_eq!(result.tee(), TeeKind::SevSnp);
    assert_eq!(result.shape(), "cpu-2x2048");
    assert_eq!(result.statement(), &world.statement);
    assert_eq!(result.models().len(), 1);
    assert_eq!(*result.measurement_key(), snp_measurement_key(&MEASUREMENT));
    assert_eq!(result.not_after(), UnixTime(NOW + 3600));
}

#[test]
fn accepts_an_honest_turin_with_a_report_of_version_5() {
    let result = World::of(Product::Turin).appraise().unwrap();
    let Some(ChipIdentity::SevSnp(chip)) = result.chip().certified() else {
        panic!("an AMD chip");
    };
    assert!(chip.as_bytes()[8..].iter().all(|byte| *byte == 0));
}

#[test]
fn refuses_every_lie_for_its_own_reason() {
    for (lie, reason) in LIES {
        let mut world = World::genoa();
        world.machine = world.machine.with(*lie);
        assert_eq!(world.appraise(), Err(*reason), "{lie}");
    }
}

#[test]
fn refuses_every_lie_of_a_turin_too() {
    // Turin's VCEK has no level for the reserved byte, so there it differs from the VCEK.
    let lies = LIES.iter().filter(|(lie, _)| *lie != Lie::TcbReserved);
    for (lie, reason) in lies {
        let mut world = World::of(Product::Turin);
        world.machine = world.machine.with(*lie);
        assert_eq!(world.appraise(), Err(*reason), "{lie}");
    }
}

#[test]
fn a_mitigation_that_the_policy_wants_must_be_on_now_and_have_been_on_at_launch() {
    let mut world = World::of(Product::Turin);
    let mitigations = |world: &mut World, bits| {
        for entry in &mut world.policy.snp.tcb_minima {
            entry.mitigations = bits;
        }
    };
    mitigations(&mut world, 1);
    assert!(world.appraise().is_ok());
    world.machine = world.machine.with(Lie::LaunchMitigation);
    assert_eq!(world.appraise(), Err(Rejection::SnpMitigation));
    let mut world = World::of(Product::Turin);
    mitigations(&mut world, 3);
    assert_eq!(world.appraise(), Err(Rejection::SnpMitigation));
}

#[test]
fn production_anchors_refuse_a_research_certificate_by_its_marker() {
    let mut world = World::genoa();
    world.references.profile = Profile::Release;
    world.anchors = TrustAnchors::PRODUCTION;
    assert_eq!(world.appraise(), Err(Rejection::ResearchCertificate));
}

#[test]
fn production_anchors_refuse_an_unmarked_self_made_root_by_its_pin() {
    // The marked root is replaced by an unmarked authority, so only the pin is left to refuse.
    let authority = include_bytes!("../../../tests/fixtures/snp/authorities/genoa-asvk.der");
    let mut world = World::genoa();
    world.references.profile = Profile::Release;
    world.anchors = TrustAnchors::PRODUCTION;
    world.machine = world.machine.with(Lie::Unmarked);
    let mut evidence = world.evidence();
    let mut items = Endorsements::default();
    let ask = evidence.endorsements.get(EndorsementKind::SnpAsk).unwrap();
    let vcek = evidence.endorsements.get(EndorsementKind::SnpVcek).unwrap();
    for (kind, bytes) in [
        (EndorsementKind::SnpArk, authority.as_slice()),
        (EndorsementKind::SnpAsk, ask),
        (EndorsementKind::SnpVcek, vcek),
    ] {
        items.insert(kind, bytes.to_vec()).unwrap();
    }
    evidence.endorsements = items;
    let refused = world.appraise_this(&evidence);
    assert_eq!(refused, Err(Rejection::CertificateRoot));
}

#[test]
fn a_result_ends_with_the_first_endorsement() {
    let mut world = World::genoa();
    world.policy.result_lifetime_seconds = u32::MAX;
    let list_end = NOW - 3600 + 180 * 86_400;
    assert_eq!(world.appraise().unwrap().not_after(), UnixTime(list_end));
}

#[test]
fn the_clock_decides_at_both_ends_of_a_revocation_list() {
    let mut world = World::genoa();
    world.policy.host_time_tolerance_seconds = u32::MAX;
    let evidence = world.evidence();
    let (start, end) = (NOW - 3600, NOW - 3600 + 180 * 86_400);
    for (at, expected) in [
        (start - 1, Some(Rejection::CrlNotYetValid)),
        (start, None),
        (end - 1, None),
        (end, Some(Rejection::CrlExpired)),
    ] {
        world.at = UnixTime(at);
        assert_eq!(world.appraise_this(&evidence).err(), expected, "at {at}");
    }
}

fn under_a_vlek() -> World {
    let mut world = World::genoa();
    crate::binding::under_a_vlek(&mut world);
    world
}

#[test]
fn a_report_under_a_vlek_is_accepted_only_where_the_policy_names_it() {
    let mut world = under_a_vlek();
    let verdict = world.appraise_in_full(&world.evidence()).verdict;
    assert_eq!(verdict.rejection(), None);
    let outcome = |of: &str, check| {
        let mut checks = verdict.checks().iter();
        let found = checks.find(|found| found.of.to_string() == of && found.check == check);
        found.map(|found| found.outcome)
    };
    let tolerated = Outcome::Tolerated(Weakness::SnpVlek);
    assert_eq!(outcome("key-info", Rejection::SnpVlek), Some(tolerated));
    let signed = Rejection::CertificateSignature;
    assert_eq!(outcome("asvk", signed), Some(Outcome::Passed));
    assert_eq!(outcome("vlek", signed), Some(Outcome::Passed));
    let chip = Rejection::SnpChipMismatch;
    assert_eq!(outcome("vlek", chip), Some(Outcome::NotNeeded));
    let certified = Rejection::ChipNotCertified;
    assert_eq!(outcome("chip", certified), Some(Outcome::NotNeeded));
    world.policy.tolerated.pop();
    assert_eq!(world.appraise(), Err(Rejection::SnpVlek));
}

#[test]
fn result_and_verdict_say_whether_a_certificate_names_the_chip() {
    let own = World::genoa();
    let appraisal = own.appraise_in_full(&own.evidence());
    let chip = *appraisal.result.unwrap().chip();
    assert!(matches!(chip, ReportedChip::Certified(_)));
    assert!(appraisal.verdict.machine().unwrap().chip_certified);
    let shared = under_a_vlek();
    let appraisal = shared.appraise_in_full(&shared.evidence());
    let found = *appraisal.result.unwrap().chip();
    assert_eq!(found, ReportedChip::Uncertified(*chip.claimed()));
    assert_eq!(found.certified(), None);
    let machine = appraisal.verdict.machine().unwrap().clone();
    assert!(!machine.chip_certified);
    assert_eq!(machine.chip, chip.claimed().to_string());
}

#[test]
fn a_vcek_does_not_pass_for_a_vlek_nor_the_reverse() {
    let chips = World::genoa().evidence();
    let world = under_a_vlek();
    let shared = world.evidence();
    for (report, stapled) in [(&chips, &shared), (&shared, &chips)] {
        let mut mixed = report.clone();
        mixed.endorsements = stapled.endorsements.clone();
        let refused = world.appraise_this(&mixed);
        assert_eq!(refused, Err(Rejection::SnpVcekExtension));
    }
}

#[test]
fn a_certificate_twice_in_the_chain_is_refused() {
    let world = World::genoa();
    let good = world.evidence();
    for (from, to) in [
        (EndorsementKind::SnpArk, EndorsementKind::SnpAsk),
        (EndorsementKind::SnpAsk, EndorsementKind::SnpVcek),
    ] {
        let mut items = Endorsements::default();
        for kind in [
            EndorsementKind::SnpArk,
            EndorsementKind::SnpAsk,
            EndorsementKind::SnpVcek,
            EndorsementKind::SnpCrl,
        ] {
            let source = if kind == to { from } else { kind };
            let der = good.endorsements.get(source).unwrap().to_vec();
            items.insert(kind, der).unwrap();
        }
        let mut twice = good.clone();
        twice.endorsements = items;
        let refused = world.appraise_this(&twice);
        assert_eq!(refused, Err(Rejection::CertificateMalformed), "{to:?}");
    }
}
