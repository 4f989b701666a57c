//! The tables around the DSDT, which are functions of counts and offsets. ACPI specification 6.5,
//! sections 5.2.5 to 5.2.12; PCI firmware specification, section 4.1.2.

use super::AcpiError;
use super::dsdt::{self, LOW_WINDOW_END};
use super::{QemuProfile, Table, Tables};
use crate::machine::Machine;

/// With more vCPUs than fit into a flat logical APIC id, QEMU asks for the cluster model.
const FLAT_APIC_VCPUS: u8 = 8;
/// Where the firmware puts the power management ports.
const PM_PORTS: u16 = 0x600;

/// All tables, in the order of the blob.
///
/// # Errors
/// `Template`.
pub(super) fn tables(profile: QemuProfile, machine: &Machine) -> Result<Tables, AcpiError> {
    let mut tables = Tables::default();
    let facs = tables.push("FACS", facs());
    let dsdt = tables.push("DSDT", dsdt::dsdt(profile, machine)?);
    let fadt = tables.push("FACP", fadt(machine, facs, dsdt));
    let madt = tables.push("APIC", madt(machine));
    let mcfg = tables.push("MCFG", mcfg());
    let waet = tables.push("WAET", table(b"WAET", 1, &2_u32.to_le_bytes()));
    let listed = [fadt, madt, mcfg, waet];
    let offsets: Vec<u8> = listed.iter().flat_map(|at| at.to_le_bytes()).collect();
    tables.push("RSDT", table(b"RSDT", 1, &offsets));
    Ok(tables)
}

fn facs() -> Vec<u8> {
    let mut bytes = b"FACS\x40\x00\x00\x00".to_vec();
    bytes.resize(64, 0);
    bytes
}

/// A table with its header; the checksum byte is filled in by the firmware.
fn table(signature: &[u8; 4], revision: u8, content: &[u8]) -> Vec<u8> {
    const HEADER: usize = 36;
    let length = u32::try_from(content.len().saturating_add(HEADER)).unwrap_or(u32::MAX);
    let head: [&[u8]; 8] = [
        signature,
        &length.to_le_bytes(),
        &[revision, 0],
        b"BOCHS BXPC    ",
        &1_u32.to_le_bytes(),
        b"BXPC",
        &1_u32.to_le_bytes(),
        content,
    ];
    head.concat()
}

/// A generic address: I/O ports, width in bits.
fn ports(bits: u8, address: u16) -> Vec<u8> {
    let head = [u8::from(address != 0), bits, 0, 0];
    [head.as_slice(), &u64::from(address).to_le_bytes()].concat()
}

/// Fixed hardware description, revision 3, with pointers that are offsets within the blob.
fn fadt(machine: &Machine, facs: u32, dsdt: u32) -> Vec<u8> {
    let port = |offset: u16| PM_PORTS.saturating_add(offset);
    let (event, control, timer, gpe) = (port(0), port(4), port(8), port(0x20));
    let wide = |port: u16| u32::from(port).to_le_bytes();
    let flags: u32 = if machine.vcpus() > FLAT_APIC_VCPUS {
        0x0004_84a5
    } else {
        0x0000_84a5
    };
    let mut content = Vec::new();
    content.extend(facs.to_le_bytes());
    content.extend(dsdt.to_le_bytes());
    // Interrupt model 1, profile 0, SCI interrupt 9; no SMI command port and no S4BIOS.
    content.extend([1, 0, 9, 0]);
    content.extend([0; 8]);
    for block in [event, 0, control, 0, 0, timer, gpe, 0] {
        content.extend(wide(block));
    }
    // Lengths of those blocks, then C-state latencies.
    content.extend([4, 2, 0, 4, 16, 0, 0, 0]);
    content.extend([0xff, 0x0f, 0xff, 0x0f]);
    // Cache flush and duty fields, day and month alarm, century at CMOS 0x32, a keyboard
    // controller.
    content.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x32, 2, 0, 0]);
    content.extend(flags.to_le_bytes());
    // Reset register: port 0xcf9, value 0x0f.
    content.extend([1, 8, 0, 0, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0, 0x0f, 0, 0, 0]);
    content.extend(0_u64.to_le_bytes());
    content.extend(u64::from(dsdt).to_le_bytes());
    content.extend(ports(32, event));
    content.extend([0; 12]);
    content.extend(ports(16, control));
    content.extend([0; 24]);
    content.extend(ports(32, timer));
    content.extend(ports(128, gpe));
    content.extend([0; 12]);
    table(b"FACP", 3, &content)
}

/// Interrupt controllers, revision 3: a local APIC for each vCPU, one I/O APIC, the interrupts of
/// ISA and PCI.
fn madt(machine: &Machine) -> Vec<u8> {
    const LOCAL_APIC: u32 = 0xfee0_0000;
    const IO_APIC: u32 = 0xfec0_0000;
    let mut content = Vec::new();
    content.extend(LOCAL_APIC.to_le_bytes());
    content.extend(0_u32.to_le_bytes());
    for index in 0..machine.vcpus() {
        content.extend([0, 8, index, index, 1, 0, 0, 0]);
    }
    content.extend([1, 12, 0, 0]);
    content.extend(IO_APIC.to_le_bytes());
    content.extend(0_u32.to_le_bytes());
    for (source, target, flags) in [
        (0, 2, 0),
        (5, 5, 0xd),
        (9, 9, 0xd),
        (10, 10, 0xd),
        (11, 11, 0xd),
    ] {
        content.extend([2, 10, 0, source, target, 0, 0, 0, flags, 0]);
    }
    content.extend([4, 6, 0xff, 0, 0, 1]);
    table(b"APIC", 3, &content)
}

/// The PCI Express configuration space, where edk2 puts it.
fn mcfg() -> Vec<u8> {
    let mut content = vec![0; 8];
    content.extend(u64::from(LOW_WINDOW_END).to_le_bytes());
    // Segment 0, buses 0 to 255.
    content.extend([0, 0, 0, 0xff, 0, 0, 0, 0]);
    table(b"MCFG", 1, &content)
}

/// The root pointer, version 1, whose pointer is an offset within the blob.
pub(super) fn root_pointer(rsdt: &Table) -> Vec<u8> {
    [b"RSD PTR \0BOCHS \0".as_slice(), &rsdt.offset.to_le_bytes()].concat()
}
