//! The kernel that chooses tokens, compiled for the host and run there thread by thread, beside its
//! reference: the same tokens, however many threads a block has. Needs a compiler of C++; shows the
//! source, and nothing of a GPU.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "tests state claims; a panic is the failure"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use cuda_lab::reference::{exp, sample, shift};
use cuda_lab::seeded::{mixed, seeded};
use engine_cuda::step::{Choice, Chosen, Row, Shifts, Source, decode, encode};

/// The program, compiled once.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("block");
        let compiled = Command::new("c++")
            .args([
                "-std=c++17",
                "-O2",
                "-ffp-contract=off",
                "-U_FORTIFY_SOURCE",
            ])
            .args(["-Wall", "-Werror", "-Wno-unknown-pragmas", "-I"])
            .arg(here.join("tests/host"))
            .arg("-I")
            .arg(here.join("../../guest/engine/kernels"))
            .arg("-o")
            .arg(&program)
            .arg(here.join("tests/host/block.cpp"))
            .status();
        assert!(compiled.unwrap().success(), "the kernel does not compile");
        program
    })
}

/// A row's logits and how its token is chosen.
type Case = (Vec<f32>, Choice);

/// One after another, of as many rows each.
struct Step<'a> {
    shifts: Option<Shifts<'a>>,
    cases: &'a [Case],
}

/// What blocks of so many threads choose in a step, and what they leave of its logits.
struct Left {
    chosen: Vec<Chosen>,
    logits: Vec<f32>,
}

fn words(values: impl Iterator<Item = u32>) -> Vec<u8> {
    values.flat_map(u32::to_le_bytes).collect()
}

