//! Receipts: one signed record that joins request, answer, model, image and price.
//! `docs/spec/receipt.md`.
//!
//! The key that signs is the one that the evidence covers. Digests of content are salted by the
//! client, so a receipt reveals nothing to who does not hold the salt.

use alloc::vec::Vec;

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::codec::{DecodeError, Reader, Writer};
use crate::digest::{
    BootId, Freshness, ModelDigest, ReceiptDigest, ReceiptKey, ReceiptsRoot, RequestDigest,
    ResponseDigest, Salt, Signature, StatementDigest,
};
use crate::merkle;
use crate::nano::{AmountOverflow, Nano};
use crate::reference_values::ImageVersion;
use crate::tee::EvidenceClass;
use crate::ton::{NetworkId, TonAddress};

const MAGIC: &[u8; 8] = b"COCORCPT";
const VERSION: u16 = 1;
const SIGNATURE_DOMAIN: &[u8] = b"cocoon/receipt/v1\0";
const REQUEST_DOMAIN: &[u8] = b"cocoon/request-digest/v1\0";
const RESPONSE_DOMAIN: &[u8] = b"cocoon/response-digest/v1\0";

/// Tokens of one request, by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenCounts {
    /// Prompt tokens that were computed.
    pub prompt: u32,
    /// Prompt tokens taken from the client's own prefix cache.
    pub cached: u32,
    /// Completion tokens that were sent, the end token included.
    pub completion: u32,
}

/// Price per token by class, in nano units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenPrices {
    /// Per computed prompt token.
    pub prompt: u64,
    /// Per cached prompt token.
    pub cached: u64,
    /// Per completion token.
    pub completion: u64,
}

impl TokenPrices {
    /// What so many tokens cost.
    ///
    /// # Errors
    /// `AmountOverflow` outside the range of amounts.
    pub fn cost(&self, tokens: &TokenCounts) -> Result<Nano, AmountOverflow> {
        let of = |price, count: u32| Nano::from_u64(price).times(u64::from(count));
        of(self.prompt, tokens.prompt)?
            .plus(of(self.cached, tokens.cached)?)?
            .plus(of(self.completion, tokens.completion)?)
    }
}

/// Why the answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop string did.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// The client went away or stopped acknowledging.
    Cancelled,
}

impl FinishReason {
    /// The number that stands for it in every layout.
    #[must_use]
    pub const fn wire(self) -> u8 {
        match self {
            Self::Stop => 1,
            Self::Length => 2,
            Self::Cancelled => 3,
        }
    }

    /// Reads the number of [`FinishReason::wire`].
    ///
    /// # Errors
    /// `OutOfRange` for any other number.
    pub const fn from_wire(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::Stop),
            2 => Ok(Self::Length),
            3 => Ok(Self::Cancelled),
            _ => Err(DecodeError::OutOfRange {
                field: "finish reason",
            }),
        }
    }
}

/// Sampling parameters, in integers so that every implementation writes the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Temperature in thousandths; 0 is greedy.
    pub temperature_milli: u32,
    /// Nucleus probability in thousandths, 1 to 1000.
    pub top_p_milli: u32,
    /// How many of the likeliest tokens are drawn from; 0 for all.
    pub top_k: u32,
    /// Probability below which a token is not drawn, in thousandths of the likeliest one's; 0 to
    /// 1000.
    pub min_p_milli: u32,
    /// Taken from the logit of a token that the answer has, in thousandths, -2000 to 2000.
    pub presence_milli: i32,
    /// Taken from it for each time that the answer has it, in thousandths, -2000 to 2000.
    pub frequency_milli: i32,
    /// Seed of the sampler.
    pub seed: u64,
    /// Completion tokens at most.
    pub max_tokens: u32,
}

impl Sampling {
    /// Writes 36 bytes.
    pub fn write(&self, out: &mut Writer) {
        out.u32(self.temperature_milli)
            .u32(self.top_p_milli)
            .u32(self.top_k)
            .u32(self.min_p_milli)
            .u32(self.presence_milli.cast_unsigned())
            .u32(self.frequency_milli.cast_unsigned())
            .u64(self.seed)
            .u32(self.max_tokens);
    }

