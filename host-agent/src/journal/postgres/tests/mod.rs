//! Claims about a ledger that several agents share, against a PostgreSQL that the test starts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use ed25519_dalek::SigningKey;
use protocol::digest::AccountId;
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use protocol::voucher::{SignedVoucher, Voucher};

use super::super::tests::OF_BOTH_STORES;
use super::super::{Appended, Journal, Lease, Scribe, VoucherBook as _};
use std::path::Path;

use super::*;
use crate::clock::UnixSeconds;
use crate::samples::{self, CHANNEL, EPOCH};

#[path = "../../../../tests/postgres/server.rs"]
mod server;
mod versions;

use server::Server;

const NOW: UnixSeconds = UnixSeconds(1_000);
const CHANNELS: u8 = 4;
/// Fewer rounds where a signature is not optimised, and takes some hundred times as long.
const ROUNDS: u64 = if cfg!(debug_assertions) { 1 } else { 20 };

fn options(address: &str) -> LedgerOptions {
    LedgerOptions {
        address: address.parse().unwrap(),
        password: None,
        roots: None,
    }
}

fn share(server: &Server) -> Journal {
    Journal::share(options(&server.address())).unwrap()
}

/// The ledger's clock stands still at what the test says.
fn stop_clock(server: &Server, at: u64) {
    let function = format!(
        "CREATE OR REPLACE FUNCTION cocoon_ledger.ledger_time() RETURNS bigint LANGUAGE sql
         VOLATILE AS $$ SELECT {at}::bigint $$"
    );
    server.run(&function).unwrap();
}

fn channel(at: u8) -> TonAddress {
    TonAddress {
        workchain: 0,
        account: AccountId([at; 32]),
    }
}

fn voucher(at: u8, total: u64) -> SignedVoucher {
    let voucher = Voucher {
        channel: channel(at),
        cumulative: Nano::from_u64(total),
        ..samples::voucher(1).voucher
    };
    voucher.sign(&SigningKey::from_bytes(&[at + 1; 32]))
}

fn top(journal: &Journal, at: u8) -> u128 {
    let found = journal.highest_voucher(&channel(at), EPOCH).unwrap();
    found.map_or(0, |found| found.voucher.cumulative.units())
}

/// A sequence of numbers that a seed decides (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[test]
#[ignore = "needs a PostgreSQL: ci/ledger"]
fn whatever_holds_for_a_journal_in_a_file_holds_for_a_shared_one() {
    let server = Server::start(&[]);
    for (name, claim) in OF_BOTH_STORES {
        let mut journal = share(&server);
        println!("{name}");
        claim(&mut journal, &|at| stop_clock(&server, at));
        drop(journal);
        server.run("DROP SCHEMA cocoon_ledger CASCADE").unwrap();
    }
}

/// What two agents are told about their vouchers.
#[derive(Debug, Default)]
struct Told {
    /// The highest total that was answered, of each channel.
    highest: [AtomicU64; CHANNELS as usize],
    stored: Mutex<Vec<(u8, u64)>>,
}

/// One agent's life: groups of vouchers, higher, equal and lower than what the other one stores at
/// the same moment, some in transactions that fail.
fn live(journal: &mut Journal, seed: u64, next: &[AtomicU64], told: &Told) {
    let mut dice = Dice(seed);
    for _ in 0..60 {
        let group: Vec<(u8, u64, SignedVoucher)> = (0..=dice.below(8))
            .map(|_| {
                let at = u8::try_from(dice.below(u64::from(CHANNELS))).unwrap();
                let next = &next[usize::from(at)];
                let newest = next.fetch_add(dice.below(3), Ordering::SeqCst);
                let total = newest.saturating_sub(dice.below(3)).max(1);
                (at, total, voucher(at, total))
            })
            .collect();
        let before = [0, 1, 2, 3].map(|at| told.highest[at].load(Ordering::SeqCst));
        let fails = dice.below(8) == 0;
        let answers = journal.together(|books| {
            let mut answers = Vec::new();
            for (_, _, voucher) in &group {
                answers.push(books.append(voucher, NOW)?);
            }
            if fails {
                return Err(JournalError::Damaged { what: "on purpose" });
            }
            Ok(answers)
        });
        assert_eq!(answers.is_err(), fails);
        for ((at, total, _), answer) in group.iter().zip(answers.unwrap_or_default()) {
            let known = before[usize::from(*at)];
            match answer {
                Appended::Stored => {
                    assert!(
                        *total >= known,
                        "channel {at} went back from {known} to {total}"
                    );
                    told.stored.lock().unwrap().push((*at, *total));
                    told.highest[usize::from(*at)].fetch_max(*total, Ordering::SeqCst);
                }
                Appended::AlreadyKnown => {
                    told.highest[usize::from(*at)].fetch_max(*total, Ordering::SeqCst);
                }
                Appended::BelowHighest => {}
            }
        }
    }
}

