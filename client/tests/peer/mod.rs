//! A scripted machine for the client's tests: real TLS, real evidence of the simulated TEE, honest
//! until a knob is turned. What it saw can be asked for.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of the stage"
)]

pub mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use client::chat::{Chat, ChatRequest, Question, Till};
use client::pins::Pins;
use client::session::Attester;
use client::wallet::{ChannelFile, Jetton, Ledger, StateDirectory};
use client::{Deployment, NoRandomness, Surroundings};
use ed25519_dalek::SigningKey;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mock_tee::snp::{Product, SnpMachine};
use protocol::digest::{
    AccountId, BootId, EpochKey, EventLogDigest, Freshness, GpuEvidenceDigest, HpkeConfigDigest,
    LaunchDigest, PayerKey, ReceiptDigest, ReceiptKey, Salt,
};
use protocol::evidence::{ATTEST_PATH, Challenge, Evidence, FreshnessProof, freshness_leaf};
use protocol::launch_configuration::{
    LaunchConfiguration, Limits, ModelEntry, config_digest, host_data,
};
use protocol::merkle;
use protocol::nano::Nano;
use protocol::receipt::{
    FinishReason, Receipt, Sampling, TokenCounts, TokenPrices, request_digest, response_digest,
};
use protocol::reference_values::{
    ExpectedRegisters, ImageVersion, ModelReference, Profile, ReferenceValues, ShapeReference,
};
use protocol::serving::{
    CALLS_HEADER, CHAT_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH, HEALTH_PATH, Progress, SALT_HEADER,
    VOUCHER_HEADER, VOUCHER_PATH,
};
use protocol::statement::{Role, Statement, models_digest};
use protocol::tee::{EvidenceClass, TeeKind};
use protocol::ton::TonAddress;
use protocol::verity::VerityParameters;
use protocol::voucher::SignedVoucher;
use research_anchors::{RESEARCH_ALPN, RESEARCH_NETWORK, research_anchors};
use serde_json::json;
use tokio::net::TcpListener;
use verifier::{AppraisalPolicy, UnixTime};
use zeroize::Zeroizing;

use self::tls::{ServerTls, TlsKey};

pub const NOW: u64 = 1_795_000_000;
pub const MODEL: &str = "scripted";
pub const PROMPT_TOKENS: u32 = 20;
pub const WORDS: [&str; 4] = ["Par", "", "is", "."];
pub const DEPOSIT: u64 = 1_000_000;
pub const PRICES: TokenPrices = TokenPrices {
    prompt: 20,
    cached: 2,
    completion: 160,
};
/// Twenty prompt tokens, four words and the end token.
pub const WHOLE_COST: u64 = 20 * 20 + 5 * 160;
pub const IMAGE: ImageVersion = ImageVersion {
    major: 0,
    minor: 1,
    patch: 0,
};

const CHANNEL_SEED: [u8; 32] = [5; 32];
const LAUNCH: LaunchDigest = LaunchDigest([0x1a; 48]);
const BOOT: BootId = BootId([7; 32]);

pub fn address(byte: u8) -> TonAddress {
    TonAddress {
        workchain: 0,
        account: AccountId([byte; 32]),
    }
}

pub fn configuration() -> LaunchConfiguration {
    LaunchConfiguration {
        version: 1,
        network: RESEARCH_NETWORK,
        payee: address(3),
        jetton: None,
        models: vec![ModelEntry {
            name: MODEL.to_owned(),
            verity: VerityParameters {
                data_blocks: 10,
                hash_start_block: 10,
                salt: [1; 32],
                root: [2; 32],
            },
            prices: PRICES,
        }],
        limits: Limits {
            streams: 4,
            context_tokens: 2048,
            increment_tokens: 4,
        },
    }
}

pub fn references() -> ReferenceValues {
    ReferenceValues {
        version: 1,
        image: IMAGE,
        profile: Profile::Research,
        shapes: vec![ShapeReference {
            shape: "cpu-2x2048".to_owned(),
            vcpus: 2,
            memory_mib: 2048,
            registers: ExpectedRegisters::SevSnp {
                vcpu_type: "EPYC-v4".to_owned(),
                guest_features: 1,
                launch_digest: LAUNCH,
            },
            devices: Vec::new(),
        }],
        models: vec![ModelReference {
            name: MODEL.to_owned(),
            digest: configuration().models[0].verity.model_digest(),
        }],
    }
}

