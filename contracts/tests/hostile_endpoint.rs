//! An endpoint that answers nonsense: every answer is a typed refusal within its bounds.
#![allow(
    clippy::unwrap_used,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

use contracts::toncenter::{ChainError, Toncenter};
use protocol::digest::AccountId;
use protocol::ton::TonAddress;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const ANYONE: TonAddress = TonAddress {
    workchain: 0,
    account: AccountId([1; 32]),
};

/// Serves one connection with these bytes and asks for a balance.
async fn ask(answer: Vec<u8>) -> ChainError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let asked = Toncenter::new(&base).unwrap().balance(&ANYONE).await;
    server.abort();
    asked.unwrap_err()
}

fn reply(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

#[tokio::test]
async fn refuses_what_is_not_http_or_breaks_off() {
    assert_eq!(
        ask(b"nonsense\r\n\r\n".to_vec()).await.code(),
        "chain-unreachable"
    );
    assert_eq!(ask(Vec::new()).await.code(), "chain-unreachable");
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec();
    assert_eq!(ask(cut).await.code(), "chain-unreachable");
}

#[tokio::test]
async fn refuses_an_answer_longer_than_any_valid_one() {
    let long = "x".repeat(5 * 1024 * 1024);
    assert_eq!(
        ask(reply("200 OK", &long)).await.code(),
        "chain-answer-too-long"
    );
}

#[tokio::test]
async fn refuses_other_json_and_amounts_that_no_chain_has() {
    let malformed = "chain-answer-malformed";
    assert_eq!(ask(reply("200 OK", "{}")).await.code(), malformed);
    assert_eq!(ask(reply("200 OK", "[[[[")).await.code(), malformed);
    let account = |balance: &str, state: &str, code: &str| {
        format!(
            r#"{{"ok":true,"result":{{"balance":"{balance}","code":"{code}","data":"",
            "state":"{state}","last_transaction_id":{{"lt":"0"}},"sync_utime":1}}}}"#
        )
    };
    let too_much = account("1329227995784915872903807060280344576", "uninitialized", "");
    assert_eq!(ask(reply("200 OK", &too_much)).await.code(), malformed);
    let negative = account("-1", "uninitialized", "");
    assert_eq!(ask(reply("200 OK", &negative)).await.code(), malformed);
    let unknown = account("1", "melted", "");
    assert_eq!(ask(reply("200 OK", &unknown)).await.code(), malformed);
    let no_code = account("1", "active", "AAAA");
    assert_eq!(ask(reply("200 OK", &no_code)).await.code(), malformed);
}

#[tokio::test]
async fn a_refusal_shows_the_status_and_nothing_of_the_text() {
    let refused = ask(reply(
        "503 Busy",
        r#"{"ok":false,"error":"come <b>back</b>"}"#,
    ))
    .await;
    assert_eq!(refused.to_string(), "endpoint refused with status 503");
    let refused = ask(reply("200 OK", r#"{"ok":false,"error":"no"}"#)).await;
    assert_eq!(refused.code(), "chain-refused");
}
