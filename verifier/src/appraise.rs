//! The order of checks, `docs/spec/evidence.md` §6: what is asked for, then the hardware's word,
//! then what that word binds.
//!
//! Each vendor's part is in its own module and ends in [`HardwareClaims`].

use protocol::digest::{
    EventLogDigest, Exporter, GpuEvidenceDigest, HostData, LaunchDigest, ModelDigest, MrConfigId,
    Mrtd, Nonce, ReportData, Rtmr, SpkiDigest,
};
use protocol::endorsements::EndorsementKind;
use protocol::evidence::Evidence;
use protocol::gpu_evidence::{GpuEndorsements, GpuEvidence, ocsp_nonce};
use protocol::launch_configuration::{
    self, LaunchConfiguration, config_digest, host_data, mr_config_id,
};
use protocol::reference_values::{ExpectedRegisters, ReferenceValues, ShapeReference};
use protocol::statement::models_digest;
use protocol::tee::TeeKind;
use sha2::{Digest as _, Sha256};

use crate::anchors::TrustAnchors;
use crate::nvidia::{self, DeviceExpectations, DeviceFacts, DeviceNonces};
use crate::policy::AppraisalPolicy;
use crate::rejection::Rejection;
use crate::result::{AttestationResult, ChipIdentity};
use crate::snp;
use crate::tdx;
use crate::time::UnixTime;

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

/// What a genuine report says, once its signature and its chain are checked.
#[derive(Debug)]
pub(crate) struct HardwareClaims {
    pub(crate) report_data: ReportData,
    pub(crate) configuration: ConfigurationRegister,
    pub(crate) registers: MeasuredRegisters,
    pub(crate) chip: ChipIdentity,
    /// End of the endorsements' validity.
    pub(crate) not_after: UnixTime,
}

/// The register that the host sets at launch and cannot change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ConfigurationRegister {
    SevSnp(HostData),
    Tdx(MrConfigId),
}

/// The registers that measure what was launched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MeasuredRegisters {
    SevSnp(LaunchDigest),
    Tdx { mrtd: Mrtd, rtmrs: [Rtmr; 3] },
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
    check_question(evidence, references, policy, anchors, at)?;
    let (report, stapled) = (&evidence.report, &evidence.endorsements);
    let claims = match evidence.statement.tee {
        TeeKind::SevSnp => snp::appraise_report(report, stapled, policy, anchors, at)?,
        TeeKind::Tdx => tdx::appraise_quote(report, stapled, policy, anchors, at)?,
    };
    check_chip(&claims.chip, policy)?;
    check_statement(evidence, channel, &claims)?;
    let configuration = check_configuration(evidence, &claims)?;
    let models = check_models(evidence, &configuration, references)?;
    let shape = matching_shape(&claims.registers, references)?;
    check_event_log(evidence)?;
    check_gpu_digest(evidence, shape)?;
    let devices = check_devices(evidence, channel, shape, policy, anchors, at)?;
    let ends = devices.iter().map(|device| device.not_after);
    let devices_end = ends.min().unwrap_or(claims.not_after);
    let lifetime = at.plus_seconds(u64::from(policy.result_lifetime_seconds));
    Ok(AttestationResult {
        statement: evidence.statement.clone(),
        launch_configuration: configuration,
        models,
        shape: shape.shape.clone(),
        chip: claims.chip,
        measurement_key: shape.registers.key(),
        devices,
        not_after: lifetime.min(claims.not_after).min(devices_end),
    })
}

/// §6.1: class, profile and the host's clock.
fn check_question(
    evidence: &Evidence,
    references: &ReferenceValues,
    policy: &AppraisalPolicy,
    anchors: &TrustAnchors,
    at: UnixTime,
) -> Result<(), Rejection> {
    let class = evidence.statement.class;
    if !policy.classes.iter().any(|taken| taken.class() == class) {
        return Err(Rejection::ClassNotAccepted);
    }
    if references.profile != anchors.profile() {
        return Err(Rejection::ProfileMismatch);
    }
    let host_time = UnixTime(evidence.statement.host_time);
    if host_time.distance(at) > u64::from(policy.host_time_tolerance_seconds) {
        return Err(Rejection::HostTimeImplausible);
    }
    Ok(())
}

/// §6.3: lists of single chips.
fn check_chip(chip: &ChipIdentity, policy: &AppraisalPolicy) -> Result<(), Rejection> {
    if policy.chips.accepts(chip) {
        Ok(())
    } else {
        Err(Rejection::ChipNotAccepted)
    }
}

/// §6.4: the Statement is the one that the hardware signed, and is meant for this connection.
fn check_statement(
    evidence: &Evidence,
    channel: &ChannelBinding,
    claims: &HardwareClaims,
) -> Result<(), Rejection> {
    let statement = &evidence.statement;
    if statement.report_data() != claims.report_data {
        return Err(Rejection::ReportDataMismatch);
    }
    let freshness = evidence.proof.freshness(&channel.nonce, &channel.exporter);
    if freshness != Some(statement.freshness) {
        return Err(Rejection::FreshnessMismatch);
    }
    if statement.tls_key != channel.tls_key {
        return Err(Rejection::TlsKeyMismatch);
    }
    Ok(())
}

