//! What a wallet on a phone says, and the bridge that it says it through: the stream of events
//! with the boxes in it, and what was inside a box. A box opens only where this room's wallets
//! sealed it, and no wallet connects but those whose keys signed: whatever else is taken is a
//! forgery.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::wallet::connect::door::{self, Connecting, Said};
use client::wallet::connect::{SessionKey, signed_bytes};
use contracts::channel::start_close;
use contracts::wallet::{ShownWallet, Wallet, WalletKind};
use ed25519_dalek::{Signer as _, SigningKey};
use protocol::ton::NetworkId;
use serde_json::{Value, json};
use verifier::UnixTime;

use crate::Outcome;

const NETWORK: NetworkId = NetworkId(-7357);
const DOMAIN: &str = "cocoon.example";
const PAYLOAD: &str = "8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f";
/// Some second of November 2026.
const NOW: u64 = 1_795_000_000;
/// The wallet's seed, and the secrets of both ends of its session.
const SEED: [u8; 32] = [11; 32];
const OURS: [u8; 32] = [5; 32];
const THEIRS: [u8; 32] = [6; 32];

const ASKED: Connecting<'static> = Connecting {
    network: NETWORK,
    domain: DOMAIN,
    payload: PAYLOAD,
    at: UnixTime(NOW),
};

static WALLETS: LazyLock<[ShownWallet; 2]> = LazyLock::new(|| {
    WalletKind::ALL.map(|kind| {
        let first = wallet(kind).state_init().expect("a first state");
        ShownWallet::of_first_state(&first.encode()).expect("a wallet")
    })
});
static SAID: LazyLock<Vec<(String, String)>> = LazyLock::new(said);

/// A bridge's stream, whole and in pieces of as many bytes as the first one says; then each box in
/// it, and what is inside.
pub fn stream(input: &[u8]) -> Outcome {
    let (piece, stream) = input.split_first().unwrap_or((&0, &[]));
    let whole = door::stream(stream, stream.len());
    let pieces = door::stream(stream, usize::from(*piece));
    assert_eq!(whole, pieces, "the pieces decide what is read");
    let passed = whole.unwrap_or_default();
    let bytes: usize = passed.iter().map(|event| event.bytes).sum();
    assert!(bytes <= stream.len(), "more events than stream");
    let ours = SessionKey::from_bytes(&OURS);
    let mut outcome = Outcome::Refused;
    for event in passed {
        let graphic = |id: &String| !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic());
        assert!(
            event.id.as_ref().is_none_or(graphic),
            "a number to ask with"
        );
        let Some((from, sealed)) = event.envelope else {
            continue;
        };
        if let Ok(text) = ours.open(&from, &sealed) {
            let known = SAID
                .iter()
                .any(|(_, said)| said.as_bytes() == text.as_slice());
            assert!(known, "a box that nobody sealed");
            outcome = outcome.or(message(&text));
        }
    }
    outcome
}

/// What was inside a box.
pub fn message(input: &[u8]) -> Outcome {
    let Ok(said) = door::message(input, ASKED) else {
        return Outcome::Refused;
    };
    if let Said::Connected { wallet, app } = said {
        assert!(app.len() <= 32 && app.bytes().all(|b| (b' '..=b'~').contains(&b)));
        let Ok(wallet) = wallet else {
            return Outcome::Refused;
        };
        assert!(
            WALLETS.contains(&wallet),
            "a wallet whose key signed nothing"
        );
    }
    Outcome::Taken
}

fn wallet(kind: WalletKind) -> Wallet {
    Wallet::of_kind(kind, &SEED, NETWORK)
}

/// A wallet's reply to the request to connect, with whatever else it says of itself.
#[must_use]
pub fn connect(kind: WalletKind, first: &[u8], features: &Value) -> Value {
    let key = SigningKey::from_bytes(&SEED);
    let public: String = key.verifying_key().to_bytes().map(hex).concat();
    let address = wallet(kind).address().expect("an address");
    let signature = key.sign(&signed_bytes(&address, DOMAIN, NOW, PAYLOAD));
    let shown = json!({
        "name": "ton_addr",
        "address": address,
        "network": NETWORK.0.to_string(),
        "publicKey": public,
        "walletStateInit": STANDARD.encode(first),
    });
    let proof = json!({
        "timestamp": NOW,
        "domain": { "lengthBytes": DOMAIN.len(), "value": DOMAIN },
        "signature": STANDARD.encode(signature.to_bytes()),
        "payload": PAYLOAD,
    });
    json!({
        "event": "connect",
        "id": 70,
        "payload": {
            "items": [shown, { "name": "ton_proof", "proof": proof }],
            "device": { "platform": "iphone", "appName": "A wallet", "features": features },
        },
    })
}

fn hex(byte: u8) -> String {
    format!("{byte:02x}")
}

/// Everything that an honest wallet says.
fn said() -> Vec<(String, String)> {
    let features = json!(["SendTransaction", { "name": "SendTransaction", "maxMessages": 4 }]);
    let connecting = |kind: WalletKind| {
        let first = wallet(kind).state_init().expect("a first state").encode();
        let name = format!("connect-{}", kind.name());
        (name, connect(kind, &first, &features).to_string())
    };
    let sender = wallet(WalletKind::V5R1);
    let close = start_close(&sender.address().expect("an address")).expect("a message");
    let sent = sender.sign(3, 9, &[close]).expect("a signed message");
    let others = [
        (
            "declined",
            json!({"event": "connect_error", "id": 1, "payload": {"code": 300}}),
        ),
        (
            "ended",
            json!({"event": "disconnect", "id": "71", "payload": {}}),
        ),
        ("sent", json!({"id": "7", "result": STANDARD.encode(sent)})),
        (
            "refused",
            json!({"id": 7, "error": {"code": 1, "message": "no"}}),
        ),
        (
            "handed-back",
            json!({"method": "sendTransaction", "params": ["{}"], "id": "7"}),
        ),
    ];
    let others = others.map(|(name, said)| (name.to_owned(), said.to_string()));
    WalletKind::ALL
        .map(connecting)
        .into_iter()
        .chain(others)
        .collect()
}

/// An event in which the bridge passes on a box.
fn event(id: usize, said: &str) -> String {
    let theirs = SessionKey::from_bytes(&THEIRS);
    let ours = SessionKey::from_bytes(&OURS).id();
    // A nonce of its own for each: what is fuzzed is how boxes are read.
    let nonce = [u8::try_from(id).expect("few events"); 24];
    let sealed = theirs.seal(&ours, &nonce, said.as_bytes()).expect("a box");
    let from = theirs.id().to_string();
    let envelope = json!({ "from": from, "message": STANDARD.encode(sealed) });
    format!("event: message\r\nid: {id}\r\ndata: {envelope}\r\n\r\n")
}

/// Hands out seeds of both targets, by target and name.
///
/// # Panics
/// When the wallets cannot be made.
pub fn seeds(mut put: impl FnMut(&'static str, &str, &[u8])) {
    let mut whole = ": hello\n\nevent: heartbeat\n\ndata: heartbeat\n\n".to_owned();
    for (id, (name, said)) in SAID.iter().enumerate() {
        put("connect_message", name, said.as_bytes());
        let one = event(id, said);
        put("connect_stream", name, &[&[7], one.as_bytes()].concat());
        whole.push_str(&one);
    }
    whole.push_str("data: no\ndata: envelope\n\nid: 9\ndata: not who");
    put(
        "connect_stream",
        "session",
        &[&[1], whole.as_bytes()].concat(),
    );
}
