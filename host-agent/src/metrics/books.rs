//! Sums over the whole journal, of each asset for itself: what was promised, what the chain showed
//! as claimed, and what is left to claim. A sum never mixes units: what a channel pays in, its
//! claims say, or the chain; until one of them does, the channel is counted and not summed up.
//!
//! Deliberately not here: any single payment channel, and how the chain is asked (`super`).

use std::collections::{BTreeMap, HashMap};

use contracts::asset::Asset;
use protocol::nano::Nano;
use protocol::ton::TonAddress;

use super::page::Page;
use crate::journal::{ClaimState, Journal, JournalError, Scribe};

/// For a channel whose asset nobody said yet.
const UNKNOWN: &str = "unknown";

/// The journal of one host, or of all that share a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sums {
    of: BTreeMap<Asset, Book>,
    /// Payment channels whose asset is not known.
    unknown: u64,
    /// Steps of claims, by how far they came.
    steps: [(ClaimState, u64); 3],
    /// In coins, whatever was claimed.
    fees: Nano,
}

/// Of one asset, in its smallest units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Book {
    /// Payment channels with an epoch each.
    channels: u64,
    promised: Nano,
    claimed: Nano,
    open: Nano,
    open_channels: u64,
}

impl Book {
    const EMPTY: Self = Self {
        channels: 0,
        promised: Nano::ZERO,
        claimed: Nano::ZERO,
        open: Nano::ZERO,
        open_channels: 0,
    };

    fn add(&mut self, promised: Nano, claimed: Nano) -> Result<(), JournalError> {
        // What the chain showed is never above what was promised, but for another's voucher.
        let open = promised.minus(claimed).unwrap_or(Nano::ZERO);
        self.channels = self.channels.saturating_add(1);
        self.promised = sum(self.promised, promised)?;
        self.open = sum(self.open, open)?;
        if open > Nano::ZERO {
            self.open_channels = self.open_channels.saturating_add(1);
        }
        Ok(())
    }
}

impl Sums {
    /// Reads the journal through, channel by channel, so that its writer is never kept for long.
    /// `asset_of` says what a channel pays in of which no claim tells it.
    pub(super) fn of(
        journal: &Scribe,
        mut asset_of: impl FnMut(&TonAddress) -> Option<Asset>,
    ) -> Result<Self, JournalError> {
        let mut sums = Self {
            of: BTreeMap::from([(Asset::Coin, Book::EMPTY)]),
            unknown: 0,
            steps: [ClaimState::Sent, ClaimState::Shown, ClaimState::Missing].map(|s| (s, 0)),
            fees: Nano::ZERO,
        };
        let mut assets = HashMap::new();
        let mut shown = HashMap::new();
        for claim in journal.with(|journal| journal.claims())? {
            let mut steps = sums.steps.iter_mut();
            if let Some((_, count)) = steps.find(|(state, _)| *state == claim.state) {
                *count = count.saturating_add(1);
            }
            sums.fees = sum(sums.fees, claim.fees.unwrap_or(Nano::ZERO))?;
            assets.insert(claim.channel, claim.asset);
            if claim.state == ClaimState::Shown {
                let key = (claim.channel, claim.epoch);
                let total = shown.entry(key).or_insert(Nano::ZERO);
                *total = (*total).max(claim.cumulative);
            }
        }
        for ((channel, _), claimed) in &shown {
            // Every claim says what it is counted in.
            if let Some(asset) = assets.get(channel) {
                let book = sums.of.entry(*asset).or_insert(Book::EMPTY);
                book.claimed = sum(book.claimed, *claimed)?;
            }
        }
        for (channel, epoch) in journal.with(|journal| journal.channels())? {
            let highest = |journal: &mut Journal| journal.highest_voucher(&channel, epoch);
            let Some(highest) = journal.with(highest)? else {
                continue;
            };
            let said = assets.get(&channel).copied();
            let Some(asset) = said.or_else(|| asset_of(&channel)) else {
                sums.unknown = sums.unknown.saturating_add(1);
                continue;
            };
            let claimed = shown.get(&(channel, epoch)).copied();
            let book = sums.of.entry(asset).or_insert(Book::EMPTY);
            book.add(highest.voucher.cumulative, claimed.unwrap_or(Nano::ZERO))?;
        }
        Ok(sums)
    }

