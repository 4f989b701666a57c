//! Whole steps of small seeded models: tokens and logits of the reference, alone and in a batch;
//! and what must hold of a step besides its arithmetic.

use cuda_lab::reference::{Cache, Model};
use cuda_lab::seeded::{self, filling, mixed, tensors};
use engine_cuda::decoder::Decoder;
use engine_cuda::device::{Counters, Device};
use engine_cuda::driver::Gpu;
use engine_cuda::layout::{Layout, Region};
use engine_cuda::plan::Launch;
use engine_cuda::shape::{Limits, PAGE, Precision, Shape};
use engine_cuda::step::{Choice, Chosen, INPUT_BYTES, OUTPUT_BYTES, Row, Source};

use crate::lab::{error, floats, gpu};

const SEED: u64 = 42;
const PAGES: u32 = 512;

fn shape(head: u32, heads: u32, kv_heads: u32, width: u32) -> Shape {
    Shape {
        layers: 2,
        width,
        inner: 768,
        heads,
        kv_heads,
        head,
        vocabulary: 1000,
        rope_base: 10_000.0,
        epsilon: 1e-5,
    }
}

/// One of each kernel of attention.
fn shapes() -> [Shape; 6] {
    [
        shape(64, 9, 3, 576),
        shape(128, 4, 1, 512),
        shape(64, 8, 2, 512),
        shape(128, 8, 1, 256),
        shape(64, 4, 4, 320),
        shape(128, 2, 2, 256),
    ]
}

fn decoder(shape: Shape, precision: Precision) -> Decoder<Gpu> {
    let limits = Limits {
        slots: 64,
        context: 512,
        pages: PAGES,
    };
    let layout = Layout::new(shape, limits, precision).unwrap();
    let mut decoder = Decoder::new(gpu(), layout).unwrap();
    let launches: Vec<Launch> = tensors(decoder.layout(), SEED)
        .iter()
        .flat_map(filling)
        .collect();
    decoder.device().run(&launches).unwrap();
    decoder
}

fn token(at: u32) -> u32 {
    (mixed(1234, u64::from(at)) % 1000) as u32
}

/// A fed row of a slot whose pages are 8 * slot and the seven behind it.
fn fed(slot: u32, position: u32, token: u32, choice: Option<Choice>) -> Row {
    let begins = position.is_multiple_of(PAGE);
    Row {
        slot,
        source: Source::Fed { token, position },
        choice,
        page: begins.then_some((position / PAGE, 8 * slot + position / PAGE)),
    }
}

/// Feeds a prompt in steps of 64 rows; the token behind it.
fn prompt(decoder: &mut Decoder<Gpu>, slot: u32, tokens: &[u32]) -> Chosen {
    let mut last = Chosen::Nothing;
    let rows: Vec<Row> = (0..)
        .zip(tokens)
        .map(|(at, token)| {
            let ends = at as usize + 1 == tokens.len();
            fed(slot, at, *token, ends.then_some(Choice::GREEDY))
        })
        .collect();
    for rows in rows.chunks(64) {
        decoder.launch(rows, &[], None).unwrap();
        last = *decoder.collect().unwrap().last().unwrap();
    }
    last
}

fn logits(decoder: &mut Decoder<Gpu>, row: u64) -> Vec<f32> {
    let all = decoder.layout().work.logits;
    let region = Region {
        offset: all.offset + row * 4000,
        bytes: 4000,
        ..all
    };
    let mut bytes = vec![0; 4000];
    decoder.device().read(region, &mut bytes).unwrap();
    floats(&bytes)
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn tokens_and_logits_are_those_of_the_reference() {
    for precision in [Precision::Bf16, Precision::Fp8] {
        for shape in shapes() {
            let mut decoder = decoder(shape, precision);
            let model = Model::new(decoder.layout(), SEED);
            let mut cache = Cache::default();
            let tokens: Vec<u32> = (0..150).map(token).collect();
            let mut expected = Vec::new();
            for token in &tokens {
                expected = model.logits(&mut cache, *token);
            }
            let mut next = prompt(&mut decoder, 3, &tokens);
            let mut found = logits(&mut decoder, 21);
            let (mut worst, mut position) = (0.0_f64, 150);
            for step in 0..12 {
                let off = error(&found, &expected);
                worst = worst.max(off);
                assert!(off < 1e-2, "{shape:?} {precision:?} step {step}: {off:e}");
                let best = best(&expected);
                let (Chosen::Token(token), gap) = (next, gap(&expected)) else {
                    panic!("{next:?}");
                };
                assert!(
                    token == best || gap < 0.05,
                    "{token} is not {best}, gap {gap}"
                );
                expected = model.logits(&mut cache, token);
                let row = Row {
                    source: Source::Chosen,
                    ..fed(3, position, 0, Some(Choice::GREEDY))
                };
                decoder.launch(&[row], &[], None).unwrap();
                next = decoder.collect().unwrap()[0];
                found = logits(&mut decoder, 0);
                position += 1;
            }
            eprintln!(
                "{precision:?} head {} group {}: {worst:.1e}",
                shape.head,
                shape.group()
            );
        }
    }
}

fn best(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (at, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = at;
        }
    }
    best as u32
}

