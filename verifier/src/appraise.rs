//! The order of checks, `docs/spec/evidence.md` §6: what is asked for, then the hardware's word,
//! then what that word binds.
//!
//! Each vendor's part is in its own module and ends in [`HardwareClaims`]. Every check that can be
//! made is made and listed, whatever failed before it; what is refused is decided by the first
//! failure in the order of the list.

use protocol::digest::{
    EventLogDigest, Exporter, HostData, LaunchDigest, ModelDigest, MrConfigId, Mrtd, Nonce,
    ReportData, Rtmr, SpkiDigest,
};
use protocol::endorsements::Endorsements;
use protocol::evidence::Evidence;
use protocol::launch_configuration::{
    self, LaunchConfiguration, config_digest, host_data, mr_config_id,
};
use protocol::reference_values::{
    ReferenceValues, ShapeReference, snp_measurement_key, tdx_measurement_key,
};
use protocol::statement::models_digest;
use protocol::tee::TeeKind;
use sha2::{Digest as _, Sha256};

use crate::anchors::TrustAnchors;
use crate::checks::{Checks, Subject};
use crate::devices;
use crate::event_log;
use crate::grant::{self, Granted, Ownership};
use crate::nvidia::DeviceFacts;
use crate::policy::{AppraisalPolicy, ChipRules};
use crate::rejection::Rejection;
use crate::result::{AttestationResult, ReportedChip};
use crate::snp;
use crate::tdx;
use crate::time::UnixTime;
use crate::verdict::{Kind, Verdict};

const POLICY: Subject = Subject::of("policy");
const REFERENCES: Subject = Subject::of("reference-values");
const HOST_TIME: Subject = Subject::of("host-time");
const CHIP: Subject = Subject::of("chip");
const STATEMENT: Subject = Subject::of("statement");
const CHANNEL: Subject = Subject::of("channel");
const CONFIGURATION: Subject = Subject::of("launch-configuration");
const MODELS: Subject = Subject::of("models");
const REGISTERS: Subject = Subject::of("registers");
const EVENT_LOG: Subject = Subject::of("event-log");

const DOCUMENT: &[Rejection] =
    Rejection::ConfigurationMismatch.through(Rejection::ConfigurationMalformed);

/// The connection over which the evidence came, as the client itself saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelBinding {
    /// The nonce that the client drew for this challenge.
    pub nonce: Nonce,
    /// The connection's exporter value for that nonce.
    pub exporter: Exporter,
    /// Digest of the key that the server proved in the handshake.
    pub tls_key: SpkiDigest,
}

/// What a report says, in types. Whether it is genuine, the list of checks says.
#[derive(Debug)]
pub(crate) struct HardwareClaims {
    pub(crate) report_data: ReportData,
    pub(crate) configuration: ConfigurationRegister,
    pub(crate) registers: MeasuredRegisters,
    /// `None` when the endorsement that names the chip could not be read.
    pub(crate) chip: Option<ReportedChip>,
    /// End of the endorsements' validity; `None` when one could not be read.
    pub(crate) not_after: Option<UnixTime>,
}

/// The register that the host sets at launch and cannot change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ConfigurationRegister {
    SevSnp(HostData),
    Tdx(MrConfigId),
}

/// The registers that measure what was launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeasuredRegisters {
    /// AMD SEV-SNP: the launch measurement.
    SevSnp(LaunchDigest),
    /// Intel TDX.
    Tdx {
        /// Build-time measurement.
        mrtd: Mrtd,
        /// RTMR0 to RTMR2; the fourth must be zero.
        rtmrs: [Rtmr; 3],
    },
}

impl MeasuredRegisters {
    /// What a report says, genuine or not: to be shown beside what was expected, never to be
    /// decided by. `None` for what is no report.
    #[must_use]
    pub fn claimed(tee: TeeKind, report: &[u8]) -> Option<Self> {
        // No policy decides about what is read here, and what is noted is not kept.
        let policy = AppraisalPolicy::strict();
        let mut checks = Checks::by(&policy, &TrustAnchors::PRODUCTION, UnixTime(0));
        match tee {
            TeeKind::SevSnp => snp::claimed_registers(report, &mut checks),
            TeeKind::Tdx => tdx::claimed_registers(report, &mut checks),
        }
    }
}

