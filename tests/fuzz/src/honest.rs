//! Honest evidence of simulated machines, and the question that it answers: what the targets of the
//! verifier change one part of. Made once, when it is first asked for.

use std::sync::OnceLock;

use ed25519_dalek::SigningKey;
use mock_tee::Lie;
use mock_tee::snp::{Product, SnpMachine};
use mock_tee::tdx::registers::Registers;
use mock_tee::tdx::{QuoteVersion, TdxMachine};
use protocol::digest::{
    AccountId, BootId, EpochKey, EventLogDigest, Exporter, Freshness, GpuEvidenceDigest,
    HpkeConfigDigest, LaunchDigest, Mrtd, Nonce, ProviderKey, ReceiptKey, Rtmr, SpkiDigest,
};
use protocol::evidence::{Evidence, FreshnessProof, freshness_leaf};
use protocol::launch_configuration::{
    LaunchConfiguration, Limits, ModelEntry, config_digest, host_data,
};
use protocol::machine_grant::MachineGrant;
use protocol::merkle;
use protocol::receipt::TokenPrices;
use protocol::reference_values::{
    ExpectedRegisters, ExpectedRtmr, ImageVersion, ModelReference, Origin, Profile,
    ReferenceValues, ShapeReference,
};
use protocol::statement::{Role, Statement, models_digest};
use protocol::tee::{EvidenceClass, TeeKind};
use protocol::ton::{NetworkId, TonAddress};
use protocol::verity::VerityParameters;
use verifier::{
    Allowed, AppraisalPolicy, AttestationResult, ChannelBinding, Rejection, TrustAnchors, UnixTime,
    Weakness,
};

/// 2026-11-22.
pub const NOW: u64 = 1_795_305_600;
const MEASUREMENT: LaunchDigest = LaunchDigest([0x4d; 48]);
const REGISTERS: Registers = Registers {
    mrtd: Mrtd([0x70; 48]),
    rtmrs: [Rtmr([0x71; 48]), Rtmr([0x72; 48]), Rtmr([0x73; 48])],
};
const CHANNEL: ChannelBinding = ChannelBinding {
    nonce: Nonce([0x11; 32]),
    exporter: Exporter([0x22; 32]),
    tls_key: SpkiDigest([0x33; 32]),
};

/// Which simulated machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// EPYC 9004, reports of version 3.
    Genoa,
    /// EPYC 9005, reports of version 5.
    Turin,
    /// A quote of version 4.
    TdxV4,
    /// A quote of version 5.
    TdxV5,
}

impl Machine {
    /// Every machine.
    pub const ALL: [Self; 4] = [Self::Genoa, Self::Turin, Self::TdxV4, Self::TdxV5];

    const fn tee(self) -> TeeKind {
        match self {
            Self::Genoa | Self::Turin => TeeKind::SevSnp,
            Self::TdxV4 | Self::TdxV5 => TeeKind::Tdx,
        }
    }

    /// Its evidence, with one thing wrong.
    ///
    /// # Panics
    /// When the simulation cannot make it.
    #[must_use]
    pub fn lying(self, lie: Option<Lie>) -> Evidence {
        let configuration = configuration();
        let bytes = configuration.to_canonical_bytes().expect("within limits");
        let digest = config_digest(&bytes);
        let statement = statement(self.tee(), &configuration, &bytes);
        let report_data = statement.report_data();
        let snp = |product| {
            let machine = SnpMachine::new(product, MEASUREMENT, host_data(&digest));
            let machine = match lie {
                Some(lie) => machine.with(lie),
                None => machine,
            };
            (machine.report(&report_data), machine.endorsements(NOW))
        };
        let tdx = |version| {
            let machine = TdxMachine::new(version, REGISTERS, digest);
            let machine = match lie {
                Some(lie) => machine.with(lie),
                None => machine,
            };
            (machine.quote(&report_data), machine.endorsements(NOW))
        };
        let (report, endorsements) = match self {
            Self::Genoa => snp(Product::Genoa),
            Self::Turin => snp(Product::Turin),
            Self::TdxV4 => tdx(QuoteVersion::V4),
            Self::TdxV5 => tdx(QuoteVersion::V5),
        };
        Evidence {
            statement,
            proof: FreshnessProof {
                index: 0,
                count: 1,
                path: Vec::new(),
            },
            launch_configuration: bytes,
            report: report.expect("a report"),
            event_log: Vec::new(),
            gpu_evidence: Vec::new(),
            endorsements: endorsements.expect("endorsements"),
        }
    }

    /// Its honest evidence.
    #[must_use]
    pub fn evidence(self) -> &'static Evidence {
        static ALL: OnceLock<[Evidence; 4]> = OnceLock::new();
        let all = ALL.get_or_init(|| Machine::ALL.map(|machine| machine.lying(None)));
        let [genoa, turin, v4, v5] = all;
        match self {
            Self::Genoa => genoa,
            Self::Turin => turin,
            Self::TdxV4 => v4,
            Self::TdxV5 => v5,
        }
    }
}

/// Everything that an appraisal takes besides the evidence.
#[derive(Debug)]
struct Question {
    references: ReferenceValues,
    policy: AppraisalPolicy,
    anchors: TrustAnchors,
}

