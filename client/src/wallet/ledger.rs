//! The ledger of one payment channel: its key, its highest voucher, its receipts' digests.
//!
//! A voucher is on the disk before it is anywhere else, and the ledger never signs less than it
//! signed before. What may be promised is `payment`'s decision. The chain is not read here.

use core::fmt;

use contracts::asset::Asset;
use contracts::close::{Close, MAX_DOCUMENT_BYTES, SignedClose};
use ed25519_dalek::SigningKey;
use protocol::digest::{PayerKey, ReceiptDigest, ReceiptsRoot};
use protocol::nano::Nano;
use protocol::receipt::receipts_root;
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
/// Of the network's coin.
const COIN_DECIMALS: u8 = 9;
/// Digests of a million receipts.
const MAX_RECEIPTS_BYTES: usize = 32 << 20;

/// Why the ledger did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The files.
    #[error(transparent)]
    State(#[from] StateError),
    /// The promise is lower than one that was signed.
    #[error("a total of {asked} units is below the {signed} units that were signed already")]
    WouldFall {
        /// The promise.
        asked: Nano,
        /// The highest that was signed.
        signed: Nano,
    },
    /// A close of this epoch is signed: the payee may send it at any time.
    #[error("a close of the channel is agreed; nothing more is promised on it")]
    CloseAgreed,
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
            Self::CloseAgreed => "voucher-close-agreed",
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
    /// Smallest units deposited in this epoch, decimal, as the chain showed them.
    pub deposited: String,
    /// The jetton that it pays in; without it the network's coin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jetton: Option<Jetton>,
}

/// A jetton, as its holder knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jetton {
    /// Whose it is.
    pub minter: TonAddress,
    /// Into how many decimals people divide it, as the holder or the minter said; not known
    /// otherwise, and nothing rests on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
}

impl ChannelFile {
    /// What it pays in.
    #[must_use]
    pub fn asset(&self) -> Asset {
        Asset::of_minter(self.jetton.map(|jetton| jetton.minter))
    }

