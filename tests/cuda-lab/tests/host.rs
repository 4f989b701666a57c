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

use cuda_lab::reference::sample;
use cuda_lab::seeded::{mixed, seeded};
use engine_cuda::step::{Choice, Chosen, Row, Source, decode, encode};

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

/// What blocks of so many threads choose.
fn chosen(threads: u32, cases: &[Case]) -> Vec<Chosen> {
    let vocabulary = cases[0].0.len();
    let row = |(slot, (_, choice)): (u32, &Case)| Row {
        slot,
        source: Source::Chosen,
        choice: Some(*choice),
        page: None,
    };
    let rows: Vec<Row> = (0..).zip(cases).map(row).collect();
    let head = [threads, cases.len() as u32, vocabulary as u32];
    let mut input: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
    input.extend((0..rows.len() as u32).flat_map(u32::to_le_bytes));
    input.extend(&encode(&rows, &[])[..40 * rows.len()]);
    let logits = cases.iter().flat_map(|(logits, _)| logits);
    input.extend(logits.flat_map(|logit| logit.to_le_bytes()));
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
    assert_eq!(output.stdout.len(), 12 * rows.len());
    let (results, last) = output.stdout.split_at(8 * rows.len());
    let found = decode(results);
    // What goes on from on the device is what is told.
    for (word, found) in last.as_chunks().0.iter().zip(&found) {
        if let Chosen::Token(token) = found {
            assert_eq!(u32::from_le_bytes(*word), *token);
        }
    }
    found
}

fn compare(threads: u32, cases: &[Case]) {
    let found = chosen(threads, cases);
    for (at, ((logits, choice), found)) in cases.iter().zip(found).enumerate() {
        let expected = Chosen::Token(sample(logits, *choice));
        assert_eq!(found, expected, "row {at}, {threads} threads: {choice:?}");
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
