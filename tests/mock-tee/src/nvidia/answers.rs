//! Answers about revocation (OCSP), as a simulated responder gives them.

use der::asn1::{GeneralizedTime, ObjectIdentifier};
use der::{Decode as _, Encode as _};
use p384::ecdsa::signature::Signer as _;
use p384::ecdsa::{DerSignature, SigningKey};
use protocol::digest::OcspNonce;
use sha2::{Digest as _, Sha384};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsages};

use super::{Board, DeviceLie, chain, manifest};
use crate::MockTeeError;
use crate::certificates::{
    Criticality, Dates, Signer, Template, certificate, extension, marker, public_key,
};
use crate::seed::p384_key;
use crate::tdx::pck::tlv;

const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
const SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");
const CLIENT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const BIT_STRING: u8 = 0x03;

/// Answers are made an hour ago and hold for a day.
const AGE: u64 = 3_600;
const DAY: u64 = 86_400;
/// 2026-01-01 and 2033-01-01.
const RESPONDER_DATES: Dates = Dates {
    from: 1_767_225_600,
    until: 1_988_150_400,
};

/// What an answer is about and who gives it.
struct Question {
    subject: Vec<u8>,
    issuer: Vec<u8>,
    issuer_key: SigningKey,
    /// A responder whom the issuer certified, rather than the issuer.
    delegated: bool,
    /// For how long the answer holds, in seconds.
    holds: u64,
    lie: Option<DeviceLie>,
}

pub(super) fn answers(
    board: &Board,
    at: u64,
    nonce: Option<OcspNonce>,
) -> Result<Vec<Vec<u8>>, MockTeeError> {
    let mut answers = Vec::new();
    let mut known: Vec<Vec<u8>> = Vec::new();
    for question in questions(board)? {
        let about_rom = question.delegated;
        let silent = about_rom && question.lie == Some(DeviceLie::NoAnswer);
        if silent || known.contains(&question.subject) {
            continue;
        }
        answers.push(answer(&question, at, nonce)?);
        known.push(question.subject);
    }
    Ok(answers)
}

fn questions(board: &Board) -> Result<Vec<Question>, MockTeeError> {
    let mut questions = Vec::new();
    for device in board.devices() {
        let chain = chain::chain(device)?;
        let [_, rom, provisioner, identity, root] = chain.as_slice() else {
            continue;
        };
        let keys = [
            chain::provisioner_key(device.kind)?,
            chain::identity_key()?,
            chain::root_key(device)?,
        ];
        let pairs = [
            (rom, provisioner),
            (provisioner, identity),
            (identity, root),
        ];
        for ((subject, issuer), issuer_key) in pairs.into_iter().zip(keys) {
            let about_rom = subject == rom;
            let is_first = about_rom && device.kind.is_gpu() && device.number == 0;
            questions.push(Question {
                subject: subject.clone(),
                issuer: issuer.clone(),
                issuer_key,
                delegated: about_rom,
                holds: board.first_answer.filter(|_| is_first).unwrap_or(DAY),
                lie: device.lie.filter(|_| about_rom && device.kind.is_gpu()),
            });
        }
    }
    let signer_lie = board
        .lies(DeviceLie::SignerRevoked)
        .then_some(DeviceLie::Revoked);
    for (place, (subject, issuer, issuer_key)) in manifest::links(board)?.into_iter().enumerate() {
        questions.push(Question {
            subject,
            issuer,
            issuer_key,
            delegated: false,
            holds: DAY,
            lie: signer_lie.filter(|_| place == 0),
        });
    }
    Ok(questions)
}

fn answer(question: &Question, at: u64, nonce: Option<OcspNonce>) -> Result<Vec<u8>, MockTeeError> {
    if question.lies(DeviceLie::TryLater) {
        return Ok(tlv(SEQUENCE, &tlv(ENUMERATED, &[3])));
    }
    let data = response_data(question, at, nonce)?;
    let key = match question.delegated {
        true => p384_key("nvidia responder")?,
        false => question.issuer_key.clone(),
    };
    let signature: DerSignature = key.sign(&data);
    let mut signature = [&[0][..], signature.as_bytes()].concat();
    if let (true, Some(byte)) = (
        question.lies(DeviceLie::AnswerSignature),
        signature.last_mut(),
    ) {
        *byte ^= 1;
    }
    let algorithm = tlv(SEQUENCE, &ECDSA_SHA384.to_der()?);
    let mut basic = [data, algorithm, tlv(BIT_STRING, &signature)].concat();
    if question.delegated {
        let list = tlv(SEQUENCE, &responder(question)?);
        basic.extend(tlv(0xa0, &list));
    }
    let basic = tlv(OCTET_STRING, &tlv(SEQUENCE, &basic));
    let kind = match question.lies(DeviceLie::AnswerKind) {
        true => NONCE,
        false => BASIC,
    };
    let typed = tlv(SEQUENCE, &[kind.to_der()?, basic].concat());
    let outer = [tlv(ENUMERATED, &[0]), tlv(0xa0, &typed)].concat();
    let mut answer = tlv(SEQUENCE, &outer);
    if question.lies(DeviceLie::MalformedAnswer) {
        answer.pop();
    }
    Ok(answer)
}

impl Question {
    fn lies(&self, lie: DeviceLie) -> bool {
        self.lie == Some(lie)
    }
}

