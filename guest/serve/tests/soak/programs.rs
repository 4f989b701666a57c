//! The programs serve and engine as init starts them, and a tiny seeded model where none is named.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::json;
use serve::Descriptors;
use sys::process::{Child, Launch, spawn};

/// Starts serve, which prints to `output`.
pub(crate) fn start_serve(descriptors: &Descriptors, output: &UnixStream) -> Child {
    let inherited = [
        descriptors.listener.as_fd(),
        descriptors.quote.as_fd(),
        descriptors.control.as_fd(),
        descriptors.engine.as_fd(),
    ];
    let program = Path::new(env!("CARGO_BIN_EXE_serve"));
    start(program, &["serve"], output, &inherited)
}

/// Starts the engine on this model, or on a tiny one. It lies beside serve, where a build of the
/// workspace puts both.
pub(crate) fn start_engine(ipc: &UnixStream, output: &UnixStream, model: Option<&Path>) -> Child {
    let place = tempfile::tempdir().unwrap();
    let files = match model {
        Some(path) => vec![("model.gguf", path.to_owned())],
        None => tiny_model(place.path()),
    };
    let program = Path::new(env!("CARGO_BIN_EXE_serve")).with_file_name("engine");
    assert!(program.exists(), "no engine beside serve: build it first");
    let opened: Vec<File> = files
        .iter()
        .map(|(_, path)| File::open(path).unwrap())
        .collect();
    let mut inherited = vec![ipc.as_fd()];
    inherited.extend(opened.iter().map(|file| file.as_fd()));
    let mut words = vec!["engine"];
    words.extend(files.iter().map(|(name, _)| *name));
    start(&program, &words, output, &inherited)
}

fn start(
    program: &Path,
    words: &[&str],
    output: &UnixStream,
    inherited: &[BorrowedFd<'_>],
) -> Child {
    let program = File::open(program).unwrap();
    let nothing = File::open("/dev/null").unwrap();
    let mut all = vec![nothing.as_fd(), output.as_fd(), output.as_fd()];
    all.extend_from_slice(inherited);
    let words: Vec<CString> = words
        .iter()
        .map(|word| CString::new(*word).unwrap())
        .collect();
    let launch = Launch {
        program: program.as_fd(),
        arguments: &words,
        descriptors: &all,
        locked: None,
    };
    spawn(&launch, || Ok(()), || Ok(())).unwrap()
}

/// The seeded model of `tests/fixtures/models/smollm`, with a vocabulary of all bytes.
fn tiny_model(place: &Path) -> Vec<(&'static str, PathBuf)> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models/smollm");
    let put = |name: &str, text: String| fs::write(place.join(name), text).unwrap();
    put("tokenizer.json", tokenizer());
    let settings = json!({
        "bos_token": null,
        "eos_token": {"content": "<|e|>"},
        "chat_template": "{% for m in messages %}{{ '<|a|>' + m.content }}{% endfor %}",
    });
    put("tokenizer_config.json", settings.to_string());
    vec![
        ("config.json", models.join("config.json")),
        ("tokenizer.json", place.join("tokenizer.json")),
        ("tokenizer_config.json", place.join("tokenizer_config.json")),
        ("model.safetensors", models.join("model.safetensors")),
    ]
}

/// Every byte is a token of its own, by GPT-2's letter for it; four special tokens.
fn tokenizer() -> String {
    let prints = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut vocab = serde_json::Map::new();
    let mut others = 0x100_u32;
    for byte in 0..=u8::MAX {
        let letter = if prints(&byte) {
            char::from(byte)
        } else {
            others += 1;
            char::from_u32(others - 1).unwrap()
        };
        vocab.insert(letter.to_string(), byte.into());
    }
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true});
    let added = |id: u32, content: &str| json!({"id": id, "content": content, "special": true});
    let special = [
        (256, "<|b|>"),
        (257, "<|c|>"),
        (258, "<|a|>"),
        (259, "<|e|>"),
    ];
    let special: Vec<_> = special.map(|(id, content)| added(id, content)).into();
    json!({
        "added_tokens": special,
        "normalizer": null, "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    })
    .to_string()
}
