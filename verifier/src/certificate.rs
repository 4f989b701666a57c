//! X.509 certificates as this crate needs them: bounded, parsed once, with the signed bytes kept.
//!
//! Only the algorithms of AMD's chains are verified here: RSA-PSS with SHA-384 under 4096-bit
//! keys. NVIDIA's ECDSA is in `nvidia::ecdsa`; Intel's certificates are `dcap-qvl`'s part.

use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _, Reader as _, SliceReader};
use protocol::reference_values::Profile;
use rsa::PublicKey;
use rsa::pkcs1::der::Decode as _;
use rsa::pkcs1::{ObjectIdentifier as ParameterIdentifier, RsaPssParamsOwned};
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use x509_cert::Certificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::anchors::RESEARCH_MARKER;
use crate::pss;
use crate::rejection::Rejection;
use crate::time::{Span, UnixTime};

/// A certificate is at most this long; AMD's are below 2 KiB.
const MAX_BYTES: usize = 8 * 1024;
/// Modulus of AMD's authorities, in bytes.
const RSA_BYTES: usize = 512;

const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ParameterIdentifier = ParameterIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA384: ParameterIdentifier = ParameterIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA384_SALT_BYTES: u8 = 48;

/// Dates of a certificate.
pub(crate) const DATES: [Rejection; 2] = [
    Rejection::CertificateNotYetValid,
    Rejection::CertificateExpired,
];
/// A certificate and its issuer.
pub(crate) const ISSUED: &[Rejection] = &[
    Rejection::CertificateIssuer,
    Rejection::CertificateAlgorithm,
    Rejection::CertificateSignature,
];

/// A parsed certificate and the exact bytes under its signature.
#[derive(Debug)]
pub(crate) struct ParsedCertificate<'a> {
    pub(crate) parsed: Certificate,
    signed: &'a [u8],
}

impl<'a> ParsedCertificate<'a> {
    /// Parses one certificate in DER, without anything behind it.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Rejection> {
        if der.len() > MAX_BYTES {
            return Err(Rejection::CertificateMalformed);
        }
        let malformed = |_| Rejection::CertificateMalformed;
        Ok(Self {
            parsed: Certificate::from_der(der).map_err(malformed)?,
            signed: signed_part(der).map_err(malformed)?,
        })
    }

    /// Whether somebody here looks at every critical extension; the caller at `more`.
    pub(crate) fn knows_critical(&self, more: &[ObjectIdentifier]) -> bool {
        let known = [BASIC_CONSTRAINTS, KEY_USAGE, RESEARCH_MARKER];
        let mut critical = self.extensions().filter(|e| e.critical);
        critical.all(|e| known.contains(&e.extn_id) || more.contains(&e.extn_id))
    }

    /// The certificate may issue others; returns how many authorities may stand below, if it says.
    pub(crate) fn check_authority(&self) -> Result<Option<u8>, Rejection> {
        let tbs = &self.parsed.tbs_certificate;
        let malformed = |_| Rejection::CertificateMalformed;
        let constraints = tbs.get::<BasicConstraints>().map_err(malformed)?;
        let usage = tbs.get::<KeyUsage>().map_err(malformed)?;
        match (constraints, usage) {
            (Some((_, constraints)), Some((_, usage)))
                if constraints.ca && usage.key_cert_sign() =>
            {
                Ok(constraints.path_len_constraint)
            }
            _ => Err(Rejection::CertificateNotAuthority),
        }
    }

    /// The serial number's bytes.
    pub(crate) fn serial(&self) -> &[u8] {
        self.parsed.tbs_certificate.serial_number.as_bytes()
    }

    /// The certificate names `issuer` and carries its signature, by AMD's algorithm.
    pub(crate) fn check_issued_by(&self, issuer: &Self) -> Result<(), Rejection> {
        self.check_issued(issuer, |algorithm, message, signature| {
            issuer.verify(algorithm, message, signature)
        })
    }

    /// The certificate names `issuer` and carries a signature that `verify` takes: of an algorithm,
    /// over a message.
    pub(crate) fn check_issued<V>(&self, issuer: &Self, verify: V) -> Result<(), Rejection>
    where
        V: FnOnce(&AlgorithmIdentifierOwned, &[u8], Option<&[u8]>) -> Result<bool, Rejection>,
    {
        if self.parsed.tbs_certificate.issuer != issuer.parsed.tbs_certificate.subject {
            return Err(Rejection::CertificateIssuer);
        }
        let algorithm = &self.parsed.signature_algorithm;
        if *algorithm != self.parsed.tbs_certificate.signature {
            return Err(Rejection::CertificateAlgorithm);
        }
        verify(algorithm, self.signed, self.parsed.signature.as_bytes())?
            .then_some(())
            .ok_or(Rejection::CertificateSignature)
    }

    /// Whether `signature` over `message` is this certificate's key's; an error when the
    /// algorithm or the key is not of AMD's kind.
    pub(crate) fn verify(
        &self,
        algorithm: &AlgorithmIdentifierOwned,
        message: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<bool, Rejection> {
        if !is_pss_sha384(algorithm) {
            return Err(Rejection::CertificateAlgorithm);
        }
        let key = self.rsa_key().ok_or(Rejection::CertificateAlgorithm)?;
        Ok(signature.is_some_and(|signature| pss::verifies(&key, message, signature)))
    }

    pub(crate) fn extensions(&self) -> impl Iterator<Item = &Extension> {
        extensions(&self.parsed)
    }

    /// The value of an extension that is there exactly once.
    pub(crate) fn only_extension(&self, oid: ObjectIdentifier) -> Option<&[u8]> {
        let found = only(self.extensions().filter(|e| e.extn_id == oid))?;
        Some(found.extn_value.as_bytes())
    }

    /// Its key, where that is one of ECDSA P-384.
    pub(crate) fn p384_key(&self) -> Result<p384::ecdsa::VerifyingKey, Rejection> {
        let info = &self.parsed.tbs_certificate.subject_public_key_info;
        let key = info.to_der().ok();
        let key =
            key.and_then(|info| p384::pkcs8::DecodePublicKey::from_public_key_der(&info).ok());
        key.ok_or(Rejection::CertificateAlgorithm)
    }

    fn rsa_key(&self) -> Option<PublicKey> {
        let info = &self.parsed.tbs_certificate.subject_public_key_info;
        let key = PublicKey::from_public_key_der(&info.to_der().ok()?).ok()?;
        (key.size() == RSA_BYTES).then_some(key)
    }
}

