//! A model's files: opened once, found well-formed, and kept open for the sealing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};

use model_format::{MAX_FILES as MAX_MODEL_FILES, gguf, safetensors, sentence};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use sha2::{Digest as _, Sha256};

use super::ModelImageError;
use crate::erofs::MAX_FILES;

/// Text beside the weights, at most: a tokenizer over a large vocabulary has some 20 MB.
const MAX_TEXT_BYTES: u64 = 64 << 20;
/// Tensors of all files together, and entries of the index: twice those of the largest open models.
const MAX_TENSORS: usize = 1 << 18;
const INDEX: &str = "model.safetensors.index.json";
const TEMPLATE: &str = "chat_template.jinja";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// What says that a model gives vectors, and what it may say of their texts.
const MODULES: &str = "modules.json";
const TEXTS: &str = "sentence_bert_config.json";
/// What safetensors weights need beside them.
const NEEDED: [&str; 3] = ["config.json", "tokenizer.json", TOKENIZER_CONFIG];
/// What is taken when it is there.
const OPTIONAL: [&str; 4] = [
    "generation_config.json",
    "special_tokens_map.json",
    TEMPLATE,
    INDEX,
];
/// The name under which the guest opens a GGUF model.
const GGUF_NAME: &str = "model.gguf";

/// A model whose files were found well-formed.
#[derive(Debug)]
pub struct Source {
    pub(super) format: &'static str,
    pub(super) files: Vec<Checked>,
    /// Names in the directory that are no part of a model, in order.
    pub left_out: Vec<String>,
}

/// An open file and the part of it that was checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) bytes: u64,
    /// Length of its checked beginning.
    pub(super) checked_bytes: u64,
    /// SHA-256 of that.
    pub(super) checked_digest: [u8; 32],
}

impl Source {
    /// Opens a GGUF file, or a directory with one, or with safetensors and what they need.
    ///
    /// # Errors
    /// See [`ModelImageError`].
    pub fn open(path: &Path) -> Result<Self, ModelImageError> {
        let metadata = std::fs::metadata(path).map_err(|source| read(path, source))?;
        if !metadata.is_dir() {
            return Self::gguf(path, Vec::new());
        }
        let mut names = listed(path)?;
        let ending = |suffix: &str| -> Vec<String> {
            let with = names.iter().filter(|name| name.ends_with(suffix));
            with.cloned().collect()
        };
        let (gguf, weights) = (ending(".gguf"), ending(".safetensors"));
        match (gguf.as_slice(), weights.as_slice()) {
            ([one], []) => {
                names.remove(one);
                Self::gguf(&path.join(one), names.into_iter().collect())
            }
            ([], [_, ..]) => Self::safetensors(path, &names, &weights),
            (_, _) => Err(ModelImageError::Files {
                gguf: gguf.len(),
                safetensors: weights.len(),
            }),
        }
    }

    fn gguf(path: &Path, left_out: Vec<String>) -> Result<Self, ModelImageError> {
        let mut opened = Opened::open(path)?;
        let refused = |source| ModelImageError::Gguf {
            file: shown(path),
            source,
        };
        let mut prefix = opened.more(gguf::FIRST_READ)?;
        let bytes = opened.bytes;
        if gguf::check(&prefix, bytes).map_err(refused)?.is_none() {
            let rest = gguf::MAX_HEADER_BYTES.saturating_sub(gguf::FIRST_READ);
            prefix.extend(opened.more(rest)?);
            let whole = gguf::check(&prefix, bytes).map_err(refused)?;
            // Still asking for more means that the file is shorter than its length said.
            whole.ok_or_else(|| ModelImageError::Changed { file: shown(path) })?;
        }
        let file = opened.checked(GGUF_NAME, &prefix)?;
        Ok(Self {
            format: "gguf",
            files: vec![file],
            left_out,
        })
    }

