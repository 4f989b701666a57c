//! AMD's product lines, as roots, reports and VCEKs name them.

use serde::{Deserialize, Serialize};

/// A product line with a root (ARK) of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004 and 8004: Genoa, Bergamo and Siena share one root.
    Genoa,
    /// EPYC 9005.
    Turin,
}

/// Its name in policies and verdicts.
impl core::fmt::Display for Product {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.serialize(f)
    }
}

/// The processor that a report of version 3 or later names: family, model, stepping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cpuid(pub(crate) [u8; 3]);

impl core::fmt::Display for Cpuid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [family, model, stepping] = self.0;
        write!(
            f,
            "family {family:#04x} model {model:#04x} stepping {stepping}"
        )
    }
}

impl Product {
    /// Every product line.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// The product of a CPUID family and model, AMD publication 57230.
    pub(crate) const fn of(cpuid: Cpuid) -> Option<Self> {
        match cpuid.0 {
            [0x19, 0x00..=0x0f, _] => Some(Self::Milan),
            [0x19, 0x10..=0x1f | 0xa0..=0xaf, _] => Some(Self::Genoa),
            [0x1a, 0x00..=0x1f, _] => Some(Self::Turin),
            _ => None,
        }
    }

    /// Whether a VCEK's product name, without its stepping, is of this line.
    pub(crate) fn has_name(self, name: &str) -> bool {
        match self {
            Self::Milan => name == "Milan",
            Self::Genoa => matches!(name, "Genoa" | "Bergamo" | "Siena"),
            Self::Turin => name == "Turin",
        }
    }
}
