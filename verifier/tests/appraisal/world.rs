//! One good appraisal, every part of which a test can replace.

use mock_tee::Lie;
use mock_tee::nvidia::Board;
use mock_tee::snp::{Product, SnpMachine};
use mock_tee::tdx::registers::Registers;
use mock_tee::tdx::{QuoteVersion, TdxMachine};
use protocol::digest::{
    AccountId, BootId, ConfigDigest, EpochKey, EventLogDigest, Exporter, Freshness,
    GpuEvidenceDigest, HpkeConfigDigest, LaunchDigest, Mrtd, Nonce, ReceiptKey, ReportData, Rtmr,
    SpkiDigest,
};
use protocol::endorsements::{EndorsementKind, Endorsements};
use protocol::evidence::{Evidence, FreshnessProof, freshness_leaf};
use protocol::gpu_evidence::ocsp_nonce;
use protocol::launch_configuration::{
    LaunchConfiguration, Limits, ModelEntry, config_digest, host_data,
};
use protocol::merkle;
use protocol::receipt::TokenPrices;
use protocol::reference_values::{
    DeviceSet, ExpectedRegisters, ExpectedRtmr, ImageVersion, ModelReference, Origin, Profile,
    ReferenceValues, ShapeReference,
};
use protocol::statement::{Role, Statement, models_digest};
use protocol::tee::{EvidenceClass, TeeKind};
use protocol::ton::{NetworkId, TonAddress};
use protocol::verity::VerityParameters;
use sha2::{Digest as _, Sha256};
use verifier::{
    Appraisal, AppraisalPolicy, AttestationResult, Bundle, ChannelBinding, Rejection, TrustAnchors,
    UnixTime, appraise_in_full,
};

/// 2026-11-22.
pub(crate) const NOW: u64 = 1_795_305_600;
pub(crate) const MEASUREMENT: LaunchDigest = LaunchDigest([0x4d; 48]);
pub(crate) const REGISTERS: Registers = Registers {
    mrtd: Mrtd([0x70; 48]),
    rtmrs: [Rtmr([0x71; 48]), Rtmr([0x72; 48]), Rtmr([0x73; 48])],
};

/// The machine that made the evidence.
#[derive(Debug, Clone)]
pub(crate) enum Machine {
    Snp(SnpMachine),
    Tdx(TdxMachine),
}

impl Machine {
    pub(crate) fn with(self, lie: Lie) -> Self {
        match self {
            Self::Snp(machine) => Self::Snp(machine.with(lie)),
            Self::Tdx(machine) => Self::Tdx(machine.with(lie)),
        }
    }

    /// The same kind of machine, launched with another configuration.
    pub(crate) fn configured(self, digest: ConfigDigest) -> Self {
        match self {
            Self::Snp(_) => {
                let host_data = host_data(&digest);
                Self::Snp(SnpMachine::new(Product::Genoa, MEASUREMENT, host_data))
            }
            Self::Tdx(_) => Self::Tdx(TdxMachine::new(QuoteVersion::V4, REGISTERS, digest)),
        }
    }

    fn report(&self, report_data: &ReportData) -> Vec<u8> {
        match self {
            Self::Snp(machine) => machine.report(report_data).unwrap(),
            Self::Tdx(machine) => machine.quote(report_data).unwrap(),
        }
    }

    fn endorsements(&self) -> Endorsements {
        match self {
            Self::Snp(machine) => machine.endorsements(NOW).unwrap(),
            Self::Tdx(machine) => machine.endorsements(NOW).unwrap(),
        }
    }
}

/// Everything that an appraisal takes, and the machine that it is about.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) machine: Machine,
    pub(crate) statement: Statement,
    pub(crate) proof: FreshnessProof,
    pub(crate) configuration: Vec<u8>,
    pub(crate) event_log: Vec<u8>,
    pub(crate) gpu_evidence: Vec<u8>,
    /// What the host staples for GPUs.
    pub(crate) gpu_endorsements: Option<Vec<u8>>,
    /// What the host staples as the provider's grant.
    pub(crate) grant: Option<Vec<u8>>,
    pub(crate) channel: ChannelBinding,
    pub(crate) references: ReferenceValues,
    pub(crate) policy: AppraisalPolicy,
    pub(crate) anchors: TrustAnchors,
    pub(crate) at: UnixTime,
}

impl World {
    pub(crate) fn genoa() -> Self {
        Self::of(Product::Genoa)
    }

    pub(crate) fn of(product: Product) -> Self {
        Self::new(TeeKind::SevSnp, |digest| {
            Machine::Snp(SnpMachine::new(product, MEASUREMENT, host_data(&digest)))
        })
    }

    pub(crate) fn tdx(version: QuoteVersion) -> Self {
        Self::new(TeeKind::Tdx, |digest| {
            Machine::Tdx(TdxMachine::new(version, REGISTERS, digest))
        })
    }

