//! The calls of the CUDA driver, each owning what it made: the only unsafe code of this crate.
//!
//! cudarc loads the driver library when it is first called; [`Context::open`] asks before that
//! whether there is one. Kernels get addresses of device memory only (`super`), so what a kernel
//! does wrong stays on the device. Not here: what is called when.
#![allow(unsafe_code, reason = "calls into the driver library")]

use std::ffi::{CString, c_void};
use std::ptr::null_mut;

use cudarc::driver::sys;

use crate::device::DeviceError;

fn check(call: &'static str, result: sys::CUresult) -> Result<(), DeviceError> {
    if result == sys::CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    Err(DeviceError::Driver {
        call,
        code: result as u32,
    })
}

/// The first device's primary context, current on the thread that opened it.
#[derive(Debug)]
pub(super) struct Context {
    device: sys::CUdevice,
}

impl Context {
    pub(super) fn open() -> Result<Self, DeviceError> {
        // SAFETY: looks for the library by name; loading it runs its initialisers, as the driver
        // asks.
        if !unsafe { sys::is_culib_present() } {
            return Err(DeviceError::Absent);
        }
        // SAFETY: takes no pointers.
        check("cuInit", unsafe { sys::cuInit(0) }).map_err(|_| DeviceError::Absent)?;
        let mut device = 0;
        // SAFETY: writes one number, to `device`.
        let found = unsafe { sys::cuDeviceGet(&raw mut device, 0) };
        check("cuDeviceGet", found).map_err(|_| DeviceError::Absent)?;
        let mut context = null_mut();
        // SAFETY: writes one handle, to `context`; released by `drop`.
        let retained = unsafe { sys::cuDevicePrimaryCtxRetain(&raw mut context, device) };
        check("cuDevicePrimaryCtxRetain", retained)?;
        let opened = Self { device };
        // SAFETY: the handle was made by the call above.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(context) })?;
        Ok(opened)
    }

    pub(super) fn name(&self) -> Result<String, DeviceError> {
        let mut name = [0_u8; 128];
        // SAFETY: writes at most 127 bytes and a zero into `name`.
        let read = unsafe { sys::cuDeviceGetName(name.as_mut_ptr().cast(), 128, self.device) };
        check("cuDeviceGetName", read)?;
        let text = name.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// Bytes of the device's memory that nobody has.
    pub(super) fn free(&self) -> Result<u64, DeviceError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: this context is current; writes two numbers.
        let asked = unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) };
        check("cuMemGetInfo", asked)?;
        u64::try_from(free).map_err(|_| DeviceError::Bounds)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: this context was retained once and everything made in it was dropped before.
        let _released = unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

/// A loaded file of kernels. Lives as long as the context.
#[derive(Debug)]
pub(super) struct Module(sys::CUmodule);

/// A kernel of a module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function(sys::CUfunction);

impl Module {
    /// `image`: a fatbin or a cubin, which say their own length.
    pub(super) fn load(image: &[u8]) -> Result<Self, DeviceError> {
        let mut module = null_mut();
        let image = image.as_ptr().cast::<c_void>();
        // SAFETY: the bytes are a whole file made by our own build; the driver copies them.
        let loaded = unsafe { sys::cuModuleLoadData(&raw mut module, image) };
        check("cuModuleLoadData", loaded)?;
        Ok(Self(module))
    }

    pub(super) fn function(&self, name: &str) -> Option<Function> {
        let name = CString::new(name).ok()?;
        let mut function = null_mut();
        // SAFETY: the module is loaded, the name ends with a zero.
        let found = unsafe { sys::cuModuleGetFunction(&raw mut function, self.0, name.as_ptr()) };
        check("cuModuleGetFunction", found).ok()?;
        Some(Function(function))
    }
}

/// Device memory. Its address never changes.
#[derive(Debug)]
pub(super) struct Memory {
    address: sys::CUdeviceptr,
    bytes: usize,
}

impl Memory {
    /// Zeroed.
    pub(super) fn allocate(bytes: usize) -> Result<Self, DeviceError> {
        let mut address = 0;
        // SAFETY: writes one address, to `address`; freed by `drop`.
        let made = unsafe { sys::cuMemAlloc_v2(&raw mut address, bytes) };
        check("cuMemAlloc", made)?;
        let memory = Self { address, bytes };
        // SAFETY: the whole of the memory that was just made.
        let zeroed = unsafe { sys::cuMemsetD8_v2(address, 0, bytes) };
        check("cuMemsetD8", zeroed)?;
        Ok(memory)
    }

    /// The address of `bytes` from `offset` on, when they are inside.
    pub(super) fn at(&self, offset: u64, bytes: usize) -> Result<u64, DeviceError> {
        let start = usize::try_from(offset).map_err(|_| DeviceError::Bounds)?;
        let end = start.checked_add(bytes).ok_or(DeviceError::Bounds)?;
        let inside = end <= self.bytes;
        let address = self.address.checked_add(offset).filter(|_| inside);
        address.ok_or(DeviceError::Bounds)
    }

