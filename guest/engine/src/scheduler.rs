//! Which sequence gets which row of the next step, and what each answer has become.
//!
//! Continuous batching: every step first samples for the answers that hold a grant, then computes
//! one row for each sampled token and a bounded number of prompt rows, in turn between prompts,
//! so that a long prompt stalls nobody. An answer without a grant keeps its hidden state and
//! waits. Where a backend may run ahead, a step is sent before the tokens of the one in front are
//! looked at. What is deliberately not here: the socket (`ipc`) and the numbers (`model`).

use messages::engine_ipc::{
    ChatMessage, Content, EngineEvent, EngineRefusal, EngineRequest, Form, Holdings, Prompt, Start,
    StepFigures, Tool,
};
use protocol::receipt::FinishReason;
use zeroize::{Zeroize as _, Zeroizing};

use crate::answer::{Sampler, StopHolder, Utf8Holder};
use crate::backend::{Backend, BackendFailed, Fed, Row, Wanted};
use crate::calls;
use crate::embedder;
use crate::form::{self, Rejected};
use crate::format::Follower;
use crate::ipc::{Desk, RepeatedRequest, wipe_start};
use crate::kernels::SPAN;
use crate::language::Language;
use crate::model::{PAGE, pages_for, pages_held};
use crate::prefix::{PrefixCache, Quotas};
use crate::stream::{Left, Next, Outcome, Stream};
use crate::tokenizer::EncodeError;

/// Answers at once.
pub(crate) const MAX_STREAMS: usize = 32;
/// What of it may be kept of answers that ended: one part in so many, and of one client's.
const KEPT_SHARE: usize = 2;
/// See `KEPT_SHARE`.
const CLIENT_SHARE: usize = 4;
/// On processors: prompt rows of a step when nobody else waits for a token: enough that a step's
/// work is products and not reading weights.
pub(crate) const PROMPT_ROWS_ALONE: usize = 128;
/// And of one far into a long prompt, where attention leaves numbers for each row and each span.
const PROMPT_ROWS_DEEP: usize = 32;
/// Rows times spans of a step until there.
const STEP_SPANS: usize = 4096;
/// On processors: prompt rows of a step beside answers that are being written: with eight of those
/// four tiles of rows. Fewer make a new prompt wait for the weights of more steps, more make the
/// answers wait.
pub(crate) const PROMPT_ROWS_BESIDE: usize = 56;
/// Prompt tokens after which progress is reported before the prompt is done.
pub(crate) const REPORT_TOKENS: usize = 256;

/// On processors: prompt rows of a step that begins at a position.
pub(crate) fn rows_at(position: usize) -> usize {
    let spans = (position / SPAN).saturating_add(1);
    let rows = STEP_SPANS.checked_div(spans).unwrap_or(PROMPT_ROWS_DEEP);
    rows.clamp(PROMPT_ROWS_DEEP, PROMPT_ROWS_ALONE)
}

/// All answers of an engine.
pub(crate) struct Scheduler<'w, B: Backend> {
    model: &'w Language,
    backend: B,
    streams: Vec<Stream<B::State>>,
    /// Pages that the streams may come to hold.
    reserved: usize,
    /// Pages of answers that ended; with those that are reserved at most the limit.
    kept: PrefixCache<B::Page>,
    page_limit: usize,
    turn: usize,
    /// Steps until now.
    steps: u64,
}

impl<'w, B: Backend> Scheduler<'w, B> {
    /// No answers yet.
    pub(crate) fn new(model: &'w Language, backend: B) -> Self {
        let pages = backend.most_pages();
        Self::within(model, backend, pages)
    }

    /// The same, with caches of at most so many pages.
    pub(crate) fn within(model: &'w Language, backend: B, page_limit: usize) -> Self {
        Self {
            model,
            backend,
            streams: Vec::new(),
            reserved: 0,
            kept: PrefixCache::new(Quotas {
                all: page_limit / KEPT_SHARE,
                each: page_limit / CLIENT_SHARE,
            }),
            page_limit,
            turn: 0,
            steps: 0,
        }
    }

    fn holdings(&self) -> Holdings {
        Holdings {
            answers: count(self.streams.len()),
            pages: count(self.page_limit),
            reserved: count(self.reserved),
            kept: count(self.kept.pages()),
            held: count(pages_held()),
        }
    }

