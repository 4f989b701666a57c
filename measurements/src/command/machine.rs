//! Options that describe a machine, and `measure acpi`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use measurements::acpi::{AcpiFiles, QemuProfile};
use measurements::machine::{Machine, MachineParts, SerialPort};
use protocol::digest::Rtmr;
use serde_json::{Value, json};

/// A machine whose RTMR0 is wanted.
#[derive(Debug, Args)]
pub(crate) struct MachineArguments {
    /// Number of vCPUs.
    #[arg(long, requires = "memory")]
    pub(crate) vcpus: Option<u16>,
    /// Memory in bytes.
    #[arg(long, requires = "vcpus")]
    memory: Option<u64>,
    /// Build of QEMU that runs the machine.
    #[arg(long, default_value = QemuProfile::Qemu11_1_3.name())]
    qemu_profile: QemuProfile,
    /// Number of GPUs.
    #[arg(long, default_value_t = 0)]
    gpus: u8,
    /// Number of disks with models.
    #[arg(long, default_value_t = 1)]
    model_disks: u8,
    /// With a serial port, as the research image's console.
    #[arg(long)]
    serial: bool,
}

impl MachineArguments {
    /// The machine, when one is described.
    pub(crate) fn machine(&self) -> anyhow::Result<Option<(QemuProfile, Machine)>> {
        let (Some(vcpus), Some(memory)) = (self.vcpus, self.memory) else {
            return Ok(None);
        };
        let serial = if self.serial {
            SerialPort::Present
        } else {
            SerialPort::Absent
        };
        let parts = MachineParts {
            vcpus,
            memory,
            model_disks: self.model_disks,
            gpus: self.gpus,
            serial,
        };
        Ok(Some((self.qemu_profile, Machine::try_from(parts)?)))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Acpi {
    #[command(flatten)]
    machine: MachineArguments,
    /// Directory that takes the three files; without it, only their digests are printed.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Acpi {
    pub(crate) fn run(&self) -> anyhow::Result<Value> {
        let described = self.machine.machine()?;
        let (profile, machine) = described.context("give --vcpus and --memory")?;
        let files = AcpiFiles::of(profile, &machine)?;
        if let Some(directory) = &self.out {
            let contents = [
                ("table-loader", &files.loader),
                ("rsdp", &files.root_pointer),
                ("tables", &files.tables),
            ];
            for (name, bytes) in contents {
                let path = directory.join(name);
                std::fs::write(&path, bytes)
                    .with_context(|| format!("cannot write `{}`", path.display()))?;
            }
        }
        let digests = files.digests();
        let digests = digests.map(|(name, digest)| json!({ "file": name, "sha384": Rtmr(digest) }));
        Ok(json!({ "qemu_profile": profile.name(), "files": digests }))
    }
}
