//! Which devices a machine must have, on the command line.

use protocol::gpu_evidence::{DeviceKind, GpuMode};
use protocol::reference_values::DeviceSet;

const ARCHITECTURES: [DeviceKind; 2] = [DeviceKind::Hopper, DeviceKind::Blackwell];
const MODES: [GpuMode; 3] = [
    GpuMode::MultiPass,
    GpuMode::SinglePass,
    GpuMode::ProtectedPcie,
];

/// Text that is no set of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected ARCHITECTURE,GPUS,SWITCHES,MODE, such as hopper,8,4,protected-pcie")]
pub(super) struct DeviceSetError;

/// Reads `hopper,8,4,protected-pcie`.
pub(super) fn parse_device_set(text: &str) -> Result<DeviceSet, DeviceSetError> {
    let mut parts = text.split(',');
    let mut next = || parts.next().ok_or(DeviceSetError);
    let (architecture, gpus, switches, mode) = (next()?, next()?, next()?, next()?);
    let architecture = ARCHITECTURES
        .iter()
        .find(|kind| kind.name() == architecture);
    let mode = MODES.iter().find(|known| known.name() == mode);
    let number = |text: &str| text.parse().map_err(|_| DeviceSetError);
    let set = DeviceSet {
        architecture: *architecture.ok_or(DeviceSetError)?,
        gpus: number(gpus)?,
        switches: number(switches)?,
        mode: *mode.ok_or(DeviceSetError)?,
    };
    match parts.next() {
        None if set.is_possible() => Ok(set),
        None | Some(_) => Err(DeviceSetError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sets_and_nothing_else() {
        let board = DeviceSet {
            architecture: DeviceKind::Hopper,
            gpus: 8,
            switches: 4,
            mode: GpuMode::ProtectedPcie,
        };
        assert_eq!(parse_device_set("hopper,8,4,protected-pcie"), Ok(board));
        for text in [
            "",
            "hopper",
            "hopper,8,4",
            "hopper,0,0,single-pass",
            "hopper,8,4,protected-pcie,",
            "hopper,8,0,protected-pcie",
            "ls10,8,4,protected-pcie",
            "hopper,256,4,protected-pcie",
            "hopper,-1,4,protected-pcie",
            "Hopper,1,0,single-pass",
            "hopper,1,0,any",
        ] {
            assert_eq!(parse_device_set(text), Err(DeviceSetError), "{text}");
        }
    }
}
