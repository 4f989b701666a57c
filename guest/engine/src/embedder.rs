//! Vectors of texts: what a model that gives nothing else computes for many requests at once.
//!
//! A step takes a bounded number of rows, from the requests in turn, so that a long one stalls
//! nobody; within a request its inputs follow each other. A vector is told when all of its request
//! are computed and serve has granted it: see `docs/spec/engine-ipc.md`. What is deliberately not
//! here: answers (`scheduler`), the socket (`ipc`) and the numbers (`model`).

use std::collections::VecDeque;

use messages::engine_ipc::{
    Content, Embed, EngineEvent, EngineRefusal, EngineRequest, Holdings, Input, MAX_VECTORS_BYTES,
    StepFigures, Vector,
};
use protocol::receipt::FinishReason;
use zeroize::{Zeroize as _, Zeroizing};

use crate::backend::BackendFailed;
use crate::ipc::{Desk, RepeatedRequest, wipe_start};
use crate::load::Model;
use crate::model::{
    CACHE_BYTES, Geometry, NotFinite, Pooled, Pooling, Row, Runner, Slot, pages_for, pages_held,
};
use crate::scheduler::{MAX_STREAMS, PROMPT_ROWS_ALONE, REPORT_TOKENS, count};
use crate::tokenizer::EncodeError;

/// Vectors of one request that may be told at once, so that no cancel waits long.
const TOLD_AT_ONCE: usize = 64;

/// All requests for vectors of an engine.
pub(crate) struct Embedder<'a, 'w> {
    model: &'w Model,
    pooling: Pooling,
    runner: Runner<'a, 'w>,
    jobs: Vec<Job>,
    /// Pages that the jobs may come to hold, and what their vectors take, as pages.
    reserved: usize,
    page_limit: usize,
    turn: usize,
}

/// One request.
struct Job {
    request: u64,
    /// Inputs that are not computed yet; the first of them perhaps in part.
    inputs: Inputs,
    /// The first of them, where it was begun.
    begun: Option<Begun>,
    /// Tokens computed, and how many of them were reported.
    computed: usize,
    reported: usize,
    pages: usize,
    vectors: VecDeque<Zeroizing<Vec<u8>>>,
    granted: bool,
}

/// An input of which something is computed.
struct Begun {
    slot: Slot,
    computed: usize,
    pooled: Pooled,
}

/// Rows of a step that belong to one input.
struct Segment {
    job: usize,
    /// The input; its last row is in this step, or it goes on.
    begun: Begun,
    ends: bool,
    /// Those of its rows that count, by their place in the step.
    counted: Vec<usize>,
}

type Inputs = VecDeque<Zeroizing<Vec<u32>>>;

impl<'a, 'w> Embedder<'a, 'w> {
    /// No requests yet.
    pub(crate) fn new(model: &'w Model, pooling: Pooling, runner: Runner<'a, 'w>) -> Self {
        let page = Geometry::of(&model.weights).page_bytes();
        let page_limit = CACHE_BYTES.checked_div(page).unwrap_or(0);
        Self::within(model, pooling, runner, page_limit)
    }

    /// The same, with so many pages for all.
    fn within(
        model: &'w Model,
        pooling: Pooling,
        runner: Runner<'a, 'w>,
        page_limit: usize,
    ) -> Self {
        Self {
            model,
            pooling,
            runner,
            jobs: Vec::new(),
            reserved: 0,
            page_limit,
            turn: 0,
        }
    }

    fn holdings(&self) -> Holdings {
        Holdings {
            answers: count(self.jobs.len()),
            pages: count(self.page_limit),
            reserved: count(self.reserved),
            kept: 0,
            held: count(pages_held()),
        }
    }

    fn embed(&mut self, mut embed: Embed) -> EngineEvent {
        let request = embed.request;
        let admitted = self.admit(&embed);
        wipe(&mut embed);
        match admitted {
            Ok((inputs, pages)) => {
                let prompt_tokens = count(inputs.iter().map(|tokens| tokens.len()).sum());
                self.reserved = self.reserved.saturating_add(pages);
                self.jobs.push(Job {
                    request,
                    vectors: VecDeque::with_capacity(inputs.len()),
                    inputs,
                    begun: None,
                    computed: 0,
                    reported: 0,
                    pages,
                    granted: false,
                });
                EngineEvent::Admitted {
                    request,
                    prompt_tokens,
                    cached_tokens: 0,
                    calls: None,
                }
            }
            Err(refusal) => refused(request, refusal),
        }
    }

