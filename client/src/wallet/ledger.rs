//! The ledger of one payment channel: its key, its highest voucher, its receipts' digests.
//!
//! A voucher is on the disk before it is anywhere else, and the ledger never signs less than it
//! signed before. What may be promised is `payment`'s decision. The chain is not read here.

use core::fmt;

use ed25519_dalek::SigningKey;
use protocol::digest::{PayerKey, ReceiptDigest, ReceiptsRoot};
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::{SIGNED_BYTES, SignedVoucher, Voucher};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::state::{StateDirectory, StateError, StateLock};
use crate::payment::{Promise, VerifiedReceipt};

const KEY: &str = "key";
const TERMS: &str = "channel.json";
const VOUCHER: &str = "voucher";
const RECEIPTS: &str = "receipts";
/// One record of the receipts' file: the epoch and the digest.
const RECORD_BYTES: usize = 4 + 32;
/// A terms file is shorter.
const MAX_TERMS_BYTES: usize = 4096;
/// Digests of a million receipts.
const MAX_RECEIPTS_BYTES: usize = 32 << 20;

/// Why the ledger did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The files.
    #[error(transparent)]
    State(#[from] StateError),
    /// The promise is lower than one that was signed.
    #[error("a total of {asked} nano is below the {signed} nano that were signed already")]
    WouldFall {
        /// The promise.
        asked: Nano,
        /// The highest that was signed.
        signed: Nano,
    },
    /// The voucher on the disk is not this channel's, or not signed by its key.
    #[error("the stored voucher is not this channel's own")]
    ForeignVoucher,
}

impl LedgerError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::State(error) => error.code(),
            Self::WouldFall { .. } => "voucher-would-fall",
            Self::ForeignVoucher => "voucher-foreign",
        }
    }
}

/// What the channel's contract was made with, and what the chain showed of it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelFile {
    /// Version of the file, 1.
    pub version: u16,
    /// The network of the contract.
    pub network: NetworkId,
    /// The contract.
    pub channel: TonAddress,
    /// Who pays.
    pub payer: TonAddress,
    /// Who is paid.
    pub payee: TonAddress,
    /// The key that signs vouchers.
    pub payer_key: PayerKey,
    /// Seconds of the payee's window.
    pub window: u32,
    /// The epoch, 0 until the chain showed the opening.
    pub epoch: u32,
    /// Nano units deposited in this epoch, decimal, as the chain showed them.
    pub deposited: String,
}

impl ChannelFile {
    /// The deposit as an amount.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn deposit(&self) -> Result<Nano, StateError> {
        let units = self.deposited.parse().ok();
        units
            .and_then(|units| Nano::new(units).ok())
            .ok_or(StateError::Malformed { path: TERMS.into() })
    }
}

/// The open ledger of one channel; locked while it is.
pub struct Ledger {
    state: StateDirectory,
    file: ChannelFile,
    key: SigningKey,
    highest: Option<SignedVoucher>,
    receipts: Vec<ReceiptDigest>,
    _lock: StateLock,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("channel", &self.file.channel)
            .field("promised", &self.promised())
            .finish_non_exhaustive()
    }
}

impl Ledger {
    /// Writes a new channel's key and terms, before the chain hears of it.
    ///
    /// # Errors
    /// `Exists`, `Io`.
    pub fn create(
        state: &StateDirectory,
        seed: &[u8; 32],
        file: &ChannelFile,
    ) -> Result<(), LedgerError> {
        state.create(KEY, seed)?;
        Self::write_file(state, file)
    }

