//! One answer: the request goes out with a voucher, events come back, each progress event is
//! acknowledged, the receipt is verified and anchored. `docs/spec/serving.md`.
//!
//! Text is handed on before anything is signed for it: the client pays for what arrived.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use protocol::digest::Salt;
use protocol::launch_configuration::ModelEntry;
use protocol::receipt::{FinishReason, request_digest, response_digest};
use protocol::serving::{CALLS_HEADER, Progress, SALT_HEADER, VOUCHER_HEADER, VOUCHER_PATH};
use protocol::voucher::SignedVoucher;
use serde::Deserialize;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::calls::{CallReader, Syntax};
use super::events::{Chunk, Event, EventReader, StreamError, member_name, stable_code};
use super::spoken::Spoken;
use super::vectors::VectorCount;
use super::{AskError, Asked, ChatRequest, Probabilities, Till};
use crate::channel::RequestError;
use crate::payment::{
    Expected, StreamAccount, StreamId, StreamTerms, VerifiedReceipt, prompt_bound,
};
use crate::session::{Attester, Session};

/// An answer may pause this long: an emulated machine computes a long prompt slowly.
const PATIENCE: Duration = Duration::from_secs(600);
/// The other side answers a voucher within its own ten seconds for the host.
const VOUCHER_PATIENCE: Duration = Duration::from_secs(60);
/// An error's body is at most this long.
const MAX_ERROR_BYTES: usize = 16 * 1024;
/// Refused because a voucher sent a moment later overtook this one, or because this client's files
/// are older than what it signed; asked once more, from the total that is shown if it is our own.
const OUTDATED: &str = "payment-outdated";
/// Refused because another guest of the provider has the channel, or had it last: then this one has
/// it from now on, and takes the same voucher when it is asked again.
const LEASED: &str = "payment-channel-leased";

/// An answer whose receipt was verified and anchored.
#[derive(Debug)]
pub struct Settled {
    /// The receipt.
    pub receipt: VerifiedReceipt,
    /// Name of its file among the kept receipts.
    pub kept: String,
    /// Whether the server took the voucher with the new root. It keeps the amount either way.
    pub anchored: bool,
}

/// An answer that is being read. Dropped early, it is cancelled and costs what was acknowledged.
#[derive(Debug)]
pub struct Answering {
    attester: Attester,
    session: Arc<Session>,
    till: Arc<Till>,
    stream: StreamId,
    model: ModelEntry,
    request: ChatRequest,
    salt: Salt,
    spoken: Spoken,
    /// What is to be passed on before anything else comes.
    chunks: VecDeque<Chunk>,
    body: Incoming,
    reader: EventReader,
    events: VecDeque<Event>,
    /// The text so far, or the bytes of all vectors.
    text: Zeroizing<Vec<u8>>,
    vectors: Option<VectorCount>,
    finish: Option<FinishReason>,
    settled: Option<Settled>,
}

impl Answering {
    pub(super) async fn begin(
        attester: Attester,
        session: Arc<Session>,
        till: &Arc<Till>,
        model: &ModelEntry,
        request: &ChatRequest,
    ) -> Result<Self, AskError> {
        let salt = Salt(*attester.surroundings.random()?);
        let context = session.configuration().limits.context_tokens;
        let terms = terms(model, request, context);
        let place = Place {
            till,
            stream: till.begin(terms)?,
        };
        let mut response = send(&attester, &session, till, request, &salt).await?;
        if response.status() != StatusCode::OK {
            let shown = shown_voucher(response.headers());
            let refused = refusal(response).await;
            match (refused.code(), shown) {
                (OUTDATED, Some(shown)) => {
                    till.adopt(&shown)?;
                }
                (OUTDATED | LEASED, _) => {}
                (_, _) => return Err(refused),
            }
            response = send(&attester, &session, till, request, &salt).await?;
            if response.status() != StatusCode::OK {
                return Err(refusal(response).await);
            }
        }
        let calls = calls(request, &salt, response.headers())?;
        Ok(Self {
            stream: place.kept(),
            attester,
            session,
            till: Arc::clone(till),
            model: model.clone(),
            request: request.clone(),
            salt,
            spoken: Spoken::of(calls),
            chunks: VecDeque::new(),
            body: response.into_body(),
            reader: EventReader::default(),
            events: VecDeque::new(),
            text: Zeroizing::default(),
            vectors: request.vectors().map(VectorCount::of),
            finish: None,
            settled: None,
        })
    }

