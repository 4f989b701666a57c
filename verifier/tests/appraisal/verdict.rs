//! The verdict lists every check that was made, whatever failed first, in the same bytes always.

use std::collections::BTreeSet;

use mock_tee::Lie;
use mock_tee::snp::Product;
use mock_tee::tdx::QuoteVersion;
use protocol::digest::Nonce;
use verifier::{
    AppraisalPolicy, Check, Decision, DocumentDigest, Outcome, Rejection, TrustAnchors, UnixTime,
    Verdict, appraise_hardware,
};

use crate::world::World;
use crate::{snp, tdx};

fn verdict(world: &World) -> Verdict {
    world.appraise_in_full(&world.evidence()).verdict
}

fn failed(verdict: &Verdict) -> Vec<Rejection> {
    let failed = |check: &&Check| check.outcome == Outcome::Failed;
    let checks = verdict.checks().iter();
    checks.filter(failed).map(|check| check.check).collect()
}

fn names(verdict: &Verdict) -> BTreeSet<(Rejection, String)> {
    let name = |check: &Check| (check.check, check.of.to_string());
    verdict.checks().iter().map(name).collect()
}

fn worlds() -> [World; 4] {
    [
        World::genoa(),
        World::of(Product::Turin),
        World::tdx(QuoteVersion::V4),
        World::tdx(QuoteVersion::V5),
    ]
}

#[test]
fn an_honest_machine_passes_every_check_or_its_weakness_is_named() {
    for world in worlds() {
        let verdict = verdict(&world);
        assert_eq!(verdict.decision(), Decision::Accepted);
        assert!(verdict.machine().is_some());
        for check in verdict.checks() {
            match check.outcome {
                Outcome::Passed => {}
                Outcome::Tolerated(weakness) => {
                    assert!(world.policy.tolerated.contains(&weakness), "{check:?}");
                }
                Outcome::NotNeeded | Outcome::Failed | Outcome::NotReached => panic!("{check:?}"),
            }
        }
    }
}

#[test]
fn no_check_is_listed_twice() {
    for world in worlds() {
        let verdict = verdict(&world);
        assert_eq!(names(&verdict).len(), verdict.checks().len());
    }
}

#[test]
fn the_first_failure_of_the_list_is_the_rejection() {
    for (lie, reason) in snp::LIES {
        let mut world = World::genoa();
        world.machine = world.machine.with(*lie);
        let verdict = verdict(&world);
        assert_eq!(failed(&verdict).first(), Some(reason), "{lie}");
        assert_eq!(verdict.rejection(), Some(*reason), "{lie}");
        assert!(verdict.machine().is_none(), "{lie}");
    }
    for (lie, reason) in tdx::LIES {
        let mut world = World::tdx(QuoteVersion::V5);
        world.machine = world.machine.with(*lie);
        let verdict = verdict(&world);
        assert_eq!(failed(&verdict).first(), Some(reason), "{lie}");
        assert_eq!(verdict.rejection(), Some(*reason), "{lie}");
    }
}

#[test]
fn whatever_fails_the_list_names_the_same_checks() {
    let honest = names(&verdict(&World::genoa()));
    for (lie, _) in snp::LIES {
        if [Lie::NoCrl, Lie::Vlek].contains(lie) {
            continue; // nothing to say of a list that is not there; another key's chain
        }
        let mut world = World::genoa();
        world.machine = world.machine.with(*lie);
        assert_eq!(names(&verdict(&world)), honest, "{lie}");
    }
    let honest = names(&verdict(&World::tdx(QuoteVersion::V5)));
    for (lie, _) in tdx::LIES {
        let mut world = World::tdx(QuoteVersion::V5);
        world.machine = world.machine.with(*lie);
        assert_eq!(names(&verdict(&world)), honest, "{lie}");
    }
}

#[test]
fn independent_failures_are_all_listed_and_the_first_in_the_order_decides() {
    let mut world = World::genoa();
    world.machine = world.machine.with(Lie::Debug);
    world.channel.nonce = Nonce([0x12; 32]);
    world.references.models.clear();
    let verdict = verdict(&world);
    let expected = [
        Rejection::SnpDebug,
        Rejection::FreshnessMismatch,
        Rejection::ModelNotPinned,
    ];
    assert_eq!(failed(&verdict), expected);
    assert_eq!(verdict.rejection(), Some(Rejection::SnpDebug));
}

#[test]
fn what_could_not_be_read_is_not_reached_and_never_passed() {
    let mut world = World::genoa();
    world.machine = world.machine.with(Lie::Truncated);
    let verdict = verdict(&world);
    let outcome = |wanted| {
        let mut checks = verdict.checks().iter();
        checks
            .find(|check| check.check == wanted)
            .map(|check| check.outcome)
    };
    assert_eq!(outcome(Rejection::SnpDebug), Some(Outcome::NotReached));
    assert_eq!(
        outcome(Rejection::ReportDataMismatch),
        Some(Outcome::NotReached)
    );
    assert_eq!(outcome(Rejection::CertificateRoot), Some(Outcome::Passed));
}

#[test]
fn the_same_inputs_give_the_same_bytes_and_they_are_canonical() {
    for world in worlds() {
        let first = verdict(&world).to_json().unwrap();
        assert_eq!(verdict(&world).to_json().unwrap(), first);
        assert!(first.starts_with(r#"{"version":1,"kind":"evidence","verdict":"accepted","#));
        assert!(!first.contains('\n'));
        let parsed: serde_json::Value = serde_json::from_str(&first).unwrap();
        let policy = DocumentDigest::of_policy(&world.policy).to_string();
        assert_eq!(parsed["policy"], policy.as_str());
        let references = DocumentDigest::of_references(&world.references).to_string();
        assert_eq!(parsed["reference_values"], references.as_str());
        assert_eq!(parsed["channel_binding"], "checked");
        assert_eq!(parsed["machine"]["shape"], "cpu-2x2048");
        for check in parsed["checks"].as_array().unwrap() {
            assert!(check["found"].is_string());
        }
    }
}

#[test]
fn a_report_alone_gets_a_verdict_that_speaks_of_no_machine() {
    let world = World::genoa();
    let evidence = world.evidence();
    let appraise = |policy: &AppraisalPolicy, anchors: &TrustAnchors, at| {
        let (report, items) = (&evidence.report, &evidence.endorsements);
        let tee = evidence.statement.tee;
        appraise_hardware(tee, report, items, policy, anchors, at)
    };
    let verdict = appraise(&world.policy, &world.anchors, world.at);
    assert_eq!(verdict.decision(), Decision::Accepted);
    assert!(verdict.machine().is_none());
    let text = verdict.to_json().unwrap();
    assert!(text.contains(r#""kind":"snp-report""#));
    assert!(text.contains(r#""channel_binding":"not checked""#));
    let refused = appraise(&world.policy, &TrustAnchors::PRODUCTION, world.at);
    assert_eq!(refused.rejection(), Some(Rejection::ResearchCertificate));
    let refused = appraise(&world.policy, &world.anchors, UnixTime(0));
    assert_eq!(refused.rejection(), Some(Rejection::CertificateNotYetValid));
}