    pub(super) fn write(&self, offset: u64, from: &[u8]) -> Result<(), DeviceError> {
        let to = self.at(offset, from.len())?;
        // SAFETY: `at` checked the target, and the source is a slice of that length.
        let copied = unsafe { sys::cuMemcpyHtoD_v2(to, from.as_ptr().cast(), from.len()) };
        check("cuMemcpyHtoD", copied)
    }

    pub(super) fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), DeviceError> {
        let from = self.at(offset, to.len())?;
        // SAFETY: `at` checked the source, and the target is a slice of that length.
        let copied = unsafe { sys::cuMemcpyDtoH_v2(to.as_mut_ptr().cast(), from, to.len()) };
        check("cuMemcpyDtoH", copied)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made by `allocate`, freed once; the free waits for what still uses it.
        let _freed = unsafe { sys::cuMemFree_v2(self.address) };
    }
}

/// Pinned host memory.
#[derive(Debug)]
pub(super) struct Pinned {
    at: *mut u8,
    bytes: usize,
}

impl Pinned {
    pub(super) fn allocate(bytes: usize) -> Result<Self, DeviceError> {
        let mut at = null_mut();
        // Plain cached memory: results are read from it, and write-combined memory reads slowly.
        // SAFETY: writes one address, to `at`; freed by `drop`.
        let made = unsafe { sys::cuMemHostAlloc(&raw mut at, bytes, 0) };
        check("cuMemHostAlloc", made)?;
        let at = at.cast::<u8>();
        // SAFETY: `bytes` fresh bytes that nobody else knows.
        unsafe { at.write_bytes(0, bytes) };
        Ok(Self { at, bytes })
    }

    /// Fills it; the caller has waited for the last copy out of it.
    pub(super) fn fill(&mut self, from: &[u8]) -> Result<(), DeviceError> {
        if from.len() != self.bytes {
            return Err(DeviceError::Bounds);
        }
        // SAFETY: equal lengths, and no slice of ours is pinned memory.
        unsafe { self.at.copy_from_nonoverlapping(from.as_ptr(), from.len()) };
        Ok(())
    }

    /// Reads it; the caller has waited for the last copy into it.
    pub(super) fn take(&self, to: &mut [u8]) -> Result<(), DeviceError> {
        if to.len() != self.bytes {
            return Err(DeviceError::Bounds);
        }
        // SAFETY: equal lengths, and no slice of ours is pinned memory.
        unsafe { self.at.copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) };
        Ok(())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: made by `allocate`, freed once; the owner waits for its streams before.
        let _freed = unsafe { sys::cuMemFreeHost(self.at.cast()) };
    }
}

/// A moment on a stream.
#[derive(Debug)]
pub(super) struct Event(sys::CUevent);

impl Event {
    pub(super) fn new() -> Result<Self, DeviceError> {
        let mut event = null_mut();
        // SAFETY: writes one handle, to `event`.
        check("cuEventCreate", unsafe {
            sys::cuEventCreate(&raw mut event, 0)
        })?;
        Ok(Self(event))
    }

    pub(super) fn wait(&self) -> Result<(), DeviceError> {
        // SAFETY: the event is alive.
        check("cuEventSynchronize", unsafe {
            sys::cuEventSynchronize(self.0)
        })
    }

    /// Seconds from `earlier` to this; both have passed.
    pub(super) fn since(&self, earlier: &Self) -> Result<f64, DeviceError> {
        let mut milliseconds = 0.0;
        // SAFETY: both events are alive; writes one float.
        let read = unsafe { sys::cuEventElapsedTime_v2(&raw mut milliseconds, earlier.0, self.0) };
        check("cuEventElapsedTime", read)?;
        Ok(f64::from(milliseconds) / 1e3)
    }
}

/// A queue of work on the device.
#[derive(Debug)]
pub(super) struct Stream(sys::CUstream);

/// A launch of a kernel, its addresses known.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) function: Function,
    pub(super) grid: [u32; 3],
    pub(super) block: u32,
    /// Each argument's bytes, in a place of eight.
    pub(super) arguments: Vec<u64>,
}

impl Stream {
    pub(super) fn new() -> Result<Self, DeviceError> {
        let mut stream = null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: writes one handle, to `stream`.
        check("cuStreamCreate", unsafe {
            sys::cuStreamCreate(&raw mut stream, flags)
        })?;
        Ok(Self(stream))
    }

    pub(super) fn wait(&self) -> Result<(), DeviceError> {
        // SAFETY: the stream is alive.
        check("cuStreamSynchronize", unsafe {
            sys::cuStreamSynchronize(self.0)
        })
    }

    pub(super) fn record(&self, event: &Event) -> Result<(), DeviceError> {
        // SAFETY: both are alive.
        check("cuEventRecord", unsafe {
            sys::cuEventRecord(event.0, self.0)
        })
    }

