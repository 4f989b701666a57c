//! `measure snp`.

use anyhow::Context as _;
use clap::Args;
use measurements::firmware::Firmware;
use measurements::snp::{self, SnpShape};
use serde_json::{Value, json};

use super::artifacts::Artifacts;

#[derive(Debug, Args)]
pub(crate) struct Snp {
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
}

impl Snp {
    pub(crate) fn run(&self) -> anyhow::Result<Value> {
        let shape = SnpShape {
            vcpus: self.vcpus,
            vcpu_type: self.vcpu_type.parse()?,
            guest_features: self.guest_features,
        };
        let launched = self.artifacts.launched()?;
        let firmware = Firmware::parse(&launched.firmware).context("firmware")?;
        let digest = snp::launch_digest(&firmware, launched.boot().as_ref(), &shape)?;
        Ok(json!({ "tee": "sev-snp", "launch_digest": digest }))
    }
}

pub(super) fn hexadecimal(text: &str) -> Result<u64, std::num::ParseIntError> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16)
}
