//! Appraises evidence: pure, offline, one verdict.
//!
//! [`appraise`] takes everything as arguments — evidence with its stapled endorsements, the
//! connection it came over, reference values, policy, trust anchors, time — and returns an
//! [`AttestationResult`], which nothing else can make, or the one [`Rejection`] that the order of
//! checks in `docs/spec/evidence.md` meets first. [`appraise_in_full`] lists every check with it.
//! There is no I/O, clock, environment or randomness here, and no way to add a root to the
//! production anchors.
#![forbid(unsafe_code)]

mod anchors;
mod appraise;
mod bundle;
mod certificate;
mod checks;
mod crl;
mod devices;
mod event_log;
mod grant;
mod hardware;
mod nvidia;
mod policy;
mod pss;
mod rejection;
mod result;
mod secp384r1;
mod snp;
mod tdx;
mod time;
mod verdict;

pub use anchors::{AmdRoots, CertificateDigest, NvidiaRoots, RESEARCH_MARKER, TrustAnchors};
pub use appraise::{Appraisal, ChannelBinding, MeasuredRegisters, appraise, appraise_in_full};
pub use bundle::{Bundle, BundleAppraisal, BundleError, BundleResult, Pin, appraise_bundle};
pub use checks::{Check, Outcome, Subject};
pub use hardware::{appraise_gpus, appraise_hardware};
pub use nvidia::{
    DeviceExpectations, DeviceFacts, DeviceMinimum, DeviceNonces, DeviceVersionError,
    DriverVersion, FirmwareVersion, NvidiaPolicy, OcspRule, appraise_device_identities,
    appraise_devices,
};
pub use policy::{
    Abi, AcceptedClass, AcceptedLevel, Advisory, Allowed, AllowedProviders, AppraisalPolicy,
    ChipRules, MrSeam, PolicyError, SeamRule, SnpPolicy, TdxPolicy, TdxStatus, Weakness, Xfam,
};
pub use rejection::Rejection;
pub use result::{AttestationResult, ReportedChip};
pub use snp::{Product, Tcb, TcbMinimum};
pub use time::{TimeError, UnixTime};
pub use verdict::{Binding, Decision, DocumentDigest, Kind, Machine, Verdict};
