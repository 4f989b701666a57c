//! The knobs: each makes one thing wrong and leaves everything else as it was.

use core::fmt;
use core::str::FromStr;

macro_rules! lies {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One thing that a machine or its host gets wrong, or lies about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Lie {
            $($(#[$doc])* $name,)*
        }

        impl Lie {
            /// Every lie.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

lies! {
    // The report's form.
    /// The report ends one byte early.
    Truncated = "truncated",
    /// A report of version 4.
    ReportVersion = "report-version",
    /// A reserved byte is set.
    Reserved = "reserved",
    /// A reserved byte of a firmware level is set.
    TcbReserved = "tcb-reserved",
    /// An unknown platform bit is set.
    PlatformReserved = "platform-reserved",
    /// The report names another signature algorithm.
    SignatureAlgorithm = "signature-algorithm",
    /// One bit of the signature is flipped.
    BadSignature = "bad-signature",

    // What the report says.
    /// The guest may be debugged by its host.
    Debug = "debug",
    /// The guest may be migrated.
    Migratable = "migratable",
    /// A guest-policy bit that nobody defined.
    PolicyBit = "policy-bit",
    /// The guest policy allows memory behind a CXL link.
    Cxl = "cxl",
    /// The report was asked for at VMPL 1.
    Vmpl = "vmpl",
    /// The report is signed by a key of many chips (VLEK), with the chain of such a key.
    Vlek = "vlek",
    /// The report says that nobody signed it.
    NoSigningKey = "no-signing-key",
    /// The chip's identity is masked.
    MaskedChip = "masked-chip",
    /// The guest was launched with an identity block.
    IdBlock = "id-block",
    /// A migration agent is associated.
    MigrationAgent = "migration-agent",
    /// A Milan processor with a Milan chain.
    Milan = "milan",
    /// A processor of no known product line.
    UnknownProduct = "unknown-product",
    /// A processor of another product line than the chain.
    OtherProduct = "other-product",
    /// A stepping that no policy lists.
    UnlistedStepping = "unlisted-stepping",
    /// Firmware below every minimum, report and VCEK alike.
    TcbLow = "tcb-low",
    /// A launch under firmware below the minimum.
    LaunchTcbLow = "launch-tcb-low",
    /// More is reported than is committed, report and VCEK alike.
    TcbOrder = "tcb-order",
    /// The firmware that runs is older than the one that is committed.
    FirmwareOrder = "firmware-order",
    /// The launch was without a mitigation that is on now; only a report of version 5 can say so.
    LaunchMitigation = "launch-mitigation",
    /// Memory was not checked for aliases.
    NoAliasCheck = "no-alias-check",

    // What a TDX quote says.
    /// Bytes lie behind the quote.
    TrailingBytes = "trailing-bytes",
    /// SEPT_VE_DISABLE is off.
    NoSeptVeDisable = "no-sept-ve-disable",
    /// Extended features that no policy lists.
    Xfam = "xfam",
    /// A TDX module of another signer.
    Module = "module",
    /// A service TD is bound; only a quote of version 5 can say so.
    ServiceTd = "service-td",
    /// The TDX module is older now than at launch; only a quote of version 5 can say so.
    ModuleRollback = "module-rollback",
    /// The guest was launched under an older TDX module than the one that runs now.
    Relaunch = "relaunch",
    /// MROWNER is set.
    Owner = "owner",
    /// RTMR3 was extended.
    Rtmr3 = "rtmr3",

    // What was launched.
    /// Another measurement.
    OtherMeasurement = "other-measurement",
    /// Another HOST_DATA or MRCONFIGID.
    WrongHostData = "wrong-host-data",
    /// The report carries another report data than was asked for.
    StaleNonce = "stale-nonce",

    // Endorsements.
    /// No VCEK (or PCK chain) is stapled.
    NoEndorsement = "no-endorsement",
    /// The VCEK's last byte is missing.
    MalformedCertificate = "malformed-certificate",
    /// A root of somebody else with AMD's names, and a whole chain under it.
    SelfSignedRoot = "self-signed-root",
    /// A chain without the research marker.
    Unmarked = "unmarked",
    /// The VCEK is signed with PKCS #1 v1.5.
    CertificateAlgorithm = "certificate-algorithm",
    /// The VCEK names another issuer.
    OtherIssuer = "other-issuer",
    /// The intermediate is not an authority.
    NotAuthority = "not-authority",
    /// The VCEK has a critical extension that nobody knows.
    CriticalExtension = "critical-extension",
    /// The VCEK is signed by the root's key instead of the intermediate's.
    CertificateSignature = "certificate-signature",
    /// The VCEK is not valid yet.
    NotYetValid = "not-yet-valid",
    /// The VCEK is not valid any more.
    Expired = "expired",
    /// The VCEK says nothing of the boot loader's level.
    MissingLevel = "missing-level",
    /// The VCEK is another chip's.
    OtherChip = "other-chip",
    /// The VCEK is for a lower firmware level.
    OtherTcb = "other-tcb",
    /// The VCEK names another product.
    OtherProductName = "other-product-name",
    /// No revocation list is stapled.
    NoCrl = "no-crl",
    /// The revocation list's last byte is missing.
    MalformedCrl = "malformed-crl",
    /// The revocation list names another issuer.
    CrlIssuer = "crl-issuer",
    /// The revocation list is signed by another key.
    CrlSignature = "crl-signature",
    /// The revocation list is not valid yet.
    CrlNotYetValid = "crl-not-yet-valid",
    /// The revocation list is out of date.
    CrlExpired = "crl-expired",
    /// The intermediate (AMD) or the PCK (Intel) is revoked.
    Revoked = "revoked",
    /// The PCK's authority (Intel) is revoked.
    AuthorityRevoked = "authority-revoked",
    /// Intel's collateral is cut.
    MalformedCollateral = "malformed-collateral",
    /// Intel's collateral is not valid yet.
    CollateralNotYetValid = "collateral-not-yet-valid",
    /// Intel's collateral is out of date.
    CollateralExpired = "collateral-expired",
    /// Intel's collateral is in date, but older than policies want.
    CollateralTooOld = "collateral-too-old",
    /// TCB information of an earlier evaluation.
    OldEvaluation = "old-evaluation",
    /// The platform lacks updates.
    OutOfDate = "out-of-date",
    /// An advisory applies to the platform.
    Advisory = "advisory",
    /// TCB information of another platform.
    OtherPlatform = "other-platform",
    /// The quoting enclave lacks updates; the platform lacks none.
    EnclaveOutOfDate = "enclave-out-of-date",
    /// The quoting enclave is another than Intel's identity says.
    OtherEnclave = "other-enclave",
    /// TCB information is signed by another key.
    TextSignature = "text-signature",
}

/// A name that is no lie's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such lie")]
pub struct UnknownLie;

impl FromStr for Lie {
    type Err = UnknownLie;

    fn from_str(text: &str) -> Result<Self, UnknownLie> {
        let mut lies = Self::ALL.iter().copied();
        lies.find(|lie| lie.name() == text).ok_or(UnknownLie)
    }
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
