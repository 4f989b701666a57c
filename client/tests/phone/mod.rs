//! A stand-in for a wallet on a phone and for its bridge, for tests: a bridge on loopback, honest
//! until it is told what to say, and a wallet that reads the link, signs and sends.
//!
//! What it signs a proof over, and how it reads addresses, is written here once more, so that no
//! mistake of the program can hide in what both share.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of the stage"
)]

pub mod bridge;
pub mod certificate;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use client::wallet::connect::{ClientId, Invitation, SessionKey};
use client::{NoRandomness, Surroundings};
use contracts::message::{OnFailure, StateInit, Transfer};
use contracts::toncenter::Toncenter;
use contracts::wallet::{Wallet, WalletKind};
use ed25519_dalek::{Signer as _, SigningKey};
use protocol::digest::AccountId;
use protocol::ton::{NetworkId, TonAddress};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tycho_types::boc::Boc;
use verifier::UnixTime;
use zeroize::Zeroizing;

use bridge::TestBridge;

/// Some second of November 2026.
pub const NOW: u64 = 1_795_000_000;
pub const NETWORK: NetworkId = NetworkId(-7357);
pub const DOMAIN: &str = "cocoon.example";
pub const MANIFEST: &str = "https://cocoon.example/tonconnect-manifest.json";

/// The surroundings of the client.
pub struct World;

impl Surroundings for World {
    fn now(&self) -> UnixTime {
        UnixTime(NOW)
    }

    fn random(&self) -> Result<Zeroizing<[u8; 32]>, NoRandomness> {
        let mut drawn = Zeroizing::new([0; 32]);
        getrandom::fill(drawn.as_mut_slice()).unwrap();
        Ok(drawn)
    }

    fn home(&self) -> Option<PathBuf> {
        None
    }
}

pub fn world() -> Arc<dyn Surroundings> {
    Arc::new(World)
}

pub fn invitation(bridge: &TestBridge) -> Invitation {
    Invitation {
        bridge: bridge.url.clone(),
        bridge_roots: None,
        link: "tc://".to_owned(),
        manifest: MANIFEST.to_owned(),
        network: NETWORK,
    }
}

/// What the link says.
pub struct Scanned {
    pub app: ClientId,
    pub request: Value,
}

impl Scanned {
    pub fn read(link: &str) -> Self {
        let (base, query) = link.split_once('?').unwrap();
        assert_eq!(base, "tc://");
        let value = |name: &str| {
            let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
            unescaped(pairs.find(|pair| pair.0 == name).unwrap().1)
        };
        assert_eq!(value("v"), "2");
        Self {
            app: value("id").parse().unwrap(),
            request: serde_json::from_str(&value("r")).unwrap(),
        }
    }

    pub fn payload(&self) -> String {
        let items = self.request["items"].as_array().unwrap();
        let proof = items.iter().find(|item| item["name"] == "ton_proof");
        proof.unwrap()["payload"].as_str().unwrap().to_owned()
    }
}

fn unescaped(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
            let hex = std::str::from_utf8(&hex).unwrap();
            plain.push(u8::from_str_radix(hex, 16).unwrap());
        } else {
            plain.push(byte);
        }
    }
    String::from_utf8(plain).unwrap()
}

/// What a wallet does with a request to send.
#[derive(Clone)]
pub enum Manner {
    /// Signs, sends, says so.
    Agrees,
    /// Says no, with a code.
    Refuses(i64),
    /// Says that it sent, and did not.
    Lies,
    /// Sends, and says nothing.
    SendsSilently,
    /// Says and does nothing.
    Sleeps,
    /// Sends from another account of the same owner.
    SendsFrom(Arc<Wallet>),
    /// Ends the session.
    Leaves,
}

