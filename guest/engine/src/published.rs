//! Tokens against the published test cases of vocabularies, and chats through published templates;
//! `ci/lib/vocabularies.sh` fetches both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state claims; a panic is the failure"
)]

use std::path::PathBuf;

use messages::engine_ipc::{Call, CallSyntax, ChatMessage, ChatRole, Content, Tool, ToolName};
use serde::Deserialize;

use crate::fixture::file_of;
use crate::gguf::ModelFile;
use crate::template::Template;
use crate::tokenizer::{Piece, Tokenizer};

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

fn check(name: &str) {
    let file = published(&format!("ggml-vocab-{name}.gguf"));
    // These files have no tensors, nor the padding in front of them.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    let tokenizer = Tokenizer::read(&ModelFile::open(file_of(&bytes)).unwrap());
    let tokenizer = tokenizer.unwrap();
    let cases = std::fs::read_to_string(file.with_extension("gguf.inp")).unwrap();
    let expected = std::fs::read_to_string(file.with_extension("gguf.out")).unwrap();
    let cases: Vec<&str> = cases.split("\n__ggml_vocab_test__\n").collect();
    let expected: Vec<Vec<u32>> = expected
        .lines()
        .map(|line| {
            line.split_whitespace()
                .map(|id| id.parse().unwrap())
                .collect()
        })
        .collect();
    assert!(cases.len() >= expected.len() && expected.len() > 40);
    let wrong = cases.iter().zip(&expected).filter(|(text, expected)| {
        let found = tokenizer.encode(&[Piece::Content(text)], usize::MAX >> 8);
        found.map(|found| found.to_vec()).as_ref() != Ok(*expected)
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(
        wrong.is_empty(),
        "{name}: {} of {}: {wrong:?}",
        wrong.len(),
        expected.len()
    );
}

#[test]
#[ignore = "needs what ci/lib/vocabularies.sh fetches"]
fn tokens_are_those_of_the_published_cases() {
    ["gpt-2", "llama-bpe", "qwen2", "llama-spm", "phi-3"]
        .into_iter()
        .for_each(check);
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

fn rendered(chat: &Chat) -> Option<String> {
    let messages: Vec<_> = chat.chat.iter().map(Message::shown).collect();
    let tools: Vec<_> = chat.tools.iter().map(Function::shown).collect();
    let skeleton = template(chat).skeleton(&messages, &tools).ok()?;
    let texts = skeleton.pieces().into_iter().map(|piece| match piece {
        Piece::Skeleton(text) | Piece::Content(text) => text.to_owned(),
    });
    Some(texts.collect())
}

fn check_chats(chats: &[Chat]) {
    let mut wrong = Vec::new();
    for chat in chats {
        let found = rendered(chat);
        let hash = found.as_deref().map(fnv);
        if hash != chat.fnv || found.as_ref().map(String::len) != chat.length {
            wrong.push((&chat.template, chat.chat.len(), chat.length, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
#[ignore = "needs what ci/lib/vocabularies.sh fetches"]
fn chats_are_rendered_as_transformers_does() {
    let chats: Vec<Chat> =
        serde_json::from_str(include_str!("../tests/fixtures/chats/chats.json")).unwrap();
    assert_eq!(chats.len(), 16);
    check_chats(&chats);
}

#[test]
#[ignore = "needs what ci/lib/vocabularies.sh fetches"]
fn functions_calls_and_results_are_rendered_as_transformers_does() {
    let chats: Vec<Chat> =
        serde_json::from_str(include_str!("../tests/fixtures/chats/calls.json")).unwrap();
    assert_eq!(chats.len(), 24);
    // Templates that look deep into schemas see placeholders: refused, not shown otherwise.
    let refused = |chat: &Chat| chat.template.starts_with("NousResearch");
    let (refused, followed): (Vec<_>, Vec<_>) = chats.into_iter().partition(refused);
    assert_eq!((followed.len(), refused.len()), (18, 6));
    check_chats(&followed);
    assert!(refused.iter().all(|chat| rendered(chat).is_none()));
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
