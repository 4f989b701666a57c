//! The weights in anonymous memory, packed for the kernels.
//!
//! One reading for every family and both kinds of files: which tensors there are follows from the
//! shape's parts, what they are called from `names`. Every tensor of the files has a place, or the
//! model is refused. In GGUF files of the family `llama` the rows of query and key projections
//! stand so that a head's rotation turns neighbouring pairs (`Pairing`); nothing is permuted here.

mod encoder;

use super::cache::Precision;
use super::encoder::{EncoderEmbedding, EncoderLayer};
use super::matrix::{Layout, Matrix};
use super::names::{ExpertPart, Naming, Part};
use super::shape::Shape;
use crate::kernels::WideLayout;
use crate::refusal::ModelError;

/// A tensor as it lies in its file.
pub(crate) struct Stored {
    /// Its layout.
    pub(crate) layout: Layout,
    /// Its dimensions, slowest first.
    pub(crate) dims: Vec<usize>,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// Where tensors come from.
pub(crate) trait TensorSource {
    /// Whose names its tensors have.
    fn naming(&self) -> Naming;
    /// How many there are, but for those that say nothing that the shape does not.
    fn count(&self) -> usize;
    /// Reads one; none when there is none of that name.
    fn read(&mut self, name: &str) -> Result<Option<Stored>, ModelError>;
}

/// Matrices of an inner part.
#[derive(Debug)]
pub(crate) struct Inner {
    /// What the other is multiplied with; none in an encoder.
    pub(crate) gate: Option<Matrix>,
    pub(crate) up: Matrix,
    pub(crate) down: Matrix,
}

/// What is between the norm of the inner part and the stream.
#[derive(Debug)]
pub(crate) enum Feed {
    /// One inner part.
    Dense(Inner),
    /// Several, and the matrix that chooses from them.
    Experts { router: Matrix, experts: Vec<Inner> },
}

impl Feed {
    /// The inner part of that number; where there is one, any number's.
    pub(super) fn inner(&self, number: usize) -> Option<&Inner> {
        match self {
            Self::Dense(inner) => Some(inner),
            Self::Experts { experts, .. } => experts.get(number),
        }
    }

    /// What chooses from several.
    pub(super) const fn router(&self) -> Option<&Matrix> {
        match self {
            Self::Dense(_) => None,
            Self::Experts { router, .. } => Some(router),
        }
    }
}

/// Offsets of queries, keys and values.
#[derive(Debug)]
pub(crate) struct Biases {
    pub(crate) query: Vec<f32>,
    pub(crate) key: Vec<f32>,
    pub(crate) value: Vec<f32>,
}

/// One transformer block.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) query: Matrix,
    pub(crate) key: Matrix,
    pub(crate) value: Matrix,
    pub(crate) biases: Option<Biases>,
    /// Norms of a head's queries and keys.
    pub(crate) head_norms: Option<[Vec<f32>; 2]>,
    pub(crate) output: Matrix,
    pub(crate) norm_after_attention: Option<Vec<f32>>,
    pub(crate) inner_norm: Vec<f32>,
    pub(crate) feed: Feed,
    pub(crate) norm_after_inner: Option<Vec<f32>>,
    pub(super) encoder: Option<EncoderLayer>,
}

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) shape: Shape,
    pub(crate) embedding: Matrix,
    pub(crate) layers: Vec<Layer>,
    /// None in an encoder.
    pub(crate) norm: Option<Vec<f32>>,
    pub(super) encoder: Option<EncoderEmbedding>,
    /// None when the head is the embedding.
    head: Option<Matrix>,
    /// What the file divides the angles of each pair by.
    pub(crate) angle_factors: Option<Vec<f32>>,
}

/// Divides angles; only in GGUF files, for Llama 3.
const ANGLE_FACTORS: &str = "rope_freqs.weight";

impl Weights {
    /// Reads and packs all tensors, one at a time.
    ///
    /// # Errors
    /// A [`ModelError`].
    pub(crate) fn read(source: &mut impl TensorSource, shape: Shape) -> Result<Self, ModelError> {
        let mut layers = Vec::with_capacity(shape.layers);
        let outer = Self::read_each(source, shape, |_, layer| {
            layers.push(layer);
            Ok(())
        })?;
        Ok(Self { layers, ..outer })
    }