/// A result, or a refusal, with the list of everything that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appraisal<R = AttestationResult> {
    /// Every check, in the form that is printed and kept.
    pub verdict: Verdict,
    /// The result, of which only [`AttestationResult`] opens a channel, or the first failure.
    pub result: Result<R, Rejection>,
}

/// Appraises evidence that came over one connection.
///
/// # Errors
/// The first [`Rejection`] in the order of `docs/spec/evidence.md` §6.
pub fn appraise(
    evidence: &Evidence,
    channel: &ChannelBinding,
    references: &ReferenceValues,
    policy: &AppraisalPolicy,
    anchors: &TrustAnchors,
    at: UnixTime,
) -> Result<AttestationResult, Rejection> {
    appraise_in_full(evidence, channel, references, policy, anchors, at).result
}

/// The same, with the verdict: every check that was made, whatever failed first.
#[must_use]
pub fn appraise_in_full(
    evidence: &Evidence,
    channel: &ChannelBinding,
    references: &ReferenceValues,
    policy: &AppraisalPolicy,
    anchors: &TrustAnchors,
    at: UnixTime,
) -> Appraisal {
    let mut checks = Checks::by(policy, anchors, at);
    let result = appraise_into(evidence, channel, references, &mut checks);
    let tee = Some(evidence.statement.tee);
    let inputs = (Kind::Evidence, tee, Some(references));
    let decided = result.as_ref().map(Some).map_err(|rejection| *rejection);
    let verdict = Verdict::of(inputs, checks, decided);
    Appraisal { verdict, result }
}

/// Appraises into a list that may have begun already.
pub(crate) fn appraise_into(
    evidence: &Evidence,
    channel: &ChannelBinding,
    references: &ReferenceValues,
    checks: &mut Checks<'_>,
) -> Result<AttestationResult, Rejection> {
    let terms = checks.terms;
    check_question(evidence, references, checks);
    let (report, stapled) = (&evidence.report, &evidence.endorsements);
    let claims = appraise_hardware(evidence.statement.tee, report, stapled, checks);
    plan_binding(evidence, checks);
    let found = claims.map(|claims| check_binding(evidence, channel, references, claims, checks));
    checks.outcome()?;
    // Every check passed, so everything was read: this refuses only if the two ever disagree.
    let unread = Rejection::RegistersUnknown;
    let (claims, configuration, shape, devices, owner) = found.flatten().ok_or(unread)?;
    let lifetime = u64::from(terms.policy.result_lifetime_seconds);
    let endorsed = claims.not_after.ok_or(unread)?;
    let ends = devices.iter().map(|device| device.not_after);
    let end = ends
        .chain([endorsed, terms.at.plus_seconds(lifetime)])
        .chain(owner.map(|owner| owner.not_after))
        .min();
    Ok(AttestationResult {
        statement: evidence.statement.clone(),
        models: configuration.model_digests(),
        launch_configuration: configuration,
        shape: shape.shape.clone(),
        chip: claims.chip.ok_or(unread)?,
        provider: owner.map(|owner| owner.provider),
        measurement_key: shape.registers.key(),
        devices,
        not_after: end.ok_or(unread)?,
    })
}

/// §6.2 and §6.3: one report and its endorsements.
pub(crate) fn appraise_hardware(
    tee: TeeKind,
    report: &[u8],
    endorsements: &Endorsements,
    checks: &mut Checks<'_>,
) -> Option<HardwareClaims> {
    let claims = match tee {
        TeeKind::SevSnp => snp::appraise_report(report, endorsements, checks),
        TeeKind::Tdx => tdx::appraise_quote(report, endorsements, checks),
    };
    ChipRules::plan(CHIP, checks);
    if let Some(chip) = claims.as_ref().and_then(|claims| claims.chip) {
        checks.terms.policy.chips.check(CHIP, &chip, checks);
    }
    claims
}

