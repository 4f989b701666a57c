//! What goes back to whoever asked at the local port: a document, a refusal, or a stream of events
//! that somebody may stop reading.

use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response};
use http_body_util::Full;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use super::openai::{self, Refusal};
use super::tally::Tally;
use crate::chat::{AskError, Chunk};

/// Events that wait for a slow reader; then the answer itself waits.
const WAITING: usize = 32;

/// The two forms of a body.
#[derive(Debug)]
pub(super) enum LocalBody {
    /// All of it.
    Whole(Full<Bytes>),
    /// Events as they come.
    Stream(mpsc::Receiver<Bytes>),
}

impl Body for LocalBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Self::Stream(chunks) => chunks
                .poll_recv(cx)
                .map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }
}

pub(super) fn json(document: String) -> Response<LocalBody> {
    text("application/json", document)
}

/// A document of this type.
pub(super) fn text(kind: &'static str, document: String) -> Response<LocalBody> {
    let mut response = Response::new(LocalBody::Whole(Full::new(document.into())));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

pub(super) fn refused(refusal: &Refusal) -> Response<LocalBody> {
    let mut response = json(refusal.to_json());
    *response.status_mut() = refusal.status;
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Why a stream is told no further.
#[derive(Debug)]
pub(super) enum Ended {
    /// There is no more of the answer.
    Broken(AskError),
    /// The same, and the reader was told.
    Told(Refusal),
    /// Nobody reads it.
    ReaderGone,
}

/// Whoever reads a stream.
#[derive(Debug)]
pub(super) struct Reader {
    events: mpsc::Sender<Bytes>,
    /// Choices whose end they were not told yet.
    open: usize,
}

impl Reader {
    /// Waits for the answer, and no longer than its reader. Once the reader has its end, receipts
    /// are waited for whether they stay or not: what they got is paid.
    pub(super) async fn wait<T>(
        &self,
        next: impl Future<Output = Result<T, AskError>>,
    ) -> Result<T, Ended> {
        tokio::select! {
            () = self.events.closed(), if self.open > 0 => Err(Ended::ReaderGone),
            next = next => next.map_err(Ended::Broken),
        }
    }

    /// Hands on what tells of this chunk, if anything does.
    pub(super) async fn tell(&mut self, events: Bytes, of: &Chunk) -> Result<(), Ended> {
        let sent = match events.is_empty() {
            true => Ok(()),
            false => self.events.send(events).await,
        };
        if of.finish.is_some() {
            self.open = self.open.saturating_sub(1);
        }
        match sent {
            Err(_) if self.open > 0 => Err(Ended::ReaderGone),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Hands on what tells of no chunk: what comes before the first, or after the last.
    pub(super) async fn frame(&self, events: Bytes) -> Result<(), Ended> {
        let sent = self.events.send(events).await;
        sent.map_err(|_| Ended::ReaderGone)
    }
}

/// A stream that `tell` fills with an answer of so many choices; an error becomes its last event.
pub(super) fn streamed<F>(
    tally: Arc<Tally>,
    choices: usize,
    tell: impl FnOnce(Reader) -> F,
) -> Response<LocalBody>
where
    F: Future<Output = Result<(), Ended>> + Send + 'static,
{
    let (events, receiver) = mpsc::channel(WAITING);
    let telling = tell(Reader {
        events: events.clone(),
        open: choices,
    });
    tokio::spawn(async move {
        let refusal = match telling.await {
            Ok(()) | Err(Ended::ReaderGone) => return,
            Err(Ended::Told(refusal)) => refusal,
            Err(Ended::Broken(error)) => {
                let refusal = Refusal::of(&error);
                let last = openai::event(&refusal.to_json());
                let _reader_may_be_gone = events.send(last).await;
                refusal
            }
        };
        tally.refused(refusal.code);
    });
    let mut response = Response::new(LocalBody::Stream(receiver));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
