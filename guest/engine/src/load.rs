//! A model ready to answer: weights, vocabulary and template of one file.

use std::fs::File;
use std::sync::OnceLock;

use messages::engine_ipc::CallSyntax;

use crate::calls;
use crate::format::Vocabulary;
use crate::gguf::ModelFile;
use crate::kernels::Kernels;
use crate::model::{Pooling, Shape, Weights};
use crate::refusal::ModelError;
use crate::template::Template;
use crate::tokenizer::{ADD_END, Tokenizer};

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
        Ok(Self {
            weights,
            tokenizer,
            template,
            kernels: Kernels::detect(),
            vocabulary: OnceLock::new(),
        })
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
