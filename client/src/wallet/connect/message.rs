//! What passes between this program and a wallet, inside the box: JSON of TON Connect's
//! requests-responses.md.
//!
//! Whoever sealed a message is known before it is read here; it is bounded and hostile all the
//! same. Not here: whether what a wallet shows of itself holds (`account`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::wallet::AskedTransfer;
use protocol::ton::{NetworkId, TonAddress};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::account::ShownAccount;

/// What the user did not want.
pub const USER_DECLINED: i64 = 300;

/// Why a wallet's message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not of the documented form.
    #[error("the wallet's message is not of the documented form")]
    Malformed,
    /// An event that this program does not know.
    #[error("the wallet sent an event that is not known here")]
    UnknownEvent,
}

/// A wallet's message.
#[derive(Debug)]
pub(super) enum FromWallet {
    /// The user agreed to connect.
    Connected {
        /// The wallet's count of its events.
        id: u64,
        /// What it shows of itself.
        account: Box<ShownAccount>,
    },
    /// The wallet or its user did not agree to connect.
    Declined {
        /// The documented code.
        code: i64,
    },
    /// The user ended the session in the wallet.
    Disconnected {
        /// The wallet's count of its events.
        id: u64,
    },
    /// An answer.
    Answer {
        /// To which request.
        id: String,
        /// The result, or the documented code.
        outcome: Result<Value, i64>,
    },
    /// A request. Only this end makes any; the box is the same in both directions, so that a bridge
    /// can hand back what was sent.
    HandedBack,
}

#[derive(Deserialize)]
struct Shown {
    method: Option<IgnoredAny>,
    event: Option<String>,
    id: Option<Number>,
    payload: Option<Value>,
    result: Option<Value>,
    error: Option<ShownError>,
}

/// Events are numbered by numbers, answers by text; wallets mix them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
struct ShownError {
    code: i64,
}

impl FromWallet {
    /// Reads one message.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let shown: Shown = serde_json::from_slice(bytes).map_err(|_| MessageError::Malformed)?;
        if shown.method.is_some() {
            return Ok(Self::HandedBack);
        }
        let Some(event) = shown.event else {
            return Self::answer(shown);
        };
        let id = match shown.id {
            Some(Number::Number(id)) => Ok(id),
            Some(Number::Text(id)) => id.parse().map_err(|_| MessageError::Malformed),
            None => Err(MessageError::Malformed),
        };
        let payload = shown.payload.unwrap_or(Value::Null);
        match event.as_str() {
            "connect" => Ok(Self::Connected {
                id: id?,
                account: parse(payload)?,
            }),
            "connect_error" => {
                let error: ShownError = parse(payload)?;
                Ok(Self::Declined { code: error.code })
            }
            "disconnect" => Ok(Self::Disconnected { id: id? }),
            _ => Err(MessageError::UnknownEvent),
        }
    }

    fn answer(shown: Shown) -> Result<Self, MessageError> {
        let id = match shown.id.ok_or(MessageError::Malformed)? {
            Number::Number(id) => id.to_string(),
            Number::Text(id) => id,
        };
        let outcome = match (shown.result, shown.error) {
            (Some(result), None) => Ok(result),
            (None, Some(error)) => Err(error.code),
            (Some(_), Some(_)) | (None, None) => return Err(MessageError::Malformed),
        };
        Ok(Self::Answer { id, outcome })
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, MessageError> {
    serde_json::from_value(value).map_err(|_| MessageError::Malformed)
}

/// The request in the link: which program asks, for the address and a proof over our nonce.
#[must_use]
pub(super) fn connect_request(manifest: &str, payload: &str) -> String {
    let items = json!([{ "name": "ton_addr" }, { "name": "ton_proof", "payload": payload }]);
    json!({ "manifestUrl": manifest, "items": items }).to_string()
}

/// What a wallet is asked to sign and send.
#[derive(Debug)]
pub(super) struct Order<'a> {
    /// On which network.
    pub network: NetworkId,
    /// From which wallet.
    pub from: TonAddress,
    /// Until when, unix seconds of the chain.
    pub valid_until: u32,
    /// What.
    pub transfer: &'a AskedTransfer,
}

/// The request `sendTransaction`.
#[must_use]
pub(super) fn send_request(id: u64, order: &Order<'_>) -> String {
    let transfer = order.transfer;
    let mut message = json!({
        "address": transfer.address,
        "amount": transfer.amount.to_string(),
    });
    let bags = [
        ("payload", &transfer.payload),
        ("stateInit", &transfer.state_init),
    ];
    if let Value::Object(members) = &mut message {
        for (name, bag) in bags {
            let bag = bag.as_ref().map(|bag| STANDARD.encode(bag).into());
            members.extend(bag.map(|bag| (name.to_owned(), bag)));
        }
    }
    let parameters = json!({
        "valid_until": order.valid_until,
        "network": order.network.0.to_string(),
        "from": order.from,
        "messages": [message],
    });
    request(id, "sendTransaction", &json!([parameters.to_string()]))
}