/// Whether a certificate is of the profile: the marker must be there exactly in research.
pub(crate) fn is_of_profile(certificate: &Certificate, profile: Profile) -> bool {
    let marked = extensions(certificate).any(|e| e.extn_id == RESEARCH_MARKER);
    match profile {
        Profile::Release => !marked,
        Profile::Research => marked,
    }
}

/// How a certificate of the wrong profile is refused.
pub(crate) const fn profile_check(profile: Profile) -> Rejection {
    match profile {
        Profile::Release => Rejection::ResearchCertificate,
        Profile::Research => Rejection::ResearchMarkerMissing,
    }
}

/// `at` is within the validity, whose last second belongs to it.
pub(crate) fn check_dates(certificate: &Certificate, at: UnixTime) -> Result<(), Rejection> {
    let Span { from, until } = validity(certificate);
    let until = until.plus_seconds(1);
    Span { from, until }.check(at, DATES).map(|_| ())
}

/// First and last second of validity.
pub(crate) fn validity(certificate: &Certificate) -> Span {
    let validity = &certificate.tbs_certificate.validity;
    Span {
        from: UnixTime(validity.not_before.to_unix_duration().as_secs()),
        until: UnixTime(validity.not_after.to_unix_duration().as_secs()),
    }
}

fn extensions(certificate: &Certificate) -> impl Iterator<Item = &Extension> {
    certificate.tbs_certificate.extensions.iter().flatten()
}

/// The only item; `None` of none, and of several.
pub(crate) fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

/// The first element of an outer SEQUENCE: what the signature covers, as it lies in the input.
pub(crate) fn signed_part(der: &[u8]) -> der::Result<&[u8]> {
    let mut outer = SliceReader::new(der)?;
    der::Header::decode(&mut outer)?;
    outer.tlv_bytes()
}

