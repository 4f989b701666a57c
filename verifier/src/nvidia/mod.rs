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
mod shelf;
mod signature;
mod spdm;
#[cfg(test)]
mod tests;
mod version;
mod xml;

use protocol::digest::{BootId, GpuNonce, OcspNonce};
use protocol::gpu_evidence::{
    DeviceEvidence, DeviceKind, GpuEndorsements, GpuEvidence, GpuMode, device_nonce,
};
use protocol::reference_values::DeviceSet;

use crate::anchors::TrustAnchors;
use crate::checks::{Checks, Subject};
use crate::policy::AppraisalPolicy;
use crate::rejection::Rejection;
use crate::time::UnixTime;
use chain::ChainVerifier;
use ocsp::Answers;
use report::ReadDevice;
use shelf::Shelf;

pub use policy::{DeviceMinimum, NvidiaPolicy, OcspRule};
pub use version::{DeviceVersionError, DriverVersion, FirmwareVersion};

const DEVICES: Subject = Subject::of("devices");
const ANSWERS: Subject = Subject::of("revocation-answers");

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
    let mut checks = Checks::by(policy, anchors, at);
    let facts = appraise(evidence, endorsements, expected, &mut checks);
    checks.outcome()?;
    // Every check passed, so every device was read: this refuses only if the two ever disagree.
    facts.ok_or(Rejection::GpuEvidenceMissing)
}

/// Appraises what devices show without any document of NVIDIA's: `docs/spec/gpu-evidence.md` §7 but
/// its last step. For the machine that holds them, before it uses them; its result opens nothing,
/// and says nothing of what devices measured. Answers about revocation are not looked at: the
/// policy must tolerate that there are none.
///
/// # Errors
/// The first [`Rejection`] in the order of §7.
pub fn appraise_device_identities(
    evidence: &GpuEvidence,
    expected: &DeviceExpectations<'_>,
    policy: &AppraisalPolicy,
    anchors: &TrustAnchors,
    at: UnixTime,
) -> Result<(), Rejection> {
    let mut checks = Checks::by(policy, anchors, at);
    let read = read_all(evidence, &[], expected, &mut checks);
    checks.outcome()?;
    // Every check passed, so every device was read: this refuses only if the two ever disagree.
    let complete = read.is_some_and(|(devices, _)| devices.len() == evidence.devices.len());
    complete.then_some(()).ok_or(Rejection::GpuEvidenceMissing)
}

/// `docs/spec/gpu-evidence.md` §7. `None` when a device cannot be read; whether they hold, the list
/// of checks says.
pub(crate) fn appraise(
    evidence: &GpuEvidence,
    endorsements: &GpuEndorsements,
    expected: &DeviceExpectations<'_>,
    checks: &mut Checks<'_>,
) -> Option<Vec<DeviceFacts>> {
    let places = places(evidence);
    let Some((devices, mut chains)) = read_all(evidence, &endorsements.ocsp, expected, checks)
    else {
        // The shape bounds what is worth looking at: a crowd of devices is not.
        shelf::plan_unread(&places, checks);
        return None;
    };
    compare_each(&places, &devices, endorsements, &mut chains, checks)
}

/// The devices that can be read, each checked for itself and beside the others, and their chains;
/// `None` when no set is of such devices.
fn read_all<'e>(
    evidence: &'e GpuEvidence,
    ocsp: &'e [Vec<u8>],
    expected: &DeviceExpectations<'_>,
    checks: &mut Checks<'_>,
) -> Option<(Vec<ReadDevice<'e>>, ChainVerifier<'e>)> {
    let places = places(evidence);
    plan(&places, checks);
    let sets = rules::matching_sets(evidence, expected.sets, checks)?;
    let answers = Answers::parse(ANSWERS, ocsp, expected.ocsp_nonce, checks);
    let mut chains = ChainVerifier::new(answers);
    let mut devices = Vec::new();
    for (place, device) in places.iter().zip(&evidence.devices) {
        let nonce = expected.nonces.of(evidence.round, place.number);
        let read = ReadDevice::read(*place, device, nonce, &mut chains, checks);
        devices.extend(read);
    }
    rules::check_together(&places, &devices, &sets, checks);
    Some((devices, chains))
}

/// What each device runs, against the policy and NVIDIA's manifests; `None` unless all were read.
fn compare_each(
    places: &[Place],
    devices: &[ReadDevice<'_>],
    endorsements: &GpuEndorsements,
    chains: &mut ChainVerifier<'_>,
    checks: &mut Checks<'_>,
) -> Option<Vec<DeviceFacts>> {
    let mut shelf = Shelf::new(endorsements);
    let mut facts = Vec::new();
    for place in places {
        let device = devices.iter().find(|device| device.place == *place);
        let Some(device) = device else {
            shelf::plan_unread(&[*place], checks);
            continue;
        };
        checks.plan(place.device(), rules::MINIMUM);
        rules::check_minimum(device, checks);
        let end = shelf.check(device, chains, checks);
        facts.extend(end.map(|end| facts_of(device, end)));
    }
    (facts.len() == places.len()).then_some(facts)
}

fn places(evidence: &GpuEvidence) -> Vec<Place> {
    let devices = evidence.devices.iter().zip(0..);
    let place = |(device, number): (&DeviceEvidence, u16)| Place {
        kind: device.kind,
        number,
    };
    devices.map(place).collect()
}

fn plan(places: &[Place], checks: &mut Checks<'_>) {
    checks.plan(DEVICES, rules::SET);
    checks.plan(ANSWERS, ocsp::PARSE);
    for place in places {
        report::plan(*place, checks);
    }
    rules::plan_together(places, checks);
}

/// A device's place in the evidence, from 0, and what it is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    kind: DeviceKind,
    number: u16,
}

impl Place {
    const fn device(self) -> Subject {
        self.of("gpu", "switch")
    }

    const fn chain(self) -> Subject {
        self.of("gpu-chain", "switch-chain")
    }

    /// What runs it, of a GPU.
    const fn driver(self) -> Subject {
        self.of("gpu-driver", "switch-driver")
    }

    const fn firmware(self) -> Subject {
        self.of("gpu-firmware", "switch-firmware")
    }

    const fn of(self, gpu: &'static str, switch: &'static str) -> Subject {
        let name = if self.kind.is_gpu() { gpu } else { switch };
        Subject::numbered(name, self.number)
    }
}

impl DeviceNonces<'_> {
    fn of(&self, round: u32, number: u16) -> Option<GpuNonce> {
        match self {
            Self::OfBoot(boot_id) => Some(device_nonce(boot_id, round, u32::from(number))),
            Self::Given(nonces) => nonces.get(usize::from(number)).copied(),
        }
    }
}

fn facts_of(device: &ReadDevice<'_>, manifests_end: UnixTime) -> DeviceFacts {
    DeviceFacts {
        kind: device.place.kind,
        serial: device.serial.clone(),
        pdi: device.pdi,
        driver: device.gpu().map(|gpu| gpu.driver.clone()),
        firmware: device.data.firmware,
        mode: device.mode(),
        not_after: device.not_after.min(manifests_end),
    }
}
