//! Requests that are refused before any work, each with its status and code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod stage;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http_body_util::Full;
use protocol::serving::{CHAT_PATH, MAX_REQUEST_BYTES, SALT_HEADER, VOUCHER_HEADER};
use serde_json::json;
use stage::Stage;
use stage::client::{Client, Payer, SALT, chat_request, code, post, question};

#[tokio::test]
async fn refuses_chats_that_it_does_not_serve() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let payer = Payer::new(9);
    let changed = |member: &str, value: serde_json::Value| {
        let mut body = question(9);
        body[member] = value;
        body
    };
    for (body, status, expected) in [
        (changed("model", json!("another")), 404, "model_not_found"),
        (changed("audio", json!({})), 400, "unsupported-member"),
        (changed("tools", json!([])), 400, "invalid-member"),
        (changed("stream", json!(false)), 400, "invalid-member"),
        (changed("max_tokens", json!(2049)), 400, "invalid-member"),
        (json!([]), 400, "json-malformed"),
        (
            changed("messages", json!([{"role": "user", "content": "too long"}])),
            400,
            "context_length_exceeded",
        ),
    ] {
        let refused = client.chat(&payer.voucher(0), &body).await.err().unwrap();
        assert_eq!((refused.0.as_u16(), refused.1.as_str()), (status, expected));
    }
    // A stream that the engine refused gave its place back.
    assert!(client.chat(&payer.voucher(0), &question(9)).await.is_ok());
    assert!(client.chat(&payer.voucher(0), &question(9)).await.is_ok());
}

#[tokio::test]
async fn names_the_keyword_that_the_engine_does_not_take() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let mut body = question(9);
    body["response_format"] = json!({
        "type": "json_schema",
        "json_schema": { "name": "n", "schema": { "$pattern": "top-secret" } },
    });
    let voucher = Payer::new(9).voucher(0);
    let request = chat_request(&voucher, body.to_string().into_bytes());
    let (status, body) = client.whole(request).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(error["error"]["code"], "response_format_schema");
    assert_eq!(error["error"]["param"], "pattern");
}

#[tokio::test]
async fn refuses_a_body_over_the_limit_and_one_that_is_not_json() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let voucher = Payer::new(9).voucher(0);
    let spaces = vec![b' '; MAX_REQUEST_BYTES + 1];
    let marks = "\u{0301}".repeat(5_000_000).into_bytes();
    for body in [spaces, marks] {
        let (status, body) = client.whole(chat_request(&voucher, body)).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(code(&body), "body-too-long");
    }
    for (header, value) in [("content-encoding", "gzip"), ("content-type", "text/plain")] {
        let mut request = chat_request(&voucher, b"{}".to_vec());
        request.headers_mut().insert(header, value.parse().unwrap());
        let (status, body) = client.whole(request).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(code(&body), "body-type");
    }
}

#[tokio::test]
async fn refuses_missing_repeated_and_malformed_headers() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let voucher = STANDARD.encode(Payer::new(9).voucher(0).encode());
    let salt = SALT.to_string();
    let upper = salt.replace('0', "A");
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[(SALT_HEADER, &salt)], "header-invalid"),
        (&[(VOUCHER_HEADER, &voucher)], "header-invalid"),
        (
            &[(VOUCHER_HEADER, &voucher), (VOUCHER_HEADER, &voucher)],
            "header-invalid",
        ),
        (
            &[(VOUCHER_HEADER, "AAAA"), (SALT_HEADER, &salt)],
            "voucher-malformed",
        ),
        (
            &[(VOUCHER_HEADER, "!!"), (SALT_HEADER, &salt)],
            "voucher-malformed",
        ),
        (
            &[(VOUCHER_HEADER, &voucher), (SALT_HEADER, &upper)],
            "header-invalid",
        ),
    ];
    for (headers, expected) in cases {
        let request = headers
            .iter()
            .fold(post(CHAT_PATH), |request, (name, value)| {
                request.header(*name, *value)
            });
        let body = Full::from(question(9).to_string());
        let (status, body) = client.whole(request.body(body).unwrap()).await;
        assert_eq!(
            (status, code(&body).as_str()),
            (StatusCode::BAD_REQUEST, expected)
        );
    }
}

#[tokio::test]
async fn no_refusal_repeats_what_was_sent() {
    let stage = Stage::open();
    let mut client = Client::attested(&stage.path).await;
    let voucher = Payer::new(9).voucher(0);
    for body in [
        concat!(
            r#"{"model":"top-secret","stream":true,"#,
            r#""messages":[{"role":"user","content":"top-secret"}]}"#
        ),
        r#"{"model":"scripted","messages":["top-secret"],"stream":true}"#,
        r#"{"top-secret":1}"#,
        r#""top-secret"#,
    ] {
        let (status, answer) = client.whole(chat_request(&voucher, body.into())).await;
        assert!(status.is_client_error());
        assert!(!String::from_utf8_lossy(&answer).contains("secret"));
    }
}
