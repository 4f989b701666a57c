//! Which receipt the client takes: every member is compared with what the client itself saw.
//!
//! Pure. A [`VerifiedReceipt`] comes from [`verify`] alone; the account and the Merkle root take
//! nothing else. Saving receipts is `wallet`'s. `docs/spec/receipt.md` §4.

use std::collections::BTreeMap;

use protocol::digest::{
    BootId, ModelDigest, ReceiptDigest, ReceiptKey, RequestDigest, ResponseDigest,
};
use protocol::receipt::{
    FinishReason, Receipt, ReceiptError, Sampling, SignedReceipt, TokenPrices,
};
use protocol::reference_values::ImageVersion;
use protocol::statement::Statement;
use protocol::tee::EvidenceClass;
use protocol::ton::{NetworkId, TonAddress};

use super::account::StreamAccount;

/// What a request asked of the sampler, with the defaults of `docs/spec/serving.md` §4; `None`
/// where those leave the choice to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedSampling {
    /// Temperature in thousandths.
    pub temperature_milli: u32,
    /// Nucleus probability in thousandths.
    pub top_p_milli: u32,
    /// How many of the likeliest tokens are drawn from; 0 for all.
    pub top_k: u32,
    /// Least probability in thousandths of the likeliest one's.
    pub min_p_milli: u32,
    /// Penalty of a token that the answer has, in thousandths.
    pub presence_milli: i32,
    /// Penalty for each time that it has it, in thousandths.
    pub frequency_milli: i32,
    /// Seed.
    pub seed: Option<u64>,
    /// Completion tokens at most.
    pub max_tokens: Option<u32>,
}

/// What the receipt of one stream must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'s> {
    /// The attested receipt key.
    pub key: ReceiptKey,
    /// The network of the payment channel.
    pub network: NetworkId,
    /// The Statements that were appraised on this connection: the receipt names one of them.
    pub statements: &'s [Statement],
    /// Its boot.
    pub boot_id: BootId,
    /// Its class.
    pub class: EvidenceClass,
    /// Version of the pinned image.
    pub image: ImageVersion,
    /// The model that was asked.
    pub model: ModelDigest,
    /// Its attested prices.
    pub prices: TokenPrices,
    /// Salted digest of exactly what was sent.
    pub request: RequestDigest,
    /// Salted digest of exactly what was received.
    pub response: ResponseDigest,
    /// What was asked of the sampler.
    pub sampling: RequestedSampling,
    /// What the stream received and what was promised for it.
    pub stream: StreamAccount,
    /// The reason in the stream's last chunk, if one came.
    pub finish: Option<FinishReason>,
    /// The payment channel.
    pub channel: TonAddress,
    /// Its epoch.
    pub epoch: u32,
}

/// Why a receipt is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptRefusal {
    /// Malformed, wrongly signed, or wrong in its own arithmetic.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// A member differs from what the client saw.
    #[error("receipt member `{member}` is not what the client saw")]
    Mismatch {
        /// The member's name in `docs/spec/receipt.md`.
        member: Member,
    },
    /// Number and predecessor do not join the receipts of this boot that are known.
    #[error("receipt {sequence} does not join the receipts before it")]
    Chain {
        /// Its number.
        sequence: u64,
    },
}

/// A member that can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// The network.
    Network,
    /// The Statement.
    Statement,
    /// The boot.
    BootId,
    /// The class of evidence.
    Class,
    /// The beacon.
    Beacon,
    /// The digest of the request.
    Request,
    /// The digest of the answer.
    Response,
    /// The model.
    Model,
    /// The version of the image.
    Image,
    /// The sampling parameters.
    Sampling,
    /// The counts of tokens.
    Tokens,
    /// The prices.
    Prices,
    /// The reason of the end.
    Finish,
    /// The payment channel.
    Channel,
    /// Its epoch.
    Epoch,
}

impl core::fmt::Display for Member {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl Member {
    const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Statement => "statement",
            Self::BootId => "boot id",
            Self::Class => "class",
            Self::Beacon => "beacon",
            Self::Request => "request",
            Self::Response => "response",
            Self::Model => "model",
            Self::Image => "image",
            Self::Sampling => "sampling",
            Self::Tokens => "tokens",
            Self::Prices => "prices",
            Self::Finish => "finish",
            Self::Channel => "channel",
            Self::Epoch => "epoch",
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Network => "receipt-network",
            Self::Statement => "receipt-statement",
            Self::BootId => "receipt-boot-id",
            Self::Class => "receipt-class",
            Self::Beacon => "receipt-beacon",
            Self::Request => "receipt-request",
            Self::Response => "receipt-response",
            Self::Model => "receipt-model",
            Self::Image => "receipt-image",
            Self::Sampling => "receipt-sampling",
            Self::Tokens => "receipt-tokens",
            Self::Prices => "receipt-prices",
            Self::Finish => "receipt-finish",
            Self::Channel => "receipt-channel",
            Self::Epoch => "receipt-epoch",
        }
    }
}

impl ReceiptRefusal {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Receipt(error) => error.code(),
            Self::Mismatch { member } => member.code(),
            Self::Chain { .. } => "receipt-chain",
        }
    }
}

/// A receipt that says what the client saw, under the attested key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt(SignedReceipt);

impl VerifiedReceipt {
    /// What happened.
    #[must_use]
    pub const fn receipt(&self) -> &Receipt {
        &self.0.receipt
    }

