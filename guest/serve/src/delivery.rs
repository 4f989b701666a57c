//! The answer itself: tokens out as vouchers come in, to the receipt. `docs/spec/serving.md` §5.
//!
//! Whether a token may go out is `account`'s decision; here is the waiting: for the engine, for
//! the client to read, for its vouchers. Every wait ends by itself, and when the client leaves,
//! everything that the answer holds is given back by dropping it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use messages::engine_ipc::{Candidate, Content, MAX_VECTORS_BYTES, Vector};
use messages::host_control::ServeEvent;
use protocol::digest::{Freshness, ReceiptDigest, RequestDigest, Salt};
use protocol::launch_configuration::ModelEntry;
use protocol::nano::Nano;
use protocol::receipt::{FinishReason, Receipt, Sampling, TokenCounts, response_digest};
use protocol::tee::EvidenceClass;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use zeroize::{Zeroize as _, Zeroizing};

use crate::account::PromptTokens;
use crate::connection::Attested;
use crate::engine::{Answer, AnswerEvent};
use crate::errors::Refusal;
use crate::ledger::Seat;
use crate::service::Service;
use crate::sse::Chunks;

/// What was delivered is acknowledged within this time; an event is read within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer's text as a whole.
const MAX_TEXT: usize = 16 * 1024 * 1024;

/// What was ordered, and what its receipt will say of it.
pub(crate) struct Order {
    pub(crate) chunks: Chunks,
    pub(crate) request: RequestDigest,
    pub(crate) salt: Salt,
    pub(crate) model: ModelEntry,
    pub(crate) sampling: Sampling,
    pub(crate) prompt: PromptTokens,
    /// How many vectors are to come; none of an answer.
    pub(crate) vectors: usize,
    pub(crate) attested: Attested,
}

/// An answer under way.
pub(crate) struct Delivery {
    service: Arc<Service>,
    order: Order,
    answer: Answer,
    seat: Seat,
    events: mpsc::Sender<Bytes>,
    /// The whole text, or all vectors, for the digest.
    text: Zeroizing<Vec<u8>>,
    completion_tokens: u32,
    /// Vectors that were sent.
    vectors: usize,
    /// When the client was last told of its account or acknowledged something.
    told: Instant,
}

/// How an answer ends.
enum End {
    /// The model ended it.
    Finished(FinishReason),
    /// Something else did.
    Broken(Refusal),
    /// The client left or does not read.
    Gone,
}

/// The client left or does not read.
struct ClientGone;

impl From<ClientGone> for End {
    fn from(ClientGone: ClientGone) -> Self {
        Self::Gone
    }
}

impl Delivery {
    pub(crate) fn new(
        service: Arc<Service>,
        order: Order,
        answer: Answer,
        seat: Seat,
        events: mpsc::Sender<Bytes>,
    ) -> Self {
        Self {
            service,
            order,
            answer,
            seat,
            events,
            text: Zeroizing::new(Vec::new()),
            completion_tokens: 0,
            vectors: 0,
            told: Instant::now(),
        }
    }

    /// Delivers to the end; what was delivered, and its cost.
    pub(crate) async fn run(mut self) -> (TokenCounts, Nano) {
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        // A client that is gone cannot be told anything.
        let _ = match end {
            End::Finished(reason) => self.finish(reason).await,
            End::Broken(refusal) => self.break_off(&refusal).await,
            End::Gone => Err(ClientGone),
        };
        self.service.host.event(ServeEvent::RequestFinished, 1);
        self.seat.announce()
    }

    async fn step(&mut self) -> Result<(), End> {
        let waits = self.seat.waits();
        let patience = PATIENCE.saturating_sub(self.told.elapsed());
        tokio::select! {
            biased;
            () = self.events.closed() => Err(End::Gone),
            () = self.seat.changed() => self.acknowledged(),
            () = sleep(patience), if waits => Err(End::Broken(Refusal::Unacknowledged)),
            event = self.answer.next() => match event {
                Some(event) => self.take(event).await,
                None => Err(End::Broken(Refusal::EngineUnavailable)),
            },
        }
    }

    fn acknowledged(&mut self) -> Result<(), End> {
        if let Some(reason) = self.seat.stopped() {
            return Err(End::Broken(Refusal::Stopped(reason, None)));
        }
        self.told = Instant::now();
        self.answer.grant(self.seat.grant());
        Ok(())
    }

    async fn take(&mut self, event: AnswerEvent) -> Result<(), End> {
        let broken = || End::Broken(Refusal::EngineUnavailable);
        let prompt = self.order.prompt;
        let whole = prompt.computed.saturating_add(prompt.cached);
        match event {
            AnswerEvent::Prefilled(tokens) if tokens < whole => Ok(()),
            AnswerEvent::Prefilled(tokens) if tokens == whole => {
                self.seat.deliver_prompt(prompt).map_err(|_| broken())?;
                if let Some(role) = self.order.chunks.role() {
                    self.send(role).await?;
                }
                self.tell().await?;
                self.answer.grant(self.seat.grant());
                Ok(())
            }
            AnswerEvent::Token(text, candidates) => self.token(text, candidates).await,
            AnswerEvent::Vector(vector) => self.vector(vector).await,
            AnswerEvent::Finished(FinishReason::Cancelled, _) => Err(broken()),
            AnswerEvent::Finished(..) if self.vectors != self.order.vectors => Err(broken()),
            AnswerEvent::Finished(reason, tokens) => {
                self.count_end_token(reason, tokens);
                Err(End::Finished(reason))
            }
            AnswerEvent::Refused(refusal, _) => Err(End::Broken(Refusal::Engine(refusal))),
            AnswerEvent::Admitted(..) | AnswerEvent::Prefilled(_) => Err(broken()),
        }
    }

