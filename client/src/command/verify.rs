//! `verify`: kept receipts and kept evidence, offline.

use std::path::Path;

use protocol::receipt::{request_digest, response_digest};
use protocol::serving::MAX_REQUEST_BYTES;
use verifier::{UnixTime, appraise};

use super::arguments::{EvidenceArguments, VerifyCommand};
use super::failure::Failure;
use super::machine::show_release;
use super::output::{Output, members};
use super::settings::Settings;
use crate::evidence_file::{self, MAX_FILE_BYTES};
use crate::wallet::{KeptReceipt, MAX_KEPT_BYTES, read_bounded};

/// An answer's text is at most this long.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

pub(super) fn verify(
    settings: &Settings,
    command: &VerifyCommand,
    output: Output,
) -> Result<(), Failure> {
    match command {
        VerifyCommand::Receipt {
            file,
            request,
            response,
        } => receipt(file, request.as_deref(), response.as_deref(), output),
        VerifyCommand::Evidence(arguments) => evidence(settings, arguments, output),
    }
}

fn evidence(
    settings: &Settings,
    arguments: &EvidenceArguments,
    output: Output,
) -> Result<(), Failure> {
    let pins = settings.pins(&arguments.pins)?;
    show_release(&pins, output)?;
    let policy = settings.policy(arguments.policy.as_deref())?;
    let at = arguments
        .at
        .map_or_else(|| settings.surroundings.now(), UnixTime);
    let bytes = read_bounded(&arguments.file, MAX_FILE_BYTES)?;
    let (evidence, binding) = evidence_file::parse(&bytes)?;
    let anchors = &settings.deployment.anchors;
    let result = appraise(&evidence, &binding, pins.references(), &policy, anchors, at)
        .map_err(Failure::Rejected)?;
    let line = format!(
        "accepted: {tee}, shape {shape}, measurement {key}, boot {boot}; channel binding not \
         checked",
        tee = result.tee().name(),
        shape = result.shape(),
        key = result.measurement_key(),
        boot = result.statement().boot_id,
    );
    let found = members([
        ("tee", result.tee().name().into()),
        ("shape", result.shape().into()),
        ("measurement", result.measurement_key().to_string().into()),
        ("boot_id", result.statement().boot_id.to_string().into()),
        ("statement", result.statement().digest().to_string().into()),
        ("at", at.0.into()),
        ("channel_binding", "not checked".into()),
    ]);
    output.result("accepted", &[line], found)
}

fn receipt(
    file: &Path,
    request: Option<&Path>,
    response: Option<&Path>,
    output: Output,
) -> Result<(), Failure> {
    let kept = KeptReceipt::parse(&read_bounded(file, MAX_KEPT_BYTES)?)?;
    let receipt = &kept.receipt.receipt;
    if let Some(path) = request {
        let body = read_bounded(path, MAX_REQUEST_BYTES)?;
        if request_digest(&kept.salt, &body) != receipt.request {
            return Err(Failure::OtherContent { what: "request" });
        }
    }
    if let Some(path) = response {
        let text = read_bounded(path, MAX_ANSWER_BYTES)?;
        if response_digest(&kept.salt, &text) != receipt.response {
            return Err(Failure::OtherContent { what: "response" });
        }
    }
    let lines = [
        format!("receipt {} verified", receipt.digest()),
        format!("model {}, image {}", receipt.model, receipt.image),
        format!(
            "{} prompt, {} cached, {} completion tokens for {} nano",
            receipt.tokens.prompt,
            receipt.tokens.cached,
            receipt.tokens.completion,
            receipt.charged
        ),
        format!("statement {} (not appraised here)", receipt.statement),
    ];
    let found = members([
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
    ]);
    output.result("receipt", &lines, found)
}