/// Appraises evidence over the connection that the honest evidence is for.
///
/// # Errors
/// Those of the verifier.
pub fn appraise(evidence: &Evidence) -> Result<AttestationResult, Rejection> {
    judged(evidence, &question().policy)
}

/// The same, where only machines that the honest grant's provider granted are accepted.
///
/// # Errors
/// Those of the verifier.
pub fn appraise_granted(evidence: &Evidence) -> Result<AttestationResult, Rejection> {
    static POLICY: OnceLock<AppraisalPolicy> = OnceLock::new();
    let policy = POLICY.get_or_init(|| AppraisalPolicy {
        providers: Allowed::Only(vec![ProviderKey(provider().verifying_key().to_bytes())]),
        ..question().policy.clone()
    });
    judged(evidence, policy)
}

/// The provider's grant of the EPYC 9004.
///
/// # Panics
/// When the machine is not accepted.
#[must_use]
pub fn grant() -> &'static [u8] {
    static GRANT: OnceLock<Vec<u8>> = OnceLock::new();
    GRANT.get_or_init(|| {
        let result = appraise(Machine::Genoa.evidence()).expect("honest evidence");
        let grant = MachineGrant {
            network: result.launch_configuration().network,
            chip: *result.chip().certified().expect("a VCEK"),
            devices: [].into(),
            configuration: result.statement().configuration,
            not_after: NOW,
        };
        grant.sign(&provider()).encode()
    })
}

fn provider() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn question() -> &'static Question {
    static QUESTION: OnceLock<Question> = OnceLock::new();
    QUESTION.get_or_init(|| {
        let mut policy = AppraisalPolicy::strict();
        // So that the fields of older reports are looked at as well.
        policy.tolerated.push(Weakness::SnpReportVersion2);
        Question {
            references: references(),
            policy,
            anchors: research_anchors::research_anchors(),
        }
    })
}

fn judged(evidence: &Evidence, policy: &AppraisalPolicy) -> Result<AttestationResult, Rejection> {
    let question = question();
    verifier::appraise(
        evidence,
        &CHANNEL,
        &question.references,
        policy,
        &question.anchors,
        UnixTime(NOW),
    )
}

fn statement(tee: TeeKind, configuration: &LaunchConfiguration, bytes: &[u8]) -> Statement {
    let leaf = freshness_leaf(&CHANNEL.nonce, &CHANNEL.exporter);
    Statement {
        role: Role::Worker,
        class: EvidenceClass::Fresh,
        tee,
        boot_id: BootId([0x44; 32]),
        freshness: Freshness(merkle::root(&[leaf])),
        tls_key: CHANNEL.tls_key,
        epoch_key: EpochKey::ZERO,
        hpke_configuration: HpkeConfigDigest::ZERO,
        receipt_key: ReceiptKey([0x55; 32]),
        configuration: config_digest(bytes),
        models: models_digest(&configuration.model_digests()),
        event_log: EventLogDigest::ZERO,
        gpu_evidence: GpuEvidenceDigest::ZERO,
        host_time: NOW,
    }
}

/// The launch configuration of every simulated machine.
#[must_use]
pub fn configuration() -> LaunchConfiguration {
    LaunchConfiguration {
        version: 1,
        network: NetworkId(-7357),
        payee: TonAddress {
            workchain: 0,
            account: AccountId([0x66; 32]),
        },
        jetton: None,
        models: vec![ModelEntry {
            name: "model".to_owned(),
            verity: VerityParameters {
                data_blocks: 24_000,
                hash_start_block: 24_000,
                salt: [1; 32],
                root: [2; 32],
            },
            prices: TokenPrices {
                prompt: 10,
                cached: 1,
                completion: 40,
            },
        }],
        limits: Limits {
            streams: 4,
            context_tokens: 2048,
            increment_tokens: 16,
        },
    }
}

/// The reference values that know them.
#[must_use]
pub fn references() -> ReferenceValues {
    let shape = |registers| ShapeReference {
        shape: "cpu-2x2048".to_owned(),
        vcpus: 2,
        memory_mib: 2048,
        registers,
        devices: Vec::new(),
    };
    let [rtmr0, rtmr1, rtmr2] = REGISTERS.rtmrs.map(|value| ExpectedRtmr {
        value,
        origin: Origin::Computed,
    });
    let models = configuration().model_digests().into_iter();
    let models = models.map(|digest| ModelReference {
        name: "model".to_owned(),
        digest,
    });
    ReferenceValues {
        version: 1,
        image: ImageVersion {
            major: 0,
            minor: 1,
            patch: 0,
        },
        profile: Profile::Research,
        shapes: vec![
            shape(ExpectedRegisters::SevSnp {
                vcpu_type: "EPYC-v4".to_owned(),
                guest_features: 1,
                launch_digest: MEASUREMENT,
            }),
            shape(ExpectedRegisters::Tdx {
                mrtd: REGISTERS.mrtd,
                rtmr0,
                rtmr1,
                rtmr2,
            }),
        ],
        models: models.collect(),
    }
}