    /// The same, but each layer is handed to `each` with its number, and not kept.
    ///
    /// # Errors
    /// A [`ModelError`].
    pub(crate) fn read_each(
        source: &mut impl TensorSource,
        shape: Shape,
        mut each: impl FnMut(usize, Layer) -> Result<(), ModelError>,
    ) -> Result<Self, ModelError> {
        // An encoder gives vectors or nothing: whoever described it must say how.
        if shape.parts.encoder && shape.pooling.is_none() {
            let member = "pooling_mode";
            return Err(ModelError::Config { member });
        }
        let found = source.count();
        let naming = source.naming();
        let mut source = Reading {
            source,
            naming,
            shape,
            layer: None,
            read: 0,
        };
        let (vocabulary, width) = (shape.vocabulary, shape.width);
        let embedding = source.matrix(Part::Embedding, vocabulary, width)?;
        let (norm, encoder) = match shape.parts.encoder {
            true => (None, Some(source.encoder_embedding()?)),
            false => (Some(source.vector(Part::Norm, width)?), None),
        };
        let head = match shape.parts.encoder {
            true => None,
            false => source.optional_matrix(Part::Head, vocabulary, width)?,
        };
        let head = match (shape.tied, head) {
            (Some(true), _) => None,
            // Never asked for.
            (_, _) if shape.pooling.is_some() => None,
            (Some(false), None) => return Err(source.wrong(Part::Head)),
            (_, head) => head,
        };
        let angle_factors = match naming {
            Naming::Gguf => source.floats(ANGLE_FACTORS, ANGLE_FACTORS, shape.turned / 2)?,
            Naming::Transformers | Naming::Headless | Naming::Encoder => None,
        };
        for number in 0..shape.layers {
            source.layer = Some(number);
            let layer = match shape.parts.encoder {
                true => source.encoder_layer()?,
                false => source.layer()?,
            };
            each(number, layer)?;
        }
        if source.read != found {
            let read = source.read;
            return Err(ModelError::TensorsLeft { found, read });
        }
        Ok(Self {
            shape,
            embedding,
            layers: Vec::new(),
            norm,
            encoder,
            head,
            angle_factors,
        })
    }

    /// How keys and values of this model are held: no finer than its weights.
    pub(crate) fn cache_precision(&self) -> Precision {
        let rounded = |layer: &Layer| layer.key.is_rounded() && layer.value.is_rounded();
        if self.layers.iter().all(rounded) {
            Precision::Half
        } else {
            Precision::Single
        }
    }

    /// The matrix that gives logits.
    pub(crate) fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// Angle per position of each turned pair: see [`Shape::frequencies`].
    #[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
    pub(crate) fn frequencies(&self) -> Vec<f64> {
        let mut frequencies = self.shape.frequencies();
        let factors = self.angle_factors.iter().flatten();
        for (frequency, factor) in frequencies.iter_mut().zip(factors) {
            *frequency /= f64::from(*factor);
        }
        frequencies
    }
}

/// Reads tensors of one layer, or of none.
struct Reading<'a, S> {
    source: &'a mut S,
    naming: Naming,
    shape: Shape,
    layer: Option<usize>,
    /// How many were read.
    read: usize,
}

