//! The local port speaks OpenAI's API to programs of this machine, and to nobody else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod peer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use client::local::{LocalPort, Notice};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use peer::{
    Answering, DEPOSIT, MODEL, PRICES, PROMPT_TOKENS, Peer, Script, Seen, Stage, WHOLE_COST, WORDS,
    enough, vector,
};
use protocol::nano::Nano;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

struct Port {
    address: SocketAddr,
    notices: mpsc::UnboundedReceiver<Notice>,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
    peer: Peer,
    stage: Stage,
}

impl Port {
    async fn open(script: Script, limit: Nano) -> Self {
        let stage = Stage::open();
        let peer = Peer::start(&stage.world, Answering::Honest, script).await;
        let chat = stage.chat(&peer, limit).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, notices) = mpsc::unbounded_channel();
        let port = LocalPort::new(Arc::new(chat), address.port(), sender);
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(port.serve(listener, async {
            let _stopped = stopped.await;
        }));
        Self {
            address,
            notices,
            stop,
            served,
            peer,
            stage,
        }
    }

    /// Sends a request on a connection of its own, which ends with the response.
    async fn begin(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> (StatusCode, String) {
        let response = self.begin(request).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Waits until the machine saw something.
    async fn until(&self, held: impl Fn(&Seen) -> bool) {
        for _ in 0..1000 {
            if held(&self.peer.seen.lock().unwrap()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it never happened");
    }

    fn request(&self, method: Method, path: &str, body: &Value) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("content-type", "application/json")
            .body(Full::from(body.to_string()))
            .unwrap()
    }

    async fn post(&self, body: &Value) -> (StatusCode, String) {
        self.send(self.request(Method::POST, "/v1/chat/completions", body))
            .await
    }
}

fn chat(stream: bool) -> Value {
    json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": "What is the capital of France?" }],
        "temperature": 0,
        "seed": 1,
        "max_tokens": 16,
        "stream": stream,
    })
}

