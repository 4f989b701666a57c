//! Models of Llama's family without further parts, for a backend that computes nothing else: their
//! shape, and their weights as rows of floats, layer by layer.
//!
//! Rows of query and key projections stand so that a head's rotation turns neighbouring pairs,
//! whatever the file has: which token is likeliest does not depend on the order of a head's
//! elements, as long as queries and keys have the same. What is deliberately not here: how a
//! backend stores them.

use super::matrix::Matrix;
use super::shape::{Activation, Pairing, Shape};
use super::weights::{Feed, Layer, TensorSource, Weights};
use crate::refusal::ModelError;

/// Widths and counts of such a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plain {
    /// Transformer blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Width inside the inner part.
    pub inner: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head, all of which is turned.
    pub head: usize,
    /// Tokens.
    pub vocabulary: usize,
    /// Longest context, in tokens.
    pub context: usize,
    /// Epsilon of the norms.
    pub epsilon: f32,
}

/// A matrix, row by row.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    matrix: &'a Matrix,
    /// Width of the heads whose halves are turned together, where rows are to change places.
    halves: Option<usize>,
}

/// The weights of one layer.
#[derive(Debug)]
pub struct LayerWeights<'a> {
    /// Of the norm before attention.
    pub attention_norm: &'a [f32],
    /// Queries.
    pub query: Rows<'a>,
    /// Keys.
    pub key: Rows<'a>,
    /// Values.
    pub value: Rows<'a>,
    /// After attention.
    pub output: Rows<'a>,
    /// Of the norm before the inner part.
    pub inner_norm: &'a [f32],
    /// What SiLU is taken of.
    pub gate: Rows<'a>,
    /// What that is multiplied with.
    pub up: Rows<'a>,
    /// After the inner part.
    pub down: Rows<'a>,
}

/// Where weights go.
pub trait Sink {
    /// Takes the layer of that number.
    ///
    /// # Errors
    /// `Sink`.
    fn layer(&mut self, number: usize, layer: &LayerWeights<'_>) -> Result<(), ModelError>;

    /// Takes what stands outside of the layers, last: the embedding, the last norm, the matrix that
    /// gives logits, and the angle per position of each pair of a head.
    ///
    /// # Errors
    /// `Sink`.
    fn rest(
        &mut self,
        embedding: Rows<'_>,
        norm: &[f32],
        head: Rows<'_>,
        frequencies: &[f64],
    ) -> Result<(), ModelError>;
}

impl Rows<'_> {
    /// Appends a row as floats; false when there is no such row.
    pub fn read(&self, row: usize, out: &mut Vec<f32>) -> bool {
        self.matrix.read_row(self.place(row), out)
    }

    /// Where a row stands in the file.
    #[allow(
        clippy::arithmetic_side_effects,
        reason = "a head's width is even and not zero, and no row is beyond a checked shape"
    )]
    fn place(&self, row: usize) -> usize {
        match self.halves {
            None | Some(0) => row,
            Some(head) => {
                let within = row % head;
                row - within + within % 2 * (head / 2) + within / 2
            }
        }
    }
}

impl Shape {
    /// The shape, where it has no further part.
    ///
    /// # Errors
    /// `Part` with the first one.
    pub(crate) fn plain(&self) -> Result<Plain, ModelError> {
        let parts = self.parts;
        let scale = self.score_scale * super::shape::root(self.head);
        let held = [
            (!parts.encoder && self.pooling.is_none(), "vectors"),
            (self.experts.is_none(), "experts"),
            (self.window.is_none(), "windows"),
            (!parts.bias, "offsets"),
            (!parts.head_norms, "norms of heads"),
            (!parts.norms_after, "norms after parts"),
            (self.activation == Activation::Silu, "another activation"),
            (self.embedding_scale.is_none(), "scaled embeddings"),
            (self.turned == self.head, "heads turned in part"),
            ((scale - 1.0).abs() < 1e-4, "scores of another scale"),
        ];
        if let Some((_, part)) = held.into_iter().find(|(held, _)| !held) {
            return Err(ModelError::Part { part });
        }
        Ok(Plain {
            layers: self.layers,
            width: self.width,
            inner: self.inner,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head: self.head,
            vocabulary: self.vocabulary,
            context: self.context,
            epsilon: self.epsilon,
        })
    }
}

/// Hands weights over; of a layer, as long as it is read.
///
/// # Errors
/// A [`ModelError`].
pub(crate) fn pour(
    source: &mut impl TensorSource,
    shape: Shape,
    sink: &mut impl Sink,
) -> Result<(), ModelError> {
    shape.plain()?;
    let halves = match shape.pairing {
        Pairing::Neighbours => None,
        Pairing::Halves => Some(shape.head),
    };
    let outer = Weights::read_each(source, shape, |number, layer| {
        sink.layer(number, &of_layer(&layer, halves)?)
    })?;
    let norm = outer.norm.as_deref();
    let norm = norm.ok_or(ModelError::Part { part: "no norm" })?;
    let frequencies = outer.frequencies();
    sink.rest(
        rows(&outer.embedding),
        norm,
        rows(outer.head()),
        &frequencies,
    )
}

const fn rows(matrix: &Matrix) -> Rows<'_> {
    Rows {
        matrix,
        halves: None,
    }
}

fn of_layer(layer: &Layer, halves: Option<usize>) -> Result<LayerWeights<'_>, ModelError> {
    let turned = |matrix| Rows { matrix, halves };
    let missing = ModelError::Part { part: "experts" };
    let inner = match &layer.feed {
        Feed::Dense(inner) => inner,
        Feed::Experts { .. } => return Err(missing),
    };
    Ok(LayerWeights {
        attention_norm: &layer.attention_norm,
        query: turned(&layer.query),
        key: turned(&layer.key),
        value: rows(&layer.value),
        output: rows(&layer.output),
        inner_norm: &layer.inner_norm,
        gate: rows(inner.gate.as_ref().ok_or(missing)?),
        up: rows(&inner.up),
        down: rows(&inner.down),
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests state claims; a panic is the failure"
    )]

    use super::*;
    use crate::kernels::WideLayout;
    use crate::model::Layout;

    #[test]
    fn rows_of_heads_whose_halves_are_turned_change_places() {
        let bytes: Vec<u8> = (0..8 * 32)
            .flat_map(|at| ((at / 32) as f32).to_le_bytes())
            .collect();
        let matrix = Matrix::pack(Layout::Wide(WideLayout::F32), &bytes, 8, 32).unwrap();
        let read = |halves| -> Vec<f32> {
            let rows = Rows {
                matrix: &matrix,
                halves,
            };
            let first = |row| {
                let mut out = Vec::new();
                assert!(rows.read(row, &mut out));
                out[0]
            };
            (0..8).map(first).collect()
        };
        assert_eq!(read(None), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        // Two heads of four: halves (0, 1) and (2, 3) of the first are pairs (0, 2) and (1, 3).
        assert_eq!(read(Some(4)), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }
}
