//! A kept receipt: signature, arithmetic, and the content when it is given. The Statement beside it
//! is not appraised: whose key signed is for `verify bundle` to say.

use protocol::receipt::{Receipt, request_digest, response_digest};
use protocol::serving::MAX_REQUEST_BYTES;
use serde_json::{Map, Value};

use super::{Failure, read};
use crate::command::arguments::ReceiptArguments;
use crate::command::output::{members, write_line};
use crate::wallet::{KeptReceipt, KeptReceiptError, MAX_KEPT_BYTES};

const KIND: &str = "receipt";
/// An answer's text is at most this long.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

pub(super) fn verify(arguments: &ReceiptArguments) -> Result<(), Failure> {
    let bytes = read(&arguments.file, MAX_KEPT_BYTES)?;
    let kept = match KeptReceipt::parse(&bytes) {
        Ok(kept) => kept,
        // What is no receipt at all is bad input; what is one and proves nothing is rejected.
        Err(error @ (KeptReceiptError::Malformed | KeptReceiptError::Statement(_))) => {
            return Err(error.into());
        }
        Err(error @ (KeptReceiptError::Receipt(_) | KeptReceiptError::OtherStatement)) => {
            return reject(KIND, error.code(), arguments.pretty);
        }
    };
    let receipt = &kept.receipt.receipt;
    if let Some(path) = &arguments.request {
        let body = read(path, MAX_REQUEST_BYTES)?;
        if request_digest(&kept.salt, &body) != receipt.request {
            return reject(KIND, "receipt-other-request", arguments.pretty);
        }
    }
    if let Some(path) = &arguments.response {
        let text = read(path, MAX_ANSWER_BYTES)?;
        if response_digest(&kept.salt, &text) != receipt.response {
            return reject(KIND, "receipt-other-response", arguments.pretty);
        }
    }
    let mut found = found_in(receipt);
    found.extend(members([
        ("request_checked", arguments.request.is_some().into()),
        ("response_checked", arguments.response.is_some().into()),
    ]));
    print(KIND, None, Value::Object(found), arguments.pretty)
}

/// What a receipt says, for a verdict.
pub(super) fn found_in(receipt: &Receipt) -> Map<String, Value> {
    members([
        ("digest", receipt.digest().to_string().into()),
        ("model", receipt.model.to_string().into()),
        ("image", receipt.image.to_string().into()),
        ("prompt_tokens", receipt.tokens.prompt.into()),
        ("cached_tokens", receipt.tokens.cached.into()),
        ("completion_tokens", receipt.tokens.completion.into()),
        ("charged", receipt.charged.to_string().into()),
        ("channel", receipt.channel.to_string().into()),
        ("epoch", receipt.epoch.into()),
        ("sequence", receipt.sequence.into()),
        ("boot_id", receipt.boot_id.to_string().into()),
        ("statement", receipt.statement.to_string().into()),
        ("statement_appraised", false.into()),
    ])
}

pub(super) fn reject(kind: &str, code: &'static str, pretty: bool) -> Result<(), Failure> {
    print(kind, Some(code), Value::Null, pretty)?;
    Err(Failure::Rejected(code))
}

pub(super) fn print(
    kind: &str,
    rejection: Option<&'static str>,
    receipt: Value,
    pretty: bool,
) -> Result<(), Failure> {
    let verdict = match rejection {
        None => "accepted",
        Some(_) => "rejected",
    };
    if pretty {
        return write_line(&readable(verdict, rejection, &receipt));
    }
    let found = members([
        ("version", 1.into()),
        ("kind", kind.into()),
        ("verdict", verdict.into()),
        ("rejection", rejection.into()),
        ("receipt", receipt),
    ]);
    write_line(&Value::Object(found).to_string())
}

fn readable(verdict: &str, rejection: Option<&str>, receipt: &Value) -> String {
    let mut lines = vec![match rejection {
        None => verdict.to_owned(),
        Some(code) => format!("{verdict}: {code}"),
    }];
    let members: Option<&Map<String, Value>> = receipt.as_object();
    for (name, value) in members.into_iter().flatten() {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        lines.push(format!("  {name:18} {text}"));
    }
    lines.join("\n")
}
