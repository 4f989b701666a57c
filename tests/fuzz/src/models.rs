//! Model files: their headers, and whole directories that are sealed into an image.

use std::path::Path;

use measurements::model_image::Source;
use model_format::{gguf as gguf_format, safetensors as safetensors_format};
use tempfile::TempDir;

use crate::{Outcome, pieces};

/// The beginning of a GGUF file, for files that end there, and later.
pub fn gguf(input: &[u8]) -> Outcome {
    let held = u64::try_from(input.len()).expect("a length");
    let mut outcome = Outcome::Refused;
    for size in [held, held + (1 << 20), u64::MAX] {
        if let Ok(Some(header)) = gguf_format::check(input, size) {
            assert!(header.data_end <= size, "data behind the end of the file");
            assert!(header.data_start <= header.data_end);
            outcome = Outcome::Taken;
        }
    }
    outcome
}

/// The same for a file that ends with its header, and no other.
pub fn gguf_alone(input: &[u8]) -> Outcome {
    let held = u64::try_from(input.len()).expect("a length");
    Outcome::of(&gguf_format::check(input, held))
}

/// A safetensors file.
pub fn safetensors(input: &[u8]) -> Outcome {
    let Some((first, rest)) = input.split_first_chunk::<8>() else {
        return Outcome::Refused;
    };
    let size = u64::try_from(input.len()).expect("a length");
    let Ok(length) = safetensors_format::header_length(*first, size) else {
        return Outcome::Refused;
    };
    let header = &rest[..usize::try_from(length).expect("within the file")];
    let checked = safetensors_format::check(header, size);
    if let Ok(tensors) = &checked {
        let mut end = 8 + length;
        for tensor in tensors {
            assert_eq!(tensor.begin, end, "a gap or an overlap");
            end = tensor.end;
        }
        assert_eq!(end, size, "tensors do not end with the file");
    }
    Outcome::of(&checked)
}

/// A `config.json`, as the engine reads it.
pub fn config(input: &[u8]) -> Outcome {
    let read = engine::door::config(input);
    if let Ok(promised) = &read {
        // No product of two of these overflows, and each divides what it must.
        let widths = [promised.width, promised.inner];
        let [heads, kv_heads, head] = promised.heads;
        assert!((1..=512).contains(&promised.layers));
        assert!(
            widths
                .iter()
                .all(|width| (1..=1 << 18).contains(width) && width % 32 == 0)
        );
        assert!(heads <= 1024 && head <= 1024 && heads * head % 32 == 0);
        assert!((1..=heads).contains(&kv_heads) && heads % kv_heads == 0);
        assert!(promised.turned <= head && promised.turned % 2 == 0);
        assert!(
            promised
                .tokens
                .iter()
                .all(|tokens| (1..=1 << 20).contains(tokens))
        );
        let [count, used] = promised.experts.unwrap_or([1, 1]);
        assert!(count <= 1024 && (1..=count).contains(&used));
        assert!(promised.finite, "an angle is not finite");
    }
    Outcome::of(&read)
}

/// A message with what vocabularies treat in ways of their own: words, numerals, accents, a letter
/// of no vocabulary, runs of spaces, and names of special tokens.
const MESSAGE: &str =
    "It's 123 caf\u{e9}s,  e\u{301}\n\n\u{4e2d}\u{1f600}\t<s></s><|im_end|>[SEP] abc\u{2581}";

/// What a model says of its tokens: first `tokenizer_config.json`, then `tokenizer.json`.
pub fn vocabulary(input: &[u8]) -> Outcome {
    let [settings, tokenizer] = pieces::split::<2>(input);
    let of = |gives_vectors| {
        let read = engine::door::tokenizer(tokenizer, settings, (MESSAGE, gives_vectors));
        check_message(&read);
        Outcome::of(&read)
    };
    of(false).or(of(true))
}

fn check_message<E>(read: &Result<engine::door::Encoded, E>) {
    if let Ok(encoded) = read {
        let (count, tokens) = (encoded.count, encoded.tokens.iter().flatten());
        assert!((1..=1 << 20).contains(&count));
        assert!(
            tokens
                .clone()
                .all(|token| usize::try_from(*token).expect("a number") < count)
        );
        // A composed text may be longer, and a space may stand before it.
        assert!(tokens.count() <= 3 * MESSAGE.len() + 1);
        assert!(!encoded.forges, "a message says what only a template may");
    }
}

/// The files that an input's parts are written to; an empty part is no file.
pub const FILES: [&str; 8] = [
    "model.gguf",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "a.safetensors",
    "b.safetensors",
];

thread_local! {
    static PLACE: TempDir = TempDir::new().expect("a place for files");
}

/// A directory of model files, sealed into an image when they are well-formed.
pub fn directory(input: &[u8]) -> Outcome {
    PLACE.with(|place| {
        let (model, image) = (place.path().join("model"), place.path().join("image"));
        std::fs::create_dir_all(&model).expect("a directory");
        for (name, part) in FILES.iter().zip(pieces::split::<8>(input)) {
            put(&model.join(name), part);
        }
        let Ok(source) = Source::open(&model) else {
            return Outcome::Refused;
        };
        let sealed = source.seal("fuzzed", &image).expect("nothing changed");
        let written = std::fs::metadata(image.join("model.img")).expect("an image");
        assert_eq!(written.len(), sealed.image.bytes);
        assert!(sealed.verity.data_blocks * 4096 < written.len());
        Outcome::Taken
    })
}

/// A directory whose tokenizer is this text, however long.
pub fn tokenizer(input: &[u8]) -> Outcome {
    beside("tokenizer.json", input)
}

/// A directory whose index is this text, however long.
pub fn index(input: &[u8]) -> Outcome {
    beside("model.safetensors.index.json", input)
}

fn beside(name: &str, text: &[u8]) -> Outcome {
    let place = TempDir::new().expect("a place for files");
    for needed in ["config.json", "tokenizer.json"] {
        put(&place.path().join(needed), b"{}");
    }
    let template = br#"{"chat_template":"{{ messages }}"}"#;
    put(&place.path().join("tokenizer_config.json"), template);
    put(&place.path().join("a.safetensors"), b"\x02\0\0\0\0\0\0\0{}");
    put(&place.path().join(name), text);
    Outcome::of(&Source::open(place.path()))
}

fn put(path: &Path, bytes: &[u8]) {
    if !bytes.is_empty() {
        std::fs::write(path, bytes).expect("a file");
    } else if path.exists() {
        std::fs::remove_file(path).expect("a file less");
    }
}
