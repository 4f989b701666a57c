//! What was launched, worked out from what the hypervisor was really given.
//!
//! The launch record that the host agent writes says which process to look at. Paths come from
//! that process's own command line, and the files are hashed here: for SEV-SNP by crate `sev`,
//! for TDX by `tdx::registers`. Only what
//! emulation cannot show, the vCPU model and SEV_FEATURES of the shape, is taken from the record.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::digest::{HostData, LaunchDigest, Mrtd, Rtmr};
use serde::Deserialize;
use sev::measurement::snp::{SnpMeasurementArgs, snp_calc_launch_digest};
use sev::measurement::vcpu_types::CpuType;
use sev::measurement::vmsa::{GuestFeatures, VMMType};
use sha2::{Digest as _, Sha256, Sha384};

use crate::tdx::captured::Hardware;
use crate::tdx::registers::{Registers, RegistersError};

/// Domain of the digest that stands for a measurement where no machine was launched at all.
const PROCESSES_DOMAIN: &[u8] = b"cocoon/research-processes/v1\0";

/// The record that the host agent, or `ci/stack`, writes.
#[derive(Debug, Clone, Deserialize)]
pub struct LaunchRecord {
    /// QEMU's process id; absent without a virtual machine.
    pub pid: Option<u32>,
    /// The machine's shape.
    pub shape: Shape,
    /// HOST_DATA: digest of the launch configuration.
    pub host_data: HostData,
    /// Files, where there is no process to look at.
    #[serde(default)]
    pub artifacts: Option<Artifacts>,
    /// Programs whose digests stand for a measurement: a system without a virtual machine.
    #[serde(default)]
    pub digest_of: Vec<PathBuf>,
}

/// What emulation cannot show of a machine.
#[derive(Debug, Clone, Deserialize)]
pub struct Shape {
    /// Number of vCPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// QEMU's name of the vCPU model.
    pub vcpu_type: String,
    /// SEV_FEATURES of the guest.
    pub guest_features: u64,
}

/// What is measured at launch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Artifacts {
    /// Firmware image.
    pub firmware: PathBuf,
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub cmdline: String,
}