    fn find(&mut self, request: u64) -> Option<&mut Stream<B::State>> {
        self.streams
            .iter_mut()
            .find(|stream| stream.request == request)
    }

    fn start(&mut self, mut start: Start) -> EngineEvent {
        let request = start.request;
        // A schema is read last: it costs more than the rest.
        let known = match self.backend.unsupported(&start) {
            Some(parameter) => Err(Rejected::unsupported(parameter)),
            None => Ok(()),
        };
        let admitted = known.and_then(|()| self.admit(&start).map_err(Rejected::of));
        let admitted = admitted
            .and_then(|prompt| Ok((prompt, form::follower(&start, self.model.template.calls())?)));
        wipe_start(&mut start);
        match admitted {
            Err(Rejected { refusal, keyword }) => EngineEvent::Refused {
                request,
                refusal,
                keyword,
            },
            Ok((prompt, form)) => self.open(start, prompt, form),
        }
    }

    /// Tokens of a chat that has room.
    fn admit(&self, start: &Start) -> Result<Zeroizing<Vec<u32>>, EngineRefusal> {
        if self.streams.len() >= MAX_STREAMS {
            return Err(EngineRefusal::Busy);
        }
        let completion = usize::try_from(start.sampling.max_tokens).unwrap_or(usize::MAX);
        let room = self.model.shape.context.checked_sub(completion);
        let room = room
            .filter(|room| *room > 0)
            .ok_or(EngineRefusal::ContextTooLong)?;
        // In the order of their tokens: the last is the greatest.
        let vocabulary = self.model.shape.vocabulary;
        let known = start
            .biases
            .last()
            .is_none_or(|bias| usize::try_from(bias.token).is_ok_and(|token| token < vocabulary));
        if !known {
            return Err(EngineRefusal::Bias);
        }
        let prompt = self.prompt(start, room)?;
        let pages = pages_for(prompt.len().saturating_add(completion));
        // What never has room is not told to come again.
        if pages > self.page_limit {
            return Err(EngineRefusal::ContextTooLong);
        }
        if self.reserved.saturating_add(pages) > self.page_limit {
            return Err(EngineRefusal::Busy);
        }
        Ok(prompt)
    }

    /// The tokens of a prompt, at most so many.
    fn prompt(&self, start: &Start, room: usize) -> Result<Zeroizing<Vec<u32>>, EngineRefusal> {
        let tokens = match &start.prompt {
            Prompt::Chat { messages, tools } => self.chat((messages, tools), &start.form, room)?,
            Prompt::Text(text) => self.model.tokenizer.encode_text(&text.0, room),
        };
        let tokens = tokens.map_err(|error| match error {
            EncodeError::TooLong { .. } => EngineRefusal::ContextTooLong,
            EncodeError::Inexpressible => EngineRefusal::Chat,
        })?;
        if tokens.is_empty() {
            return Err(EngineRefusal::Chat);
        }
        Ok(tokens)
    }

    fn chat(
        &self,
        (messages, tools): (&[ChatMessage], &[Tool]),
        form: &Form,
        room: usize,
    ) -> Result<Result<Zeroizing<Vec<u32>>, EncodeError>, EngineRefusal> {
        let template = &self.model.template;
        let calls = template.calls();
        if !tools.is_empty() && calls.is_none() {
            return Err(EngineRefusal::Tools);
        }
        let skeleton = template.skeleton(messages, tools);
        let mut skeleton = skeleton.map_err(|_| EngineRefusal::Chat)?;
        if let (Form::Call(_), Some(calls)) = (form, calls) {
            skeleton.push(calls::opening(calls));
        }
        Ok(self.model.tokenizer.encode(&skeleton.pieces(), room))
    }

