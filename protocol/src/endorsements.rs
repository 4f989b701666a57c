//! Endorsements: certificates, revocation lists and collateral that the host staples to evidence.
//!
//! They are trusted only by signature, hence carried as opaque items here and judged by the
//! verifier. `docs/spec/evidence.md` §4.

use alloc::vec::Vec;

use crate::codec::{DecodeError, Reader, Writer};

/// All items together are at most this long.
pub const MAX_BYTES: usize = 1024 * 1024;
/// At most this many items.
pub const MAX_ITEMS: usize = 16;

/// What an item holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndorsementKind {
    /// The VCEK of the machine, X.509 DER.
    SnpVcek,
    /// AMD's intermediate (ASK), X.509 DER.
    SnpAsk,
    /// AMD's root (ARK), X.509 DER.
    SnpArk,
    /// AMD's revocation list, DER.
    SnpCrl,
    /// TDX collateral: the JSON document of PCK CRL, TCB info and QE identity.
    TdxCollateral,
    /// Reference manifests and revocation answers of NVIDIA's devices, see
    /// [`crate::gpu_evidence::GpuEndorsements`].
    Nvidia,
    /// The provider's word that the machine is its own, see [`crate::machine_grant`].
    MachineGrant,
}

impl EndorsementKind {
    const fn wire(self) -> u16 {
        match self {
            Self::SnpVcek => 1,
            Self::SnpAsk => 2,
            Self::SnpArk => 3,
            Self::SnpCrl => 4,
            Self::TdxCollateral => 16,
            Self::Nvidia => 32,
            Self::MachineGrant => 48,
        }
    }

    const fn from_wire(value: u16) -> Result<Self, DecodeError> {
        match value {
            1 => Ok(Self::SnpVcek),
            2 => Ok(Self::SnpAsk),
            3 => Ok(Self::SnpArk),
            4 => Ok(Self::SnpCrl),
            16 => Ok(Self::TdxCollateral),
            32 => Ok(Self::Nvidia),
            48 => Ok(Self::MachineGrant),
            _ => Err(DecodeError::OutOfRange {
                field: "endorsement kind",
            }),
        }
    }
}

/// The stapled items, each kind at most once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endorsements(Vec<(EndorsementKind, Vec<u8>)>);

impl Endorsements {
    /// Adds an item.
    ///
    /// # Errors
    /// `OutOfRange` when its kind is there already, `TooLong` beyond the limits.
    pub fn insert(&mut self, kind: EndorsementKind, bytes: Vec<u8>) -> Result<(), DecodeError> {
        if self.get(kind).is_some() {
            return Err(DecodeError::OutOfRange {
                field: "endorsement kind",
            });
        }
        let total = self
            .0
            .iter()
            .fold(bytes.len(), |sum, (_, b)| sum.saturating_add(b.len()));
        if total > MAX_BYTES || self.0.len() >= MAX_ITEMS {
            return Err(DecodeError::TooLong {
                field: "endorsements",
                found: u64::try_from(total).unwrap_or(u64::MAX),
                limit: MAX_BYTES,
            });
        }
        self.0.push((kind, bytes));
        Ok(())
    }

    /// The item of a kind.
    #[must_use]
    pub fn get(&self, kind: EndorsementKind) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(k, _)| *k == kind)
            .map(|(_, bytes)| bytes.as_slice())
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `u8` count, then per item `u16` kind and a `u32`-counted blob.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.count(self.0.len());
        for (kind, bytes) in &self.0 {
            out.u16(kind.wire()).blob(bytes);
        }
        out.finish()
    }

    /// Decodes exactly one list.
    ///
    /// # Errors
    /// A [`DecodeError`] for an unknown or repeated kind, or beyond the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let mut items = Self::default();
        for _ in 0..from.count("endorsements", MAX_ITEMS)? {
            let kind = EndorsementKind::from_wire(from.u16()?)?;
            items.insert(kind, from.blob("endorsement", MAX_BYTES)?.to_vec())?;
        }
        from.finish()?;
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_a_kind_twice() {
        let mut items = Endorsements::default();
        items
            .insert(EndorsementKind::SnpVcek, std::vec![1, 2])
            .unwrap();
        items.insert(EndorsementKind::SnpAsk, std::vec![3]).unwrap();
        assert_eq!(Endorsements::decode(&items.encode()), Ok(items.clone()));
        assert!(items.insert(EndorsementKind::SnpVcek, std::vec![]).is_err());
        let mut twice = items.encode();
        twice[0] = 3;
        twice.extend([1, 0, 0, 0, 0, 0]);
        assert!(Endorsements::decode(&twice).is_err());
    }

    #[test]
    fn refuses_more_than_the_limit_in_total() {
        let mut items = Endorsements::default();
        items
            .insert(EndorsementKind::SnpVcek, std::vec![0; MAX_BYTES])
            .unwrap();
        assert!(items.insert(EndorsementKind::SnpAsk, std::vec![0]).is_err());
    }
}