    /// Opens a channel's ledger and locks it.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn open(state: StateDirectory) -> Result<Self, LedgerError> {
        let lock = state.lock()?;
        let file = Self::read_file(&state)?;
        let missing = || StateError::Malformed {
            path: state.path(KEY),
        };
        let seed = Zeroizing::new(state.read(KEY, 32)?.ok_or_else(missing)?);
        let seed: Zeroizing<[u8; 32]> =
            Zeroizing::new(seed.as_slice().try_into().map_err(|_| missing())?);
        let key = SigningKey::from_bytes(&seed);
        if key.verifying_key().to_bytes() != file.payer_key.0 {
            return Err(missing().into());
        }
        repair_receipts(&state)?;
        let (highest, receipts) = read_promises(&state, &file)?;
        Ok(Self {
            state,
            file,
            key,
            highest,
            receipts,
            _lock: lock,
        })
    }

    /// Reads a channel's terms without locking it.
    ///
    /// # Errors
    /// `Malformed`, `Io`.
    pub fn read_file(state: &StateDirectory) -> Result<ChannelFile, LedgerError> {
        let malformed = || StateError::Malformed {
            path: state.path(TERMS),
        };
        let bytes = state.read(TERMS, MAX_TERMS_BYTES)?.ok_or_else(malformed)?;
        let file: ChannelFile = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
        if file.version != 1 {
            return Err(malformed().into());
        }
        Ok(file)
    }

    /// Reads a channel's highest voucher without locking it.
    ///
    /// # Errors
    /// `ForeignVoucher`, `Malformed`, `Io`.
    pub fn read_highest(
        state: &StateDirectory,
        file: &ChannelFile,
    ) -> Result<Option<SignedVoucher>, LedgerError> {
        read_promises(state, file).map(|(highest, _)| highest)
    }

    fn write_file(state: &StateDirectory, file: &ChannelFile) -> Result<(), LedgerError> {
        let text = serde_json::to_vec_pretty(file).map_err(|_| StateError::Malformed {
            path: state.path(TERMS),
        })?;
        Ok(state.replace(TERMS, &text)?)
    }

    /// Notes what the chain shows: the epoch and its deposit. A new epoch starts from nothing.
    ///
    /// # Errors
    /// `Io`.
    pub fn note_chain(&mut self, epoch: u32, deposited: Nano) -> Result<(), LedgerError> {
        let mut file = self.file.clone();
        file.epoch = epoch;
        file.deposited = deposited.to_string();
        Self::write_file(&self.state, &file)?;
        self.file = file;
        (self.highest, self.receipts) = read_promises(&self.state, &self.file)?;
        Ok(())
    }

    /// The channel.
    #[must_use]
    pub const fn file(&self) -> &ChannelFile {
        &self.file
    }

    /// The highest total that was signed in this epoch.
    #[must_use]
    pub fn promised(&self) -> Nano {
        self.highest
            .map_or(Nano::ZERO, |signed| signed.voucher.cumulative)
    }

    /// Digests of the receipts that were verified in this epoch.
    #[must_use]
    pub fn receipts(&self) -> &[ReceiptDigest] {
        &self.receipts
    }

    /// Signs a promise. The voucher is on the disk when this returns.
    ///
    /// # Errors
    /// `WouldFall` below the highest total, `Io`; then nothing was signed.
    pub fn sign(
        &mut self,
        promise: &Promise,
        valid_until: u32,
    ) -> Result<SignedVoucher, LedgerError> {
        let signed = self.promised();
        if promise.cumulative < signed {
            return Err(LedgerError::WouldFall {
                asked: promise.cumulative,
                signed,
            });
        }
        let voucher = Voucher {
            network: self.file.network,
            channel: self.file.channel,
            epoch: self.file.epoch,
            cumulative: promise.cumulative,
            receipts_root: promise.receipts_root,
            valid_until,
        };
        let voucher = voucher.sign(&self.key);
        self.state.replace(VOUCHER, &voucher.encode())?;
        self.highest = Some(voucher);
        Ok(voucher)
    }

    /// Keeps the digest of a verified receipt, before its root is signed.
    ///
    /// # Errors
    /// `Io`.
    pub fn keep_receipt(&mut self, receipt: &VerifiedReceipt) -> Result<(), LedgerError> {
        let digest = receipt.digest();
        let mut record = self.file.epoch.to_le_bytes().to_vec();
        record.extend_from_slice(digest.as_bytes());
        self.state.append(RECEIPTS, &record)?;
        self.receipts.push(digest);
        Ok(())
    }
}

/// The highest voucher and the receipts of the file's epoch; those of earlier epochs are history.
fn read_promises(
    state: &StateDirectory,
    file: &ChannelFile,
) -> Result<(Option<SignedVoucher>, Vec<ReceiptDigest>), LedgerError> {
    let highest = match state.read(VOUCHER, SIGNED_BYTES)? {
        Some(bytes) => {
            let malformed = |_| StateError::Malformed {
                path: state.path(VOUCHER),
            };
            let signed = SignedVoucher::decode(&bytes).map_err(malformed)?;
            let own = signed.verify().is_ok_and(|voucher| {
                voucher.network == file.network && voucher.channel == file.channel
            });
            if !own || signed.payer_key != file.payer_key || signed.voucher.epoch > file.epoch {
                return Err(LedgerError::ForeignVoucher);
            }
            (signed.voucher.epoch == file.epoch).then_some(signed)
        }
        None => None,
    };
    let mut receipts = Vec::new();
    let bytes = state
        .read(RECEIPTS, MAX_RECEIPTS_BYTES)?
        .unwrap_or_default();
    for record in bytes.chunks_exact(RECORD_BYTES) {
        let (epoch, digest) = record.split_at(4);
        let digest: Result<[u8; 32], _> = digest.try_into();
        if epoch == file.epoch.to_le_bytes() {
            receipts.extend(digest.map(ReceiptDigest));
        }
    }
    Ok((highest, receipts))
}

