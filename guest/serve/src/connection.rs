//! One connection: attested or not, and which path leads where. `docs/spec/serving.md` §§1-3.
//!
//! Until a challenge was answered nothing else is. What a path does is in the modules that it
//! names; here is the order of refusals and the limits of a connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use messages::engine_ipc::ClientKey;
use messages::host_control::ServeEvent;
use protocol::digest::StatementDigest;
use protocol::evidence::{ATTEST_PATH, CHALLENGE_BYTES, Challenge, Evidence};
use protocol::nano::Nano;
use protocol::receipt::TokenCounts;
use protocol::serving::{
    CHAT_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH, HEALTH_PATH, MAX_REQUEST_BYTES, METRICS_PATH,
    MODELS_PATH, VOUCHER_HEADER, VOUCHER_PATH,
};
use protocol::tee::EvidenceClass;
use protocol::voucher::SIGNED_BYTES;
use serde::Serialize;
use tokio::time::Instant;

use crate::api::Kind;
use crate::body::{self, Answered};
use crate::errors::Refusal;
use crate::metrics::{self, Facts, Tally};
use crate::service::Service;
use crate::tls::Channel;
use crate::{chat, embeddings, headers, vouchers};

const JSON: &str = "application/json";
const BINARY: &str = "application/octet-stream";
/// Without an answered challenge a connection is kept this long.
const UNATTESTED: Duration = Duration::from_secs(30);
/// Without a request a connection is kept this long.
const IDLE: Duration = Duration::from_secs(300);

/// Which Statement a connection's receipts name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attested {
    pub(crate) statement: StatementDigest,
    host_time: u64,
    at: Instant,
}

impl Attested {
    /// Seconds since 1970 as the host claims them: the Statement's, and what passed since.
    pub(crate) fn host_time(&self) -> u64 {
        self.host_time.saturating_add(self.at.elapsed().as_secs())
    }
}

/// One connection.
pub(crate) struct Connection {
    service: Arc<Service>,
    channel: Channel,
    /// Names its client to the engine, which keeps prompts for nobody else.
    client: ClientKey,
    attested: Mutex<Option<Attested>>,
    challenged: AtomicBool,
    activity: Mutex<Activity>,
    tally: Mutex<Tally>,
}

struct Activity {
    requests: usize,
    since: Instant,
}

