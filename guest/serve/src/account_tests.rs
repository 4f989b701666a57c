//! What an account promises, over random orders of deliveries, vouchers and ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    streams: 8,
    context_tokens: 2048,
    increment_tokens: 4,
};
const PRICES: TokenPrices = TokenPrices {
    prompt: 3,
    cached: 1,
    completion: 10,
};

fn nano(units: u128) -> Nano {
    Nano::new(units).unwrap()
}

fn computed(tokens: u32) -> PromptTokens {
    PromptTokens {
        computed: tokens,
        cached: 0,
    }
}

fn started(base: u128) -> (Account, StreamId) {
    let mut account = Account::new(nano(base), &LIMITS);
    let id = account.open(PRICES);
    account.deliver_prompt(id, computed(5)).unwrap();
    account.announce(id);
    (account, id)
}

#[test]
fn no_token_is_granted_or_delivered_before_the_prompt_is_acknowledged() {
    let (mut account, id) = started(100);
    assert!(account.waits(id));
    assert_eq!(account.grant(id), 0);
    assert_eq!(
        account.deliver_token(id),
        Err(DeliveryRefused::Unacknowledged)
    );
    account.acknowledge(nano(114)).unwrap();
    assert!(account.waits(id), "one nano unit is missing");
    account.acknowledge(nano(115)).unwrap();
    assert_eq!(account.grant(id), 4);
    assert_eq!(account.grant(id), 0, "a grant is given once");
}

#[test]
fn tokens_from_before_have_their_own_price_and_are_acknowledged_like_the_others() {
    let mut account = Account::new(Nano::ZERO, &LIMITS);
    let id = account.open(PRICES);
    let (computed, cached) = (5, 64);
    account
        .deliver_prompt(id, PromptTokens { computed, cached })
        .unwrap();
    let (tokens, charged) = account.announce(id).unwrap();
    assert_eq!((tokens.prompt, tokens.cached), (5, 64));
    assert_eq!(charged, nano(5 * 3 + 64));
    account.acknowledge(nano(78)).unwrap();
    assert!(account.waits(id), "one nano unit is missing");
    account.acknowledge(nano(79)).unwrap();
    assert!(!account.waits(id));
}

#[test]
fn a_stream_pauses_after_one_increment_and_goes_on_after_the_voucher() {
    let (mut account, id) = started(0);
    account.acknowledge(nano(15)).unwrap();
    for _ in 0..4 {
        account.deliver_token(id).unwrap();
    }
    assert!(account.increment_full(id) && account.waits(id));
    assert_eq!(
        account.deliver_token(id),
        Err(DeliveryRefused::Unacknowledged)
    );
    let (tokens, charged) = account.announce(id).unwrap();
    assert_eq!((tokens.completion, charged), (4, nano(55)));
    account.acknowledge(nano(55)).unwrap();
    assert!(account.settled(id));
    account.grant(id);
    assert_eq!(account.deliver_token(id), Ok(()));
}

#[test]
fn a_lower_voucher_and_one_above_what_was_delivered_change_nothing() {
    let (mut account, id) = started(50);
    account.acknowledge(nano(60)).unwrap();
    assert_eq!(account.acknowledge(nano(59)), Err(TotalRefused::Outdated));
    assert_eq!(
        account.acknowledge(nano(66)),
        Err(TotalRefused::AboveDelivered)
    );
    assert_eq!(account.acknowledged(), nano(60));
    assert_eq!(account.unacknowledged(id), nano(5));
}

#[test]
fn the_tail_of_a_cut_stream_is_asked_from_nobody_and_may_still_be_paid() {
    let (mut account, cut) = started(0);
    account.acknowledge(nano(15)).unwrap();
    account.deliver_token(cut).unwrap();
    account.end(cut);
    let next = account.open(PRICES);
    account.deliver_prompt(next, computed(5)).unwrap();
    account.announce(next);
    account.acknowledge(nano(30)).unwrap();
    assert!(
        !account.waits(next),
        "the next prompt is paid, the tail is not in its way"
    );
    assert_eq!(
        account.acknowledge(nano(40)),
        Ok(()),
        "a late acknowledgement is welcome"
    );
}

