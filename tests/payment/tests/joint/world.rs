//! Client, network, guests, host and chain in one place: every step that any of them can take, and
//! what an outsider who sees everything demands after each.

use std::collections::VecDeque;

use client::payment::{StreamId as ClientStream, StreamTerms};
use contracts::channel::Standing;
use ed25519_dalek::SigningKey;
use protocol::nano::Nano;
use protocol::receipt::{TokenCounts, TokenPrices};
use protocol::serving::Progress;
use protocol::voucher::SignedVoucher;
use serve::account::{PromptTokens, StreamId as ServeStream};

use crate::payer::Payer;
use crate::provider::{LIMITS, Provider, Purpose, Refused};
use crate::seed::Dice;

const START: u64 = 1_795_000_000;

/// Who does not keep to the rules in a sequence. Loss, crashes and cuts happen in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malice {
    Nobody,
    /// Signs what it likes.
    Client,
    /// Tells the client whatever it likes; evidence would have shown another image.
    Guest,
    /// Shows the client old and forged vouchers, and keeps none.
    Host,
}

enum Wire {
    Token,
    Stop,
    Progress(Progress),
}

struct Stream {
    guest: usize,
    boot: u64,
    epoch: u32,
    server: ServeStream,
    client: Option<ClientStream>,
    prompt: u32,
    live: bool,
    halted: bool,
    finishing: bool,
    /// What the guest computed and sent.
    delivered: TokenCounts,
    wire: VecDeque<Wire>,
    /// What arrived.
    prompt_arrived: bool,
    arrived: u32,
    /// Ended with something that no voucher covers.
    cut: bool,
}

pub(crate) struct World {
    dice: Dice,
    malice: Malice,
    prices: TokenPrices,
    payer: Payer,
    provider: Provider,
    streams: Vec<Stream>,
    /// Vouchers on their way to each guest, with the stream whose progress they answer.
    posts: [VecDeque<(usize, SignedVoucher)>; 2],
    worth: (u32, Nano),
    pub(crate) tokens: u64,
    pub(crate) handovers: u64,
}

impl World {
    pub(crate) fn new(seed: u64, malice: Malice) -> Self {
        let mut dice = Dice::new(seed);
        let key = SigningKey::from_bytes(&[7; 32]);
        let prices = TokenPrices {
            prompt: dice.below(4),
            cached: 1,
            completion: dice.below(6),
        };
        let deposit = 200 + dice.below(4_000);
        let payer = Payer::new(key, u32::try_from(START).unwrap(), deposit);
        Self {
            provider: Provider::new(payer.public(), deposit, START),
            payer,
            dice,
            malice,
            prices,
            streams: Vec::new(),
            posts: [VecDeque::new(), VecDeque::new()],
            worth: (0, Nano::ZERO),
            tokens: 0,
            handovers: 0,
        }
    }

    pub(crate) fn step(&mut self) {
        match self.dice.below(100) {
            0..8 => self.ask(),
            8..18 => self.prompt(),
            18..52 => self.token(),
            52..56 => self.finish(),
            56..74 => self.arrive(),
            74..86 => self.post(),
            86..88 => self.cut(),
            88..90 => self.give_up(),
            90 => self.reboot(),
            91 => self.client_fault(),
            92..95 => self.time(),
            95 => self.chain(),
            96 => self.provider.claim(),
            97 => self.hand_over(),
            _ => self.lie(),
        }
        self.demand();
    }

    fn now(&self) -> u64 {
        self.provider.now
    }

    fn host_answers(&mut self) -> bool {
        !self.dice.percent(3)
    }

    /// The client asks one of the guests; both may be asked in turn with one channel.
    fn ask(&mut self) {
        let at = usize::from(self.dice.percent(30));
        self.ask_guest(at);
    }

    fn ask_guest(&mut self, at: usize) -> bool {
        let terms = StreamTerms {
            prices: self.prices,
            prompt_tokens: 12,
            completion_tokens: 20,
        };
        let Ok(id) = self.payer.begin(terms) else {
            return false;
        };
        for _ in 0..2 {
            let now = self.now();
            let voucher = self.payer.current(now);
            let answers = self.host_answers();
            match self.take(at, &voucher, Purpose::Request, answers) {
                Ok(()) => return self.open(at, id),
                Err(Refused::Outdated(Some(shown))) => self.payer.adopt(&self.shown(shown)),
                Err(_) => break,
            }
        }
        self.payer.account.abandon(id);
        false
    }

