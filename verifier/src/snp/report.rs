//! The report's 1184 bytes, versions 2, 3 and 5: AMD publication 56860, table "ATTESTATION_REPORT".
//!
//! Every reserved field must be zero. What the fields mean for acceptance is in `rules`.

use core::ops::Range;

use p384::ecdsa::{Signature, VerifyingKey};
use protocol::digest::{ChipId, HostData, LaunchDigest, ReportData};

use super::REPORT;
use super::product::{Cpuid, Product};
use super::tcb::TcbVersion;
use crate::checks::Checks;
use crate::policy::Weakness;
use crate::rejection::Rejection;
use crate::secp384r1;

/// Length of a report.
pub(crate) const REPORT_BYTES: usize = 0x4a0;
/// The signature covers the bytes before this offset.
const SIGNED_BYTES: usize = 0x2a0;
/// ECDSA P-384 with SHA-384.
const SIGNATURE_ALGORITHM: u32 = 1;
/// What is reserved, and the first version of which it is not.
const RESERVED: [(Range<usize>, u32); 7] = [
    (0x04c..0x050, u32::MAX),
    (0x188..0x18b, 3),
    (0x18b..0x1a0, u32::MAX),
    (0x1eb..0x1ec, u32::MAX),
    (0x1ef..0x1f0, u32::MAX),
    (0x1f8..0x208, 5),
    (0x208..0x2a0, u32::MAX),
];

/// Version of the firmware: major, minor, build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FirmwareVersion([u8; 3]);

impl FirmwareVersion {
    const fn from_bytes([build, minor, major]: [u8; 3]) -> Self {
        Self([major, minor, build])
    }
}

impl core::fmt::Display for FirmwareVersion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let [major, minor, build] = self.0;
        write!(f, "{major}.{minor}.{build}")
    }
}

/// The fields that the rules need; the others are checked while parsing.
#[derive(Debug)]
pub(crate) struct Report {
    /// The guest policy's bits.
    pub(crate) policy: u64,
    pub(crate) vmpl: u32,
    pub(crate) current_tcb: TcbVersion,
    /// The platform's settings.
    pub(crate) platform: u64,
    /// Which key signed, and what was masked.
    pub(crate) key_info: u32,
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
    /// LAUNCH_MIT_VECTOR and CURRENT_MIT_VECTOR: which mitigations were on at launch, and are on
    /// now. Absent before version 5.
    pub(crate) mitigations: Option<[u64; 2]>,
    signature: [u8; 512],
}

/// `docs/spec/evidence.md` §7.1, in its order.
pub(super) const FORM: &[Rejection] =
    Rejection::SnpReportLength.through(Rejection::SnpReportReserved);

impl Report {
    /// Reads a report of a known version; `None` when its fields are not known.
    pub(crate) fn parse(bytes: &[u8], checks: &mut Checks<'_>) -> Option<Self> {
        let found = format_args!("{} bytes", bytes.len());
        let holds = bytes.len() == REPORT_BYTES;
        if !checks.expect(REPORT, Rejection::SnpReportLength, found, holds) {
            return None;
        }
        let report: &[u8; REPORT_BYTES] = bytes.try_into().ok()?;
        let version = u32::from_le_bytes(at(report, 0)?);
        let known = matches!(version, 3 | 5);
        if version == 2 {
            checks.expect_or(REPORT, Weakness::SnpReportVersion2, version, false);
        } else if !checks.expect(REPORT, Rejection::SnpReportVersion, version, known) {
            return None;
        }
        let algorithm = u32::from_le_bytes(at(report, 0x034)?);
        let holds = algorithm == SIGNATURE_ALGORITHM;
        checks.expect(REPORT, Rejection::SnpSignatureAlgorithm, algorithm, holds);
        let mut reserved = RESERVED.iter().filter(|(_, until)| version < *until);
        let holds = reserved.all(|(place, _)| report.get(place.clone()).is_some_and(is_zero));
        checks.expect(REPORT, Rejection::SnpReportReserved, "", holds);
        Self::read(report, version)
    }

    /// GUEST_SVN, FAMILY_ID and IMAGE_ID are not read: they are of an ID block, which the rules
    /// refuse. Nor is REPORT_ID.
    fn read(report: &[u8; REPORT_BYTES], version: u32) -> Option<Self> {
        let cpuid = Cpuid(at(report, 0x188)?);
        let mitigations = [at(report, 0x1f8)?, at(report, 0x200)?].map(u64::from_le_bytes);
        Some(Self {
            policy: u64::from_le_bytes(at(report, 0x008)?),
            vmpl: u32::from_le_bytes(at(report, 0x030)?),
            current_tcb: TcbVersion(at(report, 0x038)?),
            platform: u64::from_le_bytes(at(report, 0x040)?),
            key_info: u32::from_le_bytes(at(report, 0x048)?),
            report_data: ReportData(at(report, 0x050)?),
            measurement: LaunchDigest(at(report, 0x090)?),
            host_data: HostData(at(report, 0x0c0)?),
            id_key_digest: at(report, 0x0e0)?,
            author_key_digest: at(report, 0x110)?,
            report_id_ma: at(report, 0x160)?,
            reported_tcb: TcbVersion(at(report, 0x180)?),
            cpuid: (version >= 3).then_some(cpuid),
            chip_id: ChipId(at(report, 0x1a0)?),
            committed_tcb: TcbVersion(at(report, 0x1e0)?),
            current_version: FirmwareVersion::from_bytes(at(report, 0x1e8)?),
            committed_version: FirmwareVersion::from_bytes(at(report, 0x1ec)?),
            launch_tcb: TcbVersion(at(report, 0x1f0)?),
            mitigations: (version >= 5).then_some(mitigations),
            signature: at(report, SIGNED_BYTES)?,
        })
    }

    /// The product line of the processor that the report names; version 2 names none.
    pub(crate) fn product(&self) -> Option<Product> {
        self.cpuid.and_then(Product::of)
    }

    /// The processor that the report names is of the root's product line.
    pub(crate) fn check_product(&self, root: Option<Product>, checks: &mut Checks<'_>) {
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
            checks.expect(REPORT, MISMATCH, named, named == root);
        }
    }

    /// Whether the VCEK signed the report. `bytes` are those that this report was parsed from.
    pub(crate) fn is_signed(&self, bytes: &[u8], key: &VerifyingKey) -> bool {
        match (bytes.get(..SIGNED_BYTES), self.signature()) {
            (Some(signed), Some(signature)) => secp384r1::verifies(key, signed, &signature),
            (_, _) => false,
        }
    }

    /// r and s are little-endian in 72 bytes each; what is not used of the 512 must be zero.
    fn signature(&self) -> Option<Signature> {
        let (r, rest) = self.signature.split_first_chunk::<72>()?;
        let (s, unused) = rest.split_first_chunk::<72>()?;
        if !is_zero(unused) {
            return None;
        }
        Signature::from_scalars(big_endian(r)?, big_endian(s)?).ok()
    }
}

fn big_endian(little: &[u8; 72]) -> Option<[u8; 48]> {
    let (value, above) = little.split_first_chunk::<48>()?;
    let mut value = *value;
    value.reverse();
    is_zero(above).then_some(value)
}

/// What lies at that offset; `None` beyond the end.
fn at<const N: usize>(report: &[u8; REPORT_BYTES], offset: usize) -> Option<[u8; N]> {
    report.get(offset..)?.first_chunk().copied()
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
