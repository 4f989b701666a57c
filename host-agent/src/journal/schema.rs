//! The journal's tables, and the rules that the database itself enforces on them.
//!
//! Amounts are 16 big-endian bytes, so that the database compares them as numbers; addresses are
//! text. Deliberately not here: anything that reads or writes rows.

/// `PRAGMA application_id`: the bytes `CCNJ`.
pub(super) const APPLICATION_ID: i32 = 0x4343_4e4a;
/// `PRAGMA user_version`: the version of these tables.
pub(super) const VERSION: i32 = 3;

/// A voucher row may only be removed when another row is worth at least as much for at least as
/// long, and never changes; claims and events are only ever added.
pub(super) const TABLES: &str = "
CREATE TABLE vouchers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    cumulative BLOB NOT NULL CHECK (length(cumulative) = 16),
    valid_until INTEGER NOT NULL,
    signed BLOB NOT NULL CHECK (length(signed) = 189),
    stored_at INTEGER NOT NULL,
    UNIQUE (channel, epoch, signed)
) STRICT;
CREATE INDEX vouchers_by_total ON vouchers (channel, epoch, cumulative);
CREATE TRIGGER vouchers_only_rise BEFORE INSERT ON vouchers
WHEN EXISTS (
    SELECT 1 FROM vouchers WHERE channel = NEW.channel AND epoch = NEW.epoch
    AND cumulative > NEW.cumulative
)
BEGIN SELECT RAISE(ABORT, 'a voucher below the highest'); END;
CREATE TRIGGER vouchers_never_change BEFORE UPDATE ON vouchers
BEGIN SELECT RAISE(ABORT, 'a voucher never changes'); END;
CREATE TRIGGER vouchers_are_kept BEFORE DELETE ON vouchers
WHEN NOT EXISTS (
    SELECT 1 FROM vouchers WHERE channel = OLD.channel AND epoch = OLD.epoch
    AND cumulative > OLD.cumulative AND valid_until >= OLD.valid_until
)
BEGIN SELECT RAISE(ABORT, 'a voucher that nothing replaces'); END;

CREATE TABLE claims (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    cumulative BLOB NOT NULL CHECK (length(cumulative) = 16),
    receipts_root TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('sent', 'shown', 'missing')),
    recorded_at INTEGER NOT NULL,
    fees BLOB CHECK (fees IS NULL OR length(fees) = 16),
    minter TEXT
) STRICT;
CREATE TRIGGER claims_never_change BEFORE UPDATE ON claims
BEGIN SELECT RAISE(ABORT, 'a claim never changes'); END;
CREATE TRIGGER claims_are_kept BEFORE DELETE ON claims
BEGIN SELECT RAISE(ABORT, 'a claim is kept'); END;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT;
CREATE TRIGGER events_never_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'an event never changes'); END;

CREATE TABLE leases (
    channel TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT;
";

/// What makes version 2 of version 1, which knew no fees.
pub(super) const FROM_1: &str = "
ALTER TABLE claims ADD COLUMN fees BLOB CHECK (fees IS NULL OR length(fees) = 16);
";

/// What makes version 3 of version 2, which knew claims in coins alone.
pub(super) const FROM_2: &str = "
ALTER TABLE claims ADD COLUMN minter TEXT;
";
