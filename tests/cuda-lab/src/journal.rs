//! The calls of steps in their order, of any device, each with the number of its step: what is sent
//! before what is waited for.

use std::sync::{Arc, Mutex, PoisonError};

use engine_cuda::device::{Counters, Device, DeviceError, Graph};
use engine_cuda::layout::{Layout, Region};
use engine_cuda::plan::Launch;

/// A call, with the number of its step, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Its input began to cross.
    Sent(u64),
    /// It was launched.
    Launched(u64),
    /// Its output was asked for.
    Fetched(u64),
    /// And was there.
    Waited(u64),
}

/// What happened so far; the device may be on another thread.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Call>>>);

impl Journal {
    /// All of it.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.clone()
    }

    fn write(&self, call: Call) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(call);
    }
}

/// A device whose calls are written down.
#[derive(Debug)]
pub struct Told<D> {
    device: D,
    journal: Journal,
    steps: u64,
    of: [u64; 2],
}

impl<D: Device> Told<D> {
    /// Writes a device's calls into a journal.
    #[must_use]
    pub const fn new(device: D, journal: Journal) -> Self {
        Self {
            device,
            journal,
            steps: 0,
            of: [0; 2],
        }
    }

    fn step(&self, parity: usize) -> u64 {
        self.of.get(parity).copied().unwrap_or_default()
    }
}

impl<D: Device> Device for Told<D> {
    fn room(&mut self) -> Result<u64, DeviceError> {
        self.device.room()
    }

    fn reserve(&mut self, layout: &Layout, input: u64, output: u64) -> Result<(), DeviceError> {
        self.device.reserve(layout, input, output)
    }

    fn write(&mut self, to: Region, bytes: &[u8]) -> Result<(), DeviceError> {
        self.device.write(to, bytes)
    }

    fn read(&mut self, from: Region, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.device.read(from, bytes)
    }

    fn run(&mut self, launches: &[Launch]) -> Result<(), DeviceError> {
        self.device.run(launches)
    }

    fn record(&mut self, launches: &[Launch]) -> Result<Graph, DeviceError> {
        self.device.record(launches)
    }

    fn send(&mut self, parity: usize, to: Region, input: &[u8]) -> Result<(), DeviceError> {
        self.steps = self.steps.saturating_add(1);
        if let Some(of) = self.of.get_mut(parity) {
            *of = self.steps;
        }
        self.journal.write(Call::Sent(self.steps));
        self.device.send(parity, to, input)
    }

    fn replay(&mut self, parity: usize, graph: Graph) -> Result<(), DeviceError> {
        self.journal.write(Call::Launched(self.step(parity)));
        self.device.replay(parity, graph)
    }

    fn fetch(&mut self, parity: usize, from: Region) -> Result<(), DeviceError> {
        self.journal.write(Call::Fetched(self.step(parity)));
        self.device.fetch(parity, from)
    }

    fn wait(&mut self, parity: usize, output: &mut [u8]) -> Result<(), DeviceError> {
        self.journal.write(Call::Waited(self.step(parity)));
        self.device.wait(parity, output)
    }

    fn time(&mut self, launches: &[Launch], times: u32) -> Result<Option<f64>, DeviceError> {
        self.device.time(launches, times)
    }

    fn counters(&self) -> Counters {
        self.device.counters()
    }
}
