//! Signed reference manifests of the simulated devices.
//!
//! The text is written in canonical form but for one empty element, so that no canonicaliser is
//! needed here; real manifests are what the verifier's is tested with.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p384::ecdsa::signature::Signer as _;
use p384::ecdsa::{Signature, SigningKey};
use protocol::gpu_evidence::{DeviceKind, NamedRim};
use sha2::{Digest as _, Sha384};
use x509_cert::ext::pkix::KeyUsages;

use super::{Board, DeviceLie, chain, report};
use crate::MockTeeError;
use crate::certificates::{
    Criticality, Dates, Signer, Template, authority, certificate, marker, public_key,
};
use crate::seed::p384_key;

/// Measured from the first video decoder, which Hopper's GPUs do not use.
pub(super) const NVDEC0_INDEX: u8 = 35;

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const HASH: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const C14N: &str = "http://www.w3.org/2006/12/xml-c14n11";
const MORE: &str = "http://www.w3.org/2001/04/xmldsig-more#";
/// 2026-01-01 and 2053-01-01.
const AUTHORITY_DATES: Dates = Dates {
    from: 1_767_225_600,
    until: 2_619_302_400,
};
/// 2026-01-01 and 2028-01-01.
const SIGNER_DATES: Dates = Dates {
    from: 1_767_225_600,
    until: 1_830_297_600,
};
const NAMES: [&str; 4] = [
    "RESEARCH RIM L4 Signer",
    "RESEARCH Reference Value L3",
    "RESEARCH Reference Value CA",
    "RESEARCH CoRIM signing Root CA",
];

/// What a device runs, as reports and manifests write it.
#[derive(Debug)]
pub(super) struct Versions {
    pub(super) driver: String,
    pub(super) firmware: &'static str,
    pub(super) firmware_bytes: Vec<u8>,
}

pub(super) fn versions(board: &Board, kind: DeviceKind) -> Versions {
    let driver = match board.lies(DeviceLie::OldDriver) {
        true => "470.00.01",
        false => "590.12",
    };
    let (firmware, bytes): (_, &[u8]) = match kind {
        DeviceKind::Hopper if board.lies(DeviceLie::OldFirmware) => {
            ("90.00.A5.00.01", &[0, 0xa5, 0, 0x90, 1, 0, 0, 0])
        }
        DeviceKind::Hopper => ("96.00.A5.00.01", &[0, 0xa5, 0, 0x96, 1, 0, 0, 0]),
        DeviceKind::Blackwell => ("97.00.83.00.09", &[0, 0x83, 0, 0x97, 9, 0, 0, 0]),
        DeviceKind::Ls10 => ("96.10.73.00.01", b"96.10.73.00.01"),
    };
    Versions {
        driver: driver.to_owned(),
        firmware,
        firmware_bytes: bytes.to_vec(),
    }
}

/// The simulated root of manifests, in DER: what `tests/research/anchors` pins.
///
/// # Errors
/// Only when the certificate cannot be made.
pub fn root_certificate() -> Result<Vec<u8>, MockTeeError> {
    authority_certificate(3, &key(3)?, &key(3)?)
}

/// The driver's manifest, the GPUs' firmware's, and the switches' where there are any.
pub(super) fn manifests(board: &Board) -> Result<Vec<NamedRim>, MockTeeError> {
    let gpu = versions(board, board.architecture);
    let (driver_id, product) = match board.architecture {
        DeviceKind::Blackwell => ("NV_GPU_CC_DRIVER_GB100_", "GB100"),
        DeviceKind::Hopper | DeviceKind::Ls10 => ("NV_GPU_DRIVER_GH100_", "GH100"),
    };
    let chain = signer_chain(board.lie)?;
    let honest = signer_chain(None)?;
    let named = |prefix: &str, version: &str, document| NamedRim {
        id: format!("{prefix}{}", version.replace('.', "")),
        document,
    };
    let driver = Manifest {
        kind: board.architecture,
        product,
        version: gpu.driver.clone(),
        active: [7].into_iter().chain(21..=40).collect(),
        lie: board.lie,
    };
    let firmware = |kind, product, version: &str| Manifest {
        kind,
        product,
        version: version.to_owned(),
        active: (0..=6).chain(8..=12).collect(),
        lie: None,
    };
    let gpu_firmware = firmware(board.architecture, product, gpu.firmware);
    let mut manifests = vec![
        NamedRim {
            id: format!("{driver_id}{}", gpu.driver),
            document: driver.signed(&chain)?,
        },
        named(
            "NV_GPU_VBIOS_G520_0200_885_",
            gpu.firmware,
            gpu_firmware.signed(&honest)?,
        ),
    ];
    if board.switches > 0 {
        let version = versions(board, DeviceKind::Ls10).firmware;
        let document = firmware(DeviceKind::Ls10, "LS10", version).signed(&honest)?;
        manifests.push(named("NV_SWITCH_BIOS_5612_0002_890_", version, document));
    }
    Ok(manifests)
}

