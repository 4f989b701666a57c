//! The report's 1184 bytes, field by field, and its signature.
//!
//! Written from AMD publication 56860 on its own, without the verifier's parser.

use p384::ecdsa::Signature;
use p384::ecdsa::signature::Signer as _;
use protocol::codec::Writer;
use protocol::digest::ReportData;

use super::{Product, SnpMachine};
use crate::seed::p384_key;
use crate::{Lie, MockTeeError};

/// Bits 16 (SMT allowed) and 17 (always one).
const POLICY: u64 = 0x3_0000;
/// Bits 0 (SMT on) and 5 (alias check complete).
const PLATFORM: u64 = 0x21;

/// Label of the key that signs: of a chip, or of many.
pub(super) fn key_label(machine: &SnpMachine) -> &'static str {
    match machine.product {
        _ if machine.lies(Lie::Vlek) => "vlek",
        Product::Milan => "vcek milan",
        Product::Genoa => "vcek genoa",
        Product::Turin => "vcek turin",
    }
}

pub(super) fn report(
    machine: &SnpMachine,
    report_data: &ReportData,
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<Vec<u8>, MockTeeError> {
    let mut bytes = body(machine, report_data);
    change(&mut bytes);
    let key = p384_key(key_label(machine))?;
    let signature: Signature = key.sign(&bytes);
    let (r, s) = signature.split_bytes();
    for scalar in [r, s] {
        bytes.extend(scalar.into_iter().rev());
        bytes.extend([0; 24]);
    }
    bytes.extend([0; 368]);
    if let (true, Some(byte)) = (machine.lies(Lie::BadSignature), bytes.get_mut(0x2a0)) {
        *byte ^= 1;
    }
    if machine.lies(Lie::Truncated) {
        bytes.pop();
    }
    Ok(bytes)
}

/// The 672 bytes under the signature.
fn body(machine: &SnpMachine, report_data: &ReportData) -> Vec<u8> {
    let product = machine.product;
    let tcb = product.tcb();
    let mut out = Writer::new();
    out.u32(version(machine)).u32(0).u64(policy(machine));
    out.raw(&[0; 32]); // FAMILY_ID, IMAGE_ID
    out.u32(u32::from(machine.lies(Lie::Vmpl)));
    out.u32(if machine.lies(Lie::SignatureAlgorithm) {
        2
    } else {
        1
    });
    out.raw(&current_tcb(machine)).u64(platform(machine));
    out.u32(key_info(machine))
        .u32(u32::from(machine.lies(Lie::Reserved)));
    out.raw(&signed_report_data(machine, report_data));
    out.raw(&measurement(machine)).raw(&host_data(machine));
    out.raw(&[u8::from(machine.lies(Lie::IdBlock)); 48]); // ID_KEY_DIGEST
    out.raw(&[0; 48]); // AUTHOR_KEY_DIGEST
    out.raw(&[0x1d; 32]); // REPORT_ID
    let agent = if machine.lies(Lie::MigrationAgent) {
        0x11
    } else {
        0xff
    };
    out.raw(&[agent; 32]); // REPORT_ID_MA
    out.raw(&machine.reported_tcb());
    out.raw(&cpuid(machine)).raw(&[0; 21]);
    if machine.lies(Lie::MaskedChip) {
        out.raw(&[0; 64]);
    } else {
        out.raw(product.chip_id().as_bytes());
    }
    out.raw(&current_tcb(machine)); // COMMITTED_TCB
    let running = if machine.lies(Lie::FirmwareOrder) {
        54
    } else {
        55
    };
    out.raw(&[41, running, 1, 0, 41, 55, 1, 0]); // current and committed build, minor, major
    out.raw(&if machine.lies(Lie::LaunchTcbLow) {
        low(tcb)
    } else {
        current_tcb(machine)
    });
    let (launch, current) = mitigations(machine);
    out.u64(launch).u64(current); // LAUNCH_MIT_VECTOR, CURRENT_MIT_VECTOR (version 5)
    out.raw(&[0; 152]);
    out.finish()
}

fn version(machine: &SnpMachine) -> u32 {
    match machine.product {
        _ if machine.lies(Lie::ReportVersion) => 4,
        Product::Milan | Product::Genoa => 3,
        Product::Turin => 5,
    }
}

/// At launch and now: the first one is on, from version 5 on.
fn mitigations(machine: &SnpMachine) -> (u64, u64) {
    match machine.product {
        Product::Milan | Product::Genoa => (0, 0),
        Product::Turin if machine.lies(Lie::LaunchMitigation) => (0, 1),
        Product::Turin => (1, 1),
    }
}

fn policy(machine: &SnpMachine) -> u64 {
    match machine.lie {
        Some(Lie::Debug) => POLICY | 1 << 19,
        Some(Lie::Migratable) => POLICY | 1 << 18,
        Some(Lie::PolicyBit) => POLICY | 1 << 40,
        Some(Lie::Cxl) => POLICY | 1 << 21,
        Some(_) | None => POLICY,
    }
}

fn platform(machine: &SnpMachine) -> u64 {
    match machine.lie {
        Some(Lie::NoAliasCheck) => PLATFORM & !(1 << 5),
        Some(Lie::PlatformReserved) => PLATFORM | 1 << 40,
        Some(_) | None => PLATFORM,
    }
}

fn key_info(machine: &SnpMachine) -> u32 {
    match machine.lie {
        Some(Lie::Vlek) => 1 << 2,
        Some(Lie::NoSigningKey) => 7 << 2,
        Some(Lie::MaskedChip) => 1 << 1,
        Some(_) | None => 0,
    }
}

/// What runs: at least what is reported, except where the lie is the order.
fn current_tcb(machine: &SnpMachine) -> [u8; 8] {
    if machine.lies(Lie::TcbLow) || machine.lies(Lie::TcbReserved) {
        machine.reported_tcb()
    } else {
        machine.product.tcb()
    }
}

fn low(mut tcb: [u8; 8]) -> [u8; 8] {
    if let Some(microcode) = tcb.last_mut() {
        *microcode = 1;
    }
    tcb
}

fn cpuid(machine: &SnpMachine) -> [u8; 3] {
    let [family, model, stepping] = machine.product.cpuid();
    match machine.lie {
        Some(Lie::UnknownProduct) => [0x1a, 0x50, 0],
        Some(Lie::OtherProduct) => match machine.product {
            Product::Milan | Product::Genoa => Product::Turin.cpuid(),
            Product::Turin => Product::Genoa.cpuid(),
        },
        Some(Lie::UnlistedStepping) => [family, model, 9],
        Some(_) | None => [family, model, stepping],
    }
}

fn signed_report_data(machine: &SnpMachine, asked: &ReportData) -> [u8; 64] {
    if machine.lies(Lie::StaleNonce) {
        [0x57; 64]
    } else {
        *asked.as_bytes()
    }
}

fn measurement(machine: &SnpMachine) -> [u8; 48] {
    let mut digest = *machine.measurement.as_bytes();
    if let (true, Some(byte)) = (machine.lies(Lie::OtherMeasurement), digest.first_mut()) {
        *byte ^= 1;
    }
    digest
}

fn host_data(machine: &SnpMachine) -> [u8; 32] {
    let mut digest = *machine.host_data.as_bytes();
    if let (true, Some(byte)) = (machine.lies(Lie::WrongHostData), digest.first_mut()) {
        *byte ^= 1;
    }
    digest
}
