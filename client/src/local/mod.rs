//! The local OpenAI-compatible port: plain HTTP/1.1 on the loopback interface, so that any OpenAI
//! client works unmodified, while everything beyond this machine is attested, encrypted and paid.
//!
//! Whoever may connect to the port may spend the channel's deposit: hence loopback only, and no
//! browser: a page on the web could otherwise post here. What is asked of the machine and what is
//! signed is `chat`'s.

mod choices;
mod openai;
mod reply;
mod responses;
mod tally;

use core::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::receipt::TokenCounts;
use protocol::serving::{
    CHAT_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH, HEALTH_PATH, MAX_REQUEST_BYTES, METRICS_PATH,
    MODELS_PATH,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use self::choices::Joined;
use self::openai::{Refusal, WholeAnswer};
use self::reply::{Ended, LocalBody, Reader, json, refused, streamed, text};
use self::responses::{ResponseAnswer, ResponseRequest, renamed};
use self::tally::Tally;
use crate::chat::{
    Answering, AskError, Asked, Asking, Chat, ChatRequest, Delivery, Gathering, Heard, Several,
};

/// OpenAI's other path for chats, translated here.
const RESPONSES_PATH: &str = "/v1/responses";
/// Connections at once.
const MAX_CONNECTIONS: usize = 64;
/// A request's head must arrive within this time.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// Running answers may take this long to end after a stop was asked for.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

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
    tally: Arc<Tally>,
    hosts: [String; 3],
}

