//! Claims about the journal. Faults of the disk and kills are in
//! `tests/journal_faults`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use super::*;
use crate::samples::{self, CHANNEL, EPOCH};

const NOW: UnixSeconds = UnixSeconds(1_000);

/// Tells the clock by which a store judges leases, when that is its own.
pub(super) type Tell<'c> = &'c dyn Fn(u64);

/// Claims that hold whatever the store is: each runs on a file, and all on a PostgreSQL
/// (`postgres::tests`).
macro_rules! of_both_stores {
    ($($claim:ident,)*) => {
        pub(super) const OF_BOTH_STORES: &[(&str, fn(&mut Journal, Tell<'_>))] =
            &[$((stringify!($claim), $claim),)*];

        mod in_a_file {
            $(#[test] fn $claim() {
                let (_place, mut journal) = super::journal();
                super::$claim(&mut journal, &|_| ());
            })*
        }
    };
}

of_both_stores! {
    a_lower_voucher_never_replaces_a_higher_one,
    totals_compare_as_numbers_over_their_whole_range,
    of_equal_totals_the_last_root_counts_and_a_replay_changes_nothing,
    equal_totals_cannot_fill_the_disk,
    a_lower_voucher_that_holds_longer_stays_claimable,
    a_channel_is_leased_to_one_guest_until_it_lapses_or_is_given_back,
    one_lease_is_given_back_and_the_holders_others_stay,
    the_last_step_of_a_claim_is_remembered,
}

fn journal() -> (tempfile::TempDir, Journal) {
    let place = tempfile::tempdir().unwrap();
    let journal = Journal::open(&place.path().join("journal.sqlite")).unwrap();
    (place, journal)
}

fn highest(journal: &Journal) -> u128 {
    let found = journal.highest_voucher(&CHANNEL, EPOCH).unwrap();
    found.unwrap().voucher.cumulative.units()
}

fn a_lower_voucher_never_replaces_a_higher_one(journal: &mut Journal, _: Tell<'_>) {
    for (total, expected) in [
        (10, Appended::Stored),
        (30, Appended::Stored),
        (20, Appended::BelowHighest),
        (30, Appended::AlreadyKnown),
    ] {
        let voucher = samples::voucher(total);
        assert_eq!(journal.append_voucher(&voucher, NOW).unwrap(), expected);
    }
    assert_eq!(highest(journal), 30);
}

fn totals_compare_as_numbers_over_their_whole_range(journal: &mut Journal, _: Tell<'_>) {
    for total in [0, 1, 255, 256, 1 << 63, 1 << 64, Nano::MAX.units()] {
        let voucher = samples::voucher(total);
        let appended = journal.append_voucher(&voucher, NOW).unwrap();
        assert_eq!(appended, Appended::Stored, "{total}");
        assert_eq!(highest(journal), total);
    }
}

fn of_equal_totals_the_last_root_counts_and_a_replay_changes_nothing(
    journal: &mut Journal,
    _: Tell<'_>,
) {
    let first = samples::voucher_with_root(5, 1);
    let second = samples::voucher_with_root(5, 2);
    journal.append_voucher(&first, NOW).unwrap();
    journal.append_voucher(&second, NOW).unwrap();
    let replayed = journal.append_voucher(&first, NOW).unwrap();
    assert_eq!(replayed, Appended::AlreadyKnown);
    let found = journal.highest_voucher(&CHANNEL, EPOCH).unwrap();
    assert_eq!(found, Some(second));
}

fn equal_totals_cannot_fill_the_disk(journal: &mut Journal, _: Tell<'_>) {
    let filled = journal.together(|books| {
        (0..MAX_EQUAL_VOUCHERS).try_for_each(|root| {
            let voucher = samples::voucher_with_root(5, root);
            assert_eq!(books.append(&voucher, NOW)?, Appended::Stored);
            Ok(())
        })
    });
    filled.unwrap();
    let more = samples::voucher_with_root(5, MAX_EQUAL_VOUCHERS);
    let appended = journal.append_voucher(&more, NOW).unwrap();
    assert_eq!(appended, Appended::AlreadyKnown);
}

fn a_lower_voucher_that_holds_longer_stays_claimable(journal: &mut Journal, _: Tell<'_>) {
    let long = samples::voucher_until(100, 9_000);
    let short = samples::voucher_until(101, 2_000);
    journal.append_voucher(&long, NOW).unwrap();
    journal.append_voucher(&short, NOW).unwrap();
    let at = |until| {
        let found = journal.highest_valid_voucher(&CHANNEL, EPOCH, UnixSeconds(until));
        found.unwrap()
    };
    assert_eq!(at(2_000), Some(short));
    assert_eq!(at(2_001), Some(long));
    assert_eq!(at(9_001), None);
}

#[test]
fn vouchers_that_a_higher_one_replaces_are_let_go() {
    let (_place, mut journal) = journal();
    for total in 0..50 {
        journal
            .append_voucher(&samples::voucher(total), NOW)
            .unwrap();
    }
    let rows: i64 = journal
        .file()
        .query_row("SELECT count(*) FROM vouchers", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn the_database_itself_refuses_to_lower_change_or_lose_a_voucher() {
    let (_place, mut journal) = journal();
    journal.append_voucher(&samples::voucher(10), NOW).unwrap();
    for statement in [
        "UPDATE vouchers SET cumulative = zeroblob(16)",
        "DELETE FROM vouchers",
        "INSERT INTO vouchers (channel, epoch, cumulative, valid_until, signed, stored_at)
         SELECT channel, epoch, zeroblob(16), valid_until, zeroblob(189), 0 FROM vouchers",
    ] {
        assert!(
            journal.file().execute(statement, []).is_err(),
            "{statement}"
        );
    }
    assert_eq!(highest(&journal), 10);
}

#[test]
fn what_was_stored_is_there_after_the_journal_was_dropped_without_closing() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("journal.sqlite");
    let mut journal = Journal::open(&path).unwrap();
    journal.append_voucher(&samples::voucher(77), NOW).unwrap();
    std::mem::forget(journal);
    assert_eq!(highest(&Journal::open(&path).unwrap()), 77);
}

#[test]
fn claims_nothing_from_a_damaged_row() {
    let (_place, mut journal) = journal();
    journal.append_voucher(&samples::voucher(10), NOW).unwrap();
    journal
        .file()
        .execute_batch(
            "DROP TRIGGER vouchers_never_change;
             UPDATE vouchers SET cumulative = x'00000000000000000000000000000063'",
        )
        .unwrap();
    let refused = journal.highest_voucher(&CHANNEL, EPOCH).unwrap_err();
    assert!(matches!(refused, JournalError::Damaged { .. }));
}

#[test]
fn refuses_a_later_version_and_a_database_of_something_else() {
    let place = tempfile::tempdir().unwrap();
    let later = place.path().join("later.sqlite");
    let journal = Journal::open(&later).unwrap();
    journal
        .file()
        .pragma_update(None, "user_version", schema::VERSION + 1)
        .unwrap();
    drop(journal);
    assert!(matches!(
        Journal::open(&later).unwrap_err(),
        JournalError::Foreign { .. }
    ));
    let text = place.path().join("text.sqlite");
    std::fs::write(
        &text,
        "not a database, and long enough to look at".repeat(50),
    )
    .unwrap();
    assert!(matches!(
        Journal::open(&text).unwrap_err(),
        JournalError::Foreign { .. }
    ));
}

#[test]
fn nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let (place, mut journal) = journal();
    journal.append_voucher(&samples::voucher(1), NOW).unwrap();
    for file in std::fs::read_dir(place.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
    }
}

fn a_channel_is_leased_to_one_guest_until_it_lapses_or_is_given_back(
    journal: &mut Journal,
    clock: Tell<'_>,
) {
    let mut take = |holder, now: u64| {
        clock(now);
        let now = UnixSeconds(now);
        journal
            .take_lease(&CHANNEL, holder, now, now.plus(600))
            .unwrap()
    };
    assert_eq!(take("a", 0), Lease::Ours);
    assert_eq!(take("b", 1), Lease::Another);
    assert_eq!(take("a", 500), Lease::Ours);
    assert_eq!(take("b", 1_099), Lease::Another);
    assert_eq!(take("b", 1_100), Lease::TakenOver);
    assert_eq!(take("b", 1_101), Lease::Ours);
    journal.release_leases("b").unwrap();
    let mut take = |now| {
        clock(now);
        let now = UnixSeconds(now);
        journal.take_lease(&CHANNEL, "a", now, now.plus(1)).unwrap()
    };
    // Who had it last is remembered when it was given back, too.
    assert_eq!(take(1_102), Lease::TakenOver);
    assert_eq!(take(1_103), Lease::Ours);
}

fn one_lease_is_given_back_and_the_holders_others_stay(journal: &mut Journal, _: Tell<'_>) {
    let until = NOW.plus(600);
    let other = samples::PAYEE;
    for channel in [&CHANNEL, &other] {
        journal.take_lease(channel, "a", NOW, until).unwrap();
    }
    journal.release_lease(&CHANNEL, "b").unwrap();
    let mut take = |channel| journal.take_lease(channel, "b", NOW, until).unwrap();
    assert_eq!(take(&CHANNEL), Lease::Another);
    journal.release_lease(&CHANNEL, "a").unwrap();
    let mut take = |channel| journal.take_lease(channel, "b", NOW, until).unwrap();
    assert_eq!(take(&CHANNEL), Lease::TakenOver);
    assert_eq!(take(&other), Lease::Another);
}

fn the_last_step_of_a_claim_is_remembered(journal: &mut Journal, _: Tell<'_>) {
    let mut claim = ClaimRecord {
        channel: CHANNEL,
        epoch: EPOCH,
        cumulative: Nano::from_u64(10),
        receipts_root: ReceiptsRoot([3; 32]),
        state: ClaimState::Sent,
        at: NOW,
        fees: None,
        asset: Asset::Coin,
    };
    journal.append_claim(&claim).unwrap();
    claim.state = ClaimState::Shown;
    claim.fees = Some(Nano::MAX);
    claim.asset = Asset::Jetton(samples::PAYEE);
    journal.append_claim(&claim).unwrap();
    let last = journal.last_claim(&CHANNEL, EPOCH).unwrap();
    assert_eq!(last, Some(claim));
}

#[test]
fn a_journal_of_the_first_version_is_taken_up_with_all_that_it_holds() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("journal.sqlite");
    let mut journal = Journal::open(&path).unwrap();
    journal.append_voucher(&samples::voucher(10), NOW).unwrap();
    let claim = ClaimRecord {
        channel: CHANNEL,
        epoch: EPOCH,
        cumulative: Nano::from_u64(10),
        receipts_root: ReceiptsRoot([3; 32]),
        state: ClaimState::Shown,
        at: NOW,
        fees: None,
        asset: Asset::Coin,
    };
    journal.append_claim(&claim).unwrap();
    journal
        .file()
        .execute_batch(
            "ALTER TABLE claims DROP COLUMN fees; ALTER TABLE claims DROP COLUMN minter;
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(journal);
    for _ in 0..2 {
        let mut journal = Journal::open(&path).unwrap();
        let highest = journal.highest_voucher(&CHANNEL, EPOCH).unwrap();
        assert_eq!(highest, Some(samples::voucher(10)));
        assert_eq!(journal.claims().unwrap()[0], claim);
        let paid = ClaimRecord {
            fees: Some(Nano::from_u64(7)),
            asset: Asset::Jetton(samples::PAYEE),
            ..claim
        };
        journal.append_claim(&paid).unwrap();
        assert_eq!(journal.last_claim(&CHANNEL, EPOCH).unwrap(), Some(paid));
    }
}
