//! The two policies that every program carries: `strict`, and `testing` for looking at machines
//! that `strict` refuses. `cocoon verify policy` prints both in full.

use super::{
    Abi, AcceptedClass, AcceptedLevel, Allowed, AppraisalPolicy, ChipRules, SeamRule, SnpPolicy,
    TdxPolicy, TdxStatus, Weakness, Xfam,
};
use crate::nvidia::NvidiaPolicy;
use crate::snp::{Product, Tcb, TcbMinimum};

/// Values of XFAM in real quotes: AVX-512 and AMX, without or with CET, with user interrupts,
/// without protection keys.
const XFAM: [Xfam; 4] = [
    Xfam([0xe7, 0x00, 0x06, 0, 0, 0, 0, 0]),
    Xfam([0xe7, 0x02, 0x06, 0, 0, 0, 0, 0]),
    Xfam([0xe7, 0x18, 0x06, 0, 0, 0, 0, 0]),
    Xfam([0xe7, 0x42, 0x06, 0, 0, 0, 0, 0]),
];
/// What nearly every machine for rent has.
const USUAL: [Weakness; 10] = [
    Weakness::SnpSeveralSockets,
    Weakness::SnpPageSwap,
    Weakness::SnpSmt,
    Weakness::SnpTsmeOff,
    Weakness::SnpEccOff,
    Weakness::SnpCiphertextVisible,
    Weakness::SnpRaplReadable,
    Weakness::TdxDynamicPlatform,
    Weakness::TdxCachedKeys,
    Weakness::TdxSmt,
];

impl AppraisalPolicy {
    /// Every built-in policy by its name.
    #[must_use]
    pub fn built_in() -> [(&'static str, Self); 2] {
        [("strict", Self::strict()), ("testing", Self::testing())]
    }

    /// The policy when no other is named.
    ///
    /// It tolerates what nearly every machine for rent has: multithreading, ciphertext and energy
    /// counters that the host can read, and Intel's multi-package platforms. Each is named.
    #[must_use]
    pub fn strict() -> Self {
        Self {
            version: 1,
            classes: vec![AcceptedClass::Fresh],
            result_lifetime_seconds: 3600,
            host_time_tolerance_seconds: 3600,
            chips: ChipRules {
                allowed: Allowed::Every,
                denied: Vec::new(),
            },
            providers: Allowed::Every,
            tolerated: USUAL.to_vec(),
            snp: SnpPolicy::strict(),
            tdx: TdxPolicy::strict(),
            nvidia: NvidiaPolicy::strict(),
        }
    }

    /// A policy for looking at machines that [`Self::strict`] refuses: old processors, old reports,
    /// missing lists, missing updates. Content must not be sent under it.
    #[must_use]
    pub fn testing() -> Self {
        Self {
            tolerated: Weakness::ALL.to_vec(),
            snp: SnpPolicy::testing(),
            tdx: TdxPolicy::testing(),
            ..Self::strict()
        }
    }
}

impl SnpPolicy {
    /// Minimum firmware levels are those in which AMD's bulletins AMD-SB-3020 (RMP
    /// initialisation, `snp`) and AMD-SB-3027 (a sibling thread, `microcode`) are repaired, as
    /// quoted in a public review of 2026-10-08; `verifier/README.md` names it. Processors whose
    /// minimum was not seen there (Bergamo, Siena, Turin Dense) have no entry. No mitigation is
    /// asked for by its bit, as no bulletin was seen that names one. Nor is an interface, as guests
    /// are launched with the least one; what the firmware is, its levels say.
    fn strict() -> Self {
        Self {
            minimum_abi: Abi { major: 0, minor: 0 },
            tcb_minima: vec![
                minimum(Product::Genoa, Some((0x11, 1)), 0x1b, 0x56),
                minimum(Product::Genoa, Some((0x11, 2)), 0x1b, 0x51),
                minimum(Product::Turin, Some((0x02, 1)), 0x04, 0x51),
            ],
        }
    }

    /// Every processor at every level.
    fn testing() -> Self {
        let every = |product| minimum(product, None, 0, 0);
        Self {
            minimum_abi: Abi { major: 0, minor: 0 },
            tcb_minima: Product::ALL.map(every).to_vec(),
        }
    }
}

/// Minima of a product line's processors, or of those of one model and stepping.
fn minimum(product: Product, cpuid: Option<(u8, u8)>, snp: u8, microcode: u8) -> TcbMinimum {
    TcbMinimum {
        product,
        model: cpuid.map(|(model, _)| model),
        stepping: cpuid.map(|(_, stepping)| stepping),
        tcb: Tcb {
            fmc: 0,
            bootloader: 0,
            tee: 0,
            snp,
            microcode,
        },
        mitigations: 0,
    }
}

impl TdxPolicy {
    /// The evaluation number is the highest one seen in a real quote's collateral (October 2026).
    fn strict() -> Self {
        Self {
            levels: vec![AcceptedLevel {
                status: TdxStatus::UpToDate,
                advisories: Vec::new(),
                grace_hours: 0,
            }],
            minimum_evaluation_number: 20,
            collateral_age_seconds: 30 * 86_400,
            xfam: XFAM.to_vec(),
            modules: SeamRule::AllOfIntel,
        }
    }

    /// Missing updates for a year, under any evaluation; every advisory must still be named.
    fn testing() -> Self {
        let accepted = |(status, grace_hours)| AcceptedLevel {
            status,
            advisories: Vec::new(),
            grace_hours,
        };
        Self {
            levels: [
                (TdxStatus::UpToDate, 0),
                (TdxStatus::SwHardeningNeeded, 0),
                (TdxStatus::OutOfDate, 365 * 24),
                (TdxStatus::TdRelaunchAdvised, 0),
            ]
            .map(accepted)
            .to_vec(),
            minimum_evaluation_number: 0,
            ..Self::strict()
        }
    }
}