    /// The tokens of all inputs, and the pages that they may come to hold.
    fn admit(&self, embed: &Embed) -> Result<(Inputs, usize), EngineRefusal> {
        let width = self.model.weights.shape.width;
        let asked = embed.dimensions.map(usize::try_from);
        if asked.is_some_and(|asked| asked != Ok(width)) {
            return Err(EngineRefusal::Dimensions);
        }
        let vectors = embed.inputs.len().saturating_mul(width);
        let vectors = vectors.saturating_mul(size_of::<f32>());
        if vectors > MAX_VECTORS_BYTES {
            return Err(EngineRefusal::Inputs);
        }
        if self.jobs.len() >= MAX_STREAMS {
            return Err(EngineRefusal::Busy);
        }
        let tokens = embed.inputs.iter().map(|input| self.tokens(input));
        let tokens = tokens.collect::<Result<Inputs, _>>()?;
        let pages = self.pages(&tokens, vectors);
        // What never has room is not told to come again.
        if pages > self.page_limit {
            return Err(EngineRefusal::ContextTooLong);
        }
        if self.reserved.saturating_add(pages) > self.page_limit {
            return Err(EngineRefusal::Busy);
        }
        Ok((tokens, pages))
    }

    /// One input is under way, and those that end in the same step, of one row at least.
    fn pages(&self, inputs: &Inputs, vectors: usize) -> usize {
        let pages = inputs.iter().map(|tokens| pages_for(tokens.len()));
        let longest = pages.clone().max().unwrap_or(0);
        let live = longest.saturating_add(PROMPT_ROWS_ALONE);
        let page = Geometry::of(&self.model.weights).page_bytes().max(1);
        live.min(pages.sum()).saturating_add(vectors.div_ceil(page))
    }

    fn tokens(&self, input: &Input) -> Result<Zeroizing<Vec<u32>>, EngineRefusal> {
        let shape = &self.model.weights.shape;
        let (context, vocabulary) = (shape.context, shape.vocabulary);
        match input {
            Input::Text(text) => {
                let tokens = self.model.language.tokenizer.encode_text(&text.0, context);
                let tokens = tokens.map_err(|error| match error {
                    EncodeError::TooLong { .. } => EngineRefusal::ContextTooLong,
                    EncodeError::Inexpressible => EngineRefusal::InputToken,
                })?;
                if tokens.is_empty() {
                    return Err(EngineRefusal::InputToken);
                }
                Ok(tokens)
            }
            Input::Tokens(tokens) => {
                let known = |token: &u32| usize::try_from(*token).is_ok_and(|at| at < vocabulary);
                if tokens.0.len() > context {
                    return Err(EngineRefusal::ContextTooLong);
                }
                if !tokens.0.iter().all(known) {
                    return Err(EngineRefusal::InputToken);
                }
                Ok(Zeroizing::new(tokens.0.clone()))
            }
        }
    }

    fn close(&mut self, request: u64) -> bool {
        let Some(at) = self.jobs.iter().position(|job| job.request == request) else {
            return false;
        };
        let job = self.jobs.remove(at);
        self.reserved = self.reserved.saturating_sub(job.pages);
        if let Some(begun) = job.begun {
            self.runner.close(begun.slot);
        }
        true
    }

    /// Rows of the next step, from the jobs in turn.
    fn plan(&mut self) -> (Vec<Row>, Vec<Segment>) {
        let (mut rows, mut segments) = (Vec::new(), Vec::new());
        let jobs = self.jobs.len();
        self.turn = self.turn.wrapping_add(1);
        for offset in 0..jobs {
            let at = self.turn.wrapping_add(offset).checked_rem(jobs);
            let at = at.unwrap_or(0);
            while self.has_room(at, rows.len()) {
                match self.segment(at, &mut rows) {
                    Some(segment) => segments.push(segment),
                    None => break,
                }
            }
        }
        (rows, segments)
    }

