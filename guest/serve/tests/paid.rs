//! The paid answer: tokens out as vouchers come in, to a receipt that says what happened.
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
use messages::engine_ipc::{Content, EngineRequest, Prompt};
use messages::host_control::{ServeEvent, StopReason, VoucherDecision};
use protocol::digest::ReceiptDigest;
use protocol::nano::Nano;
use protocol::receipt::{FinishReason, SignedReceipt, request_digest, response_digest};
use protocol::serving::{METRICS_PATH, VOUCHER_PATH};
use protocol::ton::NetworkId;
use serde_json::Value;
use stage::client::{Client, Event, Payer, SALT, Stream, code, question};
use stage::{CACHED, HOST_TIME, PRICES, PROMPT, Stage, WORDS};
use tokio::time::timeout;

/// What the prompt of every request costs.
const PROMPT_COST: u64 = 15;
/// What an answer to its end costs: the prompt, ten words and the end token.
const WHOLE_COST: u64 = PROMPT_COST + 110;

/// An answer read to its end, every progress acknowledged at once.
struct Heard {
    text: String,
    events: Vec<Event>,
    receipt: Option<Box<SignedReceipt>>,
    charged: u64,
}

/// Reads to the end; `paid` is what the channel owed before this stream.
async fn hear(client: &mut Client, payer: &Payer, paid: u64, mut stream: Stream) -> Heard {
    let mut heard = Heard {
        text: String::new(),
        events: Vec::new(),
        receipt: None,
        charged: 0,
    };
    while let Some(event) = stream.next().await {
        match &event {
            Event::Text(text) | Event::Told(text, _) => heard.text.push_str(text),
            Event::Progress(progress) => {
                heard.charged = progress.charged.parse().unwrap();
                let (status, _) = client.pay(&payer.voucher(paid + heard.charged)).await;
                assert_eq!(status, StatusCode::NO_CONTENT);
            }
            Event::Receipt(receipt) => heard.receipt = Some(receipt.clone()),
            Event::Vector(..)
            | Event::Finish(_)
            | Event::Usage(_)
            | Event::Error(_)
            | Event::Done => {}
        }
        heard.events.push(event);
    }
    heard
}

fn words(count: u32) -> String {
    (0..count).map(stage::word).collect()
}

#[tokio::test]
async fn probabilities_come_with_the_tokens_and_cost_nothing_more() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let mut body = question(100);
    body["logprobs"] = Value::Bool(true);
    body["top_logprobs"] = 2.into();
    let stream = client.chat(&payer.voucher(0), &body).await.unwrap();
    let heard = hear(&mut client, &payer, 0, stream).await;
    assert_eq!((heard.text, heard.charged), (words(WORDS), WHOLE_COST));
    let told: Vec<_> = heard
        .events
        .iter()
        .filter_map(|event| {
            let Event::Told(text, told) = event else {
                return None;
            };
            Some((text.clone(), told["content"][0].clone()))
        })
        .collect();
    assert_eq!(told.len(), WORDS as usize);
    for (text, taken) in told {
        assert_eq!(taken["token"], text);
        assert_eq!(taken["logprob"], 0.0);
        assert_eq!(taken["bytes"].as_array().unwrap().len(), text.len());
        let others = taken["top_logprobs"].as_array().unwrap();
        let figures: Vec<_> = others.iter().map(|one| one["logprob"].as_f64()).collect();
        assert_eq!(figures, [Some(-1e-6), Some(-2e-6)]);
    }
}

#[tokio::test]
async fn a_text_is_continued_and_paid_like_a_chat() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let mut body = question(100);
    body.as_object_mut().unwrap().remove("messages");
    body["prompt"] = "Once upon a time".into();
    let stream = client.continued(&payer.voucher(0), &body).await.unwrap();
    let heard = hear(&mut client, &payer, 0, stream).await;
    assert_eq!((heard.text, heard.charged), (words(WORDS), WHOLE_COST));
    assert!(heard.events.contains(&Event::Finish("stop".to_owned())));
    let receipt = heard.receipt.unwrap().receipt;
    assert_eq!(receipt.tokens.completion, WORDS + 1);
    let body = body.to_string();
    assert_eq!(receipt.request, request_digest(&SALT, body.as_bytes()));
    let seen = stage.seen.lock().unwrap();
    let EngineRequest::Start(start) = &seen.engine[0] else {
        panic!("not a start");
    };
    assert_eq!(
        start.prompt,
        Prompt::Text(Content("Once upon a time".to_owned()))
    );
}

