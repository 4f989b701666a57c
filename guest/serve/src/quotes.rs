//! The quote socket as the connections see it: challenges that wait within a short window share
//! one report. `docs/spec/quote-socket.md`, `docs/spec/evidence.md`.
//!
//! One request is in flight at a time and the queue is bounded. What init answers is compared
//! with what was asked; a socket that fails or falls out of step ends the program.

use std::io::ErrorKind;
use std::time::Duration;

use attest::{QuoteError, Quoted, Registered};
use messages::quote_socket::{MAX_CHALLENGES, MAX_FRAME, QuoteAnswer, QuoteRefusal, QuoteRequest};
use protocol::digest::{BootId, Exporter, Nonce, ReceiptKey, SpkiDigest};
use protocol::evidence::{FreshnessProof, freshness_leaf};
use protocol::merkle;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::errors::Refusal;
use crate::frames::{self, FrameError};

/// Challenges that arrive this long after the first share its report.
const WINDOW: Duration = Duration::from_millis(10);
/// init answers within this time, or is taken for dead.
const DEADLINE: Duration = Duration::from_secs(60);
/// Challenges that may wait.
const QUEUE: usize = 4 * MAX_CHALLENGES;

/// Why the quote socket is of no further use; the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuoteSocketError {
    /// A frame could not be read or written.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The answer is not the one to the request.
    #[error(transparent)]
    Answer(#[from] QuoteError),
    /// No answer in time.
    #[error("init did not answer in time")]
    Silent,
    /// The Statement is not one over this boot's keys and these challenges.
    #[error("the statement is not about this boot and these challenges")]
    ForeignStatement,
}

/// The keys and the boot of which every Statement must speak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) boot_id: BootId,
    pub(crate) tls_key: SpkiDigest,
    pub(crate) receipt_key: ReceiptKey,
}

/// One challenge's share of a report.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) quoted: std::sync::Arc<Quoted>,
    pub(crate) proof: FreshnessProof,
}

struct Waiting {
    nonce: Nonce,
    exporter: Exporter,
    answer: oneshot::Sender<Result<Share, Refusal>>,
}

/// The connections' end of the queue.
#[derive(Clone)]
pub(crate) struct Quotes(mpsc::Sender<Waiting>);

impl Quotes {
    /// A report that covers this nonce and exporter, perhaps among others.
    pub(crate) async fn ask(&self, nonce: Nonce, exporter: Exporter) -> Result<Share, Refusal> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            nonce,
            exporter,
            answer,
        };
        self.0.try_send(waiting).map_err(|_| Refusal::AttestBusy)?;
        answered.await.unwrap_or(Err(Refusal::AttestUnavailable))
    }
}

/// The socket before and between reports.
pub(crate) struct QuoteSocket(UnixStream);

impl QuoteSocket {
    pub(crate) const fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Registers the keys of this boot.
    pub(crate) async fn register(
        &mut self,
        tls_key: SpkiDigest,
        receipt_key: ReceiptKey,
    ) -> Result<Registered, QuoteSocketError> {
        let request = QuoteRequest::Register {
            tls_key,
            receipt_key,
        };
        Ok(Registered::from_answer(self.request(&request).await?)?)
    }

    /// Says that models are loaded and the listener is open.
    pub(crate) async fn ready(&mut self) -> Result<(), QuoteSocketError> {
        match self.request(&QuoteRequest::Ready).await? {
            QuoteAnswer::Noted => Ok(()),
            QuoteAnswer::Refused(refusal) => Err(QuoteError::Refused(refusal).into()),
            QuoteAnswer::Registered { .. } | QuoteAnswer::Quoted { .. } => {
                Err(QuoteError::OutOfStep.into())
            }
        }
    }

    async fn request(&mut self, request: &QuoteRequest) -> Result<QuoteAnswer, QuoteSocketError> {
        let exchange = async {
            frames::write(&mut self.0, &request.encode()).await?;
            frames::read(&mut self.0, MAX_FRAME).await
        };
        let answer = timeout(DEADLINE, exchange).await;
        let answer = answer.map_err(|_| QuoteSocketError::Silent)??;
        Ok(QuoteAnswer::decode(&answer).map_err(QuoteError::Malformed)?)
    }

