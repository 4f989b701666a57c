//! Each known way of a `tokenizer.json` against the library `tokenizers`, with which transformers
//! reads the same file; what is not known is refused by its part.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Piece, Tokenizer, bytes};
use super::{Described, Wants};
use crate::refusal::ModelError;
use crate::tokenizer::EncodeError;

const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// What texts of the tests are made of, names of added tokens among it.
const SCRAPS: [&str; 30] = [
    "a", "b", "c", "ab", "abc", " ", "  ", "\n", "\n\n", "\t", "1", "123", "é", "e\u{301}",
    "\u{301}", "\u{323}", "'s", ".", "!?", "<|s|>", "<t>", "<|w|>", "<|s", "中", "😀", "\u{a0}",
    "▁", " a", "A", "\u{212b}",
];

fn added(id: u32, content: &str, special: bool, strips: bool) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": strips, "rstrip": strips,
        "normalized": false, "special": special,
    })
}

/// The three added tokens, with numbers from there on.
fn added_from(first: usize) -> Value {
    let first = u32::try_from(first).unwrap();
    json!([
        added(first, "<|s|>", true, false),
        added(first + 1, "<t>", false, false),
        added(first + 2, "<|w|>", true, true),
    ])
}

fn split(expression: &str) -> Value {
    json!({
        "type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false,
    })
}

fn byte_level(use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        "use_regex": use_regex,
    })
}

fn sequence(member: &str, steps: &[Value]) -> Value {
    json!({"type": "Sequence", member: steps})
}

/// All bytes, a few merges, three added tokens.
fn of_bytes() -> Value {
    let mut vocab = serde_json::Map::new();
    for byte in 0..=255_u8 {
        vocab.insert(bytes::name_of(byte).to_string(), byte.into());
    }
    let merges = [
        ("a", "b"),
        ("ab", "c"),
        ("Ġ", "a"),
        ("Ġ", "Ġ"),
        ("1", "2"),
        ("12", "3"),
        ("Ã", "©"),
        ("b", "c"),
        ("Ċ", "Ċ"),
    ];
    for (number, (left, right)) in (256..).zip(merges) {
        vocab.insert(format!("{left}{right}"), number.into());
    }
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added_from(vocab.len()),
        "normalizer": null,
        "pre_tokenizer": byte_level(true),
        "post_processor": null,
        "decoder": byte_level(true),
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocab, "merges": merges,
        },
    })
}

/// Some characters, all bytes, a few merges, the same added tokens.
fn of_pieces() -> Value {
    let mut vocab = serde_json::Map::new();
    vocab.insert("<unk>".into(), 0.into());
    for byte in 0..=255_u32 {
        vocab.insert(format!("<0x{byte:02X}>"), (byte + 1).into());
    }
    let merges = ["▁ a", "a b", "▁a b", "▁ ▁", "ab c", "\n \n", "1 2", "▁▁ ▁"];
    let letters = ["▁", "a", "b", "c", "é", "1", "2", "3", "\n", "A", "."].map(str::to_owned);
    let joined = merges.map(|merge| merge.replace(' ', ""));
    for (number, name) in (257..).zip(letters.into_iter().chain(joined)) {
        vocab.insert(name, number.into());
    }
    let mut file = of_bytes();
    file["normalizer"] = replace();
    file["pre_tokenizer"] = json!({
        "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
        "invert": false,
    });
    file["decoder"] = sequence(
        "decoders",
        &[
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ],
    );
    file["model"]["unk_token"] = "<unk>".into();
    file["model"]["fuse_unk"] = true.into();
    file["model"]["byte_fallback"] = true.into();
    file["added_tokens"] = added_from(vocab.len());
    file["model"]["vocab"] = vocab.into();
    file["model"]["merges"] = json!(merges);
    file
}

/// The same with tokens of runs, which rules would make too, as Gemma has it; nothing strips.
fn of_gemma() -> Value {
    let mut file = of_pieces();
    for name in ["lstrip", "rstrip"] {
        file["added_tokens"][2][name] = false.into();
    }
    let runs = ["\n\n", "▁▁"].map(|name| {
        let id = file["model"]["vocab"][name].as_u64().unwrap();
        added(id.try_into().unwrap(), name, false, false)
    });
    file["added_tokens"].as_array_mut().unwrap().extend(runs);
    file
}

fn replace() -> Value {
    json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
}

fn metaspace(scheme: &str) -> Value {
    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false})
}

