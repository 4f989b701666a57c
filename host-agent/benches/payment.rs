//! What payment costs a host: checking vouchers, making them durable, working off a backlog.
//!
//! The journal is the real one, on the disk under `--place` (the system's temporary directory
//! otherwise), with every synchronisation. `ci/bench payment` runs this; `--json` prints for
//! machines. OpenSSL's own Ed25519 stands beside the check, in the same run.
#![allow(
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a table is what this program is for"
)]

use std::hint::black_box;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::asset::Asset;
use contracts::channel::{ChannelState, ChannelTerms, Standing};
use ed25519_dalek::SigningKey;
use host_agent::clock::UnixSeconds;
use host_agent::control::channels::Snapshot;
use host_agent::control::decision::{Terms, WellFormed};
use host_agent::control::settlement::Settlement;
use host_agent::journal::{Journal, Scribe};
use host_agent::settle::{Prospect, Threshold, Worth, prospect};
use messages::host_control::VoucherDecision;
use protocol::digest::{AccountId, PayerKey, ReceiptsRoot};
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::{SignedVoucher, Voucher};
use serde_json::json;

const NETWORK: NetworkId = NetworkId(-7357);
const TERMS: Terms = Terms {
    network: NETWORK,
    payee: address(9),
    asset: Asset::Coin,
    minimum_validity: 3_600,
    minimum_window: 600,
};
/// Questions under way at once, as from some busy guests.
const ASKERS: usize = 64;
const STEADY: usize = 30_000;
const BACKLOG: usize = 100_000;

