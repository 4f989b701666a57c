//! The report's 1184 bytes, versions 2, 3 and 5: AMD publication 56860, table "ATTESTATION_REPORT".
//!
//! Every reserved field must be zero. What the fields mean for acceptance is in `rules`.

use p384::ecdsa::{Signature, VerifyingKey};
use protocol::codec::{DecodeError, Reader};
use protocol::digest::{ChipId, HostData, LaunchDigest, ReportData};

use super::REPORT;
use super::product::{Cpuid, Product};
use super::tcb::TcbVersion;
use crate::checks::Checks;
use crate::policy::{AppraisalPolicy, Weakness};
use crate::rejection::Rejection;
use crate::secp384r1;

/// Length of a report.
pub(crate) const REPORT_BYTES: usize = 0x4a0;
/// The signature covers the bytes before this offset.
const SIGNED_BYTES: usize = 0x2a0;
/// ECDSA P-384 with SHA-384.
const SIGNATURE_ALGORITHM: u32 = 1;

/// The guest policy's bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuestPolicy(pub(crate) u64);

/// The platform's settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlatformInfo(pub(crate) u64);

/// Which key signed, and what was masked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyInfo(pub(crate) u32);

/// Version of the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FirmwareVersion {
    major: u8,
    minor: u8,
    build: u8,
}

impl FirmwareVersion {
    const fn from_bytes([build, minor, major]: [u8; 3]) -> Self {
        Self {
            major,
            minor,
            build,
        }
    }
}

impl core::fmt::Display for FirmwareVersion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.build)
    }
}

/// LAUNCH_MIT_VECTOR and CURRENT_MIT_VECTOR: which mitigations were on at launch, and are on now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mitigations {
    pub(crate) launch: u64,
    pub(crate) current: u64,
}

/// The fields that the rules need; the others are checked while parsing.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) policy: GuestPolicy,
    pub(crate) vmpl: u32,
    pub(crate) current_tcb: TcbVersion,
    pub(crate) platform: PlatformInfo,
    pub(crate) key_info: KeyInfo,
    pub(crate) report_data: ReportData,
    pub(crate) measurement: LaunchDigest,
    pub(crate) host_data: HostData,
    pub(crate) id_key_digest: [u8; 48],
    pub(crate) author_key_digest: [u8; 48],
    pub(crate) report_id_ma: [u8; 32],
    pub(crate) reported_tcb: TcbVersion,
    /// Absent in version 2.
    pub(crate) cpuid: Option<Cpuid>,
    pub(crate) chip_id: ChipId,
    pub(crate) committed_tcb: TcbVersion,
    pub(crate) launch_tcb: TcbVersion,
    /// The firmware that runs, and the one below which it cannot go back.
    pub(crate) current_version: FirmwareVersion,
    pub(crate) committed_version: FirmwareVersion,
    /// Absent before version 5.
    pub(crate) mitigations: Option<Mitigations>,
    signature: [u8; 512],
}

/// `docs/spec/evidence.md` §7.1.
pub(super) fn plan(checks: &mut Checks) {
    checks.plan(REPORT, FORM);
}

const FORM: &[Rejection] = &[
    Rejection::SnpReportLength,
    Rejection::SnpReportVersion,
    Rejection::SnpSignatureAlgorithm,
    Rejection::SnpReportReserved,
];

impl Report {
    /// Reads a report of a known version; `None` when its fields are not known.
    pub(crate) fn parse(
        bytes: &[u8],
        policy: &AppraisalPolicy,
        checks: &mut Checks,
    ) -> Option<Self> {
        let found = format_args!("{} bytes", bytes.len());
        let holds = bytes.len() == REPORT_BYTES;
        if !checks.expect(REPORT, Rejection::SnpReportLength, found, holds) {
            return None;
        }
        let mut from = Reader::new(bytes);
        let version = from.u32().ok()?;
        let check = (REPORT, Rejection::SnpReportVersion);
        match version {
            2 => checks.expect_or(Weakness::SnpReportVersion2, policy, check, version, false),
            3 | 5 => {
                checks.expect(check.0, check.1, version, true);
            }
            _ => {
                checks.expect(check.0, check.1, version, false);
                return None;
            }
        }
        // The length was checked, so every field is there.
        let (report, algorithm, reserved_are_zero) = Self::read_fields(&mut from, version).ok()?;
        let holds = algorithm == SIGNATURE_ALGORITHM;
        checks.expect(REPORT, Rejection::SnpSignatureAlgorithm, algorithm, holds);
        checks.expect(REPORT, Rejection::SnpReportReserved, "", reserved_are_zero);
        Some(report)
    }

