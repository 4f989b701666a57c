//! The local OpenAI-compatible port: plain HTTP/1.1 on the loopback interface, so that any OpenAI
//! client works unmodified, while everything beyond this machine is attested, encrypted and paid.
//!
//! Whoever may connect to the port may spend the channel's deposit: hence loopback only, and no
//! browser: a page on the web could otherwise post here. What is asked of the machine and what is
//! signed is `chat`'s.

mod openai;

use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::serving::{CHAT_PATH, COMPLETIONS_PATH, MAX_REQUEST_BYTES, MODELS_PATH};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use self::openai::{Refusal, WholeAnswer};
use crate::chat::{Answering, AskError, Asked, Chat, ChatRequest, Delivery};

/// For whoever watches this program; nothing of it reaches the machine but an attestation.
const HEALTH_PATH: &str = "/health";
/// Connections at once.
const MAX_CONNECTIONS: usize = 64;
/// A request's head must arrive within this time.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// Running answers may take this long to end after a stop was asked for.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Chunks that wait for a slow reader; then the answer itself waits.
const WAITING_CHUNKS: usize = 32;

/// What happened, for whoever started the port. No content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An answer ended and its receipt is kept.
    Settled {
        /// Name of the receipt's file.
        kept: String,
        /// What it cost, nano units.
        charged: u128,
    },
    /// A request was refused, or an answer broke off.
    Refused {
        /// The stable code.
        code: String,
    },
}

/// The port, before it takes connections.
#[derive(Debug)]
pub struct LocalPort {
    chat: Arc<Chat>,
    notices: mpsc::UnboundedSender<Notice>,
    hosts: [String; 3],
}

