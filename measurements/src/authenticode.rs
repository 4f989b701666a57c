//! The Authenticode digest of a PE32+ file, as firmware measures the kernel it starts.
//!
//! Microsoft, "Windows Authenticode Portable Executable Signature Format", §"Calculating the PE
//! image hash": everything but the checksum, the certificate table's directory entry and the
//! certificates, sections in the order of their place in the file; padded to 8 bytes with zeros.

use sha2::{Digest as _, Sha384};

use crate::bytes::{self, OutOfFile};

const MAX_SECTIONS: u16 = 96;

/// Why a file has no Authenticode digest.
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

/// Where a section lies in the file.
#[derive(Debug, Clone, Copy)]
struct Section {
    at: usize,
    length: usize,
}

/// SHA-384 over the parts of the file that Authenticode covers.
///
/// # Errors
/// See [`PeError`].
pub fn digest(file: &[u8]) -> Result<[u8; 48], PeError> {
    let pe = bytes::offset_at(file, 0x3c)?;
    if bytes::array::<4>(file, pe)? != *b"PE\0\0" {
        return Err(PeError::NotPe32Plus);
    }
    let coff = pe.checked_add(4).ok_or(PeError::Inconsistent)?;
    let sections = bytes::u16_at(file, coff.saturating_add(2))?;
    let optional_size = usize::from(bytes::u16_at(file, coff.saturating_add(16))?);
    let optional = coff.saturating_add(20);
    if bytes::u16_at(file, optional)? != 0x20b {
        return Err(PeError::NotPe32Plus);
    }
    let headers = bytes::offset_at(file, optional.saturating_add(60))?;
    let checksum = optional.saturating_add(64);
    let directory = optional.saturating_add(112 + 4 * 8);
    let certificates = bytes::offset_at(file, directory.saturating_add(4))?;

    let mut hash = Sha384::new();
    hash.update(between(file, 0, checksum)?);
    hash.update(between(file, checksum.saturating_add(4), directory)?);
    hash.update(between(file, directory.saturating_add(8), headers)?);
    let mut hashed = headers;
    let table = optional.saturating_add(optional_size);
    for section in sorted_sections(file, table, sections)? {
        hash.update(bytes::slice(file, section.at, section.length)?);
        hashed = hashed
            .checked_add(section.length)
            .ok_or(PeError::Inconsistent)?;
    }
    let end = file
        .len()
        .checked_sub(certificates)
        .ok_or(PeError::Inconsistent)?;
    if end > hashed {
        hash.update(between(file, hashed, end)?);
    }
    let padding = end
        .max(hashed)
        .next_multiple_of(8)
        .saturating_sub(end.max(hashed));
    hash.update(bytes::slice(&[0; 8], 0, padding)?);
    Ok(hash.finalize().into())
}

fn between(file: &[u8], from: usize, to: usize) -> Result<&[u8], PeError> {
    let length = to.checked_sub(from).ok_or(PeError::Inconsistent)?;
    Ok(bytes::slice(file, from, length)?)
}

fn sorted_sections(file: &[u8], table: usize, count: u16) -> Result<Vec<Section>, PeError> {
    if count > MAX_SECTIONS {
        return Err(PeError::Inconsistent);
    }
    let mut sections = Vec::new();
    for index in 0..usize::from(count) {
        let header = table.saturating_add(index.saturating_mul(40));
        let length = bytes::offset_at(file, header.saturating_add(16))?;
        let at = bytes::offset_at(file, header.saturating_add(20))?;
        if length > 0 {
            sections.push(Section { at, length });
        }
    }
    sections.sort_by_key(|section| section.at);
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pe_file_is_refused() {
        assert!(digest(b"").is_err());
        assert_eq!(digest(&[0; 512]), Err(PeError::NotPe32Plus));
    }
}
