//! Vouchers: the cumulative promise by which a client acknowledges what it received.
//! `docs/spec/voucher.md`.
//!
//! What is signed is the representation hash of one ordinary TON cell without references, computed
//! here without a cell library; cells themselves are the `contracts` crate's.

use alloc::vec::Vec;

use ed25519_dalek::SigningKey;
use sha2::{Digest as _, Sha256};

use crate::codec::{DecodeError, Reader, Writer};
use crate::digest::{PayerKey, ReceiptsRoot, Signature};
use crate::nano::Nano;
use crate::ton::{NetworkId, TonAddress};

/// First 32 bits of a voucher's cell: `VCH1`.
pub const TAG: u32 = 0x5643_4831;
/// Length of an encoded signed voucher.
pub const SIGNED_BYTES: usize = 4 + 33 + 4 + 16 + 32 + 4 + 32 + 64;

/// A promise over everything that was received on one payment channel so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voucher {
    /// The network whose contract may pay it.
    pub network: NetworkId,
    /// The payment channel's contract.
    pub channel: TonAddress,
    /// The channel's epoch.
    pub epoch: u32,
    /// Total since the epoch began.
    pub cumulative: Nano,
    /// Merkle root over the receipts that the client verified; zero before the first.
    pub receipts_root: ReceiptsRoot,
    /// Unix seconds after which the contract refuses it.
    pub valid_until: u32,
}

/// A voucher with the payer's key and signature; 189 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedVoucher {
    /// What is promised.
    pub voucher: Voucher,
    /// The key that the channel's contract knows.
    pub payer_key: PayerKey,
    /// Ed25519 over [`Voucher::representation_hash`].
    pub signature: Signature,
}

/// The signature of a voucher does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("voucher signature does not hold")]
pub struct VoucherSignatureInvalid;

impl Voucher {
    /// SHA-256 over the cell's descriptors and data: what the payer signs and the contract checks.
    #[must_use]
    pub fn representation_hash(&self) -> [u8; 32] {
        let mut bits = BitWriter::default();
        bits.push(&TAG.to_be_bytes(), 32);
        bits.push(&self.network.0.to_be_bytes(), 32);
        // addr_std$10, anycast nothing$0, workchain int8, account bits256.
        bits.push(&[0b1000_0000], 3);
        bits.push(&self.channel.workchain.to_be_bytes(), 8);
        bits.push(self.channel.account.as_bytes(), 256);
        bits.push(&self.epoch.to_be_bytes(), 32);
        // Coins: a 4-bit byte length and that many bytes, big-endian, without leading zeros.
        let amount = self.cumulative.units().to_be_bytes();
        let first = amount
            .iter()
            .position(|byte| *byte != 0)
            .unwrap_or(amount.len());
        let significant = amount.get(first..).unwrap_or_default();
        let length = u8::try_from(significant.len()).unwrap_or(u8::MAX);
        bits.push(&[length << 4], 4);
        bits.push(significant, significant.len().saturating_mul(8));
        bits.push(self.receipts_root.as_bytes(), 256);
        bits.push(&self.valid_until.to_be_bytes(), 32);
        bits.representation_hash()
    }

    /// Signs the voucher.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> SignedVoucher {
        SignedVoucher {
            voucher: self,
            payer_key: PayerKey(key.verifying_key().to_bytes()),
            signature: Signature::by(key, &self.representation_hash()),
        }
    }
}

impl SignedVoucher {
    /// Checks the signature under the key that the voucher carries. Whether that key is the
    /// channel's, only the chain can tell.
    ///
    /// # Errors
    /// `VoucherSignatureInvalid`, also for a key or signature that is no curve point.
    pub fn verify(&self) -> Result<&Voucher, VoucherSignatureInvalid> {
        let message = self.voucher.representation_hash();
        let holds = self.signature.holds(self.payer_key.as_bytes(), &message);
        holds
            .then_some(&self.voucher)
            .ok_or(VoucherSignatureInvalid)
    }

    /// The encoded voucher, [`SIGNED_BYTES`] long.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u32(self.voucher.network.0.cast_unsigned());
        self.voucher.channel.write(&mut out);
        out.u32(self.voucher.epoch);
        self.voucher.cumulative.write(&mut out);
        out.raw(self.voucher.receipts_root.as_bytes())
            .u32(self.voucher.valid_until);
        out.raw(self.payer_key.as_bytes())
            .raw(self.signature.as_bytes());
        out.finish()
    }

    /// Reads a voucher out of a longer item. The signature is not checked.
    ///
    /// # Errors
    /// A [`DecodeError`].
    pub fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let voucher = Voucher {
            network: NetworkId(from.u32()?.cast_signed()),
            channel: TonAddress::read(from)?,
            epoch: from.u32()?,
            cumulative: Nano::read(from)?,
            receipts_root: ReceiptsRoot(from.array()?),
            valid_until: from.u32()?,
        };
        Ok(Self {
            voucher,
            payer_key: PayerKey(from.array()?),
            signature: Signature(from.array()?),
        })
    }

    /// Decodes exactly one voucher. The signature is not checked.
    ///
    /// # Errors
    /// A [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let voucher = Self::read(&mut from)?;
        from.finish()?;
        Ok(voucher)
    }
}

/// The data bits of one ordinary cell.
#[derive(Debug, Default)]
struct BitWriter {
    bytes: Vec<u8>,
    bits: usize,
}

impl BitWriter {
    /// Appends the first `count` bits of `source`, most significant first.
    fn push(&mut self, source: &[u8], count: usize) {
        for at in 0..count {
            let byte = source.get(at >> 3).copied().unwrap_or_default();
            self.push_bit(byte & (0x80 >> (at & 7)) != 0);
        }
    }

