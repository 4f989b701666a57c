//! The accounts of this boot, shared by all connections: vouchers in, seats for streams out.
//!
//! The arithmetic is `account`'s; here are the map, the wake-up of paused streams, and the rule
//! that a seat which is dropped gives up its stream. Signatures and the host's consent come
//! before this module (`vouchers`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use messages::host_control::StopReason;
use protocol::digest::PayerKey;
use protocol::launch_configuration::Limits;
use protocol::nano::Nano;
use protocol::receipt::{Receipt, SignedReceipt, TokenCounts, TokenPrices};
use protocol::ton::TonAddress;
use protocol::voucher::SignedVoucher;
use tokio::sync::watch;

use crate::account::{Account, DeliveryRefused, PromptTokens, StreamId, TotalRefused};
use crate::errors::Refusal;
use crate::keys::ReceiptSigner;
use crate::receipts::{ChainFull, Chains, MAX_CHANNELS};

/// Whose account: another payer key or epoch on the same channel is another account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AccountKey {
    channel: TonAddress,
    epoch: u32,
    payer: PayerKey,
}

impl AccountKey {
    pub(crate) const fn of(voucher: &SignedVoucher) -> Self {
        Self {
            channel: voucher.voucher.channel,
            epoch: voucher.voucher.epoch,
            payer: voucher.payer_key,
        }
    }

    pub(crate) const fn channel(&self) -> TonAddress {
        self.channel
    }

    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
    }
}

/// What a voucher comes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It comes with a new request: the total from which to go on.
    Request,
    /// It acknowledges what was delivered here.
    Acknowledgement,
}

struct Entry {
    account: Account,
    highest: SignedVoucher,
    /// How often the host said "stop", and why it did last.
    stops: u64,
    reason: Option<StopReason>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Books {
    accounts: HashMap<AccountKey, Entry>,
    chains: Chains,
}

/// Every account and every chain of receipts.
pub(crate) struct Ledger {
    books: Mutex<Books>,
    limits: Limits,
}

impl Ledger {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            books: Mutex::default(),
            limits,
        }
    }

    /// Whether the voucher could be taken; true when its account exists already.
    pub(crate) fn check(&self, voucher: &SignedVoucher, purpose: Purpose) -> Result<bool, Refusal> {
        let books = self.books();
        let total = voucher.voucher.cumulative;
        match books.accounts.get(&AccountKey::of(voucher)) {
            Some(entry) => {
                let checked = match purpose {
                    Purpose::Request => entry.account.check_brought(total),
                    Purpose::Acknowledgement => entry.account.check(total),
                };
                checked.map_err(|refused| refusal(refused, &entry.highest))?;
                Ok(true)
            }
            None if books.accounts.len() >= MAX_CHANNELS => Err(Refusal::TooManyChannels),
            None => Ok(false),
        }
    }

    /// Takes a voucher to which the host said "continue", and wakes the account's streams.
    pub(crate) fn accept(&self, voucher: &SignedVoucher, purpose: Purpose) -> Result<(), Refusal> {
        let mut books = self.books();
        let full = books.accounts.len() >= MAX_CHANNELS;
        let total = voucher.voucher.cumulative;
        match books.accounts.get_mut(&AccountKey::of(voucher)) {
            // A higher one overtook it while the host was asked: it is acknowledged already.
            Some(entry) if total < entry.account.acknowledged() => {}
            Some(entry) => {
                let taken = match purpose {
                    Purpose::Request => entry.account.bring(total),
                    Purpose::Acknowledgement => entry.account.acknowledge(total),
                };
                taken.map_err(|refused| refusal(refused, &entry.highest))?;
                entry.highest = *voucher;
                entry.changed.send_replace(());
            }
            None if full => return Err(Refusal::TooManyChannels),
            None => {
                let entry = Entry {
                    account: Account::new(total, &self.limits),
                    highest: *voucher,
                    stops: 0,
                    reason: None,
                    changed: watch::Sender::new(()),
                };
                books.accounts.insert(AccountKey::of(voucher), entry);
            }
        }
        Ok(())
    }

    /// The host will not be paid on this account: its live streams end. They stay ended when the
    /// next voucher is taken before they notice.
    pub(crate) fn stop(&self, key: &AccountKey, reason: StopReason) {
        if let Some(entry) = self.books().accounts.get_mut(key) {
            entry.account.halt();
            entry.stops = entry.stops.saturating_add(1);
            entry.reason = Some(reason);
            entry.changed.send_replace(());
        }
    }

    /// Opens a stream on an account that exists.
    pub(crate) fn open(
        self: &Arc<Self>,
        key: AccountKey,
        prices: TokenPrices,
    ) -> Result<Seat, Refusal> {
        let mut books = self.books();
        let entry = books
            .accounts
            .get_mut(&key)
            .ok_or(Refusal::VoucherForeignChannel)?;
        Ok(Seat {
            stream: entry.account.open(prices),
            changed: entry.changed.subscribe(),
            stops: entry.stops,
            ledger: Arc::clone(self),
            key,
        })
    }

    /// Gives a receipt its place on its channel's chain and signs it.
    pub(crate) fn sign_next(
        &self,
        receipt: Receipt,
        signer: &ReceiptSigner,
    ) -> Result<SignedReceipt, ChainFull> {
        self.books().chains.sign_next(receipt, signer)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // No code panics while it holds the lock; a poisoned lock would still hold whole books.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(refused: TotalRefused, highest: &SignedVoucher) -> Refusal {
    match refused {
        TotalRefused::Outdated => Refusal::VoucherOutdated(Box::new(*highest)),
        TotalRefused::AboveDelivered => Refusal::VoucherAboveDelivered,
    }
}