    fn safetensors(
        directory: &Path,
        names: &BTreeSet<String>,
        weights: &[String],
    ) -> Result<Self, ModelImageError> {
        if let Some(file) = NEEDED.into_iter().find(|file| !names.contains(*file)) {
            return Err(ModelImageError::Missing { file });
        }
        if weights.len() > 1 && !names.contains(INDEX) {
            return Err(ModelImageError::Missing { file: INDEX });
        }
        let mut files = described_vectors(directory, names)?;
        // No chat is put to a model that gives vectors.
        let mut has_template = names.contains(TEMPLATE) || !files.is_empty();
        let mut index = None;
        let texts = NEEDED.into_iter().chain(OPTIONAL);
        for name in texts.filter(|name| names.contains(*name)) {
            let mut opened = Opened::open(&directory.join(name))?;
            let text = opened.text()?;
            match name {
                TEMPLATE => utf8(name, &text)?,
                INDEX => index = Some(json::<WeightIndex>(name, &text)?),
                TOKENIZER_CONFIG => {
                    let found: TokenizerConfig = json(name, &text)?;
                    has_template |= found.chat_template.is_some();
                }
                _ => {
                    json::<AnyObject>(name, &text)?;
                }
            }
            files.push(opened.checked(name, &text)?);
        }
        if !has_template {
            return Err(ModelImageError::NoTemplate);
        }
        check_count(files.len().saturating_add(weights.len()))?;
        let mut tensors = BTreeMap::new();
        for (number, name) in weights.iter().enumerate() {
            files.push(weights_file(
                directory,
                (number, name.as_str()),
                &mut tensors,
            )?);
        }
        let agrees = |index: &WeightIndex| {
            let held = tensors
                .iter()
                .map(|(tensor, at)| (tensor, weights.get(*at)));
            let listed = index.weight_map.0.iter();
            listed.map(|(tensor, file)| (tensor, Some(file))).eq(held)
        };
        if index.is_some_and(|index| !agrees(&index)) {
            return Err(ModelImageError::Index { file: INDEX });
        }
        Ok(Self {
            format: "safetensors",
            left_out: left_out(directory, names, &files),
            files,
        })
    }
}

/// No more files than a guest opens.
fn check_count(found: usize) -> Result<(), ModelImageError> {
    let limit = MAX_MODEL_FILES;
    match found > limit {
        true => Err(ModelImageError::TooManyModelFiles { found, limit }),
        false => Ok(()),
    }
}

/// Names in the directory of which nothing was taken; of a folder one file may have been.
fn left_out(directory: &Path, names: &BTreeSet<String>, files: &[Checked]) -> Vec<String> {
    let of = |file: &Checked| -> Option<String> {
        let within = file.path.strip_prefix(directory).ok()?;
        let first = within.components().next()?;
        Some(first.as_os_str().to_string_lossy().into_owned())
    };
    let taken: BTreeSet<String> = files.iter().filter_map(of).collect();
    names.difference(&taken).cloned().collect()
}

/// What sentence-transformers says of a model: nothing of one that goes on with texts. The
/// description of the pooling stands in a folder of its own, and in the image under another name.
fn described_vectors(
    directory: &Path,
    names: &BTreeSet<String>,
) -> Result<Vec<Checked>, ModelImageError> {
    if !names.contains(MODULES) {
        return Ok(Vec::new());
    }
    let refused = |file: &str, source| ModelImageError::Sentence {
        file: file.to_owned(),
        source,
    };
    let mut files = Vec::new();
    let mut take = |at: &str, name: &str| -> Result<Vec<u8>, ModelImageError> {
        let mut opened = Opened::open(&directory.join(at))?;
        let text = opened.text()?;
        files.push(opened.checked(name, &text)?);
        Ok(text)
    };
    let modules = take(MODULES, MODULES)?;
    let folder = sentence::modules(&modules).map_err(|source| refused(MODULES, source))?;
    let at = format!("{folder}/config.json");
    let pooling = take(&at, sentence::POOLING_FILE)?;
    sentence::pooling(&pooling).map_err(|source| refused(&at, source))?;
    if names.contains(TEXTS) {
        let texts = take(TEXTS, TEXTS)?;
        sentence::texts(&texts).map_err(|source| refused(TEXTS, source))?;
    }
    Ok(files)
}

/// One file of weights, by number and name; adds its tensors to those of the others.
fn weights_file(
    directory: &Path,
    (number, name): (usize, &str),
    tensors: &mut BTreeMap<String, usize>,
) -> Result<Checked, ModelImageError> {
    let refused = |source| ModelImageError::Safetensors {
        file: name.to_owned(),
        source,
    };
    let mut opened = Opened::open(&directory.join(name))?;
    let bytes = opened.bytes;
    let mut beginning = opened.more(8)?;
    let first = beginning.first_chunk::<8>().copied();
    let first = first.ok_or(safetensors::HeaderError::Truncated { file_bytes: bytes });
    let first = first.map_err(refused)?;
    let length = safetensors::header_length(first, bytes).map_err(refused)?;
    let header = opened.more(length)?;
    for tensor in safetensors::check(&header, bytes).map_err(refused)? {
        if tensors.len() >= MAX_TENSORS {
            let limit = MAX_TENSORS;
            return Err(ModelImageError::TooManyTensors { limit });
        }
        if tensors.insert(tensor.name, number).is_some() {
            return Err(ModelImageError::Repeated {
                file: name.to_owned(),
            });
        }
    }
    beginning.extend(header);
    opened.checked(name, &beginning)
}