    /// The next chunk of the answer; `None` when it is whole and its receipt is settled.
    ///
    /// # Errors
    /// See [`AskError`]; the answer is then over.
    pub async fn next(&mut self) -> Result<Option<Chunk>, AskError> {
        loop {
            if let Some(chunk) = self.chunks.pop_front() {
                return Ok(Some(chunk));
            }
            match self.next_event().await? {
                Event::Chunk(chunk) => {
                    self.count(&chunk)?;
                    self.chunks.extend(self.spoken.chunks(chunk));
                }
                Event::Progress(progress) => self.acknowledge(&progress).await?,
                Event::Receipt(bytes) => self.settle(&bytes).await?,
                Event::Failed { code } => return Err(AskError::Failed { code }),
                Event::Done => {
                    return match self.settled {
                        Some(_) => Ok(None),
                        None => Err(AskError::NoReceipt),
                    };
                }
            }
        }
    }

    /// The settled receipt, once the answer is whole.
    #[must_use]
    pub const fn settled(&self) -> Option<&Settled> {
        self.settled.as_ref()
    }

    /// The same, taken out.
    pub(super) const fn take_settled(&mut self) -> Option<Settled> {
        self.settled.take()
    }

    /// What was received and signed so far.
    ///
    /// # Errors
    /// `UnknownStream` once it is settled.
    pub fn account(&self) -> Result<StreamAccount, AskError> {
        self.till.of_stream(self.stream)
    }

    /// What was asked for.
    #[must_use]
    pub const fn asked(&self) -> Asked {
        self.request.asked()
    }

    /// The connection on which it came.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    async fn next_event(&mut self) -> Result<Event, AskError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let frame = timeout(PATIENCE, self.body.frame())
                .await
                .map_err(|_| AskError::Silent {
                    seconds: PATIENCE.as_secs(),
                })?
                .ok_or(StreamError::BrokenOff)?
                .map_err(RequestError::Connection)?;
            if let Ok(bytes) = frame.into_data() {
                self.events.extend(self.reader.push(&bytes)?);
            }
        }
    }

    fn count(&mut self, chunk: &Chunk) -> Result<(), AskError> {
        if let Some(vectors) = &mut self.vectors {
            self.finish = vectors.take(chunk, &mut self.text)?;
            return Ok(());
        }
        if chunk.vector.is_some() {
            return Err(StreamError::Malformed.into());
        }
        let asked = self.request.alternatives();
        if !Probabilities::answer(chunk.probabilities, asked, chunk.text.is_some()) {
            return Err(StreamError::Malformed.into());
        }
        if let Some(text) = &chunk.text {
            self.till.record(self.stream)?;
            self.text.extend_from_slice(text.as_bytes());
        }
        if chunk.finish.is_some() {
            self.finish = chunk.finish;
        }
        match chunk.finish {
            Some(FinishReason::Stop) => self.till.end_token(self.stream),
            Some(FinishReason::Length | FinishReason::Cancelled) | None => Ok(()),
        }
    }

    async fn acknowledge(&mut self, progress: &Progress) -> Result<(), AskError> {
        // A stream may outlive the attestation it began under.
        self.session.renew_if_due(&self.attester).await?;
        let _order = self.till.order.lock().await;
        let now = self.attester.surroundings.now();
        let voucher = self.till.acknowledge(self.stream, progress, now)?;
        self.post(&voucher).await
    }

    async fn settle(&mut self, bytes: &[u8]) -> Result<(), AskError> {
        if self.settled.is_some() {
            return Err(StreamError::Malformed.into());
        }
        let _order = self.till.order.lock().await;
        let statements = self.session.channel().statements();
        let said = self.session.result().statement();
        let (channel, epoch) = self.till.channel();
        let expected = Expected {
            key: said.receipt_key,
            network: self.attester.deployment.network,
            statements: &statements,
            boot_id: said.boot_id,
            class: said.class,
            image: self.session.image(),
            model: self.model.verity.model_digest(),
            prices: self.model.prices,
            request: request_digest(&self.salt, self.request.body()),
            response: response_digest(&self.salt, &self.text),
            sampling: *self.request.sampling(),
            stream: self.till.of_stream(self.stream)?,
            finish: self.finish,
            channel,
            epoch,
        };
        let now = self.attester.surroundings.now();
        let (receipt, kept, voucher) =
            self.till
                .settle(self.stream, bytes, &expected, &self.salt, now)?;
        let anchored = self.post(&voucher).await.is_ok();
        self.settled = Some(Settled {
            receipt,
            kept,
            anchored,
        });
        Ok(())
    }

    async fn post(&self, voucher: &SignedVoucher) -> Result<(), AskError> {
        let now = self.attester.surroundings.now();
        let body = Bytes::from(voucher.encode());
        let channel = self.session.channel();
        let answer = channel.request(now, Method::POST, VOUCHER_PATH, HeaderMap::new(), body)?;
        let response =
            timeout(VOUCHER_PATIENCE, answer)
                .await
                .map_err(|_| AskError::Silent {
                    seconds: VOUCHER_PATIENCE.as_secs(),
                })??;
        if response.status().is_success() {
            return Ok(());
        }
        let ServerError { status, code, .. } = error_of(response).await;
        Err(AskError::VoucherRefused { status, code })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.till.abandon(self.stream);
    }
}