    fn open(
        &mut self,
        start: Start,
        prompt: Zeroizing<Vec<u32>>,
        form: Option<Follower>,
    ) -> EngineEvent {
        let request = start.request;
        let max_tokens = start.sampling.max_tokens;
        let completion = usize::try_from(max_tokens).unwrap_or(usize::MAX);
        let pages = pages_for(prompt.len().saturating_add(completion));
        self.reserved = self.reserved.saturating_add(pages);
        let prompt_tokens = count(prompt.len());
        let calls = match &start.prompt {
            Prompt::Chat { tools, .. } if !tools.is_empty() => self.model.template.calls(),
            Prompt::Chat { .. } | Prompt::Text(_) => None,
        };
        let before = self.kept.find(start.client, &prompt);
        let computed = before.len().saturating_mul(PAGE);
        // Pages that both hold count twice: never too few make room.
        self.kept
            .shrink(self.page_limit.saturating_sub(self.reserved));
        let stops = start.stops.into_iter();
        let stops = stops.map(|stop| Zeroizing::new(stop.0)).collect();
        self.streams.push(Stream {
            request,
            client: Some(start.client),
            slot: self.backend.open_after(before, &start.biases),
            prompt,
            reported: computed,
            pages,
            max_tokens,
            sampler: Sampler::new(start.sampling, start.biases),
            alternatives: start.alternatives,
            form,
            grant: start.grant,
            granted: start.grant > 0,
            // As long as it can become: a vector that grows leaves copies behind.
            written: Zeroizing::new(Vec::with_capacity(completion)),
            told: calls.map_or_else(Vec::new, |calls| self.model.told(calls)),
            characters: Utf8Holder::default(),
            stops: StopHolder::new(stops),
            next: Next::Prompt { computed },
            ahead: None,
        });
        EngineEvent::Admitted {
            request,
            prompt_tokens,
            calls,
            cached_tokens: count(computed),
        }
    }

    /// The last step whose tokens are looked at now: not the newest, where another can be sent
    /// behind it before.
    fn due(&self) -> u64 {
        match self.backend.ahead() {
            0 => self.steps,
            ahead if self.streams.iter().any(Stream::goes_on) => self.steps.saturating_sub(ahead),
            _ => self.steps,
        }
    }

    fn close(&mut self, request: u64) {
        let Some(at) = self
            .streams
            .iter()
            .position(|stream| stream.request == request)
        else {
            return;
        };
        let stream = self.streams.remove(at);
        self.reserved = self.reserved.saturating_sub(stream.pages);
        let Some(client) = stream.client.filter(|_| stream.granted) else {
            drop(self.backend.close_keeping(stream.slot, 0));
            return;
        };
        let tokens = stream.computed();
        let whole = tokens.len() / PAGE;
        let pages = self.backend.close_keeping(stream.slot, whole);
        self.kept.keep(client, &tokens, pages);
    }

    fn add_prompt_rows(
        &mut self,
        mut room: usize,
        rows: &mut Vec<Row>,
        wanted: &mut Vec<(usize, Wanted)>,
    ) -> Vec<EngineEvent> {
        let mut events = Vec::new();
        let streams = self.streams.len();
        self.turn = self.turn.wrapping_add(1);
        for offset in 0..streams {
            let at = self
                .turn
                .wrapping_add(offset)
                .checked_rem(streams)
                .unwrap_or(0);
            let Some(stream) = self.streams.get_mut(at) else {
                continue;
            };
            let Next::Prompt { computed } = &mut stream.next else {
                continue;
            };
            let tokens = stream.prompt.get(*computed..).unwrap_or_default();
            room = room.min(self.backend.rows_at(*computed));
            for token in tokens.iter().take(room) {
                rows.push(Row {
                    slot: stream.slot,
                    token: Fed::Known(*token),
                    position: *computed,
                });
                *computed = computed.saturating_add(1);
                room = room.saturating_sub(1);
            }
            let done = *computed == stream.prompt.len();
            if done {
                let row = rows.len().saturating_sub(1);
                wanted.push((at, stream.sampler.wanted(row, 0)));
            }
            if done || computed.saturating_sub(stream.reported) >= REPORT_TOKENS {
                stream.reported = *computed;
                events.push(EngineEvent::Prefilled {
                    request: stream.request,
                    prompt_tokens: count(*computed),
                });
            }
            if room == 0 {
                break;
            }
        }
        events
    }
}