fn input(threads: u32, steps: &[Step<'_>]) -> Vec<u8> {
    let first = steps[0].cases;
    let head = [threads, first.len() as u32, first[0].0.len() as u32];
    let mut input = words(head.into_iter());
    for step in steps {
        let row = |(slot, (_, choice)): (u32, &Case)| Row {
            slot,
            source: Source::Chosen,
            choice: Some(*choice),
            page: None,
        };
        let rows: Vec<Row> = (0..).zip(step.cases).map(row).collect();
        input.extend(encode(&rows, &[], step.shifts));
        let logits = step.cases.iter().flat_map(|(logits, _)| logits);
        input.extend(words(logits.map(|logit| logit.to_bits())));
    }
    input
}

fn run(threads: u32, steps: &[Step<'_>]) -> Vec<Left> {
    let input = input(threads, steps);
    let mut child = Command::new(program())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let (rows, vocabulary) = (steps[0].cases.len(), steps[0].cases[0].0.len());
    let each = rows * (12 + 4 * vocabulary);
    assert_eq!(output.stdout.len(), each * steps.len());
    let left = |bytes: &[u8]| {
        let (results, rest) = bytes.split_at(8 * rows);
        let (last, logits) = rest.split_at(4 * rows);
        let chosen = decode(results);
        // What goes on from on the device is what is told.
        for (word, chosen) in last.as_chunks().0.iter().zip(&chosen) {
            if let Chosen::Token(token) = chosen {
                assert_eq!(u32::from_le_bytes(*word), *token);
            }
        }
        let logits = logits.as_chunks().0.iter();
        let logits = logits.map(|word| f32::from_le_bytes(*word)).collect();
        Left { chosen, logits }
    };
    output.stdout.chunks(each).map(left).collect()
}

fn chosen(threads: u32, cases: &[Case]) -> Vec<Chosen> {
    let shifts = None;
    run(threads, &[Step { shifts, cases }]).remove(0).chosen
}

/// That a row's logits became their weights, to the bit, where a token was drawn.
fn compare_weights(logits: &[f32], sharpness: f32, found: &[f32]) {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for (logit, found) in logits.iter().zip(found) {
        if sharpness > 0.0 {
            let expected = exp((logit - most) * sharpness);
            assert_eq!(expected.to_bits(), found.to_bits());
        }
    }
}

fn compare(threads: u32, cases: &[Case]) {
    let shifts = None;
    let left = run(threads, &[Step { shifts, cases }]).remove(0);
    let found = left.logits.chunks_exact(cases[0].0.len()).zip(left.chosen);
    for (at, ((logits, choice), (weights, found))) in cases.iter().zip(found).enumerate() {
        let expected = Chosen::Token(sample(logits, *choice));
        assert_eq!(found, expected, "row {at}, {threads} threads: {choice:?}");
        compare_weights(logits, choice.sharpness, weights);
    }
}

/// Logits about as a model's: most far below the greatest.
fn logits(seed: u64, vocabulary: usize) -> Vec<f32> {
    let of = |at: u64| -> f32 { (0..4).map(|part| seeded(seed, 4 * at + part, 8.0)).sum() };
    (0..vocabulary as u64).map(of).collect()
}

const DRAWN: Choice = Choice {
    sharpness: 1.0,
    ..Choice::GREEDY
};

/// Everything that narrows a draw, alone and together.
fn choices() -> Vec<Choice> {
    let mut choices = vec![Choice::GREEDY];
    for sharpness in [0.5, 1.0, 1000.0 / 700.0, 1000.0] {
        for (top_k, top_p_milli, min_p_milli) in [
            (0, 1000, 0),
            (1, 1000, 0),
            (5, 1000, 0),
            (100_000, 1000, 0),
            (0, 1, 0),
            (0, 500, 0),
            (0, 999, 0),
            (0, 1000, 1),
            (0, 1000, 100),
            (0, 1000, 1000),
            (40, 900, 50),
            (3, 999, 1),
            (200, 990, 0),
        ] {
            choices.push(Choice {
                sharpness,
                drawn: 0,
                top_k,
                top_p_milli,
                min_p_milli,
                ..Choice::GREEDY
            });
        }
    }
    choices
}

#[test]
fn tokens_are_those_of_the_reference_for_all_that_narrows_a_draw() {
    for (threads, vocabulary, rounds) in [(64, 264, 4), (96, 1000, 3), (1024, 4104, 1)] {
        for round in 0..rounds {
            let case = |(at, choice): (u64, Choice)| {
                let seed = mixed(round, at);
                let drawn = mixed(seed, 7);
                (logits(seed, vocabulary), Choice { drawn, ..choice })
            };
            let cases: Vec<_> = (0..).zip(choices()).map(case).collect();
            compare(threads, &cases);
        }
    }
}

#[test]
fn tokens_of_one_weight_are_kept_and_drawn_in_the_order_of_their_numbers() {
    // Few weights, each of many tokens, and one of them so light that it counts as nothing.
    let logits: Vec<f32> = (0..520_u64)
        .map(|at| [2.0, 2.0, 1.0, 0.0, -40.0][mixed(3, at) as usize % 5])
        .collect();
    let mut cases = Vec::new();
    for top_k in [0, 1, 2, 100, 250, 300, 400, 519] {
        for top_p_milli in [1, 300, 650, 1000] {
            for drawn in [0, 1 << 62, mixed(9, 9), u64::MAX] {
                let choice = Choice {
                    drawn,
                    top_k,
                    top_p_milli,
                    ..DRAWN
                };
                cases.push((logits.clone(), choice));
            }
        }
    }
    compare(64, &cases);
    // Of equals the very first and the very last.
    let equals = vec![1.5; 520];
    let drawn = |drawn| (equals.clone(), Choice { drawn, ..DRAWN });
    let found = chosen(64, &[drawn(0), drawn(u64::MAX)]);
    assert_eq!(found, [Chosen::Token(0), Chosen::Token(519)]);
}

#[test]
fn numbers_at_their_edges_are_chosen_as_by_the_reference_and_strange_ones_are_told() {
    let row = |change: fn(&mut [f32])| {
        let mut row = logits(1, 264);
        change(&mut row);
        row
    };
    let edges: [fn(&mut [f32]); 5] = [
        |row| row.fill(-0.0),
        |row| (row[7], row[8]) = (f32::MAX, f32::MAX),
        |row| row[9] = f32::MIN,
        |row| row.fill(f32::MIN),
        |row| {
            row.fill(-1.0);
            (row[5], row[6]) = (-0.0, 0.0);
        },
    ];
    let mut cases = Vec::new();
    for edge in edges {
        for choice in [Choice::GREEDY, DRAWN, Choice { top_k: 3, ..DRAWN }] {
            cases.push((row(edge), choice));
        }
    }
    compare(64, &cases);
    let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(|number| {
        let mut row = logits(1, 264);
        row[100] = number;
        (row, Choice { top_k: 3, ..DRAWN })
    });
    assert_eq!(chosen(64, &strange), [Chosen::Broken; 3]);
}

/// How each of six answers shifts and penalises, at a place.
fn shifting(slot: usize, place: usize) -> Choice {
    Choice {
        sharpness: [0.0, 1.0][slot % 2],
        drawn: mixed(slot as u64, place as u64),
        presence_milli: [0, 700, 0, -900, 2000, 300][slot],
        frequency_milli: [0, 0, 1200, 800, -50, 1][slot],
        first: place == 0,
        shifted: slot == 3 || slot == 5,
        ..Choice::GREEDY
    }
}

#[test]
fn shifts_and_penalties_are_those_of_the_reference_over_an_answer_and_the_next_in_its_place() {
    const PLACES: usize = 6;
    // For slots 3 and 5, in steps 0 and 1; slot 4 has some that are another answer's.
    let told = [3_u32, 4, 5].map(|slot| -> Vec<(u32, i32)> {
        let of = |token: u32| (token * 2 % 263, (token as i32 * 37 % 200 - 100) * 20);
        (0..if slot == 3 { 260 } else { 40 }).map(of).collect()
    });
    let tells = [
        Some((3, &told[0])),
        Some((4, &told[1])),
        Some((5, &told[2])),
    ];
    // Few tokens stand out, so that they come again and again.
    let base: Vec<f32> = (0..264)
        .map(|at| [5.0, 4.6, 4.3, 4.0, -2.0][at.min(4)])
        .collect();
    let cases: Vec<Vec<Case>> = (0..2 * PLACES + 2)
        .map(|step| {
            let place = step.saturating_sub(2) % PLACES;
            (0..6)
                .map(|slot| (base.clone(), shifting(slot, place)))
                .collect()
        })
        .collect();
    let steps: Vec<Step<'_>> = (0..)
        .zip(&cases)
        .map(|(step, cases): (usize, _)| {
            let told = tells.get(step).copied().flatten();
            let shifts = told.map(|(slot, of)| Shifts { slot, of });
            Step { shifts, cases }
        })
        .collect();
    let left = run(64, &steps);
    let mut again = 0;
    // The first two steps only told of shifts.
    for slot in 0..6 {
        let mut counts = vec![0; 264];
        for (step, left) in left.iter().enumerate().skip(2) {
            let (logits, choice) = &cases[step][slot];
            if choice.first {
                counts.fill(0);
            }
            let mut logits = logits.clone();
            let shifts = if choice.shifted {
                &told[slot - 3]
            } else {
                &Vec::new()
            };
            shift(&mut logits, *choice, shifts, &counts);
            let expected = sample(&logits, *choice);
            assert_eq!(
                left.chosen[slot],
                Chosen::Token(expected),
                "{slot}, step {step}"
            );
            let weights = &left.logits[slot * 264..][..264];
            compare_weights(&logits, choice.sharpness, weights);
            counts[expected as usize] += 1;
            again += u32::from(counts[expected as usize] > 1);
        }
    }
    assert!(again > 20, "{again}");
}