    /// The fields in their order, the signature's algorithm, and whether reserved fields are zero.
    fn read_fields(from: &mut Reader<'_>, version: u32) -> Result<(Self, u32, bool), DecodeError> {
        let mut zero = true;
        from.u32()?; // GUEST_SVN: set by an ID block, which the rules refuse
        let policy = GuestPolicy(from.u64()?);
        from.slice(32)?; // FAMILY_ID, IMAGE_ID: of an ID block
        let vmpl = from.u32()?;
        let algorithm = from.u32()?;
        let current_tcb = TcbVersion(from.array()?);
        let platform = PlatformInfo(from.u64()?);
        let key_info = KeyInfo(from.u32()?);
        zero &= skip_zeros(from, 4)?;
        let report_data = ReportData(from.array()?);
        let measurement = LaunchDigest(from.array()?);
        let host_data = HostData(from.array()?);
        let id_key_digest = from.array()?;
        let author_key_digest = from.array()?;
        from.slice(32)?; // REPORT_ID
        let report_id_ma = from.array()?;
        let reported_tcb = TcbVersion(from.array()?);
        let cpuid = Cpuid::from_bytes(from.array()?);
        zero &= skip_zeros(from, 21)? && (version >= 3 || cpuid == Cpuid::from_bytes([0; 3]));
        let chip_id = ChipId(from.array()?);
        let committed_tcb = TcbVersion(from.array()?);
        let current_version = FirmwareVersion::from_bytes(from.array()?);
        zero &= skip_zeros(from, 1)?;
        let committed_version = FirmwareVersion::from_bytes(from.array()?);
        zero &= skip_zeros(from, 1)?;
        let launch_tcb = TcbVersion(from.array()?);
        let mitigations = Mitigations {
            launch: from.u64()?,
            current: from.u64()?,
        };
        zero &= version >= 5 || (mitigations.launch, mitigations.current) == (0, 0);
        zero &= skip_zeros(from, 152)?;
        let report = Self {
            policy,
            vmpl,
            current_tcb,
            platform,
            key_info,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id_ma,
            reported_tcb,
            cpuid: (version >= 3).then_some(cpuid),
            chip_id,
            committed_tcb,
            launch_tcb,
            current_version,
            committed_version,
            mitigations: (version >= 5).then_some(mitigations),
            signature: from.array()?,
        };
        from.finish()?;
        Ok((report, algorithm, zero))
    }

    /// The product line of the processor that the report names; version 2 names none.
    pub(crate) fn product(&self) -> Option<Product> {
        self.cpuid.and_then(Product::of)
    }

    /// The processor that the report names is of the root's product line.
    pub(crate) fn check_product(&self, root: Option<Product>, checks: &mut Checks) {
        const UNKNOWN: Rejection = Rejection::SnpProductUnknown;
        const MISMATCH: Rejection = Rejection::SnpProductMismatch;
        let Some(cpuid) = self.cpuid else {
            // Version 2 names none; the VCEK does.
            checks.expect(REPORT, UNKNOWN, "none named", true);
            checks.expect(REPORT, MISMATCH, "none named", true);
            return;
        };
        let named = Product::of(cpuid);
        checks.expect(REPORT, UNKNOWN, cpuid, named.is_some());
        if let (Some(named), Some(root)) = (named, root) {
            checks.expect(REPORT, MISMATCH, named.name(), named == root);
        }
    }

    /// The report's signature by the VCEK. `bytes` are those that this report was parsed from.
    pub(crate) fn check_signature(
        &self,
        bytes: &[u8],
        key: &VerifyingKey,
    ) -> Result<(), Rejection> {
        let refused = Rejection::SnpSignatureInvalid;
        let signed = bytes.get(..SIGNED_BYTES).ok_or(refused)?;
        let signature = self.signature().ok_or(refused)?;
        secp384r1::verifies(key, signed, &signature)
            .then_some(())
            .ok_or(refused)
    }

    /// r and s are little-endian in 72 bytes each; what is not used of the 512 must be zero.
    fn signature(&self) -> Option<Signature> {
        let (r, rest) = self.signature.split_first_chunk::<72>()?;
        let (s, unused) = rest.split_first_chunk::<72>()?;
        if unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        Signature::from_scalars(big_endian(r)?, big_endian(s)?).ok()
    }
}

fn big_endian(little: &[u8; 72]) -> Option<[u8; 48]> {
    let (value, above) = little.split_first_chunk::<48>()?;
    let mut value = *value;
    value.reverse();
    above.iter().all(|byte| *byte == 0).then_some(value)
}

fn skip_zeros(from: &mut Reader<'_>, length: usize) -> Result<bool, DecodeError> {
    Ok(from.slice(length)?.iter().all(|byte| *byte == 0))
}
