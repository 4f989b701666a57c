//! What visitors ask: requests that are answered, and requests that are refused, each with the one
//! status and code that it may get.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use protocol::evidence::ATTEST_PATH;
use protocol::serving::{
    CHAT_PATH, COMPLETIONS_PATH, EMBEDDINGS_PATH, MAX_REQUEST_BYTES, MODELS_PATH, SALT_HEADER,
    VOUCHER_HEADER, VOUCHER_PATH,
};
use protocol::ton::NetworkId;
use serde_json::{Value, json};

use crate::machine::Size;
use crate::seed::Dice;
use crate::stage::MODEL;
use crate::stage::client::{Payer, SALT, chat_request, paid_request, post, question};

/// Prompts begin alike, so that kept pages are found.
const OPENINGS: [&str; 3] = [
    "The ferry to the island leaves at nine, at noon and at six, but not on the first of May. ",
    "An old clock stands in the hall. It has no hands, and it strikes when the door is opened. ",
    "List what a gardener needs in spring, in the order in which it is needed. ",
];
const WORDS: [&str; 8] = [
    "slate", "harbour", "of", "counts", "seven", "blue", "why", "window",
];

/// A text of at most so many bytes.
fn text(dice: &mut Dice, most: usize) -> String {
    let mut text = OPENINGS[dice.one_of(OPENINGS.len()).unwrap()].to_owned();
    let length = dice.one_of(most).unwrap();
    while text.len() < length {
        text.push_str(WORDS[dice.one_of(WORDS.len()).unwrap()]);
        text.push(' ');
    }
    text.truncate(most);
    text
}

/// A request that is answered: its path and body.
pub(crate) fn good(dice: &mut Dice, size: Size) -> (&'static str, Value) {
    let most = 1 + u32::try_from(dice.below(size.answer.into())).unwrap();
    let mut body = question(most);
    let content = text(dice, size.prompt);
    body["temperature"] = json!([0.0, 0.7, 1.3][dice.one_of(3).unwrap()]);
    body["seed"] = json!(dice.below(1000));
    if dice.percent(20) {
        body["stop"] = json!(["e", "\n\n"]);
    }
    if dice.percent(20) {
        body["frequency_penalty"] = json!(0.5);
    }
    if dice.percent(20) {
        body["logprobs"] = json!(true);
        body["top_logprobs"] = json!(dice.below(6));
    }
    if dice.percent(25) {
        let body = json!({
            "model": MODEL, "prompt": content, "max_tokens": most, "stream": true,
            "temperature": body["temperature"], "seed": body["seed"],
        });
        return (COMPLETIONS_PATH, body);
    }
    if dice.percent(20) {
        body["response_format"] = json!({"type": "json_object"});
    }
    body["messages"] = json!([{"role": "user", "content": content}]);
    (CHAT_PATH, body)
}

/// A request that is refused.
pub(crate) struct Bad {
    pub(crate) request: Request<Full<Bytes>>,
    pub(crate) status: u16,
    /// The code of the answer; none where there is no body.
    pub(crate) code: Option<&'static str>,
    /// Whether it is refused after it took a stream, so that all may be taken before.
    pub(crate) late: bool,
}

impl Bad {
    fn early(request: Request<Full<Bytes>>, status: u16, code: &'static str) -> Self {
        Self {
            request,
            status,
            code: Some(code),
            late: false,
        }
    }

    fn late(request: Request<Full<Bytes>>, status: u16, code: &'static str) -> Self {
        Self {
            late: true,
            ..Self::early(request, status, code)
        }
    }
}

/// One of all requests that are refused.
pub(crate) fn bad(dice: &mut Dice, size: Size, payer: &Payer, owed: u64) -> Bad {
    match dice.below(4) {
        0 => bad_bytes(dice, payer, owed),
        1 => bad_member(dice, size, payer, owed),
        2 => bad_money(dice, payer, owed),
        _ => bad_for_the_engine(dice, payer, owed),
    }
}

/// What is no request at all, or too much of one.
fn bad_bytes(dice: &mut Dice, payer: &Payer, owed: u64) -> Bad {
    let chat = |body: Vec<u8>| chat_request(&payer.voucher(owed), body);
    let plain = |method, path: &str| {
        let request = post(path).method(method).body(Full::default());
        request.unwrap()
    };
    match dice.below(9) {
        0 => Bad::early(
            chat(vec![b' '; MAX_REQUEST_BYTES + 1]),
            413,
            "body-too-long",
        ),
        1 => {
            let length = dice.one_of(2000).unwrap();
            let noise = (0..length).map(|_| dice.next().to_le_bytes()[0]);
            let noise = [b"\xff".to_vec(), noise.collect()].concat();
            Bad::early(chat(noise), 400, "json-malformed")
        }
        2 => {
            let whole = question(9).to_string().into_bytes();
            let end = 1 + dice.one_of(whole.len() - 1).unwrap();
            Bad::early(chat(whole[..end].to_vec()), 400, "json-malformed")
        }
        3 => Bad::early(plain(Method::POST, "/v1/engines"), 404, "unknown-path"),
        4 => Bad::early(plain(Method::GET, CHAT_PATH), 405, "wrong-method"),
        5 => {
            let mut request = chat(b"{}".to_vec());
            let (header, value) = [("content-encoding", "gzip"), ("content-type", "text/plain")]
                [dice.one_of(2).unwrap()];
            request.headers_mut().insert(header, value.parse().unwrap());
            Bad::early(request, 415, "body-type")
        }
        6 => {
            let mut request = plain(Method::GET, MODELS_PATH);
            let long = "x".repeat(20_000).parse().unwrap();
            request.headers_mut().insert("x-long", long);
            Bad {
                code: None,
                ..Bad::early(request, 431, "")
            }
        }
        7 => {
            let request = post(ATTEST_PATH).body(Full::from("no challenge"));
            Bad::early(request.unwrap(), 400, "challenge-malformed")
        }
        _ => {
            let nested = format!("{}{}", "[".repeat(40), "]".repeat(40));
            Bad::early(chat(nested.into_bytes()), 400, "json-too-large")
        }
    }
}

