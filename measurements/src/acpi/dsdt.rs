//! The DSDT of a machine: the captured one, with vCPUs, devices on bus 0, the serial port and the
//! two PCI windows put in. All other bytes are those of the capture.

use super::AcpiError;
use super::aml::{self, opcode};
use super::template::Template;
use super::{QemuProfile, SLOT_GPU, SLOT_ROOT, SLOTS_WITHOUT_MODELS};
use crate::machine::{Machine, SerialPort};

/// The table's length is a field of its header.
const HEADER_LENGTH: std::ops::Range<usize> = 4..8;
/// What the captured machine has.
const CAPTURED_VCPUS: u8 = 2;
const CAPTURED_MODEL_DISKS: u8 = 1;
const CAPTURED_LOW_MEMORY: u32 = 0x8000_0000;
const CAPTURED_WINDOW: (u64, u64) = (64 << 30, 64 << 30);
/// The window for 32-bit BARs ends here: edk2 puts the PCI Express configuration space behind it.
pub(super) const LOW_WINDOW_END: u32 = 0xe000_0000;

/// The DSDT of a machine.
///
/// # Errors
/// `Template` when the captured table lacks a piece that varies.
pub(super) fn dsdt(profile: QemuProfile, machine: &Machine) -> Result<Vec<u8>, AcpiError> {
    let mut template = Template::new(profile.template());
    vcpus(&mut template, machine)?;
    devices(&mut template, machine)?;
    windows(&mut template, machine)?;
    let mut table = template.build()?;
    let length = u32::try_from(table.len()).map_err(|_| AcpiError::Template)?;
    let field = table.get_mut(HEADER_LENGTH).ok_or(AcpiError::Template)?;
    field.copy_from_slice(&length.to_le_bytes());
    Ok(table)
}

fn vcpus(template: &mut Template<'_>, machine: &Machine) -> Result<(), AcpiError> {
    let count = machine.vcpus();
    let container = b"\\._SB_CPUS";

    let notify = |count| (0..count).flat_map(notification).collect::<Vec<_>>();
    let piece = template.replace(&notify(CAPTURED_VCPUS), notify(count))?;
    template.within(opcode::METHOD, b"CTFY", &piece)?;

    let bound = |count: u8| [b"\x95\x63", aml::integer(count.into()).as_slice()].concat();
    let scan = template.replace(&bound(CAPTURED_VCPUS), bound(count))?;
    // The two loops begin with their conditions.
    template.within(opcode::WHILE, b"\x90\x93\x60\x01\x95\x63", &scan)?;
    template.within(opcode::WHILE, b"\x93\x64\x01", &scan)?;
    template.within(opcode::METHOD, b"CSCN", &scan)?;

    let processors = |count| (0..count).flat_map(processor).collect::<Vec<_>>();
    let piece = template.replace(&processors(CAPTURED_VCPUS), processors(count))?;
    template.within(opcode::DEVICE, container, &piece)?;
    template.within(opcode::SCOPE, b"_SB_", &piece)?;
    Ok(())
}

/// Part of method CTFY: if (Arg0 == index) notify (Cxxx, Arg1).
fn notification(index: u8) -> Vec<u8> {
    let index_constant = aml::integer(index.into());
    let name = processor_name(index);
    let parts: [&[u8]; 5] = [
        b"\x93\x68",
        &index_constant,
        b"\x86",
        name.as_bytes(),
        b"\x69",
    ];
    aml::package(opcode::IF, &parts)
}

fn processor(index: u8) -> Vec<u8> {
    let constant = aml::integer(index.into());
    let status = aml::package(opcode::METHOD, &[b"_STA\x08\xa4CSTA", &constant]);
    // A buffer with the vCPU's entry of the MADT.
    let entry: &[u8] = &[0, 8, index, index, 1, 0, 0, 0];
    let entry = [b"\x08_MAT\x11\x0b\x0a\x08", entry].concat();
    let eject = match index {
        0 => Vec::new(),
        1.. => aml::package(opcode::METHOD, &[b"_EJ0\x01CEJ0", &constant]),
    };
    let event: [&[u8]; 3] = [b"_OST\x0bCOST", &constant, b"\x68\x69\x6a"];
    let event = aml::package(opcode::METHOD, &event);
    let name = processor_name(index);
    let fixed: &[u8] = &[index, 0, 0, 0, 0, 0];
    let parts: [&[u8]; 6] = [name.as_bytes(), fixed, &status, &entry, &eject, &event];
    aml::package(opcode::PROCESSOR, &parts)
}

