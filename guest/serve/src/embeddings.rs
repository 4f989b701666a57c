//! Vectors of texts, as OpenAI's API asks for them: the request, parsed once and strictly, and
//! everything that can refuse it before the first byte of the answer. `docs/spec/serving.md` §4.8.
//! What happens after that is `delivery`, as with answers.

use std::sync::Arc;

use bounded_json::Json;
use http::{HeaderMap, Response};
use messages::engine_ipc::{Content, Input, MAX_INPUTS, MAX_PROMPT_BYTES, TokenIds};
use protocol::receipt::{Sampling, request_digest};
use tokio::sync::mpsc;

use crate::api::{optional, text, unsupported};
use crate::body::Answered;
use crate::chat::{self, EVENTS, MESSAGE_TOKENS, TEMPLATE_TOKENS};
use crate::connection::{Attested, Busy};
use crate::delivery::{Delivery, Order};
use crate::errors::Refusal;
use crate::sampling::whole;
use crate::service::Service;
use crate::sse::{Shape, Told};
use crate::{body, vouchers};

/// Limits of a body, beside its length: each token is a value.
const JSON: bounded_json::Limits = bounded_json::Limits {
    depth: 4,
    values: 160_000,
};

const INPUT: &str = "input";
const FORMAT: &str = "encoding_format";
const DIMENSIONS: &str = "dimensions";

/// What a receipt says of how vectors were sampled: they were not.
const UNSAMPLED: Sampling = Sampling {
    temperature_milli: 0,
    top_p_milli: 1000,
    top_k: 0,
    min_p_milli: 0,
    presence_milli: 0,
    frequency_milli: 0,
    seed: 0,
    max_tokens: 1,
};

/// What a client wants.
#[derive(Debug)]
pub struct EmbeddingsRequest {
    /// Name of the model.
    pub model: String,
    /// What vectors are wanted of.
    pub inputs: Vec<Input>,
    /// The width that they must have, if one was named.
    pub dimensions: Option<u32>,
}

impl EmbeddingsRequest {
    /// Parses the body of a request.
    ///
    /// # Errors
    /// A [`Refusal`] that names the member at fault.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let Json::Object(members) = bounded_json::parse(body, JSON)? else {
            return Err(Refusal::JsonMalformed { member: None });
        };
        let (mut model, mut inputs, mut dimensions) = (None, None, None);
        for (name, value) in members {
            match name.as_str() {
                "model" => model = Some(text(value, "model")?),
                INPUT => inputs = Some(read_inputs(value)?),
                // Vectors travel in one form; the client's port writes them as they were asked for.
                FORMAT => optional(value, encoding)?.unwrap_or(()),
                DIMENSIONS => dimensions = optional(value, width)?,
                other => return Err(unsupported(other)),
            }
        }
        let missing = |member| Refusal::MissingMember { member };
        Ok(Self {
            model: model.ok_or_else(|| missing("model"))?,
            inputs: inputs.ok_or_else(|| missing(INPUT))?,
            dimensions,
        })
    }
}

fn encoding(value: Json) -> Result<(), Refusal> {
    match text(value, FORMAT)?.as_str() {
        "float" | "base64" => Ok(()),
        _ => Err(Refusal::InvalidMember { member: FORMAT }),
    }
}

fn width(value: Json) -> Result<u32, Refusal> {
    let width = u32::try_from(whole(&value, DIMENSIONS)?).ok();
    let width = width.filter(|width| *width > 0);
    width.ok_or(Refusal::InvalidMember { member: DIMENSIONS })
}

/// A text, tokens, or a list of either.
fn read_inputs(value: Json) -> Result<Vec<Input>, Refusal> {
    let refused = || Refusal::InvalidMember { member: INPUT };
    let inputs = match value {
        Json::Text(text) => vec![Input::Text(Content(text))],
        Json::List(list) if matches!(list.first(), Some(Json::Whole(_))) => vec![tokens(list)?],
        Json::List(list) if list.len() > MAX_INPUTS => return Err(refused()),
        Json::List(list) => list.into_iter().map(input).collect::<Result<_, _>>()?,
        Json::Null | Json::Bool(_) | Json::Whole(_) | Json::Real(_) | Json::Object(_) => {
            return Err(refused());
        }
    };
    if inputs.is_empty() || inputs.iter().any(|input| input.bytes() == 0) {
        return Err(refused());
    }
    let bytes = |sum: usize, input: &Input| sum.saturating_add(input.bytes());
    if inputs.iter().fold(0, bytes) > MAX_PROMPT_BYTES {
        return Err(Refusal::MemberTooLong { member: INPUT });
    }
    Ok(inputs)
}

