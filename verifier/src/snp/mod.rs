//! AMD SEV-SNP: from a report and AMD's certificates to [`HardwareClaims`].
//!
//! Layouts: AMD publication 56860 (SEV-SNP firmware ABI), table 23 for the report; 57230 for the
//! VCEK's extensions. The parser, the chain and the rules are our own: no library's idea of a
//! valid chain is relied on.

mod chain;
mod product;
mod report;
mod rules;
mod tcb;
mod vcek;

use protocol::endorsements::Endorsements;

use crate::appraise::{ConfigurationRegister, HardwareClaims, MeasuredRegisters};
use crate::checks::{Checks, Subject};
use crate::rejection::Rejection;

use vcek::Signer;

pub use product::Product;
pub use tcb::{Tcb, TcbMinimum};

const REPORT: Subject = Subject::of("report");

const PRODUCT: &[Rejection] = Rejection::SnpProductUnknown.through(Rejection::SnpProductMismatch);
/// What a certificate says of the report's chip.
const MATCHES: &[Rejection] = Rejection::SnpProductMismatch.through(Rejection::SnpTcbMismatch);

/// `docs/spec/evidence.md` §6.2 and §6.3 for SEV-SNP.
pub(crate) fn appraise_report(
    bytes: &[u8],
    endorsements: &Endorsements,
    checks: &mut Checks<'_>,
) -> Option<HardwareClaims> {
    checks.plan(REPORT, report::FORM);
    checks.plan(rules::KEY_INFO, rules::SIGNER);
    // Whose chain it is, the report says.
    let report = report::Report::parse(bytes, checks);
    if let Some(report) = &report {
        rules::check_signer(report, checks);
    }
    let signer = Signer::of(report.as_ref());
    chain::plan(signer, endorsements, checks);
    plan_match(signer, checks);
    rules::plan(checks);

    let chain = chain::Chain::read(signer, endorsements, checks);
    let report = report?;
    report.check_product(chain.product, checks);
    // Without a pinned root the evidence is refused; the report's own word is enough to list more.
    let product = chain.product.or_else(|| report.product());
    if let Some(vcek) = &chain.vcek {
        if let Some(product) = product {
            vcek.check_against(&report, product, checks);
        }
        let (found, holds) = ("ECDSA P-384, SHA-384", report.is_signed(bytes, vcek.key()));
        checks.expect(REPORT, Rejection::SnpSignatureInvalid, found, holds);
    }
    rules::check(&report, product, checks);
    Some(HardwareClaims {
        report_data: report.report_data,
        configuration: ConfigurationRegister::SevSnp(report.host_data),
        registers: MeasuredRegisters::SevSnp(report.measurement),
        chip: Some(signer.chip(report.chip_id)),
        not_after: chain.not_after,
    })
}

/// What a report says was launched, genuine or not.
pub(crate) fn claimed_registers(
    bytes: &[u8],
    checks: &mut Checks<'_>,
) -> Option<MeasuredRegisters> {
    let report = report::Report::parse(bytes, checks)?;
    Some(MeasuredRegisters::SevSnp(report.measurement))
}

/// Report and certificates are about one chip and one firmware level.
fn plan_match(signer: Signer, checks: &mut Checks<'_>) {
    let [of_vcek, ..] = signer.subjects();
    checks.plan(REPORT, PRODUCT);
    checks.plan(of_vcek, MATCHES);
    checks.plan(REPORT, &[Rejection::SnpSignatureInvalid]);
}