#[derive(Deserialize)]
struct WeightIndex {
    weight_map: WeightMap,
}

/// Tensors, each with its file, in the order of names; as many as a model may have. One that is
/// there twice stays there twice, and agrees with no files.
struct WeightMap(Vec<(String, String)>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(WeightMapVisitor)
    }
}

struct WeightMapVisitor;

impl<'de> Visitor<'de> for WeightMapVisitor {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
        let mut weights = Vec::new();
        while let Some(entry) = map.next_entry()? {
            if weights.len() >= MAX_TENSORS {
                return Err(A::Error::custom("more tensors than any model has"));
            }
            weights.push(entry);
        }
        weights.sort_unstable();
        Ok(WeightMap(weights))
    }
}

/// An object, read for its form only: nothing of it is kept, however long it is.
struct AnyObject;

impl<'de> Deserialize<'de> for AnyObject {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(AnyObjectVisitor)
    }
}

struct AnyObjectVisitor;

impl<'de> Visitor<'de> for AnyObjectVisitor {
    type Value = AnyObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyObject, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(AnyObject)
    }
}

#[derive(Deserialize)]
struct TokenizerConfig {
    chat_template: Option<IgnoredAny>,
}

/// The names in a directory.
fn listed(directory: &Path) -> Result<BTreeSet<String>, ModelImageError> {
    let mut names = BTreeSet::new();
    let entries = std::fs::read_dir(directory).map_err(|source| read(directory, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| read(directory, source))?;
        names.insert(entry.file_name().to_string_lossy().into_owned());
        if names.len() > MAX_FILES {
            return Err(ModelImageError::TooManyFiles { limit: MAX_FILES });
        }
    }
    Ok(names)
}

fn utf8(file: &str, text: &[u8]) -> Result<(), ModelImageError> {
    std::str::from_utf8(text)
        .map(drop)
        .map_err(|_| ModelImageError::Malformed {
            file: file.to_owned(),
            line: 1,
            column: 1,
        })
}

fn json<T: for<'de> Deserialize<'de>>(file: &str, text: &[u8]) -> Result<T, ModelImageError> {
    serde_json::from_slice(text).map_err(|error| ModelImageError::Malformed {
        file: file.to_owned(),
        line: error.line(),
        column: error.column(),
    })
}

fn read(path: &Path, source: std::io::Error) -> ModelImageError {
    let path = path.to_owned();
    ModelImageError::Read { path, source }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A regular file that is being checked.
struct Opened {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Opened {
    fn open(path: &Path) -> Result<Self, ModelImageError> {
        let cannot = |source| read(path, source);
        let file = File::open(path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(ModelImageError::Length {
                file: shown(path),
                limit: u64::MAX,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            bytes: metadata.len(),
            file,
        })
    }

    /// The next bytes, fewer at the end of the file.
    fn more(&mut self, limit: u64) -> Result<Vec<u8>, ModelImageError> {
        let left = limit.min(self.bytes);
        let mut bytes = Vec::with_capacity(usize::try_from(left).unwrap_or_default());
        let taken = (&mut self.file).take(limit).read_to_end(&mut bytes);
        taken.map_err(|source| read(&self.path, source))?;
        Ok(bytes)
    }

    /// The whole of a short file.
    fn text(&mut self) -> Result<Vec<u8>, ModelImageError> {
        if self.bytes > MAX_TEXT_BYTES {
            return Err(ModelImageError::Length {
                file: shown(&self.path),
                limit: MAX_TEXT_BYTES,
            });
        }
        self.more(MAX_TEXT_BYTES)
    }

    fn checked(mut self, name: &str, beginning: &[u8]) -> Result<Checked, ModelImageError> {
        let rewound = self.file.rewind();
        rewound.map_err(|source| read(&self.path, source))?;
        Ok(Checked {
            name: name.to_owned(),
            path: self.path,
            file: self.file,
            bytes: self.bytes,
            checked_bytes: u64::try_from(beginning.len()).unwrap_or(u64::MAX),
            checked_digest: Sha256::digest(beginning).into(),
        })
    }
}
