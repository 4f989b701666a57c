//! A client for tests: real handshake and signature check, no policy.

use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use protocol::digest::{AccountId, Exporter, Nonce, ReceiptsRoot, Salt};
use protocol::evidence::{ATTEST_PATH, Challenge, EXPORTER_LABEL, Evidence};
use protocol::nano::Nano;
use protocol::receipt::SignedReceipt;
use protocol::serving::{
    CALLS_HEADER, CHAT_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH, Progress, ReceiptEvent,
    SALT_HEADER, VOUCHER_HEADER, VOUCHER_PATH,
};
use protocol::tee::EvidenceClass;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::{SignedVoucher, Voucher};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, version};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::{ALPN, MODEL, NETWORK};

pub const SALT: Salt = Salt([8; 32]);

/// Records the raw key, and has the TLS library check the handshake's signature under it.
#[derive(Debug)]
struct RawKey {
    provider: Arc<CryptoProvider>,
    spki: Mutex<Vec<u8>>,
}

impl ServerCertVerifier for RawKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.spki.lock().unwrap() = end_entity.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("no TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// What a client offers in its handshake.
pub struct Offer {
    pub provider: CryptoProvider,
    pub alpn: Vec<Vec<u8>>,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            provider: aws_lc_rs::default_provider(),
            alpn: vec![ALPN.to_vec()],
        }
    }
}

/// A connection and the exporters of two challenges on it.
pub struct Client {
    http: SendRequest<Full<Bytes>>,
    pub challenges: [(Nonce, Exporter); 2],
    pub spki: Vec<u8>,
}

impl Client {
    pub async fn connect(path: &Path) -> Self {
        Self::offering(path, Offer::default()).await.unwrap()
    }

    /// A connection to a program of another deployment.
    pub async fn speaking(path: &Path, alpn: &[u8]) -> Self {
        let offer = Offer {
            alpn: vec![alpn.to_vec()],
            ..Offer::default()
        };
        Self::offering(path, offer).await.unwrap()
    }

