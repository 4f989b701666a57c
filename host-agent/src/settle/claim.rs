//! One payment on the chain, by a claim or by a close that both sides agreed on: sent, followed to
//! its end, written to the journal at each step, and accounted for to the nano unit.
//!
//! Deliberately not here: which vouchers are claimed (`super`), which closes are sent (`close`).

use contracts::channel;
use contracts::message::Transfer;
use contracts::toncenter::MAX_TRANSACTIONS;
use contracts::transaction::{Received, Transaction};
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use protocol::voucher::{SignedVoucher, Voucher};

use super::{SettleError, Turn};
use crate::clock::UnixSeconds;
use crate::journal::{ClaimRecord, ClaimState, Journal};
use crate::wallet::{CHAIN_PATIENCE, Purse};

/// What a contract that did not run has for an exit code here.
const DID_NOT_RUN: i32 = -1;

/// A claim to which the contract has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// By how much the chain's total of the channel rose.
    pub increment: Nano,
    /// The wallet before.
    pub before: Nano,
    /// The wallet after.
    pub after: Nano,
    /// Fees of the wallet's own transactions.
    pub wallet_fees: Nano,
    /// Fees of the contract and of the messages between: sent, and neither paid nor returned.
    pub contract_fees: Nano,
    /// The contract's exit code: 0 when it paid.
    pub exit_code: i32,
    /// Whether the chain shows the voucher's total as claimed. Only this counts as a payment.
    pub is_shown: bool,
}

impl Claimed {
    /// Whether the contract paid, and the chain shows it.
    #[must_use]
    pub const fn is_paid(&self) -> bool {
        self.exit_code == 0 && self.is_shown
    }

    /// All fees.
    #[must_use]
    pub fn fees(&self) -> Nano {
        self.wallet_fees
            .plus(self.contract_fees)
            .unwrap_or(Nano::MAX)
    }

    /// Whether before + increment = after + fees, to the nano unit. Balances and fees come from
    /// different places on the chain: this can fail.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let fees = self.wallet_fees.plus(self.contract_fees);
        let after = fees.and_then(|fees| self.after.plus(fees));
        let before = self.before.plus(self.increment);
        before.is_ok() && before == after
    }
}

/// The wallet and the channel before a claim.
struct Start {
    balance: Nano,
    wallet_lt: u64,
    channel_lt: u64,
    claimed: Nano,
}

/// Sends one voucher and waits until the chain shows what became of it.
///
/// # Errors
/// [`SettleError`]; the journal then says `sent` or `missing`, and a later run looks again.
pub async fn claim(
    journal: &mut Journal,
    (purse, turn): (&Purse, &Turn),
    voucher: &SignedVoucher,
    now: UnixSeconds,
) -> Result<Claimed, SettleError> {
    let transfer = channel::claim(&voucher.voucher.channel, voucher)?;
    pay(journal, (purse, turn), &voucher.voucher, transfer, now).await
}

/// Sends what turns a promise into coins, and follows it.
pub(super) async fn pay(
    journal: &mut Journal,
    (purse, turn): (&Purse, &Turn),
    promised: &Voucher,
    transfer: Transfer,
    now: UnixSeconds,
) -> Result<Claimed, SettleError> {
    turn.renew(journal)?;
    let start = turn.keep(journal, look(purse, promised.channel)).await?;
    let mut record = ClaimRecord {
        channel: promised.channel,
        epoch: promised.epoch,
        cumulative: promised.cumulative,
        receipts_root: promised.receipts_root,
        state: ClaimState::Sent,
        at: now,
        fees: None,
    };
    journal.append_claim(&record)?;
    let send = purse.send(std::slice::from_ref(&transfer));
    turn.keep(journal, send).await?;
    let followed = turn.keep(journal, follow(purse, promised, &start)).await;
    let is_shown = followed.as_ref().is_ok_and(|claimed| claimed.is_shown);
    record.state = if is_shown {
        ClaimState::Shown
    } else {
        ClaimState::Missing
    };
    record.fees = followed.as_ref().ok().map(Claimed::fees);
    journal.append_claim(&record)?;
    followed
}