/// Why a launch cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The launch record is not of the specified form.
    #[error("the launch record is not of the specified form")]
    Record(#[from] serde_json::Error),
    /// The hypervisor's command line lacks an option.
    #[error("the hypervisor was started without `{option}`")]
    Option {
        /// The option.
        option: &'static str,
    },
    /// The hypervisor runs another number of vCPUs than the shape says.
    #[error("the hypervisor runs {found} vCPUs, the shape has {expected}")]
    Vcpus {
        /// From the hypervisor's command line.
        found: u32,
        /// From the record.
        expected: u32,
    },
    /// The vCPU model has no known signature.
    #[error("unknown vCPU model")]
    VcpuType,
    /// The kernel's command line begins or ends with white space, which crate `sev` would cut.
    #[error("the kernel's command line begins or ends with white space")]
    CommandLine,
    /// The measurement cannot be computed.
    #[error("cannot compute the measurement")]
    Measurement(#[from] sev::error::MeasurementError),
    /// The TDX registers cannot be computed.
    #[error("cannot compute the registers")]
    Registers(#[from] RegistersError),
    /// The record names neither a process nor files.
    #[error("the launch record names nothing to measure")]
    Nothing,
}

impl Shape {
    /// The machine of a record without a process: one model, no serial port.
    const fn hardware(&self) -> Hardware {
        Hardware {
            vcpus: self.vcpus,
            memory_mib: self.memory_mib,
            gpus: 0,
            model_disks: 1,
            serial: false,
        }
    }
}

impl LaunchRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// `Read` or `Record`.
    pub fn read(path: &Path) -> Result<Self, LaunchError> {
        Ok(serde_json::from_slice(&bytes_of(path)?)?)
    }

    /// The SEV-SNP launch measurement of what the record points at.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn snp_measurement(&self) -> Result<LaunchDigest, LaunchError> {
        match (self.pid, &self.artifacts) {
            (Some(pid), _) => self.measure_snp(&self.launched_by(pid)?.artifacts),
            (None, Some(artifacts)) => self.measure_snp(artifacts),
            (None, None) => processes_digest(&self.digest_of),
        }
    }

    /// The TDX registers of what the record points at.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn tdx_registers(&self) -> Result<Registers, LaunchError> {
        match (self.pid, &self.artifacts) {
            (Some(pid), _) => {
                let given = self.launched_by(pid)?;
                measure_tdx(&given.artifacts, &given.hardware)
            }
            (None, Some(artifacts)) => measure_tdx(artifacts, &self.shape.hardware()),
            (None, None) => processes_registers(&self.digest_of),
        }
    }

    /// What the process was given.
    fn launched_by(&self, pid: u32) -> Result<Given, LaunchError> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let given = given_to(&process)?;
        if given.hardware.vcpus != self.shape.vcpus {
            return Err(LaunchError::Vcpus {
                found: given.hardware.vcpus,
                expected: self.shape.vcpus,
            });
        }
        // Relative paths are the process's own.
        let cwd = process.join("cwd");
        let Artifacts {
            firmware,
            kernel,
            initrd,
            cmdline,
        } = given.artifacts;
        Ok(Given {
            artifacts: Artifacts {
                firmware: cwd.join(firmware),
                kernel: cwd.join(kernel),
                initrd: cwd.join(initrd),
                cmdline,
            },
            hardware: given.hardware,
        })
    }

    fn measure_snp(&self, artifacts: &Artifacts) -> Result<LaunchDigest, LaunchError> {
        let cmdline = artifacts.cmdline.as_str();
        if cmdline.trim() != cmdline {
            return Err(LaunchError::CommandLine);
        }
        let model = CpuType::try_from(self.shape.vcpu_type.as_str());
        let digest = snp_calc_launch_digest(SnpMeasurementArgs {
            vcpus: self.shape.vcpus,
            vcpu_type: model.map_err(|_| LaunchError::VcpuType)?,
            ovmf_file: artifacts.firmware.clone(),
            guest_features: GuestFeatures(self.shape.guest_features),
            kernel_file: Some(artifacts.kernel.clone()),
            initrd_file: Some(artifacts.initrd.clone()),
            append: Some(cmdline),
            ovmf_hash_str: None,
            vmm_type: Some(VMMType::QEMU),
        })?;
        let bytes: Vec<u8> = digest.try_into()?;
        let bytes = <[u8; LaunchDigest::LENGTH]>::try_from(bytes);
        bytes.map(LaunchDigest).map_err(|_| LaunchError::Nothing)
    }
}

/// The hypervisor's arguments. A process that is becoming the hypervisor shows none, or those of
/// the program that it was before: it gets two seconds.
fn given_to(process: &Path) -> Result<Given, LaunchError> {
    let place = process.join("cmdline");
    for _ in 0..100 {
        match Given::parse(&bytes_of(&place)?) {
            Err(LaunchError::Option { .. }) => std::thread::sleep(Duration::from_millis(20)),
            found => return found,
        }
    }
    Given::parse(&bytes_of(&place)?)
}

fn measure_tdx(artifacts: &Artifacts, hardware: &Hardware) -> Result<Registers, LaunchError> {
    Ok(Registers::of(
        &bytes_of(&artifacts.firmware)?,
        &bytes_of(&artifacts.kernel)?,
        &bytes_of(&artifacts.initrd)?,
        &artifacts.cmdline,
        hardware,
    )?)
}

