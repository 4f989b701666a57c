//! The engine as the streams see it: many answers over one socket. `docs/spec/engine-ipc.md`.
//!
//! The engine parses what clients and model publishers wrote, so it is not trusted with more than
//! content: a frame out of form ends it, and an answer that gets more events than were granted is
//! cancelled. Its end never takes this process along: running answers end, new ones are refused.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use messages::engine_ipc::{
    CallSyntax, Candidate, ClientKey, Content, Embed, EngineEvent, EngineRefusal, EngineRequest,
    Form, Input, MAX_FRAME, MAX_INPUTS, Prompt, Start, StepFigures, TokenBias, Vector,
};
use protocol::receipt::{FinishReason, Sampling};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

use crate::errors::Refusal;
use crate::frames;

/// Events of one answer that may wait beyond its granted tokens: admission, chunks of prompt, end.
const EVENT_ROOM: usize = 1024;
/// The same beside the vectors of a request: its longest prompt has a chunk for each 256 bytes, and
/// a few tokens more for each input.
const VECTOR_ROOM: usize = 4096;

/// What happens to one answer.
#[derive(Debug)]
pub(crate) enum AnswerEvent {
    /// It was admitted with so many prompt tokens, of which so many, never all, are from before;
    /// and perhaps may contain calls.
    Admitted(u32, u32, Option<CallSyntax>),
    /// So many prompt tokens are computed, those from before included.
    Prefilled(u32),
    /// One completion token, and the probabilities that were asked for.
    Token(Content, Vec<Candidate>),
    /// The vector of the next input.
    Vector(Vector),
    /// It ended, with so many completion tokens.
    Finished(FinishReason, u32),
    /// It was refused or given up, perhaps for a keyword of its schema.
    Refused(EngineRefusal, Content),
}

/// What an answer is made from, besides how it samples.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Whose answer it is.
    pub(crate) client: ClientKey,
    /// What is answered.
    pub(crate) prompt: Prompt,
    /// Strings that end the answer.
    pub(crate) stops: Vec<Content>,
    /// Shifts of logits.
    pub(crate) biases: Vec<TokenBias>,
    /// How many tokens' probabilities are told beside the taken one's, if any are.
    pub(crate) alternatives: Option<u8>,
    /// The form that the answer must have.
    pub(crate) form: Form,
}

/// Where the engine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineState {
    /// It loads the model.
    Loading,
    /// It takes requests, with a context of so many tokens.
    Loaded(u32),
    /// It is gone.
    Lost,
}

/// Told once, by an engine with a GPU.
type Steps = Arc<OnceLock<StepFigures>>;

type Answers = Arc<Mutex<HashMap<u64, mpsc::Sender<AnswerEvent>>>>;

/// The streams' end of the engine's socket.
#[derive(Clone)]
pub(crate) struct Engine {
    requests: mpsc::UnboundedSender<EngineRequest>,
    answers: Answers,
    state: watch::Receiver<EngineState>,
    steps: Steps,
    next: Arc<AtomicU64>,
    event_room: usize,
}

impl Engine {
    /// Starts to speak on a connected stream. An answer may have `increment` tokens granted.
    pub(crate) fn start(stream: UnixStream, increment: u32) -> Self {
        // Bounded by the streams: a start, a cancel, and a grant for each voucher; and one word for
        // each connection that ends.
        let (requests, waiting) = mpsc::unbounded_channel();
        let (state_in, state) = watch::channel(EngineState::Loading);
        let (answers, steps) = (Answers::default(), Steps::default());
        let (from_engine, to_engine) = stream.into_split();
        tokio::spawn(write(to_engine, waiting));
        let shared = (Arc::clone(&answers), Arc::clone(&steps));
        tokio::spawn(read(from_engine, state_in, shared));
        let increment = usize::try_from(increment).unwrap_or(usize::MAX);
        Self {
            requests,
            answers,
            state,
            steps,
            next: Arc::default(),
            event_room: increment.saturating_add(EVENT_ROOM),
        }
    }

