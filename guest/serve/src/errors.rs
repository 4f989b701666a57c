//! Every refusal that a client can see: its HTTP status, its stable code, its message.
//!
//! Messages are constant text and name members of the specification only; nothing that a client
//! or an engine sent is repeated, except the name of an unknown member when it is an identifier.
//! Internal faults that end the program are not here (`crate::RunError`).

use bounded_json::JsonError;
use http::StatusCode;
use messages::engine_ipc::EngineRefusal;
use messages::host_control::StopReason;
use protocol::voucher::SignedVoucher;
use serde::Serialize;

/// Why a request, or the rest of a stream, was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing but a challenge is answered on a connection that was not attested.
    #[error("this connection has not been attested: post a challenge first")]
    AttestFirst,
    /// The body is not a challenge.
    #[error("the challenge is malformed")]
    ChallengeMalformed,
    /// The class of evidence is not offered.
    #[error("this class of evidence is not offered")]
    ChallengeClass,
    /// Too many challenges are waiting.
    #[error("too many challenges are waiting")]
    AttestBusy,
    /// No report could be had.
    #[error("no evidence can be had at the moment")]
    AttestUnavailable,
    /// The path is not served.
    #[error("no such path")]
    UnknownPath,
    /// The path does not take this method.
    #[error("this path does not take this method")]
    WrongMethod,
    /// The body exceeds its limit.
    #[error("the body is longer than its limit")]
    BodyTooLong,
    /// What a member holds exceeds its limit.
    #[error("`{member}` is longer than its limit")]
    MemberTooLong {
        /// The member.
        member: &'static str,
    },
    /// The body is compressed, or its type is not the path's.
    #[error("the body's type or encoding is not supported")]
    BodyType,
    /// The body did not arrive in time, or broke off.
    #[error("the body did not arrive")]
    BodyMissing,
    /// A header that the path needs is absent, repeated or malformed.
    #[error("the header `{header}` is missing or malformed")]
    HeaderInvalid {
        /// Name of the header in the specification.
        header: &'static str,
    },
    /// The body is not JSON.
    #[error("the body is not valid JSON")]
    JsonMalformed {
        /// The request's own member in which it ends to be JSON, when that is an identifier.
        member: Option<String>,
    },
    /// The body nests deeper or holds more values than the limits allow.
    #[error("the body nests too deeply or holds too many values")]
    JsonTooLarge {
        /// The request's own member that does, when it is an identifier.
        member: Option<String>,
    },
    /// A member occurs twice in one object.
    #[error("a member occurs twice")]
    JsonDuplicate {
        /// The member, when it is an identifier.
        member: Option<String>,
    },
    /// A member that is unknown, or known and not supported.
    #[error("this member is not supported")]
    UnsupportedMember {
        /// The member, when it is an identifier.
        member: Option<String>,
    },
    /// A member's value is of another type, outside its range, or not supported.
    #[error("the value of `{member}` is not supported")]
    InvalidMember {
        /// The member.
        member: &'static str,
    },
    /// A required member is absent.
    #[error("`{member}` is required")]
    MissingMember {
        /// The member.
        member: &'static str,
    },
    /// No model of that name is loaded.
    #[error("no such model")]
    UnknownModel,
    /// Every stream that the launch configuration allows is taken.
    #[error("too many streams")]
    TooManyStreams,
    /// The engine is gone.
    #[error("the engine is not available")]
    EngineUnavailable,
    /// The engine refused the request.
    #[error("the engine refused the request")]
    Engine(EngineRefusal),
    /// The engine does not know the schema that the answer is to follow.
    #[error("no answer can be led by this schema")]
    Schema {
        /// The keyword that it does not take, when it is an identifier.
        keyword: Option<String>,
    },
    /// The bytes are no voucher.
    #[error("the voucher is malformed")]
    VoucherMalformed,
    /// The voucher's signature does not hold.
    #[error("the voucher's signature does not hold")]
    VoucherSignature,
    /// The voucher is for another network.
    #[error("the voucher is for another network")]
    VoucherNetwork,
    /// No stream was ever paid from the voucher's channel here.
    #[error("no stream was paid from this voucher's channel here")]
    VoucherForeignChannel,
    /// A higher voucher is known; it comes along.
    #[error("a higher voucher of this channel is known")]
    VoucherOutdated(Box<SignedVoucher>),
    /// The voucher promises more than was delivered.
    #[error("the voucher promises more than was delivered")]
    VoucherAboveDelivered,
    /// The host will not be paid on this channel; with its highest voucher, if it showed one.
    #[error("the provider does not take payment from this channel")]
    Stopped(StopReason, Option<Box<SignedVoucher>>),
    /// The host did not answer a voucher question in time.
    #[error("the provider did not answer whether it takes the voucher")]
    HostSilent,
    /// What was delivered was not acknowledged in time.
    #[error("what was delivered was not acknowledged in time")]
    Unacknowledged,
    /// The engine does not know the schema of a function that the answer is to call.
    #[error("no call can be led by this function's parameters")]
    Parameters {
        /// The keyword that it does not take, when it is an identifier.
        keyword: Option<String>,
    },
    /// A parameter asks for what this machine's engine does not compute.
    #[error("this machine does not compute what this parameter asks for")]
    Parameter {
        /// The parameter.
        name: Option<String>,
    },
    /// More payment channels than this machine keeps accounts for.
    #[error("too many payment channels")]
    TooManyChannels,
}

