//! Intel TDX: from a quote and Intel's collateral to [`HardwareClaims`].
//!
//! Crate `dcap-qvl` does the cryptography and finds the platform's TCB level; whether that level,
//! and everything that the quote says, is good enough is decided here. What the quote says is
//! judged before its signature, because the library refuses some of it too, without naming the
//! reason; nothing is accepted before both have passed.

mod collateral;
mod quote;
mod rules;

use dcap_qvl::configs::RustCryptoConfig;
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QuoteClaims, QuotePolicy};
use protocol::digest::{MrConfigId, Mrtd, Ppid, ReportData, Rtmr};
use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::machine_grant::ChipIdentity;

use self::collateral::Collateral;
use self::quote::Quote;
use crate::anchors::CertificateDigest;
use crate::appraise::{ConfigurationRegister, HardwareClaims, MeasuredRegisters};
use crate::checks::{Checks, Subject};
use crate::rejection::Rejection;
use crate::result::ReportedChip;
use crate::time::UnixTime;

const QUOTE: Subject = Subject::of("quote");
const PCK_CHAIN: Subject = Subject::of("pck-chain");
const COLLATERAL: Subject = Subject::of("collateral");

const STAPLED: &[Rejection] = &[
    Rejection::EndorsementMissing,
    Rejection::CollateralMalformed,
];

/// `docs/spec/evidence.md` §6.2 and §6.3 for TDX.
pub(crate) fn appraise_quote(
    bytes: &[u8],
    endorsements: &Endorsements,
    checks: &mut Checks<'_>,
) -> Option<HardwareClaims> {
    checks.plan(QUOTE, quote::FORM);
    rules::plan_report(checks);
    checks.plan(COLLATERAL, STAPLED);
    collateral::plan(checks);
    checks.plan(QUOTE, &[Rejection::TdxVerification]);
    checks.plan(rules::PLATFORM, rules::LEVEL);

    let quote = Quote::parse(bytes, checks);
    if let Some(quote) = &quote {
        rules::check_report(&quote.report, checks);
    }
    let stapled = endorsements.get(EndorsementKind::TdxCollateral);
    let stapled = stapled.ok_or(Rejection::EndorsementMissing);
    let found = format_args!("{} bytes", stapled.unwrap_or_default().len());
    let collateral = stapled.and_then(Collateral::parse);
    let collateral = checks.steps(COLLATERAL, STAPLED, found, collateral);
    let chain = quote.as_ref().map(|quote| quote.pck_chain.as_slice());
    if let Some(collateral) = &collateral {
        collateral.check(chain, checks);
    }
    let quote = quote?;
    let root = check_root(&quote, checks);
    let verified = match (root, collateral) {
        (Some(root), Some(collateral)) => verify(bytes, root, collateral, checks),
        (_, _) => None,
    };
    if let Some(claims) = &verified {
        rules::check_platform(claims, checks);
    }
    let ppid = |claims: &QuoteClaims| {
        let ppid = claims.platform.pck.ppid.as_slice().try_into();
        ppid.ok()
            .map(|ppid| ReportedChip::Certified(ChipIdentity::Tdx(Ppid(ppid))))
    };
    Some(HardwareClaims {
        report_data: ReportData(quote.report.base.report_data),
        configuration: ConfigurationRegister::Tdx(MrConfigId(quote.report.base.mr_config_id)),
        registers: registers(&quote),
        chip: verified.as_ref().and_then(ppid),
        not_after: verified.map(|claims| UnixTime(claims.earliest_expiration_date)),
    })
}

/// What a quote says was launched, genuine or not.
pub(crate) fn claimed_registers(
    bytes: &[u8],
    checks: &mut Checks<'_>,
) -> Option<MeasuredRegisters> {
    Some(registers(&Quote::parse(bytes, checks)?))
}

fn registers(quote: &Quote) -> MeasuredRegisters {
    let base = &quote.report.base;
    MeasuredRegisters::Tdx {
        mrtd: Mrtd(base.mr_td),
        rtmrs: [base.rt_mr0, base.rt_mr1, base.rt_mr2].map(Rtmr),
    }
}

/// The last certificate of the quote's chain is the pinned root.
fn check_root<'q>(quote: &'q Quote, checks: &mut Checks<'_>) -> Option<&'q [u8]> {
    let root = quote.pck_chain.last()?.as_slice();
    let digest = CertificateDigest::of(root);
    let holds = digest == checks.terms.anchors.intel;
    checks
        .expect(PCK_CHAIN, Rejection::CertificateRoot, digest, holds)
        .then_some(root)
}

/// All signatures. The pinned root, and no other, is the anchor of every chain and list.
fn verify(
    bytes: &[u8],
    root: &[u8],
    collateral: Collateral,
    checks: &mut Checks<'_>,
) -> Option<QuoteClaims> {
    let at = checks.terms.at.0;
    let claims = QuoteVerifier::new(root.to_vec())
        .with_config::<RustCryptoConfig>()
        .verify_with_policy(
            bytes,
            collateral.into_inner(),
            at,
            &QuotePolicy::claims_only(at),
        )
        .ok();
    let by = "dcap-qvl 0.7, ECDSA P-256, SHA-256";
    checks.read(QUOTE, Rejection::TdxVerification, by, claims)
}
