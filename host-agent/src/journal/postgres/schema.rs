//! The ledger's schema in PostgreSQL, the rules that the database itself enforces on it, and the
//! settings of a connection.
//!
//! The same tables as in the file of one host (`super::super::schema`). Deliberately not here:
//! reading and writing rows.

use super::super::JournalError;
use super::LedgerError;
use super::session::Session;

/// The schema's name.
pub(super) const NAME: &str = "cocoon_ledger";
/// The version of these tables.
pub(super) const VERSION: i32 = 2;

/// What each connection sets, whatever the server's defaults are. A connection that is idle in a
/// transaction holds up every other agent: the server ends it.
pub(super) const SETTINGS: &str = "
SET search_path = cocoon_ledger;
SET synchronous_commit = on;
SET default_transaction_read_only = off;
SET idle_in_transaction_session_timeout = '10s';
SET lock_timeout = '10s';
SET statement_timeout = '10s';
SET jit = off;
";

/// Each statement sees what was committed before it, hence after the lock everything.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// Two agents that come at once make the tables once: the bytes `CCNJ`, as for the file.
const MAKE_ALONE: &str = "SELECT pg_advisory_xact_lock(1128484426)";

/// A voucher row may only be removed when another row is worth at least as much for at least as
/// long, and never changes; claims and events are only ever added. Bytes compare as numbers.
const TABLES: &str = "
CREATE SCHEMA cocoon_ledger;
CREATE TABLE ledger (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    version integer NOT NULL
);
CREATE TABLE vouchers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL,
    epoch bigint NOT NULL,
    cumulative bytea NOT NULL CHECK (length(cumulative) = 16),
    valid_until bigint NOT NULL,
    signed bytea NOT NULL CHECK (length(signed) = 189),
    stored_at bigint NOT NULL,
    UNIQUE (channel, epoch, signed)
);
CREATE INDEX vouchers_by_total ON vouchers (channel, epoch, cumulative, id);
CREATE TABLE claims (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL,
    epoch bigint NOT NULL,
    cumulative bytea NOT NULL CHECK (length(cumulative) = 16),
    receipts_root text NOT NULL,
    state text NOT NULL CHECK (state IN ('sent', 'shown', 'missing')),
    recorded_at bigint NOT NULL,
    fees bytea CHECK (fees IS NULL OR length(fees) = 16),
    minter text
);
CREATE INDEX claims_by_channel ON claims (channel, epoch, id);
CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    detail text NOT NULL,
    recorded_at bigint NOT NULL
);
CREATE TABLE leases (
    channel text PRIMARY KEY,
    holder text NOT NULL,
    until bigint NOT NULL
);

CREATE FUNCTION ledger_time() RETURNS bigint LANGUAGE sql VOLATILE AS
$$ SELECT floor(extract(epoch FROM clock_timestamp()))::bigint $$;

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END $$;
CREATE FUNCTION only_rise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (
        SELECT 1 FROM cocoon_ledger.vouchers v WHERE v.channel = NEW.channel
        AND v.epoch = NEW.epoch AND v.cumulative > NEW.cumulative
    ) THEN RAISE EXCEPTION 'a voucher below the highest'; END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION are_kept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM cocoon_ledger.vouchers v WHERE v.channel = OLD.channel
        AND v.epoch = OLD.epoch AND v.cumulative > OLD.cumulative
        AND v.valid_until >= OLD.valid_until
    ) THEN RAISE EXCEPTION 'a voucher that nothing replaces'; END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER vouchers_only_rise BEFORE INSERT ON vouchers
FOR EACH ROW EXECUTE FUNCTION only_rise();
CREATE TRIGGER vouchers_are_kept BEFORE DELETE ON vouchers
FOR EACH ROW EXECUTE FUNCTION are_kept();
CREATE TRIGGER vouchers_never_change BEFORE UPDATE OR TRUNCATE ON vouchers
FOR EACH STATEMENT EXECUTE FUNCTION refuse('a voucher never changes');
CREATE TRIGGER claims_never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON claims
FOR EACH STATEMENT EXECUTE FUNCTION refuse('a claim never changes, and is kept');
CREATE TRIGGER events_never_change BEFORE UPDATE OR TRUNCATE ON events
FOR EACH STATEMENT EXECUTE FUNCTION refuse('an event never changes');
";

/// What makes version 2 of version 1, which knew claims in coins alone. An agent of version 1 goes
/// on with its connection: its claims are in coins.
const FROM_1: &str = "ALTER TABLE claims ADD COLUMN minter text;
UPDATE ledger SET version = 2;";

/// What to do where there is no ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make one: the operator starts.
    Make,
    /// Refuse: there was one, and what was answered out of it stood there.
    Refuse,
}

/// Refuses a server that could lose what it answered, and a schema of something else.
pub(super) fn prepare(session: &Session, missing: Missing) -> Result<(), JournalError> {
    let setting = session.ask_once("SHOW fsync")?;
    let on: Option<String> = setting.first().map(|row| row.try_get(0)).transpose()?;
    if on.as_deref() != Some("on") {
        return Err(LedgerError::NotDurable { setting: "fsync" }.into());
    }
    if !is_there(session)? {
        if missing == Missing::Refuse {
            return Err(LedgerError::Gone.into());
        }
        alone(session, make)?;
    }
    match version(session)? {
        Some(VERSION) => {}
        Some(1) => alone(session, take_up)?,
        Some(_) | None => return Err(LedgerError::Foreign.into()),
    }
    session.queries().map(|_| ())
}

fn version(session: &Session) -> Result<Option<i32>, JournalError> {
    let version = session.ask_once("SELECT version FROM ledger");
    let version = version.map_err(|_| JournalError::Ledger(LedgerError::Foreign))?;
    Ok(version.first().map(|row| row.try_get(0)).transpose()?)
}

/// Changes the tables while no other agent does.
fn alone(
    session: &Session,
    work: fn(&Session) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    session.run(BEGIN)?;
    let done = session.run(MAKE_ALONE).and_then(|()| work(session));
    session.run(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    done
}

/// Whoever came first did it.
fn take_up(session: &Session) -> Result<(), JournalError> {
    match version(session)? {
        Some(1) => session.run(FROM_1),
        Some(_) | None => Ok(()),
    }
}

fn is_there(session: &Session) -> Result<bool, JournalError> {
    let found = session.ask_once(&format!(
        "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = '{NAME}'"
    ))?;
    Ok(!found.is_empty())
}

fn make(session: &Session) -> Result<(), JournalError> {
    // Whoever came first made them.
    if is_there(session)? {
        return Ok(());
    }
    session.run(TABLES)?;
    session.run(&format!("INSERT INTO ledger (version) VALUES ({VERSION})"))
}
