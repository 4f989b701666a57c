//! A policy's rules for GPUs and switches.

use protocol::gpu_evidence::DeviceKind;
use serde::{Deserialize, Serialize};

use super::version::{DriverVersion, FirmwareVersion};

/// Rules for NVIDIA's devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NvidiaPolicy {
    /// Least versions per architecture; an architecture without an entry is refused.
    pub minima: Vec<DeviceMinimum>,
    /// How fresh answers about revocation must be.
    pub ocsp: OcspRule,
}

/// Least versions of an architecture's devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceMinimum {
    /// The architecture.
    pub architecture: DeviceKind,
    /// The driver; `null` for switches, whose reports name none.
    pub driver: Option<DriverVersion>,
    /// The firmware (VBIOS, switch BIOS).
    pub firmware: FirmwareVersion,
}

/// How fresh an answer about revocation must be. It is in date in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum OcspRule {
    /// Made at most so many seconds ago.
    AgeSeconds(u32),
    /// It carries the nonce of this challenge.
    Nonce,
}

impl NvidiaPolicy {
    /// The versions are the oldest for which a genuine report or manifest was seen (November
    /// 2026), not those of a bulletin: `verifier/README.md`. None was seen of Blackwell.
    pub(crate) fn strict() -> Self {
        Self {
            minima: vec![
                DeviceMinimum {
                    architecture: DeviceKind::Hopper,
                    driver: "550.90.07".parse().ok(),
                    firmware: FirmwareVersion([0x96, 0, 0x5e, 0, 1]),
                },
                DeviceMinimum {
                    architecture: DeviceKind::Ls10,
                    driver: None,
                    firmware: FirmwareVersion([0x96, 0x10, 0x73, 0, 1]),
                },
            ],
            ocsp: OcspRule::AgeSeconds(86_400),
        }
    }
}
