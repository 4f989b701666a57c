//! The append-only journal of one provider: vouchers, claims, events, and which guest has which
//! payment channel. What was answered with "stored" survives a crash of the program and of the
//! machine that keeps it.
//!
//! A voucher only ever joins a higher or an equal total; a lower one never replaces it. Every row
//! that is read back is checked again, signature included, before anything is claimed with it.
//! Deliberately not here: what a voucher is worth (`control::decision`) and the chain (`settle`).

mod batch;
mod postgres;
mod rows;
mod schema;
mod scribe;
mod sqlite;

use std::path::{Path, PathBuf};

use contracts::asset::Asset;
use protocol::digest::ReceiptsRoot;
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use protocol::voucher::SignedVoucher;

use crate::clock::UnixSeconds;

use postgres::Postgres;
use rows::{ClaimRow, Rows, address, epoch as stored_epoch, seconds};
use sqlite::Sqlite;

pub use batch::{Batch, Lease, VoucherBook};
pub use postgres::{LedgerAddress, LedgerError, LedgerOptions};
pub use scribe::Scribe;

/// Vouchers of one total that are kept: they differ in receipts root or expiry only. Further ones
/// are answered as known, which loses no money; a client cannot fill the disk with them.
pub const MAX_EQUAL_VOUCHERS: u32 = 1024;
/// Events that are kept; the oldest make room.
pub const MAX_EVENTS: u32 = 100_000;

/// The journal refused or could not be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be created.
    #[error("cannot create the journal `{}`", path.display())]
    Create {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database failed; nothing was acknowledged.
    #[error("the journal's database failed")]
    Database(#[from] rusqlite::Error),
    /// The ledger that several hosts share.
    #[error("the shared ledger cannot be used")]
    Ledger(#[from] LedgerError),
    /// The file is a database of something else, or of a later version.
    #[error("`{}` is not a journal of version {}", path.display(), schema::VERSION)]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// What was read back is not what was written; nothing is claimed from it.
    #[error("the journal is damaged: {what}")]
    Damaged {
        /// What does not hold.
        what: &'static str,
    },
}

/// What became of a voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is durable.
    Stored,
    /// This very voucher, or enough of its total, is there already.
    AlreadyKnown,
    /// A higher one is there; nothing was written.
    BelowHighest,
}

/// How far a claim came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimState {
    /// The message was handed to the chain.
    Sent,
    /// The chain shows the total as claimed.
    Shown,
    /// The chain did not show it in time.
    Missing,
}

impl ClaimState {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Shown => "shown",
            Self::Missing => "missing",
        }
    }

    fn from_name(name: &str) -> Result<Self, JournalError> {
        [Self::Sent, Self::Shown, Self::Missing]
            .into_iter()
            .find(|state| state.name() == name)
            .ok_or(JournalError::Damaged {
                what: "a claim's state",
            })
    }
}

/// One step of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimRecord {
    /// The payment channel.
    pub channel: TonAddress,
    /// Its epoch.
    pub epoch: u32,
    /// The total that was claimed.
    pub cumulative: Nano,
    /// The receipts root that went with it.
    pub receipts_root: ReceiptsRoot,
    /// How far it came.
    pub state: ClaimState,
    /// When.
    pub at: UnixSeconds,
    /// What it cost, of wallet and contract, in coins; nothing while that is not known.
    pub fees: Option<Nano>,
    /// What the channel pays in, and the total is counted in.
    pub asset: Asset,
}

/// The journal; one writer at a time, enforced by the database.
#[derive(Debug)]
pub struct Journal {
    store: Store,
}

/// Where a journal is found.
#[derive(Debug, Clone)]
pub enum Place {
    /// A file of this host.
    File(PathBuf),
    /// A database that several hosts share.
    Shared(LedgerOptions),
}

/// Where the rows lie.
#[derive(Debug)]
enum Store {
    /// In a file of this host.
    Sqlite(Sqlite),
    /// In a database that several hosts share.
    Postgres(Box<Postgres>),
}

impl Journal {
    /// Opens the journal wherever it is, or makes a new one.
    ///
    /// # Errors
    /// [`JournalError`]; a damaged or foreign journal is never written to.
    pub fn at(place: Place) -> Result<Self, JournalError> {
        match place {
            Place::File(path) => Self::open(&path),
            Place::Shared(options) => Self::share(options),
        }
    }

