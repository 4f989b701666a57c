//! `measure model` and `measure model-digest`.

use std::path::PathBuf;

use clap::Args;
use measurements::model_image::Source;
use measurements::release::{self, ModelDescription};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Model {
    /// A GGUF file, or a directory with one, or with safetensors, tokenizer and template.
    source: PathBuf,
    /// The model's usual name; salt and UUID of the image follow from it.
    #[arg(long)]
    name: String,
    /// Directory that receives model.img and model.json.
    #[arg(long)]
    out: PathBuf,
}

impl Model {
    pub(crate) fn run(&self) -> anyhow::Result<Value> {
        let source = Source::open(&self.source)?;
        let left_out = source.left_out.clone();
        let sealed = source.seal(&self.name, &self.out)?;
        Ok(json!({ "written": self.out, "model": sealed, "left_out": left_out }))
    }
}

#[derive(Debug, Args)]
pub(crate) struct ModelDigest {
    /// The image's description.
    description: PathBuf,
}

impl ModelDigest {
    pub(crate) fn run(&self) -> anyhow::Result<Value> {
        let model: ModelDescription = release::read_json(&self.description)?;
        Ok(json!({ "name": model.name, "digest": model.verity.model_digest() }))
    }
}