    /// Reads 36 bytes.
    ///
    /// # Errors
    /// `OutOfRange` for a temperature above 2, a probability or a penalty outside its range, or no
    /// tokens.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let sampling = Self {
            temperature_milli: from.u32()?,
            top_p_milli: from.u32()?,
            top_k: from.u32()?,
            min_p_milli: from.u32()?,
            presence_milli: from.u32()?.cast_signed(),
            frequency_milli: from.u32()?.cast_signed(),
            seed: from.u64()?,
            max_tokens: from.u32()?,
        };
        let in_range = sampling.temperature_milli <= 2000
            && matches!(sampling.top_p_milli, 1..=1000)
            && sampling.min_p_milli <= 1000
            && (-2000..=2000).contains(&sampling.presence_milli)
            && (-2000..=2000).contains(&sampling.frequency_milli)
            && sampling.max_tokens > 0;
        in_range
            .then_some(sampling)
            .ok_or(DecodeError::OutOfRange { field: "sampling" })
    }
}

/// What happened, in the order of its encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The network on which it is paid.
    pub network: NetworkId,
    /// Names the Statement that covers the signing key.
    pub statement: StatementDigest,
    /// The boot that answered.
    pub boot_id: BootId,
    /// Class of the evidence.
    pub class: EvidenceClass,
    /// The last beacon; zero in class `fresh`.
    pub beacon: Freshness,
    /// Salted digest of the request's body.
    pub request: RequestDigest,
    /// Salted digest of the answer's text.
    pub response: ResponseDigest,
    /// The model that answered.
    pub model: ModelDigest,
    /// Version of the image that answered.
    pub image: ImageVersion,
    /// Sampling parameters.
    pub sampling: Sampling,
    /// Tokens by class.
    pub tokens: TokenCounts,
    /// Price per token by class.
    pub prices: TokenPrices,
    /// What is charged: the cost of `tokens` at `prices`.
    pub charged: Nano,
    /// Why the answer ended.
    pub finish: FinishReason,
    /// The payment channel.
    pub channel: TonAddress,
    /// Its epoch.
    pub epoch: u32,
    /// Number of this receipt on the channel within this boot, from 0.
    pub sequence: u64,
    /// The receipt before it on the channel within this boot; zero for the first.
    pub previous: ReceiptDigest,
    /// Seconds since 1970 as the host claims them.
    pub host_time: u64,
}

/// A receipt with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReceipt {
    /// What happened.
    pub receipt: Receipt,
    /// Ed25519 by the receipt key over the domain and the encoded receipt.
    pub signature: Signature,
}

/// Why a receipt was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The bytes are not a receipt.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// The signature does not hold under the attested receipt key.
    #[error("receipt signature does not hold under the attested key")]
    Signature,
    /// The amount is not the cost of the tokens at the prices.
    #[error("receipt charges another amount than its tokens cost")]
    Amount,
}

impl ReceiptError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "receipt-malformed",
            Self::Signature => "receipt-signature",
            Self::Amount => "receipt-amount",
        }
    }
}

