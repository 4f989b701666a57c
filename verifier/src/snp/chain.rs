//! AMD's chain: the pinned root (ARK), the intermediate (ASK) and the chip's key (VCEK); or, of a
//! cloud provider's key (VLEK), its own intermediate (ASVK).

use protocol::endorsements::{EndorsementKind, Endorsements};

use super::product::Product;
use super::vcek::{Signer, Vcek};
use crate::anchors::CertificateDigest;
use crate::certificate::{
    DATES, ISSUED, ParsedCertificate, check_dates, is_of_profile, profile_check, validity,
};
use crate::checks::{Checks, Hex, Subject};
use crate::crl::{self, ParsedList};
use crate::policy::Weakness;
use crate::rejection::Rejection;
use crate::time::UnixTime;

const ARK: Subject = Subject::of("ark");
const LIST: Subject = Subject::of("revocation-list");

const PARSE: &[Rejection] = Rejection::EndorsementMissing.through(Rejection::CertificateMalformed);
const LIST_ISSUED: &[Rejection] = &[Rejection::CrlIssuer, Rejection::CrlSignature];
const VCEK_READ: &[Rejection] = &[Rejection::CertificateAlgorithm, Rejection::SnpVcekExtension];

/// What could be read of a chain. Whether it holds, the list of checks says.
#[derive(Debug)]
pub(super) struct Chain {
    /// The product line of a pinned root; `None` for any other root.
    pub(super) product: Option<Product>,
    pub(super) vcek: Option<Vcek>,
    /// The earliest end of validity, when every part was read.
    pub(super) not_after: Option<UnixTime>,
}

/// `docs/spec/evidence.md` §7.2, in its order.
pub(super) fn plan(signer: Signer, endorsements: &Endorsements, checks: &mut Checks<'_>) {
    let profile = checks.terms.anchors.profile();
    let [vcek, key, ask] = signer.subjects();
    let all = [ARK, ask, vcek];
    checks.plan_each(&all, &[PARSE, &[profile_check(profile)]]);
    checks.plan(ARK, &[Rejection::CertificateRoot]);
    for of in all {
        checks.plan(of, &[Rejection::CertificateCritical]);
        checks.plan(of, &DATES);
    }
    checks.plan_each(&[ARK, ask], &[&[Rejection::CertificateNotAuthority]]);
    checks.plan_each(&[ask, vcek], &[ISSUED]);
    checks.plan(LIST, &[Rejection::CrlMissing]);
    if endorsements.get(EndorsementKind::SnpCrl).is_some() {
        checks.plan(LIST, &[Rejection::CrlMalformed]);
        checks.plan(LIST, LIST_ISSUED);
        checks.plan(LIST, &crl::DATES);
        checks.plan(ask, &[Rejection::CertificateRevoked]);
    }
    checks.plan(key, VCEK_READ);
}

impl Chain {
    pub(super) fn read(
        signer: Signer,
        endorsements: &Endorsements,
        checks: &mut Checks<'_>,
    ) -> Self {
        let [of_vcek, of_key, of_ask] = signer.subjects();
        let mut stapled = Vec::new();
        let mut read = |of, kind| read(of, kind, endorsements, &mut stapled, checks);
        let ark = read(ARK, EndorsementKind::SnpArk);
        let ask = read(of_ask, EndorsementKind::SnpAsk);
        let vcek = read(of_vcek, EndorsementKind::SnpVcek);
        let product = endorsements
            .get(EndorsementKind::SnpArk)
            .and_then(|der| check_root(der, checks));
        for (of, authority) in [(ARK, &ark), (of_ask, &ask)] {
            if let Some(authority) = authority {
                let step = [Rejection::CertificateNotAuthority];
                checks.steps(of, &step, "", authority.check_authority());
            }
        }
        for (of, subject, issuer) in [(of_ask, &ask, &ark), (of_vcek, &vcek, &ask)] {
            if let (Some(subject), Some(issuer)) = (subject, issuer) {
                let found = Hex(subject.serial());
                checks.steps(of, ISSUED, found, subject.check_issued_by(issuer));
            }
        }
        let list = endorsements.get(EndorsementKind::SnpCrl);
        let subject = ask.as_ref().map(|ask| (of_ask, ask));
        let list_end = check_list(list, ark.as_ref(), subject, checks);
        let ends = [&ark, &ask, &vcek].map(|each| Some(validity(&each.as_ref()?.parsed).until));
        let ends: Option<Vec<_>> = ends.into_iter().collect();
        Self {
            product,
            not_after: ends.and_then(|ends| ends.into_iter().chain(list_end).min()),
            vcek: vcek.and_then(|vcek| {
                let read = Vcek::read(signer, &vcek);
                checks.steps(of_key, VCEK_READ, "", read)
            }),
        }
    }
}

/// One certificate, and what can be said of it alone.
fn read<'e>(
    of: Subject,
    kind: EndorsementKind,
    endorsements: &'e Endorsements,
    stapled: &mut Vec<&'e [u8]>,
    checks: &mut Checks<'_>,
) -> Option<ParsedCertificate<'e>> {
    let der = endorsements.get(kind).ok_or(Rejection::EndorsementMissing);
    let found = CertificateDigest::of(der.unwrap_or_default());
    // No certificate is there twice.
    let again = der.is_ok_and(|der| stapled.contains(&der));
    stapled.extend(der);
    let parsed = match der {
        Ok(_) if again => Err(Rejection::CertificateMalformed),
        Ok(der) => ParsedCertificate::parse(der),
        Err(missing) => Err(missing),
    };
    let certificate = checks.steps(of, PARSE, found, parsed)?;
    let profile = checks.terms.anchors.profile();
    let holds = is_of_profile(&certificate.parsed, profile);
    checks.expect(of, profile_check(profile), "", holds);
    let known = certificate.knows_critical(&[]);
    checks.expect(of, Rejection::CertificateCritical, "", known);
    let dates = check_dates(&certificate.parsed, checks.terms.at);
    checks.steps(of, &DATES, validity(&certificate.parsed), dates);
    Some(certificate)
}

/// The pin covers every byte of the root, so its self-signature would add nothing.
fn check_root(der: &[u8], checks: &mut Checks<'_>) -> Option<Product> {
    let (digest, anchors) = (CertificateDigest::of(der), checks.terms.anchors);
    let mut products = Product::ALL.into_iter();
    let product = products.find(|product| anchors.amd_root(*product) == digest);
    checks.read(ARK, Rejection::CertificateRoot, digest, product)
}

/// AMD's list: by the root, in date, and without the intermediate. VCEKs have serial number 0 and
/// are not revoked one by one. Returns the list's end.
fn check_list(
    der: Option<&[u8]>,
    root: Option<&ParsedCertificate<'_>>,
    subject: Option<(Subject, &ParsedCertificate<'_>)>,
    checks: &mut Checks<'_>,
) -> Option<UnixTime> {
    checks.expect_or(LIST, Weakness::SnpNoRevocationList, "", der.is_some());
    let der = der?;
    let found = format_args!("{} bytes", der.len());
    let list = checks.read(LIST, Rejection::CrlMalformed, found, ParsedList::parse(der))?;
    if let Some(root) = root {
        checks.steps(LIST, LIST_ISSUED, "", list.check_issued_by(der, root));
    }
    let end = list.dates.check(checks.terms.at, crl::DATES);
    let end = checks.steps(LIST, &crl::DATES, list.dates, end);
    if let Some((of, subject)) = subject {
        let found = Hex(subject.serial());
        let holds = !list.revokes(&subject.parsed);
        checks.expect(of, Rejection::CertificateRevoked, found, holds);
    }
    end
}