fn response_data(
    question: &Question,
    at: u64,
    nonce: Option<OcspNonce>,
) -> Result<Vec<u8>, MockTeeError> {
    let (made, next) = match question.lie {
        Some(DeviceLie::AnswerNotYetValid) => (at.saturating_add(AGE), at.saturating_add(DAY)),
        Some(DeviceLie::AnswerExpired) => (at.saturating_sub(AGE), at.saturating_sub(1)),
        Some(DeviceLie::AnswerTooOld) => (
            at.saturating_sub(DAY).saturating_sub(AGE),
            at.saturating_add(DAY),
        ),
        Some(_) | None => (at.saturating_sub(AGE), at.saturating_add(question.holds)),
    };
    let (made, next) = (time(made)?, time(next)?);
    let issuer = Certificate::from_der(&question.issuer)?;
    // Who signs: that key's certificate is found by this name.
    let name = match question.delegated {
        true => {
            Certificate::from_der(&responder(question)?)?
                .tbs_certificate
                .subject
        }
        false => issuer.tbs_certificate.subject.clone(),
    };
    let name = name.to_der()?;
    let revoked = |reason: Option<u8>| {
        let reason = reason.map(|code| tlv(0xa0, &tlv(ENUMERATED, &[code])));
        tlv(0xa1, &[made.clone(), reason.unwrap_or_default()].concat())
    };
    let status = match question.lie {
        Some(DeviceLie::Revoked) => revoked(Some(1)),
        Some(DeviceLie::OnHold) => revoked(Some(6)),
        Some(DeviceLie::Unknown) => tlv(0x82, &[]),
        Some(_) | None => tlv(0x80, &[]),
    };
    let id = certificate_id(question, &issuer)?;
    let single = [id, status, made.clone(), tlv(0xa0, &next)].concat();
    let singles = tlv(SEQUENCE, &tlv(SEQUENCE, &single));
    let mut data = [tlv(0xa1, &name), made, singles].concat();
    let mut extensions = Vec::new();
    if let Some(nonce) = nonce {
        let value = tlv(OCTET_STRING, &tlv(OCTET_STRING, &nonce.0));
        extensions.extend(tlv(SEQUENCE, &[NONCE.to_der()?, value].concat()));
    }
    if question.lies(DeviceLie::AnswerExtension) {
        extensions.extend(chain::unknown_extension()?.to_der()?);
    }
    if !extensions.is_empty() {
        data.extend(tlv(0xa1, &tlv(SEQUENCE, &extensions)));
    }
    if question.lies(DeviceLie::AnswerVersion) {
        data.splice(0..0, tlv(0xa0, &tlv(INTEGER, &[1])));
    }
    Ok(tlv(SEQUENCE, &data))
}

fn certificate_id(question: &Question, issuer: &Certificate) -> Result<Vec<u8>, MockTeeError> {
    let subject = Certificate::from_der(&question.subject)?;
    let mut serial = subject.tbs_certificate.serial_number.to_der()?;
    if let (true, Some(byte)) = (
        question.lies(DeviceLie::AnswerAboutAnother),
        serial.last_mut(),
    ) {
        *byte ^= 1;
    }
    let tbs = &issuer.tbs_certificate;
    let key = tbs.subject_public_key_info.subject_public_key.raw_bytes();
    let parts = [
        tlv(SEQUENCE, &SHA384.to_der()?),
        tlv(OCTET_STRING, &Sha384::digest(tbs.subject.to_der()?)),
        tlv(OCTET_STRING, &Sha384::digest(key)),
        serial,
    ];
    Ok(tlv(SEQUENCE, &parts.concat()))
}

fn responder(question: &Question) -> Result<Vec<u8>, MockTeeError> {
    let issuer = Certificate::from_der(&question.issuer)?;
    let purpose = match question.lies(DeviceLie::ResponderUsage) {
        true => CLIENT,
        false => SIGNING,
    };
    let usage = ExtendedKeyUsage(vec![purpose]).to_der()?;
    let mut extensions = vec![
        chain::usage(KeyUsages::DigitalSignature)?,
        extension(EXTENDED_KEY_USAGE, Criticality::Critical, usage)?,
    ];
    if !question.lies(DeviceLie::ResponderUnmarked) {
        extensions.push(marker(Criticality::Critical)?);
    }
    if question.lies(DeviceLie::ResponderExtension) {
        extensions.push(chain::unknown_extension()?);
    }
    let template = Template {
        serial: vec![9],
        issuer: common_name(&issuer),
        subject: "RESEARCH OCSP Responder".to_owned(),
        dates: match question.lies(DeviceLie::ResponderExpired) {
            true => Dates {
                until: RESPONDER_DATES.from,
                ..RESPONDER_DATES
            },
            false => RESPONDER_DATES,
        },
        key: public_key(p384_key("nvidia responder")?.verifying_key())?,
        extensions,
    };
    let key = match question.lies(DeviceLie::OtherResponder) {
        true => p384_key("nvidia somebody else")?,
        false => question.issuer_key.clone(),
    };
    certificate(&template, &Signer::EcdsaP384(&key))
}

/// Every name of the simulation is a common name and the same organisation.
fn common_name(certificate: &Certificate) -> String {
    let text = certificate.tbs_certificate.subject.to_string();
    let name = text.split("CN=").nth(1).unwrap_or_default();
    let end = name.find([',', '+']).unwrap_or(name.len());
    name.get(..end).unwrap_or_default().to_owned()
}

fn time(seconds: u64) -> Result<Vec<u8>, MockTeeError> {
    let duration = core::time::Duration::from_secs(seconds);
    Ok(GeneralizedTime::from_unix_duration(duration)?.to_der()?)
}
