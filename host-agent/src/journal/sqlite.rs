//! The journal of one host: an SQLite file with a write-ahead log and full synchronisation.
//!
//! Deliberately not here: the rules (`batch`), and the tables (`schema`).

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use protocol::voucher::SignedVoucher;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use super::rows::{ClaimRow, LeaseRow, PageRows, Rows, VoucherRow, blob, seconds};
use super::{JournalError, batch, schema};
use crate::clock::UnixSeconds;

const BUSY: Duration = Duration::from_secs(10);

/// The file; one writer at a time, enforced by the database.
#[derive(Debug)]
pub(super) struct Sqlite {
    database: Connection,
}

impl Sqlite {
    /// Opens the file, or makes a new one that only its owner can read.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
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

    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&dyn Rows) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let behavior = TransactionBehavior::Immediate;
        let write = self.database.transaction_with_behavior(behavior)?;
        let done = work(&SqliteRows(&write))?;
        write.commit()?;
        Ok(done)
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&dyn Rows) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        work(&SqliteRows(&self.database))
    }

    #[cfg(test)]
    pub(super) const fn database(&self) -> &Connection {
        &self.database
    }
}

#[derive(Debug)]
struct SqliteRows<'c>(&'c Connection);

impl Rows for SqliteRows<'_> {
    fn time(&self, own: UnixSeconds) -> UnixSeconds {
        // One host, one clock.
        own
    }

    fn top(
        &self,
        channel: &str,
        epoch: u32,
        until: i64,
    ) -> Result<Option<VoucherRow>, JournalError> {
        let mut query = self.0.prepare_cached(
            "SELECT id, signed, channel, epoch, cumulative, valid_until FROM vouchers
             WHERE channel = ?1 AND epoch = ?2 AND valid_until >= ?3
             ORDER BY cumulative DESC, id DESC LIMIT 1",
        )?;
        let found = query.query_row(params![channel, epoch, until], voucher_row);
        Ok(found.optional()?)
    }

    fn page(&self, channel: &str, epoch: u32) -> Result<PageRows, JournalError> {
        let top = self.top(channel, epoch, 0)?;
        let equals = match &top {
            None => 0,
            Some(top) => {
                let mut query = self.0.prepare_cached(
                    "SELECT count(*) FROM vouchers
                     WHERE channel = ?1 AND epoch = ?2 AND cumulative = ?3",
                )?;
                query.query_row(params![channel, epoch, top.cumulative], |row| row.get(0))?
            }
        };
        let lease = self.lease(channel)?;
        Ok(PageRows { top, equals, lease })
    }

    fn holds(&self, signed: &SignedVoucher) -> Result<bool, JournalError> {
        let voucher = &signed.voucher;
        let mut query = self.0.prepare_cached(
            "SELECT 1 FROM vouchers WHERE channel = ?1 AND epoch = ?2 AND signed = ?3",
        )?;
        let key = params![voucher.channel.to_string(), voucher.epoch, signed.encode()];
        Ok(query.exists(key)?)
    }

    fn add_voucher(&self, signed: &SignedVoucher, at: UnixSeconds) -> Result<(), JournalError> {
        let voucher = &signed.voucher;
        let mut insert = self.0.prepare_cached(
            "INSERT INTO vouchers (channel, epoch, cumulative, valid_until, signed, stored_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        insert.execute(params![
            voucher.channel.to_string(),
            voucher.epoch,
            blob(voucher.cumulative),
            voucher.valid_until,
            signed.encode(),
            seconds(at)
        ])?;
        Ok(())
    }

    fn drop_replaced(&self, by: &SignedVoucher) -> Result<(), JournalError> {
        let voucher = &by.voucher;
        let mut replaced = self.0.prepare_cached(
            "DELETE FROM vouchers WHERE channel = ?1 AND epoch = ?2 AND cumulative < ?3
             AND valid_until <= ?4",
        )?;
        let (channel, total) = (voucher.channel.to_string(), blob(voucher.cumulative));
        replaced.execute(params![channel, voucher.epoch, total, voucher.valid_until])?;
        Ok(())
    }

    fn vouchers_after(&self, id: i64, limit: u32) -> Result<Vec<VoucherRow>, JournalError> {
        let mut query = self.0.prepare_cached(
            "SELECT id, signed, channel, epoch, cumulative, valid_until FROM vouchers
             WHERE id > ?1 ORDER BY id LIMIT ?2",
        )?;
        let rows = query.query_map(params![id, limit], voucher_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn channels(&self) -> Result<Vec<(String, i64)>, JournalError> {
        let mut query = self.0.prepare(
            "SELECT channel, epoch FROM vouchers GROUP BY channel, epoch ORDER BY min(id)",
        )?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn lease(&self, channel: &str) -> Result<Option<LeaseRow>, JournalError> {
        let mut query = self
            .0
            .prepare_cached("SELECT holder, until FROM leases WHERE channel = ?1")?;
        let found = query.query_row(params![channel], |row| {
            let (holder, until) = (row.get(0)?, row.get(1)?);
            Ok(LeaseRow { holder, until })
        });
        Ok(found.optional()?)
    }

    fn put_lease(&self, channel: &str, lease: &LeaseRow) -> Result<(), JournalError> {
        let mut put = self.0.prepare_cached(
            "INSERT INTO leases (channel, holder, until) VALUES (?1, ?2, ?3)
             ON CONFLICT (channel) DO UPDATE SET holder = ?2, until = ?3",
        )?;
        put.execute(params![channel, lease.holder, lease.until])?;
        Ok(())
    }

    fn end_leases(&self, holder: &str, channel: Option<&str>) -> Result<(), JournalError> {
        self.0.execute(
            "UPDATE leases SET until = 0 WHERE holder = ?1 AND (?2 IS NULL OR channel = ?2)",
            params![holder, channel],
        )?;
        Ok(())
    }

    fn add_claim(&self, claim: &ClaimRow) -> Result<(), JournalError> {
        self.0.execute(
            "INSERT INTO claims
             (channel, epoch, cumulative, receipts_root, state, recorded_at, fees, minter)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                claim.channel,
                claim.epoch,
                claim.cumulative,
                claim.receipts_root,
                claim.state,
                claim.recorded_at,
                claim.fees,
                claim.minter
            ],
        )?;
        Ok(())
    }

    fn last_claim(&self, channel: &str, epoch: u32) -> Result<Option<ClaimRow>, JournalError> {
        let found = self.0.query_row(
            "SELECT channel, epoch, cumulative, receipts_root, state, recorded_at, fees, minter
             FROM claims WHERE channel = ?1 AND epoch = ?2 ORDER BY id DESC LIMIT 1",
            params![channel, epoch],
            claim_row,
        );
        Ok(found.optional()?)
    }

    fn claims(&self) -> Result<Vec<ClaimRow>, JournalError> {
        let mut query = self.0.prepare(
            "SELECT channel, epoch, cumulative, receipts_root, state, recorded_at, fees, minter
             FROM claims ORDER BY id",
        )?;
        let rows = query.query_map([], claim_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn add_event(
        &self,
        kind: &str,
        detail: &str,
        at: UnixSeconds,
        kept: u32,
    ) -> Result<(), JournalError> {
        self.0.execute(
            "INSERT INTO events (kind, detail, recorded_at) VALUES (?1, ?2, ?3)",
            params![kind, detail, seconds(at)],
        )?;
        let newest = self.0.last_insert_rowid();
        self.0.execute(
            "DELETE FROM events WHERE id <= ?1",
            params![newest.saturating_sub(i64::from(kept))],
        )?;
        Ok(())
    }
}

fn voucher_row(row: &Row<'_>) -> rusqlite::Result<VoucherRow> {
    Ok(VoucherRow {
        id: row.get(0)?,
        signed: row.get(1)?,
        channel: row.get(2)?,
        epoch: row.get(3)?,
        cumulative: row.get(4)?,
        valid_until: row.get(5)?,
    })
}

fn claim_row(row: &Row<'_>) -> rusqlite::Result<ClaimRow> {
    Ok(ClaimRow {
        channel: row.get(0)?,
        epoch: row.get(1)?,
        cumulative: row.get(2)?,
        receipts_root: row.get(3)?,
        state: row.get(4)?,
        recorded_at: row.get(5)?,
        fees: row.get(6)?,
        minter: row.get(7)?,
    })
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
    if !batch::rows_agree(&SqliteRows(database))? {
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
        1 => {
            write.execute_batch(schema::FROM_1)?;
            write.execute_batch(schema::FROM_2)?;
        }
        2 => write.execute_batch(schema::FROM_2)?,
        _ => return Ok(()),
    }
    write.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    write.pragma_update(None, "user_version", schema::VERSION)?;
    write.commit()?;
    Ok(())
}
