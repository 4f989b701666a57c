//! A deposit, two promises, a claim and a close by both, between the client's wallet and the host's
//! books, on whatever chain is given: every account read by proof, all sums to the nano unit.

use std::io;
use std::path::Path;
use std::sync::Arc;

use client::Surroundings;
use client::payment::Promise;
use client::wallet::{ChannelTo, Ledger, Opening, StateDirectory, WalletError, refresh};
use contracts::asset::Asset;
use contracts::chain::Chain;
use contracts::channel::Standing;
use contracts::toncenter::Toncenter;
use host_agent::clock::Clock;
use host_agent::control::channels::Channels;
use host_agent::control::decision::Terms;
use host_agent::journal::{Journal, Scribe};
use host_agent::settle::{self, Claimed, Turn};
use host_agent::wallet as host;
use messages::host_control::{StopReason, VoucherDecision};
use protocol::digest::ReceiptsRoot;
use protocol::nano::Nano;
use protocol::voucher::SignedVoucher;

use crate::given::Given;

/// Seconds in which the payee can still claim.
const WINDOW: u32 = 3_600;
/// How long a close that was agreed on may be sent.
const CLOSE_WITHIN: u32 = 600;
/// How long vouchers hold.
const VALID_SECONDS: u32 = 86_400;

/// Clock and randomness of both sides.
#[derive(Clone)]
pub struct Around {
    /// For the client.
    pub client: Arc<dyn Surroundings>,
    /// For the host.
    pub clock: Clock,
    /// For the host.
    pub draw: fn() -> io::Result<[u8; 32]>,
}

impl std::fmt::Debug for Around {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Around")
    }
}

/// What came of a run.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Claimed by a voucher.
    pub claimed: Claimed,
    /// Claimed by the close.
    pub closed: Claimed,
    /// The payer's coins before and after.
    pub payer: [Nano; 2],
    /// The payee's coins before and after.
    pub payee: [Nano; 2],
}

/// The host's side.
struct Host {
    purse: host::Purse,
    journal: std::path::PathBuf,
}

/// Runs it; `say` is told each step.
///
/// # Panics
/// When anything is not as it must be, with what it was.
pub async fn run(given: &Given, around: &Around, say: impl Fn(&str)) -> Told {
    std::fs::create_dir_all(&given.state).unwrap();
    let state = StateDirectory::open(&given.state.join("client")).unwrap();
    let (purse, chain) = (
        client_purse(given, &state, around),
        client_chain(given, &state, around),
    );
    let host = Host {
        purse: host::Purse::open(host_chain(given, around, "claims"), &given.payee)
            .await
            .unwrap(),
        journal: given.state.join("journal.sqlite"),
    };
    let (payer, payee) = (purse.address().unwrap(), host.purse.address);
    say(&format!("payer {payer}, payee {payee}"));
    let to = ChannelTo {
        payee,
        asset: Asset::Coin,
    };
    let payers = chain.balance(&payer).await.unwrap();
    open(given, around, (&purse, &chain), to, &say).await;
    let payees = chain.balance(&payee).await.unwrap();

    let mut ledger = Ledger::open(purse.channel_to(&to).unwrap()).unwrap();
    refresh(&chain, &mut ledger).await.unwrap();
    let until = chain
        .chain_time()
        .await
        .unwrap()
        .checked_add(VALID_SECONDS)
        .unwrap();
    let half = part(given.deposit, 2);
    let first = promise(&mut ledger, half, until);
    serve(given, around, &host, &first).await;
    say("a voucher over half of the deposit is in the host's journal; a forged one is not");
    let claimed = claim(around, &host, &first).await;
    check("the claim", &claimed, half);
    say(&format!("claimed {half}, fees {}", claimed.fees()));

    let more = half.plus(part(given.deposit, 4)).unwrap();
    let second = promise(&mut ledger, more, until);
    serve(given, around, &host, &second).await;
    drop(ledger);
    let closed = close(around, &host, (&purse, &chain), to).await;
    check("the close", &closed, more.minus(half).unwrap());
    say(&format!("closed at {more}, fees {}", closed.fees()));

    let payer = [payers, chain.balance(&payer).await.unwrap()];
    let payee = [payees, chain.balance(&payee).await.unwrap()];
    let fees = claimed.fees().plus(closed.fees()).unwrap();
    let [before, after] = payee;
    assert_eq!(
        before.plus(more),
        after.plus(fees),
        "the payee's coins do not add up"
    );
    Told {
        claimed,
        closed,
        payer,
        payee,
    }
}

fn part(of: Nano, parts: u128) -> Nano {
    Nano::new(of.units().checked_div(parts).unwrap()).unwrap()
}

fn check(what: &str, claimed: &Claimed, increment: Nano) {
    assert!(claimed.is_paid(), "{what} is not paid: {claimed:?}");
    assert!(claimed.adds_up(), "{what} does not add up: {claimed:?}");
    assert_eq!(claimed.increment, increment, "{what}");
}

fn endpoint(given: &Given) -> Option<Toncenter> {
    Some(Toncenter::new(&given.endpoint).unwrap())
}

