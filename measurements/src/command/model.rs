//! `measure model-digest`.

use std::path::PathBuf;

use clap::Args;
use measurements::release::{self, ModelDescription};
use serde_json::{Value, json};

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
