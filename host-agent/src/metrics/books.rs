//! Sums over the whole journal: what was promised, what the chain showed as claimed, and what is
//! left to claim.
//!
//! Deliberately not here: any single payment channel.

use std::collections::HashMap;

use protocol::nano::Nano;

use super::page::Page;
use crate::journal::{ClaimState, Journal, JournalError, Scribe};

/// The journal of one host, or of all that share a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sums {
    /// Payment channels with an epoch each.
    channels: u64,
    promised: Nano,
    claimed: Nano,
    open: Nano,
    open_channels: u64,
    /// Steps of claims, by how far they came.
    steps: [(ClaimState, u64); 3],
    fees: Nano,
}

impl Sums {
    /// Reads the journal through, channel by channel, so that its writer is never kept for long.
    pub(super) fn of(journal: &Scribe) -> Result<Self, JournalError> {
        let mut sums = Self {
            channels: 0,
            promised: Nano::ZERO,
            claimed: Nano::ZERO,
            open: Nano::ZERO,
            open_channels: 0,
            steps: [ClaimState::Sent, ClaimState::Shown, ClaimState::Missing].map(|s| (s, 0)),
            fees: Nano::ZERO,
        };
        let mut shown = HashMap::new();
        for claim in journal.with(|journal| journal.claims())? {
            let mut steps = sums.steps.iter_mut();
            if let Some((_, count)) = steps.find(|(state, _)| *state == claim.state) {
                *count = count.saturating_add(1);
            }
            sums.fees = sum(sums.fees, claim.fees.unwrap_or(Nano::ZERO))?;
            if claim.state == ClaimState::Shown {
                let total = shown
                    .entry((claim.channel, claim.epoch))
                    .or_insert(Nano::ZERO);
                *total = (*total).max(claim.cumulative);
            }
        }
        for claimed in shown.values() {
            sums.claimed = sum(sums.claimed, *claimed)?;
        }
        for (channel, epoch) in journal.with(|journal| journal.channels())? {
            let highest = |journal: &mut Journal| journal.highest_voucher(&channel, epoch);
            let Some(highest) = journal.with(highest)? else {
                continue;
            };
            let promised = highest.voucher.cumulative;
            let claimed = shown.get(&(channel, epoch)).copied();
            // What the chain showed is never above what was promised, but for another's voucher.
            let open = promised.minus(claimed.unwrap_or(Nano::ZERO));
            let open = open.unwrap_or(Nano::ZERO);
            sums.channels = sums.channels.saturating_add(1);
            sums.promised = sum(sums.promised, promised)?;
            sums.open = sum(sums.open, open)?;
            if open > Nano::ZERO {
                sums.open_channels = sums.open_channels.saturating_add(1);
            }
        }
        Ok(sums)
    }

    pub(super) fn write(&self, page: &mut Page) {
        page.gauge("journal_channels", self.channels);
        page.gauge("promised_nano", self.promised);
        page.gauge("claimed_nano", self.claimed);
        page.gauge("unclaimed_nano", self.open);
        page.gauge("unclaimed_channels", self.open_channels);
        let steps = self
            .steps
            .iter()
            .map(|(state, count)| (state.name(), *count));
        page.counters("claim_steps_total", "state", steps);
        page.counter("claim_fees_nano_total", self.fees);
    }
}

fn sum(one: Nano, other: Nano) -> Result<Nano, JournalError> {
    one.plus(other).map_err(|_| JournalError::Damaged {
        what: "a sum of amounts",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixSeconds;
    use crate::journal::ClaimRecord;
    use crate::samples::{CHANNEL, EPOCH, voucher};
    use contracts::asset::Asset;
    use protocol::digest::ReceiptsRoot;

    #[test]
    fn what_is_promised_and_not_yet_shown_as_claimed_is_left() {
        let place = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&place.path().join("journal.sqlite")).unwrap();
        let now = UnixSeconds(10);
        let claim = |total, state, fees| ClaimRecord {
            channel: CHANNEL,
            epoch: EPOCH,
            cumulative: Nano::from_u64(total),
            receipts_root: ReceiptsRoot::ZERO,
            state,
            at: now,
            fees,
            asset: Asset::Coin,
        };
        journal.append_voucher(&voucher(700), now).unwrap();
        for claim in [
            claim(300, ClaimState::Sent, None),
            claim(300, ClaimState::Shown, Some(Nano::from_u64(9))),
            claim(700, ClaimState::Sent, None),
            claim(700, ClaimState::Missing, None),
        ] {
            journal.append_claim(&claim).unwrap();
        }
        let scribe = Scribe::start(journal).unwrap();
        let mut page = Page::default();
        Sums::of(&scribe).unwrap().write(&mut page);
        let text = page.into_text();
        for line in [
            "cocoon_journal_channels 1",
            "cocoon_promised_nano 700",
            "cocoon_claimed_nano 300",
            "cocoon_unclaimed_nano 400",
            "cocoon_unclaimed_channels 1",
            "cocoon_claim_steps_total{state=\"sent\"} 2",
            "cocoon_claim_steps_total{state=\"shown\"} 1",
            "cocoon_claim_steps_total{state=\"missing\"} 1",
            "cocoon_claim_fees_nano_total 9",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
