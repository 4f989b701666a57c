//! A small model of Llama's family in files of transformers, its weights from a seed: 16 bits each,
//! so that both engines compute with the same numbers.

use std::fs::File;
use std::io::Write as _;

use serde_json::{Map, Value, json};

/// Widths and counts.
#[derive(Clone, Copy)]
pub(crate) struct Widths {
    pub(crate) layers: usize,
    pub(crate) width: usize,
    pub(crate) inner: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head: usize,
    pub(crate) vocabulary: usize,
}

/// As narrow as kernels for it can be.
pub(crate) const SHAPE: Widths = Widths {
    layers: 2,
    width: 96,
    inner: 160,
    heads: 4,
    kv_heads: 1,
    head: 64,
    vocabulary: 264,
};

/// The model.
pub(crate) struct Seeded {
    pub(crate) shape: Widths,
    pub(crate) family: &'static str,
    pub(crate) tied: bool,
    pub(crate) llama_3: bool,
}

impl Seeded {
    pub(crate) const fn new(shape: Widths) -> Self {
        Self {
            shape,
            family: "llama",
            tied: true,
            llama_3: false,
        }
    }

    /// Its files with their names.
    pub(crate) fn files(&self) -> Vec<(String, File)> {
        let settings = json!({
            "bos_token": null, "eos_token": {"content": "<|e|>"},
            "chat_template": "{% for m in messages %}{{ '<|a|>' + m.content }}{% endfor %}",
        });
        let files = [
            ("config.json", self.config().to_string().into_bytes()),
            ("tokenizer.json", tokenizer().to_string().into_bytes()),
            ("tokenizer_config.json", settings.to_string().into_bytes()),
            ("model.safetensors", self.weights()),
        ];
        let file = |bytes: Vec<u8>| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            file
        };
        let files = files.into_iter();
        files
            .map(|(name, bytes)| (name.to_owned(), file(bytes)))
            .collect()
    }

    fn config(&self) -> Value {
        let Widths {
            layers,
            width,
            inner,
            heads,
            kv_heads,
            head,
            vocabulary,
        } = self.shape;
        let mut config = json!({
            "model_type": self.family, "hidden_size": width, "intermediate_size": inner,
            "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv_heads, "head_dim": head, "vocab_size": vocabulary,
            "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 1000.0,
            "hidden_act": "silu", "tie_word_embeddings": self.tied, "eos_token_id": 259,
        });
        if self.llama_3 {
            config["rope_scaling"] = json!({
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
            });
        }
        config
    }

    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let shape = self.shape;
        let (query, kv) = (shape.heads * shape.head, shape.kv_heads * shape.head);
        let mut out = vec![
            (
                "model.embed_tokens.weight".to_owned(),
                vec![shape.vocabulary, shape.width],
            ),
            ("model.norm.weight".to_owned(), vec![shape.width]),
        ];
        if !self.tied {
            out.push((
                "lm_head.weight".to_owned(),
                vec![shape.vocabulary, shape.width],
            ));
        }
        for layer in 0..shape.layers {
            let parts = [
                ("input_layernorm", vec![shape.width]),
                ("post_attention_layernorm", vec![shape.width]),
                ("self_attn.q_proj", vec![query, shape.width]),
                ("self_attn.k_proj", vec![kv, shape.width]),
                ("self_attn.v_proj", vec![kv, shape.width]),
                ("self_attn.o_proj", vec![shape.width, query]),
                ("mlp.gate_proj", vec![shape.inner, shape.width]),
                ("mlp.up_proj", vec![shape.inner, shape.width]),
                ("mlp.down_proj", vec![shape.width, shape.inner]),
            ];
            let named = |(name, dims)| (format!("model.layers.{layer}.{name}.weight"), dims);
            out.extend(parts.map(named));
        }
        out
    }

    fn weights(&self) -> Vec<u8> {
        let (mut header, mut data) = (Map::new(), Vec::new());
        let mut state = 1_u64;
        for (name, dims) in self.tensors() {
            let begin = data.len();
            let (scale, base) = match dims.as_slice() {
                [_, columns] => (2.0 / (*columns as f32).sqrt(), 0.0),
                _ => (0.5, 1.0),
            };
            for _ in 0..dims.iter().product::<usize>() {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let value = ((state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0) * scale + base;
                data.extend(((value.to_bits() >> 16) as u16).to_le_bytes());
            }
            let place = json!({
                "dtype": "BF16", "shape": dims, "data_offsets": [begin, data.len()],
            });
            header.insert(name, place);
        }
        let mut header = serde_json::to_vec(&header).unwrap();
        header.resize(header.len().next_multiple_of(8), b' ');
        let length = (header.len() as u64).to_le_bytes();
        [length.as_slice(), &header, &data].concat()
    }
}

/// All 256 bytes, each a token, and four more.
fn tokenizer() -> Value {
    let prints = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let letter = |byte: u8| match prints(&byte) {
        true => char::from(byte),
        false => {
            let before = (0..byte).filter(|byte| !prints(byte)).count();
            char::from_u32(0x100 + before as u32).unwrap()
        }
    };
    let mut vocab: Map<String, Value> = (0..=u8::MAX)
        .map(|byte| (letter(byte).to_string(), byte.into()))
        .collect();
    vocab.insert("ab".into(), 256.into());
    vocab.insert("abc".into(), 257.into());
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true});
    let added = |id: usize, content: &str| json!({"id": id, "content": content, "special": true});
    json!({
        "added_tokens": [added(258, "<|a|>"), added(259, "<|e|>")],
        "normalizer": null, "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": {"type": "BPE", "vocab": vocab, "merges": ["a b", "ab c"]},
    })
}
