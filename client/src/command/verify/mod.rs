//! `verify`: a report, a bundle or a receipt from files, judged offline. One verdict on standard
//! output, as canonical JSON or, with `--pretty`, for people; 0 accepted, 20 rejected, 2 bad input.
//!
//! No rule of appraisal is here, and nothing opens a channel.

mod anchor;
mod certificates;
mod policies;
mod receipt;
mod report;

use std::path::Path;

use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::evidence::{MAX_GPU_EVIDENCE_BYTES, MAX_REPORT_BYTES};
use protocol::gpu_evidence::{MAX_DEVICES, ocsp_nonce};
use protocol::tee::TeeKind;
use verifier::{
    AppraisalPolicy, Bundle, DeviceExpectations, DeviceNonces, DocumentDigest, Pin, TrustAnchors,
    UnixTime, Verdict, appraise_bundle, appraise_gpus, appraise_hardware,
};

use super::arguments::{
    BundleArguments, GpuArguments, Judging, SnpArguments, TdxArguments, VerifyCommand,
};
use super::failure::Failure;
use super::machine::show_release;
use super::output::{Output, write_line};
use super::settings::Settings;
use crate::wallet::read_bounded;

/// What a file of endorsements is at most; the verifier's limits are narrower.
const MAX_ENDORSEMENT_BYTES: usize = protocol::endorsements::MAX_BYTES;

pub(super) async fn verify(
    settings: &Settings,
    command: &VerifyCommand,
    output: Output,
) -> Result<(), Failure> {
    match command {
        VerifyCommand::Snp(arguments) => snp(settings, arguments),
        VerifyCommand::Tdx(arguments) => tdx(settings, arguments),
        VerifyCommand::Gpu(arguments) => gpu(settings, arguments),
        VerifyCommand::Bundle(arguments) => bundle(settings, arguments, output),
        VerifyCommand::Policy { which } => policies::print(which.as_deref()),
        VerifyCommand::Receipt(arguments) => receipt::verify(arguments),
        VerifyCommand::Anchor(arguments) => anchor::verify(settings, arguments).await,
    }
}

/// What every verdict is judged by.
struct Terms {
    policy: AppraisalPolicy,
    anchors: TrustAnchors,
    at: UnixTime,
}

impl Terms {
    fn of(settings: &Settings, judging: &Judging) -> Result<Self, Failure> {
        Ok(Self {
            policy: policies::named_or_read(settings, judging.policy.as_deref())?,
            anchors: settings.deployment.anchors.clone(),
            at: judging.at.unwrap_or_else(|| settings.surroundings.now()),
        })
    }
}

fn snp(settings: &Settings, arguments: &SnpArguments) -> Result<(), Failure> {
    let terms = Terms::of(settings, &arguments.judging)?;
    let report = read(&arguments.report, MAX_REPORT_BYTES)?;
    let mut items = Endorsements::default();
    let certificate = |path: &Path| certificates::one(&endorsement(path)?);
    let mut add = |kind, bytes: Vec<u8>| {
        let added = items.insert(kind, bytes);
        added.map_err(|_| Failure::Certificates)
    };
    add(EndorsementKind::SnpVcek, certificate(&arguments.vcek)?)?;
    let [ask, ark] = certificates::pair(&endorsement(&arguments.authorities)?)?;
    add(EndorsementKind::SnpAsk, ask)?;
    add(EndorsementKind::SnpArk, ark)?;
    if let Some(path) = &arguments.crl {
        add(EndorsementKind::SnpCrl, endorsement(path)?)?;
    }
    let verdict = hardware(TeeKind::SevSnp, &report, &items, &terms);
    decide(&verdict, &arguments.judging)
}

fn tdx(settings: &Settings, arguments: &TdxArguments) -> Result<(), Failure> {
    let terms = Terms::of(settings, &arguments.judging)?;
    let quote = read(&arguments.quote, MAX_REPORT_BYTES)?;
    let mut items = Endorsements::default();
    if let Some(path) = &arguments.collateral {
        let added = items.insert(EndorsementKind::TdxCollateral, endorsement(path)?);
        added.map_err(|_| Failure::Certificates)?;
    }
    let verdict = hardware(TeeKind::Tdx, &quote, &items, &terms);
    decide(&verdict, &arguments.judging)
}

fn gpu(settings: &Settings, arguments: &GpuArguments) -> Result<(), Failure> {
    let terms = Terms::of(settings, &arguments.judging)?;
    let evidence = read(&arguments.evidence, MAX_GPU_EVIDENCE_BYTES)?;
    let stapled = arguments.endorsements.as_deref().map(endorsement);
    let stapled = stapled.transpose()?;
    let nonces = arguments.nonce.iter().copied().cycle();
    let same: Vec<_> = nonces.take(MAX_DEVICES).collect();
    let expected = DeviceExpectations {
        nonces: match &arguments.boot_id {
            Some(boot_id) => DeviceNonces::OfBoot(boot_id),
            None => DeviceNonces::Given(&same),
        },
        sets: &arguments.sets,
        ocsp_nonce: arguments.challenge.as_ref().map(ocsp_nonce),
    };
    let (policy, anchors) = (&terms.policy, &terms.anchors);
    let stapled = stapled.as_deref();
    let verdict = appraise_gpus(&evidence, stapled, &expected, policy, anchors, terms.at);
    decide(&verdict, &arguments.judging)
}

fn endorsement(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, MAX_ENDORSEMENT_BYTES)
}

/// What cannot be read, or is longer than anything of its kind, is bad input.
fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    read_bounded(path, limit).map_err(Failure::Input)
}

fn hardware(tee: TeeKind, report: &[u8], items: &Endorsements, terms: &Terms) -> Verdict {
    appraise_hardware(tee, report, items, &terms.policy, &terms.anchors, terms.at)
}

fn bundle(settings: &Settings, arguments: &BundleArguments, output: Output) -> Result<(), Failure> {
    let terms = Terms::of(settings, &arguments.judging)?;
    let digest: Option<DocumentDigest> = arguments.reference_digest;
    let pins = match digest {
        Some(_) => None,
        None => settings.pins_if_given(&arguments.pins)?,
    };
    if let Some(pins) = &pins {
        show_release(pins, output)?;
    }
    let bundle = Bundle::decode(&read(&arguments.file, Bundle::MAX_BYTES)?)?;
    let pin = match (digest, &pins) {
        (Some(digest), _) => Pin::Digest(digest),
        (None, Some(pins)) => Pin::Values(pins.references()),
        (None, None) => Pin::Nothing,
    };
    let found = appraise_bundle(&bundle, pin, &terms.policy, &terms.anchors, terms.at);
    decide(&found.verdict, &arguments.judging)
}

/// Prints a verdict; a rejection becomes the exit code.
fn decide(verdict: &Verdict, judging: &Judging) -> Result<(), Failure> {
    let text = if judging.pretty {
        report::readable(verdict)
    } else {
        verdict.to_json().map_err(|_| Failure::Verdict)?
    };
    write_line(&text)?;
    match verdict.rejection() {
        None => Ok(()),
        Some(rejection) => Err(Failure::Rejected(rejection.code())),
    }
}