/// Cuts off a last record that a power cut left in part: it was never part of a root.
fn repair_receipts(state: &StateDirectory) -> Result<(), StateError> {
    let bytes = state
        .read(RECEIPTS, MAX_RECEIPTS_BYTES)?
        .unwrap_or_default();
    let whole = bytes.chunks_exact(RECORD_BYTES);
    let torn = whole.remainder().len();
    match bytes.split_at_checked(bytes.len().saturating_sub(torn)) {
        Some((whole, [_, ..])) => state.replace(RECEIPTS, whole),
        Some((_, [])) | None => Ok(()),
    }
}

/// The root of a channel on which no receipt was verified yet.
pub const NO_RECEIPTS: ReceiptsRoot = ReceiptsRoot::ZERO;

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::digest::AccountId;

    const SEED: [u8; 32] = [5; 32];

    fn address(byte: u8) -> TonAddress {
        TonAddress {
            workchain: 0,
            account: AccountId([byte; 32]),
        }
    }

    fn file() -> ChannelFile {
        ChannelFile {
            version: 1,
            network: NetworkId(-7357),
            channel: address(1),
            payer: address(2),
            payee: address(3),
            payer_key: PayerKey(SigningKey::from_bytes(&SEED).verifying_key().to_bytes()),
            window: 3600,
            epoch: 7,
            deposited: "1000".to_owned(),
        }
    }

    fn ledger() -> (tempfile::TempDir, StateDirectory, Ledger) {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(root.path()).unwrap();
        Ledger::create(&state, &SEED, &file()).unwrap();
        let ledger = Ledger::open(state.clone()).unwrap();
        (root, state, ledger)
    }

    fn promise(units: u64) -> Promise {
        Promise {
            cumulative: Nano::from_u64(units),
            receipts_root: NO_RECEIPTS,
        }
    }

    #[test]
    fn never_goes_back_not_even_after_a_restart() {
        let (_root, state, mut ledger) = ledger();
        let signed = ledger.sign(&promise(500), 9).unwrap();
        assert!(signed.verify().is_ok());
        drop(ledger);
        let mut ledger = Ledger::open(state).unwrap();
        assert_eq!(ledger.promised(), Nano::from_u64(500));
        let refused = ledger.sign(&promise(499), 9).unwrap_err();
        assert_eq!(refused.code(), "voucher-would-fall");
        assert!(ledger.sign(&promise(500), 9).is_ok());
    }

    #[test]
    fn a_voucher_is_on_the_disk_before_it_is_returned() {
        let (_root, state, mut ledger) = ledger();
        let signed = ledger.sign(&promise(500), 9).unwrap();
        let stored = state.read(VOUCHER, SIGNED_BYTES).unwrap().unwrap();
        assert_eq!(SignedVoucher::decode(&stored), Ok(signed));
    }

    #[test]
    fn a_new_epoch_starts_from_nothing() {
        let (_root, _state, mut ledger) = ledger();
        ledger.sign(&promise(500), 9).unwrap();
        ledger.note_chain(8, Nano::from_u64(2_000)).unwrap();
        assert_eq!(ledger.promised(), Nano::ZERO);
        assert_eq!(ledger.sign(&promise(1), 9).unwrap().voucher.epoch, 8);
    }

    #[test]
    fn refuses_a_stored_voucher_of_another_key_or_channel() {
        let (_root, state, mut ledger) = ledger();
        let own = ledger.sign(&promise(500), 9).unwrap();
        drop(ledger);
        let foreign_key = own.voucher.sign(&SigningKey::from_bytes(&[6; 32]));
        let mut foreign_channel = own.voucher;
        foreign_channel.channel = address(9);
        let foreign_channel = foreign_channel.sign(&SigningKey::from_bytes(&SEED));
        for foreign in [foreign_key, foreign_channel] {
            state.replace(VOUCHER, &foreign.encode()).unwrap();
            let refused = Ledger::open(state.clone()).unwrap_err();
            assert_eq!(refused.code(), "voucher-foreign");
        }
    }

    #[test]
    fn refuses_a_channel_whose_key_is_not_its_terms_key() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(root.path()).unwrap();
        Ledger::create(&state, &[6; 32], &file()).unwrap();
        assert_eq!(Ledger::open(state).unwrap_err().code(), "state-malformed");
    }

    #[test]
    fn a_torn_receipt_record_is_cut_off_and_does_not_shift_the_next() {
        let (_root, state, ledger) = ledger();
        drop(ledger);
        let mut record = 7u32.to_le_bytes().to_vec();
        record.extend_from_slice(&[1; 32]);
        state.append(RECEIPTS, &record).unwrap();
        state.append(RECEIPTS, &record[..20]).unwrap();
        drop(Ledger::open(state.clone()).unwrap());
        state.append(RECEIPTS, &record).unwrap();
        let ledger = Ledger::open(state).unwrap();
        assert_eq!(ledger.receipts(), [ReceiptDigest([1; 32]); 2]);
    }

    #[test]
    fn two_programs_cannot_sign_on_one_channel() {
        let (_root, state, _ledger) = ledger();
        assert_eq!(Ledger::open(state).unwrap_err().code(), "state-in-use");
    }
}