#[test]
fn a_stalled_stream_does_not_hold_up_the_acknowledgement_of_what_was_told_before() {
    let mut account = Account::new(Nano::ZERO, &LIMITS);
    let (one, two) = (account.open(PRICES), account.open(PRICES));
    for id in [one, two] {
        account.deliver_prompt(id, computed(1)).unwrap();
        account.announce(id);
    }
    account.acknowledge(nano(3)).unwrap();
    assert!(!account.waits(one) && account.waits(two));
    account.acknowledge(nano(6)).unwrap();
    assert!(!account.waits(two));
}

#[test]
fn a_higher_total_from_another_machine_is_taken_between_streams_only() {
    let (mut account, id) = started(100);
    assert_eq!(
        account.bring(nano(116)),
        Err(TotalRefused::AboveDelivered),
        "a stream is live"
    );
    account.end(id);
    assert_eq!(
        account.acknowledge(nano(116)),
        Err(TotalRefused::AboveDelivered)
    );
    account.bring(nano(500)).unwrap();
    assert_eq!(account.bring(nano(499)), Err(TotalRefused::Outdated));
    let next = account.open(PRICES);
    account.deliver_prompt(next, computed(5)).unwrap();
    account.announce(next);
    account.acknowledge(nano(515)).unwrap();
    assert!(!account.waits(next) && account.settled(next));
}

#[test]
fn a_halted_stream_delivers_nothing_and_is_paid_by_no_later_voucher() {
    let (mut account, halted) = started(0);
    account.acknowledge(nano(15)).unwrap();
    account.deliver_token(halted).unwrap();
    account.halt();
    assert_eq!(account.live(), 0);
    assert_eq!(account.grant(halted), 0);
    assert_eq!(account.deliver_token(halted), Err(DeliveryRefused::Unknown));
    assert!(account.settled(halted), "nobody waits for it");
    // Its receipt still says what was delivered.
    let (tokens, charged) = account.announce(halted).unwrap();
    assert_eq!((tokens.completion, charged), (1, nano(25)));
    account.bring(nano(25)).unwrap();
    assert_eq!(account.unacknowledged(halted), nano(10));
    let next = account.open(PRICES);
    account.deliver_prompt(next, computed(5)).unwrap();
    account.announce(next);
    account.acknowledge(nano(40)).unwrap();
    assert!(!account.waits(next));
}

#[test]
fn free_tokens_wait_for_nobody() {
    let mut account = Account::new(Nano::ZERO, &LIMITS);
    let id = account.open(TokenPrices {
        prompt: 0,
        cached: 0,
        completion: 0,
    });
    account.deliver_prompt(id, computed(7)).unwrap();
    for _ in 0..20 {
        assert!(!account.waits(id));
        account.deliver_token(id).unwrap();
    }
}

/// One step of a provider, an engine and a client that owe each other nothing.
#[derive(Debug, Clone)]
enum Step {
    Open,
    Prompt(usize, PromptTokens),
    Token(usize),
    Announce(usize),
    /// A voucher whose total stands so many thousandths of the way from what was acknowledged to
    /// what was delivered; above 1000 it promises too much.
    Voucher(u32),
    Lower(u32),
    End(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Open),
        4 => (0..6usize, 0..40u32, 0..40u32).prop_map(|(at, computed, cached)| {
            Step::Prompt(at, PromptTokens { computed, cached })
        }),
        12 => (0..6usize).prop_map(Step::Token),
        4 => (0..6usize).prop_map(Step::Announce),
        6 => (0..1100u32).prop_map(Step::Voucher),
        1 => (1..50u32).prop_map(Step::Lower),
        2 => (0..6usize).prop_map(Step::End),
    ]
}

fn price() -> impl Strategy<Value = TokenPrices> {
    (0..20u64, 0..20u64, 0..20u64).prop_map(|(prompt, cached, completion)| TokenPrices {
        prompt,
        cached,
        completion,
    })
}

/// What an outsider counts: streams with their true deliveries, and the sum of everything.
struct Model {
    account: Account,
    streams: Vec<(StreamId, TokenPrices, TokenCounts)>,
    base: u128,
    ended: u128,
}

impl Model {
    fn delivered(&self) -> u128 {
        let live: u128 = self
            .streams
            .iter()
            .map(|(_, prices, tokens)| prices.cost(tokens).unwrap().units())
            .sum();
        self.base + self.ended + live
    }

