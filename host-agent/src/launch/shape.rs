//! Machine shapes and accelerators: everything that the launch measurement depends on besides the
//! artifacts, as types.

use std::fmt;
use std::str::FromStr;

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
    /// QEMU's name of the vCPU model of a SEV-SNP launch.
    pub vcpu_type: &'static str,
    /// SEV_FEATURES of a SEV-SNP launch.
    pub guest_features: u64,
}

/// Every shape that this version launches.
pub const SHAPES: [Shape; 1] = [Shape {
    name: "cpu-2x2048",
    vcpus: 2,
    memory_mib: 2048,
    vcpu_type: "EPYC-v4",
    guest_features: 0x1,
}];

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
        assert_eq!(refused.to_string(), "unknown shape; known: cpu-2x2048");
    }
}
