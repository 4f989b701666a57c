//! Tokens against the published test cases of vocabularies, and chats through published templates;
//! `ci/lib/vocabularies.sh` fetches both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state claims; a panic is the failure"
)]

mod every;

use std::fs::File;
use std::path::PathBuf;

use candle_core::quantized::gguf_file;

use messages::engine_ipc::{Call, CallSyntax, ChatMessage, ChatRole, Content, Tool, ToolName};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fixture::file_of;
use crate::gguf::ModelFile;
use crate::refusal::ModelError;
use crate::template::Template;
use crate::tokenizer::{Described, Piece, Tokenizer, Wants};

/// The package's directory, where the script puts it.
#[allow(
    clippy::disallowed_methods,
    reason = "tests find the cache as the scripts do"
)]
fn published(name: &str) -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"),
        PathBuf::from,
    );
    let path = cache
        .join("cocoon/vocabularies-b0a2feb64c6fbd09")
        .join(name);
    assert!(path.exists(), "run ci/lib/vocabularies.sh once");
    path
}

/// Texts, and their tokens as the published cases have them.
fn cases(name: &str) -> Vec<(String, Vec<u32>)> {
    let file = published(&format!("ggml-vocab-{name}.gguf"));
    let texts = std::fs::read_to_string(file.with_extension("gguf.inp")).unwrap();
    let tokens = std::fs::read_to_string(file.with_extension("gguf.out")).unwrap();
    let tokens = tokens.lines().map(|line| {
        let ids = line.split_whitespace().map(|id| id.parse().unwrap());
        ids.collect::<Vec<u32>>()
    });
    let texts: Vec<_> = texts
        .split("\n__ggml_vocab_test__\n")
        .map(str::to_owned)
        .collect();
    let cases: Vec<_> = texts.into_iter().zip(tokens).collect();
    assert!(cases.len() > 40, "{name}: {} cases", cases.len());
    cases
}

fn read(name: &str) -> Result<Tokenizer, ModelError> {
    let file = published(&format!("ggml-vocab-{name}.gguf"));
    // These files have no tensors, nor the padding in front of them.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    Tokenizer::read(&ModelFile::open(file_of(&bytes))?)
}

fn check(name: &str, tokenizer: &Tokenizer) {
    for (text, expected) in cases(name) {
        let found = tokenizer.encode(&[Piece::Content(&text)], usize::MAX >> 8);
        assert_eq!(found.as_deref(), Ok(&expected), "{name}: {text:?}");
    }
}

/// Vocabularies whose tokens are compared.
const HELD: [&str; 9] = [
    "bert-bge",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "refact",
    "starcoder",
];
/// A vocabulary of pieces like another, and nobody published cases of it.
const WITHOUT_CASES: &str = "baichuan";

#[test]
fn tokens_are_those_of_the_published_cases() {
    for name in HELD {
        check(name, &read(name).unwrap());
    }
}

#[test]
fn every_other_published_vocabulary_is_refused() {
    let there = std::fs::read_dir(published("")).unwrap();
    let names = there.map(|file| file.unwrap().file_name().into_string().unwrap());
    let named = names.filter_map(|name| {
        let name = name.strip_prefix("ggml-vocab-")?.strip_suffix(".gguf")?;
        Some(name.to_owned())
    });
    let (held, others): (Vec<_>, Vec<_>) = named.partition(|name| HELD.contains(&name.as_str()));
    assert_eq!((held.len(), others.len()), (HELD.len(), 10));
    let taken: Vec<_> = others.iter().filter(|name| read(name).is_ok()).collect();
    assert_eq!(taken, [WITHOUT_CASES]);
}

/// Normalizer, pre-tokenizer and decoder of a family, as transformers writes them.
fn steps(name: &str) -> [Value; 3] {
    let bytes = |regex: bool| {
        json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": regex,
        })
    };
    let words = |numerals: &str| {
        let expression = format!(
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{{L}}\\p{{N}}]?\\p{{L}}+|{numerals}|\
             \u{20}?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
        );
        let split = json!({
            "type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated",
            "invert": false,
        });
        json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]})
    };
    let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"});
    let at_spaces = json!({
        "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
        "invert": false,
    });
    let fused =
        json!({"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]});
    match name {
        "gpt-2" => [Value::Null, bytes(true), bytes(true)],
        "llama-bpe" => [Value::Null, words("\\p{N}{1,3}"), bytes(true)],
        "qwen2" => [json!({"type": "NFC"}), words("\\p{N}"), bytes(true)],
        _ => [spaces, at_spaces, fused],
    }
}

/// The vocabulary as its maker's `tokenizer.json` has it.
fn as_json(name: &str) -> Value {
    // By the library: one of them has more rules than a served file may.
    let mut file = File::open(published(&format!("ggml-vocab-{name}.gguf"))).unwrap();
    let keys = gguf_file::Content::read(&mut file).unwrap().metadata;
    let list = |key: &str| keys[key].to_vec().unwrap();
    let texts = |key: &str| -> Vec<_> {
        list(key)
            .iter()
            .map(|text| text.to_string().unwrap().clone())
            .collect()
    };
    let names = texts("tokenizer.ggml.tokens");
    let kinds = list("tokenizer.ggml.token_type")
        .iter()
        .map(|kind| kind.to_i32().unwrap());
    let ids: serde_json::Map<_, _> = (0_u32..)
        .zip(&names)
        .map(|(id, name)| (name.clone(), id.into()))
        .collect();
    let added = (0_u32..).zip(names.iter().zip(kinds));
    let added = added.filter(|(_, (_, kind))| matches!(kind, 3 | 4));
    let added = added.map(|(id, (name, kind))| {
        json!({
            "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": kind == 3,
        })
    });
    let [normalizer, pre_tokenizer, decoder] = steps(name);
    let of_pieces = name == "gemma-4";
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null,
        "decoder": decoder,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": of_pieces.then_some("<unk>"),
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": of_pieces,
            "byte_fallback": of_pieces, "ignore_merges": name == "llama-bpe", "vocab": ids,
            "merges": texts("tokenizer.ggml.merges"),
        },
    })
}

