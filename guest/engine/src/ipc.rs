//! The socket to serve: one thread reads frames, the engine's thread computes and writes.
//!
//! Frames and limits: `docs/spec/engine-ipc.md`. A malformed frame ends the engine, since serve
//! writes none; the end of the stream ends it cleanly.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use messages::engine_ipc::{
    EngineEvent, EngineRequest, Form, MAX_FRAME, Prompt, Start, StepFigures,
};
use messages::framing::{FrameTooLong, HEADER_BYTES, frame, payload_length};
use protocol::codec::DecodeError;
use zeroize::{Zeroize as _, Zeroizing};

use crate::backend::{Backend, BackendFailed};
use crate::embedder::Embedder;
use crate::language::Language;
use crate::load::Model;
use crate::model::with_runner;
use crate::scheduler::Scheduler;

/// Requests that wait for the engine's thread.
const WAITING: usize = 64;

/// Why the engine stopped talking to serve.
#[derive(Debug, thiserror::Error)]
pub enum IpcError {
    /// The socket failed.
    #[error("socket to serve failed")]
    Socket,
    /// A frame exceeds the limit.
    #[error(transparent)]
    Frame(#[from] FrameTooLong),
    /// A frame is not a request.
    #[error(transparent)]
    Request(#[from] DecodeError),
    /// A request number that is in use.
    #[error("request number in use")]
    RepeatedRequest,
    /// What computes failed.
    #[error(transparent)]
    Backend(#[from] BackendFailed),
    /// The reading thread could not be started.
    #[error("no thread for the socket to serve")]
    Thread,
}

impl IpcError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Socket => "engine-ipc-socket",
            Self::Frame(_) => "engine-ipc-frame",
            Self::Request(_) => "engine-ipc-request",
            Self::RepeatedRequest => "engine-ipc-repeated-request",
            Self::Backend(_) => "engine-device",
            Self::Thread => "engine-ipc-thread",
        }
    }
}

/// serve used a request number that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RepeatedRequest;

/// Who computes: answers (`scheduler`), or vectors (`embedder`).
pub(crate) trait Desk {
    /// What each step does on the bus to a GPU; none without one.
    fn figures(&self) -> Option<StepFigures>;
    /// Whether nothing can be computed before another request comes.
    fn is_idle(&self) -> bool;
    /// Takes what serve wants; returns what to answer at once.
    ///
    /// # Errors
    /// `RepeatedRequest`.
    fn take(&mut self, request: EngineRequest) -> Result<Option<EngineEvent>, RepeatedRequest>;
    /// What is ready and granted.
    ///
    /// # Errors
    /// `BackendFailed`.
    fn sample(&mut self) -> Result<Vec<EngineEvent>, BackendFailed>;
    /// Computes the next rows.
    ///
    /// # Errors
    /// `BackendFailed`.
    fn advance(&mut self) -> Result<Vec<EngineEvent>, BackendFailed>;
    /// Nothing can be computed before another request comes.
    ///
    /// # Errors
    /// `BackendFailed`.
    fn rest(&mut self) -> Result<(), BackendFailed>;
}

/// Says that the model is loaded, then answers until serve closes the socket.
///
/// # Errors
/// An [`IpcError`].
pub fn answer(model: &Model, ipc: UnixStream, threads: NonZeroUsize) -> Result<(), IpcError> {
    let language = &model.language;
    with_requests(ipc, |requests, ipc| {
        with_runner(
            &model.weights,
            model.kernels,
            threads,
            |runner| match language.shape.pooling {
                None => answer_all(Scheduler::new(language, runner), language, requests, ipc),
                Some(pooling) => {
                    let embedder = Embedder::new(model, pooling, runner);
                    answer_all(embedder, language, requests, ipc)
                }
            },
        )
    })
}

/// The same with another backend, of a model that answers.
///
/// # Errors
/// An [`IpcError`].
pub fn answer_on(
    language: &Language,
    backend: impl Backend,
    ipc: UnixStream,
) -> Result<(), IpcError> {
    with_requests(ipc, |requests, ipc| {
        answer_all(Scheduler::new(language, backend), language, requests, ipc)
    })
}

type Requests = Receiver<Result<EngineRequest, IpcError>>;

