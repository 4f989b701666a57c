//! How many GPUs and switches are on the PCI bus: init's own count, before any driver is asked.

use std::fs;
use std::path::Path;

use messages::gpu_socket::DeviceCount;
use protocol::gpu_evidence::MAX_DEVICES;

use crate::failure::BootError;

/// NVIDIA's number on the bus.
const NVIDIA: &str = "0x10de";
/// Classes of GPUs: 3D controller, and VGA controller (PCI code and ID assignment specification).
const GPU: [&str; 2] = ["0x0302", "0x0300"];
/// Class of NVSwitches: bridge of no other kind.
const SWITCH: &str = "0x0680";

/// Counts below `/sys/bus/pci/devices`.
///
/// # Errors
/// `GpuAbsent` without a GPU; `Modules` beyond the devices that evidence holds; those of reading.
pub fn count(devices: &Path) -> Result<DeviceCount, BootError> {
    let failed = || BootError::file("count the devices of the bus");
    let (mut gpus, mut switches) = (0_u8, 0_u8);
    for entry in fs::read_dir(devices).map_err(failed())? {
        let device = entry.map_err(failed())?.path();
        let read = |name| fs::read_to_string(device.join(name)).map_err(failed());
        if read("vendor")?.trim_end() != NVIDIA {
            continue;
        }
        let class = read("class")?;
        if GPU.iter().any(|gpu| class.starts_with(gpu)) {
            gpus = gpus.saturating_add(1);
        } else if class.starts_with(SWITCH) {
            switches = switches.saturating_add(1);
        }
    }
    let count = DeviceCount { gpus, switches };
    match (gpus, count.total()) {
        (0, _) => Err(BootError::GpuAbsent),
        (_, 1..=MAX_DEVICES) => Ok(count),
        (_, _) => Err(BootError::Modules {
            action: "take so many devices",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bus(devices: &[(&str, &str)]) -> tempfile::TempDir {
        let bus = tempfile::tempdir().unwrap();
        for (number, (vendor, class)) in devices.iter().enumerate() {
            let device = bus.path().join(format!("0000:00:{number:02x}.0"));
            fs::create_dir(&device).unwrap();
            fs::write(device.join("vendor"), format!("{vendor}\n")).unwrap();
            fs::write(device.join("class"), format!("{class}\n")).unwrap();
        }
        bus
    }

    #[test]
    fn gpus_and_switches_of_the_vendor_are_counted_and_nothing_else() {
        let bus = bus(&[
            ("0x8086", "0x030000"),
            ("0x10de", "0x030200"),
            ("0x10de", "0x030000"),
            ("0x10de", "0x068000"),
            ("0x10de", "0x040300"),
            ("0x1af4", "0x068000"),
        ]);
        let found = DeviceCount {
            gpus: 2,
            switches: 1,
        };
        assert_eq!(count(bus.path()), Ok(found));
    }

    #[test]
    fn a_machine_without_a_gpu_or_with_more_devices_than_evidence_holds_is_refused() {
        let none = bus(&[("0x10de", "0x068000")]);
        assert_eq!(count(none.path()), Err(BootError::GpuAbsent));
        let many = bus(&[("0x10de", "0x030200"); 33]);
        assert!(matches!(count(many.path()), Err(BootError::Modules { .. })));
        let most = bus(&[("0x10de", "0x030200"); 32]);
        assert_eq!(count(most.path()).map(|found| found.gpus), Ok(32));
    }
}