/// What the model says of calls is text here: a client makes calls of it.
#[tokio::test]
async fn an_answer_that_may_call_says_how_and_is_streamed_as_text() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let mut body = question(100);
    body["tools"] = serde_json::json!([{"type": "function", "function": {"name": "now"}}]);
    let stream = client.chat(&payer.voucher(0), &body).await.unwrap();
    assert_eq!(stream.calls.as_deref(), Some("tagged"));
    let heard = hear(&mut client, &payer, 0, stream).await;
    assert_eq!((heard.text, heard.charged), (words(WORDS), WHOLE_COST));
    body["tool_choice"] = "none".into();
    let stream = client.chat(&payer.voucher(WHOLE_COST), &body).await;
    assert_eq!(stream.unwrap().calls, None);
    let seen = stage.seen.lock().unwrap();
    let EngineRequest::Start(start) = &seen.engine[0] else {
        panic!("not a start");
    };
    let Prompt::Chat { tools, .. } = &start.prompt else {
        panic!("not a chat");
    };
    assert_eq!(tools[0].name.as_str(), "now");
}

#[tokio::test]
async fn an_answer_is_streamed_paid_and_receipted() {
    let stage = Stage::open();
    let mut client = Client::connect(&stage.path).await;
    let evidence = client.attest(0).await;
    let payer = Payer::new(9);
    let body = question(100);
    let stream = client.chat(&payer.voucher(0), &body).await.unwrap();
    let heard = hear(&mut client, &payer, 0, stream).await;

    assert_eq!(heard.text, words(WORDS));
    assert_eq!(heard.charged, WHOLE_COST);
    let receipt = heard.receipt.unwrap();
    let receipt = receipt.verify(&evidence.statement.receipt_key).unwrap();
    assert_eq!(receipt.statement, evidence.statement.digest());
    assert_eq!(
        receipt.request,
        request_digest(&SALT, body.to_string().as_bytes())
    );
    assert_eq!(
        receipt.response,
        response_digest(&SALT, heard.text.as_bytes())
    );
    assert_eq!(
        (receipt.tokens.prompt, receipt.tokens.completion),
        (PROMPT, WORDS + 1)
    );
    assert_eq!(
        (receipt.prices, receipt.charged),
        (PRICES, Nano::from_u64(WHOLE_COST))
    );
    assert_eq!(
        (receipt.finish, receipt.sampling.max_tokens),
        (FinishReason::Stop, 100)
    );
    assert_eq!((receipt.channel, receipt.epoch), (payer.channel, 1));
    assert_eq!(
        (receipt.sequence, receipt.previous),
        (0, ReceiptDigest::ZERO)
    );
    assert!((HOST_TIME..HOST_TIME + 60).contains(&receipt.host_time));
    assert_eq!(stage.seen.lock().unwrap().vouchers.len(), 1 + 4);
}