impl<S: TensorSource> Reading<'_, S> {
    fn name(&self, part: Part) -> &'static str {
        part.name(self.naming, self.shape.parts)
    }

    fn wrong(&self, part: Part) -> ModelError {
        ModelError::Tensor {
            name: self.name(part),
        }
    }

    fn layer(&mut self) -> Result<Layer, ModelError> {
        let shape = self.shape;
        let (width, parts) = (shape.width, shape.parts);
        let [query, key, value] = self.query_key_value()?;
        Ok(Layer {
            attention_norm: self.vector(Part::AttentionNorm, width)?,
            query,
            key,
            value,
            biases: self.biases()?,
            head_norms: match parts.head_norms {
                true => Some([
                    self.vector(Part::QueryNorm, shape.head)?,
                    self.vector(Part::KeyNorm, shape.head)?,
                ]),
                false => None,
            },
            output: self.matrix(Part::Output, width, shape.query_width())?,
            norm_after_attention: match parts.norms_after {
                true => Some(self.vector(Part::NormAfterAttention, width)?),
                false => None,
            },
            inner_norm: self.vector(Part::InnerNorm, width)?,
            feed: self.feed()?,
            norm_after_inner: match parts.norms_after {
                true => Some(self.vector(Part::NormAfterInner, width)?),
                false => None,
            },
            encoder: None,
        })
    }

    fn biases(&mut self) -> Result<Option<Biases>, ModelError> {
        let shape = self.shape;
        if !shape.parts.bias {
            return Ok(None);
        }
        Ok(Some(Biases {
            query: self.vector(Part::QueryBias, shape.query_width())?,
            key: self.vector(Part::KeyBias, shape.kv_width())?,
            value: self.vector(Part::ValueBias, shape.kv_width())?,
        }))
    }

    fn query_key_value(&mut self) -> Result<[Matrix; 3], ModelError> {
        let width = self.shape.width;
        let rows = [
            self.shape.query_width(),
            self.shape.kv_width(),
            self.shape.kv_width(),
        ];
        if self.shape.parts.fused {
            return self.split(Part::QueryKeyValue, rows, width);
        }
        Ok([
            self.matrix(Part::Query, rows[0], width)?,
            self.matrix(Part::Key, rows[1], width)?,
            self.matrix(Part::Value, rows[2], width)?,
        ])
    }

    fn feed(&mut self) -> Result<Feed, ModelError> {
        let (width, inner) = (self.shape.width, self.shape.inner);
        if let Some(experts) = self.shape.experts {
            let router = self.matrix(Part::Router, experts.count, width)?;
            let mut gates = self.experts(ExpertPart::Gate, experts.count, [inner, width])?;
            let mut ups = self.experts(ExpertPart::Up, experts.count, [inner, width])?;
            let mut downs = self.experts(ExpertPart::Down, experts.count, [width, inner])?;
            let matrices = gates.drain(..).zip(ups.drain(..)).zip(downs.drain(..));
            let experts = matrices.map(|((gate, up), down)| Inner {
                gate: Some(gate),
                up,
                down,
            });
            let experts = experts.collect();
            return Ok(Feed::Experts { router, experts });
        }
        let (gate, up) = if self.shape.parts.fused {
            let [gate, up] = self.split(Part::GateUp, [inner, inner], width)?;
            (gate, up)
        } else {
            (
                self.matrix(Part::Gate, inner, width)?,
                self.matrix(Part::Up, inner, width)?,
            )
        };
        let down = self.matrix(Part::Down, width, inner)?;
        let gate = Some(gate);
        Ok(Feed::Dense(Inner { gate, up, down }))
    }

    /// The matrix of each expert.
    fn experts(
        &mut self,
        part: ExpertPart,
        count: usize,
        [rows, columns]: [usize; 2],
    ) -> Result<Vec<Matrix>, ModelError> {
        let name = part.name(self.naming);
        let wrong = ModelError::Tensor { name };
        match self.naming {
            Naming::Gguf => {
                let stored = self.stored(name)?.ok_or(wrong)?;
                if stored.dims != [count, rows, columns] {
                    return Err(wrong);
                }
                let bytes = stored.bytes.len().checked_div(count).unwrap_or(0).max(1);
                let each = stored.bytes.chunks(bytes);
                let packed = each.map(|bytes| Matrix::pack(stored.layout, bytes, rows, columns));
                let packed = packed.collect::<Result<Vec<_>, _>>();
                packed.map_err(|_| wrong)
            }
            Naming::Transformers | Naming::Headless | Naming::Encoder => {
                let mut matrices = Vec::with_capacity(count);
                for expert in 0..count {
                    let full = format!("mlp.experts.{expert}.{name}");
                    let stored = self.stored(&full)?.ok_or(wrong)?;
                    matrices.push(pack(&stored, wrong, rows, columns)?);
                }
                Ok(matrices)
            }
        }
    }

    /// Matrices that are stored below each other as one.
    fn split<const N: usize>(
        &mut self,
        part: Part,
        rows: [usize; N],
        columns: usize,
    ) -> Result<[Matrix; N], ModelError> {
        let wrong = self.wrong(part);
        let stored = self.stored(self.name(part))?.ok_or(wrong)?;
        let total: usize = rows.iter().sum();
        let row_bytes = stored.bytes.len().checked_div(total).unwrap_or(0);
        if stored.dims != [total, columns] || row_bytes.saturating_mul(total) != stored.bytes.len()
        {
            return Err(wrong);
        }
        let mut rest = stored.bytes.as_slice();
        let mut matrices = Vec::with_capacity(N);
        for rows in rows {
            let (own, after) = rest
                .split_at_checked(rows.saturating_mul(row_bytes))
                .ok_or(wrong)?;
            let packed = Matrix::pack(stored.layout, own, rows, columns);
            matrices.push(packed.map_err(|_| wrong)?);
            rest = after;
        }
        matrices.try_into().map_err(|_| wrong)
    }

    fn stored(&mut self, name: &str) -> Result<Option<Stored>, ModelError> {
        let stored = match self.layer {
            Some(layer) => self.source.read(&self.naming.within(layer, name))?,
            None => self.source.read(name)?,
        };
        if stored.is_some() {
            self.read = self.read.saturating_add(1);
        }
        Ok(stored)
    }

    fn optional_matrix(
        &mut self,
        part: Part,
        rows: usize,
        columns: usize,
    ) -> Result<Option<Matrix>, ModelError> {
        let wrong = self.wrong(part);
        let stored = self.stored(self.name(part))?;
        let packed = stored.map(|stored| pack(&stored, wrong, rows, columns));
        packed.transpose()
    }

    fn matrix(&mut self, part: Part, rows: usize, columns: usize) -> Result<Matrix, ModelError> {
        let matrix = self.optional_matrix(part, rows, columns)?;
        matrix.ok_or(self.wrong(part))
    }

    fn floats(
        &mut self,
        name: &str,
        told: &'static str,
        length: usize,
    ) -> Result<Option<Vec<f32>>, ModelError> {
        let wrong = ModelError::Tensor { name: told };
        let Some(stored) = self.stored(name)? else {
            return Ok(None);
        };
        let wide = matches!(stored.layout, Layout::Wide(_));
        if !wide || stored.dims != [length] {
            return Err(wrong);
        }
        let matrix = pack(
            &Stored {
                dims: vec![1, length],
                ..stored
            },
            wrong,
            1,
            length,
        )?;
        let mut floats = Vec::with_capacity(length);
        matrix.read_row(0, &mut floats);
        Ok(Some(floats))
    }

    #[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
    fn vector(&mut self, part: Part, length: usize) -> Result<Vec<f32>, ModelError> {
        let name = self.name(part);
        let floats = self.floats(name, name, length)?;
        let mut floats = floats.ok_or(ModelError::Tensor { name })?;
        if self.shape.parts.norms_less_one && name.ends_with("norm.weight") {
            floats.iter_mut().for_each(|weight| *weight += 1.0);
        }
        Ok(floats)
    }
}

fn pack(
    stored: &Stored,
    wrong: ModelError,
    rows: usize,
    columns: usize,
) -> Result<Matrix, ModelError> {
    if stored.dims != [rows, columns] {
        return Err(wrong);
    }
    Matrix::pack(stored.layout, &stored.bytes, rows, columns).map_err(|_| wrong)
}

/// Layout of floats of a file of transformers'.
pub(crate) const fn wide(dtype: model_format::safetensors::Dtype) -> Option<Layout> {
    use model_format::safetensors::Dtype;
    match dtype {
        Dtype::F32 => Some(Layout::Wide(WideLayout::F32)),
        Dtype::F16 => Some(Layout::Wide(WideLayout::F16)),
        Dtype::Bf16 => Some(Layout::Wide(WideLayout::Bf16)),
        Dtype::Bool
        | Dtype::U8
        | Dtype::I8
        | Dtype::F8E5M2
        | Dtype::F8E4M3
        | Dtype::F8E8M0
        | Dtype::I16
        | Dtype::U16
        | Dtype::I32
        | Dtype::U32
        | Dtype::I64
        | Dtype::U64
        | Dtype::F64 => None,
    }
}