    /// A TDX machine whose firmware and kernel measured something else.
    pub(crate) fn tdx_with(version: QuoteVersion, rtmrs: [Rtmr; 3]) -> Self {
        let registers = Registers { rtmrs, ..REGISTERS };
        let mut world = Self::new(TeeKind::Tdx, |digest| {
            Machine::Tdx(TdxMachine::new(version, registers, digest))
        });
        for shape in &mut world.references.shapes {
            if let ExpectedRegisters::Tdx {
                rtmr0,
                rtmr1,
                rtmr2,
                ..
            } = &mut shape.registers
            {
                [rtmr0.value, rtmr1.value, rtmr2.value] = rtmrs;
            }
        }
        world
    }

    fn new(tee: TeeKind, launch: impl Fn(ConfigDigest) -> Machine) -> Self {
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
            tee,
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
            machine: launch(digest),
            statement,
            proof: FreshnessProof {
                index: 1,
                count: 3,
                path: merkle::path(&leaves, 1).unwrap(),
            },
            configuration: bytes,
            event_log: Vec::new(),
            gpu_evidence: Vec::new(),
            gpu_endorsements: None,
            grant: None,
            channel,
            references: references(&configuration),
            policy: AppraisalPolicy::strict(),
            anchors: research_anchors::research_anchors(),
            at: UnixTime(NOW),
        }
    }

    /// The same machine, in a shape with GPUs.
    pub(crate) fn with_board(mut self, board: &Board, set: DeviceSet) -> Self {
        let evidence = board.evidence(&self.statement.boot_id, 3).unwrap();
        self.set_gpu_evidence(evidence.encode());
        let nonce = ocsp_nonce(&self.channel.nonce);
        let stapled = board.endorsements(NOW, Some(nonce)).unwrap();
        self.gpu_endorsements = Some(stapled.encode());
        for shape in &mut self.references.shapes {
            shape.devices = vec![set];
        }
        self
    }

    /// Other GPU evidence, which the Statement names.
    pub(crate) fn set_gpu_evidence(&mut self, bytes: Vec<u8>) {
        self.statement.gpu_evidence = GpuEvidenceDigest(Sha256::digest(&bytes).into());
        self.gpu_evidence = bytes;
    }

    /// What the guest sends: the machine signs the Statement as it now is.
    pub(crate) fn evidence(&self) -> Evidence {
        let mut endorsements = self.machine.endorsements();
        if let Some(stapled) = &self.gpu_endorsements {
            let kind = EndorsementKind::Nvidia;
            endorsements.insert(kind, stapled.clone()).unwrap();
        }
        if let Some(grant) = &self.grant {
            let kind = EndorsementKind::MachineGrant;
            endorsements.insert(kind, grant.clone()).unwrap();
        }
        Evidence {
            statement: self.statement.clone(),
            proof: self.proof.clone(),
            launch_configuration: self.configuration.clone(),
            report: self.machine.report(&self.statement.report_data()),
            event_log: self.event_log.clone(),
            gpu_evidence: self.gpu_evidence.clone(),
            endorsements,
        }
    }

    pub(crate) fn appraise(&self) -> Result<AttestationResult, Rejection> {
        self.appraise_this(&self.evidence())
    }

    pub(crate) fn appraise_this(
        &self,
        evidence: &Evidence,
    ) -> Result<AttestationResult, Rejection> {
        self.appraise_in_full(evidence).result
    }

    pub(crate) fn appraise_in_full(&self, evidence: &Evidence) -> Appraisal {
        appraise_in_full(
            evidence,
            &self.channel,
            &self.references,
            &self.policy,
            &self.anchors,
            self.at,
        )
    }

    /// What a client keeps of this.
    pub(crate) fn bundle(&self) -> Bundle {
        Bundle {
            made_at: self.at,
            channel: self.channel,
            evidence: self.evidence(),
            references: self.references.clone(),
        }
    }
}

pub(crate) fn configuration() -> LaunchConfiguration {
    LaunchConfiguration {
        version: 1,
        network: NetworkId(-7357),
        payee: TonAddress {
            workchain: 0,
            account: AccountId([0x66; 32]),
        },
        jetton: None,
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
        devices: Vec::new(),
    };
    let expected = |number: usize, origin| ExpectedRtmr {
        value: REGISTERS.rtmrs[number],
        origin,
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
            ShapeReference {
                shape: "cpu-2x2048".to_owned(),
                vcpus: 2,
                memory_mib: 2048,
                registers: ExpectedRegisters::Tdx {
                    mrtd: REGISTERS.mrtd,
                    rtmr0: expected(0, Origin::Captured),
                    rtmr1: expected(1, Origin::Computed),
                    rtmr2: expected(2, Origin::Computed),
                },
                devices: Vec::new(),
            },
        ],
        models: vec![ModelReference {
            name: "smollm2-135m-instruct".to_owned(),
            digest: configuration.model_digests()[0],
        }],
    }
}