#[test]
#[ignore = "needs a PostgreSQL: ci/ledger"]
fn agents_that_store_at_once_lose_nothing_store_nothing_twice_and_never_go_back() {
    let server = Server::start(&[]);
    let mut vouchers = 0;
    for seed in 0..ROUNDS {
        let told = Told::default();
        let next = [(); CHANNELS as usize].map(|()| AtomicU64::new(1));
        thread::scope(|agents| {
            for agent in 0..3 {
                let (server, next, told) = (&server, &next, &told);
                agents.spawn(move || {
                    let mut journal = share(server);
                    live(&mut journal, seed * 3 + agent, next, told);
                });
            }
        });
        let journal = share(&server);
        for at in 0..CHANNELS {
            let answered = told.highest[usize::from(at)].load(Ordering::SeqCst);
            assert_eq!(
                top(&journal, at),
                u128::from(answered),
                "seed {seed}, channel {at}"
            );
        }
        let mut stored = told.stored.into_inner().unwrap();
        vouchers += stored.len();
        let all = stored.len();
        stored.sort_unstable();
        stored.dedup();
        assert_eq!(stored.len(), all, "seed {seed}: a voucher was stored twice");
        drop(journal);
        server.run("DROP SCHEMA cocoon_ledger CASCADE").unwrap();
    }
    println!("{vouchers} vouchers of 3 agents stored in {ROUNDS} interleavings");
}

#[test]
#[ignore = "needs a PostgreSQL: ci/ledger"]
fn of_agents_that_ask_at_once_one_has_the_channel_by_the_ledgers_clock() {
    const AGENTS: usize = 4;
    let server = Server::start(&[]);
    drop(share(&server));
    stop_clock(&server, 50_000);
    let start = Barrier::new(AGENTS);
    let granted = AtomicU64::new(0);
    thread::scope(|agents| {
        for agent in 0..AGENTS {
            let (server, start, granted) = (&server, &start, &granted);
            agents.spawn(move || {
                let mut journal = share(server);
                let holder = format!("agent {agent}");
                // Clocks that are years apart: the span counts, not the time.
                let own = UnixSeconds(100_000_000 * (agent as u64 + 1));
                for round in 0..100 {
                    start.wait();
                    let channel = channel(u8::try_from(round).unwrap());
                    let lease = journal.take_lease(&channel, &holder, own, own.plus(600));
                    granted.fetch_add(
                        u64::from(lease.unwrap() != Lease::Another),
                        Ordering::SeqCst,
                    );
                }
            });
        }
    });
    assert_eq!(
        granted.load(Ordering::SeqCst),
        100,
        "each channel has one agent"
    );
    let mut journal = share(&server);
    let mut late = |at| {
        stop_clock(&server, at);
        journal
            .take_lease(&channel(0), "late", NOW, NOW.plus(1))
            .unwrap()
    };
    assert_eq!(late(50_599), Lease::Another);
    assert_eq!(late(50_600), Lease::TakenOver);
}

