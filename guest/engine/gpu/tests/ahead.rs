//! That a step is launched before the one in front is looked at, in every bucket of rows, with one
//! copy in, one out and no allocation each; and what that does to answers that are given up.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use cuda_lab::journal::{Call, Journal, Told};
use cuda_lab::mock::{Mock, ROOM};
use cuda_lab::simulated::Simulated;
use engine::backend::{Backend as _, Fed, Given, PAGE, Row, Slot, Wanted};
use engine_cuda::decoder::Decoder;
use engine_cuda::device::{Counters, Device};
use engine_cuda::layout::Layout;
use engine_cuda::shape::{BUCKETS, Limits, Precision, Shape};
use engine_gpu::backend::GpuBackend;
use messages::engine_ipc::TokenBias;
use protocol::receipt::Sampling;

const GREEDY: Sampling = Sampling {
    temperature_milli: 0,
    top_p_milli: 1000,
    top_k: 0,
    min_p_milli: 0,
    presence_milli: 0,
    frequency_milli: 0,
    seed: 5,
    max_tokens: 12,
};

/// With all that narrows and shifts a draw.
const NARROWED: Sampling = Sampling {
    temperature_milli: 700,
    top_p_milli: 900,
    top_k: 40,
    min_p_milli: 50,
    presence_milli: 500,
    frequency_milli: -20,
    ..GREEDY
};

/// Of every step, whatever is in it.
const STEP: Counters = Counters {
    crossings: 2,
    bytes: 15_976,
    allocations: 0,
    launches: 1,
};

fn backend<D: Device>(device: D) -> GpuBackend<D> {
    let shape = Shape {
        layers: 1,
        width: 96,
        inner: 160,
        heads: 4,
        kv_heads: 1,
        head: 64,
        vocabulary: 264,
        rope_base: 10_000.0,
        epsilon: 1e-5,
    };
    let limits = Limits {
        slots: 256,
        context: 256,
        pages: 512,
    };
    let layout = Layout::new(shape, limits, Precision::Bf16).unwrap();
    GpuBackend::new(Decoder::new(device, layout).unwrap())
}

/// A row of each sequence at a position, and that a token is wanted after each.
fn rows(slots: &[Slot], token: Fed, position: usize) -> (Vec<Row>, Vec<Wanted>) {
    let row = |slot: &Slot| Row {
        slot: *slot,
        token,
        position,
    };
    let wanted = |row: usize| Wanted {
        row,
        sampling: if row.is_multiple_of(2) {
            NARROWED
        } else {
            GREEDY
        },
        place: 1,
        drawn: 1 << 60,
    };
    let rows: Vec<_> = slots.iter().map(row).collect();
    let wanted = (0..rows.len()).map(wanted).collect();
    (rows, wanted)
}

#[test]
fn in_every_bucket_the_next_step_is_launched_before_the_last_is_looked_at() {
    const STEPS: u64 = 6;
    for bucket in BUCKETS {
        let journal = Journal::default();
        let mut backend = backend(Told::new(Mock::default(), journal.clone()));
        let slots: Vec<_> = (0..bucket)
            .map(|_| backend.open_after(Vec::new(), &[]))
            .collect();
        let before = backend.counters();
        let (all, wanted) = rows(&slots, Fed::Known(7), 0);
        let mut flying = backend.step(&all, &wanted).unwrap();
        for step in 1..STEPS {
            let position = usize::try_from(step).unwrap();
            let (all, wanted) = rows(&slots, Fed::Chosen, position);
            let next = backend.step(&all, &wanted).unwrap();
            let given = backend.give(&flying.iter().collect::<Vec<_>>()).unwrap();
            // The mock's tokens say slot and step: each is that of its own.
            for (slot, given) in (0..).zip(given) {
                let expected: u32 = slot + u32::try_from(step - 1).unwrap();
                assert!(matches!(given, Given::Token(token) if token == expected));
            }
            flying = next;
        }
        backend.rest().unwrap();
        let mut expected = vec![Call::Sent(1), Call::Launched(1)];
        for step in 1..STEPS {
            expected.extend([Call::Sent(step + 1), Call::Launched(step + 1)]);
            expected.extend([Call::Fetched(step), Call::Waited(step)]);
        }
        expected.extend([Call::Fetched(STEPS), Call::Waited(STEPS)]);
        assert_eq!(journal.calls(), expected, "{bucket} rows");
        let found = backend.counters().since(before);
        let all = Counters {
            crossings: STEPS * STEP.crossings,
            bytes: STEPS * STEP.bytes,
            allocations: 0,
            launches: STEPS,
        };
        assert_eq!(found, all, "{bucket} rows");
    }
}

