//! The tables that OVMF carries for SEV and TDX at the end of its flash image.
//!
//! Layouts: edk2 `OvmfPkg/ResetVector` and `OvmfPkg/ResetVector/X64/*Metadata.asm`; the table of
//! GUIDs is walked backwards from 32 bytes before the end of the file. A table that is there twice
//! is refused, since launchers and firmware may each take another one; so are sections that
//! overlap, since no launcher can add a page twice, and sections of more memory than any firmware
//! measures, since a file of 4 KiB could ask for the hashing of 64 sections of 4 GiB.

use crate::bytes::{self, OutOfFile};

/// Flash images are at most this long.
pub const MAX_FIRMWARE_BYTES: usize = 16 * 1024 * 1024;
/// A page of guest memory.
pub const PAGE: u64 = 4096;

/// Bit 0 of a TDX section's attributes: its contents are measured.
pub(crate) const EXTEND: u32 = 1;
/// Bit 1: its pages are not added at launch.
pub(crate) const AUGMENT: u32 = 2;

const MAX_SECTIONS: usize = 64;
/// Pages that a launch adds, all sections together: 64 MiB. OVMF's need less than 5 MiB.
const MAX_ADDED_PAGES: u64 = 1 << 14;
/// Pages whose contents are measured, all sections together: as long as the longest file.
const MAX_MEASURED_PAGES: u64 = 1 << 12;
const TABLE_END_BEFORE_EOF: usize = 32;
const ENTRY_HEADER: usize = 18;

/// GUIDs as they lie in memory: the first three fields are little-endian.
mod guid {
    pub(super) const FOOTER: [u8; 16] = [
        0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08,
        0x2d,
    ];
    pub(super) const SEV_ES_RESET_BLOCK: [u8; 16] = [
        0xde, 0x71, 0xf7, 0x00, 0x7e, 0x1a, 0xcb, 0x4f, 0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4,
        0x4e,
    ];
    pub(super) const SEV_HASH_TABLE: [u8; 16] = [
        0x1f, 0x37, 0x55, 0x72, 0x3b, 0x3a, 0x04, 0x4b, 0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4,
        0x54,
    ];
    pub(super) const SEV_METADATA: [u8; 16] = [
        0x66, 0x65, 0x88, 0xdc, 0x4a, 0x98, 0x98, 0x47, 0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67,
        0xcc,
    ];
    pub(super) const TDX_METADATA: [u8; 16] = [
        0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47, 0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e,
        0xc2,
    ];
}

/// Why a firmware file cannot be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FirmwareError {
    /// Longer than [`MAX_FIRMWARE_BYTES`] or not a whole number of pages.
    #[error("firmware size is not a whole number of 4 KiB pages up to 16 MiB")]
    Size,
    /// A table points outside the file.
    #[error(transparent)]
    OutOfFile(#[from] OutOfFile),
    /// There is no table of GUIDs at the end.
    #[error("firmware has no OVMF table footer")]
    NoFooter,
    /// A table is present but inconsistent.
    #[error("firmware table `{table}` is malformed")]
    Malformed {
        /// The table.
        table: &'static str,
    },
    /// A table is there twice.
    #[error("firmware has two `{table}` tables")]
    Twice {
        /// The table.
        table: &'static str,
    },
    /// Sections of a table share memory.
    #[error("sections of firmware table `{table}` overlap")]
    Overlap {
        /// The table.
        table: &'static str,
    },
    /// Sections of a table are of more memory than is measured.
    #[error("sections of firmware table `{table}` are of more memory than any firmware measures")]
    TooMuchMemory {
        /// The table.
        table: &'static str,
    },
    /// A table that the wanted measurement needs is absent.
    #[error("firmware has no `{table}` table")]
    Missing {
        /// The table.
        table: &'static str,
    },
}

/// Purpose of a section of SEV metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SevSectionKind {
    /// Memory validated before boot, measured as zero pages.
    PreValidated,
    /// The secrets page.
    Secrets,
    /// The CPUID page.
    Cpuid,
    /// Calling area of an SVSM, measured as zero pages.
    SvsmCallingArea,
    /// The page with the hashes of kernel, initrd and command line.
    KernelHashes,
}

/// A section of SEV metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SevSection {
    /// Guest physical address.
    pub base: u32,
    /// Length in bytes.
    pub size: u32,
    /// Purpose.
    pub kind: SevSectionKind,
}

