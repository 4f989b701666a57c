//! The journal's one writer: a thread that does together what many ask for at the same time, so
//! that one synchronisation of the disk makes all of it durable.
//!
//! Nobody is answered before that synchronisation. Deliberately not here: what is written
//! (`batch`).

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::{Batch, Journal, JournalError};

/// Things done together at most: a bound on how long the first of them waits for the last.
const MAX_TOGETHER: usize = 512;

/// Something to do to the books, and who waits for it.
trait Item: Send {
    /// Does it; whether the books can still be written.
    fn perform(&mut self, books: &mut Batch<'_>) -> Result<(), JournalError>;
    /// Answers, now that it is durable.
    fn answer(self: Box<Self>);
}

struct Asked<T, W> {
    work: Option<W>,
    done: Option<T>,
    reply: oneshot::Sender<T>,
}

impl<T, W> Item for Asked<T, W>
where
    T: Send,
    W: FnOnce(&mut Batch<'_>) -> Result<T, JournalError> + Send,
{
    fn perform(&mut self, books: &mut Batch<'_>) -> Result<(), JournalError> {
        match self.work.take().map(|work| work(books)) {
            Some(Ok(done)) => self.done = Some(done),
            // It failed alone: what it read does not hold. Others do not depend on that row.
            Some(Err(JournalError::Damaged { .. })) | None => {}
            Some(Err(error)) => return Err(error),
        }
        Ok(())
    }

    fn answer(self: Box<Self>) {
        if let Some(done) = self.done {
            // Who asked may have left.
            let _ = self.reply.send(done);
        }
    }
}

/// A handle on the journal and its writer; the thread ends with the last one.
#[derive(Clone)]
pub struct Scribe {
    journal: Arc<Mutex<Journal>>,
    queue: Sender<Box<dyn Item>>,
}

impl Scribe {
    /// Starts the writer.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(journal: Journal) -> io::Result<Self> {
        let journal = Arc::new(Mutex::new(journal));
        // Bounded by who asks: each waits for an answer before it asks again.
        let (queue, waiting) = mpsc::channel();
        let own = Arc::clone(&journal);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write(&own, &waiting))?;
        Ok(Self { journal, queue })
    }

    /// Uses the journal directly, between two groups of writes.
    pub fn with<T>(&self, act: impl FnOnce(&mut Journal) -> T) -> T {
        act(&mut self.journal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does something to the books together with what others ask for now. Nothing comes back when
    /// it failed or is not durable.
    pub async fn together<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, JournalError> + Send + 'static,
    ) -> Option<T> {
        let (reply, answered) = oneshot::channel();
        let item = Asked {
            work: Some(work),
            done: None,
            reply,
        };
        self.queue.send(Box::new(item)).ok()?;
        answered.await.ok()
    }
}

impl fmt::Debug for Scribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scribe").finish_non_exhaustive()
    }
}

fn write(journal: &Mutex<Journal>, waiting: &Receiver<Box<dyn Item>>) {
    while let Ok(first) = waiting.recv() {
        let mut items = vec![first];
        items.extend(waiting.try_iter().take(MAX_TOGETHER.saturating_sub(1)));
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        let durable =
            journal.together(|books| items.iter_mut().try_for_each(|item| item.perform(books)));
        drop(journal);
        match durable {
            Ok(()) => items.into_iter().for_each(|item| item.answer()),
            // Dropped unanswered: who waits learns that it is not durable.
            Err(_) => drop(items),
        }
    }
}
