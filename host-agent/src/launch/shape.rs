//! Machine shapes and accelerators: everything that the launch measurement depends on besides the
//! artifacts, as types.

use std::fmt;
use std::str::FromStr;

use measurements::machine::{Machine, MachineError, MachineParts, SerialPort};
use protocol::tee::TeeKind;

/// One machine shape; reference values are per shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The name used in reference values.
    pub name: &'static str,
    /// Number of vCPUs.
    pub vcpus: u16,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// GPUs, each behind a root port at a fixed slot.
    pub gpus: u8,
    /// Disks with models; their slots are in the tables that a TD measures.
    pub model_disks: u8,
    /// QEMU's name of the vCPU model of a SEV-SNP launch.
    pub vcpu_type: &'static str,
    /// SEV_FEATURES of a SEV-SNP launch.
    pub guest_features: u64,
}

const fn shape(name: &'static str, vcpus: u16, memory_mib: u32, gpus: u8) -> Shape {
    Shape {
        name,
        vcpus,
        memory_mib,
        gpus,
        model_disks: 1,
        vcpu_type: "EPYC-v4",
        guest_features: 0x1,
    }
}

/// Every shape that this version launches; `ci/lib/shapes.json` is the same list.
pub const SHAPES: [Shape; 5] = [
    shape("cpu-2x2048", 2, 2048, 0),
    shape("cpu-8x16384", 8, 16 * 1024, 0),
    shape("cpu-32x65536", 32, 64 * 1024, 0),
    shape("gpu1-16x131072", 16, 128 * 1024, 1),
    shape("gpu8-128x1048576", 128, 1024 * 1024, 8),
];

impl Shape {
    /// The machine that its guest sees; its slots and its window for BARs are fixed there.
    ///
    /// # Errors
    /// A shape that no machine can have; none of [`SHAPES`].
    pub fn machine(&self, serial: SerialPort) -> Result<Machine, MachineError> {
        Machine::try_from(MachineParts {
            vcpus: self.vcpus,
            memory: u64::from(self.memory_mib) << 20,
            model_disks: self.model_disks,
            gpus: self.gpus,
            serial,
        })
    }
}

/// A name that stands for nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what}; known: {known}")]
pub struct UnknownName {
    what: &'static str,
    known: String,
}

impl FromStr for Shape {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let found = SHAPES.into_iter().find(|shape| shape.name == name);
        found.ok_or_else(|| UnknownName {
            what: "shape",
            known: SHAPES.map(|shape| shape.name).join(", "),
        })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// How the machine is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's own emulation, for the research image: no TEE, and `/dev/kvm` is never opened. The
    /// kind says which registers the simulated TEE shows.
    Emulation(TeeKind),
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

impl Accelerator {
    /// Which registers the guest sees.
    #[must_use]
    pub const fn tee(self) -> TeeKind {
        match self {
            Self::Emulation(tee) => tee,
            Self::Snp => TeeKind::SevSnp,
            Self::Tdx => TeeKind::Tdx,
        }
    }

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emulation(_) => "emulation",
            Self::Snp => "snp",
            Self::Tdx => "tdx",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_found_by_its_name_and_by_nothing_else() {
        assert_eq!("cpu-2x2048".parse::<Shape>(), Ok(SHAPES[0]));
        let refused = "cpu-2x2048,foo=bar".parse::<Shape>().unwrap_err();
        let known = "cpu-2x2048, cpu-8x16384, cpu-32x65536, gpu1-16x131072, gpu8-128x1048576";
        assert_eq!(
            refused.to_string(),
            format!("unknown shape; known: {known}")
        );
    }

    /// What `measure release` reads.
    #[derive(Debug, PartialEq, Eq, serde::Deserialize)]
    struct Listed {
        name: String,
        vcpus: u16,
        memory_mib: u32,
        gpus: u8,
        model_disks: u8,
        vcpu_type: String,
        guest_features: u64,
    }

    #[test]
    fn reference_values_are_made_for_exactly_these_shapes() {
        let listed = include_str!("../../../ci/lib/shapes.json");
        let listed: Vec<Listed> = serde_json::from_str(listed).unwrap();
        let expected = SHAPES.map(|shape| Listed {
            name: shape.name.to_owned(),
            vcpus: shape.vcpus,
            memory_mib: shape.memory_mib,
            gpus: shape.gpus,
            model_disks: shape.model_disks,
            vcpu_type: shape.vcpu_type.to_owned(),
            guest_features: shape.guest_features,
        });
        assert_eq!(listed, expected);
        assert!(
            SHAPES
                .iter()
                .all(|shape| shape.machine(SerialPort::Absent).is_ok())
        );
    }
}
