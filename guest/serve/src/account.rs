//! The account of one payment channel: what was delivered, what was acknowledged, who may go on.
//! `docs/spec/serving.md` §5.
//!
//! Pure: no clock, socket, key or host. A voucher that comes here is already known to be signed,
//! for this network and taken by the host. Two promises hold in every order of events, and the
//! property tests at the end state them: the client never owes for what was not delivered, and
//! no live stream is ever ahead of its acknowledgements by more than one increment.

use std::collections::{BTreeMap, VecDeque};

use protocol::launch_configuration::Limits;
use protocol::nano::{AmountOverflow, Nano};
use protocol::receipt::{TokenCounts, TokenPrices};

/// Names a live stream of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u64);

/// Tokens of a prompt, by what they cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptTokens {
    /// Computed for this request.
    pub computed: u32,
    /// Kept from an earlier one of the same connection.
    pub cached: u32,
}

/// Why a voucher's total was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TotalRefused {
    /// A higher total was acknowledged before.
    #[error("a higher total was acknowledged before")]
    Outdated,
    /// More than was ever delivered.
    #[error("more than was ever delivered")]
    AboveDelivered,
}

/// Why a delivery was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryRefused {
    /// No such stream is live.
    #[error("no such stream is live")]
    Unknown,
    /// The stream has to wait for a voucher.
    #[error("what was delivered must be acknowledged first")]
    Unacknowledged,
    /// The prompt was counted already.
    #[error("the prompt was counted already")]
    PromptTwice,
    /// The total leaves the range of amounts.
    #[error(transparent)]
    Overflow(#[from] AmountOverflow),
}

/// What one stream delivered and what of it is acknowledged.
#[derive(Debug, Clone)]
struct Stream {
    prices: TokenPrices,
    tokens: TokenCounts,
    prompt_counted: bool,
    granted: u32,
    delivered: Nano,
    announced: Nano,
    acknowledged: Nano,
    halted: bool,
}

/// The account of one channel, epoch and payer.
#[derive(Debug, Clone)]
pub struct Account {
    increment_tokens: u32,
    acknowledged: Nano,
    delivered: Nano,
    streams: BTreeMap<StreamId, Stream>,
    /// Parts of deliveries that clients were told of, in the order of telling, less what was
    /// acknowledged of them. A voucher carries one total for all streams: it is taken to
    /// acknowledge them in this order.
    announced: VecDeque<(StreamId, Nano)>,
    next: u64,
}

impl Account {
    /// An account whose first voucher has this total: what was acknowledged before this boot.
    #[must_use]
    pub const fn new(base: Nano, limits: &Limits) -> Self {
        Self {
            increment_tokens: limits.increment_tokens,
            acknowledged: base,
            delivered: base,
            streams: BTreeMap::new(),
            announced: VecDeque::new(),
            next: 0,
        }
    }

    /// The highest total that the client signed.
    #[must_use]
    pub const fn acknowledged(&self) -> Nano {
        self.acknowledged
    }

    /// The base, and everything that was delivered on this account since.
    #[must_use]
    pub const fn delivered(&self) -> Nano {
        self.delivered
    }

    /// Whether a voucher with this total would be taken.
    ///
    /// # Errors
    /// See [`TotalRefused`].
    pub fn check(&self, total: Nano) -> Result<(), TotalRefused> {
        if total < self.acknowledged {
            return Err(TotalRefused::Outdated);
        }
        if total > self.delivered {
            return Err(TotalRefused::AboveDelivered);
        }
        Ok(())
    }

