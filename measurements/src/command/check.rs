//! `measure check`.

use std::path::PathBuf;

use clap::Args;
use measurements::check;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Release directory: reference-values.json, and manifest.json when there is one.
    #[arg(long)]
    release: PathBuf,
    /// Image directory, as it was rebuilt.
    #[arg(long)]
    image: PathBuf,
}

impl Check {
    /// Prints every finding; a release that differs is an error as well.
    pub(crate) fn run(&self) -> anyhow::Result<Value> {
        let findings = check::check(&self.release, &self.image)?;
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