impl Receipt {
    /// The encoded receipt, without the signature.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.raw(MAGIC)
            .u16(VERSION)
            .u32(self.network.0.cast_unsigned());
        out.raw(&self.statement.0)
            .raw(&self.boot_id.0)
            .u8(self.class.wire());
        out.raw(&self.beacon.0)
            .raw(&self.request.0)
            .raw(&self.response.0)
            .raw(&self.model.0);
        self.image.write(&mut out);
        self.sampling.write(&mut out);
        out.u32(self.tokens.prompt)
            .u32(self.tokens.cached)
            .u32(self.tokens.completion);
        out.u64(self.prices.prompt)
            .u64(self.prices.cached)
            .u64(self.prices.completion);
        self.charged.write(&mut out);
        out.u8(self.finish.wire());
        self.channel.write(&mut out);
        out.u32(self.epoch)
            .u64(self.sequence)
            .raw(&self.previous.0)
            .u64(self.host_time);
        out.finish()
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.magic(MAGIC)?;
        if from.u16()? != VERSION {
            return Err(DecodeError::OutOfRange {
                field: "receipt version",
            });
        }
        Ok(Self {
            network: NetworkId(from.u32()?.cast_signed()),
            statement: StatementDigest(from.array()?),
            boot_id: BootId(from.array()?),
            class: EvidenceClass::from_wire(from.u8()?)?,
            beacon: Freshness(from.array()?),
            request: RequestDigest(from.array()?),
            response: ResponseDigest(from.array()?),
            model: ModelDigest(from.array()?),
            image: ImageVersion::read(from)?,
            sampling: Sampling::read(from)?,
            tokens: TokenCounts {
                prompt: from.u32()?,
                cached: from.u32()?,
                completion: from.u32()?,
            },
            prices: TokenPrices {
                prompt: from.u64()?,
                cached: from.u64()?,
                completion: from.u64()?,
            },
            charged: Nano::read(from)?,
            finish: FinishReason::from_wire(from.u8()?)?,
            channel: TonAddress::read(from)?,
            epoch: from.u32()?,
            sequence: from.u64()?,
            previous: ReceiptDigest(from.array()?),
            host_time: from.u64()?,
        })
    }

    /// The digest by which the next receipt and the Merkle tree name this one.
    #[must_use]
    pub fn digest(&self) -> ReceiptDigest {
        ReceiptDigest(self.signing_hash())
    }

    /// Signs the receipt.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> SignedReceipt {
        let signature = Signature::by(key, &self.signing_hash());
        SignedReceipt {
            receipt: self,
            signature,
        }
    }

    fn signing_hash(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(SIGNATURE_DOMAIN)
            .chain_update(self.encode())
            .finalize()
            .into()
    }
}

impl SignedReceipt {
    /// The receipt's bytes and the 64 bytes of the signature.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.receipt.encode();
        bytes.extend_from_slice(self.signature.as_bytes());
        bytes
    }

    /// Decodes exactly one signed receipt; nothing is checked but its form.
    ///
    /// # Errors
    /// A [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let receipt = Receipt::read(&mut from)?;
        let signature = Signature(from.array()?);
        from.finish()?;
        Ok(Self { receipt, signature })
    }

    /// Checks the signature under the key that the evidence covers, and the arithmetic.
    ///
    /// # Errors
    /// See [`ReceiptError`].
    pub fn verify(&self, key: &ReceiptKey) -> Result<&Receipt, ReceiptError> {
        let message = self.receipt.signing_hash();
        if !self.signature.holds(key.as_bytes(), &message) {
            return Err(ReceiptError::Signature);
        }
        if self.receipt.prices.cost(&self.receipt.tokens) != Ok(self.receipt.charged) {
            return Err(ReceiptError::Amount);
        }
        Ok(&self.receipt)
    }
}

/// Salted digest of a request's body as it was sent.
#[must_use]
pub fn request_digest(salt: &Salt, body: &[u8]) -> RequestDigest {
    let hash = Sha256::new()
        .chain_update(REQUEST_DOMAIN)
        .chain_update(salt.0);
    RequestDigest(hash.chain_update(body).finalize().into())
}

/// Salted digest of the answer's whole text, UTF-8.
#[must_use]
pub fn response_digest(salt: &Salt, text: &[u8]) -> ResponseDigest {
    let hash = Sha256::new()
        .chain_update(RESPONSE_DOMAIN)
        .chain_update(salt.0);
    ResponseDigest(hash.chain_update(text).finalize().into())
}