/// A section of TDX metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TdxSection {
    /// Offset of its bytes in the file.
    pub data_offset: u32,
    /// Bytes in the file; the rest of the memory is zero.
    pub raw_size: u32,
    /// Guest physical address.
    pub base: u64,
    /// Length in memory.
    pub size: u64,
    /// TDVF section type (0 boot firmware, 1 variables, 2 TD HOB, 3 temporary memory, …).
    pub kind: u32,
    /// Bit 0: contents are measured; bit 1: pages are added at run time.
    pub attributes: u32,
}

/// A firmware file with its tables found.
#[derive(Debug, Clone)]
pub struct Firmware<'a> {
    /// The whole file.
    pub bytes: &'a [u8],
    reset_eip: Option<u32>,
    hash_table: Option<(u32, u32)>,
    sev_sections: Option<Vec<SevSection>>,
    tdx_sections: Option<Vec<TdxSection>>,
}

impl<'a> Firmware<'a> {
    /// Finds the tables of a flash image.
    ///
    /// # Errors
    /// See [`FirmwareError`]; absent SEV or TDX tables are errors only where they are needed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FirmwareError> {
        let page = usize::try_from(PAGE).map_err(|_| FirmwareError::Size)?;
        if bytes.is_empty() || bytes.len() > MAX_FIRMWARE_BYTES || !bytes.len().is_multiple_of(page)
        {
            return Err(FirmwareError::Size);
        }
        let mut firmware = Self {
            bytes,
            reset_eip: None,
            hash_table: None,
            sev_sections: None,
            tdx_sections: None,
        };
        for (guid, data) in entries(bytes)? {
            firmware.take_entry(guid, data)?;
        }
        Ok(firmware)
    }

    /// Instruction pointer at which further vCPUs start.
    ///
    /// # Errors
    /// `Missing`.
    pub fn reset_eip(&self) -> Result<u32, FirmwareError> {
        self.reset_eip.ok_or(FirmwareError::Missing {
            table: "SEV-ES reset block",
        })
    }

    /// Sections of SEV metadata, in the file's order.
    ///
    /// # Errors
    /// `Missing`.
    pub fn sev_sections(&self) -> Result<&[SevSection], FirmwareError> {
        let sections = self.sev_sections.as_deref();
        let sections = sections.filter(|sections| !sections.is_empty());
        sections.ok_or(FirmwareError::Missing {
            table: "SEV metadata",
        })
    }

    /// Sections of TDX metadata, in the file's order.
    ///
    /// # Errors
    /// `Missing`.
    pub fn tdx_sections(&self) -> Result<&[TdxSection], FirmwareError> {
        let sections = self.tdx_sections.as_deref();
        let sections = sections.filter(|sections| !sections.is_empty());
        sections.ok_or(FirmwareError::Missing {
            table: "TDX metadata",
        })
    }

    /// Offset of the kernel-hash table within its page.
    ///
    /// # Errors
    /// `Missing` when the firmware cannot verify a directly loaded kernel.
    pub fn hash_table_offset(&self) -> Result<usize, FirmwareError> {
        let mut sections = self.sev_sections.iter().flatten();
        let has_page = sections.any(|s| s.kind == SevSectionKind::KernelHashes);
        match self.hash_table {
            Some((base, _)) if has_page => Ok(usize::from(low_12_bits(base))),
            Some(_) | None => Err(FirmwareError::Missing {
                table: "SNP kernel hashes",
            }),
        }
    }

    fn take_entry(&mut self, guid: [u8; 16], data: &[u8]) -> Result<(), FirmwareError> {
        match guid {
            guid::SEV_ES_RESET_BLOCK => {
                let eip = bytes::u32_at(data, 0)?;
                once(&mut self.reset_eip, eip, "SEV-ES reset block")
            }
            guid::SEV_HASH_TABLE => {
                let place = (bytes::u32_at(data, 0)?, bytes::u32_at(data, 4)?);
                once(&mut self.hash_table, place, "SNP kernel hashes")
            }
            guid::SEV_METADATA => {
                let sections = self.sev_metadata(data)?;
                once(&mut self.sev_sections, sections, "SEV metadata")
            }
            guid::TDX_METADATA => {
                let sections = self.tdx_metadata(data)?;
                once(&mut self.tdx_sections, sections, "TDX metadata")
            }
            _other_vendors_entry => Ok(()),
        }
    }

    fn descriptor(
        &self,
        entry: &[u8],
        magic: &[u8; 4],
        table: &'static str,
    ) -> Result<(usize, usize), FirmwareError> {
        let from_end = bytes::offset_at(entry, 0)?;
        let malformed = FirmwareError::Malformed { table };
        let at = self.bytes.len().checked_sub(from_end).ok_or(malformed)?;
        let version = bytes::u32_at(self.bytes, at.saturating_add(8))?;
        let count = bytes::offset_at(self.bytes, at.saturating_add(12))?;
        if bytes::array::<4>(self.bytes, at)? != *magic || version != 1 || count > MAX_SECTIONS {
            return Err(malformed);
        }
        Ok((at.saturating_add(16), count))
    }

    fn sev_metadata(&self, entry: &[u8]) -> Result<Vec<SevSection>, FirmwareError> {
        let (first, count) = self.descriptor(entry, b"ASEV", "SEV metadata")?;
        let section = |index: usize| {
            let at = first.saturating_add(index.saturating_mul(12));
            let kind = match bytes::u32_at(self.bytes, at.saturating_add(8))? {
                1 => SevSectionKind::PreValidated,
                2 => SevSectionKind::Secrets,
                3 => SevSectionKind::Cpuid,
                4 => SevSectionKind::SvsmCallingArea,
                16 => SevSectionKind::KernelHashes,
                _ => {
                    return Err(FirmwareError::Malformed {
                        table: "SEV metadata",
                    });
                }
            };
            let base = bytes::u32_at(self.bytes, at)?;
            let size = bytes::u32_at(self.bytes, at.saturating_add(4))?;
            Ok(SevSection { base, size, kind })
        };
        let sections: Vec<SevSection> = (0..count).map(section).collect::<Result<_, _>>()?;
        let ranges = sections.iter().map(|s| (s.base.into(), s.size.into()));
        check_apart(ranges.collect(), "SEV metadata")?;
        let added = sections.iter().map(|s| u64::from(s.size));
        check_pages(added, MAX_ADDED_PAGES, "SEV metadata")?;
        Ok(sections)
    }

    fn tdx_metadata(&self, entry: &[u8]) -> Result<Vec<TdxSection>, FirmwareError> {
        let (first, count) = self.descriptor(entry, b"TDVF", "TDX metadata")?;
        let section = |index: usize| {
            let at = first.saturating_add(index.saturating_mul(32));
            let section = TdxSection {
                data_offset: bytes::u32_at(self.bytes, at)?,
                raw_size: bytes::u32_at(self.bytes, at.saturating_add(4))?,
                base: bytes::u64_at(self.bytes, at.saturating_add(8))?,
                size: bytes::u64_at(self.bytes, at.saturating_add(16))?,
                kind: bytes::u32_at(self.bytes, at.saturating_add(24))?,
                attributes: bytes::u32_at(self.bytes, at.saturating_add(28))?,
            };
            let aligned = section.base.is_multiple_of(PAGE) && section.size.is_multiple_of(PAGE);
            let held = u64::from(section.raw_size) <= section.size
                && section.base.checked_add(section.size).is_some();
            if !aligned || !held {
                return Err(FirmwareError::Malformed {
                    table: "TDX metadata",
                });
            }
            Ok(section)
        };
        let sections: Vec<TdxSection> = (0..count).map(section).collect::<Result<_, _>>()?;
        let ranges = sections.iter().map(|s| (s.base, s.size));
        check_apart(ranges.collect(), "TDX metadata")?;
        let measured = sections.iter().filter(|s| s.attributes & EXTEND != 0);
        let measured = measured.map(|s| s.size);
        check_pages(measured, MAX_MEASURED_PAGES, "TDX metadata")?;
        let added = sections.iter().filter(|s| s.attributes & AUGMENT == 0);
        check_pages(added.map(|s| s.size), MAX_ADDED_PAGES, "TDX metadata")?;
        Ok(sections)
    }
}

