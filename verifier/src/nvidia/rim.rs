//! Reference manifests (RIM): SWID documents in XML, signed by NVIDIA, with the values that a
//! driver's or a firmware's measurements may have.

use std::collections::BTreeMap;

use protocol::gpu_evidence::{DeviceKind, MAX_RIM_BYTES};

use super::chain::{ChainForm, ChainVerifier};
use super::ecdsa;
use super::signature::XmlSignature;
use super::spdm::VALUE_BYTES;
use super::xml::{self, Element};
use crate::rejection::Rejection;
use crate::time::UnixTime;

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const SHA384: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
/// Signer, two authorities, root.
const CHAIN_LENGTH: usize = 4;
/// A measurement has at most this many accepted values.
const MAX_ALTERNATIVES: usize = 64;

/// A manifest whose signature, chain and form were checked.
#[derive(Debug)]
pub(super) struct Rim {
    /// Of the driver or the firmware.
    pub(super) version: String,
    product: String,
    /// Accepted values of each active measurement, counted from 0. Never empty.
    pub(super) active: BTreeMap<u8, Vec<[u8; VALUE_BYTES]>>,
    /// Earliest end of validity of the signer's chain.
    pub(super) not_after: UnixTime,
}

impl Rim {
    /// `docs/spec/gpu-evidence.md` §6.
    pub(super) fn verify(
        document: &[u8],
        chains: &mut ChainVerifier<'_>,
    ) -> Result<Self, Rejection> {
        if document.len() > MAX_RIM_BYTES {
            return Err(Rejection::RimXml);
        }
        let root = xml::parse(document).map_err(|_| Rejection::RimXml)?;
        let signature = XmlSignature::read(&root)?;
        let form = ChainForm {
            length: CHAIN_LENGTH,
            root: chains.anchors.nvidia_rim_root(),
            answered_from: 0,
        };
        let chain = chains.verify(&signature.certificates, form)?;
        signature.check(&ecdsa::key_of(chain.leaf()?)?)?;
        Self::read(&root, chain.not_after).ok_or(Rejection::RimContent)
    }

    fn read(root: &Element<'_>, not_after: UnixTime) -> Option<Self> {
        let children = root.elements().ok()?;
        if !root.is(SWID, "SoftwareIdentity") {
            return None;
        }
        let only = |local| {
            let mut found = children.iter().filter(|child| child.is(SWID, local));
            match (found.next(), found.next()) {
                (Some(only), None) => Some(*only),
                (None | Some(_), _) => None,
            }
        };
        let (meta, payload) = (only("Meta")?, only("Payload")?);
        let mut seen = [false; 256];
        let mut active = BTreeMap::new();
        for resource in payload.elements().ok()? {
            let (index, values) = measurement(resource)?;
            let known = seen.get_mut(usize::from(index))?;
            if core::mem::replace(known, true) {
                return None;
            }
            if let Some(values) = values {
                active.insert(index, values);
            }
        }
        let rim = Self {
            version: meta.attribute("", "colloquialVersion")?.to_owned(),
            product: meta.attribute("", "product")?.to_owned(),
            active,
            not_after,
        };
        (!rim.active.is_empty()).then_some(rim)
    }

    /// The manifest is for devices of this kind.
    pub(super) fn check_product(&self, kind: DeviceKind) -> Result<(), Rejection> {
        let known = match kind {
            DeviceKind::Hopper => self.product == "GH100",
            DeviceKind::Blackwell => self.product.starts_with("GB"),
            DeviceKind::Ls10 => self.product == "LS10",
        };
        known.then_some(()).ok_or(Rejection::RimProduct)
    }
}

type Values = Vec<[u8; VALUE_BYTES]>;

/// Index and, where it is active, accepted values of one measurement.
fn measurement(resource: &Element<'_>) -> Option<(u8, Option<Values>)> {
    let text = |name| resource.attribute("", name);
    let described = resource.is(SWID, "Resource")
        && resource.children.is_empty()
        && text("type") == Some("Measurement");
    if !described {
        return None;
    }
    let index = number(text("index")?)?;
    match text("active")? {
        "False" => return Some((index, None)),
        "True" => {}
        _ => return None,
    }
    let alternatives = usize::from(number(text("alternatives")?)?);
    let size = usize::from(number(text("size")?)?);
    let hashes = resource.attributes.iter();
    let hashes = hashes.filter(|attribute| attribute.namespace == SHA384);
    let counted = (1..=MAX_ALTERNATIVES).contains(&alternatives)
        && hashes.count() == alternatives
        && size == VALUE_BYTES;
    if !counted {
        return None;
    }
    let values = (0..alternatives)
        .map(|place| value(resource.attribute(SHA384, &format!("Hash{place}"))?))
        .collect::<Option<_>>()?;
    Some((index, Some(values)))
}

/// A decimal number without a sign or leading zeros.
fn number(text: &str) -> Option<u8> {
    let value: u8 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

fn value(text: &str) -> Option<[u8; VALUE_BYTES]> {
    protocol::digest::parse_hex(&text.to_ascii_lowercase()).ok()
}