/// A wallet program with one account.
#[derive(Clone)]
pub struct Phone {
    pub seed: [u8; 32],
    pub network: NetworkId,
    /// Its clock, unix seconds.
    pub now: u64,
    pub key: Arc<SessionKey>,
    pub wallet: Arc<Wallet>,
    pub manner: Manner,
    /// Where it sends; none signs and sends nothing.
    pub chain: Option<Toncenter>,
    pub bridge: Arc<TestBridge>,
    /// Requests that it took so far.
    pub taken: Arc<AtomicUsize>,
}

impl Phone {
    pub fn new(kind: WalletKind, bridge: &Arc<TestBridge>) -> Self {
        Self::on(NETWORK, kind, [11; 32], bridge)
    }

    /// With a key of its own, on some network.
    pub fn on(
        network: NetworkId,
        kind: WalletKind,
        seed: [u8; 32],
        bridge: &Arc<TestBridge>,
    ) -> Self {
        let mut drawn = [0; 32];
        getrandom::fill(&mut drawn).unwrap();
        Self {
            seed,
            network,
            now: NOW,
            key: Arc::new(SessionKey::from_bytes(&drawn)),
            wallet: Arc::new(Wallet::of_kind(kind, &seed, network)),
            manner: Manner::Agrees,
            chain: None,
            bridge: Arc::clone(bridge),
            taken: Arc::new(AtomicUsize::new(0)),
        }
    }

    pub fn address(&self) -> TonAddress {
        self.wallet.address().unwrap()
    }

    /// The event by which an honest wallet connects.
    pub fn connect_event(&self, payload: &str) -> Value {
        let signing = SigningKey::from_bytes(&self.seed);
        let public: String = hex(signing.verifying_key().as_bytes());
        let first = self.wallet.state_init().unwrap().encode();
        json!({
            "event": "connect",
            "id": 70,
            "payload": {
                "items": [
                    {
                        "name": "ton_addr",
                        "address": self.address(),
                        "network": self.network.0.to_string(),
                        "publicKey": public,
                        "walletStateInit": STANDARD.encode(first),
                    },
                    proof_item(&signing, &self.address(), DOMAIN, self.now, payload),
                ],
                "device": {
                    "platform": "iphone",
                    "appName": "Test\u{1b}[31m Wallet",
                    "appVersion": "1",
                    "maxProtocolVersion": 2,
                    "features": [
                        "SendTransaction",
                        { "name": "SendTransaction", "maxMessages": 4 },
                    ],
                },
            },
        })
    }

    /// Reads the link and connects.
    pub fn scan(&self, link: &str) -> ClientId {
        let scanned = Scanned::read(link);
        self.tell(&scanned.app, &self.connect_event(&scanned.payload()));
        scanned.app
    }

