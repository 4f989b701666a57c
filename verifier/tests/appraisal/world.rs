//! One good appraisal, every part of which a test can replace.

use mock_tee::snp::{Product, SnpMachine};
use protocol::digest::{
    AccountId, BootId, EpochKey, EventLogDigest, Exporter, Freshness, GpuEvidenceDigest,
    HpkeConfigDigest, LaunchDigest, Nonce, ReceiptKey, SpkiDigest,
};
use protocol::evidence::{Evidence, FreshnessProof, freshness_leaf};
use protocol::launch_configuration::{
    LaunchConfiguration, Limits, ModelEntry, config_digest, host_data,
};
use protocol::merkle;
use protocol::receipt::TokenPrices;
use protocol::reference_values::{
    ExpectedRegisters, ImageVersion, ModelReference, Profile, ReferenceValues, ShapeReference,
};
use protocol::statement::{Role, Statement, models_digest};
use protocol::tee::{EvidenceClass, TeeKind};
use protocol::ton::{NetworkId, TonAddress};
use protocol::verity::VerityParameters;
use verifier::{
    AppraisalPolicy, AttestationResult, ChannelBinding, Rejection, TrustAnchors, UnixTime, appraise,
};

/// 2026-11-22.
pub const NOW: u64 = 1_795_305_600;
pub const MEASUREMENT: LaunchDigest = LaunchDigest([0x4d; 48]);

/// Everything that an appraisal takes, and the machine that it is about.
#[derive(Debug, Clone)]
pub struct World {
    pub machine: SnpMachine,
    pub statement: Statement,
    pub proof: FreshnessProof,
    pub configuration: Vec<u8>,
    pub event_log: Vec<u8>,
    pub gpu_evidence: Vec<u8>,
    pub channel: ChannelBinding,
    pub references: ReferenceValues,
    pub policy: AppraisalPolicy,
    pub anchors: TrustAnchors,
    pub at: UnixTime,
}

impl World {
    pub fn genoa() -> Self {
        Self::of(Product::Genoa)
    }

    pub fn of(product: Product) -> Self {
        let configuration = configuration();
        let bytes = configuration.to_canonical_bytes().unwrap();
        let digest = config_digest(&bytes);
        let channel = ChannelBinding {
            nonce: Nonce([0x11; 32]),
            exporter: Exporter([0x22; 32]),
            tls_key: SpkiDigest([0x33; 32]),
        };
        // Three challenges share the report; ours is the second.
        let leaf = |byte| freshness_leaf(&Nonce([byte; 32]), &Exporter([byte; 32]));
        let ours = freshness_leaf(&channel.nonce, &channel.exporter);
        let leaves = [leaf(1), ours, leaf(2)];
        let statement = Statement {
            role: Role::Worker,
            class: EvidenceClass::Fresh,
            tee: TeeKind::SevSnp,
            boot_id: BootId([0x44; 32]),
            freshness: Freshness(merkle::root(&leaves)),
            tls_key: channel.tls_key,
            epoch_key: EpochKey::ZERO,
            hpke_configuration: HpkeConfigDigest::ZERO,
            receipt_key: ReceiptKey([0x55; 32]),
            configuration: digest,
            models: models_digest(&configuration.model_digests()),
            event_log: EventLogDigest::ZERO,
            gpu_evidence: GpuEvidenceDigest::ZERO,
            host_time: NOW - 5,
        };
        Self {
            machine: SnpMachine::new(product, MEASUREMENT, host_data(&digest)),
            statement,
            proof: FreshnessProof {
                index: 1,
                count: 3,
                path: merkle::path(&leaves, 1).unwrap(),
            },
            configuration: bytes,
            event_log: Vec::new(),
            gpu_evidence: Vec::new(),
            channel,
            references: references(&configuration),
            policy: AppraisalPolicy::strict(),
            anchors: research_anchors::research_anchors(),
            at: UnixTime(NOW),
        }
    }

    /// What the guest sends: the machine signs the Statement as it now is.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            statement: self.statement.clone(),
            proof: self.proof.clone(),
            launch_configuration: self.configuration.clone(),
            report: self.machine.report(&self.statement.report_data()).unwrap(),
            event_log: self.event_log.clone(),
            gpu_evidence: self.gpu_evidence.clone(),
            endorsements: self.machine.endorsements(NOW).unwrap(),
        }
    }

    pub fn appraise(&self) -> Result<AttestationResult, Rejection> {
        self.appraise_this(&self.evidence())
    }

    pub fn appraise_this(&self, evidence: &Evidence) -> Result<AttestationResult, Rejection> {
        appraise(
            evidence,
            &self.channel,
            &self.references,
            &self.policy,
            &self.anchors,
            self.at,
        )
    }
}

pub fn configuration() -> LaunchConfiguration {
    LaunchConfiguration {
        version: 1,
        network: NetworkId(-7357),
        payee: TonAddress {
            workchain: 0,
            account: AccountId([0x66; 32]),
        },
        models: vec![ModelEntry {
            name: "smollm2-135m-instruct".to_owned(),
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

fn references(configuration: &LaunchConfiguration) -> ReferenceValues {
    let shape = |name: &str, digest| ShapeReference {
        shape: name.to_owned(),
        vcpus: 2,
        memory_mib: 2048,
        registers: ExpectedRegisters::SevSnp {
            vcpu_type: "EPYC-v4".to_owned(),
            guest_features: 1,
            launch_digest: digest,
        },
    };
    ReferenceValues {
        version: 1,
        image: ImageVersion {
            major: 0,
            minor: 1,
            patch: 0,
        },
        profile: Profile::Research,
        shapes: vec![
            shape("cpu-4x4096", LaunchDigest([0x4e; 48])),
            shape("cpu-2x2048", MEASUREMENT),
        ],
        models: vec![ModelReference {
            name: "smollm2-135m-instruct".to_owned(),
            digest: configuration.model_digests()[0],
        }],
    }
}
