//! The program as init starts it: descriptors and the names of files, no environment, no output, a
//! status at the end. Models in safetensors, in one file and in two, from their files to tokens.
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

mod program;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use messages::engine_ipc::{ClientKey, EngineEvent, EngineRequest, Form, Start};
use onlooker::{processor_time, resident};
use program::{answer_of, event, fixture, send, start};
use serde_json::{Value, json};

/// What the engine says of these files before it ends by itself.
fn refused(files: &[(&str, &[u8])]) -> (Output, Vec<u8>) {
    let place = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(place.path().join(name), bytes).unwrap();
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let (child, mut near) = start(place.path(), &names);
    let mut said = Vec::new();
    let _ended = near.read_to_end(&mut said);
    (child.wait_with_output().unwrap(), said)
}

#[test]
fn files_that_are_no_model_end_the_program_with_a_status_and_silence() {
    let truncated = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".as_slice();
    let files: [&[(&str, &[u8])]; 5] = [
        &[("model.gguf", b"")],
        &[("model.gguf", b"not a model at all")],
        &[("model.gguf", truncated)],
        &[("weights", truncated)],
        &[("config.json", b"{}"), ("tokenizer.json", b"{}")],
    ];
    for files in files {
        let (output, said) = refused(files);
        assert_eq!(output.status.code(), Some(10));
        assert!(output.stdout.is_empty() && output.stderr.is_empty() && said.is_empty());
    }
}

#[test]
fn without_its_descriptors_the_program_ends_with_its_own_status() {
    for names in [[].as_slice(), &["model.gguf"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_engine"))
            .args(names)
            .env_clear()
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(9));
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
    }
}

/// Tokens of the seeded models, and of the prompt whose logits are known (`tests/fixtures/models`).
const TOKENS: usize = 260;
const PROMPT: usize = 24;
const TEMPLATE: &str = "{% for m in messages %}{{ '<|a|>' + m.content }}{% endfor %}";

fn prompt_token(position: usize) -> usize {
    (position * 37 + 3) % TOKENS
}

/// The byte of each number below 256: capitals for the prompt's tokens, in its order.
fn bytes() -> Vec<u8> {
    let capitals = b'A'..b'A' + PROMPT as u8;
    let of_prompt: BTreeMap<usize, u8> = capitals
        .clone()
        .enumerate()
        .map(|(at, byte)| (prompt_token(at), byte))
        .collect();
    let mut others = (0..=u8::MAX).filter(|byte| !capitals.contains(byte));
    let byte = |id| {
        of_prompt
            .get(&id)
            .copied()
            .unwrap_or_else(|| others.next().unwrap())
    };
    (0..256).map(byte).collect()
}

/// GPT-2's letter for a byte: itself where it prints, else the next one from U+0100 on.
fn letter(byte: u8) -> char {
    let prints = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match prints(&byte) {
        true => char::from(byte),
        false => {
            let before = (0..byte).filter(|byte| !prints(byte)).count();
            char::from_u32(0x100 + before as u32).unwrap()
        }
    }
}

fn tokenizer() -> Value {
    let mut vocab = serde_json::Map::new();
    for (id, byte) in bytes().into_iter().enumerate() {
        vocab.insert(letter(byte).to_string(), id.into());
    }
    vocab.insert("ab".into(), 256.into());
    vocab.insert("abc".into(), 257.into());
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true});
    let added = |id: usize, content: &str| json!({"id": id, "content": content, "special": true});
    json!({
        "added_tokens": [added(258, "<|a|>"), added(259, "<|e|>")],
        "normalizer": null, "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": {"type": "BPE", "vocab": vocab, "merges": ["a b", "ab c"]},
    })
}

/// Cuts a file of weights in two by its tensors.
fn halves(file: &[u8]) -> [Vec<u8>; 2] {
    let (length, rest) = file.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).unwrap();
    let tensors: Vec<_> = header
        .iter()
        .filter(|(name, _)| *name != "__metadata__")
        .collect();
    [0, 1].map(|half| {
        let (mut header, mut bytes) = (serde_json::Map::new(), Vec::new());
        for (name, tensor) in tensors.iter().skip(half).step_by(2) {
            let place = |at: usize| tensor["data_offsets"][at].as_u64().unwrap() as usize;
            let begin = bytes.len();
            bytes.extend_from_slice(&data[place(0)..place(1)]);
            let mut tensor = (*tensor).clone();
            tensor["data_offsets"] = json!([begin, bytes.len()]);
            header.insert((*name).clone(), tensor);
        }
        let mut header = serde_json::to_vec(&header).unwrap();
        header.resize(header.len().next_multiple_of(8), b' ');
        let length = (header.len() as u64).to_le_bytes();
        [length.as_slice(), &header, &bytes].concat()
    })
}

