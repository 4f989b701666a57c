//! A device's chain: firmware, read-only firmware, provisioner, product line, root.

use der::Encode as _;
use der::asn1::ObjectIdentifier;
use p384::ecdsa::SigningKey;
use protocol::gpu_evidence::DeviceKind;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{KeyUsage, KeyUsages};

use super::{Device, DeviceLie, line};
use crate::MockTeeError;
use crate::certificates::{
    Criticality, Dates, Signer, Template, authority, certificate, extension, marker, public_key,
};
use crate::seed::{SeedStream, p256_key, p384_key};
use crate::tdx::pck::tlv;

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const COMPOSITE_DEVICE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1");
const TCB_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const UNKNOWN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.7357.9");
const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;

/// 2026-01-01 to 9999-12-31, as NVIDIA's devices have it.
const DATES: Dates = Dates {
    from: 1_767_225_600,
    until: 253_402_300_799,
};
const ROOT: &str = "RESEARCH Device Identity CA";

/// The simulated root, in DER: what `tests/research/anchors` pins.
///
/// # Errors
/// Only when the certificate cannot be made.
pub fn root_certificate() -> Result<Vec<u8>, MockTeeError> {
    root(&p384_key("nvidia root")?, None)
}

/// Leaf first.
pub(super) fn chain(device: Device) -> Result<Vec<Vec<u8>>, MockTeeError> {
    let root_key = root_key(device)?;
    let mut chain = vec![
        leaf(device)?,
        rom(device)?,
        provisioner(device)?,
        identity(device, &root_key)?,
        root(&root_key, device.lie)?,
    ];
    if device.lies(DeviceLie::ShortChain) {
        chain.remove(2);
    }
    if let (true, Some(leaf)) = (
        device.lies(DeviceLie::MalformedCertificate),
        chain.first_mut(),
    ) {
        leaf.pop();
    }
    Ok(chain)
}

/// The key that issued the read-only firmware's certificate.
pub(super) fn provisioner_key(kind: DeviceKind) -> Result<SigningKey, MockTeeError> {
    p384_key(&format!("nvidia {} provisioner", line(kind)))
}

/// The key of the product line.
pub(super) fn identity_key() -> Result<SigningKey, MockTeeError> {
    p384_key("nvidia identity")
}

/// The key of the root, or of somebody who would like to be it.
pub(super) fn root_key(device: Device) -> Result<SigningKey, MockTeeError> {
    match device.lie {
        Some(DeviceLie::SelfSignedRoot) => p384_key("nvidia self-signed root"),
        Some(_) | None => p384_key("nvidia root"),
    }
}

fn root(key: &SigningKey, lie: Option<DeviceLie>) -> Result<Vec<u8>, MockTeeError> {
    let mut extensions = authority(None, KeyUsages::KeyCertSign | KeyUsages::CRLSign)?;
    if lie != Some(DeviceLie::Unmarked) {
        extensions.push(marker(Criticality::Critical)?);
    }
    let template = Template {
        serial: vec![1],
        issuer: ROOT.to_owned(),
        subject: ROOT.to_owned(),
        dates: DATES,
        key: public_key(key.verifying_key())?,
        extensions,
    };
    certificate(&template, &Signer::EcdsaP384(key))
}

const IDENTITY: &str = "RESEARCH GH100 Identity";

fn identity(device: Device, root_key: &SigningKey) -> Result<Vec<u8>, MockTeeError> {
    let template = Template {
        serial: vec![2],
        issuer: ROOT.to_owned(),
        subject: IDENTITY.to_owned(),
        dates: DATES,
        key: public_key(identity_key()?.verifying_key())?,
        extensions: authority_extensions(device, None)?,
    };
    certificate(&template, &Signer::EcdsaP384(root_key))
}

fn provisioner(device: Device) -> Result<Vec<u8>, MockTeeError> {
    let limit = device.lies(DeviceLie::PathLength).then_some(0);
    let template = Template {
        serial: vec![3, serial_of(device.kind)],
        issuer: IDENTITY.to_owned(),
        subject: provisioner_name(device.kind),
        dates: DATES,
        key: public_key(provisioner_key(device.kind)?.verifying_key())?,
        extensions: authority_extensions(device, limit)?,
    };
    certificate(&template, &Signer::EcdsaP384(&identity_key()?))
}

const fn serial_of(kind: DeviceKind) -> u8 {
    match kind {
        DeviceKind::Hopper => 1,
        DeviceKind::Blackwell => 2,
        DeviceKind::Ls10 => 3,
    }
}

fn provisioner_name(kind: DeviceKind) -> String {
    format!("RESEARCH {} Provisioner ICA 1", line(kind))
}

fn rom(device: Device) -> Result<Vec<u8>, MockTeeError> {
    let extensions = if device.lies(DeviceLie::NotAuthority) {
        vec![usage(KeyUsages::DigitalSignature)?, mark()?]
    } else {
        authority_extensions(device, None)?
    };
    let template = Template {
        serial: [&[0x41][..], &device.pdi()].concat(),
        issuer: provisioner_name(device.kind),
        subject: rom_name(device),
        dates: DATES,
        key: public_key(p384_key(&device.label("rom"))?.verifying_key())?,
        extensions,
    };
    let key = provisioner_key(device.kind)?;
    certificate(&template, &Signer::EcdsaP384(&key))
}

