//! Descriptions as versions of sentence-transformers write them, and one fault of each.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::format;
use std::string::ToString as _;
use std::vec;

use super::*;

const OLDER: &str = r#"[
  {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
  {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
  {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
]"#;
const NEWER: &str = r#"[
  {"idx": 0, "name": "0", "path": "",
   "type": "sentence_transformers.base.modules.transformer.Transformer"},
  {"idx": 1, "name": "1", "path": "1_Pooling",
   "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"}
]"#;

#[test]
fn the_place_of_the_pooling_is_read_from_both_spellings() {
    for text in [OLDER, NEWER] {
        assert_eq!(modules(text.as_bytes()).as_deref(), Ok("1_Pooling"));
    }
}

#[test]
fn modules_that_would_change_vectors_are_refused() {
    for (from, to, expected) in [
        ("models.Normalize", "models.Dense", SentenceError::Modules),
        ("models.Pooling", "models.CNN", SentenceError::Modules),
        (
            "sentence_transformers.models.Pooling",
            "own.Pooling",
            SentenceError::Modules,
        ),
        ("\"path\": \"\"", "\"path\": \"0\"", SentenceError::Modules),
        ("\"1_Pooling\"", "\"../1\"", SentenceError::Path),
        ("\"1_Pooling\"", "\"\"", SentenceError::Path),
        ("\"idx\": 1", "\"kwargs\": []", SentenceError::Form),
        ("]", ",1]", SentenceError::Form),
    ] {
        assert!(OLDER.contains(from), "{from}");
        let text = OLDER.replacen(from, to, 1);
        assert_eq!(modules(text.as_bytes()), Err(expected), "{to}");
    }
    assert_eq!(modules(b"[]"), Err(SentenceError::Modules));
    let three = OLDER.replace("\n]", &format!(",{}", &OLDER[1..]));
    assert_eq!(modules(three.as_bytes()), Err(SentenceError::Modules));
    assert_eq!(
        modules(&vec![b' '; MAX_BYTES + 1]),
        Err(SentenceError::TooLong)
    );
}

#[test]
fn exactly_one_way_of_pooling_is_read_from_both_spellings() {
    let older = |flags: &str| format!("{{\"word_embedding_dimension\": 64, {flags}}}");
    let newer = |mode: &str| format!("{{\"embedding_dimension\": 64, \"pooling_mode\": {mode}}}");
    let of = |text: &str| pooling(text.as_bytes()).map(|pooling| (pooling.mode, pooling.width));
    let last = r#""pooling_mode_lasttoken": true, "pooling_mode_mean_tokens": false,
        "include_prompt": true"#;
    assert_eq!(of(&older(last)), Ok((Mode::Last, 64)));
    let taken = [
        ("mean", Mode::Mean),
        ("cls", Mode::First),
        ("lasttoken", Mode::Last),
    ];
    for (name, mode) in taken {
        assert_eq!(of(&newer(&format!("\"{name}\""))), Ok((mode, 64)));
    }
    for text in [
        older("\"pooling_mode_max_tokens\": true"),
        older("\"pooling_mode_mean_tokens\": true, \"pooling_mode_max_tokens\": true"),
        older("\"pooling_mode_mean_tokens\": true, \"pooling_mode_cls_token\": true"),
        older("\"pooling_mode_mean_tokens\": true, \"pooling_mode\": \"mean\""),
        older("\"include_prompt\": true"),
        newer("\"weightedmean\""),
    ] {
        assert_eq!(of(&text), Err(SentenceError::Pooling), "{text}");
    }
    for text in [
        "[]".to_string(),
        "{}".to_string(),
        newer("[\"mean\", \"cls\"]"),
        older("\"pooling_mode_of_the_future\": true"),
    ] {
        assert_eq!(of(&text), Err(SentenceError::Form), "{text}");
    }
}

#[test]
fn texts_that_are_changed_first_are_refused() {
    assert_eq!(
        texts(br#"{"max_seq_length": 512, "do_lower_case": false}"#),
        Ok(())
    );
    assert_eq!(
        texts(br#"{"do_lower_case": true}"#),
        Err(SentenceError::Lowers)
    );
    assert_eq!(texts(b"1"), Err(SentenceError::Form));
}
