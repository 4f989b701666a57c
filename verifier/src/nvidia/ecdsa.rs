//! ECDSA P-384 with SHA-384, the only signature algorithm of NVIDIA's certificates.

use der::asn1::ObjectIdentifier;
use p384::ecdsa::signature::Verifier as _;
use p384::ecdsa::{Signature, VerifyingKey};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::certificate::ParsedCertificate;
use crate::rejection::Rejection;

const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// Whether a DER signature is the key's; an error for another algorithm.
pub(super) fn verifies(
    key: &VerifyingKey,
    algorithm: &AlgorithmIdentifierOwned,
    message: &[u8],
    signature: Option<&[u8]>,
) -> Result<bool, Rejection> {
    if algorithm.oid != ECDSA_WITH_SHA384 || algorithm.parameters.is_some() {
        return Err(Rejection::CertificateAlgorithm);
    }
    let signature = signature.and_then(|der| Signature::from_der(der).ok());
    Ok(signature.is_some_and(|signature| key.verify(message, &signature).is_ok()))
}

/// `subject` names `issuer` and carries its signature.
pub(super) fn check_issued_by(
    subject: &ParsedCertificate<'_>,
    issuer: &ParsedCertificate<'_>,
) -> Result<(), Rejection> {
    let tbs = &subject.parsed.tbs_certificate;
    if tbs.issuer != issuer.parsed.tbs_certificate.subject {
        return Err(Rejection::CertificateIssuer);
    }
    let algorithm = &subject.parsed.signature_algorithm;
    if *algorithm != tbs.signature {
        return Err(Rejection::CertificateAlgorithm);
    }
    let signature = subject.parsed.signature.as_bytes();
    let verified = verifies(&issuer.p384_key()?, algorithm, subject.signed(), signature)?;
    verified
        .then_some(())
        .ok_or(Rejection::CertificateSignature)
}
