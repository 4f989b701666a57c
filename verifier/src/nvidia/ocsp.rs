//! Revocation answers (OCSP, RFC 6960) that the host staples: one per certificate, by its issuer or
//! by a responder whom the issuer authorised.

use der::asn1::{AnyRef, GeneralizedTime, Null, ObjectIdentifier, OctetString, OctetStringRef};
use der::{Choice, Decode as _, Encode as _, Sequence, Tag, Tagged as _};
use p384::ecdsa::VerifyingKey;
use protocol::digest::OcspNonce;
use sha2::{Digest as _, Sha256, Sha384};
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::{CrlReason, ExtendedKeyUsage, KeyUsage};
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::ecdsa::Signatures;
use super::policy::OcspRule;
use crate::certificate::{ParsedCertificate, check_dates, is_of_profile, signed_part};
use crate::checks::{Checks, Subject, Terms};
use crate::rejection::Rejection;
use crate::time::{Span, UnixTime};

const MAX_BYTES: usize = 8 * 1024;
const BASIC_RESPONSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SUCCESSFUL: &[u8] = &[0];

#[derive(Debug, Sequence)]
struct OuterResponse<'a> {
    status: AnyRef<'a>,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    bytes: Option<TypedResponse<'a>>,
}

#[derive(Debug, Sequence)]
struct TypedResponse<'a> {
    kind: ObjectIdentifier,
    response: OctetStringRef<'a>,
}

#[derive(Debug, Sequence)]
struct BasicResponse<'a> {
    data: ResponseData<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: der::asn1::BitStringRef<'a>,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    certificates: Option<Vec<AnyRef<'a>>>,
}

#[derive(Debug, Sequence)]
struct ResponseData<'a> {
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    version: Option<u8>,
    /// Only a hint where the key is; the signature decides.
    responder: AnyRef<'a>,
    produced_at: GeneralizedTime,
    responses: Vec<SingleResponse<'a>>,
    #[asn1(context_specific = "1", optional = "true", tag_mode = "EXPLICIT")]
    extensions: Option<Extensions>,
}

#[derive(Debug, Sequence)]
struct SingleResponse<'a> {
    certificate: CertificateId<'a>,
    status: Status,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", optional = "true", tag_mode = "EXPLICIT")]
    extensions: Option<Extensions>,
}

#[derive(Debug, Sequence)]
struct CertificateId<'a> {
    hash: AlgorithmIdentifierOwned,
    issuer_name: OctetStringRef<'a>,
    issuer_key: OctetStringRef<'a>,
    serial: SerialNumber,
}

/// What is said of a certificate.
#[derive(Debug, Choice)]
enum Status {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    Good(Null),
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    Revoked(Revocation),
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT")]
    Unknown(Null),
}

#[derive(Debug, Sequence)]
struct Revocation {
    time: GeneralizedTime,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    reason: Option<CrlReason>,
}

/// All stapled answers, and the nonce that they may have to carry.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    answers: Vec<Answer<'a>>,
    nonce: Option<OcspNonce>,
}

/// One parsed answer; nothing in it is believed before its signature.
#[derive(Debug)]
struct Answer<'a> {
    basic: BasicResponse<'a>,
    signed: &'a [u8],
}

/// Form of all answers.
pub(super) const PARSE: &[Rejection] = &[Rejection::OcspMalformed, Rejection::OcspUnsuccessful];

/// What an answer must pass, in this order.
pub(super) const fn judged(terms: Terms<'_>) -> [Rejection; 8] {
    [
        Rejection::OcspResponder,
        Rejection::OcspSignature,
        Rejection::OcspNotYetValid,
        Rejection::OcspExpired,
        match terms.policy.nvidia.ocsp {
            OcspRule::AgeSeconds(_) => Rejection::OcspTooOld,
            OcspRule::Nonce => Rejection::OcspNonce,
        },
        Rejection::OcspUnknown,
        Rejection::CertificateOnHold,
        Rejection::CertificateRevoked,
    ]
}

