//! Real reports of real machines, with AMD's own certificates and production anchors.
//!
//! They bind no Statement of ours, so the best that they can reach is `report-data-mismatch`:
//! everything before that in the order of checks has then passed.

use mock_tee::Lie;
use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::evidence::Evidence;
use protocol::reference_values::Profile;
use verifier::{
    AppraisalPolicy, Outcome, Product, Rejection, Tcb, TcbMinimum, TrustAnchors, Weakness,
};

use crate::world::World;

macro_rules! fixture {
    ($case:literal) => {
        Fixture {
            report: include_bytes!(concat!(
                "../../../tests/fixtures/snp/",
                $case,
                "/report.bin"
            )),
            items: [
                (
                    EndorsementKind::SnpArk,
                    include_bytes!(concat!("../../../tests/fixtures/snp/", $case, "/ark.der")),
                ),
                (
                    EndorsementKind::SnpAsk,
                    include_bytes!(concat!("../../../tests/fixtures/snp/", $case, "/ask.der")),
                ),
                (
                    EndorsementKind::SnpVcek,
                    include_bytes!(concat!("../../../tests/fixtures/snp/", $case, "/vcek.der")),
                ),
            ],
        }
    };
}

struct Fixture {
    report: &'static [u8],
    items: [(EndorsementKind, &'static [u8]); 3],
}

const GOOD: Fixture = fixture!("milan-v2");
const DEBUG: Fixture = fixture!("milan-v2-debug");

/// Names every weakness of the two reports, and nothing else.
fn tolerant() -> AppraisalPolicy {
    let mut policy = AppraisalPolicy::strict();
    policy.tolerated = vec![
        Weakness::SnpMilan,
        Weakness::SnpReportVersion2,
        Weakness::SnpNoRevocationList,
        Weakness::SnpSeveralSockets,
        Weakness::SnpPageSwap,
        Weakness::SnpAliasCheckIncomplete,
        Weakness::SnpSmt,
        Weakness::SnpTsmeOff,
        Weakness::SnpEccOff,
        Weakness::SnpCiphertextVisible,
        Weakness::SnpRaplReadable,
    ];
    policy.snp.tcb_minima = vec![TcbMinimum {
        product: Product::Milan,
        model: None,
        stepping: None,
        tcb: Tcb {
            fmc: 0,
            bootloader: 2,
            tee: 0,
            snp: 5,
            microcode: 0x44,
        },
        mitigations: 0,
    }];
    policy
}

fn appraise(fixture: &Fixture, policy: AppraisalPolicy) -> Rejection {
    let (world, evidence) = prepare(fixture, policy);
    world.appraise_this(&evidence).unwrap_err()
}

fn prepare(fixture: &Fixture, policy: AppraisalPolicy) -> (World, Evidence) {
    let mut world = World::genoa();
    world.references.profile = Profile::Release;
    world.anchors = TrustAnchors::PRODUCTION;
    world.policy = policy;
    let mut evidence = world.evidence();
    evidence.report = fixture.report.to_vec();
    evidence.endorsements = endorsements(fixture.items);
    (world, evidence)
}

fn endorsements(list: [(EndorsementKind, &[u8]); 3]) -> Endorsements {
    let mut items = Endorsements::default();
    for (kind, bytes) in list {
        items.insert(kind, bytes.to_vec()).unwrap();
    }
    items
}

#[test]
fn a_real_report_passes_under_a_policy_that_names_its_weaknesses() {
    assert_eq!(appraise(&GOOD, tolerant()), Rejection::ReportDataMismatch);
}

#[test]
fn each_weakness_of_a_real_report_must_be_named() {
    for (weakness, reason) in [
        (Weakness::SnpMilan, Rejection::SnpMilan),
        (Weakness::SnpReportVersion2, Rejection::SnpReportVersion),
        (Weakness::SnpNoRevocationList, Rejection::CrlMissing),
        (Weakness::SnpSeveralSockets, Rejection::SnpSeveralSockets),
        (Weakness::SnpTsmeOff, Rejection::SnpTsmeOff),
        (Weakness::SnpEccOff, Rejection::SnpEccOff),
        (Weakness::SnpPageSwap, Rejection::SnpPageSwap),
        (Weakness::SnpAliasCheckIncomplete, Rejection::SnpAliasCheck),
        (Weakness::SnpSmt, Rejection::SnpSmt),
        (
            Weakness::SnpCiphertextVisible,
            Rejection::SnpCiphertextVisible,
        ),
        (Weakness::SnpRaplReadable, Rejection::SnpRaplReadable),
    ] {
        let mut policy = tolerant();
        policy.tolerated.retain(|named| *named != weakness);
        assert_eq!(appraise(&GOOD, policy), reason, "{weakness:?}");
    }
}

#[test]
fn refuses_a_real_debuggable_guest_under_every_policy() {
    assert_eq!(appraise(&DEBUG, tolerant()), Rejection::SnpDebug);
}

#[test]
fn the_strict_policy_refuses_both_real_reports() {
    for fixture in [&GOOD, &DEBUG] {
        let refused = appraise(fixture, AppraisalPolicy::strict());
        assert_eq!(refused, Rejection::SnpReportVersion);
    }
}

#[test]
fn refuses_a_real_report_with_another_real_chips_key() {
    let (world, mut evidence) = prepare(&GOOD, tolerant());
    let [ark, ask, _] = GOOD.items;
    let [_, _, other] = DEBUG.items;
    evidence.endorsements = endorsements([ark, ask, other]);
    let refused = world.appraise_this(&evidence);
    assert_eq!(refused, Err(Rejection::SnpChipMismatch));
}

#[test]
fn no_flipped_byte_of_a_real_report_passes() {
    let (world, good) = prepare(&GOOD, tolerant());
    for at in (0..GOOD.report.len()).step_by(7) {
        let mut evidence = good.clone();
        evidence.report[at] ^= 0x80;
        let refused = world.appraise_this(&evidence);
        assert_ne!(refused, Err(Rejection::ReportDataMismatch), "byte {at}");
    }
}

/// AMD's authorities of a line: root, and who issues VCEKs and VLEKs.
macro_rules! authorities {
    ($line:literal) => {{
        [
            &include_bytes!(concat!(
                "../../../tests/fixtures/snp/authorities/",
                $line,
                "-ark.der"
            ))[..],
            include_bytes!(concat!(
                "../../../tests/fixtures/snp/authorities/",
                $line,
                "-ask.der"
            )),
            include_bytes!(concat!(
                "../../../tests/fixtures/snp/authorities/",
                $line,
                "-asvk.der"
            )),
        ]
    }};
}

#[test]
fn amds_authorities_of_every_line_lead_to_the_pinned_roots() {
    for [ark, ask, asvk] in [
        authorities!("milan"),
        authorities!("genoa"),
        authorities!("turin"),
    ] {
        for (lie, authority, of, key) in [
            (None, ask, "ask", "vcek"),
            (Some(Lie::Vlek), asvk, "asvk", "vlek"),
        ] {
            let (mut world, _) = prepare(&GOOD, tolerant());
            if let Some(lie) = lie {
                world.machine = world.machine.with(lie);
            }
            let mut evidence = world.evidence();
            let own = evidence.endorsements.get(EndorsementKind::SnpVcek);
            let own = own.unwrap().to_vec();
            evidence.endorsements = endorsements([
                (EndorsementKind::SnpArk, ark),
                (EndorsementKind::SnpAsk, authority),
                (EndorsementKind::SnpVcek, &own),
            ]);
            let verdict = world.appraise_in_full(&evidence).verdict;
            let outcome = |of: &str, check| {
                let mut checks = verdict.checks().iter();
                let found = checks.find(|found| found.of.to_string() == of && found.check == check);
                found.map(|found| found.outcome)
            };
            for (of, check) in [
                ("ark", Rejection::CertificateRoot),
                (of, Rejection::CertificateNotAuthority),
                (of, Rejection::CertificateIssuer),
                (of, Rejection::CertificateSignature),
            ] {
                assert_eq!(outcome(of, check), Some(Outcome::Passed), "{of} {check:?}");
            }
            // The simulated key under it is nobody's.
            let issuer = Rejection::CertificateIssuer;
            assert_eq!(outcome(key, issuer), Some(Outcome::Failed));
        }
    }
}
