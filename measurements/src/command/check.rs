//! `measure check`.

use std::path::PathBuf;

use clap::Args;
use measurements::check;
use measurements::release::{self, Shape};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Release directory: reference-values.json, and manifest.json when there is one.
    #[arg(long)]
    release: PathBuf,
    /// Image directory, as it was rebuilt.
    #[arg(long)]
    image: PathBuf,
    /// JSON list of machine shapes, unless it is shapes.json in the release directory.
    #[arg(long)]
    shapes: Option<PathBuf>,
}

impl Check {
    /// Prints every finding; a release that differs is an error as well.
    pub(crate) fn run(&self) -> anyhow::Result<Value> {
        let shapes = self.shapes.clone();
        let shapes = shapes.unwrap_or_else(|| self.release.join("shapes.json"));
        let shapes: Vec<Shape> = release::read_json(&shapes)?;
        let findings = check::check(&self.release, &self.image, &shapes)?;
        let differ = findings.iter().filter(|finding| !finding.equal).count();
        let value = json!({
            "equal": differ == 0,
            "checked": findings.len(),
            "different": differ,
            "findings": findings,
        });
        if differ > 0 {
            anyhow::bail!("{differ} values differ\n{value:#}");
        }
        Ok(value)
    }
}
