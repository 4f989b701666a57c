//! HTTP/2 over one TLS connection, before and after appraisal alike.
//!
//! Private to `channel`: what may be sent when is decided by the two channel types, which are the
//! only users. Every byte of a request that is not the challenge is counted here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::tls::{Tls, TlsError};

/// For TCP, and again for TLS and HTTP/2.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// An idle connection is probed, so that a vanished relay is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Every machine is addressed alike: names mean nothing here.
const ORIGIN: &str = "https://cocoon.invalid";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection.
    #[error("cannot connect to the relay")]
    Tcp(#[source] std::io::Error),
    /// No TLS connection.
    #[error("cannot establish TLS with the machine")]
    Tls(#[from] TlsError),
    /// No HTTP/2 on the connection.
    #[error("cannot speak HTTP/2 with the machine")]
    Http(#[source] hyper::Error),
    /// It took too long.
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
}

/// What a request is, for the count of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The challenge: a public constant and a random number.
    Challenge,
    /// Everything else.
    Application,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) tls: Tls,
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    application_bytes: Arc<AtomicU64>,
}

impl Wire {
    pub(super) async fn connect(
        relay: impl ToSocketAddrs,
        alpn: &[u8],
    ) -> Result<Self, ConnectError> {
        let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect(relay))
            .await
            .map_err(|_| ConnectError::Timeout)?
            .map_err(ConnectError::Tcp)?;
        tcp.set_nodelay(true).map_err(ConnectError::Tcp)?;
        timeout(CONNECT_TIMEOUT, Self::establish(tcp, alpn))
            .await
            .map_err(|_| ConnectError::Timeout)?
    }

    async fn establish(tcp: TcpStream, alpn: &[u8]) -> Result<Self, ConnectError> {
        let tls = Tls::connect(tcp, alpn).await?;
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .max_header_list_size(16 * 1024)
            .handshake(TokioIo::new(tls.clone()))
            .await
            .map_err(ConnectError::Http)?;
        // Its end shows in every request on the connection; there is nobody else to tell.
        let driver = tokio::spawn(async move {
            let _ended = connection.await;
        });
        Ok(Self {
            tls,
            sender,
            driver,
            application_bytes: Arc::new(AtomicU64::new(0)),
        })
    }

    /// Bytes of paths, headers and bodies that were handed over for sending, challenges excluded.
    pub(super) fn application_bytes(&self) -> u64 {
        self.application_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Hands a request over. It is queued for sending when this returns, before the answer is
    /// awaited, so that requests leave in the order of these calls.
    pub(super) fn send(
        &self,
        kind: Kind,
        method: Method,
        path: &'static str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<impl Future<Output = hyper::Result<Response<Incoming>>> + use<>, http::Error> {
        match kind {
            Kind::Challenge => {}
            Kind::Application => self.count(path, &headers, &body),
        }
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{ORIGIN}{path}"))
            .body(Full::new(body))?;
        *request.headers_mut() = headers;
        Ok(self.sender.clone().send_request(request))
    }

    fn count(&self, path: &str, headers: &HeaderMap, body: &Bytes) {
        let headers = headers
            .iter()
            .map(|(name, value)| name.as_str().len().saturating_add(value.len()));
        let total = headers.fold(path.len().saturating_add(body.len()), usize::saturating_add);
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        self.application_bytes.fetch_add(total, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