/// Puts a family's model into a directory; returns the names of its files.
fn lay_out(family: &str, in_two: bool, directory: &Path) -> Vec<&'static str> {
    let put = |name: &str, bytes: &[u8]| std::fs::write(directory.join(name), bytes).unwrap();
    put(
        "config.json",
        &std::fs::read(fixture(family, "config.json")).unwrap(),
    );
    put("tokenizer.json", tokenizer().to_string().as_bytes());
    let mut settings = json!({"bos_token": null, "eos_token": {"content": "<|e|>"}});
    let mut names = vec!["config.json", "tokenizer.json", "tokenizer_config.json"];
    let weights = std::fs::read(fixture(family, "model.safetensors")).unwrap();
    if in_two {
        let [first, second] = halves(&weights);
        put("model-00001-of-00002.safetensors", &first);
        put("model-00002-of-00002.safetensors", &second);
        put("model.safetensors.index.json", b"{}");
        put("chat_template.jinja", TEMPLATE.as_bytes());
        put("generation_config.json", br#"{"eos_token_id": [259]}"#);
        names.extend([
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ]);
        names.extend(["model.safetensors.index.json", "chat_template.jinja"]);
        names.push("generation_config.json");
    } else {
        put("model.safetensors", &weights);
        settings["chat_template"] = TEMPLATE.into();
        names.push("model.safetensors");
    }
    put("tokenizer_config.json", settings.to_string().as_bytes());
    names
}

