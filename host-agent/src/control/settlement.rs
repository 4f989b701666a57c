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
