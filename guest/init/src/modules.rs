//! The kernel modules of images for GPUs, and the nodes of the GPUs: a fixed list from the measured
//! root, in its order. Nothing else ever loads one; `pseudo::lock_modules` ends it for good.
//!
//! What is deliberately not here: whether a GPU may be used, which its evidence decides.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use sys::CallFailed;

use crate::confinement::{Role, view};
use crate::failure::BootError;
use crate::image::ensure_directory;

/// In this order: the second uses symbols of the first.
const MODULES: [&str; 2] = ["/modules/nvidia.ko", "/modules/nvidia-uvm.ko"];

/// Errno of a module that found no device of its kind.
const ENODEV: i32 = 19;

/// Major number of the driver's devices (`NV_MAJOR_DEVICE_NUMBER` in the driver's sources).
const NVIDIA: u32 = 195;
/// Minor number of the driver's control device (`NV_MINOR_DEVICE_NUMBER_CONTROL_DEVICE`).
const CONTROL: u32 = 255;
/// The driver of unified memory, whose major number the kernel chooses.
const UVM: &str = "nvidia-uvm";

const DEVICES: &str = "/proc/devices";
const GPUS: &str = "/proc/driver/nvidia/gpus";
/// `/proc/devices` is longer in no kernel of ours.
const MAX_DEVICES_BYTES: u64 = 16_384;
/// No machine of ours has more; minor numbers end at the control device's.
const MAX_GPUS: u32 = 32;

/// Loads every module.
///
/// # Errors
/// `GpuAbsent` when the driver found no GPU, `ModuleRefused` when the kernel refused a module.
pub fn load() -> Result<(), BootError> {
    for path in MODULES {
        let file = File::open(path).map_err(BootError::file("open a kernel module"))?;
        sys::module::load(&file).map_err(|cause| refused(path, cause))?;
    }
    Ok(())
}

fn refused(path: &'static str, cause: CallFailed) -> BootError {
    match cause.errno {
        ENODEV => BootError::GpuAbsent,
        _ => BootError::ModuleRefused { path, cause },
    }
}

/// A node that a program finds in its `/dev`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    name: String,
    major: u32,
    minor: u32,
}

/// The nodes of a program; no other has a node of the driver at all.
fn nodes_of(role: Role, gpus: u32, uvm: u32) -> Vec<Node> {
    let node = |name: &str, major, minor| Node {
        name: name.to_owned(),
        major,
        minor,
    };
    // The driver answers on it which GPUs there are, and gives memory and channels of them.
    let control = node("nvidiactl", NVIDIA, CONTROL);
    // Addresses that processor and GPU share: every context of CUDA has its memory from there.
    let unified = node(UVM, uvm, 0);
    // A GPU's own registers and memory are mapped from its node.
    let of_gpus = (0..gpus).map(|minor| node(&format!("nvidia{minor}"), NVIDIA, minor));
    match role {
        Role::Serve | Role::Engine => Vec::new(),
        // Reports are asked for, nothing is computed.
        Role::GpuEvidence => [control].into_iter().chain(of_gpus).collect(),
        // Not `nvidia-uvm-tools`, which looks into unified memory; not `nvidia-modeset`, which is
        // for displays; not `nvidia-caps`, which cuts a GPU into parts.
        Role::EngineGpu => [control, unified].into_iter().chain(of_gpus).collect(),
    }
}

/// Makes the nodes of the driver and of every GPU, for each program its own, which nobody else may
/// open.
///
/// # Errors
/// `GpuAbsent` when there is none; `Modules` when the kernel's list is not of its form.
pub fn make_nodes() -> Result<(), BootError> {
    let uvm = major_number(&devices()?, UVM).ok_or(BootError::Modules {
        action: "find the major number of unified memory",
    })?;
    let gpus = count_gpus()?;
    for role in Role::ALL {
        let Some(directory) = view::nodes(role).map(Path::new) else {
            continue;
        };
        ensure_directory(directory).map_err(BootError::file("make a directory"))?;
        for Node { name, major, minor } in nodes_of(role, gpus, uvm) {
            sys::module::node(&directory.join(name), major, minor, role.id())?;
        }
    }
    Ok(())
}