fn client_purse(given: &Given, state: &StateDirectory, around: &Around) -> client::wallet::Purse {
    use client::wallet::Purse;
    match Purse::open(state.clone(), given.network, &around.client) {
        Err(WalletError::NoWallet) => {
            let seed = host::read_seed(&given.payer).unwrap();
            let kind = host::read(&given.payer, given.network).unwrap().kind();
            Purse::create(state.clone(), &seed, kind, given.network).unwrap()
        }
        opened => opened.unwrap(),
    }
}

fn client_chain(given: &Given, state: &StateDirectory, around: &Around) -> Chain {
    let by = given.by.clone();
    let accounts = client::chain::by_proof(by, given.network, state, &around.client);
    Chain::Proven {
        accounts: accounts.unwrap(),
        endpoint: endpoint(given),
    }
}

/// Each reader has its own position, as two programs have.
fn host_chain(given: &Given, around: &Around, name: &str) -> Chain {
    let file = given.state.join(format!("position-{name}"));
    let (by, network) = (given.by.clone(), given.network);
    let accounts = host_agent::chain::by_proof(by, network, file, &around.clock, around.draw);
    Chain::Proven {
        accounts: accounts.unwrap(),
        endpoint: endpoint(given),
    }
}

async fn open(
    given: &Given,
    around: &Around,
    (purse, chain): (&client::wallet::Purse, &Chain),
    to: ChannelTo,
    say: &impl Fn(&str),
) {
    let opening = Opening {
        payee: to.payee,
        jetton: None,
        deposit: given.deposit,
        window: WINDOW,
    };
    let key = around.client.random().unwrap();
    match purse.open_channel(chain, &opening, &key).await {
        Ok(opened) => say(&format!(
            "channel {} holds {}",
            opened.channel, opened.deposited
        )),
        Err(WalletError::ChannelExists) => say("an earlier run opened the channel"),
        Err(error) => panic!("the channel is not open: {error:?}"),
    }
}

fn promise(ledger: &mut Ledger, total: Nano, until: u32) -> SignedVoucher {
    let promise = Promise {
        cumulative: total,
        receipts_root: ReceiptsRoot::ZERO,
    };
    ledger.sign(&promise, until).unwrap()
}

/// The host goes on for this voucher, and stops at one that was changed.
async fn serve(given: &Given, around: &Around, host: &Host, voucher: &SignedVoucher) {
    let terms = Terms {
        network: given.network,
        payee: host.purse.address,
        asset: Asset::Coin,
        minimum_validity: 60,
        minimum_window: WINDOW,
    };
    let journal = Scribe::start(Journal::open(&host.journal).unwrap()).unwrap();
    let chain = Arc::new(host_chain(given, around, "serving"));
    let holder = "end to end".to_owned();
    let channels = Channels::new(terms, holder, chain, journal, around.clock.clone());
    let mut answer = channels.answer(voucher).await;
    // After a close of an earlier run the lease is taken over: good when it is asked again.
    if answer == VoucherDecision::Stop(StopReason::Leased, None) {
        answer = channels.answer(voucher).await;
    }
    assert_eq!(answer, VoucherDecision::Continue);
    let mut forged = *voucher;
    forged.voucher.cumulative = given.deposit;
    let refused = VoucherDecision::Stop(StopReason::ForeignVoucher, None);
    assert_eq!(channels.answer(&forged).await, refused);
    channels.release().unwrap();
}

async fn claim(around: &Around, host: &Host, voucher: &SignedVoucher) -> Claimed {
    let (mut journal, turn) = in_turn(around, host, &host.journal);
    let (with, now) = ((&host.purse, &turn), around.clock.now());
    let claimed = settle::claim(&mut journal, with, voucher, now)
        .await
        .unwrap();
    turn.end(&mut journal).unwrap();
    claimed
}

/// Both agree, the host sends it, and nothing stays behind.
async fn close(
    around: &Around,
    host: &Host,
    (purse, chain): (&client::wallet::Purse, &Chain),
    to: ChannelTo,
) -> Claimed {
    let agreed = purse
        .agree_to_close(chain, &to, CLOSE_WITHIN)
        .await
        .unwrap();
    let (mut journal, turn) = in_turn(around, host, &host.journal);
    let (with, now) = ((&host.purse, &turn), around.clock.now());
    let closed = settle::close(&mut journal, with, &agreed, now)
        .await
        .unwrap();
    turn.end(&mut journal).unwrap();
    let at = agreed.promise().channel;
    let shown = chain.payment_channel(&at).await.unwrap().unwrap();
    assert_eq!(shown.state().standing, Standing::Closed);
    assert_eq!(
        chain.balance(&at).await.unwrap(),
        Nano::ZERO,
        "the channel kept coins"
    );
    closed
}

fn in_turn(around: &Around, host: &Host, journal: &Path) -> (Journal, Turn) {
    let mut journal = Journal::open(journal).unwrap();
    let (wallet, clock) = (host.purse.address, around.clock.clone());
    let turn = Turn::take(&mut journal, wallet, "end to end".to_owned(), clock).unwrap();
    (journal, turn)
}
