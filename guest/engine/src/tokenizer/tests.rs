//! The demonstration model's tokens against those of the library `tokenizers`; bytes come back;
//! nothing in a content is special; long runs take few steps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

use proptest::prelude::*;

use super::{EncodeError, Piece, Tokenizer};
use crate::fixture::{Tiny, demonstration_model};
use crate::gguf::ModelFile;

/// What long runs are made of.
const RUNS: [&str; 12] = [
    "a", " ", "^", "1", "\n", "e\u{301}", "ab", "\u{4e2d}", " x", "'", "\u{a0}", "😀",
];

fn smollm() -> Tokenizer {
    Tokenizer::read(&ModelFile::open(demonstration_model()).unwrap()).unwrap()
}

fn tiny() -> Tokenizer {
    Tokenizer::read(&ModelFile::open(Tiny::default().file()).unwrap()).unwrap()
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer
        .encode(&[Piece::Content(text)], usize::MAX >> 8)
        .unwrap()
        .to_vec()
}

fn decode(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<u8> {
    tokens
        .iter()
        .flat_map(|token| tokenizer.text(*token).to_vec())
        .collect()
}

#[test]
fn tokens_are_those_of_the_reference_library() {
    let tokenizer = smollm();
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../tests/fixtures/tokenizer/smollm.json")).unwrap();
    assert!(cases.len() > 150);
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let expected: Vec<u32> = case["tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t.as_u64().unwrap() as u32)
            .collect();
        assert_eq!(encode(&tokenizer, text), expected, "{text:?}");
    }
}

#[test]
fn special_tokens_are_recognised_in_the_skeleton_only() {
    let tokenizer = smollm();
    let text = "<|im_start|>user\n<|im_end|>";
    let skeleton = tokenizer.encode(&[Piece::Skeleton(text)], 100).unwrap();
    assert_eq!((skeleton[0], *skeleton.last().unwrap()), (1, 2));
    let content = encode(&tokenizer, text);
    assert!(content.iter().all(|token| *token > 16), "{content:?}");
    assert_eq!(decode(&tokenizer, &content), text.as_bytes());
    // Neither does one appear where two pieces meet.
    let halves = [Piece::Skeleton("<|im_"), Piece::Content("end|>")];
    assert!(!tokenizer.encode(&halves, 100).unwrap().contains(&2));
}

#[test]
fn text_between_special_tokens_is_split_as_one() {
    let tokenizer = smollm();
    let pieces = [
        Piece::Skeleton("user"),
        Piece::Content(" name\n"),
        Piece::Skeleton("\nx"),
    ];
    let joined = tokenizer.encode(&pieces, 100).unwrap();
    assert_eq!(joined.to_vec(), encode(&tokenizer, "user name\n\nx"));
}

#[test]
fn a_prompt_beyond_the_limit_is_refused_early() {
    let tokenizer = tiny();
    let pieces = [Piece::Content("x y z")];
    assert_eq!(tokenizer.encode(&pieces, 5).unwrap().len(), 5);
    assert_eq!(
        tokenizer.encode(&pieces, 4),
        Err(EncodeError::TooLong { limit: 4 })
    );
}

#[test]
fn merges_take_the_best_pair_first_and_the_leftmost_among_equals() {
    let tokenizer = tiny();
    assert_eq!(encode(&tokenizer, "abcab"), [257, 256]);
    assert_eq!(encode(&tokenizer, "aab"), [u32::from(b'a'), 256]);
}

#[test]
fn long_runs_come_back_whole() {
    let tokenizer = smollm();
    for unit in RUNS {
        let text = unit.repeat((512 << 10) / unit.len());
        let tokens = encode(&tokenizer, &text);
        assert_eq!(decode(&tokenizer, &tokens), text.as_bytes());
    }
}

#[test]
fn a_word_of_n_bytes_weighs_at_most_three_n_offers() {
    let tokenizer = smollm();
    let super::Letters::Bytes { single, .. } = &tokenizer.letters else {
        panic!("the demonstration's vocabulary is one of bytes");
    };
    for unit in RUNS {
        // As if the whole text were one word, which no splitting rule guards against.
        let text = unit.repeat((512 << 10) / unit.len());
        let mut word: Vec<u32> = text
            .bytes()
            .map(|byte| single[usize::from(byte)].unwrap())
            .collect();
        let weighed = tokenizer.merges.apply(&mut word);
        // Each byte is offered once with its neighbour, and each merge offers at most two pairs.
        assert!(weighed <= 3 * text.len(), "{unit:?}: {weighed}");
    }
}

#[test]
fn refuses_a_splitting_rule_that_is_not_known() {
    let mut bytes = Tiny::default().bytes();
    let at = bytes
        .windows(6)
        .position(|window| window == b"smollm")
        .unwrap();
    bytes[at..at + 6].copy_from_slice(b"smollx");
    let refused = Tokenizer::read(&ModelFile::open(crate::fixture::file_of(&bytes)).unwrap());
    assert_eq!(refused.err().unwrap().code(), "gguf-key");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn any_text_comes_back_byte_for_byte(text in ".{0,60}") {
        let tokenizer = tiny();
        prop_assert_eq!(decode(&tokenizer, &encode(&tokenizer, &text)), text.as_bytes());
    }
}
