//! The options that name what boots: an image directory, or its files one by one.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use measurements::release::{self, BootArtifacts};
use measurements::snp::DirectBoot;

/// Firmware, and what boots inside it.
#[derive(Debug, Args)]
pub(crate) struct Artifacts {
    /// Image directory: stands for OVMF.fd, bzImage, initrd.cpio.zst and cmdline in it.
    #[arg(long, required_unless_present = "firmware")]
    image: Option<PathBuf>,
    /// Firmware file.
    #[arg(long)]
    firmware: Option<PathBuf>,
    /// Kernel file.
    #[arg(long)]
    kernel: Option<PathBuf>,
    /// Initrd file.
    #[arg(long)]
    initrd: Option<PathBuf>,
    /// The command line itself.
    #[arg(long, conflicts_with = "command_line", allow_hyphen_values = true)]
    cmdline: Option<String>,
    /// A file with the command line.
    #[arg(long)]
    command_line: Option<PathBuf>,
}

/// What was read: a firmware without a kernel is a launch of its own.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) firmware: Vec<u8>,
    boot: Option<(Vec<u8>, Vec<u8>, String)>,
}

impl Launched {
    pub(crate) fn boot(&self) -> Option<DirectBoot<'_>> {
        let (kernel, initrd, command_line) = self.boot.as_ref()?;
        Some(DirectBoot {
            kernel,
            initrd,
            command_line,
        })
    }
}

impl Artifacts {
    /// Reads the files. Without an image directory, an absent kernel means a launch without one.
    pub(crate) fn launched(&self) -> anyhow::Result<Launched> {
        let path = |given: &Option<PathBuf>, name: &str| {
            let in_image = self.image.as_ref().map(|image| image.join(name));
            given.clone().or(in_image)
        };
        let Some(firmware) = path(&self.firmware, "OVMF.fd") else {
            bail!("needs --firmware or --image");
        };
        let firmware = release::read_firmware(&firmware)?;
        let initrd = path(&self.initrd, "initrd.cpio.zst");
        let command_line = match (&self.cmdline, path(&self.command_line, "cmdline")) {
            (Some(text), _) => Some(text.clone()),
            (None, Some(file)) => Some(release::read_command_line(&file)?),
            (None, None) => None,
        };
        let Some(kernel) = path(&self.kernel, "bzImage") else {
            if initrd.is_some() || command_line.is_some() {
                bail!("an initrd or a command line needs a --kernel");
            }
            let boot = None;
            return Ok(Launched { firmware, boot });
        };
        let initrd = match initrd {
            Some(file) => release::read_boot_file(&file)?,
            None => Vec::new(),
        };
        let kernel = release::read_boot_file(&kernel)?;
        let boot = Some((kernel, initrd, command_line.unwrap_or_default()));
        Ok(Launched { firmware, boot })
    }

    /// Reads the files of a machine that boots a kernel.
    pub(crate) fn read(&self) -> anyhow::Result<BootArtifacts> {
        let launched = self.launched()?;
        let (kernel, initrd, command_line) = launched.boot.context("needs --kernel or --image")?;
        Ok(BootArtifacts {
            firmware: launched.firmware,
            kernel,
            initrd,
            command_line,
        })
    }
}
