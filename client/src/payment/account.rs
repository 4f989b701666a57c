//! The client's side of the account rule: one running total over all streams of a payment channel.
//!
//! A pure state machine. It decides what may be promised; signing, storing and sending a voucher
//! are `wallet`'s and `chat`'s. It never promises more than what was received times the attested
//! prices, never more than the deposit, and never less than it promised before.
//! `docs/spec/serving.md` §4.

use std::collections::BTreeMap;

use protocol::digest::{ReceiptDigest, ReceiptsRoot};
use protocol::nano::{AmountOverflow, Nano};
use protocol::receipt::{TokenCounts, TokenPrices, receipts_root};
use protocol::serving::Progress;

use super::receipts::VerifiedReceipt;

/// One stream of an [`Account`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

/// What bounds the cost of one stream before its first token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamTerms {
    /// Prices of the attested launch configuration.
    pub prices: TokenPrices,
    /// Prompt tokens that what was sent can amount to at most, see [`prompt_bound`].
    pub prompt_tokens: u32,
    /// Completion tokens that the request allows at most.
    pub completion_tokens: u32,
}

/// What may be signed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// Total of the channel since its epoch began.
    pub cumulative: Nano,
    /// Root over the receipts that were verified so far.
    pub receipts_root: ReceiptsRoot,
}

/// What one stream has received and what was promised for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamAccount {
    /// Its bounds.
    pub terms: StreamTerms,
    /// Records of completion tokens that were received.
    pub records: u32,
    /// Tokens that a promise covers.
    pub tokens: TokenCounts,
    /// What was promised for them.
    pub charged: Nano,
    /// Whether the model ended the answer, so that an end token without a record exists.
    end_token: bool,
}

impl StreamAccount {
    /// Completion tokens that were received, the end token included.
    #[must_use]
    pub fn received(&self) -> u32 {
        self.records.saturating_add(u32::from(self.end_token))
    }
}

/// Why the client does not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRefusal {
    /// No stream of that number is open.
    #[error("no such stream")]
    UnknownStream,
    /// More completion tokens are claimed than were received.
    #[error("{claimed} completion tokens claimed, {received} received")]
    Overclaimed {
        /// Tokens that the progress claims.
        claimed: u32,
        /// Tokens that were received.
        received: u32,
    },
    /// More completion tokens than the request allows.
    #[error("{claimed} completion tokens claimed, the request allows {limit}")]
    BeyondLimit {
        /// Tokens that the progress claims.
        claimed: u32,
        /// The request's limit.
        limit: u32,
    },
    /// More prompt tokens than the request can have.
    #[error("{claimed} prompt tokens claimed, the request has at most {limit}")]
    PromptOverclaimed {
        /// Tokens that the progress claims.
        claimed: u64,
        /// What the request can amount to.
        limit: u32,
    },
    /// A count is lower than before.
    #[error("a count of tokens fell")]
    CountFell,
    /// The charge is not the cost of the tokens at the attested prices.
    #[error("the charge is not the cost of the tokens at the attested prices")]
    WrongCharge,
    /// The deposit does not cover it.
    #[error("the deposit of {deposit} nano does not cover a total of {total} nano")]
    DepositExceeded {
        /// What was deposited.
        deposit: Nano,
        /// What the total would be.
        total: Nano,
    },
    /// An amount left the range of coins.
    #[error(transparent)]
    Overflow(#[from] AmountOverflow),
}

impl PaymentRefusal {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownStream => "account-unknown-stream",
            Self::Overclaimed { .. } => "account-overclaimed",
            Self::BeyondLimit { .. } => "account-beyond-limit",
            Self::PromptOverclaimed { .. } => "account-prompt-overclaimed",
            Self::CountFell => "account-count-fell",
            Self::WrongCharge => "account-wrong-charge",
            Self::DepositExceeded { .. } => "account-deposit-exceeded",
            Self::Overflow(_) => "account-overflow",
        }
    }
}

/// The account of one payment channel in one epoch.
#[derive(Debug, Clone)]
pub struct Account {
    deposit: Nano,
    promised: Nano,
    receipts: Vec<ReceiptDigest>,
    /// Over `receipts`: computed when one is added, not at every voucher.
    root: ReceiptsRoot,
    streams: BTreeMap<StreamId, StreamAccount>,
    next: u64,
}

impl Account {
    /// Resumes from the highest promise that was ever signed and the receipts that were verified.
    #[must_use]
    pub fn resume(deposit: Nano, promised: Nano, receipts: Vec<ReceiptDigest>) -> Self {
        Self {
            deposit,
            promised,
            root: receipts_root(&receipts),
            receipts,
            streams: BTreeMap::new(),
            next: 0,
        }
    }