    fn push_bit(&mut self, bit: bool) {
        let mask = 0x80u8 >> (self.bits & 7);
        if self.bits & 7 == 0 {
            self.bytes.push(0);
        }
        if let (true, Some(last)) = (bit, self.bytes.last_mut()) {
            *last |= mask;
        }
        self.bits = self.bits.saturating_add(1);
    }

    /// Descriptors d1 = 0 (ordinary, no references, level 0) and d2, then the data, whose last
    /// byte is completed by a one and zeros when the bits do not fill it.
    fn representation_hash(mut self) -> [u8; 32] {
        let whole = self.bits >> 3;
        let partial = usize::from(self.bits & 7 != 0);
        if partial == 1 {
            self.push_bit(true);
        }
        let d2 = whole.saturating_mul(2).saturating_add(partial);
        let d2 = u8::try_from(d2).unwrap_or(u8::MAX);
        Sha256::new()
            .chain_update([0, d2])
            .chain_update(&self.bytes)
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{AccountId, parse_hex};
    use alloc::string::String;

    fn signed() -> SignedVoucher {
        let voucher = Voucher {
            network: NetworkId(-7357),
            channel: TonAddress {
                workchain: 0,
                account: AccountId([0x5a; 32]),
            },
            epoch: 1,
            cumulative: Nano::from_u64(1_280),
            receipts_root: ReceiptsRoot([7; 32]),
            valid_until: 1_800_000_000,
        };
        voucher.sign(&SigningKey::from_bytes(&[42; 32]))
    }

    #[derive(serde::Deserialize)]
    struct Vectors {
        seed: String,
        public_key: PayerKey,
        vectors: Vec<Vector>,
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        network: NetworkId,
        channel: TonAddress,
        epoch: u32,
        cumulative: String,
        receipts_root: ReceiptsRoot,
        valid_until: u32,
        cell_hash: String,
        signed: String,
    }

    fn vectors() -> Vectors {
        let text = include_str!("../../tests/fixtures/voucher/vectors.json");
        serde_json::from_str(text).expect("the fixture is of this form")
    }

    impl Vector {
        fn voucher(&self) -> Voucher {
            Voucher {
                network: self.network,
                channel: self.channel,
                epoch: self.epoch,
                cumulative: Nano::new(self.cumulative.parse().unwrap()).unwrap(),
                receipts_root: self.receipts_root,
                valid_until: self.valid_until,
            }
        }
    }

    /// docs/spec/voucher.md §2: the vectors were made with @ton/core.
    #[test]
    fn the_cell_hash_is_that_of_a_cell_library() {
        for vector in vectors().vectors {
            let hash = vector.voucher().representation_hash();
            let expected = parse_hex(&vector.cell_hash).unwrap();
            assert_eq!(hash, expected, "{}", vector.name);
        }
    }

    /// docs/spec/voucher.md §3: signatures and wire bytes were made with @ton/crypto.
    #[test]
    fn signature_and_wire_form_are_those_of_another_implementation() {
        let all = vectors();
        let key = SigningKey::from_bytes(&parse_hex(&all.seed).unwrap());
        for vector in all.vectors {
            let wire: [u8; SIGNED_BYTES] = parse_hex(&vector.signed).unwrap();
            let signed = vector.voucher().sign(&key);
            assert_eq!(signed.encode(), wire, "{}", vector.name);
            let decoded = SignedVoucher::decode(&wire).unwrap();
            assert_eq!(decoded.payer_key, all.public_key);
            assert_eq!(decoded.verify(), Ok(&vector.voucher()), "{}", vector.name);
        }
    }

    /// No amount above 2^120 - 1 exists on the chain.
    #[test]
    fn refuses_an_amount_that_no_cell_can_hold() {
        let mut bytes = signed().encode();
        bytes[41..57].copy_from_slice(&(1u128 << 120).to_le_bytes());
        let refused = DecodeError::OutOfRange { field: "amount" };
        assert_eq!(SignedVoucher::decode(&bytes), Err(refused));
    }

    #[test]
    fn refuses_every_other_length() {
        let mut bytes = signed().encode();
        for end in 0..bytes.len() {
            let refused = SignedVoucher::decode(&bytes[..end]).unwrap_err();
            assert_eq!(refused.code(), "decode-truncated", "{end} bytes");
        }
        bytes.push(0);
        let refused = SignedVoucher::decode(&bytes).unwrap_err();
        assert_eq!(refused.code(), "decode-trailing");
    }

    /// The identity point as a key verifies anything under lax rules.
    #[test]
    fn refuses_keys_of_small_order() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let forged = SignedVoucher {
            payer_key: PayerKey(identity),
            signature: Signature({
                let mut bytes = [0; 64];
                bytes[0] = 1;
                bytes
            }),
            ..signed()
        };
        assert_eq!(forged.verify(), Err(VoucherSignatureInvalid));
    }

    #[test]
    fn round_trips_in_the_specified_length() {
        let bytes = signed().encode();
        assert_eq!(bytes.len(), SIGNED_BYTES);
        assert_eq!(SignedVoucher::decode(&bytes), Ok(signed()));
        assert!(signed().verify().is_ok());
    }

    #[test]
    fn no_byte_of_a_signed_voucher_can_change() {
        let bytes = signed().encode();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            if let Ok(voucher) = SignedVoucher::decode(&other) {
                assert_eq!(voucher.verify(), Err(VoucherSignatureInvalid), "byte {at}");
            }
        }
    }
}
