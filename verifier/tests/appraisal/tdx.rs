//! TDX: honest machines are accepted, and every lie is refused for its own reason.

use mock_tee::Lie;
use mock_tee::tdx::{PlatformFlags, QuoteVersion};
use protocol::digest::{EventLogDigest, Rtmr};
use protocol::event_log::{Algorithm, EventLog};
use protocol::machine_grant::ChipIdentity;
use protocol::reference_values::{Profile, tdx_measurement_key};
use protocol::tee::TeeKind;
use sha2::{Digest as _, Sha256};
use verifier::{
    AcceptedLevel, Advisory, MrSeam, Outcome, Rejection, SeamRule, TdxStatus, TrustAnchors,
    UnixTime, Weakness, Xfam,
};

use crate::binding::Change;
use crate::world::{Machine, NOW, REGISTERS, World};

/// One lie, one reason.
pub(crate) const LIES: &[(Lie, Rejection)] = &[
    (Lie::Truncated, Rejection::TdxQuoteMalformed),
    (Lie::TrailingBytes, Rejection::TdxQuoteMalformed),
    (Lie::ReportVersion, Rejection::TdxQuoteVersion),
    (Lie::BadSignature, Rejection::TdxVerification),
    (Lie::Debug, Rejection::TdxDebug),
    (Lie::Migratable, Rejection::TdxMigratable),
    (Lie::PolicyBit, Rejection::TdxAttributes),
    (Lie::NoSeptVeDisable, Rejection::TdxAttributes),
    (Lie::Xfam, Rejection::TdxXfam),
    (Lie::Module, Rejection::TdxModule),
    (Lie::ModuleRollback, Rejection::TdxTcbOrder),
    (Lie::Relaunch, Rejection::TdxTcbStatus),
    (Lie::ServiceTd, Rejection::TdxServiceTd),
    (Lie::Owner, Rejection::TdxOwner),
    (Lie::Rtmr3, Rejection::TdxRtmr3),
    (Lie::OtherMeasurement, Rejection::RegistersUnknown),
    (Lie::WrongHostData, Rejection::ConfigurationMismatch),
    (Lie::StaleNonce, Rejection::ReportDataMismatch),
    (Lie::NoEndorsement, Rejection::EndorsementMissing),
    (Lie::MalformedCertificate, Rejection::CertificateMalformed),
    (Lie::SelfSignedRoot, Rejection::CertificateRoot),
    (Lie::Unmarked, Rejection::ResearchMarkerMissing),
    (Lie::CertificateSignature, Rejection::TdxVerification),
    (Lie::NotYetValid, Rejection::CertificateNotYetValid),
    (Lie::Expired, Rejection::CertificateExpired),
    (Lie::MalformedCrl, Rejection::CrlMalformed),
    (Lie::CrlSignature, Rejection::TdxVerification),
    (Lie::CrlNotYetValid, Rejection::CrlNotYetValid),
    (Lie::CrlExpired, Rejection::CrlExpired),
    (Lie::Revoked, Rejection::CertificateRevoked),
    (Lie::AuthorityRevoked, Rejection::CertificateRevoked),
    (Lie::MalformedCollateral, Rejection::CollateralMalformed),
    (Lie::CollateralNotYetValid, Rejection::CollateralNotYetValid),
    (Lie::CollateralExpired, Rejection::CollateralExpired),
    (Lie::CollateralTooOld, Rejection::CollateralTooOld),
    (Lie::OldEvaluation, Rejection::TdxEvaluationNumber),
    (Lie::OutOfDate, Rejection::TdxTcbStatus),
    (Lie::Advisory, Rejection::TdxAdvisory),
    (Lie::OtherPlatform, Rejection::TdxVerification),
    (Lie::EnclaveOutOfDate, Rejection::TdxTcbStatus),
    (Lie::OtherEnclave, Rejection::TdxVerification),
    (Lie::TextSignature, Rejection::TdxVerification),
];