/// A file of each way that is known.
fn known() -> Vec<(&'static str, Value)> {
    let with = |base: &Value, changes: &[(&str, Value)]| {
        let mut file = base.clone();
        for (member, value) in changes {
            *file.pointer_mut(member).unwrap() = value.clone();
        }
        file
    };
    let (bytes, pieces) = (of_bytes(), of_pieces());
    let words =
        |expression: &str| sequence("pretokenizers", &[split(expression), byte_level(false)]);
    let digits = json!({"type": "Digits", "individual_digits": true});
    let smollm = sequence("pretokenizers", &[digits, byte_level(true)]);
    let qwen = words(&LLAMA3.replace("{1,3}", ""));
    let prepends = [json!({"type": "Prepend", "prepend": "▁"}), replace()];
    let first = [
        ("/normalizer", Value::Null),
        ("/pre_tokenizer", metaspace("first")),
    ];
    let always = [
        ("/normalizer", Value::Null),
        ("/pre_tokenizer", metaspace("always")),
    ];
    let legacy = [
        ("/normalizer", sequence("normalizers", &prepends)),
        ("/pre_tokenizer", Value::Null),
    ];
    vec![
        ("GPT-2", bytes.clone()),
        ("SmolLM", with(&bytes, &[("/pre_tokenizer", smollm)])),
        (
            "Llama 3",
            with(
                &bytes,
                &[
                    ("/pre_tokenizer", words(LLAMA3)),
                    ("/model/ignore_merges", true.into()),
                ],
            ),
        ),
        (
            "Qwen",
            with(
                &bytes,
                &[
                    ("/pre_tokenizer", qwen),
                    ("/normalizer", json!({"type": "NFC"})),
                ],
            ),
        ),
        ("Gemma", of_gemma()),
        ("Llama 2", with(&pieces, &legacy)),
        ("Mistral", with(&pieces, &first)),
        ("always", with(&pieces, &always)),
    ]
}

fn read(file: &Value) -> Result<Tokenizer, ModelError> {
    let tokenizer = serde_json::to_vec(file).unwrap();
    Tokenizer::from_json(&Described {
        tokenizer: &tokenizer,
        frame: [Some("<|s|>"), Some("<|w|>")],
        wants: Wants::Answers { ends: vec![97] },
    })
}

fn library(file: &Value) -> tokenizers::Tokenizer {
    tokenizers::Tokenizer::from_bytes(serde_json::to_vec(file).unwrap()).unwrap()
}

