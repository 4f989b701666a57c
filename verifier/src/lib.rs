//! Appraises evidence: pure, offline, one verdict.
//!
//! [`appraise`] takes everything as arguments — evidence with its stapled endorsements, the
//! connection it came over, reference values, policy, trust anchors, time — and returns an
//! [`AttestationResult`], which nothing else can make, or the one [`Rejection`] that the order of
//! checks in `docs/spec/evidence.md` meets first. There is no I/O, clock, environment or
//! randomness here, and no way to add a root to the production anchors.
#![forbid(unsafe_code)]

mod anchors;
mod appraise;
mod certificate;
mod crl;
mod nvidia;
mod policy;
mod rejection;
mod result;
mod snp;
mod tdx;
mod time;

pub use anchors::{AmdRoots, CertificateDigest, NvidiaRoots, RESEARCH_MARKER, TrustAnchors};
pub use appraise::{ChannelBinding, appraise};
pub use nvidia::{
    DeviceExpectations, DeviceFacts, DeviceMinimum, DeviceNonces, DeviceVersionError,
    DriverVersion, FirmwareVersion, NvidiaPolicy, OcspRule, appraise_devices,
};
pub use policy::{
    AcceptedClass, AppraisalPolicy, ChipRule, PolicyError, SeamRule, SnpPolicy, TdxPolicy,
    TdxStatus, Weakness,
};
pub use rejection::Rejection;
pub use result::{AttestationResult, ChipIdentity};
pub use snp::{Product, Tcb, TcbMinimum};
pub use time::UnixTime;
