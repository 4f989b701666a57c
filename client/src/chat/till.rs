//! The till: the account, the ledger and the chain of receipts of one payment channel, together.
//!
//! `payment` decides, `wallet` signs and stores; here they are joined under one lock, so that what
//! is signed is what was decided. Vouchers leave one at a time and in order. Sockets are
//! `answer`'s.

use std::sync::{Mutex, MutexGuard, PoisonError};

use contracts::asset::Asset;
use protocol::digest::Salt;
use protocol::nano::Nano;
use protocol::serving::Progress;
use protocol::ton::TonAddress;
use protocol::voucher::SignedVoucher;
use verifier::UnixTime;

use super::AskError;
use crate::payment::{
    Account, Expected, ReceiptChain, StreamAccount, StreamId, StreamTerms, VerifiedReceipt, verify,
};
use crate::wallet::{KeptReceipt, Ledger, LedgerError, StateDirectory};

/// A voucher is good for this long: the payee must have claimed it by then.
const VOUCHER_SECONDS: u64 = 30 * 24 * 3600;

/// One payment channel in use.
#[derive(Debug)]
pub struct Till {
    books: Mutex<Books>,
    /// Held from the signing of a voucher until its answer, so that none overtakes another.
    pub(super) order: tokio::sync::Mutex<()>,
    kept: StateDirectory,
}

#[derive(Debug)]
struct Books {
    account: Account,
    ledger: Ledger,
    chain: ReceiptChain,
}

impl Till {
    /// Opens the till on a ledger; verified receipts are kept in `kept`.
    ///
    /// # Errors
    /// `Malformed` when the ledger's deposit is not an amount.
    pub fn open(ledger: Ledger, kept: StateDirectory) -> Result<Self, LedgerError> {
        let account = Account::resume(
            ledger.file().deposit()?,
            ledger.promised(),
            ledger.receipts().to_vec(),
        );
        Ok(Self {
            books: Mutex::new(Books {
                account,
                ledger,
                chain: ReceiptChain::default(),
            }),
            order: tokio::sync::Mutex::new(()),
            kept,
        })
    }

    /// The channel's contract and epoch.
    pub(super) fn channel(&self) -> (TonAddress, u32) {
        let books = self.books();
        (books.ledger.file().channel, books.ledger.file().epoch)
    }

    /// Who is paid from it.
    #[must_use]
    pub fn payee(&self) -> TonAddress {
        self.books().ledger.file().payee
    }

    /// What is paid in from it.
    #[must_use]
    pub fn asset(&self) -> Asset {
        self.books().ledger.file().asset()
    }

    /// The deposit, and the total that is promised.
    pub(super) fn totals(&self) -> (Nano, Nano) {
        let books = self.books();
        (books.account.deposit(), books.account.promise().cumulative)
    }

    pub(super) fn begin(&self, terms: StreamTerms) -> Result<StreamId, AskError> {
        Ok(self.books().account.begin(terms)?)
    }

    pub(super) fn record(&self, id: StreamId) -> Result<(), AskError> {
        Ok(self.books().account.record(id)?)
    }

    pub(super) fn end_token(&self, id: StreamId) -> Result<(), AskError> {
        Ok(self.books().account.end_token(id)?)
    }

    pub(super) fn of_stream(&self, id: StreamId) -> Result<StreamAccount, AskError> {
        Ok(self.books().account.of_stream(id)?)
    }

    pub(super) fn abandon(&self, id: StreamId) {
        self.books().account.abandon(id);
    }

    /// The voucher over what is promised already.
    pub(super) fn current(&self, now: UnixTime) -> Result<SignedVoucher, AskError> {
        let mut books = self.books();
        let promise = books.account.promise();
        Ok(books.ledger.sign(&promise, valid_until(now))?)
    }

    /// Goes on from a voucher that the payee shows, when this client signed it: whether that raised
    /// anything.
    pub(super) fn adopt(&self, shown: &SignedVoucher) -> Result<bool, AskError> {
        let mut books = self.books();
        let raised = shown.voucher.cumulative > books.account.promise().cumulative;
        // The ledger says whose it is; the account, whether the deposit covers it.
        if !raised || !books.ledger.is_own(shown) {
            return Ok(false);
        }
        books.account.adopt(shown.voucher.cumulative)?;
        Ok(books.ledger.adopt(shown)?)
    }

    /// The voucher that acknowledges a progress event.
    pub(super) fn acknowledge(
        &self,
        id: StreamId,
        progress: &Progress,
        now: UnixTime,
    ) -> Result<SignedVoucher, AskError> {
        let mut books = self.books();
        let promise = books.account.progress(id, progress)?;
        Ok(books.ledger.sign(&promise, valid_until(now))?)
    }

    /// Verifies a stream's receipt, keeps it, and gives the voucher that anchors it.
    pub(super) fn settle(
        &self,
        id: StreamId,
        bytes: &[u8],
        expected: &Expected<'_>,
        salt: &Salt,
        now: UnixTime,
    ) -> Result<(VerifiedReceipt, String, SignedVoucher), AskError> {
        let mut books = self.books();
        let receipt = verify(bytes, expected, &mut books.chain)?;
        let name = KeptReceipt::keep(&self.kept, &receipt, expected.statements, salt)
            .map_err(LedgerError::State)?;
        books.ledger.keep_receipt(&receipt)?;
        let promise = books.account.settle(id, &receipt)?;
        let voucher = books.ledger.sign(&promise, valid_until(now))?;
        Ok((receipt, name, voucher))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Every change within is made whole or not at all; a panic elsewhere spoils nothing.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn valid_until(now: UnixTime) -> u32 {
    u32::try_from(now.plus_seconds(VOUCHER_SECONDS).0).unwrap_or(u32::MAX)
}
