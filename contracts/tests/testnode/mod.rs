//! Starts the emulated chain (`tests/ton-testnode`) as a child of a test and speaks its controls.
//!
//! Not here: anything that a real endpoint offers too, which is `contracts::toncenter`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use contracts::toncenter::Toncenter;
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Long, since the very first start may install the locked npm packages.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// Some second of November 2026.
pub(crate) const START: u32 = 1_795_000_000;

/// A running chain; it ends with this value.
pub(crate) struct TestNode {
    pub(crate) authority: String,
    pub(crate) chain: Toncenter,
    _process: Child,
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        Self::start_at(START).await
    }

    /// The same at another time.
    #[allow(dead_code, reason = "not every test that starts a node needs it")]
    pub(crate) async fn start_at(now: u32) -> Self {
        let mut rooms = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let script = rooms.find_map(|room| {
            let script = room.join("tests/ton-testnode/start");
            script.is_file().then_some(script)
        });
        let script = script.expect("the test node is in this repository");
        let mut process = Command::new(script)
            .args(["--port", "0", "--now", &now.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("tests/ton-testnode/start can be run");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(READY_WITHIN, lines.next_line())
            .await
            .expect("the node gets ready")
            .unwrap()
            .expect("the node says that it is ready");
        let base = line.strip_prefix("ready ").expect("one line `ready URL`");
        Self {
            authority: base.strip_prefix("http://").unwrap().to_owned(),
            chain: Toncenter::new(base).unwrap(),
            _process: process,
        }
    }

    pub(crate) async fn fund(&self, to: &TonAddress, amount: Nano) {
        let body = format!(r#"{{"address":"{to}","amount":"{amount}"}}"#);
        self.control("/testnode/faucet", &body).await;
    }

    #[allow(dead_code, reason = "not every test that starts a node needs it")]
    pub(crate) async fn advance(&self, seconds: u32) {
        let body = format!(r#"{{"seconds":"{seconds}"}}"#);
        self.control("/testnode/advance", &body).await;
    }

    async fn control(&self, path: &str, body: &str) {
        let mut stream = TcpStream::connect(&self.authority).await.unwrap();
        let host = &self.authority;
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