/// §6.1: class, profile and the host's clock.
fn check_question(evidence: &Evidence, references: &ReferenceValues, checks: &mut Checks<'_>) {
    let terms = checks.terms;
    let class = evidence.statement.class;
    let mut taken = terms.policy.classes.iter();
    let holds = taken.any(|taken| taken.class() == class);
    checks.expect(POLICY, Rejection::ClassNotAccepted, class.name(), holds);
    let profile = crate::verdict::profile_name(references.profile);
    let holds = references.profile == terms.anchors.profile();
    checks.expect(REFERENCES, Rejection::ProfileMismatch, profile, holds);
    let host_time = UnixTime(evidence.statement.host_time);
    let holds = host_time.distance(terms.at) <= u64::from(terms.policy.host_time_tolerance_seconds);
    checks.expect(HOST_TIME, Rejection::HostTimeImplausible, host_time, holds);
}

/// §6.4 to §6.10, in their order; the last whatever the shape turns out to be.
fn plan_binding(evidence: &Evidence, checks: &mut Checks<'_>) {
    checks.plan(STATEMENT, &[Rejection::ReportDataMismatch]);
    let channel = [Rejection::FreshnessMismatch, Rejection::TlsKeyMismatch];
    checks.plan(CHANNEL, &channel);
    checks.plan(CONFIGURATION, DOCUMENT);
    let models = [Rejection::ModelsMismatch, Rejection::ModelNotPinned];
    checks.plan(MODELS, &models);
    checks.plan(REGISTERS, &[Rejection::RegistersUnknown]);
    let log: &[Rejection] = match (evidence.statement.tee, evidence.event_log.is_empty()) {
        (TeeKind::SevSnp, _) => &[Rejection::EventLogUnexpected],
        (TeeKind::Tdx, true) => &[Rejection::EventLogMismatch],
        (TeeKind::Tdx, false) => Rejection::EventLogMismatch.through(Rejection::EventLogReplay),
    };
    checks.plan(EVENT_LOG, log);
    grant::plan(checks);
    checks.plan(devices::EVIDENCE, &[Rejection::GpuEvidenceUnexpected]);
}

/// What came of a report, its configuration, its shape, the devices of that, and whose all is.
type Bound<'r> = (
    HardwareClaims,
    LaunchConfiguration,
    &'r ShapeReference,
    Vec<DeviceFacts>,
    Option<Ownership>,
);

/// Whatever the report's claims are held against; `None` unless something came of every part.
fn check_binding<'r>(
    evidence: &Evidence,
    channel: &ChannelBinding,
    references: &'r ReferenceValues,
    claims: HardwareClaims,
    checks: &mut Checks<'_>,
) -> Option<Bound<'r>> {
    check_statement(evidence, channel, &claims, checks);
    let configuration = check_configuration(evidence, &claims, checks);
    if let Some(configuration) = &configuration {
        check_models(evidence, configuration, references, checks);
    }
    let shape = matching_shape(&claims.registers, references, checks);
    check_event_log(evidence, &claims.registers, checks);
    let devices = shape.and_then(|shape| devices::check(evidence, channel, shape, checks));
    let machine = Granted {
        chip: claims.chip,
        configuration: configuration.as_ref(),
        digest: evidence.statement.configuration,
        devices: devices.as_deref(),
    };
    let owner = grant::check(&evidence.endorsements, &machine, checks);
    Some((claims, configuration?, shape?, devices?, owner))
}

/// §6.4: the Statement is the one that the hardware signed, and is meant for this connection.
fn check_statement(
    evidence: &Evidence,
    channel: &ChannelBinding,
    claims: &HardwareClaims,
    checks: &mut Checks<'_>,
) {
    let statement = &evidence.statement;
    let holds = statement.report_data() == claims.report_data;
    let found = &claims.report_data;
    checks.expect(STATEMENT, Rejection::ReportDataMismatch, found, holds);
    let freshness = evidence.proof.freshness(&channel.nonce, &channel.exporter);
    let holds = freshness == Some(statement.freshness);
    let found = &statement.freshness;
    checks.expect(CHANNEL, Rejection::FreshnessMismatch, found, holds);
    let holds = statement.tls_key == channel.tls_key;
    checks.expect(CHANNEL, Rejection::TlsKeyMismatch, statement.tls_key, holds);
}

