//! The headers and sections of a PE32+ file: what firmware measures, and what a UKI is made of.
//!
//! Microsoft, "PE Format". Sections must lie behind the headers and behind one another, which every
//! linker does; a file whose sections overlap could be short and yet long to hash.

use crate::bytes::{self, OutOfFile};

const MAX_SECTIONS: u16 = 96;
const SECTION_HEADER: usize = 40;
/// Of a PE32+ optional header: where its fields lie.
const SIZE_OF_HEADERS: usize = 60;
const CHECKSUM: usize = 64;
const DIRECTORIES: usize = 108;
/// The certificate table is the fifth directory; its entry is 8 bytes.
const CERTIFICATES: usize = 4;

/// Why a file is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeError {
    /// A header points outside the file.
    #[error(transparent)]
    OutOfFile(#[from] OutOfFile),
    /// Not a PE32+ file.
    #[error("not a PE32+ executable")]
    NotPe32Plus,
    /// Headers or sections overlap, or there are too many.
    #[error("PE headers or sections are inconsistent")]
    Inconsistent,
}

/// A section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Its name, zeros behind it.
    pub name: [u8; 8],
    /// Its length in memory.
    pub memory: usize,
    /// Where it lies in the file.
    pub at: usize,
    /// Its length in the file.
    pub length: usize,
}

impl Section {
    /// Whether it has that name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        let end = self.name.iter().position(|byte| *byte == 0);
        self.name.get(..end.unwrap_or(self.name.len())) == Some(name.as_bytes())
    }
}

/// A PE32+ file whose headers were read.
#[derive(Debug, Clone)]
pub struct Pe<'a> {
    /// The whole file.
    pub bytes: &'a [u8],
    /// Offset of the checksum.
    pub checksum: usize,
    /// Offset of the certificate table's directory entry, where there is one.
    pub certificate_entry: Option<usize>,
    /// Length of the certificates at the end of the file.
    pub certificates: usize,
    /// Length of the headers.
    pub headers: usize,
    /// Sections by their place in the file.
    pub sections: Vec<Section>,
}

impl<'a> Pe<'a> {
    /// Reads the headers.
    ///
    /// # Errors
    /// See [`PeError`].
    pub fn parse(file: &'a [u8]) -> Result<Self, PeError> {
        let pe = bytes::offset_at(file, 0x3c)?;
        if bytes::array::<4>(file, pe)? != *b"PE\0\0" {
            return Err(PeError::NotPe32Plus);
        }
        let coff = pe.saturating_add(4);
        let count = bytes::u16_at(file, coff.saturating_add(2))?;
        let optional_size = usize::from(bytes::u16_at(file, coff.saturating_add(16))?);
        let optional = coff.saturating_add(20);
        if bytes::u16_at(file, optional)? != 0x20b {
            return Err(PeError::NotPe32Plus);
        }
        let directories = optional.saturating_add(DIRECTORIES);
        let entry = directories.saturating_add(4 + CERTIFICATES * 8);
        let has_entry = bytes::offset_at(file, directories)? > CERTIFICATES;
        let certificates = if has_entry {
            bytes::offset_at(file, entry.saturating_add(4))?
        } else {
            0
        };
        let headers = bytes::offset_at(file, optional.saturating_add(SIZE_OF_HEADERS))?;
        Ok(Self {
            bytes: file,
            checksum: optional.saturating_add(CHECKSUM),
            certificate_entry: has_entry.then_some(entry),
            certificates,
            headers,
            sections: sections(file, optional.saturating_add(optional_size), count, headers)?,
        })
    }
}

fn sections(
    file: &[u8],
    table: usize,
    count: u16,
    headers: usize,
) -> Result<Vec<Section>, PeError> {
    if count > MAX_SECTIONS {
        return Err(PeError::Inconsistent);
    }
    let mut sections = Vec::new();
    for index in 0..usize::from(count) {
        let header = table.saturating_add(index.saturating_mul(SECTION_HEADER));
        sections.push(Section {
            name: bytes::array(file, header)?,
            memory: bytes::offset_at(file, header.saturating_add(8))?,
            length: bytes::offset_at(file, header.saturating_add(16))?,
            at: bytes::offset_at(file, header.saturating_add(20))?,
        });
    }
    sections.retain(|section| section.length > 0);
    sections.sort_by_key(|section| section.at);
    let mut end = headers;
    for section in &sections {
        if section.at < end {
            return Err(PeError::Inconsistent);
        }
        bytes::slice(file, section.at, section.length)?;
        end = section.at.saturating_add(section.length);
    }
    Ok(sections)
}

