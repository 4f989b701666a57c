//! A simulated board of NVIDIA GPUs and switches: SPDM reports, device chains, signed manifests,
//! answers about revocation, all under research roots.

mod answers;
mod chain;
mod lie;
mod manifest;
mod report;

use protocol::digest::{BootId, GpuNonce, OcspNonce};
use protocol::gpu_evidence::{
    DeviceEvidence, DeviceKind, GpuEndorsements, GpuEvidence, GpuMode, device_nonce,
};

use crate::MockTeeError;
use crate::seed::SeedStream;

pub use chain::root_certificate as device_root_certificate;
pub use lie::DeviceLie;
pub use manifest::root_certificate as manifest_root_certificate;

/// GPUs of one architecture, and the switches between them.
#[derive(Debug, Clone)]
pub struct Board {
    architecture: DeviceKind,
    gpus: u8,
    switches: u8,
    mode: GpuMode,
    lie: Option<DeviceLie>,
    /// For how long the answer about the first GPU's read-only firmware holds, in seconds.
    first_answer: Option<u64>,
}

/// One device of a board.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Device {
    pub(crate) kind: DeviceKind,
    /// Which of its kind.
    pub(crate) number: u8,
    /// The first device does what only one can do wrong.
    pub(crate) lie: Option<DeviceLie>,
}

impl Board {
    /// An honest board.
    #[must_use]
    pub const fn new(architecture: DeviceKind, gpus: u8, switches: u8, mode: GpuMode) -> Self {
        Self {
            architecture,
            gpus,
            switches,
            mode,
            lie: None,
            first_answer: None,
        }
    }

    /// The same board with one thing wrong.
    #[must_use]
    pub const fn with(mut self, lie: DeviceLie) -> Self {
        self.lie = Some(lie);
        self
    }

    /// The same board, where the answer about the first GPU's read-only firmware holds for so many
    /// seconds and every other for a day, as usual.
    #[must_use]
    pub const fn with_first_answer_for(mut self, seconds: u64) -> Self {
        self.first_answer = Some(seconds);
        self
    }

    /// What the devices say when they are asked for a boot and a round.
    ///
    /// # Errors
    /// Only when a certificate or key cannot be made.
    pub fn evidence(&self, boot_id: &BootId, round: u32) -> Result<GpuEvidence, MockTeeError> {
        let one = |(index, device): (u32, Device)| {
            self.answer_of(device, device_nonce(boot_id, round, index))
        };
        let devices = (0..).zip(self.devices()).map(one);
        Ok(GpuEvidence {
            round,
            devices: devices.collect::<Result<_, MockTeeError>>()?,
        })
    }

    /// What the device at a place says to a nonce; `None` where there is no device.
    ///
    /// # Errors
    /// Only when a certificate or key cannot be made.
    pub fn answer(
        &self,
        index: usize,
        nonce: GpuNonce,
    ) -> Result<Option<DeviceEvidence>, MockTeeError> {
        let devices = self.devices();
        let device = devices.get(index).copied();
        device
            .map(|device| self.answer_of(device, nonce))
            .transpose()
    }

    fn answer_of(&self, device: Device, nonce: GpuNonce) -> Result<DeviceEvidence, MockTeeError> {
        Ok(DeviceEvidence {
            kind: device.kind,
            report: report::report(self, device, nonce)?,
            chain: chain::chain(device)?,
        })
    }

    /// A report of the device at a place, signed again: what somebody changed in it, a firmware
    /// that says something else could have said. `None` where there is no device.
    ///
    /// # Errors
    /// Only when a key cannot be made.
    pub fn signed_again(
        &self,
        index: usize,
        report: &[u8],
    ) -> Result<Option<Vec<u8>>, MockTeeError> {
        let device = self.devices().get(index).copied();
        device
            .map(|device| report::signed_again(device, report))
            .transpose()
    }

    /// How many GPUs there are.
    #[must_use]
    pub const fn gpus(&self) -> u8 {
        self.gpus
    }

    /// What the host staples for them, as of a time in seconds since 1970.
    ///
    /// # Errors
    /// Only when a certificate or key cannot be made.
    pub fn endorsements(
        &self,
        at: u64,
        nonce: Option<OcspNonce>,
    ) -> Result<GpuEndorsements, MockTeeError> {
        let mut rims = manifest::manifests(self)?;
        if self.lies(DeviceLie::NoManifest) {
            rims.remove(0);
        }
        let ocsp = answers::answers(self, at, nonce)?;
        Ok(GpuEndorsements { rims, ocsp })
    }

    pub(crate) fn devices(&self) -> Vec<Device> {
        let gpus = (0..self.gpus).map(|number| (self.architecture, number));
        let switches = (0..self.switches).map(|number| (DeviceKind::Ls10, number));
        let devices = gpus.chain(switches).map(|(kind, number)| {
            let twin = self.lies(DeviceLie::Duplicate) && kind.is_gpu() && number == 1;
            Device {
                kind,
                number: if twin { 0 } else { number },
                lie: self.lie.filter(|_| number == 0),
            }
        });
        devices.collect()
    }

    pub(crate) fn lies(&self, lie: DeviceLie) -> bool {
        self.lie == Some(lie)
    }
}

impl Device {
    /// A label for keys and for what differs from device to device.
    pub(crate) fn label(self, what: &str) -> String {
        format!("nvidia {} {} {what}", line(self.kind), self.number)
    }

    /// Identity on the board's links, as certificates write it.
    pub(crate) fn pdi(self) -> [u8; 8] {
        let owner = self.or_second(DeviceLie::IdentityTwice);
        SeedStream::bytes(&owner.label("pdi"))
    }

    /// The second GPU, where this one tells such a lie.
    pub(crate) fn or_second(self, lie: DeviceLie) -> Self {
        match self.lies(lie) {
            true => Self { number: 1, ..self },
            false => self,
        }
    }

    /// The firmware that measures; the same on all devices of a kind.
    pub(crate) fn fwid(self) -> [u8; 48] {
        SeedStream::bytes(&format!("nvidia {} fwid", line(self.kind)))
    }

    pub(crate) fn lies(self, lie: DeviceLie) -> bool {
        self.lie == Some(lie) && self.kind.is_gpu()
    }
}

/// How NVIDIA calls the chip.
pub(crate) const fn line(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Hopper => "GH100",
        DeviceKind::Blackwell => "GB100",
        DeviceKind::Ls10 => "LS_10",
    }
}