impl LocalPort {
    /// A port that asks through `chat` and tells what happened.
    #[must_use]
    pub fn new(chat: Arc<Chat>, port: u16, notices: mpsc::UnboundedSender<Notice>) -> Self {
        let hosts = ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}"));
        Self {
            chat,
            tally: Arc::new(Tally::new(notices)),
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
            self.tally.refused(refusal.code.clone());
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
            (&Method::POST, RESPONSES_PATH, _) => {
                let answered = self.respond(request).await;
                answered.map_err(renamed)
            }
            (&Method::POST, EMBEDDINGS_PATH, _) => self.embed(request).await,
            // Healthy is a port behind which a machine is attested now, and can answer.
            (&Method::GET, HEALTH_PATH, _) => {
                let health = self.chat.health().await;
                health.map_err(|error| Refusal::before_answer(&error))?;
                Ok(json(r#"{"status":"ok"}"#.to_owned()))
            }
            (&Method::GET, METRICS_PATH, _) => {
                let standing = self.chat.standing();
                Ok(text(tally::TYPE, self.tally.exposition(&standing)))
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
            (
                _,
                CHAT_PATH | COMPLETIONS_PATH | EMBEDDINGS_PATH | RESPONSES_PATH | MODELS_PATH
                | HEALTH_PATH | METRICS_PATH,
                _,
            ) => Err(Refusal::new(
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
        self.tally.asked(asked.path());
        let body = read(request).await?;
        match Asking::of_openai(asked, &body).map_err(Refusal::of_request)? {
            Asking::One(request) => self.ask_one(&request).await,
            Asking::Several(several) => self.ask_several(asked, several).await,
        }
    }

    async fn ask_one(&self, request: &ChatRequest) -> Result<Response<LocalBody>, Refusal> {
        let answering = self.chat.ask(request).await;
        let answering = answering.map_err(|error| Refusal::before_answer(&error))?;
        match request.delivery() {
            Delivery::Streamed => Ok(self.stream(answering)),
            Delivery::Whole => self.whole(answering).await,
        }
    }

    async fn embed(&self, request: Request<Incoming>) -> Result<Response<LocalBody>, Refusal> {
        self.tally.asked(EMBEDDINGS_PATH);
        let request = ChatRequest::of_embeddings(&read(request).await?);
        self.ask_one(&request.map_err(Refusal::of_request)?).await
    }

    async fn ask_several(
        &self,
        asked: Asked,
        several: Several,
    ) -> Result<Response<LocalBody>, Refusal> {
        let count = several.requests.len();
        let gathering = Gathering::begin(&self.chat, several.requests).await;
        let gathering = gathering.map_err(|error| Refusal::before_answer(&error))?;
        match several.delivery {
            Delivery::Streamed => Ok(self.stream_several(count, gathering, several.include_usage)),
            Delivery::Whole => self.whole_of_several(asked, count, gathering).await,
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Result<Response<LocalBody>, Refusal> {
        self.tally.asked(RESPONSES_PATH);
        let request = ResponseRequest::of_openai(&read(request).await?)?;
        let answer = ResponseAnswer::to(&request, &self.chat)?;
        let answering = self.chat.ask(&request.chat).await;
        let answering = answering.map_err(|error| Refusal::before_answer(&error))?;
        match request.delivery {
            Delivery::Streamed => Ok(self.stream_response(answering, answer)),
            Delivery::Whole => self.whole_response(answering, answer).await,
        }
    }

    fn stream_response(
        &self,
        mut answering: Answering,
        mut answer: ResponseAnswer,
    ) -> Response<LocalBody> {
        let tally = Arc::clone(&self.tally);
        streamed(Arc::clone(&self.tally), 1, move |mut reader| async move {
            match tell_response(&mut reader, &mut answering, &mut answer, &tally).await {
                Err(Ended::Broken(error)) => {
                    let refusal = renamed(Refusal::of(&error));
                    let _reader_may_be_gone = reader.frame(answer.failed(&refusal)).await;
                    Err(Ended::Told(refusal))
                }
                told => told,
            }
        })
    }

    async fn whole_response(
        &self,
        mut answering: Answering,
        mut answer: ResponseAnswer,
    ) -> Result<Response<LocalBody>, Refusal> {
        while let Some(chunk) = answering.next().await.map_err(|e| Refusal::of(&e))? {
            let _for_readers_of_streams = answer.chunk(&chunk);
        }
        let tokens = settled_tokens(&answering, &self.tally);
        Ok(json(answer.whole(&tokens)))
    }

    /// Chunks go on as they come; ours are stripped. When the reader goes away before the end, the
    /// answer is dropped, and with it cancelled.
    fn stream(&self, mut answering: Answering) -> Response<LocalBody> {
        let tally = Arc::clone(&self.tally);
        streamed(Arc::clone(&self.tally), 1, move |mut reader| async move {
            while let Some(chunk) = reader.wait(answering.next()).await? {
                reader.tell(openai::event(&chunk.json), &chunk).await?;
            }
            if let Some(settled) = answering.settled() {
                tally.settled(settled);
            }
            reader.frame(openai::done()).await
        })
    }

    /// The same with the chunks of several choices, each with its index.
    fn stream_several(
        &self,
        count: usize,
        mut gathering: Gathering,
        with_usage: bool,
    ) -> Response<LocalBody> {
        let tally = Arc::clone(&self.tally);
        streamed(
            Arc::clone(&self.tally),
            count,
            move |mut reader| async move {
                let mut joined = Joined::default();
                while let Some((index, said)) = reader.wait(gathering.next()).await? {
                    match said {
                        Heard::Chunk(chunk) => {
                            if let Some(json) = joined.chunk(index, &chunk) {
                                reader.tell(openai::event(&json), &chunk).await?;
                            }
                        }
                        Heard::Settled(settled) => {
                            joined.settled(index, settled.receipt.receipt().tokens);
                            tally.settled(&settled);
                        }
                    }
                }
                if with_usage {
                    reader.frame(openai::event(&joined.usage_chunk())).await?;
                }
                reader.frame(openai::done()).await
            },
        )
    }

    async fn whole(&self, mut answering: Answering) -> Result<Response<LocalBody>, Refusal> {
        let mut whole = WholeAnswer::of(answering.asked());
        while let Some(chunk) = answering.next().await.map_err(|e| Refusal::of(&e))? {
            whole.add(&chunk);
        }
        if let Some(settled) = answering.settled() {
            self.tally.settled(settled);
        }
        Ok(json(whole.finish()))
    }

    async fn whole_of_several(
        &self,
        asked: Asked,
        count: usize,
        mut gathering: Gathering,
    ) -> Result<Response<LocalBody>, Refusal> {
        let mut joined = Joined::default();
        let mut answers: Vec<_> = (0..count).map(|_| WholeAnswer::of(asked)).collect();
        while let Some((index, said)) = gathering.next().await.map_err(|e| Refusal::of(&e))? {
            match said {
                Heard::Chunk(chunk) => {
                    if let Some(answer) = answers.get_mut(index) {
                        answer.add(&chunk);
                    }
                }
                Heard::Settled(settled) => {
                    joined.settled(index, settled.receipt.receipt().tokens);
                    self.tally.settled(&settled);
                }
            }
        }
        Ok(json(joined.whole(answers)))
    }
}

/// A body under its limit.
async fn read(request: Request<Incoming>) -> Result<Bytes, Refusal> {
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
    Ok(body.to_bytes())
}

async fn tell_response(
    reader: &mut Reader,
    answering: &mut Answering,
    answer: &mut ResponseAnswer,
    tally: &Tally,
) -> Result<(), Ended> {
    reader.frame(answer.opening()).await?;
    while let Some(chunk) = reader.wait(answering.next()).await? {
        reader.tell(answer.chunk(&chunk), &chunk).await?;
    }
    let tokens = settled_tokens(answering, tally);
    reader.frame(answer.end(&tokens)).await
}

/// What the receipt of a whole answer counts; whoever watches the port is told of it.
fn settled_tokens(answering: &Answering, tally: &Tally) -> TokenCounts {
    let settled = answering.settled();
    settled.map_or_else(TokenCounts::default, |settled| {
        tally.settled(settled);
        settled.receipt.receipt().tokens
    })
}
