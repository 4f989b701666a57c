//! NVIDIA's chains: of devices, and of those who sign manifests. From a leaf to a pinned root,
//! with what was answered about revocation.

use std::collections::BTreeMap;

use der::asn1::ObjectIdentifier;
use sha2::{Digest as _, Sha256};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use super::ecdsa;
use super::ocsp::Answers;
use crate::anchors::{CertificateDigest, TrustAnchors};
use crate::certificate::ParsedCertificate;
use crate::rejection::Rejection;
use crate::time::UnixTime;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What a kind of chain looks like.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChainForm {
    pub(super) length: usize,
    pub(super) root: CertificateDigest,
    /// The first certificate from the leaf on of which NVIDIA answers whether it is revoked.
    pub(super) answered_from: usize,
}

/// A verified chain, leaf first.
#[derive(Debug)]
pub(super) struct Chain<'c> {
    certificates: Vec<ParsedCertificate<'c>>,
    /// Earliest end of validity of any part.
    pub(super) not_after: UnixTime,
}

/// Verifies chains at one time; what several of them share is verified once.
#[derive(Debug)]
pub(super) struct ChainVerifier<'v> {
    pub(super) anchors: &'v TrustAnchors,
    pub(super) at: UnixTime,
    pub(super) answers: Answers<'v>,
    /// Links between a certificate and its issuer that were verified, with their end.
    verified: BTreeMap<[u8; 32], UnixTime>,
}

impl<'v> ChainVerifier<'v> {
    pub(super) const fn new(anchors: &'v TrustAnchors, at: UnixTime, answers: Answers<'v>) -> Self {
        Self {
            anchors,
            at,
            answers,
            verified: BTreeMap::new(),
        }
    }

    /// `docs/spec/gpu-evidence.md` §4.
    pub(super) fn verify<'c>(
        &mut self,
        ders: &'c [Vec<u8>],
        form: ChainForm,
    ) -> Result<Chain<'c>, Rejection> {
        let root = match ders.last() {
            Some(root) if ders.len() == form.length => root,
            Some(_) | None => return Err(Rejection::NvidiaChainLength),
        };
        let certificates = ders
            .iter()
            .map(|der| ParsedCertificate::parse(der))
            .collect::<Result<Vec<_>, _>>()?;
        for certificate in &certificates {
            certificate.check_profile(self.anchors.profile())?;
        }
        // The pin covers every byte of the root, so its self-signature would add nothing.
        if CertificateDigest::of(root) != form.root {
            return Err(Rejection::CertificateRoot);
        }
        for certificate in &certificates {
            certificate.check_critical()?;
            certificate.check_dates(self.at)?;
        }
        check_usages(&certificates)?;
        let mut ends: Vec<_> = certificates.iter().map(|c| c.not_after()).collect();
        for (number, pair) in certificates.windows(2).enumerate() {
            let ([subject, issuer], Some(ders)) = (pair, ders.get(number..)) else {
                continue;
            };
            let answered = number >= form.answered_from;
            ends.push(self.verify_link(subject, issuer, &link(ders), answered)?);
        }
        let not_after = ends.into_iter().min();
        Ok(Chain {
            certificates,
            not_after: not_after.ok_or(Rejection::NvidiaChainLength)?,
        })
    }

    fn verify_link(
        &mut self,
        subject: &ParsedCertificate<'_>,
        issuer: &ParsedCertificate<'_>,
        link: &[u8; 32],
        answered: bool,
    ) -> Result<UnixTime, Rejection> {
        if let Some(end) = self.verified.get(link) {
            return Ok(*end);
        }
        ecdsa::check_issued_by(subject, issuer)?;
        let end = if answered {
            self.answers
                .check(subject, issuer, self.anchors.profile(), self.at)?
        } else {
            subject.not_after()
        };
        self.verified.insert(*link, end);
        Ok(end)
    }
}

impl<'c> Chain<'c> {
    pub(super) fn leaf(&self) -> Result<&ParsedCertificate<'c>, Rejection> {
        let leaf = self.certificates.first();
        leaf.ok_or(Rejection::NvidiaChainLength)
    }

    /// Who issued the leaf: of a device, its read-only firmware.
    pub(super) fn leaf_issuer(&self) -> Result<&ParsedCertificate<'c>, Rejection> {
        let issuer = self.certificates.get(1);
        issuer.ok_or(Rejection::NvidiaChainLength)
    }
}

/// The common name of a subject; empty when there is none or several.
pub(super) fn common_name(certificate: &ParsedCertificate<'_>) -> String {
    let subject = &certificate.parsed.tbs_certificate.subject;
    let attributes = subject.0.iter().flat_map(|name| name.0.iter());
    let mut names = attributes.filter(|attribute| attribute.oid == COMMON_NAME);
    match (names.next(), names.next()) {
        (Some(only), None) => String::from_utf8_lossy(only.value.value()).into_owned(),
        (None | Some(_), _) => String::new(),
    }
}

/// Names a certificate together with everything above it.
fn link(ders: &[Vec<u8>]) -> [u8; 32] {
    let hash = ders.iter().fold(Sha256::new(), |hash, der| {
        hash.chain_update(Sha256::digest(der))
    });
    hash.finalize().into()
}

/// All but the leaf may issue, and as deep as they stand here; the leaf only signs.
fn check_usages(certificates: &[ParsedCertificate<'_>]) -> Result<(), Rejection> {
    let malformed = |_| Rejection::CertificateMalformed;
    for (number, certificate) in certificates.iter().enumerate() {
        let tbs = &certificate.parsed.tbs_certificate;
        let Some(below) = number.checked_sub(1) else {
            let usage = tbs.get::<KeyUsage>().map_err(malformed)?;
            let signs = |usage: &KeyUsage| usage.digital_signature() && !usage.key_cert_sign();
            if !usage.is_some_and(|(_, usage)| signs(&usage)) {
                return Err(Rejection::CertificateUsage);
            }
            continue;
        };
        certificate.check_authority()?;
        let constraints = tbs.get::<BasicConstraints>().map_err(malformed)?;
        let limit = constraints.and_then(|(_, constraints)| constraints.path_len_constraint);
        if limit.is_some_and(|limit| usize::from(limit) < below) {
            return Err(Rejection::CertificateNotAuthority);
        }
    }
    Ok(())
}
