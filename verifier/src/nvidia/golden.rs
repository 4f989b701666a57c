//! Which manifests a device needs, and the comparison of what it measured with them.

use protocol::gpu_evidence::DeviceKind;

use super::opaque::{DeviceFields, GpuFields, OpaqueData};
use super::rim::Rim;
use super::spdm::SpdmReport;
use crate::rejection::Rejection;

/// Measured from the first video decoder, which some products do not have.
const NVDEC0_INDEX: u8 = 35;

/// Names of the manifests of one device, as NVIDIA's service knows them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RimIds {
    pub(super) driver: Option<String>,
    pub(super) firmware: String,
}

impl RimIds {
    pub(super) fn of(kind: DeviceKind, data: &OpaqueData) -> Self {
        let firmware = data.firmware.to_string().replace('.', "");
        match &data.device {
            DeviceFields::Gpu(gpu) => Self {
                driver: Some(driver_rim(kind, gpu)),
                firmware: format!(
                    "NV_GPU_VBIOS_{}_{}_{}_{firmware}",
                    gpu.project.to_ascii_uppercase(),
                    gpu.project_sku.to_ascii_uppercase(),
                    gpu.chip_sku.to_ascii_uppercase(),
                ),
            },
            // Reports of switches do not name the board; there is one.
            DeviceFields::Switch { .. } => Self {
                driver: None,
                firmware: format!("NV_SWITCH_BIOS_5612_0002_890_{firmware}"),
            },
        }
    }
}

fn driver_rim(kind: DeviceKind, gpu: &GpuFields) -> String {
    let driver = gpu.driver.as_str();
    match kind {
        DeviceKind::Hopper | DeviceKind::Ls10 => format!("NV_GPU_DRIVER_GH100_{driver}"),
        DeviceKind::Blackwell => {
            let chip = gpu.chip_info.as_deref().unwrap_or("GB100");
            format!("NV_GPU_CC_DRIVER_{chip}_{driver}")
        }
    }
}

/// The manifest is for this device: its architecture, and the version that it reports.
pub(super) fn check_rim(rim: &Rim, kind: DeviceKind, version: &str) -> Result<(), Rejection> {
    rim.check_product(kind)?;
    if rim.version == version {
        Ok(())
    } else {
        Err(Rejection::RimVersion)
    }
}

/// No measurement is both the driver's and the firmware's.
pub(super) fn check_disjoint(driver: &Rim, firmware: &Rim) -> Result<(), Rejection> {
    let mut indices = driver.active.keys();
    if indices.any(|index| firmware.active.contains_key(index)) {
        return Err(Rejection::RimOverlap);
    }
    Ok(())
}

/// Each active measurement is in the report, with one of the accepted values. So secure boot is on
/// and debugging is off: both are measured and nothing else in a report shows them.
pub(super) fn check_measurements(
    report: &SpdmReport<'_>,
    data: &OpaqueData,
    rim: &Rim,
) -> Result<(), Rejection> {
    let without_decoder = match &data.device {
        DeviceFields::Gpu(gpu) => !gpu.nvdec0_enabled,
        DeviceFields::Switch { .. } => false,
    };
    for (index, accepted) in &rim.active {
        if *index == NVDEC0_INDEX && without_decoder {
            continue;
        }
        let measured = report
            .value(*index)
            .ok_or(Rejection::GpuMeasurementMissing)?;
        if !accepted.contains(measured) {
            return Err(Rejection::GpuMeasurementMismatch);
        }
    }
    Ok(())
}
