//! One payment on the chain, by a claim or by a close that both sides agreed on: sent, followed to
//! its end, written to the journal at each step, and accounted for to the nano unit.
//!
//! Deliberately not here: which vouchers are claimed (`super`), which closes are sent (`close`).

use contracts::asset::{Asset, PaymentChannel};
use contracts::channel;
use contracts::jetton_channel::{self, Side};
use contracts::message::Transfer;
use contracts::toncenter::{ChainError, JettonWallet, MAX_TRANSACTIONS};
use contracts::transaction::{Received, Transaction};
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use protocol::voucher::{SignedVoucher, Voucher};

use super::position::{brought_along, paid};
use super::{Position, SettleError, Turn};
use crate::clock::UnixSeconds;
use crate::journal::{ClaimRecord, ClaimState, Journal, JournalError};
use crate::wallet::{CHAIN_PATIENCE, Purse};

/// What a contract that did not run has for an exit code here.
const DID_NOT_RUN: i32 = -1;

/// A claim to which the contract has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// What the channel pays in.
    pub asset: Asset,
    /// By how much the chain's total of the channel rose, in smallest units of that.
    pub increment: Nano,
    /// Coins in the wallet before.
    pub before: Nano,
    /// Coins in the wallet after.
    pub after: Nano,
    /// Fees of the wallet's own transactions.
    pub wallet_fees: Nano,
    /// Fees of the contract and of the messages between: sent, and neither paid nor returned.
    pub contract_fees: Nano,
    /// Jettons, of a channel in a jetton.
    pub jettons: Option<JettonSums>,
    /// The contract's exit code: 0 when it paid.
    pub exit_code: i32,
    /// Whether the chain shows the voucher's total as claimed, and nothing of it as due. Only this
    /// counts as a payment.
    pub is_shown: bool,
}

/// What the payee's jetton wallet holds, and what the channel owes it since a payout bounced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JettonSums {
    /// In the jetton wallet before.
    pub before: Nano,
    /// In the jetton wallet after.
    pub after: Nano,
    /// Due before.
    pub due_before: Nano,
    /// Due after.
    pub due_after: Nano,
}

impl Claimed {
    /// Whether the contract paid, and the chain shows it.
    #[must_use]
    pub const fn is_paid(&self) -> bool {
        self.exit_code == 0 && self.is_shown
    }

    /// All fees, in coins.
    #[must_use]
    pub fn fees(&self) -> Nano {
        self.wallet_fees
            .plus(self.contract_fees)
            .unwrap_or(Nano::MAX)
    }

    /// Whether before + increment = after + fees, to the nano unit; of a jetton, whether coins and
    /// jettons do so for themselves. Balances and fees come from different places on the chain:
    /// this can fail.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        let (in_coins, jettons_do) = match self.jettons {
            None => (self.increment, true),
            Some(sums) => (Nano::ZERO, sums.add_up(self.increment)),
        };
        let fees = self.wallet_fees.plus(self.contract_fees);
        let after = fees.and_then(|fees| self.after.plus(fees));
        let before = self.before.plus(in_coins);
        before.is_ok() && before == after && jettons_do
    }
}

impl JettonSums {
    /// Whether what was there, with what was due and is new, is there or due.
    fn add_up(&self, increment: Nano) -> bool {
        let before = self.before.plus(self.due_before);
        let before = before.and_then(|before| before.plus(increment));
        before.is_ok() && before == self.after.plus(self.due_after)
    }
}

/// What is sent to a channel's contract, and the promise that it turns into money.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) promise: Voucher,
    pub(super) transfer: Transfer,
}

/// The wallet and the channel before a claim.
struct Start {
    asset: Asset,
    balance: Nano,
    wallet_lt: u64,
    channel_lt: u64,
    /// The epoch that the chain showed, and what it showed as claimed in it.
    epoch: Option<u32>,
    claimed: Nano,
    jettons: Option<JettonStart>,
}

