//! Payment channels as the guest's questions need them: the chain's view, cached briefly, and one
//! question at a time for each channel, in the order in which they came.
//!
//! A voucher is answered with "go on" only after the journal made it durable. Deliberately not
//! here: the rules (`decision`) and the sockets (`service`).

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use contracts::asset::PaymentChannel;
use contracts::chain::Chain;
use contracts::toncenter::ChainError;
use messages::host_control::{StopReason, VoucherDecision};
use protocol::ton::TonAddress;
use protocol::voucher::SignedVoucher;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::decision::{Terms, WellFormed};
use super::settlement::Settlement;
use crate::clock::{Clock, UnixSeconds};
use crate::journal::{JournalError, Scribe};

/// A view that lets a channel go on may be this old.
const GOOD_VIEW: Duration = Duration::from_secs(10);
/// A view that stops a channel is taken again after this time.
const BAD_VIEW: Duration = Duration::from_secs(1);
/// A look at the chain takes at most this long.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Channels that are remembered at once.
const MAX_CHANNELS: usize = 4096;

/// The chain at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    /// The channel; none when nothing of this project lives at the address.
    pub channel: Option<PaymentChannel>,
    /// The chain's own time.
    pub time: UnixSeconds,
}

/// A read that is under way.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<Snapshot, ChainError>> + Send + 'a>>;

/// Who reads the chain.
pub trait ChainReader: Send + Sync {
    /// Reads the channel at an address.
    fn read(&self, channel: TonAddress) -> Reading<'_>;
}

impl ChainReader for Chain {
    fn read(&self, channel: TonAddress) -> Reading<'_> {
        Box::pin(async move {
            let account = self.account(&channel).await?;
            let found = match account.payment_channel() {
                Ok(found) => found.filter(|found| found.is_genuine_at(&channel)),
                Err(ChainError::OtherCode) => None,
                Err(error) => return Err(error),
            };
            Ok(Snapshot {
                channel: found,
                time: UnixSeconds(u64::from(account.chain_time)),
            })
        })
    }
}

struct Seen {
    at: Instant,
    /// None when the chain could not be read.
    view: Option<Snapshot>,
}

type Slot = Arc<Mutex<Option<Seen>>>;

/// Answers voucher questions.
pub struct Channels {
    terms: Terms,
    holder: String,
    chain: Arc<dyn ChainReader>,
    journal: Scribe,
    clock: Clock,
    slots: SyncMutex<HashMap<TonAddress, Slot>>,
}

impl Channels {
    /// Channels of one guest; `holder` names it in the journal's leases.
    pub fn new(
        terms: Terms,
        holder: String,
        chain: Arc<dyn ChainReader>,
        journal: Scribe,
        clock: Clock,
    ) -> Self {
        Self {
            terms,
            holder,
            chain,
            journal,
            clock,
            slots: SyncMutex::default(),
        }
    }

    /// Answers one voucher; with `Continue` it is durable.
    ///
    /// Questions of one channel must be started in their order; they are answered in that order.
    pub async fn answer(&self, question: &SignedVoucher) -> VoucherDecision {
        let Some(formed) = WellFormed::of(&self.terms, question) else {
            return VoucherDecision::Stop(StopReason::ForeignVoucher, None);
        };
        let channel = question.voucher.channel;
        let Some(slot) = self.slot(channel) else {
            return VoucherDecision::Stop(StopReason::ChainUnreadable, None);
        };
        let mut seen = slot.lock().await;
        let fresh = |seen: &Seen, limit| seen.at.elapsed() < limit;
        if let Some(seen) = seen.as_ref().filter(|seen| fresh(seen, GOOD_VIEW)) {
            let decision = self.settle(seen.view, formed).await;
            if depends_not_on_view(&decision) || fresh(seen, BAD_VIEW) {
                return decision;
            }
        }
        let reading = timeout(READ_WITHIN, self.chain.read(channel)).await;
        let view = reading.ok().and_then(Result::ok);
        *seen = Some(Seen {
            at: Instant::now(),
            view,
        });
        self.settle(view, formed).await
    }

