//! A shape from a `config.json`, as transformers writes it.
//!
//! Members of both spellings of rotary angles are read: `rope_parameters`, and the older
//! `rope_theta` with `rope_scaling`. Members that change nothing here are left unread; those that
//! ask for what is not computed are refused by name.

use serde::Deserialize;

use super::{Activation, Experts, Fault, Pairing, Parts, Rope, Scaling, Shape, Window, root};
use crate::refusal::ModelError;

/// Longest `config.json` that is taken.
pub(crate) const MAX_CONFIG_BYTES: usize = 1 << 20;

/// Members that are read.
#[derive(Deserialize)]
struct Config {
    model_type: String,
    hidden_size: usize,
    intermediate_size: usize,
    moe_intermediate_size: Option<usize>,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    vocab_size: usize,
    rms_norm_eps: Option<f32>,
    layer_norm_eps: Option<f32>,
    position_embedding_type: Option<String>,
    is_decoder: Option<bool>,
    rope_parameters: Option<RopeObject>,
    rope_theta: Option<f32>,
    rope_scaling: Option<RopeObject>,
    rope_local_base_freq: Option<f32>,
    partial_rotary_factor: Option<f32>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    sliding_window_pattern: Option<usize>,
    layer_types: Option<Vec<String>>,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    query_pre_attn_scalar: Option<f32>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    use_bidirectional_attention: Option<bool>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    #[serde(alias = "num_local_experts")]
    num_experts: Option<usize>,
    num_experts_per_tok: Option<usize>,
    norm_topk_prob: Option<bool>,
    decoder_sparse_step: Option<usize>,
    mlp_only_layers: Option<Vec<usize>>,
    quantization_config: Option<serde::de::IgnoredAny>,
}

/// Rotary angles; of Gemma 3, those of its two kinds of layers.
#[derive(Deserialize, Default)]
struct RopeObject {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<usize>,
    partial_rotary_factor: Option<f32>,
    full_attention: Option<Box<RopeObject>>,
    sliding_attention: Option<Box<RopeObject>>,
}

/// The families of which `config.json` is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    Qwen3Moe,
    Gemma3,
    Phi3,
    Bert,
}

impl Family {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "llama" => Self::Llama,
            "mistral" => Self::Mistral,
            "qwen2" => Self::Qwen2,
            "qwen3" => Self::Qwen3,
            "qwen3_moe" => Self::Qwen3Moe,
            "gemma3_text" => Self::Gemma3,
            "phi3" => Self::Phi3,
            "bert" => Self::Bert,
            _ => return None,
        })
    }

    fn parts(self) -> Parts {
        let none = Parts::default();
        match self {
            Self::Llama | Self::Mistral => none,
            Self::Qwen2 => Parts { bias: true, ..none },
            Self::Qwen3 | Self::Qwen3Moe => Parts {
                head_norms: true,
                ..none
            },
            Self::Gemma3 => Parts {
                head_norms: true,
                norms_after: true,
                norms_less_one: true,
                ..none
            },
            Self::Phi3 => Parts {
                fused: true,
                ..none
            },
            Self::Bert => Parts {
                bias: true,
                encoder: true,
                ..none
            },
        }
    }
}

const fn member(member: &'static str) -> ModelError {
    ModelError::Config { member }
}

