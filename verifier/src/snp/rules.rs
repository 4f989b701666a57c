//! What a genuine report must say: `docs/spec/evidence.md` §7.3, in that order.

use super::product::Product;
use super::report::Report;
use super::tcb::{Tcb, TcbMinimum, TcbVersion};
use super::vcek::Signer;
use crate::checks::{Checks, Hex, Subject};
use crate::policy::{Abi, Weakness};
use crate::rejection::Rejection;

pub(super) const KEY_INFO: Subject = Subject::of("key-info");
const PRODUCT: Subject = Subject::of("product");
const GUEST_POLICY: Subject = Subject::of("guest-policy");
const VMPL: Subject = Subject::of("vmpl");
const OWNERS: Subject = Subject::of("owners");
const REPORTED: Subject = Subject::of("reported-tcb");
const COMMITTED: Subject = Subject::of("committed-tcb");
const CURRENT: Subject = Subject::of("current-tcb");
const LAUNCH: Subject = Subject::of("launch-tcb");
const FIRMWARE: Subject = Subject::of("firmware");
const MITIGATIONS: Subject = Subject::of("mitigations");
const PLATFORM: Subject = Subject::of("platform-info");

// Bits of the guest policy; those from 26 on are reserved as zero.
/// Reserved as one.
const ALWAYS_ONE: u64 = 1 << 17;
const MIGRATABLE: u64 = 1 << 18;
const DEBUG: u64 = 1 << 19;
const SINGLE_SOCKET: u64 = 1 << 20;
/// The guest may run with memory behind a CXL link.
const CXL_ALLOWED: u64 = 1 << 21;
/// The host may not have the firmware move or swap guest pages.
const PAGE_SWAP_OFF: u64 = 1 << 25;

// Bits of the platform information; those from 8 on are reserved as zero.
const SMT: u64 = 1;
/// Transparent encryption of all memory.
const TSME: u64 = 1 << 1;
const ECC: u64 = 1 << 2;
const RAPL_OFF: u64 = 1 << 3;
const CIPHERTEXT_HIDDEN: u64 = 1 << 4;
const ALIASES_CHECKED: u64 = 1 << 5;
/// Reserved as zero.
const ALWAYS_ZERO: u64 = 1 << 6;

// Bits of the key information; 2 to 4 say who signed, those from 5 on are reserved as zero.
const AUTHOR_KEY: u32 = 1;
const CHIP_KEY_MASKED: u32 = 1 << 1;

/// `docs/spec/evidence.md` §7.1, key information.
pub(super) const SIGNER: &[Rejection] =
    Rejection::SnpReportReserved.through(Rejection::SnpChipKeyMasked);
const GUEST: &[Rejection] = Rejection::SnpDebug.through(Rejection::SnpPageSwap);
const SETTINGS: &[Rejection] = Rejection::SnpAliasCheck.through(Rejection::SnpRaplReadable);

/// `docs/spec/evidence.md` §7.3, in its order.
pub(super) fn plan(checks: &mut Checks<'_>) {
    checks.plan(PRODUCT, &[Rejection::SnpMilan]);
    checks.plan(GUEST_POLICY, GUEST);
    checks.plan(VMPL, &[Rejection::SnpVmpl]);
    let owners = [Rejection::SnpIdBlock, Rejection::SnpMigrationAgent];
    checks.plan(OWNERS, &owners);
    let levels = [REPORTED, COMMITTED, CURRENT, LAUNCH];
    checks.plan_each(&levels, &[&[Rejection::SnpReportReserved]]);
    let ordered = [COMMITTED, CURRENT, LAUNCH, FIRMWARE];
    checks.plan_each(&ordered, &[&[Rejection::SnpTcbOrder]]);
    checks.plan(PRODUCT, &[Rejection::SnpTcbUnlisted]);
    let least = [REPORTED, COMMITTED, LAUNCH];
    checks.plan_each(&least, &[&[Rejection::SnpTcbBelowMinimum]]);
    checks.plan(MITIGATIONS, &[Rejection::SnpMitigation]);
    checks.plan(PLATFORM, &[Rejection::SnpReportReserved]);
    checks.plan(PLATFORM, SETTINGS);
}

/// Who signed, before the signature itself: a VCEK's comparison would only confuse the reason.
pub(super) fn check_signer(report: &Report, checks: &mut Checks<'_>) {
    let info = report.key_info;
    let found = format_args!("{info:#x}");
    let holds = info >> 5 == 0;
    checks.expect(KEY_INFO, Rejection::SnpReportReserved, found, holds);
    let signer = Signer::said(info);
    let name = signer.map_or_else(|name| name, Signer::name);
    checks.expect(KEY_INFO, Rejection::SnpSigningKey, name, signer.is_ok());
    let own = signer != Ok(Signer::Vlek);
    checks.expect_or(KEY_INFO, Weakness::SnpVlek, name, own);
    let holds = info & CHIP_KEY_MASKED == 0 && !report.chip_id.is_zero();
    checks.expect(KEY_INFO, Rejection::SnpChipKeyMasked, found, holds);
}

/// What the genuine report says. Without a product the levels cannot be read.
pub(super) fn check(report: &Report, product: Option<Product>, checks: &mut Checks<'_>) {
    if let Some(product) = product {
        let holds = match product {
            Product::Milan => false,
            Product::Genoa | Product::Turin => true,
        };
        checks.expect_or(PRODUCT, Weakness::SnpMilan, product, holds);
    }
    check_guest_policy(report, checks);
    check_owners(report, checks);
    if let Some(product) = product {
        check_tcb(report, product, checks);
    }
    check_platform(report, checks);
}