/// What the engine says that it holds: answers, and pages reserved, kept and in memory.
fn held(serve: &mut UnixStream) -> [u32; 4] {
    send(serve, &EngineRequest::Count);
    match event(serve) {
        EngineEvent::Counted(held) => [held.answers, held.reserved, held.kept, held.held],
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_engine_holds_what_it_keeps_for_a_client_until_that_is_gone() {
    let place = tempfile::tempdir().unwrap();
    let names = lay_out("llama", false, place.path());
    let (child, mut serve) = start(place.path(), &names);
    event(&mut serve);
    assert_eq!(held(&mut serve), [0; 4]);
    let clients = [[1; 16], [2; 16]];
    for (request, client) in (1..).zip(clients) {
        // Two pages of tokens, each a byte, and what the answer may come to need.
        let start = answer_of(request, client, "A".repeat(70), 1);
        send(&mut serve, &EngineRequest::Start(start));
        while !matches!(event(&mut serve), EngineEvent::Finished { .. }) {}
    }
    assert_eq!(held(&mut serve), [0, 0, 4, 4]);
    for (client, left) in clients.into_iter().zip([2, 0]) {
        let client = ClientKey(client);
        send(&mut serve, &EngineRequest::Forget { client });
        assert_eq!(held(&mut serve), [0, 0, left, left]);
    }
    drop(serve);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

/// Answers at once, of texts of many lengths; some must have a form, some are cancelled on the way.
/// All have ended, and their clients are gone.
fn crowd(serve: &mut UnixStream, number: u64) {
    const AT_ONCE: u64 = 8;
    let client = |at: u64| [at as u8 + 1; 16];
    let first = number * AT_ONCE;
    for at in 0..AT_ONCE {
        let text = "A".repeat(1 + ((number * 31 + at * 13) % 120) as usize);
        let form = if at % 4 == 1 {
            Form::Object
        } else {
            Form::Free
        };
        let start = Start {
            form,
            ..answer_of(first + at, client(at), text, 24)
        };
        send(serve, &EngineRequest::Start(start));
    }
    for at in (0..AT_ONCE).step_by(3) {
        let request = first + at;
        send(serve, &EngineRequest::Cancel { request });
    }
    let mut left = AT_ONCE;
    while left > 0 {
        match event(serve) {
            EngineEvent::Finished { .. } => left -= 1,
            EngineEvent::Refused { refusal, .. } => panic!("{refusal:?}"),
            _ => {}
        }
    }
    for at in 0..AT_ONCE {
        let client = ClientKey(client(at));
        send(serve, &EngineRequest::Forget { client });
    }
    assert_eq!(held(serve), [0; 4]);
}

#[test]
fn an_engine_is_as_large_after_many_answers_as_after_some() {
    let place = tempfile::tempdir().unwrap();
    let names = lay_out("llama", false, place.path());
    let (child, mut serve) = start(place.path(), &names);
    event(&mut serve);
    let mut after = |numbers: std::ops::Range<u64>| {
        numbers.for_each(|number| crowd(&mut serve, number));
        resident(child.id())
    };
    let before = after(0..20);
    let later = after(20..120);
    // 800 answers in between; a large page is two megabytes.
    assert!(later < before + (3 << 20), "{before} bytes, then {later}");
    drop(serve);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn an_engine_with_nothing_to_do_uses_no_processor_time() {
    let place = tempfile::tempdir().unwrap();
    let names = lay_out("llama", false, place.path());
    let (child, mut serve) = start(place.path(), &names);
    event(&mut serve);
    first_token(&mut serve);
    // One answer waits for what its client has to pay first.
    let waiting = EngineRequest::Start(Start {
        grant: 0,
        ..answer_of(2, [7; 16], "A".repeat(70), 1)
    });
    send(&mut serve, &waiting);
    while !matches!(event(&mut serve), EngineEvent::Prefilled { .. }) {}
    std::thread::sleep(Duration::from_millis(300));
    let before = processor_time(child.id());
    assert!(before > Duration::ZERO, "the answer took some");
    std::thread::sleep(Duration::from_secs(1));
    let spent = processor_time(child.id()) - before;
    assert!(spent < Duration::from_millis(1), "{spent:?} in a second");
}

/// The likeliest token after the known prompt, given as a text, and the prompt's length.
fn first_token(serve: &mut UnixStream) -> (Vec<u8>, u32) {
    let text = (b'A'..).take(PROMPT).map(char::from).collect();
    let request = EngineRequest::Start(Start {
        alternatives: Some(0),
        ..answer_of(1, [7; 16], text, 1)
    });
    send(serve, &request);
    let (mut bytes, mut prompt) = (Vec::new(), 0);
    loop {
        match event(serve) {
            EngineEvent::Admitted { prompt_tokens, .. } => prompt = prompt_tokens,
            EngineEvent::Token { candidates, .. } => bytes = candidates[0].bytes.clone(),
            EngineEvent::Prefilled { .. } => {}
            EngineEvent::Finished { .. } => return (bytes, prompt),
            other => panic!("{other:?}"),
        }
    }
}

/// The likeliest token as `transformers` has it.
fn likeliest(family: &str) -> usize {
    let logits = std::fs::read(fixture(family, "logits.f32")).unwrap();
    let (logits, _) = logits.as_chunks::<4>();
    let last = logits[(PROMPT - 1) * TOKENS..]
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes));
    let (token, _) = last
        .enumerate()
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .unwrap();
    token
}

fn serves_from_its_files(in_two: bool) {
    for family in [
        "llama",
        "smollm",
        "mistral",
        "qwen2",
        "qwen3",
        "qwen3-moe",
        "gemma3",
        "phi3",
    ] {
        let place = tempfile::tempdir().unwrap();
        let names = lay_out(family, in_two, place.path());
        let (child, mut serve) = start(place.path(), &names);
        assert!(
            matches!(event(&mut serve), EngineEvent::Loaded { .. }),
            "{family}"
        );
        let expected = bytes()[likeliest(family)];
        let found = first_token(&mut serve);
        assert_eq!(found, (vec![expected], PROMPT as u32), "{family}");
        drop(serve);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{family}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn a_model_in_one_file_of_weights_answers_as_transformers_does() {
    serves_from_its_files(false);
}

#[test]
fn a_model_in_two_files_of_weights_answers_as_transformers_does() {
    serves_from_its_files(true);
}

#[test]
fn a_vocabulary_with_more_tokens_than_its_model_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let names = lay_out("llama", false, place.path());
    for (more, expected) in [(0, 0), (1, 10)] {
        let mut tokenizer = tokenizer();
        let added = tokenizer["added_tokens"].as_array_mut().unwrap();
        added.extend((260..260 + more).map(|id| json!({"id": id, "content": "<|x|>"})));
        std::fs::write(place.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        let (child, serve) = start(place.path(), &names);
        serve.shutdown(std::net::Shutdown::Write).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(expected), "{more} more");
    }
}
