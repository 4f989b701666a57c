//! GPUs, before they are used and for as long as they are: what they say is collected by
//! gpu-evidence, appraised by the program that this library is built into, and only then are they
//! set ready; again after a time and after every fault.
//!
//! What is deliberately not here: the driver's library (`gpu-evidence`), and what makes a report a
//! good one (`verifier`).

pub mod client;
pub mod count;

use std::time::{Duration, Instant};

use messages::gpu_socket::{DeviceCount, GpuUuid};
use protocol::digest::{BootId, GpuEvidenceDigest};
use protocol::gpu_evidence::{GpuEvidence, device_nonce};
use sha2::{Digest as _, Sha256};

use client::{GpuClient, GpuSocketError};

/// How old evidence becomes before the devices are asked again.
const PERIOD: Duration = Duration::from_secs(600);
/// How often faults are asked for.
const LOOK: Duration = Duration::from_secs(5);

/// What an appraiser must know of the question to which evidence is the answer.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// The boot, from which the nonces follow.
    pub boot_id: BootId,
    /// The devices that init counted itself.
    pub count: DeviceCount,
    /// Seconds since 1970 as the host claims them: a time that may refuse and never accept.
    pub host_time: u64,
}

/// Judges what devices say, before they are used.
///
/// # Errors
/// `Rejected`, with the stable code of the verifier's refusal.
pub type Appraiser = fn(&GpuEvidence, &Question) -> Result<(), Rejected>;

/// The verifier refused the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("evidence of the GPUs is refused: {code}")]
pub struct Rejected {
    /// The code, as in `docs/spec/rejections.md`.
    pub code: &'static str,
}

/// Why the GPUs may not be used, or not any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DevicesError {
    /// gpu-evidence refused, or broke the socket's protocol.
    #[error(transparent)]
    Socket(#[from] GpuSocketError),
    /// The evidence is of another round, or of devices of other number or kind.
    #[error("gpu-evidence answered another question")]
    Foreign,
    /// The driver has taken another number of GPUs than there are on the bus.
    #[error("{bus} GPUs on the bus, {driver} with the driver")]
    Counted {
        /// GPUs on the bus.
        bus: u8,
        /// GPUs that the driver has taken.
        driver: u32,
    },
    /// A GPU is there twice, or is another one than at boot.
    #[error("the GPUs are not those of this boot")]
    Changed,
    /// The evidence was appraised and refused.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// No number is left for another round.
    #[error("devices were asked too often")]
    Rounds,
}

/// The devices of this boot and the program that speaks for them.
pub struct Devices {
    client: GpuClient,
    appraise: Appraiser,
    boot_id: BootId,
    count: DeviceCount,
    /// The next round.
    round: u32,
    uuids: Vec<GpuUuid>,
    /// As clients get it: of the last round, which was accepted.
    evidence: Vec<u8>,
    asked: Instant,
    looked: Instant,
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices")
            .field("count", &self.count)
            .field("round", &self.round)
            .finish_non_exhaustive()
    }
}

impl Devices {
    /// Collects the first evidence, has it appraised, and sets the GPUs ready.
    ///
    /// # Errors
    /// A [`DevicesError`]; the GPUs are not ready then.
    pub fn bring_up(
        client: GpuClient,
        appraise: Appraiser,
        question: &Question,
    ) -> Result<Self, DevicesError> {
        let now = Instant::now();
        let mut devices = Self {
            client,
            appraise,
            boot_id: question.boot_id,
            count: question.count,
            round: 0,
            uuids: Vec::new(),
            evidence: Vec::new(),
            asked: now,
            looked: now,
        };
        devices.appraise(question.host_time)?;
        Ok(devices)
    }

    /// The evidence of the last round, encoded.
    #[must_use]
    pub fn evidence(&self) -> &[u8] {
        &self.evidence
    }

    /// What is due at `now`: looks for faults, and asks the devices again after one and after a
    /// period. Whether there is new evidence.
    ///
    /// # Errors
    /// A [`DevicesError`]; the GPUs must not be used any longer then.
    pub fn look(&mut self, now: Instant, host_time: u64) -> Result<bool, DevicesError> {
        if now.saturating_duration_since(self.looked) < LOOK {
            return Ok(false);
        }
        self.looked = now;
        let old = now.saturating_duration_since(self.asked) >= PERIOD;
        if !old && self.client.watch()?.is_quiet() {
            return Ok(false);
        }
        self.appraise(host_time)?;
        self.asked = now;
        Ok(true)
    }

    /// One round: collected, compared, appraised; then the GPUs are set ready.
    fn appraise(&mut self, host_time: u64) -> Result<(), DevicesError> {
        let round = self.round;
        let total = u32::try_from(self.count.total()).map_err(|_| DevicesError::Foreign)?;
        let nonces = (0..total)
            .map(|index| device_nonce(&self.boot_id, round, index))
            .collect();
        // A round that fails is spent as well: no nonce is ever asked for twice.
        self.round = round.checked_add(1).ok_or(DevicesError::Rounds)?;
        let (uuids, evidence) = self.client.collect(round, self.count, nonces)?;
        if !is_answer(&evidence, round, self.count) {
            return Err(DevicesError::Foreign);
        }
        if !are_distinct(&uuids, self.count) || (round > 0 && uuids != self.uuids) {
            return Err(DevicesError::Changed);
        }
        let question = Question {
            boot_id: self.boot_id,
            count: self.count,
            host_time,
        };
        (self.appraise)(&evidence, &question)?;
        self.client.accept()?;
        self.uuids = uuids;
        self.evidence = evidence.encode();
        Ok(())
    }
}

/// GPUs of one architecture first, then switches, in the numbers that init counted.
fn is_answer(evidence: &GpuEvidence, round: u32, count: DeviceCount) -> bool {
    let kinds = || evidence.devices.iter().map(|device| device.kind);
    let gpus = usize::from(count.gpus);
    evidence.round == round
        && evidence.devices.len() == count.total()
        && kinds().take(gpus).all(|kind| kind.is_gpu())
        && kinds().skip(gpus).all(|kind| !kind.is_gpu())
}

fn are_distinct(uuids: &[GpuUuid], count: DeviceCount) -> bool {
    let distinct: std::collections::BTreeSet<_> = uuids.iter().collect();
    uuids.len() == usize::from(count.gpus) && distinct.len() == uuids.len()
}

/// What the Statement says of evidence: zero for none.
#[must_use]
pub fn evidence_digest(evidence: &[u8]) -> GpuEvidenceDigest {
    if evidence.is_empty() {
        GpuEvidenceDigest::ZERO
    } else {
        GpuEvidenceDigest(Sha256::digest(evidence).into())
    }
}
