//! The weaknesses that a policy may tolerate. What has no name here is never tolerated.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::rejection::Rejection;

/// Declares the enum, its names in policies and verdicts, and the check that each makes fail.
macro_rules! weaknesses {
    ($($(#[$doc:meta])* $name:ident = $text:literal => $check:ident,)*) => {
        /// A weakness that a policy may tolerate, by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Weakness {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Weakness {
            /// Every weakness.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The check that fails because of it.
            pub(crate) const fn check(self) -> Rejection {
                match self {
                    $(Self::$name => Rejection::$check,)*
                }
            }
        }
    };
}

weaknesses! {
    /// EPYC Milan: the root seed of its keys can be extracted by software (arXiv 2605.12990), and
    /// nothing in a report shows it.
    SnpMilan = "snp-milan" => SnpMilan,
    /// Reports of version 2, which do not name the processor.
    SnpReportVersion2 = "snp-report-version2" => SnpReportVersion,
    /// Reports signed by a VLEK, which a cloud provider holds for many chips: nothing certifies
    /// which chip reports.
    SnpVlek = "snp-vlek" => SnpVlek,
    /// No revocation list of AMD is stapled.
    SnpNoRevocationList = "snp-no-revocation-list" => CrlMissing,
    /// The guest may run on several sockets, so its memory crosses the link between them.
    SnpSeveralSockets = "snp-several-sockets" => SnpSeveralSockets,
    /// The guest may run with memory behind a CXL link.
    SnpCxlMemory = "snp-cxl-memory" => SnpCxl,
    /// The host may have the firmware move and swap guest pages.
    SnpPageSwap = "snp-page-swap" => SnpPageSwap,
    /// Memory was not checked for aliases (BadRAM).
    SnpAliasCheckIncomplete = "snp-alias-check-incomplete" => SnpAliasCheck,
    /// Simultaneous multithreading is on: a sibling thread shares the core's caches.
    SnpSmt = "snp-smt" => SnpSmt,
    /// Memory that is no guest's is not encrypted (TSME).
    SnpTsmeOff = "snp-tsme-off" => SnpTsmeOff,
    /// Memory does not correct its errors (ECC). Old firmware never says that it does.
    SnpEccOff = "snp-ecc-off" => SnpEccOff,
    /// The host can read the guest's ciphertext (CipherLeaks).
    SnpCiphertextVisible = "snp-ciphertext-visible" => SnpCiphertextVisible,
    /// The host can read energy counters (power side channels).
    SnpRaplReadable = "snp-rapl-readable" => SnpRaplReadable,
    /// Packages can be added to the platform, under keys that exist already.
    TdxDynamicPlatform = "tdx-dynamic-platform" => TdxDynamicPlatform,
    /// Intel's registration service keeps the platform's root keys.
    TdxCachedKeys = "tdx-cached-keys" => TdxCachedKeys,
    /// Simultaneous multithreading is on.
    TdxSmt = "tdx-smt" => TdxSmt,
    /// No answers about the revocation of NVIDIA's certificates are stapled.
    NvidiaNoRevocationAnswers = "nvidia-no-revocation-answers" => OcspMissing,
}

/// Its name in a policy and in a verdict.
impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