impl Start {
    /// Claims of other epochs that come along with this payment once nothing is due: of its own
    /// epoch the chain had counted so much more than the books hold as paid, the rest was theirs.
    fn others_due(
        &self,
        journal: &Journal,
        record: &ClaimRecord,
    ) -> Result<Vec<ClaimRecord>, JournalError> {
        let due = self.jettons.as_ref().map_or(Nano::ZERO, |own| own.due);
        if due == Nano::ZERO {
            return Ok(Vec::new());
        }
        let claims = journal.claims()?;
        let counted = match self.epoch {
            Some(epoch) if epoch == record.epoch => self.claimed,
            Some(_) | None => record.cumulative,
        };
        let paid = paid(&claims, &record.channel, record.epoch);
        let own = counted.minus(paid).unwrap_or(Nano::ZERO);
        let others = due.minus(own).unwrap_or(Nano::ZERO);
        let key = (&record.channel, record.epoch);
        Ok(brought_along(&claims, key, others))
    }
}

/// The payee's jetton wallet before a claim.
struct JettonStart {
    wallet: JettonWallet,
    due: Nano,
}

/// Sends one voucher and waits until the chain shows what became of it.
///
/// # Errors
/// [`SettleError`]; the journal then says `sent` or `missing`, and a later run looks again.
pub async fn claim(
    journal: &mut Journal,
    with: (&Purse, &Turn),
    voucher: &SignedVoucher,
    now: UnixSeconds,
) -> Result<Claimed, SettleError> {
    let asked = Asked {
        promise: voucher.voucher,
        transfer: channel::claim(&voucher.voucher.channel, voucher)?,
    };
    pay(journal, with, asked, now).await
}

/// Has jettons sent again that bounced on their way here, and waits until the chain shows what
/// became of them; nothing when they are not this epoch's. The coins that a jetton wallet is sent
/// while it is still locked stay with the channel, for its payer.
///
/// # Errors
/// [`SettleError`], as for a claim.
pub async fn resend(
    journal: &mut Journal,
    with: (&Purse, &Turn),
    position: &Position,
    now: UnixSeconds,
) -> Result<Option<Claimed>, SettleError> {
    let Some(bounced) = position.bounced(&journal.claims()?) else {
        return Ok(None);
    };
    let channel = &position.channel;
    let promise = Voucher {
        network: with.0.network,
        channel: *channel,
        epoch: position.epoch,
        cumulative: bounced.cumulative,
        receipts_root: bounced.receipts_root,
        valid_until: 0,
    };
    let transfer = jetton_channel::resend(channel, Side::Payee)?;
    let asked = Asked { promise, transfer };
    pay(journal, with, asked, now).await.map(Some)
}

/// Sends what turns a promise into money, and follows it.
pub(super) async fn pay(
    journal: &mut Journal,
    (purse, turn): (&Purse, &Turn),
    asked: Asked,
    now: UnixSeconds,
) -> Result<Claimed, SettleError> {
    turn.renew(journal)?;
    let promised = &asked.promise;
    let start = turn.keep(journal, look(purse, promised.channel)).await?;
    let mut record = ClaimRecord {
        channel: promised.channel,
        epoch: promised.epoch,
        cumulative: promised.cumulative,
        receipts_root: promised.receipts_root,
        state: ClaimState::Sent,
        at: now,
        fees: None,
        asset: start.asset,
    };
    journal.append_claim(&record)?;
    let transfer = start.asset.fitted(asked.transfer);
    let send = purse.send(std::slice::from_ref(&transfer));
    turn.keep(journal, send).await?;
    let followed = turn.keep(journal, follow(purse, promised, &start)).await;
    let is_shown = followed.as_ref().is_ok_and(|claimed| claimed.is_shown);
    // What bounced came to nobody: it is written down as paid once it was sent again.
    record.state = if is_shown {
        ClaimState::Shown
    } else {
        ClaimState::Missing
    };
    record.fees = followed.as_ref().ok().map(Claimed::fees);
    let along = match is_shown {
        true => start.others_due(journal, &record)?,
        false => Vec::new(),
    };
    // Before its own: after a kill between the two, the next run writes down its own.
    for older in along {
        journal.append_claim(&ClaimRecord {
            state: ClaimState::Shown,
            at: now,
            fees: None,
            ..older
        })?;
    }
    journal.append_claim(&record)?;
    followed
}