/// Fills a slot that must be empty.
fn once<T>(slot: &mut Option<T>, value: T, table: &'static str) -> Result<(), FirmwareError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(FirmwareError::Twice { table }),
    }
}

/// Start and length of sections, none of which may share a byte with another.
fn check_apart(mut ranges: Vec<(u64, u64)>, table: &'static str) -> Result<(), FirmwareError> {
    ranges.retain(|(_, size)| *size > 0);
    ranges.sort_unstable();
    let mut end = 0;
    for (start, size) in ranges {
        if start < end {
            return Err(FirmwareError::Overlap { table });
        }
        end = start.saturating_add(size);
    }
    Ok(())
}

/// Holds the pages of sections, given by their lengths, against a limit.
fn check_pages(
    mut sizes: impl Iterator<Item = u64>,
    limit: u64,
    table: &'static str,
) -> Result<(), FirmwareError> {
    let pages = sizes.try_fold(0u64, |pages, size| pages.checked_add(size.div_ceil(PAGE)));
    if pages.is_some_and(|pages| pages <= limit) {
        Ok(())
    } else {
        Err(FirmwareError::TooMuchMemory { table })
    }
}

/// A GUID and the bytes that belong to it.
type TableEntry<'a> = ([u8; 16], &'a [u8]);

/// Entries of the GUID table, last first. Each ends with its length and GUID.
fn entries(file: &[u8]) -> Result<Vec<TableEntry<'_>>, FirmwareError> {
    let end = file
        .len()
        .checked_sub(TABLE_END_BEFORE_EOF)
        .ok_or(FirmwareError::NoFooter)?;
    let footer = end
        .checked_sub(ENTRY_HEADER)
        .ok_or(FirmwareError::NoFooter)?;
    if bytes::array::<16>(file, footer.saturating_add(2))? != guid::FOOTER {
        return Err(FirmwareError::NoFooter);
    }
    let malformed = FirmwareError::Malformed {
        table: "GUID table",
    };
    let total = usize::from(bytes::u16_at(file, footer)?);
    let start = end.checked_sub(total).ok_or(malformed)?;
    let mut table = file.get(start..footer).ok_or(malformed)?;
    let mut found = Vec::new();
    while !table.is_empty() {
        let header = table.len().checked_sub(ENTRY_HEADER).ok_or(malformed)?;
        let length = usize::from(bytes::u16_at(table, header)?);
        let guid = bytes::array(table, header.saturating_add(2))?;
        // A length below its own header would never advance.
        let data = length.checked_sub(ENTRY_HEADER).ok_or(malformed)?;
        let begin = header.checked_sub(data).ok_or(malformed)?;
        let (before, entry) = table.split_at_checked(begin).ok_or(malformed)?;
        found.push((guid, entry.get(..data).ok_or(malformed)?));
        table = before;
    }
    Ok(found)
}

