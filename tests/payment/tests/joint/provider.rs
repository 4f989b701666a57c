//! The provider: two guests with serve's accounts, one host with its books and its rules, and the
//! chain that it sees. What a guest checks stands in the order of `serve::vouchers`.

use std::collections::BTreeMap;

use contracts::asset::Asset;
use contracts::channel::{ChannelState, ChannelTerms, Standing};
use host_agent::clock::UnixSeconds;
use host_agent::control::channels::Snapshot;
use host_agent::control::decision::{Terms, WellFormed};
use host_agent::control::settlement::Settlement;
use host_agent::journal::{Appended, JournalError, Lease, VoucherBook};
use messages::host_control::{StopReason, VoucherDecision};
use protocol::digest::{AccountId, PayerKey, ReceiptsRoot};
use protocol::launch_configuration::Limits;
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::SignedVoucher;
use serve::account::{Account, TotalRefused};

pub(crate) const NETWORK: NetworkId = NetworkId(-7357);
pub(crate) const CHANNEL: TonAddress = address(1);
pub(crate) const LIMITS: Limits = Limits {
    streams: 8,
    context_tokens: 64,
    increment_tokens: 4,
};
const PAYEE: TonAddress = address(2);
const TERMS: Terms = Terms {
    network: NETWORK,
    payee: PAYEE,
    asset: Asset::Coin,
    minimum_validity: 3_600,
    minimum_window: 600,
};
const WINDOW: u32 = 3_600;
/// The host claims what would expire within this time.
const MARGIN: u64 = 1_800;

