//! Intel's collateral: TCB information, QE identity, revocation lists and their issuers.
//!
//! Dates, markers and revocation are checked here, each with its reason. The signatures are
//! checked by `dcap-qvl` afterwards, over the same bytes.

use dcap_qvl::QuoteCollateralV3;
use der::{DateTime, Decode as _};
use serde::Deserialize;
use x509_cert::Certificate;

use super::PCK_CHAIN;
use crate::certificate::{DATES, check_dates, is_of_profile, profile_check, validity};
use crate::checks::{Checks, Subject, Terms};
use crate::crl::{self, ParsedList};
use crate::rejection::Rejection;
use crate::time::{Span, UnixTime};

const ISSUERS: Subject = Subject::of("collateral-issuers");
const TCB_INFO: Subject = Subject::of("tcb-info");
const QE_IDENTITY: Subject = Subject::of("qe-identity");
const PCK_LIST: Subject = Subject::of("pck-revocation-list");
const ROOT_LIST: Subject = Subject::of("root-revocation-list");

/// PCK, platform or processor authority, root.
const PCK_CERTIFICATES: usize = 3;
/// A signer of Intel's, root.
const ISSUER_CERTIFICATES: usize = 2;

const TEXT: [Rejection; 3] = [
    Rejection::CollateralNotYetValid,
    Rejection::CollateralExpired,
    Rejection::CollateralTooOld,
];

/// `docs/spec/evidence.md` §8.2, in its order.
pub(super) fn plan(checks: &mut Checks<'_>) {
    let profile = [profile_check(checks.terms.anchors.profile())];
    let form = [Rejection::CertificateMalformed];
    checks.plan_each(&[PCK_CHAIN, ISSUERS], &[&form, &profile, &DATES]);
    checks.plan(PCK_CHAIN, &[Rejection::CertificateRoot]);
    checks.plan(ISSUERS, &[Rejection::CertificateIssuer]);
    checks.plan_each(&[TCB_INFO, QE_IDENTITY], &[&TEXT]);
    let (form, revoked) = ([Rejection::CrlMalformed], [Rejection::CertificateRevoked]);
    checks.plan_each(&[PCK_LIST, ROOT_LIST], &[&form, &crl::DATES, &revoked]);
}

/// Parsed collateral.
#[derive(Debug)]
pub(super) struct Collateral {
    inner: QuoteCollateralV3,
    /// Issue and next update of TCB information and QE identity.
    texts: [Span; 2],
}

/// The two members of a signed text that matter here; its signer put others beside them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DateMembers {
    issue_date: String,
    next_update: String,
}

impl Collateral {
    pub(super) fn parse(json: &[u8]) -> Result<Self, Rejection> {
        let malformed = Rejection::CollateralMalformed;
        let inner: QuoteCollateralV3 = serde_json::from_slice(json).map_err(|_| malformed)?;
        // The PCK chain is the quote's; a second one would leave open which was meant.
        if inner.pck_certificate_chain.is_some() {
            return Err(malformed);
        }
        Ok(Self {
            texts: [dates(&inner.tcb_info)?, dates(&inner.qe_identity)?],
            inner,
        })
    }

    pub(super) fn into_inner(self) -> QuoteCollateralV3 {
        self.inner
    }

    /// Everything but the signatures; `pck_chain` is the quote's, where one could be read.
    pub(super) fn check(&self, pck_chain: Option<&[Vec<u8>]>, checks: &mut Checks<'_>) {
        let malformed = Rejection::CertificateMalformed;
        let chain = pck_chain.and_then(|chain| {
            let found = format_args!("{} certificates", chain.len());
            checks.read(PCK_CHAIN, malformed, found, read_chain(chain))
        });
        if let Some(chain) = &chain {
            check_certificates(PCK_CHAIN, chain, checks);
        }
        let issuers = self.issuers();
        let count = issuers.as_ref().map(Vec::len).unwrap_or_default();
        let found = format_args!("{count} certificates");
        if let Some(issuers) = checks.read(ISSUERS, malformed, found, issuers) {
            check_certificates(ISSUERS, &issuers, checks);
            if let Some(chain) = &chain {
                let holds = are_of_chain(&issuers, chain);
                checks.expect(ISSUERS, Rejection::CertificateIssuer, "", holds);
            }
        }
        for (of, dates) in [TCB_INFO, QE_IDENTITY].into_iter().zip(&self.texts) {
            checks.steps(of, &TEXT, dates, check_text(*dates, checks.terms));
        }
        self.check_revocation(chain.as_deref(), checks);
    }