/// Runs `body` beside a thread that reads requests.
fn with_requests(
    ipc: UnixStream,
    body: impl FnOnce(&Requests, &UnixStream) -> Result<(), IpcError>,
) -> Result<(), IpcError> {
    let ipc = Arc::new(ipc);
    let (sender, requests) = sync_channel(WAITING);
    let reader = Arc::clone(&ipc);
    std::thread::Builder::new()
        .name("requests".into())
        .spawn(move || read_requests(&reader, &sender))
        .map_err(|_| IpcError::Thread)?;
    let result = body(&requests, &ipc);
    // Wakes the reader, whatever it waits for; the result is the peer's affair.
    let _closed = ipc.shutdown(Shutdown::Both);
    result
}

fn answer_all(
    mut desk: impl Desk,
    language: &Language,
    requests: &Requests,
    ipc: &UnixStream,
) -> Result<(), IpcError> {
    let context_tokens = language.context_tokens();
    let figures = desk.figures().map(EngineEvent::Steps);
    let loaded = EngineEvent::Loaded { context_tokens };
    send(ipc, [loaded].into_iter().chain(figures).collect())?;
    loop {
        loop {
            let request = if desk.is_idle() {
                desk.rest()?;
                requests.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                requests.try_recv()
            };
            let request = match request {
                Ok(request) => request?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            };
            let answered = desk.take(request);
            let answered = answered.map_err(|RepeatedRequest| IpcError::RepeatedRequest)?;
            send(ipc, answered.into_iter().collect())?;
        }
        send(ipc, desk.sample()?)?;
        send(ipc, desk.advance()?)?;
    }
}

/// Writes events in one piece and wipes them.
fn send(mut ipc: &UnixStream, events: Vec<EngineEvent>) -> Result<(), IpcError> {
    if events.is_empty() {
        return Ok(());
    }
    let mut bytes = Zeroizing::new(Vec::new());
    for event in events {
        let payload = Zeroizing::new(event.encode());
        bytes.extend_from_slice(&Zeroizing::new(frame(&payload)));
        wipe(event);
    }
    ipc.write_all(&bytes).map_err(|_| IpcError::Socket)
}

/// Of the prompt and the form, what a client wrote; tools stay, but for their texts.
pub(crate) fn wipe_start(start: &mut Start) {
    if let Form::Schema(schema) = &mut start.form {
        schema.0.zeroize();
    }
    match &mut start.prompt {
        Prompt::Chat { messages, tools } => {
            for message in messages {
                message.content.0.zeroize();
                for call in &mut message.calls {
                    call.arguments.0.zeroize();
                }
            }
            for tool in tools {
                let parts = tool.description.iter_mut().chain(&mut tool.parameters);
                parts.for_each(|part| part.0.zeroize());
            }
        }
        Prompt::Text(text) => text.0.zeroize(),
    }
}

fn wipe(event: EngineEvent) {
    match event {
        EngineEvent::Token {
            mut text,
            mut candidates,
            ..
        } => {
            text.0.zeroize();
            for candidate in &mut candidates {
                candidate.micro.zeroize();
                candidate.bytes.zeroize();
            }
        }
        EngineEvent::Embedded { mut vector, .. } => vector.0.zeroize(),
        EngineEvent::Loaded { .. }
        | EngineEvent::Steps(_)
        | EngineEvent::Admitted { .. }
        | EngineEvent::Prefilled { .. }
        | EngineEvent::Finished { .. }
        | EngineEvent::Refused { .. }
        | EngineEvent::Counted(_) => {}
    }
}

/// Reads until the end of the stream, an error, or until nobody listens.
fn read_requests(ipc: &UnixStream, sender: &SyncSender<Result<EngineRequest, IpcError>>) {
    loop {
        let request = match read_request(ipc) {
            Ok(None) => return,
            Ok(Some(request)) => Ok(request),
            Err(error) => Err(error),
        };
        let last = request.is_err();
        if sender.send(request).is_err() || last {
            return;
        }
    }
}

/// One request; none at the end of the stream.
fn read_request(mut ipc: &UnixStream) -> Result<Option<EngineRequest>, IpcError> {
    let mut header = [0; HEADER_BYTES];
    let first = loop {
        match ipc.read(&mut header) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => break read.map_err(|_| IpcError::Socket)?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    let rest = header.get_mut(first..).ok_or(IpcError::Socket)?;
    ipc.read_exact(rest).map_err(|_| IpcError::Socket)?;
    let mut payload = Zeroizing::new(vec![0; payload_length(header, MAX_FRAME)?]);
    ipc.read_exact(&mut payload).map_err(|_| IpcError::Socket)?;
    Ok(Some(EngineRequest::decode(&payload)?))
}
