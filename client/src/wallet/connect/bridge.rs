//! The bridge: a message to the wallet by POST, the wallet's messages by a stream of events.
//!
//! The bridge is hostile: what it passes on is bounded here, and believed only where a box opens
//! (`sealed`). TLS 1.3 hides from others which ends speak; plain HTTP is for a bridge on this
//! machine. No redirection is followed. Not here: how long to wait, what a message means.

use core::fmt;
use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::events::{Event, EventError, EventReader};
use super::link::percent;
use super::sealed::ClientId;
use crate::deployment::Surroundings;
use crate::wallet::read_bounded;

/// A connection, or the answer to a message, takes at most this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Bridges say that they are there every few seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// The bridge keeps a message for so many seconds; every bridge must take this.
const KEPT_SECONDS: u32 = 300;
/// All certificates of a machine are shorter.
const MAX_ROOTS_BYTES: usize = 4 * 1024 * 1024;
/// Where systems keep the roots that their owner trusts.
const ROOTS_OF_SYSTEMS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Why the bridge could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Not a bridge's address.
    #[error("a bridge is https://host/path, or http:// on 127.0.0.1 or [::1]")]
    Url,
    /// No root certificate.
    #[error("no root certificates: name a file of them in PEM form")]
    Roots,
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// No connection, or it broke.
    #[error("cannot reach the bridge")]
    Unreachable(#[source] std::io::Error),
    /// It took longer than allowed.
    #[error("no answer of the bridge within {0:?}")]
    TimedOut(Duration),
    /// It refused.
    #[error("the bridge answered with status {status}")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// Its stream.
    #[error(transparent)]
    Event(#[from] EventError),
}

impl BridgeError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Url => "bridge-url",
            Self::Roots => "bridge-roots",
            Self::Tls(_) => "bridge-tls",
            Self::Unreachable(_) => "bridge-unreachable",
            Self::TimedOut(_) => "bridge-timed-out",
            Self::Refused { .. } => "bridge-refused",
            Self::Event(EventError::TooLong) => "bridge-event-too-long",
            Self::Event(EventError::Malformed) => "bridge-event-malformed",
        }
    }

    /// Whether another connection may go better.
    pub(super) const fn is_of_the_line(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) => true,
            Self::Url | Self::Roots | Self::Tls(_) | Self::Refused { .. } | Self::Event(_) => false,
        }
    }
}

