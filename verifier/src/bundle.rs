//! A bundle: evidence, the connection that it speaks of as its receiver recorded it, and the
//! reference values that were pinned then, in one file. `docs/spec/bundle.md`.
//!
//! Whoever reads a bundle can repeat the appraisal, but not the connection: so its verdict says
//! "channel binding not checked", and [`BundleResult`] is a type of its own that opens no channel.

use protocol::codec::{DecodeError, Reader, Writer};
use protocol::digest::{Exporter, Nonce, SpkiDigest};
use protocol::evidence::{self, Evidence};
use protocol::launch_configuration::LaunchConfiguration;
use protocol::reference_values::{self, ReferenceValues, ReferenceValuesError};
use protocol::statement::Statement;

use crate::anchors::TrustAnchors;
use crate::appraise::{Appraisal, ChannelBinding, appraise_into};
use crate::checks::{Checks, Subject};
use crate::nvidia::DeviceFacts;
use crate::policy::AppraisalPolicy;
use crate::rejection::Rejection;
use crate::result::{AttestationResult, ReportedChip};
use crate::time::UnixTime;
use crate::verdict::{DocumentDigest, Kind, Verdict};

const MAGIC: &[u8; 8] = b"COCOBNDL";
const VERSION: u16 = 1;
const REFERENCES: Subject = Subject::of("reference-values");

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// When its receiver made it, by the receiver's clock; a note, judged by nobody.
    pub made_at: UnixTime,
    /// The connection as the receiver recorded it.
    pub channel: ChannelBinding,
    /// The evidence, endorsements and all.
    pub evidence: Evidence,
    /// The reference values that the receiver pinned.
    pub references: ReferenceValues,
}

/// Why bytes are no bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Longer than [`Bundle::MAX_BYTES`].
    #[error("bundle longer than {} bytes", Bundle::MAX_BYTES)]
    TooLong,
    /// Another version of the file.
    #[error("bundle of version {found}; this program reads version 1")]
    Version {
        /// The version found.
        found: u16,
    },
    /// Not of the file's form.
    #[error("not a bundle")]
    Malformed(#[source] DecodeError),
    /// The evidence within is malformed.
    #[error("the evidence within is malformed")]
    Evidence(#[source] DecodeError),
    /// The reference values within are malformed.
    #[error("the reference values within are malformed")]
    References(#[source] ReferenceValuesError),
}

impl BundleError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "bundle-too-long",
            Self::Version { .. } => "bundle-version",
            Self::Malformed(_) => "bundle-malformed",
            Self::Evidence(_) => "bundle-evidence",
            Self::References(_) => "bundle-reference-values",
        }
    }
}

impl Bundle {
    /// A file is at most this long: its two blobs and 128 bytes.
    pub const MAX_BYTES: usize = evidence::MAX_BYTES
        .saturating_add(reference_values::MAX_BYTES)
        .saturating_add(128);

    /// The file's bytes.
    ///
    /// # Errors
    /// Those of the serialiser of the reference values, which their types do not raise.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let references = self.references.to_json()?;
        let mut out = Writer::new();
        out.raw(MAGIC).u16(VERSION).u64(self.made_at.0);
        out.raw(self.channel.nonce.as_bytes())
            .raw(self.channel.exporter.as_bytes())
            .raw(self.channel.tls_key.as_bytes());
        out.blob(&self.evidence.encode())
            .blob(references.as_bytes());
        Ok(out.finish())
    }

    /// Reads exactly one bundle.
    ///
    /// # Errors
    /// See [`BundleError`]; every length is compared with its limit before it is used.
    pub fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(BundleError::TooLong);
        }
        let mut from = Reader::new(bytes);
        from.magic(MAGIC).map_err(BundleError::Malformed)?;
        let found = from.u16().map_err(BundleError::Malformed)?;
        if found != VERSION {
            return Err(BundleError::Version { found });
        }
        let mut parts = || {
            let made_at = UnixTime(from.u64()?);
            let channel = ChannelBinding {
                nonce: Nonce(from.array()?),
                exporter: Exporter(from.array()?),
                tls_key: SpkiDigest(from.array()?),
            };
            let evidence = from.blob("evidence", evidence::MAX_BYTES)?;
            let references = from.blob("reference values", reference_values::MAX_BYTES)?;
            from.finish()?;
            Ok::<_, DecodeError>((made_at, channel, evidence, references))
        };
        let (made_at, channel, evidence, references) = parts().map_err(BundleError::Malformed)?;
        Ok(Self {
            made_at,
            channel,
            evidence: Evidence::decode(evidence).map_err(BundleError::Evidence)?,
            references: ReferenceValues::parse(references).map_err(BundleError::References)?,
        })
    }
}

/// Which reference values the reader of a bundle takes.
#[derive(Debug, Clone, Copy)]
pub enum Pin<'p> {
    /// These, whatever the bundle brings.
    Values(&'p ReferenceValues),
    /// The bundle's, if they are the ones with this digest.
    Digest(DocumentDigest),
    /// None: everything is checked against the bundle's own and then refused, because whoever made
    /// the bundle chose them.
    Nothing,
}

/// A bundle that was accepted. It opens no channel:
///
/// ```compile_fail,E0308
/// fn open(result: &verifier::BundleResult) -> &verifier::AttestationResult {
///     result
/// }
/// ```
///
/// and nothing but an appraisal makes one:
///
/// ```compile_fail,E0423
/// fn make(result: verifier::AttestationResult) -> verifier::BundleResult {
///     verifier::BundleResult(result)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleResult(AttestationResult);

impl BundleResult {
    /// What the machine said of itself, covered by the hardware report.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        self.0.statement()
    }

    /// Name of the machine shape in the reference values.
    #[must_use]
    pub fn shape(&self) -> &str {
        self.0.shape()
    }

    /// The processor, and whether a certificate names it.
    #[must_use]
    pub const fn chip(&self) -> &ReportedChip {
        self.0.chip()
    }

    /// The launch configuration whose digest the machine's register holds.
    #[must_use]
    pub const fn launch_configuration(&self) -> &LaunchConfiguration {
        self.0.launch_configuration()
    }

    /// GPUs and switches, in the order in which they report.
    #[must_use]
    pub fn devices(&self) -> &[DeviceFacts] {
        self.0.devices()
    }
}

/// What a bundle's appraisal ends in.
pub type BundleAppraisal = Appraisal<BundleResult>;

/// Appraises a bundle.
#[must_use]
pub fn appraise_bundle(
    bundle: &Bundle,
    pin: Pin<'_>,
    policy: &AppraisalPolicy,
    anchors: &TrustAnchors,
    at: UnixTime,
) -> BundleAppraisal {
    let own = DocumentDigest::of_references(&bundle.references);
    let (references, digest, pinned) = match pin {
        Pin::Values(values) => (values, DocumentDigest::of_references(values), true),
        Pin::Digest(digest) => (&bundle.references, own, digest == own),
        Pin::Nothing => (&bundle.references, own, false),
    };
    let mut checks = Checks::by(policy, anchors, at);
    checks.expect(REFERENCES, Rejection::ReferencesNotPinned, digest, pinned);
    let (channel, evidence) = (&bundle.channel, &bundle.evidence);
    let result = appraise_into(evidence, channel, references, &mut checks);
    let inputs = (Kind::Bundle, Some(evidence.statement.tee), Some(references));
    let decided = result.as_ref().map(Some).map_err(|rejection| *rejection);
    Appraisal {
        verdict: Verdict::of(inputs, checks, decided),
        result: result.map(BundleResult),
    }
}