impl Shape {
    /// Reads the shape from the text of a `config.json`.
    ///
    /// # Errors
    /// `Config` with the member that is missing, out of range, or asks for what is not computed.
    pub(crate) fn from_config(text: &[u8]) -> Result<Self, ModelError> {
        if text.len() > MAX_CONFIG_BYTES {
            return Err(member("length"));
        }
        let config: Config = serde_json::from_slice(text).map_err(|_| member("form"))?;
        let family = Family::named(&config.model_type).ok_or(member("model_type"))?;
        config.refuse_unsupported(family)?;
        let (heads, width) = (config.num_attention_heads, config.hidden_size);
        let head = config
            .head_dim
            .unwrap_or(width.checked_div(heads).unwrap_or(0));
        let experts = config.experts(family)?;
        let (rope, window_rope) = config.ropes(family)?;
        let shape = Self {
            layers: config.num_hidden_layers,
            width,
            inner: match experts {
                Some(_) => config.moe_intermediate_size.unwrap_or(0),
                None => config.intermediate_size,
            },
            heads,
            kv_heads: config.num_key_value_heads.unwrap_or(heads),
            head,
            turned: if family == Family::Bert {
                0
            } else {
                config.turned(head)?
            },
            context: config.max_position_embeddings,
            vocabulary: config.vocab_size,
            epsilon: if family == Family::Bert {
                config.layer_norm_eps.ok_or(member("layer_norm_eps"))?
            } else {
                config.rms_norm_eps.ok_or(member("rms_norm_eps"))?
            },
            rope,
            window_rope,
            window: config.window(family)?,
            pairing: Pairing::Halves,
            activation: config.activation(family)?,
            embedding_scale: (family == Family::Gemma3).then(|| root(width)),
            score_scale: 1.0
                / match family {
                    Family::Gemma3 => config.query_pre_attn_scalar.unwrap_or(256.0).sqrt(),
                    Family::Llama
                    | Family::Mistral
                    | Family::Qwen2
                    | Family::Qwen3
                    | Family::Qwen3Moe
                    | Family::Phi3
                    | Family::Bert => root(head),
                },
            experts,
            parts: family.parts(),
            tied: config.tie_word_embeddings,
            pooling: None,
        };
        shape.check(|fault| member(name_of(fault)))?;
        Ok(shape)
    }
}

const fn name_of(fault: Fault) -> &'static str {
    match fault {
        Fault::Layers => "num_hidden_layers",
        Fault::Width => "hidden_size",
        Fault::Inner => "intermediate_size",
        Fault::Heads => "num_attention_heads",
        Fault::KvHeads => "num_key_value_heads",
        Fault::Head => "head_dim",
        Fault::Turned => "partial_rotary_factor",
        Fault::Context => "max_position_embeddings",
        Fault::Vocabulary => "vocab_size",
        Fault::Epsilon => "rms_norm_eps",
        Fault::Rope => "rope_parameters",
        Fault::Window => "sliding_window",
        Fault::Experts => "num_experts",
        Fault::Scale => "query_pre_attn_scalar",
    }
}

impl Config {
    fn refuse_unsupported(&self, family: Family) -> Result<(), ModelError> {
        // Qwen2 has a bias of its own whatever this member says.
        let bias = family != Family::Qwen2 && self.attention_bias == Some(true);
        let dense = self
            .mlp_only_layers
            .as_ref()
            .is_some_and(|all| !all.is_empty());
        let asked = [
            ("attention_bias", bias),
            ("mlp_bias", self.mlp_bias == Some(true)),
            (
                "use_bidirectional_attention",
                self.use_bidirectional_attention == Some(true),
            ),
            (
                "attn_logit_softcapping",
                self.attn_logit_softcapping.is_some(),
            ),
            (
                "final_logit_softcapping",
                self.final_logit_softcapping.is_some(),
            ),
            ("quantization_config", self.quantization_config.is_some()),
            ("is_decoder", self.is_decoder == Some(true)),
            (
                "position_embedding_type",
                self.position_embedding_type
                    .as_ref()
                    .is_some_and(|kind| kind != "absolute"),
            ),
            ("mlp_only_layers", dense),
            (
                "decoder_sparse_step",
                self.decoder_sparse_step.is_some_and(|step| step != 1),
            ),
        ];
        let asked = asked.into_iter().find(|(_, asked)| *asked);
        asked.map_or(Ok(()), |(name, _)| Err(member(name)))
    }

    fn activation(&self, family: Family) -> Result<Activation, ModelError> {
        let name = self.hidden_activation.as_ref().or(self.hidden_act.as_ref());
        match name.map(String::as_str) {
            // Exact in an encoder, and nothing else there.
            Some("gelu") if family == Family::Bert => Ok(Activation::Gelu),
            _ if family == Family::Bert => Err(member("hidden_act")),
            Some("silu") => Ok(Activation::Silu),
            Some("gelu_pytorch_tanh") => Ok(Activation::Gelu),
            Some(_) | None => Err(member("hidden_act")),
        }
    }

