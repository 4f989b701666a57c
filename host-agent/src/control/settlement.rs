//! One voucher question against the chain's view and the books: decided, leased, stored.
//!
//! Pure over its [`VoucherBook`], so that the same order of steps runs in a journal and under the
//! property tests. Deliberately not here: the rules (`decision`), files (`journal`), sockets.

use messages::host_control::{StopReason, VoucherDecision};

use super::channels::Snapshot;
use super::decision::{ChainView, Terms, WellFormed, decide};
use crate::clock::UnixSeconds;
use crate::journal::{Appended, JournalError, Lease, VoucherBook};

/// A guest that stopped asking loses its channels after this time.
pub const LEASE_SECONDS: u64 = 600;

/// One question, with everything that its answer depends on but the books.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// On what terms this provider serves.
    pub terms: Terms,
    /// Names the guest that asks.
    pub holder: String,
    /// What the chain showed; nothing when it could not be read.
    pub view: Option<Snapshot>,
    /// The voucher.
    pub question: WellFormed,
    /// This machine's clock.
    pub now: UnixSeconds,
}

impl Settlement {
    /// Answers the question; with `Continue` the voucher is in the books.
    ///
    /// # Errors
    /// [`JournalError`]; nothing may be served then.
    pub fn run<B: VoucherBook>(&self, books: &mut B) -> Result<VoucherDecision, JournalError> {
        let signed = self.question.signed();
        let voucher = &signed.voucher;
        let known = books.highest(&voucher.channel, voucher.epoch)?;
        // The later of both clocks: the contract judges by the chain's.
        let now = self.view.map_or(self.now, |view| view.time.max(self.now));
        let view = match &self.view {
            None => ChainView::Unreadable,
            Some(Snapshot { channel: None, .. }) => ChainView::Absent,
            Some(Snapshot {
                channel: Some(channel),
                ..
            }) => ChainView::Channel(channel),
        };
        let decision = decide(&self.terms, &view, known.as_ref(), &self.question, now);
        // Only what could go on takes the lease.
        if decision != VoucherDecision::Continue {
            return Ok(decision);
        }
        let until = self.now.plus(LEASE_SECONDS);
        let lease = books.take_lease(&voucher.channel, &self.holder, self.now, until)?;
        match lease {
            Lease::Another => return Ok(VoucherDecision::Stop(StopReason::Leased, None)),
            Lease::Ours | Lease::TakenOver => {}
        }
        match books.append(signed, self.now)? {
            Appended::Stored | Appended::AlreadyKnown => {}
            Appended::BelowHighest => {
                let highest = books.highest(&voucher.channel, voucher.epoch)?;
                let highest = highest.map(Box::new);
                return Ok(VoucherDecision::Stop(StopReason::Outdated, highest));
            }
        }
        match lease {
            // The total rose elsewhere since this guest last saw it. A stream that it began before
            // must not be paid by that: "stop" halts it, and the same voucher is good when it is
            // asked again.
            Lease::TakenOver => Ok(VoucherDecision::Stop(StopReason::Leased, None)),
            Lease::Ours | Lease::Another => Ok(VoucherDecision::Continue),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]
mod tests {
    use contracts::asset::PaymentChannel;

    use super::*;
    use crate::journal::Journal;
    use crate::samples::{self, TERMS};

    const CHAIN: u64 = 1_800_000_000;
    const DAY: i64 = 86_400;

    /// What a question gets whose voucher holds so many seconds longer by the chain's clock, on a
    /// machine whose own clock is off by so many.
    fn answer(holds: u64, off: i64) -> VoucherDecision {
        let place = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&place.path().join("journal.sqlite")).unwrap();
        let valid_until = u32::try_from(CHAIN + holds).unwrap();
        let question = samples::voucher_until(150, valid_until);
        let settlement = Settlement {
            terms: TERMS,
            holder: "guest".to_owned(),
            view: Some(Snapshot {
                channel: Some(PaymentChannel::from(samples::channel_state())),
                time: UnixSeconds(CHAIN),
            }),
            question: WellFormed::of(&TERMS, &question).unwrap(),
            now: UnixSeconds(CHAIN.checked_add_signed(off).unwrap()),
        };
        journal.together(|books| settlement.run(books)).unwrap()
    }

    #[test]
    fn no_clock_that_is_wrong_takes_a_voucher_that_the_chain_would_refuse() {
        let too_soon = VoucherDecision::Stop(StopReason::ExpiresTooSoon, None);
        let enough = u64::from(TERMS.minimum_validity);
        for off in [0, -60, -DAY, -400 * DAY] {
            assert_eq!(answer(enough, off), VoucherDecision::Continue, "{off}");
            assert_eq!(answer(enough - 1, off), too_soon, "{off}");
        }
        // One that is ahead asks for more than it must: nothing is lost but a customer.
        let ahead = enough + DAY.unsigned_abs();
        assert_eq!(answer(ahead, DAY), VoucherDecision::Continue);
        assert_eq!(answer(ahead - 1, DAY), too_soon);
    }
}
