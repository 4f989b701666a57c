//! What the engine asks of a device, and the four figures that say how often it crossed to it.
//!
//! Two kinds of calls: those of the start (`room`, `reserve`, `write`, `run`, `record`), which may
//! be slow, and those of a step (`send`, `replay`, `fetch`, `wait`), which allocate nothing. One
//! thread makes all of them. Not here: the driver (`driver`), and a device that only counts, which
//! is in no program of an image (`tests/cuda-lab`).

use crate::layout::{Layout, Region};
use crate::plan::Launch;

/// Why a device did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A call of the driver.
    #[error("{call} failed with {code}")]
    Driver {
        /// Which call.
        call: &'static str,
        /// The driver's code.
        code: u32,
    },
    /// There is no driver library, or no device.
    #[error("no NVIDIA driver or device")]
    Absent,
    /// A kernel is in none of the modules.
    #[error("no kernel `{kernel}`")]
    Kernel {
        /// Its name.
        kernel: String,
    },
    /// The device's memory does not take the model with one answer of the longest context.
    #[error("too little memory")]
    Room,
    /// A row of weights is not there, or is not as long as it must be.
    #[error("a row of weights is missing")]
    Row,
    /// Weights that are not loaded from rows.
    #[error("weights of this precision are not loaded")]
    Precision,
    /// A part of an arena that is not there.
    #[error("outside of an arena")]
    Bounds,
    /// A call for which the order is wrong: before `reserve`, or a graph that is not there.
    #[error("out of order")]
    Order,
}

/// What happened since the device was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Copies between host and device.
    pub crossings: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Allocations, on the device or of pinned memory.
    pub allocations: u64,
    /// Launches by the host: a graph is one.
    pub launches: u64,
}

impl Counters {
    /// What happened since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            crossings: self.crossings.saturating_sub(earlier.crossings),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            allocations: self.allocations.saturating_sub(earlier.allocations),
            launches: self.launches.saturating_sub(earlier.launches),
        }
    }
}

/// A recorded step, by the number that its device knows it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graph(pub usize);

/// A device with three arenas.
pub trait Device {
    /// Bytes of its memory that nobody has.
    ///
    /// # Errors
    /// A [`DeviceError`].
    fn room(&mut self) -> Result<u64, DeviceError>;

    /// Makes the arenas of a layout, zeroed, and pinned memory for inputs and outputs of two steps.
    ///
    /// # Errors
    /// A [`DeviceError`].
    fn reserve(&mut self, layout: &Layout, input: u64, output: u64) -> Result<(), DeviceError>;

    /// Writes to an arena, at the start.
    ///
    /// # Errors
    /// A [`DeviceError`].
    fn write(&mut self, to: Region, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Reads from an arena: for tests.
    ///
    /// # Errors
    /// A [`DeviceError`].
    fn read(&mut self, from: Region, bytes: &mut [u8]) -> Result<(), DeviceError>;

    /// Runs kernels at the start, and waits for them.
    ///
    /// # Errors
    /// A [`DeviceError`].
    fn run(&mut self, launches: &[Launch]) -> Result<(), DeviceError>;

    /// Makes a graph of kernels.
    ///
    /// # Errors
    /// A [`DeviceError`].
    fn record(&mut self, launches: &[Launch]) -> Result<Graph, DeviceError>;

    /// Copies the input of a step of this parity. What is replayed next runs after it.
    ///
    /// # Errors
    /// A [`DeviceError`].
    fn send(&mut self, parity: usize, to: Region, input: &[u8]) -> Result<(), DeviceError>;

    /// Launches a graph as the step of this parity.
    ///
    /// # Errors
    /// A [`DeviceError`].
    fn replay(&mut self, parity: usize, graph: Graph) -> Result<(), DeviceError>;

    /// Begins to copy the output of the last step of this parity, once it has ended.
    ///
    /// # Errors
    /// A [`DeviceError`].
    fn fetch(&mut self, parity: usize, from: Region) -> Result<(), DeviceError>;

    /// Waits for that copy.
    ///
    /// # Errors
    /// A [`DeviceError`].
    fn wait(&mut self, parity: usize, output: &mut [u8]) -> Result<(), DeviceError>;

    /// The seconds that kernels take, as a graph replayed so many times; none where nothing runs.
    ///
    /// # Errors
    /// A [`DeviceError`].
    fn time(&mut self, launches: &[Launch], times: u32) -> Result<Option<f64>, DeviceError>;

    /// What happened so far.
    fn counters(&self) -> Counters;
}
