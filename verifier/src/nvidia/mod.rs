//! NVIDIA GPUs (Hopper, Blackwell) and NVSwitches (LS10): from reports, chains, manifests and
//! answers about revocation to [`DeviceFacts`]. `docs/spec/gpu-evidence.md`.
//!
//! All of it is our own code over RustCrypto: no service of NVIDIA is asked, and no library's idea
//! of a valid chain or of a valid XML signature is relied on.

mod canonical;
mod chain;
mod ecdsa;
mod fwid;
mod golden;
mod ocsp;
mod opaque;
mod policy;
mod report;
mod rim;
mod rules;
mod signature;
mod spdm;
#[cfg(test)]
mod tests;
mod version;
mod xml;

use std::collections::BTreeMap;

use protocol::digest::{BootId, GpuNonce, OcspNonce};
use protocol::gpu_evidence::{DeviceKind, GpuEndorsements, GpuEvidence, GpuMode, device_nonce};
use protocol::reference_values::DeviceSet;

use crate::anchors::TrustAnchors;
use crate::policy::{AppraisalPolicy, Weakness};
use crate::rejection::Rejection;
use crate::time::UnixTime;
use chain::ChainVerifier;
use golden::RimIds;
use ocsp::Answers;
use opaque::DeviceFields;
use report::VerifiedDevice;
use rim::Rim;

pub use policy::{DeviceMinimum, NvidiaPolicy, OcspRule};
pub use version::{DeviceVersionError, DriverVersion, FirmwareVersion};

/// What the devices are expected to be, and what their reports must carry.
#[derive(Debug, Clone, Copy)]
pub struct DeviceExpectations<'a> {
    /// The nonces.
    pub nonces: DeviceNonces<'a>,
    /// The sets of which they must be one; without any, nothing is accepted.
    pub sets: &'a [DeviceSet],
    /// The nonce of answers about revocation, where the policy asks for one.
    pub ocsp_nonce: Option<OcspNonce>,
}

/// The nonces of the devices' reports.
#[derive(Debug, Clone, Copy)]
pub enum DeviceNonces<'a> {
    /// Those of a boot, for the round that the evidence names.
    OfBoot(&'a BootId),
    /// One for each device, in order.
    Given(&'a [GpuNonce]),
}

/// What is known of one device after appraisal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Which device.
    pub kind: DeviceKind,
    /// Serial number of its leaf certificate: NVIDIA's name for the device.
    pub serial: Vec<u8>,
    /// Its identity on the links of its board.
    pub pdi: [u8; 8],
    /// The driver that runs it; `None` for a switch.
    pub driver: Option<DriverVersion>,
    /// Its firmware.
    pub firmware: FirmwareVersion,
    /// How it is handed to the guest; `None` for a switch.
    pub mode: Option<GpuMode>,
    /// Earliest end of validity of everything that speaks for it.
    pub not_after: UnixTime,
}

/// Appraises the devices of one machine.
///
/// # Errors
/// The first [`Rejection`] in the order of `docs/spec/gpu-evidence.md` §7.
pub fn appraise_devices(
    evidence: &GpuEvidence,
    endorsements: &GpuEndorsements,
    expected: &DeviceExpectations<'_>,
    policy: &AppraisalPolicy,
    anchors: &TrustAnchors,
    at: UnixTime,
) -> Result<Vec<DeviceFacts>, Rejection> {
    let sets = rules::matching_sets(evidence, expected.sets)?;
    let absence_tolerated = policy.tolerates(Weakness::NvidiaNoRevocationAnswers);
    let (rule, nonce) = (policy.nvidia.ocsp, expected.ocsp_nonce);
    let answers = Answers::parse(&endorsements.ocsp, rule, nonce, absence_tolerated)?;
    let mut chains = ChainVerifier::new(anchors, at, answers);
    let mut devices = Vec::new();
    for (index, device) in (0..).zip(&evidence.devices) {
        let nonce = expected.nonces.of(evidence.round, index)?;
        devices.push(VerifiedDevice::verify(device, &nonce, &mut chains)?);
    }
    rules::check_distinct(&devices)?;
    rules::check_mode(&devices, &sets)?;
    rules::check_links(&devices)?;
    let mut shelf = Shelf::new(endorsements);
    let mut facts = Vec::new();
    for device in &devices {
        rules::check_minimum(device, &policy.nvidia)?;
        let end = shelf.check(device, &mut chains)?;
        facts.push(facts_of(device, end));
    }
    Ok(facts)
}

impl DeviceNonces<'_> {
    fn of(&self, round: u32, index: u32) -> Result<GpuNonce, Rejection> {
        match self {
            Self::OfBoot(boot_id) => Ok(device_nonce(boot_id, round, index)),
            Self::Given(nonces) => {
                let place = usize::try_from(index).map_err(|_| Rejection::GpuNonce)?;
                nonces.get(place).copied().ok_or(Rejection::GpuNonce)
            }
        }
    }
}

/// The stapled manifests; devices of one kind share theirs, so each is verified once.
struct Shelf<'e> {
    endorsements: &'e GpuEndorsements,
    verified: BTreeMap<String, Rim>,
}

impl<'e> Shelf<'e> {
    const fn new(endorsements: &'e GpuEndorsements) -> Self {
        Self {
            endorsements,
            verified: BTreeMap::new(),
        }
    }

    /// `docs/spec/gpu-evidence.md` §6. Returns the end of the manifests' validity.
    fn check(
        &mut self,
        device: &VerifiedDevice<'_>,
        chains: &mut ChainVerifier<'_>,
    ) -> Result<UnixTime, Rejection> {
        let (kind, data) = (device.kind, &device.data);
        let ids = RimIds::of(kind, data);
        for id in ids.driver.iter().chain([&ids.firmware]) {
            if !self.verified.contains_key(id) {
                let document = self.endorsements.rim(id).ok_or(Rejection::RimMissing)?;
                let rim = Rim::verify(document, chains)?;
                self.verified.insert(id.clone(), rim);
            }
        }
        let taken = |id: &String| self.verified.get(id).ok_or(Rejection::RimMissing);
        let firmware = taken(&ids.firmware)?;
        golden::check_rim(firmware, kind, &data.firmware.to_string())?;
        let mut end = firmware.not_after;
        if let (Some(id), DeviceFields::Gpu(gpu)) = (&ids.driver, &data.device) {
            let driver = taken(id)?;
            golden::check_rim(driver, kind, gpu.driver.as_str())?;
            golden::check_disjoint(driver, firmware)?;
            golden::check_measurements(&device.report, data, driver)?;
            end = end.min(driver.not_after);
        }
        golden::check_measurements(&device.report, data, firmware)?;
        Ok(end)
    }
}

fn facts_of(device: &VerifiedDevice<'_>, manifests_end: UnixTime) -> DeviceFacts {
    let driver = match &device.data.device {
        DeviceFields::Gpu(gpu) => Some(gpu.driver.clone()),
        DeviceFields::Switch { .. } => None,
    };
    DeviceFacts {
        kind: device.kind,
        serial: device.serial.clone(),
        pdi: device.pdi,
        driver,
        firmware: device.data.firmware,
        mode: device.mode(),
        not_after: device.not_after.min(manifests_end),
    }
}
