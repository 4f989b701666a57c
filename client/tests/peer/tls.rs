//! The server's end of TLS for tests, with its exporter within reach.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use protocol::digest::{Exporter, Nonce, SpkiDigest};
use protocol::evidence::EXPORTER_LABEL;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, sign::any_eddsa_type};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// RFC 8410 §7: PKCS#8 v1 of an Ed25519 key up to its 32-byte seed.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// An Ed25519 key for handshakes.
#[derive(Clone)]
pub struct TlsKey(Arc<CertifiedKey>);

impl TlsKey {
    pub fn draw() -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let der = [&PKCS8_PREFIX[..], &seed[..]].concat();
        let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(der)).unwrap();
        let public = CertificateDer::from(key.public_key().unwrap().to_vec());
        Self(Arc::new(CertifiedKey::new(vec![public], key)))
    }
}

/// A server's configuration.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    spki: SpkiDigest,
}

impl ServerTls {
    pub fn new(key: TlsKey, alpn: &[u8]) -> Self {
        Self::offering(key, alpn, aws_lc_rs::default_provider())
    }

    pub fn offering(key: TlsKey, alpn: &[u8], provider: CryptoProvider) -> Self {
        let spki = SpkiDigest(Sha256::digest(key.0.end_entity_cert().unwrap()).into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key.0)));
        config.alpn_protocols = vec![alpn.to_vec()];
        Self {
            config: Arc::new(config),
            spki,
        }
    }

    pub fn spki_digest(&self) -> SpkiDigest {
        self.spki
    }

    pub async fn accept(&self, stream: TcpStream) -> io::Result<Channel> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let stream = acceptor.accept(stream).await?;
        Ok(Channel(Arc::new(Mutex::new(stream))))
    }
}

/// An accepted connection.
#[derive(Clone)]
pub struct Channel(Arc<Mutex<TlsStream<TcpStream>>>);

impl Channel {
    pub fn exporter(&self, nonce: &Nonce) -> Exporter {
        let stream = self.0.lock().unwrap();
        let (_, connection) = stream.get_ref();
        let exported = connection
            .export_keying_material([0; 32], EXPORTER_LABEL, Some(nonce.as_bytes()))
            .unwrap();
        Exporter(exported)
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock().unwrap()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.lock().unwrap()).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock().unwrap()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock().unwrap()).poll_shutdown(cx)
    }
}
