//! The calls of NVIDIA's management library (NVML): the only unsafe code of this crate.
//!
//! The library is loaded by name when a source is opened. Every buffer is of the size that NVML's
//! interface fixes, and no length that the library writes is used before it was compared with that
//! size. Not here: what is called when, and what it means (`super`).
#![allow(unsafe_code, reason = "calls into the driver's library")]

use std::ffi::{c_char, c_uint};
use std::ptr::null_mut;

use nvml_wrapper_sys::bindings as nvml;

/// The library's name; in the image the one file of that name is measured.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// `NVML_DEVICE_UUID_V2_BUFFER_SIZE`.
const UUID_BYTES: usize = 96;
/// `NVML_STRUCT_VERSION(SystemConfComputeSettings, 1)`: the size of the structure, and 1 in the
/// highest byte.
const SETTINGS_VERSION: c_uint = 20 | 1 << 24;
/// More events are not read at a time.
const MAX_EVENTS: u16 = 1024;

/// Why a call gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallError {
    /// The library cannot be loaded.
    NoLibrary,
    /// The library has no such function.
    NoFunction,
    /// The call failed with one of NVML's codes (`nvmlReturn_t`).
    Failed {
        /// The code.
        code: u32,
    },
    /// The call wrote a length above the size of its buffer.
    Length,
}

fn check(code: nvml::nvmlReturn_t) -> Result<(), CallError> {
    match code {
        nvml::nvmlReturn_enum_NVML_SUCCESS => Ok(()),
        code => Err(CallError::Failed { code }),
    }
}

/// The function of a symbol that was looked up when the library was loaded.
fn function<F: Copy, E>(symbol: &Result<F, E>) -> Result<F, CallError> {
    symbol.as_ref().copied().map_err(|_| CallError::NoFunction)
}

fn prefix(buffer: &[u8], length: c_uint) -> Result<Vec<u8>, CallError> {
    let length = usize::try_from(length).map_err(|_| CallError::Length)?;
    buffer
        .get(..length)
        .map(<[u8]>::to_vec)
        .ok_or(CallError::Length)
}

/// The loaded and initialised library, with a set of events that collects critical errors.
pub(super) struct Library {
    functions: nvml::NvmlLib,
    events: nvml::nvmlEventSet_t,
}

impl Library {
    pub(super) fn open() -> Result<Self, CallError> {
        // SAFETY: loading runs the library's own initialisers, as its vendor wrote them; the types
        // of the functions that are looked up were generated from the vendor's header.
        let functions = unsafe { nvml::NvmlLib::new(LIBRARY) };
        let functions = functions.map_err(|_| CallError::NoLibrary)?;
        let initialise = function(&functions.nvmlInit_v2)?;
        // SAFETY: takes no argument; `drop` undoes it.
        check(unsafe { initialise() })?;
        let mut library = Self {
            functions,
            events: null_mut(),
        };
        let create = function(&library.functions.nvmlEventSetCreate)?;
        // SAFETY: writes one handle, to `events`; `drop` frees it.
        check(unsafe { create(&raw mut library.events) })?;
        Ok(library)
    }

    pub(super) fn count(&self) -> Result<u32, CallError> {
        let count_of = function(&self.functions.nvmlDeviceGetCount_v2)?;
        let mut count = 0;
        // SAFETY: writes one number, to `count`.
        check(unsafe { count_of(&raw mut count) })?;
        Ok(count)
    }

    fn device(&self, index: u32) -> Result<nvml::nvmlDevice_t, CallError> {
        let by_index = function(&self.functions.nvmlDeviceGetHandleByIndex_v2)?;
        let mut device = null_mut();
        // SAFETY: writes one handle, to `device`; it stays the library's, callers never free it.
        check(unsafe { by_index(index, &raw mut device) })?;
        Ok(device)
    }

    /// Collects the critical errors of a GPU from now on.
    pub(super) fn watch(&self, index: u32) -> Result<(), CallError> {
        let register = function(&self.functions.nvmlDeviceRegisterEvents)?;
        let device = self.device(index)?;
        let kinds = u64::from(nvml::nvmlEventTypeXidCriticalError);
        // SAFETY: both handles come from the library, which is initialised.
        check(unsafe { register(device, kinds, self.events) })
    }