#[test]
#[ignore = "needs a PostgreSQL: ci/ledger"]
fn what_was_answered_is_there_after_the_server_was_killed_and_the_agents_go_on() {
    let mut server = Server::start(&[]);
    let answered = [(); CHANNELS as usize].map(|()| AtomicU64::new(0));
    let over = AtomicBool::new(false);
    let failed = AtomicU64::new(0);
    thread::scope(|agents| {
        for agent in 0..CHANNELS {
            let (answered, over, failed) = (&answered[usize::from(agent)], &over, &failed);
            let mut journal = share(&server);
            agents.spawn(move || {
                for total in 1.. {
                    // The same voucher is asked again until it is answered, as clients do.
                    while journal.append_voucher(&voucher(agent, total), NOW).is_err() {
                        failed.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(5));
                    }
                    answered.store(total, Ordering::SeqCst);
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                }
            });
        }
        let mut dice = Dice(7);
        for kill in 0..6 {
            thread::sleep(Duration::from_millis(200 + dice.below(300)));
            server.kill();
            let before = answered
                .each_ref()
                .map(|total| total.load(Ordering::SeqCst));
            server.resume();
            let found = share(&server);
            for at in 0..CHANNELS {
                let known = u128::from(before[usize::from(at)]);
                assert!(
                    top(&found, at) >= known,
                    "kill {kill}: channel {at} lost {known}"
                );
            }
        }
        over.store(true, Ordering::SeqCst);
    });
    assert!(failed.load(Ordering::SeqCst) > 0, "no kill was noticed");
    let total: u64 = answered
        .iter()
        .map(|total| total.load(Ordering::SeqCst))
        .sum();
    println!("{total} vouchers answered over 6 kills, none lost");
}

#[tokio::test]
#[ignore = "needs a PostgreSQL: ci/ledger"]
async fn a_group_is_answered_when_all_of_it_is_durable_and_not_when_the_server_is_gone() {
    let mut server = Server::start(&[]);
    let scribe = Scribe::start(share(&server)).unwrap();
    let ask = |total| scribe.together(move |books| books.append(&voucher(0, total), NOW));
    let (one, two) = tokio::join!(ask(1), ask(2));
    assert_eq!((one, two), (Some(Appended::Stored), Some(Appended::Stored)));
    // Used from the program's own thread as well, between groups.
    scribe
        .with(|journal| journal.release_leases("nobody"))
        .unwrap();
    server.kill();
    assert_eq!(ask(3).await, None);
    server.resume();
    let again = async {
        loop {
            if let Some(answer) = ask(3).await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(again.await, Appended::Stored);
}

#[test]
#[ignore = "needs a PostgreSQL: ci/ledger"]
fn the_database_itself_refuses_to_lower_change_or_lose_a_voucher() {
    let server = Server::start(&[]);
    let mut journal = share(&server);
    journal.append_voucher(&samples::voucher(10), NOW).unwrap();
    for statement in [
        "UPDATE cocoon_ledger.vouchers SET cumulative = decode(repeat('00', 16), 'hex')",
        "DELETE FROM cocoon_ledger.vouchers",
        "TRUNCATE cocoon_ledger.vouchers",
        "INSERT INTO cocoon_ledger.vouchers
         (channel, epoch, cumulative, valid_until, signed, stored_at)
         SELECT channel, epoch, decode(repeat('00', 16), 'hex'), valid_until,
         decode(repeat('00', 189), 'hex'), 0 FROM cocoon_ledger.vouchers",
    ] {
        let refused = server.run(statement).unwrap_err();
        assert!(refused.contains("a voucher"), "{statement}: {refused}");
    }
    let found = journal.highest_voucher(&CHANNEL, EPOCH).unwrap();
    assert_eq!(found, Some(samples::voucher(10)));
    server
        .run(
            "ALTER TABLE cocoon_ledger.vouchers DISABLE TRIGGER USER;
             UPDATE cocoon_ledger.vouchers SET valid_until = valid_until + 1",
        )
        .unwrap();
    let refused = journal.highest_voucher(&CHANNEL, EPOCH).unwrap_err();
    assert!(matches!(refused, JournalError::Damaged { .. }));
    let refused = journal
        .append_voucher(&samples::voucher(11), NOW)
        .unwrap_err();
    assert!(matches!(refused, JournalError::Damaged { .. }));
    let refused = Journal::share(options(&server.address())).unwrap_err();
    assert!(matches!(refused, JournalError::Damaged { .. }));
}

#[test]
#[ignore = "needs a PostgreSQL: ci/ledger"]
fn an_agent_that_lost_its_connection_begins_no_ledger_of_its_own() {
    let server = Server::start(&[]);
    let mut journal = share(&server);
    journal.append_voucher(&samples::voucher(10), NOW).unwrap();
    server
        .run(
            "DROP SCHEMA cocoon_ledger CASCADE;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'host-agent'",
        )
        .unwrap();
    // The first answers that the connection is lost, later ones that it is too early, or why not.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(20) {
        let refused = journal.append_voucher(&samples::voucher(1), NOW);
        if let Err(JournalError::Ledger(LedgerError::Gone)) = refused {
            let there = server.run("SELECT count(*) FROM cocoon_ledger.vouchers");
            assert!(there.is_err(), "a ledger was made");
            return;
        }
        assert!(
            refused.is_err(),
            "a voucher below the answered one was taken"
        );
        thread::sleep(Duration::from_millis(50));
    }
    panic!("the agent never said that the ledger is gone");
}

fn openssl(place: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let done = command
        .args(arguments.split(' '))
        .current_dir(place)
        .output();
    let done = done.unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
#[ignore = "needs a PostgreSQL: ci/ledger"]
fn a_password_goes_over_tls_to_a_server_under_the_named_root_and_to_no_other() {
    let mut server = Server::make(&[
        "listen_addresses=127.0.0.1",
        "ssl=on",
        "password_encryption=scram-sha-256",
    ]);
    let place = server.place().to_owned();
    for name in ["root", "other"] {
        openssl(
            &place,
            &format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                 -subj /CN={name} -keyout {name}.key -out {name}.pem"
            )
            .replace("  ", ""),
        );
    }
    openssl(
        &place,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=db \
         -CA root.pem -CAkey root.key -addext subjectAltName=DNS:localhost \
         -addext basicConstraints=critical,CA:FALSE -keyout data/server.key -out data/server.crt",
    );
    std::fs::write(
        server.data().join("pg_hba.conf"),
        "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
    )
    .unwrap();
    server.resume();
    server.run("ALTER USER agent PASSWORD 'sesame'").unwrap();
    let password = place.join("password");
    std::fs::write(&password, "sesame\n").unwrap();
    let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&password, own).unwrap();
    let port = server.port();
    let under = |root: &str| LedgerOptions {
        password: Some(password.clone()),
        roots: Some(place.join(root)),
        ..options(&format!("postgres://agent@localhost:{port}/postgres"))
    };
    let mut journal = Journal::share(under("root.pem")).unwrap();
    let appended = journal.append_voucher(&samples::voucher(1), NOW).unwrap();
    assert_eq!(appended, Appended::Stored);
    assert!(Journal::share(under("other.pem")).is_err());
    assert!(Journal::share(under("password")).is_err());
    std::fs::write(&password, "open\n").unwrap();
    let refused = Journal::share(under("root.pem")).unwrap_err();
    assert!(matches!(
        refused,
        JournalError::Ledger(LedgerError::Connect(_))
    ));
    let plain = LedgerOptions {
        roots: None,
        ..under("root.pem")
    };
    assert!(
        Journal::share(plain).is_err(),
        "this server takes TLS alone"
    );
}