    /// What the host shows as the highest voucher that it knows.
    fn shown(&self, honest: SignedVoucher) -> SignedVoucher {
        if self.malice != Malice::Host {
            return honest;
        }
        let mut forged = honest;
        forged.voucher.cumulative = self.payer.deposit;
        forged
    }

    fn open(&mut self, at: usize, client: ClientStream) -> bool {
        let epoch = self.payer.epoch;
        let guest = &mut self.provider.guests[at];
        let account = guest.accounts.get_mut(&epoch).unwrap();
        self.streams.push(Stream {
            guest: at,
            boot: guest.boot,
            epoch,
            server: account.open(self.prices),
            client: Some(client),
            prompt: u32::try_from(self.dice.below(12)).unwrap(),
            live: true,
            halted: false,
            finishing: false,
            delivered: TokenCounts::default(),
            wire: VecDeque::new(),
            prompt_arrived: false,
            arrived: 0,
            cut: false,
        });
        true
    }

    /// Every voucher that a guest sees goes through here.
    fn take(
        &mut self,
        at: usize,
        voucher: &SignedVoucher,
        purpose: Purpose,
        answers: bool,
    ) -> Result<(), Refused> {
        let verdict = self.provider.take(at, voucher, purpose, answers);
        if verdict.halted {
            let boot = self.provider.guests[at].boot;
            let halted = |stream: &&mut Stream| {
                stream.live
                    && stream.guest == at
                    && stream.boot == boot
                    && stream.epoch == voucher.voucher.epoch
            };
            self.streams
                .iter_mut()
                .filter(halted)
                .for_each(|stream| stream.halted = true);
        }
        verdict.taken
    }

    fn pick(&mut self, good: impl Fn(&Stream) -> bool) -> Option<usize> {
        let all: Vec<usize> = (0..self.streams.len())
            .filter(|at| good(&self.streams[*at]))
            .collect();
        self.dice.one_of(all.len()).map(|at| all[at])
    }

    fn prompt(&mut self) {
        if let Some(at) = self.pick(|s| s.live && !s.finishing) {
            self.compute_prompt(at);
        }
    }

    fn compute_prompt(&mut self, at: usize) {
        let stream = &mut self.streams[at];
        let account = account(&mut self.provider, stream);
        let cached = stream.prompt / 3;
        let tokens = PromptTokens {
            computed: stream.prompt - cached,
            cached,
        };
        if account.deliver_prompt(stream.server, tokens).is_ok() {
            stream.delivered.prompt = tokens.computed;
            stream.delivered.cached = tokens.cached;
            tell(&mut self.provider, stream);
        }
    }

    fn token(&mut self) {
        if let Some(at) = self.pick(|s| s.live && !s.finishing && s.delivered.completion < 20) {
            self.compute_token(at);
        }
    }

    fn compute_token(&mut self, at: usize) -> bool {
        let stream = &mut self.streams[at];
        let account = account(&mut self.provider, stream);
        if account.deliver_token(stream.server).is_err() {
            return false;
        }
        self.tokens += 1;
        stream.delivered.completion += 1;
        stream.wire.push_back(Wire::Token);
        if account.increment_full(stream.server) || account.waits(stream.server) {
            tell(&mut self.provider, stream);
        }
        true
    }

    /// The model ends an answer, or an ended one is settled and goes away.
    fn finish(&mut self) {
        if let Some(at) = self.pick(|s| s.live) {
            self.finish_stream(at);
        }
    }

    fn finish_stream(&mut self, at: usize) {
        let stream = &mut self.streams[at];
        let account = account(&mut self.provider, stream);
        if !stream.finishing {
            stream.finishing = true;
            // An end token is charged like every other and has no record of its own.
            if account.deliver_token(stream.server).is_ok() {
                stream.delivered.completion += 1;
                stream.wire.push_back(Wire::Stop);
            }
            tell(&mut self.provider, stream);
        } else if account.settled(stream.server) || self.dice.percent(30) {
            self.end(at);
        }
    }

