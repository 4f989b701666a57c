//! The script by which the firmware places and patches the tables: QEMU's documentation,
//! `docs/specs/acpi_hw_reduced_hotplug` and the firmware's own reader, edk2 `QemuLoader.h`.

use super::{AcpiError, Table, Tables};

/// The script's file is this long; unused entries are zero.
const BYTES: usize = 4096;
const ENTRY: usize = 128;
const NAME: usize = 56;

const RSDP: &str = "etc/acpi/rsdp";
const TABLES: &str = "etc/acpi/tables";

const ALLOCATE: u32 = 1;
const ADD_POINTER: u32 = 2;
const ADD_CHECKSUM: u32 = 3;

/// Offset of the checksum byte in a table's header, and in the root pointer.
const CHECKSUM: u32 = 9;
const ROOT_CHECKSUM: u32 = 8;
const ROOT_LENGTH: u32 = 20;

/// The script for these tables.
///
/// # Errors
/// `Template` when a table is missing.
pub(super) fn script(tables: &Tables) -> Result<Vec<u8>, AcpiError> {
    let table = |name| tables.get(name);
    let (fadt, rsdt) = (table("FACP")?, table("RSDT")?);
    let mut script = Script::default();
    // Zones: 2 is the F segment, 1 is high memory.
    script.allocate(RSDP, 16, 2);
    script.allocate(TABLES, 64, 1);
    script.checksum(table("DSDT")?);
    for (field, size) in [(36, 4), (40, 4), (140, 8)] {
        script.pointer(TABLES, fadt.offset.saturating_add(field), size);
    }
    let listed = [fadt, table("APIC")?, table("MCFG")?, table("WAET")?];
    listed.iter().for_each(|table| script.checksum(table));
    for (field, _) in (36..).step_by(4).zip(listed) {
        script.pointer(TABLES, rsdt.offset.saturating_add(field), 4);
    }
    script.checksum(rsdt);
    script.pointer(RSDP, 16, 4);
    script.checksum_of(RSDP, ROOT_CHECKSUM, 0, ROOT_LENGTH);
    script.0.resize(BYTES, 0);
    Ok(script.0)
}

#[derive(Default)]
struct Script(Vec<u8>);

impl Script {
    fn allocate(&mut self, file: &str, align: u32, zone: u8) {
        let fields = [name(file), align.to_le_bytes().to_vec(), vec![zone]];
        self.entry(ALLOCATE, &fields.concat());
    }

    /// The address of the tables is added to a field.
    fn pointer(&mut self, file: &str, offset: u32, size: u8) {
        let fields = [
            name(file),
            name(TABLES),
            offset.to_le_bytes().to_vec(),
            vec![size],
        ];
        self.entry(ADD_POINTER, &fields.concat());
    }

    fn checksum(&mut self, table: &Table) {
        let at = table.offset.saturating_add(CHECKSUM);
        self.checksum_of(TABLES, at, table.offset, table.length());
    }

    fn checksum_of(&mut self, file: &str, at: u32, start: u32, length: u32) {
        let fields = [at, start, length].map(u32::to_le_bytes);
        let fields = [name(file), fields.as_flattened().to_vec()];
        self.entry(ADD_CHECKSUM, &fields.concat());
    }

    fn entry(&mut self, command: u32, fields: &[u8]) {
        let mut entry = [&command.to_le_bytes(), fields].concat();
        entry.resize(ENTRY, 0);
        self.0.extend(entry);
    }
}

fn name(file: &str) -> Vec<u8> {
    let mut bytes = file.as_bytes().to_vec();
    bytes.resize(NAME, 0);
    bytes
}