    /// What is promised so far: the voucher of a request's header, or of a final message.
    #[must_use]
    pub fn promise(&self) -> Promise {
        Promise {
            cumulative: self.promised,
            receipts_root: self.root,
        }
    }

    /// Raises the deposit after a top-up that the chain shows.
    pub fn raise_deposit(&mut self, deposit: Nano) {
        self.deposit = self.deposit.max(deposit);
    }

    /// Goes on from a higher total that this client signed and does not remember: its files are
    /// older than its promises. The caller has checked the signature.
    ///
    /// # Errors
    /// `DepositExceeded`; nothing changes then.
    pub fn adopt(&mut self, signed: Nano) -> Result<(), PaymentRefusal> {
        self.covered(signed)?;
        self.promised = self.promised.max(signed);
        Ok(())
    }

    /// What was deposited.
    #[must_use]
    pub const fn deposit(&self) -> Nano {
        self.deposit
    }

    /// What the deposit still covers.
    #[must_use]
    pub fn remaining(&self) -> Nano {
        self.deposit.minus(self.promised).unwrap_or(Nano::ZERO)
    }

    /// Begins a stream; nothing is promised for it yet.
    ///
    /// # Errors
    /// `DepositExceeded` when nothing of the deposit is left, or not enough for one token.
    pub fn begin(&mut self, terms: StreamTerms) -> Result<StreamId, PaymentRefusal> {
        let one_token = TokenCounts {
            prompt: 1,
            cached: 0,
            completion: 1,
        };
        let total = self.promised.plus(terms.prices.cost(&one_token)?)?;
        self.covered(total)?;
        let id = StreamId(self.next);
        self.next = self.next.saturating_add(1);
        self.streams.insert(
            id,
            StreamAccount {
                terms,
                records: 0,
                tokens: TokenCounts::default(),
                charged: Nano::ZERO,
                end_token: false,
            },
        );
        Ok(id)
    }

    /// Counts one received record of a completion token.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub fn record(&mut self, id: StreamId) -> Result<(), PaymentRefusal> {
        let stream = self.stream(id)?;
        stream.records = stream.records.saturating_add(1);
        Ok(())
    }

    /// Notes that the model ended the answer: its end token has no record of its own.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub fn end_token(&mut self, id: StreamId) -> Result<(), PaymentRefusal> {
        self.stream(id)?.end_token = true;
        Ok(())
    }

    /// Answers a progress event of a stream with what may be signed. A refusal changes nothing.
    ///
    /// # Errors
    /// See [`PaymentRefusal`].
    pub fn progress(
        &mut self,
        id: StreamId,
        progress: &Progress,
    ) -> Result<Promise, PaymentRefusal> {
        let stream = *self.streams.get(&id).ok_or(PaymentRefusal::UnknownStream)?;
        let tokens = TokenCounts {
            prompt: progress.prompt_tokens,
            cached: progress.cached_tokens,
            completion: progress.completion_tokens,
        };
        check_counts(&stream, &tokens)?;
        let charged = stream.terms.prices.cost(&tokens)?;
        if progress.charged != charged.to_string() {
            return Err(PaymentRefusal::WrongCharge);
        }
        let increment = charged
            .minus(stream.charged)
            .map_err(|AmountOverflow| PaymentRefusal::CountFell)?;
        let total = self.promised.plus(increment)?;
        self.covered(total)?;
        let stream = self.stream(id)?;
        stream.tokens = tokens;
        stream.charged = charged;
        self.promised = total;
        Ok(self.promise())
    }

    /// What a stream received and what is promised for it.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub fn of_stream(&self, id: StreamId) -> Result<StreamAccount, PaymentRefusal> {
        self.streams
            .get(&id)
            .copied()
            .ok_or(PaymentRefusal::UnknownStream)
    }

    /// Ends a stream with its verified receipt: the promise keeps its amount and gets a new root.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub fn settle(
        &mut self,
        id: StreamId,
        receipt: &VerifiedReceipt,
    ) -> Result<Promise, PaymentRefusal> {
        self.streams
            .remove(&id)
            .ok_or(PaymentRefusal::UnknownStream)?;
        self.receipts.push(receipt.digest());
        self.root = receipts_root(&self.receipts);
        Ok(self.promise())
    }

    /// Ends a stream without a receipt; what was promised stays promised.
    pub fn abandon(&mut self, id: StreamId) {
        self.streams.remove(&id);
    }

    fn stream(&mut self, id: StreamId) -> Result<&mut StreamAccount, PaymentRefusal> {
        self.streams
            .get_mut(&id)
            .ok_or(PaymentRefusal::UnknownStream)
    }

    fn covered(&self, total: Nano) -> Result<(), PaymentRefusal> {
        if total > self.deposit {
            return Err(PaymentRefusal::DepositExceeded {
                deposit: self.deposit,
                total,
            });
        }
        Ok(())
    }
}

