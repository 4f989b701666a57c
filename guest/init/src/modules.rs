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

/// Makes the nodes of the driver and of every GPU, for engine alone, and those without unified
/// memory once more for gpu-evidence alone.
///
/// # Errors
/// `GpuAbsent` when there is none; `Modules` when the kernel's list is not of its form.
pub fn make_nodes() -> Result<(), BootError> {
    let engine = |name: &str, major, minor| {
        let path = Path::new("/dev").join(name);
        sys::module::node(&path, major, minor, Role::Engine.id()).map_err(BootError::from)
    };
    let gpu_evidence = |name: &str, minor| {
        let path = Path::new(view::NODES).join(name);
        sys::module::node(&path, NVIDIA, minor, Role::GpuEvidence.id()).map_err(BootError::from)
    };
    ensure_directory(Path::new(view::NODES)).map_err(BootError::file("make a directory"))?;
    let uvm = major_number(&devices()?, UVM).ok_or(BootError::Modules {
        action: "find the major number of unified memory",
    })?;
    engine("nvidiactl", NVIDIA, CONTROL)?;
    gpu_evidence("nvidiactl", CONTROL)?;
    engine("nvidia-uvm", uvm, 0)?;
    (0..count_gpus()?).try_for_each(|minor| {
        let name = format!("nvidia{minor}");
        engine(&name, NVIDIA, minor)?;
        gpu_evidence(&name, minor)
    })
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
