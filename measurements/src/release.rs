//! From an image directory to reference values: the one module here that reads files.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use protocol::digest::Mrtd;
use protocol::gpu_evidence::{DeviceKind, GpuMode};
use protocol::reference_values::{
    DeviceSet, ExpectedRegisters, ExpectedRtmr, ImageVersion, ModelReference, Origin, Profile,
    ReferenceValues, ShapeReference,
};
use protocol::verity::VerityParameters;
use serde::Deserialize;

use crate::acpi::QemuProfile;
use crate::firmware::{Firmware, FirmwareError, MAX_FIRMWARE_BYTES};
use crate::machine::{Machine, MachineError, MachineParts, SerialPort};
use crate::rtmr0::{self, Platform, Rtmr0Error};
use crate::snp::{DirectBoot, MeasuredFirmware, MeasuredLaunch, SnpError, SnpShape};
use crate::snp_vmsa::UnknownVcpuType;
use crate::tdx::{self, PageOrder, TdxError};

/// Kernels and initrds are at most this long.
const MAX_BOOT_FILE_BYTES: u64 = 256 * 1024 * 1024;
const MAX_TEXT_BYTES: u64 = 64 * 1024;

/// Why reference values cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is longer than is accepted.
    #[error("`{}` is longer than {limit} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A text file is not UTF-8 or not of the specified form.
    #[error("`{}` is not of the specified form", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The firmware cannot be measured.
    #[error("firmware")]
    Firmware(#[from] FirmwareError),
    /// No SEV-SNP launch digest.
    #[error("launch digest")]
    Snp(#[from] SnpError),
    /// A vCPU model is not known.
    #[error(transparent)]
    VcpuType(#[from] UnknownVcpuType),
    /// No TDX registers.
    #[error("TDX registers")]
    Tdx(#[from] TdxError),
    /// No RTMR0.
    #[error("RTMR0")]
    Rtmr0(#[from] Rtmr0Error),
    /// No machine has such a shape.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

/// The artifacts that a machine of any shape boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootArtifacts {
    /// The firmware's bytes.
    pub firmware: Vec<u8>,
    /// The kernel's bytes.
    pub kernel: Vec<u8>,
    /// The initrd's bytes.
    pub initrd: Vec<u8>,
    /// The command line, without a final newline.
    pub command_line: String,
}

/// Where the artifacts lie.
#[derive(Debug, Clone)]
pub struct ArtifactPaths {
    /// The firmware file.
    pub firmware: PathBuf,
    /// The kernel file.
    pub kernel: PathBuf,
    /// The initrd file.
    pub initrd: PathBuf,
    /// A file with the command line.
    pub command_line: PathBuf,
}

impl ArtifactPaths {
    /// The files of an image directory.
    #[must_use]
    pub fn of_image(image: &Path) -> Self {
        Self {
            firmware: image.join("OVMF.fd"),
            kernel: image.join("bzImage"),
            initrd: image.join("initrd.cpio.zst"),
            command_line: image.join("cmdline"),
        }
    }
}

impl BootArtifacts {
    /// Reads the four files.
    ///
    /// # Errors
    /// `Read`, `TooLong` or `Malformed`.
    pub fn read(paths: &ArtifactPaths) -> Result<Self, ReleaseError> {
        Ok(Self {
            firmware: read_firmware(&paths.firmware)?,
            kernel: read_boot_file(&paths.kernel)?,
            initrd: read_boot_file(&paths.initrd)?,
            command_line: read_command_line(&paths.command_line)?,
        })
    }

    /// What boots inside the firmware.
    #[must_use]
    pub fn boot(&self) -> DirectBoot<'_> {
        DirectBoot {
            kernel: &self.kernel,
            initrd: &self.initrd,
            command_line: &self.command_line,
        }
    }
}

/// A shape as the host agent launches it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Its name.
    pub name: String,
    /// Number of vCPUs.
    pub vcpus: u16,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// QEMU's name of the vCPU model, for SEV-SNP.
    pub vcpu_type: String,
    /// SEV_FEATURES of the guest.
    pub guest_features: u64,
    /// GPUs.
    #[serde(default)]
    pub gpus: u8,
    /// Disks with models.
    #[serde(default = "one")]
    pub model_disks: u8,
}

const fn one() -> u8 {
    1
}

/// Ends the name of a shape with a serial port, as a research image is launched with; the tables
/// that a TD measures tell it from the shape without one.
pub const WITH_SERIAL_PORT: &str = "+serial";

impl Shape {
    fn machine(&self, serial: SerialPort) -> Result<Machine, MachineError> {
        Machine::try_from(MachineParts {
            vcpus: self.vcpus,
            memory: u64::from(self.memory_mib) << 20,
            model_disks: self.model_disks,
            gpus: self.gpus,
            serial,
        })
    }
}

/// A model image's description, as `image/build-model` writes it.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelDescription {
    /// The model's usual name.
    pub name: String,
    /// Parameters of its image.
    pub verity: VerityParameters,
}

/// The reference values of an image over the given shapes and models.
///
/// # Errors
/// See [`ReleaseError`].
pub fn reference_values(
    artifacts: &BootArtifacts,
    image: ImageVersion,
    profile: Profile,
    shapes: &[Shape],
    models: &[ModelDescription],
) -> Result<ReferenceValues, ReleaseError> {
    let firmware = Firmware::parse(&artifacts.firmware)?;
    // What is the same on every shape is hashed once.
    let launch = MeasuredFirmware::new(&firmware)?.with(Some(&artifacts.boot()))?;
    let tdx = TdxRegisters::of(&firmware, artifacts)?;
    let mut references = Vec::new();
    for shape in shapes {
        references.push(snp_reference(&launch, shape)?);
        references.push(tdx.reference(shape, SerialPort::Absent)?);
        match profile {
            Profile::Release => {}
            Profile::Research => references.push(tdx.reference(shape, SerialPort::Present)?),
        }
    }
    let models = models.iter().map(|model| ModelReference {
        name: model.name.clone(),
        digest: model.verity.model_digest(),
    });
    Ok(ReferenceValues {
        version: 1,
        image,
        profile,
        shapes: references,
        models: models.collect(),
    })
}

fn snp_reference(launch: &MeasuredLaunch, shape: &Shape) -> Result<ShapeReference, ReleaseError> {
    let launch_digest = launch.launch_digest(&SnpShape {
        vcpus: shape.vcpus,
        vcpu_type: shape.vcpu_type.parse()?,
        guest_features: shape.guest_features,
    })?;
    Ok(in_shape(
        shape,
        ExpectedRegisters::SevSnp {
            vcpu_type: shape.vcpu_type.clone(),
            guest_features: shape.guest_features,
            launch_digest,
        },
    ))
}

/// The registers of a TD that do not depend on its shape, and what the one that does is made of.
struct TdxRegisters<'a> {
    mrtd: Mrtd,
    rtmr1: ExpectedRtmr,
    rtmr2: ExpectedRtmr,
    platform: Platform<'a>,
}

