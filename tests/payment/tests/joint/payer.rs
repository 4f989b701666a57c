//! The client: `client::payment`'s account, and what `client::wallet` keeps on the disk.

use std::collections::BTreeMap;

use client::payment::{Account, PaymentRefusal, Promise, StreamId, StreamTerms};
use ed25519_dalek::SigningKey;
use protocol::digest::PayerKey;
use protocol::nano::Nano;
use protocol::serving::Progress;
use protocol::voucher::{SignedVoucher, Voucher};

use crate::provider::{CHANNEL, NETWORK};

const VOUCHER_SECONDS: u64 = 30 * 24 * 3600;

pub(crate) struct Payer {
    pub(crate) key: SigningKey,
    pub(crate) epoch: u32,
    pub(crate) deposit: Nano,
    pub(crate) account: Account,
    /// The highest voucher of each epoch, on the disk.
    stored: BTreeMap<u32, SignedVoucher>,
    /// An older copy of that, put back by a restore.
    backup: BTreeMap<u32, SignedVoucher>,
    /// The highest total of each epoch that ever left this client, whatever it remembers.
    pub(crate) signed: BTreeMap<u32, Nano>,
    /// Seconds by which its clock is off.
    pub(crate) skew: i64,
}

impl Payer {
    pub(crate) fn new(key: SigningKey, epoch: u32, deposit: u64) -> Self {
        let deposit = Nano::from_u64(deposit);
        Self {
            key,
            epoch,
            deposit,
            account: Account::resume(deposit, Nano::ZERO, Vec::new()),
            stored: BTreeMap::new(),
            backup: BTreeMap::new(),
            signed: BTreeMap::new(),
            skew: 0,
        }
    }

    pub(crate) fn public(&self) -> PayerKey {
        PayerKey(self.key.verifying_key().to_bytes())
    }

    fn promised(&self) -> Nano {
        let stored = self.stored.get(&self.epoch);
        stored.map_or(Nano::ZERO, |stored| stored.voucher.cumulative)
    }

    /// As `wallet::Ledger::sign`: never below what is on the disk, and on the disk first.
    fn sign(&mut self, promise: &Promise, now: u64) -> SignedVoucher {
        assert!(
            promise.cumulative >= self.promised(),
            "the client went back"
        );
        assert!(
            promise.cumulative <= self.deposit,
            "the client promised above its deposit"
        );
        let until = now.saturating_add_signed(self.skew) + VOUCHER_SECONDS;
        let voucher = self.voucher(promise.cumulative, u32::try_from(until).unwrap());
        self.stored.insert(self.epoch, voucher);
        let signed = self.signed.entry(self.epoch).or_default();
        *signed = (*signed).max(promise.cumulative);
        voucher
    }

    /// Whatever a dishonest client likes to sign.
    pub(crate) fn voucher(&self, cumulative: Nano, valid_until: u32) -> SignedVoucher {
        let voucher = Voucher {
            network: NETWORK,
            channel: CHANNEL,
            epoch: self.epoch,
            cumulative,
            receipts_root: self.account.promise().receipts_root,
            valid_until,
        };
        voucher.sign(&self.key)
    }

    pub(crate) fn begin(&mut self, terms: StreamTerms) -> Result<StreamId, PaymentRefusal> {
        self.account.begin(terms)
    }

    pub(crate) fn current(&mut self, now: u64) -> SignedVoucher {
        let promise = self.account.promise();
        self.sign(&promise, now)
    }

    pub(crate) fn progress(
        &mut self,
        id: StreamId,
        progress: &Progress,
        now: u64,
    ) -> Result<SignedVoucher, PaymentRefusal> {
        let promise = self.account.progress(id, progress)?;
        Ok(self.sign(&promise, now))
    }

    /// As `chat::Till::adopt`.
    pub(crate) fn adopt(&mut self, shown: &SignedVoucher) {
        let own = shown.verify().is_ok()
            && shown.payer_key == self.public()
            && shown.voucher.epoch == self.epoch
            && shown.voucher.channel == CHANNEL
            && shown.voucher.network == NETWORK;
        let raised = shown.voucher.cumulative > self.account.promise().cumulative;
        if own && raised && self.account.adopt(shown.voucher.cumulative).is_ok() {
            self.stored.insert(self.epoch, *shown);
        }
    }

    /// The program ends without warning; what is on the disk stays.
    pub(crate) fn crash(&mut self) {
        self.account = Account::resume(self.deposit, self.promised(), Vec::new());
    }

    pub(crate) fn back_up(&mut self) {
        self.backup.clone_from(&self.stored);
    }

    pub(crate) fn restore(&mut self) {
        self.stored.clone_from(&self.backup);
        self.crash();
    }

    pub(crate) fn reopen(&mut self, epoch: u32, deposit: u64) {
        self.epoch = epoch;
        self.deposit = Nano::from_u64(deposit);
        self.crash();
    }

    pub(crate) fn top_up(&mut self, deposit: Nano) {
        self.deposit = self.deposit.max(deposit);
        self.account.raise_deposit(deposit);
    }
}
