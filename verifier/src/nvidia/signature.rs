//! The one profile of XML-DSig that NVIDIA signs manifests with, and no other.
//!
//! One signature, a child of the root, over the whole document without itself (one reference with
//! URI ""), Canonical XML 1.1, SHA-384, ECDSA P-384, certificates in KeyInfo. Any other element,
//! attribute, algorithm, transform or number of them refuses, so there is nothing to wrap: what was
//! signed is the root that the values are read from.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p384::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha384};

use super::canonical::canonical;
use super::xml::Element;
use crate::rejection::Rejection;
use crate::secp384r1;

const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const C14N11: &str = "http://www.w3.org/2006/12/xml-c14n11";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";
const ECDSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";

/// A signature of the profile; nothing in it is believed yet.
#[derive(Debug)]
pub(super) struct XmlSignature<'e, 'a> {
    root: &'e Element<'a>,
    element: &'e Element<'a>,
    signed_info: &'e Element<'a>,
    /// What it says the document's digest is.
    pub(super) digest: Vec<u8>,
    value: Vec<u8>,
    /// DER, the signer's first.
    pub(super) certificates: Vec<Vec<u8>>,
}

impl<'e, 'a> XmlSignature<'e, 'a> {
    /// Finds the signature of a document; `None` when it is not of the profile.
    pub(super) fn read(root: &'e Element<'a>) -> Option<Self> {
        let element = only_signature(root)?;
        let [signed_info, value, key_info] = parts(element, "Signature", &[])?;
        let [method, algorithm, reference] = parts(signed_info, "SignedInfo", &[])?;
        let [] = parts(method, "CanonicalizationMethod", &[("Algorithm", C14N11)])?;
        let [] = parts(algorithm, "SignatureMethod", &[("Algorithm", ECDSA_SHA384)])?;
        let [transforms, method, digest] = parts(reference, "Reference", &[("URI", "")])?;
        let [first, second] = parts(transforms, "Transforms", &[])?;
        let [] = parts(first, "Transform", &[("Algorithm", ENVELOPED)])?;
        let [] = parts(second, "Transform", &[("Algorithm", C14N11)])?;
        let [] = parts(method, "DigestMethod", &[("Algorithm", SHA384)])?;
        let [data] = parts(key_info, "KeyInfo", &[])?;
        check(data, "X509Data", &[])?;
        let certificates = data.elements()?.into_iter();
        let certificates = certificates.map(|certificate| {
            check(certificate, "X509Certificate", &[])?;
            decode(certificate.text()?)
        });
        check(digest, "DigestValue", &[])?;
        check(value, "SignatureValue", &[])?;
        Some(Self {
            root,
            element,
            signed_info,
            digest: decode(digest.text()?)?,
            value: decode(value.text()?)?,
            certificates: certificates.collect::<Option<_>>()?,
        })
    }

    /// The key signed what the signature says of the document, and the document is as it says.
    pub(super) fn check(&self, key: &VerifyingKey) -> Result<(), Rejection> {
        let signed = canonical(self.signed_info, None);
        let signature = Signature::from_slice(&self.value);
        let verified =
            signature.is_ok_and(|value| secp384r1::verifies(key, signed.as_bytes(), &value));
        if !verified {
            return Err(Rejection::RimSignature);
        }
        let document = canonical(self.root, Some(self.element));
        let holds = self.digest == Sha384::digest(document).as_slice();
        holds.then_some(()).ok_or(Rejection::RimDigest)
    }
}

/// The signature, which must be the only one and directly in the root.
fn only_signature<'e, 'a>(root: &'e Element<'a>) -> Option<&'e Element<'a>> {
    if root.namespace == DSIG {
        return None;
    }
    let found = root.elements()?.into_iter();
    let found = found.filter(|child| child.is(DSIG, "Signature"));
    let [signature] = exactly(found.collect())?;
    // Outside of it, nothing is in the namespace of signatures.
    let mut others = root
        .inner()
        .filter(|inner| !core::ptr::eq(*inner, signature));
    (!others.any(mentions_signatures)).then_some(signature)
}

fn mentions_signatures(element: &Element<'_>) -> bool {
    element.namespace == DSIG || element.inner().any(mentions_signatures)
}

/// The element has this name and exactly these attributes and so many elements.
fn parts<'e, 'a, const N: usize>(
    element: &'e Element<'a>,
    local: &str,
    attributes: &[(&str, &str)],
) -> Option<[&'e Element<'a>; N]> {
    check(element, local, attributes)?;
    exactly(element.elements()?)
}

fn check(element: &Element<'_>, local: &str, expected: &[(&str, &str)]) -> Option<()> {
    let found = element.attributes.iter();
    let found = found.map(|attribute| (attribute.name, attribute.value));
    (element.is(DSIG, local) && found.eq(expected.iter().copied())).then_some(())
}

fn exactly<T, const N: usize>(found: Vec<T>) -> Option<[T; N]> {
    found.try_into().ok()
}

/// Base64 with line feeds in it.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(digits).ok()
}
