//! What client and serve add to the OpenAI API on an attested connection: header names, paths and
//! the two stream events. `docs/spec/serving.md`.
//!
//! The connection speaks HTTP/2; everything here travels inside TLS, after appraisal.

use serde::{Deserialize, Serialize};

/// OpenAI's path for chat completions.
pub const CHAT_PATH: &str = "/v1/chat/completions";
/// OpenAI's path for texts that are to be continued.
pub const COMPLETIONS_PATH: &str = "/v1/completions";
/// OpenAI's path for vectors of texts.
pub const EMBEDDINGS_PATH: &str = "/v1/embeddings";
/// OpenAI's path for the list of models.
pub const MODELS_PATH: &str = "/v1/models";
/// Whether the machine can answer, as usual servers tell it.
pub const HEALTH_PATH: &str = "/health";
/// What a connection may read of itself, in Prometheus' text format.
pub const METRICS_PATH: &str = "/metrics";
/// Path to which the next voucher is posted: the body is an encoded signed voucher.
pub const VOUCHER_PATH: &str = "/.cocoon/v1/voucher";
/// Header of a chat request: the client's highest voucher of the channel, encoded, base64.
pub const VOUCHER_HEADER: &str = "cocoon-voucher";
/// Header of a chat request: the salt of its digests, 64 hex digits.
pub const SALT_HEADER: &str = "cocoon-salt";
/// Header of a chat's answer, where functions were offered: how its text writes calls.
pub const CALLS_HEADER: &str = "cocoon-calls";
/// Its values: `<tool_call>{"name", "arguments"}</tool_call>`, any number of them; `[TOOL_CALLS]`
/// and a list of `{"name", "arguments"}`; `{"name", "parameters"}` from the first character on,
/// semicolons between several.
pub const CALLS: [&str; 3] = ["tagged", "listed", "bare"];
/// Stream event with the running account, [`Progress`].
pub const PROGRESS_EVENT: &str = "cocoon.progress";
/// Stream event with the signed receipt, [`ReceiptEvent`].
pub const RECEIPT_EVENT: &str = "cocoon.receipt";
/// A request's body is at most this long.
pub const MAX_REQUEST_BYTES: usize = 1024 * 1024;
/// Header lines of a request together are at most this long.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The account of one stream: what was delivered and what the channel's total must reach for the
/// stream to go on. Sent after the prompt and whenever an increment is full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Computed prompt tokens of this stream.
    pub prompt_tokens: u32,
    /// Prompt tokens from the client's own cache.
    pub cached_tokens: u32,
    /// Completion tokens delivered on this stream so far.
    pub completion_tokens: u32,
    /// Cost of this stream so far, nano units, decimal.
    pub charged: alloc::string::String,
}

/// The end of a stream: the signed receipt, encoded, base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptEvent {
    /// An encoded [`crate::receipt::SignedReceipt`], base64 with padding.
    pub receipt: alloc::string::String,
}
