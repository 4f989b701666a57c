//! GPU evidence by NVIDIA's management library: the source of release programs.
//!
//! Not run on a GPU yet. What stands here follows NVIDIA's interface of driver 550 and later.

mod calls;

use messages::gpu_socket::GpuRefusal;
use nvml_wrapper_sys::bindings as nvml;
use protocol::digest::GpuNonce;
use protocol::gpu_evidence::DeviceKind;

use crate::source::{EvidenceSource, GpuWord, Mode};
use calls::{CallError, Library};

/// The library, open.
#[derive(Debug)]
pub struct Nvml {
    library: Library,
    gpus: u32,
}

impl Nvml {
    /// Loads and initialises the library, and collects critical errors of every GPU from now on.
    ///
    /// # Errors
    /// A [`GpuRefusal`].
    pub fn open() -> Result<Self, GpuRefusal> {
        let library = Library::open().map_err(refusal)?;
        let gpus = library.count().map_err(refusal)?;
        for index in 0..gpus {
            library.watch(index).map_err(refusal)?;
        }
        Ok(Self { library, gpus })
    }
}

impl EvidenceSource for Nvml {
    fn mode(&mut self) -> Result<Mode, GpuRefusal> {
        let settings = self.library.settings().map_err(refusal)?;
        Ok(Mode {
            confidential: settings.ccFeature == nvml::NVML_CC_SYSTEM_FEATURE_ENABLED,
            production: settings.environment == nvml::NVML_CC_SYSTEM_ENVIRONMENT_PROD,
            developer_tools: settings.devToolsMode != nvml::NVML_CC_SYSTEM_DEVTOOLS_MODE_OFF,
            protected_pcie: settings.multiGpuMode == nvml::NVML_CC_SYSTEM_MULTIGPU_PROTECTED_PCIE,
        })
    }

    fn gpus(&mut self) -> Result<u32, GpuRefusal> {
        Ok(self.gpus)
    }

    fn ask(&mut self, index: u32, nonce: &GpuNonce) -> Result<GpuWord, GpuRefusal> {
        let library = &self.library;
        Ok(GpuWord {
            kind: kind(library.architecture(index).map_err(refusal)?)?,
            uuid: library.uuid(index).map_err(refusal)?,
            report: library
                .report(index, nonce.0)
                .map_err(|error| refusal_or(error, GpuRefusal::Report))?,
            chain: library
                .chain(index)
                .map_err(|error| refusal_or(error, GpuRefusal::Chain))?,
        })
    }

    fn accept(&mut self) -> Result<(), GpuRefusal> {
        self.library.set_ready().map_err(refusal)
    }

    fn is_ready(&mut self) -> Result<bool, GpuRefusal> {
        self.library.is_ready().map_err(refusal)
    }

    fn faults(&mut self) -> Result<u16, GpuRefusal> {
        self.library.faults().map_err(refusal)
    }
}

const fn kind(architecture: u32) -> Result<DeviceKind, GpuRefusal> {
    match architecture {
        nvml::NVML_DEVICE_ARCH_HOPPER => Ok(DeviceKind::Hopper),
        nvml::NVML_DEVICE_ARCH_BLACKWELL => Ok(DeviceKind::Blackwell),
        _ => Err(GpuRefusal::Architecture),
    }
}

/// The refusal of a failed call that is about nothing in particular.
const fn refusal(error: CallError) -> GpuRefusal {
    refusal_or(error, GpuRefusal::Driver)
}

/// The refusal of a failed call; `own` where the failure says no more than that there is nothing.
const fn refusal_or(error: CallError, own: GpuRefusal) -> GpuRefusal {
    match error {
        CallError::NoLibrary | CallError::NoFunction => GpuRefusal::NoLibrary,
        CallError::Length => own,
        CallError::Failed { code } => match code {
            nvml::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED
            | nvml::nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED
            | nvml::nvmlReturn_enum_NVML_ERROR_LIB_RM_VERSION_MISMATCH => GpuRefusal::NoDriver,
            nvml::nvmlReturn_enum_NVML_ERROR_LIBRARY_NOT_FOUND
            | nvml::nvmlReturn_enum_NVML_ERROR_FUNCTION_NOT_FOUND => GpuRefusal::NoLibrary,
            nvml::nvmlReturn_enum_NVML_ERROR_NO_PERMISSION => GpuRefusal::NoPermission,
            nvml::nvmlReturn_enum_NVML_ERROR_NOT_FOUND
            | nvml::nvmlReturn_enum_NVML_ERROR_GPU_NOT_FOUND => GpuRefusal::Count,
            nvml::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST
            | nvml::nvmlReturn_enum_NVML_ERROR_RESET_REQUIRED => GpuRefusal::Lost,
            _ => own,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_of_the_library_has_its_refusal() {
        let failed = |code| refusal_or(CallError::Failed { code }, GpuRefusal::Report);
        for (code, expected) in [
            (1, GpuRefusal::NoDriver),
            (9, GpuRefusal::NoDriver),
            (18, GpuRefusal::NoDriver),
            (4, GpuRefusal::NoPermission),
            (12, GpuRefusal::NoLibrary),
            (13, GpuRefusal::NoLibrary),
            (6, GpuRefusal::Count),
            (28, GpuRefusal::Count),
            (15, GpuRefusal::Lost),
            (16, GpuRefusal::Lost),
            (3, GpuRefusal::Report),
            (7, GpuRefusal::Report),
            (999, GpuRefusal::Report),
            (12_345, GpuRefusal::Report),
        ] {
            assert_eq!(failed(code), expected, "{code}");
        }
        assert_eq!(refusal(CallError::NoFunction), GpuRefusal::NoLibrary);
        assert_eq!(refusal(CallError::Length), GpuRefusal::Driver);
    }

    #[test]
    fn only_architectures_whose_evidence_is_known_are_taken() {
        assert_eq!(kind(9), Ok(DeviceKind::Hopper));
        assert_eq!(kind(10), Ok(DeviceKind::Blackwell));
        for other in [0, 7, 8, 11, u32::MAX] {
            assert_eq!(kind(other), Err(GpuRefusal::Architecture));
        }
    }

    #[test]
    fn a_machine_without_the_library_is_told_as_one() {
        // Where tests run on a machine with the library, it finds no GPU in confidential mode.
        match Nvml::open() {
            Err(refusal) => assert!(
                [GpuRefusal::NoLibrary, GpuRefusal::NoDriver].contains(&refusal),
                "{refusal:?}"
            ),
            Ok(mut opened) => assert!(!opened.is_ready().unwrap_or(false)),
        }
    }
}
