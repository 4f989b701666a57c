//! Certificates and revocation lists from a template, under a key of the simulation.
//!
//! The templates can be wrong in every way that a lie needs; nothing here judges them.

use der::asn1::{Any, BitString, GeneralizedTime, ObjectIdentifier, OctetString, UtcTime};
use der::flagset::FlagSet;
use der::{Decode as _, Encode as _};
use rsa::RsaPrivateKey;
use rsa::pkcs1::RsaPssParams;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _};
use rsa::traits::PublicKeyParts as _;
use sha2::Sha384;
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, EncodePublicKey, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

use crate::MockTeeError;
use crate::seed::{Made, SeedStream};

/// The marker of simulated certificates. The verifier has the same number of its own.
const RESEARCH_MARKER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.7357.1");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SHA384_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");

const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");

/// Seconds since 1970, first and last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dates {
    pub(crate) from: u64,
    pub(crate) until: u64,
}

/// What a certificate says.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) dates: Dates,
    pub(crate) key: SubjectPublicKeyInfoOwned,
    pub(crate) extensions: Vec<Extension>,
}

/// With which key, and how.
#[derive(Debug)]
pub(crate) enum Signer<'k> {
    /// RSASSA-PSS, SHA-384, as AMD's authorities do.
    Pss(&'k RsaPrivateKey),
    /// PKCS #1 v1.5, which nobody asked for.
    Pkcs1(&'k RsaPrivateKey),
    /// ECDSA P-256 with SHA-256, as Intel's authorities do.
    EcdsaP256(&'k p256::ecdsa::SigningKey),
    /// ECDSA P-384 with SHA-384, as NVIDIA's authorities do.
    EcdsaP384(&'k p384::ecdsa::SigningKey),
}

static SIGNATURES: Made<Vec<u8>> = Made::new();

impl Signer<'_> {
    fn algorithm(&self) -> Result<AlgorithmIdentifierOwned, MockTeeError> {
        let (oid, parameters) = match self {
            Self::Pss(_) => {
                let parameters = RsaPssParams::new::<Sha384>(48);
                (RSASSA_PSS, Some(Any::encode_from(&parameters)?))
            }
            Self::Pkcs1(_) => (SHA384_WITH_RSA, Some(Any::null())),
            Self::EcdsaP256(_) => (ECDSA_WITH_SHA256, None),
            Self::EcdsaP384(_) => (ECDSA_WITH_SHA384, None),
        };
        Ok(AlgorithmIdentifierOwned { oid, parameters })
    }

    /// Every one of them signs the same message with the same bytes.
    fn sign(&self, message: &[u8]) -> Result<BitString, MockTeeError> {
        let (scheme, key) = match self {
            Self::Pss(key) => ("pss", key.n().to_bytes_be()),
            Self::Pkcs1(key) => ("pkcs1", key.n().to_bytes_be()),
            Self::EcdsaP256(key) => ("p256", key.to_bytes().to_vec()),
            Self::EcdsaP384(key) => ("p384", key.to_bytes().to_vec()),
        };
        let parts = [scheme.as_bytes(), key.as_slice(), message];
        let bytes = SIGNATURES.from(&parts, || Ok::<_, MockTeeError>(self.sign_anew(message)))?;
        Ok(BitString::from_bytes(&bytes)?)
    }

    fn sign_anew(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Pss(key) => {
                let mut salt = SeedStream::new("salt", message);
                let key = rsa::pss::SigningKey::<Sha384>::new((*key).clone());
                key.sign_with_rng(&mut salt, message).to_vec()
            }
            Self::Pkcs1(key) => {
                let key = rsa::pkcs1v15::SigningKey::<Sha384>::new((*key).clone());
                key.sign(message).to_vec()
            }
            Self::EcdsaP256(key) => {
                let signature: p256::ecdsa::DerSignature = key.sign(message);
                signature.as_bytes().to_vec()
            }
            Self::EcdsaP384(key) => {
                let signature: p384::ecdsa::DerSignature = key.sign(message);
                signature.as_bytes().to_vec()
            }
        }
    }
}

/// The certificate in DER.
pub(crate) fn certificate(
    template: &Template,
    signer: &Signer<'_>,
) -> Result<Vec<u8>, MockTeeError> {
    let algorithm = signer.algorithm()?;
    let tbs_certificate = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::new(&template.serial)?,
        signature: algorithm.clone(),
        issuer: name(&template.issuer)?,
        validity: Validity {
            not_before: time(template.dates.from)?,
            not_after: time(template.dates.until)?,
        },
        subject: name(&template.subject)?,
        subject_public_key_info: template.key.clone(),
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(template.extensions.clone()),
    };
    let signature = signer.sign(&tbs_certificate.to_der()?)?;
    let certificate = Certificate {
        tbs_certificate,
        signature_algorithm: algorithm,
        signature,
    };
    Ok(certificate.to_der()?)
}