const fn address(account: u64) -> TonAddress {
    let mut bytes = [0; 32];
    let number = account.to_le_bytes();
    let mut at = 0;
    while at < number.len() {
        bytes[at] = number[at];
        at += 1;
    }
    TonAddress {
        workchain: 0,
        account: AccountId(bytes),
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

fn voucher(channel: u64, total: u64) -> SignedVoucher {
    let voucher = Voucher {
        network: NETWORK,
        channel: address(channel),
        epoch: 1,
        cumulative: Nano::from_u64(total),
        receipts_root: ReceiptsRoot::ZERO,
        valid_until: 2_000_000_000,
    };
    voucher.sign(&key())
}

fn state() -> ChannelState {
    ChannelState {
        standing: Standing::Open,
        epoch: 1,
        deposited: Nano::from_u64(1 << 60),
        claimed: Nano::ZERO,
        last_root: ReceiptsRoot::ZERO,
        terms: ChannelTerms {
            payer: address(8),
            payee: TERMS.payee,
            payer_key: PayerKey(key().verifying_key().to_bytes()),
            window: 3_600,
        },
    }
}

fn settlement(question: &SignedVoucher) -> Settlement {
    Settlement {
        terms: TERMS,
        holder: "guest".to_owned(),
        view: Some(Snapshot {
            channel: Some(state().into()),
            time: UnixSeconds(1_800_000_000),
        }),
        question: WellFormed::of(&TERMS, question).expect("it is well formed"),
        now: UnixSeconds(1_800_000_000),
    }
}

/// Vouchers checked in a second on one thread: decoded from their bytes, hashed, verified.
fn checks() -> f64 {
    let wire: Vec<Vec<u8>> = (0..2_000).map(|total| voucher(1, total).encode()).collect();
    let mut best = f64::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        for bytes in &wire {
            let decoded = SignedVoucher::decode(black_box(bytes)).unwrap();
            black_box(WellFormed::of(&TERMS, &decoded).unwrap());
        }
        best = best.min(began.elapsed().as_secs_f64());
    }
    wire.len() as f64 / best
}

/// `openssl speed`: Ed25519 verifications in a second; none without the program.
fn openssl() -> Option<f64> {
    let run = Command::new("openssl")
        .args(["speed", "-seconds", "2", "-mr", "ed25519"])
        .output()
        .ok()?;
    let text = String::from_utf8(run.stdout).ok()?;
    let line = text.lines().find(|line| line.starts_with("+F6:"))?;
    let seconds: f64 = line.rsplit(':').next()?.parse().ok()?;
    Some(if seconds < 1.0 {
        1.0 / seconds
    } else {
        seconds
    })
}

fn journal(place: &PathBuf) -> (tempfile::TempDir, Scribe) {
    let place = tempfile::tempdir_in(place).unwrap();
    let journal = Journal::open(&place.path().join("journal.sqlite")).unwrap();
    (place, Scribe::start(journal).unwrap())
}

struct Steady {
    per_second: f64,
    median: Duration,
    p99: Duration,
    longest: Duration,
}

/// `ASKERS` guests ask, wait for the durable answer, and ask again.
async fn steady(place: &PathBuf) -> Steady {
    let (_place, scribe) = journal(place);
    let each = STEADY / ASKERS;
    let settlements: Vec<Vec<Settlement>> = (0..ASKERS as u64)
        .map(|at| {
            (1..=each as u64)
                .map(|total| settlement(&voucher(at, total)))
                .collect()
        })
        .collect();
    let began = Instant::now();
    let mut askers = Vec::new();
    for own in settlements {
        let scribe = scribe.clone();
        askers.push(tokio::spawn(async move {
            let mut took = Vec::new();
            for asked in own {
                let began = Instant::now();
                let answer = scribe.together(move |books| asked.run(books)).await;
                assert_eq!(answer, Some(VoucherDecision::Continue));
                took.push(began.elapsed());
            }
            took
        }));
    }
    let mut took = Vec::new();
    for asker in askers {
        took.extend(asker.await.unwrap());
    }
    let seconds = began.elapsed().as_secs_f64();
    took.sort();
    Steady {
        per_second: took.len() as f64 / seconds,
        median: took[took.len() / 2],
        p99: took[took.len() * 99 / 100],
        longest: *took.last().unwrap(),
    }
}

/// A hundred thousand channels with one voucher each: all of them stored, then all judged.
async fn backlog(place: &PathBuf) -> (Duration, Duration) {
    let (_place, scribe) = journal(place);
    let settlements: Vec<Settlement> = (0..BACKLOG as u64)
        .map(|at| settlement(&voucher(at, 1_000_000_000)))
        .collect();
    let scribe = Arc::new(scribe);
    let began = Instant::now();
    let mut answers = Vec::new();
    for asked in settlements {
        let scribe = Arc::clone(&scribe);
        answers.push(tokio::spawn(async move {
            scribe.together(move |books| asked.run(books)).await
        }));
    }
    for answer in answers {
        assert_eq!(answer.await.unwrap(), Some(VoucherDecision::Continue));
    }
    let stored = began.elapsed();
    let began = Instant::now();
    let claimable = scribe.with(|journal| judge(journal));
    assert_eq!(claimable, BACKLOG);
    (stored, began.elapsed())
}

/// How many channels have something to claim: read back, every signature checked, judged.
fn judge(journal: &Journal) -> usize {
    let now = UnixSeconds(1_800_000_000);
    let worth = Worth::Due(Threshold {
        minimum: Nano::from_u64(10_000_000),
        fee: Nano::from_u64(5_000_000),
        margin: 86_400,
    });
    let state = state();
    let all = journal.channels().unwrap();
    let claimable = all.iter().filter(|(channel, epoch)| {
        let best = journal.highest_valid_voucher(channel, *epoch, now).unwrap();
        let payee = &TERMS.payee;
        let found = prospect(
            Some(&state),
            *epoch,
            best.as_ref(),
            payee,
            NETWORK,
            worth,
            now,
        );
        matches!(found, Prospect::Claim(..))
    });
    claimable.count()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = arguments.iter().position(|argument| argument == "--place");
    let place = named.map_or_else(std::env::temp_dir, |at| PathBuf::from(&arguments[at + 1]));
    let (checks, peer) = (checks(), openssl());
    let steady = steady(&place).await;
    let (stored, judged) = backlog(&place).await;
    let milliseconds = |took: Duration| took.as_secs_f64() * 1e3;
    if arguments.iter().any(|argument| argument == "--json") {
        let all = json!({
            "checks_per_second": checks,
            "openssl_ed25519_per_second": peer,
            "durable_per_second": steady.per_second,
            "askers": ASKERS,
            "median_ms": milliseconds(steady.median),
            "p99_ms": milliseconds(steady.p99),
            "longest_ms": milliseconds(steady.longest),
            "backlog": BACKLOG,
            "backlog_stored_s": stored.as_secs_f64(),
            "backlog_judged_s": judged.as_secs_f64(),
        });
        println!("{all}");
        return;
    }
    println!("voucher check, one thread      {checks:>10.0} /s   limit at least 12000");
    if let Some(peer) = peer {
        println!("  openssl speed ed25519        {peer:>10.0} /s");
    }
    let Steady { per_second, .. } = steady;
    println!("durable vouchers, {ASKERS} at once  {per_second:>10.0} /s   limit at least 5000");
    let [median, p99, longest] = [steady.median, steady.p99, steady.longest].map(milliseconds);
    println!(
        "  median {median:.1} ms, p99 {p99:.1} ms, longest {longest:.1} ms; limit of p99 20 ms"
    );
    let (stored, judged) = (stored.as_secs_f64(), judged.as_secs_f64());
    println!("backlog of {BACKLOG}: stored in   {stored:>10.1} s    limit 60");
    println!("  read back and judged in      {judged:>10.1} s");
}
