//! The steps of claims for bookkeeping: RFC 4180, amounts as integers in smallest units of what the
//! channel pays in, fees in nano units of the coin.
//!
//! Only what the chain showed is an amount that came in; when the chain no longer shows it, the
//! same amount goes out again. Fees stand beside the step at which they were known. Deliberately
//! not here: rates, currencies, and the fees of what became of nothing, which the wallet's own
//! transactions tell.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use protocol::nano::Nano;
use protocol::ton::TonAddress;

use crate::journal::{ClaimRecord, ClaimState};

/// The names of the columns, in order.
pub const COLUMNS: [&str; 9] = [
    "recorded_at",
    "channel",
    "epoch",
    "state",
    "cumulative_units",
    "received_units",
    "fees_nano",
    "receipts_root",
    "asset",
];

/// One line of the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The step.
    pub claim: ClaimRecord,
    /// What came in with it, or went out when it is negative.
    pub received: i128,
}

impl Entry {
    /// The line's fields, in the order of [`COLUMNS`].
    #[must_use]
    pub fn fields(&self) -> [String; 9] {
        let claim = &self.claim;
        [
            claim.at.to_string(),
            claim.channel.to_string(),
            claim.epoch.to_string(),
            claim.state.name().to_owned(),
            claim.cumulative.to_string(),
            self.received.to_string(),
            claim.fees.map(|fees| fees.to_string()).unwrap_or_default(),
            claim.receipts_root.to_string(),
            claim.asset.to_string(),
        ]
    }
}

/// Turns the steps of claims, in the order in which they were recorded, into entries.
#[must_use]
pub fn entries(claims: &[ClaimRecord]) -> Vec<Entry> {
    let mut shown: BTreeMap<(TonAddress, u32), Vec<Nano>> = BTreeMap::new();
    let mut entries = Vec::new();
    for claim in claims {
        let totals = shown.entry((claim.channel, claim.epoch)).or_default();
        let before = totals.last().copied().unwrap_or(Nano::ZERO);
        match claim.state {
            ClaimState::Sent => {}
            ClaimState::Shown if claim.cumulative > before => totals.push(claim.cumulative),
            ClaimState::Shown => {}
            ClaimState::Missing => totals.retain(|total| *total < claim.cumulative),
        }
        let after = totals.last().copied().unwrap_or(Nano::ZERO);
        entries.push(Entry {
            claim: *claim,
            received: difference(after, before),
        });
    }
    entries
}

/// Amounts are below 2^120: their difference fits.
fn difference(after: Nano, before: Nano) -> i128 {
    let signed = |amount: Nano| i128::try_from(amount.units()).unwrap_or(i128::MAX);
    signed(after).saturating_sub(signed(before))
}

/// The whole table, header first; lines end as RFC 4180 has it.
#[must_use]
pub fn csv(entries: &[Entry]) -> String {
    let mut text = String::new();
    line(&mut text, &COLUMNS.map(str::to_owned));
    for entry in entries {
        line(&mut text, &entry.fields());
    }
    text
}

/// No field holds a comma, a quote or a line end: all are numbers, hex or words of this program.
fn line(text: &mut String, fields: &[String]) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{}\r\n", fields.join(","));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixSeconds;
    use crate::samples::{CHANNEL, EPOCH};
    use contracts::asset::Asset;
    use protocol::digest::ReceiptsRoot;

    fn step(total: u64, state: ClaimState, at: u64) -> ClaimRecord {
        ClaimRecord {
            channel: CHANNEL,
            epoch: EPOCH,
            cumulative: Nano::from_u64(total),
            receipts_root: ReceiptsRoot::ZERO,
            state,
            at: UnixSeconds(at),
            fees: None,
            asset: Asset::Coin,
        }
    }

    fn received(claims: &[ClaimRecord]) -> Vec<i128> {
        entries(claims).iter().map(|entry| entry.received).collect()
    }

    #[test]
    fn counts_what_the_chain_showed_once_and_nothing_else() {
        let claims = [
            step(100, ClaimState::Sent, 1),
            step(100, ClaimState::Shown, 2),
            step(100, ClaimState::Sent, 3),
            step(100, ClaimState::Shown, 4),
            step(250, ClaimState::Sent, 5),
            step(250, ClaimState::Missing, 6),
            step(250, ClaimState::Sent, 7),
            step(250, ClaimState::Shown, 8),
        ];
        assert_eq!(received(&claims), [0, 100, 0, 0, 0, 0, 0, 150]);
    }

    #[test]
    fn a_payment_that_a_reorganisation_took_back_is_taken_back() {
        let claims = [
            step(100, ClaimState::Shown, 1),
            step(250, ClaimState::Shown, 2),
            step(250, ClaimState::Missing, 3),
            step(250, ClaimState::Shown, 4),
        ];
        assert_eq!(received(&claims), [100, 150, -150, 150]);
    }

    #[test]
    fn the_largest_amounts_are_written_whole() {
        let mut claim = step(0, ClaimState::Shown, 1);
        claim.cumulative = Nano::MAX;
        assert_eq!(
            received(&[claim]),
            [1_329_227_995_784_915_872_903_807_060_280_344_575]
        );
    }

    #[test]
    fn the_table_is_that_of_rfc_4180() {
        let sent = step(100, ClaimState::Sent, 1_795_000_000);
        let mut shown = step(100, ClaimState::Shown, 1_795_000_009);
        shown.fees = Some(Nano::from_u64(7));
        shown.asset = Asset::Jetton(CHANNEL);
        let text = csv(&entries(&[sent, shown]));
        let (channel, root) = (format!("0:{}", "5a".repeat(32)), "00".repeat(32));
        let minter = &channel;
        let expected = format!(
            "recorded_at,channel,epoch,state,cumulative_units,received_units,fees_nano,\
             receipts_root,asset\r\n\
             1795000000,{channel},7,sent,100,0,,{root},coin\r\n\
             1795000009,{channel},7,shown,100,100,7,{root},{minter}\r\n"
        );
        assert_eq!(text, expected);
    }
}
