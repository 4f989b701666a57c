//! A shape from the keys of a GGUF file.
//!
//! Keys: `docs/gguf.md` of the ggml project, section "llm"; what its files leave unsaid of a family
//! is as llama.cpp has it (`src/models`).

use super::{Activation, Experts, Fault, Pairing, Parts, Rope, Scaling, Shape, Window, root};
use crate::gguf::ModelFile;
use crate::model::pooling::{POOLING, Pooling};
use crate::refusal::ModelError;

/// The families of which GGUF files are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// Llama, SmolLM, Mistral.
    Llama,
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
            "qwen2" => Self::Qwen2,
            "qwen3" => Self::Qwen3,
            "qwen3moe" => Self::Qwen3Moe,
            "gemma3" => Self::Gemma3,
            "phi3" => Self::Phi3,
            "bert" => Self::Bert,
            _ => return None,
        })
    }

    const fn pairing(self) -> Pairing {
        match self {
            Self::Llama | Self::Bert => Pairing::Neighbours,
            Self::Qwen2 | Self::Qwen3 | Self::Qwen3Moe | Self::Gemma3 | Self::Phi3 => {
                Pairing::Halves
            }
        }
    }

    const fn activation(self) -> Activation {
        match self {
            Self::Gemma3 | Self::Bert => Activation::Gelu,
            Self::Llama | Self::Qwen2 | Self::Qwen3 | Self::Qwen3Moe | Self::Phi3 => {
                Activation::Silu
            }
        }
    }

    const fn epsilon(self) -> &'static str {
        match self {
            Self::Bert => CENTERED_EPSILON,
            Self::Llama
            | Self::Qwen2
            | Self::Qwen3
            | Self::Qwen3Moe
            | Self::Gemma3
            | Self::Phi3 => EPSILON,
        }
    }

    fn parts(self) -> Parts {
        let none = Parts::default();
        match self {
            Self::Llama => none,
            Self::Qwen2 => Parts { bias: true, ..none },
            Self::Qwen3 | Self::Qwen3Moe => Parts {
                head_norms: true,
                ..none
            },
            // Its converter adds the one to the norms.
            Self::Gemma3 => Parts {
                head_norms: true,
                norms_after: true,
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

/// Keys behind the family's name.
const LAYERS: &str = "block_count";
const WIDTH: &str = "embedding_length";
const INNER: &str = "feed_forward_length";
const EXPERT_INNER: &str = "expert_feed_forward_length";
const HEADS: &str = "attention.head_count";
const KV_HEADS: &str = "attention.head_count_kv";
const HEAD: &str = "attention.key_length";
const VALUE_HEAD: &str = "attention.value_length";
const TURNED: &str = "rope.dimension_count";
const CONTEXT: &str = "context_length";
const EPSILON: &str = "attention.layer_norm_rms_epsilon";
const CENTERED_EPSILON: &str = "attention.layer_norm_epsilon";
const BASE: &str = "rope.freq_base";
const WINDOW_BASE: &str = "rope.freq_base_swa";
const SCALING: &str = "rope.scaling.type";
const FACTOR: &str = "rope.scaling.factor";
const WINDOW: &str = "attention.sliding_window";
const PATTERN: &str = "attention.sliding_window_pattern";
const EXPERTS: &str = "expert_count";
const EXPERTS_USED: &str = "expert_used_count";
const CAUSAL: &str = "attention.causal";
const TOKENS: &str = "tokenizer.ggml.tokens";

/// What asks for something that is not computed here, in any family.
const UNSUPPORTED: [&str; 8] = [
    "expert_shared_count",
    "expert_shared_feed_forward_length",
    "attention.scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "rope.scaling.attn_factor",
];

/// Turns of the layers of Gemma 3 that see windows, and which layers do not.
const GEMMA_WINDOW_BASE: f32 = 10_000.0;
const GEMMA_FULL_EVERY: usize = 6;
/// Layers of the Gemma 3 whose scores are scaled by the width and not by the head.
const GEMMA_LARGEST: usize = 62;

impl Shape {
    /// Reads the shape.
    ///
    /// # Errors
    /// `Key` for a key that is missing, out of range, or asks for what is not computed here.
    pub(crate) fn read(file: &ModelFile) -> Result<Self, ModelError> {
        let architecture = file.text("general.architecture")?;
        let family = Family::named(architecture).ok_or(key("general.architecture"))?;
        let keys = Keys { file, architecture };
        if let Some(asked) = UNSUPPORTED.into_iter().find(|name| keys.has(name)) {
            return Err(key(asked));
        }
        let (heads, width) = (keys.size(HEADS)?, keys.size(WIDTH)?);
        let head = match keys.optional_size(HEAD)? {
            Some(head) => head,
            None => width.checked_div(heads).unwrap_or(0),
        };
        if keys
            .optional_size(VALUE_HEAD)?
            .is_some_and(|found| found != head)
        {
            return Err(key(VALUE_HEAD));
        }
        let layers = keys.size(LAYERS)?;
        let experts = keys.experts(family)?;
        let shape = Self {
            layers,
            width,
            inner: keys.size(if experts.is_some() {
                EXPERT_INNER
            } else {
                INNER
            })?,
            heads,
            kv_heads: keys.optional_size(KV_HEADS)?.unwrap_or(heads),
            head,
            turned: keys.turned(family, head)?,
            context: keys.size(CONTEXT)?,
            vocabulary: file.texts(TOKENS)?.len(),
            epsilon: keys.float(family.epsilon())?,
            rope: keys.rope()?,
            window_rope: keys.window_rope(family)?,
            window: keys.window(family)?,
            pairing: family.pairing(),
            activation: family.activation(),
            embedding_scale: (family == Family::Gemma3).then(|| root(width)),
            score_scale: match (family, layers) {
                (Family::Gemma3, GEMMA_LARGEST) => {
                    1.0 / root(width.checked_div(heads).unwrap_or(0))
                }
                (_, _) => 1.0 / root(head),
            },
            experts,
            parts: family.parts(),
            tied: None,
            pooling: keys.pooling(family)?,
        };
        shape.check(|fault| key(name_of(fault)))?;
        Ok(shape)
    }
}

const fn name_of(fault: Fault) -> &'static str {
    match fault {
        Fault::Layers => LAYERS,
        Fault::Width => WIDTH,
        Fault::Inner => INNER,
        Fault::Heads => HEADS,
        Fault::KvHeads => KV_HEADS,
        Fault::Head | Fault::Scale => HEAD,
        Fault::Turned => TURNED,
        Fault::Context => CONTEXT,
        Fault::Vocabulary => TOKENS,
        Fault::Epsilon => EPSILON,
        Fault::Rope => BASE,
        Fault::Window => WINDOW,
        Fault::Experts => EXPERTS,
    }
}

const fn key(key: &'static str) -> ModelError {
    ModelError::Key { key }
}

/// Keys that begin with the family's name.
struct Keys<'a> {
    file: &'a ModelFile,
    architecture: &'a str,
}

impl Keys<'_> {
    fn full(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn has(&self, name: &str) -> bool {
        self.file.has(&self.full(name))
    }

    fn optional_size(&self, name: &'static str) -> Result<Option<usize>, ModelError> {
        let found = self.file.optional_number(&self.full(name), name)?;
        found
            .map(|found| usize::try_from(found).map_err(|_| key(name)))
            .transpose()
    }

    fn size(&self, name: &'static str) -> Result<usize, ModelError> {
        self.optional_size(name)?.ok_or(key(name))
    }

    fn float(&self, name: &'static str) -> Result<f32, ModelError> {
        self.file.float(&self.full(name), name)
    }

    /// Where positions are learned nothing is turned.
    fn turned(&self, family: Family, head: usize) -> Result<usize, ModelError> {
        if family == Family::Bert {
            return Ok(0);
        }
        Ok(self.optional_size(TURNED)?.unwrap_or(head))
    }

    fn rope(&self) -> Result<Rope, ModelError> {
        let scaling = match self.file.optional_text(&self.full(SCALING), SCALING)? {
            None | Some("none") => Scaling::None,
            Some("linear") => Scaling::Linear(self.float(FACTOR)?),
            Some(_) => return Err(key(SCALING)),
        };
        let base = if self.has(BASE) {
            self.float(BASE)?
        } else {
            10_000.0
        };
        Ok(Rope { base, scaling })
    }

    fn window_rope(&self, family: Family) -> Result<Option<Rope>, ModelError> {
        let base = match family {
            Family::Gemma3 if self.has(WINDOW_BASE) => self.float(WINDOW_BASE)?,
            Family::Gemma3 => GEMMA_WINDOW_BASE,
            Family::Llama
            | Family::Qwen2
            | Family::Qwen3
            | Family::Qwen3Moe
            | Family::Phi3
            | Family::Bert => {
                return Ok(None);
            }
        };
        let scaling = Scaling::None;
        Ok(Some(Rope { base, scaling }))
    }

    fn window(&self, family: Family) -> Result<Option<Window>, ModelError> {
        let positions = self
            .optional_size(WINDOW)?
            .filter(|positions| *positions > 0);
        let Some(positions) = positions else {
            return Ok(None);
        };
        let full_every = match family {
            Family::Gemma3 => Some(self.optional_size(PATTERN)?.unwrap_or(GEMMA_FULL_EVERY)),
            Family::Llama | Family::Phi3 => None,
            Family::Qwen2 | Family::Qwen3 | Family::Qwen3Moe | Family::Bert => {
                return Err(key(WINDOW));
            }
        };
        Ok(Some(Window {
            positions,
            full_every,
        }))
    }

    /// A decoder that sees what is to come is another model, and so is an encoder that does not;
    /// and an encoder gives nothing but vectors.
    fn pooling(&self, family: Family) -> Result<Option<Pooling>, ModelError> {
        let causal = self.file.optional_flag(&self.full(CAUSAL), CAUSAL)?;
        if causal.unwrap_or(true) == (family == Family::Bert) {
            return Err(key(CAUSAL));
        }
        let number = self.optional_size(POOLING)?.unwrap_or(0);
        let pooling = Pooling::numbered(number).map_err(|_| key(POOLING))?;
        if family == Family::Bert && pooling.is_none() {
            return Err(key(POOLING));
        }
        Ok(pooling)
    }

    fn experts(&self, family: Family) -> Result<Option<Experts>, ModelError> {
        match (family, self.optional_size(EXPERTS)?) {
            (Family::Qwen3Moe, Some(count)) => Ok(Some(Experts {
                count,
                used: self.size(EXPERTS_USED)?,
                normalized: true,
            })),
            (_, None | Some(0)) if family != Family::Qwen3Moe => Ok(None),
            (_, _) => Err(key(EXPERTS)),
        }
    }
}
