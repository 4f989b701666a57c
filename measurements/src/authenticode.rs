//! The Authenticode digest of a PE32+ file, as firmware measures what it starts.
//!
//! Microsoft, "Windows Authenticode Portable Executable Signature Format", §"Calculating the PE
//! image hash": everything but the checksum, the certificate table's directory entry and the
//! certificates; sections in the order of their place in the file. What lies behind the last
//! section is hashed without padding, as edk2 does it (`MeasureBootPeCoff.c`, step 16); tools that
//! sign files pad them to 8 bytes first.

use sha2::digest::Output;
use sha2::{Digest, Sha384};

use crate::bytes;
use crate::pe::{Pe, PeError};

/// SHA-384 over the parts of the file that Authenticode covers.
///
/// # Errors
/// See [`PeError`].
pub fn digest(file: &[u8]) -> Result<[u8; 48], PeError> {
    Ok(digest_of::<Sha384>(&Pe::parse(file)?)?.into())
}

/// The same with any hash, over a file whose headers were read.
///
/// # Errors
/// See [`PeError`].
pub fn digest_of<D: Digest>(pe: &Pe<'_>) -> Result<Output<D>, PeError> {
    let mut hash = D::new();
    hash.update(between(pe.bytes, 0, pe.checksum)?);
    let mut at = pe.checksum.saturating_add(4);
    if let Some(entry) = pe.certificate_entry {
        hash.update(between(pe.bytes, at, entry)?);
        at = entry.saturating_add(8);
    }
    hash.update(between(pe.bytes, at, pe.headers)?);
    let mut hashed = pe.headers;
    for section in &pe.sections {
        hash.update(bytes::slice(pe.bytes, section.at, section.length)?);
        hashed = hashed.saturating_add(section.length);
    }
    // Certificates are the end of the file; there must be room for them behind the rest.
    let length = pe.bytes.len();
    if length > hashed {
        let end = length.checked_sub(pe.certificates);
        hash.update(between(
            pe.bytes,
            hashed,
            end.ok_or(PeError::Inconsistent)?,
        )?);
    }
    Ok(hash.finalize())
}

fn between(file: &[u8], from: usize, to: usize) -> Result<&[u8], PeError> {
    let length = to.checked_sub(from).ok_or(PeError::Inconsistent)?;
    Ok(bytes::slice(file, from, length)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pe::made::{pe, put};

    #[test]
    fn what_is_no_pe_file_is_refused() {
        assert!(digest(b"").is_err());
        assert_eq!(digest(&[0; 512]), Err(PeError::NotPe32Plus));
    }

    #[test]
    fn covers_every_byte_but_checksum_certificate_entry_and_certificates() {
        let mut file = pe(&[(".one", b"1234"), (".two", b"56")]);
        file.extend_from_slice(b"tail");
        let certificates_at = file.len();
        file.extend_from_slice(b"signed!!");
        let entry = 88 + 144;
        put(&mut file, entry + 4, &8u32.to_le_bytes());
        let good = digest(&file).unwrap();
        let skipped = |at: usize| {
            (152..156).contains(&at) || (entry..entry + 8).contains(&at) || at >= certificates_at
        };
        // Everything that steers the parser is left alone here.
        let steering = |at: usize| at < 248 || (248..248 + 80).contains(&at);
        for at in 0..file.len() {
            if steering(at) && !(152..156).contains(&at) {
                continue;
            }
            file[at] ^= 1;
            assert_eq!(digest(&file).unwrap() == good, skipped(at), "byte {at}");
            file[at] ^= 1;
        }
        put(&mut file, entry + 4, &(1u32 << 20).to_le_bytes());
        assert_eq!(digest(&file), Err(PeError::Inconsistent));
    }
}