/// MRTD is [`processes_digest`]; RTMR0 to RTMR2 are SHA-384 over the domain, their number (one
/// byte) and that digest.
///
/// # Errors
/// Those of [`processes_digest`].
pub fn processes_registers(programs: &[PathBuf]) -> Result<Registers, LaunchError> {
    let LaunchDigest(mrtd) = processes_digest(programs)?;
    let rtmr = |number: u8| {
        let hash = Sha384::new().chain_update(PROCESSES_DOMAIN);
        Rtmr(
            hash.chain_update([number])
                .chain_update(mrtd)
                .finalize()
                .into(),
        )
    };
    Ok(Registers {
        mrtd: Mrtd(mrtd),
        rtmrs: [0, 1, 2].map(rtmr),
    })
}

/// SHA-384 over a domain and the SHA-256 of each program: stands for a measurement in a system
/// without a virtual machine, where nothing is measured by anybody.
///
/// # Errors
/// `Read`, or `Nothing` for an empty list.
pub fn processes_digest(programs: &[PathBuf]) -> Result<LaunchDigest, LaunchError> {
    if programs.is_empty() {
        return Err(LaunchError::Nothing);
    }
    let mut hash = Sha384::new().chain_update(PROCESSES_DOMAIN);
    for program in programs {
        hash.update(Sha256::digest(bytes_of(program)?));
    }
    Ok(LaunchDigest(hash.finalize().into()))
}

/// What QEMU's arguments say.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    artifacts: Artifacts,
    hardware: Hardware,
}

impl Given {
    /// Reads `/proc/<pid>/cmdline`: arguments, each with a NUL behind it.
    fn parse(arguments: &[u8]) -> Result<Self, LaunchError> {
        let text = String::from_utf8_lossy(arguments);
        let arguments: Vec<&str> = text.split('\0').collect();
        let value = |option: &'static str| {
            let mut pairs = arguments.iter().zip(arguments.iter().skip(1));
            let found = pairs.find(|(name, _)| **name == option);
            let found = found.map(|(_, value)| (*value).to_owned());
            found.ok_or(LaunchError::Option { option })
        };
        let devices = |kind: &str| {
            let given = arguments.iter().filter(|one| one.starts_with(kind));
            given.count()
        };
        let number = |text: &str, option| {
            let parsed = text.parse::<u32>();
            parsed.map_err(|_| LaunchError::Option { option })
        };
        let smp = value("-smp")?;
        let count = smp.split(',').next().unwrap_or_default();
        let count = count.strip_prefix("cpus=").unwrap_or(count);
        Ok(Self {
            artifacts: Artifacts {
                firmware: value("-bios")?.into(),
                kernel: value("-kernel")?.into(),
                initrd: value("-initrd")?.into(),
                cmdline: value("-append")?,
            },
            hardware: Hardware {
                vcpus: number(count, "-smp")?,
                memory_mib: number(&value("-m")?, "-m")?,
                gpus: devices("vfio-pci,"),
                // The first two disks are root and launch configuration.
                model_disks: devices("virtio-blk-pci,").saturating_sub(2),
                serial: arguments.contains(&"-serial"),
            },
        })
    }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, LaunchError> {
    fs::read(path).map_err(|source| LaunchError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_qemu_was_given() {
        let line = b"qemu\0-smp\0cpus=2,sockets=1\0-m\x002048\0-bios\0OVMF.fd\0-kernel\0k\0\
            -initrd\0i\0-append\0console=ttyS0 a=b\0-device\0virtio-blk-pci,drive=root\0\
            -device\0virtio-blk-pci,drive=launch-config\0-device\0virtio-blk-pci,drive=model-0\0\
            -serial\0stdio\0";
        let given = Given::parse(line).unwrap();
        let expected = Hardware {
            vcpus: 2,
            memory_mib: 2048,
            gpus: 0,
            model_disks: 1,
            serial: true,
        };
        assert_eq!(given.hardware, expected);
        assert_eq!(given.artifacts.firmware, Path::new("OVMF.fd"));
        assert_eq!(given.artifacts.cmdline, "console=ttyS0 a=b");
    }

    #[test]
    fn a_missing_option_is_named() {
        let refused = Given::parse(b"qemu\0-smp\x002\0-bios\0OVMF.fd\0").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the hypervisor was started without `-kernel`"
        );
    }
}
