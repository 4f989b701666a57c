//! `measure explain`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use measurements::explain::tdx::{self, FoundRegisters};
use measurements::explain::{Cause, OtherImage, document, snp};
use measurements::release::{self, ArtifactPaths, BootArtifacts};
use measurements::snp::SnpShape;
use protocol::digest::LaunchDigest;
use protocol::reference_values::{ExpectedRegisters, MAX_BYTES, ReferenceValues, ShapeReference};
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Reference values, a manifest, or a list of shapes.
    #[arg(long)]
    expected: PathBuf,
    /// A document of the same kind; or a launch digest in hexadecimal; or registers, as
    /// `measure snp`, `measure tdx` and `measure replay` print them.
    #[arg(long)]
    found: String,
    /// Image directory of the expected release: needed to explain a register.
    #[arg(long)]
    image: Option<PathBuf>,
    /// Image directory of another release or build, whose parts may have been used; may be
    /// repeated.
    #[arg(long)]
    other: Vec<PathBuf>,
    /// The shape that was meant; without it the nearest one is taken.
    #[arg(long)]
    shape: Option<String>,
}

/// A found register, or a document.
enum Found {
    Launch(LaunchDigest),
    Tdx(FoundRegisters),
    Document(Value),
}

impl Explain {
    pub(crate) fn run(&self) -> anyhow::Result<Value> {
        let limit = u64::try_from(MAX_BYTES)?;
        let expected = release::read_bounded(&self.expected, limit)?;
        match self.found(limit)? {
            Found::Document(found) => {
                let expected = document::parse(&expected)
                    .with_context(|| format!("`{}`", self.expected.display()))?;
                let causes = document::differences(&expected, &found);
                Ok(json!({ "same": causes.is_empty(), "causes": causes }))
            }
            Found::Launch(digest) => self.launch(
                &ReferenceValues::parse(&expected).context("--expected")?,
                &digest,
            ),
            Found::Tdx(registers) => self.registers(
                &ReferenceValues::parse(&expected).context("--expected")?,
                &registers,
            ),
        }
    }

    fn found(&self, limit: u64) -> anyhow::Result<Found> {
        if let Ok(digest) = self.found.parse() {
            return Ok(Found::Launch(digest));
        }
        let bytes = release::read_bounded(self.found.as_ref(), limit)?;
        let value = document::parse(&bytes).with_context(|| format!("`{}`", self.found))?;
        if let Some(digest) = value.get("launch_digest").and_then(Value::as_str) {
            return Ok(Found::Launch(digest.parse().context("launch_digest")?));
        }
        let registers = FoundRegisters {
            mrtd: register(&value, "mrtd")?,
            rtmr0: register(&value, "rtmr0")?,
            rtmr1: register(&value, "rtmr1")?,
            rtmr2: register(&value, "rtmr2")?,
        };
        if registers == FoundRegisters::default() {
            return Ok(Found::Document(value));
        }
        Ok(Found::Tdx(registers))
    }

