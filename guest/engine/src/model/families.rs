//! Every family against what `transformers` computes, from both kinds of files
//! (`tests/fixtures/models`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{PAGE, Row, Shape, TensorSource, Weights, with_runner};
use crate::gguf::ModelFile;
use crate::kernels::Kernels;
use crate::refusal::ModelError;
use crate::safetensors::WeightFiles;

const TOKENS: usize = 260;
const PROMPT: usize = 24;
const FAMILIES: [&str; 8] = [
    "llama",
    "smollm",
    "mistral",
    "qwen2",
    "qwen3",
    "qwen3-moe",
    "gemma3",
    "phi3",
];
/// Of the greatest logit.
const TOLERANCE: f32 = 1e-4;

fn fixture(family: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/models")
        .join(family)
        .join(file)
}

fn expected(family: &str) -> Vec<f32> {
    let bytes = std::fs::read(fixture(family, "logits.f32")).unwrap();
    let (floats, _) = bytes.as_chunks::<4>();
    floats
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

/// Logits after each token of the prompt, computed in steps of so many rows.
fn logits(weights: &Weights, step: usize, threads: usize) -> Vec<f32> {
    let threads = NonZeroUsize::new(threads).unwrap();
    with_runner(weights, Kernels::detect(), threads, |mut runner| {
        let slot = runner.open();
        let row = |position: usize| Row {
            slot,
            token: ((position * 37 + 3) % TOKENS).try_into().unwrap(),
            position,
        };
        let rows: Vec<Row> = (0..PROMPT).map(row).collect();
        let mut all = Vec::new();
        for rows in rows.chunks(step) {
            runner.step(rows);
            let hidden: Vec<_> = (0..rows.len()).map(|row| runner.hidden(row)).collect();
            for row in runner.logits(hidden.iter().map(|hidden| hidden.as_slice())) {
                all.extend_from_slice(&row);
            }
        }
        all
    })
}

/// Bits of the logits after 80 tokens, the first `kept` pages of which another sequence computed.
/// Steps of so many rows, a third of them of a sequence beside it.
fn bits(weights: &Weights, kernels: Kernels, step: usize, threads: usize, kept: usize) -> Vec<u32> {
    let row = |slot, position: usize| Row {
        slot,
        token: ((position * 37 + 3) % TOKENS).try_into().unwrap(),
        position,
    };
    let threads = NonZeroUsize::new(threads).unwrap();
    with_runner(weights, kernels, threads, |mut runner| {
        let first = runner.open();
        let rows: Vec<Row> = (0..kept * PAGE).map(|at| row(first, at)).collect();
        rows.chunks(11).for_each(|rows| runner.step(rows));
        let pages = runner.close_keeping(first, kept);
        assert_eq!(pages.len(), kept);
        let beside = runner.open();
        let slot = runner.open_after(pages);
        let mut others = (0..).map(|at| Row {
            token: (at % TOKENS).try_into().unwrap(),
            ..row(beside, at)
        });
        let own: Vec<usize> = (kept * PAGE..80).collect();
        let mut last = 0;
        for own in own.chunks(step) {
            let mut rows: Vec<Row> = others.by_ref().take(own.len() / 2).collect();
            rows.extend(own.iter().map(|position| row(slot, *position)));
            runner.step(&rows);
            last = rows.len() - 1;
        }
        let hidden = runner.hidden(last);
        let logits = runner.logits(std::iter::once(hidden.as_slice())).remove(0);
        logits.iter().map(|logit| logit.to_bits()).collect()
    })
}

#[test]
fn every_family_has_the_same_bits_after_kept_pages_in_company_and_in_plain_rust() {
    for family in FAMILIES {
        let weights = from_gguf(family).unwrap();
        let alone = bits(&weights, Kernels::detect(), 1, 1, 0);
        for (step, threads, kept) in [(7, 2, 0), (16, 3, 1), (5, 1, 2), (80, 2, 2)] {
            let found = bits(&weights, Kernels::detect(), step, threads, kept);
            assert_eq!(found, alone, "{family}, {step} rows, {kept} pages");
        }
        let plain = bits(&weights, Kernels::portable(), 9, 2, 1);
        assert_eq!(plain, alone, "{family} in plain Rust");
    }
}

fn from_gguf(family: &str) -> Result<Weights, ModelError> {
    let mut file = ModelFile::open(File::open(fixture(family, "model.gguf")).unwrap())?;
    let shape = Shape::read(&file)?;
    Weights::read(&mut file, shape)
}

fn from_safetensors(family: &str) -> Result<Weights, ModelError> {
    let config = std::fs::read(fixture(family, "config.json")).unwrap();
    let shape = Shape::from_config(&config)?;
    let file = File::open(fixture(family, "model.safetensors")).unwrap();
    Weights::read(&mut WeightFiles::open(vec![file])?, shape)
}

fn check(family: &str) {
    let expected = expected(family);
    assert_eq!(expected.len(), PROMPT * TOKENS);
    let most = expected
        .iter()
        .fold(0.0_f32, |most, logit| most.max(logit.abs()));
    assert!(most > 1.0, "logits too flat to show an error: {most}");
    for weights in [
        from_gguf(family).unwrap(),
        from_safetensors(family).unwrap(),
    ] {
        for (step, threads) in [(PROMPT, 1), (5, 2), (1, 1)] {
            let found = logits(&weights, step, threads);
            assert_eq!(found.len(), expected.len());
            let differences = found.iter().zip(&expected);
            let error = differences.fold(0.0_f32, |most, (found, expected)| {
                most.max((found - expected).abs())
            });
            assert!(
                error / most < TOLERANCE,
                "{family} by {step}: {error} of {most}"
            );
        }
    }
}

macro_rules! families {
    ($($test:ident: $family:literal,)*) => {
        $(
            #[test]
            fn $test() {
                check($family);
            }
        )*
    };
}

families! {
    llama_3_has_the_logits_of_transformers: "llama",
    smollm_has_the_logits_of_transformers: "smollm",
    mistral_has_the_logits_of_transformers: "mistral",
    qwen2_has_the_logits_of_transformers: "qwen2",
    qwen3_has_the_logits_of_transformers: "qwen3",
    qwen3_moe_has_the_logits_of_transformers: "qwen3-moe",
    gemma_3_has_the_logits_of_transformers: "gemma3",
    phi_3_has_the_logits_of_transformers: "phi3",
}

#[test]
fn a_configuration_that_asks_for_what_is_not_computed_is_refused_by_name() {
    let text = std::fs::read_to_string(fixture("llama", "config.json")).unwrap();
    for (old, new, member) in [
        ("\"llama\"", "\"gpt_oss\"", "model_type"),
        (
            "\"attention_bias\": false",
            "\"attention_bias\": true",
            "attention_bias",
        ),
        ("\"silu\"", "\"relu\"", "hidden_act"),
        ("\"llama3\"", "\"yarn\"", "rope_parameters"),
        (
            "\"num_attention_heads\": 4",
            "\"num_attention_heads\": 0",
            "num_attention_heads",
        ),
        (
            "\"num_key_value_heads\": 2",
            "\"num_key_value_heads\": 3",
            "num_key_value_heads",
        ),
        ("\"hidden_size\": 64", "\"hidden_size\": 63", "hidden_size"),
        (
            "\"vocab_size\": 260",
            "\"vocab_size\": 1048577",
            "vocab_size",
        ),
        ("\"vocab_size\": 260", "\"vocab_size\": -1", "form"),
        ("{", "[", "form"),
    ] {
        assert!(text.contains(old), "{old}");
        let refused = Shape::from_config(text.replacen(old, new, 1).as_bytes());
        assert_eq!(refused, Err(ModelError::Config { member }), "{new}");
    }
    let long = format!("{text}{}", " ".repeat(1 << 20));
    let member = "length";
    assert_eq!(
        Shape::from_config(long.as_bytes()),
        Err(ModelError::Config { member })
    );
}

#[test]
fn a_tensor_without_a_place_and_a_missing_one_are_refused() {
    let config = std::fs::read_to_string(fixture("qwen3", "config.json")).unwrap();
    let refusal = |config: &str| {
        let shape = Shape::from_config(config.as_bytes()).unwrap();
        let file = File::open(fixture("qwen3", "model.safetensors")).unwrap();
        let mut files = WeightFiles::open(vec![file]).unwrap();
        assert!(files.count() > 0);
        Weights::read(&mut files, shape)
            .err()
            .map(|refused| refused.code())
    };
    assert_eq!(refusal(&config), None);
    let fewer = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    let fewer = fewer.replacen("\"full_attention\",", "", 1);
    assert_eq!(refusal(&fewer), Some("model-tensors-left"));
    let biased = config.replace("\"model_type\": \"qwen3\"", "\"model_type\": \"qwen2\"");
    assert_eq!(refusal(&biased), Some("gguf-tensor"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_changed_byte_of_a_configuration_gives_a_shape_or_a_typed_error(
        family in 0..8_usize, at in 0..2000_usize, value: u8, end in 0..4000_usize,
    ) {
        let mut text = std::fs::read(fixture(FAMILIES[family], "config.json")).unwrap();
        let at = at % text.len();
        text[at] = value;
        text.truncate(end);
        match Shape::from_config(&text) {
            Ok(shape) => prop_assert!(shape.frequencies().iter().all(|angle| angle.is_finite())),
            Err(refused) => prop_assert_eq!(refused.code(), "model-config"),
        }
    }
}
