//! Intel TDX: from a quote and Intel's collateral to [`HardwareClaims`].
//!
//! Crate `dcap-qvl` does the cryptography and finds the platform's TCB level; whether that level,
//! and everything that the quote says, is good enough is decided here. What the quote says is
//! judged before its signature, because the library refuses some of it too, without naming the
//! reason; nothing is accepted before both have passed.

mod collateral;
mod quote;
mod rules;

use dcap_qvl::QuotePolicy;
use dcap_qvl::configs::RustCryptoConfig;
use dcap_qvl::verify::QuoteVerifier;
use protocol::endorsements::{EndorsementKind, Endorsements};

use crate::anchors::{CertificateDigest, TrustAnchors};
use crate::appraise::{ConfigurationRegister, HardwareClaims, MeasuredRegisters};
use crate::policy::AppraisalPolicy;
use crate::rejection::Rejection;
use crate::result::ChipIdentity;
use crate::time::UnixTime;

/// `docs/spec/evidence.md` §6.2 and §6.3 for TDX.
pub(crate) fn appraise_quote(
    bytes: &[u8],
    endorsements: &Endorsements,
    policy: &AppraisalPolicy,
    anchors: &TrustAnchors,
    at: UnixTime,
) -> Result<HardwareClaims, Rejection> {
    let quote = quote::Quote::parse(bytes)?;
    rules::check_report(&quote.report, policy)?;
    let stapled = endorsements.get(EndorsementKind::TdxCollateral);
    let collateral = collateral::Collateral::parse(stapled.ok_or(Rejection::EndorsementMissing)?)?;
    let root = quote
        .pck_chain
        .last()
        .ok_or(Rejection::CertificateMalformed)?;
    collateral.check_certificates(&quote.pck_chain, anchors, at)?;
    if CertificateDigest::of(root) != anchors.intel_root() {
        return Err(Rejection::CertificateRoot);
    }
    collateral.check_dates(policy, at)?;
    collateral.check_revocation(&quote.pck_chain, at)?;
    // The pinned root, and no other, is the anchor of every chain and list.
    let claims = QuoteVerifier::new(root.clone())
        .with_config::<RustCryptoConfig>()
        .verify_with_policy(
            bytes,
            collateral.into_inner(),
            at.0,
            &QuotePolicy::claims_only(at.0),
        )
        .map_err(|_| Rejection::TdxVerification)?;
    rules::check_platform(&claims, policy)?;
    let ppid = <[u8; 16]>::try_from(claims.platform.pck.ppid.as_slice());
    Ok(HardwareClaims {
        report_data: quote.report.report_data,
        configuration: ConfigurationRegister::Tdx(quote.report.configuration),
        registers: MeasuredRegisters::Tdx {
            mrtd: quote.report.mrtd,
            rtmrs: quote.report.rtmrs,
        },
        chip: ChipIdentity::Tdx(ppid.map_err(|_| Rejection::CertificateMalformed)?),
        not_after: UnixTime(claims.earliest_expiration_date),
    })
}