async fn look(purse: &Purse, channel: TonAddress) -> Result<Start, SettleError> {
    purse.chain.check_transactions()?;
    let wallet = purse.account().await?;
    let account = purse.chain.account(&channel).await?;
    let shown = account.payment_channel()?;
    let jettons = match shown.as_ref().and_then(PaymentChannel::jetton) {
        None => None,
        Some(jetton) => {
            let wallet = purse.chain.jetton_wallet(&jetton.minter, &purse.address);
            Some(JettonStart {
                wallet: wallet.await?,
                due: jetton.due_payee,
            })
        }
    };
    Ok(Start {
        asset: shown.map_or(Asset::Coin, |shown| shown.asset()),
        balance: wallet.balance,
        wallet_lt: wallet.last_lt,
        channel_lt: account.last_lt,
        epoch: shown.map(|shown| shown.state().epoch),
        claimed: shown.map_or(Nano::ZERO, |shown| shown.state().claimed),
        jettons,
    })
}

/// Finds the contract's transaction and what the wallet got for it, and adds up what they say.
async fn follow(purse: &Purse, promised: &Voucher, start: &Start) -> Result<Claimed, SettleError> {
    let (wallet, channel, chain) = (purse.address, promised.channel, &purse.chain);
    let contract = chain
        .wait_for_transaction(&channel, start.channel_lt, CHAIN_PATIENCE, |one| {
            is_from(one, wallet).then(|| one.clone())
        })
        .await?;
    let answer = answer(purse, channel, contract.lt, start).await?;
    // Transactions are the endpoint's word. What counts is read where accounts are, once these are
    // as far as that.
    let answered = answer.as_ref().map_or(0, |answer| answer.lt);
    let reached = async || {
        let (account, own) = (
            chain.account(&channel).await?,
            chain.account(&wallet).await?,
        );
        let is_there = account.last_lt >= contract.lt && own.last_lt >= answered;
        Ok(is_there.then_some((account, own)))
    };
    let (account, own_account) = chain.wait_until(CHAIN_PATIENCE, reached).await?;
    let shown = account.payment_channel()?;
    let jettons = jetton_sums(purse, start, shown.as_ref()).await?;
    let state = shown.map(|shown| *shown.state());
    let state = state.filter(|state| state.epoch == promised.epoch);
    let claimed = state.map_or(start.claimed, |state| state.claimed);
    let increment = claimed.minus(start.claimed).unwrap_or(Nano::ZERO);
    let (wallet_fees, sent) = own_transactions(purse, start.wallet_lt).await?;
    let in_coins = match start.asset {
        Asset::Coin => increment,
        Asset::Jetton(_) => Nano::ZERO,
    };
    let returned = answer.map_or(Nano::ZERO, |answer| answer.inflow());
    let contract_fees = sent.plus(in_coins).and_then(|sum| sum.minus(returned));
    let nothing_due = jettons.is_none_or(|sums| sums.due_after == Nano::ZERO);
    // Whatever epoch the channel is in by now.
    let was_due = jettons.is_some_and(|sums| sums.due_before > Nano::ZERO);
    Ok(Claimed {
        asset: start.asset,
        increment,
        before: start.balance,
        after: own_account.balance,
        wallet_fees,
        contract_fees: contract_fees?,
        jettons,
        exit_code: exit_code(&contract),
        is_shown: nothing_due
            && (was_due || state.is_some_and(|state| state.claimed >= promised.cumulative)),
    })
}