#[test]
fn a_tokenizer_json_gives_the_published_tokens_and_the_librarys() {
    let texts: Vec<Value> =
        serde_json::from_str(include_str!("../tests/fixtures/tokenizer/smollm.json")).unwrap();
    let texts: Vec<&str> = texts
        .iter()
        .map(|case| case["text"].as_str().unwrap())
        .collect();
    for name in ["gpt-2", "llama-bpe", "qwen2", "gemma-4"] {
        let file = serde_json::to_vec(&as_json(name)).unwrap();
        let tokenizer = Tokenizer::from_json(&Described {
            tokenizer: &file,
            frame: [None, None],
            wants: Wants::Answers { ends: vec![0] },
        });
        let tokenizer = tokenizer.unwrap();
        check(name, &tokenizer);
        let library = tokenizers::Tokenizer::from_bytes(&file).unwrap();
        for text in &texts {
            let found = tokenizer
                .encode(&[Piece::Skeleton(text)], usize::MAX >> 8)
                .unwrap();
            let expected = library.encode(*text, false).unwrap();
            assert_eq!(found.as_slice(), expected.get_ids(), "{name}: {text:?}");
        }
    }
}

#[derive(Deserialize)]
struct Chat {
    template: String,
    start: String,
    chat: Vec<Message>,
    #[serde(default)]
    tools: Vec<Function>,
    length: Option<usize>,
    fnv: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
    #[serde(default)]
    calls: Vec<(String, String)>,
    /// The call that it answers.
    call: Option<u16>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    description: Option<String>,
    parameters: Option<String>,
}

fn fnv(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

impl Message {
    fn shown(&self) -> ChatMessage {
        let role = match (self.role.as_str(), self.call) {
            ("system", None) => ChatRole::System,
            ("user", None) => ChatRole::User,
            ("assistant", None) => ChatRole::Assistant,
            (_, call) => ChatRole::Tool {
                call: call.unwrap(),
            },
        };
        let calls = self.calls.iter().map(|(name, arguments)| Call {
            name: ToolName::new(name.clone()).unwrap(),
            arguments: Content(arguments.clone()),
        });
        ChatMessage {
            role,
            content: Content(self.content.clone()),
            calls: calls.collect(),
        }
    }
}

impl Function {
    fn shown(&self) -> Tool {
        Tool {
            name: ToolName::new(self.name.clone()).unwrap(),
            description: self.description.clone().map(Content),
            parameters: self.parameters.clone().map(Content),
        }
    }
}

fn template(chat: &Chat) -> Template {
    let path = published("templates").join(&chat.template);
    let source = std::fs::read_to_string(path).unwrap();
    Template::compile(&source, [Some(&chat.start), Some("")]).unwrap()
}

fn rendered(template: &Template, chat: &[Message], tools: &[Function]) -> Option<String> {
    let messages: Vec<_> = chat.iter().map(Message::shown).collect();
    let tools: Vec<_> = tools.iter().map(Function::shown).collect();
    let skeleton = template.skeleton(&messages, &tools).ok()?;
    let texts = skeleton.pieces().into_iter().map(|piece| match piece {
        Piece::Skeleton(text) | Piece::Content(text) => text.to_owned(),
    });
    Some(texts.collect())
}

fn check_chats(chats: &[Chat]) {
    let mut wrong = Vec::new();
    for chat in chats {
        let found = rendered(&template(chat), &chat.chat, &chat.tools);
        let hash = found.as_deref().map(fnv);
        if hash != chat.fnv || found.as_ref().map(String::len) != chat.length {
            wrong.push((&chat.template, chat.chat.len(), chat.length, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn chats_are_rendered_as_transformers_does() {
    let chats: Vec<Chat> =
        serde_json::from_str(include_str!("../tests/fixtures/chats/chats.json")).unwrap();
    assert_eq!(chats.len(), 16);
    check_chats(&chats);
}

#[test]
fn functions_calls_and_results_are_rendered_as_transformers_does() {
    let chats: Vec<Chat> =
        serde_json::from_str(include_str!("../tests/fixtures/chats/calls.json")).unwrap();
    assert_eq!(chats.len(), 24);
    // Templates that look deep into schemas see placeholders: refused, not shown otherwise.
    let refused = |chat: &Chat| chat.template.starts_with("NousResearch");
    let (refused, followed): (Vec<_>, Vec<_>) = chats.into_iter().partition(refused);
    assert_eq!((followed.len(), refused.len()), (18, 6));
    check_chats(&followed);
    let shown = |chat: &Chat| rendered(&template(chat), &chat.chat, &chat.tools);
    assert!(refused.iter().all(|chat| shown(chat).is_none()));
    for chat in followed.iter().chain(&refused) {
        let expected = match chat.template.split('-').next().unwrap() {
            "meta" => CallSyntax::Bare,
            "mistralai" => CallSyntax::Listed,
            _ => CallSyntax::Tagged,
        };
        let calls = template(chat).calls();
        assert_eq!(calls, Some(expected), "{}", chat.template);
    }
}