    pub async fn offering(path: &Path, offer: Offer) -> std::io::Result<Self> {
        let provider = Arc::new(offer.provider);
        let verifier = Arc::new(RawKey {
            provider: Arc::clone(&provider),
            spki: Mutex::default(),
        });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_no_client_auth();
        config.alpn_protocols = offer.alpn;
        let socket = UnixStream::connect(path).await?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("guest.invalid").unwrap();
        let tls = connector.connect(name, socket).await?;
        let challenges = [1, 2].map(|mark| {
            let mut nonce = Nonce(random());
            nonce.0[0] = mark;
            let connection = tls.get_ref().1;
            let exported =
                connection.export_keying_material([0; 32], EXPORTER_LABEL, Some(&nonce.0));
            (nonce, Exporter(exported.unwrap()))
        });
        let (http, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
                .await
                .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        let spki = verifier.spki.lock().unwrap().clone();
        Ok(Self {
            http,
            challenges,
            spki,
        })
    }

    /// A connection on which a challenge was answered.
    pub async fn attested(path: &Path) -> Self {
        let mut client = Self::connect(path).await;
        client.attest(0).await;
        client
    }

    pub async fn attest(&mut self, which: usize) -> Evidence {
        let challenge = Challenge {
            class: EvidenceClass::Fresh,
            nonce: self.challenges[which].0,
        };
        let answer = self.post(ATTEST_PATH, challenge.encode()).await;
        assert_eq!(answer.0, StatusCode::OK);
        Evidence::decode(&answer.1).unwrap()
    }

    pub async fn request(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.try_request(request).await.unwrap()
    }

    /// The same on a connection that the other side may end.
    pub async fn try_request(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        self.http.ready().await?;
        self.http.send_request(request).await
    }

    pub async fn whole(&mut self, request: Request<Full<Bytes>>) -> (StatusCode, Bytes) {
        let (head, body) = self.request(request).await.into_parts();
        (head.status, body.collect().await.unwrap().to_bytes())
    }

    pub async fn post(&mut self, path: &str, body: Vec<u8>) -> (StatusCode, Bytes) {
        self.whole(post(path).body(Full::from(body)).unwrap()).await
    }

    pub async fn get(&mut self, path: &str) -> (StatusCode, Bytes) {
        let request = Request::get(uri(path)).body(Full::default()).unwrap();
        self.whole(request).await
    }

    pub async fn pay(&mut self, voucher: &SignedVoucher) -> (StatusCode, Bytes) {
        self.post(VOUCHER_PATH, voucher.encode()).await
    }

    /// Starts a chat; a refusal's status and code come back as the error.
    pub async fn chat(
        &mut self,
        voucher: &SignedVoucher,
        body: &Value,
    ) -> Result<Stream, (StatusCode, String)> {
        self.begin(CHAT_PATH, voucher, body).await
    }

    /// The same for a text to be continued.
    pub async fn continued(
        &mut self,
        voucher: &SignedVoucher,
        body: &Value,
    ) -> Result<Stream, (StatusCode, String)> {
        self.begin(COMPLETIONS_PATH, voucher, body).await
    }

    /// The same for vectors.
    pub async fn embed(
        &mut self,
        voucher: &SignedVoucher,
        body: &Value,
    ) -> Result<Stream, (StatusCode, String)> {
        self.begin(EMBEDDINGS_PATH, voucher, body).await
    }

    /// The same on any path.
    pub async fn begin(
        &mut self,
        path: &str,
        voucher: &SignedVoucher,
        body: &Value,
    ) -> Result<Stream, (StatusCode, String)> {
        let request = paid_request(path, voucher, body.to_string().into_bytes());
        let response = self.request(request).await;
        let status = response.status();
        if status != StatusCode::OK {
            let body = response.into_body().collect().await.unwrap().to_bytes();
            return Err((status, code(&body)));
        }
        let calls = response.headers().get(CALLS_HEADER);
        Ok(Stream {
            calls: calls.map(|word| word.to_str().unwrap().to_owned()),
            body: response.into_body(),
            buffer: Vec::new(),
        })
    }
}

/// 32 bytes that differ from call to call.
fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    sys::entropy::fill(&mut bytes).unwrap();
    bytes
}

pub fn uri(path: &str) -> String {
    format!("https://guest.invalid{path}")
}

pub fn post(path: &str) -> http::request::Builder {
    Request::builder().method(Method::POST).uri(uri(path))
}

pub fn chat_request(voucher: &SignedVoucher, body: Vec<u8>) -> Request<Full<Bytes>> {
    paid_request(CHAT_PATH, voucher, body)
}

pub fn paid_request(path: &str, voucher: &SignedVoucher, body: Vec<u8>) -> Request<Full<Bytes>> {
    post(path)
        .header(VOUCHER_HEADER, STANDARD.encode(voucher.encode()))
        .header(SALT_HEADER, SALT.to_string())
        .header("content-type", "application/json")
        .body(Full::from(body))
        .unwrap()
}

