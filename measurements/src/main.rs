//! `measure`: expected registers from artifacts, as JSON. Exit status 0, or 2 for bad input.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use measurements::firmware::Firmware;
use measurements::release::{self, ArtifactPaths, BootArtifacts, ModelDescription, Shape};
use measurements::snp::{self, SnpShape};
use measurements::tdx::{self, Event, PageOrder};
use measurements::verity_tree;
use protocol::digest::Rtmr;
use protocol::reference_values::{ImageVersion, Profile};
use serde_json::{Value, json};

/// Computes the expected measurement of an image from its artifacts alone.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  measure snp --image out/research --vcpus 2 --vcpu-type EPYC-v4
  measure tdx --image out/research
  measure model out/model/model.json
  measure release --image out/research --profile research --shapes shapes.json \\
      --model out/model/model.json --image-version 0.1.0 --out reference-values.json";

#[derive(Debug, Subcommand)]
enum Command {
    /// SEV-SNP launch digest.
    Snp {
        #[command(flatten)]
        artifacts: Artifacts,
        /// Number of vCPUs.
        #[arg(long, default_value_t = 2)]
        vcpus: u16,
        /// QEMU's name of the vCPU model.
        #[arg(long, default_value = "EPYC-v4")]
        vcpu_type: String,
        /// SEV_FEATURES of the guest, hexadecimal.
        #[arg(long, default_value = "1", value_parser = hexadecimal)]
        guest_features: u64,
    },
    /// TDX MRTD, RTMR1 and RTMR2 with the events behind them.
    Tdx {
        #[command(flatten)]
        artifacts: Artifacts,
    },
    /// The digest that names a model image.
    Model {
        /// The image's description.
        description: PathBuf,
    },
    /// The description of a model whose disk is this very file: verity parameters over its bytes.
    Describe {
        /// The file.
        file: PathBuf,
        /// The model's usual name, from which the salt is derived.
        #[arg(long)]
        name: String,
    },
    /// Reference values of an image for a table of shapes.
    Release {
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
    },
}

#[derive(Debug, Args)]
struct Artifacts {
    /// Image directory: stands for the four files below.
    #[arg(long)]
    image: PathBuf,
    /// Firmware, unless it is OVMF.fd in the image directory.
    #[arg(long)]
    firmware: Option<PathBuf>,
    /// Kernel, unless it is bzImage in the image directory.
    #[arg(long)]
    kernel: Option<PathBuf>,
    /// Initrd, unless it is initrd.cpio.zst in the image directory.
    #[arg(long)]
    initrd: Option<PathBuf>,
    /// File with the command line, unless it is cmdline in the image directory.
    #[arg(long)]
    command_line: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProfileArgument {
    Release,
    Research,
}

impl Artifacts {
    fn read(&self) -> anyhow::Result<BootArtifacts> {
        let path = |given: &Option<PathBuf>, name: &str| {
            given.clone().unwrap_or_else(|| self.image.join(name))
        };
        Ok(BootArtifacts::read(&ArtifactPaths {
            firmware: path(&self.firmware, "OVMF.fd"),
            kernel: path(&self.kernel, "bzImage"),
            initrd: path(&self.initrd, "initrd.cpio.zst"),
            command_line: path(&self.command_line, "cmdline"),
        })?)
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(output) => match std::io::stdout().write_all(output.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            // Nothing can be done about a closed standard error.
            let _ = writeln!(std::io::stderr(), "measure: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(command: &Command) -> anyhow::Result<String> {
    let value = match command {
        Command::Snp {
            artifacts,
            vcpus,
            vcpu_type,
            guest_features,
        } => {
            let shape = SnpShape {
                vcpus: *vcpus,
                vcpu_type: vcpu_type.parse()?,
                guest_features: *guest_features,
            };
            let artifacts = artifacts.read()?;
            let firmware = Firmware::parse(&artifacts.firmware).context("firmware")?;
            let digest = snp::launch_digest(&firmware, Some(&artifacts.boot()), &shape)?;
            json!({ "tee": "sev-snp", "launch_digest": digest })
        }
        Command::Tdx { artifacts } => measure_tdx(&artifacts.read()?)?,
        Command::Model { description } => {
            let model: ModelDescription = release::read_json(description)?;
            json!({ "name": model.name, "digest": model.verity.model_digest() })
        }
        Command::Describe { file, name } => {
            let opened = std::fs::File::open(file)
                .with_context(|| format!("cannot read `{}`", file.display()))?;
            let verity = verity_tree::parameters(opened, verity_tree::salt(name))?;
            json!({ "name": name, "verity": verity })
        }
        Command::Release {
            artifacts,
            image_version,
            profile,
            shapes,
            model,
            out,
        } => {
            let shapes: Vec<Shape> = release::read_json(shapes)?;
            let models = model.iter().map(|path| release::read_json(path));
            let models = models.collect::<Result<Vec<ModelDescription>, _>>()?;
            let profile = match profile {
                ProfileArgument::Release => Profile::Release,
                ProfileArgument::Research => Profile::Research,
            };
            let artifacts = artifacts.read()?;
            let values =
                release::reference_values(&artifacts, *image_version, profile, &shapes, &models)?;
            let text = values.to_json()?;
            let Some(path) = out else { return Ok(text) };
            std::fs::write(path, text)
                .with_context(|| format!("cannot write `{}`", path.display()))?;
            json!({ "written": path, "shapes": values.shapes.len() })
        }
    };
    Ok(format!("{value:#}\n"))
}

fn measure_tdx(artifacts: &BootArtifacts) -> anyhow::Result<Value> {
    let firmware = Firmware::parse(&artifacts.firmware).context("firmware")?;
    let boot = artifacts.boot();
    let (rtmr1, rtmr2) = (tdx::rtmr1_events(&boot)?, tdx::rtmr2_events(&boot));
    Ok(json!({
        "tee": "tdx",
        "mrtd": tdx::mrtd(&firmware, PageOrder::SinglePass)?,
        "rtmr1": register(&rtmr1),
        "rtmr2": register(&rtmr2),
    }))
}

fn register(events: &[Event]) -> Value {
    let list: Vec<_> = events
        .iter()
        .map(|event| json!({ "what": event.what, "sha384": Rtmr(event.digest) }))
        .collect();
    json!({ "value": tdx::replay(events), "events": list })
}

fn hexadecimal(text: &str) -> Result<u64, std::num::ParseIntError> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16)
}