/// Seconds after which a client may try again.
const RETRY_SECONDS: u32 = 1;

impl Refusal {
    /// HTTP status, OpenAI error type, stable code.
    const fn row(&self) -> (u16, &'static str, &'static str) {
        const INVALID: &str = "invalid_request_error";
        const PAYMENT: &str = "payment_error";
        const SERVER: &str = "server_error";
        const LIMIT: &str = "rate_limit_error";
        match self {
            Self::AttestFirst => (403, "permission_error", "attest-first"),
            Self::ChallengeMalformed => (400, INVALID, "challenge-malformed"),
            Self::ChallengeClass => (400, INVALID, "challenge-class"),
            Self::AttestBusy => (429, LIMIT, "attest-busy"),
            Self::AttestUnavailable => (503, SERVER, "attest-unavailable"),
            Self::UnknownPath => (404, INVALID, "unknown-path"),
            Self::WrongMethod => (405, INVALID, "wrong-method"),
            Self::BodyTooLong | Self::MemberTooLong { .. } => (413, INVALID, "body-too-long"),
            Self::BodyType => (415, INVALID, "body-type"),
            Self::BodyMissing => (408, INVALID, "body-missing"),
            Self::HeaderInvalid { .. } => (400, INVALID, "header-invalid"),
            Self::JsonMalformed { .. } => (400, INVALID, "json-malformed"),
            Self::JsonTooLarge { .. } => (400, INVALID, "json-too-large"),
            Self::JsonDuplicate { .. } => (400, INVALID, "json-duplicate-member"),
            Self::UnsupportedMember { .. } => (400, INVALID, "unsupported-member"),
            Self::InvalidMember { .. } => (400, INVALID, "invalid-member"),
            Self::MissingMember { .. } => (400, INVALID, "missing-member"),
            Self::UnknownModel => (404, INVALID, "model_not_found"),
            Self::TooManyStreams => (429, LIMIT, "too-many-streams"),
            Self::EngineUnavailable => (503, SERVER, "engine-unavailable"),
            Self::Engine(refusal) => match refusal {
                EngineRefusal::ContextTooLong
                | EngineRefusal::Chat
                | EngineRefusal::Bias
                | EngineRefusal::Schema
                | EngineRefusal::Tools
                | EngineRefusal::Parameters
                | EngineRefusal::EmbedsOnly
                | EngineRefusal::EmbedsNothing
                | EngineRefusal::Dimensions
                | EngineRefusal::Inputs
                | EngineRefusal::InputToken
                | EngineRefusal::Parameter => (400, INVALID, refusal.code()),
                EngineRefusal::Busy => (429, LIMIT, refusal.code()),
                EngineRefusal::Numeric | EngineRefusal::Form => (500, SERVER, refusal.code()),
            },
            Self::Schema { .. } => (400, INVALID, EngineRefusal::Schema.code()),
            Self::Parameters { .. } => (400, INVALID, EngineRefusal::Parameters.code()),
            Self::Parameter { .. } => (400, INVALID, EngineRefusal::Parameter.code()),
            Self::VoucherMalformed => (400, INVALID, "voucher-malformed"),
            Self::VoucherSignature => (400, INVALID, "voucher-signature"),
            Self::VoucherNetwork => (402, PAYMENT, "voucher-network"),
            Self::VoucherForeignChannel => (402, PAYMENT, "voucher-foreign-channel"),
            Self::VoucherOutdated(_) => (402, PAYMENT, StopReason::Outdated.code()),
            Self::VoucherAboveDelivered => (402, PAYMENT, "voucher-above-delivered"),
            Self::Stopped(reason, _) => (402, PAYMENT, reason.code()),
            Self::HostSilent => (503, SERVER, "host-silent"),
            Self::Unacknowledged => (402, PAYMENT, "payment-unacknowledged"),
            Self::TooManyChannels => (503, SERVER, "too-many-channels"),
        }
    }