/// §6.5: the launch configuration is the one in the machine's register.
fn check_configuration(
    evidence: &Evidence,
    claims: &HardwareClaims,
    checks: &mut Checks<'_>,
) -> Option<LaunchConfiguration> {
    let document = &evidence.launch_configuration;
    let found = format_args!("{} bytes", document.len());
    let malformed = Rejection::ConfigurationMalformed;
    if document.len() > launch_configuration::MAX_BYTES {
        checks.expect(CONFIGURATION, malformed, found, false);
        return None;
    }
    let digest = config_digest(document);
    let measured = match &claims.configuration {
        ConfigurationRegister::SevSnp(register) => *register == host_data(&digest),
        ConfigurationRegister::Tdx(register) => *register == mr_config_id(&digest),
    };
    let holds = measured && evidence.statement.configuration == digest;
    let mismatch = Rejection::ConfigurationMismatch;
    checks.expect(CONFIGURATION, mismatch, digest, holds);
    let parsed = LaunchConfiguration::parse(document).ok();
    checks.read(CONFIGURATION, malformed, found, parsed)
}

/// §6.6: what is loaded is what was configured, and all of it is pinned.
fn check_models(
    evidence: &Evidence,
    configuration: &LaunchConfiguration,
    references: &ReferenceValues,
    checks: &mut Checks<'_>,
) {
    let models = configuration.model_digests();
    let digest = models_digest(&models);
    let holds = digest == evidence.statement.models;
    checks.expect(MODELS, Rejection::ModelsMismatch, digest, holds);
    let pinned = |model: &ModelDigest| references.models.iter().any(|known| known.digest == *model);
    let holds = models.iter().all(pinned);
    let names: Vec<String> = models.iter().map(ToString::to_string).collect();
    checks.expect(MODELS, Rejection::ModelNotPinned, names.join(" "), holds);
}

/// §6.7: the first shape whose registers are the measured ones, by the registry's name of them,
/// which is a digest of all.
fn matching_shape<'r>(
    measured: &MeasuredRegisters,
    references: &'r ReferenceValues,
    checks: &mut Checks<'_>,
) -> Option<&'r ShapeReference> {
    let key = match measured {
        MeasuredRegisters::SevSnp(digest) => snp_measurement_key(digest),
        MeasuredRegisters::Tdx {
            mrtd,
            rtmrs: [rtmr0, rtmr1, rtmr2],
        } => tdx_measurement_key(mrtd, rtmr0, rtmr1, rtmr2),
    };
    let mut shapes = references.shapes.iter();
    let shape = shapes.find(|shape| shape.registers.key() == key);
    checks.read(REGISTERS, Rejection::RegistersUnknown, key, shape)
}

/// §6.8: the event log is the Statement's and leads to the registers; zero stands for "none".
fn check_event_log(evidence: &Evidence, registers: &MeasuredRegisters, checks: &mut Checks<'_>) {
    let stated = evidence.statement.event_log;
    let log = match evidence.event_log.as_slice() {
        [] => EventLogDigest::ZERO,
        bytes => EventLogDigest(Sha256::digest(bytes).into()),
    };
    match registers {
        MeasuredRegisters::SevSnp(_) => {
            let holds = log.is_zero() && stated.is_zero();
            checks.expect(EVENT_LOG, Rejection::EventLogUnexpected, stated, holds);
        }
        MeasuredRegisters::Tdx { rtmrs, .. } => {
            let holds = log == stated;
            checks.expect(EVENT_LOG, Rejection::EventLogMismatch, log, holds);
            if !evidence.event_log.is_empty() {
                event_log::check(EVENT_LOG, &evidence.event_log, rtmrs, checks);
            }
        }
    }
}
