//! Certificates of a simulated Intel: root, platform authority, TCB signer, PCK.

use x509_cert::ext::pkix::KeyUsages;

use crate::MockTeeError;
use crate::certificates::{
    Criticality, Dates, Signer, Template, authority, certificate, marker, public_key,
};
use crate::seed::p256_key;

/// 2026-01-01 and 2051-01-01.
const AUTHORITY_DATES: Dates = Dates {
    from: 1_767_225_600,
    until: 2_556_144_000,
};

const ROOT_NAME: &str = "RESEARCH SGX Root CA";

/// The simulated root, in DER: what `tests/research/anchors` pins.
///
/// # Errors
/// Only when the certificate cannot be made.
pub fn root_certificate() -> Result<Vec<u8>, MockTeeError> {
    let key = p256_key("intel root")?;
    let mut extensions = authority(Some(1), KeyUsages::KeyCertSign | KeyUsages::CRLSign)?;
    extensions.push(marker(Criticality::Optional)?);
    let template = Template {
        serial: vec![0x01],
        issuer: ROOT_NAME.to_owned(),
        subject: ROOT_NAME.to_owned(),
        dates: AUTHORITY_DATES,
        key: public_key(key.verifying_key())?,
        extensions,
    };
    certificate(&template, &Signer::EcdsaP256(&key))
}
