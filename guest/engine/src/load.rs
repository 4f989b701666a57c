//! A model ready to answer: weights, vocabulary and template of its files.

use std::fs::File;
use std::sync::OnceLock;

use messages::engine_ipc::CallSyntax;

use crate::calls;
use crate::files::{self, ModelFiles};
use crate::format::Vocabulary;
use crate::gguf::ModelFile;
use crate::kernels::Kernels;
use crate::model::{Pooling, Shape, Weights};
use crate::refusal::ModelError;
use crate::safetensors::WeightFiles;
use crate::template::Template;
use crate::tokenizer::{ADD_END, Described, Settings, Tokenizer, ends_of};

/// A model in anonymous memory.
pub struct Model {
    pub(crate) weights: Weights,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) template: Template,
    pub(crate) kernels: Kernels,
    /// Made for the first answer that must have a form.
    pub(crate) vocabulary: OnceLock<Vocabulary>,
}

const TEMPLATE: &str = "tokenizer.chat_template";

/// The token after a text: a model that goes on after a text has none, and the one that it is must
/// be found by its name in no text of a client.
fn check_close(tokenizer: &Tokenizer, pooling: Option<Pooling>) -> Result<(), ModelError> {
    let sound = tokenizer
        .close()
        .is_none_or(|name| pooling.is_some() && tokenizer.special(name).is_some());
    sound.then_some(()).ok_or(ModelError::Key { key: ADD_END })
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({:?})", self.weights.shape)
    }
}

impl Model {
    /// Reads a model's files, each with its name, into anonymous memory and closes them:
    /// `model.gguf`, or weights in safetensors with what stands beside them.
    ///
    /// # Errors
    /// A [`ModelError`]; nothing of the files' text is in it.
    pub fn open(named: Vec<(String, File)>) -> Result<Self, ModelError> {
        match ModelFiles::sorted(named)? {
            ModelFiles::Gguf(file) => Self::read(file),
            ModelFiles::Safetensors(files) => Self::described(*files),
        }
    }

    fn described(files: files::Described) -> Result<Self, ModelError> {
        let shape = Shape::from_config(&files.config)?;
        // Models that give vectors are taken from GGUF files alone.
        if shape.parts.encoder || shape.pooling.is_some() {
            return Err(ModelError::Config {
                member: "model_type",
            });
        }
        let settings = Settings::read(&files.tokenizer_config)?;
        let mut ends = ends_of(&files.config)?;
        if let Some(generation) = &files.generation_config {
            ends.extend(ends_of(generation)?);
        }
        let tokenizer = Tokenizer::from_json(&Described {
            tokenizer: &files.tokenizer,
            frame: settings.frame(),
            ends,
        })?;
        // Every token of a prompt has a row of the embedding.
        if tokenizer.count() > shape.vocabulary {
            return Err(ModelError::Tokenizer { part: "vocab" });
        }
        let named = ModelError::Tokenizer {
            part: "chat_template",
        };
        // As in transformers, the file goes before the member.
        let source = match &files.chat_template {
            Some(text) => str::from_utf8(text).ok(),
            None => settings.template(),
        };
        let template = Template::compile(source.ok_or(named)?, tokenizer.frame());
        let template = template.map_err(|_| named)?;
        let weights = Weights::read(&mut WeightFiles::open(files.weights)?, shape)?;
        Ok(Self::of(weights, tokenizer, template))
    }

    fn of(weights: Weights, tokenizer: Tokenizer, template: Template) -> Self {
        Self {
            weights,
            tokenizer,
            template,
            kernels: Kernels::detect(),
            vocabulary: OnceLock::new(),
        }
    }

    /// Reads a GGUF file into anonymous memory and closes it.
    ///
    /// # Errors
    /// A [`ModelError`]; nothing of the file's text is in it.
    pub fn read(file: File) -> Result<Self, ModelError> {
        let mut file = ModelFile::open(file)?;
        let shape = Shape::read(&file)?;
        let tokenizer = Tokenizer::read(&file)?;
        let source = match shape.pooling {
            None => file.text(TEMPLATE)?,
            // No chat is ever put to it.
            Some(_) => "",
        };
        check_close(&tokenizer, shape.pooling)?;
        let template = Template::compile(source, tokenizer.frame())?;
        let weights = Weights::read(&mut file, shape)?;
        Ok(Self::of(weights, tokenizer, template))
    }

    /// The tokens in the order of their bytes.
    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        self.vocabulary.get_or_init(|| {
            let tokens = 0..u32::try_from(self.weights.shape.vocabulary).unwrap_or(u32::MAX);
            let texts = tokens.map(|token| self.tokenizer.text(token));
            Vocabulary::of(texts, self.tokenizer.ends())
        })
    }

    /// The special tokens that are told as text where calls are written like this.
    pub(crate) fn told(&self, calls: CallSyntax) -> Vec<(u32, &'static str)> {
        let names = calls::told(calls).iter();
        let found = names.filter_map(|name| Some((self.tokenizer.special(name)?, *name)));
        found.collect()
    }

    /// Longest context, in tokens.
    #[must_use]
    pub fn context_tokens(&self) -> u32 {
        u32::try_from(self.weights.shape.context).unwrap_or(u32::MAX)
    }
}
