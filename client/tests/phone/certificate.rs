//! A certificate for 127.0.0.1, made for one test: it vouches for itself.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// RFC 8410 §7: PKCS#8 v1 of an Ed25519 key up to its 32-byte seed.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// The algorithm Ed25519.
const ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// A certificate with its key.
pub struct Certificate {
    der: Vec<u8>,
    seed: [u8; 32],
}

impl Certificate {
    /// Valid from 2020 until the given time, `YYMMDDHHMMSSZ`.
    pub fn until(end: &str) -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let key = SigningKey::from_bytes(&seed);
        let common_name = [tlv(0x06, &[0x55, 0x04, 0x03]), tlv(0x0c, b"test bridge")].concat();
        let name = tlv(0x30, &tlv(0x31, &tlv(0x30, &common_name)));
        let times = [tlv(0x17, b"200101000000Z"), tlv(0x17, end.as_bytes())].concat();
        let public = [&[0][..], key.verifying_key().as_bytes()].concat();
        let public = tlv(0x30, &[ED25519, &tlv(0x03, &public)].concat());
        // Subject alternative name: the address 127.0.0.1.
        let names = tlv(0x30, &tlv(0x87, &[127, 0, 0, 1]));
        let extension = [tlv(0x06, &[0x55, 0x1d, 0x11]), tlv(0x04, &names)].concat();
        let extensions = tlv(0xa3, &tlv(0x30, &tlv(0x30, &extension)));
        let version = tlv(0xa0, &tlv(0x02, &[2]));
        let serial = tlv(0x02, &[1]);
        let validity = tlv(0x30, &times);
        let parts = [
            &version,
            &serial,
            ED25519,
            &name,
            &validity,
            &name,
            &public,
            &extensions,
        ];
        let signed = tlv(0x30, &parts.concat());
        let signature = key.sign(&signed).to_bytes();
        let signature = tlv(0x03, &[&[0][..], &signature].concat());
        let der = tlv(0x30, &[&signed, ED25519, &signature].concat());
        Self { der, seed }
    }

    pub fn pem(&self) -> String {
        let text = STANDARD.encode(&self.der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let key = PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], &self.seed].concat());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(self.der.clone())], key.into())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A DER element.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut element = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 128 => element.push(short),
        Ok(long) => element.extend([0x81, long]),
        Err(_) => {
            element.push(0x82);
            element.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    element.extend_from_slice(content);
    element
}