pub(crate) const CHANGES: &[Change] = &[
    ("multithreading, not tolerated", Rejection::TdxSmt, |w| {
        forbid(w, Weakness::TdxSmt)
    }),
    (
        "cached keys, not tolerated",
        Rejection::TdxCachedKeys,
        |w| {
            forbid(w, Weakness::TdxCachedKeys);
        },
    ),
    (
        "a dynamic platform, not tolerated",
        Rejection::TdxDynamicPlatform,
        |w| {
            forbid(w, Weakness::TdxDynamicPlatform);
        },
    ),
    ("an empty list of statuses", Rejection::TdxTcbStatus, |w| {
        w.policy.tdx.levels.clear()
    }),
    ("an empty list of XFAM values", Rejection::TdxXfam, |w| {
        w.policy.tdx.xfam.clear()
    }),
    ("an empty list of modules", Rejection::TdxModule, |w| {
        w.policy.tdx.modules = SeamRule::Only(Vec::new());
    }),
    (
        "an event log of somebody else",
        Rejection::EventLogMismatch,
        |w| {
            w.event_log = vec![1, 2, 3];
        },
    ),
    (
        "missing updates without an hour of grace",
        Rejection::TdxGrace,
        |w| {
            w.machine = w.machine.clone().with(Lie::OutOfDate);
            w.policy.tdx.levels.push(out_of_date(0));
        },
    ),
    (
        "an event log of another form",
        Rejection::EventLogMalformed,
        |w| log(w, vec![1, 2, 3]),
    ),
    (
        "an event log of another machine",
        Rejection::EventLogReplay,
        |w| log(w, CCEL.to_vec()),
    ),
    (
        "no event log where the Statement names one",
        Rejection::EventLogMismatch,
        |w| {
            w.statement.event_log = EventLogDigest([1; 32]);
        },
    ),
    (
        "an empty list of shapes",
        Rejection::RegistersUnknown,
        |w| w.references.shapes.clear(),
    ),
];

/// A real log of a TD's firmware.
const CCEL: &[u8] = include_bytes!("../../../tests/fixtures/tdx/eventlog/ccel.bin");

/// The Statement names this log.
fn log(world: &mut World, bytes: Vec<u8>) {
    world.statement.event_log = EventLogDigest(Sha256::digest(&bytes).into());
    world.event_log = bytes;
}

fn out_of_date(grace_hours: u32) -> AcceptedLevel {
    AcceptedLevel {
        status: TdxStatus::OutOfDate,
        advisories: Vec::new(),
        grace_hours,
    }
}

fn forbid(world: &mut World, weakness: Weakness) {
    world.policy.tolerated.retain(|named| *named != weakness);
}

#[test]
fn accepts_honest_machines_with_quotes_of_both_versions() {
    for version in [QuoteVersion::V4, QuoteVersion::V5] {
        let result = World::tdx(version).appraise().unwrap();
        assert_eq!(result.tee(), TeeKind::Tdx);
        assert_eq!(result.shape(), "cpu-2x2048");
        assert!(matches!(
            result.chip().certified(),
            Some(ChipIdentity::Tdx(_))
        ));
        let [rtmr0, rtmr1, rtmr2] = REGISTERS.rtmrs;
        let key = tdx_measurement_key(&REGISTERS.mrtd, &rtmr0, &rtmr1, &rtmr2);
        assert_eq!(*result.measurement_key(), key);
        assert_eq!(result.not_after(), UnixTime(NOW + 3600));
    }
}

#[test]
fn accepts_an_event_log_that_leads_to_the_registers() {
    let replayed = EventLog::parse(CCEL).unwrap().replay(Algorithm::Sha384);
    let rtmrs = [1, 2, 3].map(|register| {
        let value = replayed.iter().find(|known| known.register == register);
        Rtmr(value.map_or([0; 48], |known| known.value.as_slice().try_into().unwrap()))
    });
    let mut world = World::tdx_with(QuoteVersion::V4, rtmrs);
    assert!(world.appraise().is_ok(), "without a log");
    log(&mut world, CCEL.to_vec());
    assert!(world.appraise().is_ok(), "with its log");
    log(&mut world, CCEL[..CCEL.len() / 2].to_vec());
    assert!(world.appraise().is_err(), "with half of its log");
    // Every register is led to, not just some of them.
    for number in 0..3 {
        let mut others = rtmrs;
        others[number].0[0] ^= 1;
        let mut world = World::tdx_with(QuoteVersion::V4, others);
        log(&mut world, CCEL.to_vec());
        let refused = world.appraise();
        assert_eq!(refused, Err(Rejection::EventLogReplay), "RTMR{number}");
    }
    // Nor is anything written of a register that is not among them.
    let end = CCEL.iter().rposition(|byte| *byte != 0xff).unwrap() + 1;
    let known = EventLog::parse(CCEL).unwrap().events.len();
    for register in [0_u32, 4] {
        let head = [register, 0x0d, 1].map(u32::to_le_bytes).concat();
        let event = [head.as_slice(), &0x0c_u16.to_le_bytes(), &[7; 48], &[0; 4]].concat();
        let longer = [&CCEL[..end], &event].concat();
        let parsed = EventLog::parse(&longer).unwrap();
        assert_eq!(parsed.events.len(), known + 1);
        log(&mut world, longer);
        let refused = world.appraise();
        assert_eq!(
            refused,
            Err(Rejection::EventLogReplay),
            "register {register}"
        );
    }
}

