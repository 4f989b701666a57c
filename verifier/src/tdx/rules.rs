//! What a quote and its platform must say: `docs/spec/evidence.md` §8, in that order.

use dcap_qvl::tcb_info::TcbStatus;
use dcap_qvl::{PckCertFlag, QuoteClaims};
use protocol::digest::Rtmr;

use super::quote::TdReport;
use crate::checks::{Checks, Hex, Subject};
use crate::policy::{AcceptedLevel, MrSeam, SeamRule, TdxStatus, Weakness, Xfam};
use crate::rejection::Rejection;
use crate::time::UnixTime;

/// Bit 0 is DEBUG; bits 1 to 7 belong to the same group, of which 4 to 6 are profiling.
const DEBUG_GROUP: u64 = 0xff;
const MIGRATABLE: u64 = 1 << 29;
/// Without it the host can inject #VE for pages of its choice.
const SEPT_VE_DISABLE: u64 = 1 << 28;

const ATTRIBUTES: Subject = Subject::of("td-attributes");
const XFAM: Subject = Subject::of("xfam");
const MODULE: Subject = Subject::of("tdx-module");
const GUEST: Subject = Subject::of("guest");
const RTMR3: Subject = Subject::of("rtmr3");
pub(super) const PLATFORM: Subject = Subject::of("platform");

const SWITCHES: &[Rejection] = Rejection::TdxDebug.through(Rejection::TdxAttributes);
/// `docs/spec/evidence.md` §8.3, in its order.
pub(super) const LEVEL: &[Rejection] = Rejection::TdxEvaluationNumber.through(Rejection::TdxSmt);

/// `docs/spec/evidence.md` §8.1, in its order.
pub(super) fn plan_report(checks: &mut Checks<'_>) {
    checks.plan(ATTRIBUTES, SWITCHES);
    checks.plan(XFAM, &[Rejection::TdxXfam]);
    checks.plan(MODULE, &[Rejection::TdxModule, Rejection::TdxTcbOrder]);
    checks.plan(GUEST, &[Rejection::TdxServiceTd, Rejection::TdxOwner]);
    checks.plan(RTMR3, &[Rejection::TdxRtmr3]);
}

/// What the quote says, before anybody's signature over it is checked.
pub(super) fn check_report(report: &TdReport, checks: &mut Checks<'_>) {
    check_attributes(report, checks);
    check_module(report, checks);
    checks.expect(GUEST, Rejection::TdxServiceTd, "", report.alone);
    // MROWNER and MROWNERCONFIG are the host's to choose and mean nothing to this protocol.
    let owner = report.base.mr_owner;
    let holds = owner == [0; 48] && report.base.mr_owner_config == [0; 48];
    checks.expect(GUEST, Rejection::TdxOwner, Hex(&owner), holds);
    let rtmr3 = Rtmr(report.base.rt_mr3);
    checks.expect(RTMR3, Rejection::TdxRtmr3, rtmr3, rtmr3.is_zero());
}

fn check_attributes(report: &TdReport, checks: &mut Checks<'_>) {
    let attributes = u64::from_le_bytes(report.base.td_attributes);
    let found = format_args!("{attributes:#x}");
    // Every other feature is off in machines that the host agent launches.
    let others = attributes & !(DEBUG_GROUP | MIGRATABLE);
    for (check, holds) in [
        (Rejection::TdxDebug, attributes & DEBUG_GROUP == 0),
        (Rejection::TdxMigratable, attributes & MIGRATABLE == 0),
        (Rejection::TdxAttributes, others == SEPT_VE_DISABLE),
    ] {
        checks.expect(ATTRIBUTES, check, found, holds);
    }
    let taken = &checks.terms.policy.tdx.xfam;
    let xfam = Xfam(report.base.xfam);
    checks.expect(XFAM, Rejection::TdxXfam, xfam, taken.contains(&xfam));
}

