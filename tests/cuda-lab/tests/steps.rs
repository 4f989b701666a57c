//! What must hold of every step, shown without a GPU on a device that counts.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use cuda_lab::mock::Mock;
use cuda_lab::toll::{Toll, Tolled};
use engine_cuda::decoder::Decoder;
use engine_cuda::device::{Counters, Device, DeviceError};
use engine_cuda::layout::{ARENAS, Arena, Layout, Region};
use engine_cuda::plan::{self, Argument};
use engine_cuda::shape::{BUCKETS, Limits, MAX_ROWS, Precision, Shape, bucket_of};
use engine_cuda::step::{Choice, Chosen, INPUT_BYTES, OUTPUT_BYTES, Row, Shifts, Source};

const LIMITS: Limits = Limits {
    slots: 256,
    context: 1024,
    pages: 4096,
};

fn layout(precision: Precision) -> Layout {
    Layout::new(Shape::llama_8b(), LIMITS, precision).unwrap()
}

/// Each second one with all that narrows a draw.
fn rows(count: u32) -> Vec<Row> {
    let narrowed = Choice {
        sharpness: 1.25,
        drawn: 1 << 60,
        top_k: 40,
        top_p_milli: 900,
        min_p_milli: 50,
        presence_milli: 300,
        frequency_milli: -5,
        first: true,
        shifted: true,
    };
    let row = |slot| Row {
        slot,
        source: Source::Chosen,
        choice: Some(if slot % 2 == 0 {
            narrowed
        } else {
            Choice::GREEDY
        }),
        page: None,
    };
    (0..count).map(row).collect()
}

const ONE_STEP: Counters = Counters {
    crossings: 2,
    bytes: INPUT_BYTES + OUTPUT_BYTES,
    allocations: 0,
    launches: 1,
};

#[test]
fn every_bucket_is_one_copy_in_one_copy_out_one_launch_and_no_allocation() {
    for precision in [Precision::Bf16, Precision::Fp8] {
        let mut decoder = Decoder::new(Mock::default(), layout(precision)).unwrap();
        for bucket in BUCKETS {
            for count in [bucket / 2 + 1, bucket] {
                let before = decoder.counters();
                let of = [(3, 500); 300];
                let shifts = Shifts { slot: 1, of: &of };
                let shifts = (count % 2 == 0).then_some(shifts);
                decoder.launch(&rows(count), &[1, 2, 3], shifts).unwrap();
                assert_eq!(decoder.collect().unwrap().len(), count as usize);
                assert_eq!(decoder.counters().since(before), ONE_STEP, "{count} rows");
            }
        }
    }
}

#[test]
fn two_steps_may_be_in_flight_and_a_third_may_not() {
    let mut decoder = Decoder::new(Mock::default(), layout(Precision::Bf16)).unwrap();
    let before = decoder.counters();
    decoder.launch(&rows(1), &[], None).unwrap();
    decoder.launch(&rows(1), &[], None).unwrap();
    assert_eq!(decoder.launch(&rows(1), &[], None), Err(DeviceError::Order));
    let first = decoder.collect().unwrap();
    decoder.launch(&rows(1), &[], None).unwrap();
    let second = decoder.collect().unwrap();
    // The mock's tokens count steps: each output is that of its own step.
    assert_eq!([first[0], second[0]], [0, 1].map(Chosen::Token));
    decoder.collect().unwrap();
    assert_eq!(decoder.collect(), Err(DeviceError::Order));
    assert_eq!(decoder.counters().since(before).launches, 3);
}

#[test]
fn more_rows_than_the_largest_bucket_are_refused() {
    let mut decoder = Decoder::new(Mock::default(), layout(Precision::Bf16)).unwrap();
    let refused = decoder.launch(&rows(MAX_ROWS + 1), &[], None);
    assert_eq!(refused, Err(DeviceError::Bounds));
    assert_eq!(bucket_of(MAX_ROWS + 1), None);
    assert_eq!(
        [1, 3, 8, 9, 200].map(bucket_of),
        [1, 4, 8, 16, 256].map(Some)
    );
}

