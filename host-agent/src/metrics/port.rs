//! The port of the metrics: one path, one method, one answer a connection.
//!
//! Loopback only, and only by a loopback's name, so that no page in a browser reads it for somebody
//! else. Deliberately not here: TLS, names and passwords; whoever is on this machine may read.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Metrics;
use super::page::TYPE;

/// Readers at once; another one is closed at once.
const MAX_READERS: usize = 4;
/// A request's head is at most this long,
const MAX_HEAD: usize = 4096;
/// and there within this time; its answer is taken within it.
const WITHIN: Duration = Duration::from_secs(5);

/// The port cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// Others than this machine could connect.
    #[error("metrics are told on a loopback address only, not on {0}")]
    NotLoopback(SocketAddr),
    /// It is taken, or not ours to take.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Opens the port.
///
/// # Errors
/// [`MetricsError`].
pub async fn open(address: SocketAddr) -> Result<TcpListener, MetricsError> {
    if !address.ip().is_loopback() {
        return Err(MetricsError::NotLoopback(address));
    }
    let listening = TcpListener::bind(address).await;
    listening.map_err(|source| MetricsError::Listen { address, source })
}

/// Answers until it is dropped.
pub async fn serve(listener: TcpListener, metrics: Metrics) {
    let metrics = Arc::new(metrics);
    let mut readers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((reader, _)) if readers.len() < MAX_READERS => {
                    let metrics = Arc::clone(&metrics);
                    readers.spawn(async move { answer(reader, metrics).await });
                }
                Ok(_) => {}
                // Out of descriptors: others must close first.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
            Some(_) = readers.join_next() => {}
        }
    }
}

async fn answer(mut reader: TcpStream, metrics: Arc<Metrics>) {
    let Ok(Some(head)) = timeout(WITHIN, head(&mut reader)).await else {
        return;
    };
    let status = judge(&head);
    let body = match status {
        Status::Ok => {
            let told = tokio::task::spawn_blocking(move || metrics.exposition()).await;
            told.unwrap_or_default()
        }
        Status::Malformed | Status::OtherHost | Status::OtherPath | Status::OtherMethod => {
            String::new()
        }
    };
    let length = body.len();
    let line = status.line();
    let head = format!(
        "HTTP/1.1 {line}\r\ncontent-type: {TYPE}\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n"
    );
    let all = [head.as_bytes(), body.as_bytes()].concat();
    // A reader that went away misses it.
    drop(timeout(WITHIN, reader.write_all(&all)).await);
    drop(timeout(WITHIN, reader.shutdown()).await);
}

/// A request up to its empty line; none when it does not come to that.
async fn head(reader: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut part = [0; 512];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = reader.read(&mut part).await.ok()?;
        let part = part.get(..length).filter(|part| !part.is_empty())?;
        head.extend_from_slice(part);
        if head.len() > MAX_HEAD {
            return None;
        }
    }
    String::from_utf8(head).ok()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    Malformed,
    OtherHost,
    OtherPath,
    OtherMethod,
}

impl Status {
    const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::Malformed => "400 Bad Request",
            Self::OtherHost => "403 Forbidden",
            Self::OtherPath => "404 Not Found",
            Self::OtherMethod => "405 Method Not Allowed",
        }
    }
}

fn judge(head: &str) -> Status {
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Status::Malformed;
    };
    let named = lines.filter_map(|line| line.split_once(':'));
    let mut hosts = named.filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    if !hosts.by_ref().all(|(_, host)| is_loopback(host.trim())) {
        return Status::OtherHost;
    }
    match (method, path) {
        ("GET", "/metrics") => Status::Ok,
        (_, "/metrics") => Status::OtherMethod,
        _ => Status::OtherPath,
    }
}

/// Whether a `Host` names this machine by itself: a page that had its own name lead here cannot.
fn is_loopback(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_is_read_by_one_method_under_a_loopback_name() {
        let judged = |line: &str, host: &str| judge(&format!("{line}\r\nHost: {host}\r\n\r\n"));
        for host in [
            "127.0.0.1:9100",
            "localhost:9100",
            "LOCALHOST",
            "[::1]:9100",
            "::1",
        ] {
            assert_eq!(judged("GET /metrics HTTP/1.1", host), Status::Ok, "{host}");
        }
        for host in [
            "example.org",
            "example.org:9100",
            "10.0.0.1:9100",
            "localhost.example.org",
            "",
        ] {
            assert_eq!(
                judged("GET /metrics HTTP/1.1", host),
                Status::OtherHost,
                "{host}"
            );
        }
        let local = |line| judged(line, "localhost");
        assert_eq!(local("GET / HTTP/1.1"), Status::OtherPath);
        assert_eq!(local("GET /metrics?a=b HTTP/1.1"), Status::OtherPath);
        assert_eq!(local("POST /metrics HTTP/1.1"), Status::OtherMethod);
        for line in [
            "",
            "GET",
            "GET /metrics",
            "GET /metrics HTTP/2",
            "GET /metrics HTTP/1.1 x",
        ] {
            assert_eq!(local(line), Status::Malformed, "{line}");
        }
        let two = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nhost: example.org\r\n\r\n";
        assert_eq!(judge(two), Status::OtherHost);
    }

    #[tokio::test]
    async fn no_address_but_a_loopback_one_is_listened_on() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let refused = open(address.parse().unwrap()).await.unwrap_err();
            assert!(matches!(refused, MetricsError::NotLoopback(_)), "{refused}");
        }
        assert!(open("127.0.0.1:0".parse().unwrap()).await.is_ok());
    }
}
