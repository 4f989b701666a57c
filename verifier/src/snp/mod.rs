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

use crate::anchors::TrustAnchors;
use crate::appraise::{ConfigurationRegister, HardwareClaims, MeasuredRegisters};
use crate::policy::AppraisalPolicy;
use crate::rejection::Rejection;
use crate::result::ChipIdentity;
use crate::time::UnixTime;

pub use product::Product;
pub use tcb::{Tcb, TcbMinimum};

/// `docs/spec/evidence.md` §6.2 and §6.3 for SEV-SNP.
pub(crate) fn appraise_report(
    bytes: &[u8],
    endorsements: &Endorsements,
    policy: &AppraisalPolicy,
    anchors: &TrustAnchors,
    at: UnixTime,
) -> Result<HardwareClaims, Rejection> {
    let report = report::Report::parse(bytes, policy)?;
    rules::check_signer(&report)?;
    let chain = chain::Chain::verify(endorsements, policy, anchors, at)?;
    report.check_product(chain.product)?;
    chain.vcek.check_against(&report, chain.product)?;
    report.check_signature(bytes, chain.vcek.key())?;
    rules::check(&report, chain.product, policy)?;
    Ok(HardwareClaims {
        report_data: report.report_data,
        configuration: ConfigurationRegister::SevSnp(report.host_data),
        registers: MeasuredRegisters::SevSnp(report.measurement),
        chip: ChipIdentity::SevSnp(report.chip_id),
        not_after: chain.not_after,
    })
}
