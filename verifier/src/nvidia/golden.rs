//! Which manifests a device needs, and the comparison of what it measured with them.

use protocol::gpu_evidence::DeviceKind;

use super::opaque::{DeviceFields, GpuFields, OpaqueData};
use super::report::ReadDevice;
use super::rim::Rim;
use crate::checks::{Checks, Subject};
use crate::rejection::Rejection;

/// Measured from the first video decoder, which some products do not have.
const NVDEC0_INDEX: u8 = 35;

/// A device's measurements against a manifest.
pub(super) const MEASURED: &[Rejection] =
    Rejection::GpuMeasurementMissing.through(Rejection::GpuMeasurementMismatch);

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
pub(super) fn check_rim(
    of: Subject,
    rim: &Rim,
    (kind, version): (DeviceKind, &str),
    checks: &mut Checks<'_>,
) {
    checks.expect(of, Rejection::RimProduct, kind.name(), rim.is_for(kind));
    checks.expect(of, Rejection::RimVersion, version, rim.version == version);
}

/// No measurement is both the driver's and the firmware's.
pub(super) fn check_disjoint(of: Subject, driver: &Rim, firmware: &Rim, checks: &mut Checks<'_>) {
    let mut indices = driver.active.keys();
    let holds = !indices.any(|index| firmware.active.contains_key(index));
    let found = format_args!("{} and {}", driver.active.len(), firmware.active.len());
    checks.expect(of, Rejection::RimOverlap, found, holds);
}

/// Each active measurement is in the report, with one of the accepted values. So secure boot is on
/// and debugging is off: both are measured and nothing else in a report shows them.
pub(super) fn check_measurements(
    of: Subject,
    device: &ReadDevice<'_>,
    rim: &Rim,
    checks: &mut Checks<'_>,
) {
    let without_decoder = device.gpu().is_some_and(|gpu| !gpu.nvdec0_enabled);
    let asked = rim.active.iter();
    let asked = asked.filter(|(index, _)| **index != NVDEC0_INDEX || !without_decoder);
    let results: Vec<_> = asked
        .map(|(index, accepted)| match device.report.value(*index) {
            None => (index, Err(Rejection::GpuMeasurementMissing)),
            Some(measured) if accepted.contains(measured) => (index, Ok(())),
            Some(_) => (index, Err(Rejection::GpuMeasurementMismatch)),
        })
        .collect();
    let wrong = results.iter().filter(|(_, result)| result.is_err());
    let wrong: Vec<_> = wrong.map(|(index, _)| index.to_string()).collect();
    let found = match (results.len(), wrong.as_slice()) {
        (all, []) => format!("{all} measurements"),
        (all, wrong) => format!("{all} measurements; not {}", wrong.join(" ")),
    };
    checks.steps_of_all(
        of,
        MEASURED,
        found,
        results.into_iter().map(|(_, result)| result),
    );
}