impl LocalPort {
    /// A port that asks through `chat` and tells what happened.
    #[must_use]
    pub fn new(chat: Arc<Chat>, port: u16, notices: mpsc::UnboundedSender<Notice>) -> Self {
        let hosts = ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}"));
        Self {
            chat,
            notices,
            hosts,
        }
    }

    /// Serves until `stop` is ready, then lets running answers end for a few seconds.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let port = Arc::new(self);
        let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (stopping, watching) = watch::channel(());
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, most likely: give others time to close.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
                break;
            };
            let (port, watching) = (Arc::clone(&port), watching.clone());
            connections.spawn(async move {
                port.connection(stream, watching).await;
                drop(seat);
            });
        }
        stopping.send_replace(());
        let rest = async { while connections.join_next().await.is_some() {} };
        // Whoever is not done by then is cut off; what was acknowledged stays paid.
        let _ended_in_time = tokio::time::timeout(STOP_PATIENCE, rest).await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, mut stopping: watch::Receiver<()>) {
        let service = service_fn(|request| {
            let port = Arc::clone(&self);
            async move { Ok::<_, Infallible>(port.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let stop = async {
            // The sender is only gone when the port is.
            let _changed_or_gone = stopping.changed().await;
        };
        tokio::select! {
            // How a local connection ended is nobody's concern but its own.
            _ended = connection.as_mut() => return,
            () = stop => connection.as_mut().graceful_shutdown(),
        }
        let _ended = connection.await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<LocalBody> {
        let answered = match self.check_origin(&request) {
            Ok(()) => self.route(request).await,
            Err(refusal) => Err(refusal),
        };
        answered.unwrap_or_else(|refusal| {
            let code = refusal.code.clone();
            // Nobody listens any more when the program stops.
            let _told = self.notices.send(Notice::Refused { code });
            refused(&refusal)
        })
    }

    /// Only programs that address this very port, and no web page whatever it claims to address.
    fn check_origin(&self, request: &Request<Incoming>) -> Result<(), Refusal> {
        let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
        let own = host.is_some_and(|host| self.hosts.iter().any(|own| own.as_bytes() == host));
        if own && !request.headers().contains_key(ORIGIN) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "permission_error",
            "origin-refused",
            "this port takes no request from a web page or under another name",
        ))
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<LocalBody>, Refusal> {
        let path = request.uri().path().to_owned();
        let one = path
            .strip_prefix(MODELS_PATH)
            .and_then(|rest| rest.strip_prefix('/'));
        match (request.method(), path.as_str(), one) {
            (&Method::POST, CHAT_PATH, _) => self.ask(Asked::Chat, request).await,
            (&Method::POST, COMPLETIONS_PATH, _) => self.ask(Asked::Text, request).await,
            // Healthy is a port behind which a machine is attested, now.
            (&Method::GET, HEALTH_PATH, _) => {
                self.chat.session().await.map_err(|e| Refusal::of(&e))?;
                Ok(json(r#"{"status":"ok"}"#.to_owned()))
            }
            (&Method::GET, MODELS_PATH, _) => {
                let session = self.chat.session().await.map_err(|e| Refusal::of(&e))?;
                Ok(json(openai::models(session.configuration())))
            }
            (&Method::GET, _, Some(name)) => {
                let session = self.chat.session().await.map_err(|e| Refusal::of(&e))?;
                match session.configuration().model(name) {
                    Some(entry) => Ok(json(openai::model(entry))),
                    None => Err(Refusal::of(&AskError::UnknownModel)),
                }
            }
            (_, CHAT_PATH | COMPLETIONS_PATH | MODELS_PATH | HEALTH_PATH, _) => Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request_error",
                "wrong-method",
                "this path does not take this method",
            )),
            _ => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "invalid_request_error",
                "unknown-path",
                "no such path",
            )),
        }
    }

    async fn ask(
        &self,
        asked: Asked,
        request: Request<Incoming>,
    ) -> Result<Response<LocalBody>, Refusal> {
        let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES);
        let body = body.collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Refusal::of_request(crate::chat::ChatRequestError::TooLong)
            } else {
                Refusal::new(
                    StatusCode::BAD_REQUEST,
                    "invalid_request_error",
                    "body-missing",
                    "the body did not arrive",
                )
            }
        })?;
        let request =
            ChatRequest::of_openai(asked, &body.to_bytes()).map_err(Refusal::of_request)?;
        let answering = self.chat.ask(&request).await;
        let answering = answering.map_err(|error| Refusal::before_answer(&error))?;
        match request.delivery() {
            Delivery::Streamed => Ok(self.stream(answering)),
            Delivery::Whole => self.whole(answering).await,
        }
    }

    /// Chunks go on as they come; ours are stripped. When the reader goes away, the answer is
    /// dropped, and with it cancelled.
    fn stream(&self, mut answering: Answering) -> Response<LocalBody> {
        let (sender, receiver) = mpsc::channel(WAITING_CHUNKS);
        let notices = self.notices.clone();
        tokio::spawn(async move {
            loop {
                let piece = match answering.next().await {
                    Ok(Some(chunk)) => openai::event(&chunk.json),
                    Ok(None) => {
                        tell_settled(&notices, &answering);
                        let _reader_may_be_gone = sender.send(openai::done()).await;
                        return;
                    }
                    Err(error) => {
                        let refusal = Refusal::of(&error);
                        let code = refusal.code.clone();
                        let _told = notices.send(Notice::Refused { code });
                        let last = openai::event(&refusal.to_json());
                        let _reader_may_be_gone = sender.send(last).await;
                        return;
                    }
                };
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        let mut response = Response::new(LocalBody::Stream(receiver));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    async fn whole(&self, mut answering: Answering) -> Result<Response<LocalBody>, Refusal> {
        let mut whole = WholeAnswer::of(answering.asked());
        while let Some(chunk) = answering.next().await.map_err(|e| Refusal::of(&e))? {
            whole.add(&chunk);
        }
        tell_settled(&self.notices, &answering);
        Ok(json(whole.finish()))
    }
}

fn tell_settled(notices: &mpsc::UnboundedSender<Notice>, answering: &Answering) {
    if let Some(settled) = answering.settled() {
        let notice = Notice::Settled {
            kept: settled.kept.clone(),
            charged: settled.receipt.receipt().charged.units(),
        };
        // Nobody listens any more when the program stops.
        let _told = notices.send(notice);
    }
}

fn json(text: String) -> Response<LocalBody> {
    let mut response = Response::new(LocalBody::Whole(Full::new(text.into())));
    let value = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

fn refused(refusal: &Refusal) -> Response<LocalBody> {
    let mut response = json(refusal.to_json());
    *response.status_mut() = refusal.status;
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The two forms of a body.
#[derive(Debug)]
enum LocalBody {
    Whole(Full<Bytes>),
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