/// What came back to the wallet: from the channel, or from the wallet's own jetton wallet once that
/// has the jettons. A payout that bounced brings nothing back.
async fn answer(
    purse: &Purse,
    channel: TonAddress,
    contract_lt: u64,
    start: &Start,
) -> Result<Option<Transaction>, SettleError> {
    let (chain, wallet) = (&purse.chain, &purse.address);
    let Some(jettons) = &start.jettons else {
        let answer = chain.wait_for_transaction(wallet, start.wallet_lt, CHAIN_PATIENCE, |one| {
            is_from(one, channel).then(|| one.clone())
        });
        return Ok(Some(answer.await?));
    };
    let look = async || {
        let latest = chain.transactions(wallet, MAX_TRANSACTIONS).await?;
        let mut own = latest.iter().rev().filter(|one| one.lt > start.wallet_lt);
        let back = own.find(|one| is_from(one, channel) || is_from(one, jettons.wallet.address));
        if let Some(back) = back {
            return Ok(Some(Some(back.clone())));
        }
        let account = chain.account(&channel).await?;
        let shown = account.payment_channel()?;
        let due = shown.and_then(|shown| shown.jetton().map(|jetton| jetton.due_payee));
        let bounced = account.last_lt > contract_lt && due.is_some_and(|due| due > Nano::ZERO);
        Ok(bounced.then_some(None))
    };
    match chain.wait_until(CHAIN_PATIENCE, look).await {
        Ok(answer) => Ok(answer),
        // A jetton wallet may keep what is left: the sums then say so.
        Err(ChainError::TimedOut(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What jettons did meanwhile; nothing of a channel in coins.
async fn jetton_sums(
    purse: &Purse,
    start: &Start,
    shown: Option<&PaymentChannel>,
) -> Result<Option<JettonSums>, SettleError> {
    let (Some(minter), Some(jettons)) = (start.asset.minter(), &start.jettons) else {
        return Ok(None);
    };
    let now = purse.chain.jetton_wallet(&minter, &purse.address).await?;
    let due = shown.and_then(PaymentChannel::jetton);
    Ok(Some(JettonSums {
        before: jettons.wallet.balance,
        after: now.balance,
        due_before: jettons.due,
        due_after: due.map_or(Nano::ZERO, |jetton| jetton.due_payee),
    }))
}

/// Fees of the wallet's transactions after a logical time, and what these sent.
async fn own_transactions(purse: &Purse, after: u64) -> Result<(Nano, Nano), SettleError> {
    let latest = purse.chain.transactions(&purse.address, MAX_TRANSACTIONS);
    let latest = latest.await?;
    let own = latest.iter().filter(|one| one.lt > after);
    let (mut fees, mut sent) = (Nano::ZERO, Nano::ZERO);
    for one in own {
        fees = fees.plus(one.all_fees()?)?;
        sent = sent.plus(one.values_sent()?)?;
    }
    Ok((fees, sent))
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
            asset: Asset::Coin,
            jettons: None,
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

    #[test]
    fn coins_and_jettons_are_added_up_apart() {
        let nano = Nano::from_u64;
        let sums = JettonSums {
            before: nano(10),
            after: nano(1_030),
            due_before: nano(20),
            due_after: Nano::ZERO,
        };
        let good = Claimed {
            asset: Asset::Jetton(crate::samples::PAYEE),
            jettons: Some(sums),
            increment: nano(1_000),
            before: nano(5_000),
            after: nano(4_700),
            wallet_fees: nano(100),
            contract_fees: nano(200),
            exit_code: 0,
            is_shown: true,
        };
        assert!(good.adds_up());
        let with = |jettons| Claimed {
            jettons: Some(jettons),
            ..good
        };
        let bounced = JettonSums {
            after: nano(10),
            due_after: nano(1_020),
            ..sums
        };
        assert!(with(bounced).adds_up());
        let lost = JettonSums {
            after: nano(1_029),
            ..sums
        };
        assert!(!with(lost).adds_up());
        let in_coins = Claimed {
            after: nano(5_700),
            ..good
        };
        assert!(!in_coins.adds_up());
    }
}