    /// The receipt with its signature, for keeping.
    #[must_use]
    pub const fn signed(&self) -> &SignedReceipt {
        &self.0
    }

    /// The digest that enters the Merkle tree.
    #[must_use]
    pub fn digest(&self) -> ReceiptDigest {
        self.0.receipt.digest()
    }
}

/// Verifies a receipt against everything that the client saw, and joins it to its chain.
///
/// # Errors
/// See [`ReceiptRefusal`]; the chain is unchanged by a refusal.
pub fn verify(
    bytes: &[u8],
    expected: &Expected<'_>,
    chain: &mut ReceiptChain,
) -> Result<VerifiedReceipt, ReceiptRefusal> {
    let signed = SignedReceipt::decode(bytes).map_err(ReceiptError::Malformed)?;
    let receipt = signed.verify(&expected.key)?;
    check_origin(receipt, expected)?;
    check_content(receipt, expected)?;
    check_account(receipt, expected)?;
    chain.join(receipt)?;
    Ok(VerifiedReceipt(signed))
}

fn same(equal: bool, member: Member) -> Result<(), ReceiptRefusal> {
    if equal {
        Ok(())
    } else {
        Err(ReceiptRefusal::Mismatch { member })
    }
}

fn check_origin(receipt: &Receipt, expected: &Expected<'_>) -> Result<(), ReceiptRefusal> {
    same(receipt.network == expected.network, Member::Network)?;
    let mut appraised = expected.statements.iter();
    same(
        appraised.any(|statement| statement.digest() == receipt.statement),
        Member::Statement,
    )?;
    same(receipt.boot_id == expected.boot_id, Member::BootId)?;
    same(receipt.class == expected.class, Member::Class)?;
    match receipt.class {
        EvidenceClass::Fresh => same(receipt.beacon.is_zero(), Member::Beacon)?,
        EvidenceClass::Epoch | EvidenceClass::Hpke => {}
    }
    same(receipt.image == expected.image, Member::Image)
}

fn check_content(receipt: &Receipt, expected: &Expected<'_>) -> Result<(), ReceiptRefusal> {
    same(receipt.request == expected.request, Member::Request)?;
    same(receipt.response == expected.response, Member::Response)?;
    same(receipt.model == expected.model, Member::Model)?;
    same(
        expected.sampling.is_met_by(&receipt.sampling),
        Member::Sampling,
    )
}

fn check_account(receipt: &Receipt, expected: &Expected<'_>) -> Result<(), ReceiptRefusal> {
    same(receipt.prices == expected.prices, Member::Prices)?;
    same(receipt.channel == expected.channel, Member::Channel)?;
    same(receipt.epoch == expected.epoch, Member::Epoch)?;
    let stream = &expected.stream;
    match receipt.finish {
        FinishReason::Stop | FinishReason::Length => {
            same(expected.finish == Some(receipt.finish), Member::Finish)?;
            same(receipt.tokens == stream.tokens, Member::Tokens)
        }
        // The server gave the stream up: it may have delivered more than was acknowledged.
        FinishReason::Cancelled => {
            same(expected.finish.is_none(), Member::Finish)?;
            let (said, promised) = (&receipt.tokens, &stream.tokens);
            let prompt = u64::from(said.prompt).saturating_add(u64::from(said.cached));
            let plausible = said.prompt >= promised.prompt
                && said.cached >= promised.cached
                && prompt <= u64::from(stream.terms.prompt_tokens)
                && (promised.completion..=stream.received()).contains(&said.completion);
            same(plausible, Member::Tokens)
        }
    }
}

impl RequestedSampling {
    fn is_met_by(&self, sampling: &Sampling) -> bool {
        let asked = Sampling {
            temperature_milli: self.temperature_milli,
            top_p_milli: self.top_p_milli,
            top_k: self.top_k,
            min_p_milli: self.min_p_milli,
            presence_milli: self.presence_milli,
            frequency_milli: self.frequency_milli,
            seed: self.seed.unwrap_or(sampling.seed),
            max_tokens: self.max_tokens.unwrap_or(sampling.max_tokens),
        };
        asked == *sampling
    }
}

/// The receipts of one channel within one boot, by number. Streams end in any order, and one that
/// was cut leaves a gap; but two receipts never share a number or contradict each other's joint.
#[derive(Debug, Clone, Default)]
pub struct ReceiptChain {
    boots: BTreeMap<BootId, BTreeMap<u64, Link>>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    digest: ReceiptDigest,
    previous: ReceiptDigest,
}

impl ReceiptChain {
    fn join(&mut self, receipt: &Receipt) -> Result<(), ReceiptRefusal> {
        let sequence = receipt.sequence;
        let link = Link {
            digest: receipt.digest(),
            previous: receipt.previous,
        };
        let links = self.boots.entry(receipt.boot_id).or_default();
        let before = sequence.checked_sub(1).and_then(|at| links.get(&at));
        let after = sequence.checked_add(1).and_then(|at| links.get(&at));
        let joined = !links.contains_key(&sequence)
            && (sequence == 0) == receipt.previous.is_zero()
            && before.is_none_or(|before| before.digest == link.previous)
            && after.is_none_or(|after| after.previous == link.digest);
        if !joined {
            return Err(ReceiptRefusal::Chain { sequence });
        }
        links.insert(sequence, link);
        Ok(())
    }
}
