//! Intel's collateral: TCB information, QE identity, revocation lists and their issuers.
//!
//! Dates, markers and revocation are checked here, each with its reason. The signatures are
//! checked by `dcap-qvl` afterwards, over the same bytes.

use dcap_qvl::QuoteCollateralV3;
use der::{DateTime, Decode as _};
use serde::Deserialize;
use x509_cert::Certificate;

use crate::anchors::TrustAnchors;
use crate::certificate::{check_dates, check_profile};
use crate::crl::ParsedList;
use crate::policy::AppraisalPolicy;
use crate::rejection::Rejection;
use crate::time::UnixTime;

/// Parsed collateral.
#[derive(Debug)]
pub(super) struct Collateral {
    inner: QuoteCollateralV3,
    /// TCB information and QE identity.
    texts: [Dates; 2],
}

/// The dates of one signed JSON text.
#[derive(Debug)]
struct Dates {
    issued: UnixTime,
    next: UnixTime,
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
            texts: [Dates::of(&inner.tcb_info)?, Dates::of(&inner.qe_identity)?],
            inner,
        })
    }

    pub(super) fn into_inner(self) -> QuoteCollateralV3 {
        self.inner
    }

    /// Every certificate, of the quote and of the collateral, is of the anchors' profile and
    /// within its dates.
    pub(super) fn check_certificates(
        &self,
        pck_chain: &[Vec<u8>],
        anchors: &TrustAnchors,
        at: UnixTime,
    ) -> Result<(), Rejection> {
        let mut certificates = pck_chain
            .iter()
            .map(|der| parse(der))
            .collect::<Result<_, _>>()?;
        self.collect_issuers(&mut certificates)?;
        for certificate in &certificates {
            check_profile(certificate, anchors.profile())?;
        }
        for certificate in &certificates {
            check_dates(certificate, at)?;
        }
        Ok(())
    }

    fn collect_issuers(&self, into: &mut Vec<Certificate>) -> Result<(), Rejection> {
        for chain in [
            &self.inner.tcb_info_issuer_chain,
            &self.inner.qe_identity_issuer_chain,
            &self.inner.pck_crl_issuer_chain,
        ] {
            let chain = Certificate::load_pem_chain(chain.as_bytes());
            into.extend(chain.map_err(|_| Rejection::CertificateMalformed)?);
        }
        Ok(())
    }

    /// Both texts are in date and not older than the policy wants.
    pub(super) fn check_dates(
        &self,
        policy: &AppraisalPolicy,
        at: UnixTime,
    ) -> Result<(), Rejection> {
        for dates in &self.texts {
            if at < dates.issued {
                return Err(Rejection::CollateralNotYetValid);
            }
            if at >= dates.next {
                return Err(Rejection::CollateralExpired);
            }
            let oldest = dates
                .issued
                .plus_seconds(u64::from(policy.tdx.collateral_age_seconds));
            if at > oldest {
                return Err(Rejection::CollateralTooOld);
            }
        }
        Ok(())
    }

    /// Both lists are in date; neither names a certificate of the PCK's chain.
    pub(super) fn check_revocation(
        &self,
        pck_chain: &[Vec<u8>],
        at: UnixTime,
    ) -> Result<(), Rejection> {
        let pck_list = ParsedList::parse(&self.inner.pck_crl)?;
        let root_list = ParsedList::parse(&self.inner.root_ca_crl)?;
        pck_list.check_dates(at)?;
        root_list.check_dates(at)?;
        for (number, der) in pck_chain.iter().enumerate() {
            // The leaf is on its authority's list, everything above on the root's.
            let list = if number == 0 { &pck_list } else { &root_list };
            list.check_subject(&parse(der)?)?;
        }
        Ok(())
    }
}

impl Dates {
    fn of(text: &str) -> Result<Self, Rejection> {
        let malformed = Rejection::CollateralMalformed;
        let members: DateMembers = serde_json::from_str(text).map_err(|_| malformed)?;
        let seconds = |date: &str| {
            let time = date.parse::<DateTime>().map_err(|_| malformed)?;
            Ok::<_, Rejection>(UnixTime(time.unix_duration().as_secs()))
        };
        Ok(Self {
            issued: seconds(&members.issue_date)?,
            next: seconds(&members.next_update)?,
        })
    }
}

fn parse(der: &[u8]) -> Result<Certificate, Rejection> {
    Certificate::from_der(der).map_err(|_| Rejection::CertificateMalformed)
}
