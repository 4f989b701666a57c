//! The TLS end: version 1.3, one hybrid key exchange, a raw public key (RFC 7250), no resumption,
//! no early data, and the exporter of a connection that HTTP already owns.
//!
//! Nothing here can be configured; evidence is not TLS's business (`connection`).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use protocol::digest::{Exporter, Nonce};
use protocol::evidence::EXPORTER_LABEL;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::{CipherSuite, ServerConfig, version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio_rustls::server::TlsStream;

use crate::keys::TlsKey;

/// The configuration of every connection.
pub(crate) fn configuration(
    key: &TlsKey,
    alpn: &'static [u8],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut provider: CryptoProvider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    provider
        .cipher_suites
        .retain(|suite| is_offered(suite.suite()));
    let resolver = AlwaysResolvesServerRawPublicKeys::new(key.certified());
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn is_offered(suite: CipherSuite) -> bool {
    [
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ]
    .contains(&suite)
}

/// An established connection that HTTP reads and writes while its exporter stays within reach.
#[derive(Clone)]
pub(crate) struct Channel(Arc<Mutex<TlsStream<UnixStream>>>);

impl Channel {
    pub(crate) fn new(stream: TlsStream<UnixStream>) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// Whether the handshake agreed on this protocol; without an offer TLS agrees on none.
    pub(crate) fn speaks(&self, alpn: &[u8]) -> bool {
        self.stream().get_ref().1.alpn_protocol() == Some(alpn)
    }

    /// The exporter value for a challenge's nonce.
    pub(crate) fn exporter(&self, nonce: &Nonce) -> Option<Exporter> {
        let stream = self.stream();
        let (_, connection) = stream.get_ref();
        connection
            .export_keying_material([0; Exporter::LENGTH], EXPORTER_LABEL, Some(&nonce.0))
            .map(Exporter)
            .ok()
    }

    fn stream(&self) -> MutexGuard<'_, TlsStream<UnixStream>> {
        // Never held across a wait; a poisoned stream would fail by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_shutdown(cx)
    }
}
