//! serve's account, the client's and the host's rules, joined: under any order of loss, cuts,
//! crashes, reboots and lies, with parallel streams on one channel, one channel at two guests,
//! handovers between them, expiring vouchers, restored backups, closes and new epochs. Nothing here
//! is a copy of the rules: only disk, network and chain are stand-ins. `docs/spec/payment.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    clippy::result_large_err,
    clippy::print_stderr,
    reason = "tests state claims; a panic is the failure"
)]

mod payer;
mod provider;
mod seed;
mod world;

use world::{Malice, World};

/// Sequences of each kind; `ci/faults` names more.
const SEQUENCES: u64 = 1_500;
const STEPS: u64 = 400;

/// Runs every sequence of a kind; the seed of the first that fails is in the message.
fn run(malice: Malice, then: impl Fn(&mut World)) -> (u64, u64) {
    let (mut tokens, mut handovers) = (0, 0);
    for seed in 0..SEQUENCES {
        let mut world = World::new(seed, malice);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..STEPS).for_each(|_| world.step());
            then(&mut world);
        }));
        if let Err(failure) = outcome {
            eprintln!("{malice:?}, seed {seed}");
            std::panic::resume_unwind(failure);
        }
        tokens += world.tokens;
        handovers += world.handovers;
    }
    (tokens, handovers)
}

#[test]
fn both_sides_keep_their_promise_and_go_on_after_1500_sequences_of_faults() {
    let went_on = std::cell::Cell::new(0);
    let (tokens, handovers) = run(Malice::Nobody, |world| {
        went_on.set(went_on.get() + u64::from(world.goes_on_after_the_faults()));
    });
    // A test in which nothing happens proves nothing.
    assert!(tokens > SEQUENCES * 20, "{tokens} tokens in all");
    assert!(handovers > SEQUENCES, "{handovers} handovers");
    assert!(went_on.get() > SEQUENCES / 4, "{} went on", went_on.get());
}

#[test]
fn a_client_that_signs_anything_leaves_no_more_than_an_increment_a_stream_unpaid() {
    run(Malice::Client, |_| {});
}

#[test]
fn a_guest_that_says_anything_is_paid_for_nothing_that_did_not_arrive() {
    run(Malice::Guest, |_| {});
}

#[test]
fn a_host_that_shows_any_voucher_gets_no_signature_for_what_did_not_arrive() {
    run(Malice::Host, |_| {});
}