fn text() -> impl Strategy<Value = String> {
    let scraps = proptest::collection::vec(proptest::sample::select(SCRAPS.to_vec()), 0..24);
    prop_oneof![scraps.prop_map(|scraps| scraps.concat()), ".{0,30}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn tokens_are_those_of_the_library(texts in proptest::collection::vec(text(), 100)) {
        for (name, file) in known() {
            let (ours, theirs) = (read(&file).unwrap(), library(&file));
            for text in &texts {
                let found = ours.encode(&[Piece::Skeleton(text)], 10_000).unwrap();
                let expected = theirs.encode(text.as_str(), false).unwrap();
                prop_assert_eq!(found.as_slice(), expected.get_ids(), "{}: {:?}", name, text);
            }
        }
    }

    #[test]
    fn added_tokens_are_text_in_a_content(texts in proptest::collection::vec(text(), 50)) {
        for (name, file) in known() {
            let tokenizer = read(&file).unwrap();
            for text in &texts {
                let found = tokenizer.encode(&[Piece::Content(text)], 10_000).unwrap();
                let first = tokenizer.special("<|s|>").unwrap();
                prop_assert!(found.iter().all(|token| *token < first), "{}: {:?}", name, text);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_changed_byte_of_a_file_gives_a_tokenizer_or_a_typed_error(
        way in 0..8_usize, at: proptest::sample::Index, value: u8, end: proptest::sample::Index,
        whole: bool,
    ) {
        let mut text = serde_json::to_vec(&known()[way].1).unwrap();
        let at = at.index(text.len());
        text[at] = value;
        if !whole {
            text.truncate(end.index(text.len()));
        }
        let read = Tokenizer::from_json(&Described {
            tokenizer: &text,
            frame: [None, Some("<|w|>")],
            wants: Wants::Answers { ends: Vec::new() },
        });
        if let Err(refused) = read {
            prop_assert_eq!(refused.code(), "model-tokenizer");
        }
    }
}

#[test]
fn texts_without_a_template_start_where_the_file_says_so() {
    let mut file = of_bytes();
    let tokens = |tokenizer: &Tokenizer| tokenizer.encode_text("ab", 9).unwrap().to_vec();
    assert_eq!(tokens(&read(&file).unwrap()), [256]);
    let place = |name: &str, id: &str| json!({name: {"id": id, "type_id": 0}});
    let template = json!({
        "type": "TemplateProcessing",
        "single": [place("SpecialToken", "<|s|>"), place("Sequence", "A")],
        "pair": [place("Sequence", "A"), place("Sequence", "B")],
        "special_tokens": {"<|s|>": {"id": "<|s|>", "ids": [265], "tokens": ["<|s|>"]}},
    });
    file["post_processor"] = sequence("processors", &[byte_level(true), template.clone()]);
    let tokenizer = read(&file).unwrap();
    assert_eq!(tokens(&tokenizer), [265, 256]);
    let expected = library(&file).encode("ab", true).unwrap();
    assert_eq!(tokens(&tokenizer), expected.get_ids());
    assert_eq!(
        tokenizer.encode_text("ab", 1),
        Err(EncodeError::TooLong { limit: 1 })
    );
    // Before the first piece of a text stands what was put there, and not only a special token.
    let mut file = known().remove(6).1;
    file["post_processor"] = template;
    file["post_processor"]["special_tokens"]["<|s|>"]["ids"] = json!([276]);
    let expected = library(&file).encode("ab", true).unwrap();
    assert_eq!(tokens(&read(&file).unwrap()), expected.get_ids());
}

#[test]
fn runs_of_line_ends_are_tokens_of_their_own_in_a_content_too() {
    let file = of_gemma();
    let (ours, theirs) = (read(&file).unwrap(), library(&file));
    for text in ["\n\n", "a\n\n\nb", "\n\n\n\n", " \n\n  a", "a   b"] {
        let found = ours.encode(&[Piece::Content(text)], 99).unwrap();
        assert_eq!(
            found.as_slice(),
            theirs.encode(text, false).unwrap().get_ids(),
            "{text:?}"
        );
    }
    // Where two pieces meet as well, as in the text that transformers has.
    let halves = [Piece::Skeleton("a\n"), Piece::Content("\nb")];
    let whole = theirs.encode("a\n\nb", false).unwrap();
    assert_eq!(
        ours.encode(&halves, 99).unwrap().as_slice(),
        whole.get_ids()
    );
}

#[test]
fn answers_end_with_the_tokens_that_say_so() {
    let tokenizer = read(&of_bytes()).unwrap();
    assert_eq!(tokenizer.ends(), [97, 267]);
    assert_eq!(tokenizer.frame(), [Some("<|s|>"), Some("<|w|>")]);
    assert_eq!(
        (tokenizer.text(265), tokenizer.text(266)),
        (b"".as_slice(), b"<t>".as_slice())
    );
    assert_eq!(tokenizer.special("<|s|>"), Some(265));
    // Beyond the last.
    assert_eq!(
        (tokenizer.text(268), tokenizer.text(1 << 20)),
        (b"".as_slice(), b"".as_slice())
    );
}

#[test]
fn bytes_of_a_text_come_back() {
    for (name, file) in known() {
        let tokenizer = read(&file).unwrap();
        let text = "abc é 😀\n  a.";
        let tokens = tokenizer.encode(&[Piece::Content(text)], 99).unwrap();
        let bytes: Vec<u8> = tokens
            .iter()
            .flat_map(|token| tokenizer.text(*token).to_vec())
            .collect();
        assert_eq!(str::from_utf8(&bytes).unwrap().trim_start(), text, "{name}");
    }
}

/// Members, what stands there that is not known, and the part by which it is refused.
fn unknown() -> Vec<(&'static str, Value, &'static str)> {
    let lower = json!({"type": "Lowercase"});
    let nfkc = json!({"type": "NFKC"});
    let twice = sequence("pretokenizers", &[byte_level(true), byte_level(true)]);
    let mut single = added(265, "<|s|>", true, false);
    single["single_word"] = true.into();
    let other = split(&LLAMA3.replace("{1,3}", "{1,4}"));
    let other = sequence("pretokenizers", &[other, byte_level(false)]);
    let spaced = json!({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true});
    vec![
        ("/normalizer", lower.clone(), "normalizer"),
        ("/normalizer", nfkc, "normalizer"),
        (
            "/normalizer",
            sequence("normalizers", &[json!({"type": "NFC"}), lower]),
            "normalizer",
        ),
        ("/pre_tokenizer", Value::Null, "pre_tokenizer"),
        ("/pre_tokenizer", twice, "pre_tokenizer"),
        ("/pre_tokenizer", other, "pre_tokenizer"),
        ("/pre_tokenizer", spaced, "pre_tokenizer"),
        ("/pre_tokenizer", metaspace("first"), "decoder"),
        ("/normalizer", replace(), "pre_tokenizer"),
        (
            "/post_processor",
            json!({"type": "BertProcessing"}),
            "post_processor",
        ),
        ("/decoder", Value::Null, "decoder"),
        ("/decoder", json!({"type": "WordPiece"}), "decoder"),
        ("/model/type", "Unigram".into(), "type"),
        ("/model/type", "WordPiece".into(), "type"),
        ("/model/dropout", json!(0.1), "dropout"),
        (
            "/model/continuing_subword_prefix",
            "##".into(),
            "continuing_subword_prefix",
        ),
        (
            "/model/end_of_word_suffix",
            "</w>".into(),
            "end_of_word_suffix",
        ),
        ("/model/byte_fallback", true.into(), "byte_fallback"),
        ("/model/merges", json!(["a x y"]), "merges"),
        ("/model/merges", json!([["a", "?!"]]), "merges"),
        ("/model/vocab", json!({"a": 1, "b": 1}), "vocab"),
        ("/model/vocab", json!({"a": 1 << 20}), "vocab"),
        ("/model/vocab", json!({"": 1}), "vocab"),
        ("/model/vocab", json!({"a": -1}), "form"),
        ("/model/vocab", json!({"<t>": 5}), "vocab"),
        ("/added_tokens", json!([single]), "added_tokens"),
        ("/added_tokens", added_from(266), "added_tokens"),
        ("/added_tokens", json!([]), "bos_token"),
    ]
}

#[test]
fn what_is_not_known_is_refused_by_its_part() {
    for (member, value, part) in unknown() {
        let mut file = of_bytes();
        *file.pointer_mut(member).unwrap() = value.clone();
        let refused = read(&file).err();
        assert_eq!(
            refused,
            Some(ModelError::Tokenizer { part }),
            "{member} {value}"
        );
    }
    let refused = |file: &Value, part| {
        assert_eq!(read(file).err(), Some(ModelError::Tokenizer { part }));
    };
    let mut other = of_bytes();
    other["model"]["vocab"]["\u{3b1}"] = 265.into();
    other["added_tokens"] = added_from(266);
    refused(&other, "vocab");
    let mut both = of_gemma();
    both["added_tokens"][2]["rstrip"] = true.into();
    refused(&both, "added_tokens");
    // Of rules that would make a token which a template alone may name.
    let mut made = of_bytes();
    let own = added(257, "abc", true, false);
    made["added_tokens"].as_array_mut().unwrap().push(own);
    refused(&made, "merges");
    let mut legacy = known().remove(5).1;
    legacy["added_tokens"][0]["normalized"] = true.into();
    refused(&legacy, "added_tokens");
}

#[test]
fn a_letter_that_is_a_special_token_too_is_no_letter_of_a_message() {
    let mut file = of_bytes();
    let own = added(u32::from(b'~'), "~", true, false);
    file["added_tokens"].as_array_mut().unwrap().push(own);
    let tokenizer = read(&file).unwrap();
    let of = |piece| tokenizer.encode(&[piece], 9).map(|tokens| tokens.to_vec());
    assert_eq!(of(Piece::Skeleton("~")), Ok(vec![u32::from(b'~')]));
    assert_eq!(of(Piece::Content("~")), Err(EncodeError::Inexpressible));
}

#[test]
fn long_runs_of_marks_are_composed_in_linear_time() {
    let file = known().remove(3).1;
    let tokenizer = read(&file).unwrap();
    for unit in [
        "\u{301}",
        "e\u{301}",
        "\u{323}\u{301}",
        "\u{1100}\u{1161}",
        "\u{344}",
        "\u{fb1d}",
    ] {
        let text = format!("e{}", unit.repeat((512 << 10) / unit.len()));
        let before = std::time::Instant::now();
        let tokens = tokenizer
            .encode(&[Piece::Content(&text)], usize::MAX >> 8)
            .unwrap();
        assert!(
            before.elapsed() < std::time::Duration::from_secs(20),
            "{unit:?}"
        );
        let expected = library(&file).encode(&*text.chars().take(300).collect::<String>(), false);
        assert_eq!(
            tokens[..100],
            expected.unwrap().get_ids()[..100],
            "{unit:?}"
        );
    }
}