    /// A stream ends at its guest, paid or not.
    fn end(&mut self, at: usize) {
        let stream = &mut self.streams[at];
        let account = account(&mut self.provider, stream);
        stream.cut = account.unacknowledged(stream.server) > Nano::ZERO;
        account.end(stream.server);
        stream.live = false;
    }

    /// The next event of a stream reaches the client.
    fn arrive(&mut self) {
        if let Some(at) = self.pick(|s| s.client.is_some() && !s.wire.is_empty()) {
            self.receive(at);
        }
    }

    fn receive(&mut self, at: usize) {
        let now = self.now();
        let stream = &mut self.streams[at];
        let (Some(id), Some(event)) = (stream.client, stream.wire.pop_front()) else {
            return;
        };
        match event {
            Wire::Token => {
                stream.arrived += 1;
                self.payer.account.record(id).unwrap();
            }
            Wire::Stop => {
                stream.arrived += 1;
                self.payer.account.end_token(id).unwrap();
            }
            Wire::Progress(progress) => {
                stream.prompt_arrived = true;
                match self.payer.progress(id, &progress, now) {
                    Ok(voucher) => self.posts[stream.guest].push_back((at, voucher)),
                    Err(_) => {
                        stream.client = None;
                        self.payer.account.abandon(id);
                    }
                }
            }
        }
    }

    /// A voucher reaches its guest.
    fn post(&mut self) {
        let to = usize::from(self.dice.percent(40));
        self.post_to(to);
    }

    fn post_to(&mut self, to: usize) {
        let Some((at, voucher)) = self.posts[to].pop_front() else {
            return;
        };
        let answers = self.host_answers();
        let taken = self.take(to, &voucher, Purpose::Acknowledgement, answers);
        if taken.is_err()
            && let Some(id) = self.streams[at].client.take()
        {
            // The client gives up an answer whose voucher is refused.
            self.payer.account.abandon(id);
        }
    }

    /// The host drops ciphertext: everything on the connections to one guest is lost both ways.
    fn cut(&mut self) {
        let to = usize::from(self.dice.percent(50));
        self.posts[to].clear();
        for stream in self.streams.iter_mut().filter(|stream| stream.guest == to) {
            stream.wire.clear();
            if let Some(id) = stream.client.take() {
                self.payer.account.abandon(id);
            }
        }
    }

    /// A client leaves an answer, or a guest notices that one left or is silent.
    fn give_up(&mut self) {
        if self.dice.percent(50) {
            if let Some(at) = self.pick(|s| s.client.is_some()) {
                let id = self.streams[at].client.take().unwrap();
                self.payer.account.abandon(id);
            }
        } else if let Some(at) = self.pick(|s| s.live && (s.client.is_none() || s.halted)) {
            self.end(at);
        }
    }

    fn reboot(&mut self) {
        let to = usize::from(self.dice.percent(50));
        for stream in self.streams.iter_mut().filter(|s| s.guest == to && s.live) {
            let account = account(&mut self.provider, stream);
            stream.cut = account.unacknowledged(stream.server) > Nano::ZERO;
            stream.live = false;
        }
        // What is on the wire may still arrive; vouchers find nobody.
        self.posts[to].clear();
        self.provider.reboot(to);
    }

    fn client_fault(&mut self) {
        match self.dice.below(4) {
            0 => self.payer.back_up(),
            1 => {
                self.forget_streams();
                self.payer.restore();
            }
            _ => {
                self.forget_streams();
                self.payer.crash();
            }
        }
    }

    fn forget_streams(&mut self) {
        self.streams
            .iter_mut()
            .for_each(|stream| stream.client = None);
        if self.dice.percent(50) {
            self.posts.iter_mut().for_each(VecDeque::clear);
        }
    }

    fn time(&mut self) {
        let seconds = [1, 5, 11, 61, 601, 4_000, 40_000, 900_000];
        let at = self.dice.one_of(seconds.len()).unwrap();
        self.provider.pass(seconds[at]);
        self.payer.skew = i64::try_from(self.dice.below(7_200)).unwrap() - 3_600;
    }

