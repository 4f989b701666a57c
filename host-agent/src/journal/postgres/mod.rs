//! The journal of several hosts: one PostgreSQL database, of which each agent is a client.
//!
//! One writer at a time, across all hosts: a transaction locks the ledger's only row before it
//! reads anything, so that what it decides rests on all that was committed, and nothing else comes
//! between. A connection that is lost is made anew, later and later; until then nothing is answered
//! as stored. Deliberately not here: the rules (`batch`), the wire (`session`), SQL (`queries`).

mod address;
mod queries;
mod schema;
mod session;
mod tls;

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::rows::Rows;
use super::{JournalError, batch};
use schema::Missing;
use session::Session;

pub use address::{LedgerAddress, LedgerOptions};

/// After a first failure to connect, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// The shared ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The address says something that is not taken.
    #[error("the ledger's address {what}")]
    Address {
        /// What is wrong with it; never its text, which may hold a password.
        what: &'static str,
    },
    /// The password's file cannot be read.
    #[error("cannot read the ledger's password from `{}`", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read the password.
    #[error("the ledger's password in `{}` can be read by others: chmod 600 it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// The file of root certificates holds none, or cannot be read.
    #[error("no root certificate for the ledger in `{}`", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
    },
    /// The connection's thread.
    #[error("cannot start the ledger's connection")]
    Thread(#[source] io::Error),
    /// The database did not let us in.
    #[error("cannot connect to the ledger's database")]
    Connect(#[source] tokio_postgres::Error),
    /// The database does not answer, or the connection is lost and it is too early to try again.
    #[error("the ledger's database does not answer")]
    Silent,
    /// The database failed or refused; nothing was acknowledged.
    #[error("the ledger's database failed")]
    Database(#[from] tokio_postgres::Error),
    /// The schema is something else's, or of another version.
    #[error(
        "the database's schema `{}` is not a ledger of version {}",
        schema::NAME,
        schema::VERSION
    )]
    Foreign,
    /// The ledger is no longer where it was.
    #[error("the ledger is gone from its database: what was answered for stood there")]
    Gone,
    /// The database would lose what it answered.
    #[error("the ledger's database runs with `{setting} = off`: it could lose what it answered")]
    NotDurable {
        /// The setting.
        setting: &'static str,
    },
}

impl From<tokio_postgres::Error> for JournalError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Ledger(error.into())
    }
}

/// A connection that is there, or that will be tried again.
#[derive(Debug)]
enum Link {
    Up(Session),
    Down { pause: Duration, until: Instant },
}

/// The shared ledger.
#[derive(Debug)]
pub(super) struct Postgres {
    options: LedgerOptions,
    link: RefCell<Link>,
}

impl Postgres {
    /// Connects, makes the tables of a new ledger, and compares every row with its voucher.
    pub(super) fn open(options: LedgerOptions) -> Result<Self, JournalError> {
        let session = Session::start(&options)?;
        schema::prepare(&session, Missing::Make)?;
        if !session.read(batch::rows_agree)? {
            return Err(JournalError::Damaged {
                what: "a voucher's row",
            });
        }
        let link = RefCell::new(Link::Up(session));
        Ok(Self { options, link })
    }

    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&dyn Rows) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        self.linked(|session| session.write(work))
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&dyn Rows) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        self.linked(|session| session.read(work))
    }

    /// Uses the connection, or a new one when that is lost and its time has come.
    fn linked<T>(
        &self,
        use_it: impl FnOnce(&Session) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut link = self.link.borrow_mut();
        let session = match &mut *link {
            Link::Up(session) if session.is_alive() => session,
            Link::Up(_) => self.connect(&mut link, PAUSES.0)?,
            Link::Down { until, .. } if Instant::now() < *until => {
                return Err(JournalError::Ledger(LedgerError::Silent));
            }
            Link::Down { pause, .. } => {
                let next = pause.saturating_mul(2).min(PAUSES.1);
                self.connect(&mut link, next)?
            }
        };
        let done = use_it(session);
        if !session.is_alive() {
            *link = down(PAUSES.0);
        }
        done
    }

    fn connect<'l>(
        &self,
        link: &'l mut Link,
        pause: Duration,
    ) -> Result<&'l mut Session, JournalError> {
        let started = Session::start(&self.options).and_then(|session| {
            // A database that lost the ledger, or another one at its address: with an empty ledger
            // this agent would take vouchers below those that it answered for.
            schema::prepare(&session, Missing::Refuse)?;
            Ok(session)
        });
        match started {
            Ok(session) => {
                *link = Link::Up(session);
                match link {
                    Link::Up(session) => Ok(session),
                    Link::Down { .. } => Err(JournalError::Ledger(LedgerError::Silent)),
                }
            }
            Err(error) => {
                *link = down(pause);
                Err(error)
            }
        }
    }
}

fn down(pause: Duration) -> Link {
    let now = Instant::now();
    let until = now.checked_add(pause).unwrap_or(now);
    Link::Down { pause, until }
}

#[cfg(test)]
mod tests;
