//! PCR 4 and PCR 11 of a TPM whose firmware (OVMF) starts a unified kernel image, each with the
//! events that lead to it. `docs/spec/measurements.md`, "PCR 4 and 11".
//!
//! Deliberately not here: registers that depend on the machine (0 to 3, 5 to 7), and those that
//! must stay zero because the stub was given nothing besides the file (12, 13).

use sha2::{Digest, Sha256, Sha384};

use crate::authenticode;
use crate::pe::{Pe, PeError};
use crate::uki::Uki;

/// What OVMF measures in words before the first boot option.
const BOOT_OPTION: &[u8] = b"Calling EFI Application from Boot Option";
/// The mark between the firmware's events and those of what it starts.
const SEPARATOR: [u8; 4] = [0; 4];

/// A digest in each bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BankDigests {
    /// In the SHA-256 bank.
    pub sha256: [u8; 32],
    /// In the SHA-384 bank.
    pub sha384: [u8; 48],
}

impl BankDigests {
    /// A register before the first event.
    pub const ZERO: Self = Self {
        sha256: [0; 32],
        sha384: [0; 48],
    };

    /// Of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            sha256: Sha256::digest(bytes).into(),
            sha384: Sha384::digest(bytes).into(),
        }
    }

    fn of_executable(pe: &Pe<'_>) -> Result<Self, PeError> {
        Ok(Self {
            sha256: authenticode::digest_of::<Sha256>(pe)?.into(),
            sha384: authenticode::digest_of::<Sha384>(pe)?.into(),
        })
    }

    /// This register after an event: the hash of the register and the event's digest.
    #[must_use]
    pub fn extended(self, event: &Self) -> Self {
        fn both<D: Digest>(register: &[u8], event: &[u8]) -> sha2::digest::Output<D> {
            D::new()
                .chain_update(register)
                .chain_update(event)
                .finalize()
        }
        Self {
            sha256: both::<Sha256>(&self.sha256, &event.sha256).into(),
            sha384: both::<Sha384>(&self.sha384, &event.sha384).into(),
        }
    }
}

/// One measured event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcrEvent {
    /// What was measured, in words.
    pub what: String,
    /// Its digests.
    pub digests: BankDigests,
}

impl PcrEvent {
    fn new(what: &str, digests: BankDigests) -> Self {
        Self {
            what: what.to_owned(),
            digests,
        }
    }
}

/// The register that events lead to.
#[must_use]
pub fn replay(events: &[PcrEvent]) -> BankDigests {
    let start = BankDigests::ZERO;
    events
        .iter()
        .fold(start, |register, event| register.extended(&event.digests))
}

/// Events of PCR 4: what the firmware starts, and what that starts in turn.
///
/// # Errors
/// See [`PeError`].
pub fn pcr4_events(uki: &Uki<'_>) -> Result<Vec<PcrEvent>, PeError> {
    Ok(vec![
        PcrEvent::new(
            "Calling EFI Application from Boot Option",
            BankDigests::of(BOOT_OPTION),
        ),
        PcrEvent::new("separator", BankDigests::of(&SEPARATOR)),
        PcrEvent::new(
            "unified kernel image (Authenticode)",
            BankDigests::of_executable(&uki.image)?,
        ),
        PcrEvent::new(
            ".linux (Authenticode)",
            BankDigests::of_executable(&uki.kernel)?,
        ),
    ])
}

/// Events of PCR 11: name, with a zero behind it, and contents of each section.
#[must_use]
pub fn pcr11_events(uki: &Uki<'_>) -> Vec<PcrEvent> {
    let section = |(name, contents): &(&'static str, &[u8])| {
        let mut terminated = name.as_bytes().to_vec();
        terminated.push(0);
        [
            PcrEvent::new(&format!("{name} (name)"), BankDigests::of(&terminated)),
            PcrEvent::new(&format!("{name} (contents)"), BankDigests::of(contents)),
        ]
    };
    uki.measured.iter().flat_map(section).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pe::made::pe;

    #[test]
    fn every_part_of_the_image_moves_its_register() {
        let kernel = pe(&[(".text", b"code")]);
        let registers = |kernel: &[u8], line: &[u8], stub: &[u8]| {
            let file = pe(&[(".text", stub), (".linux", kernel), (".cmdline", line)]);
            let uki = Uki::parse(&file).unwrap();
            (
                replay(&pcr4_events(&uki).unwrap()),
                replay(&pcr11_events(&uki)),
            )
        };
        let good = registers(&kernel, b"quiet", b"stub");
        let other_line = registers(&kernel, b"quiex", b"stub");
        assert!(good.0 != other_line.0 && good.1 != other_line.1);
        // The stub itself is no section of PCR 11.
        let other_stub = registers(&kernel, b"quiet", b"stuc");
        assert!(good.0 != other_stub.0 && good.1 == other_stub.1);
        let other_kernel = registers(&pe(&[(".text", b"cods")]), b"quiet", b"stub");
        assert!(good.0 != other_kernel.0 && good.1 != other_kernel.1);
    }

    #[test]
    fn words_and_separator_are_those_that_a_firmware_extended() {
        // From a boot of OVMF 2026.08 with swtpm, both banks.
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let words = BankDigests::of(BOOT_OPTION);
        assert!(hex(&words.sha256).starts_with("3d6772b4f84ed47595d72a2c4c5ffd15"));
        assert!(hex(&words.sha384).starts_with("77a0dab2312b4e1e57a84d865a21e5b2"));
        let separator = BankDigests::of(&SEPARATOR);
        assert!(hex(&separator.sha256).starts_with("df3f619804a92fdb4057192dc43dd748"));
        let name = BankDigests::of(b".linux\0");
        assert!(hex(&name.sha256).starts_with("0da293e37ad5511c59be47993769aacb"));
    }
}
