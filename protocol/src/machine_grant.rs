//! Machine grants: a provider's signed word that a machine is its own, for one launch
//! configuration and until one time. `docs/spec/machine-grant.md`.
//!
//! The payee in a launch configuration says who is paid, not whose machine it is. Whether a machine
//! is the granted one is the verifier's to say.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

use ed25519_dalek::SigningKey;

use crate::codec::{DecodeError, Reader, Writer};
use crate::digest::{
    ChipId, ConfigDigest, HexError, Ppid, ProviderKey, Signature, written_as_text,
};
use crate::gpu_evidence::MAX_DEVICES;
use crate::tee::TeeKind;
use crate::ton::NetworkId;

/// A serial number is at most this long, as in certificates.
pub const MAX_SERIAL_BYTES: usize = 21;

const MAGIC: &[u8; 8] = b"COCOGRNT";
const VERSION: u16 = 1;
const DOMAIN: &[u8] = b"cocoon/machine-grant/v1\0";

/// Identity of a processor. Its text is lower-case hex: 128 digits of a CHIP_ID, 32 of a PPID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChipIdentity {
    /// CHIP_ID of an AMD processor.
    SevSnp(ChipId),
    /// PPID of an Intel platform.
    Tdx(Ppid),
}

impl fmt::Display for ChipIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SevSnp(chip) => chip.fmt(f),
            Self::Tdx(ppid) => ppid.fmt(f),
        }
    }
}

impl core::str::FromStr for ChipIdentity {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        let amd = text.parse().map(Self::SevSnp);
        amd.or_else(|_| text.parse().map(Self::Tdx))
    }
}

written_as_text!(ChipIdentity);

/// What a provider grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineGrant {
    /// The network on which the machine earns.
    pub network: NetworkId,
    /// Its processor.
    pub chip: ChipIdentity,
    /// Serial numbers of all its GPUs and switches, as their certificates have them.
    pub devices: BTreeSet<Vec<u8>>,
    /// What it is launched with.
    pub configuration: ConfigDigest,
    /// Unix seconds, the last one at which the grant holds.
    pub not_after: u64,
}

/// A grant with the provider's key and signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedGrant {
    /// What is granted.
    pub grant: MachineGrant,
    /// The key that the registry knows as the provider's.
    pub provider: ProviderKey,
    /// Ed25519 over the domain and the bytes before the signature.
    pub signature: Signature,
}

impl MachineGrant {
    /// Signs the grant.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> SignedGrant {
        let mut signed = SignedGrant {
            grant: self,
            provider: ProviderKey(key.verifying_key().to_bytes()),
            signature: Signature::ZERO,
        };
        signed.signature = Signature::by(key, &signed.message());
        signed
    }
}

impl SignedGrant {
    /// Whether the signature is that of the key which the grant names. Whether that key is a
    /// provider's, the grant cannot say.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        let message = self.message();
        self.signature.holds(self.provider.as_bytes(), &message)
    }

    /// The encoded grant.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.body().as_slice(), self.signature.as_bytes()].concat()
    }

    /// Decodes exactly one grant. The signature is not checked.
    ///
    /// # Errors
    /// A [`DecodeError`], also for serial numbers that are not in ascending order or not distinct.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        from.magic(MAGIC)?;
        from.magic(&VERSION.to_le_bytes())?;
        let signed = Self {
            provider: ProviderKey(from.array()?),
            grant: MachineGrant {
                network: NetworkId(from.u32()?.cast_signed()),
                chip: match TeeKind::from_wire(from.u8()?)? {
                    TeeKind::SevSnp => ChipIdentity::SevSnp(ChipId(from.array()?)),
                    TeeKind::Tdx => ChipIdentity::Tdx(Ppid(from.array()?)),
                },
                devices: read_serials(&mut from)?,
                configuration: ConfigDigest(from.array()?),
                not_after: from.u64()?,
            },
            signature: Signature(from.array()?),
        };
        from.finish()?;
        Ok(signed)
    }

    fn message(&self) -> Vec<u8> {
        [DOMAIN, &self.body()].concat()
    }

    /// Everything before the signature.
    fn body(&self) -> Vec<u8> {
        let (grant, mut out) = (&self.grant, Writer::new());
        out.raw(MAGIC).u16(VERSION).raw(self.provider.as_bytes());
        out.u32(grant.network.0.cast_unsigned());
        match &grant.chip {
            ChipIdentity::SevSnp(chip) => out.u8(TeeKind::SevSnp.wire()).raw(chip.as_bytes()),
            ChipIdentity::Tdx(ppid) => out.u8(TeeKind::Tdx.wire()).raw(ppid.as_bytes()),
        };
        out.count(grant.devices.len());
        for serial in &grant.devices {
            out.count(serial.len()).raw(serial);
        }
        out.raw(grant.configuration.as_bytes()).u64(grant.not_after);
        out.finish()
    }
}

