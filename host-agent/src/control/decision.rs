//! Whether to go on serving a payment channel: one pure function over what the chain shows, what
//! the journal holds and what the guest asks.
//!
//! The guest's word counts for nothing here: signature, network, payer key and epoch are checked
//! again. Deliberately not here: reading the chain (`channels`) and storing (`journal`).

use contracts::asset::{Asset, PaymentChannel};
use contracts::channel::{ChannelState, Standing};
use messages::host_control::{StopReason, VoucherDecision};
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::SignedVoucher;

use crate::clock::UnixSeconds;

/// On what terms this provider serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The network of the launch configuration.
    pub network: NetworkId,
    /// The payee of the launch configuration.
    pub payee: TonAddress,
    /// What the launch configuration is paid in: its prices are in units of it.
    pub asset: Asset,
    /// A voucher must hold at least so many seconds longer: time in which to claim it.
    pub minimum_validity: u32,
    /// A payer who leaves must leave at least so many seconds for the last claim.
    pub minimum_window: u32,
}

/// What the chain shows of a payment channel.
#[derive(Debug, Clone, Copy)]
pub enum ChainView<'a> {
    /// The chain could not be read.
    Unreadable,
    /// Nothing of this project lives at the address.
    Absent,
    /// The contract's state.
    Channel(&'a PaymentChannel),
}

/// A voucher that is worth a look at the chain: signed, and for this provider's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WellFormed(SignedVoucher);

impl WellFormed {
    /// Checks network and signature; nothing when one does not hold.
    #[must_use]
    pub fn of(terms: &Terms, question: &SignedVoucher) -> Option<Self> {
        let good = question.voucher.network == terms.network && question.verify().is_ok();
        good.then_some(Self(*question))
    }

    /// The voucher.
    #[must_use]
    pub const fn signed(&self) -> &SignedVoucher {
        &self.0
    }
}

/// Answers one voucher, but for the lease of its channel to one guest.
///
/// `known` is the highest voucher of the question's channel and epoch that the journal holds.
#[must_use]
pub fn decide(
    terms: &Terms,
    view: &ChainView<'_>,
    known: Option<&SignedVoucher>,
    WellFormed(question): &WellFormed,
    now: UnixSeconds,
) -> VoucherDecision {
    let channel = match view {
        ChainView::Unreadable => return stop(StopReason::ChainUnreadable),
        ChainView::Absent => return stop(StopReason::UnknownChannel),
        ChainView::Channel(channel) => *channel,
    };
    // Whoever mints a jetton of its own has as much of it as it likes.
    if channel.asset() != terms.asset {
        return stop(StopReason::UnknownChannel);
    }
    let channel = channel.state();
    if let Some(reason) = refusal(terms, channel, question, now) {
        return stop(reason);
    }
    let total = question.voucher.cumulative;
    let below_known = known.filter(|known| known.voucher.cumulative > total);
    if below_known.is_some() || channel.claimed > total {
        let highest = below_known.or(known).copied().map(Box::new);
        return VoucherDecision::Stop(StopReason::Outdated, highest);
    }
    VoucherDecision::Continue
}

fn refusal(
    terms: &Terms,
    channel: &ChannelState,
    question: &SignedVoucher,
    now: UnixSeconds,
) -> Option<StopReason> {
    if channel.terms.payee != terms.payee {
        return Some(StopReason::UnknownChannel);
    }
    let voucher = &question.voucher;
    if channel.terms.payer_key != question.payer_key || channel.epoch != voucher.epoch {
        return Some(StopReason::ForeignVoucher);
    }
    match channel.standing {
        Standing::Closed | Standing::Closing { .. } => return Some(StopReason::Closing),
        // Whose close leaves no time for a claim may as well be closing.
        Standing::Open if channel.terms.window < terms.minimum_window => {
            return Some(StopReason::Closing);
        }
        Standing::Open => {}
    }
    if voucher.cumulative > channel.deposited {
        return Some(StopReason::DepositExceeded);
    }
    let until = now.plus(u64::from(terms.minimum_validity));
    if u64::from(voucher.valid_until) < until.0 {
        return Some(StopReason::ExpiresTooSoon);
    }
    None
}

