//! What a model reads and writes: its tokens, its template, and how long a context may be. What is
//! deliberately not here: its weights, and what computes with them.

use std::sync::OnceLock;

use messages::engine_ipc::CallSyntax;

use crate::calls;
use crate::format::Vocabulary;
use crate::model::Shape;
use crate::template::Template;
use crate::tokenizer::Tokenizer;

/// The part of a model that has to do with text.
pub struct Language {
    pub(crate) shape: Shape,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) template: Template,
    /// Made for the first answer that must have a form.
    vocabulary: OnceLock<Vocabulary>,
}

impl std::fmt::Debug for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Language({:?})", self.shape)
    }
}

impl Language {
    pub(crate) const fn new(shape: Shape, tokenizer: Tokenizer, template: Template) -> Self {
        Self {
            shape,
            tokenizer,
            template,
            vocabulary: OnceLock::new(),
        }
    }

    /// The tokens in the order of their bytes.
    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        self.vocabulary.get_or_init(|| {
            let tokens = 0..u32::try_from(self.shape.vocabulary).unwrap_or(u32::MAX);
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
        u32::try_from(self.shape.context).unwrap_or(u32::MAX)
    }

    /// The same, for a machine that has no room for longer ones.
    #[must_use]
    pub fn within(mut self, context_tokens: usize) -> Self {
        self.shape.context = self.shape.context.min(context_tokens);
        self
    }
}