fn check_guest_policy(report: &Report, checks: &mut Checks<'_>) {
    let guest = report.policy;
    let found = format_args!("{guest:#x}");
    let well_formed = guest >> 26 == 0 && guest & ALWAYS_ONE != 0;
    for (check, holds) in [
        (Rejection::SnpDebug, guest & DEBUG == 0),
        (Rejection::SnpMigratable, guest & MIGRATABLE == 0),
        (Rejection::SnpGuestPolicy, well_formed),
    ] {
        checks.expect(GUEST_POLICY, check, found, holds);
    }
    // The least firmware interface that the guest asks for.
    let [minor, major, ..] = guest.to_le_bytes();
    let (abi, least) = (Abi { major, minor }, checks.terms.policy.snp.minimum_abi);
    let wanted = format_args!("{abi}; at least {least}");
    checks.expect(GUEST_POLICY, Rejection::SnpAbi, wanted, abi >= least);
    for (weakness, bit, wanted) in [
        (Weakness::SnpSeveralSockets, SINGLE_SOCKET, true),
        (Weakness::SnpCxlMemory, CXL_ALLOWED, false),
        (Weakness::SnpPageSwap, PAGE_SWAP_OFF, true),
    ] {
        let holds = (guest & bit != 0) == wanted;
        checks.expect_or(GUEST_POLICY, weakness, found, holds);
    }
    // On SNP only VMPL 0 holds all of the guest; 0xffffffff is a report that the host asked for.
    checks.expect(VMPL, Rejection::SnpVmpl, report.vmpl, report.vmpl == 0);
}

fn check_owners(report: &Report, checks: &mut Checks<'_>) {
    let no_block = report.id_key_digest == [0; 48] && report.author_key_digest == [0; 48];
    let holds = no_block && report.key_info & AUTHOR_KEY == 0;
    checks.expect(OWNERS, Rejection::SnpIdBlock, "", holds);
    // All ones: no migration agent.
    let holds = report.report_id_ma == [0xff; 32];
    checks.expect(OWNERS, Rejection::SnpMigrationAgent, "", holds);
}

fn check_tcb(report: &Report, product: Product, checks: &mut Checks<'_>) {
    let mut read = |of, tcb: TcbVersion| {
        let components = tcb.components(product);
        checks.read(of, Rejection::SnpReportReserved, Hex(&tcb.0), components)
    };
    let reported = read(REPORTED, report.reported_tcb);
    let committed = read(COMMITTED, report.committed_tcb);
    let current = read(CURRENT, report.current_tcb);
    let launch = read(LAUNCH, report.launch_tcb);
    // The host may report less than it runs, never more; what is committed cannot be rolled back.
    for (of, above, below) in [
        (COMMITTED, committed, reported),
        (CURRENT, current, committed),
        (LAUNCH, current, launch),
    ] {
        if let (Some(above), Some(below)) = (above, below) {
            let found = format_args!("{below}; at most {above}");
            checks.expect(of, Rejection::SnpTcbOrder, found, above.covers(&below));
        }
    }
    let (running, committed_version) = (report.current_version, report.committed_version);
    let found = format_args!("{committed_version}; at most {running}");
    let holds = running >= committed_version;
    checks.expect(FIRMWARE, Rejection::SnpTcbOrder, found, holds);
    let mut entries = checks.terms.policy.snp.tcb_minima.iter();
    let entry = entries.find(|entry| entry.is_for(product, report.cpuid));
    let named = report.cpuid.map(|cpuid| cpuid.to_string());
    let named = named.unwrap_or_else(|| product.to_string());
    if let Some(entry) = checks.read(PRODUCT, Rejection::SnpTcbUnlisted, named, entry) {
        let levels = [
            (REPORTED, reported),
            (COMMITTED, committed),
            (LAUNCH, launch),
        ];
        check_minimum(report, entry, levels, checks);
    }
}

/// Every level, and the mitigations from version 5 on, are at least the policy's.
fn check_minimum(
    report: &Report,
    entry: &TcbMinimum,
    levels: [(Subject, Option<Tcb>); 3],
    checks: &mut Checks<'_>,
) {
    let minimum = entry.tcb;
    for (of, level) in levels {
        if let Some(level) = level {
            let found = format_args!("{level}; at least {minimum}");
            let holds = level.covers(&minimum);
            checks.expect(of, Rejection::SnpTcbBelowMinimum, found, holds);
        }
    }
    let wanted = entry.mitigations;
    let (vectors, holds) = match report.mitigations {
        Some([launch, current]) => (
            format!("launch {launch:#x} current {current:#x}"),
            launch & current & wanted == wanted,
        ),
        None => ("no vectors".to_owned(), wanted == 0),
    };
    let found = format_args!("{vectors}; all of {wanted:#x}");
    checks.expect(MITIGATIONS, Rejection::SnpMitigation, found, holds);
}

fn check_platform(report: &Report, checks: &mut Checks<'_>) {
    let platform = report.platform;
    let found = format_args!("{platform:#x}");
    let holds = platform >> 8 == 0 && platform & ALWAYS_ZERO == 0;
    checks.expect(PLATFORM, Rejection::SnpReportReserved, found, holds);
    for (weakness, bit, wanted) in [
        (Weakness::SnpAliasCheckIncomplete, ALIASES_CHECKED, true),
        (Weakness::SnpSmt, SMT, false),
        (Weakness::SnpTsmeOff, TSME, true),
        (Weakness::SnpEccOff, ECC, true),
        (Weakness::SnpCiphertextVisible, CIPHERTEXT_HIDDEN, true),
        (Weakness::SnpRaplReadable, RAPL_OFF, true),
    ] {
        let holds = (platform & bit != 0) == wanted;
        checks.expect_or(PLATFORM, weakness, found, holds);
    }
}
