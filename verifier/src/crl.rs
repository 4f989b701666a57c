//! AMD's revocation list: signed by the root, over the intermediate.
//!
//! AMD issues one list per product line; VCEKs have serial number 0 and are not revoked one by
//! one, so what a list can revoke is the ASK.

use der::Decode as _;
use x509_cert::crl::CertificateList;

use crate::certificate::{ParsedCertificate, signed_part};
use crate::rejection::Rejection;
use crate::time::UnixTime;

/// A list is at most this long.
const MAX_BYTES: usize = 64 * 1024;

/// Checks the list and that it does not name `subject`; returns the list's end of validity.
pub(crate) fn check(
    der: &[u8],
    root: &ParsedCertificate<'_>,
    subject: &ParsedCertificate<'_>,
    at: UnixTime,
) -> Result<UnixTime, Rejection> {
    if der.len() > MAX_BYTES {
        return Err(Rejection::CrlMalformed);
    }
    let malformed = |_| Rejection::CrlMalformed;
    let list = CertificateList::from_der(der).map_err(malformed)?;
    let signed = signed_part(der).map_err(malformed)?;
    let tbs = &list.tbs_cert_list;
    if tbs.issuer != root.parsed.tbs_certificate.subject {
        return Err(Rejection::CrlIssuer);
    }
    if list.signature_algorithm != tbs.signature {
        return Err(Rejection::CrlSignature);
    }
    let signature = list.signature.as_bytes();
    if !root.verify(&list.signature_algorithm, signed, signature)? {
        return Err(Rejection::CrlSignature);
    }
    // A critical extension would narrow what the list speaks of.
    if tbs.crl_extensions.iter().flatten().any(|e| e.critical) {
        return Err(Rejection::CrlMalformed);
    }
    if at.0 < tbs.this_update.to_unix_duration().as_secs() {
        return Err(Rejection::CrlNotYetValid);
    }
    let next = tbs.next_update.ok_or(Rejection::CrlMalformed)?;
    let not_after = UnixTime(next.to_unix_duration().as_secs());
    if at >= not_after {
        return Err(Rejection::CrlExpired);
    }
    let serial = &subject.parsed.tbs_certificate.serial_number;
    let mut revoked = tbs.revoked_certificates.iter().flatten();
    if revoked.any(|entry| entry.serial_number == *serial) {
        return Err(Rejection::CertificateRevoked);
    }
    Ok(not_after)
}
