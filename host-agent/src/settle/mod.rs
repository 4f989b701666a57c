//! Claiming: the highest voucher of each payment channel, sent once it is worth its fee, counted as
//! paid only when the chain shows it.
//!
//! Running it again is harmless: what the chain shows as claimed is not sent again, and the
//! contract pays a total once. Deliberately not here: a schedule; whether
//! what the chain shows is proven or believed (`contracts::chain`).

use contracts::CellError;
use contracts::asset::{Asset, PaymentChannel};
use contracts::channel::{ChannelState, Standing};
use contracts::toncenter::ChainError;
use protocol::nano::{AmountOverflow, Nano};
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::SignedVoucher;

use crate::clock::UnixSeconds;
use crate::journal::{Journal, JournalError};
use crate::wallet::{Purse, WalletError};

mod claim;
mod close;
mod due;
pub mod export;
mod position;
mod turn;

pub use claim::{Claimed, JettonSums, claim, resend};
pub use close::{CloseRefusal, close};
pub use due::{Demands, PriceError, Priced, Threshold};
pub use position::Position;
pub use turn::Turn;

/// A voucher must hold so many seconds longer than now, for the message to arrive.
const MESSAGE_SECONDS: u64 = 60;

/// Settling failed.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The journal failed.
    #[error("the journal failed")]
    Journal(#[from] JournalError),
    /// The wallet failed.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The chain failed.
    #[error("the chain failed ({})", .0.code())]
    Chain(#[from] ChainError),
    /// A message could not be made.
    #[error("cannot make the claim")]
    Cell(#[from] CellError),
    /// A close is not sent.
    #[error("the close is not sent")]
    Close(#[from] CloseRefusal),
    /// Another agent settles with this wallet, or did since.
    #[error("another agent settles with this wallet")]
    Elsewhere,
    /// Amounts that the chain shows do not add up.
    #[error("amounts that the chain shows are out of range")]
    Amount(#[from] AmountOverflow),
}

impl SettleError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Journal(_) => "settle-journal",
            Self::Wallet(WalletError::Chain(error)) | Self::Chain(error) => error.code(),
            Self::Wallet(WalletError::TooLittle { .. }) => "settle-wallet-too-little",
            Self::Wallet(WalletError::Contended { .. }) => "settle-wallet-contended",
            Self::Wallet(_) => "settle-wallet",
            Self::Cell(_) => "settle-message",
            Self::Close(refusal) => refusal.code(),
            Self::Elsewhere => "settle-elsewhere",
            Self::Amount(_) => "settle-amounts",
        }
    }
}

/// Which vouchers are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// Those that are due.
    Due(Threshold),
    /// All that change anything on the chain, even if only the receipts root.
    Anything,
    /// Also those that the contract will refuse, to show that it does.
    Again,
}

/// What can be done with a payment channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// Sending this voucher pays this increment.
    Claim(SignedVoucher, Nano),
    /// The chain shows it as paid already.
    Paid,
    /// Not worth the fee yet: this much is open.
    Small(Nano),
    /// No voucher holds long enough.
    Expired,
    /// The chain shows no such channel any more, or a later epoch, or its close is over.
    Over,
    /// The channel pays another wallet.
    OtherPayee,
    /// The voucher is for another network.
    OtherNetwork,
    /// The voucher exceeds the deposit.
    Overdraw,
    /// So many jettons bounced on their way here and are due since; nothing else can be claimed.
    Due(Nano),
}

impl Prospect {
    /// The stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Claim(..) => "claimable",
            Self::Paid => "paid",
            Self::Small(_) => "small",
            Self::Expired => "expired",
            Self::Over => "over",
            Self::OtherPayee => "other-payee",
            Self::OtherNetwork => "other-network",
            Self::Overdraw => "overdraw",
            Self::Due(_) => "due",
        }
    }
}

