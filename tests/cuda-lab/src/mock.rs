//! A device without arithmetic: it counts, checks every address against its arena, and answers each
//! row that asks with a token that follows from slot and step. A step can be given a duration, the
//! device a size.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "counters, and places that were compared with a length"
)]

use std::time::{Duration, Instant};

use engine_cuda::device::{Counters, Device, DeviceError, Graph};
use engine_cuda::layout::{Arena, Layout, Region};
use engine_cuda::plan::{Argument, Launch};

/// The device.
#[derive(Debug, Default)]
pub struct Mock {
    sizes: Option<[u64; 3]>,
    graphs: Vec<usize>,
    inputs: [Vec<u8>; 2],
    outputs: [Vec<u8>; 2],
    ends: [Option<Instant>; 2],
    busy_until: Option<Instant>,
    counters: Counters,
    duration: Duration,
    steps: u32,
    room: Option<u64>,
}

/// Bytes that are free on a GPU of 80 GB whose kernels are loaded, about.
pub const ROOM: u64 = 79 << 30;

impl Mock {
    /// A device whose steps take so long.
    #[must_use]
    pub fn with_steps_of(duration: Duration) -> Self {
        Self {
            duration,
            ..Self::default()
        }
    }

    /// A device with so many bytes that nobody has.
    #[must_use]
    pub fn with_room_of(bytes: u64) -> Self {
        Self {
            room: Some(bytes),
            ..Self::default()
        }
    }

    fn check(&self, region: &Region) -> Result<(), DeviceError> {
        let [weights, cache, work] = self.sizes.ok_or(DeviceError::Order)?;
        let size = match region.arena {
            Arena::Weights => weights,
            Arena::Cache => cache,
            Arena::Work => work,
        };
        let end = region.offset.checked_add(region.bytes);
        let inside = end.is_some_and(|end| end <= size);
        inside.then_some(()).ok_or(DeviceError::Bounds)
    }

    fn check_all(&self, launches: &[Launch]) -> Result<(), DeviceError> {
        for launch in launches {
            let blocks = launch.grid.iter().all(|count| (1..1 << 31).contains(count));
            if !blocks || !(1..=1024).contains(&launch.block) || launch.kernel.is_empty() {
                return Err(DeviceError::Bounds);
            }
            for argument in &launch.arguments {
                if let Argument::At(region) = argument {
                    self.check(region)?;
                }
            }
        }
        Ok(())
    }

    fn cross(&mut self, bytes: u64) {
        self.counters.crossings += 1;
        self.counters.bytes += bytes;
    }

    /// What the rows of an input ask for, in the layout of an output.
    fn answer(&mut self, parity: usize) {
        let (Some(input), Some(output)) = (self.inputs.get(parity), self.outputs.get_mut(parity))
        else {
            return;
        };
        let (rows, _) = input.as_chunks::<44>();
        let (answers, _) = output.as_chunks_mut::<8>();
        for (row, answer) in rows.iter().zip(answers) {
            let [flags, _, _, _, slot, ..] = row;
            let asks = flags & 5 == 5;
            let token = u32::from(*slot).wrapping_add(self.steps);
            let token = if asks { token } else { u32::MAX };
            let [a, b, c, d] = token.to_le_bytes();
            *answer = [a, b, c, d, 0, 0, 0, 0];
        }
    }
}

impl Device for Mock {
    fn room(&mut self) -> Result<u64, DeviceError> {
        let taken: u64 = self.sizes.iter().flatten().sum();
        let room = self.room.unwrap_or(ROOM);
        Ok(room.saturating_sub(taken))
    }

    fn reserve(&mut self, layout: &Layout, input: u64, output: u64) -> Result<(), DeviceError> {
        if self.sizes.is_some() {
            return Err(DeviceError::Order);
        }
        if layout.sizes.iter().sum::<u64>() > self.room()? {
            return Err(DeviceError::Driver {
                call: "cuMemAlloc",
                code: 2,
            });
        }
        self.sizes = Some(layout.sizes);
        let length = |bytes| usize::try_from(bytes).map_err(|_| DeviceError::Bounds);
        let (input, output) = (length(input)?, length(output)?);
        self.inputs = [vec![0; input], vec![0; input]];
        self.outputs = [vec![0; output], vec![0; output]];
        self.counters.allocations += 7;
        Ok(())
    }

    fn write(&mut self, to: Region, bytes: &[u8]) -> Result<(), DeviceError> {
        self.check(&to)?;
        self.cross(bytes.len() as u64);
        Ok(())
    }

    fn read(&mut self, from: Region, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.check(&from)?;
        self.cross(bytes.len() as u64);
        bytes.fill(0);
        Ok(())
    }

    fn run(&mut self, launches: &[Launch]) -> Result<(), DeviceError> {
        self.counters.launches += launches.len() as u64;
        self.check_all(launches)
    }

    fn record(&mut self, launches: &[Launch]) -> Result<Graph, DeviceError> {
        self.check_all(launches)?;
        self.graphs.push(launches.len());
        Ok(Graph(self.graphs.len() - 1))
    }

    fn send(&mut self, parity: usize, to: Region, input: &[u8]) -> Result<(), DeviceError> {
        self.check(&to)?;
        self.cross(to.bytes);
        let staging = self.inputs.get_mut(parity).ok_or(DeviceError::Order)?;
        if staging.len() != input.len() || to.bytes != input.len() as u64 {
            return Err(DeviceError::Bounds);
        }
        staging.copy_from_slice(input);
        Ok(())
    }

    fn replay(&mut self, parity: usize, graph: Graph) -> Result<(), DeviceError> {
        self.graphs.get(graph.0).ok_or(DeviceError::Order)?;
        self.counters.launches += 1;
        self.answer(parity);
        self.steps = self.steps.wrapping_add(1);
        let now = Instant::now();
        let start = self.busy_until.map_or(now, |until| until.max(now));
        let end = start + self.duration;
        self.busy_until = Some(end);
        *self.ends.get_mut(parity).ok_or(DeviceError::Order)? = Some(end);
        Ok(())
    }

    fn fetch(&mut self, parity: usize, from: Region) -> Result<(), DeviceError> {
        self.check(&from)?;
        self.cross(from.bytes);
        let end = self.ends.get(parity).copied().flatten();
        end.map(|_| ()).ok_or(DeviceError::Order)
    }

    fn wait(&mut self, parity: usize, output: &mut [u8]) -> Result<(), DeviceError> {
        let end = self.ends.get(parity).copied().flatten();
        let end = end.ok_or(DeviceError::Order)?;
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        let found = self.outputs.get(parity).ok_or(DeviceError::Order)?;
        if found.len() != output.len() {
            return Err(DeviceError::Bounds);
        }
        output.copy_from_slice(found);
        Ok(())
    }

    fn time(&mut self, launches: &[Launch], _times: u32) -> Result<Option<f64>, DeviceError> {
        self.check_all(launches).map(|()| None)
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
