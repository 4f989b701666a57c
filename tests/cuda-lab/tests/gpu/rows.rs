//! Norm, embedding, turning, attention and choice, each alone.

use cuda_lab::reference;
use cuda_lab::seeded::{bf16, mixed};
use engine_cuda::device::Device;
use engine_cuda::layout::{Layout, Region};
use engine_cuda::plan;
use engine_cuda::shape::{Limits, PAGE, Precision, Shape};
use engine_cuda::step::{Choice, Row, Source, decode, encode};

use crate::lab::{bf16s, error, gpu, random, to_bf16, unpacked};
use engine_cuda::driver::Gpu;

struct Bench {
    gpu: Gpu,
    layout: Layout,
}

fn bench(head: u32, heads: u32, kv_heads: u32) -> Bench {
    let shape = Shape {
        layers: 1,
        width: 576,
        inner: 64,
        heads,
        kv_heads,
        head,
        vocabulary: 5000,
        rope_base: 10_000.0,
        epsilon: 1e-5,
    };
    let limits = Limits {
        slots: 16,
        context: 1024,
        pages: 512,
    };
    let layout = Layout::new(shape, limits, Precision::Bf16).unwrap();
    let mut gpu = gpu();
    gpu.reserve(&layout, 64, 64).unwrap();
    Bench { gpu, layout }
}

impl Bench {
    fn put(&mut self, to: Region, bytes: &[u8]) {
        self.gpu.write(to, bytes).unwrap();
    }

    fn put_floats(&mut self, to: Region, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.put(to, &bytes);
    }

