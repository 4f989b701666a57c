//! Reference manifests (RIM): SWID documents in XML, signed by NVIDIA, with the values that a
//! driver's or a firmware's measurements may have.

use std::collections::BTreeMap;

use protocol::gpu_evidence::{DeviceKind, MAX_RIM_BYTES};

use super::chain::{self, ChainForm, ChainVerifier};
use super::signature::XmlSignature;
use super::spdm::VALUE_BYTES;
use super::xml::{self, Element};
use crate::certificate::only;
use crate::checks::{Checks, Hex, Subject};
use crate::rejection::Rejection;
use crate::time::UnixTime;

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const SHA384: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
/// Signer, two authorities, root.
const CHAIN_LENGTH: usize = 4;
/// A measurement has at most this many accepted values.
const MAX_ALTERNATIVES: usize = 64;

const FORM: &[Rejection] = &[Rejection::RimXml, Rejection::RimSignatureProfile];
const SIGNED: &[Rejection] = &[Rejection::RimSignature, Rejection::RimDigest];

/// What a manifest says.
#[derive(Debug)]
pub(super) struct Rim {
    /// Of the driver or the firmware.
    pub(super) version: String,
    product: String,
    /// Accepted values of each active measurement, counted from 0. Never empty.
    pub(super) active: BTreeMap<u8, Values>,
    /// Earliest end of validity of the signer's chain.
    pub(super) not_after: UnixTime,
}

/// `docs/spec/gpu-evidence.md` §6, in its order.
pub(super) fn plan(of: Subject, chain: Subject, checks: &mut Checks<'_>) {
    checks.plan(of, FORM);
    chain::plan(chain, checks);
    checks.plan(of, SIGNED);
    checks.plan(of, &[Rejection::RimContent]);
}

impl Rim {
    /// `docs/spec/gpu-evidence.md` §6. `None` when it cannot be read; whether it holds, the list
    /// of checks says.
    pub(super) fn read(
        (of, chain): (Subject, Subject),
        document: &[u8],
        chains: &mut ChainVerifier<'_>,
        checks: &mut Checks<'_>,
    ) -> Option<Self> {
        let found = format_args!("{} bytes", document.len());
        let bounded = Some(document).filter(|document| document.len() <= MAX_RIM_BYTES);
        let root = bounded.and_then(xml::parse);
        let root = checks.read(of, Rejection::RimXml, found, root)?;
        let signature = XmlSignature::read(&root);
        let signature = checks.read(of, Rejection::RimSignatureProfile, "", signature)?;
        let form = ChainForm {
            length: CHAIN_LENGTH,
            root: checks.terms.anchors.nvidia.rim,
            answered_from: 0,
        };
        let chain = chains.read(chain, &signature.certificates, form, checks)?;
        if let Some(key) = &chain.key {
            let found = format_args!("SHA-384 {}", Hex(&signature.digest));
            checks.steps(of, SIGNED, found, signature.check(key));
        }
        let content = Self::content(&root, chain.not_after);
        let active = content.as_ref().map_or(0, |rim| rim.active.len());
        let found = format_args!("{active} active measurements");
        checks.read(of, Rejection::RimContent, found, content)
    }

    fn content(root: &Element<'_>, not_after: UnixTime) -> Option<Self> {
        let children = root.elements()?;
        if !root.is(SWID, "SoftwareIdentity") {
            return None;
        }
        let named = |local| only(children.iter().filter(move |child| child.is(SWID, local)));
        let (meta, payload) = (named("Meta")?, named("Payload")?);
        let mut all = BTreeMap::new();
        for resource in payload.elements()? {
            let (index, values) = measurement(resource)?;
            if all.insert(index, values).is_some() {
                return None;
            }
        }
        let active = |(index, values): (u8, Option<Values>)| Some((index, values?));
        let rim = Self {
            version: meta.attribute("", "colloquialVersion")?.to_owned(),
            product: meta.attribute("", "product")?.to_owned(),
            active: all.into_iter().filter_map(active).collect(),
            not_after,
        };
        (!rim.active.is_empty()).then_some(rim)
    }

    /// The manifest is for devices of this kind.
    pub(super) fn is_for(&self, kind: DeviceKind) -> bool {
        match kind {
            DeviceKind::Hopper => self.product == "GH100",
            DeviceKind::Blackwell => self.product.starts_with("GB"),
            DeviceKind::Ls10 => self.product == "LS10",
        }
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
