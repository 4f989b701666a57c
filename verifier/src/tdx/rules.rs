//! What a quote and its platform must say: `docs/spec/evidence.md` §8, in that order.

use dcap_qvl::{PckCertFlag, QuoteClaims};
use protocol::digest::write_hex;

use super::quote::TdReport;
use crate::policy::{AppraisalPolicy, SeamRule, TdxStatus, Weakness};
use crate::rejection::Rejection;

/// Bit 0 is DEBUG; bits 1 to 7 belong to the same group, of which 4 to 6 are profiling.
const DEBUG_GROUP: u64 = 0xff;
const MIGRATABLE: u64 = 1 << 29;
/// Without it the host can inject #VE for pages of its choice.
const SEPT_VE_DISABLE: u64 = 1 << 28;

/// What the quote says, before anybody's signature over it is checked.
pub(super) fn check_report(report: &TdReport, policy: &AppraisalPolicy) -> Result<(), Rejection> {
    check_attributes(report, policy)?;
    check_module(report, policy)?;
    if !report.alone {
        return Err(Rejection::TdxServiceTd);
    }
    // MROWNER and MROWNERCONFIG are the host's to choose and mean nothing to this protocol.
    if report.owner != [0; 48] || report.owner_configuration != [0; 48] {
        return Err(Rejection::TdxOwner);
    }
    if !report.rtmr3.is_zero() {
        return Err(Rejection::TdxRtmr3);
    }
    Ok(())
}

fn check_attributes(report: &TdReport, policy: &AppraisalPolicy) -> Result<(), Rejection> {
    if report.attributes & DEBUG_GROUP != 0 {
        return Err(Rejection::TdxDebug);
    }
    if report.attributes & MIGRATABLE != 0 {
        return Err(Rejection::TdxMigratable);
    }
    // Every other feature is off in machines that the host agent launches.
    if report.attributes != SEPT_VE_DISABLE {
        return Err(Rejection::TdxAttributes);
    }
    if !policy.tdx.xfam.contains(&hex(&report.xfam)) {
        return Err(Rejection::TdxXfam);
    }
    Ok(())
}

/// The module is Intel's own (signer and attributes zero), and of an accepted build.
fn check_module(report: &TdReport, policy: &AppraisalPolicy) -> Result<(), Rejection> {
    let by_intel = report.module_signer == [0; 48] && report.module_attributes == [0; 8];
    let accepted = match &policy.tdx.modules {
        SeamRule::AllOfIntel => true,
        SeamRule::Only(builds) => builds.contains(&hex(&report.module)),
    };
    if by_intel && accepted {
        Ok(())
    } else {
        Err(Rejection::TdxModule)
    }
}

/// What Intel says of the platform, once the chain of signatures is checked.
pub(super) fn check_platform(
    claims: &QuoteClaims,
    policy: &AppraisalPolicy,
) -> Result<(), Rejection> {
    if claims.tcb.eval_data_number < policy.tdx.minimum_evaluation_number {
        return Err(Rejection::TdxEvaluationNumber);
    }
    let status = TdxStatus::of(claims.tcb.status);
    if !status.is_some_and(|status| policy.tdx.statuses.contains(&status)) {
        return Err(Rejection::TdxTcbStatus);
    }
    let known = |advisory| policy.tdx.advisories.contains(advisory);
    if !claims.tcb.advisory_ids.iter().all(known) {
        return Err(Rejection::TdxAdvisory);
    }
    let pck = &claims.platform.pck;
    for (flag, weakness, rejection) in [
        (
            pck.dynamic_platform,
            Weakness::TdxDynamicPlatform,
            Rejection::TdxDynamicPlatform,
        ),
        (
            pck.cached_keys,
            Weakness::TdxCachedKeys,
            Rejection::TdxCachedKeys,
        ),
        (pck.smt_enabled, Weakness::TdxSmt, Rejection::TdxSmt),
    ] {
        match flag {
            PckCertFlag::True if !policy.tolerates(weakness) => return Err(rejection),
            PckCertFlag::True | PckCertFlag::False | PckCertFlag::Undefined => {}
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    struct Hex<'a>(&'a [u8]);
    impl core::fmt::Display for Hex<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            write_hex(self.0, f)
        }
    }
    Hex(bytes).to_string()
}