fn processor_name(index: u8) -> String {
    format!("C{index:03X}")
}

/// Functions on bus 0 in the order of their slots, between host bridge and LPC bridge.
fn devices(template: &mut Template<'_>, machine: &Machine) -> Result<(), AcpiError> {
    let disks = |model_disks: u8| -> Vec<u8> {
        let end = SLOTS_WITHOUT_MODELS.saturating_add(model_disks);
        (SLOT_ROOT..=end)
            .flat_map(|slot| aml::device_at(slot, &[]))
            .collect()
    };
    // What is behind a root port is its function 0.
    let behind = aml::device_at(0, &[]);
    let ports = 0..machine.gpus();
    let ports = ports.flat_map(|at| aml::device_at(SLOT_GPU.saturating_add(at), &behind));
    let mut bytes = disks(machine.model_disks());
    bytes.extend(ports);
    let piece = template.replace(&disks(CAPTURED_MODEL_DISKS), bytes)?;
    template.within(opcode::SCOPE, b"PCI0\x5b\x82", &piece)?;
    template.within(opcode::SCOPE, b"\\_SB_\x10", &piece)?;
    match machine.serial() {
        SerialPort::Absent => {}
        SerialPort::Present => {
            // On the LPC bridge, before the clock.
            let clock = template.find(b"\x5b\x82\x25RTC_")?;
            let at = clock.start..clock.start;
            template.within(opcode::DEVICE, b"SF8_", &at)?;
            template.replace_at(at, serial_port());
        }
    }
    Ok(())
}

fn serial_port() -> Vec<u8> {
    // I/O ports 0x3f8 to 0x3ff; interrupt 4, level, active low, shared.
    let resources: [&[u8]; 4] = [
        b"\x08_CRS\x11\x11\x0a\x0e",
        &[0x47, 1, 0xf8, 3, 0xf8, 3, 0, 8],
        &[0x23, 0x10, 0, 0x18],
        &[0x79, 0],
    ];
    let resources = resources.concat();
    let parts: [&[u8]; 5] = [
        b"COM1",
        b"\x08_HID\x0c\x41\xd0\x05\x01",
        b"\x08_UID\x01",
        b"\x08_STA\x0a\x0f",
        &resources,
    ];
    aml::package(opcode::DEVICE, &parts)
}

/// The windows for 32-bit and 64-bit BARs in `_CRS` of the host bridge.
fn windows(template: &mut Template<'_>, machine: &Machine) -> Result<(), AcpiError> {
    let low = u32::try_from(machine.low_memory_end()).map_err(|_| AcpiError::Template)?;
    template.replace(&low_window(CAPTURED_LOW_MEMORY), low_window(low))?;
    let (start, length) = CAPTURED_WINDOW;
    let window = machine.window();
    let bytes = high_window(window.start, window.length);
    template.replace(&high_window(start, length), bytes)?;
    Ok(())
}

/// A dword memory descriptor: granularity 0, first and last address, no translation, length.
fn low_window(start: u32) -> Vec<u8> {
    let (last, length) = (
        LOW_WINDOW_END.saturating_sub(1),
        LOW_WINDOW_END.saturating_sub(start),
    );
    let fields = [0, start, last, 0, length].map(u32::to_le_bytes);
    [
        [0x87, 0x17, 0, 0, 0x0c, 1].as_slice(),
        fields.as_flattened(),
    ]
    .concat()
}

/// A qword memory descriptor with the same fields.
fn high_window(start: u64, length: u64) -> Vec<u8> {
    let last = start.saturating_add(length).saturating_sub(1);
    let fields = [0, start, last, 0, length].map(u64::to_le_bytes);
    [
        [0x8a, 0x2b, 0, 0, 0x0c, 3].as_slice(),
        fields.as_flattened(),
    ]
    .concat()
}
