//! A close that both sides agreed on: what the payer signed, checked against the journal and the
//! chain before the wallet sends it.
//!
//! Deliberately not here: the document's form (`contracts::close`), how it came to the provider.

use contracts::channel::{ChannelState, Standing};
use contracts::close::SignedClose;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::SignedVoucher;

use super::claim::{Asked, Claimed, pay};
use super::{MESSAGE_SECONDS, SettleError, Turn};
use crate::clock::UnixSeconds;
use crate::journal::Journal;
use crate::wallet::Purse;

/// Why a close is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseRefusal {
    /// It pays less than a voucher that the journal holds.
    #[error("it pays {total} units and a voucher for {promised} is in the journal")]
    BelowVoucher {
        /// The close's total.
        total: Nano,
        /// The highest voucher's.
        promised: Nano,
    },
    /// The channel's key is another.
    #[error("it is signed by another key than the channel's")]
    OtherKey,
    /// The channel pays another wallet.
    #[error("the channel pays another wallet")]
    OtherPayee,
    /// It is for another network.
    #[error("it is for another network")]
    OtherNetwork,
    /// More than was deposited, or less than was claimed.
    #[error("its total is outside of what was claimed and what was deposited")]
    Total,
    /// It does not hold long enough.
    #[error("it has expired, or will before it arrives")]
    Expired,
    /// The chain shows no such channel, another epoch, or a close that is over.
    #[error("the chain shows no such channel that is open")]
    Over,
}

impl CloseRefusal {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BelowVoucher { .. } => "close-below-voucher",
            Self::OtherKey => "close-other-key",
            Self::OtherPayee => "close-other-payee",
            Self::OtherNetwork => "close-other-network",
            Self::Total => "close-total",
            Self::Expired => "close-expired",
            Self::Over => "close-over",
        }
    }
}

/// Who has the channel in the journal while its close is under way.
const HOLDER: &str = "close";
/// Longer than the wallet's message can be taken and a guest's view of the chain is kept.
const LEASE_SECONDS: u64 = 180;

/// Sends a close and waits until the chain shows what became of it. Meanwhile no guest serves the
/// channel: nobody could claim what it would earn.
///
/// # Errors
/// `SettleError::Close` before anything was sent; else as for a claim.
pub async fn close(
    journal: &mut Journal,
    (purse, turn): (&Purse, &Turn),
    signed: &SignedClose,
    now: UnixSeconds,
) -> Result<Claimed, SettleError> {
    let promise = signed.promise();
    let (channel, epoch) = (&promise.channel, promise.epoch);
    let shown = purse.chain.payment_channel(channel).await?;
    let state = shown.map(|shown| *shown.state());
    let chain_time = UnixSeconds(u64::from(purse.account().await?.chain_time));
    let judge = |highest: Option<SignedVoucher>| {
        let promised = highest.map_or(Nano::ZERO, |highest| highest.voucher.cumulative);
        let own = (&purse.address, purse.network);
        judge(signed, state.as_ref(), promised, own, chain_time)
    };
    // What is refused disturbs no guest; what is not is judged again when no voucher can come.
    judge(journal.highest_voucher(channel, epoch)?)?;
    let until = now.plus(LEASE_SECONDS);
    let highest = journal.seize_lease(channel, epoch, HOLDER, (now, until))?;
    if let Err(refusal) = judge(highest) {
        journal.release_lease(channel, HOLDER)?;
        return Err(refusal.into());
    }
    let asked = Asked {
        promise: *promise,
        transfer: signed.transfer()?,
    };
    pay(journal, (purse, turn), asked, now).await
}

