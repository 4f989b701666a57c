//! RTMR0 of the machines whose firmware was booted for it: `measurements/capture rtmr0` wrote the
//! logs in `tests/fixtures/tdx/rtmr0`. Nothing here computes what a machine's tables are.

use protocol::digest::Rtmr;

use super::registers::{RegistersError, extend};

/// What RTMR0 depends on, besides the firmware, as far as QEMU's command line shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardware {
    /// vCPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Devices passed through.
    pub gpus: usize,
    /// Disks besides root and launch configuration.
    pub model_disks: usize,
    /// Whether there is a serial port.
    pub serial: bool,
}

/// The captured machines.
const LOGS: [&str; 3] = [
    include_str!("../../../fixtures/tdx/rtmr0/2x2048.txt"),
    include_str!("../../../fixtures/tdx/rtmr0/2x2048-serial.txt"),
    include_str!("../../../fixtures/tdx/rtmr0/4x4096-gpu.txt"),
];

impl Hardware {
    /// RTMR0 as captured from such a machine.
    ///
    /// # Errors
    /// `NotCaptured` when there is no capture, `Captured` when its events do not make its value.
    pub fn rtmr0(&self) -> Result<Rtmr, RegistersError> {
        let head = format!(
            "# {} {} {} {} {}:",
            self.vcpus,
            self.memory_mib,
            self.gpus,
            self.model_disks,
            u8::from(self.serial)
        );
        let found = LOGS.iter().find(|log| log.starts_with(&head));
        let log = found.ok_or(RegistersError::NotCaptured)?;
        replayed(log).ok_or(RegistersError::Captured)
    }
}

/// Lines: origin, digest and name of each event; at the end the register's value.
fn replayed(log: &str) -> Option<Rtmr> {
    let mut digests = Vec::new();
    for line in log.lines().skip(1) {
        let (first, rest) = line.split_once(' ')?;
        if first == "rtmr0" {
            let value: Rtmr = rest.parse().ok()?;
            return (extend(&digests) == value).then_some(value);
        }
        let (digest, _name) = rest.split_once(' ')?;
        let Rtmr(digest) = digest.parse().ok()?;
        digests.push(digest);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_captured_log_makes_its_own_value() {
        for log in LOGS {
            assert!(replayed(log).is_some(), "{log}");
            let changed = log.replacen("log 9d", "log 8d", 1);
            assert_ne!(changed, log);
            assert_eq!(replayed(&changed), None);
        }
    }

    #[test]
    fn a_machine_that_was_not_captured_has_no_value() {
        let hardware = Hardware {
            vcpus: 3,
            memory_mib: 2048,
            gpus: 0,
            model_disks: 1,
            serial: false,
        };
        assert_eq!(hardware.rtmr0(), Err(RegistersError::NotCaptured));
    }
}