fn code(body: &str) -> String {
    let value: Value = serde_json::from_str(body).unwrap();
    value["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn vectors_come_as_openai_clients_parse_them_and_cost_their_tokens() {
    let mut port = Port::open(Script::default(), enough()).await;
    let numbers = |at: usize| json!([at as f32 + 0.5, -1.0]);
    let coded = |at: usize| json!(STANDARD.encode(vector(at)));
    for (format, written) in [
        (Value::Null, numbers as fn(usize) -> Value),
        (json!("float"), numbers),
        (json!("base64"), coded),
    ] {
        let body = json!({ "model": MODEL, "input": ["a", "b"], "encoding_format": format });
        let request = port.request(Method::POST, "/v1/embeddings", &body);
        let (status, answer) = port.send(request).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let entry = |at| json!({ "object": "embedding", "index": at, "embedding": written(at) });
        let expected = json!({
            "object": "list",
            "data": [entry(0), entry(1)],
            "model": MODEL,
            "usage": { "prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS },
        });
        assert_eq!(answer, expected);
        let Some(Notice::Settled { charged, .. }) = port.notices.recv().await else {
            panic!("no receipt");
        };
        assert_eq!(
            charged,
            u128::from(PROMPT_TOKENS) * u128::from(PRICES.prompt)
        );
        let sent = port.peer.seen.lock().unwrap().bodies.pop().unwrap();
        assert_eq!(sent.trim_ascii_end(), body.to_string().as_bytes());
        assert_eq!(sent.len(), 1024);
    }
}

#[tokio::test]
async fn vectors_with_a_receipt_over_others_are_not_handed_on() {
    let script = Script {
        receipt: |receipt| receipt.response.0[0] ^= 1,
        ..Script::default()
    };
    let port = Port::open(script, enough()).await;
    let body = json!({ "model": MODEL, "input": "a" });
    let request = port.request(Method::POST, "/v1/embeddings", &body);
    let (status, answer) = port.send(request).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(code(&answer), "receipt-response");
}

#[tokio::test]
async fn a_request_for_vectors_that_could_not_be_checked_is_not_sent() {
    let port = Port::open(Script::default(), enough()).await;
    for (member, value) in [("input", json!([])), ("encoding_format", json!("int8"))] {
        let mut body = json!({ "model": MODEL, "input": "a" });
        body[member] = value;
        let request = port.request(Method::POST, "/v1/embeddings", &body);
        let (status, answer) = port.send(request).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["param"], member);
    }
    assert!(port.peer.seen.lock().unwrap().bodies.is_empty());
}

#[tokio::test]
async fn a_stream_holds_openai_chunks_only_and_ends_after_the_receipt() {
    let mut port = Port::open(Script::default(), enough()).await;
    let (status, body) = port.post(&chat(true)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.ends_with("data: [DONE]\n\n"));
    assert!(!body.contains("cocoon"), "events of ours are stripped");
    assert!(
        body.lines()
            .all(|line| line.is_empty() || line.starts_with("data: "))
    );
    let Some(Notice::Settled { charged, .. }) = port.notices.recv().await else {
        panic!("no receipt");
    };
    assert_eq!(charged, u128::from(WHOLE_COST));
}

#[tokio::test]
async fn a_whole_answer_is_put_together() {
    let port = Port::open(Script::default(), enough()).await;
    let (status, body) = port.post(&chat(false)).await;
    assert_eq!(status, StatusCode::OK);
    let value: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(value["object"], "chat.completion");
    assert_eq!(value["choices"][0]["message"]["content"], WORDS.concat());
    assert_eq!(value["choices"][0]["finish_reason"], "stop");
    let sent: Value = serde_json::from_slice(&port.peer.seen.lock().unwrap().bodies[0]).unwrap();
    assert_eq!(sent["stream"], true, "what is paid is always streamed");
}

/// A call over four tokens, the second of them empty.
fn calling(_seed: u64, word: &str) -> String {
    let said = match word {
        "Par" => "Wait.\n<tool_",
        "is" => "call>{\"name\":\"now\",\"argu",
        "." => "ments\":{\"zone\":\"}\"}}</tool_call>",
        _ => "",
    };
    said.to_owned()
}

fn offering(stream: bool) -> Value {
    let mut asked = chat(stream);
    asked["tools"] = json!([{"type": "function", "function": {"name": "now"}}]);
    asked
}

#[tokio::test]
async fn a_call_is_read_out_of_a_paid_and_receipted_text() {
    let script = Script {
        word: calling,
        calls: Some("tagged"),
        ..Script::default()
    };
    let mut port = Port::open(script, enough()).await;
    let function = json!({"name": "now", "arguments": "{\"zone\":\"}\"}"});
    let (status, body) = port.post(&offering(false)).await;
    assert_eq!(status, StatusCode::OK);
    let value: Value = serde_json::from_str(&body).unwrap();
    let choice = &value["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["content"], "Wait.");
    assert_eq!(choice["message"]["tool_calls"][0]["function"], function);
    let Some(Notice::Settled { charged, .. }) = port.notices.recv().await else {
        panic!("no receipt");
    };
    assert_eq!(charged, u128::from(WHOLE_COST));
    let (status, body) = port.post(&offering(true)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.ends_with("data: [DONE]\n\n") && !body.contains("<tool_"));
    let chunks = body.lines().filter_map(|line| line.strip_prefix("data: {"));
    let chunks: Vec<Value> = chunks
        .map(|rest| serde_json::from_str(&format!("{{{rest}")).unwrap())
        .collect();
    let called = chunks.iter().find_map(|chunk| {
        let calls = chunk.pointer("/choices/0/delta/tool_calls/0")?;
        Some((calls["index"].clone(), calls["function"].clone()))
    });
    assert_eq!(called, Some((json!(0), function)));
    let reasons = chunks.iter().filter_map(|chunk| {
        let reason = chunk.pointer("/choices/0/finish_reason")?;
        reason.as_str()
    });
    assert_eq!(reasons.collect::<Vec<_>>(), ["tool_calls"]);
}

#[tokio::test]
async fn refuses_an_answer_that_does_not_say_how_it_writes_calls_or_says_it_unasked() {
    for (calls, asked) in [
        (None, offering(false)),
        (Some("scribbled"), offering(false)),
        (Some("tagged"), chat(false)),
    ] {
        let script = Script {
            calls,
            ..Script::default()
        };
        let port = Port::open(script, enough()).await;
        let (_, body) = port.post(&asked).await;
        assert_eq!(code(&body), "stream-malformed");
    }
}

#[tokio::test]
async fn a_text_is_continued_in_openais_other_shape() {
    let mut port = Port::open(Script::default(), enough()).await;
    let asked = |stream: bool| {
        let mut asked = chat(stream);
        asked.as_object_mut().unwrap().remove("messages");
        asked["prompt"] = json!("The capital of France is");
        asked
    };
    let post = |body: Value| port.request(Method::POST, "/v1/completions", &body);
    let (status, body) = port.send(post(asked(false))).await;
    assert_eq!(status, StatusCode::OK);
    let value: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(value["object"], "text_completion");
    let expected = json!({
        "index": 0, "text": WORDS.concat(), "logprobs": null, "finish_reason": "stop",
    });
    assert_eq!(value["choices"], json!([expected]));
    let (status, body) = port.send(post(asked(true))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("text_completion") && body.ends_with("data: [DONE]\n\n"));
    let paths = port.peer.paths();
    assert!(
        paths.iter().any(|path| path == "/v1/completions"),
        "{paths:?}"
    );
    let Some(Notice::Settled { charged, .. }) = port.notices.recv().await else {
        panic!("no receipt");
    };
    assert_eq!(charged, u128::from(WHOLE_COST));
}

/// A machine that answers each seed with words of its own.
fn speaking_by_seed() -> Script {
    Script {
        word: |seed, word| format!("{word}{seed}"),
        ..Script::default()
    }
}

/// What such a machine says to this seed.
fn said_to(seed: u64) -> String {
    WORDS.map(|word| format!("{word}{seed}")).concat()
}

fn several(stream: bool, n: u64) -> Value {
    let mut asked = chat(stream);
    asked["n"] = n.into();
    asked
}

#[tokio::test]
async fn several_choices_are_joined_and_each_is_paid_by_a_receipt_of_its_own() {
    let mut port = Port::open(speaking_by_seed(), enough()).await;
    let (status, body) = port.post(&several(false, 3)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let value: Value = serde_json::from_str(&body).unwrap();
    let choices = value["choices"].as_array().unwrap();
    let found: Vec<_> = choices
        .iter()
        .map(|one| {
            (
                &one["index"],
                &one["message"]["content"],
                &one["finish_reason"],
            )
        })
        .collect();
    let texts = [1, 2, 3].map(|seed| json!(said_to(seed)));
    let stop = json!("stop");
    let indices = [json!(0), json!(1), json!(2)];
    let expected: Vec<_> = indices
        .iter()
        .zip(&texts)
        .map(|(i, t)| (i, t, &stop))
        .collect();
    assert_eq!(found, expected);
    let usage = json!({
        "prompt_tokens": 20, "completion_tokens": 15, "total_tokens": 35,
        "prompt_tokens_details": { "cached_tokens": 0 },
    });
    assert_eq!(
        value["usage"], usage,
        "the prompt counts once, as OpenAI's does"
    );
    let mut kept = Vec::new();
    for _ in 0..3 {
        let Some(Notice::Settled {
            charged,
            kept: name,
        }) = port.notices.recv().await
        else {
            panic!("no receipt");
        };
        assert_eq!(
            charged,
            u128::from(WHOLE_COST),
            "each choice pays for the prompt"
        );
        kept.push(name);
    }
    kept.sort();
    kept.dedup();
    assert_eq!(kept.len(), 3);
    let last = port.peer.vouchers().pop().unwrap().voucher.cumulative;
    assert_eq!(last, Nano::from_u64(3 * WHOLE_COST));
}

#[tokio::test]
async fn the_chunks_of_several_choices_carry_their_index_and_one_id() {
    let port = Port::open(speaking_by_seed(), enough()).await;
    let mut asked = several(true, 2);
    asked["stream_options"] = json!({ "include_usage": true });
    let (status, body) = port.post(&asked).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.ends_with("data: [DONE]\n\n") && !body.contains("cocoon"));
    let chunks: Vec<Value> = body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let mut texts = [String::new(), String::new()];
    let (last, chunks) = chunks.split_last().unwrap();
    for chunk in chunks {
        assert_eq!((&chunk["id"], &chunk["created"]), (&json!("c"), &json!(7)));
        let choice = &chunk["choices"][0];
        let index = usize::try_from(choice["index"].as_u64().unwrap()).unwrap();
        texts[index].push_str(choice["delta"]["content"].as_str().unwrap_or_default());
    }
    assert_eq!(texts, [said_to(1), said_to(2)]);
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 10);
    asked["stream_options"] = Value::Null;
    let (_, body) = port.post(&asked).await;
    assert!(!body.contains("usage"), "nobody asked");
}

#[tokio::test]
async fn a_text_is_continued_in_several_ways() {
    let port = Port::open(speaking_by_seed(), enough()).await;
    let mut asked = several(false, 2);
    asked.as_object_mut().unwrap().remove("messages");
    asked["prompt"] = json!("The capital of France is");
    let request = port.request(Method::POST, "/v1/completions", &asked);
    let (status, body) = port.send(request).await;
    assert_eq!(status, StatusCode::OK);
    let value: Value = serde_json::from_str(&body).unwrap();
    let texts = [0, 1].map(|index| value["choices"][index]["text"].clone());
    assert_eq!(texts, [json!(said_to(1)), json!(said_to(2))]);
}

#[tokio::test]
async fn one_choice_that_is_refused_refuses_the_request_before_anything_is_paid() {
    let script = Script {
        refused_seed: Some(2),
        ..Script::default()
    };
    let port = Port::open(script, enough()).await;
    for stream in [false, true] {
        let (status, body) = port.post(&several(stream, 3)).await;
        let refusal = (status.as_u16(), code(&body));
        assert_eq!(refusal, (429, "too-many-streams".to_owned()));
    }
    assert_eq!(port.peer.vouchers(), [], "nothing was acknowledged");
    let (status, _) = port.post(&chat(false)).await;
    assert_eq!(status, StatusCode::OK, "the port goes on");
}

#[tokio::test]
async fn one_choice_that_breaks_off_ends_the_answer_of_all() {
    let script = Script {
        broken_seed: Some(2),
        ..Script::default()
    };
    let port = Port::open(script, enough()).await;
    let (status, body) = port.post(&several(false, 2)).await;
    let refusal = (status.as_u16(), code(&body));
    assert_eq!(refusal, (422, "engine-unavailable".to_owned()));
    let (status, body) = port.post(&several(true, 2)).await;
    assert_eq!(status, StatusCode::OK, "it began well");
    assert!(!body.contains("[DONE]"));
    let last = body.trim_end().rsplit("data: ").next().unwrap();
    assert_eq!(code(last), "engine-unavailable");
}

#[tokio::test]
async fn refuses_more_choices_than_the_machine_runs_streams() {
    let port = Port::open(Script::default(), enough()).await;
    for (n, expected) in [
        (5, "choices-above-streams"),
        (9, "request-invalid-member"),
        (0, "request-invalid-member"),
    ] {
        let (status, body) = port.post(&several(false, n)).await;
        assert_eq!((status.as_u16(), code(&body).as_str()), (400, expected));
        let value: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["error"]["param"], "n");
    }
    assert_eq!(port.peer.paths().len(), 1, "the challenge");
}

