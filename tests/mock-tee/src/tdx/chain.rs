//! Certificates of a simulated Intel: root, platform authority, TCB signer, PCK.

use p256::ecdsa::SigningKey;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::KeyUsages;

use super::{TdxMachine, pck};
use crate::certificates::{
    Criticality, Dates, Signer, Template, authority, certificate, marker, pem, public_key,
};
use crate::seed::p256_key;
use crate::{Lie, MockTeeError};

/// 2026-01-01 and 2051-01-01.
const AUTHORITY_DATES: Dates = Dates {
    from: 1_767_225_600,
    until: 2_556_144_000,
};
/// 2026-01-01 and 2033-01-01.
const LEAF_DATES: Dates = Dates {
    from: 1_767_225_600,
    until: 1_988_150_400,
};

pub(super) const ROOT_NAME: &str = "RESEARCH SGX Root CA";
pub(super) const PLATFORM_NAME: &str = "RESEARCH SGX PCK Platform CA";
const SIGNER_NAME: &str = "RESEARCH SGX TCB Signing";
pub(super) const PLATFORM_SERIAL: u8 = 2;
pub(super) const PCK_SERIAL: u8 = 4;

/// The simulated root, in DER: what `tests/research/anchors` pins.
///
/// # Errors
/// Only when the certificate cannot be made.
pub fn root_certificate() -> Result<Vec<u8>, MockTeeError> {
    root(&p256_key("intel root")?)
}

/// The key of the root, or of somebody who would like to be it.
pub(super) fn root_key(machine: &TdxMachine) -> Result<SigningKey, MockTeeError> {
    match machine.lie {
        Some(Lie::SelfSignedRoot) => p256_key("intel self-signed root"),
        Some(_) | None => p256_key("intel root"),
    }
}

pub(super) fn platform_key() -> Result<SigningKey, MockTeeError> {
    p256_key("intel platform authority")
}

pub(super) fn signer_key() -> Result<SigningKey, MockTeeError> {
    p256_key("intel tcb signer")
}

pub(super) fn pck_key() -> Result<SigningKey, MockTeeError> {
    p256_key("intel pck")
}

/// PCK, platform authority, root: PEM, as it lies in a quote.
pub(super) fn pck_chain(machine: &TdxMachine) -> Result<String, MockTeeError> {
    let root_key = root_key(machine)?;
    let mut leaf = pck_certificate(machine, &root_key)?;
    if machine.lies(Lie::MalformedCertificate) {
        leaf.pop();
    }
    let authority = platform_authority(&root_key)?;
    Ok([leaf, authority, root(&root_key)?]
        .iter()
        .map(|der| pem(der))
        .collect())
}

/// TCB signer and root, PEM.
pub(super) fn signer_chain(machine: &TdxMachine) -> Result<String, MockTeeError> {
    let root_key = root_key(machine)?;
    let template = Template {
        serial: vec![3],
        issuer: ROOT_NAME.to_owned(),
        subject: SIGNER_NAME.to_owned(),
        dates: LEAF_DATES,
        key: public_key(signer_key()?.verifying_key())?,
        extensions: vec![mark()?],
    };
    let signer = certificate(&template, &Signer::EcdsaP256(&root_key))?;
    Ok([signer, root(&root_key)?]
        .iter()
        .map(|der| pem(der))
        .collect())
}

/// Platform authority and root, PEM.
pub(super) fn authority_chain(machine: &TdxMachine) -> Result<String, MockTeeError> {
    let root_key = root_key(machine)?;
    let authority = platform_authority(&root_key)?;
    Ok([authority, root(&root_key)?]
        .iter()
        .map(|der| pem(der))
        .collect())
}

fn root(key: &SigningKey) -> Result<Vec<u8>, MockTeeError> {
    let mut extensions = authority(Some(1), KeyUsages::KeyCertSign | KeyUsages::CRLSign)?;
    extensions.push(mark()?);
    let template = Template {
        serial: vec![0x01],
        issuer: ROOT_NAME.to_owned(),
        subject: ROOT_NAME.to_owned(),
        dates: AUTHORITY_DATES,
        key: public_key(key.verifying_key())?,
        extensions,
    };
    certificate(&template, &Signer::EcdsaP256(key))
}

fn platform_authority(root_key: &SigningKey) -> Result<Vec<u8>, MockTeeError> {
    let mut extensions = authority(Some(0), KeyUsages::KeyCertSign | KeyUsages::CRLSign)?;
    extensions.push(mark()?);
    let template = Template {
        serial: vec![PLATFORM_SERIAL],
        issuer: ROOT_NAME.to_owned(),
        subject: PLATFORM_NAME.to_owned(),
        dates: AUTHORITY_DATES,
        key: public_key(platform_key()?.verifying_key())?,
        extensions,
    };
    certificate(&template, &Signer::EcdsaP256(root_key))
}

fn pck_certificate(machine: &TdxMachine, root_key: &SigningKey) -> Result<Vec<u8>, MockTeeError> {
    let Dates { from, until } = LEAF_DATES;
    let dates = match machine.lie {
        Some(Lie::NotYetValid) => Dates { from: until, until },
        Some(Lie::Expired) => Dates { from, until: from },
        Some(_) | None => LEAF_DATES,
    };
    let mut extensions = vec![pck::extension(machine.platform)?];
    if !machine.lies(Lie::Unmarked) {
        extensions.push(mark()?);
    }
    let template = Template {
        serial: vec![PCK_SERIAL],
        issuer: PLATFORM_NAME.to_owned(),
        subject: "RESEARCH SGX PCK Certificate".to_owned(),
        dates,
        key: public_key(pck_key()?.verifying_key())?,
        extensions,
    };
    let issuer_key = match machine.lie {
        Some(Lie::CertificateSignature) => root_key.clone(),
        Some(_) | None => platform_key()?,
    };
    certificate(&template, &Signer::EcdsaP256(&issuer_key))
}

fn mark() -> Result<Extension, MockTeeError> {
    marker(Criticality::Optional)
}