fn input(value: Json) -> Result<Input, Refusal> {
    match value {
        Json::Text(text) => Ok(Input::Text(Content(text))),
        Json::List(list) => tokens(list),
        Json::Null | Json::Bool(_) | Json::Whole(_) | Json::Real(_) | Json::Object(_) => {
            Err(Refusal::InvalidMember { member: INPUT })
        }
    }
}

fn tokens(list: Vec<Json>) -> Result<Input, Refusal> {
    let token = |value: Json| {
        let token = u32::try_from(whole(&value, INPUT)?);
        token.map_err(|_| Refusal::InvalidMember { member: INPUT })
    };
    let tokens = list.into_iter().map(token).collect::<Result<_, _>>()?;
    Ok(Input::Tokens(TokenIds(tokens)))
}

/// Begins to compute vectors, or refuses with the first reason in the order of the specification.
pub(crate) async fn begin(
    service: &Arc<Service>,
    attested: Attested,
    head: &HeaderMap,
    body: &[u8],
    busy: Busy,
) -> Result<Response<Answered>, Refusal> {
    let voucher = vouchers::from_header(head)?;
    let salt = chat::salt(head)?;
    let request = EmbeddingsRequest::parse(body)?;
    let model = service.configuration.model(&request.model);
    let model = model.ok_or(Refusal::UnknownModel)?.clone();
    let permit = Arc::clone(&service.streams).try_acquire_owned();
    let permit = permit.map_err(|_| Refusal::TooManyStreams)?;
    let key = vouchers::admit(service, &voucher).await?;
    let seat = service.ledger.open(key, model.prices)?;
    let context = service.configuration.limits.context_tokens;
    let most = most_tokens(&request.inputs, context);
    let inputs = request.inputs.len();
    let mut answer = service.engine.embed(request.inputs, request.dimensions)?;
    let (prompt, _) = chat::admitted(&mut answer, most).await?;
    let shape = Shape {
        told: Told::Vectors,
        include_usage: true,
        alternatives: None,
    };
    let (events_in, events) = mpsc::channel(EVENTS);
    let order = Order {
        chunks: chat::chunks(&model, &attested, shape)?,
        request: request_digest(&salt, body),
        salt,
        model,
        sampling: UNSAMPLED,
        prompt,
        vectors: inputs,
        attested,
    };
    let delivery = Delivery::new(Arc::clone(service), order, answer, seat, events_in);
    tokio::spawn(async move {
        let (tokens, charged) = delivery.run().await;
        busy.delivered(&tokens, charged);
        drop((permit, busy));
    });
    Ok(body::events(events))
}