fn gap(logits: &[f32]) -> f32 {
    let mut sorted = logits.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted[sorted.len() - 1] - sorted[sorted.len() - 2]
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn a_row_has_the_same_logits_alone_and_in_every_batch_bit_for_bit() {
    for precision in [Precision::Bf16, Precision::Fp8] {
        let mut decoder = decoder(shape(128, 4, 1, 512), precision);
        let tokens: Vec<u32> = (0..140).map(token).collect();
        for slot in 0..64 {
            let rows: Vec<Row> = (0..)
                .zip(&tokens[..if slot == 0 { 140 } else { 1 + slot as usize }])
                .map(|(at, token)| fed(slot, at, (*token + slot) % 1000, None))
                .collect();
            decoder.launch(&rows, &[], None).unwrap();
            decoder.collect().unwrap();
        }
        let mut alone = None;
        for count in [1_u32, 2, 3, 7, 8, 9, 16, 31, 33, 64] {
            // The same position again: it writes the same keys and values once more.
            let rows: Vec<Row> = (0..count)
                .map(|slot| {
                    let position = if slot == 0 { 139 } else { slot };
                    fed(
                        slot,
                        position,
                        (tokens[position as usize] + slot) % 1000,
                        None,
                    )
                })
                .collect();
            decoder.launch(&rows, &[], None).unwrap();
            decoder.collect().unwrap();
            let bits: Vec<u32> = logits(&mut decoder, 0)
                .iter()
                .map(|v| v.to_bits())
                .collect();
            let first = alone.get_or_insert_with(|| bits.clone());
            assert_eq!(&bits, first, "{precision:?}, {count} rows");
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn a_step_launched_before_the_last_ones_output_was_read_goes_on_from_it() {
    let mut decoder = decoder(shape(64, 9, 3, 576), Precision::Bf16);
    let run = |decoder: &mut Decoder<Gpu>, slot: u32, ahead: bool| {
        let tokens: Vec<u32> = (0..40).map(token).collect();
        let mut found = vec![prompt(decoder, slot, &tokens)];
        let row = |position| Row {
            source: Source::Chosen,
            ..fed(slot, position, 0, Some(Choice::GREEDY))
        };
        let mut launched = 0;
        for at in 0..20 {
            while launched < 20 && launched < at + 1 + u32::from(ahead) {
                decoder.launch(&[row(40 + launched)], &[], None).unwrap();
                launched += 1;
            }
            found.extend(decoder.collect().unwrap());
        }
        found
    };
    let one_by_one = run(&mut decoder, 1, false);
    assert_eq!(run(&mut decoder, 2, true), one_by_one);
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn a_step_is_one_copy_in_one_copy_out_one_launch_and_no_allocation() {
    let mut decoder = decoder(shape(64, 9, 3, 576), Precision::Bf16);
    for count in [1, 2, 4, 8, 16, 32, 64] {
        let before = decoder.counters();
        let rows: Vec<Row> = (0..count)
            .map(|slot| fed(slot, 0, 5, Some(Choice::GREEDY)))
            .collect();
        decoder.launch(&rows, &[], None).unwrap();
        decoder.collect().unwrap();
        let expected = Counters {
            crossings: 2,
            bytes: INPUT_BYTES + OUTPUT_BYTES,
            allocations: 0,
            launches: 1,
        };
        assert_eq!(decoder.counters().since(before), expected);
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn wiped_pages_are_zero_in_every_layer_and_no_others() {
    let mut decoder = decoder(shape(64, 4, 4, 320), Precision::Bf16);
    let layers: Vec<Region> = decoder
        .layout()
        .layers
        .iter()
        .map(|layer| layer.pages)
        .collect();
    for region in &layers {
        decoder
            .device()
            .run(&[seeded::rows(*region, 9, 1.0)])
            .unwrap();
    }
    let wiped = [0, 5, 17, PAGES - 1];
    decoder.launch(&[], &wiped, None).unwrap();
    decoder.collect().unwrap();
    for region in layers {
        let mut bytes = vec![0; region.bytes as usize];
        decoder.device().read(region, &mut bytes).unwrap();
        for (page, bytes) in (0..).zip(bytes.chunks_exact(bytes.len() / PAGES as usize)) {
            let zero = bytes.iter().all(|byte| *byte == 0);
            assert_eq!(zero, wiped.contains(&page), "page {page}");
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn a_row_with_a_number_that_is_not_finite_fails_alone() {
    let mut decoder = decoder(shape(64, 8, 2, 512), Precision::Bf16);
    let embedding = decoder.layout().embedding;
    let row = Region {
        offset: embedding.offset + 3 * 1024,
        bytes: 2,
        ..embedding
    };
    decoder.device().write(row, &[0xc0, 0x7f]).unwrap();
    for count in [2, 8, 16, 64] {
        let rows: Vec<Row> = (0..count)
            .map(|slot| fed(slot, 0, if slot == 1 { 3 } else { 4 }, Some(Choice::GREEDY)))
            .collect();
        decoder.launch(&rows, &[], None).unwrap();
        for (slot, chosen) in decoder.collect().unwrap().iter().enumerate() {
            assert_eq!(
                *chosen == Chosen::Broken,
                slot == 1,
                "{count} rows, row {slot}"
            );
        }
    }
}
