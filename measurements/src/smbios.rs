//! The SMBIOS tables as the firmware measures them: those that QEMU makes for a machine and the one
//! that the firmware adds, with the fields taken out that edk2's filter takes out (serial numbers,
//! UUID, counts of cores, current speed). DMTF DSP0134; `docs/spec/measurements.md`, RTMR0.
//!
//! Deliberately not here: the tables as the guest's kernel sees them, with those fields.

use crate::acpi::QemuProfile;
use crate::machine::Machine;
use crate::rtmr0::FirmwareProfile;

/// `-smbios type=4,processor-id=`: instead of the host's CPU model and features.
pub const PROCESSOR_ID: u64 = 1;

/// Reference to a structure that does not exist.
const NO_HANDLE: u16 = 0xfffe;
/// The structure with all memory devices.
const MEMORY_ARRAY: u16 = 0x1000;
/// Above this size in MiB, a memory device's size stands in another field.
const SHORT_SIZE_MIB: u64 = 0x7fff;

/// The measured bytes.
#[must_use]
pub fn measured(qemu: QemuProfile, firmware: &FirmwareProfile, machine: &Machine) -> Vec<u8> {
    let version = qemu.machine_type();
    let mut out = Vec::new();
    out.extend(system(version));
    out.extend(chassis(version));
    out.extend(processor(version));
    out.extend(memory(machine));
    // System boot information: no error.
    out.extend(structure(32, 0x2000, &[0; 7], &[]));
    out.extend(bios(firmware));
    // The firmware gives the end of the table its own handle.
    out.extend(structure(127, 0xfeff, &[], &[]));
    out
}

/// A structure: type, length, handle, fields, strings.
fn structure(kind: u8, handle: u16, fields: &[u8], strings: &[&str]) -> Vec<u8> {
    let length = u8::try_from(fields.len().saturating_add(4)).unwrap_or(u8::MAX);
    let mut out = vec![kind, length];
    out.extend(handle.to_le_bytes());
    out.extend(fields);
    for string in strings {
        out.extend(string.bytes());
        out.push(0);
    }
    if strings.is_empty() {
        out.push(0);
    }
    out.push(0);
    out
}

/// System: manufacturer, product, version; serial number, UUID and wake-up type are taken out.
fn system(version: &str) -> Vec<u8> {
    let mut fields = vec![1, 2, 3, 0];
    fields.extend([0; 16]);
    fields.extend([0, 0, 0]);
    let product = "Standard PC (Q35 + ICH9, 2009)";
    structure(1, 0x100, &fields, &["QEMU", product, version])
}

/// Chassis: manufacturer, of another type, version; all states safe, no contained elements.
fn chassis(version: &str) -> Vec<u8> {
    let mut fields = vec![1, 1, 2, 0, 0, 3, 3, 3, 2];
    fields.extend([0; 9]);
    structure(3, 0x300, &fields, &["QEMU", version])
}

/// The one socket; counts of cores and threads, voltage and current speed are taken out.
fn processor(version: &str) -> Vec<u8> {
    const MAX_SPEED_MHZ: u16 = 2000;
    // Socket, central processor, family in another field, manufacturer.
    let mut fields = vec![1, 3, 0xfe, 2];
    fields.extend(PROCESSOR_ID.to_le_bytes());
    // Version, voltage, external clock.
    fields.extend([3, 0, 0, 0]);
    fields.extend(MAX_SPEED_MHZ.to_le_bytes());
    // Current speed; populated and enabled; of another upgrade.
    fields.extend([0, 0, 0x41, 1]);
    // Caches: none described.
    fields.extend([0xff; 6]);
    // Serial, asset, part; cores, enabled, threads.
    fields.extend([0; 6]);
    // Characteristics unknown; family "other".
    fields.extend([2, 0, 1, 0]);
    structure(4, 0x400, &fields, &["CPU 0", "QEMU", version])
}

/// Memory array, its one device, and where it is mapped.
fn memory(machine: &Machine) -> Vec<u8> {
    let no_handle = NO_HANDLE.to_le_bytes();
    let kib = |bytes: u64| u32::try_from(bytes >> 10).unwrap_or(u32::MAX).to_le_bytes();
    // Other location, system memory, multi-bit correction; one device.
    let mut array = vec![1, 3, 6];
    array.extend(kib(machine.memory()));
    array.extend(no_handle);
    array.extend(1_u16.to_le_bytes());
    array.extend(0_u64.to_le_bytes());
    let mut out = structure(16, MEMORY_ARRAY, &array, &[]);
    out.extend(memory_device(machine));
    for (number, range) in (0..).zip(machine.memory_ranges()) {
        let mut fields = kib(range.start).to_vec();
        fields.extend(kib(range.end().saturating_sub(1)));
        fields.extend(MEMORY_ARRAY.to_le_bytes());
        fields.push(1);
        fields.extend([0; 16]);
        out.extend(structure(
            19,
            0x1300_u16.saturating_add(number),
            &fields,
            &[],
        ));
    }
    out
}

fn memory_device(machine: &Machine) -> Vec<u8> {
    let mib = machine.memory() >> 20;
    let (short, extended) = if mib < SHORT_SIZE_MIB {
        (mib, 0)
    } else {
        (SHORT_SIZE_MIB, mib)
    };
    let mut fields = MEMORY_ARRAY.to_le_bytes().to_vec();
    fields.extend(NO_HANDLE.to_le_bytes());
    // Widths unknown.
    fields.extend([0xff; 4]);
    fields.extend(u16::try_from(short).unwrap_or(u16::MAX).to_le_bytes());
    // DIMM, in no set; locator, bank; RAM, of another kind.
    fields.extend([9, 0, 1, 0, 7, 2, 0]);
    // Speed; manufacturer, serial, asset, part; attributes.
    fields.extend([0, 0, 2, 0, 0, 0, 0]);
    fields.extend(u32::try_from(extended).unwrap_or(u32::MAX).to_le_bytes());
    // Configured speed and voltages.
    fields.extend([0; 8]);
    structure(17, 0x1100, &fields, &["DIMM 0", "QEMU"])
}

/// The firmware's own: vendor, version, date; a virtual machine with UEFI.
fn bios(firmware: &FirmwareProfile) -> Vec<u8> {
    let mut fields = vec![1, 2, 0x00, 0xe8, 3, 0];
    fields.extend(8_u64.to_le_bytes());
    fields.extend([0, 0x1c, 0, 0, 0xff, 0xff, 0, 0]);
    let strings = [firmware.vendor, firmware.version, firmware.date];
    structure(0, 0, &fields, &strings)
}
