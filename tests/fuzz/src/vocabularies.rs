//! Small vocabularies, one of each way of a `tokenizer.json` that the engine knows: seeds of the
//! target `tokenizer`, and what hostile ones are made of. Deliberately not here: whether tokens are
//! right, which `guest/engine/src/tokenizer/json_tests.rs` holds against the library.

use serde_json::{Map, Value, json};

use crate::pieces::join;

/// Words of Llama 3; of Qwen with other numerals.
const WORDS: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The input of a vocabulary whose texts start and end as [`file`] has it.
pub fn input(tokenizer: &[u8]) -> Vec<u8> {
    let settings = br#"{"bos_token":"<s>","eos_token":{"content":"</s>"}}"#;
    join(&[settings, tokenizer])
}

/// Each way's name and its input.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let words = |expression: &str| {
        let split = json!({
            "type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated",
        });
        json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]})
    };
    let digits = json!({"type": "Digits", "individual_digits": true});
    let smollm = json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]});
    let space = json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"});
    let prepend = json!({"type": "Prepend", "prepend": "\u{2581}"});
    let legacy = json!({"type": "Sequence", "normalizers": [prepend, space]});
    let metaspace = json!({
        "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": false,
    });
    let at_spaces = json!({
        "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
    });
    let (null, nfc) = (Value::Null, json!({"type": "NFC"}));
    let qwen = words(&WORDS.replace("{1,3}", ""));
    let files = [
        ("gpt-2", file(false, [null.clone(), bytes(true)])),
        ("smollm", file(false, [null.clone(), smollm])),
        ("llama-3", file(false, [null.clone(), words(WORDS)])),
        ("qwen", file(false, [nfc, qwen])),
        ("gemma", file(true, [space, at_spaces])),
        ("llama-2", file(true, [legacy, null.clone()])),
        ("mistral", file(true, [null, metaspace])),
    ];
    let named = files.map(|(name, file)| (name, input(file.to_string().as_bytes())));
    named.to_vec()
}

fn bytes(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": use_regex})
}

/// A few letters, two rules, and three added tokens; of pieces, or of bytes. What is done to texts
/// first, and what to their words.
fn file(of_pieces: bool, [normalizer, pre_tokenizer]: [Value; 2]) -> Value {
    let space = if of_pieces { "\u{2581}" } else { "\u{120}" };
    let single = ["a", "b", "c", "1", "s", "'", space];
    let merges = [["a", "b"], [space, "s"]];
    let joined = merges.map(|pair| pair.concat());
    let names = single
        .iter()
        .copied()
        .chain(joined.iter().map(String::as_str));
    let mut vocab: Map<_, _> = (0..)
        .zip(names)
        .map(|(id, name): (u32, _)| (name.to_owned(), id.into()))
        .collect();
    if of_pieces {
        for (id, byte) in (9..).zip(0..=255_u32) {
            vocab.insert(format!("<0x{byte:02X}>"), id.into());
        }
    }
    let first = vocab.len();
    let added = |at: usize, content: &str, special: bool| {
        let id = first + at;
        json!({"id": id, "content": content, "special": special})
    };
    let added = [
        added(0, "<s>", true),
        added(1, "</s>", true),
        added(2, "\n\n", false),
    ];
    let decoder = if of_pieces {
        json!({"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]})
    } else {
        bytes(true)
    };
    let place = |kind: &str, id: &str| json!({kind: {"id": id, "type_id": 0}});
    let template = json!({
        "type": "TemplateProcessing",
        "single": [place("SpecialToken", "<s>"), place("Sequence", "A")],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [vocab.len()], "tokens": ["<s>"]}},
    });
    json!({
        "added_tokens": added, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
        "post_processor": template, "decoder": decoder,
        "model": {
            "type": "BPE", "byte_fallback": of_pieces, "vocab": vocab, "merges": merges,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;
    use crate::models::vocabulary;

    #[test]
    fn every_way_that_is_known_is_taken() {
        for (name, input) in all() {
            assert_eq!(vocabulary(&input), Outcome::Taken, "{name}");
        }
    }
}
