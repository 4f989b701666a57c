//! The rows of a ledger in PostgreSQL, and the questions that give and take them.
//!
//! Deliberately not here: when they are asked, and what follows from the answers.

use std::sync::Arc;

use protocol::voucher::SignedVoucher;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

use super::super::JournalError;
use super::super::rows::{ClaimRow, LeaseRow, PageRows, Rows, VoucherRow, blob, seconds};
use super::session::Session;
use crate::clock::UnixSeconds;

/// A value that goes with a write.
pub(super) type Value = Box<dyn ToSql + Sync + Send>;

macro_rules! queries {
    ($($(#[$about:meta])* $name:ident: $text:expr;)*) => {
        /// Every question, prepared once for each connection.
        pub(super) struct Queries { $($(#[$about])* pub(super) $name: Statement,)* }

        impl Queries {
            pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
                Ok(Self { $($name: client.prepare($text).await?,)* })
            }
        }
    };
}

queries! {
    /// Waits for every other writer.
    lock: "SELECT version FROM ledger FOR UPDATE";
    /// The one clock of all that share the ledger.
    time: "SELECT ledger_time()";
    top: "SELECT id, signed, channel, epoch, cumulative, valid_until FROM vouchers
          WHERE channel = $1 AND epoch = $2 AND valid_until >= $3
          ORDER BY cumulative DESC, id DESC LIMIT 1";
    page: "SELECT v.id, v.signed, v.channel, v.epoch, v.cumulative, v.valid_until,
           (SELECT count(*) FROM vouchers e WHERE e.channel = $1 AND e.epoch = $2
            AND e.cumulative = v.cumulative), l.holder, l.until
           FROM (SELECT $1::text AS channel) asked
           LEFT JOIN LATERAL (SELECT * FROM vouchers WHERE channel = $1 AND epoch = $2
             ORDER BY cumulative DESC, id DESC LIMIT 1) v ON true
           LEFT JOIN leases l ON l.channel = asked.channel";
    holds: "SELECT 1 FROM vouchers WHERE channel = $1 AND epoch = $2 AND signed = $3";
    add_voucher: "INSERT INTO vouchers
                  (channel, epoch, cumulative, valid_until, signed, stored_at)
                  VALUES ($1, $2, $3, $4, $5, $6)";
    drop_replaced: "DELETE FROM vouchers WHERE channel = $1 AND epoch = $2 AND cumulative < $3
                    AND valid_until <= $4";
    vouchers_after: "SELECT id, signed, channel, epoch, cumulative, valid_until FROM vouchers
                     WHERE id > $1 ORDER BY id LIMIT $2";
    channels: "SELECT channel, epoch FROM vouchers GROUP BY channel, epoch ORDER BY min(id)";
    lease: "SELECT holder, until FROM leases WHERE channel = $1";
    put_lease: "INSERT INTO leases (channel, holder, until) VALUES ($1, $2, $3)
                ON CONFLICT (channel) DO UPDATE SET holder = $2, until = $3";
    end_leases: "UPDATE leases SET until = 0
                 WHERE holder = $1 AND ($2::text IS NULL OR channel = $2)";
    add_claim: "INSERT INTO claims
                (channel, epoch, cumulative, receipts_root, state, recorded_at, fees, minter)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    last_claim: "SELECT channel, epoch, cumulative, receipts_root, state, recorded_at, fees, minter
                 FROM claims WHERE channel = $1 AND epoch = $2 ORDER BY id DESC LIMIT 1";
    claims: "SELECT channel, epoch, cumulative, receipts_root, state, recorded_at, fees, minter
             FROM claims ORDER BY id";
    add_event: "INSERT INTO events (kind, detail, recorded_at) VALUES ($1, $2, $3)";
    drop_events: "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - $1";
}

/// The rows as one connection sees them, within its transaction or outside of one.
pub(super) struct PostgresRows<'s> {
    session: &'s Session,
    time: Option<UnixSeconds>,
}

impl<'s> PostgresRows<'s> {
    pub(super) const fn new(session: &'s Session, time: Option<UnixSeconds>) -> Self {
        Self { session, time }
    }

    fn queries(&self) -> Result<Arc<Queries>, JournalError> {
        self.session.queries()
    }
}

impl std::fmt::Debug for PostgresRows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresRows").finish_non_exhaustive()
    }
}

impl Rows for PostgresRows<'_> {
    fn time(&self, own: UnixSeconds) -> UnixSeconds {
        self.time.unwrap_or(own)
    }

    fn top(
        &self,
        channel: &str,
        epoch: u32,
        until: i64,
    ) -> Result<Option<VoucherRow>, JournalError> {
        let values: [&(dyn ToSql + Sync); 3] = [&channel, &i64::from(epoch), &until];
        let found = self.session.ask(&self.queries()?.top, &values)?;
        Ok(found.first().map(voucher_row).transpose()?)
    }

    fn page(&self, channel: &str, epoch: u32) -> Result<PageRows, JournalError> {
        let values: [&(dyn ToSql + Sync); 2] = [&channel, &i64::from(epoch)];
        let found = self.session.ask(&self.queries()?.page, &values)?;
        let row = found.first().ok_or(JournalError::Damaged {
            what: "a page without a row",
        })?;
        let id: Option<i64> = row.try_get(0)?;
        let top = id.map(|_| voucher_row(row)).transpose()?;
        let equals: Option<i64> = row.try_get(6)?;
        let equals = u32::try_from(equals.unwrap_or_default()).unwrap_or(u32::MAX);
        let holder: Option<String> = row.try_get(7)?;
        let lease = holder.map(|holder| {
            let until = row.try_get(8)?;
            Ok::<_, Error>(LeaseRow { holder, until })
        });
        let lease = lease.transpose()?;
        Ok(PageRows { top, equals, lease })
    }

    fn holds(&self, signed: &SignedVoucher) -> Result<bool, JournalError> {
        let voucher = &signed.voucher;
        let (channel, epoch) = (voucher.channel.to_string(), i64::from(voucher.epoch));
        let bytes = signed.encode().to_vec();
        let values: [&(dyn ToSql + Sync); 3] = [&channel, &epoch, &bytes];
        Ok(!self
            .session
            .ask(&self.queries()?.holds, &values)?
            .is_empty())
    }

    fn add_voucher(&self, signed: &SignedVoucher, at: UnixSeconds) -> Result<(), JournalError> {
        let voucher = &signed.voucher;
        let values: Vec<Value> = vec![
            Box::new(voucher.channel.to_string()),
            Box::new(i64::from(voucher.epoch)),
            Box::new(blob(voucher.cumulative).to_vec()),
            Box::new(i64::from(voucher.valid_until)),
            Box::new(signed.encode().to_vec()),
            Box::new(seconds(at)),
        ];
        self.session.send(&self.queries()?.add_voucher, values)
    }

    fn drop_replaced(&self, by: &SignedVoucher) -> Result<(), JournalError> {
        let voucher = &by.voucher;
        let values: Vec<Value> = vec![
            Box::new(voucher.channel.to_string()),
            Box::new(i64::from(voucher.epoch)),
            Box::new(blob(voucher.cumulative).to_vec()),
            Box::new(i64::from(voucher.valid_until)),
        ];
        self.session.send(&self.queries()?.drop_replaced, values)
    }

    fn vouchers_after(&self, id: i64, limit: u32) -> Result<Vec<VoucherRow>, JournalError> {
        let values: [&(dyn ToSql + Sync); 2] = [&id, &i64::from(limit)];
        let found = self.session.ask(&self.queries()?.vouchers_after, &values)?;
        Ok(found.iter().map(voucher_row).collect::<Result<_, _>>()?)
    }

    fn channels(&self) -> Result<Vec<(String, i64)>, JournalError> {
        let found = self.session.ask(&self.queries()?.channels, &[])?;
        let pair = |row: &Row| Ok::<_, Error>((row.try_get(0)?, row.try_get(1)?));
        Ok(found.iter().map(pair).collect::<Result<_, _>>()?)
    }

    fn lease(&self, channel: &str) -> Result<Option<LeaseRow>, JournalError> {
        let found = self.session.ask(&self.queries()?.lease, &[&channel])?;
        let lease = found.first().map(|row| {
            let (holder, until) = (row.try_get(0)?, row.try_get(1)?);
            Ok::<_, Error>(LeaseRow { holder, until })
        });
        Ok(lease.transpose()?)
    }

    fn put_lease(&self, channel: &str, lease: &LeaseRow) -> Result<(), JournalError> {
        let values: Vec<Value> = vec![
            Box::new(channel.to_owned()),
            Box::new(lease.holder.clone()),
            Box::new(lease.until),
        ];
        self.session.send(&self.queries()?.put_lease, values)
    }

    fn end_leases(&self, holder: &str, channel: Option<&str>) -> Result<(), JournalError> {
        let channel = channel.map(str::to_owned);
        let values: Vec<Value> = vec![Box::new(holder.to_owned()), Box::new(channel)];
        self.session.send(&self.queries()?.end_leases, values)
    }

    fn add_claim(&self, claim: &ClaimRow) -> Result<(), JournalError> {
        let values: Vec<Value> = vec![
            Box::new(claim.channel.clone()),
            Box::new(claim.epoch),
            Box::new(claim.cumulative.clone()),
            Box::new(claim.receipts_root.clone()),
            Box::new(claim.state.clone()),
            Box::new(claim.recorded_at),
            Box::new(claim.fees.clone()),
            Box::new(claim.minter.clone()),
        ];
        self.session.send(&self.queries()?.add_claim, values)
    }

    fn last_claim(&self, channel: &str, epoch: u32) -> Result<Option<ClaimRow>, JournalError> {
        let values: [&(dyn ToSql + Sync); 2] = [&channel, &i64::from(epoch)];
        let found = self.session.ask(&self.queries()?.last_claim, &values)?;
        Ok(found.first().map(claim_row).transpose()?)
    }

    fn claims(&self) -> Result<Vec<ClaimRow>, JournalError> {
        let found = self.session.ask(&self.queries()?.claims, &[])?;
        Ok(found.iter().map(claim_row).collect::<Result<_, _>>()?)
    }

    fn add_event(
        &self,
        kind: &str,
        detail: &str,
        at: UnixSeconds,
        kept: u32,
    ) -> Result<(), JournalError> {
        let queries = self.queries()?;
        let values: Vec<Value> = vec![
            Box::new(kind.to_owned()),
            Box::new(detail.to_owned()),
            Box::new(seconds(at)),
        ];
        self.session.send(&queries.add_event, values)?;
        let kept: Value = Box::new(i64::from(kept));
        self.session.send(&queries.drop_events, vec![kept])
    }
}

fn voucher_row(row: &Row) -> Result<VoucherRow, Error> {
    Ok(VoucherRow {
        id: row.try_get(0)?,
        signed: row.try_get(1)?,
        channel: row.try_get(2)?,
        epoch: row.try_get(3)?,
        cumulative: row.try_get(4)?,
        valid_until: row.try_get(5)?,
    })
}

fn claim_row(row: &Row) -> Result<ClaimRow, Error> {
    Ok(ClaimRow {
        channel: row.try_get(0)?,
        epoch: row.try_get(1)?,
        cumulative: row.try_get(2)?,
        receipts_root: row.try_get(3)?,
        state: row.try_get(4)?,
        recorded_at: row.try_get(5)?,
        fees: row.try_get(6)?,
        minter: row.try_get(7)?,
    })
}