    fn shapes<'r>(&self, values: &'r ReferenceValues) -> Vec<&'r ShapeReference> {
        let named = |shape: &&ShapeReference| {
            let wanted = self.shape.as_ref();
            wanted.is_none_or(|name| *name == shape.shape)
        };
        values.shapes.iter().filter(named).collect()
    }

    fn artifacts(&self) -> anyhow::Result<(BootArtifacts, Vec<OtherImage>)> {
        let image = self.image.as_ref();
        let image = image.context("a register is explained with the artifacts: give --image")?;
        let others = self.other.iter().map(|path| {
            anyhow::Ok(OtherImage {
                name: path.display().to_string(),
                artifacts: BootArtifacts::read(&ArtifactPaths::of_image(path))?,
            })
        });
        let others = others.collect::<Result<_, _>>()?;
        Ok((
            BootArtifacts::read(&ArtifactPaths::of_image(image))?,
            others,
        ))
    }

    fn launch(&self, values: &ReferenceValues, found: &LaunchDigest) -> anyhow::Result<Value> {
        let mut best: Option<(&str, Vec<Cause>)> = None;
        let mut files = None;
        for shape in self.shapes(values) {
            let ExpectedRegisters::SevSnp {
                vcpu_type,
                guest_features,
                launch_digest,
            } = &shape.registers
            else {
                continue;
            };
            if launch_digest == found {
                return Ok(json!({ "same": true, "shape": shape.shape, "causes": [] }));
            }
            if files.is_none() {
                files = Some(self.artifacts()?);
            }
            let Some((artifacts, others)) = &files else {
                bail!("no artifacts");
            };
            let machine = SnpShape {
                vcpus: shape.vcpus,
                vcpu_type: vcpu_type.parse()?,
                guest_features: *guest_features,
            };
            let causes = snp::explain(artifacts, others, &machine, found)?;
            let nearer = |causes: &Vec<Cause>| {
                best.as_ref()
                    .is_none_or(|(_, best)| causes.len() < best.len())
            };
            if let Some(causes) = causes.filter(nearer) {
                best = Some((&shape.shape, causes));
            }
        }
        Ok(match best {
            Some((shape, causes)) => json!({ "same": false, "shape": shape, "causes": causes }),
            None => json!({
                "same": false,
                "causes": [],
                "unexplained": "no known alternative of firmware, kernel, initrd, command line, \
                    vCPU count, vCPU type or features leads to this digest",
            }),
        })
    }

    fn registers(&self, values: &ReferenceValues, found: &FoundRegisters) -> anyhow::Result<Value> {
        let (artifacts, others) = self.artifacts()?;
        let mut best: Option<(&str, Vec<Cause>)> = None;
        for shape in self.shapes(values) {
            let Some(causes) = tdx_causes(values, shape, &artifacts, &others, found) else {
                continue;
            };
            if best
                .as_ref()
                .is_none_or(|(_, best)| causes.len() < best.len())
            {
                best = Some((&shape.shape, causes));
            }
        }
        let (shape, causes) = best.context("the reference values have no such TDX shape")?;
        Ok(json!({ "same": causes.is_empty(), "shape": shape, "causes": causes }))
    }
}

/// The causes of every register that differs from a shape's; `None` for a shape of another TEE.
fn tdx_causes(
    values: &ReferenceValues,
    shape: &ShapeReference,
    artifacts: &BootArtifacts,
    others: &[OtherImage],
    found: &FoundRegisters,
) -> Option<Vec<Cause>> {
    let ExpectedRegisters::Tdx {
        mrtd,
        rtmr0,
        rtmr1,
        rtmr2,
    } = &shape.registers
    else {
        return None;
    };
    let mut causes = Vec::new();
    if let Some(other) = found.mrtd.filter(|other| other != mrtd) {
        causes.push(tdx::mrtd(artifacts, others, &other));
    }
    if let Some(other) = found.rtmr0.filter(|other| *other != rtmr0.value) {
        causes.extend(tdx::rtmr0(values, shape, &other));
    }
    if let Some(other) = found.rtmr1.filter(|other| *other != rtmr1.value) {
        causes.push(tdx::rtmr1(others, &other));
    }
    if let Some(other) = found.rtmr2.filter(|other| *other != rtmr2.value) {
        causes.extend(tdx::rtmr2(artifacts, others, &other));
    }
    Some(causes)
}

/// A register where the programs print it: `NAME`, `NAME.value`, or `registers.sha384.NAME`.
fn register<T: std::str::FromStr>(document: &Value, name: &str) -> anyhow::Result<Option<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let places = [
        format!("/{name}"),
        format!("/{name}/value"),
        format!("/registers/sha384/{name}"),
    ];
    let text = places
        .iter()
        .find_map(|place| document.pointer(place).and_then(Value::as_str));
    text.map(|text| text.parse().with_context(|| name.to_owned()))
        .transpose()
}