/// Ascending, so that one set has one encoding.
fn read_serials(from: &mut Reader<'_>) -> Result<BTreeSet<Vec<u8>>, DecodeError> {
    let mut serials = BTreeSet::new();
    for _ in 0..from.count("granted devices", MAX_DEVICES)? {
        let length = from.count("serial number", MAX_SERIAL_BYTES)?;
        let serial = from.slice(length)?.to_vec();
        if serial.is_empty() || serials.last() >= Some(&serial) {
            return Err(DecodeError::OutOfRange {
                field: "serial number",
            });
        }
        serials.insert(serial);
    }
    Ok(serials)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }

    fn grant() -> MachineGrant {
        MachineGrant {
            network: NetworkId(-7357),
            chip: ChipIdentity::SevSnp(ChipId([7; 64])),
            devices: [vec![1, 2], vec![1, 3], vec![2]].into(),
            configuration: ConfigDigest([8; 32]),
            not_after: 1_800_000_000,
        }
    }

    #[test]
    fn round_trips_and_holds_under_the_key_that_signed() {
        let tdx = MachineGrant {
            chip: ChipIdentity::Tdx(Ppid([9; 16])),
            devices: BTreeSet::new(),
            ..grant()
        };
        for (grant, length) in [(grant(), 224), (tdx, 168)] {
            let signed = grant.sign(&key());
            assert!(signed.is_signed());
            assert_eq!(signed.encode().len(), length);
            assert_eq!(SignedGrant::decode(&signed.encode()), Ok(signed.clone()));
            let provider = ProviderKey([4; 32]);
            assert!(!SignedGrant { provider, ..signed }.is_signed());
        }
    }

    #[test]
    fn no_byte_can_change_and_nothing_be_cut_or_added() {
        let bytes = grant().sign(&key()).encode();
        for at in 0..bytes.len() {
            assert!(SignedGrant::decode(&bytes[..at]).is_err(), "{at} bytes");
            let mut other = bytes.clone();
            other[at] ^= 1;
            let holds = SignedGrant::decode(&other).is_ok_and(|grant| grant.is_signed());
            assert!(!holds, "byte {at}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(SignedGrant::decode(&longer).is_err());
    }

    #[test]
    fn a_set_of_serial_numbers_has_one_encoding() {
        let bytes = grant().sign(&key()).encode();
        // Behind magic, version, key, network, kind, chip: the count, then lengths and numbers.
        let at = 8 + 2 + 32 + 4 + 1 + 64;
        assert_eq!(bytes[at..at + 9], [3, 2, 1, 2, 2, 1, 3, 1, 2]);
        for serials in [
            &[3, 2, 1, 3, 2, 1, 2, 1, 2][..],
            &[3, 2, 1, 2, 2, 1, 2, 1, 2],
            &[3, 2, 1, 2, 2, 1, 3, 0],
            &[33, 2, 1, 2, 2, 1, 3, 1, 2],
            &[3, 2, 1, 2, 2, 1, 3, 22, 2],
        ] {
            let other = [&bytes[..at], serials, &bytes[at + 9..]].concat();
            assert!(SignedGrant::decode(&other).is_err(), "{serials:?}");
        }
    }

    #[test]
    fn a_chips_name_is_hex_of_one_of_the_two_lengths() {
        for text in ["07".repeat(16), "0a".repeat(64)] {
            let chip: ChipIdentity = text.parse().unwrap();
            assert_eq!(chip.to_string(), text);
        }
        for text in ["", "07", "any", &"0A".repeat(64)] {
            assert!(text.parse::<ChipIdentity>().is_err());
        }
    }
}
