//! One connection to the database, used like the file of the other store: from any thread, one
//! transaction at a time, with an answer or an error within a bounded time.
//!
//! The connection lives on a thread of its own; who asks parks until the answer came. Writes are
//! sent without waiting and answered for before the commit, so that a transaction of many vouchers
//! waits about once for each channel that it reads. Deliberately not here: what is written, and
//! trying again.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Error, NoTls, Row, Socket, Statement};

use super::super::JournalError;
use super::super::rows::Rows;
use super::address::LedgerOptions;
use super::queries::{PostgresRows, Queries, Value};
use super::tls::Tls;
use super::{LedgerError, schema};
use crate::clock::UnixSeconds;

/// A connection is made, and a question answered, within this time. The database's own bounds
/// (`schema::SETTINGS`) are shorter.
const WITHIN: Duration = Duration::from_secs(15);

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// A connection with its prepared questions.
pub(super) struct Session {
    client: Arc<Client>,
    queries: RefCell<Option<Arc<Queries>>>,
    /// Writes that were sent and not yet answered.
    sent: RefCell<Vec<Answer<u64>>>,
    is_alive: Cell<bool>,
}

impl Session {
    /// Connects; the tables are not looked at.
    pub(super) fn start(options: &LedgerOptions) -> Result<Self, JournalError> {
        let config = options.config(WITHIN)?;
        let secure = options.secure()?.map(Tls::under).transpose()?;
        let (tell, told) = mpsc::channel();
        thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || match secure {
                Some(tls) => keep(&config, tls, &tell),
                None => keep(&config, NoTls, &tell),
            })
            .map_err(LedgerError::Thread)?;
        let client = told.recv_timeout(WITHIN).map_err(|_| LedgerError::Silent)?;
        let session = Self {
            client: Arc::new(client?),
            queries: RefCell::default(),
            sent: RefCell::default(),
            is_alive: Cell::new(true),
        };
        session.run(schema::SETTINGS)?;
        Ok(session)
    }

    /// Whether the connection still stands, as far as is known.
    pub(super) fn is_alive(&self) -> bool {
        self.is_alive.get() && !self.client.is_closed()
    }

    /// One transaction: everything of it is durable when this returns without an error.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&dyn Rows) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let done = self.begin().and_then(|time| {
            let done = work(&PostgresRows::new(self, Some(time)))?;
            self.settle()?;
            Ok(done)
        });
        match done {
            Ok(done) => {
                // Whether it was committed is not known when this fails: it was not answered, and
                // who asks again finds it or not.
                self.run("COMMIT")?;
                Ok(done)
            }
            Err(error) => {
                self.sent.borrow_mut().clear();
                if !self.is_alive() || self.run("ROLLBACK").is_err() {
                    self.is_alive.set(false);
                }
                Err(error)
            }
        }
    }

    /// Questions outside of a transaction, each of which sees what was committed.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&dyn Rows) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        work(&PostgresRows::new(self, None))
    }

    /// Begins, waits for every other writer, and gives the ledger's time.
    fn begin(&self) -> Result<UnixSeconds, JournalError> {
        let queries = self.queries()?;
        let (begun, version, time) = self.wait(async {
            tokio::join!(
                self.client.batch_execute(schema::BEGIN),
                self.client.query_one(&queries.lock, &[]),
                self.client.query_one(&queries.time, &[]),
            )
        })?;
        begun.map_err(|error| self.failed(error))?;
        let version: i32 = version
            .and_then(|row| row.try_get(0))
            .map_err(|error| self.failed(error))?;
        if version != schema::VERSION {
            return Err(LedgerError::Foreign.into());
        }
        let time: i64 = time
            .and_then(|row| row.try_get(0))
            .map_err(|error| self.failed(error))?;
        Ok(UnixSeconds(u64::try_from(time).unwrap_or_default()))
    }

    /// Waits until every write was carried out.
    fn settle(&self) -> Result<(), JournalError> {
        let sent = std::mem::take(&mut *self.sent.borrow_mut());
        for answer in sent {
            self.asked(answer)?;
        }
        Ok(())
    }

    /// Statements that return nothing.
    pub(super) fn run(&self, statements: &str) -> Result<(), JournalError> {
        self.asked(self.client.batch_execute(statements))
    }

    /// The rows of a question.
    pub(super) fn ask(
        &self,
        statement: &Statement,
        values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Row>, JournalError> {
        self.asked(self.client.query(statement, values))
    }

    /// The rows of a question that is asked once.
    pub(super) fn ask_once(&self, text: &str) -> Result<Vec<Row>, JournalError> {
        self.asked(self.client.query(text, &[]))
    }

    /// Sends a write; what became of it is known when the transaction is settled.
    pub(super) fn send(
        &self,
        statement: &Statement,
        values: Vec<Value>,
    ) -> Result<(), JournalError> {
        let (client, statement) = (Arc::clone(&self.client), statement.clone());
        let mut answer: Answer<u64> =
            Box::pin(async move { client.execute_raw(&statement, values).await });
        // The first look is what sends it.
        match answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(done) => {
                done.map_err(|error| self.failed(error))?;
            }
            Poll::Pending => self.sent.borrow_mut().push(answer),
        }
        Ok(())
    }

    /// The prepared questions; the tables are there when they are first asked for.
    pub(super) fn queries(&self) -> Result<Arc<Queries>, JournalError> {
        if let Some(queries) = &*self.queries.borrow() {
            return Ok(Arc::clone(queries));
        }
        let queries = Arc::new(self.asked(Queries::prepare(&self.client))?);
        *self.queries.borrow_mut() = Some(Arc::clone(&queries));
        Ok(queries)
    }

    fn asked<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, JournalError> {
        self.wait(answer)?.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: Error) -> JournalError {
        // What the database itself refused leaves the connection as it was.
        if error.as_db_error().is_none() {
            self.is_alive.set(false);
        }
        error.into()
    }

    fn wait<T>(&self, answer: impl Future<Output = T>) -> Result<T, JournalError> {
        park_until(answer, WITHIN).ok_or_else(|| {
            self.is_alive.set(false);
            JournalError::Ledger(LedgerError::Silent)
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

/// Connects, hands the client over, and keeps the connection until it ends or the client is gone.
fn keep<T>(config: &Config, tls: T, tell: &mpsc::Sender<Result<Client, LedgerError>>)
where
    T: MakeTlsConnect<Socket>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        // Who waits may have left; there is nobody else to tell.
        Err(error) => return drop(tell.send(Err(LedgerError::Thread(error)))),
    };
    runtime.block_on(async {
        let connected = tokio::time::timeout(WITHIN, config.connect(tls)).await;
        match connected {
            Ok(Ok((client, connection))) => {
                if tell.send(Ok(client)).is_ok() {
                    // Its error is seen by whoever asks next.
                    drop(connection.await);
                }
            }
            Ok(Err(error)) => drop(tell.send(Err(LedgerError::Connect(error)))),
            Err(_) => drop(tell.send(Err(LedgerError::Silent))),
        }
    });
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer on this thread, whatever else it runs; nothing when it took too long.
fn park_until<T>(answer: impl Future<Output = T>, within: Duration) -> Option<T> {
    let began = Instant::now();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut answer = pin!(answer);
    loop {
        if let Poll::Ready(done) = answer.as_mut().poll(&mut context) {
            return Some(done);
        }
        let left = within.saturating_sub(began.elapsed());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}