fn devices() -> Result<String, BootError> {
    let mut text = String::new();
    File::open(DEVICES)
        .and_then(|file| file.take(MAX_DEVICES_BYTES).read_to_string(&mut text))
        .map_err(BootError::file("read the list of devices"))?;
    Ok(text)
}

/// The number beside a name in the first part of `/proc/devices`, that of character devices.
fn major_number(devices: &str, name: &str) -> Option<u32> {
    let characters = devices.split("\n\n").next()?;
    characters.lines().find_map(|line| {
        let (number, found) = line.trim_start().split_once(' ')?;
        (found == name).then(|| number.parse().ok())?
    })
}

/// How many GPUs the driver has taken.
///
/// # Errors
/// `GpuAbsent` for none, `Modules` for too many.
pub fn count_gpus() -> Result<u32, BootError> {
    let mut count: u32 = 0;
    for entry in fs::read_dir(GPUS).map_err(BootError::file("count the GPUs"))? {
        entry.map_err(BootError::file("count the GPUs"))?;
        count = count.saturating_add(1);
    }
    match count {
        0 => Err(BootError::GpuAbsent),
        1..=MAX_GPUS => Ok(count),
        _ => Err(BootError::Modules {
            action: "take so many GPUs",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "Character devices:\n  1 mem\n195 nvidia\n195 nvidiactl\n506 nvidia-uvm\n\n\
                        Block devices:\n254 device-mapper\n253 virtblk\n";

    #[test]
    fn the_major_number_is_that_of_the_whole_name() {
        assert_eq!(major_number(LIST, "nvidia-uvm"), Some(506));
        assert_eq!(major_number(LIST, "nvidia"), Some(195));
        assert_eq!(major_number(LIST, "nvidia-u"), None);
    }

    #[test]
    fn a_block_device_has_no_major_number_here() {
        assert_eq!(major_number(LIST, "device-mapper"), None);
    }

    #[test]
    fn a_list_of_another_form_has_no_major_number() {
        for list in [
            "",
            "506nvidia-uvm",
            "x nvidia-uvm",
            "nvidia-uvm 506",
            "-1 nvidia-uvm",
        ] {
            assert_eq!(major_number(list, "nvidia-uvm"), None, "{list}");
        }
    }

    #[test]
    fn a_program_has_the_nodes_of_its_list_in_a_directory_of_its_own_and_no_others() {
        let names = |role| {
            let nodes = nodes_of(role, 2, 506).into_iter();
            nodes.map(|node| node.name).collect::<Vec<_>>()
        };
        assert_eq!(
            names(Role::GpuEvidence),
            ["nvidiactl", "nvidia0", "nvidia1"]
        );
        let engine = ["nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1"];
        assert_eq!(names(Role::EngineGpu), engine);
        let numbers: Vec<_> = nodes_of(Role::EngineGpu, 1, 506)
            .iter()
            .map(|node| (node.major, node.minor))
            .collect();
        assert_eq!(numbers, [(195, 255), (506, 0), (195, 0)]);
        for role in Role::ALL {
            let has = !nodes_of(role, 1, 506).is_empty();
            assert_eq!(view::nodes(role).is_some(), has, "{}", role.name());
        }
        assert_ne!(view::nodes(Role::EngineGpu), view::nodes(Role::GpuEvidence));
    }

    #[test]
    fn only_a_missing_device_is_told_as_one() {
        let failed = |errno| CallFailed {
            call: "finit_module",
            errno,
        };
        assert_eq!(refused(MODULES[0], failed(ENODEV)), BootError::GpuAbsent);
        // EPERM, ENOEXEC (another kernel's module), EKEYREJECTED.
        for errno in [1, 8, 129] {
            let error = refused(MODULES[0], failed(errno));
            assert!(matches!(error, BootError::ModuleRefused { .. }));
        }
    }
}
