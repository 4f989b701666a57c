//! Versions of drivers and of firmware, as reports and manifests write them.

use core::fmt;
use core::str::FromStr;

use protocol::written_as_text;

/// A driver's version: two to four decimal numbers with dots between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverVersion {
    numbers: Vec<u32>,
    /// As it was written: `550.90.07` and `550.90.7` are not the same text.
    text: String,
}

/// A firmware version (VBIOS, switch BIOS): five bytes, written `96.00.A5.00.01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirmwareVersion(pub(super) [u8; 5]);

/// Text that is not a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a version of the specified form")]
pub struct DeviceVersionError;

impl FromStr for DriverVersion {
    type Err = DeviceVersionError;

    fn from_str(text: &str) -> Result<Self, DeviceVersionError> {
        let number = |part: &str| {
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            let fits = digits && (1..=5).contains(&part.len());
            let value = part.parse().map_err(|_| DeviceVersionError)?;
            fits.then_some(value).ok_or(DeviceVersionError)
        };
        let numbers = text
            .split('.')
            .map(number)
            .collect::<Result<Vec<u32>, _>>()?;
        if !(2..=4).contains(&numbers.len()) {
            return Err(DeviceVersionError);
        }
        Ok(Self {
            numbers,
            text: text.to_owned(),
        })
    }
}

impl DriverVersion {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether this is `minimum` or newer, by number and not by text.
    pub(super) fn reaches(&self, minimum: &Self) -> bool {
        self.numbers >= minimum.numbers
    }
}

impl fmt::Display for DriverVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for FirmwareVersion {
    type Err = DeviceVersionError;

    fn from_str(text: &str) -> Result<Self, DeviceVersionError> {
        let byte = |part: &str| {
            let digit = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
            let fits = part.len() == 2 && part.bytes().all(digit);
            u8::from_str_radix(part, 16).ok().filter(|_| fits)
        };
        let bytes: Option<Vec<u8>> = text.split('.').map(byte).collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(DeviceVersionError)
    }
}

impl fmt::Display for FirmwareVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e] = self.0;
        write!(f, "{a:02X}.{b:02X}.{c:02X}.{d:02X}.{e:02X}")
    }
}

written_as_text!(DriverVersion, FirmwareVersion);

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    #[test]
    fn drivers_are_compared_by_number() {
        let version = |text: &str| text.parse::<DriverVersion>();
        let old = version("550.90.07").unwrap();
        assert!(version("550.144.03").unwrap().reaches(&old));
        assert!(version("590.12").unwrap().reaches(&old));
        assert!(!version("550.90").unwrap().reaches(&old));
        assert!(!version("99.90.07").unwrap().reaches(&old));
        // Parts of one digit, which as text would be the greater.
        assert!(!version("550.9.08").unwrap().reaches(&old));
        assert!(!version("9.99999").unwrap().reaches(&old));
        let same = version("550.90.7").unwrap();
        assert!(same.reaches(&old) && old.reaches(&same));
        assert_ne!(same.as_str(), old.as_str());
        assert!(version("550.90.8").unwrap().reaches(&old));
        for bad in [
            "",
            "550",
            "550.",
            "550.x",
            "550.+9",
            "1.2.3.4.5",
            "550.123456",
            "550..7",
            ".9",
        ] {
            assert_eq!(version(bad), Err(DeviceVersionError), "{bad}");
        }
    }

    #[test]
    fn firmware_round_trips_and_takes_one_spelling() {
        let version = |text: &str| text.parse::<FirmwareVersion>();
        let known = version("96.00.A5.00.01").unwrap();
        assert_eq!(known.to_string(), "96.00.A5.00.01");
        assert!(version("96.00.A4.FF.FF").unwrap() < known);
        for bad in [
            "96.00.a5.00.01",
            "96.00.A5.00",
            "96.00.A5.00.01.02",
            "96.0.A5.00.01",
            "6.00.A5.00.01",
            "96.00.A5.00.1",
            "96.00.A5.0.001",
            "96.00.A5..001",
        ] {
            assert_eq!(version(bad), Err(DeviceVersionError), "{bad}");
        }
    }
}