impl<'a> Answers<'a> {
    /// Those of the stapled answers that are well-formed; the others are noted under `of`.
    pub(super) fn parse(
        of: Subject,
        stapled: &'a [Vec<u8>],
        nonce: Option<OcspNonce>,
        checks: &mut Checks<'_>,
    ) -> Self {
        let parsed: Vec<_> = stapled.iter().map(|der| Answer::parse(der)).collect();
        let results = parsed
            .iter()
            .map(|answer| answer.as_ref().map_err(|refused| *refused));
        let found = format_args!("{} answers", stapled.len());
        checks.steps_of_all(of, PARSE, found, results);
        Self {
            answers: parsed.into_iter().flatten().collect(),
            nonce,
        }
    }

    /// Every answer about `subject` says "good", is signed by those who may, and is fresh.
    /// Returns the earliest end of their validity; `None` when there is no answer.
    pub(super) fn check(
        &self,
        subject: &ParsedCertificate<'_>,
        issuer: &ParsedCertificate<'_>,
        terms: Terms<'_>,
        signatures: &mut Signatures,
    ) -> Result<Option<UnixTime>, Rejection> {
        let mut end = None;
        let names = Names::of(subject, issuer);
        for answer in &self.answers {
            let about = answer.basic.data.responses.iter();
            for single in about.filter(|single| names.are_of(&single.certificate)) {
                answer.check_signature(issuer, terms, signatures)?;
                let until = single.check_dates(terms)?;
                if terms.policy.nvidia.ocsp == OcspRule::Nonce {
                    self.check_nonce(answer)?;
                }
                single.status.check()?;
                end = Some(end.map_or(until, |known: UnixTime| known.min(until)));
            }
        }
        Ok(end)
    }

    /// Without a nonce to expect, none is the right one.
    fn check_nonce(&self, answer: &Answer<'_>) -> Result<(), Rejection> {
        match (self.nonce, answer.nonce()) {
            (Some(expected), Some(found)) if expected == found => Ok(()),
            (_, _) => Err(Rejection::OcspNonce),
        }
    }
}

impl<'a> Answer<'a> {
    fn parse(der: &'a [u8]) -> Result<Self, Rejection> {
        let malformed = |_| Rejection::OcspMalformed;
        if der.len() > MAX_BYTES {
            return Err(Rejection::OcspMalformed);
        }
        let outer = OuterResponse::from_der(der).map_err(malformed)?;
        if outer.status.tag() != Tag::Enumerated {
            return Err(Rejection::OcspMalformed);
        }
        if outer.status.value() != SUCCESSFUL {
            return Err(Rejection::OcspUnsuccessful);
        }
        let typed = outer.bytes.ok_or(Rejection::OcspMalformed)?;
        let bytes = typed.response.as_bytes();
        let basic = BasicResponse::from_der(bytes).map_err(malformed)?;
        let data = &basic.data;
        let singles = data.responses.iter();
        let mut extensions = singles
            .filter_map(|single| single.extensions.as_ref())
            .chain(&data.extensions)
            .flatten();
        let known = typed.kind == BASIC_RESPONSE && data.version.unwrap_or(0) == 0;
        if !known || extensions.any(|extension| extension.critical) {
            return Err(Rejection::OcspMalformed);
        }
        let signed = signed_part(bytes).map_err(malformed)?;
        Ok(Self { basic, signed })
    }

    fn check_signature(
        &self,
        issuer: &ParsedCertificate<'_>,
        terms: Terms<'_>,
        signatures: &mut Signatures,
    ) -> Result<(), Rejection> {
        let key = match self.basic.certificates.iter().flatten().next() {
            None => issuer.p384_key(),
            Some(first) => responder_key(first, issuer, terms, signatures),
        };
        let key = key.map_err(|_| Rejection::OcspResponder)?;
        let (algorithm, signature) = (&self.basic.algorithm, self.basic.signature.as_bytes());
        match signatures.verifies(&key, algorithm, self.signed, signature) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Rejection::OcspSignature),
        }
    }

    fn nonce(&self) -> Option<OcspNonce> {
        let mut found = self.basic.data.extensions.iter().flatten();
        let nonce = found.find(|extension| extension.extn_id == NONCE)?;
        let value = OctetString::from_der(nonce.extn_value.as_bytes()).ok()?;
        value.as_bytes().try_into().ok().map(OcspNonce)
    }
}

