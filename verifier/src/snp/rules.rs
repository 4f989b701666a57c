//! What a genuine report must say: `docs/spec/evidence.md` §7.3, in that order.

use super::product::Product;
use super::report::{GuestPolicy, KeyInfo, PlatformInfo, Report};
use super::tcb::{Tcb, TcbVersion};
use crate::policy::{AppraisalPolicy, Weakness};
use crate::rejection::Rejection;

impl GuestPolicy {
    /// Bits 26 to 63 are reserved as zero, bit 17 as one.
    const fn is_well_formed(self) -> bool {
        self.0 >> 26 == 0 && self.bit(17)
    }

    const fn migratable(self) -> bool {
        self.bit(18)
    }

    const fn debug(self) -> bool {
        self.bit(19)
    }

    const fn bit(self, number: u32) -> bool {
        (self.0 >> number) & 1 == 1
    }
}

impl PlatformInfo {
    /// Bits from 8 on are reserved as zero.
    const fn is_well_formed(self) -> bool {
        self.0 >> 8 == 0
    }

    const fn smt(self) -> bool {
        self.bit(0)
    }

    const fn rapl_disabled(self) -> bool {
        self.bit(3)
    }

    const fn ciphertext_hidden(self) -> bool {
        self.bit(4)
    }

    const fn alias_check_complete(self) -> bool {
        self.bit(5)
    }

    const fn bit(self, number: u32) -> bool {
        (self.0 >> number) & 1 == 1
    }
}

impl KeyInfo {
    const fn author_key(self) -> bool {
        self.0 & 1 == 1
    }

    const fn chip_key_masked(self) -> bool {
        (self.0 >> 1) & 1 == 1
    }

    /// 0 is the VCEK, 1 the VLEK (a cloud provider's key for many chips), 7 none.
    const fn signing_key(self) -> u32 {
        (self.0 >> 2) & 7
    }

    const fn is_well_formed(self) -> bool {
        self.0 >> 5 == 0
    }
}

/// Who signed, before the signature itself: a VCEK's comparison would only confuse the reason.
pub(super) fn check_signer(report: &Report) -> Result<(), Rejection> {
    if !report.key_info.is_well_formed() {
        return Err(Rejection::SnpReportReserved);
    }
    if report.key_info.signing_key() != 0 {
        return Err(Rejection::SnpSigningKey);
    }
    if report.key_info.chip_key_masked() || report.chip_id.is_zero() {
        return Err(Rejection::SnpChipKeyMasked);
    }
    Ok(())
}

/// What the genuine report says.
pub(super) fn check(
    report: &Report,
    product: Product,
    policy: &AppraisalPolicy,
) -> Result<(), Rejection> {
    check_product(product, policy)?;
    check_guest_policy(report)?;
    check_owners(report)?;
    check_tcb(report, product, policy)?;
    check_platform(report, policy)
}

fn check_product(product: Product, policy: &AppraisalPolicy) -> Result<(), Rejection> {
    match product {
        Product::Milan if !policy.tolerates(Weakness::SnpMilan) => Err(Rejection::SnpMilan),
        Product::Milan | Product::Genoa | Product::Turin => Ok(()),
    }
}

fn check_guest_policy(report: &Report) -> Result<(), Rejection> {
    if report.policy.debug() {
        return Err(Rejection::SnpDebug);
    }
    if report.policy.migratable() {
        return Err(Rejection::SnpMigratable);
    }
    if !report.policy.is_well_formed() {
        return Err(Rejection::SnpGuestPolicy);
    }
    // On SNP only VMPL 0 holds all of the guest; 0xffffffff is a report that the host asked for.
    if report.vmpl != 0 {
        return Err(Rejection::SnpVmpl);
    }
    Ok(())
}

fn check_owners(report: &Report) -> Result<(), Rejection> {
    let no_block = report.id_key_digest == [0; 48] && report.author_key_digest == [0; 48];
    if !no_block || report.key_info.author_key() {
        return Err(Rejection::SnpIdBlock);
    }
    // All ones: no migration agent.
    if report.report_id_ma != [0xff; 32] {
        return Err(Rejection::SnpMigrationAgent);
    }
    Ok(())
}

fn check_tcb(report: &Report, product: Product, policy: &AppraisalPolicy) -> Result<(), Rejection> {
    let components = |tcb: TcbVersion| tcb.components(product).ok_or(Rejection::SnpReportReserved);
    let reported = components(report.reported_tcb)?;
    let committed = components(report.committed_tcb)?;
    let current = components(report.current_tcb)?;
    let launch = components(report.launch_tcb)?;
    // The host may report less than it runs, never more; what is committed cannot be rolled back.
    let ordered =
        committed.covers(&reported) && current.covers(&committed) && current.covers(&launch);
    if !ordered {
        return Err(Rejection::SnpTcbOrder);
    }
    let mut entries = policy.snp.tcb_minima.iter();
    let entry = entries
        .find(|entry| entry.is_for(product, report.cpuid))
        .ok_or(Rejection::SnpTcbUnlisted)?;
    let enough = |tcb: &Tcb| tcb.covers(&entry.tcb);
    if enough(&reported) && enough(&committed) && enough(&launch) {
        Ok(())
    } else {
        Err(Rejection::SnpTcbBelowMinimum)
    }
}

fn check_platform(report: &Report, policy: &AppraisalPolicy) -> Result<(), Rejection> {
    let platform = report.platform;
    let weaknesses = [
        (
            !platform.alias_check_complete(),
            Weakness::SnpAliasCheckIncomplete,
            Rejection::SnpAliasCheck,
        ),
        (platform.smt(), Weakness::SnpSmt, Rejection::SnpSmt),
        (
            !platform.ciphertext_hidden(),
            Weakness::SnpCiphertextVisible,
            Rejection::SnpCiphertextVisible,
        ),
        (
            !platform.rapl_disabled(),
            Weakness::SnpRaplReadable,
            Rejection::SnpRaplReadable,
        ),
    ];
    if !platform.is_well_formed() {
        return Err(Rejection::SnpReportReserved);
    }
    for (present, weakness, rejection) in weaknesses {
        if present && !policy.tolerates(weakness) {
            return Err(rejection);
        }
    }
    Ok(())
}
