//! What devices must be together and each for itself: kinds, counts, links, versions.

use std::collections::BTreeSet;

use protocol::gpu_evidence::{DeviceKind, GpuEvidence};
use protocol::reference_values::DeviceSet;

use super::opaque::{DeviceFields, Pdi};
use super::report::ReadDevice;
use super::{DEVICES, Place};
use crate::checks::{Checks, Hex};
use crate::rejection::Rejection;

/// `docs/spec/gpu-evidence.md` §7.1.
pub(super) const SET: &[Rejection] = Rejection::GpuArchitecture.through(Rejection::SwitchCount);
const TOGETHER: &[Rejection] = Rejection::GpuDuplicate.through(Rejection::GpuLinks);
/// The first steps of `docs/spec/gpu-evidence.md` §7.5.
pub(super) const MINIMUM: &[Rejection] =
    Rejection::GpuUnlisted.through(Rejection::GpuFirmwareBelowMinimum);

/// `docs/spec/gpu-evidence.md` §7.4, in its order.
pub(super) fn plan_together(places: &[Place], checks: &mut Checks<'_>) {
    for step in TOGETHER {
        for place in places {
            checks.plan(place.device(), &[*step]);
        }
    }
}

/// The sets that the devices may be, by what they are said to be and how many.
pub(super) fn matching_sets(
    evidence: &GpuEvidence,
    sets: &[DeviceSet],
    checks: &mut Checks<'_>,
) -> Option<Vec<DeviceSet>> {
    let of = |kind| {
        let devices = evidence.devices.iter();
        devices.filter(|device| device.kind == kind).count()
    };
    let [hopper, blackwell, ls10] =
        [DeviceKind::Hopper, DeviceKind::Blackwell, DeviceKind::Ls10].map(of);
    let found = format_args!("{hopper} hopper, {blackwell} blackwell, {ls10} ls10");
    checks.steps(DEVICES, SET, found, matching(evidence, sets))
}

fn matching(evidence: &GpuEvidence, sets: &[DeviceSet]) -> Result<Vec<DeviceSet>, Rejection> {
    let kinds = evidence.devices.iter().map(|device| device.kind);
    let (gpus, switches): (Vec<DeviceKind>, Vec<DeviceKind>) =
        kinds.partition(|kind| kind.is_gpu());
    let keep = |sets: Vec<DeviceSet>, holds: &dyn Fn(&DeviceSet) -> bool, refused| {
        let kept: Vec<_> = sets.into_iter().filter(holds).collect();
        (!kept.is_empty()).then_some(kept).ok_or(refused)
    };
    let all_of = |set: &DeviceSet| gpus.iter().all(|kind| *kind == set.architecture);
    let possible = sets.iter().filter(|set| set.is_possible()).copied();
    let kept = keep(possible.collect(), &all_of, Rejection::GpuArchitecture)?;
    let enough = |set: &DeviceSet| gpus.len() == usize::from(set.gpus);
    let kept = keep(kept, &enough, Rejection::GpuCount)?;
    let connected = |set: &DeviceSet| switches.len() == usize::from(set.switches);
    keep(kept, &connected, Rejection::SwitchCount)
}

/// What only several devices show. `places` are all of them, `devices` those that could be read.
pub(super) fn check_together(
    places: &[Place],
    devices: &[ReadDevice<'_>],
    sets: &[DeviceSet],
    checks: &mut Checks<'_>,
) {
    let complete = devices.len() == places.len();
    check_distinct(devices, complete, checks);
    check_mode(devices, sets, checks);
    if places.iter().all(|place| place.kind.is_gpu()) {
        for place in places {
            checks.not_needed(place.device(), &[Rejection::GpuLinks], "no switches");
        }
    } else if complete {
        check_links(devices, checks);
    }
}

/// No key and no identity is there twice. That one is there once shows only in all of them.
fn check_distinct(devices: &[ReadDevice<'_>], complete: bool, checks: &mut Checks<'_>) {
    for device in devices {
        let same =
            |other: &&ReadDevice<'_>| other.pdi == device.pdi || other.serial == device.serial;
        let only = devices.iter().filter(same).count() == 1;
        if complete || !only {
            let (of, found) = (device.place.device(), Hex(&device.serial));
            checks.expect(of, Rejection::GpuDuplicate, found, only);
        }
    }
}

/// Every GPU is in the mode of one and the same set.
fn check_mode(devices: &[ReadDevice<'_>], sets: &[DeviceSet], checks: &mut Checks<'_>) {
    let first = devices.iter().find_map(ReadDevice::mode);
    for device in devices {
        let of = device.place.device();
        match device.mode() {
            Some(mode) => {
                let holds = Some(mode) == first && sets.iter().any(|set| set.mode == mode);
                checks.expect(of, Rejection::GpuMode, mode.name(), holds);
            }
            None => checks.not_needed(of, &[Rejection::GpuMode], "a switch"),
        }
    }
}

/// Every GPU is linked to exactly the switches that report, and every switch to exactly the GPUs:
/// none is in front of, or behind, a device that did not report.
fn check_links(devices: &[ReadDevice<'_>], checks: &mut Checks<'_>) {
    let of = |gpu: bool| {
        let kind = devices.iter().filter(move |d| d.place.kind.is_gpu() == gpu);
        kind.map(|device| device.pdi).collect::<BTreeSet<Pdi>>()
    };
    let (gpus, switches) = (of(true), of(false));
    for device in devices {
        let (seen, holds) = match &device.data.device {
            DeviceFields::Gpu(gpu) => (gpu.switches.len(), gpu.switches == switches),
            DeviceFields::Switch { pdi, gpus: seen } => {
                (seen.len(), *pdi == device.pdi && *seen == gpus)
            }
        };
        let found = format_args!("{} linked to {seen}", Hex(&device.pdi));
        checks.expect(device.place.device(), Rejection::GpuLinks, found, holds);
    }
}

/// The policy lists the architecture, and driver and firmware are not older than it wants.
pub(super) fn check_minimum(device: &ReadDevice<'_>, checks: &mut Checks<'_>) {
    let (of, kind) = (device.place.device(), device.place.kind);
    let mut minima = checks.terms.policy.nvidia.minima.iter();
    let minimum = minima.find(|minimum| minimum.architecture == kind);
    let Some(minimum) = checks.read(of, Rejection::GpuUnlisted, kind.name(), minimum) else {
        return;
    };
    let step = Rejection::GpuDriverBelowMinimum;
    match (&device.data.device, &minimum.driver) {
        (DeviceFields::Gpu(gpu), Some(least)) => {
            let found = format_args!("{}; at least {least}", gpu.driver);
            checks.expect(of, step, found, gpu.driver.reaches(least));
        }
        (DeviceFields::Gpu(gpu), None) => {
            checks.not_needed(of, &[step], format_args!("{}; any", gpu.driver));
        }
        (DeviceFields::Switch { .. }, _) => checks.not_needed(of, &[step], "a switch"),
    }
    let (firmware, least) = (device.data.firmware, minimum.firmware);
    let found = format_args!("{firmware}; at least {least}");
    let step = Rejection::GpuFirmwareBelowMinimum;
    checks.expect(of, step, found, firmware >= least);
}