/// JSON that asks for what is not there.
fn bad_member(dice: &mut Dice, size: Size, payer: &Payer, owed: u64) -> Bad {
    let mut body = question(9);
    let mut code = "invalid-member";
    let mut status = 400;
    match dice.below(7) {
        0 => body["stream"] = json!(false),
        1 => body["max_tokens"] = json!(size.context + 1),
        2 => {
            code = "unsupported-member";
            body["audio"] = json!({});
        }
        3 => {
            code = "missing-member";
            body.as_object_mut().unwrap().remove("messages");
        }
        4 => {
            (status, code) = (404, "model_not_found");
            body["model"] = json!("another");
        }
        5 => body["temperature"] = json!(7),
        _ => {
            code = "json-duplicate-member";
            let twice = r#"{"model":"a","model":"b"}"#.as_bytes().to_vec();
            return Bad::early(chat_request(&payer.voucher(owed), twice), status, code);
        }
    }
    let request = chat_request(&payer.voucher(owed), body.to_string().into_bytes());
    Bad::early(request, status, code)
}

/// Vouchers and headers that are not right.
fn bad_money(dice: &mut Dice, payer: &Payer, owed: u64) -> Bad {
    let body = question(9).to_string();
    let with = |headers: &[(&str, String)]| {
        let request = headers
            .iter()
            .fold(post(CHAT_PATH), |request, (name, value)| {
                request.header(*name, value)
            });
        request.body(Full::from(body.clone())).unwrap()
    };
    let voucher = payer.voucher(owed);
    let encoded = STANDARD.encode(voucher.encode());
    let salt = SALT.to_string();
    match dice.below(7) {
        0 => Bad::early(with(&[(VOUCHER_HEADER, encoded)]), 400, "header-invalid"),
        1 => {
            let request = with(&[(VOUCHER_HEADER, "!!".to_owned()), (SALT_HEADER, salt)]);
            Bad::early(request, 400, "voucher-malformed")
        }
        2 => {
            let mut bytes = voucher.encode();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            let value = STANDARD.encode(bytes);
            let request = with(&[(VOUCHER_HEADER, value), (SALT_HEADER, salt)]);
            Bad::late(request, 400, "voucher-signature")
        }
        3 => {
            let elsewhere = Payer {
                network: NetworkId(-7357),
                ..Payer::new(77)
            };
            let request = chat_request(&elsewhere.voucher(0), body.into_bytes());
            Bad::late(request, 402, "voucher-network")
        }
        4 => {
            let stranger = Payer {
                network: NetworkId::MAIN,
                ..Payer::new(78)
            };
            let request = post(VOUCHER_PATH).body(Full::from(stranger.voucher(5).encode()));
            Bad::early(request.unwrap(), 402, "voucher-foreign-channel")
        }
        5 => {
            let request = post(VOUCHER_PATH).body(Full::from(vec![7; 400]));
            Bad::early(request.unwrap(), 413, "body-too-long")
        }
        _ => {
            let request = post(VOUCHER_PATH).body(Full::from("short"));
            Bad::early(request.unwrap(), 400, "voucher-malformed")
        }
    }
}

/// What only the engine can tell.
fn bad_for_the_engine(dice: &mut Dice, payer: &Payer, owed: u64) -> Bad {
    let voucher = payer.voucher(owed);
    let mut body = question(9);
    let code = match dice.below(5) {
        0 => {
            body["messages"][0]["content"] = "seven windows ".repeat(20_000).into();
            "context_length_exceeded"
        }
        1 => {
            body["logit_bias"] = json!({"999999": 1});
            "logit_bias_token"
        }
        2 => {
            body["response_format"] = json!({
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"$pattern": "x"}},
            });
            "response_format_schema"
        }
        3 => {
            body["tools"] = json!([{"type": "function", "function": {"name": "f"}}]);
            "tools_not_supported"
        }
        _ => {
            let body = json!({"model": MODEL, "input": "a text"}).to_string();
            let request = paid_request(EMBEDDINGS_PATH, &voucher, body.into_bytes());
            return Bad::late(request, 400, "embeddings_not_supported");
        }
    };
    let request = chat_request(&voucher, body.to_string().into_bytes());
    Bad::late(request, 400, code)
}