impl SingleResponse<'_> {
    /// The end of the answer's validity.
    fn check_dates(&self, Terms { policy, at, .. }: Terms<'_>) -> Result<UnixTime, Rejection> {
        let made = UnixTime(self.this_update.to_unix_duration().as_secs());
        let next = self.next_update.as_ref();
        let next = next.map_or(u64::MAX, |time| time.to_unix_duration().as_secs());
        let dates = Span {
            from: made,
            until: UnixTime(next),
        };
        let next = dates.check(at, [Rejection::OcspNotYetValid, Rejection::OcspExpired])?;
        match policy.nvidia.ocsp {
            OcspRule::AgeSeconds(age) => {
                let end = made.plus_seconds(u64::from(age));
                if at > end {
                    return Err(Rejection::OcspTooOld);
                }
                Ok(next.min(end))
            }
            // The nonce shows that it was made for this challenge.
            OcspRule::Nonce => Ok(next),
        }
    }
}

impl Status {
    const fn check(&self) -> Result<(), Rejection> {
        match self {
            Self::Good(_) => Ok(()),
            Self::Unknown(_) => Err(Rejection::OcspUnknown),
            Self::Revoked(how) => match how.reason {
                Some(CrlReason::CertificateHold) => Err(Rejection::CertificateOnHold),
                Some(_) | None => Err(Rejection::CertificateRevoked),
            },
        }
    }
}

/// How answers name a certificate: by its issuer's name and key, hashed, and its serial number.
/// Hashed once, as a host may staple thousands of answers that have the serial number in common.
struct Names<'c> {
    serial: &'c SerialNumber,
    sha256: [Vec<u8>; 2],
    sha384: [Vec<u8>; 2],
}

impl<'c> Names<'c> {
    fn of(subject: &'c ParsedCertificate<'_>, issuer: &ParsedCertificate<'_>) -> Self {
        let tbs = &issuer.parsed.tbs_certificate;
        let key = tbs.subject_public_key_info.subject_public_key.raw_bytes();
        // What was read can be written.
        let name = tbs.subject.to_der().unwrap_or_default();
        let parts = [name.as_slice(), key];
        Self {
            serial: &subject.parsed.tbs_certificate.serial_number,
            sha256: parts.map(|part| Sha256::digest(part).to_vec()),
            sha384: parts.map(|part| Sha384::digest(part).to_vec()),
        }
    }

    fn are_of(&self, found: &CertificateId<'_>) -> bool {
        let [name, key] = match found.hash.oid {
            SHA256 => &self.sha256,
            SHA384 => &self.sha384,
            _ => return false,
        };
        found.serial == *self.serial
            && found.issuer_name.as_bytes() == name
            && found.issuer_key.as_bytes() == key
    }
}

/// The key of a responder: the issuer itself, or whom it certified for this and nothing else.
fn responder_key(
    certificate: &AnyRef<'_>,
    issuer: &ParsedCertificate<'_>,
    terms: Terms<'_>,
    signatures: &mut Signatures,
) -> Result<VerifyingKey, Rejection> {
    let refused = |_| Rejection::OcspResponder;
    // As it lies in the input: DER has one form.
    let der = certificate.to_der().map_err(refused)?;
    let responder = ParsedCertificate::parse(&der)?;
    if responder.parsed == issuer.parsed {
        return issuer.p384_key();
    }
    check_dates(&responder.parsed, terms.at)?;
    let tbs = &responder.parsed.tbs_certificate;
    let extended = tbs.get::<ExtendedKeyUsage>().map_err(refused)?;
    let usage = tbs.get::<KeyUsage>().map_err(refused)?;
    let authorised = extended.is_some_and(|(_, uses)| uses.0.contains(&OCSP_SIGNING));
    let signs = usage.is_none_or(|(_, usage)| usage.digital_signature());
    let known = is_of_profile(&responder.parsed, terms.anchors.profile())
        && responder.knows_critical(&[EXTENDED_KEY_USAGE]);
    if !(known && authorised && signs) {
        return Err(Rejection::OcspResponder);
    }
    signatures.check_issued_by(&responder, issuer)?;
    responder.p384_key()
}
