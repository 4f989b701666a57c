//! What a store of the journal keeps and gives back: rows, and the little that both stores do with
//! them. SQLite and PostgreSQL hold the same rows; what may become a row is decided once (`batch`).
//!
//! Deliberately not here: SQL, transactions and the rules.

use std::fmt::Debug;

use contracts::asset::Asset;
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use protocol::voucher::SignedVoucher;

use super::{ClaimRecord, ClaimState, JournalError};
use crate::clock::UnixSeconds;

/// A voucher, and the columns by which it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VoucherRow {
    /// Rises with each row that is added.
    pub(super) id: i64,
    /// The voucher with its signature, 189 bytes.
    pub(super) signed: Vec<u8>,
    /// The payment channel's address.
    pub(super) channel: String,
    /// Its epoch.
    pub(super) epoch: i64,
    /// The total, 16 big-endian bytes.
    pub(super) cumulative: Vec<u8>,
    /// Its last second.
    pub(super) valid_until: i64,
}

impl VoucherRow {
    /// The voucher, when every column says what it says; without its signature.
    pub(super) fn agreeing(&self) -> Option<SignedVoucher> {
        let found = SignedVoucher::decode(&self.signed).ok();
        found.filter(|signed| {
            let voucher = &signed.voucher;
            voucher.channel.to_string() == self.channel
                && i64::from(voucher.epoch) == self.epoch
                && blob(voucher.cumulative).as_slice() == self.cumulative
                && i64::from(voucher.valid_until) == self.valid_until
        })
    }

    /// The voucher, checked against its row and under its own signature.
    pub(super) fn voucher(&self) -> Result<SignedVoucher, JournalError> {
        let found = self.agreeing().filter(|voucher| voucher.verify().is_ok());
        found.ok_or(JournalError::Damaged {
            what: "a voucher's signature or row",
        })
    }
}

/// Who has a payment channel, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaseRow {
    pub(super) holder: String,
    pub(super) until: i64,
}

/// What a voucher question needs to know of one payment channel and epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageRows {
    /// The row of the highest total; of equal ones, the last that came.
    pub(super) top: Option<VoucherRow>,
    /// Rows of that total.
    pub(super) equals: u32,
    /// Who has the channel.
    pub(super) lease: Option<LeaseRow>,
}

/// One step of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimRow {
    pub(super) channel: String,
    pub(super) epoch: i64,
    pub(super) cumulative: Vec<u8>,
    pub(super) receipts_root: String,
    pub(super) state: String,
    pub(super) recorded_at: i64,
    pub(super) fees: Option<Vec<u8>>,
    /// The jetton's minter; nothing for the coin.
    pub(super) minter: Option<String>,
}

impl ClaimRow {
    pub(super) fn of(claim: &ClaimRecord) -> Self {
        Self {
            channel: claim.channel.to_string(),
            epoch: i64::from(claim.epoch),
            cumulative: blob(claim.cumulative).to_vec(),
            receipts_root: claim.receipts_root.to_string(),
            state: claim.state.name().to_owned(),
            recorded_at: seconds(claim.at),
            fees: claim.fees.map(|fees| blob(fees).to_vec()),
            minter: claim.asset.minter().map(|minter| minter.to_string()),
        }
    }

    pub(super) fn record(&self) -> Result<ClaimRecord, JournalError> {
        let root = self.receipts_root.parse();
        Ok(ClaimRecord {
            channel: address(&self.channel)?,
            epoch: epoch(self.epoch)?,
            cumulative: amount(&self.cumulative)?,
            receipts_root: root.map_err(|_| JournalError::Damaged {
                what: "a claim's receipts root",
            })?,
            state: ClaimState::from_name(&self.state)?,
            at: UnixSeconds(u64::try_from(self.recorded_at).unwrap_or_default()),
            fees: self.fees.as_deref().map(amount).transpose()?,
            asset: Asset::of_minter(self.minter.as_deref().map(address).transpose()?),
        })
    }
}

/// The rows of a store, within a transaction or outside of one. Nothing here judges.
pub(super) trait Rows: Debug {
    /// The clock by which leases are judged: one for all that share the ledger. `own` is the
    /// clock of who asks.
    fn time(&self, own: UnixSeconds) -> UnixSeconds;

    /// The row of the highest total of those that hold until `until`; of equal ones, the last.
    fn top(
        &self,
        channel: &str,
        epoch: u32,
        until: i64,
    ) -> Result<Option<VoucherRow>, JournalError>;

    /// Everything that a voucher question needs, at once.
    fn page(&self, channel: &str, epoch: u32) -> Result<PageRows, JournalError>;

    /// Whether this very voucher is there.
    fn holds(&self, signed: &SignedVoucher) -> Result<bool, JournalError>;

    /// Adds a voucher that is not there.
    fn add_voucher(&self, signed: &SignedVoucher, at: UnixSeconds) -> Result<(), JournalError>;

    /// Removes what this voucher, which is there, replaces: lower totals that end no later.
    fn drop_replaced(&self, by: &SignedVoucher) -> Result<(), JournalError>;

    /// So many rows from the first after `id` on, in the order of arrival.
    fn vouchers_after(&self, id: i64, limit: u32) -> Result<Vec<VoucherRow>, JournalError>;

    /// Every payment channel and epoch of which a voucher is held, in the order of arrival.
    fn channels(&self) -> Result<Vec<(String, i64)>, JournalError>;

    /// Who has a payment channel.
    fn lease(&self, channel: &str) -> Result<Option<LeaseRow>, JournalError>;

    /// Gives a payment channel to somebody.
    fn put_lease(&self, channel: &str, lease: &LeaseRow) -> Result<(), JournalError>;

    /// Ends the leases of a holder: of one payment channel, or of all. The holder stays known.
    fn end_leases(&self, holder: &str, channel: Option<&str>) -> Result<(), JournalError>;

    /// Adds a step of a claim.
    fn add_claim(&self, claim: &ClaimRow) -> Result<(), JournalError>;

    /// The last step of the last claim.
    fn last_claim(&self, channel: &str, epoch: u32) -> Result<Option<ClaimRow>, JournalError>;

    /// Every step of every claim, in the order in which they were recorded.
    fn claims(&self) -> Result<Vec<ClaimRow>, JournalError>;

    /// Adds an event, and lets the oldest go beyond `kept`.
    fn add_event(
        &self,
        kind: &str,
        detail: &str,
        at: UnixSeconds,
        kept: u32,
    ) -> Result<(), JournalError>;
}

pub(super) fn blob(amount: Nano) -> [u8; 16] {
    amount.units().to_be_bytes()
}

fn amount(blob: &[u8]) -> Result<Nano, JournalError> {
    let damaged = || JournalError::Damaged { what: "an amount" };
    let blob = <[u8; 16]>::try_from(blob).map_err(|_| damaged())?;
    Nano::new(u128::from_be_bytes(blob)).map_err(|_| damaged())
}

pub(super) fn address(text: &str) -> Result<TonAddress, JournalError> {
    text.parse()
        .map_err(|_| JournalError::Damaged { what: "an address" })
}

pub(super) fn epoch(stored: i64) -> Result<u32, JournalError> {
    u32::try_from(stored).map_err(|_| JournalError::Damaged { what: "an epoch" })
}

/// The databases' integers are signed; no clock of ours leaves their range.
pub(super) fn seconds(at: UnixSeconds) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}
