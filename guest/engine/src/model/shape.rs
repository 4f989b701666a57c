//! The shape of a Llama-family model, from the keys of its file.
//!
//! Keys: `docs/gguf.md` of the ggml project, section "llm". A model that asks for something that
//! is not computed here (rope scaling, partial rotation, experts) is refused, not approximated.

use crate::gguf::{GgufError, ModelFile};
use crate::kernels::BLOCK;

/// Limits that no model of the family comes near, so that no product of two overflows.
const MAX_LAYERS: usize = 512;
const MAX_WIDTH: usize = 1 << 17;
const MAX_HEADS: usize = 1 << 10;
const MAX_CONTEXT: usize = 1 << 20;
const MAX_VOCABULARY: usize = 1 << 20;

/// Widths and counts of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    /// Transformer blocks.
    pub(crate) layers: usize,
    /// Width of the residual stream.
    pub(crate) width: usize,
    /// Width inside the feed-forward part.
    pub(crate) inner: usize,
    /// Query heads.
    pub(crate) heads: usize,
    /// Key and value heads; divides `heads`.
    pub(crate) kv_heads: usize,
    /// Width of a head.
    pub(crate) head: usize,
    /// Longest context, in tokens.
    pub(crate) context: usize,
    /// Tokens.
    pub(crate) vocabulary: usize,
    /// Base of the rotary angles.
    pub(crate) rope_base: f32,
    /// Epsilon of the norms.
    pub(crate) epsilon: f32,
}

impl Shape {
    /// Width of all query heads.
    pub(crate) const fn query_width(&self) -> usize {
        self.heads.saturating_mul(self.head)
    }

    /// Width of all key (or value) heads.
    pub(crate) const fn kv_width(&self) -> usize {
        self.kv_heads.saturating_mul(self.head)
    }

    /// Reads the shape.
    ///
    /// # Errors
    /// `Key` for a key that is missing, out of range, or asks for what is not computed here.
    pub(crate) fn read(file: &ModelFile) -> Result<Self, GgufError> {
        if file.text("general.architecture")? != "llama" {
            return Err(key("general.architecture"));
        }
        for unsupported in ["llama.rope.scaling.type", "llama.expert_count"] {
            if file.has(unsupported) {
                return Err(key(unsupported));
            }
        }
        let within = |name, limit| at_most(file.number(name)?, limit, name);
        let width = within("llama.embedding_length", MAX_WIDTH)?;
        let heads = within("llama.attention.head_count", MAX_HEADS)?;
        let head = match file.optional_number("llama.attention.key_length")? {
            Some(head) => at_most(head, MAX_WIDTH, "llama.attention.key_length")?,
            None => width.checked_div(heads).unwrap_or(0),
        };
        let shape = Self {
            layers: within("llama.block_count", MAX_LAYERS)?,
            width,
            inner: within("llama.feed_forward_length", MAX_WIDTH)?,
            heads,
            kv_heads: within("llama.attention.head_count_kv", MAX_HEADS)?,
            head,
            context: within("llama.context_length", MAX_CONTEXT)?,
            vocabulary: file.texts("tokenizer.ggml.tokens")?.len(),
            rope_base: file.float("llama.rope.freq_base")?,
            epsilon: file.float("llama.attention.layer_norm_rms_epsilon")?,
        };
        shape.check()?;
        for same in ["llama.rope.dimension_count", "llama.attention.value_length"] {
            let found = file.optional_number(same)?;
            if found.is_some_and(|found| usize::try_from(found) != Ok(head)) {
                return Err(key(same));
            }
        }
        Ok(shape)
    }

    fn check(&self) -> Result<(), GgufError> {
        let blocks = |width: usize| width > 0 && width.is_multiple_of(BLOCK);
        if !blocks(self.width) {
            return Err(key("llama.embedding_length"));
        }
        if !blocks(self.inner) {
            return Err(key("llama.feed_forward_length"));
        }
        let even = self.head > 0 && self.head.is_multiple_of(2);
        if !even || !blocks(self.query_width()) || self.query_width() > MAX_WIDTH {
            return Err(key("llama.attention.key_length"));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(key("llama.attention.head_count_kv"));
        }
        if !(1..=MAX_VOCABULARY).contains(&self.vocabulary) {
            return Err(key("tokenizer.ggml.tokens"));
        }
        if self.rope_base < 1.0 {
            return Err(key("llama.rope.freq_base"));
        }
        (self.epsilon >= 0.0)
            .then_some(())
            .ok_or(key("llama.attention.layer_norm_rms_epsilon"))
    }
}

const fn key(key: &'static str) -> GgufError {
    GgufError::Key { key }
}

fn at_most(found: u32, limit: usize, name: &'static str) -> Result<usize, GgufError> {
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    (1..=limit)
        .contains(&found)
        .then_some(found)
        .ok_or(key(name))
}