/// Merkle root over the receipts of one channel and epoch, in the order of their verification.
#[must_use]
pub fn receipts_root(receipts: &[ReceiptDigest]) -> ReceiptsRoot {
    let leaves: Vec<_> = receipts.iter().map(|receipt| receipt.0).collect();
    ReceiptsRoot(merkle::root(&leaves))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::AccountId;

    /// Greedy, sixteen tokens.
    const GREEDY: Sampling = Sampling {
        temperature_milli: 0,
        top_p_milli: 1000,
        top_k: 0,
        min_p_milli: 0,
        presence_milli: 0,
        frequency_milli: 0,
        seed: 0,
        max_tokens: 16,
    };

    fn receipt() -> Receipt {
        Receipt {
            network: NetworkId(-7357),
            statement: StatementDigest([1; 32]),
            boot_id: BootId([2; 32]),
            class: EvidenceClass::Fresh,
            beacon: Freshness::ZERO,
            request: request_digest(&Salt([3; 32]), b"{}"),
            response: response_digest(&Salt([3; 32]), b"Paris"),
            model: ModelDigest([4; 32]),
            image: ImageVersion {
                major: 0,
                minor: 1,
                patch: 0,
            },
            sampling: GREEDY,
            tokens: TokenCounts {
                prompt: 42,
                cached: 0,
                completion: 8,
            },
            prices: TokenPrices {
                prompt: 20,
                cached: 2,
                completion: 160,
            },
            charged: Nano::from_u64(42 * 20 + 8 * 160),
            finish: FinishReason::Stop,
            channel: TonAddress {
                workchain: 0,
                account: AccountId([5; 32]),
            },
            epoch: 1,
            sequence: 0,
            previous: ReceiptDigest::ZERO,
            host_time: 1_795_000_000,
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[9; 32])
    }

    #[test]
    fn round_trips_and_verifies_under_the_signing_key_only() {
        let signed = receipt().sign(&key());
        assert_eq!(SignedReceipt::decode(&signed.encode()), Ok(signed.clone()));
        let good = ReceiptKey(key().verifying_key().to_bytes());
        assert!(signed.verify(&good).is_ok());
        let other = ReceiptKey(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes());
        assert_eq!(signed.verify(&other), Err(ReceiptError::Signature));
    }

    #[test]
    fn no_byte_of_a_signed_receipt_can_change() {
        let good = ReceiptKey(key().verifying_key().to_bytes());
        let bytes = receipt().sign(&key()).encode();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            if let Ok(signed) = SignedReceipt::decode(&other) {
                assert_eq!(
                    signed.verify(&good),
                    Err(ReceiptError::Signature),
                    "byte {at}"
                );
            }
        }
    }

    #[test]
    fn refuses_sampling_outside_its_ranges() {
        let good = receipt().sampling;
        let read = |sampling: Sampling| {
            let mut out = Writer::new();
            sampling.write(&mut out);
            let bytes = out.finish();
            assert_eq!(bytes.len(), 36);
            Sampling::read(&mut Reader::new(&bytes))
        };
        let least = Sampling {
            presence_milli: -2000,
            frequency_milli: 2000,
            min_p_milli: 1000,
            ..good
        };
        assert_eq!(read(least), Ok(least));
        let changes: [fn(&mut Sampling); 7] = [
            |sampling| sampling.temperature_milli = 2001,
            |sampling| sampling.top_p_milli = 0,
            |sampling| sampling.top_p_milli = 1001,
            |sampling| sampling.min_p_milli = 1001,
            |sampling| sampling.presence_milli = -2001,
            |sampling| sampling.frequency_milli = 2001,
            |sampling| sampling.max_tokens = 0,
        ];
        for change in changes {
            let mut sampling = good;
            change(&mut sampling);
            let refused = DecodeError::OutOfRange { field: "sampling" };
            assert_eq!(read(sampling), Err(refused), "{sampling:?}");
        }
    }

    #[test]
    fn refuses_an_amount_that_the_tokens_do_not_cost() {
        let mut dear = receipt();
        dear.charged = Nano::from_u64(1);
        let good = ReceiptKey(key().verifying_key().to_bytes());
        assert_eq!(dear.sign(&key()).verify(&good), Err(ReceiptError::Amount));
    }
}