    /// Gives back the channels that this guest has.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn release(&self) -> Result<(), JournalError> {
        self.journal
            .with(|journal| journal.release_leases(&self.holder))
    }

    fn slot(&self, channel: TonAddress) -> Option<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_CHANNELS && !slots.contains_key(&channel) {
            // In use, or looked at just now: these stay.
            slots.retain(|_, slot| match slot.try_lock() {
                Ok(seen) => seen.as_ref().is_some_and(|s| s.at.elapsed() < GOOD_VIEW),
                Err(_) => true,
            });
            if slots.len() >= MAX_CHANNELS {
                return None;
            }
        }
        Some(Arc::clone(slots.entry(channel).or_default()))
    }

    /// Decides with this view, and stores what may go on, together with what others ask now.
    async fn settle(&self, view: Option<Snapshot>, question: WellFormed) -> VoucherDecision {
        let work = Settlement {
            terms: self.terms,
            holder: self.holder.clone(),
            view,
            question,
            now: self.clock.now(),
        };
        let durable = self.journal.together(move |books| work.run(books)).await;
        // What is not durable is not served: the journal is the host's view of the chain.
        durable.unwrap_or(VoucherDecision::Stop(StopReason::ChainUnreadable, None))
    }
}

/// Whether another look at the chain cannot change an answer. A stop for the lease's sake stands:
/// it is what ends the streams that a guest began before another guest had the channel.
const fn depends_not_on_view(decision: &VoucherDecision) -> bool {
    matches!(
        decision,
        VoucherDecision::Continue | VoucherDecision::Stop(StopReason::Leased, _)
    )
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use crate::samples::{self, CHANNEL, EPOCH, TERMS};
    use protocol::nano::Nano;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A chain whose one channel's deposit can be changed, and that counts its reads.
    #[derive(Default)]
    struct Script {
        deposit: AtomicU64,
        reads: AtomicU64,
    }

    impl ChainReader for Arc<Script> {
        fn read(&self, _: TonAddress) -> Reading<'_> {
            let deposit = self.deposit.load(Ordering::Relaxed);
            let nth = self.reads.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                // The first read is slow: later questions must not overtake the first.
                if nth == 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                let mut channel = samples::channel_state();
                channel.deposited = Nano::from_u64(deposit);
                Ok(Snapshot {
                    channel: Some(channel.into()),
                    time: UnixSeconds(0),
                })
            })
        }
    }

    fn channels(deposit: u64) -> (tempfile::TempDir, Arc<Script>, Arc<Channels>) {
        let place = tempfile::tempdir().unwrap();
        let journal = Journal::open(&place.path().join("journal.sqlite")).unwrap();
        let script = Arc::new(Script::default());
        script.deposit.store(deposit, Ordering::Relaxed);
        let channels = Channels::new(
            TERMS,
            "guest".to_owned(),
            Arc::new(Arc::clone(&script)),
            Scribe::start(journal).unwrap(),
            Clock::new(|| UnixSeconds(10_000)),
        );
        (place, script, Arc::new(channels))
    }

    #[tokio::test]
    async fn questions_of_one_channel_are_answered_in_their_order() {
        let (_place, script, channels) = channels(1_000);
        let mut answers = Vec::new();
        for total in 1..=50 {
            let channels = Arc::clone(&channels);
            answers.push(tokio::spawn(async move {
                channels.answer(&samples::voucher(total)).await
            }));
        }
        for answer in answers {
            assert_eq!(answer.await.unwrap(), VoucherDecision::Continue);
        }
        assert_eq!(script.reads.load(Ordering::Relaxed), 1);
        let stored = |journal: &mut Journal| journal.highest_voucher(&CHANNEL, EPOCH);
        let highest = channels.journal.with(stored).unwrap();
        assert_eq!(highest, Some(samples::voucher(50)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_top_up_is_seen_after_a_second_and_not_asked_for_more_often() {
        let (_place, script, channels) = channels(100);
        let refused = VoucherDecision::Stop(StopReason::DepositExceeded, None);
        for _ in 0..5 {
            assert_eq!(channels.answer(&samples::voucher(101)).await, refused);
        }
        assert_eq!(script.reads.load(Ordering::Relaxed), 1);
        script.deposit.store(200, Ordering::Relaxed);
        tokio::time::advance(BAD_VIEW).await;
        let answer = channels.answer(&samples::voucher(101)).await;
        assert_eq!(answer, VoucherDecision::Continue);
    }

    #[tokio::test]
    async fn a_forged_voucher_costs_no_look_at_the_chain() {
        let (_place, script, channels) = channels(100);
        let mut forged = samples::voucher(10);
        forged.voucher.cumulative = Nano::from_u64(11);
        let refused = VoucherDecision::Stop(StopReason::ForeignVoucher, None);
        assert_eq!(channels.answer(&forged).await, refused);
        assert_eq!(script.reads.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_contract_that_did_not_begin_empty_is_not_a_channel() {
        let state = samples::channel_state();
        let jetton = samples::jetton_channel_state(samples::PAYEE);
        for channel in [state.into(), PaymentChannel::Jetton(jetton)] {
            let own = channel.asset().address(&state.terms).unwrap();
            assert!(channel.is_genuine_at(&own));
            assert!(!channel.is_genuine_at(&CHANNEL));
        }
    }
}
