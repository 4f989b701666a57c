//! MRTD, RTMR1 and RTMR2 of a directly booted guest, from the files that the hypervisor was given.
//!
//! Written from the TDX module's and edk2's rules on its own; `measurements` has other code for
//! the same, and only because neither knows the other does their equality prove anything. RTMR0
//! is a captured value (`captured`).

use protocol::digest::{Mrtd, Rtmr};
use sha2::{Digest as _, Sha384};

use super::authenticode;
use super::captured::Hardware;

/// Registers of one launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// The firmware.
    pub mrtd: Mrtd,
    /// Machine shape, kernel, command line with initrd.
    pub rtmrs: [Rtmr; 3],
}

/// Files that do not have the expected form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegistersError {
    /// The firmware has no TDX metadata, or malformed ones.
    #[error("the firmware has no usable TDX metadata")]
    Firmware,
    /// The kernel is not a PE32+ image.
    #[error("the kernel is not a PE32+ image")]
    Kernel,
    /// The events of a captured RTMR0 do not make its value.
    #[error("the captured rtmr0 is malformed")]
    Captured,
    /// No RTMR0 was captured from such a machine.
    #[error("no rtmr0 was captured from a machine of this shape")]
    NotCaptured,
}

const PAGE: usize = 4096;
const CHUNK: usize = 256;
/// Footer of the table of GUIDs at the end of the firmware.
const TABLE: [u8; 16] = guid(0x96b5_82de, 0x1fb2, 0x45f7, 0xbaea_a366_c55a_082d);
const METADATA: [u8; 16] = guid(0xe47a_6535, 0x984a, 0x4798, 0x865e_4685_a7bf_8ec2);

/// Digests of the constant events of edk2 and of the kernel's EFI stub.
const CALLING: &[u8] = b"Calling EFI Application from Boot Option";
const SEPARATOR: &[u8] = &[0; 4];
const EXIT: &[u8] = b"Exit Boot Services Invocation";
const EXITED: &[u8] = b"Exit Boot Services Returned with Success";
/// What edk2 2026.08 puts in front of the command line when there is an initrd.
const INITRD_ARGUMENT: &str = "initrd=initrd ";

impl Registers {
    /// Registers of a guest that is booted with these files.
    ///
    /// # Errors
    /// See [`RegistersError`].
    pub fn of(
        firmware: &[u8],
        kernel: &[u8],
        initrd: &[u8],
        command_line: &str,
        hardware: &Hardware,
    ) -> Result<Self, RegistersError> {
        let image = authenticode::digest(kernel).ok_or(RegistersError::Kernel)?;
        Ok(Self {
            mrtd: mrtd(firmware).ok_or(RegistersError::Firmware)?,
            rtmrs: [hardware.rtmr0()?, rtmr1(image), rtmr2(command_line, initrd)],
        })
    }
}

/// Kernel, call, separator, and the two events of leaving the boot services.
fn rtmr1(image: [u8; 48]) -> Rtmr {
    extend(&[
        image,
        sha384(CALLING),
        sha384(SEPARATOR),
        sha384(EXIT),
        sha384(EXITED),
    ])
}

/// Command line as UTF-16 with its terminator, then the initrd.
fn rtmr2(command_line: &str, initrd: &[u8]) -> Rtmr {
    let text = [INITRD_ARGUMENT, command_line, "\0"].concat();
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    extend(&[sha384(&units), sha384(initrd)])
}

pub(super) fn extend(digests: &[[u8; 48]]) -> Rtmr {
    Rtmr(digests.iter().fold([0; 48], |register, digest| {
        let hash = Sha384::new().chain_update(register).chain_update(digest);
        hash.finalize().into()
    }))
}

fn sha384(bytes: &[u8]) -> [u8; 48] {
    Sha384::digest(bytes).into()
}

/// One section of the firmware's metadata.
#[derive(Debug, Clone, Copy)]
struct Section {
    offset: usize,
    length: usize,
    gpa: u64,
    pages: u64,
    attributes: u32,
}

/// Adds every page of every section, and extends the measured ones, page by page.
fn mrtd(firmware: &[u8]) -> Option<Mrtd> {
    let mut hash = Sha384::new();
    for section in sections(firmware)? {
        let added = section.attributes & 2 == 0;
        let extended = section.attributes & 1 == 1;
        let end = section.offset.checked_add(section.length)?;
        let mut rest = firmware.get(section.offset..end)?;
        for number in 0..section.pages {
            let gpa = section.gpa.checked_add(number.checked_mul(4096)?)?;
            if added {
                hash.update(command(b"MEM.PAGE.ADD", gpa));
            }
            if extended {
                let (page, behind) = rest.split_at_checked(PAGE)?;
                extend_page(&mut hash, gpa, page);
                rest = behind;
            }
        }
    }
    Some(Mrtd(hash.finalize().into()))
}

fn extend_page(hash: &mut Sha384, gpa: u64, page: &[u8]) {
    for (number, chunk) in (0u64..).zip(page.chunks(CHUNK)) {
        let at = gpa.saturating_add(number.saturating_mul(256));
        hash.update(command(b"MR.EXTEND", at));
        hash.update(chunk);
    }
}