impl<'a> TdxRegisters<'a> {
    fn of(firmware: &'a Firmware<'_>, artifacts: &BootArtifacts) -> Result<Self, ReleaseError> {
        let boot = artifacts.boot();
        let computed = |value| ExpectedRtmr {
            value,
            origin: Origin::Computed,
        };
        Ok(Self {
            mrtd: tdx::mrtd(firmware, PageOrder::SinglePass)?,
            rtmr1: computed(tdx::replay(&tdx::rtmr1_events(&boot)?)),
            rtmr2: computed(tdx::replay(&tdx::rtmr2_events(&boot))),
            platform: Platform::of(firmware, QemuProfile::Qemu11_1_3)?,
        })
    }

    fn reference(&self, shape: &Shape, serial: SerialPort) -> Result<ShapeReference, ReleaseError> {
        let events = self.platform.events(&shape.machine(serial)?)?;
        let registers = ExpectedRegisters::Tdx {
            mrtd: self.mrtd,
            rtmr0: ExpectedRtmr {
                value: rtmr0::replay(&events),
                origin: Origin::ComputedUnconfirmed,
            },
            rtmr1: self.rtmr1,
            rtmr2: self.rtmr2,
        };
        let mut reference = in_shape(shape, registers);
        match serial {
            SerialPort::Absent => {}
            SerialPort::Present => reference.shape.push_str(WITH_SERIAL_PORT),
        }
        Ok(reference)
    }
}

fn in_shape(shape: &Shape, registers: ExpectedRegisters) -> ShapeReference {
    ShapeReference {
        shape: shape.name.clone(),
        vcpus: shape.vcpus,
        memory_mib: shape.memory_mib,
        registers,
        devices: device_sets(shape.gpus),
    }
}

/// What so many GPUs can be. Hopper's board of eight is handed over with its four switches and
/// protects the links to them; Blackwell's GPUs encrypt their own links, however many there are.
fn device_sets(gpus: u8) -> Vec<DeviceSet> {
    let set = |architecture, switches, mode| DeviceSet {
        architecture,
        gpus,
        switches,
        mode,
    };
    match gpus {
        0 => Vec::new(),
        1 => [DeviceKind::Hopper, DeviceKind::Blackwell]
            .into_iter()
            .flat_map(|kind| [GpuMode::SinglePass, GpuMode::MultiPass].map(|mode| (kind, mode)))
            .map(|(kind, mode)| set(kind, 0, mode))
            .collect(),
        8 => vec![
            set(DeviceKind::Hopper, 4, GpuMode::ProtectedPcie),
            set(DeviceKind::Blackwell, 0, GpuMode::MultiPass),
        ],
        _ => vec![set(DeviceKind::Blackwell, 0, GpuMode::MultiPass)],
    }
}

/// A firmware file.
///
/// # Errors
/// `Read` or `TooLong`.
pub fn read_firmware(path: &Path) -> Result<Vec<u8>, ReleaseError> {
    read_bounded(path, u64::try_from(MAX_FIRMWARE_BYTES).unwrap_or(u64::MAX))
}

/// A kernel or an initrd.
///
/// # Errors
/// `Read` or `TooLong`.
pub fn read_boot_file(path: &Path) -> Result<Vec<u8>, ReleaseError> {
    read_bounded(path, MAX_BOOT_FILE_BYTES)
}

/// The command line in a file, without a final newline.
///
/// # Errors
/// `Read`, `TooLong` or `Malformed`.
pub fn read_command_line(path: &Path) -> Result<String, ReleaseError> {
    let text = read_bounded(path, MAX_TEXT_BYTES)?;
    let text = String::from_utf8(text).map_err(|_| ReleaseError::Malformed {
        path: path.to_owned(),
    })?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// A whole file, refused when it is longer than `limit`.
///
/// # Errors
/// `Read` or `TooLong`.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, ReleaseError> {
    let cannot = |source| ReleaseError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    let read = file
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > limit {
        return Err(ReleaseError::TooLong {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// Reads a JSON document of at most 64 KiB.
///
/// # Errors
/// `Read`, `TooLong` or `Malformed`.
pub fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, ReleaseError> {
    serde_json::from_slice(&read_bounded(path, MAX_TEXT_BYTES)?).map_err(|_| {
        ReleaseError::Malformed {
            path: path.to_owned(),
        }
    })
}