    /// Opens a journal in a file, or makes a new one that only its owner can read.
    ///
    /// # Errors
    /// [`JournalError`]; a damaged or foreign file is never written to.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let store = Store::Sqlite(Sqlite::open(path)?);
        Ok(Self { store })
    }

    /// Opens the ledger that several hosts share, or makes a new one.
    ///
    /// # Errors
    /// [`JournalError`]; a damaged or foreign ledger is never written to.
    pub fn share(options: LedgerOptions) -> Result<Self, JournalError> {
        let store = Store::Postgres(Box::new(Postgres::open(options)?));
        Ok(Self { store })
    }

    /// Does several things to the books and makes them durable together, with one synchronisation.
    ///
    /// # Errors
    /// [`JournalError`], of `work` or of the database; then nothing of it was stored.
    pub fn together<T>(
        &mut self,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        self.write(|rows| work(&mut Batch::within(rows)))
    }

    fn write<T>(
        &mut self,
        work: impl FnOnce(&dyn Rows) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        match &mut self.store {
            Store::Sqlite(store) => store.write(work),
            Store::Postgres(store) => store.write(work),
        }
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&dyn Rows) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        match &self.store {
            Store::Sqlite(store) => store.read(work),
            Store::Postgres(store) => store.read(work),
        }
    }

    #[cfg(test)]
    fn file(&self) -> &rusqlite::Connection {
        match &self.store {
            Store::Sqlite(store) => store.database(),
            Store::Postgres(_) => panic!("a file's test"),
        }
    }

    /// Makes a voucher durable.
    ///
    /// # Errors
    /// [`JournalError`]; then nothing was stored.
    pub fn append_voucher(
        &mut self,
        signed: &SignedVoucher,
        at: UnixSeconds,
    ) -> Result<Appended, JournalError> {
        self.together(|books| books.append(signed, at))
    }

    /// The voucher with the highest total; of equal ones, the last that came.
    ///
    /// # Errors
    /// [`JournalError`], also when the stored voucher does not hold.
    pub fn highest_voucher(
        &self,
        channel: &TonAddress,
        epoch: u32,
    ) -> Result<Option<SignedVoucher>, JournalError> {
        self.highest_valid_voucher(channel, epoch, UnixSeconds(0))
    }

    /// The voucher with the highest total of those that hold until `until` or longer.
    ///
    /// # Errors
    /// [`JournalError`], also when the stored voucher does not hold.
    pub fn highest_valid_voucher(
        &self,
        channel: &TonAddress,
        epoch: u32,
        until: UnixSeconds,
    ) -> Result<Option<SignedVoucher>, JournalError> {
        let channel = channel.to_string();
        let found = self.read(|rows| rows.top(&channel, epoch, seconds(until)))?;
        found.map(|row| row.voucher()).transpose()
    }

    /// Every payment channel and epoch of which a voucher is held, in the order of arrival.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn channels(&self) -> Result<Vec<(TonAddress, u32)>, JournalError> {
        let found = self.read(|rows| rows.channels())?;
        let parsed = found
            .into_iter()
            .map(|(channel, epoch)| Ok((address(&channel)?, stored_epoch(epoch)?)));
        parsed.collect()
    }

    /// Adds one step of a claim.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn append_claim(&mut self, claim: &ClaimRecord) -> Result<(), JournalError> {
        let row = ClaimRow::of(claim);
        self.write(|rows| rows.add_claim(&row))
    }

    /// The last step of the last claim on a payment channel.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn last_claim(
        &self,
        channel: &TonAddress,
        epoch: u32,
    ) -> Result<Option<ClaimRecord>, JournalError> {
        let found = self.read(|rows| rows.last_claim(&channel.to_string(), epoch))?;
        found.map(|row| row.record()).transpose()
    }

    /// Every step of every claim, in the order in which they were recorded.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn claims(&self) -> Result<Vec<ClaimRecord>, JournalError> {
        let found = self.read(|rows| rows.claims())?;
        found.iter().map(ClaimRow::record).collect()
    }

    /// Adds an event. `kind` and `detail` are words of this program, never of a peer.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn append_event(
        &mut self,
        kind: &'static str,
        detail: &str,
        at: UnixSeconds,
    ) -> Result<(), JournalError> {
        self.write(|rows| rows.add_event(kind, detail, at, MAX_EVENTS))
    }

    /// Takes or renews the lease of a payment channel for one guest.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn take_lease(
        &mut self,
        channel: &TonAddress,
        holder: &str,
        now: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<Lease, JournalError> {
        self.together(|books| books.take_lease(channel, holder, now, until))
    }

    /// Takes a payment channel from whichever guest has it, and gives the highest voucher of an
    /// epoch: until `until` no guest can add another one.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn seize_lease(
        &mut self,
        channel: &TonAddress,
        epoch: u32,
        holder: &str,
        (now, until): (UnixSeconds, UnixSeconds),
    ) -> Result<Option<SignedVoucher>, JournalError> {
        self.together(|books| {
            books.seize_lease(channel, holder, now, until)?;
            books.highest(channel, epoch)
        })
    }

    /// Gives back every lease of one guest. Who had it stays known: the next one takes it over.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn release_leases(&mut self, holder: &str) -> Result<(), JournalError> {
        self.write(|rows| rows.end_leases(holder, None))
    }

    /// Gives back one lease of one holder.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn release_lease(
        &mut self,
        channel: &TonAddress,
        holder: &str,
    ) -> Result<(), JournalError> {
        self.write(|rows| rows.end_leases(holder, Some(&channel.to_string())))
    }
}

#[cfg(test)]
mod tests;
