//! The append-only journal of one provider: vouchers, claims, events, and which guest has which
//! payment channel. SQLite with a write-ahead log and full synchronisation: what was answered with
//! "stored" survives a crash of the program and of the machine.
//!
//! A voucher only ever joins a higher or an equal total; a lower one never replaces it. Every row
//! that is read back is checked again, signature included, before anything is claimed with it.
//! Deliberately not here: what a voucher is worth (`control::decision`) and the chain (`settle`).

mod batch;
mod schema;
mod scribe;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::digest::ReceiptsRoot;
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use protocol::voucher::SignedVoucher;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use crate::clock::UnixSeconds;

pub use batch::{Batch, Lease, VoucherBook};
pub use scribe::Scribe;

/// Vouchers of one total that are kept: they differ in receipts root or expiry only. Further ones
/// are answered as known, which loses no money; a client cannot fill the disk with them.
pub const MAX_EQUAL_VOUCHERS: u32 = 1024;
/// Events that are kept; the oldest make room.
pub const MAX_EVENTS: u32 = 100_000;
const BUSY: Duration = Duration::from_secs(10);

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
    /// What it cost, of wallet and contract; nothing while that is not known.
    pub fees: Option<Nano>,
}

/// The journal; one writer at a time, enforced by the database.
#[derive(Debug)]
pub struct Journal {
    database: Connection,
}

impl Journal {
    /// Opens the journal, or makes a new one that only its owner can read.
    ///
    /// # Errors
    /// [`JournalError`]; a damaged or foreign file is never written to.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| JournalError::Create {
                path: path.to_owned(),
                source,
            })?;
        sync_directory(path)?;
        let mut database = Connection::open(path)?;
        database.busy_timeout(BUSY)?;
        prepare(&mut database, path)?;
        // By now the write-ahead log is there as well. The database's own synchronisation of the
        // directory ignores its errors; and while this connection is open the log stays.
        sync_directory(path)?;
        Ok(Self { database })
    }

    /// Does several things to the books and makes them durable together, with one synchronisation.
    ///
    /// # Errors
    /// [`JournalError`], of `work` or of the database; then nothing of it was stored.
    pub fn together<T>(
        &mut self,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let write = self
            .database
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&mut Batch::within(&write))?;
        write.commit()?;
        Ok(done)
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
        batch::highest(&self.database, channel, epoch, until)
    }

    /// Every payment channel and epoch of which a voucher is held, in the order of arrival.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn channels(&self) -> Result<Vec<(TonAddress, u32)>, JournalError> {
        let mut query = self.database.prepare(
            "SELECT channel, epoch FROM vouchers GROUP BY channel, epoch ORDER BY min(id)",
        )?;
        let rows = query.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?))
        })?;
        rows.map(|row| {
            let (channel, epoch) = row?;
            Ok((address(&channel)?, epoch))
        })
        .collect()
    }

    /// Adds one step of a claim.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn append_claim(&mut self, claim: &ClaimRecord) -> Result<(), JournalError> {
        self.database.execute(
            "INSERT INTO claims
             (channel, epoch, cumulative, receipts_root, state, recorded_at, fees)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                claim.channel.to_string(),
                claim.epoch,
                blob(claim.cumulative),
                claim.receipts_root.to_string(),
                claim.state.name(),
                seconds(claim.at),
                claim.fees.map(blob)
            ],
        )?;
        Ok(())
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
        let found = self
            .database
            .query_row(
                "SELECT channel, epoch, cumulative, receipts_root, state, recorded_at, fees
                 FROM claims WHERE channel = ?1 AND epoch = ?2 ORDER BY id DESC LIMIT 1",
                params![channel.to_string(), epoch],
                stored_claim,
            )
            .optional()?;
        found.transpose()
    }

    /// Every step of every claim, in the order in which they were recorded.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn claims(&self) -> Result<Vec<ClaimRecord>, JournalError> {
        let mut query = self.database.prepare(
            "SELECT channel, epoch, cumulative, receipts_root, state, recorded_at, fees FROM claims
             ORDER BY id",
        )?;
        let rows = query.query_map([], stored_claim)?;
        rows.map(|row| row?).collect()
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
        self.database.execute(
            "INSERT INTO events (kind, detail, recorded_at) VALUES (?1, ?2, ?3)",
            params![kind, detail, seconds(at)],
        )?;
        let newest = self.database.last_insert_rowid();
        self.database.execute(
            "DELETE FROM events WHERE id <= ?1",
            params![newest.saturating_sub(i64::from(MAX_EVENTS))],
        )?;
        Ok(())
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
        until: UnixSeconds,
    ) -> Result<Option<SignedVoucher>, JournalError> {
        self.together(|books| {
            books.seize_lease(channel, holder, until)?;
            books.highest(channel, epoch)
        })
    }

    /// Gives back every lease of one guest. Who had it stays known: the next one takes it over.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn release_leases(&mut self, holder: &str) -> Result<(), JournalError> {
        self.database.execute(
            "UPDATE leases SET until = 0 WHERE holder = ?1",
            params![holder],
        )?;
        Ok(())
    }
}

