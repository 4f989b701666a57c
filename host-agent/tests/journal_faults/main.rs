//! The journal under faults: real kills at every write and synchronisation, torn and failed writes,
//! a full disk, a cut of the power with writes lost and reordered, damaged bytes. Each seed is one
//! life, or two. Nothing that was answered is lost, nothing is there that nobody promised, and a
//! journal that was damaged is refused or tells the truth.
//!
//!     journal_faults [--seeds N] [--from SEED]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

mod child;
mod image;
#[path = "../../../tests/payment/tests/joint/seed.rs"]
mod seed;
mod tracer;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use child::{CHANNELS, EPOCH, channel, voucher};
use host_agent::clock::UnixSeconds;
use host_agent::journal::{Appended, Journal};
use seed::Dice;
use tracer::{EIO, ENOSPC, Event, Fate};

/// Of the ten thousand that `ci/faults` runs, these are part of every test.
const SEEDS: u64 = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, directory, seed] = arguments.as_slice()
        && mode == "child"
    {
        return child::live(Path::new(directory), seed.parse().unwrap());
    }
    let number = |name: &str, otherwise: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.map_or(otherwise, |at| arguments[at + 1].parse().unwrap())
    };
    let (seeds, from) = (number("--seeds", SEEDS), number("--from", 0));
    let mut lives = Lives::default();
    for seed in from..from + seeds {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let kind = seed % 4;
            let count = &mut lives.kinds[usize::try_from(kind).unwrap()];
            *count += 1;
            match kind {
                0 => lives.power_cut(seed),
                1 => lives.kill(seed),
                2 => lives.errors(seed),
                _ => lives.damage(seed),
            }
        }));
        if let Err(failure) = outcome {
            println!("the seed that failed: {seed} (--from {seed} --seeds 1)");
            std::panic::resume_unwind(failure);
        }
    }
    let [cuts, kills, errors, damages] = lives.kinds;
    println!(
        "{seeds} seeds: {cuts} power cuts, {kills} with kills, {errors} with errors, {damages} \
         damaged journals, of which {} were refused; {} vouchers answered, none lost",
        lives.refused, lives.answered
    );
    // A run in which nothing was answered or refused proves nothing.
    assert!(seeds < SEEDS || (lives.answered > seeds && lives.refused > 0));
}

#[derive(Default)]
struct Lives {
    kinds: [u64; 4],
    /// One undisturbed life for some seeds, and the seed that it is of.
    calm: Option<(u64, Vec<Event>)>,
    refused: u64,
    answered: u64,
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().canonicalize().unwrap();
    (place, directory)
}

impl Lives {
    fn calm(&mut self, seed: u64) -> Vec<Event> {
        let of = seed - seed % 16;
        if self.calm.as_ref().is_none_or(|(made, _)| *made != of) {
            let (_place, directory) = place();
            self.calm = Some((of, tracer::run(&directory, of, |_, _| Fate::Happens)));
        }
        self.calm
            .as_ref()
            .map(|(_, events)| events.clone())
            .unwrap()
    }

    /// The power goes at any event of a life.
    fn power_cut(&mut self, seed: u64) {
        let mut dice = Dice::new(seed ^ 0x0050_4f57);
        let events = self.calm(seed);
        let until = dice.one_of(events.len() + 1).unwrap();
        let (_place, directory) = place();
        image::after_power_cut(&events[..until], &mut dice, &directory);
        self.answered += holds(&directory, &events[..until]);
    }

    /// Two lives in one directory, each killed before, in or after one event.
    fn kill(&mut self, seed: u64) {
        let mut dice = Dice::new(seed ^ 0x004b_494c);
        let length = self.calm(seed).len();
        let (_place, directory) = place();
        let mut all = Vec::new();
        for life in 0..2 {
            let last = dice.one_of(length).unwrap();
            let how = dice.below(3);
            let part = dice.next();
            all.extend(tracer::run(&directory, seed + life, |at, event| {
                match (how, event) {
                    _ if at != last => Fate::Happens,
                    (0, _) => Fate::KillBefore,
                    (1, Event::Write { data, .. }) => Fate::Torn(part % (data.len() as u64 + 1)),
                    _ => Fate::KillAfter,
                }
            }));
        }
        self.answered += holds(&directory, &all);
    }

    /// One event fails, or all from one on for a while: a bad disk, or a full one. Then the power
    /// goes as well.
    fn errors(&mut self, seed: u64) {
        let mut dice = Dice::new(seed ^ 0x0045_5252);
        let length = self.calm(seed).len();
        let first = dice.one_of(length).unwrap();
        let count = [1, 2, 5, 1_000][dice.one_of(4).unwrap()];
        let error = [EIO, ENOSPC][dice.one_of(2).unwrap()];
        let (_place, directory) = place();
        let events = tracer::run(&directory, seed, |at, event| match event {
            Event::Said(_) => Fate::Happens,
            _ if at < first || at >= first + count => Fate::Happens,
            Event::Write { data, .. } if dice.percent(25) => {
                Fate::Short(dice.below(data.len() as u64))
            }
            _ => Fate::Fails(error),
        });
        let (_other, cut) = place();
        image::after_power_cut(&events, &mut dice, &cut);
        holds(&cut, &events);
        self.answered += holds(&directory, &events);
    }