fn check_counts(stream: &StreamAccount, tokens: &TokenCounts) -> Result<(), PaymentRefusal> {
    let before = &stream.tokens;
    let fell = tokens.prompt < before.prompt
        || tokens.cached < before.cached
        || tokens.completion < before.completion;
    if fell {
        return Err(PaymentRefusal::CountFell);
    }
    let prompt = u64::from(tokens.prompt).saturating_add(u64::from(tokens.cached));
    if prompt > u64::from(stream.terms.prompt_tokens) {
        return Err(PaymentRefusal::PromptOverclaimed {
            claimed: prompt,
            limit: stream.terms.prompt_tokens,
        });
    }
    if tokens.completion > stream.received() {
        return Err(PaymentRefusal::Overclaimed {
            claimed: tokens.completion,
            received: stream.received(),
        });
    }
    if tokens.completion > stream.terms.completion_tokens {
        return Err(PaymentRefusal::BeyondLimit {
            claimed: tokens.completion,
            limit: stream.terms.completion_tokens,
        });
    }
    Ok(())
}

/// Tokens that a chat template adds to a request at most: marks between messages are shorter in
/// tokens than the JSON around them, what remains is a default system message and a start token.
const TEMPLATE_TOKENS: usize = 512;

/// Prompt tokens that a request body of so many bytes can amount to at most: no token stands for
/// less than one byte.
#[must_use]
pub fn prompt_bound(body_bytes: usize, context_tokens: u32) -> u32 {
    let bound = body_bytes.saturating_add(TEMPLATE_TOKENS);
    u32::try_from(bound).unwrap_or(u32::MAX).min(context_tokens)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;
    use proptest::prelude::*;

    const PRICES: TokenPrices = TokenPrices {
        prompt: 20,
        cached: 2,
        completion: 160,
    };

    fn terms() -> StreamTerms {
        StreamTerms {
            prices: PRICES,
            prompt_tokens: 100,
            completion_tokens: 16,
        }
    }

    fn progress(prompt: u32, completion: u32) -> Progress {
        let tokens = TokenCounts {
            prompt,
            cached: 0,
            completion,
        };
        Progress {
            prompt_tokens: prompt,
            cached_tokens: 0,
            completion_tokens: completion,
            charged: PRICES.cost(&tokens).unwrap().to_string(),
        }
    }

    fn account() -> (Account, StreamId) {
        let mut account =
            Account::resume(Nano::from_u64(100_000), Nano::from_u64(1_000), Vec::new());
        let id = account.begin(terms()).unwrap();
        (account, id)
    }

    #[test]
    fn signs_exactly_for_what_it_received() {
        let (mut account, id) = account();
        let promise = account.progress(id, &progress(10, 0)).unwrap();
        assert_eq!(promise.cumulative, Nano::from_u64(1_200));
        account.record(id).unwrap();
        account.record(id).unwrap();
        let promise = account.progress(id, &progress(10, 2)).unwrap();
        assert_eq!(promise.cumulative, Nano::from_u64(1_520));
    }

    #[test]
    fn refuses_a_claim_of_more_tokens_than_it_received() {
        let (mut account, id) = account();
        account.record(id).unwrap();
        let refused = account.progress(id, &progress(10, 2)).unwrap_err();
        let overclaimed = PaymentRefusal::Overclaimed {
            claimed: 2,
            received: 1,
        };
        assert_eq!(refused, overclaimed);
        assert_eq!(account.promise().cumulative, Nano::from_u64(1_000));
    }

    #[test]
    fn the_end_token_counts_once_and_only_after_the_end() {
        let (mut account, id) = account();
        account.record(id).unwrap();
        assert!(account.progress(id, &progress(10, 2)).is_err());
        account.end_token(id).unwrap();
        account.end_token(id).unwrap();
        assert!(account.progress(id, &progress(10, 2)).is_ok());
        assert!(account.progress(id, &progress(10, 3)).is_err());
    }

    #[test]
    fn refuses_every_other_lie_of_a_progress_event() {
        let code = |change: fn(&mut Account, StreamId, &mut Progress)| {
            let (mut account, id) = account();
            (0..20).for_each(|_| account.record(id).unwrap());
            account.progress(id, &progress(10, 4)).unwrap();
            let before = account.promise();
            let mut event = progress(10, 5);
            change(&mut account, id, &mut event);
            let refused = account.progress(id, &event).unwrap_err();
            assert_eq!(account.promise(), before, "a refusal changes nothing");
            refused.code()
        };
        assert_eq!(code(|_, _, p| p.charged.push('0')), "account-wrong-charge");
        assert_eq!(
            code(|_, _, p| p.charged.insert(0, '0')),
            "account-wrong-charge"
        );
        assert_eq!(code(|_, _, p| *p = progress(10, 3)), "account-count-fell");
        assert_eq!(code(|_, _, p| *p = progress(9, 5)), "account-count-fell");
        assert_eq!(
            code(|_, _, p| *p = progress(101, 5)),
            "account-prompt-overclaimed"
        );
        assert_eq!(
            code(|_, _, p| *p = progress(10, 17)),
            "account-beyond-limit"
        );
        assert_eq!(
            code(|account, id, _| account.abandon(id)),
            "account-unknown-stream"
        );
        assert_eq!(
            code(|account, _, _| account.deposit = Nano::from_u64(1_900)),
            "account-deposit-exceeded"
        );
    }

    #[test]
    fn begins_nothing_on_an_empty_channel() {
        let mut account = Account::resume(Nano::from_u64(1_000), Nano::from_u64(900), Vec::new());
        let refused = account.begin(terms()).unwrap_err();
        assert_eq!(refused.code(), "account-deposit-exceeded");
    }

    #[test]
    fn a_prompt_is_bounded_by_its_bytes_and_by_the_context() {
        assert_eq!(prompt_bound(100, 2048), 612);
        assert_eq!(prompt_bound(1 << 20, 2048), 2048);
        assert_eq!(prompt_bound(usize::MAX, u32::MAX), u32::MAX);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Begin,
        Record(usize),
        End(usize),
        Progress(usize, u32, u32, u32, i8),
        Abandon(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => Just(Step::Begin),
            6 => (0..4usize).prop_map(Step::Record),
            1 => (0..4usize).prop_map(Step::End),
            4 => (0..4usize, 0..120u32, 0..5u32, 0..20u32, -1..2i8)
                .prop_map(|(s, p, c, t, lie)| Step::Progress(s, p, c, t, lie)),
            1 => (0..4usize).prop_map(Step::Abandon),
        ]
    }

    proptest! {
        /// Whatever the other side says, in any order, over parallel streams.
        #[test]
        fn never_promises_more_than_received_nor_less_than_before(
            base in 0..50_000u64,
            deposit in 0..60_000u64,
            steps in proptest::collection::vec(step(), 0..200),
        ) {
            let mut account =
                Account::resume(Nano::from_u64(deposit), Nano::from_u64(base), Vec::new());
            let mut ids = Vec::new();
            // What an honest observer of the wire would allow, per stream ever begun.
            let mut seen: Vec<(u64, u64, u64)> = Vec::new();
            for step in steps {
                let before = account.promise().cumulative;
                let changed = match step {
                    Step::Begin => {
                        if let Ok(id) = account.begin(terms()) {
                            ids.push(id);
                            seen.push((0, 0, 0));
                        }
                        false
                    }
                    Step::Record(at) => {
                        if let Some(id) = ids.get(at)
                            && account.record(*id).is_ok() { seen[at].0 += 1; }
                        false
                    }
                    Step::End(at) => {
                        if let Some(id) = ids.get(at)
                            && account.end_token(*id).is_ok() { seen[at].1 = 1; }
                        false
                    }
                    Step::Progress(at, prompt, cached, completion, lie) => {
                        let tokens = TokenCounts { prompt, cached, completion };
                        let cost = PRICES.cost(&tokens).unwrap().units();
                        let charged = cost.saturating_add_signed(i128::from(lie));
                        let event = Progress {
                            prompt_tokens: prompt,
                            cached_tokens: cached,
                            completion_tokens: completion,
                            charged: charged.to_string(),
                        };
                        match ids.get(at).map(|id| account.progress(*id, &event)) {
                            Some(Ok(_)) => {
                                // Less than nothing is nothing, and no lie.
                                prop_assert_eq!(charged, cost);
                                let most = u64::from(prompt) * 20 + u64::from(cached) * 2;
                                seen[at].2 = seen[at].2.max(most);
                                true
                            }
                            Some(Err(_)) | None => false,
                        }
                    }
                    Step::Abandon(at) => {
                        if let Some(id) = ids.get(at) { account.abandon(*id); }
                        false
                    }
                };
                let now = account.promise().cumulative;
                prop_assert!(now >= before, "a promise fell");
                prop_assert!(changed || now == before, "a promise rose without progress");
                prop_assert!(now == before || now <= Nano::from_u64(deposit));
                let allowed: u64 = seen.iter().map(|(r, e, p)| (r + e) * 160 + p).sum();
                prop_assert!(now <= Nano::from_u64(base + allowed), "promised beyond receipt");
            }
        }
    }
}