/// A live stream's place in its account; dropping it ends the stream there.
pub(crate) struct Seat {
    ledger: Arc<Ledger>,
    key: AccountKey,
    stream: StreamId,
    changed: watch::Receiver<()>,
    /// How often its account had been stopped when it was taken.
    stops: u64,
}

impl Seat {
    pub(crate) const fn key(&self) -> &AccountKey {
        &self.key
    }

    /// Waits until the account takes another voucher or is stopped.
    pub(crate) async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            // The account outlives its seats; without it nothing would ever change.
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn stopped(&self) -> Option<StopReason> {
        let books = self.ledger.books();
        let entry = books.accounts.get(&self.key)?;
        entry.reason.filter(|_| entry.stops > self.stops)
    }

    pub(crate) fn deliver_prompt(&self, tokens: PromptTokens) -> Result<(), DeliveryRefused> {
        self.with(|account, stream| account.deliver_prompt(stream, tokens))
            .unwrap_or(Err(DeliveryRefused::Unknown))
    }

    pub(crate) fn deliver_token(&self) -> Result<(), DeliveryRefused> {
        self.with(Account::deliver_token)
            .unwrap_or(Err(DeliveryRefused::Unknown))
    }

    pub(crate) fn grant(&self) -> u32 {
        self.with(Account::grant).unwrap_or(0)
    }

    pub(crate) fn waits(&self) -> bool {
        self.with(|account, stream| account.waits(stream))
            .unwrap_or(false)
    }

    pub(crate) fn may_tell(&self) -> bool {
        self.with(|account, stream| account.may_tell(stream))
            .unwrap_or(false)
    }

    pub(crate) fn settled(&self) -> bool {
        self.with(|account, stream| account.settled(stream))
            .unwrap_or(true)
    }

    pub(crate) fn increment_full(&self) -> bool {
        self.with(|account, stream| account.increment_full(stream))
            .unwrap_or(false)
    }

    pub(crate) fn announce(&self) -> (TokenCounts, Nano) {
        self.with(Account::announce)
            .flatten()
            .unwrap_or((TokenCounts::default(), Nano::ZERO))
    }

    fn with<R>(&self, act: impl FnOnce(&mut Account, StreamId) -> R) -> Option<R> {
        let mut books = self.ledger.books();
        let entry = books.accounts.get_mut(&self.key)?;
        Some(act(&mut entry.account, self.stream))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.with(Account::end);
    }
}
