//! A device's report: SPDM request and response, byte for byte as NVIDIA's devices lay them out.

use p384::ecdsa::Signature;
use p384::ecdsa::signature::Signer as _;
use protocol::digest::GpuNonce;
use protocol::gpu_evidence::{DeviceKind, GpuMode};

use super::manifest::{self, NVDEC0_INDEX};
use super::{Board, Device, DeviceLie, line};
use crate::MockTeeError;
use crate::seed::{SeedStream, p384_key};

const GPU_BLOCKS: u8 = 64;
const SWITCH_BLOCKS: u8 = 31;
const ENABLED: u8 = 0xaa;
const DISABLED: u8 = 0x55;

/// Request and response.
pub(super) fn report(
    board: &Board,
    device: Device,
    nonce: GpuNonce,
) -> Result<Vec<u8>, MockTeeError> {
    let mut nonce = nonce.0;
    if let (true, Some(byte)) = (device.lies(DeviceLie::StaleNonce), nonce.first_mut()) {
        *byte ^= 1;
    }
    let mut out = vec![0x11, 0xe0, 0x01, 0xff];
    out.extend(nonce);
    out.push(0);
    let (count, record) = record(device);
    let length = u32::try_from(record.len()).map_err(|_| MockTeeError::Key)?;
    let [low, middle, high, _] = length.to_le_bytes();
    out.extend([0x11, 0x60, 0, 0, count, low, middle, high]);
    out.extend(record);
    out.extend(SeedStream::bytes::<32>(&device.label("responder nonce")));
    let opaque = opaque(board, device)?;
    let length = u16::try_from(opaque.len()).map_err(|_| MockTeeError::Key)?;
    out.extend(length.to_le_bytes());
    out.extend(opaque);
    let key = p384_key(&device.label("firmware"))?;
    let signature: Signature = key.sign(&out);
    out.extend(signature.to_bytes());
    if let (true, Some(byte)) = (device.lies(DeviceLie::BadSignature), out.last_mut()) {
        *byte ^= 1;
    }
    if device.lies(DeviceLie::Truncated) {
        out.pop();
    }
    Ok(out)
}

/// A report with a signature that fits it.
pub(super) fn signed_again(device: Device, report: &[u8]) -> Result<Vec<u8>, MockTeeError> {
    let signed = report.len().checked_sub(96);
    let mut out = report
        .get(..signed.unwrap_or_default())
        .unwrap_or_default()
        .to_vec();
    let signature: Signature = p384_key(&device.label("firmware"))?.sign(&out);
    out.extend(signature.to_bytes());
    Ok(out)
}

/// What a device of this kind measures under a manifest's index.
pub(super) fn measured(kind: DeviceKind, index: u8) -> [u8; 48] {
    SeedStream::bytes(&format!("nvidia measurement {} {index}", line(kind)))
}

fn record(device: Device) -> (u8, Vec<u8>) {
    let count = if device.kind.is_gpu() {
        GPU_BLOCKS
    } else {
        SWITCH_BLOCKS
    };
    let mut out = Vec::new();
    for index in 0..count {
        let mut value = measured(device.kind, index);
        let without_decoder = device.kind == DeviceKind::Hopper && index == NVDEC0_INDEX;
        let other = device.lies(DeviceLie::Measurement) && index == 21;
        if without_decoder || other {
            value = [0; 48];
        }
        let again = device.lies(DeviceLie::BlockTwice) && index == 63;
        out.push(if again { 1 } else { index.saturating_add(1) });
        out.extend([1, 51, 0, 1, 48, 0]);
        out.extend(value);
    }
    (count, out)
}

