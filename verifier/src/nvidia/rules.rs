//! What devices must be together and each for itself: kinds, counts, links, versions.

use std::collections::BTreeSet;

use protocol::gpu_evidence::{DeviceKind, GpuEvidence, GpuMode};
use protocol::reference_values::DeviceSet;

use super::opaque::{DeviceFields, Pdi};
use super::policy::NvidiaPolicy;
use super::report::VerifiedDevice;
use crate::rejection::Rejection;

/// The sets that the devices may be, by what they are said to be and how many.
pub(super) fn matching_sets(
    evidence: &GpuEvidence,
    sets: &[DeviceSet],
) -> Result<Vec<DeviceSet>, Rejection> {
    let kinds = evidence.devices.iter().map(|device| device.kind);
    let (gpus, switches): (Vec<DeviceKind>, Vec<DeviceKind>) =
        kinds.partition(|kind| kind.is_gpu());
    let keep = |sets: Vec<DeviceSet>, holds: &dyn Fn(&DeviceSet) -> bool, refused| {
        let kept: Vec<_> = sets.into_iter().filter(holds).collect();
        (!kept.is_empty()).then_some(kept).ok_or(refused)
    };
    let all_of = |set: &DeviceSet| gpus.iter().all(|kind| *kind == set.architecture);
    let kept = keep(sets.to_vec(), &all_of, Rejection::GpuArchitecture)?;
    let enough = |set: &DeviceSet| gpus.len() == usize::from(set.gpus);
    let kept = keep(kept, &enough, Rejection::GpuCount)?;
    let connected = |set: &DeviceSet| switches.len() == usize::from(set.switches);
    keep(kept, &connected, Rejection::SwitchCount)
}

/// One of the sets is left when every GPU is in the mode that it asks for.
pub(super) fn check_mode(
    devices: &[VerifiedDevice<'_>],
    sets: &[DeviceSet],
) -> Result<(), Rejection> {
    let modes: Vec<GpuMode> = devices.iter().filter_map(VerifiedDevice::mode).collect();
    let uniform = |set: &DeviceSet| modes.iter().all(|mode| *mode == set.mode);
    if sets.iter().any(uniform) {
        Ok(())
    } else {
        Err(Rejection::GpuMode)
    }
}

/// No key and no identity is there twice.
pub(super) fn check_distinct(devices: &[VerifiedDevice<'_>]) -> Result<(), Rejection> {
    let identities: BTreeSet<_> = devices.iter().map(|device| device.pdi).collect();
    let serials: BTreeSet<_> = devices.iter().map(|device| &device.serial).collect();
    if identities.len() == devices.len() && serials.len() == devices.len() {
        Ok(())
    } else {
        Err(Rejection::GpuDuplicate)
    }
}

/// Every GPU is linked to exactly the switches that report, and every switch to exactly the GPUs:
/// none is in front of, or behind, a device that did not report.
pub(super) fn check_links(devices: &[VerifiedDevice<'_>]) -> Result<(), Rejection> {
    let of = |gpu: bool| {
        let kind = devices.iter().filter(move |d| d.kind.is_gpu() == gpu);
        kind.map(|device| device.pdi).collect::<BTreeSet<Pdi>>()
    };
    let (gpus, switches) = (of(true), of(false));
    if switches.is_empty() {
        return Ok(());
    }
    let holds = |device: &VerifiedDevice<'_>| match &device.data.device {
        DeviceFields::Gpu(gpu) => gpu.switches == switches,
        DeviceFields::Switch { pdi, gpus: seen } => *pdi == device.pdi && *seen == gpus,
    };
    if devices.iter().all(holds) {
        Ok(())
    } else {
        Err(Rejection::GpuLinks)
    }
}

/// The policy lists the architecture, and driver and firmware are not older than it wants.
pub(super) fn check_minimum(
    device: &VerifiedDevice<'_>,
    policy: &NvidiaPolicy,
) -> Result<(), Rejection> {
    let mut minima = policy.minima.iter();
    let minimum = minima
        .find(|minimum| minimum.architecture == device.kind)
        .ok_or(Rejection::GpuUnlisted)?;
    if let (DeviceFields::Gpu(gpu), Some(least)) = (&device.data.device, &minimum.driver)
        && !gpu.driver.reaches(least)
    {
        return Err(Rejection::GpuDriverBelowMinimum);
    }
    if device.data.firmware < minimum.firmware {
        return Err(Rejection::GpuFirmwareBelowMinimum);
    }
    Ok(())
}
