//! How much of a device's memory is taken: weights, what steps work on, as many pages as fit, and a
//! rest that stays free.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests state claims; a panic is the failure"
)]

mod seeded;

use cuda_lab::mock::{Mock, ROOM};
use cuda_lab::simulated::Simulated;
use engine::{Opened, Plain};
use engine_cuda::decoder::Decoder;
use engine_cuda::device::{Device as _, DeviceError};
use engine_cuda::layout::Layout;
use engine_gpu::RunError;
use engine_gpu::load::{layout, onto};
use seeded::{SHAPE, Seeded};

const GIB: u64 = 1 << 30;

/// Llama 3.1 8B's.
const EIGHT_B: Plain = Plain {
    layers: 32,
    width: 4096,
    inner: 14336,
    heads: 32,
    kv_heads: 8,
    head: 128,
    vocabulary: 128_256,
    context: 131_072,
    epsilon: 1e-5,
};

fn taken(layout: &Layout) -> u64 {
    layout.sizes.iter().sum()
}

#[test]
fn a_cache_takes_what_is_left_but_for_a_sixteenth_and_not_a_page_more() {
    let page = 32 * layout(&EIGHT_B, ROOM).unwrap().bytes_of_a_position();
    for room in [24 * GIB, 40 * GIB, ROOM] {
        let layout = layout(&EIGHT_B, room).unwrap();
        let most = room - room / 16;
        assert!(taken(&layout) <= most, "{room}");
        assert!(taken(&layout) + page > most, "{room}");
        // And a device of that size takes it.
        let mut decoder = Decoder::new(Mock::with_room_of(room), layout.clone()).unwrap();
        assert_eq!(decoder.device().room().unwrap(), room - taken(&layout));
        let small = Mock::with_room_of(taken(&layout) - 1);
        let refused = Decoder::new(small, layout).unwrap_err();
        assert!(matches!(
            refused,
            DeviceError::Driver {
                call: "cuMemAlloc",
                ..
            }
        ));
    }
}

#[test]
fn a_cache_is_no_larger_than_what_answers_and_kept_prompts_may_have() {
    // 32 answers of 8192 positions, and as much again that is kept.
    let layout = layout(&EIGHT_B, 1024 * GIB).unwrap();
    assert_eq!(layout.limits.pages, 2 * 32 * 256);
}

#[test]
fn less_than_an_answer_of_the_longest_context_is_too_little() {
    let refused = |room| match layout(&EIGHT_B, room) {
        Err(RunError::Device(DeviceError::Room)) => None,
        Err(error) => panic!("{error:?}"),
        Ok(layout) => Some(layout.limits.pages),
    };
    assert_eq!(refused(0), None);
    assert_eq!(refused(16 * GIB), None);
    let least = (16..24)
        .map(|room| refused(room * GIB))
        .find(Option::is_some);
    assert!(least.flatten().unwrap() >= 256);
}

#[test]
fn the_device_is_asked_and_its_refusal_is_the_programs_status() {
    let refused = |change: fn(&mut Seeded), room: Option<u64>| {
        let mut model = Seeded::new(SHAPE);
        change(&mut model);
        let opened = Opened::open(model.files()).unwrap();
        let device = || room.map(Simulated::with_room_of).ok_or(DeviceError::Absent);
        onto(opened, device)
            .map(|_| ())
            .map_err(|error| error.exit_status())
    };
    assert_eq!(refused(|_| {}, Some(GIB)), Err(14));
    assert_eq!(refused(|_| {}, Some(2 * GIB)), Ok(()));
    assert_eq!(refused(|_| {}, None), Err(14));
    // What there are no kernels for is refused before a device is looked for.
    assert_eq!(refused(|model| model.shape.head = 32, None), Err(13));
}