/// Puts the names of new files on the disk before anything in them is promised.
fn sync_directory(path: &Path) -> Result<(), JournalError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| JournalError::Create {
            path: path.to_owned(),
            source,
        })
}

fn prepare(database: &mut Connection, path: &Path) -> Result<(), JournalError> {
    let foreign = || JournalError::Foreign {
        path: path.to_owned(),
    };
    let application: i32 = database
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|_| foreign())?;
    let version: i32 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 =
        database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_new = application == 0 && version == 0 && tables == 0;
    let is_known = (1..=schema::VERSION).contains(&version);
    if !is_new && (application != schema::APPLICATION_ID || !is_known) {
        return Err(foreign());
    }
    // Answers with the mode that is in force, hence not an update that returns nothing.
    let mode: String =
        database.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(JournalError::Damaged {
            what: "no write-ahead log",
        });
    }
    database.pragma_update(None, "synchronous", "full")?;
    if is_new {
        make_tables(database)?;
    }
    let verdict: String = database.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(JournalError::Damaged {
            what: "the database's own check",
        });
    }
    // A changed expiry could hide a voucher from every question that asks for valid ones.
    if !batch::rows_agree(database)? {
        return Err(JournalError::Damaged {
            what: "a voucher's row",
        });
    }
    // An earlier version's, now that it is known to be whole.
    make_tables(database)
}

/// Makes the tables of a new file, or of an earlier version's. Whoever came first did it.
fn make_tables(database: &mut Connection) -> Result<(), JournalError> {
    let write = database.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let version: i32 = write.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        0 => write.execute_batch(schema::TABLES)?,
        1 => write.execute_batch(schema::FROM_1)?,
        _ => return Ok(()),
    }
    write.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    write.pragma_update(None, "user_version", schema::VERSION)?;
    write.commit()?;
    Ok(())
}

fn stored_claim(row: &Row<'_>) -> rusqlite::Result<Result<ClaimRecord, JournalError>> {
    let (channel, total, root): (String, [u8; 16], String) =
        (row.get(0)?, row.get(2)?, row.get(3)?);
    let (state, at): (String, i64) = (row.get(4)?, row.get(5)?);
    let epoch = row.get(1)?;
    let fees: Option<[u8; 16]> = row.get(6)?;
    let claim = || {
        Ok(ClaimRecord {
            channel: address(&channel)?,
            epoch,
            cumulative: amount(total)?,
            receipts_root: root.parse().map_err(|_| JournalError::Damaged {
                what: "a claim's receipts root",
            })?,
            state: ClaimState::from_name(&state)?,
            at: UnixSeconds(u64::try_from(at).unwrap_or_default()),
            fees: fees.map(amount).transpose()?,
        })
    };
    Ok(claim())
}

fn blob(amount: Nano) -> [u8; 16] {
    amount.units().to_be_bytes()
}

fn amount(blob: [u8; 16]) -> Result<Nano, JournalError> {
    Nano::new(u128::from_be_bytes(blob)).map_err(|_| JournalError::Damaged { what: "an amount" })
}

fn address(text: &str) -> Result<TonAddress, JournalError> {
    text.parse()
        .map_err(|_| JournalError::Damaged { what: "an address" })
}

/// SQLite's integers are signed; no clock of ours leaves their range.
fn seconds(at: UnixSeconds) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
