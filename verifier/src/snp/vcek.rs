//! The key that signs reports and what its certificate says: the chip's own (VCEK), or one that a
//! cloud provider holds for many chips (VLEK). AMD publication 57230, "certificate extensions".

use std::collections::BTreeMap;

use der::Decode as _;
use der::asn1::{Ia5StringRef, ObjectIdentifier};
use p384::ecdsa::VerifyingKey;
use protocol::digest::ChipId;
use protocol::machine_grant::ChipIdentity;

use super::product::Product;
use super::report::Report;
use super::tcb::TcbVersion;
use crate::certificate::ParsedCertificate;
use crate::checks::{Checks, Hex, Subject};
use crate::rejection::Rejection;
use crate::result::ReportedChip;

const PRODUCT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
const HARDWARE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
/// The cloud provider's name, of a VLEK.
const PROVIDER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.5");
const LEVEL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3");

/// Last arc of each level's OID, in the order of TCB_VERSION's bytes, before Turin.
const LEVELS_BEFORE_TURIN: [u8; 8] = [1, 2, 4, 5, 6, 7, 3, 8];
/// The same from Turin on. Bytes 4 to 6 are reserved there and have no extension of their own.
const LEVELS_FROM_TURIN: [u8; 8] = [9, 1, 2, 3, 0, 0, 0, 8];
const LAST_LEVEL: u8 = 9;

/// Which key signed a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signer {
    /// The chip's own.
    Vcek,
    /// A cloud provider's.
    Vlek,
}

impl Signer {
    /// What a report says; whatever it does not say well is refused, and read as a VCEK.
    pub(super) fn of(report: Option<&Report>) -> Self {
        let said = report.and_then(|report| Self::said(report.key_info).ok());
        said.unwrap_or(Self::Vcek)
    }

    /// Whose key signed, by the key information; otherwise how that is called which is none.
    pub(super) const fn said(key_info: u32) -> Result<Self, &'static str> {
        match (key_info >> 2) & 7 {
            0 => Ok(Self::Vcek),
            1 => Ok(Self::Vlek),
            7 => Err("none"),
            _ => Err("unknown"),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Vcek => "vcek",
            Self::Vlek => "vlek",
        }
    }

    /// The certificate, what it says of its key, and its issuer, as the verdict names them.
    pub(super) fn subjects(self) -> [Subject; 3] {
        match self {
            Self::Vcek => ["vcek", "vcek-key", "ask"].map(Subject::of),
            Self::Vlek => ["vlek", "vlek-key", "asvk"].map(Subject::of),
        }
    }

    /// The chip that a report names. A VLEK is a cloud provider's, for whichever of its chips.
    pub(super) const fn chip(self, chip: ChipId) -> ReportedChip {
        let chip = ChipIdentity::SevSnp(chip);
        match self {
            Self::Vcek => ReportedChip::Certified(chip),
            Self::Vlek => ReportedChip::Uncertified(chip),
        }
    }
}

/// What the certificate of a VCEK or VLEK says.
#[derive(Debug)]
pub(super) struct Vcek {
    signer: Signer,
    key: VerifyingKey,
    product_name: String,
    /// Empty of a VLEK.
    hardware_id: Vec<u8>,
    levels: Levels,
}

/// Levels by the last arc of their OID.
#[derive(Debug)]
struct Levels(BTreeMap<u8, u8>);

impl Vcek {
    /// Reads key and extensions of a certificate whose signature was checked.
    pub(super) fn read(
        signer: Signer,
        certificate: &ParsedCertificate<'_>,
    ) -> Result<Self, Rejection> {
        let only = |oid| {
            let value = certificate.only_extension(oid);
            value.ok_or(Rejection::SnpVcekExtension)
        };
        let hardware_id = match signer {
            // These are the raw bytes; AMD does not wrap them in another OCTET STRING.
            Signer::Vcek => only(HARDWARE_ID)?.to_vec(),
            Signer::Vlek => text(only(PROVIDER)?).map(|_| Vec::new())?,
        };
        Ok(Self {
            signer,
            key: certificate.p384_key()?,
            product_name: text(only(PRODUCT_NAME)?)?,
            hardware_id,
            levels: Levels::read(certificate)?,
        })
    }

    pub(super) const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The certificate is for the chip, the product and the firmware level that the report names.
    pub(super) fn check_against(&self, report: &Report, product: Product, checks: &mut Checks<'_>) {
        let [of, ..] = self.signer.subjects();
        let name = self.product_name.split('-').next().unwrap_or_default();
        let holds = product.has_name(name);
        checks.expect(of, Rejection::SnpProductMismatch, product, holds);
        let step = Rejection::SnpChipMismatch;
        match self.signer {
            Signer::Vcek => {
                let holds = is_chip(&self.hardware_id, &report.chip_id, product);
                checks.expect(of, step, Hex(&self.hardware_id), holds);
            }
            Signer::Vlek => checks.not_needed(of, &[step], "of no chip"),
        }
        let levels = self.levels.check_against(report.reported_tcb, product);
        let found = Hex(&report.reported_tcb.0);
        let steps = [Rejection::SnpVcekExtension, Rejection::SnpTcbMismatch];
        checks.steps(of, &steps, found, levels);
    }
}

impl Levels {
    fn read(certificate: &ParsedCertificate<'_>) -> Result<Self, Rejection> {
        let mut levels = BTreeMap::new();
        for found in certificate.extensions() {
            let Some(arc) = level_arc(found.extn_id) else {
                continue;
            };
            let value = u8::from_der(found.extn_value.as_bytes());
            let value = value.map_err(|_| Rejection::SnpVcekExtension)?;
            // None beyond those that are known, and none twice.
            if arc > LAST_LEVEL || levels.insert(arc, value).is_some() {
                return Err(Rejection::SnpVcekExtension);
            }
        }
        Ok(Self(levels))
    }

    fn check_against(&self, tcb: TcbVersion, product: Product) -> Result<(), Rejection> {
        let order = match product {
            Product::Milan | Product::Genoa => LEVELS_BEFORE_TURIN,
            Product::Turin => LEVELS_FROM_TURIN,
        };
        for (arc, reported) in order.into_iter().zip(tcb.0) {
            let endorsed = match arc {
                0 => 0,
                arc => *self.0.get(&arc).ok_or(Rejection::SnpVcekExtension)?,
            };
            if endorsed != reported {
                return Err(Rejection::SnpTcbMismatch);
            }
        }
        Ok(())
    }
}

/// The last arc of a level's OID.
fn level_arc(oid: ObjectIdentifier) -> Option<u8> {
    let arc = oid.arcs().last().filter(|_| oid.parent() == Some(LEVEL))?;
    Some(u8::try_from(arc).unwrap_or(u8::MAX))
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

/// The text in an extension's value.
fn text(value: &[u8]) -> Result<String, Rejection> {
    let text = Ia5StringRef::from_der(value).map_err(|_| Rejection::SnpVcekExtension)?;
    Ok(text.as_str().to_owned())
}
