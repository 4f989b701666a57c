//! NVIDIA's chains: of devices, and of those who sign manifests. From a leaf to a pinned root,
//! with what was answered about revocation.

use std::collections::{BTreeMap, BTreeSet};

use der::asn1::ObjectIdentifier;
use p384::ecdsa::VerifyingKey;
use sha2::{Digest as _, Sha256};
use x509_cert::ext::pkix::KeyUsage;

use super::ecdsa::Signatures;
use super::ocsp::{Answers, judged};
use crate::anchors::CertificateDigest;
use crate::certificate::{
    DATES, ISSUED, ParsedCertificate, check_dates, is_of_profile, only, profile_check, validity,
};
use crate::checks::{Checks, Hex, Subject, Terms};
use crate::policy::Weakness;
use crate::rejection::Rejection;
use crate::time::{Span, UnixTime};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What a kind of chain looks like.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChainForm {
    pub(super) length: usize,
    pub(super) root: CertificateDigest,
    /// The first certificate from the leaf on of which NVIDIA answers whether it is revoked.
    pub(super) answered_from: usize,
}

/// What could be read of a chain, leaf first. Whether it holds, the list of checks says.
#[derive(Debug)]
pub(super) struct Chain<'c> {
    pub(super) leaf: ParsedCertificate<'c>,
    /// Who issued the leaf: of a device, its read-only firmware.
    pub(super) issuer: ParsedCertificate<'c>,
    /// The leaf's key, once the chain ends at the pinned root.
    pub(super) key: Option<VerifyingKey>,
    /// Earliest end of validity of any part.
    pub(super) not_after: UnixTime,
}

/// Reads chains; what several of them share is verified once.
#[derive(Debug)]
pub(super) struct ChainVerifier<'v> {
    answers: Answers<'v>,
    pub(super) signatures: Signatures,
    /// What was found of a certificate, its issuer and everything above.
    links: BTreeMap<[u8; 32], Link>,
}

/// A certificate and its issuer: is it issued, and until when was it answered for, if at all?
#[derive(Debug, Clone, Copy)]
struct Link {
    issued: Result<(), Rejection>,
    answered: Result<Option<UnixTime>, Rejection>,
}

const FORM: &[Rejection] = &[
    Rejection::NvidiaChainLength,
    Rejection::CertificateMalformed,
];
const USAGES: &[Rejection] = &[
    Rejection::CertificateUsage,
    Rejection::CertificateNotAuthority,
];

/// `docs/spec/gpu-evidence.md` §4, in its order.
pub(super) fn plan(of: Subject, checks: &mut Checks<'_>) {
    checks.plan(of, FORM);
    let marker = profile_check(checks.terms.anchors.profile());
    let (root, critical) = (Rejection::CertificateRoot, Rejection::CertificateCritical);
    checks.plan(of, &[marker, root, critical]);
    checks.plan(of, &DATES);
    for steps in [USAGES, ISSUED, &[Rejection::OcspMissing]] {
        checks.plan(of, steps);
    }
    checks.plan(of, &judged(checks.terms));
}

impl<'v> ChainVerifier<'v> {
    pub(super) fn new(answers: Answers<'v>) -> Self {
        Self {
            answers,
            signatures: Signatures::default(),
            links: BTreeMap::new(),
        }
    }