#[tokio::test]
async fn whoever_leaves_cancels_all_choices() {
    let script = Script {
        holds: true,
        ..Script::default()
    };
    let port = Port::open(script, enough()).await;
    for (round, stream) in [true, false].into_iter().enumerate() {
        let all = (round + 1) * 3;
        let request = port.request(Method::POST, "/v1/chat/completions", &several(stream, 3));
        let sending = port.send(request);
        let all_begun = port.until(|seen| seen.held == all);
        tokio::select! {
            _ = sending => panic!("a held answer ended"),
            () = all_begun => {}
        }
        port.until(|seen| seen.cancelled == all).await;
    }
}

/// The reader has every word that came, so nothing is left that could not be sent to them: only
/// their leaving itself tells that nobody waits for the rest.
#[tokio::test]
async fn whoever_leaves_in_the_middle_of_a_stream_cancels_all_choices() {
    let script = Script {
        holds: true,
        ..Script::default()
    };
    let port = Port::open(script, enough()).await;
    let request = port.request(Method::POST, "/v1/chat/completions", &several(true, 3));
    let mut body = port.begin(request).await.into_body();
    let mut read = String::new();
    // Each choice's role and its words.
    while read.matches("data: ").count() < 3 * (1 + WORDS.len()) {
        let frame = body.frame().await.unwrap().unwrap();
        read.push_str(str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    port.until(|seen| (seen.held, seen.cancelled) == (3, 0))
        .await;
    drop(body);
    port.until(|seen| seen.cancelled == 3).await;
}

fn question_as_response(stream: bool) -> Value {
    json!({
        "model": MODEL,
        "input": "What is the capital of France?",
        "instructions": "Answer in one word.",
        "temperature": 0,
        "max_output_tokens": 16,
        "stream": stream,
    })
}

/// The script's receipts state the seed 1, which this API cannot ask for: any is taken.
#[tokio::test]
async fn a_response_is_a_chat_in_openais_newer_shape() {
    let mut port = Port::open(Script::default(), enough()).await;
    let request = port.request(Method::POST, "/v1/responses", &question_as_response(false));
    let (status, body) = port.send(request).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let value: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&value["object"], &value["status"]),
        (&json!("response"), &json!("completed"))
    );
    assert_eq!(value["output"][0]["role"], "assistant");
    let part = json!({
        "type": "output_text", "text": WORDS.concat(), "annotations": [], "logprobs": [],
    });
    assert_eq!(value["output"][0]["content"], json!([part]));
    let usage = json!({
        "input_tokens": 20, "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": 5, "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": 25,
    });
    assert_eq!(value["usage"], usage);
    assert_eq!(
        (&value["store"], &value["error"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(value["instructions"], "Answer in one word.");
    assert_eq!(value["max_output_tokens"], 16);
    let sent: Value = serde_json::from_slice(&port.peer.seen.lock().unwrap().bodies[0]).unwrap();
    assert_eq!(sent["messages"][0]["role"], "system");
    assert_eq!(
        sent["messages"][1]["content"],
        "What is the capital of France?"
    );
    let Some(Notice::Settled { charged, .. }) = port.notices.recv().await else {
        panic!("no receipt");
    };
    assert_eq!(charged, u128::from(WHOLE_COST));
}

/// The events of a stream of the Responses API: each one's name is its type, and they are numbered.
fn events(body: &str) -> Vec<Value> {
    let events: Vec<Value> = body
        .split_terminator("\n\n")
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let value: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(name.strip_prefix("event: "), value["type"].as_str());
            value
        })
        .collect();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    events
}

#[tokio::test]
async fn a_streamed_response_has_openais_events_in_their_order() {
    let port = Port::open(Script::default(), enough()).await;
    let request = port.request(Method::POST, "/v1/responses", &question_as_response(true));
    let (status, body) = port.send(request).await;
    assert_eq!(status, StatusCode::OK);
    let events = events(&body);
    let names: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let delta = "response.output_text.delta";
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        delta,
        delta,
        delta,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names, expected, "a token without text has no event");
    let text: String = events
        .iter()
        .filter_map(|event| event["delta"].as_str())
        .collect();
    assert_eq!(text, WORDS.concat());
    assert_eq!(events[7]["text"], text);
    let item = &events[2]["item"]["id"];
    assert!(events[3..9].iter().all(|event| event["item_id"] == *item));
    assert_eq!(events[9]["item"]["id"], *item);
    let (first, last) = (&events[0]["response"], &events[10]["response"]);
    assert_eq!(
        (&first["status"], &first["usage"]),
        (&json!("in_progress"), &Value::Null)
    );
    assert_eq!(first["id"], last["id"]);
    assert_eq!(last["status"], "completed");
    assert_eq!(last["output"], json!([events[9]["item"]]));
    assert_eq!(last["usage"]["output_tokens"], 5);
}

