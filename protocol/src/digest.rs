//! Byte strings with a kind: two digests of different things never meet as plain bytes.
//!
//! Each type prints as lower-case hex and parses only that. Secrets do not live here.

use core::fmt;

/// Text that is not the hex form of the expected length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} lower-case hex digits")]
pub struct HexError {
    /// Number of hex digits that the type has.
    pub expected: usize,
}

/// Writes bytes as lower-case hex.
///
/// # Errors
/// Those of the formatter.
pub fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads exactly `N` bytes of lower-case hex.
///
/// # Errors
/// `HexError` for another length, an upper-case digit or anything else.
pub fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let refused = HexError {
        expected: N.saturating_mul(2),
    };
    if text.len() != refused.expected {
        return Err(refused);
    }
    let mut out = [0; N];
    for (byte, [high, low]) in out.iter_mut().zip(text.as_bytes().as_chunks().0) {
        let high = nibble(*high).ok_or(refused)?;
        let low = nibble(*low).ok_or(refused)?;
        *byte = (high << 4) | low;
    }
    Ok(out)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

/// Types whose text is their form in documents: read only as they are written.
#[macro_export]
macro_rules! written_as_text {
    ($($name:ident),*) => {$(
        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text: $crate::alloc::string::String = ::serde::Deserialize::deserialize(from)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }
    )*};
}
pub use crate::written_as_text;

/// Declares fixed-size byte strings, each with its own type.
#[macro_export]
macro_rules! byte_strings {
    ($($(#[$doc:meta])* $name:ident($length:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// All bytes zero: "absent" where the specification says so.
            pub const ZERO: Self = Self([0; $length]);
            /// Length in bytes.
            pub const LENGTH: usize = $length;

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// Whether every byte is zero.
            #[must_use]
            pub fn is_zero(&self) -> bool {
                self.0.iter().all(|byte| *byte == 0)
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                $crate::digest::write_hex(&self.0, f)
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl ::core::str::FromStr for $name {
            type Err = $crate::digest::HexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::digest::parse_hex(text).map(Self)
            }
        }

        $crate::written_as_text!($name);
    )*};
}

byte_strings! {
    /// SHA-256 of the launch configuration's bytes (`docs/spec/launch-configuration.md`).
    ConfigDigest(32);
    /// Names a model image: SHA-256 over the verity parameters, see [`crate::verity`].
    ModelDigest(32);
    /// SHA-256 over the list of loaded models, see [`crate::statement::models_digest`].
    ModelsDigest(32);
    /// SHA-256 of a Statement's bytes under its domain.
    StatementDigest(32);
    /// SHA-256 of a TLS key's SubjectPublicKeyInfo, DER.
    SpkiDigest(32);
    /// SHA-256 of a signed receipt's body under its domain.
    ReceiptDigest(32);
    /// Merkle root over the receipts of one payment channel and epoch.
    ReceiptsRoot(32);
    /// SHA-256 of the event log's bytes; zero on SEV-SNP.
    EventLogDigest(32);
    /// SHA-256 of the GPU evidence's bytes; zero without GPUs.
    GpuEvidenceDigest(32);
    /// The nonce of one device's report, see [`crate::gpu_evidence::device_nonce`].
    GpuNonce(32);
    /// The nonce of revocation answers, see [`crate::gpu_evidence::ocsp_nonce`].
    OcspNonce(32);
    /// SHA-256 of the HPKE key configuration; zero outside class `hpke`.
    HpkeConfigDigest(32);
    /// What makes a Statement fresh: a Merkle root over challenges, or a beacon's hash.
    Freshness(32);
    /// A client's challenge nonce.
    Nonce(32);
    /// A TLS exporter value for the label of [`crate::evidence::EXPORTER_LABEL`].
    Exporter(32);
    /// Drawn once per boot by init.
    BootId(32);
    /// Ed25519 public key with which serve signs receipts.
    ReceiptKey(32);
    /// Ed25519 public key of an evidence epoch; zero outside class `epoch`.
    EpochKey(32);
    /// Ed25519 public key with which a client signs vouchers.
    PayerKey(32);
    /// Ed25519 public key with which a provider grants its machines.
    ProviderKey(32);
    /// An Ed25519 signature, 64 bytes `R || S`.
    Signature(64);
    /// SEV-SNP launch measurement, SHA-384.
    LaunchDigest(48);
    /// SEV-SNP HOST_DATA.
    HostData(32);
    /// SEV-SNP CHIP_ID.
    ChipId(64);
    /// Name of an Intel platform, as its PCK certificate has it.
    Ppid(16);
    /// TDX MRTD, SHA-384.
    Mrtd(48);
    /// A TDX run-time measurement register, SHA-384.
    Rtmr(48);
    /// TDX MRCONFIGID.
    MrConfigId(48);
    /// The 64 bytes that a TEE report signs for its caller.
    ReportData(64);
    /// Chosen by the client so that digests of its content do not reveal it.
    Salt(32);
    /// SHA-256 of a request's body under its domain and salt.
    RequestDigest(32);
    /// SHA-256 of an answer's text under its domain and salt.
    ResponseDigest(32);
    /// Names one measured machine shape in the registry, see [`crate::reference_values`].
    MeasurementKey(32);
    /// The 256-bit account part of a TON address.
    AccountId(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn hex_round_trips_and_nothing_but_lower_case_is_taken() {
        let digest = Nonce([0xa7; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        let refused = Err(HexError { expected: 64 });
        assert_eq!(digest.to_string().to_uppercase().parse::<Nonce>(), refused);
        assert_eq!("00".parse::<Nonce>(), refused);
        assert_eq!("g0".repeat(32).parse::<Nonce>(), refused);
        assert_eq!("é".repeat(32).parse::<Nonce>(), refused);
    }
}