/// Judges one payment channel; pure.
#[must_use]
pub fn prospect(
    state: Option<&ChannelState>,
    epoch: u32,
    voucher: Option<&SignedVoucher>,
    payee: &TonAddress,
    network: NetworkId,
    worth: Worth,
    now: UnixSeconds,
) -> Prospect {
    let Some(state) = state.filter(|state| state.epoch == epoch) else {
        return Prospect::Over;
    };
    match state.standing {
        Standing::Closed => return Prospect::Over,
        Standing::Closing { until } if u64::from(until) <= now.0 => return Prospect::Over,
        Standing::Closing { .. } | Standing::Open => {}
    }
    if state.terms.payee != *payee {
        return Prospect::OtherPayee;
    }
    let Some(signed) = voucher else {
        return Prospect::Expired;
    };
    let promised = &signed.voucher;
    if promised.network != network {
        return Prospect::OtherNetwork;
    }
    if promised.cumulative > state.deposited {
        return Prospect::Overdraw;
    }
    let increment = promised.cumulative.minus(state.claimed);
    let nothing_new = match increment {
        Err(AmountOverflow) => true,
        Ok(increment) => increment == Nano::ZERO && promised.receipts_root == state.last_root,
    };
    let increment = increment.unwrap_or(Nano::ZERO);
    match worth {
        Worth::Again => Prospect::Claim(*signed, increment),
        Worth::Due(_) | Worth::Anything if nothing_new => Prospect::Paid,
        Worth::Due(threshold)
            if increment < threshold.least(state.standing, promised.valid_until, now) =>
        {
            Prospect::Small(increment)
        }
        Worth::Due(_) | Worth::Anything => Prospect::Claim(*signed, increment),
    }
}

/// Looks at every payment channel of the journal; `worth` judges by what a channel pays in.
///
/// # Errors
/// [`SettleError`].
pub async fn positions(
    journal: &Journal,
    purse: &Purse,
    worth: impl Fn(Asset) -> Worth,
) -> Result<Vec<Position>, SettleError> {
    let now = UnixSeconds(u64::from(purse.account().await?.chain_time));
    let mut found = Vec::new();
    for (channel, epoch) in journal.channels()? {
        let shown = match purse.chain.payment_channel(&channel).await {
            Ok(shown) => shown,
            Err(ChainError::OtherCode) => None,
            Err(error) => return Err(error.into()),
        };
        let lasting = now.plus(MESSAGE_SECONDS);
        let voucher = journal.highest_valid_voucher(&channel, epoch, lasting)?;
        let highest = journal.highest_voucher(&channel, epoch)?;
        let state = shown.as_ref().map(PaymentChannel::state);
        let asset = shown.map(|shown| shown.asset());
        let prospect = prospect(
            state,
            epoch,
            voucher.as_ref(),
            &purse.address,
            purse.network,
            worth(asset.unwrap_or(Asset::Coin)),
            now,
        );
        let due = shown
            .as_ref()
            .map_or(Nano::ZERO, |shown| due(shown, &purse.address));
        found.push(Position {
            channel,
            epoch,
            asset,
            promised: highest.map_or(Nano::ZERO, |highest| highest.voucher.cumulative),
            claimed: state
                .filter(|state| state.epoch == epoch)
                .map(|state| state.claimed),
            due,
            // A claim brings along what is due.
            prospect: if due == Nano::ZERO || matches!(prospect, Prospect::Claim(..)) {
                prospect
            } else {
                Prospect::Due(due)
            },
        });
    }
    Ok(found)
}