fn opaque(board: &Board, device: Device) -> Result<Vec<u8>, MockTeeError> {
    let fields = match device.kind {
        DeviceKind::Hopper | DeviceKind::Blackwell => gpu_fields(board, device),
        DeviceKind::Ls10 => switch_fields(board, device),
    };
    let mut out = Vec::new();
    for (kind, value) in fields {
        let length = u16::try_from(value.len()).map_err(|_| MockTeeError::Key)?;
        out.extend(kind.to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(value);
    }
    Ok(out)
}

fn gpu_fields(board: &Board, device: Device) -> Vec<(u16, Vec<u8>)> {
    let versions = manifest::versions(board, device.kind);
    let mut driver = versions.driver;
    if device.lies(DeviceLie::DriverText) {
        driver = "590..12".to_owned();
    }
    let mode = match (board.mode, device.lies(DeviceLie::Mode)) {
        (mode, false) => mode,
        (GpuMode::ProtectedPcie, true) => GpuMode::SinglePass,
        (GpuMode::MultiPass | GpuMode::SinglePass, true) => GpuMode::ProtectedPcie,
    };
    let feature: u16 = match mode {
        GpuMode::MultiPass => 0,
        GpuMode::SinglePass => 1,
        GpuMode::ProtectedPcie => 2,
    };
    let protected = (mode == GpuMode::ProtectedPcie) != device.lies(DeviceLie::ModeContradiction);
    let mut fwid = device.fwid();
    if let (true, Some(byte)) = (device.lies(DeviceLie::OtherFirmware), fwid.first_mut()) {
        *byte ^= 1;
    }
    let decoder = device.kind == DeviceKind::Blackwell || device.lies(DeviceLie::Decoder);
    let mut fields = vec![
        (6, versions.firmware_bytes),
        (14, vec![0x37, 4, 0, 0]),
        (15, b"885\0\0\0\0\0\0".to_vec()),
        (16, b"0\0\0\0\0".to_vec()),
        (17, b"G520\0".to_vec()),
        (18, b"0200\0".to_vec()),
        (19, vec![0, 0]),
        (3, [driver.as_bytes(), b"\0"].concat()),
        (12, vec![0; 256]),
        (11, vec![state(decoder)]),
        (20, fwid.to_vec()),
        (21, vec![state(protected)]),
    ];
    if board.switches > 0 {
        fields.push((22, linked_switches(board, device)));
    }
    fields.push((34, vec![1, 0]));
    if device.kind == DeviceKind::Blackwell {
        fields.push((35, b"GB100\0".to_vec()));
    }
    fields.push((36, feature.to_le_bytes().to_vec()));
    if device.lies(DeviceLie::UnknownField) {
        fields.push((99, vec![0]));
    }
    fields
}

const fn state(on: bool) -> u8 {
    if on { ENABLED } else { DISABLED }
}

/// 18 links; GPUs write identities little-endian, and zero for a link that is off.
fn linked_switches(board: &Board, device: Device) -> Vec<u8> {
    let mut pdis: Vec<[u8; 8]> = board.devices().into_iter().filter_map(switch_pdi).collect();
    if let (true, Some(pdi)) = (device.lies(DeviceLie::OtherSwitch), pdis.first_mut()) {
        *pdi = SeedStream::bytes("nvidia somebody's switch");
    }
    let mut links: Vec<u8> = pdis
        .iter()
        .cycle()
        .take(17)
        .flat_map(|pdi| pdi.iter().rev().copied())
        .collect();
    links.extend([0; 8]);
    links
}

fn switch_pdi(device: Device) -> Option<[u8; 8]> {
    (!device.kind.is_gpu()).then(|| device.pdi())
}

fn switch_fields(board: &Board, device: Device) -> Vec<(u16, Vec<u8>)> {
    let versions = manifest::versions(board, device.kind);
    let gpus = board.devices().into_iter().filter(|d| d.kind.is_gpu());
    let mut gpus: Vec<[u8; 8]> = gpus.map(Device::pdi).collect();
    let lies = device.lie == Some(DeviceLie::OtherGpu);
    if let (true, Some(pdi)) = (lies, gpus.first_mut()) {
        *pdi = SeedStream::bytes("nvidia somebody's gpu");
    }
    gpus.resize(8, [0; 8]);
    let mut connected = gpus.concat();
    connected.extend([0xff; 64]);
    vec![
        (6, versions.firmware_bytes),
        (22, device.pdi().to_vec()),
        (12, vec![0; 108]),
        (26, connected),
        (23, vec![0xec, 0]),
        (24, vec![device.number, 0]),
        (25, vec![1, 0]),
    ]
}
