//! The bytes of a quote: header, TD report, signature data. Written from Intel's "TDX DCAP Quote
//! Generation Library", appendix A, without the verifier's parser.

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use protocol::codec::Writer;
use protocol::digest::ReportData;
use sha2::{Digest as _, Sha256};

use super::{QuoteVersion, TdxMachine, chain};
use crate::seed::{SeedStream, p256_key};
use crate::{Lie, MockTeeError};

/// Intel's quoting enclave, as every verifier expects it in a header.
const VENDOR: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
/// TEE_TCB_SVN: module SVN 5 of major version 1, SEAM loader 3.
pub(super) const TEE_TCB_SVN: [u8; 16] = [5, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// The module before an update: one SVN less.
pub(super) const EARLIER_TCB_SVN: [u8; 16] = [4, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// SEPT_VE_DISABLE and nothing else.
const ATTRIBUTES: u64 = 1 << 28;
/// x87, SSE, AVX, AVX-512, protection keys, AMX.
const XFAM: u64 = 0x0006_02e7;
/// SVN of the quoting enclave.
pub(super) const ENCLAVE_SVN: u16 = 4;
/// Product id of the TD quoting enclave.
pub(super) const ENCLAVE_PRODUCT: u16 = 2;

/// MRSIGNER that the simulated Intel's identity names.
pub(super) fn enclave_signer() -> [u8; 32] {
    SeedStream::bytes("intel enclave signer")
}

pub(super) fn quote(
    machine: &TdxMachine,
    report_data: &ReportData,
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<Vec<u8>, MockTeeError> {
    let mut out = signed_part(machine, report_data);
    change(&mut out);
    let signature = signature_data(machine, &out)?;
    let length = u32::try_from(signature.len()).unwrap_or(u32::MAX);
    out.extend(length.to_le_bytes());
    out.extend(signature);
    match machine.lie {
        Some(Lie::Truncated) => {
            out.pop();
        }
        Some(Lie::TrailingBytes) => out.push(1),
        Some(_) | None => {}
    }
    Ok(out)
}

/// Header and TD report.
fn signed_part(machine: &TdxMachine, report_data: &ReportData) -> Vec<u8> {
    let mut out = Writer::new();
    let version = match machine.version {
        _ if machine.lies(Lie::ReportVersion) => 6,
        QuoteVersion::V4 => 4,
        QuoteVersion::V5 => 5,
    };
    out.u16(version).u16(2).u32(0x81).u32(0);
    out.raw(&VENDOR).raw(&[0; 20]);
    let report = td_report(machine, report_data);
    match machine.version {
        QuoteVersion::V4 => {
            out.raw(&report);
        }
        QuoteVersion::V5 => {
            let running = match machine.lie {
                Some(Lie::ModuleRollback) => EARLIER_TCB_SVN,
                Some(_) | None => TEE_TCB_SVN,
            };
            out.u16(3).u32(648).raw(&report).raw(&running);
            out.raw(&[u8::from(machine.lies(Lie::ServiceTd)); 48]);
        }
    }
    out.finish()
}

/// The 584 bytes of a TD 1.0 report, with which a TD 1.5 report begins.
fn td_report(machine: &TdxMachine, report_data: &ReportData) -> Vec<u8> {
    let attributes = match machine.lie {
        Some(Lie::Debug) => ATTRIBUTES | 1,
        Some(Lie::Migratable) => ATTRIBUTES | 1 << 29,
        Some(Lie::PolicyBit) => ATTRIBUTES | 1 << 40,
        Some(Lie::NoSeptVeDisable) => 0,
        Some(_) | None => ATTRIBUTES,
    };
    let xfam = if machine.lies(Lie::Xfam) { 3 } else { XFAM };
    let mut mrtd = machine.registers.mrtd;
    if let (true, Some(byte)) = (machine.lies(Lie::OtherMeasurement), mrtd.0.first_mut()) {
        *byte ^= 1;
    }
    let launched = match machine.lie {
        Some(Lie::Relaunch) => EARLIER_TCB_SVN,
        Some(_) | None => TEE_TCB_SVN,
    };
    let mut out = Writer::new();
    out.raw(&launched);
    out.raw(&SeedStream::bytes::<48>("intel module")); // MRSEAM
    out.raw(&[u8::from(machine.lies(Lie::Module)); 48]).u64(0); // MRSIGNERSEAM, SEAMATTRIBUTES
    out.u64(attributes).u64(xfam).raw(mrtd.as_bytes());
    out.raw(machine.reported_configuration().as_bytes());
    out.raw(&[u8::from(machine.lies(Lie::Owner)); 48])
        .raw(&[0; 48]); // MROWNER, MROWNERCONFIG
    for rtmr in machine.registers.rtmrs {
        out.raw(rtmr.as_bytes());
    }
    out.raw(&[u8::from(machine.lies(Lie::Rtmr3)); 48]);
    if machine.lies(Lie::StaleNonce) {
        out.raw(&[0x57; 64]);
    } else {
        out.raw(report_data.as_bytes());
    }
    out.finish()
}

/// Signature, attestation key, and how Intel certifies that key.
fn signature_data(machine: &TdxMachine, signed: &[u8]) -> Result<Vec<u8>, MockTeeError> {
    let key = p256_key("tdx attestation")?;
    let public = public_bytes(&key);
    let mut signature = sign(&key, signed);
    if let (true, Some(byte)) = (machine.lies(Lie::BadSignature), signature.first_mut()) {
        *byte ^= 1;
    }
    let authentication = [0xa7; 32];
    let report = enclave_report(machine, &public, &authentication);
    let chain = chain::pck_chain(machine)?;
    let mut certification = Writer::new();
    certification
        .raw(&report)
        .raw(&sign(&chain::pck_key()?, &report));
    certification.u16(32).raw(&authentication);
    certification.u16(5).blob(chain.as_bytes());
    let mut out = Writer::new();
    out.raw(&signature).raw(&public);
    out.u16(6).blob(&certification.finish());
    Ok(out.finish())
}

/// The quoting enclave's report, 384 bytes, over the attestation key.
fn enclave_report(machine: &TdxMachine, public: &[u8], authentication: &[u8]) -> Vec<u8> {
    let bound = Sha256::new()
        .chain_update(public)
        .chain_update(authentication);
    let signer = match machine.lie {
        Some(Lie::OtherEnclave) => [0x5e; 32],
        Some(_) | None => enclave_signer(),
    };
    let mut out = Writer::new();
    out.raw(&[super::pck::COMPONENT_LEVEL; 16]); // CPUSVN
    out.u32(0).raw(&[0; 28]); // MISCSELECT, reserved
    out.u64(0x11).u64(0); // ATTRIBUTES: initialised, provision key
    out.raw(&SeedStream::bytes::<32>("intel enclave"))
        .raw(&[0; 32]); // MRENCLAVE, reserved
    out.raw(&signer).raw(&[0; 96]); // MRSIGNER, reserved
    out.u16(ENCLAVE_PRODUCT).u16(ENCLAVE_SVN).raw(&[0; 60]);
    out.raw(&bound.finalize()).raw(&[0; 32]);
    out.finish()
}

/// r and s, big-endian.
pub(super) fn sign(key: &SigningKey, message: &[u8]) -> Vec<u8> {
    let signature: Signature = key.sign(message);
    signature.to_bytes().to_vec()
}

/// x and y of a public key.
fn public_bytes(key: &SigningKey) -> Vec<u8> {
    let point = key.verifying_key().to_encoded_point(false);
    point.as_bytes().iter().skip(1).copied().collect()
}