#[tokio::test]
async fn a_response_that_reaches_its_limit_is_incomplete() {
    let script = Script {
        finish: "length",
        ..Script::default()
    };
    let port = Port::open(script, enough()).await;
    let mut asked = question_as_response(true);
    asked["max_output_tokens"] = json!(4);
    let (_, body) = port
        .send(port.request(Method::POST, "/v1/responses", &asked))
        .await;
    let last = events(&body).pop().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    let response = &last["response"];
    assert_eq!(
        response["incomplete_details"]["reason"],
        "max_output_tokens"
    );
    assert_eq!(response["output"][0]["status"], "incomplete");
    assert_eq!(response["usage"]["output_tokens"], 4);
}

#[tokio::test]
async fn a_response_that_breaks_off_has_failed() {
    let script = Script {
        broken_seed: Some(1),
        ..Script::default()
    };
    let port = Port::open(script, enough()).await;
    let post = |stream| port.request(Method::POST, "/v1/responses", &question_as_response(stream));
    let (status, body) = port.send(post(true)).await;
    assert_eq!(status, StatusCode::OK, "it began well");
    let last = events(&body).pop().unwrap();
    assert_eq!(last["type"], "response.failed");
    assert_eq!(last["response"]["status"], "failed");
    assert_eq!(last["response"]["error"]["code"], "engine-unavailable");
    let (status, body) = port.send(post(false)).await;
    let refusal = (status.as_u16(), code(&body));
    assert_eq!(refusal, (422, "engine-unavailable".to_owned()));
}

