//! The chain of receipts of each payment channel within this boot. `docs/spec/receipt.md`.
//!
//! A number of a chain is used once: two receipts of one boot, channel and number would be proof
//! of a machine that lies. Hence chains are never dropped, and there is a limit to their number.

use std::collections::HashMap;

use protocol::digest::ReceiptDigest;
use protocol::receipt::{Receipt, SignedReceipt};
use protocol::ton::TonAddress;

use crate::keys::ReceiptSigner;

/// Payment channels that one boot keeps chains and accounts for.
pub(crate) const MAX_CHANNELS: usize = 16 * 1024;

/// Chains of receipts, by payment channel.
#[derive(Default)]
pub(crate) struct Chains(HashMap<TonAddress, Chain>);

#[derive(Default)]
struct Chain {
    next: u64,
    previous: Option<ReceiptDigest>,
}

/// No room for another payment channel, or no further number on this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChainFull;

impl Chains {
    /// Gives the receipt its place on its channel's chain and signs it.
    pub(crate) fn sign_next(
        &mut self,
        mut receipt: Receipt,
        signer: &ReceiptSigner,
    ) -> Result<SignedReceipt, ChainFull> {
        if self.0.len() >= MAX_CHANNELS && !self.0.contains_key(&receipt.channel) {
            return Err(ChainFull);
        }
        let chain = self.0.entry(receipt.channel).or_default();
        let after = chain.next.checked_add(1).ok_or(ChainFull)?;
        receipt.sequence = chain.next;
        receipt.previous = chain.previous.unwrap_or(ReceiptDigest::ZERO);
        chain.next = after;
        chain.previous = Some(receipt.digest());
        Ok(signer.sign(receipt))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;
    use protocol::digest::{
        AccountId, BootId, Freshness, ModelDigest, RequestDigest, ResponseDigest, StatementDigest,
    };
    use protocol::nano::Nano;
    use protocol::receipt::{FinishReason, Sampling, TokenCounts, TokenPrices};
    use protocol::reference_values::ImageVersion;
    use protocol::tee::EvidenceClass;
    use protocol::ton::NetworkId;

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

    fn receipt(channel: u8) -> Receipt {
        Receipt {
            network: NetworkId(-7357),
            statement: StatementDigest::ZERO,
            boot_id: BootId::ZERO,
            class: EvidenceClass::Fresh,
            beacon: Freshness::ZERO,
            request: RequestDigest::ZERO,
            response: ResponseDigest::ZERO,
            model: ModelDigest::ZERO,
            image: ImageVersion {
                major: 0,
                minor: 1,
                patch: 0,
            },
            sampling: GREEDY,
            tokens: TokenCounts::default(),
            prices: TokenPrices {
                prompt: 1,
                cached: 1,
                completion: 1,
            },
            charged: Nano::ZERO,
            finish: FinishReason::Stop,
            channel: TonAddress {
                workchain: 0,
                account: AccountId([channel; 32]),
            },
            epoch: 1,
            sequence: 77,
            previous: ReceiptDigest([7; 32]),
            host_time: 0,
        }
    }

    #[test]
    fn each_receipt_names_the_one_before_it_on_its_own_channel() {
        let signer = ReceiptSigner::draw().unwrap();
        let mut chains = Chains::default();
        let first = chains.sign_next(receipt(1), &signer).unwrap();
        let elsewhere = chains.sign_next(receipt(2), &signer).unwrap();
        let second = chains.sign_next(receipt(1), &signer).unwrap();
        let places =
            [&first, &elsewhere, &second].map(|r| (r.receipt.sequence, r.receipt.previous));
        assert_eq!(
            places,
            [
                (0, ReceiptDigest::ZERO),
                (0, ReceiptDigest::ZERO),
                (1, first.receipt.digest())
            ]
        );
        assert!(second.verify(&signer.public()).is_ok());
    }
}