    /// Takes a voucher's total and attributes what is new to the streams.
    ///
    /// # Errors
    /// See [`TotalRefused`]; the account is unchanged then.
    pub fn acknowledge(&mut self, total: Nano) -> Result<(), TotalRefused> {
        self.check(total)?;
        let mut left = total.minus(self.acknowledged).unwrap_or(Nano::ZERO);
        self.acknowledged = total;
        while let Some((id, part)) = self.announced.pop_front() {
            let taken = part.min(left);
            left = minus(left, taken);
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.acknowledged = plus(stream.acknowledged, taken);
            }
            if taken < part {
                self.announced.push_front((id, minus(part, taken)));
                break;
            }
        }
        // A client may sign for tokens that it counted before it was told; and what is left after
        // that pays for streams that ended before their acknowledgement came.
        for stream in self.streams.values_mut().filter(|stream| !stream.halted) {
            let untold = minus(stream.delivered, stream.announced);
            let ahead = minus(
                stream.acknowledged,
                stream.announced.min(stream.acknowledged),
            );
            let taken = minus(untold, ahead.min(untold)).min(left);
            stream.acknowledged = plus(stream.acknowledged, taken);
            left = minus(left, taken);
        }
        Ok(())
    }

    /// Takes the total that a client brings to a new request. Without a live stream it may be
    /// above what was delivered here: the channel was in use on another machine of the payee.
    ///
    /// # Errors
    /// See [`TotalRefused`]; the account is unchanged then.
    pub fn bring(&mut self, total: Nano) -> Result<(), TotalRefused> {
        self.check_brought(total)?;
        if total > self.delivered {
            self.delivered = total;
        }
        self.acknowledge(total)
    }

    /// Whether [`Account::bring`] would take this total.
    ///
    /// # Errors
    /// See [`TotalRefused`].
    pub fn check_brought(&self, total: Nano) -> Result<(), TotalRefused> {
        if self.live() == 0 && total > self.delivered {
            return Ok(());
        }
        self.check(total)
    }

    /// Opens a stream.
    pub fn open(&mut self, prices: TokenPrices) -> StreamId {
        let id = StreamId(self.next);
        self.next = self.next.saturating_add(1);
        let stream = Stream {
            prices,
            tokens: TokenCounts::default(),
            prompt_counted: false,
            granted: 0,
            delivered: Nano::ZERO,
            announced: Nano::ZERO,
            acknowledged: Nano::ZERO,
            halted: false,
        };
        self.streams.insert(id, stream);
        id
    }

    /// Counts the prompt of a stream as delivered: it is computed, as far as it was not before.
    ///
    /// # Errors
    /// See [`DeliveryRefused`].
    pub fn deliver_prompt(
        &mut self,
        id: StreamId,
        tokens: PromptTokens,
    ) -> Result<(), DeliveryRefused> {
        let stream = self.live_stream(id)?;
        if stream.prompt_counted {
            return Err(DeliveryRefused::PromptTwice);
        }
        let counts = TokenCounts {
            prompt: tokens.computed,
            cached: tokens.cached,
            ..TokenCounts::default()
        };
        let cost = stream.prices.cost(&counts)?;
        let stream = self.deliver(id, cost)?;
        stream.tokens = counts;
        stream.prompt_counted = true;
        Ok(())
    }

    /// Counts one completion token as delivered.
    ///
    /// # Errors
    /// `Unacknowledged` when the prompt or a whole increment waits for a voucher.
    pub fn deliver_token(&mut self, id: StreamId) -> Result<(), DeliveryRefused> {
        let increment = self.increment_tokens;
        let stream = self.live_stream(id)?;
        if stream.allowance(increment) == 0 {
            return Err(DeliveryRefused::Unacknowledged);
        }
        let cost = Nano::from_u64(stream.prices.completion);
        let stream = self.deliver(id, cost)?;
        stream.tokens.completion = stream.tokens.completion.saturating_add(1);
        Ok(())
    }

    /// Completion tokens that the engine may be granted beyond what it was granted before.
    pub fn grant(&mut self, id: StreamId) -> u32 {
        let increment = self.increment_tokens;
        let Ok(stream) = self.live_stream(id) else {
            return 0;
        };
        let delivered = stream.tokens.completion;
        let allowed = delivered.saturating_add(stream.allowance(increment));
        let further = allowed.saturating_sub(stream.granted);
        stream.granted = stream.granted.saturating_add(further);
        further
    }

    /// Whether the stream stands still until a voucher comes.
    #[must_use]
    pub fn waits(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|stream| {
            stream.prompt_counted && stream.allowance(self.increment_tokens) == 0
        })
    }

    /// Whether the stream's prompt is acknowledged, so that what was made of it may go out.
    #[must_use]
    pub fn may_tell(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|stream| {
            stream.prompt_counted && stream.allowance(self.increment_tokens) > 0
        })
    }

    /// Whether an increment is full, so that the client must be told.
    #[must_use]
    pub fn increment_full(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|stream| {
            let count = stream.tokens.completion;
            count > 0 && count.checked_rem(self.increment_tokens) == Some(0)
        })
    }

    /// What the client is to be told of a stream now: its tokens and their cost. From here on
    /// the difference to what it was told before waits for a voucher.
    pub fn announce(&mut self, id: StreamId) -> Option<(TokenCounts, Nano)> {
        let stream = self.streams.get_mut(&id)?;
        let part = minus(stream.delivered, stream.announced);
        // What was acknowledged before it was told does not wait.
        let ahead = minus(
            stream.acknowledged,
            stream.announced.min(stream.acknowledged),
        );
        let waiting = minus(part, ahead.min(part));
        stream.announced = stream.delivered;
        if waiting > Nano::ZERO && !stream.halted {
            self.announced.push_back((id, waiting));
        }
        Some((stream.tokens, stream.delivered))
    }

    /// Whether everything that the stream delivered is acknowledged.
    #[must_use]
    pub fn settled(&self, id: StreamId) -> bool {
        self.streams
            .get(&id)
            .is_none_or(|stream| stream.halted || stream.acknowledged >= stream.delivered)
    }

    /// What the stream is ahead of its acknowledgements.
    #[must_use]
    pub fn unacknowledged(&self, id: StreamId) -> Nano {
        self.streams.get(&id).map_or(Nano::ZERO, |stream| {
            minus(stream.delivered, stream.acknowledged.min(stream.delivered))
        })
    }

    /// Ends a stream. What it delivered and nobody acknowledged is asked from nobody.
    pub fn end(&mut self, id: StreamId) {
        self.streams.remove(&id);
        self.announced.retain(|(of, _)| *of != id);
    }

    /// Halts every live stream for good: the host will not be paid for it, or may be paid for it
    /// elsewhere. Nothing further is delivered on it, and no voucher is taken to acknowledge it.
    pub fn halt(&mut self) {
        for stream in self.streams.values_mut() {
            stream.halted = true;
        }
        self.announced.clear();
    }

    /// How many streams are live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.streams
            .values()
            .filter(|stream| !stream.halted)
            .count()
    }

    /// Counts a cost as delivered by a stream; an overflow changes nothing.
    fn deliver(&mut self, id: StreamId, cost: Nano) -> Result<&mut Stream, DeliveryRefused> {
        let total = self.delivered.plus(cost)?;
        let stream = self.live_stream(id)?;
        let of_stream = stream.delivered.plus(cost)?;
        stream.delivered = of_stream;
        self.delivered = total;
        self.live_stream(id)
    }

    fn live_stream(&mut self, id: StreamId) -> Result<&mut Stream, DeliveryRefused> {
        let stream = self.streams.get_mut(&id).filter(|stream| !stream.halted);
        stream.ok_or(DeliveryRefused::Unknown)
    }
}