#[tokio::test]
async fn a_response_names_what_it_does_not_take_before_anything_is_sent() {
    let port = Port::open(Script::default(), enough()).await;
    for (member, value) in [
        ("store", json!(true)),
        ("tools", json!([{ "type": "function" }])),
    ] {
        let mut asked = question_as_response(false);
        asked[member] = value;
        let request = port.request(Method::POST, "/v1/responses", &asked);
        let (status, body) = port.send(request).await;
        let refusal = (status.as_u16(), code(&body));
        assert_eq!(refusal, (400, "unsupported-member".to_owned()));
        let value: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["error"]["param"], member);
    }
    assert_eq!(port.peer.paths().len(), 1, "the challenge");
}

/// A token that is certain, and one alternative.
fn told(word: &str) -> Value {
    let token = json!({ "token": word, "logprob": -0.25, "bytes": word.as_bytes() });
    let mut taken = token.clone();
    taken["top_logprobs"] = json!([token]);
    json!({ "content": [taken], "refusal": null })
}

#[tokio::test]
async fn probabilities_are_gathered_where_they_were_asked_for() {
    let script = Script {
        logprobs: told,
        ..Script::default()
    };
    let port = Port::open(script, enough()).await;
    let mut asked = chat(false);
    asked["logprobs"] = json!(true);
    asked["top_logprobs"] = json!(1);
    let (status, body) = port.post(&asked).await;
    assert_eq!(status, StatusCode::OK);
    let value: Value = serde_json::from_str(&body).unwrap();
    let content = value["choices"][0]["logprobs"]["content"].as_array();
    let tokens: Vec<_> = content
        .unwrap()
        .iter()
        .map(|one| one["token"].as_str().unwrap())
        .collect();
    assert_eq!(tokens, WORDS);
    // Nobody asked, or for less: then it is not what the specification says, and nothing is paid.
    for unasked in [json!(false), json!(null)] {
        asked["logprobs"] = unasked;
        let (_, body) = port.post(&asked).await;
        assert_eq!(code(&body), "stream-malformed");
    }
    asked["logprobs"] = json!(true);
    asked["top_logprobs"] = json!(0);
    let (_, body) = port.post(&asked).await;
    assert_eq!(code(&body), "stream-malformed");
}

