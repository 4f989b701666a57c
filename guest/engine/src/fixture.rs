//! What tests stand on: the demonstration model's path, and tiny seeded models made on the spot
//! with candle-core's own writer and quantiser.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

use std::fs::File;
use std::path::PathBuf;

use candle_core::quantized::gguf_file::{Value, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use crate::load::Model;

/// The demonstration model, where `ci/lib/model.sh` puts it.
#[allow(
    clippy::disallowed_methods,
    reason = "tests find the cache as the scripts do"
)]
pub(crate) fn demonstration_model() -> File {
    let lock = include_str!("../../../image/lock/model.lock");
    let line = lock
        .lines()
        .find_map(|line| line.strip_prefix("gguf"))
        .unwrap();
    let (name, hash) = line.trim().split_once(char::is_whitespace).unwrap();
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"),
        PathBuf::from,
    );
    let file = format!("cocoon/models/{name}-{}.gguf", &hash.trim()[..16]);
    File::open(cache.join(file)).expect("the model is missing: run ci/lib/model.sh once")
}

/// Numbers from -1 to 1 in a fixed order.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }

    fn tensor(&mut self, dims: &[usize], scale: f32) -> Tensor {
        let values: Vec<f32> = (0..dims.iter().product())
            .map(|_| self.next() * scale)
            .collect();
        Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
    }
}

/// A tiny Llama: widths that exercise the kernels, one KV head for two query heads.
#[derive(Clone)]
pub(crate) struct Tiny {
    pub(crate) seed: u64,
    pub(crate) matrices: GgmlDType,
    pub(crate) embedding: GgmlDType,
    pub(crate) context: u32,
    /// A token whose embedding is infinite, in a model with a head of its own.
    pub(crate) poisoned: Option<usize>,
    /// The name of the first special token, number 258.
    pub(crate) special: &'static str,
    /// How its hidden states become vectors, by llama.cpp's number.
    pub(crate) pooling: Option<u32>,
    /// Whether token 259 ends each text.
    pub(crate) closes: bool,
    /// The token that ends an answer.
    pub(crate) end: u32,
}

pub(crate) const TINY_WIDTH: usize = 96;
pub(crate) const TINY_INNER: usize = 160;
pub(crate) const TINY_LAYERS: usize = 2;
pub(crate) const TINY_HEADS: usize = 4;
pub(crate) const TINY_KV_HEADS: usize = 2;
pub(crate) const TINY_HEAD: usize = 24;
pub(crate) const TINY_TEMPLATE: &str = "{% for m in messages %}\
    {{ '<|a|>' + m.role + '\n' + m.content + '<|e|>' }}{% endfor %}{{ '<|a|>' }}";

impl Default for Tiny {
    fn default() -> Self {
        Self {
            seed: 1,
            matrices: GgmlDType::Q4_1,
            embedding: GgmlDType::Q8_0,
            context: 256,
            poisoned: None,
            special: "<|a|>",
            pooling: None,
            closes: false,
            end: 259,
        }
    }
}