    /// Elements of a head that are turned, by the share of them.
    fn turned(&self, head: usize) -> Result<usize, ModelError> {
        let within = self.rope_parameters.as_ref();
        let share = within.and_then(|rope| rope.partial_rotary_factor);
        match share.or(self.partial_rotary_factor) {
            None | Some(1.0) => Ok(head),
            Some(_) => Err(member("partial_rotary_factor")),
        }
    }

    /// Angles of layers that see everything, and of the others where they differ.
    fn ropes(&self, family: Family) -> Result<(Rope, Option<Rope>), ModelError> {
        let absent = RopeObject::default();
        let given = self.rope_parameters.as_ref();
        if family != Family::Gemma3 {
            let scaling = given.or(self.rope_scaling.as_ref()).unwrap_or(&absent);
            if scaling.full_attention.is_some() || scaling.sliding_attention.is_some() {
                return Err(member("rope_parameters"));
            }
            return Ok((scaling.rope(self.rope_theta.unwrap_or(10_000.0))?, None));
        }
        let base = self.rope_theta.unwrap_or(1_000_000.0);
        let window_base = self.rope_local_base_freq.unwrap_or(10_000.0);
        let of = |kind: fn(&RopeObject) -> Option<&RopeObject>| given.and_then(kind);
        let full = of(|given| given.full_attention.as_deref());
        let full = full.or(self.rope_scaling.as_ref()).unwrap_or(&absent);
        let window = of(|given| given.sliding_attention.as_deref()).unwrap_or(&absent);
        Ok((full.rope(base)?, Some(window.rope(window_base)?)))
    }

    fn window(&self, family: Family) -> Result<Option<Window>, ModelError> {
        let positions = self.sliding_window;
        let wanted = member("sliding_window");
        if let Some(types) = &self.layer_types {
            if types.len() != self.num_hidden_layers {
                return Err(member("layer_types"));
            }
            let full = types.iter().position(|kind| kind == "full_attention");
            let full_every = full.map(|first| first.saturating_add(1));
            let expected = |layer: usize| match full_every {
                Some(every) if layer.saturating_add(1).is_multiple_of(every) => "full_attention",
                Some(_) | None => "sliding_attention",
            };
            let alike = |(layer, kind): (usize, &String)| kind == expected(layer);
            if !types.iter().enumerate().all(alike) {
                return Err(member("layer_types"));
            }
            if full_every == Some(1) {
                return Ok(None);
            }
            let positions = positions.ok_or(wanted)?;
            return Ok(Some(Window {
                positions,
                full_every,
            }));
        }
        let full_every = match family {
            Family::Gemma3 => Some(self.sliding_window_pattern.unwrap_or(6)),
            Family::Mistral | Family::Phi3 => None,
            Family::Llama | Family::Qwen2 | Family::Qwen3 | Family::Qwen3Moe | Family::Bert => {
                let asked = self.use_sliding_window == Some(true);
                return if asked { Err(wanted) } else { Ok(None) };
            }
        };
        Ok(positions.map(|positions| Window {
            positions,
            full_every,
        }))
    }

    fn experts(&self, family: Family) -> Result<Option<Experts>, ModelError> {
        if family != Family::Qwen3Moe {
            return Ok(None);
        }
        Ok(Some(Experts {
            count: self.num_experts.ok_or(member("num_experts"))?,
            used: self
                .num_experts_per_tok
                .ok_or(member("num_experts_per_tok"))?,
            normalized: self.norm_topk_prob.unwrap_or(false),
        }))
    }
}

impl RopeObject {
    fn rope(&self, base: f32) -> Result<Rope, ModelError> {
        let wrong = member("rope_parameters");
        let scaling = match self.rope_type.as_deref() {
            None | Some("default") => Scaling::None,
            Some("linear") => Scaling::Linear(self.factor.ok_or(wrong)?),
            Some("llama3") => Scaling::Llama3 {
                factor: self.factor.ok_or(wrong)?,
                low: self.low_freq_factor.ok_or(wrong)?,
                high: self.high_freq_factor.ok_or(wrong)?,
                original: self.original_max_position_embeddings.ok_or(wrong)?,
            },
            Some(_) => return Err(wrong),
        };
        let base = self.rope_theta.unwrap_or(base);
        Ok(Rope { base, scaling })
    }
}
