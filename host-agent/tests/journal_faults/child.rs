//! What the killed, starved and lied-to child does: a life of the journal in few steps, each said
//! aloud before it is tried and after it is durable.

use std::io::{Read as _, Write as _};
use std::path::Path;

use contracts::asset::Asset;
use ed25519_dalek::SigningKey;
use host_agent::clock::UnixSeconds;
use host_agent::journal::{ClaimRecord, ClaimState, Journal, VoucherBook as _};
use protocol::digest::{AccountId, ReceiptsRoot};
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::{SignedVoucher, Voucher};

use super::seed::Dice;

pub(crate) const CHANNELS: u8 = 3;
pub(crate) const EPOCH: u32 = 7;
const STEPS: usize = 14;
const NOW: UnixSeconds = UnixSeconds(1_000);

pub(crate) const fn channel(at: u8) -> TonAddress {
    TonAddress {
        workchain: 0,
        account: AccountId([at; 32]),
    }
}

pub(crate) fn voucher(at: u8, total: u128) -> SignedVoucher {
    let voucher = Voucher {
        network: NetworkId(-7357),
        channel: channel(at),
        epoch: EPOCH,
        cumulative: Nano::new(total).unwrap(),
        receipts_root: ReceiptsRoot::ZERO,
        valid_until: 2_000_000_000,
    };
    voucher.sign(&SigningKey::from_bytes(&[at + 1; 32]))
}

fn say(line: &str) {
    std::io::stdout()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

/// The program of the child. It ends without closing the journal, as programs do that are killed.
pub(crate) fn live(directory: &Path, seed: u64) {
    let mut go = [0];
    std::io::stdin().read_exact(&mut go).unwrap();
    let path = directory.join("journal.sqlite");
    let mut dice = Dice::new(seed);
    let Ok(mut journal) = Journal::open(&path) else {
        return say("refused");
    };
    say("open");
    let mut totals: Vec<u128> = Vec::new();
    for at in 0..CHANNELS {
        let Ok(found) = journal.highest_voucher(&channel(at), EPOCH) else {
            return say("unreadable");
        };
        totals.push(found.map_or(0, |found| found.voucher.cumulative.units()));
    }
    for _ in 0..STEPS {
        match dice.below(12) {
            0..7 => group(&mut journal, &mut dice, &mut totals),
            7 => claim(&mut journal, &mut dice, &totals),
            8 => drop(journal.append_event("kind", "detail", NOW)),
            9 => drop(journal.take_lease(&channel(0), "holder", NOW, NOW.plus(600))),
            10 => check_point(&path),
            _ => {
                drop(journal);
                match Journal::open(&path) {
                    Ok(again) => journal = again,
                    Err(_) => return say("refused"),
                }
            }
        }
    }
    std::process::exit(0);
}

/// Vouchers of several channels, made durable together.
fn group(journal: &mut Journal, dice: &mut Dice, totals: &mut [u128]) {
    let mut asked = Vec::new();
    for _ in 0..=dice.below(4) {
        let at = usize::try_from(dice.below(u64::from(CHANNELS))).unwrap();
        totals[at] += 1 + u128::from(dice.below(50));
        asked.push((u8::try_from(at).unwrap(), totals[at]));
        say(&format!("try {at} {}", totals[at]));
    }
    let durable = journal.together(|books| {
        asked
            .iter()
            .try_for_each(|(at, total)| books.append(&voucher(*at, *total), NOW).map(|_| ()))
    });
    if durable.is_ok() {
        asked
            .iter()
            .for_each(|(at, total)| say(&format!("ack {at} {total}")));
    }
}

fn claim(journal: &mut Journal, dice: &mut Dice, totals: &[u128]) {
    let at = dice.below(u64::from(CHANNELS));
    let total = totals[usize::try_from(at).unwrap()];
    say(&format!("claim {at} {total}"));
    let record = ClaimRecord {
        channel: channel(u8::try_from(at).unwrap()),
        epoch: EPOCH,
        cumulative: Nano::new(total).unwrap(),
        receipts_root: ReceiptsRoot::ZERO,
        state: ClaimState::Sent,
        at: NOW,
        fees: None,
        asset: Asset::Coin,
    };
    if journal.append_claim(&record).is_ok() {
        say(&format!("sent {at} {total}"));
    }
}

/// Another connection moves the log into the database, as another program may.
fn check_point(path: &Path) {
    if let Ok(other) = rusqlite::Connection::open(path) {
        // An error is one of the faults; the journal has to live with it.
        let _ = other.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
    }
}
