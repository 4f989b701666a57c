//! A model ready to answer: weights, vocabulary and template of its files.

use std::fs::File;

use model_format::sentence;

use crate::files::{self, ModelFiles, Sentence};
use crate::gguf::ModelFile;
use crate::kernels::Kernels;
use crate::language::Language;
use crate::model::{Plain, Pooling, Shape, Sink, Weights, plain};
use crate::refusal::ModelError;
use crate::safetensors::WeightFiles;
use crate::template::Template;
use crate::tokenizer::{ADD_END, Described, Settings, Tokenizer, Wants, ends_of};

/// A model in anonymous memory.
pub struct Model {
    pub(crate) language: Language,
    pub(crate) weights: Weights,
    pub(crate) kernels: Kernels,
}

/// A model whose weights are not read yet.
pub struct Opened {
    language: Language,
    tensors: Tensors,
}

/// Where its weights are.
enum Tensors {
    Gguf(ModelFile),
    Safetensors(WeightFiles),
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

/// What a `tokenizer.json` puts around a text is found by its name in no text of a client.
fn check_around(tokenizer: &Tokenizer) -> Result<(), ModelError> {
    let part = "post_processor";
    let mut around = [tokenizer.start(), tokenizer.close()].into_iter().flatten();
    let sound = around.all(|name| tokenizer.special(name).is_some());
    sound.then_some(()).ok_or(ModelError::Tokenizer { part })
}

impl Sentence {
    /// How a model of this shape pools.
    fn pooling(&self, shape: &Shape) -> Result<Pooling, ModelError> {
        let _folder = sentence::modules(&self.modules)?;
        self.texts.as_deref().map_or(Ok(()), sentence::texts)?;
        let pooling = sentence::pooling(&self.pooling)?;
        if pooling.width != shape.width {
            return Err(ModelError::Config {
                member: "word_embedding_dimension",
            });
        }
        Ok(Pooling::described(pooling.mode))
    }
}

impl files::Described {
    /// Tokens that end an answer, beside the one that the tokenizer's settings name.
    fn ends(&self) -> Result<Vec<u32>, ModelError> {
        let mut ends = ends_of(&self.config)?;
        if let Some(generation) = &self.generation_config {
            ends.extend(ends_of(generation)?);
        }
        Ok(ends)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({:?})", self.weights.shape)
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({:?})", self.language)
    }
}

impl Model {
    /// Reads a model's files, each with its name, into anonymous memory and closes them:
    /// `model.gguf`, or weights in safetensors with what stands beside them.
    ///
    /// # Errors
    /// A [`ModelError`]; nothing of the files' text is in it.
    pub fn open(named: Vec<(String, File)>) -> Result<Self, ModelError> {
        Opened::open(named)?.model()
    }

    /// Reads a GGUF file into anonymous memory and closes it.
    ///
    /// # Errors
    /// A [`ModelError`]; nothing of the file's text is in it.
    pub fn read(file: File) -> Result<Self, ModelError> {
        Opened::gguf(file)?.model()
    }

    /// Longest context, in tokens.
    #[must_use]
    pub fn context_tokens(&self) -> u32 {
        self.language.context_tokens()
    }
}

impl Opened {
    /// Reads everything of a model's files but the weights: see [`Model::open`].
    ///
    /// # Errors
    /// A [`ModelError`]; nothing of the files' text is in it.
    pub fn open(named: Vec<(String, File)>) -> Result<Self, ModelError> {
        match ModelFiles::sorted(named)? {
            ModelFiles::Gguf(file) => Self::gguf(file),
            ModelFiles::Safetensors(files) => Self::described(*files),
        }
    }

    /// The part that has to do with text.
    #[must_use]
    pub const fn language(&self) -> &Language {
        &self.language
    }

    /// The shape, where it has no part but those of Llama's family.
    ///
    /// # Errors
    /// `Part` with the first part that it has besides.
    pub fn plain(&self) -> Result<Plain, ModelError> {
        self.language.shape.plain()
    }

    /// Hands the weights over, layer by layer, and closes the files; only of a plain shape.
    ///
    /// # Errors
    /// A [`ModelError`]; `Sink` when they are not taken.
    pub fn pour(self, sink: &mut impl Sink) -> Result<Language, ModelError> {
        let shape = self.language.shape;
        match self.tensors {
            Tensors::Gguf(mut file) => plain::pour(&mut file, shape, sink)?,
            Tensors::Safetensors(mut files) => plain::pour(&mut files, shape, sink)?,
        }
        Ok(self.language)
    }

    fn model(self) -> Result<Model, ModelError> {
        let shape = self.language.shape;
        let weights = match self.tensors {
            Tensors::Gguf(mut file) => Weights::read(&mut file, shape)?,
            Tensors::Safetensors(mut files) => Weights::read(&mut files, shape)?,
        };
        Ok(Model {
            language: self.language,
            weights,
            kernels: Kernels::detect(),
        })
    }

    fn described(files: files::Described) -> Result<Self, ModelError> {
        let mut shape = Shape::from_config(&files.config)?;
        if let Some(sentence) = &files.sentence {
            shape.pooling = Some(sentence.pooling(&shape)?);
        } else if shape.parts.encoder {
            return Err(ModelError::Config {
                member: "pooling_mode",
            });
        }
        let settings = Settings::read(&files.tokenizer_config)?;
        let tokenizer = Tokenizer::from_json(&Described {
            tokenizer: &files.tokenizer,
            frame: settings.frame(),
            wants: match shape.pooling {
                Some(_) => Wants::Vectors {
                    lowers: settings.lowers()?,
                },
                None => Wants::Answers {
                    ends: files.ends()?,
                },
            },
        })?;
        // Every token of a prompt has a row of the embedding.
        if tokenizer.count() > shape.vocabulary {
            return Err(ModelError::Tokenizer { part: "vocab" });
        }
        check_around(&tokenizer)?;
        let named = ModelError::Tokenizer {
            part: "chat_template",
        };
        // As in transformers, the file goes before the member.
        let source = match (&files.chat_template, shape.pooling) {
            // No chat is ever put to it.
            (_, Some(_)) => Some(""),
            (Some(text), None) => str::from_utf8(text).ok(),
            (None, None) => settings.template(),
        };
        let template = Template::compile(source.ok_or(named)?, tokenizer.frame());
        let template = template.map_err(|_| named)?;
        Ok(Self {
            language: Language::new(shape, tokenizer, template),
            tensors: Tensors::Safetensors(WeightFiles::open(files.weights)?),
        })
    }

    fn gguf(file: File) -> Result<Self, ModelError> {
        let file = ModelFile::open(file)?;
        let shape = Shape::read(&file)?;
        let tokenizer = Tokenizer::read(&file)?;
        let source = match shape.pooling {
            None => file.text(TEMPLATE)?,
            // No chat is ever put to it.
            Some(_) => "",
        };
        check_close(&tokenizer, shape.pooling)?;
        let template = Template::compile(source, tokenizer.frame())?;
        Ok(Self {
            language: Language::new(shape, tokenizer, template),
            tensors: Tensors::Gguf(file),
        })
    }
}
