//! Model images from small models: what is refused before anything is written, and equal bytes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::fs;
use std::path::{Path, PathBuf};

use measurements::model_image::{ModelImageError, Source};
use measurements::verity_tree;
use tempfile::TempDir;

/// A GGUF file of one tensor of 32 bytes.
fn gguf() -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.push(b't');
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(8u64.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32) + 32, 7);
    bytes
}

/// A safetensors file of one tensor, padded to `bytes` of data.
fn safetensors(name: &str, bytes: usize) -> Vec<u8> {
    let header =
        format!(r#"{{"{name}":{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut file = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend((0..bytes).map(|n| u8::try_from(n % 251).unwrap()));
    file
}

fn sharded(directory: &Path) {
    fs::write(directory.join("config.json"), "{}").unwrap();
    fs::write(directory.join("tokenizer.json"), r#"{"version":"1.0"}"#).unwrap();
    let config = r#"{"chat_template":"{{ messages }}"}"#;
    fs::write(directory.join("tokenizer_config.json"), config).unwrap();
    fs::write(directory.join("README.md"), "words").unwrap();
    fs::write(directory.join("m-1.safetensors"), safetensors("a", 5000)).unwrap();
    fs::write(directory.join("m-2.safetensors"), safetensors("b", 4096)).unwrap();
    let index = r#"{"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"#;
    fs::write(directory.join("model.safetensors.index.json"), index).unwrap();
}

/// What opening says; nothing is written in any case.
fn refusal(directory: &Path) -> ModelImageError {
    Source::open(directory).unwrap_err()
}

fn sealed(source: &Path, name: &str) -> (TempDir, Vec<u8>) {
    let out = TempDir::new().unwrap();
    Source::open(source)
        .unwrap()
        .seal(name, out.path())
        .unwrap();
    let image = fs::read(out.path().join("model.img")).unwrap();
    (out, image)
}

fn file_in(directory: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn the_same_model_and_name_give_the_same_bytes_wherever_they_lie() {
    let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let one = file_in(&here, "some.gguf", &gguf());
    file_in(&there, "other-name.gguf", &gguf());
    file_in(&there, "notes.txt", b"left out");
    let (out, image) = sealed(&one, "tiny");
    assert_eq!(sealed(there.path(), "tiny").1, image);
    assert_ne!(sealed(&one, "tiny2").1, image);

    let description = fs::read_to_string(out.path().join("model.json")).unwrap();
    let description: serde_json::Value = serde_json::from_str(&description).unwrap();
    let blocks = image.len() / 4096 - 1;
    let verity: protocol::verity::VerityParameters =
        description["verity"].as_str().unwrap().parse().unwrap();
    assert_eq!(verity.data_blocks, u64::try_from(blocks).unwrap());
    let again =
        verity_tree::parameters(&image[..blocks * 4096], verity_tree::salt("model-tiny")).unwrap();
    assert_eq!(again, verity);
    assert_eq!(description["digest"], verity.model_digest().to_string());
    assert!(image.windows(64).any(|w| w == &gguf()[gguf().len() - 64..]));
}

#[test]
fn weights_in_several_files_are_sealed_with_what_they_need() {
    let directory = TempDir::new().unwrap();
    sharded(directory.path());
    let source = Source::open(directory.path()).unwrap();
    assert_eq!(source.left_out, ["README.md"]);
    let out = TempDir::new().unwrap();
    let sealed = source.seal("sharded", out.path()).unwrap();
    let names: Vec<_> = sealed.contents.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "config.json",
            "m-1.safetensors",
            "m-2.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
}

#[test]
fn what_is_no_model_is_refused_before_anything_is_written() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    assert!(matches!(
        refusal(directory.path()),
        ModelImageError::Files {
            gguf: 0,
            safetensors: 0
        }
    ));
    let mut cut = gguf();
    cut.truncate(cut.len() - 1);
    fs::write(path("cut.gguf"), cut).unwrap();
    assert!(matches!(
        refusal(directory.path()),
        ModelImageError::Gguf { .. }
    ));
    fs::write(path("good.gguf"), gguf()).unwrap();
    assert!(matches!(
        refusal(directory.path()),
        ModelImageError::Files { gguf: 2, .. }
    ));
    fs::write(path("empty.gguf"), "").unwrap();
    let empty = Source::open(&path("empty.gguf")).unwrap_err();
    assert!(matches!(empty, ModelImageError::Length { .. }));
    let absent = Source::open(&path("absent")).unwrap_err();
    assert!(matches!(absent, ModelImageError::Read { .. }));
    for name in ["", "a b", "../a", &"n".repeat(65)] {
        let out = path("out");
        let refused = Source::open(&path("good.gguf")).unwrap().seal(name, &out);
        assert!(matches!(refused, Err(ModelImageError::Name)), "{name}");
        assert!(!out.exists());
    }
}

/// A file of a good directory, what stands in its place, and the reason by name.
const FAULTS: [(&str, Option<&[u8]>, &str); 12] = [
    ("config.json", None, "Missing"),
    ("tokenizer.json", None, "Missing"),
    ("model.safetensors.index.json", None, "Missing"),
    ("tokenizer_config.json", Some(b"{}"), "NoTemplate"),
    ("tokenizer.json", Some(b"{"), "Malformed"),
    ("tokenizer.json", Some(b"[]"), "Malformed"),
    ("chat_template.jinja", Some(b"\xff"), "Malformed"),
    (
        "model.safetensors.index.json",
        Some(br#"{"weight_map":{"a":"m-1.safetensors"}}"#),
        "Index",
    ),
    ("m-3.safetensors", Some(b"short"), "Safetensors"),
    ("m-2.safetensors", Some(&[255; 64]), "Safetensors"),
    ("m-2.safetensors", Some(b""), "Length"),
    ("m.gguf", Some(b"GGUF"), "Files"),
];

#[test]
fn each_fault_of_a_safetensors_directory_is_refused_by_its_own_reason() {
    for (name, content, expected) in FAULTS {
        let directory = TempDir::new().unwrap();
        sharded(directory.path());
        match content {
            Some(content) => fs::write(directory.path().join(name), content).unwrap(),
            None => fs::remove_file(directory.path().join(name)).unwrap(),
        }
        let refused = refusal(directory.path());
        let reason = format!("{refused:?}");
        assert!(reason.starts_with(expected), "{name}: {reason}");
    }
    let directory = TempDir::new().unwrap();
    sharded(directory.path());
    file_in(&directory, "m-2.safetensors", &safetensors("a", 4096));
    assert!(matches!(
        refusal(directory.path()),
        ModelImageError::Repeated { .. }
    ));
}

#[test]
fn an_index_that_names_a_tensor_twice_or_more_than_any_model_has_is_refused() {
    let directory = TempDir::new().unwrap();
    sharded(directory.path());
    let index = |members: &str| {
        let text = format!("{{\"weight_map\":{{{members}}}}}");
        file_in(&directory, "model.safetensors.index.json", text.as_bytes());
        Source::open(directory.path())
    };
    let good = r#""b":"m-2.safetensors","a":"m-1.safetensors""#;
    assert!(index(good).is_ok());
    let twice = index(&format!("{good},\"a\":\"m-1.safetensors\"")).unwrap_err();
    assert!(matches!(twice, ModelImageError::Index { .. }));
    let swapped = index(r#""a":"m-2.safetensors","b":"m-1.safetensors""#).unwrap_err();
    assert!(matches!(swapped, ModelImageError::Index { .. }));
    let many: String = (0..=1 << 18).map(|n| format!("\"{n}\":\"\",")).collect();
    let many = index(&format!("{many}{good}")).unwrap_err();
    assert!(matches!(many, ModelImageError::Malformed { .. }));
}

/// The same directory with what sentence-transformers says beside it, and no chat template.
fn described(directory: &Path) {
    sharded(directory);
    fs::write(directory.join("tokenizer_config.json"), "{}").unwrap();
    let module = |path: &str, kind: &str| {
        let kind = format!("sentence_transformers.models.{kind}");
        serde_json::json!({"idx": 0, "name": "0", "path": path, "type": kind})
    };
    let modules = [
        module("", "Transformer"),
        module("1_Pooling", "Pooling"),
        module("2_Normalize", "Normalize"),
    ];
    let modules = serde_json::json!(modules).to_string();
    fs::write(directory.join("modules.json"), modules).unwrap();
    for folder in ["1_Pooling", "2_Normalize"] {
        fs::create_dir(directory.join(folder)).unwrap();
    }
    fs::write(directory.join("1_Pooling/config.json"), POOLING).unwrap();
    fs::write(
        directory.join("sentence_bert_config.json"),
        r#"{"max_seq_length":512}"#,
    )
    .unwrap();
}

const POOLING: &str = r#"{"word_embedding_dimension": 64, "pooling_mode_mean_tokens": true}"#;

#[test]
fn a_model_that_gives_vectors_is_sealed_with_how_they_are_pooled() {
    let directory = TempDir::new().unwrap();
    described(directory.path());
    file_in(&directory, "pooling.json", b"another file of this name");
    let source = Source::open(directory.path()).unwrap();
    assert_eq!(
        source.left_out,
        ["2_Normalize", "README.md", "pooling.json"]
    );
    let out = TempDir::new().unwrap();
    let sealed = source.seal("vectors", out.path()).unwrap();
    let names: Vec<_> = sealed.contents.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "config.json",
            "m-1.safetensors",
            "m-2.safetensors",
            "model.safetensors.index.json",
            "modules.json",
            "pooling.json",
            "sentence_bert_config.json",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    let image = fs::read(out.path().join("model.img")).unwrap();
    let holds = |text: &str| {
        image
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(holds(POOLING) && !holds("another file of this name"));
}

#[test]
fn a_description_of_vectors_that_is_not_computed_is_refused_before_anything_is_written() {
    let more = |name: &str| format!("{{\"word_embedding_dimension\": 64, \"{name}\": true}}");
    for (file, content, expected) in [
        ("modules.json", "[]".to_owned(), "Sentence"),
        ("modules.json", "{}".to_owned(), "Sentence"),
        (
            "1_Pooling/config.json",
            more("pooling_mode_max_tokens"),
            "Sentence",
        ),
        ("1_Pooling/config.json", more("own"), "Sentence"),
        ("1_Pooling/config.json", String::new(), "Length"),
        (
            "sentence_bert_config.json",
            more("do_lower_case"),
            "Sentence",
        ),
    ] {
        let directory = TempDir::new().unwrap();
        described(directory.path());
        fs::write(directory.path().join(file), content).unwrap();
        let reason = format!("{:?}", refusal(directory.path()));
        assert!(reason.starts_with(expected), "{file}: {reason}");
    }
    let directory = TempDir::new().unwrap();
    described(directory.path());
    fs::remove_dir_all(directory.path().join("1_Pooling")).unwrap();
    assert!(matches!(
        refusal(directory.path()),
        ModelImageError::Read { .. }
    ));
}

#[test]
fn a_model_of_more_files_than_a_guest_opens_is_refused_and_one_of_as_many_is_sealed() {
    let directory = TempDir::new().unwrap();
    sharded(directory.path());
    // Beside the weights: the index and three that every model needs.
    let fill = |weights: usize| {
        let names = (1..=weights).map(|number| format!("m-{number}.safetensors"));
        let map: serde_json::Map<_, _> = names
            .map(|name| (name.replace(".safetensors", ""), name.into()))
            .collect();
        for (tensor, name) in &map {
            let name = name.as_str().unwrap();
            file_in(&directory, name, &safetensors(tensor, 8));
        }
        let index = serde_json::json!({ "weight_map": map }).to_string();
        file_in(&directory, "model.safetensors.index.json", index.as_bytes());
    };
    fill(52);
    let out = TempDir::new().unwrap();
    let sealed = Source::open(directory.path()).unwrap();
    let sealed = sealed.seal("as-many", out.path()).unwrap();
    assert_eq!(sealed.contents.len(), 56);
    fill(53);
    let refused = refusal(directory.path());
    assert_eq!(
        refused.to_string(),
        "model has 57 files, and a guest opens at most 56: put its weights into fewer"
    );
}

#[test]
fn a_file_that_changes_after_it_was_checked_leaves_no_image() {
    let directory = TempDir::new().unwrap();
    let path = file_in(&directory, "m.gguf", &gguf());
    for change in 0..3 {
        fs::write(&path, gguf()).unwrap();
        let source = Source::open(&path).unwrap();
        let mut other = gguf();
        match change {
            0 => other[8] ^= 1,
            1 => other.truncate(95),
            _ => other.push(0),
        }
        fs::write(&path, other).unwrap();
        let out = TempDir::new().unwrap();
        let refused = source.seal("m", out.path()).unwrap_err();
        assert!(
            matches!(refused, ModelImageError::Changed { .. }),
            "{change}"
        );
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }
}