/// RSASSA-PSS with SHA-384, MGF1 with SHA-384, a salt of 48 bytes and trailer 0xbc.
fn is_pss_sha384(algorithm: &AlgorithmIdentifierOwned) -> bool {
    let Some(Ok(parameters)) = algorithm.parameters.as_ref().map(der::Encode::to_der) else {
        return false;
    };
    let Ok(parameters) = RsaPssParamsOwned::from_der(&parameters) else {
        return false;
    };
    let mgf_hash = parameters.mask_gen.parameters;
    algorithm.oid == RSASSA_PSS
        && parameters.hash.oid == SHA384
        && parameters.mask_gen.oid == MGF1
        && mgf_hash.is_some_and(|hash| hash.oid == SHA384)
        && parameters.salt_len == SHA384_SALT_BYTES
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "tests state claims; a panic is the failure"
    )]
    use der::asn1::{Any, OctetString};
    use mock_tee::snp::{Product, SnpMachine};
    use protocol::digest::{HostData, LaunchDigest};
    use protocol::endorsements::EndorsementKind;

    use super::*;

    fn ark() -> Vec<u8> {
        let machine = SnpMachine::new(Product::Genoa, LaunchDigest([1; 48]), HostData([2; 32]));
        let stapled = machine.endorsements(1_795_305_600).unwrap();
        stapled.get(EndorsementKind::SnpArk).unwrap().to_vec()
    }

    /// The last byte of each place where these bytes stand.
    fn ends(of: &[u8], within: &[u8]) -> Vec<usize> {
        let places = within.windows(of.len()).enumerate();
        let places = places.filter(|(_, window)| *window == of);
        places.map(|(at, _)| at + of.len() - 1).collect()
    }

    #[test]
    fn amds_algorithm_is_pss_with_sha384_for_text_and_mask_and_a_salt_of_48_bytes() {
        let der = ark();
        let parsed = ParsedCertificate::parse(&der).unwrap().parsed;
        let good = parsed.signature_algorithm;
        assert!(is_pss_sha384(&good));
        let bytes = good.parameters.as_ref().unwrap().to_der().unwrap();
        let sha384 = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
        let mask = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
        let salt = [0xa2, 3, 2, 1, 48];
        let places = [
            ends(&sha384, &bytes),
            ends(&mask, &bytes),
            ends(&salt, &bytes),
        ];
        assert_eq!(places.each_ref().map(Vec::len), [2, 1, 1]);
        for place in places.concat() {
            let mut other = bytes.clone();
            other[place] ^= 1;
            let parameters = Some(Any::from_der(&other).unwrap());
            let oid = good.oid;
            let other = AlgorithmIdentifierOwned { oid, parameters };
            assert!(!is_pss_sha384(&other), "byte {place}");
        }
        let mut other = good.clone();
        other.oid = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
        assert!(!is_pss_sha384(&other));
        other = good;
        other.parameters = None;
        assert!(!is_pss_sha384(&other));
    }

    #[test]
    fn an_authority_is_one_by_both_of_its_extensions() {
        let der = ark();
        let judge = |change: &dyn Fn(&mut Vec<Extension>)| {
            let mut certificate = ParsedCertificate::parse(&der).unwrap();
            let extensions = &mut certificate.parsed.tbs_certificate.extensions;
            change(extensions.as_mut().unwrap());
            certificate.check_authority().map(|_| ())
        };
        let with = |oid, value: &[u8]| {
            judge(&|extensions| {
                let one = extensions.iter_mut().find(|e| e.extn_id == oid).unwrap();
                one.extn_value = OctetString::new(value).unwrap();
            })
        };
        let refused = Err(Rejection::CertificateNotAuthority);
        // keyCertSign and cRLSign; cRLSign alone.
        assert_eq!(with(KEY_USAGE, &[3, 2, 1, 6]), Ok(()));
        assert_eq!(with(KEY_USAGE, &[3, 2, 1, 2]), refused);
        assert_eq!(with(BASIC_CONSTRAINTS, &[0x30, 3, 1, 1, 0xff]), Ok(()));
        assert_eq!(with(BASIC_CONSTRAINTS, &[0x30, 0]), refused);
        for oid in [KEY_USAGE, BASIC_CONSTRAINTS] {
            let without = judge(&|extensions| extensions.retain(|e| e.extn_id != oid));
            assert_eq!(without, refused, "{oid}");
        }
    }

    #[test]
    fn a_certificate_of_the_greatest_length_is_read_and_no_longer_one() {
        let der = ark();
        let with = |bytes: usize| {
            let mut certificate = ParsedCertificate::parse(&der).unwrap().parsed;
            let extensions = &mut certificate.tbs_certificate.extensions;
            extensions.get_or_insert_default().push(Extension {
                extn_id: ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.7357.99"),
                critical: false,
                extn_value: OctetString::new(vec![0; bytes]).unwrap(),
            });
            certificate.to_der().unwrap()
        };
        let half = MAX_BYTES / 2;
        let room = MAX_BYTES - with(half).len();
        let longest = with(half + room);
        assert_eq!(longest.len(), MAX_BYTES);
        assert!(ParsedCertificate::parse(&longest).is_ok());
        let refused = ParsedCertificate::parse(&with(half + room + 1)).err();
        assert_eq!(refused, Some(Rejection::CertificateMalformed));
    }
}
