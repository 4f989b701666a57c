//! The ACPI files that QEMU hands to the firmware, computed: `etc/table-loader`, `etc/acpi/rsdp`
//! and `etc/acpi/tables`, as the firmware downloads and measures them, before it patches them.
//!
//! One captured DSDT for each supported QEMU stands in `templates/`; whatever depends on the
//! machine is computed. Pure over bytes. Deliberately not here: running QEMU, reading AML.

mod aml;
mod dsdt;
mod loader;
mod tables;
mod template;

use std::str::FromStr;

use sha2::{Digest as _, Sha384};

use crate::machine::Machine;

/// Slot of the disk with the root file system on bus 0. Configuration disk and vsock device have
/// the next two, model disks those from [`SLOTS_WITHOUT_MODELS`] + 1 on.
pub const SLOT_ROOT: u8 = 1;
/// Slots that every machine uses: root, launch configuration, vsock.
pub const SLOTS_WITHOUT_MODELS: u8 = 3;
/// Slot of the first GPU's root port.
pub const SLOT_GPU: u8 = 0x10;

/// The blob with the tables is this long, zero-padded, while they fit.
const TABLES_BYTES: usize = 128 * 1024;

/// A build of QEMU whose tables are known. The same machine type of another build may have other
/// tables, so profiles name builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QemuProfile {
    /// Debian's 11.1.3, pinned in `image/lock/qemu.lock`.
    Qemu11_1_3,
}

impl QemuProfile {
    /// Every profile.
    pub const ALL: [Self; 1] = [Self::Qemu11_1_3];

    /// Its name on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qemu11_1_3 => "qemu-11.1.3",
        }
    }

    /// The machine type that it stands for.
    #[must_use]
    pub const fn machine_type(self) -> &'static str {
        match self {
            Self::Qemu11_1_3 => "pc-q35-11.1",
        }
    }

    const fn template(self) -> &'static [u8] {
        match self {
            Self::Qemu11_1_3 => include_bytes!("templates/qemu-11.1.3.dsdt"),
        }
    }
}

/// A QEMU whose tables are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown QEMU profile; known: qemu-11.1.3")]
pub struct UnknownProfile;

impl FromStr for QemuProfile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or(UnknownProfile)
    }
}

/// Why tables cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AcpiError {
    /// The committed capture does not have the pieces that vary: it is not of such a machine.
    #[error("the captured tables lack a part that depends on the machine")]
    Template,
    /// The tables do not fit into the blob.
    #[error("the tables are longer than {TABLES_BYTES} bytes")]
    TooLong,
}

/// The three files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcpiFiles {
    /// `etc/table-loader`.
    pub loader: Vec<u8>,
    /// `etc/acpi/rsdp`.
    pub root_pointer: Vec<u8>,
    /// `etc/acpi/tables`.
    pub tables: Vec<u8>,
}

impl AcpiFiles {
    /// The files that a machine gets.
    ///
    /// # Errors
    /// See [`AcpiError`].
    pub fn of(profile: QemuProfile, machine: &Machine) -> Result<Self, AcpiError> {
        let tables = tables::tables(profile, machine)?;
        let loader = loader::script(&tables)?;
        let root_pointer = tables::root_pointer(tables.get("RSDT")?);
        let mut tables = tables.bytes;
        if tables.len() > TABLES_BYTES {
            return Err(AcpiError::TooLong);
        }
        tables.resize(TABLES_BYTES, 0);
        Ok(Self {
            loader,
            root_pointer,
            tables,
        })
    }

    /// Names and SHA-384 of the files, in the order in which the firmware measures them.
    #[must_use]
    pub fn digests(&self) -> [(&'static str, [u8; 48]); 3] {
        [
            ("etc/table-loader", &self.loader),
            ("etc/acpi/rsdp", &self.root_pointer),
            ("etc/acpi/tables", &self.tables),
        ]
        .map(|(name, bytes)| (name, Sha384::digest(bytes).into()))
    }
}

/// Tables one behind the other, and where each is.
#[derive(Debug, Default)]
struct Tables {
    bytes: Vec<u8>,
    index: Vec<Table>,
}

/// Where a table is in the blob.
#[derive(Debug)]
struct Table {
    name: &'static str,
    offset: u32,
    end: u32,
}

impl Table {
    const fn length(&self) -> u32 {
        self.end.saturating_sub(self.offset)
    }
}

impl Tables {
    /// Appends a table and returns its offset.
    fn push(&mut self, name: &'static str, bytes: Vec<u8>) -> u32 {
        let position = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let offset = position(self.bytes.len());
        self.bytes.extend(bytes);
        let end = position(self.bytes.len());
        self.index.push(Table { name, offset, end });
        offset
    }

    fn get(&self, name: &str) -> Result<&Table, AcpiError> {
        let found = self.index.iter().find(|table| table.name == name);
        found.ok_or(AcpiError::Template)
    }
}
