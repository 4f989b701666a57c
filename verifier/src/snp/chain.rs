//! AMD's chain: the pinned root (ARK), the intermediate (ASK), the chip's key (VCEK).

use protocol::endorsements::{EndorsementKind, Endorsements};

use super::product::Product;
use super::vcek::Vcek;
use crate::anchors::{CertificateDigest, TrustAnchors};
use crate::certificate::ParsedCertificate;
use crate::crl;
use crate::policy::{AppraisalPolicy, Weakness};
use crate::rejection::Rejection;
use crate::time::UnixTime;

/// A verified chain.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) product: Product,
    pub(super) vcek: Vcek,
    /// The earliest end of validity of any part.
    pub(super) not_after: UnixTime,
}

impl Chain {
    /// `docs/spec/evidence.md` §7.1.
    pub(super) fn verify(
        endorsements: &Endorsements,
        policy: &AppraisalPolicy,
        anchors: &TrustAnchors,
        at: UnixTime,
    ) -> Result<Self, Rejection> {
        let item = |kind| endorsements.get(kind).ok_or(Rejection::EndorsementMissing);
        let ark_der = item(EndorsementKind::SnpArk)?;
        let ark = ParsedCertificate::parse(ark_der)?;
        let ask = ParsedCertificate::parse(item(EndorsementKind::SnpAsk)?)?;
        let vcek = ParsedCertificate::parse(item(EndorsementKind::SnpVcek)?)?;
        for certificate in [&ark, &ask, &vcek] {
            certificate.check_profile(anchors.profile())?;
        }
        // The pin covers every byte of the root, so its self-signature would add nothing.
        let product = product_of_root(ark_der, anchors)?;
        for certificate in [&ark, &ask, &vcek] {
            certificate.check_critical()?;
            certificate.check_dates(at)?;
        }
        ark.check_authority()?;
        ask.check_authority()?;
        ask.check_issued_by(&ark)?;
        vcek.check_issued_by(&ask)?;
        let list_end = match endorsements.get(EndorsementKind::SnpCrl) {
            Some(list) => Some(crl::check_amd(list, &ark, &ask, at)?),
            None if policy.tolerates(Weakness::SnpNoRevocationList) => None,
            None => return Err(Rejection::CrlMissing),
        };
        let ends = [&ark, &ask, &vcek].map(ParsedCertificate::not_after);
        let not_after = ends.into_iter().chain(list_end).min();
        Ok(Self {
            product,
            not_after: not_after.ok_or(Rejection::CertificateExpired)?,
            vcek: Vcek::read(&vcek)?,
        })
    }
}

fn product_of_root(der: &[u8], anchors: &TrustAnchors) -> Result<Product, Rejection> {
    let digest = CertificateDigest::of(der);
    let mut products = Product::ALL.into_iter();
    products
        .find(|product| anchors.amd_root(*product) == digest)
        .ok_or(Rejection::CertificateRoot)
}