    /// Whether a step of so many rows may have more of a job. A text of an encoder is not cut: it
    /// is in a step from its first position to its last, and the step as long as that takes.
    fn has_room(&self, at: usize, rows: usize) -> bool {
        if !self.model.weights.shape.parts.encoder || rows == 0 {
            return rows < PROMPT_ROWS_ALONE;
        }
        let next = self.jobs.get(at).and_then(|job| job.inputs.front());
        next.is_some_and(|tokens| rows.saturating_add(tokens.len()) <= PROMPT_ROWS_ALONE)
    }

    /// As many rows of a job's next input as there is room for; none where all are computed or in
    /// this step already.
    fn segment(&mut self, at: usize, rows: &mut Vec<Row>) -> Option<Segment> {
        let job = self.jobs.get_mut(at)?;
        let tokens = job.inputs.front()?;
        let mut begun = job.begun.take().unwrap_or_else(|| Begun {
            slot: self.runner.open(),
            computed: 0,
            pooled: Pooled::default(),
        });
        let room = match self.model.weights.shape.parts.encoder {
            true => tokens.len(),
            false => PROMPT_ROWS_ALONE.saturating_sub(rows.len()),
        };
        let (first, positions) = (begun.computed, tokens.len());
        let mut counted = Vec::new();
        for (position, token) in tokens.iter().enumerate().skip(first).take(room) {
            if self.pooling.takes(position, positions) {
                counted.push(rows.len());
            }
            rows.push(Row {
                slot: begun.slot,
                token: *token,
                position,
            });
            begun.computed = position.saturating_add(1);
        }
        let further = begun.computed.saturating_sub(first);
        job.computed = job.computed.saturating_add(further);
        let ends = begun.computed == positions;
        if ends {
            job.inputs.pop_front();
        }
        // An input that goes on has filled the step: nothing of its job is asked for again.
        Some(Segment {
            job: at,
            begun,
            ends,
            counted,
        })
    }

    /// Takes what a step computed; the requests that came to nothing.
    fn take_step(&mut self, mut segments: Vec<Segment>) -> Vec<u64> {
        for segment in &mut segments {
            for row in &segment.counted {
                segment.begun.pooled.add(&self.runner.hidden(*row));
            }
        }
        let mut failed = Vec::new();
        for Segment {
            job, begun, ends, ..
        } in segments
        {
            if ends {
                // With the last sequence the step's own buffers are wiped: all are read by now.
                self.runner.close(begun.slot);
            }
            let Some(job) = self.jobs.get_mut(job) else {
                continue;
            };
            if !ends {
                job.begun = Some(begun);
                continue;
            }
            match begun.pooled.vector() {
                Ok(vector) => job.vectors.push_back(Zeroizing::new(vector)),
                Err(NotFinite) => failed.push(job.request),
            }
        }
        failed.dedup();
        failed
    }
}

impl Desk for Embedder<'_, '_> {
    fn figures(&self) -> Option<StepFigures> {
        None
    }

    fn is_idle(&self) -> bool {
        let waits = |job: &Job| job.inputs.is_empty() && !job.granted;
        self.jobs.iter().all(waits)
    }

    fn take(&mut self, request: EngineRequest) -> Result<Option<EngineEvent>, RepeatedRequest> {
        let known = |job: &Job, request| job.request == request;
        match request {
            EngineRequest::Embed(embed) => {
                if self.jobs.iter().any(|job| known(job, embed.request)) {
                    return Err(RepeatedRequest);
                }
                Ok(Some(self.embed(embed)))
            }
            EngineRequest::Start(mut start) => {
                wipe_start(&mut start);
                Ok(Some(refused(start.request, EngineRefusal::EmbedsOnly)))
            }
            EngineRequest::Grant { request, tokens } => {
                let job = self.jobs.iter_mut().find(|job| known(job, request));
                if let Some(job) = job {
                    job.granted |= tokens > 0;
                }
                Ok(None)
            }
            EngineRequest::Cancel { request } => {
                let cancelled = self.close(request);
                Ok(cancelled.then_some(finished(request, FinishReason::Cancelled)))
            }
            // Nothing is kept of anybody's texts.
            EngineRequest::Forget { .. } => Ok(None),
            EngineRequest::Count => Ok(Some(EngineEvent::Counted(self.holdings()))),
        }
    }

