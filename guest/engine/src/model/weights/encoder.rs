//! The weights that only encoders have.

use super::{Layer, Part, Reading, TensorSource};
use crate::model::encoder::{CenteredNorm, EncoderEmbedding, EncoderLayer};
use crate::refusal::ModelError;

/// Kinds of tokens: of a first and of a second text. Only the first occurs here.
const MAX_KINDS: usize = 16;

impl<S: TensorSource> Reading<'_, S> {
    /// What stands before the first block.
    pub(super) fn encoder_embedding(&mut self) -> Result<EncoderEmbedding, ModelError> {
        let (context, width) = (self.shape.context, self.shape.width);
        Ok(EncoderEmbedding {
            positions: self.matrix(Part::Positions, context, width)?,
            kind: self.first_kind()?,
            norm: self.centered(Part::EmbeddingNorm, Part::EmbeddingNormBias)?,
        })
    }

    fn first_kind(&mut self) -> Result<Vec<f32>, ModelError> {
        let wrong = self.wrong(Part::TokenKinds);
        let stored = self.stored(self.name(Part::TokenKinds))?.ok_or(wrong)?;
        let kinds = stored.dims.first().copied().unwrap_or(0);
        if !(1..=MAX_KINDS).contains(&kinds) {
            return Err(wrong);
        }
        let matrix = super::pack(&stored, wrong, kinds, self.shape.width)?;
        let mut kind = Vec::with_capacity(self.shape.width);
        matrix.read_row(0, &mut kind);
        Ok(kind)
    }

    /// A block: queries, keys and values are offset as in other families.
    pub(super) fn encoder_layer(&mut self) -> Result<Layer, ModelError> {
        let (width, inner) = (self.shape.width, self.shape.inner);
        let query_width = self.shape.query_width();
        let [query, key, value] = self.query_key_value()?;
        let up = self.matrix(Part::Up, inner, width)?;
        let down = self.matrix(Part::Down, width, inner)?;
        Ok(Layer {
            attention_norm: Vec::new(),
            query,
            key,
            value,
            biases: self.biases()?,
            head_norms: None,
            output: self.matrix(Part::Output, width, query_width)?,
            norm_after_attention: None,
            inner_norm: Vec::new(),
            feed: super::Feed::Dense(super::Inner {
                gate: None,
                up,
                down,
            }),
            norm_after_inner: None,
            encoder: Some(EncoderLayer {
                output_offsets: self.vector(Part::OutputBias, width)?,
                norm_after_attention: self
                    .centered(Part::NormAfterAttention, Part::NormAfterAttentionBias)?,
                up_offsets: self.vector(Part::UpBias, inner)?,
                down_offsets: self.vector(Part::DownBias, width)?,
                norm_after_inner: self.centered(Part::NormAfterInner, Part::NormAfterInnerBias)?,
            }),
        })
    }

    fn centered(&mut self, weights: Part, offsets: Part) -> Result<CenteredNorm, ModelError> {
        let width = self.shape.width;
        Ok(CenteredNorm {
            weights: self.vector(weights, width)?,
            offsets: self.vector(offsets, width)?,
        })
    }
}