    /// Critical errors since the last call, without waiting.
    pub(super) fn faults(&self) -> Result<u16, CallError> {
        let wait = function(&self.functions.nvmlEventSetWait_v2)?;
        let mut faults: u16 = 0;
        while faults < MAX_EVENTS {
            let mut event = nvml::nvmlEventData_t {
                device: null_mut(),
                eventType: 0,
                eventData: 0,
                gpuInstanceId: 0,
                computeInstanceId: 0,
            };
            // SAFETY: the set comes from the library; writes one structure, to `event`.
            match check(unsafe { wait(self.events, &raw mut event, 0) }) {
                Ok(()) => faults = faults.saturating_add(1),
                Err(CallError::Failed {
                    code: nvml::nvmlReturn_enum_NVML_ERROR_TIMEOUT,
                }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(faults)
    }

    pub(super) fn settings(&self) -> Result<nvml::nvmlSystemConfComputeSettings_t, CallError> {
        let settings_of = function(&self.functions.nvmlSystemGetConfComputeSettings)?;
        let mut settings = nvml::nvmlSystemConfComputeSettings_t {
            version: SETTINGS_VERSION,
            environment: 0,
            ccFeature: 0,
            devToolsMode: 0,
            multiGpuMode: 0,
        };
        // SAFETY: writes one structure of the version that it names, to `settings`.
        check(unsafe { settings_of(&raw mut settings) })?;
        Ok(settings)
    }

    pub(super) fn architecture(&self, index: u32) -> Result<u32, CallError> {
        let architecture_of = function(&self.functions.nvmlDeviceGetArchitecture)?;
        let device = self.device(index)?;
        let mut architecture = nvml::NVML_DEVICE_ARCH_UNKNOWN;
        // SAFETY: the handle comes from the library; writes one number, to `architecture`.
        check(unsafe { architecture_of(device, &raw mut architecture) })?;
        Ok(architecture)
    }

    /// The text before the first zero; all of the buffer where there is none.
    pub(super) fn uuid(&self, index: u32) -> Result<Vec<u8>, CallError> {
        let uuid_of = function(&self.functions.nvmlDeviceGetUUID)?;
        let device = self.device(index)?;
        let mut text = [0_u8; UUID_BYTES];
        let start = text.as_mut_ptr().cast::<c_char>();
        let length = nvml::NVML_DEVICE_UUID_V2_BUFFER_SIZE;
        // SAFETY: the handle comes from the library; writes at most the 96 bytes that `text` has.
        check(unsafe { uuid_of(device, start, length) })?;
        let end = text.iter().take_while(|byte| **byte != 0);
        Ok(end.copied().collect())
    }

    /// SPDM request and response for a nonce.
    pub(super) fn report(&self, index: u32, nonce: [u8; 32]) -> Result<Vec<u8>, CallError> {
        let report_of = function(&self.functions.nvmlDeviceGetConfComputeGpuAttestationReport)?;
        let device = self.device(index)?;
        let mut report = Box::new(nvml::nvmlConfComputeGpuAttestationReport_t {
            isCecAttestationReportPresent: 0,
            attestationReportSize: 0,
            cecAttestationReportSize: 0,
            nonce,
            attestationReport: [0; 8192],
            cecAttestationReport: [0; 4096],
        });
        // SAFETY: the handle comes from the library; reads and writes one structure, `report`.
        check(unsafe { report_of(device, &raw mut *report) })?;
        prefix(&report.attestationReport, report.attestationReportSize)
    }

    /// The chain of the key that signs reports, PEM.
    pub(super) fn chain(&self, index: u32) -> Result<Vec<u8>, CallError> {
        let chain_of = function(&self.functions.nvmlDeviceGetConfComputeGpuCertificate)?;
        let device = self.device(index)?;
        let mut chain = Box::new(nvml::nvmlConfComputeGpuCertificate_t {
            certChainSize: 0,
            attestationCertChainSize: 0,
            certChain: [0; 4096],
            attestationCertChain: [0; 5120],
        });
        // SAFETY: the handle comes from the library; writes one structure, to `chain`.
        check(unsafe { chain_of(device, &raw mut *chain) })?;
        prefix(&chain.attestationCertChain, chain.attestationCertChainSize)
    }

    pub(super) fn set_ready(&self) -> Result<(), CallError> {
        let set = function(&self.functions.nvmlSystemSetConfComputeGpusReadyState)?;
        // SAFETY: takes one number.
        check(unsafe { set(nvml::NVML_CC_ACCEPTING_CLIENT_REQUESTS_TRUE) })
    }

    pub(super) fn is_ready(&self) -> Result<bool, CallError> {
        let state_of = function(&self.functions.nvmlSystemGetConfComputeGpusReadyState)?;
        let mut state = nvml::NVML_CC_ACCEPTING_CLIENT_REQUESTS_FALSE;
        // SAFETY: writes one number, to `state`.
        check(unsafe { state_of(&raw mut state) })?;
        Ok(state == nvml::NVML_CC_ACCEPTING_CLIENT_REQUESTS_TRUE)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        if let (false, Ok(free)) = (
            self.events.is_null(),
            function(&self.functions.nvmlEventSetFree),
        ) {
            // SAFETY: the set was made by `open` and is freed once.
            let _done = unsafe { free(self.events) };
        }
        if let Ok(shut_down) = function(&self.functions.nvmlShutdown) {
            // SAFETY: takes no argument; no handle of this library is used afterwards.
            let _done = unsafe { shut_down() };
        }
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_the_settings_names_the_size_of_their_structure() {
        let size = size_of::<nvml::nvmlSystemConfComputeSettings_t>();
        assert_eq!(usize::try_from(SETTINGS_VERSION).unwrap(), size | 1 << 24);
    }

    #[test]
    fn a_length_above_its_buffer_is_refused() {
        assert_eq!(prefix(&[1, 2, 3], 3), Ok(vec![1, 2, 3]));
        assert_eq!(prefix(&[1, 2, 3], 0), Ok(vec![]));
        for length in [4, u32::MAX] {
            assert_eq!(prefix(&[1, 2, 3], length), Err(CallError::Length));
        }
    }
}