/// Files for tests: headers of 512 bytes, then the sections one after the other.
#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "fixed offsets of small files; a wrong one fails the test"
)]
pub(crate) mod made {
    /// A PE32+ file with these sections.
    pub(crate) fn pe(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut file = vec![0; 512];
        put(&mut file, 0x3c, &64u32.to_le_bytes());
        put(&mut file, 64, b"PE\0\0");
        let count = u16::try_from(sections.len()).unwrap();
        put(&mut file, 70, &count.to_le_bytes());
        put(&mut file, 84, &160u16.to_le_bytes());
        put(&mut file, 88, &0x20bu16.to_le_bytes());
        put(&mut file, 88 + 60, &512u32.to_le_bytes());
        put(&mut file, 88 + 108, &6u32.to_le_bytes());
        for (index, (name, data)) in sections.iter().enumerate() {
            let header = 88 + 160 + index * 40;
            let length = u32::try_from(data.len()).unwrap();
            let at = u32::try_from(file.len()).unwrap();
            put(&mut file, header, name.as_bytes());
            put(&mut file, header + 8, &length.to_le_bytes());
            put(&mut file, header + 16, &length.to_le_bytes());
            put(&mut file, header + 20, &at.to_le_bytes());
            file.extend_from_slice(data);
        }
        file
    }

    /// Overwrites bytes.
    pub(crate) fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::made::{pe, put};
    use super::*;

    #[test]
    fn sections_are_found_by_name_and_in_the_order_of_the_file() {
        let mut file = pe(&[(".one", b"1"), (".eight88", b"22"), (".empty", b"")]);
        let found = Pe::parse(&file).unwrap();
        assert_eq!(found.sections.len(), 2);
        assert!(found.sections[0].is(".one") && found.sections[1].is(".eight88"));
        assert!(!found.sections[0].is(".on") && !found.sections[1].is(".eight8"));
        assert_eq!((found.headers, found.sections[1].at), (512, 513));
        // Swapped in the table, they are still sorted by their place.
        put(&mut file, 88 + 160 + 20, &513u32.to_le_bytes());
        put(&mut file, 88 + 200 + 20, &512u32.to_le_bytes());
        put(&mut file, 88 + 200 + 16, &1u32.to_le_bytes());
        assert!(Pe::parse(&file).unwrap().sections[0].is(".eight88"));
    }

    #[test]
    fn overlap_too_many_sections_and_ends_inside_a_field_are_refused() {
        let good = pe(&[(".one", b"11"), (".two", b"22")]);
        let with = |at: usize, bytes: &[u8]| {
            let mut file = good.clone();
            put(&mut file, at, bytes);
            Pe::parse(&file).map(|_| ())
        };
        assert_eq!(with(70, &97u16.to_le_bytes()), Err(PeError::Inconsistent));
        let second = 88 + 200;
        assert_eq!(
            with(second + 20, &513u32.to_le_bytes()),
            Err(PeError::Inconsistent)
        );
        assert_eq!(
            with(second + 20, &511u32.to_le_bytes()),
            Err(PeError::Inconsistent)
        );
        assert!(with(second + 16, &u32::MAX.to_le_bytes()).is_err());
        assert_eq!(with(64, b"PX"), Err(PeError::NotPe32Plus));
        assert_eq!(with(88, b"\x0b\x01"), Err(PeError::NotPe32Plus));
        for length in 0..good.len() {
            assert!(Pe::parse(&good[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_file_with_few_directories_has_no_certificate_table() {
        let mut file = pe(&[(".one", b"1")]);
        assert_eq!(Pe::parse(&file).unwrap().certificate_entry, Some(88 + 144));
        put(&mut file, 88 + 108, &4u32.to_le_bytes());
        assert_eq!(Pe::parse(&file).unwrap().certificate_entry, None);
    }
}