/// The module is Intel's own (signer and attributes zero), and of an accepted build; an update
/// under the running guest never goes back.
fn check_module(report: &TdReport, checks: &mut Checks<'_>) {
    let base = &report.base;
    let by_intel = base.mr_signer_seam == [0; 48] && base.seam_attributes == [0; 8];
    let build = MrSeam(base.mr_seam);
    let accepted = match &checks.terms.policy.tdx.modules {
        SeamRule::AllOfIntel => true,
        SeamRule::Only(builds) => builds.contains(&build),
    };
    let holds = by_intel && accepted;
    checks.expect(MODULE, Rejection::TdxModule, build, holds);
    let launched = base.tee_tcb_svn;
    let running = report.running_under.unwrap_or(launched);
    let found = format_args!("launch {} current {}", Hex(&launched), Hex(&running));
    let holds = running.iter().zip(&launched).all(|(now, then)| now >= then);
    checks.expect(MODULE, Rejection::TdxTcbOrder, found, holds);
}

/// What Intel says of the platform, once the chain of signatures is checked.
pub(super) fn check_platform(claims: &QuoteClaims, checks: &mut Checks<'_>) {
    let least = checks.terms.policy.tdx.minimum_evaluation_number;
    let number = claims.tcb.eval_data_number;
    let found = format_args!("{number}; at least {least}");
    let step = Rejection::TdxEvaluationNumber;
    checks.expect(PLATFORM, step, found, number >= least);
    check_level(claims, checks);
    let pck = &claims.platform.pck;
    for (flag, weakness) in [
        (pck.dynamic_platform, Weakness::TdxDynamicPlatform),
        (pck.cached_keys, Weakness::TdxCachedKeys),
        (pck.smt_enabled, Weakness::TdxSmt),
    ] {
        let (found, holds) = match flag {
            PckCertFlag::True => ("true", false),
            PckCertFlag::False => ("false", true),
            PckCertFlag::Undefined => ("not said", true),
        };
        checks.expect_or(PLATFORM, weakness, found, holds);
    }
}

/// Status and advisories of the platform, the module and the quoting enclave together.
fn check_level(claims: &QuoteClaims, checks: &mut Checks<'_>) {
    let status = TdxStatus::of(claims.tcb.status);
    let mut levels = checks.terms.policy.tdx.levels.iter();
    let level = levels.find(|level| Some(level.status) == status);
    let name = status.map_or_else(|| "revoked".to_owned(), |status| status.to_string());
    let date = UnixTime(claims.platform.tcb_date_tag);
    let found = format_args!("{name}, level of {date}");
    checks.expect(PLATFORM, Rejection::TdxTcbStatus, found, level.is_some());
    let advisories = advisories(claims);
    if let Some(level) = level {
        let within = is_within_grace(claims, level, checks.terms.at);
        let found = format_args!("{} hours", level.grace_hours);
        checks.expect(PLATFORM, Rejection::TdxGrace, found, within);
        let known = |id: &&str| level.advisories.iter().any(|taken| taken.as_str() == *id);
        let (found, holds) = (advisories.join(" "), advisories.iter().all(known));
        checks.expect(PLATFORM, Rejection::TdxAdvisory, found, holds);
    }
}

/// Every advisory that applies, at launch, now, and to the quoting enclave; each once, sorted.
fn advisories(claims: &QuoteClaims) -> Vec<&str> {
    let platform = &claims.platform;
    let current = platform.current_tcb_level.iter();
    let mut all: Vec<&str> = claims
        .tcb
        .advisory_ids
        .iter()
        .chain(&platform.tcb_level.advisory_ids)
        .chain(current.flat_map(|level| &level.advisory_ids))
        .chain(&claims.qe.tcb_level.advisory_ids)
        .map(String::as_str)
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Whether everything that lacks updates is of a level at most `grace_hours` old. A level that
/// lacks nothing needs no grace.
fn is_within_grace(claims: &QuoteClaims, level: &AcceptedLevel, at: UnixTime) -> bool {
    if !lacks_updates(claims.tcb.status) {
        return true;
    }
    let grace = u64::from(level.grace_hours).saturating_mul(3600);
    let recent = |date: UnixTime| date.plus_seconds(grace) >= at;
    let platform = !lacks_updates(claims.platform.tcb_level.tcb_status)
        || recent(UnixTime(claims.platform.tcb_date_tag));
    let enclave = !lacks_updates(claims.qe.tcb_level.tcb_status)
        || claims.qe.tcb_level.tcb_date.parse().is_ok_and(recent);
    platform && enclave
}

fn lacks_updates(status: TcbStatus) -> bool {
    matches!(
        status,
        TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded | TcbStatus::Revoked
    )
}