#[test]
#[ignore = "needs a PostgreSQL: ci/ledger; a figure, not a claim"]
fn figures_of_a_shared_ledger_with_sixty_four_asking_at_once() {
    const ASKING: u8 = 64;
    const EACH: u64 = 10 * ROUNDS;
    let server = Server::start(&[]);
    let scribe = Scribe::start(share(&server)).unwrap();
    let vouchers: Vec<Vec<SignedVoucher>> = (0..ASKING)
        .map(|at| (1..=EACH).map(|total| voucher(at, total)).collect())
        .collect();
    let waits = Arc::new(Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let began = Instant::now();
    runtime.unwrap().block_on(async {
        let mut asking = tokio::task::JoinSet::new();
        for mine in vouchers {
            let (scribe, waits) = (scribe.clone(), Arc::clone(&waits));
            asking.spawn(async move {
                for voucher in mine {
                    let began = Instant::now();
                    let asked = scribe.together(move |books| {
                        let (channel, until) = (voucher.voucher.channel, NOW.plus(600));
                        books.highest(&channel, voucher.voucher.epoch)?;
                        books.take_lease(&channel, "guest", NOW, until)?;
                        books.append(&voucher, NOW)
                    });
                    assert_eq!(asked.await, Some(Appended::Stored));
                    waits.lock().unwrap().push(began.elapsed());
                }
            });
        }
        while let Some(ended) = asking.join_next().await {
            ended.unwrap();
        }
    });
    let took = began.elapsed().as_secs_f64();
    let mut waits = waits.lock().unwrap();
    waits.sort_unstable();
    let all = waits.len();
    println!(
        "{all} vouchers in {took:.2} s: {:.0}/s, p50 {:?}, p99 {:?}",
        all as f64 / took,
        waits[all / 2],
        waits[all * 99 / 100]
    );
}
