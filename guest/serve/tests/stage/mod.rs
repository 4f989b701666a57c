//! A stage for serve: scripted init, host and engine over local sockets, and serve in a thread.
//!
//! The client is `client`; what it can observe is real: TLS, HTTP/2, evidence, vouchers, receipts.
//! Reports here are no hardware's; who judges them is tested in `verifier`.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure; not every test uses every part"
)]

pub mod client;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use messages::engine_ipc::{
    CallSyntax, Candidate, Content, Embed, EngineEvent, EngineRefusal, EngineRequest, Form, Input,
    Prompt, Start, StepFigures, Vector,
};
use messages::framing;
use messages::host_control::{GuestMessage, HostMessage, ServeEvent, VoucherDecision};
use messages::quote_socket::{QuoteAnswer, QuoteRefusal, QuoteRequest};
use protocol::digest::{
    AccountId, BootId, ConfigDigest, EpochKey, EventLogDigest, Freshness, GpuEvidenceDigest,
    HpkeConfigDigest, ReceiptKey, SpkiDigest,
};
use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::evidence::freshness_leaf;
use protocol::launch_configuration::{LaunchConfiguration, Limits, ModelEntry, config_digest};
use protocol::merkle;
use protocol::receipt::{FinishReason, TokenPrices};
use protocol::reference_values::ImageVersion;
use protocol::statement::{Role, Statement, models_digest};
use protocol::tee::{EvidenceClass, TeeKind};
use protocol::ton::{NetworkId, TonAddress};
use protocol::verity::VerityParameters;
use protocol::voucher::SignedVoucher;
use serve::{Deployment, Descriptors, RunError};

pub const ALPN: &[u8] = b"serve-test/1";
pub const NETWORK: NetworkId = NetworkId(-7357);
pub const MODEL: &str = "scripted";
pub const HOST_TIME: u64 = 1_795_000_000;
/// Prompt tokens of every request to the scripted engine.
pub const PROMPT: u32 = 5;
/// How many of them the scripted engine says that it kept, when a message is `again`.
pub const CACHED: u32 = 3;
/// Tokens with text that the scripted engine has to say before it ends.
pub const WORDS: u32 = 10;
pub const PRICES: TokenPrices = TokenPrices {
    prompt: 3,
    cached: 1,
    completion: 10,
};

pub fn configuration(network: NetworkId) -> LaunchConfiguration {
    LaunchConfiguration {
        version: 1,
        network,
        payee: TonAddress {
            workchain: 0,
            account: AccountId([3; 32]),
        },
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
            streams: 2,
            context_tokens: 2048,
            increment_tokens: 4,
        },
    }
}

/// What the scripted parts saw, and how the host answers.
#[derive(Default)]
pub struct Seen {
    pub batches: Vec<usize>,
    pub ready: bool,
    pub vouchers: Vec<SignedVoucher>,
    pub events: Vec<(ServeEvent, u32)>,
    pub engine: Vec<EngineRequest>,
    pub decision: Option<VoucherDecision>,
    pub host_is_silent: bool,
    pub no_report: bool,
}

/// The scripted parts, and the descriptors that serve is to inherit from them.
pub struct Scenery {
    pub path: PathBuf,
    pub seen: Arc<Mutex<Seen>>,
    engine: UnixStream,
    quote: UnixStream,
    directory: tempfile::TempDir,
}

pub struct Stage {
    pub path: PathBuf,
    pub seen: Arc<Mutex<Seen>>,
    scenery: Scenery,
    run: Option<thread::JoinHandle<RunError>>,
}

impl Scenery {
    /// Scenery whose launch configuration names this network.
    pub fn on(network: NetworkId) -> (Self, Descriptors) {
        Self::with_engine(&configuration(network), |socket, seen| {
            play_engine(socket, &seen);
        })
    }