/// What bounced on its way to this payee; whatever became of the epoch, it stays due.
fn due(shown: &PaymentChannel, payee: &TonAddress) -> Nano {
    match shown.jetton() {
        Some(jetton) if jetton.channel.terms.payee == *payee => jetton.due_payee,
        Some(_) | None => Nano::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, EPOCH, NETWORK, PAYEE};
    use protocol::digest::ReceiptsRoot;

    const NOW: UnixSeconds = UnixSeconds(10_000);

    /// Due from so much on, at any time.
    fn due(least: u64) -> Worth {
        Worth::Due(Threshold {
            minimum: nano(least),
            fee: nano(1),
            margin: 3_600,
        })
    }

    fn judge(state: &ChannelState, voucher: Option<&SignedVoucher>, worth: Worth) -> Prospect {
        prospect(Some(state), EPOCH, voucher, &PAYEE, NETWORK, worth, NOW)
    }

    fn nano(units: u64) -> Nano {
        Nano::from_u64(units)
    }

    #[test]
    fn claims_what_is_open_and_nothing_that_the_chain_shows_as_paid() {
        let voucher = samples::voucher(1_000);
        let mut state = samples::channel_state();
        state.claimed = nano(400);
        let worth = due(600);
        let expected = Prospect::Claim(voucher, nano(600));
        assert_eq!(judge(&state, Some(&voucher), worth), expected);
        for claimed in [1_000, 1_001] {
            state.claimed = nano(claimed);
            for worth in [worth, Worth::Anything] {
                assert_eq!(judge(&state, Some(&voucher), worth), Prospect::Paid);
            }
        }
    }

    #[test]
    fn leaves_alone_what_is_not_worth_its_fee_unless_told_to() {
        let voucher = samples::voucher(1_000);
        let state = samples::channel_state();
        let small = judge(&state, Some(&voucher), due(1_001));
        assert_eq!(small, Prospect::Small(nano(1_000)));
        let all = judge(&state, Some(&voucher), Worth::Anything);
        assert_eq!(all, Prospect::Claim(voucher, nano(1_000)));
    }

    #[test]
    fn anchors_another_root_of_the_same_total_only_when_told_to() {
        let voucher = samples::voucher_with_root(1_000, 1);
        let mut state = samples::channel_state();
        state.claimed = nano(1_000);
        let small = judge(&state, Some(&voucher), due(1));
        assert_eq!(small, Prospect::Small(Nano::ZERO));
        let all = judge(&state, Some(&voucher), Worth::Anything);
        assert_eq!(all, Prospect::Claim(voucher, Nano::ZERO));
        state.last_root = voucher.voucher.receipts_root;
        assert_eq!(
            judge(&state, Some(&voucher), Worth::Anything),
            Prospect::Paid
        );
        assert_ne!(state.last_root, ReceiptsRoot::ZERO);
    }

    #[test]
    fn sends_nothing_that_the_contract_would_refuse() {
        let voucher = samples::voucher(1_000);
        let good = samples::channel_state();
        let judge = |state: &ChannelState| judge(state, Some(&voucher), Worth::Anything);
        let with = |change: fn(&mut ChannelState)| {
            let mut state = good;
            change(&mut state);
            state
        };
        assert_eq!(judge(&with(|s| s.epoch += 1)), Prospect::Over);
        assert_eq!(
            judge(&with(|s| s.standing = Standing::Closed)),
            Prospect::Over
        );
        let over = with(|s| s.standing = Standing::Closing { until: 10_000 });
        assert_eq!(judge(&over), Prospect::Over);
        let window = with(|s| s.standing = Standing::Closing { until: 10_001 });
        assert_eq!(judge(&window), Prospect::Claim(voucher, nano(1_000)));
        let other = with(|s| s.terms.payee = samples::CHANNEL);
        assert_eq!(judge(&other), Prospect::OtherPayee);
        let shallow = with(|s| s.deposited = Nano::from_u64(999));
        assert_eq!(judge(&shallow), Prospect::Overdraw);
    }

    #[test]
    fn claims_little_when_the_channel_closes_or_the_voucher_is_about_to_expire() {
        let mut state = samples::channel_state();
        let voucher = samples::voucher(1_000);
        let claimable = Prospect::Claim(voucher, nano(1_000));
        state.standing = Standing::Closing { until: 20_000 };
        assert_eq!(judge(&state, Some(&voucher), due(1_001)), claimable);
        state.standing = Standing::Open;
        let expiring = samples::voucher_until(1_000, 13_599);
        let claimable = Prospect::Claim(expiring, nano(1_000));
        assert_eq!(judge(&state, Some(&expiring), due(1_001)), claimable);
        let later = samples::voucher_until(1_000, 13_600);
        let small = Prospect::Small(nano(1_000));
        assert_eq!(judge(&state, Some(&later), due(1_001)), small);
    }

    #[test]
    fn a_payment_that_a_reorganisation_took_back_is_claimed_again() {
        let voucher = samples::voucher(1_000);
        let mut state = samples::channel_state();
        state.claimed = nano(1_000);
        assert_eq!(judge(&state, Some(&voucher), due(1)), Prospect::Paid);
        state.claimed = nano(400);
        let again = Prospect::Claim(voucher, nano(600));
        assert_eq!(judge(&state, Some(&voucher), due(1)), again);
    }

    #[test]
    fn an_expired_voucher_and_one_for_another_network_are_told_apart() {
        let state = samples::channel_state();
        assert_eq!(judge(&state, None, Worth::Anything), Prospect::Expired);
        let voucher = samples::voucher(1_000);
        let elsewhere = prospect(
            Some(&state),
            EPOCH,
            Some(&voucher),
            &PAYEE,
            NetworkId(NETWORK.0 + 1),
            Worth::Anything,
            NOW,
        );
        assert_eq!(elsewhere, Prospect::OtherNetwork);
    }
}