#[tokio::test]
async fn models_are_those_of_the_attested_configuration() {
    let port = Port::open(Script::default(), enough()).await;
    let get = |path: &str| port.request(Method::GET, path, &Value::Null);
    let (status, body) = port.send(get("/v1/models")).await;
    assert_eq!(status, StatusCode::OK);
    let value: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(value["data"][0]["id"], MODEL);
    let (status, _) = port.send(get(&format!("/v1/models/{MODEL}"))).await;
    assert_eq!(status, StatusCode::OK);
    let (status, body) = port.send(get("/v1/models/other")).await;
    assert_eq!(
        (status, code(&body)),
        (StatusCode::NOT_FOUND, "model_not_found".to_owned())
    );
}

#[tokio::test]
async fn is_healthy_while_a_machine_is_attested_and_can_answer() {
    let port = Port::open(Script::default(), enough()).await;
    let get = port.request(Method::GET, "/health", &Value::Null);
    assert_eq!(
        port.send(get).await,
        (StatusCode::OK, r#"{"status":"ok"}"#.to_owned())
    );
    let post = port.request(Method::POST, "/health", &Value::Null);
    assert_eq!(port.send(post).await.0, StatusCode::METHOD_NOT_ALLOWED);
    let script = Script {
        without_engine: true,
        ..Script::default()
    };
    let port = Port::open(script, enough()).await;
    let get = port.request(Method::GET, "/health", &Value::Null);
    let (status, body) = port.send(get).await;
    let refusal = (status.as_u16(), code(&body));
    assert_eq!(refusal, (503, "engine-unavailable".to_owned()));
}

#[tokio::test]
async fn metrics_tell_what_was_asked_and_paid_and_how_old_the_evidence_is() {
    let port = Port::open(Script::default(), enough()).await;
    let scrape = async || {
        let get = port.request(Method::GET, "/metrics", &Value::Null);
        let (status, text) = port.send(get).await;
        assert_eq!(status, StatusCode::OK);
        text
    };
    let has = |text: &str, line: &str| text.lines().any(|found| found == line);
    let before = scrape().await;
    for line in [
        "cocoon_answers_total 0",
        "cocoon_attested 1",
        "cocoon_evidence_age_seconds 0",
    ] {
        assert!(has(&before, line), "{line}: {before}");
    }
    assert_eq!(
        port.peer.paths().len(),
        1,
        "a look at it asks the machine for nothing"
    );
    port.stage.world.advance(7);
    let (status, _) = port.post(&several(false, 2)).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = port.post(&json!({})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let after = scrape().await;
    let paid = 2 * WHOLE_COST;
    for line in [
        "# TYPE cocoon_requests_total counter",
        "cocoon_requests_total{path=\"/v1/chat/completions\"} 2",
        "cocoon_answers_total 2",
        "cocoon_refusals_total 1",
        "cocoon_tokens_total{class=\"prompt\"} 40",
        "cocoon_tokens_total{class=\"completion\"} 10",
        &format!("cocoon_charged_nano_total {paid}"),
        &format!("cocoon_channel_signed_nano {paid}"),
        &format!("cocoon_channel_deposit_nano {DEPOSIT}"),
        "cocoon_evidence_age_seconds 7",
    ] {
        assert!(has(&after, line), "{line}: {after}");
    }
}

#[tokio::test]
async fn refuses_web_pages_and_other_names_before_anything_is_sent() {
    let port = Port::open(Script::default(), enough()).await;
    let mut page = port.request(Method::POST, "/v1/chat/completions", &chat(true));
    page.headers_mut()
        .insert("origin", "https://example.org".parse().unwrap());
    let mut rebound = port.request(Method::POST, "/v1/chat/completions", &chat(true));
    rebound
        .headers_mut()
        .insert("host", "example.org".parse().unwrap());
    for request in [page, rebound] {
        let (status, body) = port.send(request).await;
        assert_eq!(
            (status, code(&body)),
            (StatusCode::FORBIDDEN, "origin-refused".to_owned())
        );
    }
    assert_eq!(port.peer.paths().len(), 1, "the challenge");
}

#[tokio::test]
async fn every_refusal_has_openais_shape_and_a_stable_code() {
    let port = Port::open(Script::default(), enough()).await;
    let mut other_model = chat(true);
    other_model["model"] = json!("other");
    for (body, expected) in [
        (json!([]), (400, "request-malformed")),
        (json!({ "messages": [] }), (400, "request-invalid-member")),
        (other_model, (404, "model_not_found")),
    ] {
        let (status, text) = port.post(&body).await;
        assert_eq!((status.as_u16(), code(&text).as_str()), expected);
    }
    let (status, text) = port
        .send(port.request(Method::POST, "/v1/audio/speech", &json!({})))
        .await;
    assert_eq!(
        (status.as_u16(), code(&text).as_str()),
        (404, "unknown-path")
    );
    let (status, text) = port
        .send(port.request(Method::GET, "/v1/chat/completions", &json!({})))
        .await;
    assert_eq!(
        (status.as_u16(), code(&text).as_str()),
        (405, "wrong-method")
    );
}

#[tokio::test]
async fn a_price_above_the_limit_is_402_and_nothing_was_sent() {
    let port = Port::open(Script::default(), Nano::from_u64(1)).await;
    let (status, body) = port.post(&chat(true)).await;
    assert_eq!(
        (status.as_u16(), code(&body).as_str()),
        (402, "price-above-limit")
    );
    assert_eq!(port.peer.paths().len(), 1, "the challenge");
}

#[tokio::test]
async fn a_lie_in_the_middle_of_a_stream_ends_it_with_an_error_event() {
    let lying = Script {
        progress: |event| event.completion_tokens += 1,
        ..Script::default()
    };
    let port = Port::open(lying, enough()).await;
    let (status, body) = port.post(&chat(true)).await;
    assert_eq!(status, StatusCode::OK, "it began well");
    assert!(!body.contains("[DONE]"));
    let last = body.trim_end().rsplit("data: ").next().unwrap();
    assert_eq!(code(last), "account-overclaimed");
}

#[tokio::test]
async fn stops_when_it_is_asked_to() {
    let port = Port::open(Script::default(), enough()).await;
    port.stop.send(()).unwrap();
    port.served.await.unwrap();
    assert!(TcpStream::connect(port.address).await.is_err());
}