const fn address(byte: u8) -> TonAddress {
    TonAddress {
        workchain: 0,
        account: AccountId([byte; 32]),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Request,
    Acknowledgement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Foreign,
    AboveDelivered,
    Outdated(Option<SignedVoucher>),
    Stopped(StopReason, Option<SignedVoucher>),
    HostSilent,
}

/// The journal's rules without a disk.
#[derive(Default)]
pub(crate) struct Book {
    vouchers: BTreeMap<u32, Vec<SignedVoucher>>,
    lease: Option<(String, u64)>,
}

impl Book {
    fn best_until(&self, epoch: u32, until: u64) -> Option<SignedVoucher> {
        let all = self.vouchers.get(&epoch)?.iter();
        all.filter(|signed| u64::from(signed.voucher.valid_until) >= until)
            .max_by_key(|signed| signed.voucher.cumulative)
            .copied()
    }

    pub(crate) fn release(&mut self) {
        if let Some((_, until)) = &mut self.lease {
            *until = 0;
        }
    }
}

impl VoucherBook for Book {
    fn highest(&self, _: &TonAddress, epoch: u32) -> Result<Option<SignedVoucher>, JournalError> {
        Ok(self.best_until(epoch, 0))
    }

    fn take_lease(
        &mut self,
        _: &TonAddress,
        holder: &str,
        now: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<Lease, JournalError> {
        let lease = match &self.lease {
            Some((last, _)) if last == holder => Lease::Ours,
            Some((_, last_until)) if *last_until > now.0 => return Ok(Lease::Another),
            Some(_) => Lease::TakenOver,
            None => Lease::Ours,
        };
        self.lease = Some((holder.to_owned(), until.0));
        Ok(lease)
    }

    fn append(&mut self, signed: &SignedVoucher, _: UnixSeconds) -> Result<Appended, JournalError> {
        let highest = self.best_until(signed.voucher.epoch, 0);
        let all = self.vouchers.entry(signed.voucher.epoch).or_default();
        if highest.is_some_and(|highest| highest.voucher.cumulative > signed.voucher.cumulative) {
            return Ok(Appended::BelowHighest);
        }
        all.retain(|old| {
            old.voucher.cumulative == signed.voucher.cumulative
                || old.voucher.valid_until > signed.voucher.valid_until
        });
        all.push(*signed);
        Ok(Appended::Stored)
    }
}

pub(crate) struct Guest {
    name: &'static str,
    pub(crate) boot: u64,
    pub(crate) accounts: BTreeMap<u32, Account>,
    highest: BTreeMap<u32, SignedVoucher>,
}

/// What became of a voucher: besides the answer, whether the account's streams were halted.
pub(crate) struct Verdict {
    pub(crate) taken: Result<(), Refused>,
    pub(crate) halted: bool,
}

pub(crate) struct Provider {
    pub(crate) guests: [Guest; 2],
    pub(crate) book: Book,
    pub(crate) chain: ChannelState,
    pub(crate) now: u64,
    view: Option<(u64, Snapshot)>,
    /// What closed epochs paid at last.
    pub(crate) closed: BTreeMap<u32, Nano>,
}

impl Provider {
    pub(crate) fn new(key: PayerKey, deposit: u64, now: u64) -> Self {
        let guest = |name| Guest {
            name,
            boot: 0,
            accounts: BTreeMap::new(),
            highest: BTreeMap::new(),
        };
        Self {
            guests: [guest("a"), guest("b")],
            book: Book::default(),
            chain: ChannelState {
                standing: Standing::Open,
                epoch: u32::try_from(now).unwrap(),
                deposited: Nano::from_u64(deposit),
                claimed: Nano::ZERO,
                last_root: ReceiptsRoot::ZERO,
                terms: ChannelTerms {
                    payer: address(3),
                    payee: PAYEE,
                    payer_key: key,
                    window: WINDOW,
                },
            },
            now,
            view: None,
            closed: BTreeMap::new(),
        }
    }

    /// The order of `serve::vouchers`: account, host, account again.
    pub(crate) fn take(
        &mut self,
        at: usize,
        voucher: &SignedVoucher,
        purpose: Purpose,
        host_answers: bool,
    ) -> Verdict {
        let plain = |taken| Verdict {
            taken,
            halted: false,
        };
        if let Err(refused) = self.check(at, voucher, purpose) {
            return plain(Err(refused));
        }
        if !host_answers {
            return plain(Err(Refused::HostSilent));
        }
        match self.ask_host(at, voucher) {
            VoucherDecision::Continue => plain(self.accept(at, voucher, purpose)),
            VoucherDecision::Stop(reason, shown) => {
                let account = self.guests[at].accounts.get_mut(&voucher.voucher.epoch);
                let halted = account.map(Account::halt).is_some();
                let shown = shown.map(|shown| *shown);
                let refused = match reason {
                    StopReason::Outdated => Refused::Outdated(shown),
                    other => Refused::Stopped(other, shown),
                };
                Verdict {
                    taken: Err(refused),
                    halted,
                }
            }
        }
    }

    fn check(&self, at: usize, signed: &SignedVoucher, purpose: Purpose) -> Result<(), Refused> {
        let (epoch, total) = (signed.voucher.epoch, signed.voucher.cumulative);
        let guest = &self.guests[at];
        let checked = match (guest.accounts.get(&epoch), purpose) {
            (None, Purpose::Request) => Ok(()),
            (None, Purpose::Acknowledgement) => return Err(Refused::Foreign),
            (Some(account), Purpose::Request) => account.check_brought(total),
            (Some(account), Purpose::Acknowledgement) => account.check(total),
        };
        checked.map_err(|refused| match refused {
            TotalRefused::Outdated => Refused::Outdated(guest.highest.get(&epoch).copied()),
            TotalRefused::AboveDelivered => Refused::AboveDelivered,
        })
    }

    fn accept(
        &mut self,
        at: usize,
        signed: &SignedVoucher,
        purpose: Purpose,
    ) -> Result<(), Refused> {
        let (epoch, total) = (signed.voucher.epoch, signed.voucher.cumulative);
        let guest = &mut self.guests[at];
        let taken = match (guest.accounts.get_mut(&epoch), purpose) {
            (Some(account), _) if total < account.acknowledged() => return Ok(()),
            (Some(account), Purpose::Request) => account.bring(total),
            (Some(account), Purpose::Acknowledgement) => account.acknowledge(total),
            (None, _) => {
                guest.accounts.insert(epoch, Account::new(total, &LIMITS));
                Ok(())
            }
        };
        taken.map_err(|refused| match refused {
            TotalRefused::Outdated => Refused::Outdated(guest.highest.get(&epoch).copied()),
            TotalRefused::AboveDelivered => Refused::AboveDelivered,
        })?;
        guest.highest.insert(epoch, *signed);
        Ok(())
    }

    fn ask_host(&mut self, at: usize, voucher: &SignedVoucher) -> VoucherDecision {
        let Some(question) = WellFormed::of(&TERMS, voucher) else {
            return VoucherDecision::Stop(StopReason::ForeignVoucher, None);
        };
        let fresh = self.view.is_some_and(|(seen, _)| self.now - seen < 10);
        let with = |view| Settlement {
            terms: TERMS,
            holder: self.guests[at].name.to_owned(),
            view: Some(view),
            question,
            now: UnixSeconds(self.now),
        };
        if let Some((_, view)) = self.view.filter(|_| fresh) {
            let decision = with(view).run(&mut self.book).unwrap();
            let stands = matches!(
                decision,
                VoucherDecision::Continue | VoucherDecision::Stop(StopReason::Leased, _)
            );
            if stands {
                return decision;
            }
        }
        let view = Snapshot {
            channel: Some(self.chain.into()),
            time: UnixSeconds(self.now),
        };
        let settlement = with(view);
        self.view = Some((self.now, view));
        settlement.run(&mut self.book).unwrap()
    }

    /// Claims what the contract would pay now.
    pub(crate) fn claim(&mut self) {
        let open = match self.chain.standing {
            Standing::Open => true,
            Standing::Closing { until } => self.now < u64::from(until),
            Standing::Closed => false,
        };
        let best = self.book.best_until(self.chain.epoch, self.now);
        if let Some(best) = best.filter(|_| open) {
            let total = best.voucher.cumulative;
            assert!(
                total <= self.chain.deposited,
                "a voucher above the deposit is in the books"
            );
            self.chain.claimed = self.chain.claimed.max(total);
        }
    }

    /// Lets time pass; the host claims what would expire, and what a close leaves time for.
    pub(crate) fn pass(&mut self, seconds: u64) {
        let best = self.book.best_until(self.chain.epoch, self.now);
        let expires = best
            .is_some_and(|best| u64::from(best.voucher.valid_until) < self.now + seconds + MARGIN);
        if expires || self.chain.standing != Standing::Open {
            self.claim();
        }
        self.now += seconds;
    }

    /// What the provider has or can have of an epoch.
    pub(crate) fn worth(&self, epoch: u32) -> Nano {
        if let Some(paid) = self.closed.get(&epoch) {
            return *paid;
        }
        let claimable = self.book.best_until(epoch, self.now);
        let claimable = claimable.map_or(Nano::ZERO, |best| best.voucher.cumulative);
        claimable.max(self.chain.claimed)
    }

    pub(crate) fn reboot(&mut self, at: usize) {
        let guest = &mut self.guests[at];
        guest.boot += 1;
        guest.accounts.clear();
        guest.highest.clear();
    }

    pub(crate) fn start_close(&mut self) {
        let until = u32::try_from(self.now).unwrap() + WINDOW;
        self.chain.standing = Standing::Closing { until };
    }

    /// Finishes a close whose window is over.
    pub(crate) fn finish_close(&mut self) -> bool {
        let over = match self.chain.standing {
            Standing::Closing { until } => self.now >= u64::from(until),
            Standing::Open | Standing::Closed => false,
        };
        if over {
            self.closed.insert(self.chain.epoch, self.chain.claimed);
            self.chain.standing = Standing::Closed;
        }
        over
    }

    pub(crate) fn reopen(&mut self, deposit: u64) {
        self.chain.epoch = u32::try_from(self.now).unwrap();
        self.chain.standing = Standing::Open;
        self.chain.deposited = Nano::from_u64(deposit);
        self.chain.claimed = Nano::ZERO;
    }
}