    /// In how many decimals its amounts are read; none where that is not known.
    #[must_use]
    pub fn decimals(&self) -> Option<u8> {
        match &self.jetton {
            None => Some(COIN_DECIMALS),
            Some(jetton) => jetton.decimals,
        }
    }

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
    /// Whether a close of this epoch was signed.
    close_agreed: bool,
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
        let close_agreed = is_close_agreed(&state, file.epoch)?;
        Ok(Self {
            state,
            file,
            key,
            highest,
            receipts,
            close_agreed,
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

    /// Reads the digests of an epoch's receipts, in the order in which they were verified, without
    /// locking the channel.
    ///
    /// # Errors
    /// `Io`.
    pub fn read_receipts(
        state: &StateDirectory,
        epoch: u32,
    ) -> Result<Vec<ReceiptDigest>, LedgerError> {
        let mut receipts = Vec::new();
        let bytes = state
            .read(RECEIPTS, MAX_RECEIPTS_BYTES)?
            .unwrap_or_default();
        for record in bytes.chunks_exact(RECORD_BYTES) {
            let (of, digest) = record.split_at(4);
            let digest: Result<[u8; 32], _> = digest.try_into();
            if of == epoch.to_le_bytes() {
                receipts.extend(digest.map(ReceiptDigest));
            }
        }
        Ok(receipts)
    }

    fn write_file(state: &StateDirectory, file: &ChannelFile) -> Result<(), LedgerError> {
        let text = serde_json::to_vec_pretty(file).map_err(|_| StateError::Malformed {
            path: state.path(TERMS),
        })?;
        Ok(state.replace(TERMS, &text)?)
    }

    /// Notes what the chain shows: the epoch and its deposit. A new epoch starts from nothing. The
    /// highest voucher of the one before is kept: a chain that was wrong, or is reorganised, may
    /// show it again, and then the ledger goes on from there.
    ///
    /// # Errors
    /// `Io`.
    pub fn note_chain(&mut self, epoch: u32, deposited: Nano) -> Result<(), LedgerError> {
        if let Some(highest) = self.highest.filter(|_| epoch != self.file.epoch) {
            self.state
                .replace(&earlier(self.file.epoch), &highest.encode())?;
        }
        let mut file = self.file.clone();
        file.epoch = epoch;
        file.deposited = deposited.to_string();
        Self::write_file(&self.state, &file)?;
        self.file = file;
        self.close_agreed = is_close_agreed(&self.state, epoch)?;
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
    /// `WouldFall` below the highest total, `CloseAgreed`, `Io`; then nothing was signed.
    pub fn sign(
        &mut self,
        promise: &Promise,
        valid_until: u32,
    ) -> Result<SignedVoucher, LedgerError> {
        if self.close_agreed {
            return Err(LedgerError::CloseAgreed);
        }
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

    /// Agrees to a close at the highest total that was promised. That it was agreed is on the disk
    /// when this returns, and no voucher is signed in this epoch any more.
    ///
    /// # Errors
    /// `Io`, `Malformed`; then nothing was signed.
    pub fn agree_to_close(&mut self, valid_until: u32) -> Result<SignedClose, LedgerError> {
        let close = Close(Voucher {
            network: self.file.network,
            channel: self.file.channel,
            epoch: self.file.epoch,
            cumulative: self.promised(),
            receipts_root: receipts_root(&self.receipts),
            valid_until,
        });
        let name = agreed(self.file.epoch);
        let malformed = || StateError::Malformed {
            path: self.state.path(&name),
        };
        let signed = close.sign(&self.key).map_err(|_| malformed())?;
        let document = signed.to_json().map_err(|_| malformed())?;
        self.state.replace(&name, document.as_bytes())?;
        self.close_agreed = true;
        Ok(signed)
    }

    /// Whether a voucher is this channel's, of this epoch, and signed by its key.
    #[must_use]
    pub fn is_own(&self, shown: &SignedVoucher) -> bool {
        is_own(&self.file, shown) && shown.voucher.epoch == self.file.epoch
    }

    /// Takes up a voucher that the payee shows: whether it raised what is held. It counts only when
    /// it is this channel's, of this epoch, and carries this channel's own signature.
    ///
    /// # Errors
    /// `ForeignVoucher`, `Io`; nothing changes then.
    pub fn adopt(&mut self, shown: &SignedVoucher) -> Result<bool, LedgerError> {
        if !self.is_own(shown) {
            return Err(LedgerError::ForeignVoucher);
        }
        if shown.voucher.cumulative <= self.promised() {
            return Ok(false);
        }
        self.state.replace(VOUCHER, &shown.encode())?;
        self.highest = Some(*shown);
        Ok(true)
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

/// The name under which the highest voucher of an epoch is kept once another epoch began.
fn earlier(epoch: u32) -> String {
    format!("{VOUCHER}-{epoch}")
}

/// The name under which the close of an epoch is kept once it was signed.
fn agreed(epoch: u32) -> String {
    format!("close-{epoch}.json")
}

/// Whatever stands in the file: that it is there says that something was signed.
fn is_close_agreed(state: &StateDirectory, epoch: u32) -> Result<bool, StateError> {
    let file = state.read(&agreed(epoch), MAX_DOCUMENT_BYTES)?;
    Ok(file.is_some())
}

/// Whether a voucher is this channel's and signed by its key.
fn is_own(file: &ChannelFile, signed: &SignedVoucher) -> bool {
    let channel = signed.voucher.network == file.network && signed.voucher.channel == file.channel;
    channel && signed.payer_key == file.payer_key && signed.verify().is_ok()
}

/// Reads one voucher file; every voucher in the directory must be the channel's own.
fn read_voucher(
    state: &StateDirectory,
    file: &ChannelFile,
    name: &str,
) -> Result<Option<SignedVoucher>, LedgerError> {
    let Some(bytes) = state.read(name, SIGNED_BYTES)? else {
        return Ok(None);
    };
    let malformed = |_| StateError::Malformed {
        path: state.path(name),
    };
    let signed = SignedVoucher::decode(&bytes).map_err(malformed)?;
    if !is_own(file, &signed) {
        return Err(LedgerError::ForeignVoucher);
    }
    Ok(Some(signed))
}

/// The highest voucher and the receipts of the file's epoch; those of other epochs are history.
fn read_promises(
    state: &StateDirectory,
    file: &ChannelFile,
) -> Result<(Option<SignedVoucher>, Vec<ReceiptDigest>), LedgerError> {
    let latest = read_voucher(state, file, VOUCHER)?;
    let kept = read_voucher(state, file, &earlier(file.epoch))?;
    let highest = latest
        .into_iter()
        .chain(kept)
        .filter(|signed| signed.voucher.epoch == file.epoch)
        .max_by_key(|signed| signed.voucher.cumulative);
    Ok((highest, Ledger::read_receipts(state, file.epoch)?))
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
            jetton: None,
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
    fn nothing_is_promised_once_a_close_is_agreed_until_the_next_epoch() {
        let (_root, state, mut ledger) = ledger();
        ledger.sign(&promise(500), 9).unwrap();
        let close = ledger.agree_to_close(99).unwrap();
        assert_eq!(close.promise().cumulative, Nano::from_u64(500));
        assert_eq!(
            (close.promise().epoch, close.promise().valid_until),
            (7, 99)
        );
        assert_eq!(close.payer_key(), file().payer_key);
        for total in [500, 600] {
            let refused = ledger.sign(&promise(total), 9).unwrap_err();
            assert_eq!(refused.code(), "voucher-close-agreed");
        }
        drop(ledger);
        let mut ledger = Ledger::open(state).unwrap();
        let refused = ledger.sign(&promise(600), 9).unwrap_err();
        assert_eq!(refused.code(), "voucher-close-agreed");
        let again = ledger.agree_to_close(100).unwrap();
        assert_eq!(again.promise().cumulative, Nano::from_u64(500));
        ledger.note_chain(8, Nano::from_u64(2_000)).unwrap();
        ledger.sign(&promise(1), 9).unwrap();
        ledger.note_chain(7, Nano::from_u64(1_000)).unwrap();
        let refused = ledger.sign(&promise(600), 9).unwrap_err();
        assert_eq!(refused.code(), "voucher-close-agreed");
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
    fn an_epoch_that_the_chain_shows_again_goes_on_from_its_own_highest() {
        let (_root, state, mut ledger) = ledger();
        ledger.sign(&promise(500), 9).unwrap();
        ledger.note_chain(8, Nano::from_u64(2_000)).unwrap();
        ledger.sign(&promise(1), 9).unwrap();
        ledger.note_chain(7, Nano::from_u64(1_000)).unwrap();
        assert_eq!(ledger.promised(), Nano::from_u64(500));
        let refused = ledger.sign(&promise(499), 9).unwrap_err();
        assert_eq!(refused.code(), "voucher-would-fall");
        ledger.sign(&promise(600), 9).unwrap();
        ledger.note_chain(8, Nano::from_u64(2_000)).unwrap();
        assert_eq!(ledger.promised(), Nano::from_u64(1));
        drop(ledger);
        let mut ledger = Ledger::open(state).unwrap();
        ledger.note_chain(7, Nano::from_u64(1_000)).unwrap();
        assert_eq!(ledger.promised(), Nano::from_u64(600));
    }

    #[test]
    fn takes_up_its_own_higher_voucher_and_no_other() {
        let (_root, state, mut ledger) = ledger();
        let low = ledger.sign(&promise(300), 9).unwrap();
        let own = ledger.sign(&promise(500), 9).unwrap();
        // The files of yesterday: a backup was put back.
        drop(ledger);
        state.replace(VOUCHER, &low.encode()).unwrap();
        let mut ledger = Ledger::open(state.clone()).unwrap();
        let mut later = own.voucher;
        later.epoch += 1;
        let mut elsewhere = own.voucher;
        elsewhere.channel = address(9);
        let mut raised = own;
        raised.voucher.cumulative = Nano::from_u64(501);
        let own_key = SigningKey::from_bytes(&SEED);
        for foreign in [
            later.sign(&own_key),
            elsewhere.sign(&own_key),
            own.voucher.sign(&SigningKey::from_bytes(&[6; 32])),
            raised,
        ] {
            let refused = ledger.adopt(&foreign).unwrap_err();
            assert_eq!(refused.code(), "voucher-foreign");
            assert_eq!(ledger.promised(), Nano::from_u64(300));
        }
        assert!(ledger.adopt(&own).unwrap());
        assert!(!ledger.adopt(&low).unwrap(), "a lower one changes nothing");
        drop(ledger);
        assert_eq!(Ledger::open(state).unwrap().promised(), Nano::from_u64(500));
    }

    #[test]
    fn signs_nothing_outside_the_range_of_amounts() {
        let (_root, _state, mut ledger) = ledger();
        let top = |units: u128| Promise {
            cumulative: Nano::new(units).unwrap(),
            receipts_root: NO_RECEIPTS,
        };
        for units in [0, 1, 1 << 63, (1 << 120) - 1] {
            let signed = ledger.sign(&top(units), 9).unwrap();
            assert_eq!(signed.voucher.cumulative.units(), units);
            assert_eq!(ledger.promised().units(), units);
        }
        for text in [
            "1329227995784915872903807060280344576",
            "-1",
            "",
            "0x10",
            "1e3",
        ] {
            let mut odd = file();
            odd.deposited = text.to_owned();
            assert_eq!(
                odd.deposit().unwrap_err().code(),
                "state-malformed",
                "{text}"
            );
        }
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
    fn signs_nothing_from_a_voucher_or_a_key_that_was_damaged() {
        let (_root, state, mut ledger) = ledger();
        ledger.sign(&promise(500), 9).unwrap();
        drop(ledger);
        for (name, length) in [(VOUCHER, SIGNED_BYTES), (KEY, 32)] {
            let whole = state.read(name, length).unwrap().unwrap();
            let flipped = (0..length).map(|at| {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << (at % 8);
                bytes
            });
            let cut = (0..length).map(|end| whole[..end].to_vec());
            let longer = [whole.as_slice(), &[0]].concat();
            for damaged in flipped.chain(cut).chain([longer]) {
                state.replace(name, &damaged).unwrap();
                assert!(Ledger::open(state.clone()).is_err(), "{name}: {damaged:?}");
            }
            state.replace(name, &whole).unwrap();
        }
        assert_eq!(Ledger::open(state).unwrap().promised(), Nano::from_u64(500));
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