fn low_12_bits(address: u32) -> u16 {
    u16::try_from(address & 0xfff).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        reason = "fixed offsets of a small file; a wrong one fails the test"
    )]

    use super::*;

    /// The last 4 KiB of a real build, with both kinds of metadata.
    const REAL: &[u8] =
        include_bytes!("../../tests/fixtures/snp/measurement/ovmf_AmdSev_suffix.bin");
    /// Where its descriptors stand.
    const SEV_AT: usize = 4096 - 0x554;
    const TDX_AT: usize = 4096 - 0x9d0;
    const GUID_TABLE: FirmwareError = FirmwareError::Malformed {
        table: "GUID table",
    };

    /// What is said of the real build with some bytes changed.
    fn changed(at: usize, bytes: &[u8]) -> Result<(), FirmwareError> {
        let mut file = REAL.to_vec();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        Firmware::parse(&file).map(drop)
    }

    fn sev(section: usize, field: usize, value: u32) -> Result<(), FirmwareError> {
        changed(SEV_AT + 16 + 12 * section + field, &value.to_le_bytes())
    }

    fn tdx(section: usize, field: usize, value: u64) -> Result<(), FirmwareError> {
        changed(TDX_AT + 16 + 32 * section + field, &value.to_le_bytes())
    }

    #[test]
    fn no_prefix_and_no_short_file_panics() {
        for length in 0..300 {
            assert!(Firmware::parse(&vec![0; length]).is_err());
        }
        assert_eq!(
            Firmware::parse(&[0; 4096]).unwrap_err(),
            FirmwareError::NoFooter
        );
        let long = vec![0; MAX_FIRMWARE_BYTES + 4096];
        assert_eq!(Firmware::parse(&long).unwrap_err(), FirmwareError::Size);
    }

    #[test]
    fn a_real_build_cut_at_its_beginning_is_refused_with_the_reason_or_taken() {
        assert!(Firmware::parse(REAL).is_ok());
        for cut in 1..4096 {
            // Zeros stand in the place of what was cut off, so that the length is right.
            let mut file = REAL.to_vec();
            file[..cut].fill(0);
            let parsed = Firmware::parse(&file);
            assert_eq!(parsed.is_ok(), cut <= TDX_AT, "{cut}");
        }
    }

    #[test]
    fn an_entry_shorter_than_its_header_or_longer_than_the_table_is_refused() {
        let mut file = vec![0u8; 4096];
        let footer = 4096 - 32 - 18;
        file[footer..footer + 2].copy_from_slice(&36u16.to_le_bytes());
        file[footer + 2..footer + 18].copy_from_slice(&guid::FOOTER);
        assert_eq!(Firmware::parse(&file).unwrap_err(), GUID_TABLE);
        // Of the real build: the first entry's length, and the table's.
        let first = 4096 - 32 - 18 - 18;
        for length in [0u16, 17, 200, u16::MAX] {
            assert_eq!(changed(first, &length.to_le_bytes()), Err(GUID_TABLE));
        }
        assert_eq!(changed(footer, &u16::MAX.to_le_bytes()), Err(GUID_TABLE));
    }

    #[test]
    fn a_table_that_is_there_twice_is_refused() {
        // The entry of the SEV-ES reset block becomes one of SEV metadata.
        let second = 4096 - 32 - 18 - 16;
        let reason = changed(second, &guid::SEV_METADATA).unwrap_err();
        let outside = FirmwareError::Malformed {
            table: "SEV metadata",
        };
        assert_eq!(reason, outside, "its data is no place in the file");
        let mut file = REAL.to_vec();
        file[second..second + 16].copy_from_slice(&guid::SEV_METADATA);
        file[second - 6..second - 2].copy_from_slice(&0x554u32.to_le_bytes());
        let twice = FirmwareError::Twice {
            table: "SEV metadata",
        };
        assert_eq!(Firmware::parse(&file).unwrap_err(), twice);
    }

    #[test]
    fn sections_that_overlap_are_refused() {
        let overlap = |table| Err(FirmwareError::Overlap { table });
        assert_eq!(sev(1, 0, 0x80_8fff), overlap("SEV metadata"));
        assert_eq!(sev(0, 4, 0xa001), overlap("SEV metadata"));
        assert_eq!(sev(1, 0, 0x80_9000), Ok(()), "they may touch");
        assert_eq!(tdx(4, 8, 0x80_5000), overlap("TDX metadata"));
        // Section 0 lies behind section 1, which ends where it begins.
        assert_eq!(tdx(1, 16, 0x8_5000), overlap("TDX metadata"));
    }

    #[test]
    fn sections_of_more_memory_than_any_firmware_measures_are_refused() {
        let too_much = |table| Err(FirmwareError::TooMuchMemory { table });
        assert_eq!(sev(6, 4, 64 << 20), too_much("SEV metadata"));
        assert_eq!(sev(6, 4, 63 << 20), Ok(()));
        // The last temporary memory, which is added but not measured, made its own gigabyte.
        let at = TDX_AT + 16 + 32 * 2;
        let elsewhere = |size: u64| {
            let words = [1u64 << 32, size].map(u64::to_le_bytes);
            changed(at + 8, &words.concat())
        };
        assert_eq!(elsewhere(1 << 30), too_much("TDX metadata"));
        assert_eq!(
            elsewhere(!0xfff),
            malformed_tdx(),
            "ends behind the addresses"
        );
        assert_eq!(elsewhere(32 << 20), Ok(()));
        // The measured volume, longer than a file can be.
        let words = [1u64 << 32, 17 << 20].map(u64::to_le_bytes);
        let measured = changed(TDX_AT + 16 + 8, &words.concat());
        assert_eq!(measured, too_much("TDX metadata"));
    }

    fn malformed_tdx() -> Result<(), FirmwareError> {
        Err(FirmwareError::Malformed {
            table: "TDX metadata",
        })
    }

    #[test]
    fn metadata_outside_the_file_or_of_another_form_is_refused() {
        let malformed = Err(FirmwareError::Malformed {
            table: "SEV metadata",
        });
        assert_eq!(changed(SEV_AT, b"ASEW"), malformed);
        assert_eq!(changed(SEV_AT + 8, &2u32.to_le_bytes()), malformed);
        assert_eq!(changed(SEV_AT + 12, &65u32.to_le_bytes()), malformed);
        assert_eq!(sev(0, 8, 5), malformed);
        assert_eq!(changed(TDX_AT, b"TDVG"), malformed_tdx());
        assert_eq!(tdx(0, 8, 0xffc8_4001), malformed_tdx());
        assert_eq!(
            tdx(0, 16, 0x1000),
            malformed_tdx(),
            "more bytes than memory"
        );
    }
}