    fn take(&mut self, step: &Step, prices: TokenPrices) {
        let at =
            |at: usize, model: &Self| (!model.streams.is_empty()).then(|| at % model.streams.len());
        match step {
            Step::Open => {
                if self.streams.len() < 6 {
                    let id = self.account.open(prices);
                    self.streams.push((id, prices, TokenCounts::default()));
                }
            }
            Step::Prompt(index, tokens) => {
                if let Some(index) = at(*index, self)
                    && self
                        .account
                        .deliver_prompt(self.streams[index].0, *tokens)
                        .is_ok()
                {
                    self.streams[index].2.prompt = tokens.computed;
                    self.streams[index].2.cached = tokens.cached;
                }
            }
            Step::Token(index) => {
                if let Some(index) = at(*index, self)
                    && self.account.deliver_token(self.streams[index].0).is_ok()
                {
                    self.streams[index].2.completion += 1;
                }
            }
            Step::Announce(index) => {
                if let Some(index) = at(*index, self) {
                    self.account.announce(self.streams[index].0);
                }
            }
            Step::Voucher(thousandths) => self.voucher(*thousandths),
            Step::Lower(by) => {
                let acknowledged = self.account.acknowledged().units();
                if let Some(total) = acknowledged.checked_sub(u128::from(*by)) {
                    let refused = self.account.acknowledge(nano(total));
                    assert_eq!(refused, Err(TotalRefused::Outdated));
                }
            }
            Step::End(index) => {
                if let Some(index) = at(*index, self) {
                    let (id, prices, tokens) = self.streams.remove(index);
                    self.account.end(id);
                    self.ended += prices.cost(&tokens).unwrap().units();
                }
            }
        }
    }

    fn voucher(&mut self, thousandths: u32) {
        let acknowledged = self.account.acknowledged().units();
        let open = self.delivered() - acknowledged;
        let total = acknowledged + open * u128::from(thousandths) / 1000;
        let taken = self.account.acknowledge(nano(total));
        assert_eq!(taken.is_ok(), total <= self.delivered());
    }

    fn holds(&self) {
        assert_eq!(self.account.delivered().units(), self.delivered());
        // The client never owes for what was not delivered.
        assert!(self.account.acknowledged() <= self.account.delivered());
        let mut ahead = 0;
        for (id, prices, tokens) in &self.streams {
            let increment = u128::from(prices.completion) * u128::from(LIMITS.increment_tokens);
            let prompt = u128::from(prices.prompt) * u128::from(tokens.prompt)
                + u128::from(prices.cached) * u128::from(tokens.cached);
            let unacknowledged = self.account.unacknowledged(*id).units();
            // No live stream is ahead by more than one increment: a chunk of prompt, or tokens.
            let bound = if tokens.completion == 0 {
                prompt
            } else {
                increment
            };
            assert!(unacknowledged <= bound, "{unacknowledged} above {bound}");
            ahead += unacknowledged;
        }
        // What was signed is attributed to no more than what is open.
        let open = self.account.delivered().units() - self.account.acknowledged().units();
        assert!(ahead <= open);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_two_promises_hold_in_every_order(
        base in 0..1000u128,
        prices in price(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let account = Account::new(nano(base), &LIMITS);
        let mut model = Model { account, streams: Vec::new(), base, ended: 0 };
        for step in &steps {
            model.take(step, prices);
            model.holds();
        }
    }

    #[test]
    fn a_client_that_acknowledges_all_it_was_told_is_never_kept_waiting(
        prices in price(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let account = Account::new(Nano::ZERO, &LIMITS);
        let mut model = Model { account, streams: Vec::new(), base: 0, ended: 0 };
        for step in &steps {
            model.take(step, prices);
        }
        for (id, _, _) in &model.streams {
            model.account.announce(*id);
        }
        model.account.acknowledge(model.account.delivered()).unwrap();
        for (id, _, _) in &model.streams {
            prop_assert!(!model.account.waits(*id));
        }
    }

    #[test]
    fn grants_never_exceed_what_may_be_delivered(
        prices in price(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let account = Account::new(Nano::ZERO, &LIMITS);
        let mut model = Model { account, streams: Vec::new(), base: 0, ended: 0 };
        for step in &steps {
            model.take(step, prices);
            for at in 0..model.streams.len() {
                let id = model.streams[at].0;
                let granted = model.account.grant(id);
                for _ in 0..granted {
                    prop_assert_eq!(model.account.deliver_token(id), Ok(()));
                    model.streams[at].2.completion += 1;
                }
            }
            model.holds();
        }
    }
}