/// A revocation list of `issuer` over serial numbers, in DER.
pub(crate) fn revocation_list(
    issuer: &str,
    dates: Dates,
    revoked: &[Vec<u8>],
    signer: &Signer<'_>,
) -> Result<Vec<u8>, MockTeeError> {
    let algorithm = signer.algorithm()?;
    let entry = |serial: &Vec<u8>| {
        Ok::<_, MockTeeError>(RevokedCert {
            serial_number: SerialNumber::new(serial)?,
            revocation_date: time(dates.from)?,
            crl_entry_extensions: None,
        })
    };
    let entries = revoked.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let tbs_cert_list = TbsCertList {
        version: Version::V2,
        signature: algorithm.clone(),
        issuer: name(issuer)?,
        this_update: time(dates.from)?,
        next_update: Some(time(dates.until)?),
        revoked_certificates: (!entries.is_empty()).then_some(entries),
        crl_extensions: Some(vec![extension(
            CRL_NUMBER,
            Criticality::Optional,
            1u8.to_der()?,
        )?]),
    };
    let signature = signer.sign(&tbs_cert_list.to_der()?)?;
    let list = CertificateList {
        tbs_cert_list,
        signature_algorithm: algorithm,
        signature,
    };
    Ok(list.to_der()?)
}

/// A certificate as PEM, lines of 64 characters.
pub(crate) fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for (number, character) in text.chars().enumerate() {
        if number > 0 && number.is_multiple_of(64) {
            out.push('\n');
        }
        out.push(character);
    }
    out.push_str("\n-----END CERTIFICATE-----\n");
    out
}

/// The SubjectPublicKeyInfo of a key.
pub(crate) fn public_key(
    key: &impl EncodePublicKey,
) -> Result<SubjectPublicKeyInfoOwned, MockTeeError> {
    let document = key.to_public_key_der().map_err(|_| MockTeeError::Key)?;
    Ok(SubjectPublicKeyInfoOwned::from_der(document.as_bytes())?)
}

/// An extension with these bytes as its value.
pub(crate) fn extension(
    oid: ObjectIdentifier,
    critical: Criticality,
    value: Vec<u8>,
) -> Result<Extension, MockTeeError> {
    Ok(Extension {
        extn_id: oid,
        critical: matches!(critical, Criticality::Critical),
        extn_value: OctetString::new(value)?,
    })
}

/// Whether a reader that does not know an extension must refuse the certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Criticality {
    Critical,
    Optional,
}

/// The mark of a simulated certificate.
///
/// Critical wherever the verifier's own code reads the chain, so that no other reader takes it.
/// The library that reads Intel's chains refuses every unknown critical extension, hence optional
/// there; the verifier looks for the mark itself in both cases.
pub(crate) fn marker(criticality: Criticality) -> Result<Extension, MockTeeError> {
    let text = der::asn1::Utf8StringRef::new("RESEARCH ONLY, NOT A TEE")?.to_der()?;
    extension(RESEARCH_MARKER, criticality, text)
}

/// Basic constraints and key usage of an authority.
pub(crate) fn authority(
    path_length: Option<u8>,
    usages: impl Into<FlagSet<KeyUsages>>,
) -> Result<Vec<Extension>, MockTeeError> {
    let constraints = BasicConstraints {
        ca: true,
        path_len_constraint: path_length,
    };
    let critical = Criticality::Critical;
    let usage = KeyUsage(usages.into()).to_der()?;
    Ok(vec![
        extension(BASIC_CONSTRAINTS, critical, constraints.to_der()?)?,
        extension(KEY_USAGE, critical, usage)?,
    ])
}

fn name(common_name: &str) -> Result<Name, MockTeeError> {
    let text = format!("CN={common_name},O=RESEARCH ONLY\\, NOT A TEE");
    Ok(text.parse()?)
}

/// UTCTime up to 2049, GeneralizedTime after: RFC 5280 §4.1.2.5.
fn time(seconds: u64) -> Result<Time, MockTeeError> {
    let duration = core::time::Duration::from_secs(seconds);
    let time = match UtcTime::from_unix_duration(duration) {
        Ok(time) => Time::UtcTime(time),
        Err(_) => Time::GeneralTime(GeneralizedTime::from_unix_duration(duration)?),
    };
    Ok(time)
}
