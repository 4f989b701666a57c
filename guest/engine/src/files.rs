//! The files of a model, by the names that they have in its image.
//!
//! Which files there are says what kind of model it is: `model.gguf` alone, or weights in
//! safetensors with what `measure model` takes beside them. What is deliberately not here: opening
//! a file by its name (init), and what is in one (`load`).

use std::fs::File;
use std::io::{Read as _, Seek as _};

use messages::engine_ipc::{ENGINE_MODEL_FD, MAX_MODEL_FILES};

use crate::refusal::ModelError;

// `measure model` seals no more files than init opens.
const _: () = assert!(model_format::MAX_FILES == MAX_MODEL_FILES);

/// Text beside the weights, at most, in bytes: as much as `measure model` takes.
const MAX_TEXT_BYTES: u64 = 64 << 20;
const GGUF: &str = "model.gguf";
const WEIGHTS: &str = ".safetensors";
const MODULES: &str = "modules.json";
const POOLING: &str = model_format::sentence::POOLING_FILE;

/// The model's files that a program of the engine inherited, in the order of their names, which are
/// its arguments; none unless each is there.
#[must_use]
pub fn inherited_files() -> Option<Vec<(String, File)>> {
    let named = (ENGINE_MODEL_FD..).zip(std::env::args_os().skip(1));
    let files = named
        .take(MAX_MODEL_FILES.saturating_add(1))
        .map(|(fd, name)| {
            let file = sys::adopt(fd).ok()?;
            Some((name.into_string().ok()?, File::from(file)))
        });
    let files: Vec<_> = files.collect::<Option<_>>()?;
    (1..=MAX_MODEL_FILES)
        .contains(&files.len())
        .then_some(files)
}

/// A model's files.
pub(crate) enum ModelFiles {
    /// One GGUF file.
    Gguf(File),
    /// Weights of transformers and what describes them.
    Safetensors(Box<Described>),
}

/// Weights of transformers and what describes them.
pub(crate) struct Described {
    /// Files of weights, in the order of their names.
    pub(crate) weights: Vec<File>,
    pub(crate) config: Vec<u8>,
    pub(crate) tokenizer: Vec<u8>,
    pub(crate) tokenizer_config: Vec<u8>,
    pub(crate) generation_config: Option<Vec<u8>>,
    pub(crate) chat_template: Option<Vec<u8>>,
    /// Of a model that gives vectors.
    pub(crate) sentence: Option<Sentence>,
}

/// What sentence-transformers says of a model.
pub(crate) struct Sentence {
    pub(crate) modules: Vec<u8>,
    /// The description of its pooling, which stands in a folder of its own elsewhere.
    pub(crate) pooling: Vec<u8>,
    pub(crate) texts: Option<Vec<u8>>,
}

impl Sentence {
    /// All that is said, or nothing.
    fn of(
        modules: Option<Vec<u8>>,
        pooling: Option<Vec<u8>>,
        texts: Option<Vec<u8>>,
    ) -> Result<Option<Self>, ModelError> {
        let name = match (modules, pooling) {
            (Some(modules), Some(pooling)) => {
                return Ok(Some(Self {
                    modules,
                    pooling,
                    texts,
                }));
            }
            (None, None) => return Ok(None),
            (None, Some(_)) => MODULES,
            (Some(_), None) => POOLING,
        };
        Err(ModelError::Files { name })
    }
}