/// A clock that tests move, and the kernel's randomness.
#[derive(Debug)]
pub struct World(AtomicU64);

impl World {
    pub fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Surroundings for World {
    fn now(&self) -> UnixTime {
        UnixTime(self.0.load(Ordering::Relaxed))
    }

    fn random(&self) -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
        Ok(bytes)
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }
}

/// How a challenge is answered.
#[derive(Debug, Clone, Default)]
pub enum Answering {
    /// With evidence about this very connection.
    #[default]
    Honest,
    /// With what was asked of a genuine machine, under the same nonce.
    Relayed(SocketAddr),
    /// With these bytes.
    Bytes(Bytes),
    /// With evidence whose launch measurement nobody pinned.
    OtherImage,
}

/// Everything that the machine can get wrong.
#[derive(Clone, Copy)]
pub struct Script {
    /// Changes the last progress event.
    pub progress: fn(&mut Progress),
    /// Changes the receipt before it is signed.
    pub receipt: fn(&mut Receipt),
    /// Seed of the key that signs receipts; another one than the attested is a lie.
    pub receipt_seed: [u8; 32],
    /// Whether the receipt is sent at all.
    pub with_receipt: bool,
    /// The highest voucher that the payee knows: a request with less is refused and shown it.
    pub known: Option<SignedVoucher>,
    /// What each token's chunk tells of its probability.
    pub logprobs: fn(&str) -> serde_json::Value,
    /// What a request's seed makes of each word.
    pub word: fn(u64, &'static str) -> String,
    /// How answers say that they write calls.
    pub calls: Option<&'static str>,
    /// Requests with this seed are refused: all streams are taken.
    pub refused_seed: Option<u64>,
    /// Answers to requests with this seed break off after their words.
    pub broken_seed: Option<u64>,
    /// Whether the machine says that it cannot answer.
    pub without_engine: bool,
    /// Why answers end: `stop`, or `length` with a request for four tokens.
    pub finish: &'static str,
    /// Answers stand still after their words until nobody waits for them.
    pub holds: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            progress: |_| {},
            receipt: |_| {},
            receipt_seed: RECEIPT_SEED,
            with_receipt: true,
            known: None,
            logprobs: |_| serde_json::Value::Null,
            word: |_, word| word.to_owned(),
            calls: None,
            refused_seed: None,
            broken_seed: None,
            without_engine: false,
            finish: "stop",
            holds: false,
        }
    }
}

const RECEIPT_SEED: [u8; 32] = [9; 32];

/// What the machine saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub connections: usize,
    pub paths: Vec<String>,
    pub vouchers: Vec<SignedVoucher>,
    pub header_vouchers: Vec<SignedVoucher>,
    pub bodies: Vec<Bytes>,
    /// Answers that stand still, and those that nobody waits for any more.
    pub held: usize,
    pub cancelled: usize,
}

/// A response's body: these bytes, and then perhaps nothing, for as long as somebody waits.
pub struct Sent {
    bytes: Option<Bytes>,
    held: Option<Arc<Mutex<Seen>>>,
}

impl From<Bytes> for Sent {
    fn from(bytes: Bytes) -> Self {
        let (bytes, held) = (Some(bytes), None);
        Self { bytes, held }
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.held.is_some() => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(seen) = &self.held {
            seen.lock().unwrap().cancelled += 1;
        }
    }
}

/// A running machine.
#[derive(Clone)]
pub struct Peer {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Seen>>,
    world: Arc<World>,
    answering: Answering,
    script: Script,
    tls: ServerTls,
}

impl Peer {
    pub async fn start(world: &Arc<World>, answering: Answering, script: Script) -> Self {
        Self::with_key(world, answering, script, TlsKey::draw()).await
    }

