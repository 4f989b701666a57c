//! The subcommands: what each takes from the command line and the JSON it prints.

mod artifacts;
mod check;
mod describe;
mod explain;
mod log;
mod machine;
mod model;
mod pcr;
mod release;
mod replay;
mod snp;
mod tdx;

use clap::{Parser, Subcommand};

/// Computes the expected measurement of an image from its artifacts alone.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  measure snp --image out/research --vcpus 2 --vcpu-type EPYC-v4
  measure snp --firmware OVMF.fd --kernel bzImage --initrd initrd --cmdline 'panic=-1' --vcpus 2
  measure pcr --uki out/research/cocoon.efi
  measure model model.gguf --name SmolLM2-135M-Instruct --out out/model
  measure tdx --image out/research --vcpus 2 --memory 2147483648 --serial
  measure acpi --vcpus 64 --memory 137438953472 --gpus 1
  measure model-digest out/model/model.json
  measure replay --event-log ccel.bin
  measure check --release measurements/releases/0.1.0 --image out/release
  measure explain --expected reference-values.json --found LAUNCH_DIGEST --image out/release
  measure release --image out/research --profile research --shapes shapes.json \\
      --model out/model/model.json --image-version 0.1.0 --out reference-values.json";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// SEV-SNP launch digest.
    Snp(snp::Snp),
    /// TDX MRTD, RTMR0, RTMR1 and RTMR2 with the events behind them.
    Tdx(tdx::Tdx),
    /// PCR 4 and PCR 11 of a machine with a TPM that boots a unified kernel image.
    Pcr(pcr::Pcr),
    /// Builds a model's image and its digest, after its files were found well-formed.
    Model(model::Model),
    /// The ACPI files that a machine gets, whose digests are in RTMR0.
    Acpi(machine::Acpi),
    /// The digest that names a model image, from the image's description.
    ModelDigest(model::ModelDigest),
    /// The description of a model whose disk is this very file: verity parameters over its bytes.
    Describe(describe::Describe),
    /// The log of releases: its key, its entries, and offline checks.
    Log(log::Log),
    /// Registers from an event log, and which of its words its digests cover.
    Replay(replay::Replay),
    /// Recomputes a release from an image, and compares every value.
    Check(check::Check),
    /// Names the input that differs between what was expected and what was found.
    Explain(explain::Explain),
    /// Reference values of an image for a table of shapes.
    Release(release::Release),
}

impl Command {
    /// What goes to standard output.
    pub(crate) fn run(&self) -> anyhow::Result<String> {
        let value = match self {
            Self::Snp(snp) => snp.run()?,
            Self::Tdx(tdx) => tdx.run()?,
            Self::Pcr(pcr) => pcr.run()?,
            Self::Model(model) => model.run()?,
            Self::Acpi(acpi) => acpi.run()?,
            Self::ModelDigest(digest) => digest.run()?,
            Self::Describe(describe) => describe.run()?,
            Self::Log(log) => return log.run(),
            Self::Replay(replay) => replay.run()?,
            Self::Check(check) => check.run()?,
            Self::Explain(explain) => explain.run()?,
            Self::Release(release) => return release.run(),
        };
        Ok(printed(&value))
    }
}

fn printed(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}