/// A command's 128 bytes: name, padded to 16, and address.
fn command(name: &[u8], gpa: u64) -> [u8; 128] {
    let mut buffer = [0; 128];
    let address = gpa.to_le_bytes();
    let fields = name.iter().zip(0usize..).chain(address.iter().zip(16..));
    for (byte, at) in fields {
        if let Some(slot) = buffer.get_mut(at) {
            *slot = *byte;
        }
    }
    buffer
}

fn sections(firmware: &[u8]) -> Option<Vec<Section>> {
    let from_end = u32_at(&table_entry(firmware, &METADATA)?, 0)?;
    let start = firmware
        .len()
        .checked_sub(usize::try_from(from_end).ok()?)?;
    let descriptor = firmware.get(start..)?;
    if descriptor.get(..4)? != b"TDVF" || u32_at(descriptor, 8)? != 1 {
        return None;
    }
    let count = usize::try_from(u32_at(descriptor, 12)?).ok()?;
    let entries = descriptor.get(16..)?.chunks_exact(32).take(count);
    let found = entries.map(section).collect::<Option<Vec<_>>>()?;
    (found.len() == count).then_some(found)
}

fn section(entry: &[u8]) -> Option<Section> {
    let (gpa, memory) = (u64_at(entry, 8)?, u64_at(entry, 16)?);
    let whole_pages = gpa.is_multiple_of(4096) && memory.is_multiple_of(4096);
    whole_pages.then_some(Section {
        offset: usize::try_from(u32_at(entry, 0)?).ok()?,
        length: usize::try_from(u32_at(entry, 4)?).ok()?,
        gpa,
        pages: memory >> 12,
        attributes: u32_at(entry, 28)?,
    })
}

/// The table lies before the last 32 bytes and is walked backwards: data, u16 length, GUID.
fn table_entry(firmware: &[u8], wanted: &[u8; 16]) -> Option<Vec<u8>> {
    let before = firmware.len().checked_sub(32)?;
    let (mut rest, footer) = firmware
        .get(..before)?
        .split_at_checked(before.checked_sub(18)?)?;
    let whole = usize::from(u16::from_le_bytes(*footer.first_chunk()?));
    if footer.get(2..)? != TABLE {
        return None;
    }
    let mut left = whole.checked_sub(18)?;
    while left >= 18 {
        let (front, name) = rest.split_last_chunk::<16>()?;
        let (front, length) = front.split_last_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length));
        let data = length.checked_sub(18)?;
        let (before, value) = front.split_at_checked(front.len().checked_sub(data)?)?;
        if name == wanted {
            return Some(value.to_vec());
        }
        rest = before;
        left = left.checked_sub(length)?;
    }
    None
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*field))
}

/// The bytes of a GUID: its first three fields are little-endian.
const fn guid(a: u32, b: u16, c: u16, d: u64) -> [u8; 16] {
    let [a0, a1, a2, a3] = a.to_le_bytes();
    let [b0, b1] = b.to_le_bytes();
    let [c0, c1] = c.to_le_bytes();
    let [d0, d1, d2, d3, d4, d5, d6, d7] = d.to_be_bytes();
    [
        a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    /// The digest of `tests/fixtures/firmware` in a quote that real hardware signed.
    #[test]
    fn mrtd_is_that_of_real_hardware() {
        let packed = include_bytes!("../../../fixtures/firmware/ubuntu-25.04-OVMF.fd.gz");
        let mut firmware = Vec::new();
        let mut unpacking = flate2::read::GzDecoder::new(&packed[..]);
        unpacking.read_to_end(&mut firmware).unwrap();
        let golden = "7357a10d2e2724dffe68813e3cc4cfcde6814d749f2fb62e3953e54f6e0b50a2\
            19786afe2cd478f684b52c61837e1114";
        assert_eq!(mrtd(&firmware).unwrap().to_string(), golden);
    }

    #[test]
    fn firmware_without_metadata_is_refused() {
        assert_eq!(mrtd(&[0; 4096]), None);
        assert_eq!(mrtd(&[]), None);
    }

    /// Prefixes of the constant events' digests in a real event log.
    #[test]
    fn constant_events_have_the_digests_of_a_real_log() {
        for (event, start) in [
            (CALLING, [0x77, 0xa0, 0xda, 0xb2]),
            (SEPARATOR, [0x39, 0x43, 0x41, 0xb7]),
            (EXIT, [0x21, 0x4b, 0x0b, 0xef]),
            (EXITED, [0x0a, 0x2e, 0x01, 0xc8]),
        ] {
            assert_eq!(sha384(event)[..4], start);
        }
    }

    #[test]
    fn an_extended_register_is_the_hash_of_the_old_one_and_the_digest() {
        let once = Sha384::digest([[0; 48], [7; 48]].concat());
        assert_eq!(extend(&[[7; 48]]).0, <[u8; 48]>::from(once));
    }
}