    pub(super) fn after(&self, event: &Event) -> Result<(), DeviceError> {
        // SAFETY: both are alive.
        check("cuStreamWaitEvent", unsafe {
            sys::cuStreamWaitEvent(self.0, event.0, 0)
        })
    }

    /// Begins to copy all of `from`. Both live until the stream was waited for.
    pub(super) fn copy_in(&self, to: u64, from: &Pinned) -> Result<(), DeviceError> {
        // SAFETY: the caller got `to` from `Memory::at` with this length.
        let begun = unsafe { sys::cuMemcpyHtoDAsync_v2(to, from.at.cast(), from.bytes, self.0) };
        check("cuMemcpyHtoDAsync", begun)
    }

    /// Begins to fill all of `to`. Both live until the stream was waited for.
    pub(super) fn copy_out(&self, to: &Pinned, from: u64) -> Result<(), DeviceError> {
        // SAFETY: the caller got `from` from `Memory::at` with this length.
        let begun = unsafe { sys::cuMemcpyDtoHAsync_v2(to.at.cast(), from, to.bytes, self.0) };
        check("cuMemcpyDtoHAsync", begun)
    }

    /// `early`: the kernel may be put on the machine while the one in front still runs. Every
    /// kernel of ours waits for that one itself, before it reads what others wrote.
    pub(super) fn launch(&self, bound: &Bound, early: bool) -> Result<(), DeviceError> {
        let mut attribute = sys::CUlaunchAttribute {
            id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue { pad: [0; 64] },
        };
        attribute.value.programmaticStreamSerializationAllowed = 1;
        let [x, y, z] = bound.grid;
        let config = sys::CUlaunchConfig {
            gridDimX: x,
            gridDimY: y,
            gridDimZ: z,
            blockDimX: bound.block,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            hStream: self.0,
            attrs: &raw mut attribute,
            numAttrs: u32::from(early),
        };
        let arguments = bound.arguments.iter();
        let mut pointers: Vec<*mut c_void> = arguments
            .map(|argument| std::ptr::from_ref(argument).cast_mut().cast())
            .collect();
        let (function, pointers) = (bound.function.0, pointers.as_mut_ptr());
        // SAFETY: as many pointers as the kernel has parameters (`super` holds the same list for
        // the mock), each to eight bytes of which the driver copies what the parameter takes;
        // addresses among them are of device memory.
        check("cuLaunchKernelEx", unsafe {
            sys::cuLaunchKernelEx(&raw const config, function, pointers, null_mut())
        })
    }

    pub(super) fn begin_capture(&self) -> Result<(), DeviceError> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive.
        check("cuStreamBeginCapture", unsafe {
            sys::cuStreamBeginCapture_v2(self.0, mode)
        })
    }

    pub(super) fn end_capture(&self) -> Result<Recorded, DeviceError> {
        let mut graph = null_mut();
        // SAFETY: writes one handle, to `graph`.
        check("cuStreamEndCapture", unsafe {
            sys::cuStreamEndCapture(self.0, &raw mut graph)
        })?;
        let mut recorded = null_mut();
        // SAFETY: the graph was just captured; writes one handle, to `recorded`.
        let made = unsafe { sys::cuGraphInstantiateWithFlags(&raw mut recorded, graph, 0) };
        // SAFETY: the graph is not used after; what was made of it stands alone.
        let destroyed = unsafe { sys::cuGraphDestroy(graph) };
        check("cuGraphInstantiate", made)?;
        let recorded = Recorded(recorded);
        check("cuGraphDestroy", destroyed)?;
        // SAFETY: both are alive.
        check("cuGraphUpload", unsafe {
            sys::cuGraphUpload(recorded.0, self.0)
        })?;
        Ok(recorded)
    }

    pub(super) fn replay(&self, recorded: &Recorded) -> Result<(), DeviceError> {
        // SAFETY: both are alive, and the arenas whose addresses the graph holds outlive it.
        check("cuGraphLaunch", unsafe {
            sys::cuGraphLaunch(recorded.0, self.0)
        })
    }
}

/// An executable graph.
#[derive(Debug)]
pub(super) struct Recorded(sys::CUgraphExec);

impl Drop for Recorded {
    fn drop(&mut self) {
        // SAFETY: made by `end_capture`, destroyed once.
        let _destroyed = unsafe { sys::cuGraphExecDestroy(self.0) };
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once; what is queued still runs.
        let _destroyed = unsafe { sys::cuStreamDestroy_v2(self.0) };
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        let _destroyed = unsafe { sys::cuEventDestroy_v2(self.0) };
    }
}

/// The version of CUDA that the driver speaks: 13000 for 13.0.
pub(super) fn driver_version() -> Result<u32, DeviceError> {
    let mut version = 0;
    // SAFETY: writes one number.
    check("cuDriverGetVersion", unsafe {
        sys::cuDriverGetVersion(&raw mut version)
    })?;
    Ok(u32::try_from(version).unwrap_or(0))
}
