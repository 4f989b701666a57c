//! The SGX extension of a PCK certificate: Intel's "SGX PCK Certificate and CRL Profile", §1.3.5.

use der::Encode as _;
use der::asn1::ObjectIdentifier;
use x509_cert::ext::Extension;

use super::PlatformFlags;
use crate::MockTeeError;
use crate::certificates::{self, Criticality};
use crate::seed::SeedStream;

const SGX: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113741.1.13.1");
const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const BOOLEAN: u8 = 0x01;

/// Level of each of the 16 components, and of the PCE.
pub(super) const COMPONENT_LEVEL: u8 = 2;
pub(super) const PCE_LEVEL: u8 = 11;
pub(super) const PCE_ID: [u8; 2] = [0, 0];
pub(super) const FMSPC: [u8; 6] = [0x73, 0x57, 0, 0, 0, 0];

/// PPID, TCB, PCE id, FMSPC, type (scalable), platform instance, configuration.
pub(super) fn extension(platform: PlatformFlags) -> Result<Extension, MockTeeError> {
    let level = |arc: u32, value: u8| member(&[2, arc], &tlv(INTEGER, &[value]));
    let mut tcb = (1..=16)
        .map(|arc| level(arc, COMPONENT_LEVEL))
        .collect::<Result<Vec<_>, _>>()?;
    tcb.push(level(17, PCE_LEVEL)?);
    tcb.push(member(
        &[2, 18],
        &tlv(OCTET_STRING, &[COMPONENT_LEVEL; 16]),
    )?);
    let flag = |arc: u32, said: Option<bool>| match said {
        Some(said) => member(&[7, arc], &tlv(BOOLEAN, &[if said { 0xff } else { 0 }])),
        None => Ok(Vec::new()),
    };
    let configuration = [
        flag(1, platform.dynamic)?,
        flag(2, platform.cached_keys)?,
        flag(3, platform.multithreading)?,
    ];
    let ppid = SeedStream::bytes::<16>("intel ppid");
    let instance = SeedStream::bytes::<16>("intel platform instance");
    let members = [
        member(&[1], &tlv(OCTET_STRING, &ppid))?,
        member(&[2], &tlv(SEQUENCE, &tcb.concat()))?,
        member(&[3], &tlv(OCTET_STRING, &PCE_ID))?,
        member(&[4], &tlv(OCTET_STRING, &FMSPC))?,
        member(&[5], &tlv(ENUMERATED, &[1]))?,
        member(&[6], &tlv(OCTET_STRING, &instance))?,
        member(&[7], &tlv(SEQUENCE, &configuration.concat()))?,
    ];
    let value = tlv(SEQUENCE, &members.concat());
    certificates::extension(SGX, Criticality::Optional, value)
}

/// SEQUENCE of an OID under Intel's arc and a value.
fn member(arcs: &[u32], value: &[u8]) -> Result<Vec<u8>, MockTeeError> {
    let mut oid = SGX;
    for arc in arcs {
        oid = oid.push_arc(*arc).map_err(|_| MockTeeError::Key)?;
    }
    Ok(tlv(SEQUENCE, &[oid.to_der()?, value.to_vec()].concat()))
}

/// Tag, definite length of at most two bytes, content.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let mut out = vec![tag];
    match (high, low) {
        (0, 0..=0x7f) => out.push(low),
        (0, _) => out.extend([0x81, low]),
        (_, _) => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
    out
}
