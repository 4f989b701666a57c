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
use crate::time::{Span, UnixTime};

/// A list is at most this long; Intel's platform list is below 64 KiB.
const MAX_BYTES: usize = 512 * 1024;

/// Dates of a list.
pub(crate) const DATES: [Rejection; 2] = [Rejection::CrlNotYetValid, Rejection::CrlExpired];

/// A parsed list.
#[derive(Debug)]
pub(crate) struct ParsedList {
    list: CertificateList,
    /// This update and the next.
    pub(crate) dates: Span,
}

impl ParsedList {
    /// A list without critical extensions, which would narrow what it speaks of.
    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        if der.len() > MAX_BYTES {
            return None;
        }
        let list = CertificateList::from_der(der).ok()?;
        let mut extensions = list.tbs_cert_list.crl_extensions.iter().flatten();
        if extensions.any(|extension| extension.critical) {
            return None;
        }
        let tbs = &list.tbs_cert_list;
        let dates = Span {
            from: UnixTime(tbs.this_update.to_unix_duration().as_secs()),
            until: UnixTime(tbs.next_update?.to_unix_duration().as_secs()),
        };
        Some(Self { list, dates })
    }

    /// Whether the list names the certificate.
    pub(crate) fn revokes(&self, subject: &Certificate) -> bool {
        let serial = &subject.tbs_certificate.serial_number;
        let list = &self.list.tbs_cert_list;
        let mut revoked = list.revoked_certificates.iter().flatten();
        revoked.any(|entry| entry.serial_number == *serial)
    }

    /// The list names `issuer` and carries its signature over `der`, from which it was parsed.
    pub(crate) fn check_issued_by(
        &self,
        der: &[u8],
        issuer: &ParsedCertificate<'_>,
    ) -> Result<(), Rejection> {
        if self.list.tbs_cert_list.issuer != issuer.parsed.tbs_certificate.subject {
            return Err(Rejection::CrlIssuer);
        }
        let algorithm = &self.list.signature_algorithm;
        if *algorithm != self.list.tbs_cert_list.signature {
            return Err(Rejection::CrlSignature);
        }
        let signed = signed_part(der).map_err(|_| Rejection::CrlMalformed)?;
        let signature = self.list.signature.as_bytes();
        match issuer.verify(algorithm, signed, signature) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Rejection::CrlSignature),
        }
    }
}