/// A connection's own metrics, less the age of its evidence.
async fn metrics(client: &mut Client) -> Vec<String> {
    let (status, text) = client.get(METRICS_PATH).await;
    assert_eq!((status, text.len() % 4096), (StatusCode::OK, 0));
    let text = String::from_utf8(text.to_vec()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter(|line| !line.starts_with("cocoon_evidence_age_seconds "))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn metrics_tell_a_client_of_its_own_requests_and_of_nobody_elses() {
    let stage = Stage::open();
    let mut other = Client::attested(&stage.path).await;
    let mut fresh = Client::attested(&stage.path).await;
    let before = metrics(&mut fresh).await;
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let stream = client.chat(&payer.voucher(0), &question(100)).await;
    hear(&mut client, &payer, 0, stream.unwrap()).await;
    let expected = [
        "cocoon_connection_answers_total 1".to_owned(),
        format!("cocoon_connection_tokens_total{{class=\"prompt\"}} {PROMPT}"),
        format!(
            "cocoon_connection_tokens_total{{class=\"completion\"}} {}",
            WORDS + 1
        ),
        format!("cocoon_connection_delivered_nano_total {WHOLE_COST}"),
    ];
    // The last event may be read a moment before the answer is counted.
    let mut own = metrics(&mut client).await;
    for _ in 0..500 {
        if expected.iter().all(|line| own.contains(line)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        own = metrics(&mut client).await;
    }
    for line in &expected {
        assert!(own.contains(line), "{line}: {own:?}");
    }
    let elsewhere = metrics(&mut other).await;
    assert_eq!(
        elsewhere, before,
        "another connection sees the same as before"
    );
}

#[tokio::test]
async fn the_events_come_in_the_order_of_the_specification() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let stream = client.chat(&payer.voucher(0), &question(6)).await.unwrap();
    let heard = hear(&mut client, &payer, 0, stream).await;
    let names: Vec<_> = heard
        .events
        .iter()
        .map(|event| match event {
            Event::Text(_) | Event::Told(..) => "text",
            Event::Finish(reason) => reason.as_str(),
            Event::Vector(..) => "vector",
            Event::Usage(_) => "usage",
            Event::Progress(_) => "progress",
            Event::Receipt(_) => "receipt",
            Event::Error(_) => "error",
            Event::Done => "done",
        })
        .collect();
    assert_eq!(
        names,
        [
            "progress", "text", "text", "text", "text", "progress", "text", "text", "length",
            "usage", "progress", "receipt", "done"
        ]
    );
    let usage = heard.events.into_iter().find_map(|event| {
        if let Event::Usage(usage) = event {
            return Some(usage);
        }
        None
    });
    let expected: Value = serde_json::from_str(
        r#"{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11,
            "prompt_tokens_details":{"cached_tokens":0}}"#,
    )
    .unwrap();
    assert_eq!(usage, Some(expected));
}

#[tokio::test]
async fn prompt_tokens_from_before_have_their_own_class_and_price_everywhere() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let mut body = question(2);
    body["messages"][0]["content"] = "again".into();
    let stream = client.chat(&payer.voucher(0), &body).await.unwrap();
    let heard = hear(&mut client, &payer, 0, stream).await;
    let first = heard.events.iter().find_map(|event| {
        let Event::Progress(progress) = event else {
            return None;
        };
        Some(progress.clone())
    });
    let first = first.unwrap();
    let computed = PROMPT - CACHED;
    assert_eq!(
        (first.prompt_tokens, first.cached_tokens),
        (computed, CACHED)
    );
    // Two at 3 and three at 1, then two words.
    assert_eq!((first.charged.as_str(), heard.charged), ("9", 29));
    let usage = heard.events.iter().find_map(|event| {
        let Event::Usage(usage) = event else {
            return None;
        };
        Some(usage.clone())
    });
    let expected: Value = serde_json::from_str(
        r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,
            "prompt_tokens_details":{"cached_tokens":3}}"#,
    )
    .unwrap();
    assert_eq!(usage, Some(expected));
    let tokens = heard.receipt.unwrap().receipt.tokens;
    assert_eq!((tokens.prompt, tokens.cached), (computed, CACHED));
}

#[tokio::test]
async fn a_connection_is_one_client_to_the_engine_and_is_forgotten_when_it_closes() {
    let stage = Stage::open();
    let payer = Payer::new(9);
    let mut paid = 0;
    for requests in [2, 1] {
        let mut client = Client::attested(&stage.path).await;
        for _ in 0..requests {
            let voucher = payer.voucher(paid);
            let stream = client.chat(&voucher, &question(2)).await.unwrap();
            paid += hear(&mut client, &payer, paid, stream).await.charged;
        }
    }
    // One that asked for nothing.
    drop(Client::connect(&stage.path).await);
    let forgotten = |request: &EngineRequest| matches!(request, EngineRequest::Forget { .. });
    stage
        .until("both forgotten", |seen| {
            seen.engine
                .iter()
                .filter(|request| forgotten(request))
                .count()
                == 2
        })
        .await;
    let seen = stage.seen.lock().unwrap();
    let clients: Vec<_> = seen
        .engine
        .iter()
        .filter_map(|request| match request {
            EngineRequest::Start(start) => Some((false, start.client)),
            EngineRequest::Forget { client } => Some((true, *client)),
            EngineRequest::Grant { .. }
            | EngineRequest::Cancel { .. }
            | EngineRequest::Embed(_)
            | EngineRequest::Count => None,
        })
        .collect();
    let (one, other) = (clients[0].1, clients.last().unwrap().1);
    assert_ne!(one, other);
    let of = |key| -> Vec<bool> {
        let own = clients.iter().filter(|(_, client)| *client == key);
        own.map(|(forgotten, _)| *forgotten).collect()
    };
    assert_eq!(of(one), [false, false, true], "its requests, then its end");
    assert_eq!(of(other), [false, true]);
}

#[tokio::test]
async fn receipts_of_a_channel_form_a_chain() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let mut paid = 0;
    let mut previous = ReceiptDigest::ZERO;
    for sequence in 0..3 {
        let stream = client
            .chat(&payer.voucher(paid), &question(2))
            .await
            .unwrap();
        let heard = hear(&mut client, &payer, paid, stream).await;
        paid += heard.charged;
        let receipt = heard.receipt.unwrap().receipt;
        assert_eq!((receipt.sequence, receipt.previous), (sequence, previous));
        previous = receipt.digest();
    }
}