#[test]
fn missing_updates_pass_within_the_hours_of_grace_and_not_after() {
    // The level is of 2026-01-01, the clock stands at 2026-11-22: 325 days.
    for (hours, expected) in [(325 * 24, None), (325 * 24 - 1, Some(Rejection::TdxGrace))] {
        let mut world = World::tdx(QuoteVersion::V5);
        world.machine = world.machine.with(Lie::OutOfDate);
        world.policy.tdx.levels.push(out_of_date(hours));
        assert_eq!(world.appraise().err(), expected, "{hours} hours");
    }
}

#[test]
fn the_hours_of_grace_count_from_the_date_of_what_lacks_updates_the_enclave_too() {
    // The enclave's level is of 2026-06-01: 174 days. The platform's is older and lacks nothing.
    for (hours, expected) in [
        (u32::MAX, None),
        (174 * 24, None),
        (174 * 24 - 1, Some(Rejection::TdxGrace)),
        (0, Some(Rejection::TdxGrace)),
    ] {
        let mut world = World::tdx(QuoteVersion::V5);
        world.machine = world.machine.with(Lie::EnclaveOutOfDate);
        world.policy.tdx.levels.push(out_of_date(hours));
        assert_eq!(world.appraise().err(), expected, "{hours} hours");
    }
}

#[test]
fn a_guest_older_than_its_module_passes_where_the_policy_names_that() {
    let mut world = World::tdx(QuoteVersion::V5);
    world.machine = world.machine.with(Lie::Relaunch);
    let mut level = out_of_date(0);
    level.status = TdxStatus::TdRelaunchAdvised;
    world.policy.tdx.levels.push(level);
    assert!(world.appraise().is_ok());
}

#[test]
fn an_advisory_passes_only_under_the_status_that_names_it() {
    let name = || "INTEL-SA-99999".parse().unwrap();
    let mut world = World::tdx(QuoteVersion::V4);
    world.machine = world.machine.with(Lie::Advisory);
    let mut other = out_of_date(u32::MAX);
    other.advisories.push(name());
    world.policy.tdx.levels.push(other);
    assert_eq!(world.appraise(), Err(Rejection::TdxAdvisory));
    world.policy.tdx.levels[0].advisories.push(name());
    assert!(world.appraise().is_ok());
}

#[test]
fn a_weakness_that_the_platform_is_said_not_to_have_or_nothing_is_said_of_needs_no_tolerance() {
    let all = |said| PlatformFlags {
        dynamic: said,
        cached_keys: said,
        multithreading: said,
    };
    let has = Some(true);
    let refused = |platform| {
        let mut world = World::tdx(QuoteVersion::V4);
        world.policy.tolerated.clear();
        let Machine::Tdx(machine) = world.machine else {
            panic!("another machine");
        };
        world.machine = Machine::Tdx(machine.on(platform));
        world.appraise().err()
    };
    for said in [None, Some(false)] {
        let none = all(said);
        assert_eq!(refused(none), None, "{said:?}");
        for (platform, reason) in [
            (
                PlatformFlags {
                    dynamic: has,
                    ..none
                },
                Rejection::TdxDynamicPlatform,
            ),
            (
                PlatformFlags {
                    cached_keys: has,
                    ..none
                },
                Rejection::TdxCachedKeys,
            ),
            (
                PlatformFlags {
                    multithreading: has,
                    ..none
                },
                Rejection::TdxSmt,
            ),
        ] {
            assert_eq!(refused(platform), Some(reason), "{platform:?}");
        }
    }
}

#[test]
fn refuses_every_lie_for_its_own_reason_in_quotes_of_both_versions() {
    for version in [QuoteVersion::V4, QuoteVersion::V5] {
        for (lie, reason) in LIES {
            let mut world = World::tdx(version);
            world.machine = world.machine.with(*lie);
            assert_eq!(world.appraise(), Err(*reason), "{lie} in {version:?}");
        }
    }
}

#[test]
fn an_attribute_fails_its_own_check_and_no_other() {
    for (lie, check) in [
        (Lie::Debug, Rejection::TdxDebug),
        (Lie::Migratable, Rejection::TdxMigratable),
        (Lie::PolicyBit, Rejection::TdxAttributes),
    ] {
        let mut world = World::tdx(QuoteVersion::V4);
        world.machine = world.machine.with(lie);
        let verdict = world.appraise_in_full(&world.evidence()).verdict;
        let checks = verdict.checks().iter();
        let own = checks.filter(|check| check.of.to_string() == "td-attributes");
        let failed = own.filter(|check| check.outcome == Outcome::Failed);
        let failed: Vec<_> = failed.map(|check| check.check).collect();
        assert_eq!(failed, [check], "{lie}");
    }
}

#[test]
fn refuses_every_change_for_its_own_reason() {
    for (name, reason, change) in CHANGES {
        let mut world = World::tdx(QuoteVersion::V4);
        change(&mut world);
        assert_eq!(world.appraise(), Err(*reason), "{name}");
    }
}