    pub async fn with_key(
        world: &Arc<World>,
        answering: Answering,
        script: Script,
        key: TlsKey,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            world: Arc::clone(world),
            answering,
            script,
            tls: ServerTls::new(key, RESEARCH_ALPN),
        };
        let accepting = peer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let peer = accepting.clone();
                tokio::spawn(async move { peer.connection(stream).await });
            }
        });
        peer
    }

    async fn connection(self, stream: tokio::net::TcpStream) {
        let Ok(channel) = self.tls.accept(stream).await else {
            return;
        };
        self.seen.lock().unwrap().connections += 1;
        let io = TokioIo::new(channel.clone());
        let sequence = Arc::new(Mutex::new((0u64, ReceiptDigest::ZERO)));
        let statement: Arc<Mutex<Option<Statement>>> = Arc::default();
        let service = service_fn(|request| {
            let (peer, channel) = (self.clone(), channel.clone());
            let (sequence, statement) = (Arc::clone(&sequence), Arc::clone(&statement));
            async move {
                let answer = peer.answer(request, &channel, &sequence, &statement).await;
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        let _ended = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await;
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        channel: &tls::Channel,
        sequence: &Mutex<(u64, ReceiptDigest)>,
        statement: &Mutex<Option<Statement>>,
    ) -> Response<Sent> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = head.uri.path().to_owned();
        self.seen.lock().unwrap().paths.push(path.clone());
        match path.as_str() {
            ATTEST_PATH => {
                let challenge = Challenge::decode(&body).unwrap();
                let evidence = self.evidence(&challenge, channel, statement).await;
                Response::new(evidence.into())
            }
            VOUCHER_PATH => {
                let voucher = SignedVoucher::decode(&body).unwrap();
                assert!(voucher.verify().is_ok());
                self.seen.lock().unwrap().vouchers.push(voucher);
                let mut response = Response::new(Bytes::new().into());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            CHAT_PATH | COMPLETIONS_PATH | EMBEDDINGS_PATH => {
                let voucher = STANDARD.decode(&head.headers[VOUCHER_HEADER]).unwrap();
                let voucher = SignedVoucher::decode(&voucher).unwrap();
                self.seen.lock().unwrap().header_vouchers.push(voucher);
                if let Some(known) = self.script.known
                    && voucher.voucher.cumulative < known.voucher.cumulative
                {
                    return outdated(&known);
                }
                self.seen.lock().unwrap().bodies.push(body.clone());
                let seed = seed_of(&body);
                if self.script.refused_seed == Some(seed) {
                    return refused(StatusCode::TOO_MANY_REQUESTS, "too-many-streams");
                }
                let said = statement.lock().unwrap().clone().unwrap();
                let stream = self.chat(&head.headers, &body, &voucher, &said, sequence);
                let held = self.script.holds.then(|| Arc::clone(&self.seen));
                self.seen.lock().unwrap().held += usize::from(held.is_some());
                let bytes = Some(stream.into());
                let mut response = Response::new(Sent { bytes, held });
                if let Some(calls) = self.script.calls {
                    let word = HeaderValue::from_static(calls);
                    response.headers_mut().insert(CALLS_HEADER, word);
                }
                response
            }
            HEALTH_PATH if self.script.without_engine => {
                refused(StatusCode::SERVICE_UNAVAILABLE, "engine-unavailable")
            }
            HEALTH_PATH => Response::new(Bytes::from_static(br#"{"status":"ok"}"#).into()),
            other => panic!("the client asked for {other}"),
        }
    }

    async fn evidence(
        &self,
        challenge: &Challenge,
        channel: &tls::Channel,
        statement: &Mutex<Option<Statement>>,
    ) -> Bytes {
        let launch = match &self.answering {
            Answering::Honest => LAUNCH,
            Answering::OtherImage => LaunchDigest([0x66; 48]),
            Answering::Bytes(bytes) => return bytes.clone(),
            Answering::Relayed(genuine) => {
                let mut relay = client::channel::UnverifiedChannel::connect(genuine, RESEARCH_ALPN)
                    .await
                    .unwrap();
                return relay.challenge(challenge.nonce).await.unwrap().encoded;
            }
        };
        let bytes = configuration().to_canonical_bytes().unwrap();
        let digest = config_digest(&bytes);
        let leaf = freshness_leaf(&challenge.nonce, &channel.exporter(&challenge.nonce));
        let said = Statement {
            role: Role::Worker,
            class: EvidenceClass::Fresh,
            tee: TeeKind::SevSnp,
            boot_id: BOOT,
            freshness: Freshness(merkle::root(&[leaf])),
            tls_key: self.tls.spki_digest(),
            epoch_key: EpochKey::ZERO,
            hpke_configuration: HpkeConfigDigest::ZERO,
            receipt_key: ReceiptKey(
                SigningKey::from_bytes(&RECEIPT_SEED)
                    .verifying_key()
                    .to_bytes(),
            ),
            configuration: digest,
            models: models_digest(&configuration().model_digests()),
            event_log: EventLogDigest::ZERO,
            gpu_evidence: GpuEvidenceDigest::ZERO,
            host_time: self.world.now().0,
        };
        let machine = SnpMachine::new(Product::Genoa, launch, host_data(&digest));
        let evidence = Evidence {
            report: machine.report(&said.report_data()).unwrap(),
            statement: said.clone(),
            proof: FreshnessProof {
                index: 0,
                count: 1,
                path: Vec::new(),
            },
            launch_configuration: bytes,
            event_log: Vec::new(),
            gpu_evidence: Vec::new(),
            endorsements: machine.endorsements(self.world.now().0).unwrap(),
        };
        *statement.lock().unwrap() = Some(said);
        evidence.encode().into()
    }

    fn chat(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        voucher: &SignedVoucher,
        statement: &Statement,
        sequence: &Mutex<(u64, ReceiptDigest)>,
    ) -> String {
        let tokens = |completion| TokenCounts {
            prompt: PROMPT_TOKENS,
            cached: 0,
            completion,
        };
        let request: serde_json::Value = serde_json::from_slice(body).unwrap();
        let of_text = request["prompt"].is_string();
        let mut stream = String::new();
        let inputs = inputs_of(&request);
        if inputs > 0 {
            let salt: Salt = headers[SALT_HEADER].to_str().unwrap().parse().unwrap();
            let receipt = self.receipt(&salt, body, voucher, statement, tokens(0), sequence);
            return self.vectors(inputs, &tokens(0), &receipt);
        }
        if !of_text {
            let role = json!({ "role": "assistant", "content": "" });
            stream.push_str(&chunk(&role, json!(null), None));
        }
        stream.push_str(&progress(&tokens(0), |_| {}));
        let seed = seed_of(body);
        let words = WORDS.map(|word| (self.script.word)(seed, word));
        for word in &words {
            let told = (self.script.logprobs)(word);
            stream.push_str(&if of_text {
                text_chunk(word, None)
            } else {
                chunk(&json!({ "content": word }), told, None)
            });
        }
        if self.script.holds {
            return stream;
        }
        if self.script.broken_seed == Some(seed) {
            let error = json!({ "error": { "message": "", "code": "engine-unavailable" } });
            return format!("{stream}data: {error}\n\ndata: [DONE]\n\n");
        }
        stream.push_str(&if of_text {
            text_chunk("", Some(self.script.finish))
        } else {
            chunk(&json!({}), json!(null), Some(self.script.finish))
        });
        let delivered = tokens(if self.script.finish == "stop" { 5 } else { 4 });
        stream.push_str(&progress(&delivered, self.script.progress));
        if self.script.with_receipt {
            let salt: Salt = headers[SALT_HEADER].to_str().unwrap().parse().unwrap();
            let receipt = self.receipt(&salt, body, voucher, statement, delivered, sequence);
            stream.push_str(&format!(
                "event: cocoon.receipt\ndata: {}\n\n",
                json!({ "receipt": receipt })
            ));
        }
        stream.push_str("data: [DONE]\n\n");
        stream
    }

    /// The stream of this many vectors.
    fn vectors(&self, inputs: usize, tokens: &TokenCounts, receipt: &str) -> String {
        let told = progress(tokens, self.script.progress);
        let mut stream = told.clone();
        for at in 0..inputs {
            let coded = STANDARD.encode(vector(at));
            let chunk = json!({ "object": "embedding", "index": at, "embedding": coded });
            stream.push_str(&format!("data: {chunk}\n\n"));
        }
        let usage = json!({ "prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS });
        let rest = json!({ "object": "list", "model": MODEL, "usage": usage });
        let receipt = json!({ "receipt": receipt });
        format!(
            "{stream}data: {rest}\n\n{told}\
             event: cocoon.receipt\ndata: {receipt}\n\ndata: [DONE]\n\n"
        )
    }

    /// The signed receipt, base64.
    fn receipt(
        &self,
        salt: &Salt,
        body: &Bytes,
        voucher: &SignedVoucher,
        statement: &Statement,
        tokens: TokenCounts,
        sequence: &Mutex<(u64, ReceiptDigest)>,
    ) -> String {
        let seed = seed_of(body);
        let words = WORDS.map(|word| (self.script.word)(seed, word));
        let by_itself = self.script.finish == "stop";
        let mut held = sequence.lock().unwrap();
        let mut receipt = Receipt {
            network: RESEARCH_NETWORK,
            statement: statement.digest(),
            boot_id: BOOT,
            class: EvidenceClass::Fresh,
            beacon: Freshness::ZERO,
            request: request_digest(salt, body),
            response: response_digest(salt, words.concat().as_bytes()),
            model: configuration().models[0].verity.model_digest(),
            image: IMAGE,
            sampling: Sampling {
                temperature_milli: 0,
                top_p_milli: 1000,
                top_k: 0,
                min_p_milli: 0,
                presence_milli: 0,
                frequency_milli: 0,
                seed,
                max_tokens: if by_itself { 16 } else { 4 },
            },
            tokens,
            prices: PRICES,
            charged: PRICES.cost(&tokens).unwrap(),
            finish: if by_itself {
                FinishReason::Stop
            } else {
                FinishReason::Length
            },
            channel: voucher.voucher.channel,
            epoch: voucher.voucher.epoch,
            sequence: held.0,
            previous: held.1,
            host_time: self.world.now().0,
        };
        let inputs = inputs_of(&serde_json::from_slice(body).unwrap());
        if inputs > 0 {
            let all: Vec<u8> = (0..inputs).flat_map(vector).collect();
            receipt.response = response_digest(salt, &all);
            (receipt.sampling.seed, receipt.sampling.max_tokens) = (0, 1);
        }
        (self.script.receipt)(&mut receipt);
        *held = (receipt.sequence + 1, receipt.digest());
        let signed = receipt.sign(&SigningKey::from_bytes(&self.script.receipt_seed));
        STANDARD.encode(signed.encode())
    }

    pub fn vouchers(&self) -> Vec<SignedVoucher> {
        self.seen.lock().unwrap().vouchers.clone()
    }

    pub fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().paths.clone()
    }
}

/// How many vectors a request asks for, all of them of texts.
fn inputs_of(request: &serde_json::Value) -> usize {
    let input = &request["input"];
    input
        .as_array()
        .map_or(usize::from(input.is_string()), Vec::len)
}

/// The vector of the input at this place.
pub fn vector(at: usize) -> Vec<u8> {
    let elements = [f32::from(u8::try_from(at).unwrap()) + 0.5, -1.0];
    elements.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// A refusal of this status and code.
fn refused(status: StatusCode, code: &str) -> Response<Sent> {
    let error = json!({ "error": { "message": "", "type": "", "code": code } });
    let mut response = Response::new(Bytes::from(error.to_string()).into());
    *response.status_mut() = status;
    response
}

/// The seed of a request; 1 where it says none.
fn seed_of(body: &Bytes) -> u64 {
    let request: serde_json::Value = serde_json::from_slice(body).unwrap();
    request["seed"].as_u64().unwrap_or(1)
}

/// The refusal of a voucher below the highest that is known.
fn outdated(known: &SignedVoucher) -> Response<Sent> {
    let mut response = refused(StatusCode::PAYMENT_REQUIRED, "payment-outdated");
    let shown = STANDARD.encode(known.encode()).parse().unwrap();
    response.headers_mut().insert(VOUCHER_HEADER, shown);
    response
}

fn chunk(delta: &serde_json::Value, logprobs: serde_json::Value, finish: Option<&str>) -> String {
    let choice = json!({
        "index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish,
    });
    let chunk = json!({
        "id": "c", "object": "chat.completion.chunk", "created": 7, "model": MODEL,
        "choices": [choice],
    });
    format!("data: {chunk}\n\n")
}

fn text_chunk(text: &str, finish: Option<&str>) -> String {
    let choice = json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": finish });
    let chunk = json!({
        "id": "c", "object": "text_completion", "created": 7, "model": MODEL, "choices": [choice],
    });
    format!("data: {chunk}\n\n")
}

fn progress(tokens: &TokenCounts, change: fn(&mut Progress)) -> String {
    let mut event = Progress {
        prompt_tokens: tokens.prompt,
        cached_tokens: tokens.cached,
        completion_tokens: tokens.completion,
        charged: PRICES.cost(tokens).unwrap().to_string(),
    };
    change(&mut event);
    format!(
        "event: cocoon.progress\ndata: {}\n\n",
        serde_json::to_string(&event).unwrap()
    )
}

/// A client's side: a state directory with one funded channel, and the demands of a research
/// program.
pub struct Stage {
    pub world: Arc<World>,
    pub state: StateDirectory,
    _root: tempfile::TempDir,
}

impl Stage {
    pub fn open() -> Self {
        Self::open_in(None)
    }

    /// With a channel in a jetton, or in coins.
    pub fn open_in(jetton: Option<Jetton>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(root.path()).unwrap();
        let file = ChannelFile {
            version: 1,
            network: RESEARCH_NETWORK,
            channel: address(1),
            payer: address(2),
            payee: address(3),
            payer_key: PayerKey(
                SigningKey::from_bytes(&CHANNEL_SEED)
                    .verifying_key()
                    .to_bytes(),
            ),
            window: 3600,
            epoch: 7,
            deposited: DEPOSIT.to_string(),
            jetton,
        };
        let channel = state.within("channel").unwrap();
        Ledger::create(&channel, &CHANNEL_SEED, &file).unwrap();
        Self {
            world: Arc::new(World(AtomicU64::new(NOW))),
            state,
            _root: root,
        }
    }

    pub fn attester(&self, relay: SocketAddr) -> Attester {
        let json = references().to_json().unwrap();
        Attester {
            relay: relay.to_string(),
            deployment: Deployment {
                program: "client-test",
                alpn: RESEARCH_ALPN,
                network: RESEARCH_NETWORK,
                anchors: research_anchors(),
                policy: AppraisalPolicy::strict(),
            },
            pins: Pins::parse(json.as_bytes(), Profile::Research).unwrap(),
            policy: AppraisalPolicy::strict(),
            surroundings: Arc::clone(&self.world) as Arc<dyn Surroundings>,
        }
    }

    pub fn ledger(&self) -> Ledger {
        Ledger::open(self.state.within("channel").unwrap()).unwrap()
    }

    pub fn kept_receipts(&self) -> Vec<String> {
        self.state.within("receipts").unwrap().names().unwrap()
    }

    /// An attested connection and the till that pays for it.
    pub async fn chat(&self, peer: &Peer, limit: Nano) -> Chat {
        let attester = self.attester(peer.address);
        let session = attester.connect().await.unwrap();
        let kept = self.state.within("receipts").unwrap();
        let till = Till::open(self.ledger(), kept).unwrap();
        Chat::new(attester, session, till, limit).unwrap()
    }
}

/// A limit that the peer's price is below.
pub fn enough() -> Nano {
    Nano::from_u64(PRICES.completion * 1_000_000)
}

pub fn question() -> ChatRequest {
    ChatRequest::of_question(&Question {
        model: MODEL.to_owned(),
        prompt: "What is the capital of France?".to_owned(),
        max_tokens: 16,
        temperature: Some(0.0),
        seed: Some(1),
    })
    .unwrap()
}
