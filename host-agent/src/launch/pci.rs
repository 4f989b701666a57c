//! Addresses of the host's PCI functions, as QEMU's options take them.
//!
//! Deliberately not here: binding a device to vfio.

use std::fmt;
use std::str::FromStr;

/// `domain:bus:slot.function` in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciAddress(String);

/// Text that is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a PCI address of the form 0000:41:00.0")]
pub struct PciAddressError;

impl FromStr for PciAddress {
    type Err = PciAddressError;

    fn from_str(text: &str) -> Result<Self, PciAddressError> {
        let shape = b"xxxx:xx:xx.x";
        let fits = |(found, wanted): (u8, &u8)| match wanted {
            b'x' => found.is_ascii_digit() || matches!(found, b'a'..=b'f'),
            fixed => found == *fixed,
        };
        if text.len() == shape.len() && text.bytes().zip(shape).all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PciAddressError)
        }
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_an_address_is_one() {
        assert!("0000:41:00.0".parse::<PciAddress>().is_ok());
        for text in [
            "",
            "41:00.0",
            "0000:41:00.0,x=y",
            "0000:4g:00.0",
            "0000-41:00.0",
        ] {
            assert_eq!(text.parse::<PciAddress>(), Err(PciAddressError), "{text}");
        }
    }
}
