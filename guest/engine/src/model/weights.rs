//! The weights in anonymous memory, packed for the kernels.
//!
//! In Llama files the rows of query and key projections stand so that a head's rotation turns
//! neighbouring pairs; `forward` rotates such pairs, and nothing is permuted here.

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QTensor};

use super::Shape;
use super::cache::Precision;
use crate::gguf::{GgufError, ModelFile};
use crate::kernels::{PackedMatrix, StoredLayout};

/// One transformer block.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) query: PackedMatrix,
    pub(crate) key: PackedMatrix,
    pub(crate) value: PackedMatrix,
    pub(crate) output: PackedMatrix,
    pub(crate) inner_norm: Vec<f32>,
    pub(crate) gate: PackedMatrix,
    pub(crate) up: PackedMatrix,
    pub(crate) down: PackedMatrix,
}

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) shape: Shape,
    pub(crate) embedding: PackedMatrix,
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Vec<f32>,
    /// None when the head is the embedding.
    head: Option<PackedMatrix>,
}

impl Weights {
    /// Reads and packs all tensors, one at a time.
    ///
    /// # Errors
    /// A [`GgufError`].
    pub(crate) fn read(file: &mut ModelFile, shape: Shape) -> Result<Self, GgufError> {
        let mut source = Source { file, layer: None };
        let embedding = source.matrix("token_embd.weight", shape.vocabulary, shape.width)?;
        let norm = source.vector("output_norm.weight", shape.width)?;
        let head = match source.stored("output.weight")? {
            Some(tensor) => Some(pack(
                &tensor,
                "output.weight",
                shape.vocabulary,
                shape.width,
            )?),
            None => None,
        };
        let mut layers = Vec::with_capacity(shape.layers);
        for layer in 0..shape.layers {
            source.layer = Some(layer);
            layers.push(source.layer(&shape)?);
        }
        Ok(Self {
            shape,
            embedding,
            layers,
            norm,
            head,
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
    pub(crate) fn head(&self) -> &PackedMatrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}

/// Reads tensors of one layer, or of none.
struct Source<'a> {
    file: &'a mut ModelFile,
    layer: Option<usize>,
}

impl Source<'_> {
    fn layer(&mut self, shape: &Shape) -> Result<Layer, GgufError> {
        let (width, query, kv) = (shape.width, shape.query_width(), shape.kv_width());
        Ok(Layer {
            attention_norm: self.vector("attn_norm.weight", width)?,
            query: self.matrix("attn_q.weight", query, width)?,
            key: self.matrix("attn_k.weight", kv, width)?,
            value: self.matrix("attn_v.weight", kv, width)?,
            output: self.matrix("attn_output.weight", width, query)?,
            inner_norm: self.vector("ffn_norm.weight", width)?,
            gate: self.matrix("ffn_gate.weight", shape.inner, width)?,
            up: self.matrix("ffn_up.weight", shape.inner, width)?,
            down: self.matrix("ffn_down.weight", width, shape.inner)?,
        })
    }

    fn stored(&mut self, name: &'static str) -> Result<Option<QTensor>, GgufError> {
        match self.layer {
            Some(layer) => self.file.tensor(&format!("blk.{layer}.{name}")),
            None => self.file.tensor(name),
        }
    }

    fn matrix(
        &mut self,
        name: &'static str,
        rows: usize,
        columns: usize,
    ) -> Result<PackedMatrix, GgufError> {
        let tensor = self.stored(name)?.ok_or(GgufError::Tensor { name })?;
        pack(&tensor, name, rows, columns)
    }

    fn vector(&mut self, name: &'static str, width: usize) -> Result<Vec<f32>, GgufError> {
        let wrong = GgufError::Tensor { name };
        let tensor = self.stored(name)?.ok_or(wrong)?;
        if tensor.shape().dims() != [width] {
            return Err(wrong);
        }
        let floats = tensor
            .dequantize(&Device::Cpu)
            .and_then(|tensor| tensor.to_vec1::<f32>());
        floats.map_err(|_| GgufError::Library)
    }
}

fn pack(
    tensor: &QTensor,
    name: &'static str,
    rows: usize,
    columns: usize,
) -> Result<PackedMatrix, GgufError> {
    let wrong = GgufError::Tensor { name };
    if tensor.shape().dims() != [rows, columns] {
        return Err(wrong);
    }
    let layout = match tensor.dtype() {
        GgmlDType::Q4_0 => StoredLayout::Q4_0,
        GgmlDType::Q4_1 => StoredLayout::Q4_1,
        GgmlDType::Q8_0 => StoredLayout::Q8_0,
        GgmlDType::F32
        | GgmlDType::F16
        | GgmlDType::BF16
        | GgmlDType::Q5_0
        | GgmlDType::Q5_1
        | GgmlDType::Q8_1
        | GgmlDType::Q2K
        | GgmlDType::Q3K
        | GgmlDType::Q4K
        | GgmlDType::Q5K
        | GgmlDType::Q6K
        | GgmlDType::Q8K => return Err(wrong),
    };
    let bytes = tensor.data().map_err(|_| GgufError::Library)?;
    PackedMatrix::pack(layout, &bytes, rows, columns).map_err(|_| wrong)
}
