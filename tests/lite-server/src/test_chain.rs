//! The emulated chain (`tests/ton-testnode`): what its endpoint's API does not say, and its clock.

use contracts::account::Account;
use contracts::toncenter::Toncenter;
use protocol::ton::TonAddress;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An emulated chain on this machine.
#[derive(Debug, Clone)]
pub struct TestChain {
    authority: String,
    endpoint: Toncenter,
}

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// Its own time, unix seconds.
    pub(crate) now: u32,
    /// Grows with every change.
    seqno: u64,
    accounts: Vec<TonAddress>,
}

impl TestChain {
    /// The chain behind `http://host:port`, as its program prints it.
    #[must_use]
    pub fn at(base: &str) -> Self {
        let authority = base.strip_prefix("http://").unwrap().to_owned();
        let endpoint = Toncenter::new(base).unwrap();
        Self {
            authority,
            endpoint,
        }
    }

    /// Moves its clock, which stands by itself, to this time; never back. False when it is away.
    pub async fn keep_up(&self, now: u64) -> bool {
        let Some(status) = self.status().await else {
            return false;
        };
        let behind = now.saturating_sub(u64::from(status.now));
        let body = json!({ "seconds": behind.to_string() }).to_string();
        behind == 0 || self.ask("/testnode/advance", &body).await.is_some()
    }

    /// Hands an external message on. Refused or not: whoever sent it looks for what came of it.
    pub(crate) async fn send(&self, message: &[u8]) {
        drop(self.endpoint.send_boc(message).await);
    }

    /// None when the chain is away.
    pub(crate) async fn status(&self) -> Option<Status> {
        let answer = self.ask("/testnode/status", "").await?;
        let shown = &answer["result"];
        let accounts = shown["accounts"].as_array().unwrap().iter();
        let accounts = accounts.map(|one| one.as_str().unwrap().parse().unwrap());
        Some(Status {
            now: shown["now"].as_u64().unwrap() as u32,
            seqno: shown["seqno"].as_u64().unwrap(),
            accounts: accounts.collect(),
        })
    }

    /// Every account of workchain 0 as it is after all that is in `status`; none when something
    /// happened meanwhile, or the chain is away.
    pub(crate) async fn accounts(&self, status: &Status) -> Option<Vec<(TonAddress, Account)>> {
        let mut all = Vec::new();
        for address in status.accounts.iter().filter(|one| one.workchain == 0) {
            all.push((*address, self.endpoint.account(address).await.ok()?));
        }
        (self.status().await? == *status).then_some(all)
    }

    async fn ask(&self, path: &str, body: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(&self.authority).await.ok()?;
        let host = &self.authority;
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then_some(())?;
        serde_json::from_str(body).ok()
    }
}
