//! The release program itself, as init starts it: four descriptors, no argument, no environment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

mod stage;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use onlooker::{holds, process_of};
use protocol::evidence::ALPN;
use protocol::ton::NetworkId;
use serde_json::json;
use serve::Descriptors;
use stage::client::{Client, Event, Payer, question};
use stage::{MODEL, NETWORK, Scenery, WORDS, vector, word};
use sys::process::{Child, Ended, Launch, spawn};

/// How long serve may take to see that its client is gone.
const GONE: Duration = Duration::from_secs(10);

/// Starts the program; the stream gives what it prints.
fn start(descriptors: &Descriptors) -> (Child, UnixStream) {
    let program = File::open(env!("CARGO_BIN_EXE_serve")).unwrap();
    let (printed, output) = UnixStream::pair().unwrap();
    let nothing = File::open("/dev/null").unwrap();
    let all = [
        nothing.as_fd(),
        output.as_fd(),
        output.as_fd(),
        descriptors.listener.as_fd(),
        descriptors.quote.as_fd(),
        descriptors.control.as_fd(),
        descriptors.engine.as_fd(),
    ];
    let launch = Launch {
        program: program.as_fd(),
        arguments: &[c"serve".into()],
        descriptors: &all,
        locked: None,
    };
    (spawn(&launch, || Ok(()), || Ok(())).unwrap(), printed)
}

#[tokio::test]
async fn the_release_program_answers_on_its_own_network_prints_nothing_and_ends_with_init() {
    let (scenery, descriptors) = Scenery::on(NetworkId::MAIN);
    let (mut program, mut printed) = start(&descriptors);
    drop(descriptors);
    let mut client = Client::speaking(&scenery.path, ALPN).await;
    let evidence = client.attest(0).await;
    let payer = Payer {
        network: NetworkId::MAIN,
        ..Payer::new(9)
    };
    let mut stream = client
        .chat(&payer.voucher(0), &question(100))
        .await
        .unwrap();
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        match event {
            Event::Text(piece) | Event::Told(piece, _) => text.push_str(&piece),
            Event::Progress(progress) => {
                let charged = progress.charged.parse().unwrap();
                let (status, _) = client.pay(&payer.voucher(charged)).await;
                assert_eq!(status, StatusCode::NO_CONTENT);
            }
            Event::Receipt(receipt) => {
                receipt.verify(&evidence.statement.receipt_key).unwrap();
            }
            Event::Finish(_) | Event::Usage(_) | Event::Vector(..) | Event::Done => {}
            Event::Error(code) => panic!("{code}"),
        }
    }
    assert_eq!(text, (0..WORDS).map(word).collect::<String>());
    scenery.end();
    assert_eq!(program.wait().unwrap(), Ended::Exited(1));
    let mut output = String::new();
    printed.read_to_string(&mut output).unwrap();
    assert_eq!(output, "");
}

#[tokio::test]
async fn once_a_connection_is_closed_nothing_of_its_prompt_and_answer_is_in_memory() {
    let (scenery, descriptors) = Scenery::on(NetworkId::MAIN);
    let (program, _printed) = start(&descriptors);
    drop(descriptors);
    let mut client = Client::speaking(&scenery.path, ALPN).await;
    client.attest(0).await;
    let payer = Payer {
        network: NetworkId::MAIN,
        ..Payer::new(9)
    };
    let canary = "a prompt that nobody else would ever send: xylograph 40917";
    let mut body = question(100);
    body["messages"][0]["content"] = canary.into();
    let mut stream = client.chat(&payer.voucher(0), &body).await.unwrap();
    let mut text = String::new();
    while let Some(event) = stream.next().await {
        match event {
            Event::Text(piece) | Event::Told(piece, _) => text.push_str(&piece),
            Event::Progress(progress) => {
                client
                    .pay(&payer.voucher(progress.charged.parse().unwrap()))
                    .await;
            }
            _ => {}
        }
    }
    drop((stream, client));
    forgotten(&program, &[canary, &text]).await;
    scenery.end();
}

/// Waits until none of these texts is in the program's memory; they are in this one's.
async fn forgotten(program: &Child, said: &[&str]) {
    let process = process_of(program.as_fd());
    for said in said {
        assert!(holds("self", said.as_bytes()), "the search finds nothing");
        let asked = Instant::now();
        while holds(&process, said.as_bytes()) {
            assert!(asked.elapsed() < GONE, "{} bytes are left", said.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn once_a_connection_is_closed_nothing_of_its_texts_and_vectors_is_in_memory() {
    let (scenery, descriptors) = Scenery::on(NetworkId::MAIN);
    let (program, _printed) = start(&descriptors);
    drop(descriptors);
    let mut client = Client::speaking(&scenery.path, ALPN).await;
    client.attest(0).await;
    let payer = Payer {
        network: NetworkId::MAIN,
        ..Payer::new(9)
    };
    let canary = "a text that nobody else would ever send: zugzwang 81275";
    let body = json!({
        "model": MODEL,
        "input": [canary, "another"],
        "encoding_format": "float",
    });
    let mut stream = client.embed(&payer.voucher(0), &body).await.unwrap();
    let mut vectors = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Event::Vector(_, bytes) => vectors.push(bytes),
            Event::Progress(progress) => {
                client
                    .pay(&payer.voucher(progress.charged.parse().unwrap()))
                    .await;
            }
            _ => {}
        }
    }
    assert_eq!(vectors, [vector(0), vector(1)]);
    // As it was sent: of two elements, which as numbers might stand anywhere.
    let sent = STANDARD.encode(&vectors[1]);
    drop((stream, client));
    forgotten(&program, &[canary, &sent]).await;
    scenery.end();
}

#[test]
fn the_release_program_refuses_a_launch_configuration_of_a_research_network() {
    let (scenery, descriptors) = Scenery::on(NETWORK);
    let (mut program, mut printed) = start(&descriptors);
    drop(descriptors);
    assert_eq!(program.wait().unwrap(), Ended::Exited(1));
    let mut output = String::new();
    printed.read_to_string(&mut output).unwrap();
    assert_eq!(output, "");
    assert!(!scenery.seen.lock().unwrap().ready);
}

#[test]
fn the_release_program_without_its_descriptors_ends_at_once() {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_serve"))
        .env_clear()
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let _ = program.stdin.take().unwrap().write_all(b"x");
    let ended = program.wait_with_output().unwrap();
    assert!(!ended.status.success());
    assert!(ended.stdout.is_empty() && ended.stderr.is_empty());
}
