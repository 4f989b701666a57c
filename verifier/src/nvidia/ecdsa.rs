//! ECDSA P-384 with SHA-384, the only signature algorithm of NVIDIA's certificates.

use std::collections::BTreeMap;

use der::asn1::ObjectIdentifier;
use p384::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::certificate::ParsedCertificate;
use crate::rejection::Rejection;
use crate::secp384r1;

const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// The signatures of one appraisal's certificates and answers. Devices share authorities, answers
/// share who signed them, and a host may staple one thing many times: each is verified once.
#[derive(Debug, Default)]
pub(super) struct Signatures(BTreeMap<[u8; 32], bool>);

impl Signatures {
    /// How many were verified.
    #[cfg(test)]
    pub(super) fn verified(&self) -> usize {
        self.0.len()
    }

    /// Whether a DER signature is the key's; an error for another algorithm.
    pub(super) fn verifies(
        &mut self,
        key: &VerifyingKey,
        algorithm: &AlgorithmIdentifierOwned,
        message: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<bool, Rejection> {
        if algorithm.oid != ECDSA_WITH_SHA384 || algorithm.parameters.is_some() {
            return Err(Rejection::CertificateAlgorithm);
        }
        let Some(signature) = signature.and_then(|der| Signature::from_der(der).ok()) else {
            return Ok(false);
        };
        // Key and signature are of one length each, so nothing can be read in two ways.
        let name = Sha256::new()
            .chain_update(key.to_sec1_point(false))
            .chain_update(signature.to_bytes())
            .chain_update(message);
        let verify = || secp384r1::verifies(key, message, &signature);
        Ok(*self.0.entry(name.finalize().into()).or_insert_with(verify))
    }

    /// `subject` names `issuer` and carries its signature.
    pub(super) fn check_issued_by(
        &mut self,
        subject: &ParsedCertificate<'_>,
        issuer: &ParsedCertificate<'_>,
    ) -> Result<(), Rejection> {
        subject.check_issued(issuer, |algorithm, message, signature| {
            self.verifies(&issuer.p384_key()?, algorithm, message, signature)
        })
    }
}
