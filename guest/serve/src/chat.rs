//! The start of an answer: everything that can refuse it before the first byte of a stream.
//! `docs/spec/serving.md` §4. What happens after that is `delivery`.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response};
use messages::engine_ipc::{CallSyntax, Prompt};
use protocol::digest::{Salt, parse_hex};
use protocol::launch_configuration::ModelEntry;
use protocol::receipt::request_digest;
use protocol::serving::{CALLS, CALLS_HEADER, SALT_HEADER};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::account::PromptTokens;
use crate::api::{AnswerRequest, Kind};
use crate::body::{self, Answered};
use crate::connection::{Attested, Busy};
use crate::delivery::{Delivery, Order};
use crate::engine::{Answer, AnswerEvent, Wanted};
use crate::errors::Refusal;
use crate::service::Service;
use crate::sse::{Chunks, Shape, Told};
use crate::{headers, keys, vouchers};

/// The engine admits or refuses a request within this time.
const ADMISSION: Duration = Duration::from_secs(60);
/// Tokens that a chat template may add to a chat, and to each of its messages, calls and parts of
/// functions: what an engine claims beyond their bytes and these is not charged to anybody.
pub(crate) const TEMPLATE_TOKENS: usize = 512;
/// See `TEMPLATE_TOKENS`.
pub(crate) const MESSAGE_TOKENS: usize = 32;
/// Events that wait for the client to read.
pub(crate) const EVENTS: usize = 16;

/// Begins an answer to a chat or a text, or refuses it with the first reason in the order of the
/// specification.
pub(crate) async fn begin(
    service: &Arc<Service>,
    attested: Attested,
    (kind, head): (Kind, &HeaderMap),
    body: &[u8],
    busy: Busy,
) -> Result<Response<Answered>, Refusal> {
    let voucher = vouchers::from_header(head)?;
    let salt = salt(head)?;
    let request = AnswerRequest::parse(kind, body, &service.configuration.limits)?;
    let model = service.configuration.model(&request.model);
    let model = model.ok_or(Refusal::UnknownModel)?.clone();
    let permit = Arc::clone(&service.streams).try_acquire_owned();
    let permit = permit.map_err(|_| Refusal::TooManyStreams)?;
    let key = vouchers::admit(service, &voucher).await?;
    let seat = service.ledger.open(key, model.prices)?;
    let drawn = keys::draw().map_err(|_| Refusal::EngineUnavailable)?;
    let drawn = u64::from_le_bytes(drawn);
    let sampling = request.drawing.sampling(drawn, request.max_tokens);
    let most = most_prompt_tokens(&request.prompt);
    let most = most.min(service.configuration.limits.context_tokens);
    let shape = Shape {
        told: Told::Answer(kind),
        include_usage: request.include_usage,
        alternatives: request.alternatives,
    };
    let wanted = Wanted {
        client: busy.client(),
        prompt: request.prompt,
        stops: request.stops,
        biases: request.drawing.biases,
        alternatives: request.alternatives,
        form: request.form,
    };
    let mut answer = service.engine.begin(sampling, wanted)?;
    let (prompt, calls) = admitted(&mut answer, most).await?;
    let (events_in, events) = mpsc::channel(EVENTS);
    let order = Order {
        chunks: chunks(&model, &attested, shape)?,
        request: request_digest(&salt, body),
        salt,
        model,
        sampling,
        prompt,
        vectors: 0,
        attested,
    };
    let delivery = Delivery::new(Arc::clone(service), order, answer, seat, events_in);
    tokio::spawn(async move {
        let (tokens, charged) = delivery.run().await;
        busy.delivered(&tokens, charged);
        drop((permit, busy));
    });
    let mut response = body::events(events);
    if let Some(calls) = calls {
        let word = HeaderValue::from_static(word(calls));
        response.headers_mut().insert(CALLS_HEADER, word);
    }
    Ok(response)
}

/// How the specification calls a way of writing calls.
const fn word(calls: CallSyntax) -> &'static str {
    let [tagged, listed, bare] = CALLS;
    match calls {
        CallSyntax::Tagged => tagged,
        CallSyntax::Listed => listed,
        CallSyntax::Bare => bare,
    }
}

pub(crate) fn salt(head: &HeaderMap) -> Result<Salt, Refusal> {
    let text = headers::one(head, SALT_HEADER)?;
    let header = SALT_HEADER;
    parse_hex(text)
        .map(Salt)
        .map_err(|_| Refusal::HeaderInvalid { header })
}

/// No tokenizer makes more tokens than bytes.
fn most_prompt_tokens(prompt: &Prompt) -> u32 {
    let contents = prompt.contents().into_iter();
    let most = contents.fold(TEMPLATE_TOKENS, |sum, content| {
        let bytes = content.0.len();
        sum.saturating_add(bytes).saturating_add(MESSAGE_TOKENS)
    });
    u32::try_from(most).unwrap_or(u32::MAX)
}

/// The tokens of its prompt, and how calls are written in it.
pub(crate) async fn admitted(
    answer: &mut Answer,
    most: u32,
) -> Result<(PromptTokens, Option<CallSyntax>), Refusal> {
    let first = timeout(ADMISSION, answer.next()).await.ok().flatten();
    match first {
        Some(AnswerEvent::Admitted(tokens, cached, calls)) if tokens <= most => {
            let computed = tokens.saturating_sub(cached);
            Ok((PromptTokens { computed, cached }, calls))
        }
        Some(AnswerEvent::Refused(refusal, keyword)) => {
            Err(Refusal::of_engine(refusal, &keyword.0))
        }
        Some(
            AnswerEvent::Admitted(..)
            | AnswerEvent::Prefilled(_)
            | AnswerEvent::Token(..)
            | AnswerEvent::Vector(_)
            | AnswerEvent::Finished(..),
        )
        | None => Err(Refusal::EngineUnavailable),
    }
}

pub(crate) fn chunks(
    model: &ModelEntry,
    attested: &Attested,
    shape: Shape,
) -> Result<Chunks, Refusal> {
    let drawn = keys::draw().map_err(|_| Refusal::EngineUnavailable)?;
    Ok(Chunks {
        id: format!("{}{:032x}", shape.prefix(), u128::from_le_bytes(drawn)),
        created: attested.host_time(),
        model: model.name.clone(),
        shape,
    })
}