impl Tiny {
    /// The file's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let metadata = self.metadata();
        let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
        let tensors = self.tensors();
        let tensors: Vec<_> = tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        let mut out = std::io::Cursor::new(Vec::new());
        write(&mut out, &metadata, &tensors).unwrap();
        out.into_inner()
    }

    pub(crate) fn file(&self) -> File {
        file_of(&self.bytes())
    }

    pub(crate) fn model(&self) -> Model {
        Model::read(self.file()).unwrap()
    }

    /// All 256 bytes, two merges, two special tokens: 260 tokens, not a multiple of a tile.
    fn metadata(&self) -> Vec<(&'static str, Value)> {
        let number = |number| Value::U32(number);
        let text = |text: &str| Value::String(text.into());
        let mut tokens: Vec<String> = (0..=255)
            .map(|byte| crate::tokenizer::name_of(byte).to_string())
            .collect();
        tokens.extend(["ab", "abc", self.special, "<|e|>"].map(String::from));
        let kinds = (0..tokens.len()).map(|at| Value::I32(if at < 258 { 1 } else { 3 }));
        let mut metadata = vec![
            ("general.architecture", text("llama")),
            ("llama.block_count", number(TINY_LAYERS as u32)),
            ("llama.context_length", number(self.context)),
            ("llama.embedding_length", number(TINY_WIDTH as u32)),
            ("llama.feed_forward_length", number(TINY_INNER as u32)),
            ("llama.attention.head_count", number(TINY_HEADS as u32)),
            (
                "llama.attention.head_count_kv",
                number(TINY_KV_HEADS as u32),
            ),
            ("llama.rope.freq_base", Value::F32(100.0)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text("smollm")),
            ("tokenizer.ggml.token_type", Value::Array(kinds.collect())),
            (
                "tokenizer.ggml.tokens",
                Value::Array(tokens.into_iter().map(Value::String).collect()),
            ),
            (
                "tokenizer.ggml.merges",
                Value::Array(vec![text("a b"), text("ab c")]),
            ),
            ("tokenizer.ggml.eos_token_id", number(self.end)),
            ("tokenizer.ggml.add_eos_token", Value::Bool(self.closes)),
        ];
        metadata.push(match self.pooling {
            Some(pooling) => ("llama.pooling_type", number(pooling)),
            None => ("tokenizer.chat_template", text(TINY_TEMPLATE)),
        });
        metadata
    }

    fn tensors(&self) -> Vec<(String, QTensor)> {
        let mut seeded = Seeded(self.seed);
        let mut out = Vec::new();
        let mut add = |name: &str, dims: &[usize], kind: GgmlDType| {
            // Spread enough for logits that are far from flat.
            let scale = if dims.len() == 1 {
                0.5
            } else {
                2.0 / (dims[1] as f32).sqrt()
            };
            let mut tensor = seeded.tensor(dims, scale);
            if dims.len() == 1 {
                tensor = (tensor + 1.0).unwrap();
            }
            if name == "token_embd.weight"
                && let Some(token) = self.poisoned
            {
                let keep: Vec<f32> = (0..dims[0])
                    .map(|row| if row == token { 1e30 } else { 1.0 })
                    .collect();
                let keep = Tensor::from_vec(keep, (dims[0], 1), &Device::Cpu).unwrap();
                tensor = tensor.broadcast_mul(&keep).unwrap();
            }
            out.push((name.to_string(), QTensor::quantize(&tensor, kind).unwrap()));
        };
        let kv = TINY_KV_HEADS * TINY_HEAD;
        add("token_embd.weight", &[260, TINY_WIDTH], self.embedding);
        add("output_norm.weight", &[TINY_WIDTH], GgmlDType::F32);
        if self.poisoned.is_some() {
            add("output.weight", &[260, TINY_WIDTH], self.matrices);
        }
        for layer in 0..TINY_LAYERS {
            let mut add = |name: &str, dims: &[usize], kind| {
                add(&format!("blk.{layer}.{name}.weight"), dims, kind)
            };
            add("attn_norm", &[TINY_WIDTH], GgmlDType::F32);
            add(
                "attn_q",
                &[TINY_HEADS * TINY_HEAD, TINY_WIDTH],
                self.matrices,
            );
            add("attn_k", &[kv, TINY_WIDTH], self.matrices);
            add("attn_v", &[kv, TINY_WIDTH], self.matrices);
            add(
                "attn_output",
                &[TINY_WIDTH, TINY_HEADS * TINY_HEAD],
                self.matrices,
            );
            add("ffn_norm", &[TINY_WIDTH], GgmlDType::F32);
            add("ffn_gate", &[TINY_INNER, TINY_WIDTH], self.matrices);
            add("ffn_up", &[TINY_INNER, TINY_WIDTH], self.matrices);
            add("ffn_down", &[TINY_WIDTH, TINY_INNER], self.matrices);
        }
        out
    }
}

/// An unnamed file with these bytes.
pub(crate) fn file_of(bytes: &[u8]) -> File {
    use std::io::Write as _;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}