    /// Scenery with this launch configuration; `engine` is at the other end of the engine's socket.
    pub fn with_engine(
        configuration: &LaunchConfiguration,
        engine: impl FnOnce(UnixStream, Arc<Mutex<Seen>>) + Send + 'static,
    ) -> (Self, Descriptors) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("listener");
        let listener = UnixListener::bind(&path).unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (quote, init) = UnixStream::pair().unwrap();
        let (control, host) = UnixStream::pair().unwrap();
        let (of_engine, scripted) = UnixStream::pair().unwrap();
        let scenery = Self {
            path,
            seen: Arc::clone(&seen),
            engine: scripted.try_clone().unwrap(),
            quote: init.try_clone().unwrap(),
            directory,
        };
        let bytes = configuration.to_canonical_bytes().unwrap();
        let (of_init, of_host) = (Arc::clone(&seen), Arc::clone(&seen));
        thread::spawn(move || play_init(init, &bytes, &of_init));
        thread::spawn(move || play_host(host, &of_host));
        thread::spawn(move || engine(scripted, seen));
        let descriptors = Descriptors {
            listener: OwnedFd::from(listener),
            quote: quote.into(),
            control: control.into(),
            engine: of_engine.into(),
        };
        (scenery, descriptors)
    }

    /// init dies.
    pub fn end(&self) {
        let _ = self.quote.shutdown(Shutdown::Both);
    }

    /// Waits until something was seen; a test that never sees it fails.
    pub async fn until(&self, what: &str, seen: impl Fn(&Seen) -> bool) {
        let end = Instant::now() + Duration::from_secs(5);
        while !seen(&self.seen.lock().unwrap()) {
            assert!(Instant::now() < end, "never seen: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Stage {
    pub fn open() -> Self {
        Self::on(NETWORK)
    }

    /// A stage whose launch configuration names this network.
    pub fn on(network: NetworkId) -> Self {
        let (scenery, descriptors) = Scenery::on(network);
        let deployment = Deployment {
            alpn: ALPN,
            network: NETWORK,
            image: ImageVersion {
                major: 0,
                minor: 1,
                patch: 0,
            },
        };
        let run = thread::spawn(move || match serve::run(deployment, descriptors) {
            Ok(never) => match never {},
            Err(error) => error,
        });
        Self {
            path: scenery.path.clone(),
            seen: Arc::clone(&scenery.seen),
            scenery,
            run: Some(run),
        }
    }

    /// The engine dies.
    pub fn lose_engine(&self) {
        self.scenery.engine.shutdown(Shutdown::Both).unwrap();
    }

    /// init dies; what serve ends with.
    pub fn end(mut self) -> RunError {
        self.scenery.end();
        self.run.take().unwrap().join().unwrap()
    }

    /// What serve ends with by itself.
    pub fn ended(mut self) -> RunError {
        self.run.take().unwrap().join().unwrap()
    }

    /// See [`Scenery::until`].
    pub async fn until(&self, what: &str, seen: impl Fn(&Seen) -> bool) {
        self.scenery.until(what, seen).await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.scenery.end();
        if let Some(run) = self.run.take() {
            let _ = run.join();
        }
    }
}

fn read_frame(from: &mut UnixStream) -> Option<Vec<u8>> {
    let mut header = [0; 4];
    from.read_exact(&mut header).ok()?;
    let mut payload = vec![0; framing::payload_length(header, 1 << 24).unwrap()];
    from.read_exact(&mut payload).ok()?;
    Some(payload)
}

fn write_frame(to: &mut UnixStream, payload: &[u8]) {
    let _ = to.write_all(&framing::frame(payload));
}

fn play_init(mut socket: UnixStream, configuration: &[u8], seen: &Mutex<Seen>) {
    let mut keys = None;
    while let Some(frame) = read_frame(&mut socket) {
        let answer = match QuoteRequest::decode(&frame).unwrap() {
            QuoteRequest::Register {
                tls_key,
                receipt_key,
            } => {
                assert!(keys.replace((tls_key, receipt_key)).is_none());
                QuoteAnswer::Registered {
                    boot_id: BootId([7; 32]),
                    launch_configuration: configuration.to_vec(),
                }
            }
            QuoteRequest::Quote { challenges } => {
                let mut seen = seen.lock().unwrap();
                seen.batches.push(challenges.len());
                let leaves: Vec<_> = challenges
                    .iter()
                    .map(|(nonce, exporter)| freshness_leaf(nonce, exporter))
                    .collect();
                if seen.no_report {
                    QuoteAnswer::Refused(QuoteRefusal::NoReport)
                } else {
                    quoted(keys.unwrap(), configuration, merkle::root(&leaves))
                }
            }
            QuoteRequest::Ready => {
                seen.lock().unwrap().ready = true;
                QuoteAnswer::Noted
            }
        };
        write_frame(&mut socket, &answer.encode());
    }
}

fn quoted(keys: (SpkiDigest, ReceiptKey), bytes: &[u8], freshness: [u8; 32]) -> QuoteAnswer {
    let models = LaunchConfiguration::parse(bytes).unwrap().model_digests();
    let statement = Statement {
        role: Role::Worker,
        class: EvidenceClass::Fresh,
        tee: TeeKind::SevSnp,
        boot_id: BootId([7; 32]),
        freshness: Freshness(freshness),
        tls_key: keys.0,
        epoch_key: EpochKey::ZERO,
        hpke_configuration: HpkeConfigDigest::ZERO,
        receipt_key: keys.1,
        configuration: ConfigDigest(config_digest(bytes).0),
        models: models_digest(&models),
        event_log: EventLogDigest::ZERO,
        gpu_evidence: GpuEvidenceDigest::ZERO,
        host_time: HOST_TIME,
    };
    QuoteAnswer::Quoted {
        report: statement.report_data().0.to_vec(),
        statement: Box::new(statement),
        event_log: Vec::new(),
        gpu_evidence: Vec::new(),
    }
}

fn play_host(mut socket: UnixStream, seen: &Mutex<Seen>) {
    while let Some(frame) = read_frame(&mut socket) {
        let answer = match GuestMessage::decode(&frame).unwrap() {
            GuestMessage::EndorsementsWanted => {
                let mut items = Endorsements::default();
                items
                    .insert(EndorsementKind::SnpVcek, b"vcek".to_vec())
                    .unwrap();
                HostMessage::Endorsements(items)
            }
            GuestMessage::VoucherQuestion { question, voucher } => {
                let mut seen = seen.lock().unwrap();
                seen.vouchers.push(*voucher);
                if seen.host_is_silent {
                    continue;
                }
                HostMessage::VoucherAnswer {
                    question,
                    decision: seen.decision.clone().unwrap_or(VoucherDecision::Continue),
                }
            }
            GuestMessage::Event(event, value) => {
                seen.lock().unwrap().events.push((event, value));
                continue;
            }
            other @ (GuestMessage::PhasePassed(..) | GuestMessage::PhaseFailed(..)) => {
                panic!("serve says {other:?}")
            }
        };
        write_frame(&mut socket, &answer.encode());
    }
}

/// What the scripted engine says as its token number `at`; some tokens complete no text.
pub fn word(at: u32) -> String {
    if at == 2 {
        String::new()
    } else {
        format!("w{at} ")
    }
}

/// The vector of the input at this place.
pub fn vector(at: usize) -> Vec<u8> {
    let elements = [f32::from(u8::try_from(at).unwrap()) + 0.5, -1.0];
    elements.into_iter().flat_map(f32::to_le_bytes).collect()
}

/// Takes a request for vectors of two elements, each input of `PROMPT` tokens, or refuses it; what
/// is told with a grant. A first input of `hasty` is told without one, one of `few` and one of
/// `many` with as many vectors as that says.
fn compute(embed: &Embed, events: &mut Vec<EngineEvent>) -> Vec<EngineEvent> {
    let request = embed.request;
    let first = match &embed.inputs[0] {
        Input::Text(text) => text.0.as_str(),
        Input::Tokens(_) => "",
    };
    let refusal = match (first, embed.dimensions) {
        ("too long", _) => Some(EngineRefusal::ContextTooLong),
        ("in numbers only", _) => Some(EngineRefusal::InputToken),
        ("a chat's", _) => Some(EngineRefusal::EmbedsNothing),
        (_, None | Some(2)) => None,
        (_, Some(_)) => Some(EngineRefusal::Dimensions),
    };
    if let Some(refusal) = refusal {
        events.push(EngineEvent::Refused {
            request,
            refusal,
            keyword: Content(String::new()),
        });
        return Vec::new();
    }
    let prompt_tokens = PROMPT * u32::try_from(embed.inputs.len()).unwrap();
    events.push(EngineEvent::Admitted {
        request,
        prompt_tokens,
        cached_tokens: 0,
        calls: None,
    });
    events.push(EngineEvent::Prefilled {
        request,
        prompt_tokens,
    });
    let count = match first {
        "few" => embed.inputs.len() - 1,
        "many" => embed.inputs.len() + 1,
        _ => embed.inputs.len(),
    };
    let mut told: Vec<_> = (0..count)
        .map(|at| EngineEvent::Embedded {
            request,
            vector: Vector(vector(at)),
        })
        .collect();
    told.push(EngineEvent::Finished {
        request,
        reason: FinishReason::Stop,
        completion_tokens: 0,
    });
    if first == "hasty" {
        events.append(&mut told);
    }
    told
}

/// One answer of the scripted engine.
struct Running {
    granted: u32,
    said: u32,
    max: u32,
    alternatives: Option<u8>,
}

impl Running {
    /// Its word, and others that were less likely, as many as were asked for.
    fn candidates(&self) -> Vec<Candidate> {
        let Some(count) = self.alternatives else {
            return Vec::new();
        };
        let candidate = |micro: u32| Candidate {
            micro,
            bytes: word(self.said).into_bytes(),
        };
        (0..=u32::from(count)).map(candidate).collect()
    }
}

/// Says its words as far as it was granted; ends after `WORDS` words with an end token, or at the
/// request's limit. A first message of `too long` is refused.
fn play_engine(mut socket: UnixStream, seen: &Mutex<Seen>) {
    let loaded = EngineEvent::Loaded {
        context_tokens: 2048,
    };
    write_frame(&mut socket, &loaded.encode());
    // As an engine with a GPU says it.
    let steps = EngineEvent::Steps(StepFigures {
        crossings: 2,
        bytes: 12_544,
        allocations: 0,
        launches: 1,
    });
    write_frame(&mut socket, &steps.encode());
    let mut running = std::collections::HashMap::new();
    let mut computed = std::collections::HashMap::new();
    while let Some(frame) = read_frame(&mut socket) {
        let request = EngineRequest::decode(&frame).unwrap();
        seen.lock().unwrap().engine.push(request.clone());
        let mut events = Vec::new();
        match request {
            EngineRequest::Start(start) => {
                if let Some(answer) = begin(&start, &mut events) {
                    running.insert(start.request, answer);
                }
            }
            EngineRequest::Grant { request, tokens } => {
                if let Some(answer) = running.get_mut(&request) {
                    answer.granted += tokens;
                }
                events.append(&mut computed.remove(&request).unwrap_or_default());
            }
            EngineRequest::Cancel { request } => {
                running.remove(&request);
                computed.remove(&request);
            }
            EngineRequest::Embed(embed) => {
                let told = compute(&embed, &mut events);
                computed.insert(embed.request, told);
            }
            EngineRequest::Forget { .. } | EngineRequest::Count => {}
        }
        running.retain(|request, answer| say(*request, answer, &mut events));
        for event in events {
            write_frame(&mut socket, &event.encode());
        }
    }
}

/// Takes a request or refuses it; what runs then.
fn begin(start: &Start, events: &mut Vec<EngineEvent>) -> Option<Running> {
    let request = start.request;
    let refused = |refusal, keyword: &str| EngineEvent::Refused {
        request,
        refusal,
        keyword: Content(keyword.to_owned()),
    };
    if start.prompt.contents()[0].0 == "too long" {
        events.push(refused(EngineRefusal::ContextTooLong, ""));
        return None;
    }
    if matches!(start.form, Form::Schema(_)) {
        events.push(refused(EngineRefusal::Schema, "$pattern"));
        return None;
    }
    let offered = match &start.prompt {
        Prompt::Chat { tools, .. } => !tools.is_empty(),
        Prompt::Text(_) => false,
    };
    events.push(EngineEvent::Admitted {
        request,
        prompt_tokens: PROMPT,
        cached_tokens: kept(&start.prompt),
        calls: offered.then_some(CallSyntax::Tagged),
    });
    events.push(EngineEvent::Prefilled {
        request,
        prompt_tokens: PROMPT,
    });
    Some(Running {
        granted: start.grant,
        said: 0,
        max: start.sampling.max_tokens,
        alternatives: start.alternatives,
    })
}

/// How many tokens of a prompt the scripted engine says that it kept.
fn kept(prompt: &Prompt) -> u32 {
    let mut contents = prompt.contents().into_iter();
    if contents.any(|content| content.0 == "again") {
        CACHED
    } else {
        0
    }
}

/// Whether the answer goes on.
fn say(request: u64, answer: &mut Running, events: &mut Vec<EngineEvent>) -> bool {
    while answer.said < answer.granted {
        if answer.said == WORDS {
            events.push(EngineEvent::Finished {
                request,
                reason: FinishReason::Stop,
                completion_tokens: WORDS + 1,
            });
            return false;
        }
        let text = Content(word(answer.said));
        events.push(EngineEvent::Token {
            request,
            text,
            candidates: answer.candidates(),
        });
        answer.said += 1;
        if answer.said == answer.max {
            events.push(EngineEvent::Finished {
                request,
                reason: FinishReason::Length,
                completion_tokens: answer.max,
            });
            return false;
        }
    }
    true
}
