//! A bridge on loopback: keeps what was sent to each end and shows it as a stream of events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::wallet::connect::ClientId;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

#[derive(Default)]
struct Kept {
    /// For each end what it is shown, in order; an event's number is its place, from 1.
    shown: HashMap<String, Vec<Vec<u8>>>,
    /// What was posted: from, to, the sealed message.
    posted: Vec<(ClientId, String, Vec<u8>)>,
    /// Targets of all requests.
    targets: Vec<String>,
    /// Answers with this status instead.
    refuses: Option<u16>,
    /// Ends the stream after so many events.
    cuts_after: Option<usize>,
}

/// A running bridge; it ends with this value.
pub struct TestBridge {
    pub url: String,
    kept: Arc<Mutex<Kept>>,
    changed: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl TestBridge {
    pub async fn start() -> Arc<Self> {
        Self::start_with(None).await
    }

    pub async fn start_with(tls: Option<TlsAcceptor>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/bridge/", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Kept::default()));
        let changed = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        let (shared, notify) = (Arc::clone(&kept), Arc::clone(&changed));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, notify) = (Arc::clone(&shared), Arc::clone(&notify));
                let tls = tls.clone();
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, &shared, &notify).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &shared, &notify).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Arc::new(Self {
            url,
            kept,
            changed,
            _tasks: tasks,
        })
    }

    /// Passes a message on, as a bridge does.
    pub fn pass(&self, to: &ClientId, from: &ClientId, sealed: &[u8]) {
        let message = json!({ "from": from.to_string(), "message": STANDARD.encode(sealed) });
        let number = self.count(to) + 1;
        self.say(
            to,
            &format!("event: message\r\nid: {number}\r\ndata: {message}\r\n\r\n"),
        );
    }

    /// Says anything to an end.
    pub fn say(&self, to: &ClientId, bytes: &str) {
        let mut kept = self.kept.lock().unwrap();
        let shown = kept.shown.entry(to.to_string()).or_default();
        shown.push(bytes.as_bytes().to_vec());
        drop(kept);
        self.changed.notify_waiters();
    }

    /// Shows an earlier event of an end again, as a new one.
    pub fn replay(&self, to: &ClientId, place: usize) {
        let kept = self.kept.lock().unwrap();
        let earlier = String::from_utf8(kept.shown[&to.to_string()][place].clone()).unwrap();
        drop(kept);
        let number = self.count(to) + 1;
        let (_, data) = earlier.split_once("data: ").unwrap();
        self.say(to, &format!("id: {number}\ndata: {data}"));
    }

    pub fn count(&self, to: &ClientId) -> usize {
        let kept = self.kept.lock().unwrap();
        kept.shown.get(&to.to_string()).map_or(0, Vec::len)
    }

    pub fn refuse(&self, status: u16) {
        self.kept.lock().unwrap().refuses = Some(status);
    }

    pub fn cut_after(&self, events: usize) {
        self.kept.lock().unwrap().cuts_after = Some(events);
    }

    pub fn targets(&self) -> Vec<String> {
        self.kept.lock().unwrap().targets.clone()
    }

    /// The message with this place among those that were posted to an end.
    pub async fn posted_to(&self, to: &ClientId, place: usize) -> (ClientId, Vec<u8>) {
        loop {
            let changed = self.changed.notified();
            {
                let kept = self.kept.lock().unwrap();
                let to = to.to_string();
                let mut posted = kept.posted.iter().filter(|posted| posted.1 == to);
                if let Some((from, _, sealed)) = posted.nth(place) {
                    return (*from, sealed.clone());
                }
            }
            changed.await;
        }
    }
}

fn value<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = target.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|pair| pair.0 == name).map(|pair| pair.1)
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    kept: &Mutex<Kept>,
    changed: &Notify,
) -> Option<()> {
    let (head, body) = request(&mut stream).await?;
    let target = head.split(' ').nth(1)?.to_owned();
    let refuses = {
        let mut kept = kept.lock().unwrap();
        kept.targets.push(target.clone());
        kept.refuses
    };
    if let Some(status) = refuses {
        let answer = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
        return stream.write_all(answer.as_bytes()).await.ok();
    }
    let from: ClientId = value(&target, "client_id")?.parse().ok()?;
    if target.starts_with("/bridge/message?") {
        let sealed = STANDARD.decode(body).unwrap();
        let to = value(&target, "to")?.to_owned();
        kept.lock().unwrap().posted.push((from, to, sealed));
        changed.notify_waiters();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        return stream.write_all(answer.as_bytes()).await.ok();
    }
    assert!(target.starts_with("/bridge/events?"), "{target}");
    let last = value(&target, "last_event_id").map_or(0, |last| last.parse().unwrap());
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
        event: heartbeat\r\n\r\n";
    stream.write_all(answer.as_bytes()).await.ok()?;
    let mut next = last;
    loop {
        let waiting = changed.notified();
        let (events, cuts_after) = {
            let kept = kept.lock().unwrap();
            let shown = kept.shown.get(&from.to_string());
            let events = shown.map_or(Vec::new(), |all| all.get(next..).unwrap_or(&[]).to_vec());
            (events, kept.cuts_after)
        };
        for event in events {
            stream.write_all(&event).await.ok()?;
            next += 1;
            if cuts_after.is_some_and(|cut| next - last >= cut) {
                stream.shutdown().await.ok()?;
                return None;
            }
        }
        stream.flush().await.ok()?;
        waiting.await;
    }
}

async fn request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&part[..read]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut body = bytes.split_off(end);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().unwrap())
    });
    while body.len() < length.unwrap_or(0) {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.ok().filter(|read| *read > 0)?;
        body.extend_from_slice(&part[..read]);
    }
    Some((head, body))
}
