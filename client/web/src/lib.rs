//! A bundle's verdict for those who cannot link the verifier: a question of bytes goes in, an
//! answer of bytes comes out. `docs/spec/bundle.md` §4.
//!
//! The verdict is the verifier's, byte for byte; beside it stands what the bundle says and how that
//! differs from the pinned release, for people to read. There is no I/O, clock, environment or
//! randomness here, and no root: anchors come from the crate that exports this, one for production
//! and one for research.
#![forbid(unsafe_code)]

mod account;
mod difference;
mod exchange;
mod question;

pub use account::Account;
pub use difference::{Difference, RegisterDifference, ShapeDifference};
pub use exchange::Exchange;
pub use question::{BadInput, Pinned, Question};

use protocol::codec::Writer;
use serde::Serialize;
use verifier::{Decision, TrustAnchors, appraise_bundle};

/// First byte of an answer, and the exit code of `cocoon verify bundle` for the same.
const ACCEPTED: u8 = 0;
const REJECTED: u8 = 20;
const BAD_INPUT: u8 = 2;

/// Bad input, as the page shows it.
#[derive(Debug, Serialize)]
struct Refusal {
    code: &'static str,
    reason: String,
}

/// Answers a question: one byte, then the verdict and the account as blobs.
#[must_use]
pub fn judge(question: &[u8], anchors: &TrustAnchors) -> Vec<u8> {
    match answer(question, anchors) {
        Ok((decision, verdict, account)) => encode(decision, &verdict, &account),
        Err(error) => {
            let refusal = Refusal {
                code: error.code(),
                reason: error.chain(),
            };
            let text = serde_json::to_string(&refusal).unwrap_or_default();
            encode(BAD_INPUT, "", &text)
        }
    }
}

fn answer(question: &[u8], anchors: &TrustAnchors) -> Result<(u8, String, String), BadInput> {
    let question = Question::decode(question)?;
    let pin = question.pinned.pin();
    let bundle = &question.bundle;
    let found = appraise_bundle(bundle, pin, &question.policy, anchors, question.at);
    let verdict = found.verdict.to_json().map_err(|_| BadInput::Unwritable)?;
    let account = Account::of(&question, &found.verdict);
    let account = serde_json::to_string(&account).map_err(|_| BadInput::Unwritable)?;
    let decision = match found.verdict.decision() {
        Decision::Accepted => ACCEPTED,
        Decision::Rejected => REJECTED,
    };
    Ok((decision, verdict, account))
}

fn encode(decision: u8, verdict: &str, account: &str) -> Vec<u8> {
    let mut out = Writer::new();
    out.u8(decision)
        .blob(verdict.as_bytes())
        .blob(account.as_bytes());
    out.finish()
}