impl Connection {
    pub(crate) fn new(service: Arc<Service>, channel: Channel, client: ClientKey) -> Self {
        Self {
            service,
            channel,
            client,
            attested: Mutex::default(),
            challenged: AtomicBool::new(false),
            activity: Mutex::new(Activity {
                requests: 0,
                since: Instant::now(),
            }),
            tally: Mutex::default(),
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Answered> {
        self.tally().request();
        let busy = Busy::new(&self);
        match self.route(request, busy).await {
            Ok(response) => response,
            Err(refusal) => self.refuse(&refusal),
        }
    }

    /// Whether the connection did nothing for longer than it may.
    pub(crate) fn is_idle(&self) -> bool {
        let limit = match self.attested() {
            Some(_) => IDLE,
            None => UNATTESTED,
        };
        self.with_activity(|now| now.requests == 0 && now.since.elapsed() > limit)
    }

    async fn route(
        self: &Arc<Self>,
        request: Request<Incoming>,
        busy: Busy,
    ) -> Result<Response<Answered>, Refusal> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if path == ATTEST_PATH {
            expect(&head.method, &Method::POST)?;
            let challenge = body::read(&head.headers, body, CHALLENGE_BYTES).await?;
            return self.attest(&challenge).await;
        }
        let attested = self.attested().ok_or(Refusal::AttestFirst)?;
        match path {
            CHAT_PATH => {
                expect(&head.method, &Method::POST)?;
                headers::json_or_unsaid(&head.headers)?;
                let body = body::read(&head.headers, body, MAX_REQUEST_BYTES).await?;
                let asked = (Kind::Chat, &head.headers);
                chat::begin(&self.service, attested, asked, &body, busy).await
            }
            COMPLETIONS_PATH => {
                expect(&head.method, &Method::POST)?;
                headers::json_or_unsaid(&head.headers)?;
                let body = body::read(&head.headers, body, MAX_REQUEST_BYTES).await?;
                let asked = (Kind::Text, &head.headers);
                chat::begin(&self.service, attested, asked, &body, busy).await
            }
            EMBEDDINGS_PATH => {
                expect(&head.method, &Method::POST)?;
                headers::json_or_unsaid(&head.headers)?;
                let body = body::read(&head.headers, body, MAX_REQUEST_BYTES).await?;
                embeddings::begin(&self.service, attested, &head.headers, &body, busy).await
            }
            VOUCHER_PATH => {
                expect(&head.method, &Method::POST)?;
                let body = body::read(&head.headers, body, SIGNED_BYTES).await?;
                let voucher = vouchers::from_bytes(&body)?;
                vouchers::acknowledge(&self.service, &voucher).await?;
                Ok(body::whole(StatusCode::NO_CONTENT, BINARY, Vec::new()))
            }
            MODELS_PATH => {
                expect(&head.method, &Method::GET)?;
                Ok(body::whole(StatusCode::OK, JSON, self.models()))
            }
            HEALTH_PATH => {
                expect(&head.method, &Method::GET)?;
                self.health()
            }
            METRICS_PATH => {
                expect(&head.method, &Method::GET)?;
                let metrics = self.metrics(&attested);
                Ok(body::whole(StatusCode::OK, metrics::TYPE, metrics))
            }
            _ => Err(Refusal::UnknownPath),
        }
    }

    /// Healthy is a machine that can answer: with an engine that has loaded its model.
    fn health(&self) -> Result<Response<Answered>, Refusal> {
        if !self.service.engine.is_loaded() {
            return Err(Refusal::EngineUnavailable);
        }
        let healthy = br#"{"status":"ok"}"#.to_vec();
        Ok(body::whole(StatusCode::OK, JSON, healthy))
    }

    fn metrics(&self, attested: &Attested) -> Vec<u8> {
        let facts = Facts {
            evidence_age: attested.at.elapsed().as_secs(),
            engine: self.service.engine.is_loaded(),
            steps: self.service.engine.steps(),
            limits: self.service.configuration.limits,
            image: self.service.deployment.image,
        };
        self.tally().exposition(&facts)
    }

    async fn attest(&self, challenge: &[u8]) -> Result<Response<Answered>, Refusal> {
        let challenge = Challenge::decode(challenge).map_err(|_| Refusal::ChallengeMalformed)?;
        match challenge.class {
            EvidenceClass::Fresh => {}
            EvidenceClass::Epoch | EvidenceClass::Hpke => return Err(Refusal::ChallengeClass),
        }
        // One challenge at a time on a connection: a report costs the machine dearly.
        if self.challenged.swap(true, Ordering::AcqRel) {
            return Err(Refusal::AttestBusy);
        }
        let answered = self.evidence(&challenge).await;
        self.challenged.store(false, Ordering::Release);
        answered.map(|evidence| body::whole(StatusCode::OK, BINARY, evidence))
    }

    async fn evidence(&self, challenge: &Challenge) -> Result<Vec<u8>, Refusal> {
        let nonce = challenge.nonce;
        let exporter = self.channel.exporter(&nonce);
        let exporter = exporter.ok_or(Refusal::AttestUnavailable)?;
        let share = self.service.quotes.ask(nonce, exporter).await?;
        let endorsements = self.service.host.endorsements().await;
        let count = share.proof.count;
        let evidence = Evidence {
            statement: share.quoted.statement.clone(),
            proof: share.proof,
            launch_configuration: self.service.configuration_bytes.clone(),
            report: share.quoted.report.clone(),
            event_log: share.quoted.event_log.clone(),
            gpu_evidence: share.quoted.gpu_evidence.clone(),
            endorsements: endorsements.ok_or(Refusal::AttestUnavailable)?,
        };
        let attested = Attested {
            statement: evidence.statement.digest(),
            host_time: evidence.statement.host_time,
            at: Instant::now(),
        };
        *self.attested.lock().unwrap_or_else(PoisonError::into_inner) = Some(attested);
        self.service
            .host
            .event(ServeEvent::ChallengeAnswered, count);
        Ok(evidence.encode())
    }

    fn models(&self) -> Vec<u8> {
        let entry = |model: &'_ protocol::launch_configuration::ModelEntry| Model {
            id: model.name.clone(),
            object: "model",
            created: 0,
            owned_by: "cocoon",
        };
        let list = ModelList {
            object: "list",
            data: self
                .service
                .configuration
                .models
                .iter()
                .map(entry)
                .collect(),
        };
        // Strings and integers only: this cannot fail.
        serde_json::to_vec(&list).unwrap_or_default()
    }

    fn refuse(&self, refusal: &Refusal) -> Response<Answered> {
        self.tally().refusal();
        let status = refusal.status();
        let host = &self.service.host;
        host.event(ServeEvent::RequestRefused, u32::from(status.as_u16()));
        let mut response = body::whole(status, JSON, refusal.to_json());
        if let Some(seconds) = refusal.retry_after() {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(voucher) = refusal.highest_voucher()
            && let Ok(value) = HeaderValue::try_from(STANDARD.encode(voucher.encode()))
        {
            response.headers_mut().insert(VOUCHER_HEADER, value);
        }
        response
    }

    fn attested(&self) -> Option<Attested> {
        *self.attested.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_activity<R>(&self, act: impl FnOnce(&mut Activity) -> R) -> R {
        act(&mut self.activity.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Connection {
    /// It is gone, and its last answer too.
    fn drop(&mut self) {
        if self.attested().is_some() {
            self.service.engine.forget(self.client);
        }
    }
}

fn expect(found: &Method, expected: &Method) -> Result<(), Refusal> {
    if found == expected {
        Ok(())
    } else {
        Err(Refusal::WrongMethod)
    }
}

/// A request that is being answered; its connection is not idle while it lives.
pub(crate) struct Busy(Arc<Connection>);

impl Busy {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.with_activity(|now| now.requests = now.requests.saturating_add(1));
        Self(Arc::clone(connection))
    }

    /// Its answer ended after so much was delivered.
    pub(crate) fn delivered(&self, tokens: &TokenCounts, charged: Nano) {
        self.0.tally().answer(tokens, charged);
    }

    /// Whose request it is.
    pub(crate) fn client(&self) -> ClientKey {
        self.0.client
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.with_activity(|now| {
            now.requests = now.requests.saturating_sub(1);
            now.since = Instant::now();
        });
    }
}

#[derive(Serialize)]
struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}