/// §6.5: the launch configuration is the one in the machine's register.
fn check_configuration(
    evidence: &Evidence,
    claims: &HardwareClaims,
) -> Result<LaunchConfiguration, Rejection> {
    if evidence.launch_configuration.len() > launch_configuration::MAX_BYTES {
        return Err(Rejection::ConfigurationMalformed);
    }
    let digest = config_digest(&evidence.launch_configuration);
    let measured = match &claims.configuration {
        ConfigurationRegister::SevSnp(register) => *register == host_data(&digest),
        ConfigurationRegister::Tdx(register) => *register == mr_config_id(&digest),
    };
    if !measured || evidence.statement.configuration != digest {
        return Err(Rejection::ConfigurationMismatch);
    }
    LaunchConfiguration::parse(&evidence.launch_configuration)
        .map_err(|_| Rejection::ConfigurationMalformed)
}

/// §6.6: what is loaded is what was configured, and all of it is pinned.
fn check_models(
    evidence: &Evidence,
    configuration: &LaunchConfiguration,
    references: &ReferenceValues,
) -> Result<Vec<ModelDigest>, Rejection> {
    let models = configuration.model_digests();
    if models_digest(&models) != evidence.statement.models {
        return Err(Rejection::ModelsMismatch);
    }
    let pinned = |model: &ModelDigest| references.models.iter().any(|known| known.digest == *model);
    if models.iter().all(pinned) {
        Ok(models)
    } else {
        Err(Rejection::ModelNotPinned)
    }
}

/// §6.7: the first shape whose registers are the measured ones.
fn matching_shape<'r>(
    measured: &MeasuredRegisters,
    references: &'r ReferenceValues,
) -> Result<&'r ShapeReference, Rejection> {
    let expected = |registers: &ExpectedRegisters| match registers {
        ExpectedRegisters::SevSnp { launch_digest, .. } => {
            MeasuredRegisters::SevSnp(*launch_digest)
        }
        ExpectedRegisters::Tdx {
            mrtd,
            rtmr0,
            rtmr1,
            rtmr2,
        } => MeasuredRegisters::Tdx {
            mrtd: *mrtd,
            rtmrs: [rtmr0.value, rtmr1.value, rtmr2.value],
        },
    };
    let mut shapes = references.shapes.iter();
    shapes
        .find(|shape| expected(&shape.registers) == *measured)
        .ok_or(Rejection::RegistersUnknown)
}

/// §6.8: the event log is the Statement's; zero stands for "none".
fn check_event_log(evidence: &Evidence) -> Result<(), Rejection> {
    let statement = &evidence.statement;
    let log = match evidence.event_log.as_slice() {
        [] => EventLogDigest::ZERO,
        bytes => EventLogDigest(Sha256::digest(bytes).into()),
    };
    match statement.tee {
        TeeKind::SevSnp if !log.is_zero() || !statement.event_log.is_zero() => {
            return Err(Rejection::EventLogUnexpected);
        }
        TeeKind::SevSnp | TeeKind::Tdx => {}
    }
    if log != statement.event_log {
        return Err(Rejection::EventLogMismatch);
    }
    Ok(())
}

/// §6.9: GPU evidence is there exactly where the shape has GPUs, and it is the Statement's.
fn check_gpu_digest(evidence: &Evidence, shape: &ShapeReference) -> Result<(), Rejection> {
    let stated = evidence.statement.gpu_evidence;
    match (shape.devices.as_slice(), evidence.gpu_evidence.as_slice()) {
        ([], []) if stated.is_zero() => Ok(()),
        ([], _) => Err(Rejection::GpuEvidenceUnexpected),
        (_, []) => Err(Rejection::GpuEvidenceMissing),
        (_, bytes) if GpuEvidenceDigest(Sha256::digest(bytes).into()) == stated => Ok(()),
        (_, _) => Err(Rejection::GpuEvidenceMismatch),
    }
}

/// §6.9: the devices are those of the shape, genuine, fresh for this boot, and run what they may.
fn check_devices(
    evidence: &Evidence,
    channel: &ChannelBinding,
    shape: &ShapeReference,
    policy: &AppraisalPolicy,
    anchors: &TrustAnchors,
    at: UnixTime,
) -> Result<Vec<DeviceFacts>, Rejection> {
    if shape.devices.is_empty() {
        return Ok(Vec::new());
    }
    let devices = GpuEvidence::decode(&evidence.gpu_evidence);
    let devices = devices.map_err(|_| Rejection::GpuEvidenceMalformed)?;
    let stapled = evidence.endorsements.get(EndorsementKind::Nvidia);
    let stapled = stapled.ok_or(Rejection::GpuEndorsementsMissing)?;
    let stapled = GpuEndorsements::decode(stapled);
    let stapled = stapled.map_err(|_| Rejection::GpuEndorsementsMalformed)?;
    let expected = DeviceExpectations {
        nonces: DeviceNonces::OfBoot(&evidence.statement.boot_id),
        sets: &shape.devices,
        ocsp_nonce: Some(ocsp_nonce(&channel.nonce)),
    };
    nvidia::appraise_devices(&devices, &stapled, &expected, policy, anchors, at)
}