#[tokio::test]
async fn nothing_is_granted_before_the_prompt_is_paid_and_one_increment_at_a_time() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let mut stream = client
        .chat(&payer.voucher(0), &question(100))
        .await
        .unwrap();
    assert_eq!(stream.progress().await.charged, "15");
    assert!(
        timeout(Duration::from_millis(200), stream.next())
            .await
            .is_err()
    );
    assert_eq!(granted(&stage), 0);
    client.pay(&payer.voucher(15)).await;
    let progress = stream.progress().await;
    assert_eq!(
        (progress.completion_tokens, progress.charged.as_str()),
        (4, "55")
    );
    assert!(
        timeout(Duration::from_millis(200), stream.next())
            .await
            .is_err()
    );
    assert_eq!(granted(&stage), 4);
    client.pay(&payer.voucher(55)).await;
    assert_eq!(stream.progress().await.completion_tokens, 8);
    assert_eq!(granted(&stage), 8);
}

/// Completion tokens that the engine was granted so far.
fn granted(stage: &Stage) -> u32 {
    let seen = stage.seen.lock().unwrap();
    let grants = seen.engine.iter().map(|request| match request {
        EngineRequest::Start(start) => start.grant,
        EngineRequest::Grant { tokens, .. } => *tokens,
        EngineRequest::Cancel { .. }
        | EngineRequest::Forget { .. }
        | EngineRequest::Embed(_)
        | EngineRequest::Count => 0,
    });
    grants.sum()
}

#[tokio::test]
async fn vouchers_that_do_not_fit_are_refused_and_the_stream_stands_still() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let mut stream = client
        .chat(&payer.voucher(5), &question(100))
        .await
        .unwrap();
    stream.progress().await;
    let mut forged = payer.voucher(20);
    forged.signature.0[0] ^= 1;
    let foreign = Payer {
        network: NetworkId::MAIN,
        ..Payer::new(9)
    };
    let stolen = Payer {
        channel: payer.channel,
        ..Payer::new(10)
    };
    for (voucher, status, expected) in [
        (payer.voucher(4), 402, "payment-outdated"),
        (payer.voucher(21), 402, "voucher-above-delivered"),
        (Payer::new(10).voucher(20), 402, "voucher-foreign-channel"),
        (stolen.voucher(20), 402, "voucher-foreign-channel"),
        (foreign.voucher(20), 402, "voucher-network"),
        (forged, 400, "voucher-signature"),
    ] {
        let (found, body) = client.pay(&voucher).await;
        assert_eq!((found.as_u16(), code(&body).as_str()), (status, expected));
    }
    for (garbage, status, expected) in [
        (vec![1; 188], 400, "voucher-malformed"),
        (vec![1; 190], 413, "body-too-long"),
    ] {
        let (found, body) = client.post(VOUCHER_PATH, garbage).await;
        assert_eq!((found.as_u16(), code(&body).as_str()), (status, expected));
    }
    assert_eq!(granted(&stage), 0);
    assert_eq!(
        stage.seen.lock().unwrap().vouchers.len(),
        1,
        "the host was not asked"
    );
    client.pay(&payer.voucher(20)).await;
    assert_eq!(stream.progress().await.completion_tokens, 4);
}

#[tokio::test]
async fn a_cut_stream_is_cancelled_at_once_and_costs_what_was_acknowledged() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let mut stream = client
        .chat(&payer.voucher(0), &question(100))
        .await
        .unwrap();
    stream.progress().await;
    client.pay(&payer.voucher(15)).await;
    stream.progress().await;
    drop(stream);
    stage
        .until("cancel", |seen| {
            seen.engine
                .iter()
                .any(|request| matches!(request, EngineRequest::Cancel { .. }))
        })
        .await;
    stage
        .until("finished", |seen| {
            seen.events.contains(&(ServeEvent::RequestFinished, 1))
        })
        .await;
    let stream = client.chat(&payer.voucher(15), &question(2)).await.unwrap();
    let heard = hear(&mut client, &payer, 15, stream).await;
    assert_eq!(heard.charged, PROMPT_COST + 20);
    let receipt = heard.receipt.unwrap().receipt;
    assert_eq!(receipt.finish, FinishReason::Length);
    let highest = stage.seen.lock().unwrap().vouchers.last().copied().unwrap();
    let signed = payer.base + 15 + PROMPT_COST + 20;
    assert_eq!(highest.voucher.cumulative, Nano::from_u64(signed));
}