    /// Seals a message of its own.
    pub fn sealed(&self, app: &ClientId, message: &Value) -> Vec<u8> {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).unwrap();
        let text = message.to_string();
        self.key.seal(app, &nonce, text.as_bytes()).unwrap()
    }

    pub fn tell(&self, app: &ClientId, message: &Value) {
        let sealed = self.sealed(app, message);
        self.bridge.pass(app, &self.key.id(), &sealed);
    }

    /// Takes requests, each in its manner, until it is told that the session is over.
    pub async fn attend(self) -> Vec<Value> {
        let mut requests = Vec::new();
        loop {
            let (app, sealed) = self.bridge.posted_to(&self.key.id(), self.next()).await;
            let text = self.key.open(&app, &sealed).unwrap();
            let request: Value = serde_json::from_slice(&text).unwrap();
            requests.push(request.clone());
            self.taken.fetch_add(1, Ordering::Relaxed);
            match request["method"].as_str().unwrap() {
                "sendTransaction" => self.consider(&app, &request).await,
                "disconnect" => return requests,
                other => panic!("the client asked for {other}"),
            }
        }
    }

    fn next(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    async fn consider(&self, app: &ClientId, request: &Value) {
        let id = request["id"].clone();
        let refuse = |code: i64| json!({ "id": id, "error": { "code": code, "message": "" } });
        let order: Value = serde_json::from_str(request["params"][0].as_str().unwrap()).unwrap();
        let own = order["from"] == json!(self.address());
        if !own || order["network"] != json!(self.network.0.to_string()) {
            return self.tell(app, &refuse(1));
        }
        let answer = match &self.manner {
            Manner::Agrees => Some(self.signed(&self.wallet, &order, true).await),
            Manner::Lies => Some(self.signed(&self.wallet, &order, false).await),
            Manner::SendsFrom(other) => Some(self.signed(other, &order, true).await),
            Manner::SendsSilently => {
                self.signed(&self.wallet, &order, true).await;
                None
            }
            Manner::Sleeps => None,
            Manner::Refuses(code) => return self.tell(app, &refuse(*code)),
            Manner::Leaves => {
                let event = json!({ "event": "disconnect", "id": 71, "payload": {} });
                return self.tell(app, &event);
            }
        };
        if let Some(signed) = answer {
            self.tell(app, &json!({ "id": id, "result": STANDARD.encode(signed) }));
        }
    }

    async fn signed(&self, wallet: &Wallet, order: &Value, send: bool) -> Vec<u8> {
        let transfer = transfer(&order["messages"][0]);
        let valid_until = u32::try_from(order["valid_until"].as_u64().unwrap()).unwrap();
        let seqno = match &self.chain {
            Some(chain) => chain
                .wallet_seqno(&wallet.address().unwrap())
                .await
                .unwrap(),
            None => 0,
        };
        let signed = wallet.sign(seqno, valid_until, &[transfer]).unwrap();
        if let Some(chain) = self.chain.as_ref().filter(|_| send) {
            chain.send_boc(&signed).await.unwrap();
        }
        signed
    }
}

/// A message of a request, as a wallet reads it.
fn transfer(message: &Value) -> Transfer {
    let bag = |name: &str| {
        message[name]
            .as_str()
            .map(|text| STANDARD.decode(text).unwrap())
    };
    let friendly = URL_SAFE_NO_PAD
        .decode(message["address"].as_str().unwrap())
        .unwrap();
    let on_failure = match friendly[0] {
        0x11 => OnFailure::Return,
        0x51 => OnFailure::Keep,
        other => panic!("an address of the kind {other:#x}"),
    };
    Transfer {
        to: TonAddress {
            workchain: friendly[1].cast_signed(),
            account: AccountId(friendly[2..34].try_into().unwrap()),
        },
        value: protocol::nano::Nano::from_u64(message["amount"].as_str().unwrap().parse().unwrap()),
        on_failure,
        deploy: bag("stateInit").map(|bag| StateInit::decode(&bag).unwrap()),
        body: bag("payload").map(|bag| Boc::decode(&bag).unwrap()),
    }
}

/// A proof as the specification lays it out.
pub fn proof_item(
    key: &SigningKey,
    address: &TonAddress,
    domain: &str,
    seconds: u64,
    payload: &str,
) -> Value {
    let mut message = b"ton-proof-item-v2/".to_vec();
    message.extend(i32::from(address.workchain).to_be_bytes());
    message.extend(address.account.as_bytes());
    message.extend(u32::try_from(domain.len()).unwrap().to_le_bytes());
    message.extend(domain.as_bytes());
    message.extend(seconds.to_le_bytes());
    message.extend(payload.as_bytes());
    let mut signed = b"\xff\xffton-connect".to_vec();
    signed.extend(Sha256::digest(&message));
    let signature = key.sign(&Sha256::digest(&signed));
    json!({
        "name": "ton_proof",
        "proof": {
            "timestamp": seconds,
            "domain": { "lengthBytes": domain.len(), "value": domain },
            "signature": STANDARD.encode(signature.to_bytes()),
            "payload": payload,
        },
    })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Long enough for whatever really happens.
pub const SOON: Duration = Duration::from_secs(20);