fn chip(device: Device) -> &'static str {
    match device.lies(DeviceLie::OtherKind) {
        true => "LS_10",
        false => line(device.kind),
    }
}

fn rom_name(device: Device) -> String {
    format!("{} A01 GSP BROM {}", chip(device), device.number)
}

fn leaf(device: Device) -> Result<Vec<u8>, MockTeeError> {
    let dates = match device.lie {
        Some(DeviceLie::NotYetValid) => Dates {
            from: DATES.until,
            ..DATES
        },
        Some(DeviceLie::Expired) => Dates {
            until: DATES.from,
            ..DATES
        },
        Some(_) | None => DATES,
    };
    let issuer = match device.lies(DeviceLie::OtherIssuer) {
        true => "GH100 A01 GSP BROM of somebody else".to_owned(),
        false => rom_name(device),
    };
    let owner = device.or_second(DeviceLie::SerialTwice);
    let mut serial = SeedStream::bytes::<20>(&owner.label("serial"));
    if let Some(first) = serial.first_mut() {
        *first = 0x5a;
    }
    let template = Template {
        serial: serial.to_vec(),
        issuer,
        subject: format!("{} A01 GSP FMC LF {}", chip(device), device.number),
        dates,
        key: public_key(p384_key(&device.label("firmware"))?.verifying_key())?,
        extensions: leaf_extensions(device)?,
    };
    if device.lies(DeviceLie::CertificateAlgorithm) {
        let key = p256_key("nvidia somebody else")?;
        return certificate(&template, &Signer::EcdsaP256(&key));
    }
    let key = match device.lies(DeviceLie::CertificateSignature) {
        true => provisioner_key(device.kind)?,
        false => p384_key(&device.label("rom"))?,
    };
    certificate(&template, &Signer::EcdsaP384(&key))
}

fn leaf_extensions(device: Device) -> Result<Vec<Extension>, MockTeeError> {
    let mut extensions = vec![match device.lies(DeviceLie::LeafUsage) {
        true => usage(KeyUsages::KeyCertSign)?,
        false => usage(KeyUsages::DigitalSignature)?,
    }];
    if !device.lies(DeviceLie::Unmarked) && !device.lies(DeviceLie::UnmarkedLeaf) {
        extensions.push(mark()?);
    }
    if !device.lies(DeviceLie::NoFwid) {
        extensions.push(fwid_extension(device)?);
    }
    if device.lies(DeviceLie::CriticalExtension) {
        extensions.push(unknown_extension()?);
    }
    Ok(extensions)
}

fn fwid_extension(device: Device) -> Result<Extension, MockTeeError> {
    let entry = |digest: &[u8]| {
        let oid = SHA384.to_der()?;
        let digest = tlv(OCTET_STRING, digest);
        Ok::<_, MockTeeError>(tlv(SEQUENCE, &[oid, digest].concat()))
    };
    let fwid = entry(&device.fwid())?;
    if device.kind == DeviceKind::Blackwell {
        let members = [
            tlv(0x80, b"RESEARCH"),
            tlv(0x81, b"GB100 A01 GSP BROM"),
            tlv(0x83, &[1]),
            tlv(0xa6, &[fwid, entry(&[0; 48])?].concat()),
            tlv(0x87, &[0; 5]),
        ];
        let info = tlv(SEQUENCE, &members.concat());
        return extension(TCB_INFO, Criticality::Optional, info);
    }
    let owner = match device.lies(DeviceLie::FwidOfAnother) {
        true => provisioner_key(device.kind)?,
        false => p384_key(&device.label("rom"))?,
    };
    let key = public_key(owner.verifying_key())?.to_der()?;
    let identity = tlv(SEQUENCE, &[tlv(2, &[1]), key, fwid].concat());
    extension(COMPOSITE_DEVICE_ID, Criticality::Optional, identity)
}

fn authority_extensions(device: Device, limit: Option<u8>) -> Result<Vec<Extension>, MockTeeError> {
    let mut extensions = authority(limit, KeyUsages::KeyCertSign | KeyUsages::CRLSign)?;
    if !device.lies(DeviceLie::Unmarked) {
        extensions.push(mark()?);
    }
    Ok(extensions)
}

/// One that nobody knows and every reader must.
pub(super) fn unknown_extension() -> Result<Extension, MockTeeError> {
    extension(UNKNOWN, Criticality::Critical, vec![5, 0])
}

pub(super) fn usage(usage: KeyUsages) -> Result<Extension, MockTeeError> {
    let value = KeyUsage(usage.into()).to_der()?;
    extension(KEY_USAGE, Criticality::Critical, value)
}

fn mark() -> Result<Extension, MockTeeError> {
    marker(Criticality::Critical)
}
