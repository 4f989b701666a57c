//! The firmware identity (FWID) in a device's leaf certificate, and the device's key it is for.
//!
//! Hopper and LS10 carry TCG's CompositeDeviceID, Blackwell DICE TcbInfo.

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode as _, Sequence, Tag, TagNumber, Tagged as _};
use protocol::gpu_evidence::DeviceKind;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use crate::certificate::{ParsedCertificate, only};

const COMPOSITE_DEVICE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1");
const TCB_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
/// Place of the FWID list in TcbInfo.
const FWIDS: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber::N6,
};

#[derive(Sequence)]
struct CompositeDeviceId<'a> {
    version: u8,
    device_key: SubjectPublicKeyInfoOwned,
    fwid: Fwid<'a>,
}

#[derive(Sequence)]
struct Fwid<'a> {
    algorithm: ObjectIdentifier,
    digest: OctetStringRef<'a>,
}

/// The FWID that the leaf certifies.
pub(super) fn of_leaf(
    kind: DeviceKind,
    leaf: &ParsedCertificate<'_>,
    issuer: &ParsedCertificate<'_>,
) -> Option<[u8; 48]> {
    match kind {
        DeviceKind::Hopper | DeviceKind::Ls10 => {
            composite(leaf.only_extension(COMPOSITE_DEVICE_ID)?, issuer)
        }
        DeviceKind::Blackwell => tcb_info(leaf.only_extension(TCB_INFO)?),
    }
}

/// The identity names the key of the layer below, which issued the leaf.
fn composite(value: &[u8], issuer: &ParsedCertificate<'_>) -> Option<[u8; 48]> {
    let identity = CompositeDeviceId::from_der(value).ok()?;
    let key = &issuer.parsed.tbs_certificate.subject_public_key_info;
    (identity.version == 1 && identity.device_key == *key)
        .then(|| digest(&identity.fwid))
        .flatten()
}

/// The first entry is the firmware's digest; those behind it are of layers that NVIDIA leaves zero.
fn tcb_info(value: &[u8]) -> Option<[u8; 48]> {
    let members = Vec::<AnyRef<'_>>::from_der(value).ok()?;
    let list = only(members.iter().filter(|member| member.tag() == FWIDS))?;
    let list = AnyRef::new(Tag::Sequence, list.value()).ok()?;
    let entries: Vec<Fwid<'_>> = list.decode_as().ok()?;
    digest(entries.first()?)
}

fn digest(fwid: &Fwid<'_>) -> Option<[u8; 48]> {
    let digest = fwid.digest.as_bytes().try_into().ok()?;
    (fwid.algorithm == SHA384).then_some(digest)
}