impl<B: Backend> Desk for Scheduler<'_, B> {
    fn figures(&self) -> Option<StepFigures> {
        self.backend.figures()
    }

    fn is_idle(&self) -> bool {
        self.streams.iter().all(|stream| match stream.next {
            Next::Prompt { .. } | Next::Compute(_) => false,
            Next::Sample(_) => stream.grant == 0,
        })
    }

    fn take(&mut self, request: EngineRequest) -> Result<Option<EngineEvent>, RepeatedRequest> {
        match request {
            EngineRequest::Start(start) => {
                if self.find(start.request).is_some() {
                    return Err(RepeatedRequest);
                }
                Ok(Some(self.start(start)))
            }
            EngineRequest::Grant { request, tokens } => {
                if let Some(stream) = self.find(request) {
                    stream.grant = stream.grant.saturating_add(tokens);
                    stream.granted |= tokens > 0;
                }
                Ok(None)
            }
            EngineRequest::Cancel { request } => {
                let tokens = self.find(request).map(|stream| count(stream.written.len()));
                self.close(request);
                Ok(tokens.map(|completion_tokens| EngineEvent::Finished {
                    request,
                    reason: FinishReason::Cancelled,
                    completion_tokens,
                }))
            }
            EngineRequest::Forget { client } => {
                self.kept.forget(client);
                let streams = self.streams.iter_mut();
                streams
                    .filter(|stream| stream.client == Some(client))
                    .for_each(|stream| stream.client = None);
                Ok(None)
            }
            EngineRequest::Embed(mut embed) => {
                embedder::wipe(&mut embed);
                Ok(Some(EngineEvent::Refused {
                    request: embed.request,
                    refusal: EngineRefusal::EmbedsNothing,
                    keyword: Content(String::new()),
                }))
            }
            EngineRequest::Count => Ok(Some(EngineEvent::Counted(self.holdings()))),
        }
    }

    /// Samples for every answer that is ready and holds a grant.
    fn sample(&mut self) -> Result<Vec<EngineEvent>, BackendFailed> {
        let due = self.due();
        let ready = self.streams.iter_mut();
        let mut ready: Vec<&mut Stream<_>> = ready.filter(|stream| stream.is_ready(due)).collect();
        if ready.is_empty() {
            return Ok(Vec::new());
        }
        let states = ready.iter().filter_map(|stream| match &stream.next {
            Next::Sample(left) => Some(&left.state),
            Next::Prompt { .. } | Next::Compute(_) => None,
        });
        let given = self.backend.give(&states.collect::<Vec<_>>())?;
        let mut events = Vec::new();
        let mut ended = Vec::new();
        for (stream, given) in ready.iter_mut().zip(given) {
            let request = stream.request;
            match stream.take(self.model, &given, &mut events) {
                Outcome::Continues => {}
                Outcome::Ended(reason) => {
                    events.push(EngineEvent::Finished {
                        request,
                        reason,
                        completion_tokens: count(stream.written.len()),
                    });
                    ended.push(request);
                }
                Outcome::Failed(refusal) => {
                    let Rejected { refusal, keyword } = Rejected::of(refusal);
                    events.push(EngineEvent::Refused {
                        request,
                        refusal,
                        keyword,
                    });
                    ended.push(request);
                }
            }
        }
        ended.into_iter().for_each(|request| self.close(request));
        Ok(events)
    }

    /// Computes the next rows.
    fn advance(&mut self) -> Result<Vec<EngineEvent>, BackendFailed> {
        let mut rows = Vec::new();
        // Each row after which a token is wanted, with its stream's number.
        let mut wanted = Vec::new();
        let may_run_ahead = self.backend.ahead() > 0;
        for (at, stream) in self.streams.iter().enumerate() {
            if let Some((token, position)) = stream.row(may_run_ahead) {
                let place = position.saturating_add(1);
                let place = place.saturating_sub(stream.prompt.len());
                wanted.push((at, stream.sampler.wanted(rows.len(), place)));
                let slot = stream.slot;
                rows.push(Row {
                    slot,
                    token,
                    position,
                });
            }
        }
        let pace = self.backend.pace();
        let room = if rows.is_empty() {
            pace.alone
        } else {
            pace.beside
        };
        let events = self.add_prompt_rows(room, &mut rows, &mut wanted);
        if !rows.is_empty() {
            let (streams, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
            let states = self.backend.step(&rows, &wanted);
            rows.zeroize();
            self.steps = self.steps.saturating_add(1);
            let step = self.steps;
            for (at, state) in streams.into_iter().zip(states?) {
                if let Some(stream) = self.streams.get_mut(at) {
                    stream.keep(Left { state, step });
                }
            }
        }
        Ok(events)
    }

    fn rest(&mut self) -> Result<(), BackendFailed> {
        self.backend.rest()
    }
}

pub(crate) fn count(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}