const fn stop(reason: StopReason) -> VoucherDecision {
    VoucherDecision::Stop(reason, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, TERMS};
    use protocol::digest::{PayerKey, Signature};
    use protocol::nano::Nano;

    const NOW: UnixSeconds = UnixSeconds(10_000);

    struct Case {
        state: ChannelState,
        known: Option<SignedVoucher>,
        question: SignedVoucher,
    }

    fn good() -> Case {
        Case {
            state: samples::channel_state(),
            known: Some(samples::voucher(100)),
            question: samples::voucher(150),
        }
    }

    fn answer(case: &Case) -> VoucherDecision {
        let view = PaymentChannel::from(case.state);
        let view = ChainView::Channel(&view);
        let known = case.known.as_ref();
        let Some(question) = WellFormed::of(&TERMS, &case.question) else {
            return stop(StopReason::ForeignVoucher);
        };
        decide(&TERMS, &view, known, &question, NOW)
    }

    fn refused(change: impl FnOnce(&mut Case)) -> Option<StopReason> {
        let mut case = good();
        assert_eq!(answer(&case), VoucherDecision::Continue);
        change(&mut case);
        match answer(&case) {
            VoucherDecision::Continue => None,
            VoucherDecision::Stop(reason, _) => Some(reason),
        }
    }

    #[test]
    fn goes_on_with_a_higher_an_equal_and_a_first_voucher() {
        assert_eq!(refused(|case| case.known = None), None);
        assert_eq!(refused(|case| case.question = samples::voucher(100)), None);
        let nothing_yet = |case: &mut Case| {
            case.known = None;
            case.question = samples::voucher(0);
        };
        assert_eq!(refused(nothing_yet), None);
    }

    #[test]
    fn stops_when_the_chain_shows_nothing() {
        let question = WellFormed::of(&TERMS, &samples::voucher(150)).unwrap();
        let ask = |view| decide(&TERMS, &view, None, &question, NOW);
        assert_eq!(
            ask(ChainView::Unreadable),
            stop(StopReason::ChainUnreadable)
        );
        assert_eq!(ask(ChainView::Absent), stop(StopReason::UnknownChannel));
    }

    #[test]
    fn stops_a_channel_that_pays_someone_else() {
        let reason = refused(|case| case.state.terms.payee = samples::CHANNEL);
        assert_eq!(reason, Some(StopReason::UnknownChannel));
    }

    #[test]
    fn stops_a_channel_that_pays_in_something_else() {
        let minter = samples::CHANNEL;
        let jetton = PaymentChannel::Jetton(samples::jetton_channel_state(minter));
        let coin = PaymentChannel::from(samples::channel_state());
        let question = WellFormed::of(&TERMS, &samples::voucher(150)).unwrap();
        let of = |asset| Terms { asset, ..TERMS };
        let ask =
            |terms: Terms, view| decide(&terms, &ChainView::Channel(view), None, &question, NOW);
        let other = stop(StopReason::UnknownChannel);
        assert_eq!(ask(of(Asset::Coin), &jetton), other);
        assert_eq!(ask(of(Asset::Jetton(minter)), &coin), other);
        assert_eq!(ask(of(Asset::Jetton(samples::PAYEE)), &jetton), other);
        let same = ask(of(Asset::Jetton(minter)), &jetton);
        assert_eq!(same, VoucherDecision::Continue);
    }

    #[test]
    fn stops_a_voucher_of_another_key_epoch_network_or_signature() {
        let foreign = Some(StopReason::ForeignVoucher);
        assert_eq!(
            refused(|case| case.state.terms.payer_key = PayerKey([1; 32])),
            foreign
        );
        assert_eq!(refused(|case| case.state.epoch += 1), foreign);
        let other_network = |case: &mut Case| {
            let mut voucher = case.question.voucher;
            voucher.network.0 += 1;
            case.question = voucher.sign(&samples::key());
        };
        assert_eq!(refused(other_network), foreign);
        assert_eq!(
            refused(|case| case.question.signature = Signature([0; 64])),
            foreign
        );
        assert_eq!(
            refused(|case| case.question.voucher.cumulative = Nano::from_u64(151)),
            foreign
        );
    }

    #[test]
    fn stops_above_the_deposit_and_not_at_it() {
        let deposited = samples::channel_state().deposited.units();
        let at = refused(|case| case.question = samples::voucher(deposited));
        assert_eq!(at, None);
        let above = refused(|case| case.question = samples::voucher(deposited + 1));
        assert_eq!(above, Some(StopReason::DepositExceeded));
    }

    #[test]
    fn stops_a_channel_that_is_closing_closed_or_closes_too_fast() {
        for standing in [Standing::Closed, Standing::Closing { until: 99_999 }] {
            let reason = refused(|case| case.state.standing = standing);
            assert_eq!(reason, Some(StopReason::Closing));
        }
        let fast = refused(|case| case.state.terms.window = TERMS.minimum_window - 1);
        assert_eq!(fast, Some(StopReason::Closing));
    }

    #[test]
    fn stops_a_voucher_that_leaves_no_time_to_claim() {
        let last = 10_000 + TERMS.minimum_validity;
        let enough = refused(|case| case.question = samples::voucher_until(150, last));
        assert_eq!(enough, None);
        let short = refused(|case| case.question = samples::voucher_until(150, last - 1));
        assert_eq!(short, Some(StopReason::ExpiresTooSoon));
    }

    #[test]
    fn shows_the_highest_voucher_to_who_comes_with_a_lower_one() {
        let mut case = good();
        case.question = samples::voucher(99);
        let highest = Some(Box::new(samples::voucher(100)));
        let expected = VoucherDecision::Stop(StopReason::Outdated, highest);
        assert_eq!(answer(&case), expected);
    }

    #[test]
    fn stops_below_what_the_chain_paid_even_with_an_empty_journal() {
        let reason = refused(|case| {
            case.known = None;
            case.state.claimed = Nano::from_u64(151);
        });
        assert_eq!(reason, Some(StopReason::Outdated));
    }
}
