//! Models that give vectors, in transformers' form as sentence-transformers lays them out: the
//! program as init starts it, from files and a text to what `transformers` computes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

mod program;

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use messages::engine_ipc::{Content, EngineEvent, Input, TokenIds};
use onlooker::{holds, resident};
use program::{event, fixture, start, vectors};
use serde_json::{Map, Value, json};

/// Of the greatest element: see `tests/fixtures/models`.
const TOLERANCE: f32 = 1e-4;
/// What the fixtures' vectors are made of: so many of the first tokens of the prompt.
const LENGTHS: [usize; 3] = [1, 7, 24];
const TOKENS: usize = 260;
/// How long an engine may take to wipe what it has just said.
const GONE: Duration = Duration::from_secs(10);
/// The names of a model's files in its image.
const NAMES: [&str; 6] = [
    "config.json",
    "model.safetensors",
    "modules.json",
    "pooling.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

fn prompt(at: usize) -> usize {
    (at * 37 + 3) % TOKENS
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (floats, _) = bytes.as_chunks::<4>();
    floats.iter().map(|one| f32::from_le_bytes(*one)).collect()
}

/// The vector of so many tokens, as `transformers` has it.
fn expected(family: &str, length: usize) -> Vec<f32> {
    let all = floats(&std::fs::read(fixture(family, "vectors.f32")).unwrap());
    let at = LENGTHS.iter().position(|one| *one == length).unwrap();
    let width = all.len() / LENGTHS.len();
    all[at * width..][..width].to_vec()
}

/// Puts a model into a directory as `measure model` does into its image, with this vocabulary.
fn lay_out(family: &str, tokenizer: &Value, directory: &Path) {
    for (from, name) in [
        ("config.json", "config.json"),
        ("model.safetensors", "model.safetensors"),
        ("modules.json", "modules.json"),
        ("1_Pooling/config.json", "pooling.json"),
    ] {
        std::fs::copy(fixture(family, from), directory.join(name)).unwrap();
    }
    let put = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
    put("tokenizer.json", &tokenizer.to_string());
    put("tokenizer_config.json", "{}");
}

/// The vector of one input, from the files of that directory.
fn vector_of(directory: &Path, names: &[&str], input: Input) -> (u32, Vec<f32>) {
    let (child, mut serve) = start(directory, names);
    assert!(matches!(event(&mut serve), EngineEvent::Loaded { .. }));
    let (tokens, told) = vectors(&mut serve, vec![input]);
    drop(serve);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    (tokens, floats(&told[0]))
}

fn check(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let most = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let pairs = found.iter().zip(expected);
    let error = pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(error / most < TOLERANCE, "{error} of {most}");
}

fn special(id: usize, content: &str) -> Value {
    json!({"id": id, "content": content, "special": true})
}

/// What stands around a text.
fn around(first: Option<(&str, usize)>, last: (&str, usize)) -> Value {
    let place = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let mut single: Vec<_> = first.map(|(name, _)| place(name)).into_iter().collect();
    single.push(json!({"Sequence": {"id": "A", "type_id": 0}}));
    single.push(place(last.0));
    let numbers = |(name, id): (&str, usize)| {
        (
            name.to_owned(),
            json!({"id": name, "ids": [id], "tokens": [name]}),
        )
    };
    let named: Map<_, _> = first.into_iter().chain([last]).map(numbers).collect();
    json!({"type": "TemplateProcessing", "single": single, "special_tokens": named})
}

/// Qwen's way: bytes, and after a text the token that is so many tokens of the prompt in.
fn of_bytes(length: usize) -> Value {
    let last = prompt(length - 1);
    let mut vocab = Map::new();
    for at in 0..length - 1 {
        let letter = char::from(b'A' + u8::try_from(at).unwrap());
        vocab.insert(letter.to_string(), prompt(at).into());
    }
    let expression = concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    );
    let split = json!({
        "type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false,
    });
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false});
    vocab.insert("<|end|>".to_owned(), last.into());
    json!({
        "added_tokens": [special(last, "<|end|>")],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, bytes]},
        "post_processor": {
            "type": "Sequence", "processors": [bytes, around(None, ("<|end|>", last))],
        },
        "decoder": bytes,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    })
}

/// BERT's way: words, and around a text the first and a later token of the prompt.
fn of_words(length: usize) -> Value {
    let (first, last) = (prompt(0), prompt(length - 1));
    let mut vocab: Map<_, _> = (1..length - 1)
        .map(|at| (format!("w{at}"), prompt(at).into()))
        .collect();
    let specials = [("[CLS]", first), ("[SEP]", last), ("[UNK]", 259)];
    for (name, id) in specials {
        vocab.insert(name.to_owned(), id.into());
    }
    json!({
        "added_tokens": specials.map(|(name, id)| special(id, name)),
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": around(Some(("[CLS]", first)), ("[SEP]", last)),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab,
        },
    })
}

fn text(text: String) -> Input {
    Input::Text(Content(text))
}

#[test]
fn a_text_of_qwen3_embedding_has_the_vector_of_transformers() {
    let family = "qwen3-embedding";
    for length in &LENGTHS[1..] {
        let place = tempfile::tempdir().unwrap();
        lay_out(family, &of_bytes(*length), place.path());
        let letters = (b'A'..).take(length - 1).map(char::from).collect();
        let (tokens, found) = vector_of(place.path(), &NAMES, text(letters));
        assert_eq!(usize::try_from(tokens).unwrap(), *length);
        check(&found, &expected(family, *length));
    }
}