    fn chain(&mut self) {
        match self.dice.below(5) {
            0 if self.provider.chain.standing == Standing::Open && self.dice.percent(40) => {
                self.provider.start_close();
            }
            1 => {
                self.provider.finish_close();
            }
            2 if self.provider.chain.standing == Standing::Closed => {
                self.provider.pass(1);
                let deposit = 200 + self.dice.below(4_000);
                self.provider.reopen(deposit);
                self.forget_streams();
                self.payer.reopen(self.provider.chain.epoch, deposit);
            }
            _ if self.provider.chain.standing == Standing::Open => {
                let more = Nano::from_u64(self.dice.below(500));
                let deposit = self.provider.chain.deposited.plus(more).unwrap();
                self.provider.chain.deposited = deposit;
                self.payer.top_up(deposit);
            }
            _ => {}
        }
    }

    /// The provider stops one agent, whose lease is given back, while guests go on.
    fn hand_over(&mut self) {
        self.provider.book.release();
        self.handovers += 1;
    }

    fn lie(&mut self) {
        match self.malice {
            Malice::Nobody => {}
            Malice::Client => {
                let total = Nano::from_u64(self.dice.below(4_500));
                let seconds = self.dice.below(3 * 3_600);
                let until = u32::try_from(self.now() + seconds).unwrap();
                let voucher = self.payer.voucher(total, until);
                let to = usize::from(self.dice.percent(50));
                let purpose = if self.dice.percent(50) {
                    Purpose::Request
                } else {
                    Purpose::Acknowledgement
                };
                // Whatever comes of it: the demands below are the test.
                let _ = self.take(to, &voucher, purpose, true);
            }
            Malice::Guest => self.false_progress(),
            Malice::Host => {
                let epoch = self.payer.epoch;
                let low = self.payer.signed.get(&epoch).copied().unwrap_or_default();
                let shown = self
                    .payer
                    .voucher(Nano::from_u64(low.units() as u64 / 2), u32::MAX);
                self.payer.adopt(&shown);
                let forged = self.shown(shown);
                self.payer.adopt(&forged);
            }
        }
    }

    fn false_progress(&mut self) {
        let Some(at) = self.pick(|s| s.client.is_some()) else {
            return;
        };
        let roll = |dice: &mut Dice, limit| u32::try_from(dice.below(limit)).unwrap();
        let tokens = TokenCounts {
            prompt: roll(&mut self.dice, 20),
            cached: roll(&mut self.dice, 3),
            completion: roll(&mut self.dice, 25),
        };
        let cost = self.prices.cost(&tokens).unwrap().units() + u128::from(self.dice.below(2));
        self.streams[at].wire.push_front(Wire::Progress(Progress {
            prompt_tokens: tokens.prompt,
            cached_tokens: tokens.cached,
            completion_tokens: tokens.completion,
            charged: cost.to_string(),
        }));
    }
}

fn account<'p>(provider: &'p mut Provider, stream: &Stream) -> &'p mut serve::account::Account {
    let guest = &mut provider.guests[stream.guest];
    assert_eq!(guest.boot, stream.boot, "a stream outlived its boot");
    guest.accounts.get_mut(&stream.epoch).unwrap()
}

fn tell(provider: &mut Provider, stream: &mut Stream) {
    let id = stream.server;
    let (tokens, charged) = account(provider, stream).announce(id).unwrap();
    stream.wire.push_back(Wire::Progress(Progress {
        prompt_tokens: tokens.prompt,
        cached_tokens: tokens.cached,
        completion_tokens: tokens.completion,
        charged: charged.to_string(),
    }));
}

/// What an outsider demands.
impl World {
    fn demand(&mut self) {
        let epochs: Vec<u32> = self.provider.closed.keys().copied().collect();
        for epoch in epochs.into_iter().chain([self.provider.chain.epoch]) {
            if self.malice != Malice::Client {
                self.paid_for_no_more_than_arrived(epoch);
            }
            if matches!(self.malice, Malice::Nobody | Malice::Client) {
                self.unpaid_for_one_increment_a_stream(epoch);
            }
        }
        let epoch = self.provider.chain.epoch;
        let worth = self.provider.worth(epoch);
        assert!(worth <= self.provider.chain.deposited);
        if self.worth.0 == epoch {
            assert!(
                worth >= self.worth.1,
                "a voucher was lost, or expired unclaimed"
            );
        }
        self.worth = (epoch, worth);
    }