/// Whether the contract will take a close and the provider loses nothing by it; pure.
fn judge(
    signed: &SignedClose,
    state: Option<&ChannelState>,
    promised: Nano,
    (payee, network): (&TonAddress, NetworkId),
    now: UnixSeconds,
) -> Result<(), CloseRefusal> {
    let promise = signed.promise();
    let state = state.filter(|state| state.epoch == promise.epoch);
    let state = state.ok_or(CloseRefusal::Over)?;
    let open = match state.standing {
        Standing::Open => true,
        Standing::Closing { until } => u64::from(until) > now.0,
        Standing::Closed => false,
    };
    let range = state.claimed..=state.deposited;
    let refused = [
        (!open, CloseRefusal::Over),
        (state.terms.payee != *payee, CloseRefusal::OtherPayee),
        (promise.network != network, CloseRefusal::OtherNetwork),
        (
            signed.payer_key() != state.terms.payer_key,
            CloseRefusal::OtherKey,
        ),
        (!range.contains(&promise.cumulative), CloseRefusal::Total),
        (
            u64::from(promise.valid_until) < now.plus(MESSAGE_SECONDS).0,
            CloseRefusal::Expired,
        ),
        (
            promise.cumulative < promised,
            CloseRefusal::BelowVoucher {
                total: promise.cumulative,
                promised,
            },
        ),
    ];
    match refused.into_iter().find(|(is_so, _)| *is_so) {
        Some((_, refusal)) => Err(refusal),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, NETWORK, PAYEE};
    use contracts::close::Close;
    use ed25519_dalek::SigningKey;

    const NOW: UnixSeconds = UnixSeconds(10_000);

    fn signed(total: u128) -> SignedClose {
        Close(samples::voucher(total).voucher)
            .sign(&samples::key())
            .unwrap()
    }

    fn judged(signed: &SignedClose, state: &ChannelState, promised: u64) -> &'static str {
        let promised = Nano::from_u64(promised);
        let judged = judge(signed, Some(state), promised, (&PAYEE, NETWORK), NOW);
        judged.map_or_else(CloseRefusal::code, |()| "sent")
    }

    #[test]
    fn sends_what_pays_at_least_every_voucher_and_is_within_the_deposit() {
        let mut state = samples::channel_state();
        state.deposited = Nano::from_u64(2_000);
        state.claimed = Nano::from_u64(400);
        for (total, promised, expected) in [
            (1_000, 1_000, "sent"),
            (1_000, 999, "sent"),
            (1_000, 1_001, "close-below-voucher"),
            (400, 0, "sent"),
            (399, 0, "close-total"),
            (2_000, 0, "sent"),
            (2_001, 0, "close-total"),
        ] {
            assert_eq!(
                judged(&signed(total), &state, promised),
                expected,
                "{total}"
            );
        }
    }

    #[test]
    fn sends_nothing_that_the_contract_would_refuse() {
        let good = samples::channel_state();
        let with = |change: fn(&mut ChannelState)| {
            let mut state = good;
            change(&mut state);
            judged(&signed(1_000), &state, 0)
        };
        assert_eq!(with(|_| ()), "sent");
        assert_eq!(with(|s| s.epoch += 1), "close-over");
        assert_eq!(with(|s| s.standing = Standing::Closed), "close-over");
        let closing = |until| Standing::Closing { until };
        let mut state = good;
        state.standing = closing(10_000);
        assert_eq!(judged(&signed(1_000), &state, 0), "close-over");
        state.standing = closing(10_001);
        assert_eq!(judged(&signed(1_000), &state, 0), "sent");
        assert_eq!(
            with(|s| s.terms.payee = samples::CHANNEL),
            "close-other-payee"
        );
        let other = Close(samples::voucher(1_000).voucher).sign(&SigningKey::from_bytes(&[9; 32]));
        assert_eq!(judged(&other.unwrap(), &good, 0), "close-other-key");
        for (until, expected) in [(10_059, "close-expired"), (10_060, "sent")] {
            let voucher = samples::voucher_until(1_000, until).voucher;
            let close = Close(voucher).sign(&samples::key()).unwrap();
            assert_eq!(judged(&close, &good, 0), expected);
        }
        let elsewhere = NetworkId(NETWORK.0 + 1);
        let refused = judge(
            &signed(1_000),
            Some(&good),
            Nano::ZERO,
            (&PAYEE, elsewhere),
            NOW,
        );
        assert_eq!(refused, Err(CloseRefusal::OtherNetwork));
        let refused = judge(&signed(1_000), None, Nano::ZERO, (&PAYEE, NETWORK), NOW);
        assert_eq!(refused, Err(CloseRefusal::Over));
    }
}