    /// Bytes of the database or of its log change behind the journal's back.
    fn damage(&mut self, seed: u64) {
        let mut dice = Dice::new(seed ^ 0x0044_414d);
        let (_place, directory) = place();
        let events = tracer::run(&directory, seed, |_, _| Fate::Happens);
        let files = ["journal.sqlite", "journal.sqlite-wal"];
        let file = files[usize::from(dice.percent(20))];
        let path = directory.join(file);
        let Ok(mut bytes) = fs::read(&path) else {
            return;
        };
        if bytes.is_empty() {
            return;
        }
        match dice.below(3) {
            0 => bytes.truncate(dice.one_of(bytes.len()).unwrap()),
            1 => {
                let at = dice.one_of(bytes.len()).unwrap() / 512 * 512;
                bytes
                    .iter_mut()
                    .skip(at)
                    .take(512)
                    .for_each(|byte| *byte = 0);
            }
            _ => {
                for _ in 0..=dice.below(8) {
                    let at = dice.one_of(bytes.len()).unwrap();
                    bytes[at] ^= 1 << dice.below(8);
                }
            }
        }
        fs::write(&path, bytes).unwrap();
        let of_log = file.ends_with("-wal");
        self.refused += u64::from(!tells_the_truth(&directory, &events, of_log));
    }
}

/// What was said: totals that were tried, and the highest that was answered, by channel.
fn said(events: &[Event], of: u8, word: &str) -> BTreeSet<u128> {
    let lines = events.iter().filter_map(|event| match event {
        Event::Said(line) => Some(line.as_str()),
        _ => None,
    });
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let right = words.next() == Some(word) && words.next() == Some(&of.to_string());
            right.then(|| words.next().unwrap().parse().unwrap())
        })
        .collect()
}

/// The journal opens, holds everything that was answered and nothing that was not tried, and goes
/// on. How many vouchers had been answered.
fn holds(directory: &Path, events: &[Event]) -> u64 {
    let mut journal = Journal::open(&directory.join("journal.sqlite")).expect("it opens");
    let mut answered = 0;
    for at in 0..CHANNELS {
        let (tried, acknowledged) = (said(events, at, "try"), said(events, at, "ack"));
        answered += acknowledged.len() as u64;
        let found = journal
            .highest_voucher(&channel(at), EPOCH)
            .expect("it reads");
        let found = found.map(|found| found.voucher.cumulative.units());
        assert!(
            found >= acknowledged.last().copied(),
            "channel {at}: {found:?} is lost"
        );
        assert!(
            found.is_none_or(|found| tried.contains(&found)),
            "{found:?} was never promised"
        );
        let (claims, sent) = (said(events, at, "claim"), said(events, at, "sent"));
        let last = journal.last_claim(&channel(at), EPOCH).expect("it reads");
        let last = last.map(|claim| claim.cumulative.units());
        assert!(
            last >= sent.last().copied(),
            "channel {at}: a claim is lost"
        );
        assert!(last.is_none_or(|last| claims.contains(&last)));
        let next = voucher(at, found.unwrap_or(0) + 1);
        let appended = journal
            .append_voucher(&next, UnixSeconds(2_000))
            .expect("it goes on");
        assert_eq!(appended, Appended::Stored);
        let highest = journal.highest_voucher(&channel(at), EPOCH).unwrap();
        assert_eq!(highest, Some(next));
    }
    answered
}

/// False when the journal is refused. A log whose end is damaged looks like one that was cut short:
/// then a voucher may be missing, but none is invented.
fn tells_the_truth(directory: &Path, events: &[Event], of_log: bool) -> bool {
    let Ok(journal) = Journal::open(&directory.join("journal.sqlite")) else {
        return false;
    };
    for at in 0..CHANNELS {
        let Ok(found) = journal.highest_voucher(&channel(at), EPOCH) else {
            return false;
        };
        let found = found.map(|found| found.voucher.cumulative.units());
        let (tried, acknowledged) = (said(events, at, "try"), said(events, at, "ack"));
        assert!(
            found.is_none_or(|found| tried.contains(&found)),
            "{found:?} was never promised"
        );
        let whole = found >= acknowledged.last().copied();
        assert!(
            of_log || whole,
            "channel {at}: a damaged journal tells {found:?}"
        );
    }
    true
}