impl ModelFiles {
    /// Sorts files by their names.
    ///
    /// # Errors
    /// `Files` for a name that is missing, there twice, or unknown; `Read`.
    pub(crate) fn sorted(mut named: Vec<(String, File)>) -> Result<Self, ModelError> {
        named.sort_by(|(one, _), (other, _)| one.cmp(other));
        if named
            .windows(2)
            .any(|pair| matches!(pair, [(a, _), (b, _)] if a == b))
        {
            return Err(ModelError::Files { name: "repeated" });
        }
        if named.iter().any(|(name, _)| name == GGUF) {
            return match <[_; 1]>::try_from(named) {
                Ok([(_, file)]) => Ok(Self::Gguf(file)),
                Err(_) => Err(ModelError::Files { name: GGUF }),
            };
        }
        let mut weights = Vec::new();
        let [mut config, mut tokenizer, mut tokenizer_config] = [None, None, None];
        let [mut generation_config, mut chat_template] = [None, None];
        let [mut modules, mut pooling, mut texts] = [None, None, None];
        for (name, file) in named {
            let slot = match name.as_str() {
                "config.json" => &mut config,
                "tokenizer.json" => &mut tokenizer,
                "tokenizer_config.json" => &mut tokenizer_config,
                "generation_config.json" => &mut generation_config,
                "chat_template.jinja" => &mut chat_template,
                MODULES => &mut modules,
                POOLING => &mut pooling,
                "sentence_bert_config.json" => &mut texts,
                // What they say, the files of weights and `tokenizer.json` say themselves.
                "special_tokens_map.json" | "model.safetensors.index.json" => continue,
                name if name.ends_with(WEIGHTS) => {
                    weights.push(file);
                    continue;
                }
                _ => return Err(ModelError::Files { name: "unknown" }),
            };
            *slot = Some(text(file)?);
        }
        let missing = |name| ModelError::Files { name };
        if weights.is_empty() {
            return Err(missing(WEIGHTS));
        }
        Ok(Self::Safetensors(Box::new(Described {
            weights,
            config: config.ok_or(missing("config.json"))?,
            tokenizer: tokenizer.ok_or(missing("tokenizer.json"))?,
            tokenizer_config: tokenizer_config.ok_or(missing("tokenizer_config.json"))?,
            generation_config,
            chat_template,
            sentence: Sentence::of(modules, pooling, texts)?,
        })))
    }
}

/// The whole of a file of text.
fn text(mut file: File) -> Result<Vec<u8>, ModelError> {
    let unread = |_| ModelError::Read;
    file.rewind().map_err(unread)?;
    let mut text = Vec::new();
    let limit = MAX_TEXT_BYTES.saturating_add(1);
    let read = file.take(limit).read_to_end(&mut text).map_err(unread)?;
    let within = u64::try_from(read).is_ok_and(|read| read <= MAX_TEXT_BYTES);
    within
        .then_some(text)
        .ok_or(ModelError::Files { name: "length" })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]

    use super::*;
    use crate::fixture::file_of;

    const NEEDED: [&str; 4] = [
        "model.safetensors",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];

    fn sorted(names: &[&str]) -> Result<ModelFiles, ModelError> {
        let named = names
            .iter()
            .map(|name| ((*name).to_owned(), file_of(name.as_bytes())));
        ModelFiles::sorted(named.collect())
    }

    #[test]
    fn files_have_the_places_of_their_names() {
        assert!(matches!(sorted(&["model.gguf"]), Ok(ModelFiles::Gguf(_))));
        let shards = ["b.safetensors", "a.safetensors", "chat_template.jinja"];
        let index = ["model.safetensors.index.json", "special_tokens_map.json"];
        let Ok(ModelFiles::Safetensors(mut files)) =
            sorted(&[&NEEDED[1..], &shards, &index].concat())
        else {
            panic!("not taken");
        };
        assert_eq!(files.config, b"config.json");
        assert_eq!(
            files.chat_template.as_deref(),
            Some(b"chat_template.jinja".as_slice())
        );
        assert_eq!(files.generation_config, None);
        let names: Vec<_> = files
            .weights
            .drain(..)
            .map(|file| text(file).unwrap())
            .collect();
        assert_eq!(names, [b"a.safetensors", b"b.safetensors"]);
    }

    #[test]
    fn refuses_a_file_that_is_missing_unknown_or_there_twice_by_its_name() {
        let refused = |names: &[&str]| match sorted(names) {
            Err(ModelError::Files { name }) => name,
            Err(_) | Ok(_) => "another",
        };
        assert_eq!(refused(&[]), ".safetensors");
        for (at, missing) in NEEDED.into_iter().enumerate().skip(1) {
            let mut names = NEEDED.to_vec();
            names.remove(at);
            assert_eq!(refused(&names), missing);
        }
        for (there, missing) in [(MODULES, POOLING), (POOLING, MODULES)] {
            assert_eq!(refused(&[&NEEDED[..], &[there]].concat()), missing);
        }
        assert_eq!(refused(&["model.gguf", "config.json"]), "model.gguf");
        assert_eq!(refused(&["model.gguf", "model.gguf"]), "repeated");
        assert_eq!(refused(&["model.safetensors", "model.bin"]), "unknown");
    }
}
