//! Which trusted execution environment, and which strength of evidence.

use crate::codec::DecodeError;

/// The kind of trusted execution environment of the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TeeKind {
    /// AMD SEV-SNP.
    SevSnp,
    /// Intel TDX.
    Tdx,
}

impl TeeKind {
    /// The byte that stands for it in every layout.
    #[must_use]
    pub const fn wire(self) -> u8 {
        match self {
            Self::SevSnp => 1,
            Self::Tdx => 2,
        }
    }

    /// Reads the byte of [`TeeKind::wire`].
    ///
    /// # Errors
    /// `OutOfRange` for any other byte.
    pub const fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::SevSnp),
            2 => Ok(Self::Tdx),
            _ => Err(DecodeError::OutOfRange { field: "tee kind" }),
        }
    }

    /// The name used in configuration, pins and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SevSnp => "sev-snp",
            Self::Tdx => "tdx",
        }
    }
}

/// What makes a Statement fresh (`docs/spec/evidence.md`). A class never falls silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EvidenceClass {
    /// The hardware report covers this very connection's nonce and exporter.
    Fresh,
    /// The hardware report covers a recent beacon; an epoch key signs the connection.
    Epoch,
    /// Relayed requests under an attested HPKE key.
    Hpke,
}

impl EvidenceClass {
    /// The byte that stands for it in every layout.
    #[must_use]
    pub const fn wire(self) -> u8 {
        match self {
            Self::Fresh => 1,
            Self::Epoch => 2,
            Self::Hpke => 3,
        }
    }

    /// Reads the byte of [`EvidenceClass::wire`].
    ///
    /// # Errors
    /// `OutOfRange` for any other byte.
    pub const fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::Fresh),
            2 => Ok(Self::Epoch),
            3 => Ok(Self::Hpke),
            _ => Err(DecodeError::OutOfRange {
                field: "evidence class",
            }),
        }
    }

    /// The name used in policies and verdicts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Epoch => "epoch",
            Self::Hpke => "hpke",
        }
    }
}