    /// The highest total that the client ever signed, against what reached it.
    fn paid_for_no_more_than_arrived(&self, epoch: u32) {
        let mut most = 0;
        for stream in self.streams.iter().filter(|stream| stream.epoch == epoch) {
            let dearer = u128::from(self.prices.prompt.max(self.prices.cached));
            let prompt = match (self.malice, stream.prompt_arrived) {
                (_, false) => 0,
                // Nobody but the guest can count a prompt; its bytes bound what it can claim.
                (Malice::Guest, true) => 12 * dearer,
                (_, true) => self.prompt_cost(&stream.delivered),
            };
            most += prompt + u128::from(stream.arrived) * u128::from(self.prices.completion);
        }
        let signed = self.payer.signed.get(&epoch).copied().unwrap_or_default();
        assert!(signed.units() <= most, "signed {signed:?} for {most}");
    }

    fn prompt_cost(&self, tokens: &TokenCounts) -> u128 {
        let prompt = TokenCounts {
            completion: 0,
            ..*tokens
        };
        self.prices.cost(&prompt).unwrap().units()
    }

    /// What was computed and is not covered by a voucher, against one increment for each stream
    /// that is live, or that was cut off with something open.
    fn unpaid_for_one_increment_a_stream(&self, epoch: u32) {
        let mut computed = 0;
        let mut bound = 0;
        for stream in self.streams.iter().filter(|stream| stream.epoch == epoch) {
            computed += self.prices.cost(&stream.delivered).unwrap().units();
            if stream.live || stream.cut {
                bound += match stream.delivered.completion {
                    0 => self.prompt_cost(&stream.delivered),
                    _ => u128::from(LIMITS.increment_tokens) * u128::from(self.prices.completion),
                };
            }
        }
        let worth = self.provider.worth(epoch).units();
        let unpaid = computed.saturating_sub(worth);
        assert!(unpaid <= bound, "{unpaid} unpaid, bound {bound}");
    }

    /// After all faults: a new answer is asked for, computed, received and paid to its last token.
    /// False when the channel is closing or used up.
    pub(crate) fn goes_on_after_the_faults(&mut self) -> bool {
        self.forget_streams();
        self.payer.crash();
        self.posts.iter_mut().for_each(VecDeque::clear);
        for at in 0..self.streams.len() {
            if self.streams[at].live {
                self.end(at);
            }
        }
        self.provider.pass(601);
        let left = self
            .payer
            .deposit
            .minus(self.payer.account.promise().cumulative);
        let enough = left.is_ok_and(|left| left > Nano::from_u64(200));
        if self.provider.chain.standing != Standing::Open || !enough {
            return false;
        }
        self.payer.skew = 0;
        // The first try may hand the channel over from another guest; the host may be silent.
        assert!((0..6).any(|_| self.ask_guest(0)), "no answer begins");
        let at = self.streams.len() - 1;
        self.compute_prompt(at);
        for _ in 0..12 {
            while !self.streams[at].wire.is_empty() {
                self.receive(at);
            }
            while !self.posts[0].is_empty() {
                let (_, voucher) = self.posts[0].pop_front().unwrap();
                let taken = self.take(0, &voucher, Purpose::Acknowledgement, true);
                assert_eq!(taken, Ok(()), "an honest voucher is refused");
            }
            assert!(
                self.compute_token(at),
                "an acknowledged stream stands still"
            );
        }
        self.finish_stream(at);
        while !self.streams[at].wire.is_empty() {
            self.receive(at);
        }
        while let Some((_, voucher)) = self.posts[0].pop_front() {
            assert_eq!(
                self.take(0, &voucher, Purpose::Acknowledgement, true),
                Ok(())
            );
        }
        let stream = &self.streams[at];
        assert!(account(&mut self.provider, stream).settled(stream.server));
        self.demand();
        true
    }
}
