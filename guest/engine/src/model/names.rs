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
}

impl Part {
    /// Its name; within a layer, without what stands before.
    pub(super) fn name(self, naming: Naming, parts: Parts) -> &'static str {
        let (gguf, transformers) = match self {
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
        };
        match naming {
            Naming::Gguf => gguf,
            Naming::Transformers => transformers,
            Naming::Headless => transformers.strip_prefix(BODY).unwrap_or(transformers),
        }
    }
}

/// What stands before the names of all but the head, where there is a head.
const BODY: &str = "model.";

impl Naming {
    /// The full name of a tensor of a layer.
    pub(super) fn within(self, layer: usize, name: &str) -> String {
        match self {
            Self::Gguf => format!("blk.{layer}.{name}"),
            Self::Transformers => format!("{BODY}layers.{layer}.{name}"),
            Self::Headless => format!("layers.{layer}.{name}"),
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
            (Naming::Transformers | Naming::Headless, Self::Gate) => "gate_proj.weight",
            (Naming::Transformers | Naming::Headless, Self::Up) => "up_proj.weight",
            (Naming::Transformers | Naming::Headless, Self::Down) => "down_proj.weight",
        }
    }
}