    /// Waits until init is gone or speaks without being asked.
    async fn ended(&self) -> QuoteSocketError {
        loop {
            if let Err(error) = self.0.readable().await {
                return FrameError::from(error).into();
            }
            match self.0.try_read(&mut [0]) {
                Ok(0) => return FrameError::Socket(ErrorKind::UnexpectedEof).into(),
                Ok(_) => return QuoteError::OutOfStep.into(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return FrameError::from(error).into(),
            }
        }
    }

    /// One report over all of `batch`; `None` when the platform gave none this time.
    async fn quote(
        &mut self,
        batch: &[Waiting],
        identity: &Identity,
    ) -> Result<Option<Quoted>, QuoteSocketError> {
        let challenges = batch.iter().map(|w| (w.nonce, w.exporter)).collect();
        let answer = self.request(&QuoteRequest::Quote { challenges }).await?;
        let quoted = match Quoted::from_answer(answer) {
            Ok(quoted) => quoted,
            Err(QuoteError::Refused(QuoteRefusal::NoReport)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let statement = &quoted.statement;
        let ours = statement.boot_id == identity.boot_id
            && statement.tls_key == identity.tls_key
            && statement.receipt_key == identity.receipt_key
            && statement.freshness.0 == merkle::root(&leaves(batch));
        if ours {
            Ok(Some(quoted))
        } else {
            Err(QuoteSocketError::ForeignStatement)
        }
    }
}

/// Starts to answer challenges. The returned future ends only with an error.
pub(crate) fn start(
    mut socket: QuoteSocket,
    identity: Identity,
) -> (Quotes, impl Future<Output = QuoteSocketError>) {
    let (queue, mut waiting) = mpsc::channel(QUEUE);
    let work = async move {
        loop {
            let batch = tokio::select! {
                batch = next_batch(&mut waiting) => batch,
                error = socket.ended() => return error,
            };
            let Some(batch) = batch else {
                // Every connection and the service hold the queue open.
                return QuoteSocketError::Silent;
            };
            match socket.quote(&batch, &identity).await {
                Ok(quoted) => share(batch, quoted),
                Err(error) => return error,
            }
        }
    };
    (Quotes(queue), work)
}

async fn next_batch(waiting: &mut mpsc::Receiver<Waiting>) -> Option<Vec<Waiting>> {
    let mut batch = vec![waiting.recv().await?];
    let close = Instant::now().checked_add(WINDOW)?;
    while batch.len() < MAX_CHALLENGES {
        match timeout_at(close, waiting.recv()).await {
            Ok(Some(next)) => batch.push(next),
            Ok(None) | Err(_) => break,
        }
    }
    // Who went away while it waited costs no report.
    batch.retain(|waiting| !waiting.answer.is_closed());
    if batch.is_empty() {
        return Box::pin(next_batch(waiting)).await;
    }
    Some(batch)
}

fn leaves(batch: &[Waiting]) -> Vec<merkle::Leaf> {
    let leaf = |waiting: &Waiting| freshness_leaf(&waiting.nonce, &waiting.exporter);
    batch.iter().map(leaf).collect()
}

fn share(batch: Vec<Waiting>, quoted: Option<Quoted>) {
    let leaves = leaves(&batch);
    let count = u32::try_from(leaves.len()).unwrap_or(u32::MAX);
    let quoted = quoted.map(std::sync::Arc::new);
    for (at, waiting) in batch.into_iter().enumerate() {
        let share = quoted.as_ref().and_then(|quoted| {
            let proof = FreshnessProof {
                index: u32::try_from(at).ok()?,
                count,
                path: merkle::path(&leaves, at)?,
            };
            Some(Share {
                quoted: std::sync::Arc::clone(quoted),
                proof,
            })
        });
        // Who went away in the meantime needs no answer.
        let _ = waiting.answer.send(share.ok_or(Refusal::AttestUnavailable));
    }
}
