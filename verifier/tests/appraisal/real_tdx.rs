//! Real quotes of real platforms, with Intel's own collateral and the production anchor, at the
//! dates at which that collateral was valid.
//!
//! They bind no Statement of ours, so the best that they can reach is `report-data-mismatch`:
//! everything before that in the order of checks has then passed.

use mock_tee::tdx::QuoteVersion;
use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::evidence::Evidence;
use protocol::reference_values::Profile;
use verifier::{
    AcceptedLevel, AppraisalPolicy, Rejection, TdxStatus, TrustAnchors, UnixTime, Weakness,
};

use crate::world::World;

struct Fixture {
    quote: &'static [u8],
    collateral: &'static [u8],
    at: u64,
}

macro_rules! dcap_qvl {
    ($name:literal, $at:literal) => {
        Fixture {
            quote: include_bytes!(concat!(
                "../../../tests/fixtures/tdx/dcap-qvl/",
                $name,
                ".bin"
            )),
            collateral: include_bytes!(concat!(
                "../../../tests/fixtures/tdx/dcap-qvl/",
                $name,
                "_collateral.json"
            )),
            at: $at,
        }
    };
}

const UP_TO_DATE: Fixture = dcap_qvl!("tdx_quote", 1_750_329_148);
/// 2026-03-01.
const OUTDATED: Fixture = dcap_qvl!("tdx_quote_outdated", 1_772_323_200);
const TD15_EX: Fixture = dcap_qvl!("tdx_quote_td15ex", 1_792_000_000);
const SERVICE_TD: &[u8] =
    include_bytes!("../../../tests/fixtures/tdx/automata/tdx_v5_quote_servtd.bin");

fn prepare(fixture: &Fixture, policy: AppraisalPolicy) -> (World, Evidence) {
    let mut world = World::tdx(QuoteVersion::V4);
    world.references.profile = Profile::Release;
    world.anchors = TrustAnchors::PRODUCTION;
    world.policy = policy;
    world.at = UnixTime(fixture.at);
    world.statement.host_time = fixture.at;
    let mut evidence = world.evidence();
    evidence.report = fixture.quote.to_vec();
    evidence.endorsements = Endorsements::default();
    evidence
        .endorsements
        .insert(EndorsementKind::TdxCollateral, fixture.collateral.to_vec())
        .unwrap();
    (world, evidence)
}

fn appraise(fixture: &Fixture, policy: AppraisalPolicy) -> Rejection {
    let (world, evidence) = prepare(fixture, policy);
    world.appraise_this(&evidence).unwrap_err()
}

/// The strict policy, but for the age of Intel's evaluation.
fn evaluated_since(number: u32) -> AppraisalPolicy {
    let mut policy = AppraisalPolicy::strict();
    policy.tdx.minimum_evaluation_number = number;
    policy
}

#[test]
fn a_real_up_to_date_quote_passes_where_its_old_evaluation_is_named() {
    let refused = appraise(&UP_TO_DATE, evaluated_since(17));
    assert_eq!(refused, Rejection::ReportDataMismatch);
    let refused = appraise(&UP_TO_DATE, AppraisalPolicy::strict());
    assert_eq!(refused, Rejection::TdxEvaluationNumber);
}

#[test]
fn each_weakness_of_a_real_platform_must_be_named() {
    for (weakness, reason) in [
        (Weakness::TdxDynamicPlatform, Rejection::TdxDynamicPlatform),
        (Weakness::TdxCachedKeys, Rejection::TdxCachedKeys),
        (Weakness::TdxSmt, Rejection::TdxSmt),
    ] {
        let mut policy = evaluated_since(17);
        policy.tolerated.retain(|named| *named != weakness);
        assert_eq!(appraise(&UP_TO_DATE, policy), reason);
    }
}

#[test]
fn the_clock_decides_over_a_real_quote() {
    let refused_at = |at| {
        let (mut world, evidence) = prepare(&UP_TO_DATE, evaluated_since(17));
        world.policy.host_time_tolerance_seconds = u32::MAX;
        world.at = UnixTime(at);
        world.appraise_this(&evidence).unwrap_err()
    };
    assert_eq!(refused_at(1_751_624_655), Rejection::ReportDataMismatch);
    assert_eq!(refused_at(1_750_327_000), Rejection::CollateralNotYetValid);
    // 2025-07-19 10:00:35: the PCK list ends before TCB information does.
    assert_eq!(refused_at(1_752_919_234), Rejection::ReportDataMismatch);
    assert_eq!(refused_at(1_752_919_235), Rejection::CrlExpired);
}

#[test]
fn refuses_a_real_platform_below_every_tcb_level_whatever_the_policy_tolerates() {
    let mut policy = evaluated_since(18);
    policy.tdx.levels.push(AcceptedLevel {
        status: TdxStatus::OutOfDate,
        advisories: Vec::new(),
        grace_hours: u32::MAX,
    });
    assert_eq!(appraise(&OUTDATED, policy), Rejection::TdxVerification);
}

#[test]
fn refuses_a_real_guest_that_extended_rtmr3() {
    let refused = appraise(&TD15_EX, AppraisalPolicy::strict());
    assert_eq!(refused, Rejection::TdxRtmr3);
}

#[test]
fn refuses_a_real_quote_with_a_service_td() {
    let fixture = Fixture {
        quote: SERVICE_TD,
        ..OUTDATED
    };
    let refused = appraise(&fixture, AppraisalPolicy::strict());
    assert_eq!(refused, Rejection::TdxServiceTd);
}

#[test]
fn zeros_behind_a_real_quote_are_taken_and_nothing_else() {
    let (world, mut evidence) = prepare(&UP_TO_DATE, evaluated_since(17));
    let whole = 4936;
    assert!(evidence.report[whole..].iter().all(|byte| *byte == 0));
    evidence.report.truncate(whole);
    let refused = world.appraise_this(&evidence);
    assert_eq!(refused, Err(Rejection::ReportDataMismatch));
    evidence.report.push(1);
    let refused = world.appraise_this(&evidence);
    assert_eq!(refused, Err(Rejection::TdxQuoteMalformed));
}

#[test]
fn no_flipped_byte_of_a_real_quote_passes() {
    let (world, good) = prepare(&UP_TO_DATE, evaluated_since(17));
    // Header, report, signature, key and the quoting enclave's report with its signature.
    for at in (0..1200).step_by(11) {
        let mut evidence = good.clone();
        evidence.report[at] ^= 0x20;
        let refused = world.appraise_this(&evidence);
        assert_ne!(refused, Err(Rejection::ReportDataMismatch), "byte {at}");
    }
}