#[tokio::test]
async fn a_stream_without_acknowledgement_ends_after_ten_seconds() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let mut stream = client
        .chat(&payer.voucher(0), &question(100))
        .await
        .unwrap();
    stream.progress().await;
    let before = std::time::Instant::now();
    assert_eq!(
        stream.next().await,
        Some(Event::Error("payment-unacknowledged".to_owned()))
    );
    assert!((9..12).contains(&before.elapsed().as_secs()));
    let Some(Event::Receipt(receipt)) = stream.next().await else {
        panic!("no receipt");
    };
    assert_eq!(receipt.receipt.finish, FinishReason::Cancelled);
    assert_eq!(receipt.receipt.tokens.completion, 0);
    assert_eq!(stream.next().await, Some(Event::Done));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn two_streams_on_one_channel_share_its_total() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let mut one = client.chat(&payer.voucher(0), &question(2)).await.unwrap();
    let mut two = client.chat(&payer.voucher(0), &question(2)).await.unwrap();
    one.progress().await;
    two.progress().await;
    client.pay(&payer.voucher(30)).await;
    assert_eq!(one.progress().await.charged, "35");
    assert_eq!(two.progress().await.charged, "35");
    client.pay(&payer.voucher(70)).await;
    for stream in [&mut one, &mut two] {
        assert!(matches!(stream.next().await, Some(Event::Receipt(_))));
    }
    let third = client.chat(&payer.voucher(70), &question(2)).await;
    assert!(third.is_ok());
}

#[tokio::test]
async fn more_streams_than_the_configuration_allows_are_refused() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let _one = client.chat(&payer.voucher(0), &question(9)).await.unwrap();
    let _two = client.chat(&payer.voucher(0), &question(9)).await.unwrap();
    let third = client.chat(&payer.voucher(0), &question(9)).await;
    let expected = (StatusCode::TOO_MANY_REQUESTS, "too-many-streams".to_owned());
    assert_eq!(third.err(), Some(expected));
}

#[tokio::test]
async fn a_host_that_says_stop_ends_the_stream_with_its_reason() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let mut stream = client.chat(&payer.voucher(0), &question(9)).await.unwrap();
    stream.progress().await;
    let stop = VoucherDecision::Stop(StopReason::Closing, None);
    stage.seen.lock().unwrap().decision = Some(stop);
    let (status, body) = client.pay(&payer.voucher(15)).await;
    assert_eq!(status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(code(&body), "payment-channel-closing");
    let ended = stream.next().await;
    assert_eq!(
        ended,
        Some(Event::Error("payment-channel-closing".to_owned()))
    );
    assert_eq!(granted(&stage), 0);
}

#[tokio::test]
async fn the_highest_voucher_comes_back_when_the_client_itself_signed_it() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let highest = payer.voucher(77);
    for (shown, comes) in [(highest, true), (Payer::new(10).voucher(77), false)] {
        let stop = VoucherDecision::Stop(StopReason::Outdated, Some(Box::new(shown)));
        stage.seen.lock().unwrap().decision = Some(stop);
        let body = question(9).to_string().into_bytes();
        let request = stage::client::chat_request(&payer.voucher(0), body);
        let response = client.request(request).await;
        assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
        let header = response.headers().get(protocol::serving::VOUCHER_HEADER);
        assert_eq!(header.is_some(), comes);
    }
}

#[tokio::test]
async fn a_host_that_says_nothing_is_not_waited_for() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    stage.seen.lock().unwrap().host_is_silent = true;
    let refused = client.chat(&Payer::new(9).voucher(0), &question(9)).await;
    let expected = (StatusCode::SERVICE_UNAVAILABLE, "host-silent".to_owned());
    assert_eq!(refused.err(), Some(expected));
}

#[tokio::test]
async fn a_lost_engine_ends_its_streams_and_leaves_serve_and_its_keys() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let mut stream = client.chat(&payer.voucher(0), &question(9)).await.unwrap();
    stream.progress().await;
    stage.lose_engine();
    assert_eq!(
        stream.next().await,
        Some(Event::Error("engine-unavailable".to_owned()))
    );
    client.pay(&payer.voucher(15)).await;
    let refused = client.chat(&payer.voucher(15), &question(9)).await;
    let expected = (
        StatusCode::SERVICE_UNAVAILABLE,
        "engine-unavailable".to_owned(),
    );
    assert_eq!(refused.err(), Some(expected));
    stage
        .until("engine lost", |seen| {
            seen.events.contains(&(ServeEvent::EngineLost, 1))
        })
        .await;
    let mut other = Client::connect(&stage.path).await;
    assert_eq!(
        other.attest(0).await.statement.tls_key,
        client.attest(1).await.statement.tls_key
    );
}
