//! TLS to one machine: version 1.3, X25519MLKEM768, raw public keys, no resumption, no 0-RTT.
//!
//! The handshake proves that the peer holds the private key of the key that it shows, nothing
//! else: whose key it is, the evidence says later, bound to this connection by its exporter. So no
//! name, certificate or root is looked at here. `docs/spec/evidence.md` §2.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use protocol::digest::{Exporter, Nonce, SpkiDigest};
use protocol::evidence::EXPORTER_LABEL;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, NamedGroup, PeerIncompatible, PeerMisbehaved,
    ProtocolVersion, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An Ed25519 or P-256 key is far shorter.
const MAX_SPKI_BYTES: usize = 256;
/// The name is never sent and never compared.
const NO_NAME: &str = "cocoon.invalid";

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The TLS library does not offer what this protocol needs.
    #[error("the TLS library lacks TLS 1.3 or X25519MLKEM768")]
    Provider(#[source] rustls::Error),
    /// The handshake failed.
    #[error("TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The peer agreed to something that was not asked of it.
    #[error("the peer did not agree to `{what}`")]
    NotAgreed {
        /// What is missing.
        what: &'static str,
    },
}

/// An established connection that both HTTP and the exporter can reach.
#[derive(Debug, Clone)]
pub(super) struct Tls(Arc<Mutex<TlsStream<TcpStream>>>);

impl Tls {
    /// Shakes hands on a connected stream.
    pub(super) async fn connect(tcp: TcpStream, alpn: &[u8]) -> Result<Self, TlsError> {
        let config = configuration(alpn).map_err(TlsError::Provider)?;
        let name =
            ServerName::try_from(NO_NAME).map_err(|_| TlsError::NotAgreed { what: "name" })?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .map_err(TlsError::Handshake)?;
        let tls = Self(Arc::new(Mutex::new(stream)));
        tls.check_agreement(alpn)?;
        Ok(tls)
    }

    fn check_agreement(&self, alpn: &[u8]) -> Result<(), TlsError> {
        let agreed = |yes: bool, what| {
            if yes {
                Ok(())
            } else {
                Err(TlsError::NotAgreed { what })
            }
        };
        let guard = self.lock();
        let (_, session) = guard.get_ref();
        let version = session.protocol_version();
        agreed(version == Some(ProtocolVersion::TLSv1_3), "TLS 1.3")?;
        agreed(session.alpn_protocol() == Some(alpn), "ALPN")?;
        let group = session.negotiated_key_exchange_group();
        agreed(
            group.is_some_and(|group| group.name() == NamedGroup::X25519MLKEM768),
            "X25519MLKEM768",
        )
    }

    /// SHA-256 over the peer's SubjectPublicKeyInfo as it came in the handshake.
    pub(super) fn spki_digest(&self) -> Result<SpkiDigest, TlsError> {
        let guard = self.lock();
        let (_, session) = guard.get_ref();
        match session.peer_certificates() {
            Some([key]) => Ok(SpkiDigest(Sha256::digest(key.as_ref()).into())),
            Some(_) | None => Err(TlsError::NotAgreed {
                what: "raw public key",
            }),
        }
    }

    /// The exporter of this connection in the context of a nonce.
    pub(super) fn exporter(&self, nonce: &Nonce) -> Result<Exporter, rustls::Error> {
        let guard = self.lock();
        let (_, session) = guard.get_ref();
        session
            .export_keying_material([0; 32], EXPORTER_LABEL, Some(nonce.as_bytes()))
            .map(Exporter)
    }

    fn lock(&self) -> MutexGuard<'_, TlsStream<TcpStream>> {
        // A panic elsewhere does not make the stream's own state invalid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn configuration(alpn: &[u8]) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    });
    let verifier = Arc::new(PossessionOnly(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}

/// Takes any raw public key of a listed kind whose private half signs this handshake.
#[derive(Debug)]
struct PossessionOnly(Arc<CryptoProvider>);

impl ServerCertVerifier for PossessionOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !intermediates.is_empty() || end_entity.len() > MAX_SPKI_BYTES {
            return Err(PeerMisbehaved::BadCertChainExtensions.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(cert.as_ref()),
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ED25519,
            SignatureScheme::ECDSA_NISTP256_SHA256,
        ]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}
