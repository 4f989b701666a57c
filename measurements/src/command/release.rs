//! `measure release`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use measurements::release::{self, ModelDescription, Shape};
use protocol::reference_values::{ImageVersion, Profile};
use serde_json::json;

use super::artifacts::Artifacts;

#[derive(Debug, Args)]
pub(crate) struct Release {
    #[command(flatten)]
    artifacts: Artifacts,
    /// Version of the image.
    #[arg(long)]
    image_version: ImageVersion,
    /// What the image is meant for.
    #[arg(long)]
    profile: ProfileArgument,
    /// JSON list of shapes.
    #[arg(long)]
    shapes: PathBuf,
    /// A model image's description; may be repeated.
    #[arg(long)]
    model: Vec<PathBuf>,
    /// Where the reference values go; standard output without it.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProfileArgument {
    Release,
    Research,
}

impl From<ProfileArgument> for Profile {
    fn from(argument: ProfileArgument) -> Self {
        match argument {
            ProfileArgument::Release => Self::Release,
            ProfileArgument::Research => Self::Research,
        }
    }
}

impl Release {
    /// The document itself when no file takes it.
    pub(crate) fn run(&self) -> anyhow::Result<String> {
        let shapes: Vec<Shape> = release::read_json(&self.shapes)?;
        let models = self.model.iter().map(|path| release::read_json(path));
        let models = models.collect::<Result<Vec<ModelDescription>, _>>()?;
        let artifacts = self.artifacts.read()?;
        let profile = self.profile.into();
        let values =
            release::reference_values(&artifacts, self.image_version, profile, &shapes, &models)?;
        let text = values.to_json()?;
        let Some(path) = &self.out else {
            return Ok(text);
        };
        std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
        let summary = json!({ "written": path, "shapes": values.shapes.len() });
        Ok(super::printed(&summary))
    }
}