impl Stream {
    /// Completion tokens that may be delivered before the next voucher.
    fn allowance(&self, increment: u32) -> u32 {
        let prompt = TokenCounts {
            completion: 0,
            ..self.tokens
        };
        let prompt = self.prices.cost(&prompt).unwrap_or(Nano::MAX);
        if self.halted || !self.prompt_counted || self.acknowledged < prompt {
            return 0;
        }
        let unacknowledged = minus(self.delivered, self.acknowledged.min(self.delivered));
        let waiting = match unacknowledged
            .units()
            .checked_div(u128::from(self.prices.completion))
        {
            // Free tokens wait for nobody.
            None => 0,
            // A token that is acknowledged in part waits as a whole.
            Some(whole) => {
                let of_whole = Nano::from_u64(self.prices.completion)
                    .times(u64::try_from(whole).unwrap_or(u64::MAX))
                    .unwrap_or(Nano::MAX);
                whole.saturating_add(u128::from(of_whole != unacknowledged))
            }
        };
        increment.saturating_sub(u32::try_from(waiting).unwrap_or(u32::MAX))
    }
}

/// A difference of which the caller knows that it is not negative.
fn minus(from: Nano, part: Nano) -> Nano {
    from.minus(part).unwrap_or(Nano::ZERO)
}

/// A sum of which the caller knows that it is at most an amount that exists already.
fn plus(to: Nano, part: Nano) -> Nano {
    to.plus(part).unwrap_or(Nano::MAX)
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