    pub(super) fn write(&self, page: &mut Page) {
        let channels = self.of.iter().map(|(of, book)| (of.to_string(), book));
        let channels = channels.map(|(of, book)| (of, book.channels));
        let unknown = (self.unknown > 0).then(|| (UNKNOWN.to_owned(), self.unknown));
        page.gauges("journal_channels", channels.chain(unknown));
        let each = |value: fn(&Book) -> Nano| self.of.iter().map(move |(of, b)| (of, value(b)));
        page.gauges("promised_units", each(|book| book.promised));
        page.gauges("claimed_units", each(|book| book.claimed));
        page.gauges("unclaimed_units", each(|book| book.open));
        let open = self.of.iter().map(|(of, book)| (of, book.open_channels));
        page.gauges("unclaimed_channels", open);
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
    use crate::samples::{CHANNEL, EPOCH, PAYEE, voucher, voucher_in};
    use protocol::digest::{AccountId, ReceiptsRoot};

    const NOW: UnixSeconds = UnixSeconds(10);
    const JETTON: Asset = Asset::Jetton(PAYEE);

    fn channel(byte: u8) -> TonAddress {
        TonAddress {
            workchain: 0,
            account: AccountId([byte; 32]),
        }
    }

    fn claim(channel: TonAddress, total: u64, state: ClaimState, asset: Asset) -> ClaimRecord {
        ClaimRecord {
            channel,
            epoch: EPOCH,
            cumulative: Nano::from_u64(total),
            receipts_root: ReceiptsRoot::ZERO,
            state,
            at: NOW,
            fees: (state == ClaimState::Shown).then_some(Nano::from_u64(9)),
            asset,
        }
    }

    /// What is told of a journal; the chain knows what some channels pay in.
    fn told(fill: impl FnOnce(&mut Journal), chain: &[(TonAddress, Asset)]) -> String {
        let place = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&place.path().join("journal.sqlite")).unwrap();
        fill(&mut journal);
        let scribe = Scribe::start(journal).unwrap();
        let of = |wanted: &TonAddress| {
            let mut known = chain.iter();
            known
                .find(|(channel, _)| channel == wanted)
                .map(|one| one.1)
        };
        let mut page = Page::default();
        Sums::of(&scribe, of).unwrap().write(&mut page);
        page.into_text()
    }

    fn all_are_told(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_is_promised_and_not_yet_shown_as_claimed_is_left() {
        let text = told(
            |journal| {
                journal.append_voucher(&voucher(700), NOW).unwrap();
                for (total, state) in [
                    (300, ClaimState::Sent),
                    (300, ClaimState::Shown),
                    (700, ClaimState::Sent),
                    (700, ClaimState::Missing),
                ] {
                    let claim = claim(CHANNEL, total, state, Asset::Coin);
                    journal.append_claim(&claim).unwrap();
                }
            },
            &[],
        );
        let expected = [
            "cocoon_journal_channels{asset=\"coin\"} 1",
            "cocoon_promised_units{asset=\"coin\"} 700",
            "cocoon_claimed_units{asset=\"coin\"} 300",
            "cocoon_unclaimed_units{asset=\"coin\"} 400",
            "cocoon_unclaimed_channels{asset=\"coin\"} 1",
            "cocoon_claim_steps_total{state=\"sent\"} 2",
            "cocoon_claim_steps_total{state=\"shown\"} 1",
            "cocoon_claim_steps_total{state=\"missing\"} 1",
            "cocoon_claim_fees_nano_total 9",
        ];
        all_are_told(&text, &expected);
    }

    #[test]
    fn coins_jettons_and_what_nobody_knows_are_never_added_up() {
        let text = told(
            |journal| {
                for (at, total) in [(1, 700), (2, 4_000), (3, 50_000), (4, 600_000)] {
                    let voucher = voucher_in(channel(at), total);
                    journal.append_voucher(&voucher, NOW).unwrap();
                }
                // What the claim says counts, and the chain is not asked.
                let paid = claim(channel(2), 1_000, ClaimState::Shown, JETTON);
                journal.append_claim(&paid).unwrap();
            },
            &[
                (channel(1), Asset::Coin),
                (channel(2), Asset::Coin),
                (channel(3), JETTON),
            ],
        );
        let jetton = |name: &str, value: u64| format!("cocoon_{name}{{asset=\"{PAYEE}\"}} {value}");
        let expected = [
            jetton("journal_channels", 2),
            jetton("promised_units", 54_000),
            jetton("claimed_units", 1_000),
            jetton("unclaimed_units", 53_000),
            "cocoon_promised_units{asset=\"coin\"} 700".to_owned(),
            "cocoon_claimed_units{asset=\"coin\"} 0".to_owned(),
            "cocoon_journal_channels{asset=\"unknown\"} 1".to_owned(),
        ];
        all_are_told(&text, &expected.each_ref().map(String::as_str));
        // 600,000 of nobody knows what are in no sum.
        let sums = text.lines().filter(|line| line.contains("_units"));
        assert!(!text.contains("600000") && sums.count() == 9, "{text}");
    }
}