/// No tokenizer makes more tokens than bytes, and no input is longer than the context.
fn most_tokens(inputs: &[Input], context: u32) -> u32 {
    let most = inputs.iter().fold(TEMPLATE_TOKENS, |sum, input| {
        sum.saturating_add(input.bytes())
            .saturating_add(MESSAGE_TOKENS)
    });
    let inputs = u32::try_from(inputs.len()).unwrap_or(u32::MAX);
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    most.min(context.saturating_mul(inputs))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;
    use proptest::prelude::*;

    fn parse(body: &str) -> Result<EmbeddingsRequest, Refusal> {
        EmbeddingsRequest::parse(body.as_bytes())
    }

    fn with(members: &str) -> Result<EmbeddingsRequest, Refusal> {
        parse(&format!("{{\"model\":\"m\",{members}}}"))
    }

    fn of_text(text: &str) -> Input {
        Input::Text(Content(text.to_owned()))
    }

    fn of_tokens(tokens: &[u32]) -> Input {
        Input::Tokens(TokenIds(tokens.to_vec()))
    }

    #[test]
    fn all_forms_of_an_input_are_taken() {
        for (input, expected) in [
            (r#""a b""#, vec![of_text("a b")]),
            (r#"["a","b"]"#, vec![of_text("a"), of_text("b")]),
            ("[7,0]", vec![of_tokens(&[7, 0])]),
            ("[[7],[1,2]]", vec![of_tokens(&[7]), of_tokens(&[1, 2])]),
        ] {
            let request = with(&format!("\"input\":{input}")).unwrap();
            assert_eq!(request.inputs, expected);
            assert_eq!(request.dimensions, None);
        }
        let request = with(r#""input":"a","encoding_format":"base64","dimensions":1024"#);
        assert_eq!(request.unwrap().dimensions, Some(1024));
        assert!(with(r#""input":"a","encoding_format":null,"dimensions":null"#).is_ok());
    }

    #[test]
    fn what_is_not_supported_is_refused_by_its_name() {
        let param = |members: &str| {
            let refusal = with(members).unwrap_err();
            assert_eq!(refusal.status().as_u16(), 400, "{members}");
            refusal.param().map(str::to_owned)
        };
        for (members, name) in [
            (r#""input":"""#, INPUT),
            (r#""input":[]"#, INPUT),
            (r#""input":["a",""]"#, INPUT),
            (r#""input":[[1],[]]"#, INPUT),
            (r#""input":[1,"a"]"#, INPUT),
            (r#""input":[["a"]]"#, INPUT),
            (r#""input":[-1]"#, INPUT),
            (r#""input":[4294967296]"#, INPUT),
            (r#""input":[1.5]"#, INPUT),
            (r#""input":{"a":1}"#, INPUT),
            (r#""input":null"#, INPUT),
            (r#""encoding_format":"float""#, INPUT),
            (r#""input":"a","encoding_format":"int8""#, FORMAT),
            (r#""input":"a","dimensions":0"#, DIMENSIONS),
            (r#""input":"a","dimensions":"8""#, DIMENSIONS),
            (r#""input":"a","user":"u""#, "user"),
            (r#""input":"a","stream":true"#, "stream"),
        ] {
            assert_eq!(param(members).as_deref(), Some(name), "{members}");
        }
    }

    #[test]
    fn inputs_are_bounded_in_number_and_length() {
        let texts = |count: usize| format!("\"input\":[{}]", vec!["\"a\""; count].join(","));
        let tokens = |count: usize| format!("\"input\":[{}]", vec!["1"; count].join(","));
        assert!(with(&texts(MAX_INPUTS)).is_ok());
        assert!(with(&texts(MAX_INPUTS + 1)).is_err());
        assert!(with(&tokens(MAX_PROMPT_BYTES / 4)).is_ok());
        let long = with(&tokens(MAX_PROMPT_BYTES / 4 + 1)).unwrap_err();
        assert_eq!(long, Refusal::MemberTooLong { member: INPUT });
        let long = format!("\"input\":\"{}\"", "x".repeat(MAX_PROMPT_BYTES + 1));
        assert_eq!(
            with(&long).unwrap_err(),
            Refusal::MemberTooLong { member: INPUT }
        );
        let deep = with("\"input\":[[[[1]]]]").unwrap_err();
        let member = Some(INPUT.to_owned());
        assert_eq!(deep, Refusal::JsonTooLarge { member });
    }

    #[test]
    fn an_engine_may_count_no_more_tokens_than_the_inputs_can_have() {
        let inputs = [of_text("abc"), of_tokens(&[1, 2])];
        assert_eq!(most_tokens(&inputs, 8192), 512 + 3 + 8 + 64);
        assert_eq!(most_tokens(&inputs, 16), 32);
    }

    proptest! {
        #[test]
        fn a_changed_byte_gives_a_request_within_the_limits_or_a_refusal(
            at in 0..90_usize, value: u8, end in 0..180_usize,
        ) {
            let body = r#"{"model":"m","input":[[1,22],"a",[4294967295]],"dimensions":8}"#;
            let mut body = body.as_bytes().to_vec();
            let at = at % body.len();
            body[at] = value;
            body.truncate(end);
            if let Ok(request) = EmbeddingsRequest::parse(&body) {
                prop_assert!((1..=MAX_INPUTS).contains(&request.inputs.len()));
                prop_assert!(request.inputs.iter().all(|input| input.bytes() > 0));
                prop_assert!(request.dimensions != Some(0));
            }
        }
    }
}
