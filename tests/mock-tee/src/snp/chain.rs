//! ARK, ASK, VCEK and revocation list of a simulated AMD.

use der::Encode as _;
use der::asn1::{Ia5StringRef, ObjectIdentifier};
use protocol::endorsements::{EndorsementKind, Endorsements};
use rsa::RsaPrivateKey;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::KeyUsages;

use super::report::key_label;
use super::{Product, SnpMachine};
use crate::certificates::{
    Criticality, Dates, Signer, Template, authority, certificate, extension, marker, public_key,
    revocation_list,
};
use crate::rsa_keys;
use crate::seed::p384_key;
use crate::{Lie, MockTeeError};

/// 2026-01-01 and 2051-01-01: as long as AMD's authorities.
const AUTHORITY_DATES: Dates = Dates {
    from: 1_767_225_600,
    until: 2_556_144_000,
};
/// 2026-01-01 and 2033-01-01: seven years, as AMD's VCEKs.
const VCEK_DATES: Dates = Dates {
    from: 1_767_225_600,
    until: 1_988_150_400,
};
/// A revocation list is made an hour ago and holds for half a year.
const LIST_AGE: u64 = 3_600;
const LIST_SECONDS: u64 = 180 * 86_400;

const ASK_SERIAL: [u8; 3] = [0x02, 0x00, 0x02];
const LEVEL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3");
const STRUCTURE_VERSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.1");
const PRODUCT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
const HARDWARE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
const PROVIDER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.5");
const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.7357.99");

/// The simulated root of a product line, in DER: what `tests/research/anchors` pins.
///
/// # Errors
/// Only when a certificate cannot be made.
pub fn root_certificate(product: Product) -> Result<Vec<u8>, MockTeeError> {
    root(
        product,
        &rsa_keys::ARK.key()?,
        vec![marker(Criticality::Critical)?],
    )
}

pub(super) fn endorsements(machine: &SnpMachine, at: u64) -> Result<Endorsements, MockTeeError> {
    let product = machine.product;
    let ark_key = rsa_keys::ARK.key()?;
    let ask_key = rsa_keys::ASK.key()?;
    let marks = if machine.lies(Lie::Unmarked) {
        vec![]
    } else {
        vec![marker(Criticality::Critical)?]
    };
    // Somebody else's root: the intermediate's key signs a certificate with the root's name.
    let root_key = if machine.lies(Lie::SelfSignedRoot) {
        &ask_key
    } else {
        &ark_key
    };
    let ark = match machine.lie {
        // A marked root with an unmarked chain, so that the pin still holds.
        Some(Lie::Unmarked) => root_certificate(product)?,
        Some(_) | None => root(product, root_key, marks.clone())?,
    };
    let mut items = Endorsements::default();
    items.insert(EndorsementKind::SnpArk, ark)?;
    let ask = intermediate(machine, &ask_key, root_key, marks.clone())?;
    items.insert(EndorsementKind::SnpAsk, ask)?;
    if !machine.lies(Lie::NoEndorsement) {
        let issuer_key = if machine.lies(Lie::CertificateSignature) {
            root_key
        } else {
            &ask_key
        };
        let vcek = cut(
            machine,
            Lie::MalformedCertificate,
            vcek(machine, issuer_key, marks)?,
        );
        items.insert(EndorsementKind::SnpVcek, vcek)?;
    }
    if !machine.lies(Lie::NoCrl) {
        let list_key = if machine.lies(Lie::CrlSignature) {
            &ask_key
        } else {
            root_key
        };
        let list = cut(machine, Lie::MalformedCrl, list(machine, list_key, at)?);
        items.insert(EndorsementKind::SnpCrl, list)?;
    }
    Ok(items)
}

fn cut(machine: &SnpMachine, lie: Lie, mut bytes: Vec<u8>) -> Vec<u8> {
    if machine.lies(lie) {
        bytes.pop();
    }
    bytes
}

fn root(
    product: Product,
    key: &RsaPrivateKey,
    marks: Vec<Extension>,
) -> Result<Vec<u8>, MockTeeError> {
    let mut extensions = authority(None, KeyUsages::KeyCertSign | KeyUsages::CRLSign)?;
    extensions.extend(marks);
    let template = Template {
        serial: vec![0x02, 0x00, 0x00],
        issuer: root_name(product),
        subject: root_name(product),
        dates: AUTHORITY_DATES,
        key: public_key(&key.to_public_key())?,
        extensions,
    };
    certificate(&template, &Signer::Pss(key))
}

fn intermediate(
    machine: &SnpMachine,
    key: &RsaPrivateKey,
    root_key: &RsaPrivateKey,
    marks: Vec<Extension>,
) -> Result<Vec<u8>, MockTeeError> {
    let mut extensions = match machine.lie {
        Some(Lie::NotAuthority) => authority(Some(0), KeyUsages::DigitalSignature)?,
        Some(_) | None => authority(Some(0), KeyUsages::KeyCertSign)?,
    };
    extensions.extend(marks);
    let template = Template {
        serial: ASK_SERIAL.to_vec(),
        issuer: root_name(machine.product),
        subject: intermediate_name(machine),
        dates: AUTHORITY_DATES,
        key: public_key(&key.to_public_key())?,
        extensions,
    };
    certificate(&template, &Signer::Pss(root_key))
}

