//! The challenge after the handshake and the evidence that answers it. `docs/spec/evidence.md`.
//!
//! Appraisal is the verifier's. Here are the bytes, their limits, and how a challenge enters the
//! freshness of a Statement.

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::codec::{DecodeError, Reader, Writer};
use crate::digest::{Exporter, Freshness, Nonce};
use crate::endorsements::{self, Endorsements};
use crate::launch_configuration;
use crate::merkle;
use crate::statement::{STATEMENT_BYTES, Statement};
use crate::tee::EvidenceClass;

/// TLS exporter label; the context is the challenge's nonce, the length 32 bytes.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-cocoon-attest-v1";
/// Path to which a challenge is posted, on the connection that is to be attested.
pub const ATTEST_PATH: &str = "/.cocoon/v1/attest";
/// ALPN protocol of release deployments.
pub const ALPN: &[u8] = b"cocoon/1";
/// Evidence as a whole is at most this long.
pub const MAX_BYTES: usize = 3 * 1024 * 1024;
/// A hardware report or quote is at most this long.
pub const MAX_REPORT_BYTES: usize = 32 * 1024;
/// An event log is at most this long.
pub const MAX_EVENT_LOG_BYTES: usize = 256 * 1024;
/// GPU evidence is at most this long.
pub const MAX_GPU_EVIDENCE_BYTES: usize = 1024 * 1024;

const CHALLENGE_MAGIC: &[u8; 8] = b"COCOCHAL";
const EVIDENCE_MAGIC: &[u8; 8] = b"COCOEVID";
const LEAF_DOMAIN: &[u8] = b"cocoon/freshness/v1\0";

/// What a client posts: 41 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// The class of evidence that the client takes.
    pub class: EvidenceClass,
    /// Drawn by the client for this challenge alone.
    pub nonce: Nonce,
}

/// Length of an encoded challenge.
pub const CHALLENGE_BYTES: usize = 41;

impl Challenge {
    /// The encoded challenge.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.raw(CHALLENGE_MAGIC)
            .u8(self.class.wire())
            .raw(&self.nonce.0);
        out.finish()
    }

    /// Decodes exactly one challenge.
    ///
    /// # Errors
    /// A [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        from.magic(CHALLENGE_MAGIC)?;
        let class = EvidenceClass::from_wire(from.u8()?)?;
        let nonce = Nonce(from.array()?);
        from.finish()?;
        Ok(Self { class, nonce })
    }
}

/// The Merkle leaf of one waiting challenge.
#[must_use]
pub fn freshness_leaf(nonce: &Nonce, exporter: &Exporter) -> merkle::Leaf {
    let hash = Sha256::new().chain_update(LEAF_DOMAIN);
    hash.chain_update(nonce.0)
        .chain_update(exporter.0)
        .finalize()
        .into()
}

/// Where one challenge stands among those that share a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshnessProof {
    /// Number of the leaf.
    pub index: u32,
    /// Number of leaves.
    pub count: u32,
    /// Inclusion path from the leaf to the root.
    pub path: Vec<[u8; 32]>,
}

impl FreshnessProof {
    /// The freshness that a Statement must carry so that this proof holds for the challenge;
    /// `None` when the proof is inconsistent.
    #[must_use]
    pub fn freshness(&self, nonce: &Nonce, exporter: &Exporter) -> Option<Freshness> {
        let leaf = freshness_leaf(nonce, exporter);
        merkle::root_through(&leaf, self.index, self.count, &self.path).map(Freshness)
    }
}

/// The answer to a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What the machine says.
    pub statement: Statement,
    /// Where the challenge stands in the Statement's freshness.
    pub proof: FreshnessProof,
    /// The launch configuration's bytes.
    pub launch_configuration: Vec<u8>,
    /// The SEV-SNP report or the TDX quote.
    pub report: Vec<u8>,
    /// The event log; empty on SEV-SNP.
    pub event_log: Vec<u8>,
    /// Evidence of the GPUs; empty without GPUs.
    pub gpu_evidence: Vec<u8>,
    /// Stapled endorsements.
    pub endorsements: Endorsements,
}

impl Evidence {
    /// The encoded evidence.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.raw(EVIDENCE_MAGIC).raw(&self.statement.encode());
        out.u32(self.proof.index)
            .u32(self.proof.count)
            .count(self.proof.path.len());
        for node in &self.proof.path {
            out.raw(node);
        }
        out.blob(&self.launch_configuration)
            .blob(&self.report)
            .blob(&self.event_log);
        out.blob(&self.gpu_evidence)
            .blob(&self.endorsements.encode());
        out.finish()
    }

    /// Decodes exactly one evidence.
    ///
    /// # Errors
    /// A [`DecodeError`]; every length is compared with its limit before it is used.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        from.magic(EVIDENCE_MAGIC)?;
        let statement = Statement::decode(from.slice(STATEMENT_BYTES)?)?;
        let (index, count) = (from.u32()?, from.u32()?);
        let nodes = from.count("freshness path", merkle::MAX_PATH)?;
        let path = (0..nodes).map(|_| from.array()).collect::<Result<_, _>>()?;
        let configuration = from.blob("launch configuration", launch_configuration::MAX_BYTES)?;
        let report = from.blob("report", MAX_REPORT_BYTES)?;
        let event_log = from.blob("event log", MAX_EVENT_LOG_BYTES)?;
        let gpu_evidence = from.blob("gpu evidence", MAX_GPU_EVIDENCE_BYTES)?;
        let stapled = from.blob("endorsements", endorsements::MAX_BYTES.saturating_add(256))?;
        from.finish()?;
        Ok(Self {
            statement,
            proof: FreshnessProof { index, count, path },
            launch_configuration: configuration.to_vec(),
            report: report.to_vec(),
            event_log: event_log.to_vec(),
            gpu_evidence: gpu_evidence.to_vec(),
            endorsements: Endorsements::decode(stapled)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_round_trips_and_is_refused_when_cut() {
        let challenge = Challenge {
            class: EvidenceClass::Fresh,
            nonce: Nonce([9; 32]),
        };
        let bytes = challenge.encode();
        assert_eq!(bytes.len(), CHALLENGE_BYTES);
        assert_eq!(Challenge::decode(&bytes), Ok(challenge));
        for end in 0..bytes.len() {
            assert!(Challenge::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn a_proof_binds_both_nonce_and_exporter() {
        let pairs: Vec<_> = (0..5)
            .map(|i| (Nonce([i; 32]), Exporter([i + 100; 32])))
            .collect();
        let leaves: Vec<_> = pairs.iter().map(|(n, e)| freshness_leaf(n, e)).collect();
        let root = Freshness(merkle::root(&leaves));
        let path = merkle::path(&leaves, 3).unwrap();
        let proof = FreshnessProof {
            index: 3,
            count: 5,
            path,
        };
        assert_eq!(proof.freshness(&pairs[3].0, &pairs[3].1), Some(root));
        assert_ne!(proof.freshness(&pairs[3].0, &pairs[2].1), Some(root));
        assert_ne!(proof.freshness(&pairs[2].0, &pairs[3].1), Some(root));
    }
}
