//! TDX registers: MRTD from the firmware, RTMR1 and RTMR2 from the kernel, its command line and
//! the initrd, each with the events that lead to it. RTMR0 (the machine's shape) is not computed
//! here yet; reference values mark where it was captured.
//!
//! MRTD: Intel TDX module specification, TDH.MEM.PAGE.ADD and TDH.MR.EXTEND; page order of
//! mainline QEMU. Events: edk2 with QEMU direct kernel boot; the order differs between firmware
//! versions, hence the profile.

use protocol::digest::{Mrtd, Rtmr};
use sha2::{Digest as _, Sha384};

use crate::authenticode;
use crate::bytes::OutOfFile;
use crate::firmware::{AUGMENT, EXTEND, Firmware, FirmwareError, PAGE, TdxSection};
use crate::pe::PeError;
use crate::snp::DirectBoot;

const CHUNK: u64 = 256;

/// Order in which a launcher adds and measures pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOrder {
    /// Each page is measured right after it is added: mainline QEMU.
    SinglePass,
    /// All pages of a section are added, then all are measured: out-of-tree QEMU.
    TwoPass,
}

/// Why a register cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TdxError {
    /// The firmware's tables do not serve.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// The kernel is not an EFI executable.
    #[error("kernel: {0}")]
    Kernel(#[from] PeError),
}

impl From<OutOfFile> for TdxError {
    fn from(error: OutOfFile) -> Self {
        Self::Firmware(error.into())
    }
}

/// MRTD of a firmware file.
///
/// # Errors
/// See [`TdxError`].
pub fn mrtd(firmware: &Firmware<'_>, order: PageOrder) -> Result<Mrtd, TdxError> {
    let mut hash = Sha384::new();
    for section in firmware.tdx_sections()? {
        let contents = Contents::of(firmware, section)?;
        // Memory that is neither added nor measured may be of any length; the rest is bounded.
        if section.attributes & (AUGMENT | EXTEND) == AUGMENT {
            continue;
        }
        let pages = section.size.div_euclid(PAGE);
        match order {
            PageOrder::SinglePass => (0..pages).for_each(|page| {
                contents.add(&mut hash, page);
                contents.extend(&mut hash, page);
            }),
            PageOrder::TwoPass => {
                (0..pages).for_each(|page| contents.add(&mut hash, page));
                (0..pages).for_each(|page| contents.extend(&mut hash, page));
            }
        }
    }
    Ok(Mrtd(hash.finalize().into()))
}

/// A section and its bytes in the file.
#[derive(Debug)]
struct Contents<'a> {
    section: &'a TdxSection,
    bytes: &'a [u8],
}

impl<'a> Contents<'a> {
    fn of(firmware: &Firmware<'a>, section: &'a TdxSection) -> Result<Self, TdxError> {
        let outside = FirmwareError::Malformed {
            table: "TDX metadata",
        };
        let at = usize::try_from(section.data_offset).map_err(|_| outside)?;
        let length = usize::try_from(section.raw_size).map_err(|_| outside)?;
        Ok(Self {
            section,
            bytes: crate::bytes::slice(firmware.bytes, at, length)?,
        })
    }

    fn add(&self, hash: &mut Sha384, page: u64) {
        if self.section.attributes & AUGMENT == 0 {
            let gpa = self.section.base.saturating_add(page.saturating_mul(PAGE));
            hash.update(command(b"MEM.PAGE.ADD", gpa));
        }
    }

    fn extend(&self, hash: &mut Sha384, page: u64) {
        if self.section.attributes & EXTEND == 0 {
            return;
        }
        let first = page.saturating_mul(PAGE);
        for at in (first..first.saturating_add(PAGE)).step_by(256) {
            hash.update(command(b"MR.EXTEND", self.section.base.saturating_add(at)));
            let mut chunk = [0; 256];
            let held = usize::try_from(at).ok().and_then(|at| self.bytes.get(at..));
            for (to, from) in chunk.iter_mut().zip(held.unwrap_or_default()) {
                *to = *from;
            }
            debug_assert_eq!(u64::try_from(chunk.len()), Ok(CHUNK));
            hash.update(chunk);
        }
    }
}