    /// The signer and its root of each chain, and nothing to choose from.
    fn issuers(&self) -> Option<Vec<Certificate>> {
        let mut issuers = Vec::new();
        for chain in [
            &self.inner.tcb_info_issuer_chain,
            &self.inner.qe_identity_issuer_chain,
            &self.inner.pck_crl_issuer_chain,
        ] {
            // The library counts down from the length of what is there, and panics of nothing.
            let some = !chain.trim_end_matches(['\r', '\n']).is_empty();
            let chain = some.then(|| Certificate::load_pem_chain(chain.as_bytes()));
            let chain = chain?.ok()?;
            issuers.extend(exactly(ISSUER_CERTIFICATES, chain)?);
        }
        Some(issuers)
    }

    /// Both lists are in date; neither names a certificate of the PCK's chain.
    fn check_revocation(&self, chain: Option<&[Certificate]>, checks: &mut Checks<'_>) {
        // The leaf is on its authority's list, everything above on the root's.
        let parts = chain.and_then(<[Certificate]>::split_first);
        let leaf = parts.map(|(leaf, _)| core::slice::from_ref(leaf));
        let above = parts.map(|(_, above)| above);
        for (of, der, subjects) in [
            (PCK_LIST, &self.inner.pck_crl, leaf),
            (ROOT_LIST, &self.inner.root_ca_crl, above),
        ] {
            let found = format_args!("{} bytes", der.len());
            let list = ParsedList::parse(der);
            let Some(list) = checks.read(of, Rejection::CrlMalformed, found, list) else {
                continue;
            };
            let dates = list.dates.check(checks.terms.at, crl::DATES);
            checks.steps(of, &crl::DATES, list.dates, dates);
            if let Some(subjects) = subjects {
                let holds = !subjects.iter().any(|subject| list.revokes(subject));
                checks.expect(of, Rejection::CertificateRevoked, "", holds);
            }
        }
    }
}

/// PCK, its authority and the root.
fn read_chain(chain: &[Vec<u8>]) -> Option<Vec<Certificate>> {
    let chain = chain.iter().map(|der| Certificate::from_der(der).ok());
    exactly(PCK_CERTIFICATES, chain.collect::<Option<_>>()?)
}

/// So many certificates, none of them twice.
fn exactly(count: usize, chain: Vec<Certificate>) -> Option<Vec<Certificate>> {
    let again = |(number, one): (usize, &_)| chain.iter().take(number).any(|before| before == one);
    let holds = chain.len() == count && !chain.iter().enumerate().any(again);
    holds.then_some(chain)
}

/// The three issuer chains end in the PCK chain's root, and the lists' issuer is its authority: the
/// library looks at neither copy, so only their equality makes them mean something.
fn are_of_chain(issuers: &[Certificate], chain: &[Certificate]) -> bool {
    match (issuers, chain) {
        ([_, tcb_root, _, qe_root, authority, list_root], [_, own_authority, root]) => {
            [tcb_root, qe_root, list_root]
                .into_iter()
                .all(|copy| copy == root)
                && authority == own_authority
        }
        (_, _) => false,
    }
}

/// Marker and dates of every certificate of a chain.
fn check_certificates(of: Subject, chain: &[Certificate], checks: &mut Checks<'_>) {
    let profile = checks.terms.anchors.profile();
    let holds = chain.iter().all(|each| is_of_profile(each, profile));
    checks.expect(of, profile_check(profile), "", holds);
    let common = chain.iter().map(validity).reduce(Span::overlap);
    let found = common.unwrap_or(Span::NEVER);
    let mut each = chain.iter();
    let dates = each.try_for_each(|certificate| check_dates(certificate, checks.terms.at));
    checks.steps(of, &DATES, found, dates);
}

/// The dates of one signed JSON text.
fn dates(text: &str) -> Result<Span, Rejection> {
    let malformed = Rejection::CollateralMalformed;
    let members: DateMembers = serde_json::from_str(text).map_err(|_| malformed)?;
    let seconds = |date: &str| {
        let time = date.parse::<DateTime>().map_err(|_| malformed)?;
        Ok::<_, Rejection>(UnixTime(time.unix_duration().as_secs()))
    };
    Ok(Span {
        from: seconds(&members.issue_date)?,
        until: seconds(&members.next_update)?,
    })
}

/// In date, and not older than the policy wants.
fn check_text(dates: Span, terms: Terms<'_>) -> Result<(), Rejection> {
    let [early, late, old] = TEXT;
    dates.check(terms.at, [early, late])?;
    let age = u64::from(terms.policy.tdx.collateral_age_seconds);
    let recent = terms.at <= dates.from.plus_seconds(age);
    recent.then_some(()).ok_or(old)
}