/// A stream's place in the account, given up unless an [`Answering`] takes it over.
struct Place<'t> {
    till: &'t Till,
    stream: StreamId,
}

impl Place<'_> {
    fn kept(self) -> StreamId {
        let stream = self.stream;
        core::mem::forget(self);
        stream
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.till.abandon(self.stream);
    }
}

/// What a request can come to at most. Of vectors, each input has a context of its own, and no
/// token follows the prompt.
fn terms(model: &ModelEntry, request: &ChatRequest, context: u32) -> StreamTerms {
    let (prompt, completion) = match request.vectors() {
        None => (context, request.sampling().max_tokens.unwrap_or(context)),
        Some(asked) => {
            let inputs = u32::try_from(asked.inputs).unwrap_or(u32::MAX);
            (context.saturating_mul(inputs), 0)
        }
    };
    StreamTerms {
        prices: model.prices,
        prompt_tokens: prompt_bound(request.body().len(), prompt),
        completion_tokens: completion,
    }
}

/// Sends the request with the voucher over the account's current total.
async fn send(
    attester: &Attester,
    session: &Session,
    till: &Till,
    request: &ChatRequest,
    salt: &Salt,
) -> Result<Response<Incoming>, AskError> {
    let answer = {
        let _order = till.order.lock().await;
        let now = attester.surroundings.now();
        let voucher = till.current(now)?;
        let headers = headers(&voucher, salt);
        let body = request.body().clone();
        let channel = session.channel();
        // Queued for sending here, within the order of vouchers; awaited outside it.
        channel.request(now, Method::POST, request.asked().path(), headers?, body)?
    };
    timeout(PATIENCE, answer)
        .await
        .map_err(|_| AskError::Silent {
            seconds: PATIENCE.as_secs(),
        })?
        .map_err(AskError::Request)
}

fn headers(voucher: &SignedVoucher, salt: &Salt) -> Result<HeaderMap, RequestError> {
    let voucher = STANDARD.encode(voucher.encode());
    let value = |text: &str| HeaderValue::from_str(text).map_err(http::Error::from);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(HeaderName::from_static(VOUCHER_HEADER), value(&voucher)?);
    headers.insert(
        HeaderName::from_static(SALT_HEADER),
        value(&salt.to_string())?,
    );
    Ok(headers)
}

/// The server says how calls are written where the request offers functions, and only there.
fn calls(
    request: &ChatRequest,
    salt: &Salt,
    headers: &HeaderMap,
) -> Result<Option<CallReader>, StreamError> {
    match (request.offered(), headers.get(CALLS_HEADER)) {
        (None, None) => Ok(None),
        (Some(offered), Some(word)) => {
            let syntax = Syntax::named(word.as_bytes()).ok_or(StreamError::Malformed)?;
            Ok(Some(CallReader::new(syntax, offered.clone(), *salt)))
        }
        (None, Some(_)) | (Some(_), None) => Err(StreamError::Malformed),
    }
}

/// The highest voucher that the payee knows, if the refusal shows one. Whose it is, the till says.
fn shown_voucher(headers: &HeaderMap) -> Option<SignedVoucher> {
    let bytes = STANDARD.decode(headers.get(VOUCHER_HEADER)?).ok()?;
    SignedVoucher::decode(&bytes).ok()
}

pub(super) async fn refusal(response: Response<Incoming>) -> AskError {
    let error = error_of(response).await;
    AskError::Refused {
        status: error.status,
        code: error.code,
        param: error.param,
        retry_after: error.retry_after,
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorMembers,
}

#[derive(Deserialize)]
struct ErrorMembers {
    code: Option<String>,
    param: Option<String>,
}

/// What is taken of an error of the other side; its message is not looked at.
struct ServerError {
    status: StatusCode,
    code: String,
    param: Option<String>,
    retry_after: Option<u32>,
}

async fn error_of(response: Response<Incoming>) -> ServerError {
    let status = response.status();
    let retry_after = response.headers().get(http::header::RETRY_AFTER);
    let retry_after = retry_after
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    let body = Limited::new(response.into_body(), MAX_ERROR_BYTES);
    let collected = timeout(VOUCHER_PATIENCE, body.collect()).await;
    let members = collected.ok().and_then(Result::ok).and_then(|whole| {
        let parsed: Option<ErrorBody> = serde_json::from_slice(&whole.to_bytes()).ok();
        parsed.map(|body| body.error)
    });
    let (code, param) = members.map_or((None, None), |members| (members.code, members.param));
    ServerError {
        status,
        code: stable_code(code.as_deref().unwrap_or_default()),
        param: param.as_deref().and_then(member_name),
        retry_after,
    }
}