/// The 128-byte buffer of an operation: its name, zero-padded to 16 bytes, and an address.
fn command(name: &[u8], gpa: u64) -> [u8; 128] {
    let mut buffer = [0; 128];
    for (to, from) in buffer.iter_mut().zip(name) {
        *to = *from;
    }
    for (to, from) in buffer.iter_mut().skip(16).zip(gpa.to_le_bytes()) {
        *to = from;
    }
    buffer
}

/// One measured event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What was measured, in words.
    pub what: &'static str,
    /// Its SHA-384.
    pub digest: [u8; 48],
}

/// Replays events into a register that starts at zero.
#[must_use]
pub fn replay(events: &[Event]) -> Rtmr {
    let extend = |register: [u8; 48], event: &Event| -> [u8; 48] {
        Sha384::new()
            .chain_update(register)
            .chain_update(event.digest)
            .finalize()
            .into()
    };
    Rtmr(events.iter().fold([0; 48], extend))
}

/// Events of RTMR1: the kernel and the firmware's steps around its start.
///
/// # Errors
/// See [`TdxError`].
pub fn rtmr1_events(boot: &DirectBoot<'_>) -> Result<Vec<Event>, TdxError> {
    let text = |what: &'static str| Event {
        what,
        digest: Sha384::digest(what).into(),
    };
    Ok(vec![
        Event {
            what: "kernel (Authenticode)",
            digest: authenticode::digest(boot.kernel)?,
        },
        text("Calling EFI Application from Boot Option"),
        Event {
            what: "separator",
            digest: Sha384::digest([0; 4]).into(),
        },
        text("Exit Boot Services Invocation"),
        text("Exit Boot Services Returned with Success"),
    ])
}

/// Events of RTMR2: the command line as the kernel's load options, and the initrd.
///
/// OVMF 2026.08 with QEMU 11.1 puts `initrd=initrd` in front of the command line; order and texts
/// of all events were read from the event log of a vTPM boot with that firmware and QEMU, whose
/// PCR 4, 5 and 9 are RTMR1 and RTMR2 of a TD (UEFI specification, table 38-1).
#[must_use]
pub fn rtmr2_events(boot: &DirectBoot<'_>) -> Vec<Event> {
    let options = format!("initrd=initrd {}\0", boot.command_line);
    let utf16: Vec<u8> = options.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        Event {
            what: "command line (UTF-16)",
            digest: Sha384::digest(utf16).into(),
        },
        Event {
            what: "initrd",
            digest: Sha384::digest(boot.initrd).into(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn firmware() -> Vec<u8> {
        let packed =
            include_bytes!("../../tests/fixtures/firmware/ubuntu-25.04-OVMF.fd.gz").as_slice();
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed)
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    #[test]
    fn mrtd_equals_the_value_in_quotes_signed_by_hardware() {
        let bytes = firmware();
        let firmware = Firmware::parse(&bytes).unwrap();
        assert_eq!(
            mrtd(&firmware, PageOrder::SinglePass).unwrap().to_string(),
            "7357a10d2e2724dffe68813e3cc4cfcde6814d749f2fb62e3953e54f6e0b50a2\
             19786afe2cd478f684b52c61837e1114"
        );
        assert_eq!(
            mrtd(&firmware, PageOrder::TwoPass).unwrap().to_string(),
            "7ce4cec5729d95652108c1dfe381a3ccb6a6a9061920f0479a3e4c7c806cf51d\
             2438958def083084880f2bf4dd2e14eb"
        );
    }

    #[test]
    fn the_command_line_event_equals_the_one_that_the_firmware_logged() {
        // Event of PCR 9 in a vTPM boot of OVMF 2026.08 with this command line, SHA-384 bank.
        let command_line = "console=ttyS0 quiet panic=-1";
        let events = rtmr2_events(&DirectBoot {
            kernel: b"",
            initrd: b"",
            command_line,
        });
        let logged = Rtmr(events[0].digest).to_string();
        assert!(
            logged.starts_with("b7c07cb50247bbce21cd9b9cd89915d5"),
            "{logged}"
        );
    }

    #[test]
    fn the_digests_of_the_firmwares_words_are_the_published_ones() {
        let digest = |words: &[u8]| Rtmr(Sha384::digest(words).into()).to_string();
        assert!(
            digest(b"Calling EFI Application from Boot Option").starts_with("77a0dab2312b4e1e")
        );
        assert!(digest(&[0; 4]).starts_with("394341b7182cd227"));
        assert!(digest(b"Exit Boot Services Invocation").starts_with("214b0bef13797560"));
    }
}