/// A certificate, its issuer and that one's key.
pub(super) type Link = (Vec<u8>, Vec<u8>, SigningKey);

/// Each certificate of the signer's chain but the root.
pub(super) fn links(board: &Board) -> Result<Vec<Link>, MockTeeError> {
    let chain = signer_chain(board.lie)?;
    let mut links = Vec::new();
    for (place, pair) in chain.windows(2).enumerate() {
        if let [subject, issuer] = pair {
            links.push((
                subject.clone(),
                issuer.clone(),
                key(place.saturating_add(1))?,
            ));
        }
    }
    Ok(links)
}

fn key(place: usize) -> Result<SigningKey, MockTeeError> {
    p384_key(&format!("nvidia manifest {place}"))
}

fn signer_chain(lie: Option<DeviceLie>) -> Result<Vec<Vec<u8>>, MockTeeError> {
    let root_key = match lie {
        Some(DeviceLie::ManifestRoot) => p384_key("nvidia self-signed manifest root")?,
        Some(_) | None => key(3)?,
    };
    let dates = match lie {
        Some(DeviceLie::SignerExpired) => Dates {
            until: SIGNER_DATES.from,
            ..SIGNER_DATES
        },
        Some(_) | None => SIGNER_DATES,
    };
    let [signer, issuer, ..] = NAMES;
    let template = Template {
        serial: vec![1],
        issuer: issuer.to_owned(),
        subject: signer.to_owned(),
        dates,
        key: public_key(key(0)?.verifying_key())?,
        extensions: vec![
            chain::usage(KeyUsages::DigitalSignature)?,
            marker(Criticality::Critical)?,
        ],
    };
    let mut chain = vec![
        certificate(&template, &Signer::EcdsaP384(&key(1)?))?,
        authority_certificate(1, &key(1)?, &key(2)?)?,
        authority_certificate(2, &key(2)?, &root_key)?,
        authority_certificate(3, &root_key, &root_key)?,
    ];
    if lie == Some(DeviceLie::ManifestChain) {
        chain.remove(1);
    }
    Ok(chain)
}

fn authority_certificate(
    place: usize,
    own: &SigningKey,
    issuer_key: &SigningKey,
) -> Result<Vec<u8>, MockTeeError> {
    let name = |place: usize| NAMES.get(place.min(3)).copied().unwrap_or_default();
    let mut extensions = authority(None, KeyUsages::KeyCertSign | KeyUsages::CRLSign)?;
    extensions.push(marker(Criticality::Critical)?);
    let template = Template {
        serial: vec![u8::try_from(place).unwrap_or_default().saturating_add(1)],
        issuer: name(place.saturating_add(1)).to_owned(),
        subject: name(place).to_owned(),
        dates: AUTHORITY_DATES,
        key: public_key(own.verifying_key())?,
        extensions,
    };
    certificate(&template, &Signer::EcdsaP384(issuer_key))
}

/// What one manifest says.
struct Manifest {
    kind: DeviceKind,
    product: &'static str,
    version: String,
    active: Vec<u8>,
    lie: Option<DeviceLie>,
}

impl Manifest {
    fn lies(&self, lie: DeviceLie) -> bool {
        self.lie == Some(lie)
    }

    /// The whole document.
    fn signed(&self, chain: &[Vec<u8>]) -> Result<Vec<u8>, MockTeeError> {
        let body = self.body();
        let end = "</SoftwareIdentity>";
        let digest = Sha384::digest([&body, end].concat());
        let info = self.signed_info(&STANDARD.encode(digest));
        let inherited =
            format!(r#" xmlns="{SWID}" xmlns:ds="{DSIG}" xmlns:ns0="{SWID}" xmlns:ns2="{HASH}""#);
        let canonical = info.replacen("<ds:SignedInfo", &format!("<ds:SignedInfo{inherited}"), 1);
        let signature: Signature = key(0)?.sign(canonical.as_bytes());
        let mut value = signature.to_bytes().to_vec();
        if let (true, Some(byte)) = (self.lies(DeviceLie::ManifestSignature), value.last_mut()) {
            *byte ^= 1;
        }
        let certificates: String = chain.iter().fold(String::new(), |mut text, der| {
            let certificate = STANDARD.encode(der);
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "<ds:X509Certificate>{certificate}\n</ds:X509Certificate>"
            );
            text
        });
        let signature = format!(
            "<ds:Signature xmlns:ds=\"{DSIG}\">{info}<ds:SignatureValue>{}</ds:SignatureValue>\
             <ds:KeyInfo><ds:X509Data>{certificates}</ds:X509Data></ds:KeyInfo></ds:Signature>",
            STANDARD.encode(&value)
        );
        let short = body.replacen("></ns0:Entity>", "/>", 1);
        Ok(self.document(&short, &signature, end).into_bytes())
    }