pub fn question(max_tokens: u32) -> Value {
    json!({
        "model": MODEL,
        "messages": [{"role": "user", "content": "say something"}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": true,
        "stream_options": {"include_usage": true},
    })
}

/// The code of an error object.
pub fn code(body: &[u8]) -> String {
    let object: Value = serde_json::from_slice(body).unwrap();
    object["error"]["code"].as_str().unwrap().to_owned()
}

/// An answer's events.
pub struct Stream {
    /// How it writes calls.
    pub calls: Option<String>,
    body: Incoming,
    buffer: Vec<u8>,
}

#[derive(Debug, PartialEq)]
pub enum Event {
    Text(String),
    /// The same, with what was told of its probability.
    Told(String, Value),
    /// Where a vector stands, and its bytes.
    Vector(u64, Vec<u8>),
    Finish(String),
    Usage(Value),
    Progress(Progress),
    Receipt(Box<SignedReceipt>),
    Error(String),
    Done,
}

impl Stream {
    /// The next event; the chunk that opens the answer is passed over.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
                // docs/spec/serving.md §6: no event's length says more than this.
                assert_eq!(event.len() % 512, 0);
                match parse(std::str::from_utf8(&event).unwrap().trim_end()) {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let frame = self.body.frame().await?.ok()?;
            self.buffer.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    pub async fn progress(&mut self) -> Progress {
        loop {
            match self.next().await {
                Some(Event::Progress(progress)) => return progress,
                Some(_) => {}
                None => panic!("the stream ended without progress"),
            }
        }
    }
}

fn parse(event: &str) -> Option<Event> {
    let (comment, event) = event.split_once('\n').unwrap();
    assert!(comment.starts_with(':'));
    let (name, data) = match event.split_once('\n') {
        Some((name, data)) => (name.strip_prefix("event: ").unwrap(), data),
        None => ("", event),
    };
    let data = data.strip_prefix("data: ").unwrap();
    match name {
        "cocoon.progress" => Some(Event::Progress(serde_json::from_str(data).unwrap())),
        "cocoon.receipt" => {
            let event = ReceiptEvent::deserialize(&serde_json::from_str::<Value>(data).unwrap());
            let bytes = STANDARD.decode(event.unwrap().receipt).unwrap();
            Some(Event::Receipt(Box::new(
                SignedReceipt::decode(&bytes).unwrap(),
            )))
        }
        "" if data == "[DONE]" => Some(Event::Done),
        "" => chunk(&serde_json::from_str(data).unwrap()),
        other => panic!("unknown event {other}"),
    }
}

fn chunk(chunk: &Value) -> Option<Event> {
    if let Some(code) = chunk["error"]["code"].as_str() {
        return Some(Event::Error(code.to_owned()));
    }
    if chunk["object"] == "embedding" {
        let bytes = STANDARD.decode(chunk["embedding"].as_str().unwrap());
        return Some(Event::Vector(
            chunk["index"].as_u64().unwrap(),
            bytes.unwrap(),
        ));
    }
    if chunk["object"] == "list" {
        return Some(Event::Usage(chunk["usage"].clone()));
    }
    let is_text = chunk["object"] == "text_completion";
    assert!(is_text || chunk["object"] == "chat.completion.chunk");
    if chunk["usage"].is_object() {
        return Some(Event::Usage(chunk["usage"].clone()));
    }
    let choice = &chunk["choices"][0];
    if let Some(reason) = choice["finish_reason"].as_str() {
        return Some(Event::Finish(reason.to_owned()));
    }
    if is_text {
        return Some(Event::Text(choice["text"].as_str().unwrap().to_owned()));
    }
    let delta = &choice["delta"];
    if delta["role"].is_string() {
        assert_eq!(delta["content"], "");
        return None;
    }
    let text = delta["content"].as_str().unwrap().to_owned();
    let told = &choice["logprobs"];
    if told.is_null() {
        return Some(Event::Text(text));
    }
    Some(Event::Told(text, told.clone()))
}

/// Who pays, from which channel.
pub struct Payer {
    pub key: SigningKey,
    pub network: NetworkId,
    pub channel: TonAddress,
    pub base: u64,
}

impl Payer {
    pub fn new(mark: u8) -> Self {
        Self {
            key: SigningKey::from_bytes(&[mark; 32]),
            network: NETWORK,
            channel: TonAddress {
                workchain: 0,
                account: AccountId([mark; 32]),
            },
            base: 1000,
        }
    }

    /// A voucher for so much beyond the base.
    pub fn voucher(&self, charged: u64) -> SignedVoucher {
        let voucher = Voucher {
            network: self.network,
            channel: self.channel,
            epoch: 1,
            cumulative: Nano::from_u64(self.base + charged),
            receipts_root: ReceiptsRoot::ZERO,
            valid_until: 1_900_000_000,
        };
        voucher.sign(&self.key)
    }
}

impl Client {
    /// Whether the other side closes before it answers any request.
    pub async fn refused_before_http(&mut self) -> bool {
        if self.http.ready().await.is_err() {
            return true;
        }
        let request = Request::get(uri("/")).body(Full::default()).unwrap();
        self.http.send_request(request).await.is_err()
    }
}