#[test]
fn every_region_is_inside_its_arena_and_none_lies_on_another() {
    for precision in [Precision::Bf16, Precision::Fp8] {
        let layout = layout(precision);
        let mut regions: BTreeSet<(usize, u64, u64)> = BTreeSet::new();
        let number = |arena: Arena| ARENAS.iter().position(|a| *a == arena).unwrap();
        let mut add = |region: Region| {
            assert_eq!(region.offset % 256, 0);
            regions.insert((number(region.arena), region.offset, region.bytes));
        };
        add(layout.embedding);
        for bucket in BUCKETS {
            for parity in [0, 1] {
                for launch in plan::step(&layout, bucket, parity) {
                    if launch.kernel == "wipe" {
                        continue; // takes a part of the input, and the pages of all layers
                    }
                    for argument in launch.arguments {
                        if let Argument::At(region) = argument {
                            add(region);
                        }
                    }
                }
            }
        }
        let regions: Vec<_> = regions.into_iter().collect();
        for pair in regions.windows(2) {
            let ((arena, offset, bytes), (next, after, _)) = (pair[0], pair[1]);
            assert!(arena != next || offset + bytes <= after, "{pair:?}");
        }
        for (arena, offset, bytes) in regions {
            assert!(offset + bytes <= layout.sizes[arena]);
        }
    }
}

#[test]
fn an_8b_step_reads_the_bytes_that_its_weights_have() {
    let layout = layout(Precision::Bf16);
    // 32 x (6144 x 4096 + 4096 x 4096 + 28672 x 4096 + 4096 x 14336) + 128256 x 4096, 16 bits each.
    let matrices = 2 * (32 * 218_103_808_u64 + 525_336_576);
    let norms = 4 * 65 * 4096;
    assert_eq!(layout.bytes_of_a_step(), matrices + norms);
    assert_eq!(layout.bytes_of_a_position(), 131_072);
}

#[test]
fn shapes_without_kernels_are_refused_by_name() {
    let shape = Shape::llama_8b();
    let refused = |shape: Shape| {
        Layout::new(shape, LIMITS, Precision::Bf16)
            .unwrap_err()
            .what
    };
    assert_eq!(
        refused(Shape { head: 96, ..shape }),
        "pair of head width and group"
    );
    assert_eq!(
        refused(Shape {
            width: 4100,
            ..shape
        }),
        "width"
    );
    assert_eq!(
        refused(Shape {
            kv_heads: 5,
            ..shape
        }),
        "number of heads"
    );
    assert_eq!(
        refused(Shape {
            kv_heads: 0,
            ..shape
        }),
        "number of heads"
    );
    assert_eq!(refused(Shape { layers: 0, ..shape }), "number of layers");
    assert_eq!(
        refused(Shape {
            vocabulary: 0,
            ..shape
        }),
        "vocabulary"
    );
}

#[test]
fn the_toll_of_a_step_is_two_crossings_and_their_bytes() {
    let toll = Toll {
        crossing: Duration::from_micros(100),
        allocation: Duration::from_micros(400),
        bytes_per_microsecond: 1000,
    };
    let tolled = Tolled::new(Mock::default(), toll);
    let mut decoder = Decoder::new(tolled, layout(Precision::Bf16)).unwrap();
    // Seven allocations and the angles at the start, and nothing for graphs.
    let angles = 4 * 1024 * 128;
    let start = 7 * toll.allocation + toll.of(angles);
    assert_eq!(decoder.device().paid(), start);
    for _ in 0..3 {
        decoder.launch(&rows(5), &[], None).unwrap();
        decoder.collect().unwrap();
    }
    let step = toll.of(INPUT_BYTES) + toll.of(OUTPUT_BYTES);
    assert_eq!(decoder.device().paid(), start + 3 * step);
    assert_eq!(decoder.device().inner().counters().crossings, 7);
}

#[test]
fn the_published_toll_lets_a_gigabyte_cross_in_a_quarter_of_a_second() {
    let toll = Toll::PUBLISHED;
    assert_eq!(
        toll.of(1_000_000_000),
        Duration::from_millis(250) + toll.crossing
    );
    assert_eq!(toll.of(0), toll.crossing);
}
