//! Statement v1: what a machine says of itself, in fixed order and widths, and the REPORT_DATA
//! that binds it to a hardware report. `docs/spec/statement.md`.
//!
//! Only init composes a Statement. Absent is zero, and only where the class says so.

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256, Sha512};

use crate::codec::{DecodeError, Reader, Writer};
use crate::digest::{
    BootId, ConfigDigest, EpochKey, EventLogDigest, Freshness, GpuEvidenceDigest, HpkeConfigDigest,
    ModelDigest, ModelsDigest, ReceiptKey, ReportData, SpkiDigest, StatementDigest,
};
use crate::tee::{EvidenceClass, TeeKind};

const MAGIC: &[u8; 8] = b"COCOSTMT";
const VERSION: u16 = 1;
const REPORT_DATA_DOMAIN: &[u8] = b"cocoon/report-data/v1\0";
const DIGEST_DOMAIN: &[u8] = b"cocoon/statement-digest/v1\0";
const MODELS_DOMAIN: &[u8] = b"cocoon/loaded-models/v1\0";

/// Who speaks. Only workers exist in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A machine that serves models.
    Worker,
}

/// Length of an encoded Statement.
pub const STATEMENT_BYTES: usize = 341;

/// Everything that a report attests, in the order of its encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Who speaks.
    pub role: Role,
    /// Strength of the evidence.
    pub class: EvidenceClass,
    /// Kind of the hardware report.
    pub tee: TeeKind,
    /// Drawn once per boot.
    pub boot_id: BootId,
    /// Merkle root over the challenges (`fresh`), or the beacon's hash.
    pub freshness: Freshness,
    /// Digest of serve's TLS key.
    pub tls_key: SpkiDigest,
    /// Zero unless the class is `epoch`.
    pub epoch_key: EpochKey,
    /// Zero unless the class is `hpke`.
    pub hpke_configuration: HpkeConfigDigest,
    /// The key that signs receipts.
    pub receipt_key: ReceiptKey,
    /// Digest of the launch configuration.
    pub configuration: ConfigDigest,
    /// Digest over the loaded models, [`models_digest`].
    pub models: ModelsDigest,
    /// Digest of the event log; zero on SEV-SNP.
    pub event_log: EventLogDigest,
    /// Digest of the GPU evidence; zero without GPUs.
    pub gpu_evidence: GpuEvidenceDigest,
    /// Seconds since 1970 as the host claims them: a claim, which may only refuse.
    pub host_time: u64,
}