async fn look(purse: &Purse, channel: TonAddress) -> Result<Start, SettleError> {
    purse.chain.check_transactions()?;
    let wallet = purse.account().await?;
    let account = purse.chain.account(&channel).await?;
    let state = account.channel()?;
    Ok(Start {
        balance: wallet.balance,
        wallet_lt: wallet.last_lt,
        channel_lt: account.last_lt,
        claimed: state.map_or(Nano::ZERO, |state| state.claimed),
    })
}

/// Finds the contract's transaction and the wallet's, and adds up what they say.
async fn follow(purse: &Purse, promised: &Voucher, start: &Start) -> Result<Claimed, SettleError> {
    let (wallet, channel) = (purse.address, promised.channel);
    let from = |sender: TonAddress| {
        move |transaction: &Transaction| is_from(transaction, sender).then(|| transaction.clone())
    };
    let chain = &purse.chain;
    let contract = chain
        .wait_for_transaction(&channel, start.channel_lt, CHAIN_PATIENCE, from(wallet))
        .await?;
    let answer = chain
        .wait_for_transaction(&wallet, start.wallet_lt, CHAIN_PATIENCE, from(channel))
        .await?;
    // Transactions are the endpoint's word. What counts is read where accounts are, once these are
    // as far as that.
    let reached = async || {
        let (account, own) = (
            chain.account(&channel).await?,
            chain.account(&wallet).await?,
        );
        let is_there = account.last_lt >= contract.lt && own.last_lt >= answer.lt;
        Ok(is_there.then_some((account, own)))
    };
    let (account, own_account) = chain.wait_until(CHAIN_PATIENCE, reached).await?;
    let state = account.channel()?;
    let state = state.filter(|state| state.epoch == promised.epoch);
    let claimed = state.map_or(start.claimed, |state| state.claimed);
    let increment = claimed.minus(start.claimed).unwrap_or(Nano::ZERO);
    let latest = chain.transactions(&wallet, MAX_TRANSACTIONS).await?;
    let own = latest.iter().filter(|one| one.lt > start.wallet_lt);
    let wallet_fees = own.clone().try_fold(Nano::ZERO, |sum, one| {
        one.all_fees().and_then(|fees| sum.plus(fees))
    })?;
    let sent = own.clone().try_fold(Nano::ZERO, |sum, one| {
        one.values_sent().and_then(|value| sum.plus(value))
    })?;
    let contract_fees = sent
        .plus(increment)
        .and_then(|sum| sum.minus(answer.inflow()));
    Ok(Claimed {
        increment,
        before: start.balance,
        after: own_account.balance,
        wallet_fees,
        contract_fees: contract_fees?,
        exit_code: exit_code(&contract),
        is_shown: state.is_some_and(|state| state.claimed >= promised.cumulative),
    })
}

/// 0 when the contract did what it was asked.
const fn exit_code(transaction: &Transaction) -> i32 {
    match transaction.exit_code() {
        _ if transaction.succeeded() => 0,
        Some(0 | 1) | None => DID_NOT_RUN,
        Some(code) => code,
    }
}

fn is_from(transaction: &Transaction, sender: TonAddress) -> bool {
    match transaction.received {
        Received::Internal { from, .. } => from == Some(sender),
        Received::External | Received::Nothing => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_nano_unit_out_of_place_is_seen() {
        let nano = Nano::from_u64;
        let good = Claimed {
            increment: nano(1_000),
            before: nano(5_000),
            after: nano(5_700),
            wallet_fees: nano(100),
            contract_fees: nano(200),
            exit_code: 0,
            is_shown: true,
        };
        assert!(good.adds_up() && good.is_paid());
        let unseen = Claimed {
            is_shown: false,
            ..good
        };
        assert!(
            !unseen.is_paid(),
            "the contract's word without the state is no payment"
        );
        let off = Claimed {
            after: nano(5_701),
            ..good
        };
        assert!(!off.adds_up());
    }
}
