//! The rules of the books of vouchers and leases, for either store: what one transaction does to
//! them. It is durable when the whole transaction is, and nothing of it is when that fails.
//!
//! A channel's page is read once in a transaction: nobody else writes while it lasts. Deliberately
//! not here: beginning and ending a transaction (the stores, `scribe`), and SQL (`rows`).

use std::cell::RefCell;
use std::collections::HashMap;

use protocol::ton::TonAddress;
use protocol::voucher::SignedVoucher;

use super::rows::{LeaseRow, Rows, seconds};
use super::{Appended, JournalError, MAX_EQUAL_VOUCHERS};
use crate::clock::UnixSeconds;

/// Rows that are compared with their vouchers at once, when a journal is opened.
const COMPARED_AT_ONCE: u32 = 4096;

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
    /// [`JournalError`], also when the stored voucher does not hold.
    fn append(&mut self, signed: &SignedVoucher, at: UnixSeconds)
    -> Result<Appended, JournalError>;
}

/// The top of one payment channel and epoch.
#[derive(Debug, Clone, Copy)]
struct Page {
    top: Option<SignedVoucher>,
    /// Vouchers of that total.
    equals: u32,
}

/// The books within one transaction.
#[derive(Debug)]
pub struct Batch<'t> {
    rows: &'t dyn Rows,
    pages: RefCell<HashMap<(TonAddress, u32), Page>>,
    leases: RefCell<HashMap<TonAddress, Option<LeaseRow>>>,
}

impl<'t> Batch<'t> {
    pub(super) fn within(rows: &'t dyn Rows) -> Self {
        Self {
            rows,
            pages: RefCell::default(),
            leases: RefCell::default(),
        }
    }

    /// Takes a lease from whoever has it.
    pub(super) fn seize_lease(
        &self,
        channel: &TonAddress,
        holder: &str,
        now: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<(), JournalError> {
        let (_, until) = self.on_the_ledgers_clock(now, until);
        self.put_lease(channel, holder, until)
    }

    /// The same time and span by the clock of all that share the ledger.
    fn on_the_ledgers_clock(&self, now: UnixSeconds, until: UnixSeconds) -> (i64, i64) {
        let at = self.rows.time(now);
        let until = at.plus(until.0.saturating_sub(now.0));
        (seconds(at), seconds(until))
    }

    fn put_lease(
        &self,
        channel: &TonAddress,
        holder: &str,
        until: i64,
    ) -> Result<(), JournalError> {
        let holder = holder.to_owned();
        let lease = LeaseRow { holder, until };
        self.rows.put_lease(&channel.to_string(), &lease)?;
        self.leases.borrow_mut().insert(*channel, Some(lease));
        Ok(())
    }

    fn lease(&self, channel: &TonAddress) -> Result<Option<LeaseRow>, JournalError> {
        if let Some(known) = self.leases.borrow().get(channel) {
            return Ok(known.clone());
        }
        let found = self.rows.lease(&channel.to_string())?;
        self.leases.borrow_mut().insert(*channel, found.clone());
        Ok(found)
    }

    fn page(&self, channel: &TonAddress, epoch: u32) -> Result<Page, JournalError> {
        if let Some(known) = self.pages.borrow().get(&(*channel, epoch)) {
            return Ok(*known);
        }
        let found = self.rows.page(&channel.to_string(), epoch)?;
        let top = found.top.map(|row| row.voucher()).transpose()?;
        let equals = found.equals;
        let page = Page { top, equals };
        self.pages.borrow_mut().insert((*channel, epoch), page);
        // A lease that was given in this transaction is newer than the row.
        let mut leases = self.leases.borrow_mut();
        leases.entry(*channel).or_insert(found.lease);
        Ok(page)
    }
}

impl VoucherBook for Batch<'_> {
    fn highest(
        &self,
        channel: &TonAddress,
        epoch: u32,
    ) -> Result<Option<SignedVoucher>, JournalError> {
        Ok(self.page(channel, epoch)?.top)
    }

    fn take_lease(
        &mut self,
        channel: &TonAddress,
        holder: &str,
        now: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<Lease, JournalError> {
        let (now, until) = self.on_the_ledgers_clock(now, until);
        let last = self.lease(channel)?;
        let others = last.filter(|last| last.holder != holder);
        if others.as_ref().is_some_and(|others| others.until > now) {
            return Ok(Lease::Another);
        }
        self.put_lease(channel, holder, until)?;
        Ok(match others {
            None => Lease::Ours,
            Some(_) => Lease::TakenOver,
        })
    }

    fn append(
        &mut self,
        signed: &SignedVoucher,
        at: UnixSeconds,
    ) -> Result<Appended, JournalError> {
        let voucher = &signed.voucher;
        let page = self.page(&voucher.channel, voucher.epoch)?;
        let top = page.top.map(|top| top.voucher.cumulative);
        if top.is_some_and(|top| top > voucher.cumulative) {
            return Ok(Appended::BelowHighest);
        }
        let equals = if top == Some(voucher.cumulative) {
            if page.equals >= MAX_EQUAL_VOUCHERS || self.rows.holds(signed)? {
                return Ok(Appended::AlreadyKnown);
            }
            page.equals
        } else {
            0
        };
        self.rows.add_voucher(signed, at)?;
        if top.is_some() {
            self.rows.drop_replaced(signed)?;
        }
        let page = Page {
            top: Some(*signed),
            equals: equals.saturating_add(1),
        };
        let mut pages = self.pages.borrow_mut();
        pages.insert((voucher.channel, voucher.epoch), page);
        Ok(Appended::Stored)
    }
}

/// Whether every row says what its voucher says; without the signatures, which are checked when a
/// row is used.
pub(super) fn rows_agree(rows: &dyn Rows) -> Result<bool, JournalError> {
    let mut last = i64::MIN;
    loop {
        let found = rows.vouchers_after(last, COMPARED_AT_ONCE)?;
        let Some(newest) = found.last() else {
            return Ok(true);
        };
        let rises = newest.id > last;
        if !rises || found.iter().any(|row| row.agreeing().is_none()) {
            return Ok(false);
        }
        last = newest.id;
    }
}