    /// Puts the parts together, and does afterwards what a signature is to notice.
    fn document(&self, body: &str, signature: &str, end: &str) -> String {
        let whole = [body, signature, end].concat();
        let entity = "<ns0:Entity";
        match self.lie {
            Some(DeviceLie::DocumentType) => format!("<!DOCTYPE SoftwareIdentity>{whole}"),
            Some(DeviceLie::Comment) => whole.replacen(entity, "<!-- --><ns0:Entity", 1),
            Some(DeviceLie::Deep) => {
                let nested = ["<d>".repeat(9), "</d>".repeat(9), entity.to_owned()].concat();
                whole.replacen(entity, &nested, 1)
            }
            Some(DeviceLie::TwoSignatures) => [body, signature, signature, end].concat(),
            Some(DeviceLie::Wrapped) => {
                let meta = format!(
                    r#"<ns0:Meta colloquialVersion="{}"></ns0:Meta>"#,
                    self.version
                );
                let payload = "<ns0:Payload></ns0:Payload>";
                format!("<W xmlns=\"{SWID}\" xmlns:ns0=\"{SWID}\">{meta}{payload}{whole}</W>")
            }
            Some(DeviceLie::ChangedValue) => {
                let value = hex(&report::measured(self.kind, 7));
                whole.replacen(&value, &"0".repeat(96), 1)
            }
            Some(_) | None => whole,
        }
    }

    fn signed_info(&self, digest: &str) -> String {
        let algorithm = match self.lies(DeviceLie::SignatureAlgorithm) {
            true => "ecdsa-sha256",
            false => "ecdsa-sha384",
        };
        let empty = |name: &str, algorithm: &str| {
            format!("<ds:{name} Algorithm=\"{algorithm}\"></ds:{name}>")
        };
        let reference = [
            "<ds:Reference URI=\"\"><ds:Transforms>",
            &empty("Transform", &format!("{DSIG}enveloped-signature")),
            &empty("Transform", C14N),
            "</ds:Transforms>",
            &empty("DigestMethod", &format!("{MORE}sha384")),
            &format!("<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>"),
        ]
        .concat();
        let references = match self.lies(DeviceLie::TwoReferences) {
            true => reference.repeat(2),
            false => reference,
        };
        [
            "<ds:SignedInfo>",
            &empty("CanonicalizationMethod", C14N),
            &empty("SignatureMethod", &format!("{MORE}{algorithm}")),
            &references,
            "</ds:SignedInfo>",
        ]
        .concat()
    }

    /// From the start to where the signature comes, in canonical form.
    fn body(&self) -> String {
        let product = match self.lies(DeviceLie::Product) {
            true => "LS10",
            false => self.product,
        };
        let version = match self.lies(DeviceLie::Version) {
            true => "590.13",
            false => &self.version,
        };
        let resources: String = self.resources().concat();
        format!(
            "<SoftwareIdentity xmlns=\"{SWID}\" xmlns:ns0=\"{SWID}\" xmlns:ns2=\"{HASH}\" \
             corpus=\"false\" name=\"{product}\" patch=\"false\" tagId=\"research\" \
             version=\"1.0\">\n    <ns0:Entity name=\"RESEARCH ONLY\" role=\"tagCreator\">\
             </ns0:Entity>\n    <ns0:Meta colloquialVersion=\"{version}\" edition=\"GPU\" \
             product=\"{product}\" revision=\"r1\"></ns0:Meta>\n    <ns0:Payload>\n{resources}\
             </ns0:Payload>\n"
        )
    }

    fn resources(&self) -> Vec<String> {
        let mut active = self.active.clone();
        let mut count: u8 = 64;
        match self.lie {
            Some(DeviceLie::NothingActive) => active.clear(),
            Some(DeviceLie::Overlap) => active.push(0),
            Some(DeviceLie::MissingMeasurement) => {
                active.push(64);
                count = 65;
            }
            Some(_) | None => {}
        }
        let mut resources: Vec<_> = (0..count)
            .map(|index| self.resource(index, active.contains(&index)))
            .collect();
        if self.lies(DeviceLie::IndexTwice) {
            resources.extend(resources.first().cloned());
        }
        resources
    }

    /// Index 21 has a value of an earlier build as well.
    fn resource(&self, index: u8, active: bool) -> String {
        let zero = "0".repeat(96);
        let value = hex(&report::measured(self.kind, index));
        let values = match (active, index) {
            (false, _) => vec![zero],
            (true, 21) => vec![zero.replacen('0', "1", 1), value],
            (true, _) => vec![value],
        };
        let mut alternatives = values.len();
        if self.lies(DeviceLie::Alternatives) && index == 21 {
            alternatives = alternatives.saturating_add(1);
        }
        let hashes = values.iter().enumerate();
        let hashes = hashes.fold(String::new(), |mut text, (place, value)| {
            // Writing to a String cannot fail.
            let _ = write!(text, " ns2:Hash{place}=\"{value}\"");
            text
        });
        let active = match active {
            true => "True",
            false => "False",
        };
        format!(
            "        <ns0:Resource active=\"{active}\" alternatives=\"{alternatives}\" \
             index=\"{index}\" name=\"Measurement_{index}\" size=\"48\" type=\"Measurement\"\
             {hashes}></ns0:Resource>\n"
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