    fn put_numbers(&mut self, to: Region, values: &[u32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.put(to, &bytes);
    }

    fn bytes(&mut self, from: Region, bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        self.gpu.read(from, &mut out).unwrap();
        out
    }
}

/// Where number i of a position's key (half 0) or value (half 1) lies in a page: the layout of
/// `kernels/attention.cu`, written once more.
fn place(width: usize, half: usize, position: usize, i: usize) -> usize {
    if half == 1 {
        return (width + i) * 32 + position;
    }
    let (tile, g) = (position % 8 / 2, position / 8 * 2 + position % 2);
    ((tile * (width / 32) + i / 32) * 32 + g * 4 + i % 32 / 8) * 8 + i % 8
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn norms_are_those_of_the_reference() {
    let mut bench = bench(64, 9, 3);
    for bucket in [1_u32, 2, 8, 16, 64, 256] {
        let stream = random(1, bucket as usize * 576);
        let weights = random(2, 576);
        let work = bench.layout.work;
        bench.put_floats(work.stream, &stream);
        bench.put_floats(bench.layout.norm, &weights);
        let poison = to_bf16(&vec![f32::NAN; 256 * 576]);
        bench.put(work.normed, &poison);
        let launch = plan::norm(&bench.layout, bench.layout.norm, bucket);
        bench.gpu.run(&[launch]).unwrap();
        let count = bucket as usize;
        let found = bf16s(&bench.bytes(work.normed, count.next_multiple_of(8) * 576 * 2));
        let expected: Vec<f32> = stream
            .chunks_exact(576)
            .flat_map(|row| reference::norm(row, &weights, 1e-5))
            .collect();
        let off = error(&unpacked(&found, count, 576), &expected);
        assert!(off < 3e-3, "bucket {bucket}: {off:e}");
    }
}

/// Keys and values of answers of some lengths, in pages that stand in no order and hold no numbers
/// behind the end.
struct Filled {
    tables: Vec<u32>,
    pages: Vec<f32>,
    caches: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Filled {
    fn new(shape: &Shape, lengths: &[u32]) -> Self {
        let (head, kv_heads) = (shape.head as usize, shape.kv_heads as usize);
        let row = kv_heads * head;
        let mut tables = vec![u32::MAX; 16 * 32];
        let mut pages = vec![f32::NAN; 512 * 2 * PAGE as usize * row];
        let mut caches = Vec::new();
        let mut next = 0;
        for (slot, length) in (0_u64..).zip(lengths) {
            let keys = random(10 + slot, *length as usize * row);
            let values = random(50 + slot, *length as usize * row);
            for position in 0..*length as usize {
                let table = &mut tables[slot as usize * 32 + position / 32];
                if *table == u32::MAX {
                    *table = next * 37 % 512;
                    next += 1;
                }
                for at in 0..row {
                    let page = (*table as usize * kv_heads + at / head) * 2 * 32 * head;
                    for (half, all) in [(0, &keys), (1, &values)] {
                        let to = place(head, half, position % 32, at % head);
                        pages[page + to] = all[position * row + at];
                    }
                }
            }
            caches.push((keys, values));
        }
        Self {
            tables,
            pages,
            caches,
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn attention_is_that_of_the_reference_for_every_group_and_length() {
    for (head, heads, kv_heads) in [
        (64, 9, 3),
        (64, 8, 2),
        (64, 2, 2),
        (128, 8, 2),
        (128, 8, 1),
        (128, 2, 2),
    ] {
        let mut bench = bench(head, heads, kv_heads);
        let (layout, work) = (bench.layout.clone(), bench.layout.work);
        let shape = layout.shape;
        let lengths = [
            1_u32, 2, 31, 32, 33, 127, 128, 129, 130, 256, 500, 1000, 1024,
        ];
        let filled = Filled::new(&shape, &lengths);
        let (tables, pages, caches) = (&filled.tables, &filled.pages, &filled.caches);
        let count = lengths.len();
        let query = random(3, count * (heads * head) as usize);
        let scale = std::f32::consts::LOG2_E / (head as f32).sqrt();
        let scaled: Vec<f32> = query.iter().map(|v| bf16(v * scale)).collect();
        bench.put(layout.layers[0].pages, &to_bf16(pages));
        bench.put_numbers(work.tables, tables);
        bench.put_numbers(work.slots, &(0..count as u32).collect::<Vec<u32>>());
        let positions: Vec<u32> = lengths.iter().map(|length| length - 1).collect();
        bench.put_numbers(work.positions, &[positions, vec![u32::MAX; 3]].concat());
        bench.put(work.queries, &to_bf16(&scaled));
        let launch = plan::attention(&layout, &layout.layers[0], 16);
        // Twice: the counts of ended parts must be as they were.
        bench.gpu.run(&[launch.clone(), launch]).unwrap();
        let width = (heads * head) as usize;
        let found = unpacked(
            &bf16s(&bench.bytes(work.attended, 16 * width * 2)),
            16,
            width,
        );
        for (at, (keys, values)) in caches.iter().enumerate() {
            let query = &query[at * width..][..width];
            let expected = reference::attention(&shape, query, keys, values);
            let off = error(&found[at * width..][..width], &expected);
            assert!(
                off < 6e-3,
                "head {head} {heads}/{kv_heads}, {}: {off:e}",
                lengths[at]
            );
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn drawn_tokens_are_those_of_the_reference() {
    let mut bench = bench(64, 9, 3);
    let (layout, work) = (bench.layout.clone(), bench.layout.work);
    let logits: Vec<f32> = random(8, 64 * 5000).iter().map(|v| v * 6.0).collect();
    let rows: Vec<Row> = (0..64)
        .map(|slot| Row {
            slot: slot % 16,
            source: Source::Chosen,
            choice: Some(Choice {
                sharpness: if slot % 4 == 0 {
                    0.0
                } else {
                    40.0 / slot as f32
                },
                drawn: mixed(5, u64::from(slot)),
                top_k: [0, 40, 1000][slot as usize % 3],
                top_p_milli: [1000, 900][slot as usize / 8 % 2],
                min_p_milli: [0, 10][slot as usize / 16 % 2],
                ..Choice::GREEDY
            }),
            page: None,
        })
        .collect();
    bench.put_floats(work.logits, &logits);
    bench.put(work.inputs[0], &encode(&rows, &[], None));
    bench.put_numbers(work.positions, &(0..64).collect::<Vec<u32>>());
    let launch = plan::sample(&layout, 64, work.inputs[0], work.outputs[0]);
    bench.gpu.run(&[launch]).unwrap();
    let chosen = decode(&bench.bytes(work.outputs[0], 64 * 8));
    let mut unlike_greedy = 0;
    for (at, chosen) in chosen.iter().enumerate() {
        let logits = &logits[at * 5000..][..5000];
        let choice = rows[at].choice.unwrap();
        let expected = reference::sample(logits, choice);
        assert_eq!(
            *chosen,
            engine_cuda::step::Chosen::Token(expected),
            "row {at}"
        );
        unlike_greedy += u32::from(expected != reference::sample(logits, Choice::GREEDY));
    }
    assert!(unlike_greedy > 20, "{unlike_greedy}");
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn queries_and_keys_are_turned_and_pages_written() {
    let mut bench = bench(64, 9, 3);
    let (layout, work) = (bench.layout.clone(), bench.layout.work);
    let angles: Vec<f32> = (0..1024_u32)
        .flat_map(|position| (0..32).map(move |pair| (position, pair)))
        .flat_map(|(position, pair)| {
            let angle = f64::from(position) * 10_000_f64.powf(-f64::from(pair) / 32.0);
            [angle.cos() as f32, angle.sin() as f32]
        })
        .collect();
    let qkv = random(4, 2 * 960);
    bench.put_floats(layout.angles, &angles);
    bench.put_floats(work.qkv, &qkv);
    bench.put_numbers(work.slots, &[1, 2]);
    bench.put_numbers(work.positions, &[700, 33]);
    let mut tables = vec![u32::MAX; 16 * 32];
    (tables[32 + 21], tables[64 + 1]) = (9, 4);
    bench.put_numbers(work.tables, &tables);
    let launch = plan::turn_and_store(&layout, &layout.layers[0], 2);
    bench.gpu.run(&[launch]).unwrap();
    let queries = bf16s(&bench.bytes(work.queries, 2 * 576 * 2));
    let pages = bf16s(&bench.bytes(layout.layers[0].pages, 10 * 2 * 32 * 192 * 2));
    for (row, position, page) in [(0, 700_u32, 9), (1, 33, 4)] {
        let mut expected = qkv[row * 960..][..960].to_vec();
        reference::turn(&mut expected[..768], 64, position, 10_000.0);
        let scale = std::f32::consts::LOG2_E / 8.0;
        let query: Vec<f32> = expected[..576].iter().map(|v| v * scale).collect();
        assert!(error(&queries[row * 576..][..576], &query) < 3e-3);
        for kv in 0..3 {
            for (half, from) in [(0, 576), (1, 768)] {
                let page = (page * 3 + kv) * 2 * 32 * 64;
                let found: Vec<f32> = (0..64)
                    .map(|i| pages[page + place(64, half, position as usize % 32, i)])
                    .collect();
                let expected = &expected[from + kv * 64..][..64];
                assert!(error(&found, expected) < 3e-3, "row {row} {kv} {half}");
            }
        }
    }
}