/// Where a bridge is, and how it is reached.
#[derive(Clone)]
pub(super) struct Bridge {
    host: String,
    port: u16,
    authority: String,
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl Bridge {
    /// A bridge by its URL; nothing is sent yet. Its certificate is judged by the roots in `roots`,
    /// or this machine's, and by `surroundings`' clock.
    ///
    /// # Errors
    /// `Url`, `Roots`, `Tls`.
    pub(super) fn new(
        url: &str,
        roots: Option<&Path>,
        surroundings: &Arc<dyn Surroundings>,
    ) -> Result<Self, BridgeError> {
        let parsed: Uri = url.parse().map_err(|_| BridgeError::Url)?;
        let authority = parsed.authority().ok_or(BridgeError::Url)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if authority.as_str().contains('@') || parsed.query().is_some() || host.is_empty() {
            return Err(BridgeError::Url);
        }
        let (standard_port, tls) = match parsed.scheme_str() {
            Some("https") => {
                let name = ServerName::try_from(host.clone()).map_err(|_| BridgeError::Url)?;
                let config = configuration(roots, surroundings)?;
                (443, Some((TlsConnector::from(Arc::new(config)), name)))
            }
            Some("http") if matches!(host.as_str(), "127.0.0.1" | "::1") => (80, None),
            _ => return Err(BridgeError::Url),
        };
        Ok(Self {
            port: authority.port_u16().unwrap_or(standard_port),
            authority: authority.as_str().to_owned(),
            path: parsed.path().trim_end_matches('/').to_owned(),
            host,
            tls,
        })
    }

    /// Hands a sealed message to the bridge, for the wallet.
    ///
    /// # Errors
    /// See [`BridgeError`]. Success says nothing of the wallet.
    pub(super) async fn post(
        &self,
        from: &ClientId,
        to: &ClientId,
        topic: &str,
        message: String,
    ) -> Result<(), BridgeError> {
        let path = self.path.as_str();
        let target =
            format!("{path}/message?client_id={from}&to={to}&ttl={KEPT_SECONDS}&topic={topic}");
        let request = Request::builder()
            .method(Method::POST)
            .uri(target)
            .header(CONTENT_TYPE, "text/plain");
        // Only the status is looked at: the body is never read.
        let (_response, _driver) = self.ask(request, message).await?;
        Ok(())
    }

    /// Opens the stream of what was sent to us, after the event `last`.
    ///
    /// # Errors
    /// See [`BridgeError`].
    pub(super) async fn listen(
        &self,
        id: &ClientId,
        last: Option<&str>,
    ) -> Result<EventStream, BridgeError> {
        let last = last.map(|last| format!("&last_event_id={}", percent(last)));
        let path = self.path.as_str();
        let target = format!("{path}/events?client_id={id}{}", last.unwrap_or_default());
        let request = Request::builder()
            .uri(target)
            .header(ACCEPT, "text/event-stream");
        let (response, driver) = self.ask(request, String::new()).await?;
        Ok(EventStream {
            body: response.into_body(),
            _driver: driver,
            reader: EventReader::default(),
            ready: Vec::new().into_iter(),
        })
    }

    async fn ask(
        &self,
        request: http::request::Builder,
        body: String,
    ) -> Result<(Response<Incoming>, JoinSet<()>), BridgeError> {
        let asked = async {
            let request = request
                .header(HOST, &self.authority)
                .body(Full::new(Bytes::from(body)))
                .map_err(|_| BridgeError::Url)?;
            let (mut sender, driver) = self.connect().await?;
            let response = sender.send_request(request).await.map_err(broken)?;
            match response.status() {
                StatusCode::OK => Ok((response, driver)),
                other => Err(BridgeError::Refused {
                    status: other.as_u16(),
                }),
            }
        };
        tokio::time::timeout(ANSWER_WITHIN, asked)
            .await
            .unwrap_or(Err(BridgeError::TimedOut(ANSWER_WITHIN)))
    }

    /// A connection; what moves its bytes ends with the set.
    async fn connect(&self) -> Result<(SendRequest<Full<Bytes>>, JoinSet<()>), BridgeError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
        let tcp = tcp.map_err(BridgeError::Unreachable)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), tcp).await;
                Box::new(stream.map_err(BridgeError::Unreachable)?)
            }
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its end shows in the request; there is nobody else to tell.
            let _ended = connection.await;
        });
        Ok((sender, driver))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

fn broken(error: hyper::Error) -> BridgeError {
    BridgeError::Unreachable(std::io::Error::other(error))
}

/// What was sent to us, as it arrives.
#[derive(Debug)]
pub(super) struct EventStream {
    body: Incoming,
    _driver: JoinSet<()>,
    reader: EventReader,
    ready: std::vec::IntoIter<Event>,
}

impl EventStream {
    /// The next event.
    ///
    /// # Errors
    /// `Unreachable` at the end of the stream, `TimedOut` when even heartbeats stay away, `Event`.
    pub(super) async fn next(&mut self) -> Result<Event, BridgeError> {
        loop {
            if let Some(event) = self.ready.next() {
                return Ok(event);
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            let frame = frame.map_err(|_| BridgeError::TimedOut(SILENCE))?;
            let ended = || BridgeError::Unreachable(std::io::ErrorKind::UnexpectedEof.into());
            let frame = frame.ok_or_else(ended)?.map_err(broken)?;
            if let Ok(bytes) = frame.into_data() {
                self.ready = self.reader.push(&bytes)?.into_iter();
            }
        }
    }
}

/// The clock by which certificates are judged.
#[derive(Debug)]
struct Clock(Arc<dyn Surroundings>);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            self.0.now().0,
        )))
    }
}

fn configuration(
    roots: Option<&Path>,
    surroundings: &Arc<dyn Surroundings>,
) -> Result<ClientConfig, BridgeError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clock = Arc::new(Clock(Arc::clone(surroundings)));
    let builder = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(BridgeError::Tls)?;
    let mut config = builder
        .with_root_certificates(read_roots(roots)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The named file's certificates, or those of the first of the system's files that is there.
fn read_roots(named: Option<&Path>) -> Result<RootCertStore, BridgeError> {
    let read = |path: &Path| read_bounded(path, MAX_ROOTS_BYTES).ok();
    let pem = match named {
        Some(path) => read(path),
        None => ROOTS_OF_SYSTEMS
            .iter()
            .find_map(|path| read(Path::new(path))),
    };
    let mut roots = RootCertStore::empty();
    let pem = pem.ok_or(BridgeError::Roots)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
    // A system's file may hold one that the library cannot use; it then vouches for nobody.
    let (added, _ignored) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(BridgeError::Roots);
    }
    Ok(roots)
}
