//! The verdict: everything that was judged, by what, and how each check ended, as one document.
//!
//! Its JSON is canonical: members in the order of these types, no white space, integers only. The
//! same inputs give the same bytes on every platform. `docs/spec/verdict.md`.

use protocol::digest::{
    BootId, ConfigDigest, MeasurementKey, ModelDigest, ProviderKey, StatementDigest,
};
use protocol::reference_values::{ImageVersion, Profile, ReferenceValues};
use protocol::tee::TeeKind;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::checks::{Check, Checks};
use crate::policy::AppraisalPolicy;
use crate::rejection::Rejection;
use crate::result::AttestationResult;

/// What was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Evidence that came over a connection of the verifier's own.
    Evidence,
    /// Evidence of somebody's connection, out of a file.
    Bundle,
    /// A SEV-SNP report and its endorsements, without a Statement.
    SnpReport,
    /// A TDX quote and its collateral, without a Statement.
    TdxQuote,
    /// Reports of GPUs and switches and what is stapled for them, without a Statement.
    GpuEvidence,
}

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Every check passed, or is tolerated by name.
    Accepted,
    /// At least one check failed.
    Rejected,
}

/// What is known of the connection that the evidence speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Binding {
    /// The verifier held the connection's other end.
    #[serde(rename = "checked")]
    Checked,
    /// Nonce and exporter are what a file says they were.
    #[serde(rename = "not checked")]
    NotChecked,
}

protocol::byte_strings! {
    /// SHA-256 of a document's text as this program writes it.
    DocumentDigest(32);
}

impl DocumentDigest {
    /// Of a policy, as `cocoon verify policy` prints it.
    #[must_use]
    pub fn of_policy(policy: &AppraisalPolicy) -> Self {
        Self::of_text(policy.to_json().unwrap_or_default())
    }

    /// Of reference values, as `measure` writes them.
    #[must_use]
    pub fn of_references(references: &ReferenceValues) -> Self {
        Self::of_text(references.to_json().unwrap_or_default())
    }

    fn of_text(text: String) -> Self {
        Self(Sha256::digest(text).into())
    }
}

/// What an accepted machine is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Version of the pinned image.
    pub image: ImageVersion,
    /// Name of the shape in the reference values.
    pub shape: String,
    /// The registry's name of its registers.
    pub measurement: MeasurementKey,
    /// The processor.
    pub chip: String,
    /// Whether a certificate names it.
    pub chip_certified: bool,
    /// The provider who granted the machine, where the policy names providers.
    pub provider: Option<ProviderKey>,
    /// The loaded models.
    pub models: Vec<ModelDigest>,
    /// The launch configuration.
    pub launch_configuration: ConfigDigest,
    /// This boot.
    pub boot_id: BootId,
    /// The Statement.
    pub statement: StatementDigest,
    /// Unix seconds from which on the result does not hold any more.
    pub not_after: u64,
}

/// A verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    version: u16,
    kind: Kind,
    verdict: Decision,
    rejection: Option<Rejection>,
    channel_binding: Binding,
    tee: Option<&'static str>,
    at: u64,
    profile: &'static str,
    policy: DocumentDigest,
    reference_values: Option<DocumentDigest>,
    machine: Option<Machine>,
    checks: Vec<Check>,
}

/// What a verdict is about; no TEE of devices alone.
type Inputs<'a> = (Kind, Option<TeeKind>, Option<&'a ReferenceValues>);

impl Verdict {
    pub(crate) fn of(
        (kind, tee, references): Inputs<'_>,
        checks: Checks<'_>,
        result: Result<Option<&AttestationResult>, Rejection>,
    ) -> Self {
        let terms = checks.terms;
        let rejection = result.err();
        let accepted = result.ok().flatten();
        let machine = |references: &ReferenceValues| Some(Machine::of(accepted?, references));
        Self {
            version: 1,
            kind,
            verdict: match rejection {
                None => Decision::Accepted,
                Some(_) => Decision::Rejected,
            },
            rejection,
            channel_binding: match kind {
                Kind::Evidence => Binding::Checked,
                Kind::Bundle | Kind::SnpReport | Kind::TdxQuote | Kind::GpuEvidence => {
                    Binding::NotChecked
                }
            },
            tee: tee.map(TeeKind::name),
            at: terms.at.0,
            profile: profile_name(terms.anchors.profile()),
            policy: DocumentDigest::of_policy(terms.policy),
            reference_values: references.map(DocumentDigest::of_references),
            machine: references.and_then(machine),
            checks: checks.into_list(),
        }
    }

    /// The decision.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        self.verdict
    }

    /// The first failure.
    #[must_use]
    pub const fn rejection(&self) -> Option<Rejection> {
        self.rejection
    }

    /// Every check, in the order of the specification.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// What an accepted machine is; none where no Statement was judged.
    #[must_use]
    pub const fn machine(&self) -> Option<&Machine> {
        self.machine.as_ref()
    }

    /// What is known of the connection.
    #[must_use]
    pub const fn channel_binding(&self) -> Binding {
        self.channel_binding
    }

    /// The canonical document, without a final newline.
    ///
    /// # Errors
    /// Those of the serialiser, which these types do not raise.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl Machine {
    fn of(result: &AttestationResult, references: &ReferenceValues) -> Self {
        Self {
            image: references.image,
            shape: result.shape.clone(),
            measurement: result.measurement_key,
            chip: result.chip.claimed().to_string(),
            chip_certified: result.chip.certified().is_some(),
            provider: result.provider,
            models: result.models.clone(),
            launch_configuration: result.statement.configuration,
            boot_id: result.statement.boot_id,
            statement: result.statement.digest(),
            not_after: result.not_after.0,
        }
    }
}

pub(crate) const fn profile_name(profile: Profile) -> &'static str {
    match profile {
        Profile::Release => "release",
        Profile::Research => "research",
    }
}