#[test]
fn a_text_of_bert_has_the_vector_of_transformers() {
    for length in &LENGTHS[1..] {
        let place = tempfile::tempdir().unwrap();
        lay_out("bert", &of_words(*length), place.path());
        let words: Vec<_> = (1..length - 1).map(|at| format!("W{at}")).collect();
        let (tokens, found) = vector_of(place.path(), &NAMES, text(words.join("  ")));
        assert_eq!(usize::try_from(tokens).unwrap(), *length);
        check(&found, &expected("bert", *length));
    }
}

#[test]
fn tokens_have_the_vector_of_transformers_and_nothing_stands_around_them() {
    for (family, tokenizer) in [("qwen3-embedding", of_bytes(7)), ("bert", of_words(7))] {
        let place = tempfile::tempdir().unwrap();
        lay_out(family, &tokenizer, place.path());
        for length in LENGTHS {
            let all = (0..length).map(|at| u32::try_from(prompt(at)).unwrap());
            let input = Input::Tokens(TokenIds(all.collect()));
            let (tokens, found) = vector_of(place.path(), &NAMES, input);
            assert_eq!(usize::try_from(tokens).unwrap(), length);
            check(&found, &expected(family, length));
        }
    }
}

#[test]
fn a_description_that_contradicts_its_model_or_lacks_a_part_ends_the_program() {
    let vectors = ("bert", of_words(7));
    let refused = |change: fn(&Path), names: &[&str]| {
        let place = tempfile::tempdir().unwrap();
        lay_out(vectors.0, &vectors.1, place.path());
        change(place.path());
        let (child, mut serve) = start(place.path(), names);
        let mut said = Vec::new();
        let _ended = serve.read_to_end(&mut said);
        let output = child.wait_with_output().unwrap();
        said.is_empty() && output.stdout.is_empty() && output.status.code() == Some(10)
    };
    let without = |left_out: &str| -> Vec<&str> {
        NAMES.into_iter().filter(|name| *name != left_out).collect()
    };
    assert!(refused(|_| (), &without("pooling.json")));
    assert!(refused(|_| (), &without("modules.json")));
    // An encoder of which nobody says how it is pooled.
    let bare = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert!(refused(|_| (), &bare));
    let changes: [fn(&Path); 5] = [
        |at| std::fs::write(at.join("pooling.json"), "{}").unwrap(),
        |at| {
            let other = r#"{"word_embedding_dimension": 32, "pooling_mode_mean_tokens": true}"#;
            std::fs::write(at.join("pooling.json"), other).unwrap();
        },
        |at| std::fs::write(at.join("modules.json"), "[]").unwrap(),
        |at| {
            let cased = r#"{"do_lower_case": false}"#;
            std::fs::write(at.join("tokenizer_config.json"), cased).unwrap();
        },
        |at| {
            let text = std::fs::read_to_string(at.join("tokenizer.json")).unwrap();
            // The second kind of tokens, which none of a text is.
            let other = text.replacen("\"type_id\":0", "\"type_id\":1", 1);
            assert_ne!(text, other);
            std::fs::write(at.join("tokenizer.json"), other).unwrap();
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert!(refused(change, &NAMES), "change {number}");
    }
    // Its lengths are not followed; what would change texts is (`model_format::sentence`).
    let place = tempfile::tempdir().unwrap();
    lay_out(vectors.0, &vectors.1, place.path());
    let texts = r#"{"max_seq_length": 2, "do_lower_case": false}"#;
    std::fs::write(place.path().join("sentence_bert_config.json"), texts).unwrap();
    let names = [&NAMES[..], &["sentence_bert_config.json"]].concat();
    assert_eq!(vector_of(place.path(), &names, text("w1".to_owned())).0, 3);
}

/// Both ways to tokens, each with a text that is nowhere else: bytes, and words that are made lower
/// case first.
fn both() -> [(&'static str, Value, &'static str); 2] {
    [
        ("qwen3-embedding", of_bytes(24), "VTRPNLJHFDBCEGIKMOQSU"),
        ("bert", of_words(24), "w5 W17 w3 w21 xylograph w2 W9"),
    ]
}

#[test]
fn once_it_is_told_nothing_of_a_text_or_its_vector_is_in_memory() {
    for (family, tokenizer, canary) in both() {
        let place = tempfile::tempdir().unwrap();
        lay_out(family, &tokenizer, place.path());
        let (child, mut serve) = start(place.path(), &NAMES);
        event(&mut serve);
        let inputs = vec![text(canary.to_owned()), text(canary.repeat(2))];
        let (_, told) = vectors(&mut serve, inputs);
        let lower = canary.to_lowercase();
        let needles = [
            canary.as_bytes(),
            lower.as_bytes(),
            &told[0][..48],
            &told[1][..48],
        ];
        for (number, needle) in needles.into_iter().enumerate() {
            assert!(
                holds(std::process::id(), needle),
                "the search finds nothing"
            );
            let asked = Instant::now();
            while holds(child.id(), needle) {
                assert!(
                    asked.elapsed() < GONE,
                    "{family} still holds needle {number}"
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        drop(serve);
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    }
}

#[test]
fn an_engine_is_as_large_after_many_texts_as_after_some() {
    for (family, tokenizer, canary) in both() {
        let place = tempfile::tempdir().unwrap();
        lay_out(family, &tokenizer, place.path());
        let (child, mut serve) = start(place.path(), &NAMES);
        event(&mut serve);
        let mut after = |requests: usize| {
            for request in 0..requests {
                let length = 1 + request % canary.len();
                let part = |first: usize| canary.chars().cycle().skip(first).take(length);
                let inputs = (0..8).map(|first| text(part(first).collect())).collect();
                assert_eq!(vectors(&mut serve, inputs).1.len(), 8);
            }
            resident(child.id())
        };
        let before = after(60);
        let later = after(600);
        assert!(
            later < before + (1 << 20),
            "{family}: {before} bytes, then {later}"
        );
        drop(serve);
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    }
}
