//! `measure describe`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use measurements::verity_tree;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// The file.
    file: PathBuf,
    /// The model's usual name, from which the salt is derived.
    #[arg(long)]
    name: String,
}

impl Describe {
    pub(crate) fn run(&self) -> anyhow::Result<Value> {
        let opened = std::fs::File::open(&self.file)
            .with_context(|| format!("cannot read `{}`", self.file.display()))?;
        let verity =
            verity_tree::parameters(opened, verity_tree::salt(&format!("model-{}", self.name)))?;
        Ok(json!({ "name": self.name, "verity": verity }))
    }
}
