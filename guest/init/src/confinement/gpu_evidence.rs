//! What gpu-evidence needs beyond its start and its libraries (`library`): requests to NVIDIA's
//! driver, and to nothing else. It has no node of unified memory.

use super::filter::{Call, Condition, allow_when};
use super::library::{FIONBIO, OF_NVIDIA};

/// The calls; each takes the place of the same call in `library` and `start`.
pub(super) const CALLS: &[Call] = &[allow_when(
    libc::SYS_ioctl,
    "ioctl",
    &[&[Condition::Is(1, FIONBIO)], &[OF_NVIDIA]],
    "requests to NVIDIA's driver",
)];