#[test]
fn one_wrong_run_time_register_is_an_unknown_machine() {
    for number in 0..3 {
        let mut world = World::tdx(QuoteVersion::V4);
        for shape in &mut world.references.shapes {
            let protocol::reference_values::ExpectedRegisters::Tdx {
                rtmr0,
                rtmr1,
                rtmr2,
                ..
            } = &mut shape.registers
            else {
                continue;
            };
            [rtmr0, rtmr1, rtmr2][number].value.0[47] ^= 1;
        }
        assert_eq!(
            world.appraise(),
            Err(Rejection::RegistersUnknown),
            "RTMR{number}"
        );
    }
}

#[test]
fn production_anchors_refuse_a_research_certificate_by_its_marker() {
    let mut world = World::tdx(QuoteVersion::V4);
    world.references.profile = Profile::Release;
    world.anchors = TrustAnchors::PRODUCTION;
    assert_eq!(world.appraise(), Err(Rejection::ResearchCertificate));
}

#[test]
fn a_result_ends_with_the_first_endorsement() {
    let mut world = World::tdx(QuoteVersion::V4);
    world.policy.result_lifetime_seconds = u32::MAX;
    let end = NOW - 3600 + 30 * 86_400;
    assert_eq!(world.appraise().unwrap().not_after(), UnixTime(end));
}

#[test]
fn the_clock_decides_at_both_ends_of_collateral_and_at_the_age_that_is_taken() {
    let mut world = World::tdx(QuoteVersion::V4);
    world.policy.host_time_tolerance_seconds = u32::MAX;
    let evidence = world.evidence();
    let (start, month) = (NOW - 3600, 30 * 86_400);
    for (age, at, expected) in [
        (u32::MAX, start - 1, Some(Rejection::CollateralNotYetValid)),
        (0, start, None),
        (0, start + 1, Some(Rejection::CollateralTooOld)),
        (100, start + 100, None),
        (100, start + 101, Some(Rejection::CollateralTooOld)),
        (u32::MAX, start + month - 1, None),
        (u32::MAX, start + month, Some(Rejection::CollateralExpired)),
    ] {
        world.policy.tdx.collateral_age_seconds = age;
        world.at = UnixTime(at);
        let found = world.appraise_this(&evidence).err();
        assert_eq!(found, expected, "{age} {at}");
    }
}

#[test]
fn what_a_policy_lists_of_a_platform_is_taken_at_its_edge() {
    let mut world = World::tdx(QuoteVersion::V4);
    let evidence = world.evidence();
    let module = MrSeam(evidence.report[64..112].try_into().unwrap());
    let xfam = Xfam(evidence.report[176..184].try_into().unwrap());
    world.policy.tdx.modules = SeamRule::Only(vec![MrSeam([1; 48]), module]);
    world.policy.tdx.xfam = vec![Xfam([1; 8]), xfam];
    world.policy.tdx.minimum_evaluation_number = 20;
    assert!(world.appraise_this(&evidence).is_ok());
    world.policy.tdx.minimum_evaluation_number = 21;
    let refused = world.appraise_this(&evidence).err();
    assert_eq!(refused, Some(Rejection::TdxEvaluationNumber));
    world.policy.tdx.minimum_evaluation_number = 20;
    world.policy.tdx.modules = SeamRule::Only(vec![MrSeam([1; 48])]);
    let refused = world.appraise_this(&evidence).err();
    assert_eq!(refused, Some(Rejection::TdxModule));
}

#[test]
fn an_advisory_is_listed_once_and_several_in_their_order() {
    let mut world = World::tdx(QuoteVersion::V4);
    world.machine = world.machine.with(Lie::Advisory);
    let verdict = world.appraise_in_full(&world.evidence()).verdict;
    let mut checks = verdict.checks().iter();
    let check = checks.find(|check| check.check == Rejection::TdxAdvisory);
    assert_eq!(check.unwrap().found, "INTEL-SA-99999");
}

#[test]
fn an_advisory_has_five_digits() {
    assert!("INTEL-SA-00615".parse::<Advisory>().is_ok());
    for text in [
        "",
        "INTEL-SA-",
        "INTEL-SA-0061",
        "INTEL-SA-006155",
        "INTEL-SA-0061x",
        "00615",
    ] {
        assert!(text.parse::<Advisory>().is_err(), "{text}");
    }
}

#[test]
fn a_report_of_the_other_vendor_is_no_quote() {
    let world = World::tdx(QuoteVersion::V4);
    let mut evidence = world.evidence();
    evidence.report = World::genoa().evidence().report;
    let refused = world.appraise_this(&evidence);
    assert_eq!(refused, Err(Rejection::TdxQuoteVersion));
}
