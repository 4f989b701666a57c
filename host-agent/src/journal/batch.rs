//! What one transaction does to the books of vouchers and leases. It is durable when the whole
//! transaction is, and nothing of it is when the transaction fails.
//!
//! Deliberately not here: beginning and ending a transaction (`super`, `scribe`).

use protocol::ton::TonAddress;
use protocol::voucher::SignedVoucher;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{Appended, JournalError, MAX_EQUAL_VOUCHERS, blob, seconds};
use crate::clock::UnixSeconds;

/// Which guest has a payment channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// The one that asks.
    Ours,
    /// The one that asks, from now on; another guest of this provider had it last.
    TakenOver,
    /// Another guest of this provider.
    Another,
}

/// What a voucher question needs of a journal; under test also without one.
pub trait VoucherBook {
    /// The voucher with the highest total; of equal ones, the last that came.
    ///
    /// # Errors
    /// [`JournalError`], also when the stored voucher does not hold.
    fn highest(
        &self,
        channel: &TonAddress,
        epoch: u32,
    ) -> Result<Option<SignedVoucher>, JournalError>;

    /// Takes or renews the lease of a payment channel for one guest.
    ///
    /// # Errors
    /// [`JournalError`].
    fn take_lease(
        &mut self,
        channel: &TonAddress,
        holder: &str,
        now: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<Lease, JournalError>;

    /// Adds a voucher, unless a higher one is there.
    ///
    /// # Errors
    /// [`JournalError`].
    fn append(&mut self, signed: &SignedVoucher, at: UnixSeconds)
    -> Result<Appended, JournalError>;
}

/// The books within one transaction.
#[derive(Debug)]
pub struct Batch<'t> {
    write: &'t Transaction<'t>,
}

impl<'t> Batch<'t> {
    pub(super) const fn within(write: &'t Transaction<'t>) -> Self {
        Self { write }
    }

    /// Takes a lease from whoever has it.
    pub(super) fn seize_lease(
        &self,
        channel: &TonAddress,
        holder: &str,
        until: UnixSeconds,
    ) -> Result<(), JournalError> {
        self.write.execute(
            "INSERT INTO leases (channel, holder, until) VALUES (?1, ?2, ?3)
             ON CONFLICT (channel) DO UPDATE SET holder = ?2, until = ?3",
            params![channel.to_string(), holder, seconds(until)],
        )?;
        Ok(())
    }
}

impl VoucherBook for Batch<'_> {
    fn highest(
        &self,
        channel: &TonAddress,
        epoch: u32,
    ) -> Result<Option<SignedVoucher>, JournalError> {
        highest(self.write, channel, epoch, UnixSeconds(0))
    }

    fn take_lease(
        &mut self,
        channel: &TonAddress,
        holder: &str,
        now: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<Lease, JournalError> {
        let channel = channel.to_string();
        let mut last = self
            .write
            .prepare_cached("SELECT holder FROM leases WHERE channel = ?1")?;
        let last: Option<String> = last
            .query_row(params![channel], |row| row.get(0))
            .optional()?;
        let mut take = self.write.prepare_cached(
            "INSERT INTO leases (channel, holder, until) VALUES (?1, ?2, ?4)
             ON CONFLICT (channel) DO UPDATE SET holder = ?2, until = ?4
             WHERE holder = ?2 OR until <= ?3",
        )?;
        let rows = take.execute(params![channel, holder, seconds(now), seconds(until)])?;
        Ok(match rows {
            0 => Lease::Another,
            _ if last.is_none_or(|last| last == holder) => Lease::Ours,
            _ => Lease::TakenOver,
        })
    }

    fn append(
        &mut self,
        signed: &SignedVoucher,
        at: UnixSeconds,
    ) -> Result<Appended, JournalError> {
        let voucher = &signed.voucher;
        let (channel, epoch) = (voucher.channel.to_string(), voucher.epoch);
        let total = blob(voucher.cumulative);
        let mut highest = self.write.prepare_cached(
            "SELECT max(cumulative) FROM vouchers WHERE channel = ?1 AND epoch = ?2",
        )?;
        let highest: Option<[u8; 16]> =
            highest.query_row(params![channel, epoch], |row| row.get(0))?;
        if highest.is_some_and(|highest| highest > total) {
            return Ok(Appended::BelowHighest);
        }
        let mut equals = self.write.prepare_cached(
            "SELECT count(*) FROM vouchers WHERE channel = ?1 AND epoch = ?2 AND cumulative = ?3",
        )?;
        let equals: u32 = equals.query_row(params![channel, epoch, total], |row| row.get(0))?;
        if equals >= MAX_EQUAL_VOUCHERS {
            return Ok(Appended::AlreadyKnown);
        }
        let mut insert = self.write.prepare_cached(
            "INSERT INTO vouchers (channel, epoch, cumulative, valid_until, signed, stored_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (channel, epoch, signed) DO NOTHING",
        )?;
        let until = voucher.valid_until;
        let row = params![channel, epoch, total, until, signed.encode(), seconds(at)];
        let rows = insert.execute(row)?;
        let mut replaced = self.write.prepare_cached(
            "DELETE FROM vouchers WHERE channel = ?1 AND epoch = ?2 AND cumulative < ?3
             AND valid_until <= ?4",
        )?;
        replaced.execute(params![channel, epoch, total, until])?;
        Ok(match rows {
            0 => Appended::AlreadyKnown,
            _ => Appended::Stored,
        })
    }
}

/// The voucher with the highest total of those that hold until `until` or longer.
pub(super) fn highest(
    database: &Connection,
    channel: &TonAddress,
    epoch: u32,
    until: UnixSeconds,
) -> Result<Option<SignedVoucher>, JournalError> {
    let mut query = database.prepare_cached(
        "SELECT signed, channel, epoch, cumulative, valid_until FROM vouchers
         WHERE channel = ?1 AND epoch = ?2 AND valid_until >= ?3
         ORDER BY cumulative DESC, id DESC LIMIT 1",
    )?;
    let row = params![channel.to_string(), epoch, seconds(until)];
    query.query_row(row, stored_voucher).optional()?.transpose()
}

/// Whether every row says what its voucher says; without the signatures, which are checked when a
/// row is used.
pub(super) fn rows_agree(database: &Connection) -> Result<bool, JournalError> {
    let mut query =
        database.prepare("SELECT signed, channel, epoch, cumulative, valid_until FROM vouchers")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        if agreeing_voucher(row)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads a voucher back and checks it against its row and under its own signature.
fn stored_voucher(row: &Row<'_>) -> rusqlite::Result<Result<SignedVoucher, JournalError>> {
    let found = agreeing_voucher(row)?.filter(|voucher| voucher.verify().is_ok());
    Ok(found.ok_or(JournalError::Damaged {
        what: "a voucher's signature or row",
    }))
}

fn agreeing_voucher(row: &Row<'_>) -> rusqlite::Result<Option<SignedVoucher>> {
    let signed: Vec<u8> = row.get(0)?;
    let channel: String = row.get(1)?;
    let epoch: u32 = row.get(2)?;
    let total: [u8; 16] = row.get(3)?;
    let valid_until: u32 = row.get(4)?;
    Ok(SignedVoucher::decode(&signed).ok().filter(|voucher| {
        let inner = &voucher.voucher;
        inner.channel.to_string() == channel
            && inner.epoch == epoch
            && blob(inner.cumulative) == total
            && inner.valid_until == valid_until
    }))
}