fn vcek(
    machine: &SnpMachine,
    issuer_key: &RsaPrivateKey,
    marks: Vec<Extension>,
) -> Result<Vec<u8>, MockTeeError> {
    let key = p384_key(key_label(machine))?;
    let mut extensions = chip_extensions(machine)?;
    extensions.extend(marks);
    if machine.lies(Lie::CriticalExtension) {
        let null = vec![0x05, 0x00];
        extensions.push(extension(UNKNOWN, Criticality::Critical, null)?);
    }
    let issuer = match machine.lie {
        Some(Lie::OtherIssuer) => root_name(machine.product),
        Some(_) | None => intermediate_name(machine),
    };
    let Dates { from, until } = VCEK_DATES;
    let dates = match machine.lie {
        Some(Lie::NotYetValid) => Dates { from: until, until },
        Some(Lie::Expired) => Dates { from, until: from },
        Some(_) | None => VCEK_DATES,
    };
    let template = Template {
        serial: vec![0],
        issuer,
        subject: match machine.lie {
            Some(Lie::Vlek) => "RESEARCH VLEK".to_owned(),
            Some(_) | None => "RESEARCH VCEK".to_owned(),
        },
        dates,
        key: public_key(&p384::PublicKey::from(key.verifying_key()))?,
        extensions,
    };
    let signer = match machine.lie {
        Some(Lie::CertificateAlgorithm) => Signer::Pkcs1(issuer_key),
        Some(_) | None => Signer::Pss(issuer_key),
    };
    certificate(&template, &signer)
}

/// Structure version, product, levels, chip identity: AMD publication 57230.
fn chip_extensions(machine: &SnpMachine) -> Result<Vec<Extension>, MockTeeError> {
    let product = machine.product;
    let optional = Criticality::Optional;
    let name = match machine.lie {
        Some(Lie::OtherProductName) => "Naples-B1".to_owned(),
        Some(_) | None => format!("{}-B1", product.name()),
    };
    let mut chip = *product.chip_id().as_bytes();
    if let (true, Some(byte)) = (machine.lies(Lie::OtherChip), chip.first_mut()) {
        *byte ^= 1;
    }
    let identity = match product {
        Product::Milan | Product::Genoa => chip.to_vec(),
        Product::Turin => chip.into_iter().take(8).collect(),
    };
    let mut extensions = vec![
        extension(STRUCTURE_VERSION, optional, 0u8.to_der()?)?,
        extension(PRODUCT_NAME, optional, Ia5StringRef::new(&name)?.to_der()?)?,
        // A VLEK names its cloud provider instead of a chip.
        match machine.lie {
            Some(Lie::Vlek) => {
                let provider = Ia5StringRef::new("RESEARCH")?.to_der()?;
                extension(PROVIDER, optional, provider)?
            }
            Some(_) | None => extension(HARDWARE_ID, optional, identity)?,
        },
    ];
    for (arc, mut level) in levels(machine) {
        if machine.lies(Lie::MissingLevel) && arc == 1 {
            continue;
        }
        if machine.lies(Lie::OtherTcb) && arc == 8 {
            level = level.saturating_sub(1);
        }
        let oid = LEVEL.push_arc(arc).map_err(|_| MockTeeError::Key)?;
        extensions.push(extension(oid, optional, level.to_der()?)?);
    }
    Ok(extensions)
}

/// Level and last arc of its OID.
fn levels(machine: &SnpMachine) -> Vec<(u32, u8)> {
    let [b0, b1, b2, b3, b4, b5, b6, b7] = machine.reported_tcb();
    match machine.product {
        Product::Milan | Product::Genoa => vec![
            (1, b0), // boot loader
            (2, b1), // tee
            (3, b6), // snp
            (4, b2),
            (5, b3),
            (6, b4),
            (7, b5),
            (8, b7), // microcode
        ],
        Product::Turin => vec![
            (9, b0), // fmc
            (1, b1),
            (2, b2),
            (3, b3),
            (8, b7),
        ],
    }
}

fn list(machine: &SnpMachine, key: &RsaPrivateKey, at: u64) -> Result<Vec<u8>, MockTeeError> {
    let made = at.saturating_sub(LIST_AGE);
    let honest = Dates {
        from: made,
        until: made.saturating_add(LIST_SECONDS),
    };
    let dates = match machine.lie {
        Some(Lie::CrlNotYetValid) => Dates {
            from: at.saturating_add(LIST_AGE),
            ..honest
        },
        Some(Lie::CrlExpired) => Dates {
            until: at.saturating_sub(1),
            ..honest
        },
        Some(_) | None => honest,
    };
    let issuer = match machine.lie {
        Some(Lie::CrlIssuer) => intermediate_name(machine),
        Some(_) | None => root_name(machine.product),
    };
    let revoked = match machine.lie {
        Some(Lie::Revoked) => vec![ASK_SERIAL.to_vec()],
        Some(_) | None => vec![],
    };
    revocation_list(&issuer, dates, &revoked, &Signer::Pss(key))
}

fn root_name(product: Product) -> String {
    format!("RESEARCH ARK-{}", product.name())
}

fn intermediate_name(machine: &SnpMachine) -> String {
    let product = machine.product.name();
    match machine.lie {
        Some(Lie::Vlek) => format!("RESEARCH SEV-VLEK-{product}"),
        Some(_) | None => format!("RESEARCH SEV-{product}"),
    }
}
