//! The chip's own key (VCEK) and what its certificate says of the chip: AMD publication 57230,
//! "VCEK certificate extensions".

use der::Decode as _;
use der::asn1::{Ia5StringRef, ObjectIdentifier};
use p384::ecdsa::VerifyingKey;
use p384::pkcs8::DecodePublicKey as _;
use protocol::digest::ChipId;

use super::VCEK;
use super::product::Product;
use super::report::Report;
use super::tcb::TcbVersion;
use crate::certificate::ParsedCertificate;
use crate::checks::{Checks, Hex};
use crate::rejection::Rejection;

const PRODUCT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
const HARDWARE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
const LEVEL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3");

/// Last arc of each level's OID, in the order of TCB_VERSION's bytes, before Turin.
const LEVELS_BEFORE_TURIN: [u8; 8] = [1, 2, 4, 5, 6, 7, 3, 8];
/// The same from Turin on. Bytes 4 to 6 are reserved there and have no extension of their own.
const LEVELS_FROM_TURIN: [u8; 8] = [9, 1, 2, 3, 0, 0, 0, 8];

/// What the VCEK's certificate says.
#[derive(Debug)]
pub(super) struct Vcek {
    key: VerifyingKey,
    product_name: String,
    hardware_id: Vec<u8>,
    levels: Levels,
}

/// Levels by the last arc of their OID, 1 to 9.
#[derive(Debug, Default)]
struct Levels([Option<u8>; 10]);

impl Vcek {
    /// Reads key and extensions of a certificate whose signature was checked.
    pub(super) fn read(certificate: &ParsedCertificate<'_>) -> Result<Self, Rejection> {
        use der::Encode as _;
        let tbs = &certificate.parsed.tbs_certificate;
        let info = tbs.subject_public_key_info.to_der();
        let info = info.map_err(|_| Rejection::CertificateMalformed)?;
        let key = VerifyingKey::from_public_key_der(&info);
        let key = key.map_err(|_| Rejection::CertificateAlgorithm)?;
        let name = extension(certificate, PRODUCT_NAME)?;
        let name = Ia5StringRef::from_der(name).map_err(|_| Rejection::SnpVcekExtension)?;
        Ok(Self {
            key,
            product_name: name.as_str().to_owned(),
            // These are the raw bytes; AMD does not wrap them in another OCTET STRING.
            hardware_id: extension(certificate, HARDWARE_ID)?.to_vec(),
            levels: Levels::read(certificate)?,
        })
    }

    pub(super) const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The certificate is for the chip, the product and the firmware level that the report names.
    pub(super) fn check_against(&self, report: &Report, product: Product, checks: &mut Checks) {
        let name = self.product_name.split('-').next().unwrap_or_default();
        let holds = product.has_name(name);
        checks.expect(VCEK, Rejection::SnpProductMismatch, product.name(), holds);
        let holds = is_chip(&self.hardware_id, &report.chip_id, product);
        checks.expect(
            VCEK,
            Rejection::SnpChipMismatch,
            Hex(&self.hardware_id),
            holds,
        );
        let levels = self.levels.check_against(report.reported_tcb, product);
        let found = report.reported_tcb;
        let steps = [Rejection::SnpVcekExtension, Rejection::SnpTcbMismatch];
        checks.steps(VCEK, &steps, found, levels);
    }
}

impl Levels {
    fn read(certificate: &ParsedCertificate<'_>) -> Result<Self, Rejection> {
        let mut levels = Self::default();
        for found in certificate.extensions() {
            let Some(arc) = level_arc(found.extn_id) else {
                continue;
            };
            let slot = levels.0.get_mut(arc).ok_or(Rejection::SnpVcekExtension)?;
            let value = u8::from_der(found.extn_value.as_bytes());
            let value = value.map_err(|_| Rejection::SnpVcekExtension)?;
            if slot.replace(value).is_some() {
                return Err(Rejection::SnpVcekExtension);
            }
        }
        Ok(levels)
    }

    fn check_against(&self, tcb: TcbVersion, product: Product) -> Result<(), Rejection> {
        let order = match product {
            Product::Milan | Product::Genoa => LEVELS_BEFORE_TURIN,
            Product::Turin => LEVELS_FROM_TURIN,
        };
        for (arc, reported) in order.into_iter().zip(tcb.0) {
            let endorsed = match arc {
                0 => 0,
                arc => {
                    let slot = self.0.get(usize::from(arc)).copied().flatten();
                    slot.ok_or(Rejection::SnpVcekExtension)?
                }
            };
            if endorsed != reported {
                return Err(Rejection::SnpTcbMismatch);
            }
        }
        Ok(())
    }
}

/// The last arc of a level's OID.
fn level_arc(oid: ObjectIdentifier) -> Option<usize> {
    if oid.parent()? != LEVEL {
        return None;
    }
    oid.arcs().last().and_then(|arc| usize::try_from(arc).ok())
}

/// From Turin on a chip's identity has 8 bytes; the rest of CHIP_ID is zero.
fn is_chip(hardware_id: &[u8], chip: &ChipId, product: Product) -> bool {
    let length = match product {
        Product::Milan | Product::Genoa => ChipId::LENGTH,
        Product::Turin => 8,
    };
    match chip.as_bytes().split_at_checked(length) {
        Some((identity, rest)) => hardware_id == identity && rest.iter().all(|byte| *byte == 0),
        None => false,
    }
}

/// The value of an extension that is there exactly once.
fn extension<'c>(
    certificate: &'c ParsedCertificate<'_>,
    oid: ObjectIdentifier,
) -> Result<&'c [u8], Rejection> {
    let mut found = certificate.extensions().filter(|e| e.extn_id == oid);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only.extn_value.as_bytes()),
        (None | Some(_), _) => Err(Rejection::SnpVcekExtension),
    }
}
