//! What the tensors of a model are called: in GGUF files, and in transformers' files.

use super::shape::Parts;

/// Whose names a file uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// llama.cpp's.
    Gguf,
    /// transformers'.
    Transformers,
    /// transformers', of a model that was saved without its head.
    Headless,
    /// transformers', of an encoder.
    Encoder,
}

/// A tensor of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Embedding,
    Norm,
    Head,
    AttentionNorm,
    Query,
    Key,
    Value,
    QueryKeyValue,
    QueryBias,
    KeyBias,
    ValueBias,
    QueryNorm,
    KeyNorm,
    Output,
    NormAfterAttention,
    InnerNorm,
    Gate,
    Up,
    GateUp,
    Down,
    NormAfterInner,
    Router,
    Positions,
    TokenKinds,
    EmbeddingNorm,
    EmbeddingNormBias,
    OutputBias,
    NormAfterAttentionBias,
    UpBias,
    DownBias,
    NormAfterInnerBias,
}

impl Part {
    /// Its name; within a layer, without what stands before. Empty for what such a model lacks.
    pub(super) fn name(self, naming: Naming, parts: Parts) -> &'static str {
        let (gguf, transformers) = match parts.encoder {
            true => self.of_encoder(),
            false => self.of_decoder(parts),
        };
        match naming {
            Naming::Gguf => gguf,
            Naming::Transformers | Naming::Encoder => transformers,
            Naming::Headless => transformers.strip_prefix(BODY).unwrap_or(transformers),
        }
    }

    const fn of_decoder(self, parts: Parts) -> (&'static str, &'static str) {
        match self {
            Self::Embedding => ("token_embd.weight", "model.embed_tokens.weight"),
            Self::Norm => ("output_norm.weight", "model.norm.weight"),
            Self::Head => ("output.weight", "lm_head.weight"),
            Self::AttentionNorm => ("attn_norm.weight", "input_layernorm.weight"),
            Self::Query => ("attn_q.weight", "self_attn.q_proj.weight"),
            Self::Key => ("attn_k.weight", "self_attn.k_proj.weight"),
            Self::Value => ("attn_v.weight", "self_attn.v_proj.weight"),
            Self::QueryKeyValue => ("attn_qkv.weight", "self_attn.qkv_proj.weight"),
            Self::QueryBias => ("attn_q.bias", "self_attn.q_proj.bias"),
            Self::KeyBias => ("attn_k.bias", "self_attn.k_proj.bias"),
            Self::ValueBias => ("attn_v.bias", "self_attn.v_proj.bias"),
            Self::QueryNorm => ("attn_q_norm.weight", "self_attn.q_norm.weight"),
            Self::KeyNorm => ("attn_k_norm.weight", "self_attn.k_norm.weight"),
            Self::Output => ("attn_output.weight", "self_attn.o_proj.weight"),
            Self::NormAfterAttention => (
                "post_attention_norm.weight",
                "post_attention_layernorm.weight",
            ),
            // Without a norm after attention, transformers names this one by what is before it.
            Self::InnerNorm if parts.norms_after => {
                ("ffn_norm.weight", "pre_feedforward_layernorm.weight")
            }
            Self::InnerNorm => ("ffn_norm.weight", "post_attention_layernorm.weight"),
            Self::Gate => ("ffn_gate.weight", "mlp.gate_proj.weight"),
            Self::Up => ("ffn_up.weight", "mlp.up_proj.weight"),
            Self::GateUp => ("ffn_up.weight", "mlp.gate_up_proj.weight"),
            Self::Down => ("ffn_down.weight", "mlp.down_proj.weight"),
            Self::NormAfterInner => ("post_ffw_norm.weight", "post_feedforward_layernorm.weight"),
            Self::Router => ("ffn_gate_inp.weight", "mlp.gate.weight"),
            // Of an encoder only.
            Self::Positions
            | Self::TokenKinds
            | Self::EmbeddingNorm
            | Self::EmbeddingNormBias
            | Self::OutputBias
            | Self::NormAfterAttentionBias
            | Self::UpBias
            | Self::DownBias
            | Self::NormAfterInnerBias => NOWHERE,
        }
    }

    const fn of_encoder(self) -> (&'static str, &'static str) {
        match self {
            Self::Embedding => ("token_embd.weight", "embeddings.word_embeddings.weight"),
            Self::Positions => (
                "position_embd.weight",
                "embeddings.position_embeddings.weight",
            ),
            Self::TokenKinds => (
                "token_types.weight",
                "embeddings.token_type_embeddings.weight",
            ),
            Self::EmbeddingNorm => ("token_embd_norm.weight", "embeddings.LayerNorm.weight"),
            Self::EmbeddingNormBias => ("token_embd_norm.bias", "embeddings.LayerNorm.bias"),
            Self::Query => ("attn_q.weight", "attention.self.query.weight"),
            Self::Key => ("attn_k.weight", "attention.self.key.weight"),
            Self::Value => ("attn_v.weight", "attention.self.value.weight"),
            Self::QueryBias => ("attn_q.bias", "attention.self.query.bias"),
            Self::KeyBias => ("attn_k.bias", "attention.self.key.bias"),
            Self::ValueBias => ("attn_v.bias", "attention.self.value.bias"),
            Self::Output => ("attn_output.weight", "attention.output.dense.weight"),
            Self::OutputBias => ("attn_output.bias", "attention.output.dense.bias"),
            Self::NormAfterAttention => (
                "attn_output_norm.weight",
                "attention.output.LayerNorm.weight",
            ),
            Self::NormAfterAttentionBias => {
                ("attn_output_norm.bias", "attention.output.LayerNorm.bias")
            }
            Self::Up => ("ffn_up.weight", "intermediate.dense.weight"),
            Self::UpBias => ("ffn_up.bias", "intermediate.dense.bias"),
            Self::Down => ("ffn_down.weight", "output.dense.weight"),
            Self::DownBias => ("ffn_down.bias", "output.dense.bias"),
            Self::NormAfterInner => ("layer_output_norm.weight", "output.LayerNorm.weight"),
            Self::NormAfterInnerBias => ("layer_output_norm.bias", "output.LayerNorm.bias"),
            Self::Norm
            | Self::Head
            | Self::AttentionNorm
            | Self::QueryKeyValue
            | Self::QueryNorm
            | Self::KeyNorm
            | Self::InnerNorm
            | Self::Gate
            | Self::GateUp
            | Self::Router => NOWHERE,
        }
    }
}