    /// `docs/spec/gpu-evidence.md` §4. `None` when the certificates cannot be read.
    pub(super) fn read<'c>(
        &mut self,
        of: Subject,
        ders: &'c [Vec<u8>],
        form: ChainForm,
        checks: &mut Checks<'_>,
    ) -> Option<Chain<'c>> {
        let found = format_args!("{} certificates", ders.len());
        let certificates = checks.steps(of, FORM, found, parse(ders, form.length))?;
        let terms = checks.terms;
        let profile = terms.anchors.profile();
        let each = || certificates.iter();
        let holds = each().all(|each| is_of_profile(&each.parsed, profile));
        checks.expect(of, profile_check(profile), "", holds);
        // The pin covers every byte of the root, so its self-signature would add nothing.
        let root = CertificateDigest::of(ders.last()?);
        let pinned = checks.expect(of, Rejection::CertificateRoot, root, root == form.root);
        let known = each().all(|each| each.knows_critical(&[]));
        checks.expect(of, Rejection::CertificateCritical, "", known);
        let spans = each().map(|each| validity(&each.parsed));
        let span = spans.reduce(Span::overlap)?;
        let dates = each().map(|each| check_dates(&each.parsed, terms.at));
        checks.steps_of_all(of, &DATES, span, dates);
        checks.steps_of_all(of, USAGES, "", each().enumerate().map(check_usage));
        let mut not_after = span.until;
        let mut key = None;
        // Nobody's key is used before the root is the pinned one.
        if pinned {
            let links = self.links(&certificates, ders, terms);
            let leaf = certificates.first().map(ParsedCertificate::p384_key)?;
            let issued = links.iter().map(|link| link.issued);
            let issued = issued.chain([leaf.as_ref().map(|_| ()).map_err(|refused| *refused)]);
            let found = certificates.first().map(ParsedCertificate::serial)?;
            checks.steps_of_all(of, ISSUED, Hex(found), issued);
            let answered = links.get(form.answered_from..)?;
            not_after = not_after.min(check_answers(of, answered, checks));
            key = leaf.ok();
        }
        let mut certificates = certificates.into_iter();
        Some(Chain {
            leaf: certificates.next()?,
            issuer: certificates.next()?,
            key,
            not_after,
        })
    }

    /// What is known of each certificate but the root.
    fn links(
        &mut self,
        certificates: &[ParsedCertificate<'_>],
        ders: &[Vec<u8>],
        terms: Terms<'_>,
    ) -> Vec<Link> {
        let pairs = certificates.windows(2).enumerate();
        let links = pairs.filter_map(|(number, pair)| {
            let ([subject, issuer], Some(above)) = (pair, ders.get(number..)) else {
                return None;
            };
            let (answers, signatures) = (&self.answers, &mut self.signatures);
            let link = self.links.entry(name(above)).or_insert_with(|| Link {
                issued: signatures.check_issued_by(subject, issuer),
                answered: answers.check(subject, issuer, terms, signatures),
            });
            Some(*link)
        });
        links.collect()
    }
}

/// Every certificate was answered for. Returns the earliest end of the answers.
fn check_answers(of: Subject, links: &[Link], checks: &mut Checks<'_>) -> UnixTime {
    let answers = links.iter().filter_map(|link| link.answered.transpose());
    let (count, wanted) = (answers.clone().count(), links.len());
    let found = format_args!("{count} of {wanted} certificates answered for");
    let weakness = Weakness::NvidiaNoRevocationAnswers;
    checks.expect_or(of, weakness, found, count == wanted);
    let judged = judged(checks.terms);
    let end = answers.clone().flatten().min();
    let end = end.unwrap_or(UnixTime(u64::MAX));
    if count > 0 {
        checks.steps_of_all(of, &judged, format_args!("until {end}"), answers);
    } else if checks.terms.policy.tolerates(weakness) {
        checks.not_needed(of, &judged, found);
    }
    end
}

/// So many certificates, none of them twice.
fn parse(ders: &[Vec<u8>], length: usize) -> Result<Vec<ParsedCertificate<'_>>, Rejection> {
    if ders.len() != length {
        return Err(Rejection::NvidiaChainLength);
    }
    let distinct: BTreeSet<_> = ders.iter().collect();
    if distinct.len() != ders.len() {
        return Err(Rejection::CertificateMalformed);
    }
    ders.iter()
        .map(|der| ParsedCertificate::parse(der))
        .collect()
}

/// The common name of a subject; empty when there is none or several.
pub(super) fn common_name(certificate: &ParsedCertificate<'_>) -> String {
    let subject = &certificate.parsed.tbs_certificate.subject;
    let attributes = subject.0.iter().flat_map(|name| name.0.iter());
    let name = only(attributes.filter(|attribute| attribute.oid == COMMON_NAME));
    let name = name.map(|name| name.value.value());
    String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
}

/// Names a certificate together with everything above it.
fn name(ders: &[Vec<u8>]) -> [u8; 32] {
    let hash = ders.iter().fold(Sha256::new(), |hash, der| {
        hash.chain_update(Sha256::digest(der))
    });
    hash.finalize().into()
}

/// All but the leaf may issue, and as deep as they stand here; the leaf only signs.
fn check_usage((number, certificate): (usize, &ParsedCertificate<'_>)) -> Result<(), Rejection> {
    let tbs = &certificate.parsed.tbs_certificate;
    let Some(below) = number.checked_sub(1) else {
        let signs = |usage: KeyUsage| usage.digital_signature() && !usage.key_cert_sign();
        return match tbs.get::<KeyUsage>() {
            Ok(Some((_, usage))) if signs(usage) => Ok(()),
            Ok(_) | Err(_) => Err(Rejection::CertificateUsage),
        };
    };
    let refused = Rejection::CertificateNotAuthority;
    match certificate.check_authority().map_err(|_| refused)? {
        Some(limit) if usize::from(limit) < below => Err(refused),
        Some(_) | None => Ok(()),
    }
}
