//! The stapled manifests; devices of one kind share theirs, so each is read and listed once.

use std::collections::BTreeMap;

use protocol::gpu_evidence::GpuEndorsements;

use super::chain::ChainVerifier;
use super::golden::{self, MEASURED, RimIds};
use super::report::ReadDevice;
use super::rim::{self, Rim};
use super::{Place, rules};
use crate::checks::{Checks, Subject};
use crate::rejection::Rejection;
use crate::time::UnixTime;

const FITS: &[Rejection] = &[Rejection::RimProduct, Rejection::RimVersion];

/// The manifests that were asked for so far, by their place among the stapled ones.
pub(super) struct Shelf<'e> {
    endorsements: &'e GpuEndorsements,
    read: BTreeMap<u16, Option<Rim>>,
}

/// `docs/spec/gpu-evidence.md` §7.5 for devices of which nothing can be compared.
pub(super) fn plan_unread(places: &[Place], checks: &mut Checks<'_>) {
    for place in places {
        checks.plan(place.device(), rules::MINIMUM);
        for of in manifests(*place) {
            checks.plan(of, &[Rejection::RimMissing]);
        }
        plan_comparison(*place, checks);
    }
}

/// Driver and firmware; switches have no driver.
fn manifests(place: Place) -> Vec<Subject> {
    match place.kind.is_gpu() {
        true => vec![place.driver(), place.firmware()],
        false => vec![place.firmware()],
    }
}

fn plan_comparison(place: Place, checks: &mut Checks<'_>) {
    for of in manifests(place) {
        checks.plan(of, FITS);
    }
    if place.kind.is_gpu() {
        checks.plan(place.device(), &[Rejection::RimOverlap]);
    }
    for of in manifests(place) {
        checks.plan(of, MEASURED);
    }
}

impl<'e> Shelf<'e> {
    pub(super) const fn new(endorsements: &'e GpuEndorsements) -> Self {
        Self {
            endorsements,
            read: BTreeMap::new(),
        }
    }

    /// `docs/spec/gpu-evidence.md` §6. Returns the end of the manifests' validity.
    pub(super) fn check(
        &mut self,
        device: &ReadDevice<'_>,
        chains: &mut ChainVerifier<'_>,
        checks: &mut Checks<'_>,
    ) -> Option<UnixTime> {
        let place = device.place;
        let (of_driver, of_firmware) = (place.driver(), place.firmware());
        let ids = RimIds::of(place.kind, &device.data);
        let mut take = |of, id: &str| self.take(of, id, chains, checks);
        let driver = ids.driver.as_deref().and_then(|id| take(of_driver, id));
        let firmware = take(of_firmware, &ids.firmware);
        plan_comparison(place, checks);
        let (driver, firmware) = (self.at(driver), self.at(firmware));
        let version = device.data.firmware.to_string();
        if let (Some(gpu), Some(driver)) = (device.gpu(), driver) {
            golden::check_rim(of_driver, driver, (place.kind, gpu.driver.as_str()), checks);
            golden::check_measurements(of_driver, device, driver, checks);
            if let Some(firmware) = firmware {
                golden::check_disjoint(place.device(), driver, firmware, checks);
            }
        }
        let firmware = firmware?;
        golden::check_rim(of_firmware, firmware, (place.kind, &version), checks);
        golden::check_measurements(of_firmware, device, firmware, checks);
        match ids.driver {
            Some(_) => Some(driver?.not_after.min(firmware.not_after)),
            None => Some(firmware.not_after),
        }
    }

    /// Finds a manifest and, the first time, reads it.
    fn take(
        &mut self,
        of: Subject,
        id: &str,
        chains: &mut ChainVerifier<'_>,
        checks: &mut Checks<'_>,
    ) -> Option<u16> {
        checks.plan(of, &[Rejection::RimMissing]);
        let mut stapled = (0..).zip(&self.endorsements.rims);
        let found = stapled.find(|(_, rim)| rim.id == id);
        let (number, rim) = checks.read(of, Rejection::RimMissing, id, found)?;
        self.read.entry(number).or_insert_with(|| {
            let [of, chain] =
                ["manifest", "manifest-chain"].map(|name| Subject::numbered(name, number));
            rim::plan(of, chain, checks);
            Rim::read((of, chain), &rim.document, chains, checks)
        });
        Some(number)
    }

    fn at(&self, number: Option<u16>) -> Option<&Rim> {
        self.read.get(&number?)?.as_ref()
    }
}