impl Statement {
    /// The encoded Statement.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        let Role::Worker = self.role;
        out.raw(MAGIC)
            .u16(VERSION)
            .u8(1)
            .u8(self.class.wire())
            .u8(self.tee.wire());
        out.raw(&self.boot_id.0)
            .raw(&self.freshness.0)
            .raw(&self.tls_key.0);
        out.raw(&self.epoch_key.0)
            .raw(&self.hpke_configuration.0)
            .raw(&self.receipt_key.0);
        out.raw(&self.configuration.0).raw(&self.models.0);
        out.raw(&self.event_log.0)
            .raw(&self.gpu_evidence.0)
            .u64(self.host_time);
        out.finish()
    }

    /// Decodes exactly one Statement.
    ///
    /// # Errors
    /// A [`DecodeError`]; members that the class or the TEE kind wants absent must be zero.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        from.magic(MAGIC)?;
        if from.u16()? != VERSION {
            return Err(DecodeError::OutOfRange {
                field: "statement version",
            });
        }
        if from.u8()? != 1 {
            return Err(DecodeError::OutOfRange { field: "role" });
        }
        let statement = Self {
            role: Role::Worker,
            class: EvidenceClass::from_wire(from.u8()?)?,
            tee: TeeKind::from_wire(from.u8()?)?,
            boot_id: BootId(from.array()?),
            freshness: Freshness(from.array()?),
            tls_key: SpkiDigest(from.array()?),
            epoch_key: EpochKey(from.array()?),
            hpke_configuration: HpkeConfigDigest(from.array()?),
            receipt_key: ReceiptKey(from.array()?),
            configuration: ConfigDigest(from.array()?),
            models: ModelsDigest(from.array()?),
            event_log: EventLogDigest(from.array()?),
            gpu_evidence: GpuEvidenceDigest(from.array()?),
            host_time: from.u64()?,
        };
        from.finish()?;
        statement.check_absent_members()?;
        Ok(statement)
    }

    /// The 64 bytes that the hardware report must carry for this Statement.
    #[must_use]
    pub fn report_data(&self) -> ReportData {
        let hash = Sha512::new()
            .chain_update(REPORT_DATA_DOMAIN)
            .chain_update(self.encode());
        ReportData(hash.finalize().into())
    }

    /// The digest by which receipts name this Statement.
    #[must_use]
    pub fn digest(&self) -> StatementDigest {
        let hash = Sha256::new()
            .chain_update(DIGEST_DOMAIN)
            .chain_update(self.encode());
        StatementDigest(hash.finalize().into())
    }

    fn check_absent_members(&self) -> Result<(), DecodeError> {
        let absent = |zero: bool, field| {
            if zero {
                Ok(())
            } else {
                Err(DecodeError::OutOfRange { field })
            }
        };
        match self.class {
            EvidenceClass::Fresh => {
                absent(self.epoch_key.is_zero(), "epoch key")?;
                absent(self.hpke_configuration.is_zero(), "hpke configuration")?;
            }
            EvidenceClass::Epoch => {
                absent(self.hpke_configuration.is_zero(), "hpke configuration")?;
            }
            EvidenceClass::Hpke => absent(self.epoch_key.is_zero(), "epoch key")?,
        }
        match self.tee {
            TeeKind::SevSnp => absent(self.event_log.is_zero(), "event log digest"),
            TeeKind::Tdx => Ok(()),
        }
    }
}

/// The digest over the loaded models, in the order of the launch configuration.
#[must_use]
pub fn models_digest(models: &[ModelDigest]) -> ModelsDigest {
    let count = u8::try_from(models.len()).unwrap_or(u8::MAX);
    let hash = Sha256::new()
        .chain_update(MODELS_DOMAIN)
        .chain_update([count]);
    let hash = models
        .iter()
        .fold(hash, |hash, model| hash.chain_update(model.0));
    ModelsDigest(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            role: Role::Worker,
            class: EvidenceClass::Fresh,
            tee: TeeKind::SevSnp,
            boot_id: BootId([1; 32]),
            freshness: Freshness([2; 32]),
            tls_key: SpkiDigest([3; 32]),
            epoch_key: EpochKey::ZERO,
            hpke_configuration: HpkeConfigDigest::ZERO,
            receipt_key: ReceiptKey([4; 32]),
            configuration: ConfigDigest([5; 32]),
            models: ModelsDigest([6; 32]),
            event_log: EventLogDigest::ZERO,
            gpu_evidence: GpuEvidenceDigest::ZERO,
            host_time: 1_795_000_000,
        }
    }

    #[test]
    fn round_trips_in_the_specified_length() {
        let bytes = statement().encode();
        assert_eq!(bytes.len(), STATEMENT_BYTES);
        assert_eq!(Statement::decode(&bytes), Ok(statement()));
    }

    #[test]
    fn every_byte_but_none_outside_changes_report_data_or_is_refused() {
        let good = statement();
        let bytes = good.encode();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            if let Ok(decoded) = Statement::decode(&other) {
                assert_ne!(decoded.report_data(), good.report_data(), "byte {at}");
            }
        }
    }

    #[test]
    fn refuses_members_that_the_class_or_the_tee_wants_absent() {
        let refused = |change: fn(&mut Statement)| {
            let mut other = statement();
            change(&mut other);
            Statement::decode(&other.encode()).unwrap_err()
        };
        let out = |field| DecodeError::OutOfRange { field };
        assert_eq!(
            refused(|s| s.epoch_key = EpochKey([1; 32])),
            out("epoch key")
        );
        assert_eq!(
            refused(|s| s.hpke_configuration = HpkeConfigDigest([1; 32])),
            out("hpke configuration")
        );
        assert_eq!(
            refused(|s| s.event_log = EventLogDigest([1; 32])),
            out("event log digest")
        );
    }
}