    /// Tells vectors that are computed and granted.
    fn sample(&mut self) -> Result<Vec<EngineEvent>, BackendFailed> {
        let mut events = Vec::new();
        let mut ended = Vec::new();
        for job in &mut self.jobs {
            if !job.granted || !job.inputs.is_empty() {
                continue;
            }
            let request = job.request;
            for _ in 0..TOLD_AT_ONCE {
                let Some(mut vector) = job.vectors.pop_front() else {
                    break;
                };
                let vector = Vector(std::mem::take(&mut *vector));
                events.push(EngineEvent::Embedded { request, vector });
            }
            if job.vectors.is_empty() {
                events.push(finished(request, FinishReason::Stop));
                ended.push(request);
            }
        }
        for request in ended {
            self.close(request);
        }
        Ok(events)
    }

    fn advance(&mut self) -> Result<Vec<EngineEvent>, BackendFailed> {
        let (mut rows, segments) = self.plan();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.runner.step(&rows);
        rows.zeroize();
        let mut events = Vec::new();
        for request in self.take_step(segments) {
            self.close(request);
            events.push(refused(request, EngineRefusal::Numeric));
        }
        for job in &mut self.jobs {
            let further = job.computed.saturating_sub(job.reported);
            if further >= REPORT_TOKENS || (further > 0 && job.inputs.is_empty()) {
                job.reported = job.computed;
                events.push(EngineEvent::Prefilled {
                    request: job.request,
                    prompt_tokens: count(job.computed),
                });
            }
        }
        Ok(events)
    }

    fn rest(&mut self) -> Result<(), BackendFailed> {
        Ok(())
    }
}

const fn finished(request: u64, reason: FinishReason) -> EngineEvent {
    EngineEvent::Finished {
        request,
        reason,
        completion_tokens: 0,
    }
}

const fn refused(request: u64, refusal: EngineRefusal) -> EngineEvent {
    EngineEvent::Refused {
        request,
        refusal,
        keyword: Content(String::new()),
    }
}

/// What a client wrote.
pub(crate) fn wipe(embed: &mut Embed) {
    for input in &mut embed.inputs {
        match input {
            Input::Text(text) => text.0.zeroize(),
            Input::Tokens(tokens) => tokens.0.zeroize(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "tests state claims; a panic is the failure"
    )]

    use std::num::NonZeroUsize;

    use messages::engine_ipc::TokenIds;

    use super::*;
    use crate::fixture::Tiny;
    use crate::model::with_runner;

    /// What becomes of requests for vectors, each of inputs of these lengths, in so many pages.
    fn admitted(pages: usize, requests: &[&[usize]]) -> Vec<Result<u32, EngineRefusal>> {
        let tiny = Tiny {
            pooling: Some(3),
            ..Tiny::default()
        };
        let model = tiny.model();
        let threads = NonZeroUsize::MIN;
        with_runner(&model.weights, model.kernels, threads, |runner| {
            let mut embedder = Embedder::within(&model, Pooling::Last, runner, pages);
            let input = |length: &usize| Input::Tokens(TokenIds(vec![5; *length]));
            let mut of = |(request, lengths): (u64, &&[usize])| {
                let embed = Embed {
                    request,
                    inputs: lengths.iter().map(input).collect(),
                    dimensions: None,
                };
                let event = embedder.embed(embed);
                if let EngineEvent::Refused { refusal, .. } = event {
                    return Err(refusal);
                }
                let EngineEvent::Admitted { prompt_tokens, .. } = event else {
                    panic!("{event:?}");
                };
                Ok(prompt_tokens)
            };
            (0..).zip(requests).map(&mut of).collect()
        })
    }

    #[test]
    fn a_request_that_never_has_room_is_too_long_and_one_that_has_none_now_comes_again() {
        // A page for each 32 positions, and one for the vector.
        let (busy, long) = (EngineRefusal::Busy, EngineRefusal::ContextTooLong);
        assert_eq!(admitted(3, &[&[64], &[65]]), [Ok(64), Err(long)]);
        assert_eq!(admitted(3, &[&[33], &[32]]), [Ok(33), Err(busy)]);
        assert_eq!(admitted(5, &[&[33], &[32]]), [Ok(33), Ok(32)]);
        assert_eq!(admitted(3, &[&[1, 1, 1]]), [Err(long)]);
    }
}
