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

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::arithmetic_side_effects,
        reason = "tests state claims; a panic is the failure"
    )]
    use der::Encode as _;
    use der::asn1::{ObjectIdentifier, OctetString};
    use mock_tee::snp::{Product, SnpMachine};
    use protocol::digest::{HostData, LaunchDigest};
    use protocol::endorsements::EndorsementKind;
    use x509_cert::ext::Extension;

    use super::*;

    /// An honest list with one extension more, of so many bytes.
    fn with_extension(critical: bool, bytes: usize) -> Vec<u8> {
        let machine = SnpMachine::new(Product::Genoa, LaunchDigest([1; 48]), HostData([2; 32]));
        let stapled = machine.endorsements(1_795_305_600).unwrap();
        let der = stapled.get(EndorsementKind::SnpCrl).unwrap();
        let mut list = CertificateList::from_der(der).unwrap();
        let extensions = list.tbs_cert_list.crl_extensions.get_or_insert_default();
        extensions.push(Extension {
            extn_id: ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.7357.99"),
            critical,
            extn_value: OctetString::new(vec![0; bytes]).unwrap(),
        });
        list.to_der().unwrap()
    }

    #[test]
    fn a_list_of_the_greatest_length_is_read_and_no_longer_one() {
        let room = MAX_BYTES - with_extension(false, MAX_BYTES / 2).len();
        let longest = with_extension(false, MAX_BYTES / 2 + room);
        assert_eq!(longest.len(), MAX_BYTES);
        assert!(ParsedList::parse(&longest).is_some());
        let longer = with_extension(false, MAX_BYTES / 2 + room + 1);
        assert!(ParsedList::parse(&longer).is_none());
    }

    #[test]
    fn a_critical_extension_narrows_a_list_and_is_refused() {
        assert!(ParsedList::parse(&with_extension(false, 2)).is_some());
        assert!(ParsedList::parse(&with_extension(true, 2)).is_none());
    }
}