/// The names of what such a model lacks.
const NOWHERE: (&str, &str) = ("", "");

/// What stands before the names of all but the head, where there is a head.
const BODY: &str = "model.";

impl Naming {
    /// The full name of a tensor of a layer.
    pub(super) fn within(self, layer: usize, name: &str) -> String {
        match self {
            Self::Gguf => format!("blk.{layer}.{name}"),
            Self::Transformers => format!("{BODY}layers.{layer}.{name}"),
            Self::Headless => format!("layers.{layer}.{name}"),
            Self::Encoder => format!("encoder.layer.{layer}.{name}"),
        }
    }
}

/// Matrices of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExpertPart {
    Gate,
    Up,
    Down,
}

impl ExpertPart {
    /// Of all experts one below the other, in GGUF files; of one, in transformers'.
    pub(super) const fn name(self, naming: Naming) -> &'static str {
        match (naming, self) {
            (Naming::Gguf, Self::Gate) => "ffn_gate_exps.weight",
            (Naming::Gguf, Self::Up) => "ffn_up_exps.weight",
            (Naming::Gguf, Self::Down) => "ffn_down_exps.weight",
            (_, Self::Gate) => "gate_proj.weight",
            (_, Self::Up) => "up_proj.weight",
            (_, Self::Down) => "down_proj.weight",
        }
    }
}
