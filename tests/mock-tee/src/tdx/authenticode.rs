//! The digest by which firmware measures a PE image: everything but the checksum, the entry of the
//! certificate table, and the certificates. "Windows Authenticode Portable Executable Signature
//! Format", §"Calculating the PE Image Hash", but without padding, as edk2 does it.

use sha2::{Digest as _, Sha384};

const PE32_PLUS: u16 = 0x20b;

/// SHA-384 of a PE32+ image; `None` when it is no such image.
pub(super) fn digest(image: &[u8]) -> Option<[u8; 48]> {
    let pe = word(image, 0x3c)?;
    if image.get(pe..pe.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let count = usize::from(half(image, pe.checked_add(6)?)?);
    let optional_size = usize::from(half(image, pe.checked_add(20)?)?);
    let optional = pe.checked_add(24)?;
    if half(image, optional)? != PE32_PLUS {
        return None;
    }
    let checksum = optional.checked_add(64)?;
    let directory = optional.checked_add(112)?.checked_add(32)?;
    let headers = word(image, optional.checked_add(60)?)?;
    let certificates = word(image, directory.checked_add(4)?)?;
    let mut hash = Sha384::new();
    hash.update(image.get(..checksum)?);
    hash.update(image.get(checksum.checked_add(4)?..directory)?);
    hash.update(image.get(directory.checked_add(8)?..headers)?);
    let mut hashed = headers;
    for (start, end) in sections(image, optional.checked_add(optional_size)?, count)? {
        hash.update(image.get(start..end)?);
        hashed = hashed.checked_add(end.checked_sub(start)?)?;
    }
    // What lies behind the sections, without the certificates at the very end.
    let end = image.len().checked_sub(certificates)?;
    if hashed < end {
        hash.update(image.get(hashed..end)?);
    }
    Some(hash.finalize().into())
}

/// Where each non-empty section lies in the file, by ascending start.
fn sections(image: &[u8], table: usize, count: usize) -> Option<Vec<(usize, usize)>> {
    let headers = image.get(table..)?.chunks_exact(40).take(count);
    let place = |header: &[u8]| {
        let (size, start) = (word(header, 16)?, word(header, 20)?);
        Some((start, start.checked_add(size)?))
    };
    let mut places = headers.map(place).collect::<Option<Vec<_>>>()?;
    places.retain(|(start, end)| start < end);
    places.sort_unstable();
    Some(places)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*field))
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*field)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    /// Headers of 0x200 bytes, one section of 0x100, ten bytes behind it.
    fn image() -> Vec<u8> {
        let mut image = vec![0; 0x30a];
        image[0x3c] = 0x40;
        image[0x40..0x44].copy_from_slice(b"PE\0\0");
        image[0x46] = 1; // sections
        image[0x54] = 0xf0; // size of the optional header
        let optional = 0x58;
        image[optional..optional + 2].copy_from_slice(&PE32_PLUS.to_le_bytes());
        image[optional + 61] = 2; // SizeOfHeaders 0x200
        let section = optional + 0xf0;
        image[section + 17] = 1; // SizeOfRawData 0x100
        image[section + 21] = 2; // PointerToRawData 0x200
        image
    }

    #[test]
    fn checksum_and_certificate_entry_are_left_out_and_nothing_else() {
        let whole = digest(&image()).unwrap();
        let optional = 0x58;
        for at in [0x10, 0x1ff, 0x200, 0x2ff, 0x300, 0x309] {
            let mut other = image();
            other[at] ^= 1;
            assert_ne!(digest(&other).unwrap(), whole, "byte {at:#x}");
        }
        let mut other = image();
        other[optional + 64] ^= 1;
        assert_eq!(digest(&other).unwrap(), whole);
        other[optional + 112 + 32] ^= 1;
        assert_eq!(digest(&other).unwrap(), whole);
    }

    #[test]
    fn the_tail_is_hashed_as_it_is() {
        let mut longer = image();
        longer.push(0);
        assert_ne!(digest(&longer), digest(&image()));
    }

    #[test]
    fn what_is_no_image_has_no_digest() {
        assert_eq!(digest(&[]), None);
        assert_eq!(digest(&[0; 512]), None);
        let whole = image();
        assert_eq!(digest(&whole[..0x280]), None);
    }
}