    /// Sends one vector, if it is one that was asked for and the prompt is acknowledged.
    async fn vector(&mut self, Vector(bytes): Vector) -> Result<(), End> {
        let bytes = Zeroizing::new(bytes);
        let counted = self.vectors < self.order.vectors && self.seat.may_tell();
        if !counted || self.text.len().saturating_add(bytes.len()) > MAX_VECTORS_BYTES {
            return Err(End::Broken(Refusal::EngineUnavailable));
        }
        self.text.extend_from_slice(&bytes);
        let chunk = self.order.chunks.vector(self.vectors, &bytes);
        self.vectors = self.vectors.saturating_add(1);
        Ok(self.send(chunk).await?)
    }

    /// Sends one token, if it is one that was granted.
    async fn token(
        &mut self,
        Content(text): Content,
        mut candidates: Vec<Candidate>,
    ) -> Result<(), End> {
        let text = Zeroizing::new(text);
        let broken = || End::Broken(Refusal::EngineUnavailable);
        if self.order.vectors > 0
            || self.completion_tokens >= self.order.sampling.max_tokens
            || self.text.len().saturating_add(text.len()) > MAX_TEXT
        {
            return Err(broken());
        }
        self.seat.deliver_token().map_err(|_| broken())?;
        self.completion_tokens = self.completion_tokens.saturating_add(1);
        self.text.extend_from_slice(text.as_bytes());
        // A token whose text is held back has a chunk too: the client pays for what it can count.
        let chunk = self.order.chunks.text(&text, &candidates);
        let told = candidates.iter_mut();
        told.for_each(|candidate| candidate.bytes.zeroize());
        self.send(chunk).await?;
        if self.seat.increment_full() || self.seat.waits() {
            self.tell().await?;
            self.answer.grant(self.seat.grant());
        }
        Ok(())
    }

    /// An end token is computed and charged like every other. When the engine did not send it as
    /// a record of its own, the last chunk stands for it: `stop`, and only that.
    fn count_end_token(&mut self, reason: FinishReason, reported: u32) {
        let unsent = match reason {
            FinishReason::Stop => reported > self.completion_tokens,
            FinishReason::Length | FinishReason::Cancelled => false,
        };
        let room = self.completion_tokens < self.order.sampling.max_tokens;
        if unsent && room && self.seat.deliver_token().is_ok() {
            self.completion_tokens = self.completion_tokens.saturating_add(1);
        }
    }

    async fn finish(&mut self, reason: FinishReason) -> Result<(), ClientGone> {
        if let Some(end) = self.order.chunks.finish(reason) {
            self.send(end).await?;
        }
        let (tokens, _) = self.seat.announce();
        if let Some(usage) = self.order.chunks.usage(&tokens) {
            self.send(usage).await?;
        }
        self.close(reason).await
    }

    async fn break_off(&mut self, refusal: &Refusal) -> Result<(), ClientGone> {
        self.send(self.order.chunks.error(refusal)).await?;
        if matches!(refusal, Refusal::Unacknowledged | Refusal::Stopped(..)) {
            // Nobody waits for a voucher that will not come.
            self.send_receipt(FinishReason::Cancelled).await
        } else {
            self.close(FinishReason::Cancelled).await
        }
    }

    /// Tells the final account, waits for its acknowledgement, and sends the receipt.
    async fn close(&mut self, reason: FinishReason) -> Result<(), ClientGone> {
        self.tell().await?;
        let end = self.told.checked_add(PATIENCE).unwrap_or(self.told);
        while !self.seat.settled() && self.seat.stopped().is_none() {
            tokio::select! {
                biased;
                () = self.events.closed() => return Err(ClientGone),
                () = self.seat.changed() => {}
                () = tokio::time::sleep_until(end) => break,
            }
        }
        self.send_receipt(reason).await
    }

    async fn send_receipt(&mut self, finish: FinishReason) -> Result<(), ClientGone> {
        let (tokens, charged) = self.seat.announce();
        let receipt = self.receipt(finish, tokens, charged);
        let signed = self.service.ledger.sign_next(receipt, &self.service.signer);
        if let Ok(signed) = signed {
            self.send(self.order.chunks.receipt(&signed)).await?;
        }
        self.send(self.order.chunks.done()).await
    }

    fn receipt(&self, finish: FinishReason, tokens: TokenCounts, charged: Nano) -> Receipt {
        let (service, order) = (&self.service, &self.order);
        let key = self.seat.key();
        Receipt {
            network: service.configuration.network,
            statement: order.attested.statement,
            boot_id: service.boot_id,
            class: EvidenceClass::Fresh,
            beacon: Freshness::ZERO,
            request: order.request,
            response: response_digest(&order.salt, &self.text),
            model: order.model.verity.model_digest(),
            image: service.deployment.image,
            sampling: order.sampling,
            tokens,
            prices: order.model.prices,
            charged,
            finish,
            channel: key.channel(),
            epoch: key.epoch(),
            sequence: 0,
            previous: ReceiptDigest::ZERO,
            host_time: order.attested.host_time(),
        }
    }

    /// Tells the client its account; from now on the clock runs.
    async fn tell(&mut self) -> Result<(), ClientGone> {
        let (tokens, charged) = self.seat.announce();
        self.told = Instant::now();
        self.send(self.order.chunks.progress(&tokens, charged))
            .await
    }

    async fn send(&self, event: Bytes) -> Result<(), ClientGone> {
        let sent = timeout(PATIENCE, self.events.send(event)).await;
        sent.map_err(|_| ClientGone)?.map_err(|_| ClientGone)
    }
}