    /// The engine's; the keyword is what it read in the client's schema.
    pub(crate) fn of_engine(refusal: EngineRefusal, keyword: &str) -> Self {
        let keyword = || repeatable_name(keyword.trim_start_matches('$'));
        match refusal {
            EngineRefusal::Schema => Self::Schema { keyword: keyword() },
            EngineRefusal::Parameters => Self::Parameters { keyword: keyword() },
            EngineRefusal::Parameter => Self::Parameter { name: keyword() },
            EngineRefusal::ContextTooLong
            | EngineRefusal::Chat
            | EngineRefusal::Busy
            | EngineRefusal::Numeric
            | EngineRefusal::Bias
            | EngineRefusal::Tools
            | EngineRefusal::Form
            | EngineRefusal::EmbedsOnly
            | EngineRefusal::EmbedsNothing
            | EngineRefusal::Dimensions
            | EngineRefusal::Inputs
            | EngineRefusal::InputToken => Self::Engine(refusal),
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The stable code, listed in `docs/spec/serving.md`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.row().2
    }

    /// The member or header at fault.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::HeaderInvalid { header } => Some(header),
            Self::JsonMalformed { member }
            | Self::JsonTooLarge { member }
            | Self::JsonDuplicate { member }
            | Self::UnsupportedMember { member } => member.as_deref(),
            Self::MemberTooLong { member }
            | Self::InvalidMember { member }
            | Self::MissingMember { member } => Some(member),
            Self::Schema { keyword } => Some(keyword.as_deref().unwrap_or("response_format")),
            Self::Parameters { keyword } => Some(keyword.as_deref().unwrap_or("tools")),
            Self::Parameter { name } => name.as_deref(),
            Self::Engine(EngineRefusal::Schema) => Some("response_format"),
            Self::Engine(EngineRefusal::Tools | EngineRefusal::Parameters) => Some("tools"),
            Self::Engine(EngineRefusal::Dimensions) => Some("dimensions"),
            Self::Engine(EngineRefusal::Inputs | EngineRefusal::InputToken) => Some("input"),
            Self::Engine(EngineRefusal::EmbedsOnly | EngineRefusal::EmbedsNothing)
            | Self::UnknownModel => Some("model"),
            Self::Engine(EngineRefusal::ContextTooLong | EngineRefusal::Chat) => Some("messages"),
            Self::Engine(EngineRefusal::Bias) => Some("logit_bias"),
            Self::Engine(
                EngineRefusal::Busy
                | EngineRefusal::Numeric
                | EngineRefusal::Form
                | EngineRefusal::Parameter,
            )
            | Self::AttestFirst
            | Self::ChallengeMalformed
            | Self::ChallengeClass
            | Self::AttestBusy
            | Self::AttestUnavailable
            | Self::UnknownPath
            | Self::WrongMethod
            | Self::BodyTooLong
            | Self::BodyType
            | Self::BodyMissing
            | Self::TooManyStreams
            | Self::EngineUnavailable
            | Self::VoucherMalformed
            | Self::VoucherSignature
            | Self::VoucherNetwork
            | Self::VoucherForeignChannel
            | Self::VoucherOutdated(_)
            | Self::VoucherAboveDelivered
            | Self::Stopped(..)
            | Self::HostSilent
            | Self::Unacknowledged
            | Self::TooManyChannels => None,
        }
    }

    /// Seconds for a `Retry-After` header, for refusals that pass by themselves.
    #[must_use]
    pub const fn retry_after(&self) -> Option<u32> {
        match self.row().0 {
            429 | 503 => Some(RETRY_SECONDS),
            _ => None,
        }
    }

    /// The client's own highest voucher, when the refusal is that a higher one is known.
    #[must_use]
    pub fn highest_voucher(&self) -> Option<&SignedVoucher> {
        if let Self::VoucherOutdated(voucher) | Self::Stopped(_, Some(voucher)) = self {
            return Some(voucher);
        }
        None
    }

    /// The OpenAI error object.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let (_, kind, code) = self.row();
        let object = ErrorObject {
            error: ErrorMembers {
                message: &self.to_string(),
                kind,
                param: self.param(),
                code,
            },
        };
        // Strings only: this cannot fail; an empty body would still carry the status.
        serde_json::to_vec(&object).unwrap_or_default()
    }
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Malformed(member) => Self::JsonMalformed {
                member: member.as_deref().and_then(repeatable_name),
            },
            JsonError::TooLarge(member) => Self::JsonTooLarge {
                member: member.as_deref().and_then(repeatable_name),
            },
            JsonError::Duplicate(name) => Self::JsonDuplicate {
                member: repeatable_name(&name),
            },
        }
    }
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    error: ErrorMembers<'a>,
}

#[derive(Serialize)]
struct ErrorMembers<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

/// A name that may be repeated to its sender: an identifier of at most 64 characters.
#[must_use]
pub fn repeatable_name(name: &str) -> Option<String> {
    let is_identifier = matches!(name.len(), 1..=64)
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_identifier.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    #[test]
    fn an_error_is_the_object_that_openai_clients_parse() {
        let refusal = Refusal::UnsupportedMember {
            member: repeatable_name("tools"),
        };
        let text = String::from_utf8(refusal.to_json()).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"error":{"message":"this member is not supported","#,
                r#""type":"invalid_request_error","param":"tools","code":"unsupported-member"}}"#
            )
        );
    }

    #[test]
    fn a_name_that_could_carry_content_is_not_repeated() {
        for name in ["", "my secret", "x".repeat(65).as_str(), "a\u{e9}"] {
            assert_eq!(repeatable_name(name), None);
        }
    }
}