    /// Waits until the state is another than "loading".
    pub(crate) async fn loaded(&self) -> EngineState {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| *state != EngineState::Loading).await;
        settled.map_or(EngineState::Lost, |state| *state)
    }

    /// Whether requests can be begun now.
    pub(crate) fn is_loaded(&self) -> bool {
        matches!(*self.state.borrow(), EngineState::Loaded(_))
    }

    /// What each of its steps does on the bus to its GPU, if it has one.
    pub(crate) fn steps(&self) -> Option<StepFigures> {
        self.steps.get().copied()
    }

    /// Waits until the engine is gone.
    pub(crate) async fn lost(&self) {
        let mut state = self.state.clone();
        // An error means that the reading task is gone, which is the same.
        let _ = state.wait_for(|state| *state == EngineState::Lost).await;
    }

    /// Begins an answer; nothing beyond the prompt is computed before a grant.
    pub(crate) fn begin(&self, sampling: Sampling, wanted: Wanted) -> Result<Answer, Refusal> {
        self.open(self.event_room, |request| {
            EngineRequest::Start(Start {
                request,
                client: wanted.client,
                sampling,
                grant: 0,
                prompt: wanted.prompt,
                stops: wanted.stops,
                biases: wanted.biases,
                alternatives: wanted.alternatives,
                form: wanted.form,
            })
        })
    }

    /// Begins to compute vectors; none is told before a grant.
    pub(crate) fn embed(
        &self,
        inputs: Vec<Input>,
        dimensions: Option<u32>,
    ) -> Result<Answer, Refusal> {
        let room = MAX_INPUTS.saturating_add(VECTOR_ROOM);
        self.open(room, |request| {
            EngineRequest::Embed(Embed {
                request,
                inputs,
                dimensions,
            })
        })
    }

    fn open(
        &self,
        event_room: usize,
        request: impl FnOnce(u64) -> EngineRequest,
    ) -> Result<Answer, Refusal> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (events_in, events) = mpsc::channel(event_room);
        lock(&self.answers).insert(id, events_in);
        let mut answer = Answer {
            id,
            events,
            engine: self.clone(),
            ended: false,
        };
        // The state is read after the insertion: an engine that is lost later drops the sender.
        if !self.is_loaded() {
            answer.ended = true;
            return Err(Refusal::EngineUnavailable);
        }
        let sent = self.requests.send(request(id));
        sent.map_err(|_| Refusal::EngineUnavailable)?;
        Ok(answer)
    }

    /// Has everything dropped that was kept of a client's prompts.
    pub(crate) fn forget(&self, client: ClientKey) {
        // An engine that is gone keeps nothing.
        let _ = self.requests.send(EngineRequest::Forget { client });
    }
}

/// One running answer; dropping it before its end cancels it.
pub(crate) struct Answer {
    id: u64,
    events: mpsc::Receiver<AnswerEvent>,
    engine: Engine,
    ended: bool,
}

impl Answer {
    /// The next event; `None` when the engine is gone or broke the rules.
    pub(crate) async fn next(&mut self) -> Option<AnswerEvent> {
        let event = self.events.recv().await;
        self.ended = match &event {
            Some(AnswerEvent::Finished(..) | AnswerEvent::Refused(..)) => true,
            Some(
                AnswerEvent::Admitted(..)
                | AnswerEvent::Prefilled(_)
                | AnswerEvent::Token(..)
                | AnswerEvent::Vector(_),
            )
            | None => self.ended,
        };
        event
    }

    /// Lets so many further completion tokens be produced.
    pub(crate) fn grant(&self, tokens: u32) {
        if tokens > 0 {
            self.request(EngineRequest::Grant {
                request: self.id,
                tokens,
            });
        }
    }

    fn request(&self, request: EngineRequest) {
        // An engine that is gone shows in `next`.
        let _ = self.engine.requests.send(request);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        lock(&self.engine.answers).remove(&self.id);
        if !self.ended {
            self.request(EngineRequest::Cancel { request: self.id });
        }
    }
}

fn lock(answers: &Answers) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<AnswerEvent>>> {
    // No code panics while it holds the lock.
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(mut to_engine: OwnedWriteHalf, mut waiting: mpsc::UnboundedReceiver<EngineRequest>) {
    while let Some(request) = waiting.recv().await {
        let written = frames::write(&mut to_engine, &request.encode()).await;
        if written.is_err() {
            return;
        }
    }
}

async fn read(
    mut from_engine: OwnedReadHalf,
    state: watch::Sender<EngineState>,
    (answers, steps): (Answers, Steps),
) {
    while let Ok(frame) = frames::read(&mut from_engine, MAX_FRAME).await {
        let Ok(event) = EngineEvent::decode(&frame) else {
            break;
        };
        let (id, event) = match event {
            EngineEvent::Loaded { context_tokens } => {
                state.send_replace(EngineState::Loaded(context_tokens));
                continue;
            }
            EngineEvent::Steps(figures) => {
                // A second word would be another number for some clients than for others.
                if steps.set(figures).is_err() {
                    break;
                }
                continue;
            }
            EngineEvent::Admitted {
                request,
                prompt_tokens,
                cached_tokens,
                calls,
            } => {
                let admitted = AnswerEvent::Admitted(prompt_tokens, cached_tokens, calls);
                (request, admitted)
            }
            EngineEvent::Prefilled {
                request,
                prompt_tokens,
            } => (request, AnswerEvent::Prefilled(prompt_tokens)),
            EngineEvent::Token {
                request,
                text,
                candidates,
            } => (request, AnswerEvent::Token(text, candidates)),
            EngineEvent::Finished {
                request,
                reason,
                completion_tokens,
            } => (request, AnswerEvent::Finished(reason, completion_tokens)),
            EngineEvent::Refused {
                request,
                refusal,
                keyword,
            } => (request, AnswerEvent::Refused(refusal, keyword)),
            EngineEvent::Embedded { request, vector } => (request, AnswerEvent::Vector(vector)),
            // Nobody asked.
            EngineEvent::Counted(_) => break,
        };
        let mut answers = lock(&answers);
        // An answer that was cancelled is no longer listed; one whose room is full got more than
        // was granted: without its sender it ends, which cancels it.
        if let Some(sender) = answers.get(&id)
            && sender.try_send(event).is_err()
        {
            answers.remove(&id);
        }
    }
    state.send_replace(EngineState::Lost);
    lock(&answers).clear();
}
