//! Revocation lists: bounded, within their dates, and what they revoke.
//!
//! AMD issues one list per product line, signed by the root; VCEKs have serial number 0 and are
//! not revoked one by one, so what AMD's list can revoke is the ASK. Signatures of Intel's lists
//! are `dcap-qvl`'s part.

use der::Decode as _;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;

use crate::certificate::{ParsedCertificate, signed_part};
use crate::rejection::Rejection;
use crate::time::UnixTime;

/// A list is at most this long; Intel's platform list is below 64 KiB.
const MAX_BYTES: usize = 512 * 1024;

/// A parsed list.
#[derive(Debug)]
pub(crate) struct ParsedList(CertificateList);

impl ParsedList {
    pub(crate) fn parse(der: &[u8]) -> Result<Self, Rejection> {
        if der.len() > MAX_BYTES {
            return Err(Rejection::CrlMalformed);
        }
        let list = CertificateList::from_der(der).map_err(|_| Rejection::CrlMalformed)?;
        // A critical extension would narrow what the list speaks of.
        let mut extensions = list.tbs_cert_list.crl_extensions.iter().flatten();
        if extensions.any(|extension| extension.critical) {
            return Err(Rejection::CrlMalformed);
        }
        Ok(Self(list))
    }

    /// `at` is between this update and the next, whose time is returned.
    pub(crate) fn check_dates(&self, at: UnixTime) -> Result<UnixTime, Rejection> {
        let tbs = &self.0.tbs_cert_list;
        if at.0 < tbs.this_update.to_unix_duration().as_secs() {
            return Err(Rejection::CrlNotYetValid);
        }
        let next = tbs.next_update.ok_or(Rejection::CrlMalformed)?;
        let next = UnixTime(next.to_unix_duration().as_secs());
        if at < next {
            Ok(next)
        } else {
            Err(Rejection::CrlExpired)
        }
    }

    /// The list does not name the certificate.
    pub(crate) fn check_subject(&self, subject: &Certificate) -> Result<(), Rejection> {
        let serial = &subject.tbs_certificate.serial_number;
        let mut revoked = self.0.tbs_cert_list.revoked_certificates.iter().flatten();
        if revoked.any(|entry| entry.serial_number == *serial) {
            return Err(Rejection::CertificateRevoked);
        }
        Ok(())
    }

    /// The list names `issuer` and carries its signature over `der`, from which it was parsed.
    fn check_issued_by(&self, der: &[u8], issuer: &ParsedCertificate<'_>) -> Result<(), Rejection> {
        if self.0.tbs_cert_list.issuer != issuer.parsed.tbs_certificate.subject {
            return Err(Rejection::CrlIssuer);
        }
        let algorithm = &self.0.signature_algorithm;
        if *algorithm != self.0.tbs_cert_list.signature {
            return Err(Rejection::CrlSignature);
        }
        let signed = signed_part(der).map_err(|_| Rejection::CrlMalformed)?;
        if issuer.verify(algorithm, signed, self.0.signature.as_bytes())? {
            Ok(())
        } else {
            Err(Rejection::CrlSignature)
        }
    }
}

/// AMD's list: by the root, in date, and without `subject`. Returns its end of validity.
pub(crate) fn check_amd(
    der: &[u8],
    root: &ParsedCertificate<'_>,
    subject: &ParsedCertificate<'_>,
    at: UnixTime,
) -> Result<UnixTime, Rejection> {
    let list = ParsedList::parse(der)?;
    list.check_issued_by(der, root)?;
    let end = list.check_dates(at)?;
    list.check_subject(&subject.parsed)?;
    Ok(end)
}