/// The request `disconnect`.
#[must_use]
pub(super) fn disconnect_request(id: u64) -> String {
    request(id, "disconnect", &json!([]))
}

fn request(id: u64, method: &str, parameters: &Value) -> String {
    json!({ "method": method, "params": parameters, "id": id.to_string() }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::channel::ChannelTerms;
    use protocol::digest::PayerKey;
    use protocol::nano::Nano;

    fn address(digit: char) -> TonAddress {
        let account: String = core::iter::repeat_n(digit, 64).collect();
        format!("0:{account}").parse().unwrap()
    }

    #[test]
    fn what_is_asked_names_network_sender_and_time() {
        let terms = ChannelTerms {
            payer: address('1'),
            payee: address('2'),
            payer_key: PayerKey([3; 32]),
            window: 60,
        };
        let transfer = terms.top_up(Nano::from_u64(7)).unwrap();
        let asked = transfer.asked(NetworkId::MAIN);
        let order = Order {
            network: NetworkId::MAIN,
            from: address('1'),
            valid_until: 9,
            transfer: &asked,
        };
        let request: Value = serde_json::from_str(&send_request(4, &order)).unwrap();
        assert_eq!(request["method"], "sendTransaction");
        assert_eq!(request["id"], "4");
        let inner: Value = serde_json::from_str(request["params"][0].as_str().unwrap()).unwrap();
        assert_eq!(inner["network"], "-239");
        assert_eq!(inner["from"], address('1').to_string());
        assert_eq!(inner["valid_until"], 9);
        let message = &inner["messages"][0];
        assert_eq!(message["amount"], "100000007");
        assert!(message["address"].as_str().unwrap().starts_with("EQ"));
        for name in ["payload", "stateInit"] {
            assert!(message[name].as_str().unwrap().starts_with("te6cc"));
        }
        let close = contracts::channel::start_close(&address('1')).unwrap();
        let asked = close.asked(NetworkId::MAIN);
        let order = Order {
            transfer: &asked,
            ..order
        };
        assert!(!send_request(5, &order).contains("stateInit"));
    }

    #[test]
    fn answers_and_events_are_told_apart() {
        let parse = |text: &str| FromWallet::parse(text.as_bytes());
        let answer = parse(r#"{"id":"3","result":"te6"}"#).unwrap();
        assert!(matches!(answer, FromWallet::Answer { id, outcome: Ok(_) } if id == "3"));
        let refused = parse(r#"{"id":3,"error":{"code":300,"message":"no"}}"#).unwrap();
        assert!(
            matches!(refused, FromWallet::Answer { id, outcome: Err(USER_DECLINED) } if id == "3")
        );
        let ended = parse(r#"{"event":"disconnect","id":8,"payload":{}}"#).unwrap();
        assert!(matches!(ended, FromWallet::Disconnected { id: 8 }));
        let declined = r#"{"event":"connect_error","id":1,"payload":{"code":300,"message":""}}"#;
        let declined = parse(declined).unwrap();
        assert!(matches!(
            declined,
            FromWallet::Declined {
                code: USER_DECLINED
            }
        ));
        for own in [send_nothing(), disconnect_request(3)] {
            let back = FromWallet::parse(own.as_bytes()).unwrap();
            assert!(matches!(back, FromWallet::HandedBack), "{own}");
        }
    }

    fn send_nothing() -> String {
        request(3, "sendTransaction", &json!(["{}"]))
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_of_a_wallet_end_the_program(
            text in "[\\[{\"a-z_:,0-9\\]} ]{0,80}",
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80),
            name in "(id|event|result|error|payload|connect)",
        ) {
            let _parsed = FromWallet::parse(text.as_bytes());
            let _parsed = FromWallet::parse(&bytes);
            let nested = format!("{{\"id\":1,\"event\":\"connect\",\"{name}\":{text}}}");
            let _parsed = FromWallet::parse(nested.as_bytes());
        }
    }

    #[test]
    fn other_forms_and_unknown_events_are_refused() {
        let parse = |text: &str| FromWallet::parse(text.as_bytes()).unwrap_err();
        for text in [
            "",
            "[]",
            "{}",
            r#"{"id":"1"}"#,
            r#"{"result":"x"}"#,
            r#"{"id":"1","result":"x","error":{"code":1}}"#,
            r#"{"id":-1,"result":"x"}"#,
            r#"{"event":"disconnect"}"#,
            r#"{"event":"disconnect","id":"x"}"#,
            r#"{"event":"connect","id":1}"#,
            r#"{"event":"connect","id":1,"payload":{"items":[]}}"#,
            r#"{"event":"connect_error","id":1,"payload":{}}"#,
        ] {
            assert_eq!(parse(text), MessageError::Malformed, "{text}");
        }
        let unknown = r#"{"event":"transaction","id":1,"payload":{}}"#;
        assert_eq!(parse(unknown), MessageError::UnknownEvent);
    }
}