#[test]
fn two_steps_are_in_flight_at_most_whoever_asks_for_their_tokens() {
    let journal = Journal::default();
    let mut backend = backend(Told::new(Mock::default(), journal.clone()));
    let slots = [backend.open_after(Vec::new(), &[])];
    for position in 0..5 {
        let (all, _) = rows(&slots, Fed::Known(1), position);
        backend.step(&all, &[]).unwrap();
    }
    let mut flying = 0;
    for call in journal.calls() {
        match call {
            Call::Launched(_) => flying += 1,
            Call::Waited(_) => flying -= 1,
            Call::Sent(_) | Call::Fetched(_) => {}
        }
        assert!((0..=2).contains(&flying), "{:?}", journal.calls());
    }
    assert_eq!(flying, 2);
}

/// A sequence with rows until a position, the last of which wants a token, in one step.
fn until<D: Device>(backend: &mut GpuBackend<D>, from: usize, last: usize) -> Slot {
    let slot = backend.open_after(Vec::new(), &[]);
    let row = |position| Row {
        slot,
        token: Fed::Known(1),
        position,
    };
    let all: Vec<_> = (from..=last).map(row).collect();
    let wanted = Wanted {
        row: all.len() - 1,
        sampling: GREEDY,
        place: 0,
        drawn: 0,
    };
    backend.step(&all, &[wanted]).unwrap();
    slot
}

#[test]
fn pages_are_kept_at_once_where_every_row_in_them_was_looked_at_and_else_after_it() {
    let waits = |last| {
        let journal = Journal::default();
        let mut backend = backend(Told::new(Mock::default(), journal.clone()));
        let slot = until(&mut backend, 0, last);
        assert_eq!(backend.close_keeping(slot, 1).len(), 1);
        journal.calls().contains(&Call::Waited(1))
    };
    assert!(waits(PAGE - 1));
    assert!(!waits(PAGE));
}

#[test]
fn a_page_that_a_row_in_flight_finds_broken_is_kept_for_nobody() {
    let kept = |from| {
        let mut backend = backend(Simulated::with_room_of(ROOM));
        let slot = until(&mut backend, from, 2 * PAGE - 1);
        backend.close_keeping(slot, 2).len()
    };
    assert_eq!(kept(0), 2);
    // Nobody computed the first position: what is read there is not a number.
    assert_eq!(kept(1), 0);
}

#[test]
fn a_sequence_in_the_place_of_one_in_flight_is_not_broken_by_it() {
    let mut backend = backend(Simulated::with_room_of(ROOM));
    let broken = until(&mut backend, 1, PAGE);
    backend.close_keeping(broken, 0);
    let next = until(&mut backend, 0, PAGE);
    assert_eq!(next, broken);
    backend.rest().unwrap();
    assert_eq!(backend.close_keeping(next, 1).len(), 1);
}

#[test]
fn shifts_of_several_answers_in_one_step_are_told_one_a_step_and_once() {
    let launched = |answers: usize, shifted: usize| {
        let journal = Journal::default();
        let mut backend = backend(Told::new(Mock::default(), journal.clone()));
        let bias = TokenBias { token: 1, milli: 5 };
        let open = |at: usize| {
            let biases = if at < shifted {
                vec![bias; 300]
            } else {
                Vec::new()
            };
            backend.open_after(Vec::new(), &biases)
        };
        let slots: Vec<_> = (0..answers).map(open).collect();
        for position in 0..3 {
            let (all, wanted) = rows(&slots, Fed::Known(1), position);
            backend.step(&all, &wanted).unwrap();
        }
        backend.rest().unwrap();
        let calls = journal.calls();
        calls
            .iter()
            .filter(|call| matches!(call, Call::Launched(_)))
            .count()
    };
    assert_eq!(launched(4, 0), 3);
    // The first step tells one for itself.
    assert_eq!(launched(4, 1), 3);
    assert_eq!(launched(4, 3), 5);
}
