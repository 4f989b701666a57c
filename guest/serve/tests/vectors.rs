//! Vectors, paid for as prompts are: told when the prompt is acknowledged, to a receipt over them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod stage;

use std::time::Duration;

use http::StatusCode;
use messages::engine_ipc::{EngineRequest, Input, TokenIds};
use protocol::nano::Nano;
use protocol::receipt::{FinishReason, SignedReceipt, request_digest, response_digest};
use protocol::serving::METRICS_PATH;
use serde_json::{Value, json};
use stage::client::{Client, Event, Payer, SALT, Stream, code};
use stage::{MODEL, PRICES, PROMPT, Stage, vector};
use tokio::time::timeout;

fn request(input: Value) -> Value {
    json!({ "model": MODEL, "input": input, "encoding_format": "float" })
}

/// What came after the prompt was acknowledged.
struct Heard {
    vectors: Vec<(u64, Vec<u8>)>,
    usage: Value,
    errors: Vec<String>,
    receipt: Option<Box<SignedReceipt>>,
    charged: u64,
}

/// Reads to the end, every progress acknowledged at once; none of it paid before.
async fn hear(client: &mut Client, payer: &Payer, mut stream: Stream) -> Heard {
    let mut heard = Heard {
        vectors: Vec::new(),
        usage: Value::Null,
        errors: Vec::new(),
        receipt: None,
        charged: 0,
    };
    while let Some(event) = stream.next().await {
        match event {
            Event::Vector(at, bytes) => heard.vectors.push((at, bytes)),
            Event::Progress(progress) => {
                heard.charged = progress.charged.parse().unwrap();
                let (status, _) = client.pay(&payer.voucher(heard.charged)).await;
                assert_eq!(status, StatusCode::NO_CONTENT);
            }
            Event::Usage(usage) => heard.usage = usage,
            Event::Receipt(receipt) => heard.receipt = Some(receipt),
            Event::Error(code) => heard.errors.push(code),
            Event::Done => {}
            Event::Text(_) | Event::Told(..) | Event::Finish(_) => panic!("no answer: {event:?}"),
        }
    }
    heard
}

#[tokio::test]
async fn vectors_are_paid_by_their_tokens_and_named_in_the_receipt() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let body = request(json!(["one text", [5, 6, 7]]));
    let stream = client.embed(&payer.voucher(0), &body).await.unwrap();
    let heard = hear(&mut client, &payer, stream).await;
    assert_eq!(heard.vectors, [(0, vector(0)), (1, vector(1))]);
    let tokens = 2 * PROMPT;
    assert_eq!(heard.charged, u64::from(tokens) * PRICES.prompt);
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    assert_eq!(heard.usage, usage);
    let signed = heard.receipt.unwrap();
    let receipt = signed.receipt;
    let counts = (
        receipt.tokens.prompt,
        receipt.tokens.cached,
        receipt.tokens.completion,
    );
    assert_eq!(counts, (tokens, 0, 0));
    assert_eq!(receipt.charged, Nano::from_u64(heard.charged));
    assert_eq!(receipt.finish, FinishReason::Stop);
    let sampling = receipt.sampling;
    assert_eq!((sampling.seed, sampling.max_tokens), (0, 1));
    let body = body.to_string();
    assert_eq!(receipt.request, request_digest(&SALT, body.as_bytes()));
    let all = [vector(0), vector(1)].concat();
    assert_eq!(receipt.response, response_digest(&SALT, &all));
    let seen = stage.seen.lock().unwrap();
    let EngineRequest::Embed(embed) = &seen.engine[0] else {
        panic!("not a request for vectors");
    };
    assert_eq!(embed.inputs[1], Input::Tokens(TokenIds(vec![5, 6, 7])));
}

#[tokio::test]
async fn nothing_is_told_before_the_prompt_is_acknowledged() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let body = request(json!("text"));
    let mut stream = client.embed(&payer.voucher(0), &body).await.unwrap();
    let progress = stream.progress().await;
    assert_eq!(progress.prompt_tokens, PROMPT);
    let waited = timeout(Duration::from_millis(300), stream.next()).await;
    assert!(waited.is_err(), "told before it was acknowledged");
    let due = progress.charged.parse().unwrap();
    client.pay(&payer.voucher(due)).await;
    assert_eq!(stream.next().await, Some(Event::Vector(0, vector(0))));
}

#[tokio::test]
async fn an_engine_that_tells_too_early_too_little_or_too_much_loses_the_stream() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    for (mark, first, told) in [(9, "hasty", 0), (10, "few", 1), (11, "many", 2)] {
        let payer = Payer::new(mark);
        let body = request(json!([first, "text"]));
        let stream = client.embed(&payer.voucher(0), &body).await.unwrap();
        let heard = hear(&mut client, &payer, stream).await;
        assert_eq!(heard.errors, ["engine-unavailable"], "{first}");
        assert_eq!(heard.vectors.len(), told, "{first}");
        let receipt = heard.receipt.unwrap().receipt;
        assert_eq!(receipt.finish, FinishReason::Cancelled);
    }
}

#[tokio::test]
async fn what_no_vector_can_be_of_is_refused_by_name_and_nothing_of_it_is_repeated() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let with = |member: &str, value: Value| {
        let mut body = request(json!("secret"));
        body[member] = value;
        body
    };
    for (body, status, expected) in [
        (request(json!("too long")), 400, "context_length_exceeded"),
        (
            request(json!("in numbers only")),
            400,
            "embedding_input_token",
        ),
        (request(json!("a chat's")), 400, "embeddings_not_supported"),
        (request(json!("")), 400, "invalid-member"),
        (
            with("dimensions", json!(3)),
            400,
            "dimensions_not_supported",
        ),
        (
            with("encoding_format", json!("secret")),
            400,
            "invalid-member",
        ),
        (with("secret of mine", json!(1)), 400, "unsupported-member"),
        (with("model", json!("secret")), 404, "model_not_found"),
    ] {
        let refused = client.embed(&payer.voucher(0), &body).await.err().unwrap();
        assert_eq!((refused.0.as_u16(), refused.1.as_str()), (status, expected));
        let request = stage::client::paid_request(
            protocol::serving::EMBEDDINGS_PATH,
            &payer.voucher(0),
            body.to_string().into_bytes(),
        );
        let (_, answer) = client.whole(request).await;
        assert_eq!(code(&answer), expected);
        assert!(!String::from_utf8_lossy(&answer).contains("secret"));
    }
    let (_, metrics) = client.get(METRICS_PATH).await;
    assert!(!String::from_utf8_lossy(&metrics).contains("secret"));
}
