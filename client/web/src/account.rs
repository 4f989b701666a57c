//! What a bundle says, in members that a page can show. A claim until the verdict accepts it: so it
//! stands beside the verdict and never in it, and holds no member that says whether it is good.

use std::collections::BTreeMap;

use protocol::digest::{
    BootId, ConfigDigest, ModelDigest, ReceiptKey, SpkiDigest, StatementDigest,
};
use protocol::gpu_evidence::GpuEvidence;
use protocol::launch_configuration::LaunchConfiguration;
use serde::Serialize;
use transparency::release::LoggedRelease;
use verifier::{MeasuredRegisters, Outcome, Verdict};

use crate::difference::{Difference, device_name};
use crate::question::{Pinned, Question};

/// What a bundle says of its machine, and the release that it is held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// When its receiver made the bundle, by the receiver's clock.
    made_at: u64,
    /// When the evidence was made, by the host's clock.
    host_time: u64,
    tee: &'static str,
    class: &'static str,
    boot_id: BootId,
    statement: StatementDigest,
    tls_key: SpkiDigest,
    receipt_key: ReceiptKey,
    launch_configuration: Configuration,
    gpus: Gpus,
    /// Whose reference values were used: `given`, `logged`, `bundle` (named by digest),
    /// `bundle-unpinned`.
    release_from: &'static str,
    /// Where the log of the reader's key holds the release.
    release_log: Option<Logged>,
    release: Difference,
    /// Where the reader's own release was used: whether the receiver of the bundle pinned the same.
    receiver_pinned_the_same: Option<bool>,
    /// What each check that did not pass means.
    reasons: BTreeMap<&'static str, String>,
}

/// A release's place in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Logged {
    /// The log's name.
    log: String,
    version: String,
    flavour: &'static str,
    /// The release's number, from 0.
    index: u64,
    /// Releases in the log, as its checkpoint says.
    size: u64,
    /// The checkpoint's root, to compare with what others were shown.
    root: String,
    /// SHA-256 of the release's files that were not needed, for whoever has them.
    sbom: String,
    build_inputs: String,
}

/// The document that the machine was launched with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Configuration {
    digest: ConfigDigest,
    /// Absent if the document is not of its form.
    terms: Option<LaunchTerms>,
}

/// What that document says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct LaunchTerms {
    network: i32,
    payee: String,
    streams: u16,
    context_tokens: u32,
}

/// The devices that report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Gpus {
    /// Length of their evidence; 0 without any.
    evidence_bytes: usize,
    /// Kinds of devices in their order; empty too if the evidence is not of its form.
    devices: Vec<&'static str>,
}

impl Account {
    pub(crate) fn of(question: &Question, verdict: &Verdict) -> Self {
        let bundle = &question.bundle;
        let statement = &bundle.evidence.statement;
        let configuration = LaunchConfiguration::parse(&bundle.evidence.launch_configuration).ok();
        let models = configuration.as_ref().map(models).unwrap_or_default();
        let measured = MeasuredRegisters::claimed(statement.tee, &bundle.evidence.report);
        let (release_from, release) = match &question.pinned {
            Pinned::Values(values) => ("given", values),
            Pinned::Release(release) => ("logged", release.reference_values()),
            Pinned::Digest(_) => ("bundle", &bundle.references),
            Pinned::Nothing => ("bundle-unpinned", &bundle.references),
        };
        let (own, release_log) = match &question.pinned {
            Pinned::Values(_) => (true, None),
            Pinned::Release(release) => (true, Some(Logged::of(release))),
            Pinned::Digest(_) | Pinned::Nothing => (false, None),
        };
        Self {
            made_at: bundle.made_at.0,
            host_time: statement.host_time,
            tee: statement.tee.name(),
            class: statement.class.name(),
            boot_id: statement.boot_id,
            statement: statement.digest(),
            tls_key: statement.tls_key,
            receipt_key: statement.receipt_key,
            launch_configuration: Configuration {
                digest: statement.configuration,
                terms: configuration.as_ref().map(LaunchTerms::of),
            },
            gpus: Gpus::of(&bundle.evidence.gpu_evidence),
            release_from,
            release_log,
            release: Difference::of(measured.as_ref(), &models, release),
            receiver_pinned_the_same: own.then(|| *release == bundle.references),
            reasons: reasons(verdict),
        }
    }
}

fn models(configuration: &LaunchConfiguration) -> Vec<(String, ModelDigest)> {
    let names = configuration.models.iter().map(|model| model.name.clone());
    names.zip(configuration.model_digests()).collect()
}

fn reasons(verdict: &Verdict) -> BTreeMap<&'static str, String> {
    let open = verdict.checks().iter().filter(|check| match check.outcome {
        Outcome::Passed | Outcome::NotNeeded => false,
        Outcome::Tolerated(_) | Outcome::Failed | Outcome::NotReached => true,
    });
    open.map(|check| (check.check.code(), check.check.to_string()))
        .collect()
}

impl Logged {
    fn of(release: &LoggedRelease) -> Self {
        let (record, checkpoint) = (release.record(), release.checkpoint());
        Self {
            log: checkpoint.origin.as_str().to_owned(),
            version: record.version.to_string(),
            flavour: record.flavour.name(),
            index: release.index(),
            size: checkpoint.size,
            root: checkpoint.root.to_base64(),
            sbom: record.sbom.to_string(),
            build_inputs: record.build_inputs.to_string(),
        }
    }
}

impl LaunchTerms {
    fn of(configuration: &LaunchConfiguration) -> Self {
        Self {
            network: configuration.network.0,
            payee: configuration.payee.to_string(),
            streams: configuration.limits.streams,
            context_tokens: configuration.limits.context_tokens,
        }
    }
}

impl Gpus {
    fn of(bytes: &[u8]) -> Self {
        let read = GpuEvidence::decode(bytes).ok();
        let devices = read.map(|read| read.devices).unwrap_or_default();
        let kinds = devices.iter().map(|device| device_name(device.kind));
        Self {
            evidence_bytes: bytes.len(),
            devices: kinds.collect(),
        }
    }
}
