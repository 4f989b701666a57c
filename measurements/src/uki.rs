//! A unified kernel image: the sections that systemd-stub (version 257) measures and boots.
//!
//! systemd, `src/fundamental/uki.c`, names the sections and their order. A section that would make
//! the stub choose among several kernels, command lines or trees is refused, so that what is
//! measured follows from the file alone.

use crate::bytes;
use crate::pe::{Pe, PeError, Section};

/// What the stub measures when it is there, in its order.
const MEASURED: [&str; 10] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat",
    ".pcrpkey",
];
/// With these the stub chooses at boot what it measures, or adds to the initrd.
const REFUSED: [&str; 5] = [".pcrsig", ".profile", ".dtbauto", ".hwids", ".efifw"];
const KERNEL: &str = ".linux";

/// Why a file is no unified kernel image that can be predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UkiError {
    /// Not a PE32+ file of the specified form.
    #[error(transparent)]
    Pe(#[from] PeError),
    /// The kernel inside is not a PE32+ file of the specified form.
    #[error("section `.linux`: {0}")]
    Kernel(PeError),
    /// There is no kernel inside.
    #[error("no section `.linux`: not a unified kernel image")]
    NoKernel,
    /// A section is there twice: which one counts would be the stub's choice.
    #[error("section `{section}` is there twice")]
    Twice {
        /// Its name.
        section: &'static str,
    },
    /// A section is longer in memory than in the file.
    #[error("section `{section}` is longer in memory than in the file")]
    Memory {
        /// Its name.
        section: &'static str,
    },
    /// A section makes the measurement depend on more than the file.
    #[error("section `{section}` is not supported")]
    Unsupported {
        /// Its name.
        section: &'static str,
    },
}

/// A unified kernel image.
#[derive(Debug, Clone)]
pub struct Uki<'a> {
    /// The image itself.
    pub image: Pe<'a>,
    /// The kernel inside.
    pub kernel: Pe<'a>,
    /// Names and contents of what is measured, in the stub's order.
    pub measured: Vec<(&'static str, &'a [u8])>,
}

impl<'a> Uki<'a> {
    /// Finds the sections.
    ///
    /// # Errors
    /// See [`UkiError`].
    pub fn parse(file: &'a [u8]) -> Result<Self, UkiError> {
        let image = Pe::parse(file)?;
        let held = |name: &str| image.sections.iter().any(|section| section.is(name));
        if let Some(section) = REFUSED.into_iter().find(|name| held(name)) {
            return Err(UkiError::Unsupported { section });
        }
        let mut measured = Vec::new();
        for name in MEASURED {
            let mut found = image.sections.iter().filter(|section| section.is(name));
            match (found.next(), found.next()) {
                (None, _) => {}
                (Some(section), None) => measured.push((name, contents(file, section, name)?)),
                (Some(_), Some(_)) => return Err(UkiError::Twice { section: name }),
            }
        }
        let kernel = measured.first().filter(|(name, _)| *name == KERNEL);
        let (_, kernel) = kernel.ok_or(UkiError::NoKernel)?;
        let kernel = Pe::parse(kernel).map_err(UkiError::Kernel)?;
        Ok(Self {
            image,
            kernel,
            measured,
        })
    }
}

/// What the firmware has in memory: the file's bytes up to the length in memory.
fn contents<'a>(
    file: &'a [u8],
    section: &Section,
    name: &'static str,
) -> Result<&'a [u8], UkiError> {
    if section.memory > section.length {
        return Err(UkiError::Memory { section: name });
    }
    let held = bytes::slice(file, section.at, section.memory);
    Ok(held.map_err(PeError::OutOfFile)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pe::made::{pe, put};

    #[test]
    fn sections_come_in_the_order_of_the_stub_and_with_their_length_in_memory() {
        let kernel = pe(&[(".text", b"code")]);
        let mut file = pe(&[
            (".text", b"stub"),
            (".cmdline", b"quiet\0\0\0"),
            (".osrel", b"ID=x"),
            (".linux", &kernel),
        ]);
        put(&mut file, 88 + 200 + 8, &6u32.to_le_bytes());
        let uki = Uki::parse(&file).unwrap();
        let expected: [(&str, &[u8]); 3] = [
            (".linux", &kernel),
            (".osrel", b"ID=x"),
            (".cmdline", b"quiet\0"),
        ];
        assert_eq!(uki.measured, expected);
    }

    #[test]
    fn what_the_file_does_not_decide_alone_is_refused() {
        let kernel = pe(&[(".text", b"code")]);
        let linux = (".linux", kernel.as_slice());
        let refused = |sections: &[(&str, &[u8])]| Uki::parse(&pe(sections)).unwrap_err();
        assert_eq!(refused(&[(".text", b"code")]), UkiError::NoKernel);
        assert_eq!(
            refused(&[linux, linux]),
            UkiError::Twice { section: ".linux" }
        );
        assert_eq!(
            refused(&[linux, (".profile", b"ID=other")]),
            UkiError::Unsupported {
                section: ".profile"
            }
        );
        assert_eq!(
            refused(&[(".linux", &[0; 512])]),
            UkiError::Kernel(PeError::NotPe32Plus)
        );
        let mut longer = pe(&[linux, (".uname", b"6.12")]);
        put(&mut longer, 88 + 200 + 8, &5u32.to_le_bytes());
        let expected = UkiError::Memory { section: ".uname" };
        assert_eq!(Uki::parse(&longer).unwrap_err(), expected);
    }
    #[test]
    fn no_prefix_and_no_changed_byte_of_the_headers_panics() {
        let kernel = pe(&[(".text", b"code")]);
        let mut file = pe(&[(".text", b"stub"), (".linux", &kernel), (".uname", b"6.12")]);
        for length in 0..file.len() {
            let _refused_or_not = Uki::parse(&file[..length]);
        }
        for at in 0..512 {
            for mask in [0x01, 0x80, 0xff] {
                file[at] ^= mask;
                if let Ok(uki) = Uki::parse(&file) {
                    let _refused_or_not = crate::pcr::pcr4_events(&uki);
                }
                file[at] ^= mask;
            }
        }
    }
}
