//! The bridge toll of confidential mode, laid on any device: each crossing and each allocation
//! blocks its caller for a fixed time, and bytes go at 4 GB/s, one crossing after the other.
//!
//! Sources: arXiv 2606.23969 (secure copies block the caller, have no concurrency, and a small
//! allocation with its copy takes 44 times as long) and the 4 GB/s that one thread of AES-GCM is
//! commonly quoted with. Fixed times: 44 times the 2.5 microseconds of a small copy from pinned
//! memory, and of the 10 of an allocation. An estimate to design by, not a measurement of such a
//! machine.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "times of microseconds, and bytes of one copy"
)]

use std::time::{Duration, Instant};

use engine_cuda::device::{Counters, Device, DeviceError, Graph};
use engine_cuda::layout::{Layout, Region};
use engine_cuda::plan::Launch;

/// What a crossing costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Toll {
    /// Each crossing.
    pub crossing: Duration,
    /// Each allocation.
    pub allocation: Duration,
    /// And each so many bytes a microsecond.
    pub bytes_per_microsecond: u64,
}

impl Toll {
    /// The published figures.
    pub const PUBLISHED: Self = Self {
        crossing: Duration::from_micros(110),
        allocation: Duration::from_micros(440),
        bytes_per_microsecond: 4000,
    };

    /// How long a copy of so many bytes blocks.
    #[must_use]
    pub fn of(&self, bytes: u64) -> Duration {
        let nanoseconds = bytes.saturating_mul(1000);
        let rate = nanoseconds.checked_div(self.bytes_per_microsecond);
        self.crossing + Duration::from_nanos(rate.unwrap_or(0))
    }
}

/// A device behind the bridge. That one thread makes all calls is what serialises the crossings.
#[derive(Debug)]
pub struct Tolled<D> {
    device: D,
    toll: Toll,
    paid: Duration,
    fetched: [Counters; 2],
}

impl<D: Device> Tolled<D> {
    /// Puts a device behind the bridge.
    #[must_use]
    pub const fn new(device: D, toll: Toll) -> Self {
        Self {
            device,
            toll,
            paid: Duration::ZERO,
            fetched: [Counters {
                crossings: 0,
                bytes: 0,
                allocations: 0,
                launches: 0,
            }; 2],
        }
    }

    /// The device behind it.
    #[must_use]
    pub fn inner(&mut self) -> &mut D {
        &mut self.device
    }

    /// The time for which callers were blocked.
    #[must_use]
    pub const fn paid(&self) -> Duration {
        self.paid
    }

    fn pay(&mut self, now: Counters) {
        let allocations = u32::try_from(now.allocations).unwrap_or(u32::MAX);
        let mut due = self.toll.allocation * allocations;
        if let Some(more) = now.crossings.checked_sub(1) {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            due += self.toll.of(now.bytes) + self.toll.crossing * more;
        }
        self.paid += due;
        // A sleep is too coarse for a tenth of a millisecond.
        let until = Instant::now() + due;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }

    fn tolled<T>(
        &mut self,
        call: impl FnOnce(&mut D) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        let before = self.device.counters();
        let result = call(&mut self.device)?;
        self.pay(self.device.counters().since(before));
        Ok(result)
    }
}

impl<D: Device> Device for Tolled<D> {
    fn room(&mut self) -> Result<u64, DeviceError> {
        self.device.room()
    }

    fn reserve(&mut self, layout: &Layout, input: u64, output: u64) -> Result<(), DeviceError> {
        self.tolled(|device| device.reserve(layout, input, output))
    }

    fn write(&mut self, to: Region, bytes: &[u8]) -> Result<(), DeviceError> {
        self.tolled(|device| device.write(to, bytes))
    }

    fn read(&mut self, from: Region, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.tolled(|device| device.read(from, bytes))
    }

    fn run(&mut self, launches: &[Launch]) -> Result<(), DeviceError> {
        self.tolled(|device| device.run(launches))
    }

    fn record(&mut self, launches: &[Launch]) -> Result<Graph, DeviceError> {
        self.tolled(|device| device.record(launches))
    }

    fn send(&mut self, parity: usize, to: Region, input: &[u8]) -> Result<(), DeviceError> {
        self.tolled(|device| device.send(parity, to, input))
    }

    fn replay(&mut self, parity: usize, graph: Graph) -> Result<(), DeviceError> {
        self.tolled(|device| device.replay(parity, graph))
    }

    fn fetch(&mut self, parity: usize, from: Region) -> Result<(), DeviceError> {
        let before = self.device.counters();
        self.device.fetch(parity, from)?;
        if let Some(fetched) = self.fetched.get_mut(parity) {
            *fetched = self.device.counters().since(before);
        }
        Ok(())
    }

    fn wait(&mut self, parity: usize, output: &mut [u8]) -> Result<(), DeviceError> {
        // The copy that `fetch` began cannot begin before the step has ended: it is paid for here.
        self.device.wait(parity, output)?;
        let fetched = self.fetched.get_mut(parity).map(std::mem::take);
        self.pay(fetched.unwrap_or_default());
        Ok(())
    }

    fn time(&mut self, launches: &[Launch], times: u32) -> Result<Option<f64>, DeviceError> {
        self.device.time(launches, times)
    }

    fn counters(&self) -> Counters {
        self.device.counters()
    }
}
